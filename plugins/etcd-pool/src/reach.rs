/*!
etcd, connected to when it is first needed.

Most calls need it for nothing: their files are not looked at, and nothing is started.
*/

use std::time::{Duration, Instant};

use ipam_pool::ledger::{Ledger, Tx as _};
use ipam_pool::op::{Event, Loss, Now, Operation, Step};
use ipam_pool::ops::Trouble;
use ipam_pool::txn::{Reply, Txn};

use crate::client::{self, Connection, Etcd, EtcdError, Member};
use crate::identity::now;

/// How often an operation is told that etcd is not there before it must have come to an end.
const LOSSES: usize = 16;

/// A way to etcd.
#[derive(Debug)]
pub struct Reach {
    connection: Connection,
    etcd: Option<Etcd>,
    budget: Duration,
    /// From when etcd was needed first.
    deadline: Option<Instant>,
    trouble: Option<EtcdError>,
}

/// An operation that has taken its first step.
struct Begun<'a, O, T> {
    operation: &'a mut O,
    first: Option<Step<T>>,
}

impl<L: Ledger, O: Operation<L>> Operation<L> for Begun<'_, O, O::Output> {
    type Output = O::Output;

    fn step(
        &mut self,
        ledger: &mut L,
        now: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.operation.step(ledger, now, event),
        }
    }
}

impl Reach {
    /// A way to etcd; `budget` is for how long it is waited for, from when it is needed first, unless the
    /// connection says so.
    pub fn new(connection: Connection, budget: Duration) -> Self {
        let budget = connection.waits().unwrap_or(budget);
        Self { connection, etcd: None, budget, deadline: None, trouble: None }
    }

    /// How etcd is reached.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives it so much time from when it is needed next, unless the connection says how much.
    pub fn renew(&mut self, budget: Duration) {
        self.budget = self.connection.waits().unwrap_or(budget);
        self.deadline = None;
    }

    fn deadline(&mut self) -> Instant {
        *self.deadline.get_or_insert_with(|| Instant::now() + self.budget)
    }

    /// What was the matter with etcd last, if anything was.
    pub const fn trouble(&self) -> Option<&EtcdError> {
        self.trouble.as_ref()
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// The ledger's.
    pub fn run<L, T, O>(
        &mut self,
        operation: &mut O,
        ledger: &mut L,
    ) -> Result<Result<T, Trouble>, L::Error>
    where
        L: Ledger,
        O: Operation<L, Output = Result<T, Trouble>>,
    {
        let mut first = operation.step(ledger, now(), Event::Begin)?;
        if let Step::Done(output) = first {
            return Ok(output);
        }
        if self.etcd.is_none() {
            self.etcd = self.connect(ledger)?;
        }
        let deadline = self.deadline();
        let Some(etcd) = &mut self.etcd else {
            // Nothing is ever sent: whatever it asks for next, it is to come to an end.
            for _ in 0..LOSSES {
                match first {
                    Step::Done(output) => return Ok(output),
                    Step::Ask(_) => {
                        first = operation.step(ledger, now(), Event::Lost(Loss::Unsent))?;
                    }
                }
            }
            return Ok(Err(Trouble::Away));
        };
        let before = etcd.preferred();
        let mut begun = Begun { operation, first: Some(first) };
        let (output, trouble) = client::run(&mut begun, ledger, etcd, now, deadline)?;
        let after = etcd.preferred();
        self.trouble = trouble;
        if before != after {
            note(ledger, after)?;
        }
        Ok(output)
    }

    /// Carries out one transaction; `None` if etcd does not answer.
    ///
    /// # Errors
    /// The ledger's.
    pub fn ask<L: Ledger>(&mut self, ledger: &mut L, txn: &Txn) -> Result<Option<Reply>, L::Error> {
        if self.etcd.is_none() {
            self.etcd = self.connect(ledger)?;
        }
        let deadline = self.deadline();
        let Some(etcd) = &mut self.etcd else { return Ok(None) };
        match etcd.txn(txn, deadline) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => {
                self.trouble = Some(error);
                Ok(None)
            }
        }
    }

    /// What each member tells of itself, as far as the client is connected.
    pub fn members(&mut self, timeout: Duration) -> Vec<Member> {
        self.etcd.as_mut().map_or_else(Vec::new, |etcd| etcd.members(timeout))
    }

    /// The client, beginning with the endpoint that answered last.
    fn connect<L: Ledger>(&mut self, ledger: &mut L) -> Result<Option<Etcd>, L::Error> {
        let mut etcd = match Etcd::new(&self.connection) {
            Ok(etcd) => etcd,
            Err(error) => {
                self.trouble = Some(error);
                return Ok(None);
            }
        };
        if self.connection.endpoints.len() > 1
            && let Some(endpoint) = ledger.visit(|tx| Ok(tx.boot().endpoint))?
        {
            etcd.prefer(endpoint);
        }
        Ok(Some(etcd))
    }
}

/// Notes which endpoint answered, for the next call.
fn note<L: Ledger>(ledger: &mut L, endpoint: usize) -> Result<(), L::Error> {
    ledger.visit(|tx| {
        let mut boot = tx.boot().clone();
        boot.endpoint = endpoint;
        tx.set_boot(boot)
    })?;
    Ok(())
}
