//! A network of the database as one decision sees it.

use std::time::Duration;

use ipam_core::addr::{Addr, Interval};
use ipam_core::allocator::{
    self, Choice, Held, Occupancy, Refusal, Request, Resting, Undecided, View,
};
use ipam_core::identity::{Attachment, Network, PodInterface};
use ipam_core::range::RangeSet;

use super::rows::{NetworkRow, Rows};
use crate::boot::Moment;

/// How many addresses end their rest in one go: what a call does for others stays small.
const WAKE: usize = 256;

/// How often that is repeated where everything else is taken.
pub(super) const WAKES: usize = 1024;

/// The network as one call sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    rows: Rows<'a>,
    now: Moment,
    cooldown: Duration,
    /// What the pod of this call had last.
    pub(super) sticky: &'a [Addr],
    /// The CNI network whose attachments are asked for, where the rows are a pool's.
    pub(super) cni_network: Option<&'a Network>,
    /// Whether it is known that the attachment holds nothing.
    pub(super) holds_nothing: bool,
    /// The last answer about free space: from where, and what is next. Sets with many exclusions ask for
    /// many small intervals in a row.
    next: Option<(Addr, Option<Interval>)>,
}

impl<'a> Seen<'a> {
    /// The network, without anything that is remembered.
    pub(super) const fn new(rows: Rows<'a>, now: Moment, cooldown: Duration) -> Self {
        let (sticky, cni_network, holds_nothing) = (&[], None, false);
        Self { rows, now, cooldown, sticky, cni_network, holds_nothing, next: None }
    }

    /// For how much longer an address rests that was freed then.
    fn rest(&self, freed: Duration) -> Option<Duration> {
        let rest = freed.saturating_add(self.cooldown).checked_sub(self.now.boot);
        rest.filter(|rest| !rest.is_zero())
    }

    /// What is free from an address on.
    fn free_from(&mut self, addr: Addr) -> rusqlite::Result<Option<Interval>> {
        if let Some((from, next)) = self.next
            && from.family() == addr.family()
            && from <= addr
        {
            match next {
                None => return Ok(None),
                Some(next) if next.last() >= addr => {
                    return Ok(Interval::new(next.first().max(addr), next.last()));
                }
                Some(_) => {}
            }
        }
        let next = self.rows.free_from(addr)?;
        self.next = Some((addr, next));
        Ok(next)
    }
}

impl View for Seen<'_> {
    type Error = rusqlite::Error;

    fn held(&mut self, attachment: &Attachment) -> rusqlite::Result<Vec<Held>> {
        if self.holds_nothing {
            return Ok(Vec::new());
        }
        self.rows.held_in(self.cni_network, attachment)
    }

    fn occupancy(&mut self, addr: Addr) -> rusqlite::Result<Occupancy> {
        if self.rows.free_from(addr)?.is_some_and(|free| free.first() == addr) {
            return Ok(Occupancy::Free);
        }
        Ok(match self.rows.freed(addr)? {
            Some(freed) => self.rest(freed).map_or(Occupancy::Free, Occupancy::Cooling),
            None => Occupancy::Held,
        })
    }

    fn first_free(&mut self, interval: Interval) -> rusqlite::Result<Option<Addr>> {
        let next = self.free_from(interval.first())?;
        Ok(next.map(Interval::first).filter(|first| *first <= interval.last()))
    }

    fn last_reserved(&mut self, set: usize) -> rusqlite::Result<Option<Addr>> {
        self.rows.mark(set)
    }

    fn remembered(&mut self, pod: &PodInterface) -> rusqlite::Result<Vec<Addr>> {
        let mut remembered = Vec::with_capacity(self.sticky.len());
        for addr in self.sticky {
            // A pod that is not sticky, or that nobody knows, may have had it since: then it rests for everybody.
            let rests = self.rows.freed(*addr)?.is_some_and(|freed| self.rest(freed).is_some());
            if !rests || self.rows.was_last_of(*addr, pod)? != Some(false) {
                remembered.push(*addr);
            }
        }
        Ok(remembered)
    }

    fn resting(&mut self, set: &RangeSet) -> rusqlite::Result<Option<Resting>> {
        let rests = self
            .rows
            .resting()?
            .into_iter()
            .filter(|(addr, _)| set.may_hand_out(*addr))
            .filter_map(|(_, freed)| self.rest(freed));
        Ok(Resting::of(rests))
    }
}

/// The decision, after what has rested for long enough is free again.
pub(super) fn decide(
    row: &NetworkRow,
    request: &Request<'_>,
    seen: Seen<'_>,
) -> Result<Vec<Choice>, Undecided<rusqlite::Error>> {
    for _ in 0..WAKES {
        let more = wake(seen.rows, row, seen.cooldown, seen.now).map_err(Undecided::View)?;
        let mut seen = seen;
        match allocator::decide(request, &mut seen) {
            Err(Undecided::Refused { refusal: Refusal::Exhausted { .. }, .. }) if more => {}
            decided => return decided,
        }
    }
    // More than the whole of a /14 rested, and nothing else is free.
    let mut seen = seen;
    allocator::decide(request, &mut seen)
}

/// Frees addresses whose rest is over; tells whether there may be more of them.
pub(super) fn wake(
    rows: Rows<'_>,
    row: &NetworkRow,
    cooldown: Duration,
    now: Moment,
) -> rusqlite::Result<bool> {
    if !row.resting {
        return Ok(false);
    }
    let Some(before) = now.boot.checked_sub(cooldown) else { return Ok(false) };
    let woken = rows.wake_all(before, WAKE)?;
    if woken == 0 {
        rows.connection.execute(
            "UPDATE network SET resting = EXISTS (SELECT 1 FROM resting WHERE network = ?1) \
             WHERE id = ?1",
            [rows.network],
        )?;
    }
    Ok(woken == WAKE)
}
