//! Giving back blocks that are empty.

use ipam_core::addr::Family;

use super::compare::set_state;
use crate::ledger::{Backlog, Tx};
use crate::node::{Block, BlockState, Sweep};
use crate::op::Now;
use crate::ops::Context;
use crate::ops::local::{Room, free};
use crate::ops::write::{LATE, plan_sweeps, pool_of, standing, standing_evidence};
use crate::pool::Pool;
use crate::record::Mode;
use crate::txn::{Compare, Op, Reply, Txn};

/// Whether the blocks of a family are of one address; `None` if the pool has no such family.
pub(super) fn single(pool: &Pool, family: Family) -> Option<bool> {
    pool.part(family).map(|part| part.block == family.bits())
}

/// The transaction that gives a block back, if it is empty and not missed: here it is given up first, so that
/// nothing is given out of it any more.
pub(super) fn give_back<T: Tx>(
    tx: &mut T,
    context: &Context,
    at: Now,
    block: &Block,
) -> Result<Option<Txn>, T::Error> {
    let same = |other: &Block| {
        other.id == block.id && other.first == block.first && other.fence == block.fence
    };
    let Some(now) = tx.node().blocks.iter().find(|other| same(other)).cloned() else {
        return Ok(None);
    };
    let usage = tx.usage(&block.id, block.interval())?;
    if usage.held > 0 || usage.resting > 0 || waits(tx, block)? {
        return Ok(None);
    }
    if now.state == BlockState::Held && usage.occupied > 0 {
        // Reserved, or lent when it was looked at last.
        if now.mode == Mode::Sync {
            let first = (block.id.clone(), block.first);
            let planned = |s: &Sweep| s.id == first.0 && s.addr == first.1;
            if !tx.boot().sweeps.iter().any(planned) {
                plan_sweeps(tx, at, std::iter::once(first))?;
            }
        }
        return Ok(None);
    }
    if now.state == BlockState::Held {
        if !is_spare(tx, block)? {
            return Ok(None);
        }
        set_state(tx, block, BlockState::Returning)?;
    }
    let uuid = tx.node().uuid.clone();
    let keys = &context.keys;
    let key = keys.block(&block.id.space, block.first);
    let addresses = keys.addresses(&block.id.space, block.interval());
    let mut compares = standing(context, &uuid).to_vec();
    compares.push(Compare::created(key.clone(), block.fence));
    compares.push(Compare::empty(addresses.clone()));
    let mut otherwise = standing_evidence(context, &uuid).to_vec();
    otherwise.extend([Op::get(key.clone()), Op::keys(addresses, 1)]);
    Ok(Some(Txn { compares, then: vec![Op::delete(key)], otherwise }))
}

/// Whether a write into the block waits, or may still arrive.
fn waits<T: Tx>(tx: &mut T, block: &Block) -> Result<bool, T::Error> {
    let interval = block.interval();
    if tx.boot().sweeps.iter().any(|s| s.id.space == block.id.space && interval.contains(s.addr)) {
        return Ok(true);
    }
    let Backlog { count, .. } = tx.backlog()?;
    if count == 0 {
        return Ok(false);
    }
    let all = tx.outbox(u64::MAX, usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok(all.iter().any(|d| d.id.space == block.id.space && interval.contains(d.addr)))
}

/// Whether the node does well without an empty block: half of what the others have is free. A block of one
/// address is let go at once: pools of those are small, and others wait.
fn is_spare<T: Tx>(tx: &mut T, block: &Block) -> Result<bool, T::Error> {
    let Some(pool) = pool_of(tx.node(), &block.id) else { return Ok(true) };
    if single(&pool, block.family()).unwrap_or(true) {
        return Ok(true);
    }
    let Room { all, free } = free(tx, &block.id, &pool, block.family())?;
    let own = pool
        .range_set(std::iter::once(block))
        .map_or(0, |set| set.ranges().iter().flat_map(|r| r.usable()).map(|i| i.count()).sum());
    let (all, free) = (all.saturating_sub(own), free.saturating_sub(own));
    Ok(all > 0 && free.saturating_mul(2) >= all)
}

/// What the answer to a return means; tells whether the block is gone.
pub(super) fn given_back<T: Tx>(
    tx: &mut T,
    now: Now,
    block: &Block,
    reply: &Reply,
) -> Result<bool, T::Error> {
    let mut node = tx.node().clone();
    let same = |other: &Block| {
        other.id == block.id && other.first == block.first && other.fence == block.fence
    };
    let other = reply.one(2).is_none_or(|kv| kv.created != block.fence);
    if reply.succeeded || other {
        node.blocks.retain(|held| !same(held));
        tx.set_node(node)?;
        for addr in tx.occupied(&block.id, block.interval())? {
            tx.vacate(&block.id, addr)?;
        }
        return Ok(true);
    }
    // A record is in there: somebody borrows of it, or a late write has arrived. Before anything is given out
    // of it again, it must be known which.
    let due = Now { boot: now.boot.saturating_sub(LATE), ..now };
    plan_sweeps(tx, due, std::iter::once((block.id.clone(), block.first)))?;
    Ok(false)
}
