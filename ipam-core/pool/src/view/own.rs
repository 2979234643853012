/*!
How what a node holds differs from what etcd says of it.

What is different because it waits in the outbox is none: it is on its way.
*/

use std::collections::BTreeSet;

use ipam_core::addr::Addr;

use super::snapshot::Snapshot;
use crate::ledger::{Allocation, Dirty, Ledger, Tx};
use crate::node::{BlockState, BootState, NodeState, PoolId};
use crate::record::AddressState;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is called, one word for programs.
    pub kind: &'static str,
    /// Its pool.
    pub id: PoolId,
    /// The address, or the first one of a block.
    pub addr: Addr,
    /// What is different, one sentence without a full stop.
    pub what: String,
    /// What is put into the outbox to write the node's own record anew; its `seq` is the caller's to set.
    /// `None`: the node's upkeep or a person does it.
    pub mend: Option<Dirty>,
}

/// Compares what a node holds, and what waits in its outbox, with a snapshot.
pub fn compare(
    node: &NodeState,
    held: &[Allocation],
    outbox: &[Dirty],
    snapshot: &Snapshot,
) -> Vec<Difference> {
    let waits: BTreeSet<(&str, Addr)> =
        outbox.iter().map(|dirty| (dirty.id.space.as_str(), dirty.addr)).collect();
    let mut found = Vec::new();
    held_blocks(node, snapshot, &mut found);
    records_missing(node, held, &waits, snapshot, &mut found);
    records_left(node, held, &waits, snapshot, &mut found);
    found
}

fn held_blocks(node: &NodeState, snapshot: &Snapshot, found: &mut Vec<Difference>) {
    for block in node.blocks.iter().filter(|block| block.state == BlockState::Held) {
        let there = snapshot
            .spaces
            .get(&block.id.space)
            .and_then(|space| space.blocks.get(&block.first))
            .filter(|there| there.created == block.fence);
        if there.is_some() {
            continue;
        }
        found.push(Difference {
            kind: "block-lost",
            id: block.id.clone(),
            addr: block.first,
            what: format!(
                "this node holds block {}/{}, and etcd does not say so",
                block.first, block.prefix
            ),
            mend: None,
        });
    }
    for (name, space) in &snapshot.spaces {
        for (first, block) in &space.blocks {
            let mine = block.record.u.as_deref() == Some(node.uuid.as_str());
            let known = node.blocks.iter().any(|own| own.id.space == *name && own.first == *first);
            if mine && !known {
                found.push(Difference {
                    kind: "block-unknown",
                    id: PoolId { space: name.clone(), pool: block.record.p.clone() },
                    addr: *first,
                    what: format!(
                        "etcd says that this node holds block {first}/{}, and it does not know it",
                        block.record.len
                    ),
                    mend: None,
                });
            }
        }
    }
}

fn records_missing(
    node: &NodeState,
    held: &[Allocation],
    waits: &BTreeSet<(&str, Addr)>,
    snapshot: &Snapshot,
    found: &mut Vec<Difference>,
) {
    for allocation in held {
        if waits.contains(&(allocation.id.space.as_str(), allocation.addr)) {
            continue;
        }
        let there =
            snapshot.spaces.get(&allocation.id.space).and_then(|space| space.at(allocation.addr));
        let pod =
            allocation.owner.name.as_deref().unwrap_or(allocation.attachment.container.as_str());
        let addr = allocation.addr;
        let (kind, what, base) = match there {
            None => (
                "record-missing",
                format!("{addr} is held by {pod}, and etcd has no record"),
                Some(0),
            ),
            Some(used) if *used.uuid != *node.uuid || used.state != AddressState::Used => (
                "record-foreign",
                format!(
                    "{addr} is held by {pod}, and in etcd it is {}'s",
                    if used.uuid.is_empty() { "nobody" } else { snapshot.name_of(&used.uuid) }
                ),
                None,
            ),
            Some(used) if *used.container != *allocation.attachment.container.as_str() => (
                "record-differs",
                format!("{addr} is held by {pod}, and etcd names container {}", used.container),
                Some(used.modified),
            ),
            Some(_) => continue,
        };
        let mend = base.map(|base| Dirty {
            id: allocation.id.clone(),
            addr,
            base,
            seq: 0,
            fence: allocation.fence,
            borrowed: allocation.borrowed,
            since: allocation.since,
            due: 0,
        });
        found.push(Difference { kind, id: allocation.id.clone(), addr, what, mend });
    }
}

/// Records of this node that it holds nothing for.
fn records_left(
    node: &NodeState,
    held: &[Allocation],
    waits: &BTreeSet<(&str, Addr)>,
    snapshot: &Snapshot,
    found: &mut Vec<Difference>,
) {
    let own: BTreeSet<(&str, Addr)> =
        held.iter().map(|held| (held.id.space.as_str(), held.addr)).collect();
    for (name, space) in &snapshot.spaces {
        for used in &space.addresses {
            let key = (name.as_str(), used.addr);
            if used.state != AddressState::Used
                || *used.uuid != *node.uuid
                || used.imported
                || own.contains(&key)
                || waits.contains(&key)
            {
                continue;
            }
            let block = node.block_of(name, used.addr);
            let pool = space.pool_of(used.addr).map_or(String::new(), |pool| pool.name.clone());
            let id = block.map_or(PoolId { space: name.clone(), pool }, |block| block.id.clone());
            found.push(Difference {
                kind: "record-left",
                addr: used.addr,
                what: format!(
                    "etcd says that this node uses {} for {}, and it does not",
                    used.addr,
                    if used.pod.is_empty() { &used.container } else { &used.pod }
                ),
                mend: block.map(|block| Dirty {
                    id: id.clone(),
                    addr: used.addr,
                    base: used.modified,
                    seq: 0,
                    fence: block.fence,
                    borrowed: false,
                    since: used.since,
                    due: 0,
                }),
                id,
            });
        }
    }
}

/// What a node holds in its own store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What survives a boot.
    pub node: NodeState,
    /// What dies with it.
    pub boot: BootState,
    /// What its attachments hold.
    pub held: Vec<Allocation>,
    /// What waits to be written.
    pub outbox: Vec<Dirty>,
}

/// Reads what a node holds; `None` if it has no store. To be read before the snapshot that it is compared with.
///
/// # Errors
/// If the store cannot be read.
pub fn own<L: Ledger>(ledger: &mut L) -> Result<Option<Own>, L::Error> {
    ledger.visit(|tx| {
        let node = tx.node().clone();
        let mut held = Vec::new();
        for block in &node.blocks {
            held.extend(tx.within(&block.id, block.interval())?);
        }
        for borrowed in &node.borrowed {
            held.extend(tx.at(&borrowed.id, borrowed.addr)?);
        }
        let outbox = tx.outbox(u64::MAX, usize::MAX)?;
        Ok(Own { node, boot: tx.boot().clone(), held, outbox })
    })
}

/// Puts what differs into the outbox, so that the next flush writes what the allocations say then; tells how
/// many. What waits there already is left alone.
///
/// # Errors
/// If the store cannot be written.
pub fn rewrite<L: Ledger>(ledger: &mut L, found: &[Difference]) -> Result<usize, L::Error> {
    ledger.transact(|tx| {
        let mut count = 0;
        for dirty in found.iter().filter_map(|difference| difference.mend.as_ref()) {
            if tx.dirty(&dirty.id, dirty.addr)?.is_some() {
                continue;
            }
            let mut boot = tx.boot().clone();
            boot.seq = boot.seq.saturating_add(1);
            let dirty = Dirty { seq: boot.seq, ..dirty.clone() };
            tx.set_boot(boot)?;
            tx.set_dirty(&dirty)?;
            count += 1;
        }
        Ok(count)
    })
}
