/*!
How full a network is: counts for each range set, and what the next ADD would get.

Everything here is a function of a [`NetworkState`] and a layout. Counting asks sorted addresses, never
one address after the other, so that a /64 costs what its allocations cost.
*/

mod record;
mod runs;
#[cfg(test)]
pub(crate) mod samples;

use std::time::Duration;

use ipam_core::addr::{Addr, Interval};
use ipam_core::extents::Extents;
use ipam_core::layout::Layout;
use ipam_core::policy::{Policy, Strategy};
use ipam_core::range::{Range, RangeSet, RangeSpec};
use ipam_stores::survey::{Allocation, FaultKind, NetworkState};

use crate::context::Exit;

pub(crate) use record::{Record, parts, pod};
pub(crate) use runs::{Kind, Run, Standing, runs, standing};

/// A network's counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkUsage {
    /// One for each range set of the layout; none where there is no layout.
    pub(crate) sets: Vec<SetUsage>,
    /// Addresses that are held, each counted once.
    pub(crate) held: usize,
    /// Held addresses that lie in no range, where there is a layout.
    pub(crate) outside: usize,
    /// When the oldest allocation was made, in seconds since 1970.
    pub(crate) oldest: Option<u64>,
}

/// The counts of one range set. `size` is `used + free + cooling`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetUsage {
    /// The ranges as text.
    pub(crate) ranges: String,
    /// Addresses that may be handed out; saturating, as all counts.
    pub(crate) size: u128,
    /// Those of them that are held.
    pub(crate) used: u128,
    /// Those of them that could be handed out now.
    pub(crate) free: u128,
    /// Those of them that were freed and rest.
    pub(crate) cooling: u128,
    /// Addresses within the bounds that are never handed out: excluded ones and the gateway.
    pub(crate) excluded: u128,
    /// Those of the excluded ones that are held all the same, from before they were excluded.
    pub(crate) misplaced: u128,
    /// When the oldest allocation was made, in seconds since 1970.
    pub(crate) oldest: Option<u64>,
    /// What the next ADD would get.
    pub(crate) next: Next,
}

/// What the next ADD would get from a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This address; a sticky pod may get another one.
    Address(Addr),
    /// Nothing before the first address has rested for so much longer.
    After(Duration),
    /// Nothing: every address is held.
    Full,
}

impl NetworkUsage {
    /// Counts.
    pub(crate) fn new(state: &NetworkState, layout: Option<&Layout>) -> Self {
        let taken = Taken::new(state);
        let oldest = |allocations: &[&Allocation]| allocations.iter().filter_map(|a| a.since).min();
        let sets = layout.map_or(&[][..], |layout| &layout.sets);
        let policy = layout.map_or_else(Policy::default, |layout| layout.policy);
        let sets_usage = sets
            .iter()
            .enumerate()
            .map(|(i, set)| taken.of_set(set, policy, state.marks.get(&i).copied()))
            .collect();
        let within: usize = merged(sets).iter().map(|bounds| taken.held_in(*bounds).len()).sum();
        Self {
            sets: sets_usage,
            held: taken.held.len(),
            outside: if layout.is_some() { taken.held.len().saturating_sub(within) } else { 0 },
            oldest: oldest(&taken.allocations),
        }
    }
}

impl SetUsage {
    /// Whether a monitor should be told: nothing is left, or the share in use is above a limit.
    pub(crate) fn level(&self, warn: u8, critical: u8) -> Exit {
        let above =
            |limit: u8| self.used.saturating_mul(100) > self.size.saturating_mul(u128::from(limit));
        if self.size > 0 && (self.free == 0 || above(critical)) {
            Exit::Critical
        } else if self.size == 0 || above(warn) {
            // A set that can never give an address is a mistake, though nothing is used up.
            Exit::Warning
        } else {
            Exit::Fine
        }
    }
}

/// How bad a fault is: what a store heals or ignores needs a look, anything else is broken.
pub(crate) const fn gravity(kind: FaultKind) -> Exit {
    match kind {
        FaultKind::Empty | FaultKind::Foreign | FaultKind::Mark => Exit::Warning,
        _ => Exit::Critical,
    }
}

/// What is taken, sorted for questions.
#[derive(Debug)]
struct Taken<'a> {
    /// By address.
    allocations: Vec<&'a Allocation>,
    /// Each address once, ascending.
    held: Vec<Addr>,
    /// What rests and is not held, ascending, with the time that is left.
    cooling: Vec<(Addr, Duration)>,
}

impl<'a> Taken<'a> {
    fn new(state: &'a NetworkState) -> Self {
        let mut allocations: Vec<&Allocation> = state.allocations.iter().collect();
        allocations.sort_by_key(|allocation| allocation.addr);
        let mut held: Vec<Addr> = allocations.iter().map(|allocation| allocation.addr).collect();
        held.dedup();
        let mut cooling: Vec<(Addr, Duration)> = state
            .cooling
            .iter()
            .filter(|cooling| !cooling.remaining.is_zero())
            .map(|cooling| (cooling.addr, cooling.remaining))
            .filter(|(addr, _)| held.binary_search(addr).is_err())
            .collect();
        cooling.sort_unstable();
        cooling.dedup_by_key(|(addr, _)| *addr);
        Self { allocations, held, cooling }
    }

    fn held_in(&self, interval: Interval) -> &[Addr] {
        between(&self.held, interval, |addr| *addr)
    }

    fn cooling_in(&self, interval: Interval) -> &[(Addr, Duration)] {
        between(&self.cooling, interval, |(addr, _)| *addr)
    }

    fn of_set(&self, set: &RangeSet, policy: Policy, mark: Option<Addr>) -> SetUsage {
        let usable = set.search_order(None);
        let sum = |counts: &mut dyn Iterator<Item = u128>| counts.fold(0, u128::saturating_add);
        let bounds = || set.ranges().iter().map(Range::interval);
        let all = sum(&mut bounds().map(Interval::count));
        let size = sum(&mut usable.iter().map(|interval| interval.count()));
        let used = sum(&mut usable.iter().map(|interval| self.held_in(*interval).len() as u128));
        let within = sum(&mut bounds().map(|interval| self.held_in(interval).len() as u128));
        let cooling =
            sum(&mut usable.iter().map(|interval| self.cooling_in(*interval).len() as u128));
        let free = size.saturating_sub(used).saturating_sub(cooling);
        let oldest = bounds()
            .flat_map(|interval| between(&self.allocations, interval, |a| a.addr))
            .filter_map(|allocation| allocation.since)
            .min();
        SetUsage {
            ranges: ranges_text(set),
            size,
            used,
            free,
            cooling,
            excluded: all.saturating_sub(size),
            misplaced: within.saturating_sub(used),
            oldest,
            next: self.next(set, policy, mark),
        }
    }

    /// The allocator's search: the intervals in their order, and the lowest free address of the first one
    /// that has any.
    fn next(&self, set: &RangeSet, policy: Policy, mark: Option<Addr>) -> Next {
        let mark = match policy.strategy {
            Strategy::Lowest => None,
            Strategy::Next | Strategy::Sticky => mark,
        };
        let order = set.search_order(mark);
        let first = order.iter().map(|interval| interval.first()).min();
        let last = order.iter().map(|interval| interval.last()).max();
        let Some(hull) = first.zip(last).and_then(|(first, last)| Interval::new(first, last))
        else {
            return Next::Full;
        };
        let held = self.held_in(hull).iter().copied();
        let cooling = self.cooling_in(hull).iter().map(|(addr, _)| *addr);
        let extents = Extents::without(hull, held.chain(cooling));
        let free = order.iter().find_map(|interval| {
            extents.next_free(interval.first()).filter(|addr| *addr <= interval.last())
        });
        if let Some(addr) = free {
            return Next::Address(addr);
        }
        let rests = order.iter().flat_map(|interval| self.cooling_in(*interval));
        rests.map(|(_, remaining)| *remaining).min().map_or(Next::Full, Next::After)
    }
}

/// The part of a sorted slice within the interval.
fn between<T>(sorted: &[T], interval: Interval, addr: impl Fn(&T) -> Addr) -> &[T] {
    let first = sorted.partition_point(|item| addr(item) < interval.first());
    let rest = sorted.get(first..).unwrap_or_default();
    let end = rest.partition_point(|item| addr(item) <= interval.last());
    rest.get(..end).unwrap_or_default()
}

/// The bounds of every range, ascending and disjoint.
fn merged(sets: &[RangeSet]) -> Vec<Interval> {
    let mut all: Vec<Interval> =
        sets.iter().flat_map(RangeSet::ranges).map(Range::interval).collect();
    all.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(all.len());
    for interval in all {
        match merged.last_mut() {
            Some(last) if last.overlaps(interval) => {
                let end = last.last().max(interval.last());
                *last = Interval::new(last.first(), end).unwrap_or(*last);
            }
            _ => merged.push(interval),
        }
    }
    merged
}

/// A range as people write it: its subnet where it has the bounds that it has by default, else the bounds.
pub(crate) fn range_text(range: &Range) -> String {
    let default = RangeSpec { subnet: Some(range.subnet()), small: true, ..RangeSpec::default() };
    match Range::try_from(&default) {
        Ok(default) if default.interval() == range.interval() => range.subnet().to_string(),
        _ => range.interval().to_string(),
    }
}

/// The ranges of a set, the first of them.
pub(crate) fn ranges_text(set: &RangeSet) -> String {
    const SHOWN: usize = 3;
    let ranges = set.ranges();
    let mut text = ranges.iter().take(SHOWN).map(range_text).collect::<Vec<_>>().join(", ");
    if ranges.len() > SHOWN {
        text.push_str(&format!(" and {} more", ranges.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
