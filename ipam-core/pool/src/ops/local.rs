//! What only changes the node's ledger.

use ipam_core::addr::{Addr, Family};
use ipam_core::identity::{Attachment, Network};
use ipam_core::store::Valid;

use crate::ledger::{Allocation, Ledger, Tx};
use crate::node::{NodeState, PoolId};
use crate::op::Now;
use crate::ops::Trouble;
use crate::ops::write::{rests_until, soil};
use crate::pool::Pool;
use crate::record::Mode;

/// Frees what an attachment holds, of one pool or of all, and tells what that was.
///
/// # Errors
/// The ledger's.
pub fn release<L: Ledger>(
    ledger: &mut L,
    now: Now,
    id: Option<&PoolId>,
    network: &Network,
    attachment: &Attachment,
) -> Result<Vec<Addr>, L::Error> {
    let freed = ledger.visit(|tx| {
        let held = tx.held(id, network, attachment)?;
        free_all(tx, now, held, false)
    })?;
    Ok(freed.unwrap_or_default())
}

/// Takes back what an ADD has newly given, if it is still what that ADD has given.
///
/// # Errors
/// The ledger's.
pub fn undo<L: Ledger>(
    ledger: &mut L,
    now: Now,
    nonce: &str,
    network: &Network,
    attachment: &Attachment,
) -> Result<(), L::Error> {
    ledger.visit(|tx| take_back(tx, now, nonce, network, attachment)).map(|_| ())
}

/// Frees what no attachment in the list holds, of one network, and tells what that was.
///
/// # Errors
/// The ledger's.
pub fn retain<L: Ledger>(
    ledger: &mut L,
    now: Now,
    id: Option<&PoolId>,
    network: &Network,
    valid: &[Attachment],
) -> Result<Vec<Addr>, L::Error> {
    let valid = Valid::new(valid);
    let freed = ledger.visit(|tx| {
        let held = tx.of_network(id, network)?;
        let stale = held.into_iter().filter(|held| !valid.has(&held.attachment)).collect();
        free_all(tx, now, stale, false)
    })?;
    Ok(freed.unwrap_or_default())
}

/// Takes back the allocations of this name.
pub(super) fn take_back<T: Tx>(
    tx: &mut T,
    now: Now,
    nonce: &str,
    network: &Network,
    attachment: &Attachment,
) -> Result<(), T::Error> {
    let held = tx.held(None, network, attachment)?;
    let ours = held.into_iter().filter(|held| held.nonce == nonce).collect();
    free_all(tx, now, ours, true).map(|_| ())
}

fn free_all<T: Tx>(
    tx: &mut T,
    now: Now,
    stale: Vec<Allocation>,
    undo: bool,
) -> Result<Vec<Addr>, T::Error> {
    for allocation in &stale {
        let due = if undo { 0 } else { rests_until(tx, now, &allocation.id) };
        tx.free(&allocation.id, allocation.addr, undo)?;
        soil(tx, now, allocation, due)?;
    }
    Ok(stale.into_iter().map(|allocation| allocation.addr).collect())
}

/// Why no ADD could be served, as far as the node knows without asking etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It could not be served.
    Trouble(Trouble),
    /// It could, but not for long: more than half of the time without etcd is over.
    Soon {
        /// For how long etcd has been away, in seconds.
        age: u64,
        /// For how long is allowed, in seconds.
        limit: u64,
    },
    /// The node has no address left and must claim a block, for which it needs etcd.
    NeedsBlock,
}

/// Whether an ADD could be served now without etcd. In mode `sync` it never can, but this tells what
/// else would be in the way.
///
/// # Errors
/// The ledger's.
pub fn status<L: Ledger>(
    ledger: &mut L,
    now: Now,
    id: &PoolId,
) -> Result<Option<NotReady>, L::Error> {
    let status = ledger.visit(|tx| {
        let pool = match gate(tx, id)? {
            Ok(pool) => pool,
            Err(trouble) => return Ok(Some(NotReady::Trouble(trouble))),
        };
        let age = tx.boot().contact.map_or(0, |contact| contact.age(now).as_secs());
        let limit = limit(tx.node(), id).filter(|_| pool.mode == Mode::Local);
        if let Some(limit) = limit.filter(|limit| age > *limit) {
            return Ok(Some(NotReady::Trouble(Trouble::Autonomy { age, limit })));
        }
        let families: Vec<Family> = pool.families().collect();
        for family in families {
            if free(tx, id, &pool, family)?.free == 0 {
                return Ok(Some(NotReady::NeedsBlock));
            }
        }
        let soon = limit.filter(|limit| age > limit / 2);
        Ok(soon.map(|limit| NotReady::Soon { age, limit }))
    })?;
    Ok(status.unwrap_or(Some(NotReady::Trouble(Trouble::NoContact))))
}

/// What an ADD needs before anything else: that nothing forbids it, contact in this boot, and the pool.
pub(super) fn gate<T: Tx>(tx: &mut T, id: &PoolId) -> Result<Result<Pool, Trouble>, T::Error> {
    let (node, boot) = (tx.node(), tx.boot());
    if let Some(evicted) = &boot.evicted {
        return Ok(Err(evicted.clone().into()));
    }
    if boot.contact.is_none() {
        return Ok(Err(Trouble::NoContact));
    }
    let Some(known) = node.spaces.get(&id.space) else { return Ok(Err(Trouble::NoContact)) };
    let Some(spec) = known.pools.iter().find(|spec| spec.name == id.pool) else {
        let pools = known.pools.iter().map(|spec| spec.name.clone()).collect();
        return Ok(Err(Trouble::NoPool { name: id.pool.clone(), pools }));
    };
    Ok(Pool::try_from(spec).map_err(Trouble::from))
}

/// For how long the node's blocks are surely its own without contact, in seconds; `None`: for ever.
pub(super) fn limit(node: &NodeState, id: &PoolId) -> Option<u64> {
    let blocks = node.blocks.iter().filter(|block| block.id == *id);
    blocks.map(|block| block.autonomy).filter(|limit| *limit != 0).min()
}

/// What is left of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Addresses that may be given out of the blocks.
    pub(super) all: u128,
    /// Those that are free.
    pub(super) free: u128,
}

/// What is left in the node's blocks.
pub(super) fn free<T: Tx>(
    tx: &mut T,
    id: &PoolId,
    pool: &Pool,
    family: Family,
) -> Result<Room, T::Error> {
    let blocks: Vec<_> = tx.node().usable(id, family).cloned().collect();
    let mut room = Room::default();
    let Some(set) = pool.range_set(blocks.iter()) else { return Ok(room) };
    for range in set.ranges() {
        for interval in range.usable() {
            let used = tx.usage(id, interval)?;
            let taken =
                u128::from(used.held) + u128::from(used.resting) + u128::from(used.occupied);
            room.all += interval.count();
            room.free += interval.count().saturating_sub(taken);
        }
    }
    Ok(room)
}
