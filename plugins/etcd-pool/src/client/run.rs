//! Driving an operation.

use std::time::Instant;

use ipam_pool::ledger::Ledger;
use ipam_pool::op::{Event, Loss, Now, Operation, Step};
use ipam_pool::txn::Txn;

use super::{Etcd, EtcdError, Kind};

/// Runs an operation. Requests are repeated until the deadline; what etcd's trouble was is told beside.
///
/// # Errors
/// The ledger's.
pub fn run<L: Ledger, O: Operation<L>>(
    operation: &mut O,
    ledger: &mut L,
    etcd: &mut Etcd,
    clock: fn() -> Now,
    deadline: Instant,
) -> Result<(O::Output, Option<EtcdError>), L::Error> {
    let (mut event, mut last) = (Event::Begin, None);
    loop {
        match operation.step(ledger, clock(), event)? {
            Step::Done(output) => return Ok((output, last)),
            Step::Ask(txn) => event = ask(etcd, &txn, deadline, &mut last),
        }
    }
}

/// Carries out a transaction; `last` is what etcd's trouble was, if there is any.
pub(crate) fn ask(
    etcd: &mut Etcd,
    txn: &Txn,
    deadline: Instant,
    last: &mut Option<EtcdError>,
) -> Event {
    match etcd.txn(txn, deadline) {
        Ok(reply) => Event::Reply(reply),
        Err(error) => {
            let unknown = error.kind == Kind::Unknown;
            *last = Some(error);
            Event::Lost(if unknown { Loss::Unknown } else { Loss::Unsent })
        }
    }
}
