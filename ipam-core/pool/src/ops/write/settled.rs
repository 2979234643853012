//! What the ledger says when a row is written, or need not be.

use ipam_core::addr::Addr;

use super::{Row, next_seq, plan_sweeps, rests_until};
use crate::ledger::{Dirty, Tx};
use crate::node::PoolId;
use crate::op::Now;

/// A row is written: unless it has changed since, it waits no more.
pub(super) fn written<T: Tx>(
    tx: &mut T,
    now: Now,
    row: &Row,
    revision: i64,
) -> Result<(), T::Error> {
    let Dirty { id, addr, .. } = &row.dirty;
    let base = if row.allocation.is_some() { revision } else { 0 };
    if let Some(allocation) = &row.allocation
        && tx.at(id, *addr)?.is_some_and(|held| held.nonce == allocation.nonce)
    {
        tx.set_revision(id, *addr, revision)?;
    }
    match tx.dirty(id, *addr)? {
        Some(waiting) if waiting.seq == row.dirty.seq => {
            tx.clear_dirty(id, *addr)?;
            if row.allocation.is_none() && row.dirty.borrowed {
                forget_borrowed(tx, now, id, *addr)?;
            }
            Ok(())
        }
        Some(waiting) => tx.set_dirty(&Dirty { base, ..waiting }),
        None => overtaken(tx, now, row, base),
    }
}

/// Nothing waits, and something was written: it may have been overtaken by what came after it.
fn overtaken<T: Tx>(tx: &mut T, now: Now, row: &Row, base: i64) -> Result<(), T::Error> {
    let Dirty { id, addr, .. } = &row.dirty;
    let held = tx.at(id, *addr)?.map(|held| held.nonce);
    let meant = row.allocation.as_ref().map(|allocation| allocation.nonce.clone());
    if held == meant {
        return Ok(());
    }
    let seq = next_seq(tx)?;
    let due = if held.is_some() { 0 } else { rests_until(tx, now, id) };
    tx.set_dirty(&Dirty { base, seq, due, ..row.dirty.clone() })
}

/// The record of a row is gone already.
pub(super) fn settle_deleted<T: Tx>(tx: &mut T, now: Now, dirty: &Dirty) -> Result<(), T::Error> {
    match tx.dirty(&dirty.id, dirty.addr)? {
        Some(waiting) if waiting.seq == dirty.seq => {
            tx.clear_dirty(&dirty.id, dirty.addr)?;
            if dirty.borrowed {
                forget_borrowed(tx, now, &dirty.id, dirty.addr)?;
            }
            Ok(())
        }
        Some(waiting) => tx.set_dirty(&Dirty { base: 0, ..waiting }),
        None => Ok(()),
    }
}

/// The record has another revision than was thought.
pub(super) fn rebase<T: Tx>(tx: &mut T, dirty: &Dirty, base: i64) -> Result<(), T::Error> {
    match tx.dirty(&dirty.id, dirty.addr)? {
        Some(waiting) => tx.set_dirty(&Dirty { base, ..waiting }),
        None => Ok(()),
    }
}

/// A borrowed address is given back. It is forgotten when nothing can write it any more.
fn forget_borrowed<T: Tx>(tx: &mut T, now: Now, id: &PoolId, addr: Addr) -> Result<(), T::Error> {
    plan_sweeps(tx, now, std::iter::once((id.clone(), addr))).map(|_| ())
}
