/*!
A store in memory: the model that the others are compared with.
*/

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::addr::{Addr, Interval};
use crate::allocator::{self, Choice, Held, Refusal, Request, Undecided, View, first_exhausted};
use crate::identity::{Attachment, Holder};
use crate::range::RangeSet;
use crate::store::{Record, ReserveError, Store, Valid};

/// Allocations of one network in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<Addr, Holder>,
    last: BTreeMap<usize, Addr>,
    pin: Option<u32>,
}

impl MemoryStore {
    /// Records a holder, as another program would have.
    pub fn insert(&mut self, record: Record) {
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

impl View for MemoryStore {
    type Error = Infallible;

    fn held(&mut self, attachment: &Attachment) -> Result<Vec<Held>, Infallible> {
        Ok(self
            .records
            .iter()
            .filter(|(_, holder)| holder.is(attachment) || holder.is_container_of(attachment))
            .map(|(addr, holder)| Held { addr: *addr, by_container: !holder.is(attachment) })
            .collect())
    }

    fn is_free(&mut self, addr: Addr) -> Result<bool, Infallible> {
        Ok(!self.records.contains_key(&addr))
    }

    fn first_free(&mut self, interval: Interval) -> Result<Option<Addr>, Infallible> {
        let mut candidate = interval.first();
        for taken in self.records.range(interval.first()..=interval.last()).map(|(addr, _)| *addr) {
            if taken > candidate {
                break;
            }
            match taken.next().filter(|next| interval.contains(*next)) {
                Some(next) => candidate = next,
                None => return Ok(None),
            }
        }
        Ok(Some(candidate))
    }

    fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, Infallible> {
        Ok(self.last.get(&set).copied())
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
        let choices = match allocator::decide(request, self) {
            Ok(choices) => choices,
            Err(Undecided::Refused { refusal, passed }) => {
                self.last.extend(passed.iter().map(|choice| (choice.set, choice.addr)));
                return Err(ReserveError::Refused(refusal));
            }
            Err(Undecided::View(never)) => match never {},
        };
        if !wanted() {
            return Err(ReserveError::Unwanted);
        }
        for choice in choices.iter().filter(|choice| !choice.held) {
            self.pin = request.pin.or(self.pin);
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
            self.records.remove(addr);
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
            self.records.remove(addr);
        }
        self.settle();
        Ok(stale)
    }

    fn first_exhausted(&mut self, sets: &[RangeSet]) -> Result<Option<usize>, Infallible> {
        first_exhausted(sets, self)
    }

    fn pinned(&mut self) -> Result<Option<u32>, Infallible> {
        Ok(self.pin.filter(|_| !self.records.is_empty()))
    }
}
