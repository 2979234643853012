//! A block, or an address that is in none of ours, compared with etcd.

use std::collections::BTreeSet;

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};

use crate::key::Key;
use crate::ledger::{Allocation, Dirty, Tx};
use crate::node::{Block, BlockState, PoolId, Sweep};
use crate::op::Now;
use crate::ops::Context;
use crate::ops::write::{LATE, next_seq, plan_sweeps, rests_until, soil};
use crate::record::{self, AddressRecord, AddressState, BlockRecord, IMPORTED, Mode};
use crate::txn::{Kv, Reply};

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Records that nothing here knows: they will be removed.
    pub(super) removed: usize,
    /// Whether the block was not known before: what is in it is still to be read.
    pub(super) adopted: bool,
}

/// What a read of a block, or of one address, tells: records of this node that nothing here knows are put into the
/// outbox to be removed, allocations without a record to be written, addresses of others are noted. `None` if
/// another boot writes for this node.
pub(super) fn compared<T: Tx>(
    tx: &mut T,
    context: &Context,
    now: Now,
    sweep: &Sweep,
    reply: &Reply,
) -> Result<Option<Found>, T::Error> {
    if reply.one(0).is_none_or(|kv| kv.value != context.boot.as_bytes()) {
        return Ok(None);
    }
    let id = &sweep.id;
    let block = tx.node().block_of(&id.space, sweep.addr).cloned();
    let adopted = match reply.one(1) {
        Some(kv) => adopt(tx, context, sweep, kv)?,
        None => false,
    };
    if adopted && block.is_none() {
        // What is in it is not known: of all its addresses one was read, which is no borrowed one.
        let at_once = Now { boot: now.boot.saturating_sub(LATE), ..now };
        plan_sweeps(tx, at_once, std::iter::once((id.clone(), sweep.addr)))?;
        return Ok(Some(Found { removed: 0, adopted }));
    }
    let mut found = 0;
    let mut there = BTreeSet::new();
    for kv in reply.got(2) {
        let Some(Key::Address { addr, .. }) = context.keys.parse(&kv.key) else { continue };
        there.insert(addr);
        let record: AddressRecord = record::read(kv).unwrap_or_default();
        let ours =
            record.u.as_deref() == Some(tx.node().uuid.as_str()) && record.st == AddressState::Used;
        if tx.dirty(id, addr)?.is_some() || tx.at(id, addr)?.is_some() {
            // What is to be there is known, and a flush finds out what is.
            continue;
        }
        if ours && record.x == IMPORTED && record.b == context.boot {
            // A pod that another IPAM has given its address to: it is this one's from now on.
            import(tx, id, addr, block.as_ref(), kv, &record)?;
        } else if ours {
            found += 1;
            let seq = next_seq(tx)?;
            // When an attachment of a former boot ended nobody knows: it rests from now on.
            let due = if record.b == context.boot { 0 } else { rests_until(tx, now, id) };
            tx.set_dirty(&Dirty {
                id: id.clone(),
                addr,
                base: kv.modified,
                seq,
                fence: block.as_ref().map_or(0, |block| block.fence),
                borrowed: block.is_none(),
                since: now.unix,
                due,
            })?;
        } else if block.is_some() {
            tx.occupy(id, addr)?;
        }
    }
    if let Some(block) = &block {
        if block.state == BlockState::Returning && !there.is_empty() {
            // It is not empty after all, and by now it is known what is in it.
            set_state(tx, block, BlockState::Held)?;
        }
        for allocation in tx.within(id, block.interval())? {
            if allocation.revision != 0 && !there.contains(&allocation.addr) {
                lost_record(tx, now, &allocation)?;
            }
        }
        if block.mode == Mode::Sync {
            for addr in tx.occupied(id, block.interval())? {
                if !there.contains(&addr) {
                    tx.vacate(id, addr)?;
                }
            }
        }
    } else if there.is_empty()
        && tx.at(id, sweep.addr)?.is_none()
        && tx.dirty(id, sweep.addr)?.is_none()
    {
        let mut node = tx.node().clone();
        node.borrowed.retain(|borrowed| borrowed.id != *id || borrowed.addr != sweep.addr);
        if node != *tx.node() {
            tx.set_node(node)?;
        }
    }
    let mut boot = tx.boot().clone();
    boot.sweeps.retain(|other| other.id != *id || other.addr != sweep.addr || other.due > now.boot);
    if boot != *tx.boot() {
        tx.set_boot(boot.clone())?;
    }
    let mut node = tx.node().clone();
    // One that is under way has a plan of its own.
    let planned = boot.sweeps.iter().any(|other| other.id == *id && other.addr == sweep.addr);
    node.claiming.retain(|claim| planned || claim.id != *id || claim.addr != sweep.addr);
    if node != *tx.node() {
        tx.set_node(node)?;
    }
    Ok(Some(Found { removed: found, adopted: false }))
}

/// What a block of this node, or an address that it borrows, holds according to etcd, where the node's own table was
/// lost: what this boot has written becomes allocations again.
pub(in crate::ops) fn recover<T: Tx>(
    tx: &mut T,
    context: &Context,
    (id, addr): (&PoolId, Addr),
    kvs: &[Kv],
) -> Result<(), T::Error> {
    let block = tx.node().block_of(&id.space, addr).cloned();
    for kv in kvs {
        let Some(Key::Address { addr, .. }) = context.keys.parse(&kv.key) else { continue };
        if tx.dirty(id, addr)?.is_some() || tx.at(id, addr)?.is_some() {
            continue;
        }
        let record: AddressRecord = record::read(kv).unwrap_or_default();
        let ours =
            record.u.as_deref() == Some(tx.node().uuid.as_str()) && record.st == AddressState::Used;
        if ours && record.b == context.boot {
            import(tx, id, addr, block.as_ref(), kv, &record)?;
        } else if !ours && block.is_some() {
            tx.occupy(id, addr)?;
        }
    }
    Ok(())
}

/// An imported record becomes an allocation; one that names nobody is another's for ever.
fn import<T: Tx>(
    tx: &mut T,
    id: &PoolId,
    addr: Addr,
    block: Option<&Block>,
    kv: &Kv,
    record: &AddressRecord,
) -> Result<(), T::Error> {
    let names = (
        Network::new(record.w.as_str()),
        ContainerId::new(record.c.as_str()),
        IfName::new(record.i.as_str()),
    );
    let (Ok(network), Ok(container), Ok(ifname)) = names else { return tx.occupy(id, addr) };
    let (namespace, name) = match record.p.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), Some(name.to_owned())),
        None => (None, None),
    };
    let allocation = Allocation {
        id: id.clone(),
        addr,
        network,
        attachment: Attachment { container, ifname },
        owner: Owner { namespace, name, uid: None },
        nonce: record.x.clone(),
        since: record.t,
        revision: kv.modified,
        fence: block.map_or(0, |block| block.fence),
        borrowed: block.is_none(),
    };
    tx.insert(&allocation, 0)
}

pub(super) fn set_state<T: Tx>(
    tx: &mut T,
    block: &Block,
    state: BlockState,
) -> Result<(), T::Error> {
    let mut node = tx.node().clone();
    for held in
        node.blocks.iter_mut().filter(|held| held.id == block.id && held.first == block.first)
    {
        held.state = state;
    }
    tx.set_node(node)
}

/// The record of an allocation is not there any more: it is written anew.
fn lost_record<T: Tx>(tx: &mut T, now: Now, allocation: &Allocation) -> Result<(), T::Error> {
    if tx.dirty(&allocation.id, allocation.addr)?.is_some() {
        return Ok(());
    }
    soil(tx, now, &Allocation { revision: 0, ..allocation.clone() }, 0).map(|_| ())
}

/// A block that is this node's in etcd and not here: a late request has claimed it, or an import has. It is given back
/// if it is empty. Tells whether there is one.
fn adopt<T: Tx>(tx: &mut T, context: &Context, sweep: &Sweep, kv: &Kv) -> Result<bool, T::Error> {
    let Some(Key::Block { first, .. }) = context.keys.parse(&kv.key) else { return Ok(false) };
    let record: BlockRecord = record::read(kv).unwrap_or_default();
    let mut node = tx.node().clone();
    if record.u.as_deref() != Some(node.uuid.as_str())
        || node.block_of(&sweep.id.space, first).is_some()
    {
        return Ok(false);
    }
    node.blocks.push(Block {
        id: PoolId { space: sweep.id.space.clone(), pool: record.p },
        first,
        prefix: record.len,
        fence: kv.created,
        mode: record.m,
        autonomy: record.aut,
        state: BlockState::Returning,
    });
    tx.set_node(node)?;
    Ok(true)
}
