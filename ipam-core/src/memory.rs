/*!
A store in memory: the model that the others are compared with.
*/

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use crate::addr::Addr;
use crate::allocator::{
    self, Choice, Held, Occupancy, Refusal, Request, Resting, Undecided, View, first_exhausted,
};
use crate::identity::{Attachment, Holder, PodInterface};
use crate::range::RangeSet;
use crate::store::{Record, ReserveError, Store, Valid};

/// Allocations of one network in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Addr, Holder>,
    last: BTreeMap<usize, Addr>,
    pin: Option<u32>,
    now: Duration,
    /// Freed addresses that may still rest, with the time they were freed.
    freed: BTreeMap<Addr, Duration>,
    /// The cooldown of the last ADD: a DEL knows no configuration.
    cooldown: Duration,
    /// The pod that had an address last, and from which set.
    pods: BTreeMap<Addr, (PodInterface, usize)>,
    /// Who was given an address last, sticky or not, where that was a pod.
    owners: BTreeMap<Addr, PodInterface>,
}

/// The store as one call sees it.
struct Seen<'a> {
    store: &'a MemoryStore,
    cooldown: Duration,
}

impl MemoryStore {
    /// Records a holder, as another program would have.
    pub fn insert(&mut self, record: Record) {
        self.owners.remove(&record.addr);
        self.records.insert(record.addr, record.holder);
    }

    /// Forgets an address, as another program would have.
    pub fn remove(&mut self, addr: Addr) {
        self.records.remove(&addr);
    }

    /// Moves the mark of a set, as another program would have.
    pub fn mark(&mut self, set: usize, addr: Addr) {
        self.last.insert(set, addr);
    }

    /// Sets the time since boot.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    fn seen(&self, cooldown: Duration) -> Seen<'_> {
        Seen { store: self, cooldown }
    }

    /// Forgets what has rested for long enough: once an ADD has seen an address as free, it is.
    fn wake(&mut self, cooldown: Duration) {
        let now = self.now;
        self.freed.retain(|_, freed| freed.saturating_add(cooldown) > now);
    }

    fn free(&mut self, addr: Addr) {
        self.records.remove(&addr);
        if !self.cooldown.is_zero() {
            self.freed.insert(addr, self.now);
        }
    }

    fn remember(&mut self, pod: PodInterface, choice: &Choice) {
        self.pods.retain(|_, (other, set)| *other != pod || *set != choice.set);
        self.pods.insert(choice.addr, (pod, choice.set));
    }

    /// Without allocations there is no pin.
    fn settle(&mut self) {
        if self.records.is_empty() {
            self.pin = None;
        }
    }

    fn holds(&self, attachment: &Attachment) -> Vec<Addr> {
        let by = |test: &dyn Fn(&Holder) -> bool| -> Vec<Addr> {
            self.records.iter().filter(|(_, holder)| test(holder)).map(|(addr, _)| *addr).collect()
        };
        let exact = by(&|holder| holder.is(attachment));
        if exact.is_empty() { by(&|holder| holder.is_container_of(attachment)) } else { exact }
    }
}

impl Seen<'_> {
    /// For how much longer an address rests.
    fn rest(&self, addr: Addr) -> Option<Duration> {
        let freed = self.store.freed.get(&addr)?;
        let over = freed.saturating_add(self.cooldown);
        over.checked_sub(self.store.now).filter(|rest| !rest.is_zero())
    }
}

impl View for Seen<'_> {
    type Error = Infallible;

    fn held(&mut self, attachment: &Attachment) -> Result<Vec<Held>, Infallible> {
        Ok(self
            .store
            .records
            .iter()
            .filter(|(_, holder)| holder.is(attachment) || holder.is_container_of(attachment))
            .map(|(addr, holder)| Held { addr: *addr, by_container: !holder.is(attachment) })
            .collect())
    }

    fn occupancy(&mut self, addr: Addr) -> Result<Occupancy, Infallible> {
        if self.store.records.contains_key(&addr) {
            return Ok(Occupancy::Held);
        }
        Ok(self.rest(addr).map_or(Occupancy::Free, Occupancy::Cooling))
    }

    fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, Infallible> {
        Ok(self.store.last.get(&set).copied())
    }

    fn remembered(&mut self, pod: &PodInterface) -> Result<Vec<Addr>, Infallible> {
        let of = self.store.pods.iter().filter(|(_, (other, _))| other == pod);
        let mine = |addr: &Addr| self.store.owners.get(addr) == Some(pod);
        Ok(of
            .map(|(addr, _)| *addr)
            .filter(|addr| self.rest(*addr).is_none() || mine(addr))
            .collect())
    }

    fn resting(&mut self, set: &RangeSet) -> Result<Option<Resting>, Infallible> {
        let rests = self
            .store
            .freed
            .keys()
            .filter(|addr| set.may_hand_out(**addr))
            .filter_map(|addr| self.rest(*addr));
        Ok(Resting::of(rests))
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    fn reserve(
        &mut self,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Choice>, ReserveError<Infallible>> {
        if let (Some(now), Some(pinned)) = (request.pin, self.pin)
            && now != pinned
            && !self.records.is_empty()
        {
            return Err(ReserveError::Refused(Refusal::Pinned { pinned, now }));
        }
        let choices = match allocator::decide(request, &mut self.seen(request.policy.cooldown)) {
            Ok(choices) => choices,
            Err(Undecided::Refused { refusal, passed }) => {
                if !passed.is_empty() {
                    self.wake(request.policy.cooldown);
                }
                self.last.extend(passed.iter().map(|choice| (choice.set, choice.addr)));
                return Err(ReserveError::Refused(refusal));
            }
            Err(Undecided::View(never)) => match never {},
        };
        if !wanted() {
            return Err(ReserveError::Unwanted);
        }
        if choices.iter().any(|choice| !choice.held) {
            self.wake(request.policy.cooldown);
        }
        for choice in choices.iter().filter(|choice| !choice.held) {
            self.pin = request.pin.or(self.pin);
            self.cooldown = request.policy.cooldown;
            self.freed.remove(&choice.addr);
            if let Some(pod) = request.sticky() {
                self.remember(pod, choice);
            }
            match PodInterface::of(request.owner, &request.attachment.ifname) {
                Some(pod) => self.owners.insert(choice.addr, pod),
                None => self.owners.remove(&choice.addr),
            };
            self.records.insert(choice.addr, Holder::Attachment(request.attachment.clone()));
            self.last.insert(choice.set, choice.addr);
        }
        Ok(choices)
    }

    fn undo(&mut self, attachment: &Attachment, choices: &[Choice]) -> Result<(), Infallible> {
        for choice in choices.iter().filter(|choice| !choice.held) {
            if self.records.get(&choice.addr).is_some_and(|holder| holder.is(attachment)) {
                self.records.remove(&choice.addr);
            }
        }
        self.settle();
        Ok(())
    }

    fn release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, Infallible> {
        let held = self.holds(attachment);
        for addr in &held {
            self.free(*addr);
        }
        self.settle();
        Ok(held)
    }

    fn find(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, Infallible> {
        Ok(self.holds(attachment))
    }

    fn list(&mut self) -> Result<Vec<Record>, Infallible> {
        Ok(self
            .records
            .iter()
            .map(|(addr, holder)| Record { addr: *addr, holder: holder.clone() })
            .collect())
    }

    fn retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, Infallible> {
        let valid = Valid::new(valid);
        let stale: Vec<Addr> = self
            .records
            .iter()
            .filter(|(_, holder)| !valid.keeps(holder))
            .map(|(addr, _)| *addr)
            .collect();
        for addr in &stale {
            self.free(*addr);
        }
        self.settle();
        Ok(stale)
    }

    fn first_exhausted(
        &mut self,
        sets: &[RangeSet],
        cooldown: Duration,
    ) -> Result<Option<(usize, Option<Resting>)>, Infallible> {
        first_exhausted(sets, &mut self.seen(cooldown))
    }

    fn pinned(&mut self) -> Result<Option<u32>, Infallible> {
        Ok(self.pin.filter(|_| !self.records.is_empty()))
    }
}
