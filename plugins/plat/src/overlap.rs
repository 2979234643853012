//! Who hands out addresses that another hands out, too.

use ipam_core::addr::Interval;

/// For each interval that shares an address with one of another owner that begins before it, the pair:
/// the other's number, and its own. O(n log n); a chain of overlaps gives one pair for each of its links, not
/// one for each two of its members. `owner` tells whose an interval is, by its number.
pub(crate) fn find(
    items: &[(Interval, usize)],
    owner: impl Fn(usize) -> usize,
) -> Vec<(usize, usize)> {
    let mut sorted: Vec<(Interval, usize)> = items.to_vec();
    sorted.sort_unstable();
    let mut pairs = Vec::new();
    // Of what began so far: the one that reaches furthest, and the furthest of another owner than that.
    let mut furthest: Option<(Interval, usize)> = None;
    let mut second: Option<(Interval, usize)> = None;
    for (interval, number) in sorted {
        let own = owner(number);
        let other = [furthest, second]
            .into_iter()
            .flatten()
            .find(|(before, other)| owner(*other) != own && before.overlaps(interval));
        if let Some((_, other)) = other {
            pairs.push((other, number));
        }
        let is_further = |known: Option<(Interval, usize)>| {
            known.is_none_or(|(known, _)| interval.last() >= known.last())
        };
        let same = furthest.is_some_and(|(_, other)| owner(other) == own);
        if is_further(furthest) {
            if !same {
                second = furthest;
            }
            furthest = Some((interval, number));
        } else if !same && is_further(second) {
            second = Some((interval, number));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipam_core::addr::{Addr, Family};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn interval(v6: bool, first: u128, last: u128) -> Interval {
        let family = if v6 { Family::V6 } else { Family::V4 };
        Interval::new(Addr::new(family, first).unwrap(), Addr::new(family, last).unwrap()).unwrap()
    }

    proptest! {
        /// Against every pair: who overlaps with another owner is the same, and so is every pair's truth.
        #[test]
        fn as_by_trying_every_pair(
            items in proptest::collection::vec((any::<bool>(), 0_u128..60, 0_u128..12, 0_usize..5), 0..40),
        ) {
            let owners: Vec<usize> = items.iter().map(|item| item.3).collect();
            let all: Vec<(Interval, usize)> = items
                .iter()
                .enumerate()
                .map(|(i, (v6, first, length, _))| (interval(*v6, *first, first + length), i))
                .collect();
            let pairs = find(&all, |i| owners[i]);
            for (a, b) in &pairs {
                prop_assert!(owners[*a] != owners[*b] && all[*a].0.overlaps(all[*b].0));
            }
            let mut sorted = all;
            sorted.sort_unstable();
            let expected: BTreeSet<usize> = sorted
                .iter()
                .enumerate()
                .filter(|(n, (interval, i))| {
                    sorted[..*n].iter().any(|(o, j)| owners[*j] != owners[*i] && o.overlaps(*interval))
                })
                .map(|(_, (_, i))| *i)
                .collect();
            prop_assert_eq!(pairs.iter().map(|(_, b)| *b).collect::<BTreeSet<_>>(), expected);
        }
    }
}
