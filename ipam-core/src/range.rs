/*!
Ranges: from what a configuration says to what may be handed out.

[`RangeSpec`] is a range as written, [`Range`] one that has been checked: it cannot be invalid. Rules,
defaults and error texts are those of the reference host-local 1.9.1 (people search for these texts);
where the reference hands out addresses outside the subnet or crashes, an error takes its place.

A [`RangeSet`] is the pool for one address: its ranges are tried in order, each one upwards, beginning
after the last address handed out.
*/

use std::fmt;
use std::sync::Arc;

use crate::addr::{Addr, Cidr, Family, Interval};

/// Addresses that are never handed out, as written: one address, a CIDR, or `FIRST-LAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exclude(Interval);

impl Exclude {
    /// Reads `10.1.2.3`, `10.1.2.64/28` or `10.1.2.10-10.1.2.19`; host bits of a CIDR are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let interval = if let Some((first, last)) = text.split_once('-') {
            Interval::new(Addr::parse(first.trim())?, Addr::parse(last.trim())?)?
        } else if text.contains('/') {
            let cidr = Cidr::parse(text)?;
            if cidr.is_mapped() {
                return None;
            }
            cidr.network()
        } else {
            Interval::single(Addr::parse(text)?)
        };
        Some(Self(interval))
    }

    /// The addresses.
    pub const fn interval(self) -> Interval {
        self.0
    }
}

/// A range as written in a configuration; anything may be missing or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSpec {
    /// The network of the range.
    pub subnet: Option<Cidr>,
    /// The first address to hand out.
    pub start: Option<Addr>,
    /// The last address to hand out.
    pub end: Option<Addr>,
    /// The gateway, never handed out. Need not lie in the subnet.
    pub gateway: Option<Addr>,
    /// Addresses not to hand out.
    pub exclude: Vec<Exclude>,
    /// The same, for every range of the configuration: shared, because both lists can be long.
    pub exclude_everywhere: Arc<[Exclude]>,
    /// Whether prefixes longer than /30 and /126 are wanted, with all their addresses.
    pub small: bool,
}

/// What is wrong with a range. The texts are the reference's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// A range without subnet.
    #[error("IP <nil> not v4 nor v6")]
    NoSubnet,
    /// A prefix longer than /30 or /126 where it was not asked for.
    #[error("Network {0} too small to allocate from")]
    TooSmall(Cidr),
    /// An IPv4-mapped IPv6 subnet.
    #[error("IPNet IP and Mask version mismatch")]
    Mapped,
    /// The subnet is not a network address.
    #[error(
        "Network has host bits set. For a subnet mask of length {} the network address is {network}",
        subnet.prefix()
    )]
    HostBits {
        /// As written.
        subnet: Cidr,
        /// What it should have been.
        network: Addr,
    },
    /// rangeStart outside the subnet or above rangeEnd.
    #[error("RangeStart {start} not in network {subnet}")]
    Start {
        /// As written.
        start: Addr,
        /// The range's subnet.
        subnet: Cidr,
    },
    /// rangeEnd outside the subnet or below rangeStart.
    #[error("RangeEnd {end} not in network {subnet}")]
    End {
        /// As written.
        end: Addr,
        /// The range's subnet.
        subnet: Cidr,
    },
    /// rangeStart above the end that the range has by default.
    #[error("RangeStart {start} is above {end}, where range {subnet} ends by default")]
    StartAboveEnd {
        /// As written.
        start: Addr,
        /// The default end.
        end: Addr,
        /// The range's subnet.
        subnet: Cidr,
    },
    /// A set without ranges.
    #[error("empty range set")]
    Empty,
    /// IPv4 and IPv6 in one set.
    #[error("mixed address families")]
    MixedFamilies,
    /// Two ranges of a set share addresses.
    #[error("subnets {0} and {1} overlap")]
    Overlap(Interval, Interval),
}

impl RangeError {
    /// The key of the range that is to blame, and what would be right.
    pub(crate) const fn blame(&self) -> (&'static str, &'static str) {
        match self {
            Self::NoSubnet => ("subnet", "every range needs a subnet such as 10.1.2.0/24"),
            Self::TooSmall(_) => (
                "subnet",
                "a prefix length of at most 30 (IPv4) or 126 (IPv6), or \"smallSubnets\": true to use \
                 every address of a smaller one",
            ),
            Self::Mapped => ("subnet", "write an IPv4 subnet as IPv4, such as 10.1.2.0/24"),
            Self::HostBits { .. } => ("subnet", "write the network address"),
            Self::Start { .. } => ("rangeStart", "an address of the subnet, not above rangeEnd"),
            Self::StartAboveEnd { .. } => {
                ("rangeStart", "an address not above the range's end, or an explicit rangeEnd")
            }
            Self::End { .. } => ("rangeEnd", "an address of the subnet, not below rangeStart"),
            Self::Empty => ("", "give the set at least one range with a subnet"),
            Self::MixedFamilies => ("subnet", "give each address family a range set of its own"),
            Self::Overlap(..) => ("subnet", "ranges of a network must not share addresses"),
        }
    }
}

/// A checked range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    subnet: Cidr,
    interval: Interval,
    gateway: Option<Addr>,
    exclude: Vec<Exclude>,
    exclude_everywhere: Arc<[Exclude]>,
}

impl TryFrom<&RangeSpec> for Range {
    type Error = RangeError;

    /// Checks in the reference's order, so that the first error is the same.
    fn try_from(spec: &RangeSpec) -> Result<Self, RangeError> {
        let subnet = spec.subnet.ok_or(RangeError::NoSubnet)?;
        let bits = if subnet.is_mapped() { 128 } else { subnet.addr().family().bits() };
        let small = subnet.prefix() > bits - 2;
        if small && !spec.small {
            return Err(RangeError::TooSmall(subnet));
        }
        if subnet.is_mapped() {
            return Err(RangeError::Mapped);
        }
        let network = subnet.network();
        if network.first() != subnet.addr() {
            return Err(RangeError::HostBits { subnet, network: network.first() });
        }
        let (first, last) = if small { (network.first(), network.last()) } else { usual(network) };
        // A /32 or /128 has no room for a gateway; in a /31 or /127 the first address is usable.
        let default_gateway = (bits != subnet.prefix()).then_some(first);
        let gateway = spec.gateway.or(default_gateway);

        if let Some(start) = spec.start
            && (!network.contains(start) || spec.end.is_some_and(|end| !same_family_le(start, end)))
        {
            return Err(RangeError::Start { start, subnet });
        }
        let start = spec.start.unwrap_or(first);
        let interval = match spec.end {
            Some(end) if network.contains(end) => {
                Interval::new(start, end).ok_or(RangeError::End { end, subnet })?
            }
            Some(end) => return Err(RangeError::End { end, subnet }),
            None => Interval::new(start, last).ok_or(RangeError::StartAboveEnd {
                start,
                end: last,
                subnet,
            })?,
        };

        Ok(Self {
            subnet,
            interval,
            gateway,
            exclude: spec.exclude.clone(),
            exclude_everywhere: Arc::clone(&spec.exclude_everywhere),
        })
    }
}

/// The default bounds: network + 1 to broadcast - 1 for IPv4, to the last address for IPv6.
fn usual(network: Interval) -> (Addr, Addr) {
    let first = network.first().next().unwrap_or(network.first());
    let last = match network.family() {
        Family::V4 => network.last().previous().unwrap_or(network.last()),
        Family::V6 => network.last(),
    };
    (first, last)
}

fn same_family_le(a: Addr, b: Addr) -> bool {
    a.family() == b.family() && a <= b
}

/// `interval` without the addresses of `withheld` (any order, overlaps allowed).
fn without(interval: Interval, withheld: impl Iterator<Item = Interval>) -> Vec<Interval> {
    let mut withheld: Vec<Interval> = withheld.filter(|w| w.overlaps(interval)).collect();
    withheld.sort_unstable();
    let mut usable = Vec::new();
    let mut rest = Some(interval);
    for hole in withheld {
        let Some(left) = rest else { break };
        if hole.last() < left.first() {
            continue;
        }
        if let Some(before) = hole.first().previous()
            && let Some(part) = Interval::new(left.first(), before)
        {
            usable.push(part);
        }
        rest = hole.last().next().and_then(|next| left.from(next));
    }
    usable.extend(rest);
    usable
}

impl Range {
    /// The network of the range.
    pub const fn subnet(&self) -> Cidr {
        self.subnet
    }

    /// The first and last address of the range.
    pub const fn interval(&self) -> Interval {
        self.interval
    }

    /// The gateway. None only for a /32 or /128 without one.
    pub const fn gateway(&self) -> Option<Addr> {
        self.gateway
    }

    /// What is never handed out, in no order.
    fn withheld(&self) -> impl Iterator<Item = Interval> {
        let excluded = self.exclude.iter().chain(self.exclude_everywhere.iter());
        excluded.map(|exclude| exclude.interval()).chain(self.gateway.map(Interval::single))
    }

    /// What is excluded from this range alone.
    pub fn excludes(&self) -> &[Exclude] {
        &self.exclude
    }

    /// What is excluded from every range of the configuration.
    pub(crate) fn excludes_everywhere(&self) -> &[Exclude] {
        &self.exclude_everywhere
    }

    /// What may be handed out: ascending intervals without gateway and excluded addresses.
    pub fn usable(&self) -> Vec<Interval> {
        without(self.interval, self.withheld())
    }

    /// Whether the address may be handed out by this range, if it is free.
    pub fn may_hand_out(&self, addr: Addr) -> bool {
        self.interval.contains(addr) && !self.withheld().any(|withheld| withheld.contains(addr))
    }
}

/// The ranges for one address, tried in order. Not empty, one family, disjoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeSet {
    ranges: Vec<Range>,
    first: Interval,
}

impl RangeSet {
    /// Checks the ranges of one set. The error comes with the index of the range to blame.
    ///
    /// # Errors
    /// What is wrong with which range; see [`RangeError`].
    pub fn new(specs: &[RangeSpec]) -> Result<Self, Box<(usize, RangeError)>> {
        let mut ranges: Vec<Range> = Vec::with_capacity(specs.len());
        for (i, spec) in specs.iter().enumerate() {
            let range = Range::try_from(spec).map_err(|e| Box::new((i, e)))?;
            if ranges
                .first()
                .is_some_and(|first| first.interval.family() != range.interval.family())
            {
                return Err(Box::new((i, RangeError::MixedFamilies)));
            }
            ranges.push(range);
        }
        let first =
            ranges.first().map(Range::interval).ok_or_else(|| Box::new((0, RangeError::Empty)))?;
        let intervals: Vec<Interval> = ranges.iter().map(Range::interval).collect();
        if let Some((a, b)) = first_overlap(&intervals) {
            let pair = |i: usize| intervals.get(i).copied().unwrap_or(first);
            return Err(Box::new((b, RangeError::Overlap(pair(a), pair(b)))));
        }
        Ok(Self { ranges, first })
    }

    /// The family of its addresses.
    pub const fn family(&self) -> Family {
        self.first.family()
    }

    /// Its ranges, in order.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The range between whose bounds the address lies.
    pub fn range_of(&self, addr: Addr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.interval.contains(addr))
    }

    /// Whether the address may be handed out, if it is free.
    pub fn may_hand_out(&self, addr: Addr) -> bool {
        self.range_of(addr).is_some_and(|range| range.may_hand_out(addr))
    }

    /// The order in which addresses are tried: intervals of usable addresses, from the one after `last`
    /// (the last address handed out; anything outside the set means: from the beginning), upwards
    /// through the ranges and round to `last` itself.
    pub fn search_order(&self, last: Option<Addr>) -> Vec<Interval> {
        let start = last.and_then(|last| {
            self.ranges.iter().position(|range| range.interval.contains(last)).map(|i| (i, last))
        });
        let usable =
            |ranges: &[Range]| -> Vec<Interval> { ranges.iter().flat_map(Range::usable).collect() };
        let Some((index, last)) = start else { return usable(&self.ranges) };
        let (before, from) = self.ranges.split_at(index);
        let (current, after) = from.split_at(1);
        let mut order: Vec<Interval> = Vec::new();
        if let Some(next) = last.next() {
            order.extend(usable(current).iter().filter_map(|interval| interval.from(next)));
        }
        order.extend(usable(after));
        order.extend(usable(before));
        order.extend(
            usable(current)
                .iter()
                .filter_map(|interval| Interval::new(interval.first(), interval.last().min(last))),
        );
        order
    }
}

/// How many ranges of a set are shown as text; a set of people has fewer.
const SHOWN: usize = 100;

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().take(SHOWN).enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            range.interval.fmt(f)?;
        }
        if let Some(more) = self.ranges.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            write!(f, ",... {more} more")?;
        }
        Ok(())
    }
}

/// The first pair of sets (by index) that share an address.
pub(crate) fn overlapping_sets(sets: &[RangeSet]) -> Option<(usize, usize)> {
    let flat: Vec<(usize, Interval)> = sets
        .iter()
        .enumerate()
        .flat_map(|(i, set)| set.ranges.iter().map(move |range| (i, range.interval)))
        .collect();
    // Ranges within a set are disjoint already, so any overlap is one between sets.
    let intervals: Vec<Interval> = flat.iter().map(|(_, interval)| *interval).collect();
    any_overlap(&intervals).then_some(())?;
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (n, (i, a)) in flat.iter().enumerate() {
        for (j, b) in flat.iter().skip(n + 1) {
            if i != j && a.overlaps(*b) {
                pairs.push((*i, *j));
                break;
            }
        }
    }
    pairs.into_iter().min()
}

/// The first pair (by index) of overlapping intervals.
fn first_overlap(intervals: &[Interval]) -> Option<(usize, usize)> {
    any_overlap(intervals).then_some(())?;
    intervals.iter().enumerate().find_map(|(i, a)| {
        let j = intervals.iter().skip(i + 1).position(|b| a.overlaps(*b))?;
        Some((i, i + 1 + j))
    })
}

/// Sorting keeps the common case, no overlap, cheap for configurations with very many ranges.
fn any_overlap(intervals: &[Interval]) -> bool {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.overlaps(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> Addr {
        Addr::parse(text).unwrap()
    }

    fn spec(subnet: &str, start: &str, end: &str, gateway: &str) -> RangeSpec {
        RangeSpec {
            subnet: Cidr::parse(subnet),
            start: Addr::parse(start),
            end: Addr::parse(end),
            gateway: Addr::parse(gateway),
            ..RangeSpec::default()
        }
    }

    #[test]
    fn defaults_are_the_references() {
        for (subnet, interval, gateway) in [
            ("10.1.2.0/24", "10.1.2.1-10.1.2.254", "10.1.2.1"),
            ("10.1.2.0/30", "10.1.2.1-10.1.2.2", "10.1.2.1"),
            ("2001:db8::/64", "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1"),
            ("0.0.0.0/0", "0.0.0.1-255.255.255.254", "0.0.0.1"),
        ] {
            let range = Range::try_from(&spec(subnet, "", "", "")).unwrap();
            assert_eq!(range.interval().to_string(), interval);
            assert_eq!(range.gateway(), Some(addr(gateway)));
            assert!(!range.may_hand_out(addr(gateway)));
        }
    }

    #[test]
    fn small_subnets_use_every_address_where_asked_for() {
        for (subnet, interval, gateway) in [
            ("10.1.2.0/31", "10.1.2.0-10.1.2.1", Some("10.1.2.0")),
            ("10.1.2.7/32", "10.1.2.7-10.1.2.7", None),
            ("2001:db8::/127", "2001:db8::-2001:db8::1", Some("2001:db8::")),
            ("2001:db8::7/128", "2001:db8::7-2001:db8::7", None),
        ] {
            let spec = RangeSpec { small: true, ..spec(subnet, "", "", "") };
            let range = Range::try_from(&spec).unwrap();
            assert_eq!(range.interval().to_string(), interval);
            assert_eq!(range.gateway(), gateway.map(addr));
            assert_eq!(range.usable().iter().map(|i| i.count()).sum::<u128>(), 1);
            let refused = Range::try_from(&RangeSpec { small: false, ..spec });
            assert!(matches!(refused, Err(RangeError::TooSmall(_))), "{subnet}");
        }
    }

    #[test]
    fn errors_have_the_references_texts() {
        for (spec, text) in [
            (spec("", "", "", ""), "IP <nil> not v4 nor v6"),
            (spec("192.0.2.1/32", "", "", ""), "Network 192.0.2.1/32 too small to allocate from"),
            (spec("::ffff:10.1.2.0/120", "", "", ""), "IPNet IP and Mask version mismatch"),
            (
                spec("192.0.2.9/24", "", "", ""),
                "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0",
            ),
            (
                spec("192.0.2.0/24", "192.0.2.50", "192.0.2.40", ""),
                "RangeStart 192.0.2.50 not in network 192.0.2.0/24",
            ),
            (spec("192.0.2.0/24", "::1", "", ""), "RangeStart ::1 not in network 192.0.2.0/24"),
            (
                spec("192.0.2.0/24", "", "192.0.2.0", ""),
                "RangeEnd 192.0.2.0 not in network 192.0.2.0/24",
            ),
            (
                spec("192.0.2.0/24", "192.0.2.255", "", ""),
                "RangeStart 192.0.2.255 is above 192.0.2.254, where range 192.0.2.0/24 ends by default",
            ),
        ] {
            assert_eq!(Range::try_from(&spec).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn sets_are_of_one_family_and_disjoint() {
        assert_eq!(RangeSet::new(&[]).unwrap_err().1.to_string(), "empty range set");
        let mixed = [spec("10.0.0.0/24", "", "", ""), spec("2001:db8::/64", "", "", "")];
        assert_eq!(*RangeSet::new(&mixed).unwrap_err(), (1, RangeError::MixedFamilies));
        let overlap = [spec("10.1.0.0/22", "", "", ""), spec("10.1.2.0/24", "", "", "")];
        assert_eq!(
            RangeSet::new(&overlap).unwrap_err().1.to_string(),
            "subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap"
        );
        let halves =
            [spec("10.1.0.0/24", "", "10.1.0.127", ""), spec("10.1.0.0/24", "10.1.0.128", "", "")];
        assert!(RangeSet::new(&halves).is_ok());
        let sets: Vec<RangeSet> = ["10.0.0.0/24", "10.0.1.0/24", "10.0.0.128/25"]
            .iter()
            .map(|subnet| RangeSet::new(&[spec(subnet, "", "", "")]).unwrap())
            .collect();
        assert_eq!(overlapping_sets(&sets), Some((0, 2)));
        assert_eq!(overlapping_sets(&sets[..2]), None);
    }

    #[test]
    fn excludes_are_addresses_cidrs_and_ranges() {
        for (text, interval) in [
            ("10.1.2.3", Some("10.1.2.3-10.1.2.3")),
            ("10.1.2.64/28", Some("10.1.2.64-10.1.2.79")),
            ("10.1.2.65/28", Some("10.1.2.64-10.1.2.79")),
            ("10.1.2.10-10.1.2.19", Some("10.1.2.10-10.1.2.19")),
            ("10.1.2.10 - 10.1.2.19", Some("10.1.2.10-10.1.2.19")),
            ("10.1.2.19-10.1.2.10", None),
            ("10.1.2.1-::5", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(
                Exclude::parse(text).map(|e| e.interval().to_string()).as_deref(),
                interval,
                "{text}"
            );
        }
        let spec = RangeSpec {
            exclude: ["10.1.2.0-10.1.2.3", "10.1.2.5", "10.1.2.5/31", "10.1.9.0/24"]
                .iter()
                .map(|text| Exclude::parse(text).unwrap())
                .collect(),
            ..spec("10.1.2.0/28", "", "", "10.1.2.8")
        };
        let usable: Vec<String> =
            Range::try_from(&spec).unwrap().usable().iter().map(ToString::to_string).collect();
        assert_eq!(usable, ["10.1.2.6-10.1.2.7", "10.1.2.9-10.1.2.14"]);
    }

    #[test]
    fn the_search_goes_up_and_round() {
        let set = RangeSet::new(&[
            spec("10.0.0.0/29", "", "", ""),
            spec("10.0.1.0/30", "", "", ""),
            spec("10.0.2.0/30", "", "", ""),
        ])
        .unwrap();
        let order = |last: &str| -> Vec<String> {
            set.search_order(Addr::parse(last)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(order(""), ["10.0.0.2-10.0.0.6", "10.0.1.2-10.0.1.2", "10.0.2.2-10.0.2.2"]);
        assert_eq!(order("10.9.9.9"), order(""));
        assert_eq!(
            order("10.0.0.4"),
            ["10.0.0.5-10.0.0.6", "10.0.1.2-10.0.1.2", "10.0.2.2-10.0.2.2", "10.0.0.2-10.0.0.4"]
        );
        assert_eq!(
            order("10.0.1.2"),
            ["10.0.2.2-10.0.2.2", "10.0.0.2-10.0.0.6", "10.0.1.2-10.0.1.2"]
        );
    }

    /// The reference's iterator, address by address, over a small set.
    fn reference_order(set: &RangeSet, last: Option<Addr>) -> Vec<Addr> {
        let all: Vec<(Addr, bool)> = set
            .ranges()
            .iter()
            .flat_map(|range| {
                let interval = range.interval();
                (0..interval.count()).map(move |i| {
                    let addr = interval.first().offset(i).unwrap();
                    (addr, range.gateway() != Some(addr))
                })
            })
            .collect();
        let start = last
            .and_then(|last| all.iter().position(|(addr, _)| *addr == last))
            .map_or(0, |at| at + 1);
        (0..all.len())
            .map(|i| all[(start + i) % all.len()])
            .filter(|(_, usable)| *usable)
            .map(|(addr, _)| addr)
            .collect()
    }

    proptest! {
        #[test]
        fn the_search_order_is_the_references(
            sizes in proptest::collection::vec((24_u8..=30, 0_u8..40, 0_u8..40, 0_u8..60), 1..4),
            last in proptest::option::of((0_u8..4, 0_u8..70)),
        ) {
            let specs: Vec<RangeSpec> = sizes
                .iter()
                .enumerate()
                .map(|(i, (prefix, start, end, gateway))| {
                    let at = |n: u16| Addr::parse(&format!("10.0.{i}.{n}"));
                    let size = 1_u16 << (32 - prefix);
                    let (a, b) = (u16::from(*start) % size, u16::from(*end) % size);
                    RangeSpec {
                        subnet: Cidr::parse(&format!("10.0.{i}.0/{prefix}")),
                        start: at(a.min(b)),
                        end: at(a.max(b)),
                        gateway: at((*gateway).into()),
                        ..RangeSpec::default()
                    }
                })
                .collect();
            let set = RangeSet::new(&specs).unwrap();
            let last = last.and_then(|(i, n)| Addr::parse(&format!("10.0.{i}.{n}")));
            let ours: Vec<Addr> = set
                .search_order(last)
                .iter()
                .flat_map(|i| (0..i.count()).map(move |n| i.first().offset(n).unwrap()))
                .collect();
            prop_assert_eq!(ours, reference_order(&set, last));
        }
    }
}
