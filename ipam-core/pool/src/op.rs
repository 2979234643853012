/*!
How an operation runs: step by step, without doing anything itself.

An operation is given an event, changes the node's ledger in at most one transaction, and says which
transaction it wants from etcd, or that it is done. Whoever drives it may lose requests and answers, send a
request twice, or die between any two steps.
*/

use crate::ledger::Ledger;
use crate::txn::{Reply, Txn};

/// The time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the boot, suspended time included: what durations are measured with.
    pub boot: u64,
    /// Seconds since 1970.
    pub unix: u64,
}

/// What happened since the last step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operation begins.
    Begin,
    /// etcd has answered the transaction that was asked for. It may have been sent more than once: then
    /// this may be the answer to a later copy.
    Reply(Reply),
    /// There is no answer, and no time to wait for one.
    Lost(Loss),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The request was certainly not carried out.
    Unsent,
    /// Nobody knows whether it was carried out; it may still be.
    Unknown,
}

/// What an operation wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// This transaction.
    Ask(Txn),
    /// Nothing any more.
    Done(T),
}

/// An operation on a pool.
pub trait Operation<L: Ledger> {
    /// What it comes to.
    type Output;

    /// Takes the next step.
    ///
    /// # Errors
    /// If the ledger fails. The operation is over then.
    fn step(
        &mut self,
        ledger: &mut L,
        now: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error>;
}
