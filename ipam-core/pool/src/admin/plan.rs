//! What must hold for a pool to be changed: values in, values out.

use std::fmt;

use ipam_core::addr::{Addr, Cidr, Family, Interval};
use ipam_core::range::Exclude;

use crate::pool::{Gateway, Pool};

/// What about a pool is to be changed, and cannot be while something is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// These addresses are no longer the pool's.
    Taken(Interval),
    /// These addresses come to the pool.
    Added(Interval),
    /// The blocks get another prefix length.
    BlockLength(Family),
    /// Addresses are given out in another way.
    Mode,
    /// The first address of each block becomes a gateway.
    Gateway,
    /// These addresses are not to be given out any more.
    Withheld(Interval),
    /// The pool goes.
    Removed,
}

impl Why {
    /// Whether it is blocks as such that stand against it, wherever they are.
    pub(crate) const fn is_about_blocks(&self) -> bool {
        matches!(self, Self::BlockLength(_) | Self::Mode | Self::Gateway)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(interval) => write!(f, "{} cannot be taken from it", text(*interval)),
            Self::Added(interval) => write!(f, "{} cannot be added", text(*interval)),
            Self::BlockLength(family) => {
                write!(f, "the prefix length of its {family} blocks cannot be changed")
            }
            Self::Mode => f.write_str("its mode cannot be changed"),
            Self::Gateway => f.write_str("blocks cannot get gateways"),
            Self::Withheld(interval) => write!(f, "{} cannot be excluded", text(*interval)),
            Self::Removed => f.write_str("it cannot be removed"),
        }
    }
}

/// An interval as people write it: as an address or CIDR where it is one.
pub(crate) fn text(interval: Interval) -> String {
    if interval.first() == interval.last() {
        return interval.first().to_string();
    }
    cidr_of(interval).map_or_else(|| interval.to_string(), |cidr| cidr.to_string())
}

/// The CIDR that is exactly this interval.
pub(crate) fn cidr_of(interval: Interval) -> Option<Cidr> {
    let bits = interval.family().bits();
    (0..=bits)
        .filter_map(|prefix| Cidr::new(interval.first(), prefix))
        .find(|cidr| cidr.network() == interval)
}

/// Which records may lie where a change takes something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Any.
    Any,
    /// Reservations: what is reserved is not given out.
    Reserved,
    /// None.
    None,
}

/// Something that must hold for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The addresses that it is about.
    pub(crate) interval: Interval,
    /// Whether no block may lie there.
    pub(crate) no_block: bool,
    /// Which records may lie there.
    pub(crate) allowed: Allowed,
    /// What is changed.
    pub(crate) why: Why,
}

/// What must hold for a pool to become another one, to come or to go.
pub(crate) fn demands(old: Option<&Pool>, new: Option<&Pool>) -> Vec<Demand> {
    let mut demands = Vec::new();
    let mut no_block = |interval, allowed, why| {
        demands.push(Demand { interval, no_block: true, allowed, why });
    };
    let (old, new) = match (old, new) {
        (None, None) => return demands,
        (None, Some(new)) => {
            for interval in new.intervals() {
                no_block(interval, Allowed::Any, Why::Added(interval));
            }
            return demands;
        }
        (Some(old), None) => {
            for interval in old.intervals() {
                no_block(interval, Allowed::Reserved, Why::Removed);
            }
            return demands;
        }
        (Some(old), Some(new)) => (old, new),
    };
    for family in [Family::V4, Family::V6] {
        let (before, after) = (old.part(family), new.part(family));
        let one = before.map(|part| part.cidr.network());
        let two = after.map(|part| part.cidr.network());
        for interval in minus(one.into_iter().collect(), two) {
            no_block(interval, Allowed::None, Why::Taken(interval));
        }
        for interval in minus(two.into_iter().collect(), one) {
            no_block(interval, Allowed::Any, Why::Added(interval));
        }
        if let (Some(before), Some(after)) = (before, after)
            && before.block != after.block
        {
            no_block(before.cidr.network(), Allowed::Any, Why::BlockLength(family));
        }
    }
    if old.mode != new.mode {
        for interval in old.intervals() {
            no_block(interval, Allowed::Any, Why::Mode);
        }
    }
    if new.gateway == Gateway::Block && old.gateway != Gateway::Block {
        for interval in old.intervals() {
            no_block(interval, Allowed::Any, Why::Gateway);
        }
    }
    let before: Vec<Interval> = old.withheld().into_iter().map(Exclude::interval).collect();
    for withheld in new.withheld() {
        let both = old.intervals().filter_map(|interval| meet(interval, withheld.interval()));
        let both = both.flat_map(|interval| {
            new.intervals().filter_map(move |within| meet(interval, within)).collect::<Vec<_>>()
        });
        for interval in minus(both.collect(), before.iter().copied()) {
            demands.push(Demand {
                interval,
                no_block: false,
                allowed: Allowed::Reserved,
                why: Why::Withheld(interval),
            });
        }
    }
    demands
}

/// What both intervals have.
pub(crate) fn meet(one: Interval, two: Interval) -> Option<Interval> {
    if !one.overlaps(two) {
        return None;
    }
    Interval::new(one.first().max(two.first()), one.last().min(two.last()))
}

/// What is left of intervals without others.
pub(crate) fn minus(
    from: Vec<Interval>,
    others: impl IntoIterator<Item = Interval>,
) -> Vec<Interval> {
    others.into_iter().fold(from, |left, other| {
        left.into_iter()
            .flat_map(|interval| {
                if !interval.overlaps(other) {
                    return [Some(interval), None];
                }
                let before = other.first().previous().and_then(|last| {
                    Interval::new(interval.first(), last).filter(|_| last >= interval.first())
                });
                let after = other.last().next().and_then(|first| interval.from(first));
                [before, after]
            })
            .flatten()
            .collect()
    })
}

/// The interval without single addresses, which are in ascending order.
pub(crate) fn around(interval: Interval, addrs: &[Addr]) -> Vec<Interval> {
    minus(vec![interval], addrs.iter().copied().map(Interval::single))
}

/// What two pools share, as CIDR: the first of it.
pub fn shared(one: &Pool, two: &Pool) -> Option<Cidr> {
    let parts = |pool: &Pool| [pool.v4, pool.v6].into_iter().flatten().map(|part| part.cidr);
    parts(one).find_map(|one| {
        // Of two networks that share addresses one lies in the other.
        let two = parts(two).find(|two| one.network().overlaps(two.network()))?;
        Some(if one.prefix() >= two.prefix() { one } else { two })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PoolSpec;
    use proptest::prelude::*;

    fn pool(json: &str) -> Pool {
        let mut spec: PoolSpec = serde_json::from_str(json).unwrap();
        spec.name = "pods".to_owned();
        Pool::try_from(&spec).unwrap()
    }

    #[test]
    fn a_change_demands_what_it_takes_away() {
        for (old, new, wanted) in [
            (r#"{"cidr":"10.0.0.0/16"}"#, r#"{"cidr":"10.0.0.0/16"}"#, &[][..]),
            // What only concerns what comes needs nothing.
            (
                r#"{"cidr":"10.0.0.0/16"}"#,
                r#"{"cidr":"10.0.0.0/16","maxBlocks":3,"cool":60,"autonomy":0,"strict":true}"#,
                &[],
            ),
            // Growing: nobody may be there; the old last address comes into use, a new one goes out of it.
            (
                r#"{"cidr":"10.0.0.0/17"}"#,
                r#"{"cidr":"10.0.0.0/16"}"#,
                &["10.0.128.0/17 cannot be added, no block"],
            ),
            (
                r#"{"cidr":"10.0.0.0/16"}"#,
                r#"{"cidr":"10.0.64.0/18"}"#,
                &[
                    "10.0.0.0/18 cannot be taken from it, no block",
                    "10.0.128.0/17 cannot be taken from it, no block",
                    "10.0.64.0 cannot be excluded",
                    "10.0.127.255 cannot be excluded",
                ],
            ),
            (
                r#"{"cidr":"10.0.0.0/24"}"#,
                r#"{"cidr":"10.1.0.0/24"}"#,
                &[
                    "10.0.0.0/24 cannot be taken from it, no block",
                    "10.1.0.0/24 cannot be added, no block",
                ],
            ),
            (
                r#"{"cidr":"10.0.0.0/24","cidr6":"fd00::/120"}"#,
                r#"{"cidr":"10.0.0.0/24"}"#,
                &["fd00::/120 cannot be taken from it, no block"],
            ),
            (
                r#"{"cidr":"10.0.0.0/24"}"#,
                r#"{"cidr":"10.0.0.0/24","blk":28}"#,
                &["the prefix length of its IPv4 blocks cannot be changed, no block"],
            ),
            // The usual length is meant.
            (r#"{"cidr":"10.0.0.0/24"}"#, r#"{"cidr":"10.0.0.0/24","blk":26}"#, &[]),
            (
                r#"{"cidr":"10.0.0.0/24"}"#,
                r#"{"cidr":"10.0.0.0/24","mode":"sync"}"#,
                &["its mode cannot be changed, no block"],
            ),
            (
                r#"{"cidr":"10.0.0.0/24"}"#,
                r#"{"cidr":"10.0.0.0/24","gw":"block"}"#,
                &["blocks cannot get gateways, no block"],
            ),
            (
                r#"{"cidr":"10.0.0.0/24"}"#,
                r#"{"cidr":"10.0.0.0/24","gw":"first"}"#,
                &["10.0.0.1 cannot be excluded"],
            ),
            (
                r#"{"cidr":"10.0.0.0/24","exclude":["10.0.0.0/28"]}"#,
                r#"{"cidr":"10.0.0.0/24","exclude":["10.0.0.0/27","10.0.0.0/28","192.168.0.0/16"]}"#,
                &["10.0.0.16/28 cannot be excluded"],
            ),
        ] {
            let got: Vec<String> = demands(Some(&pool(old)), Some(&pool(new)))
                .iter()
                .map(|demand| {
                    let no_block = if demand.no_block { ", no block" } else { "" };
                    format!("{}{no_block}", demand.why)
                })
                .collect();
            assert_eq!(got, wanted, "{old} to {new}");
        }
    }

    #[test]
    fn pools_that_share_addresses_are_found() {
        for (one, two, wanted) in [
            (r#"{"cidr":"10.0.0.0/16"}"#, r#"{"cidr":"10.1.0.0/16"}"#, None),
            (r#"{"cidr":"10.0.0.0/8"}"#, r#"{"cidr":"10.1.0.0/16"}"#, Some("10.1.0.0/16")),
            (
                r#"{"cidr":"10.0.0.0/24","cidr6":"fd00::/100"}"#,
                r#"{"cidr":"10.1.0.0/24","cidr6":"fd00::/96"}"#,
                Some("fd00::/100"),
            ),
        ] {
            let (one, two) = (pool(one), pool(two));
            let texts = [shared(&one, &two), shared(&two, &one)].map(|c| c.map(|c| c.to_string()));
            assert_eq!(texts, [wanted.map(str::to_owned), wanted.map(str::to_owned)]);
        }
    }

    proptest! {
        #[test]
        fn less_is_what_one_has_and_the_other_not(
            one in (0_u128..60, 0_u128..60), two in (0_u128..60, 0_u128..60), at in 0_u128..60,
        ) {
            let interval = |(a, b): (u128, u128)| {
                let addr = |n| Addr::new(Family::V4, n).unwrap();
                Interval::new(addr(a.min(b)), addr(a.max(b))).unwrap()
            };
            let (one, two) = (interval(one), interval(two));
            let at = Addr::new(Family::V4, at).unwrap();
            let left = minus(vec![one], [two]);
            prop_assert_eq!(
                left.iter().filter(|interval| interval.contains(at)).count() == 1,
                one.contains(at) && !two.contains(at)
            );
            prop_assert_eq!(
                meet(one, two).is_some_and(|both| both.contains(at)),
                one.contains(at) && two.contains(at)
            );
        }
    }
}
