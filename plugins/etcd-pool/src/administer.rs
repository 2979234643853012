//! Driving what an operator changes.

use std::time::Instant;

use ipam_pool::admin::{AdminError, Administer};
use ipam_pool::op::{Event, Loss, Now, Step};

use crate::client::{Etcd, EtcdError, Kind};

/// Runs a machine of [`ipam_pool::admin`]. Requests are repeated until the deadline; what etcd's trouble was is
/// told beside.
pub fn administer<A: Administer>(
    machine: &mut A,
    etcd: &mut Etcd,
    clock: fn() -> Now,
    deadline: Instant,
) -> (Result<A::Output, AdminError>, Option<EtcdError>) {
    let (mut event, mut last) = (Event::Begin, None);
    loop {
        match machine.step(clock(), &event) {
            Step::Done(output) => return (output, last),
            Step::Ask(txn) => match etcd.txn(&txn, deadline) {
                Ok(reply) => event = Event::Reply(reply),
                Err(error) => {
                    let unknown = error.kind == Kind::Unknown;
                    event = Event::Lost(if unknown { Loss::Unknown } else { Loss::Unsent });
                    last = Some(error);
                }
            },
        }
    }
}
