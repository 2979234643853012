//! What holds for the range sets of every accepted configuration.

use std::iter::successors;

use ipam_core::addr::{Addr, Interval};
use ipam_core::range::{Exclude, Range, RangeSet};
use serde_json::Value;

use crate::json::{elements, get};

/// Up to how many addresses a range is looked at one by one.
const FEW: u128 = 300;

/// Checks the sets that came out of a configuration against the configuration itself:
///
/// - ranges are within their subnets and share no address, in a set and among sets;
/// - what may be handed out is the range without the gateway and what is excluded, no more and no less;
/// - a search visits all of that once, beginning behind the last address handed out.
pub(crate) fn check(sets: &[RangeSet], net: &Value) {
    let written = exclusions(net);
    let shape: Vec<usize> = sets.iter().map(|set| set.ranges().len()).collect();
    let written_shape: Vec<usize> = written.iter().map(Vec::len).collect();
    assert_eq!(shape, written_shape, "ranges were lost or made up");
    assert!(!sets.is_empty() && !shape.contains(&0), "an empty set");

    let mut intervals: Vec<Interval> =
        sets.iter().flat_map(RangeSet::ranges).map(Range::interval).collect();
    intervals.sort_unstable();
    assert!(disjoint(&intervals), "ranges overlap: {intervals:?}");

    for (set, excluded) in sets.iter().zip(&written) {
        assert!(
            set.ranges().iter().all(|range| range.interval().family() == set.family()),
            "{set} has two families"
        );
        for (range, excluded) in set.ranges().iter().zip(excluded) {
            check_range(range, excluded);
        }
        check_search(set);
    }
}

/// What is excluded from each range, by the order of the sets.
fn exclusions(net: &Value) -> Vec<Vec<Vec<Interval>>> {
    let ipam = get(net, "ipam").expect("accepted, but without ipam");
    let everywhere = excluded(ipam);
    let of = |own: &[Interval]| [own, &everywhere].concat();
    let sets = |section: Option<&Value>, key: &str| -> Vec<Vec<Vec<Interval>>> {
        elements(section.and_then(|section| get(section, key)))
            .map(|set| elements(Some(set)).map(|range| of(&excluded(range))).collect())
            .collect()
    };
    let mut all = sets(get(net, "runtimeConfig"), "ipRanges");
    if get(ipam, "subnet").is_some() {
        all.push(vec![everywhere.clone()]);
    }
    all.extend(sets(Some(ipam), "ranges"));
    all
}

fn excluded(section: &Value) -> Vec<Interval> {
    let read = |text: &Value| {
        let parsed = text.as_str().and_then(Exclude::parse).map(Exclude::interval);
        parsed.unwrap_or_else(|| panic!("accepted, but no exclusion: {text}"))
    };
    match get(section, "exclude") {
        Some(Value::Array(list)) => list.iter().map(read).collect(),
        Some(text) => vec![read(text)],
        None => Vec::new(),
    }
}

fn disjoint(ascending: &[Interval]) -> bool {
    ascending.windows(2).all(|pair| matches!(pair, [a, b] if a.last() < b.first()))
}

fn check_range(range: &Range, excluded: &[Interval]) {
    let interval = range.interval();
    let network = range.subnet().network();
    assert!(network.contains(interval.first()) && network.contains(interval.last()));
    assert_eq!(network.first(), range.subnet().addr(), "a subnet with host bits");
    let usable = range.usable();
    assert!(disjoint(&usable), "{usable:?}");

    let gateway = range.gateway().map(Interval::single);
    let withheld: Vec<Interval> = excluded.iter().copied().chain(gateway).collect();
    for part in usable {
        assert!(interval.contains(part.first()) && interval.contains(part.last()));
        for hole in &withheld {
            assert!(!part.overlaps(*hole), "{part} of {interval} has some of {hole}");
        }
    }
    let should =
        |addr: Addr| interval.contains(addr) && !withheld.iter().any(|hole| hole.contains(addr));
    let edges = withheld.iter().copied().chain([interval, network]).flat_map(around);
    let every = (interval.count() <= FEW).then(|| addresses(interval)).into_iter().flatten();
    for addr in edges.chain(every) {
        assert_eq!(range.may_hand_out(addr), should(addr), "{addr} of {interval}");
    }
}

/// The parts of a range that are not handed out.
pub(crate) fn holes(range: &Range) -> Vec<Interval> {
    let mut holes = Vec::new();
    let mut next = Some(range.interval().first());
    for part in range.usable() {
        let before = next.zip(part.first().previous());
        holes.extend(before.and_then(|(first, last)| Interval::new(first, last)));
        next = part.last().next();
    }
    holes.extend(next.and_then(|first| Interval::new(first, range.interval().last())));
    holes
}

fn check_search(set: &RangeSet) {
    let usable: Vec<Interval> = set.ranges().iter().flat_map(Range::usable).collect();
    let gateways = set.ranges().iter().filter_map(Range::gateway).map(Interval::single);
    let bounds = set.ranges().iter().map(Range::interval);
    // Only so many: each mark costs a walk through the set.
    let marks = usable.iter().copied().chain(bounds).chain(gateways).flat_map(around).take(64);
    let total = count(&usable);
    for last in marks.map(Some).chain([None]) {
        let order = set.search_order(last);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(disjoint(&sorted), "{set} after {last:?}: an address is tried twice: {order:?}");
        assert_eq!(count(&order), total, "{set} after {last:?}: {order:?}");
        let inside =
            |i: &Interval| usable.iter().any(|u| u.contains(i.first()) && u.contains(i.last()));
        assert!(order.iter().all(inside), "{set} after {last:?}: {order:?}");
        if total <= FEW {
            let tried: Vec<Addr> = order.into_iter().flat_map(addresses).collect();
            assert_eq!(tried, expected_order(set, last), "{set} after {last:?}");
        }
    }
}

/// The addresses of a set in the order in which they should be tried, one by one.
fn expected_order(set: &RangeSet, last: Option<Addr>) -> Vec<Addr> {
    let mut order: Vec<Addr> = Vec::new();
    let mut start = 0;
    for range in set.ranges() {
        order.extend(range.usable().into_iter().flat_map(addresses));
        // The order begins behind the mark, which ends what has been passed of this range.
        if last.is_some_and(|last| range.interval().contains(last)) {
            let passed = |addr: &Addr| !range.interval().contains(*addr) || Some(*addr) <= last;
            start = order.iter().take_while(|addr| passed(addr)).count();
        }
    }
    order.rotate_left(start);
    order
}

/// The ends of an interval and what lies beside them.
fn around(interval: Interval) -> impl Iterator<Item = Addr> {
    let (first, last) = (interval.first(), interval.last());
    [first.previous(), Some(first), Some(last), last.next()].into_iter().flatten()
}

fn addresses(interval: Interval) -> impl Iterator<Item = Addr> {
    successors(Some(interval.first()), move |addr| {
        addr.next().filter(|next| interval.contains(*next))
    })
}

fn count(intervals: &[Interval]) -> u128 {
    intervals.iter().fold(0, |sum: u128, interval| sum.saturating_add(interval.count()))
}
