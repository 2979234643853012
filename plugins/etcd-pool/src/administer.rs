//! Driving what an operator changes.

use std::time::Instant;

use ipam_pool::admin::{AdminError, Administer};
use ipam_pool::op::{Event, Now, Step};

use crate::client::{Etcd, EtcdError, ask};

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
            Step::Ask(txn) => event = ask(etcd, &txn, deadline, &mut last),
        }
    }
}
