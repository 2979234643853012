//! The addresses of one pool, and how a request sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::allocator::{Held, Occupancy, Resting, View};
use ipam_core::identity::{Attachment, Network, PodInterface};
use ipam_core::policy::Policy;
use ipam_core::range::RangeSet;

use crate::ledger::Allocation;

/// The addresses of a pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) held: BTreeMap<Addr, Allocation>,
    /// The address that was given out last, for each set.
    pub(super) marks: BTreeMap<usize, Addr>,
    /// When an address was freed that may still rest, in milliseconds since boot, and by which pod.
    pub(super) freed: BTreeMap<Addr, (u64, Option<PodInterface>)>,
    pub(super) occupied: BTreeSet<Addr>,
    /// The pod that had an address last, and from which set.
    pub(super) pods: BTreeMap<Addr, (PodInterface, usize)>,
    /// How the last request was decided: a DEL knows no configuration.
    pub(super) policy: Policy,
}

impl Table {
    /// For how much longer an address rests.
    pub(super) fn rest(&self, addr: Addr, now: u64, cooldown: Duration) -> Option<Duration> {
        let (freed, _) = self.freed.get(&addr)?;
        let freed = Duration::from_millis(*freed);
        let over = freed.saturating_add(cooldown);
        over.checked_sub(Duration::from_millis(now)).filter(|rest| !rest.is_zero())
    }

    /// Forgets what has rested for long enough: once an ADD has seen an address as free, it is.
    pub(super) fn wake(&mut self, now: u64, cooldown: Duration) {
        let over: Vec<Addr> = self
            .freed
            .keys()
            .filter(|addr| self.rest(**addr, now, cooldown).is_none())
            .copied()
            .collect();
        for addr in over {
            self.freed.remove(&addr);
        }
    }
}

/// A pool's table as one request sees it.
pub(super) struct Seen<'a> {
    pub(super) table: &'a Table,
    pub(super) network: &'a Network,
    pub(super) now: u64,
    pub(super) cooldown: Duration,
}

impl View for Seen<'_> {
    type Error = Infallible;

    fn held(&mut self, attachment: &Attachment) -> Result<Vec<Held>, Infallible> {
        let of = |a: &&Allocation| a.network == *self.network && a.attachment == *attachment;
        let held = self.table.held.values().filter(of);
        Ok(held.map(|a| Held { addr: a.addr, by_container: false }).collect())
    }

    fn occupancy(&mut self, addr: Addr) -> Result<Occupancy, Infallible> {
        if self.table.held.contains_key(&addr) || self.table.occupied.contains(&addr) {
            return Ok(Occupancy::Held);
        }
        let rest = self.table.rest(addr, self.now, self.cooldown);
        Ok(rest.map_or(Occupancy::Free, Occupancy::Cooling))
    }

    fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, Infallible> {
        Ok(self.table.marks.get(&set).copied())
    }

    fn remembered(&mut self, pod: &PodInterface) -> Result<Vec<Addr>, Infallible> {
        let of = self.table.pods.iter().filter(|(_, (other, _))| other == pod);
        let mine = |addr: &Addr| {
            self.table.rest(*addr, self.now, self.cooldown).is_none()
                || self.table.freed.get(addr).is_some_and(|(_, by)| by.as_ref() == Some(pod))
        };
        Ok(of.map(|(addr, _)| *addr).filter(mine).collect())
    }

    fn resting(&mut self, set: &RangeSet) -> Result<Option<Resting>, Infallible> {
        let rests = self
            .table
            .freed
            .keys()
            .filter(|addr| !self.table.occupied.contains(addr))
            .filter(|addr| set.may_hand_out(**addr))
            .filter_map(|addr| self.table.rest(*addr, self.now, self.cooldown));
        Ok(Resting::of(rests))
    }
}
