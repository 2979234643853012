//! What each address of a range is: runs of neighbours of one kind, and the standing of a single one.

use std::time::Duration;

use ipam_core::addr::{Addr, Interval};
use ipam_core::layout::Layout;
use ipam_core::range::Range;
use ipam_stores::survey::NetworkState;

use super::Taken;

/// What an address is. An address that is held is that, whatever else it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Held: the position of its allocation in the network's state.
    Used(usize),
    /// Freed, and resting.
    Cooling,
    /// The gateway.
    Gateway,
    /// Never handed out.
    Excluded,
    /// Free.
    Free,
}

/// Neighbouring addresses of one kind; a used one is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The addresses.
    pub(crate) interval: Interval,
    /// What they are.
    pub(crate) kind: Kind,
}

/// The runs of a range, ascending; together they are exactly its bounds.
pub(crate) fn runs(range: &Range, state: &NetworkState) -> Vec<Run> {
    let bounds = range.interval();
    let mut singles: Vec<(Addr, Kind)> = state
        .allocations
        .iter()
        .enumerate()
        .filter(|(_, allocation)| bounds.contains(allocation.addr))
        .map(|(i, allocation)| (allocation.addr, Kind::Used(i)))
        .collect();
    // A stable sort: of an address in two records the first one counts.
    singles.sort_by_key(|(addr, _)| *addr);
    let taken = Taken::new(state);
    let usable = range.usable();
    for interval in &usable {
        singles.extend(taken.cooling_in(*interval).iter().map(|(addr, _)| (*addr, Kind::Cooling)));
    }
    singles.extend(
        range.gateway().filter(|addr| bounds.contains(*addr)).map(|addr| (addr, Kind::Gateway)),
    );
    singles.sort_by_key(|(addr, _)| *addr);
    singles.dedup_by_key(|(addr, _)| *addr);

    let mut runs = Vec::with_capacity(singles.len().saturating_mul(2));
    let mut rest = singles.as_slice();
    for (interval, kind) in partition(bounds, &usable) {
        let mut next = Some(interval.first());
        while let Some(((addr, single), others)) = rest.split_first()
            && interval.contains(*addr)
        {
            if let Some(from) = next
                && let Some(before) = addr.previous()
            {
                runs.extend(Interval::new(from, before).map(|interval| Run { interval, kind }));
            }
            runs.push(Run { interval: Interval::single(*addr), kind: *single });
            next = addr.next();
            rest = others;
        }
        let tail = next.and_then(|from| Interval::new(from, interval.last()));
        runs.extend(tail.map(|interval| Run { interval, kind }));
    }
    runs
}

/// The bounds as usable intervals and the excluded ones between them.
fn partition(bounds: Interval, usable: &[Interval]) -> Vec<(Interval, Kind)> {
    let mut parts = Vec::with_capacity(usable.len().saturating_mul(2).saturating_add(1));
    let mut next = Some(bounds.first());
    for interval in usable {
        if let Some(from) = next
            && let Some(before) = interval.first().previous()
        {
            parts.extend(Interval::new(from, before).map(|gap| (gap, Kind::Excluded)));
        }
        parts.push((*interval, Kind::Free));
        next = interval.last().next();
    }
    let tail = next.and_then(|from| Interval::new(from, bounds.last()));
    parts.extend(tail.map(|gap| (gap, Kind::Excluded)));
    parts
}

/// What a single address is to a network that does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Free, in the set at this position.
    Free(usize),
    /// Resting for so much longer.
    Cooling(Duration),
    /// The gateway of the set at this position.
    Gateway(usize),
    /// Excluded from the set at this position.
    Excluded(usize),
    /// In the subnet of a range of this set, and not between its bounds.
    OutOfBounds(usize),
}

/// What the address is to a network that does not hold it; `None` if it has nothing to do with it.
pub(crate) fn standing(
    addr: Addr,
    state: &NetworkState,
    layout: Option<&Layout>,
) -> Option<Standing> {
    let cooling =
        state.cooling.iter().find(|cooling| cooling.addr == addr && !cooling.remaining.is_zero());
    if let Some(cooling) = cooling {
        return Some(Standing::Cooling(cooling.remaining));
    }
    let sets = layout.map_or(&[][..], |layout| &layout.sets);
    let ranges = || {
        sets.iter()
            .enumerate()
            .flat_map(|(i, set)| set.ranges().iter().map(move |range| (i, range)))
    };
    let gateway = ranges().find(|(_, range)| range.gateway() == Some(addr));
    let within = || ranges().find(|(_, range)| range.interval().contains(addr));
    let near = || ranges().find(|(_, range)| range.subnet().network().contains(addr));
    gateway
        .map(|(i, _)| Standing::Gateway(i))
        .or_else(|| {
            within().map(|(i, range)| {
                if range.may_hand_out(addr) { Standing::Free(i) } else { Standing::Excluded(i) }
            })
        })
        .or_else(|| near().map(|(i, _)| Standing::OutOfBounds(i)))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{addr, allocation, layout, state};
    use super::*;
    use ipam_core::policy::Policy;
    use ipam_stores::survey::Cooling;

    #[test]
    fn a_range_is_told_in_runs() {
        let layout = layout(
            r#"{"exclude": ["10.1.2.8/30"], "ranges": [[{"subnet": "10.1.2.0/28", "rangeEnd": "10.1.2.13"}]]}"#,
            Policy::default(),
        );
        let mut state = state("pods");
        state.allocations = ["10.1.2.3", "10.1.2.9", "10.1.2.9", "10.1.2.15"]
            .map(|text| allocation(text, 1, 1))
            .into();
        let rest = |text: &str| Cooling { addr: addr(text), remaining: Duration::from_secs(1) };
        state.cooling = vec![rest("10.1.2.3"), rest("10.1.2.4"), rest("10.1.2.10")];
        let told: Vec<(String, Kind)> = runs(&layout.sets[0].ranges()[0], &state)
            .iter()
            .map(|run| (run.interval.to_string(), run.kind))
            .collect();
        let expected = [
            ("10.1.2.1-10.1.2.1", Kind::Gateway),
            ("10.1.2.2-10.1.2.2", Kind::Free),
            ("10.1.2.3-10.1.2.3", Kind::Used(0)),
            ("10.1.2.4-10.1.2.4", Kind::Cooling),
            ("10.1.2.5-10.1.2.7", Kind::Free),
            ("10.1.2.8-10.1.2.8", Kind::Excluded),
            ("10.1.2.9-10.1.2.9", Kind::Used(1)),
            ("10.1.2.10-10.1.2.11", Kind::Excluded),
            ("10.1.2.12-10.1.2.13", Kind::Free),
        ];
        assert_eq!(told, expected.map(|(text, kind)| (text.to_owned(), kind)));
        for (text, expected) in [
            ("10.1.2.2", Some(Standing::Free(0))),
            ("10.1.2.4", Some(Standing::Cooling(Duration::from_secs(1)))),
            ("10.1.2.1", Some(Standing::Gateway(0))),
            ("10.1.2.8", Some(Standing::Excluded(0))),
            ("10.1.2.14", Some(Standing::OutOfBounds(0))),
            ("10.1.3.1", None),
            ("::1", None),
        ] {
            assert_eq!(standing(addr(text), &state, Some(&layout)), expected, "{text}");
        }
    }
}
