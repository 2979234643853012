/*!
What a node has out of cluster-wide pools, in the node's database.

A pool is a network of the database: instance `etcd-pool`, name `<space>/<pool>`, whatever CNI networks use it.
So its free space, allocations and rests are those of every other network, and one table of them for a pool
gives no address to two networks. What survives the boot lies in a file beside the database (`state`).

`tx` has what a transaction can do, `rows` the statements that only a pool needs.
*/

mod rows;
mod state;
#[cfg(test)]
mod tests;
mod tx;

use std::time::Instant;

use ipam_core::identity::Network;
use ipam_pool::ledger::Ledger;

use super::calls::{Command, Outcome};
use super::database::{Database, Parked, Session};
use crate::error::StoreError;
use crate::places::{Places, Remembered};

pub(crate) use rows::{INSTANCE, note_freed};
pub use tx::PoolTx;

use state::StateFile;

/// A node's part of all pools.
#[derive(Debug)]
pub struct PoolLedger {
    database: Database,
    elsewhere: bool,
    lenient: bool,
    /// The call that this is made for, and when it began.
    counting: Option<(Command, Instant)>,
    warnings: Vec<String>,
    /// Of the last transaction: most calls have several.
    parked: Option<Parked>,
}

impl PoolLedger {
    /// The ledger in a database; `elsewhere`: in another one than a DEL without configuration looks into by
    /// default, so that the networks remember it. Nothing is opened yet.
    pub const fn new(database: Database, elsewhere: bool) -> Self {
        Self {
            database,
            elsewhere,
            lenient: false,
            counting: None,
            warnings: Vec::new(),
            parked: None,
        }
    }

    /// The same for a DEL, which frees what there is: a visit takes a database that was put back as it is, and
    /// one that is gone or broken for an empty one. Nothing of it may be written to etcd.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// The same for a call that begins now, which is counted when a transaction changes what is held.
    #[must_use]
    pub fn counting(self, command: Command) -> Self {
        Self { counting: Some((command, Instant::now())), ..self }
    }

    /// Counts that the call has changed nothing, and why.
    pub fn count_failed(&mut self, network: &Network, outcome: Outcome) {
        let Some((command, begun)) = self.counting else { return };
        // For its lock.
        if let Ok(Some(session)) = self.database.reopen(&mut self.parked) {
            let of = (INSTANCE, network.as_str());
            self.database.count(of, (command, outcome), begun);
            self.parked = session.park();
        }
    }

    /// What was odd, a sentence each; emptied by the call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Forgets for a network that this database is one of its places, if the database is gone.
    pub fn forget_if_gone(&self, network: &Network) {
        if self.elsewhere {
            self.places(network).forget_if_gone(&self.remembered(), &self.database.path);
        }
    }

    fn places(&self, network: &Network) -> Places {
        Places::new(&self.database.state.durable, network)
    }

    fn remembered(&self) -> Remembered {
        Remembered::Database(self.database.path.clone())
    }

    fn open_for_visit(&mut self) -> Result<Option<Session>, StoreError> {
        self.database.make_room();
        if !self.lenient {
            return self.database.reopen_sound(&mut self.parked);
        }
        match self.database.reopen(&mut self.parked) {
            // What was in it is gone or was never ours: nothing is left to free.
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NotOurs { .. })) => {
                self.warnings.push(error.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    fn run<T>(
        &mut self,
        session: Session,
        state: StateFile,
        work: impl FnOnce(&mut PoolTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tx = PoolTx::new(self, session, state)?;
        // What is not committed did not happen.
        let done = work(&mut tx)?;
        self.parked = tx.finish()?;
        Ok(done)
    }
}

impl Ledger for PoolLedger {
    type Error = StoreError;
    type Tx<'a> = PoolTx<'a>;

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut PoolTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let session = self.database.reopen_or_make(&mut self.parked)?;
        let state = StateFile::open(&self.database, true)?;
        state.check(&self.database)?;
        self.run(session, state, work)
    }

    fn visit<T>(
        &mut self,
        work: impl FnOnce(&mut PoolTx<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(session) = self.open_for_visit()? else { return Ok(None) };
        let state = StateFile::open(&self.database, false)?;
        self.run(session, state, work).map(Some)
    }
}
