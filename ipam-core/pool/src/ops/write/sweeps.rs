//! Plans for the case that the outcome of a write is not known.

use ipam_core::addr::Addr;

use crate::ledger::Tx;
use crate::node::{PoolId, Sweep};
use crate::op::Now;

/// For how long a request that got no answer may still arrive, in milliseconds.
pub(in crate::ops) const LATE: u64 = 60_000;

/// Plans to compare these addresses' blocks with etcd, once nothing that is sent now can arrive any more. What
/// it answers takes the plan back, or puts it off: see [`forget_sweeps`] and [`hold_sweeps`].
pub(in crate::ops) fn plan_sweeps<T: Tx>(
    tx: &mut T,
    now: Now,
    places: impl Iterator<Item = (PoolId, Addr)>,
) -> Result<u64, T::Error> {
    let mut boot = tx.boot().clone();
    boot.seq = boot.seq.saturating_add(1);
    let (due, token) = (now.boot.saturating_add(LATE), boot.seq);
    for (id, addr) in places {
        let addr = tx.node().block_of(&id.space, addr).map_or(addr, |block| block.first);
        let planned = |other: &Sweep| other.token == token && other.addr == addr && other.id == id;
        if !boot.sweeps.iter().any(planned) {
            boot.sweeps.push(Sweep { id, addr, due, token });
        }
    }
    tx.set_boot(boot)?;
    Ok(token)
}

/// The write is answered: nothing of it is under way any more.
pub(in crate::ops) fn forget_sweeps<T: Tx>(tx: &mut T, token: u64) -> Result<(), T::Error> {
    let mut boot = tx.boot().clone();
    boot.sweeps.retain(|sweep| sweep.token != token);
    if boot == *tx.boot() { Ok(()) } else { tx.set_boot(boot) }
}

/// The write, or another copy of it, may still arrive.
pub(in crate::ops) fn hold_sweeps<T: Tx>(tx: &mut T, now: Now, token: u64) -> Result<(), T::Error> {
    let mut boot = tx.boot().clone();
    for sweep in boot.sweeps.iter_mut().filter(|sweep| sweep.token == token) {
        sweep.due = now.boot.saturating_add(LATE);
    }
    if boot == *tx.boot() { Ok(()) } else { tx.set_boot(boot) }
}
