/*!
Free space as intervals.

A pool that is asked for its next free address must not try one address after the other: a full /16
would take 65,000 tries, an IPv6 subnet for ever. [`Extents`] keeps what is free as disjoint intervals
that never touch, so that the next free address at or above a given one is one search in a tree,
O(log n) in the number of gaps, for both families alike.

Invariant: extents are within the bounds, ascending, and between two of them lies at least one taken
address; taken addresses and extents together are exactly the bounds.
*/

use std::collections::BTreeMap;

use crate::addr::{Addr, Interval};

/// The free addresses of one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extents {
    bounds: Interval,
    /// First address of an extent to its last.
    free: BTreeMap<Addr, Addr>,
}

impl Extents {
    /// All of `bounds`, free.
    pub fn new(bounds: Interval) -> Self {
        Self { bounds, free: BTreeMap::from([(bounds.first(), bounds.last())]) }
    }

    /// `bounds` without the addresses in `taken`, which may come in any order, twice, or from elsewhere.
    pub fn without(bounds: Interval, taken: impl IntoIterator<Item = Addr>) -> Self {
        let mut taken: Vec<Addr> = taken.into_iter().filter(|a| bounds.contains(*a)).collect();
        taken.sort_unstable();
        let mut free = BTreeMap::new();
        let mut next = Some(bounds.first());
        for addr in taken {
            let Some(first) = next else { break };
            if addr < first {
                continue;
            }
            if let Some(last) = addr.previous()
                && first <= last
            {
                free.insert(first, last);
            }
            next = addr.next().filter(|next| *next <= bounds.last());
        }
        if let Some(first) = next {
            free.insert(first, bounds.last());
        }
        Self { bounds, free }
    }

    /// The lowest free address at or above `addr`.
    pub fn next_free(&self, addr: Addr) -> Option<Addr> {
        if addr.family() != self.bounds.family() {
            return None;
        }
        if let Some((_, last)) = self.free.range(..=addr).next_back()
            && *last >= addr
        {
            return Some(addr);
        }
        self.free.range(addr..).next().map(|(first, _)| *first)
    }

    /// Takes an address; false if it is not free.
    pub fn take(&mut self, addr: Addr) -> bool {
        let Some((first, last)) = self.free.range(..=addr).next_back().map(|(f, l)| (*f, *l))
        else {
            return false;
        };
        if last < addr || addr.family() != first.family() {
            return false;
        }
        self.free.remove(&first);
        if let Some(before) = addr.previous().filter(|before| *before >= first) {
            self.free.insert(first, before);
        }
        if let Some(after) = addr.next().filter(|after| *after <= last) {
            self.free.insert(after, last);
        }
        true
    }

    /// Gives an address back; false if it is free already or out of bounds.
    pub fn put_back(&mut self, addr: Addr) -> bool {
        if !self.bounds.contains(addr) || self.next_free(addr) == Some(addr) {
            return false;
        }
        let below = self.free.range(..addr).next_back().map(|(f, l)| (*f, *l));
        let first = match below {
            Some((first, last)) if last.next() == Some(addr) => first,
            _ => addr,
        };
        let last = addr.next().and_then(|next| self.free.remove(&next)).unwrap_or(addr);
        self.free.insert(first, last);
        true
    }

    /// The free intervals, ascending.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> {
        self.free.iter().filter_map(|(first, last)| Interval::new(*first, *last))
    }

    /// The number of free addresses, saturating.
    pub fn free(&self) -> u128 {
        self.intervals().fold(0, |sum: u128, interval| sum.saturating_add(interval.count()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn addr(text: &str) -> Addr {
        Addr::parse(text).unwrap()
    }

    #[test]
    fn a_whole_family_has_no_edge_that_overflows() {
        for (first, last) in
            [("0.0.0.0", "255.255.255.255"), ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
        {
            let bounds = Interval::new(addr(first), addr(last)).unwrap();
            let mut extents = Extents::new(bounds);
            assert!(extents.take(addr(first)) && extents.take(addr(last)));
            assert!(!extents.take(addr(last)));
            assert_eq!(extents.next_free(addr(last)), None);
            assert_eq!(extents, Extents::without(bounds, [addr(last), addr(first), addr(last)]));
            assert!(extents.put_back(addr(last)) && extents.put_back(addr(first)));
            assert_eq!(extents, Extents::new(bounds));
        }
    }

    fn base(v6: bool) -> Addr {
        addr(if v6 { "2001:db8::" } else { "10.0.0.0" })
    }

    proptest! {
        /// Against a set of numbers: the same answers, and free plus taken is always the whole.
        #[test]
        fn extents_are_a_set(
            v6 in any::<bool>(),
            steps in proptest::collection::vec((0_u8..3, 0_u128..70), 1..200),
        ) {
            let at = |n: u128| base(v6).offset(n).unwrap();
            let bounds = Interval::new(at(3), at(60)).unwrap();
            let mut extents = Extents::new(bounds);
            let mut model: BTreeSet<u128> = (3..=60).collect();
            for (what, n) in steps {
                match what {
                    0 => prop_assert_eq!(extents.take(at(n)), model.remove(&n)),
                    1 => prop_assert_eq!(extents.put_back(at(n)), (3..=60).contains(&n) && model.insert(n)),
                    _ => prop_assert_eq!(extents.next_free(at(n)), model.range(n..).next().map(|n| at(*n))),
                }
                prop_assert_eq!(extents.free(), model.len() as u128);
                let intervals: Vec<Interval> = extents.intervals().collect();
                for pair in intervals.windows(2) {
                    prop_assert!(pair[0].last().next().unwrap() < pair[1].first());
                }
                let taken = (3..=60_u128).filter(|n| !model.contains(n)).map(at);
                prop_assert_eq!(&extents, &Extents::without(bounds, taken));
            }
        }
    }
}
