/*!
A node's own store in memory: the model of [`Ledger`] that tests run operations on, and that the store on
disk is compared with.
*/

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ipam_core::addr::{Addr, Interval};
use ipam_core::allocator::{self, Choice, Refusal, Request, Undecided};
use ipam_core::identity::{Attachment, Network, PodInterface};
use ipam_core::policy::Strategy;

use self::table::{Seen, Table};
use crate::ledger::{Allocation, Backlog, Dirty, Ledger, Tx, Usage};
use crate::node::{BootState, NodeState, PoolId};

/// A node's own store.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    node: NodeState,
    /// What dies with the boot; nothing before the first transaction of a boot.
    room: Option<Room>,
    now: u64,
    /// After so many more writes the store is broken.
    writes_left: Option<u32>,
}

/// Why a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Somebody holds the address.
    #[error("{addr} of {id} is held")]
    Held {
        /// The pool.
        id: PoolId,
        /// The address.
        addr: Addr,
    },
    /// The store was told to break here.
    #[error("the store is broken")]
    Broken,
}

/// What dies with the boot.
#[derive(Clone, Debug, Default)]
struct Room {
    boot: BootState,
    pools: BTreeMap<PoolId, Table>,
    outbox: BTreeMap<(PoolId, Addr), Dirty>,
}

/// A transaction on a [`MemoryLedger`].
#[derive(Debug)]
pub struct MemoryTx<'a> {
    node: &'a mut NodeState,
    room: &'a mut Room,
    now: u64,
    writes_left: &'a mut Option<u32>,
}

impl MemoryLedger {
    /// Sets the time, in milliseconds since boot.
    pub const fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// Forgets what dies with the boot, and begins at this time.
    pub fn reboot(&mut self, now: u64) {
        self.room = None;
        self.now = now;
    }

    /// Lets every write after so many more fail, as if the process died there; `None`: none.
    pub const fn break_after(&mut self, writes: Option<u32>) {
        self.writes_left = writes;
    }

    /// What survives a boot.
    pub const fn node(&self) -> &NodeState {
        &self.node
    }

    /// Changes what survives a boot, as somebody with an editor would.
    pub fn set_node(&mut self, node: NodeState) {
        self.node = node;
    }

    /// What dies with the boot, if anything was stored in this one.
    pub fn boot(&self) -> Option<&BootState> {
        self.room.as_ref().map(|room| &room.boot)
    }

    /// Changes what dies with the boot, as a fault would.
    pub fn set_boot(&mut self, boot: BootState) {
        self.room.get_or_insert_default().boot = boot;
    }

    /// Everything that is held, by pool and address.
    pub fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.tables().flat_map(|table| table.held.values())
    }

    /// The outbox, by pool and address.
    pub fn outbox(&self) -> impl Iterator<Item = &Dirty> {
        self.room.iter().flat_map(|room| room.outbox.values())
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.room.iter().flat_map(|room| room.pools.values())
    }
}

impl Ledger for MemoryLedger {
    type Error = MemoryError;
    type Tx<'a> = MemoryTx<'a>;

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut MemoryTx<'_>) -> Result<T, MemoryError>,
    ) -> Result<T, MemoryError> {
        let mut room = self.room.clone().unwrap_or_default();
        let result = work(&mut MemoryTx {
            node: &mut self.node,
            room: &mut room,
            now: self.now,
            writes_left: &mut self.writes_left,
        });
        if self.writes_left == Some(0) {
            // It broke before the end, or breaks when all of it is made to last.
            return result.and(Err(MemoryError::Broken));
        }
        if result.is_ok() {
            self.room = Some(room);
        }
        result
    }

    fn visit<T>(
        &mut self,
        work: impl FnOnce(&mut MemoryTx<'_>) -> Result<T, MemoryError>,
    ) -> Result<Option<T>, MemoryError> {
        match self.room {
            None => Ok(None),
            Some(_) => self.transact(work).map(Some),
        }
    }
}

impl MemoryTx<'_> {
    /// Counts a write.
    fn write(&mut self) -> Result<(), MemoryError> {
        match self.writes_left {
            None => Ok(()),
            Some(0) => Err(MemoryError::Broken),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn table(&mut self, id: &PoolId) -> &mut Table {
        self.room.pools.entry(id.clone()).or_default()
    }

    fn select(&self, id: Option<&PoolId>, test: impl Fn(&Allocation) -> bool) -> Vec<Allocation> {
        let mut found: Vec<Allocation> = self
            .room
            .pools
            .iter()
            .filter(|(other, _)| id.is_none_or(|id| id == *other))
            .flat_map(|(_, table)| table.held.values())
            .filter(|allocation| test(allocation))
            .cloned()
            .collect();
        found.sort_by_key(|allocation| allocation.addr);
        found
    }
}

impl Tx for MemoryTx<'_> {
    type Error = MemoryError;

    fn node(&self) -> &NodeState {
        self.node
    }

    fn set_node(&mut self, node: NodeState) -> Result<(), MemoryError> {
        self.write()?;
        *self.node = node;
        Ok(())
    }

    fn boot(&self) -> &BootState {
        &self.room.boot
    }

    fn set_boot(&mut self, boot: BootState) -> Result<(), MemoryError> {
        self.write()?;
        self.room.boot = boot;
        Ok(())
    }

    fn decide(
        &mut self,
        id: &PoolId,
        network: &Network,
        request: &Request<'_>,
    ) -> Result<Result<Vec<Choice>, Refusal>, MemoryError> {
        let now = self.now;
        let table = self.table(id);
        let cooldown = request.policy.cooldown;
        table.wake(now, cooldown);
        match allocator::decide(request, &mut Seen { table, network, now, cooldown }) {
            Ok(choices) => {
                table.policy = request.policy;
                Ok(Ok(choices))
            }
            Err(Undecided::Refused { refusal, .. }) => Ok(Err(refusal)),
            Err(Undecided::View(never)) => match never {},
        }
    }

    fn held(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
        attachment: &Attachment,
    ) -> Result<Vec<Allocation>, MemoryError> {
        Ok(self.select(id, |a| a.network == *network && a.attachment == *attachment))
    }

    fn of_network(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
    ) -> Result<Vec<Allocation>, MemoryError> {
        Ok(self.select(id, |a| a.network == *network))
    }

    fn within(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Allocation>, MemoryError> {
        Ok(self.select(Some(id), |a| interval.contains(a.addr)))
    }

    fn at(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Allocation>, MemoryError> {
        Ok(self.table(id).held.get(&addr).cloned())
    }

    fn insert(&mut self, allocation: &Allocation, set: usize) -> Result<(), MemoryError> {
        self.write()?;
        let (id, addr) = (&allocation.id, allocation.addr);
        let table = self.table(id);
        if table.held.contains_key(&addr) {
            return Err(MemoryError::Held { id: id.clone(), addr });
        }
        table.freed.remove(&addr);
        table.occupied.remove(&addr);
        if table.policy.strategy == Strategy::Sticky
            && let Some(pod) = PodInterface::of(&allocation.owner, &allocation.attachment.ifname)
        {
            table.pods.retain(|_, (other, of)| *other != pod || *of != set);
            table.pods.insert(addr, (pod, set));
        }
        table.marks.insert(set, addr);
        table.held.insert(addr, allocation.clone());
        Ok(())
    }

    fn free(&mut self, id: &PoolId, addr: Addr, undo: bool) -> Result<(), MemoryError> {
        self.write()?;
        let now = self.now;
        let table = self.table(id);
        let held = table.held.remove(&addr);
        if let Some(held) = held.filter(|_| !undo && !table.policy.cooldown.is_zero()) {
            let pod = PodInterface::of(&held.owner, &held.attachment.ifname);
            table.freed.insert(addr, (now, pod));
        }
        Ok(())
    }

    fn set_revision(&mut self, id: &PoolId, addr: Addr, revision: i64) -> Result<(), MemoryError> {
        self.write()?;
        if let Some(allocation) = self.table(id).held.get_mut(&addr) {
            allocation.revision = revision;
        }
        Ok(())
    }

    fn occupy(&mut self, id: &PoolId, addr: Addr) -> Result<(), MemoryError> {
        self.write()?;
        let table = self.table(id);
        if !table.held.contains_key(&addr) {
            table.occupied.insert(addr);
        }
        Ok(())
    }

    fn vacate(&mut self, id: &PoolId, addr: Addr) -> Result<(), MemoryError> {
        self.write()?;
        self.table(id).occupied.remove(&addr);
        Ok(())
    }

    fn occupied(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Addr>, MemoryError> {
        let inside = |addr: &&Addr| interval.contains(**addr);
        Ok(self.table(id).occupied.iter().filter(inside).copied().collect())
    }

    fn usage(&mut self, id: &PoolId, interval: Interval) -> Result<Usage, MemoryError> {
        let now = self.now;
        let table = self.table(id);
        let count = |addrs: &mut dyn Iterator<Item = &Addr>| {
            addrs.filter(|addr| interval.contains(**addr)).map(|_| 1_u64).sum()
        };
        let rests = |addr: &&Addr| {
            !table.occupied.contains(*addr)
                && table.rest(**addr, now, table.policy.cooldown).is_some()
        };
        Ok(Usage {
            held: count(&mut table.held.keys()),
            resting: count(&mut table.freed.keys().filter(rests)),
            occupied: count(&mut table.occupied.iter()),
        })
    }

    fn outbox(&mut self, now: u64, limit: usize) -> Result<Vec<Dirty>, MemoryError> {
        let mut due: Vec<Dirty> =
            self.room.outbox.values().filter(|dirty| dirty.due <= now).cloned().collect();
        due.sort_by_key(|dirty| dirty.seq);
        due.truncate(limit);
        Ok(due)
    }

    fn dirty(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Dirty>, MemoryError> {
        Ok(self.room.outbox.get(&(id.clone(), addr)).cloned())
    }

    fn set_dirty(&mut self, dirty: &Dirty) -> Result<(), MemoryError> {
        self.write()?;
        self.room.outbox.insert((dirty.id.clone(), dirty.addr), dirty.clone());
        Ok(())
    }

    fn clear_dirty(&mut self, id: &PoolId, addr: Addr) -> Result<(), MemoryError> {
        self.write()?;
        self.room.outbox.remove(&(id.clone(), addr));
        Ok(())
    }

    fn backlog(&mut self) -> Result<Backlog, MemoryError> {
        let waiting = self.room.outbox.values();
        Ok(Backlog {
            count: waiting.clone().map(|_| 1_u64).sum(),
            oldest: waiting.map(|dirty| dirty.since).min().unwrap_or_default(),
        })
    }
}
