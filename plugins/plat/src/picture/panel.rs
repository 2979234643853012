/*!
The part of the address space that a picture shows, and its cells.

A panel is 2^n addresses with a range in it. It is divided into cells of 2^m addresses each, so that
a /24 and a /12 have pictures of about the same size.
*/

use ipam_core::addr::{Addr, Interval};
use ipam_core::range::Range;
use ipam_stores::survey::NetworkState;

use crate::shown::Shown;
use crate::usage::{Kind, NetworkUsage, Next, Run, range_text, ranges_text, runs};

/// Ranges of more than 2^this addresses are shown in part, if what is in use lies together. Every IPv4
/// range of people is shown as a whole.
const WHOLE: u32 = 24;

/// How many addresses a part has at least: 2^this.
const PART: u32 = 8;

/// How many panels one picture has at most.
const PANELS: usize = 64;

/// A range and the addresses around it.
#[derive(Clone, Debug)]
pub(crate) struct Panel<'a> {
    /// The network.
    pub(crate) state: &'a NetworkState,
    /// What is shown, as text: the range, or the network where no range is known.
    pub(crate) title: String,
    /// If the range is not shown as a whole, why and which part is.
    pub(crate) note: Option<String>,
    /// The first address of the first cell.
    pub(crate) first: Addr,
    /// The panel has 2^this addresses.
    pub(crate) bits: u32,
    /// The runs of the range in the panel.
    pub(crate) runs: Vec<Run>,
    /// The next address, if it lies in the panel.
    pub(crate) next: Option<Addr>,
    /// The gateway, wherever it lies.
    pub(crate) gateway: Option<Addr>,
    /// Whether ranges are known; else what is not held is not known to be free.
    pub(crate) known: bool,
}

/// What is in a cell: numbers of addresses, saturating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Held.
    pub(crate) used: u128,
    /// Freed, and resting.
    pub(crate) cooling: u128,
    /// The gateway.
    pub(crate) gateway: u128,
    /// Never handed out.
    pub(crate) excluded: u128,
    /// Free.
    pub(crate) free: u128,
}

impl Cell {
    /// Addresses of the range.
    pub(crate) const fn all(self) -> u128 {
        self.usable().saturating_add(self.gateway).saturating_add(self.excluded)
    }

    /// Addresses that are handed out or could be.
    pub(crate) const fn usable(self) -> u128 {
        self.used.saturating_add(self.cooling).saturating_add(self.free)
    }

    /// What is in two cells.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            used: self.used.saturating_add(other.used),
            cooling: self.cooling.saturating_add(other.cooling),
            gateway: self.gateway.saturating_add(other.gateway),
            excluded: self.excluded.saturating_add(other.excluded),
            free: self.free.saturating_add(other.free),
        }
    }

    fn add(&mut self, kind: Kind, n: u128) {
        let count = match kind {
            Kind::Used(_) => &mut self.used,
            Kind::Cooling => &mut self.cooling,
            Kind::Gateway => &mut self.gateway,
            Kind::Excluded => &mut self.excluded,
            Kind::Free => &mut self.free,
        };
        *count = count.saturating_add(n);
    }
}

/// The panels of a network, one for each range, and how many there are more than fit a picture.
pub(crate) fn panels<'a>(shown: &'a Shown, usage: &NetworkUsage) -> (Vec<Panel<'a>>, usize) {
    let Some(layout) = &shown.layout else {
        return (without_ranges(&shown.state).into_iter().collect(), 0);
    };
    let ranges = layout
        .sets
        .iter()
        .zip(&usage.sets)
        .flat_map(|(set, usage)| set.ranges().iter().map(move |range| (range, usage.next)));
    let all = layout.sets.iter().map(|set| set.ranges().len()).sum::<usize>();
    let panels: Vec<Panel<'a>> =
        ranges.take(PANELS).map(|(range, next)| of_range(&shown.state, range, next)).collect();
    let more = all.saturating_sub(panels.len());
    (panels, more)
}

fn of_range<'a>(state: &'a NetworkState, range: &Range, next: Next) -> Panel<'a> {
    let bounds = range.interval();
    let next = match next {
        Next::Address(addr) if bounds.contains(addr) => Some(addr),
        _ => None,
    };
    let mut runs = runs(range, state);
    let (mut first, mut bits) = block(bounds);
    let mut note = None;
    if bits > WHOLE {
        let busy = hull(
            runs.iter()
                .filter(|run| !matches!(run.kind, Kind::Excluded | Kind::Free))
                .map(|run| run.interval)
                .chain(next.map(Interval::single)),
        );
        let busy = busy.unwrap_or(Interval::single(bounds.first()));
        let (part, part_bits) = block(busy);
        if part_bits < bits {
            bits = part_bits.max(PART);
            first = aligned(part, bits);
            runs = clip(&runs, first, bits);
            let prefix = u32::from(first.family().bits()).saturating_sub(bits);
            note = Some(format!(
                "only {first}/{prefix} is shown and counted: everything in use lies there"
            ));
        }
    }
    Panel {
        state,
        title: range_text(range),
        note,
        first,
        bits,
        next: next.filter(|next| offset(first, *next).is_some_and(|at| fits(at, bits))),
        gateway: range.gateway(),
        runs,
        known: true,
    }
}

/// The panel of a network of which only allocations are known; one for the family of the first of them.
fn without_ranges(state: &NetworkState) -> Option<Panel<'_>> {
    let mut held: Vec<(Addr, usize)> =
        state.allocations.iter().enumerate().map(|(i, allocation)| (allocation.addr, i)).collect();
    held.sort_unstable();
    held.dedup_by_key(|(addr, _)| *addr);
    let family = held.first()?.0.family();
    held.retain(|(addr, _)| addr.family() == family);
    let hull = hull(held.iter().map(|(addr, _)| Interval::single(*addr)))?;
    let (first, bits) = block(hull);
    let bits = bits.max(PART);
    let runs = held
        .into_iter()
        .map(|(addr, i)| Run { interval: Interval::single(addr), kind: Kind::Used(i) });
    Some(Panel {
        state,
        title: format!("around {hull}"),
        note: Some("its ranges are not known: what is not held may be free or not".to_owned()),
        first: aligned(first, bits),
        bits,
        runs: runs.collect(),
        next: None,
        gateway: None,
        known: false,
    })
}

impl Panel<'_> {
    /// The first address of a cell; `None` beyond the family's last address.
    pub(crate) fn address(&self, cell: usize, cell_bits: u32) -> Option<Addr> {
        let at = (cell as u128).checked_shl(cell_bits)?;
        self.first.offset(at)
    }

    /// The last address of a cell; `None` beyond the family's last address.
    pub(crate) fn last_address(&self, cell: usize, cell_bits: u32) -> Option<Addr> {
        self.address(cell, cell_bits)?.offset(mask(cell_bits))
    }

    /// The cell that an address lies in.
    pub(crate) fn cell_of(&self, addr: Addr, cell_bits: u32) -> Option<usize> {
        let at = offset(self.first, addr).filter(|at| fits(*at, self.bits))?;
        usize::try_from(at.checked_shr(cell_bits).unwrap_or(0)).ok()
    }

    /// The panel's cells of `2^cell_bits` addresses; `bits - cell_bits` is at most 20.
    pub(crate) fn cells(&self, cell_bits: u32) -> Vec<Cell> {
        let order = self.bits.saturating_sub(cell_bits).min(20);
        let mut cells = vec![Cell::default(); 1 << order];
        for run in &self.runs {
            let Some((from, to)) = self.offsets(run.interval) else { continue };
            let (a, b) = (shr(from, cell_bits), shr(to, cell_bits));
            let Some(touched) = cells.get_mut(a..=b.max(a)) else { continue };
            for (cell, i) in touched.iter_mut().zip(a..) {
                let start = (i as u128).checked_shl(cell_bits).unwrap_or(0);
                let end = start.saturating_add(mask(cell_bits));
                let n = to.min(end).saturating_sub(from.max(start)).saturating_add(1);
                cell.add(run.kind, n);
            }
        }
        cells
    }

    /// What the panel holds altogether.
    pub(crate) fn total(&self) -> Cell {
        let mut total = Cell::default();
        for run in &self.runs {
            total.add(run.kind, run.interval.count());
        }
        total
    }

    /// First and last offset of a run.
    pub(crate) fn offsets(&self, interval: Interval) -> Option<(u128, u128)> {
        Some((offset(self.first, interval.first())?, offset(self.first, interval.last())?))
    }
}

/// What a network's panels are of, as text.
pub(crate) fn subject(shown: &Shown) -> String {
    match &shown.layout {
        Some(layout) => layout.sets.iter().map(ranges_text).collect::<Vec<_>>().join("; "),
        None => "ranges not known".to_owned(),
    }
}

fn shr(number: u128, bits: u32) -> usize {
    usize::try_from(number.checked_shr(bits).unwrap_or(0)).unwrap_or(usize::MAX)
}

/// The numbers below 2^bits, as the highest of them.
const fn mask(bits: u32) -> u128 {
    match u128::MAX.checked_shr(128_u32.saturating_sub(bits)) {
        Some(mask) => mask,
        None => 0,
    }
}

const fn fits(at: u128, bits: u32) -> bool {
    at <= mask(bits)
}

fn offset(first: Addr, addr: Addr) -> Option<u128> {
    (first.family() == addr.family()).then(|| addr.number().checked_sub(first.number())).flatten()
}

fn aligned(addr: Addr, bits: u32) -> Addr {
    Addr::new(addr.family(), addr.number() & !mask(bits)).unwrap_or(addr)
}

/// The interval around all of them.
fn hull(intervals: impl Iterator<Item = Interval>) -> Option<Interval> {
    intervals
        .reduce(|a, b| Interval::new(a.first().min(b.first()), a.last().max(b.last())).unwrap_or(a))
}

/// The smallest block of 2^n addresses around the interval that is a subnet; if that is far too large,
/// because the interval lies across a border of large subnets, one that begins in the middle of one.
fn block(interval: Interval) -> (Addr, u32) {
    let (first, last) = (interval.first(), interval.last());
    let differing = 128 - (first.number() ^ last.number()).leading_zeros();
    let needed = 128 - (last.number() - first.number()).leading_zeros();
    if differing <= needed + 2 {
        return (aligned(first, differing), differing);
    }
    // Aligned to a sixteenth of it, so that rows begin at even addresses.
    for bits in needed..=needed + 1 {
        let start = aligned(first, bits.saturating_sub(4));
        if last.number() - start.number() <= mask(bits) {
            return (start, bits);
        }
    }
    (aligned(first, differing), differing)
}

/// The parts of the runs within a block.
fn clip(runs: &[Run], first: Addr, bits: u32) -> Vec<Run> {
    let end = Addr::new(first.family(), first.number().saturating_add(mask(bits)));
    let Some(bounds) = end.and_then(|last| Interval::new(first, last)) else {
        return runs.to_vec();
    };
    runs.iter()
        .filter_map(|run| {
            let from = run.interval.first().max(bounds.first());
            let to = run.interval.last().min(bounds.last());
            Some(Run { interval: Interval::new(from, to)?, kind: run.kind })
        })
        .collect()
}

#[cfg(test)]
mod tests;
