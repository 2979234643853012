/*!
What a node holds, as operations see it.

A [`Ledger`] runs transactions under the node's one lock; a [`Tx`] has the primitives. Allocations, what rests
and what is known to be another's are together what cannot be given out; the outbox ([`Dirty`]) names the
addresses whose record in etcd is behind.
*/

use std::error::Error;

use ipam_core::addr::{Addr, Interval};
use ipam_core::allocator::{Choice, Refusal, Request};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, Network};

use crate::node::{BootState, NodeState, PoolId};

/// A node's own store.
pub trait Ledger {
    /// Why it failed.
    type Error: Error;
    /// A transaction.
    type Tx<'a>: Tx<Error = Self::Error>
    where
        Self: 'a;

    /// Runs a transaction: all of it happens, or, if `work` fails, nothing but what was written durably.
    /// A store that is not there yet is made.
    ///
    /// # Errors
    /// If the store cannot be used, or `work` fails.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self::Tx<'_>) -> Result<T, Self::Error>,
    ) -> Result<T, Self::Error>;

    /// The same where there is a store; `None` if there is none, and none is made.
    ///
    /// # Errors
    /// As [`Ledger::transact`].
    fn visit<T>(
        &mut self,
        work: impl FnOnce(&mut Self::Tx<'_>) -> Result<T, Self::Error>,
    ) -> Result<Option<T>, Self::Error>;
}

/// An address that an attachment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its pool.
    pub id: PoolId,
    /// The address.
    pub addr: Addr,
    /// The CNI network.
    pub network: Network,
    /// Who holds it.
    pub attachment: Attachment,
    /// The pod, for people.
    pub owner: Owner,
    /// Names the allocation.
    pub nonce: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The revision of its record in etcd as last known; 0: none.
    pub revision: i64,
    /// The fence of the block that it is out of.
    pub fence: i64,
    /// Whether that block is another node's.
    pub borrowed: bool,
}

/// An address whose record in etcd is behind: what it should be is what the allocations say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// Its pool.
    pub id: PoolId,
    /// The address.
    pub addr: Addr,
    /// The revision of its record as last known; 0: none.
    pub base: i64,
    /// Which change this is: a change while one is being written is another.
    pub seq: u64,
    /// The fence of its block.
    pub fence: i64,
    /// Whether that block is another node's.
    pub borrowed: bool,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Not to be written before, in milliseconds since boot: a borrowed address rests before others may have it.
    pub due: u64,
}

/// How much of an interval cannot be given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Addresses that are held.
    pub held: u64,
    /// Addresses that rest after they were freed.
    pub resting: u64,
    /// Addresses that are known to be another's.
    pub occupied: u64,
}

/// The outbox as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many addresses.
    pub count: u64,
    /// Since when the oldest waits, in seconds since 1970; 0 if there is none.
    pub oldest: u64,
}

/// A transaction on a node's store.
pub trait Tx {
    /// Why it failed.
    type Error;

    /// What survives a boot.
    fn node(&self) -> &NodeState;

    /// Writes what survives a boot, durably and at once: it stays also if the transaction fails.
    ///
    /// # Errors
    /// If it cannot be written.
    fn set_node(&mut self, node: NodeState) -> Result<(), Self::Error>;

    /// What dies with the boot.
    fn boot(&self) -> &BootState;

    /// Changes what dies with the boot.
    ///
    /// # Errors
    /// If it cannot be written.
    fn set_boot(&mut self, boot: BootState) -> Result<(), Self::Error>;

    /// Which addresses an attachment would get; changes nothing but ends rests that are over.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn decide(
        &mut self,
        id: &PoolId,
        network: &Network,
        request: &Request<'_>,
    ) -> Result<Result<Vec<Choice>, Refusal>, Self::Error>;

    /// What an attachment holds, by address; of one pool or of all.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn held(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
        attachment: &Attachment,
    ) -> Result<Vec<Allocation>, Self::Error>;

    /// What a network holds, by address; of one pool or of all.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn of_network(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
    ) -> Result<Vec<Allocation>, Self::Error>;

    /// What is held in an interval, by address.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn within(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Allocation>, Self::Error>;

    /// Who holds an address.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn at(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Allocation>, Self::Error>;

    /// Records an allocation of an address that is free (a rest or an occupation of it ends). `set` is
    /// the position of the range set, whose mark moves.
    ///
    /// # Errors
    /// If the store cannot be written, or the address is held.
    fn insert(&mut self, allocation: &Allocation, set: usize) -> Result<(), Self::Error>;

    /// Ends an allocation. The address rests if the request that it was decided with had a cooldown; `undo`:
    /// it was never used and does not.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn free(&mut self, id: &PoolId, addr: Addr, undo: bool) -> Result<(), Self::Error>;

    /// Notes the revision of an allocation's record.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_revision(&mut self, id: &PoolId, addr: Addr, revision: i64) -> Result<(), Self::Error>;

    /// Notes that an address is another's, so that it is not given out here. One that is held is left alone.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn occupy(&mut self, id: &PoolId, addr: Addr) -> Result<(), Self::Error>;

    /// Notes that an address is no longer another's.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn vacate(&mut self, id: &PoolId, addr: Addr) -> Result<(), Self::Error>;

    /// The addresses of an interval that are another's.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn occupied(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Addr>, Self::Error>;

    /// How much of an interval cannot be given out.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn usage(&mut self, id: &PoolId, interval: Interval) -> Result<Usage, Self::Error>;

    /// The outbox, oldest first: what is due at `now` (milliseconds since boot), at most so many.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn outbox(&mut self, now: u64, limit: usize) -> Result<Vec<Dirty>, Self::Error>;

    /// Whether an address waits in the outbox.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn dirty(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Dirty>, Self::Error>;

    /// Puts an address into the outbox, in the place of what waits for it there.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn set_dirty(&mut self, dirty: &Dirty) -> Result<(), Self::Error>;

    /// Takes an address out of the outbox.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn clear_dirty(&mut self, id: &PoolId, addr: Addr) -> Result<(), Self::Error>;

    /// How much waits.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn backlog(&mut self) -> Result<Backlog, Self::Error>;
}
