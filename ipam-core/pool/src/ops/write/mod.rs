/*!
Writing addresses to etcd: the transaction, and what its answer means.

A row of the outbox says which address is behind; what is written is what the allocations say. Every write
compares the revision of the address's key as it was last known, the fence of its block, that the node was
not removed, and that it is this boot that writes for the node. A failure brings the keys as they are, which
is all that is needed to try again or to give up.
*/

mod settled;
mod standing;
mod sweeps;

use std::collections::BTreeMap;

use ipam_core::addr::{Addr, Cidr, Interval};

use crate::key::block_of;
use crate::ledger::{Allocation, Dirty, Tx};
use crate::node::{BlockState, Evicted, NodeState, PoolId, seen};
use crate::op::{Loss, Now};
use crate::ops::{Context, Trouble};
use crate::pool::Pool;
use crate::record::{self, AddressRecord, AddressState, BlockRecord, ExceptionRecord, Mode};
use crate::txn::{BATCH, Compare, Kv, MOST, Op, Reply, Txn};

pub(super) use standing::{
    evict, fallen, meet, recognise, restored, standing, standing_evidence, touch,
};
pub(super) use sweeps::{LATE, forget_sweeps, hold_sweeps, plan_sweeps};

use settled::{rebase, settle_deleted, written};

/// What etcd is to hold for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) dirty: Dirty,
    /// Who holds it; `None`: the record is to go.
    pub(super) allocation: Option<Allocation>,
}

/// The rows of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    fences: Vec<(PoolId, Addr, i64)>,
    uuid: String,
    index: u32,
    /// The sweeps that are planned for the case that no answer comes.
    token: u64,
    /// The newest revision of etcd that was seen before this was sent.
    seen: i64,
}

/// What an answer means for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Everything is written.
    Written,
    /// Nothing was; what is left should be tried again.
    Again,
    /// Nothing was, and these addresses are another's.
    Taken(Vec<Taken>),
}

/// An address that is another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) allocation: Allocation,
    pub(super) by: String,
}

/// Until when the record of an address that is freed now is kept, in milliseconds since boot; 0: not at all. Others
/// know nothing of its rest: where they may have it next, it is let go when it has rested.
pub(super) fn rests_until<T: Tx>(tx: &T, now: Now, id: &PoolId) -> u64 {
    match pool_of(tx.node(), id) {
        Some(pool) if pool.mode == Mode::Sync && !pool.strict && !pool.cooldown.is_zero() => {
            now.boot.saturating_add(pool.cooldown.as_secs().saturating_mul(1000))
        }
        _ => 0,
    }
}

/// The next number of a change.
pub(super) fn next_seq<T: Tx>(tx: &mut T) -> Result<u64, T::Error> {
    let mut boot = tx.boot().clone();
    boot.seq = boot.seq.saturating_add(1);
    let seq = boot.seq;
    tx.set_boot(boot)?;
    Ok(seq)
}

/// Notes that the record of an address is behind.
pub(super) fn soil<T: Tx>(
    tx: &mut T,
    now: Now,
    allocation: &Allocation,
    due: u64,
) -> Result<Dirty, T::Error> {
    let seq = next_seq(tx)?;
    let waiting = tx.dirty(&allocation.id, allocation.addr)?;
    let dirty = Dirty {
        id: allocation.id.clone(),
        addr: allocation.addr,
        base: waiting.as_ref().map_or(allocation.revision, |waiting| waiting.base),
        seq,
        fence: allocation.fence,
        borrowed: allocation.borrowed,
        since: waiting.map_or(now.unix, |waiting| waiting.since),
        due,
    };
    tx.set_dirty(&dirty)?;
    Ok(dirty)
}

/// The record of an allocation.
fn record_of(context: &Context, batch: &Batch, allocation: &Allocation) -> AddressRecord {
    let owner = &allocation.owner;
    let pod = match (&owner.namespace, &owner.name) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => String::new(),
    };
    AddressRecord {
        n: Some(batch.index),
        u: Some(batch.uuid.clone()),
        b: context.boot.clone(),
        c: allocation.attachment.container.as_str().to_owned(),
        i: allocation.attachment.ifname.as_str().to_owned(),
        w: allocation.network.as_str().to_owned(),
        p: pod,
        t: allocation.since,
        x: allocation.nonce.clone(),
        st: AddressState::Used,
        ..AddressRecord::default()
    }
}

impl Batch {
    /// The rows for as many of these changes as fit into one transaction, with what is held now. Changes in
    /// blocks that were taken away are dropped: they are not this node's to write.
    pub(super) fn collect<T: Tx>(
        tx: &mut T,
        now: Now,
        changes: Vec<Dirty>,
    ) -> Result<Self, T::Error> {
        let node = tx.node();
        let mut batch = Self {
            uuid: node.uuid.clone(),
            index: node.index.unwrap_or_default(),
            ..Self::default()
        };
        // Two compares are the node's own.
        let (mut compares, mut writes) = (2_usize, 0_usize);
        for dirty in changes {
            let own = tx.node().block_of(&dirty.id.space, dirty.addr).cloned();
            if own.as_ref().is_some_and(|block| block.state == BlockState::Revoked) {
                tx.clear_dirty(&dirty.id, dirty.addr)?;
                continue;
            }
            let allocation = tx.at(&dirty.id, dirty.addr)?;
            let fence = match own {
                None if allocation.is_none() => None,
                None => fence_of(tx.node(), &dirty),
                Some(block) => Some((block.id.clone(), block.first, block.fence)),
            };
            let new = fence.filter(|fence| !batch.fences.contains(fence));
            compares += 1 + usize::from(new.is_some());
            writes += 1 + usize::from(dirty.borrowed);
            if compares > MOST || writes > MOST || batch.rows.len() == BATCH {
                break;
            }
            batch.fences.extend(new);
            batch.rows.push(Row { dirty, allocation });
        }
        if !batch.rows.is_empty() {
            // Before it is sent: a call that is killed cannot plan anything.
            let places: Vec<(PoolId, Addr)> = batch.places().collect();
            batch.token = plan_sweeps(tx, now, places.into_iter())?;
            batch.seen = seen(tx.node(), tx.boot());
        }
        Ok(batch)
    }

    /// There is no answer.
    pub(super) fn lost<T: Tx>(&self, tx: &mut T, now: Now, loss: Loss) -> Result<(), T::Error> {
        match loss {
            Loss::Unknown => hold_sweeps(tx, now, self.token),
            Loss::Unsent => forget_sweeps(tx, self.token),
        }
    }

    /// The transaction.
    pub(super) fn txn(&self, context: &Context) -> Txn {
        let keys = &context.keys;
        let mut txn = Txn {
            compares: standing(context, &self.uuid).to_vec(),
            then: Vec::with_capacity(self.rows.len()),
            otherwise: standing_evidence(context, &self.uuid).to_vec(),
        };
        for (id, first, fence) in &self.fences {
            let key = keys.block(&id.space, *first);
            txn.compares.push(Compare::created(key.clone(), *fence));
            txn.otherwise.push(Op::get(key));
        }
        for row in &self.rows {
            let (space, addr) = (&row.dirty.id.space, row.dirty.addr);
            let key = keys.address(space, addr);
            txn.compares.push(Compare::modified(key.clone(), row.dirty.base));
            txn.otherwise.push(Op::get(key.clone()));
            let exception = keys.exception(space, addr);
            match &row.allocation {
                Some(allocation) => {
                    txn.then
                        .push(Op::put(key, record::write(&record_of(context, self, allocation))));
                    if row.dirty.borrowed {
                        let value = ExceptionRecord {
                            n: self.index,
                            u: self.uuid.clone(),
                            ..ExceptionRecord::default()
                        };
                        txn.then.push(Op::put(exception, record::write(&value)));
                    }
                }
                None => {
                    txn.then.push(Op::delete(key));
                    if row.dirty.borrowed {
                        txn.then.push(Op::delete(exception));
                    }
                }
            }
        }
        txn
    }

    /// Where the addresses are.
    pub(super) fn places(&self) -> impl Iterator<Item = (PoolId, Addr)> {
        self.rows.iter().map(|row| (row.dirty.id.clone(), row.dirty.addr))
    }

    /// Carries over what the answer says. After [`Settled::Again`] the rows are what should be tried next.
    pub(super) fn settle<T: Tx>(
        &mut self,
        tx: &mut T,
        context: &Context,
        (sent, now): (Now, Now),
        reply: &Reply,
    ) -> Result<Result<Settled, Trouble>, T::Error> {
        if reply.doubt {
            hold_sweeps(tx, now, self.token)?;
        } else {
            forget_sweeps(tx, self.token)?;
        }
        if let Err(trouble) = meet(tx, reply)? {
            return Ok(Err(trouble));
        }
        if let Some(trouble) = restored(tx, self.seen, reply)? {
            return Ok(Err(trouble));
        }
        if reply.succeeded {
            touch(tx, sent, reply.revision)?;
            for row in &self.rows {
                written(tx, now, row, reply.revision)?;
            }
            return Ok(Ok(Settled::Written));
        }
        if let Some(evicted) = fallen(context, reply.one(0), reply.one(1)) {
            evict(tx, evicted.clone())?;
            return Ok(Err(evicted.into()));
        }
        touch(tx, sent, reply.revision)?;
        let mut unlent = Vec::new();
        if let Some(evicted) = self.lost_blocks(tx, reply, &mut unlent)? {
            return Ok(Err(evicted.into()));
        }
        let mut taken = Vec::new();
        let mut rows = Vec::with_capacity(self.rows.len());
        for (i, mut row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            let kv = reply.one(2 + self.fences.len() + i);
            let lent = !unlent.iter().any(|block| block.contains(row.dirty.addr));
            match self.look(tx, &row, kv, lent)? {
                Looked::Same => rows.push(row),
                Looked::Base(base) => {
                    rebase(tx, &row.dirty, base)?;
                    row.dirty.base = base;
                    rows.push(row);
                }
                Looked::Done => settle_deleted(tx, now, &row.dirty)?,
                Looked::Taken(by) => {
                    taken.extend(row.allocation.map(|allocation| Taken { allocation, by }));
                }
            }
        }
        self.rows = rows;
        self.fences.clear();
        if !taken.is_empty() {
            return Ok(Ok(Settled::Taken(taken)));
        }
        // What waits now, not what did: a DEL in between has to rest first, and others may have written.
        let mut changes = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let waiting = tx.dirty(&row.dirty.id, row.dirty.addr)?;
            changes.extend(waiting.filter(|waiting| waiting.due <= now.boot));
        }
        *self = Self::collect(tx, now, changes)?;
        Ok(Ok(if self.rows.is_empty() { Settled::Written } else { Settled::Again }))
    }

    /// Fences that failed: blocks of this node that were taken away, and blocks it borrows of that are other
    /// ones now.
    fn lost_blocks<T: Tx>(
        &self,
        tx: &mut T,
        reply: &Reply,
        unlent: &mut Vec<Interval>,
    ) -> Result<Option<Evicted>, T::Error> {
        let mut lost = None;
        // A fence is a revision of etcd's: one that it has not reached yet is of data that it has lost.
        if let Some((_, _, seen)) = self.fences.iter().find(|(_, _, fence)| *fence > reply.revision)
        {
            let evicted = Evicted::Restored { seen: *seen, now: reply.revision };
            evict(tx, evicted.clone())?;
            return Ok(Some(evicted));
        }
        for (i, (id, first, fence)) in self.fences.iter().enumerate() {
            if reply.one(2 + i).is_some_and(|kv| kv.created == *fence) {
                continue;
            }
            let mut node = tx.node().clone();
            let Some(block) = node.blocks.iter_mut().find(|b| b.id == *id && b.first == *first)
            else {
                let part = pool_of(&node, id).and_then(|pool| pool.part(first.family()));
                let block = part.and_then(|part| block_of(*first, part.block));
                unlent.push(block.map_or_else(|| Interval::single(*first), Cidr::network));
                continue;
            };
            block.state = BlockState::Revoked;
            let name = block.cidr().map_or_else(|| first.to_string(), |cidr| cidr.to_string());
            tx.set_node(node)?;
            let evicted = Evicted::Revoked { block: name };
            evict(tx, evicted.clone())?;
            lost = Some(evicted);
        }
        Ok(lost)
    }

    /// What the key of a row says; `lent`: whether its block is the one it was taken out of.
    fn look<T: Tx>(
        &self,
        tx: &mut T,
        row: &Row,
        kv: Option<&Kv>,
        lent: bool,
    ) -> Result<Looked, T::Error> {
        let Dirty { id, addr, base, .. } = &row.dirty;
        if row.allocation.is_some() && !lent {
            return Ok(Looked::Taken("no longer lent: its block was given back".to_owned()));
        }
        let Some(kv) = kv else {
            return Ok(match (row.allocation.is_some(), *base) {
                (true, 0) => Looked::Same,
                (true, _) => Looked::Base(0),
                (false, _) => Looked::Done,
            });
        };
        let found: AddressRecord = record::read(kv).unwrap_or_default();
        if found.u.as_deref() == Some(self.uuid.as_str()) && found.st == AddressState::Used {
            return Ok(if kv.modified == *base { Looked::Same } else { Looked::Base(kv.modified) });
        }
        if row.allocation.is_none() {
            // It was freed here, and somebody has it already.
            if tx.node().block_of(&id.space, *addr).is_some_and(|block| block.mode == Mode::Sync) {
                tx.occupy(id, *addr)?;
            }
            return Ok(Looked::Done);
        }
        Ok(Looked::Taken(holder(&found)))
    }
}

/// What the key of a row turned out to be.
enum Looked {
    /// As it was thought to be.
    Same,
    /// This node's own, of this revision; 0: there is none.
    Base(i64),
    /// There is nothing left to do.
    Done,
    /// Another's.
    Taken(String),
}

/// Who has an address, in words.
pub(super) fn holder(record: &AddressRecord) -> String {
    let pod = if record.p.is_empty() { String::new() } else { format!(" ({})", record.p) };
    match record.st {
        AddressState::Resv => format!("reserved{pod}"),
        AddressState::Park => format!("kept for a pod that is away{pod}"),
        AddressState::Used => match record.n {
            Some(n) => format!("in use on node {n}{pod}"),
            None => format!("in use{pod}"),
        },
    }
}

/// A pool as the node knows it.
pub(super) fn pool_of(node: &NodeState, id: &PoolId) -> Option<Pool> {
    let spec = node.spaces.get(&id.space)?.pools.iter().find(|spec| spec.name == id.pool)?;
    Pool::try_from(spec).ok()
}

/// The fence that a borrowed address is written under.
fn fence_of(node: &NodeState, dirty: &Dirty) -> Option<(PoolId, Addr, i64)> {
    let part = pool_of(node, &dirty.id)?.part(dirty.addr.family())?;
    let block = block_of(dirty.addr, part.block)?;
    Some((dirty.id.clone(), block.addr(), dirty.fence))
}

/// A block's record for this node.
pub(super) fn block_record(node: &NodeState, pool: &Pool, prefix: u8, now: Now) -> BlockRecord {
    BlockRecord {
        n: node.index,
        u: Some(node.uuid.clone()),
        len: prefix,
        p: pool.name.clone(),
        m: pool.mode,
        aut: pool.autonomy,
        t: now.unix,
        ..BlockRecord::default()
    }
}

/// The changes of an attachment's own allocations that wait.
pub(super) fn changes_of<'a, T: Tx>(
    tx: &mut T,
    allocations: impl Iterator<Item = &'a Allocation>,
) -> Result<Vec<Dirty>, T::Error> {
    let mut by_addr = BTreeMap::new();
    for allocation in allocations {
        if let Some(dirty) = tx.dirty(&allocation.id, allocation.addr)? {
            by_addr.insert(allocation.addr, dirty);
        }
    }
    Ok(by_addr.into_values().collect())
}
