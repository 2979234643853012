/*!
What an operator changes: pools, nodes, reservations.

An [`Administer`] is a machine like an [`Operation`](crate::op::Operation), without a node's ledger: it may
run on any machine that reaches etcd. Each can be run again after a lost answer or a crash: it looks at what is
there, does what is missing, and says so. Whatever it writes compares what it has read, so that two operators,
or an operator and a node, cannot pass each other unseen.

- [`ChangePools`] creates, changes and removes pools.
- [`Look`] reads nodes, pools and blocks, for people and for the others.
- [`RemoveNode`] and [`CancelRemoval`] take away what a node holds, after the time for which it may go on
  without etcd.
- [`Adopt`] lets a machine that was installed anew go on as the node that it was, [`Anew`] as another one.
- [`Reserve`] keeps single addresses from being given out.
*/

mod adopt;
mod error;
mod hold;
mod look;
mod patch;
mod plan;
mod pools;
mod remove;
mod reserve;
mod scan;
mod usage;

pub use adopt::{Adopt, Adopted, Anew, AnewNode};
pub use error::{AdminError, Holding, InTheWay, Use};
pub use hold::{LEASE, hold_of, left};
pub use look::{Cluster, Look, NodeEntry, SpaceEntry, Wanted};
pub use patch::PoolPatch;
pub use plan::{Why, shared};
pub use pools::{Change, ChangePools, Changed};
pub use remove::{CancelRemoval, Removal, RemovalState, RemoveNode, RemoveOptions};
pub use reserve::{Reservation, Reserve, Reserved, Waiting};
pub use usage::{CountPool, PoolUsage};

use crate::op::{Event, Loss, Now, Step};
use crate::record::{Meta, SCHEMA};
use crate::txn::{Kv, Reply};

/// How often something is tried again that others have changed meanwhile.
pub(crate) const TRIES: u32 = 16;

/// A machine that changes what all nodes share.
pub trait Administer {
    /// What it comes to.
    type Output;

    /// Takes the next step: the first one without a reply, each other one with the answer to what was asked.
    ///
    /// # Errors
    /// Why it cannot be done. The machine is over then.
    fn advance(
        &mut self,
        now: Now,
        reply: Option<&Reply>,
    ) -> Result<Step<Self::Output>, AdminError>;

    /// The same for an event. A lost answer ends the machine: whoever wants to go on begins anew.
    fn step(&mut self, now: Now, event: &Event) -> Step<Result<Self::Output, AdminError>> {
        let ended = match event {
            Event::Begin => self.advance(now, None),
            Event::Reply(reply) => self.advance(now, Some(reply)),
            Event::Lost(loss) => Err(AdminError::Away { doubtful: *loss == Loss::Unknown }),
        };
        match ended {
            Ok(Step::Ask(txn)) => Step::Ask(txn),
            Ok(Step::Done(output)) => Step::Done(Ok(output)),
            Err(error) => Step::Done(Err(error)),
        }
    }
}

/// Reads what wrote all this, and refuses what this version must not write.
///
/// # Errors
/// If it cannot be read, or was written by a later version.
pub(crate) fn meta(kv: Option<&Kv>) -> Result<Option<Meta>, AdminError> {
    let Some(kv) = kv else { return Ok(None) };
    let meta: Meta = crate::record::read(kv)?;
    if meta.min_writer > SCHEMA {
        return Err(AdminError::Newer { schema: meta.min_writer, known: SCHEMA });
    }
    Ok(Some(meta))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Etcd;

    /// Runs a machine to its end, at one time.
    pub(crate) fn run<A: Administer>(
        mut machine: A,
        etcd: &mut Etcd,
        now: Now,
    ) -> Result<A::Output, AdminError> {
        let mut event = Event::Begin;
        for _ in 0..10_000 {
            match machine.step(now, &event) {
                Step::Done(output) => return output,
                Step::Ask(txn) => event = Event::Reply(etcd.txn(&txn).unwrap()),
            }
        }
        panic!("it does not end");
    }

    /// What a request that is lost does: nothing at all, or its work unseen.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Cut {
        /// The request at this position is lost.
        Request(usize),
        /// The answer to it is lost.
        Answer(usize),
    }

    /// Runs a machine until a request or an answer is lost; tells whether it came to that.
    pub(crate) fn run_cut<A: Administer>(
        mut machine: A,
        etcd: &mut Etcd,
        now: Now,
        cut: Cut,
    ) -> Option<Result<A::Output, AdminError>> {
        let mut event = Event::Begin;
        for at in 0..10_000 {
            let Step::Ask(txn) = machine.step(now, &event) else {
                let Step::Done(output) = machine.step(now, &Event::Lost(Loss::Unsent)) else {
                    return None;
                };
                return Some(output);
            };
            match cut {
                Cut::Request(n) if n == at => return None,
                Cut::Answer(n) if n == at => {
                    let _ = etcd.txn(&txn).unwrap();
                    return None;
                }
                _ => event = Event::Reply(etcd.txn(&txn).unwrap()),
            }
        }
        panic!("it does not end");
    }
}
