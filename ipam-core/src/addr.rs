/*!
Addresses as numbers: one ordered type for both families.

Ranges, extents and stores compare and count addresses; doing that on one integer keeps every
algorithm the same for IPv4 and IPv6. Text forms follow the reference plugin: no leading zeros in IPv4
octets, no zone, and an IPv4-mapped IPv6 address is the IPv4 address.
*/

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, 32 bits.
    V4,
    /// IPv6, 128 bits.
    V6,
}

impl Family {
    /// The number of bits of an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// Every address of the family.
    pub const fn whole(self) -> Interval {
        Interval {
            first: Addr { family: self, number: 0 },
            last: Addr { family: self, number: self.max() },
        }
    }

    /// The highest address of the family, as a number.
    const fn max(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An IP address. Ordered by family, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr {
    family: Family,
    number: u128,
}

impl Addr {
    /// The address of `family` with this number; `None` if the family has no such address.
    pub const fn new(family: Family, number: u128) -> Option<Self> {
        if number > family.max() { None } else { Some(Self { family, number }) }
    }

    /// Reads the text form of an address. An IPv4-mapped IPv6 address becomes IPv4.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<IpAddr>().ok().map(Self::from)
    }

    /// The address family.
    pub const fn family(self) -> Family {
        self.family
    }

    /// The address as a number.
    pub const fn number(self) -> u128 {
        self.number
    }

    /// The following address; `None` for the family's last.
    pub const fn next(self) -> Option<Self> {
        match self.number.checked_add(1) {
            Some(number) => Self::new(self.family, number),
            None => None,
        }
    }

    /// The preceding address; `None` for the family's first.
    pub const fn previous(self) -> Option<Self> {
        match self.number.checked_sub(1) {
            Some(number) => Self::new(self.family, number),
            None => None,
        }
    }

    /// This address plus `offset`; `None` beyond the family's last.
    pub const fn offset(self, offset: u128) -> Option<Self> {
        match self.number.checked_add(offset) {
            Some(number) => Self::new(self.family, number),
            None => None,
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self { family: Family::V4, number: u32::from(v4).into() },
            IpAddr::V6(v6) => Self { family: Family::V6, number: v6.into() },
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr.family {
            // The constructors keep IPv4 numbers within 32 bits.
            Family::V4 => Self::V4(Ipv4Addr::from(addr.number as u32)),
            Family::V6 => Self::V6(Ipv6Addr::from(addr.number)),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A closed interval of addresses of one family; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    first: Addr,
    last: Addr,
}

impl Interval {
    /// From `first` to `last`, both included; `None` if that is empty or mixes families.
    pub fn new(first: Addr, last: Addr) -> Option<Self> {
        (first.family == last.family && first.number <= last.number).then_some(Self { first, last })
    }

    /// The interval of one address.
    pub const fn single(addr: Addr) -> Self {
        Self { first: addr, last: addr }
    }

    /// The lowest address.
    pub const fn first(self) -> Addr {
        self.first
    }

    /// The highest address.
    pub const fn last(self) -> Addr {
        self.last
    }

    /// The family of every address in it.
    pub const fn family(self) -> Family {
        self.first.family
    }

    /// The number of addresses, `u128::MAX` for all of IPv6 (which has one more).
    pub const fn count(self) -> u128 {
        (self.last.number - self.first.number).saturating_add(1)
    }

    /// Whether the address lies in it.
    pub fn contains(self, addr: Addr) -> bool {
        self.first <= addr && addr <= self.last
    }

    /// Whether they share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The part of this interval at and above `addr`, if any.
    pub fn from(self, addr: Addr) -> Option<Self> {
        if addr.family != self.family() {
            return None;
        }
        Self::new(self.first.max(addr), self.last)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// An address with a prefix length, as it was written: bits behind the prefix are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    addr: Addr,
    prefix: u8,
    mapped: bool,
}

impl Cidr {
    /// An address with a prefix length of at most 32 or 128.
    pub const fn new(addr: Addr, prefix: u8) -> Option<Self> {
        if prefix > addr.family.bits() { None } else { Some(Self { addr, prefix, mapped: false }) }
    }

    /// Reads `ADDRESS/PREFIX`. As the reference does, leading zeros are accepted in the prefix length and
    /// nowhere else.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, prefix) = text.split_once('/')?;
        let ip: IpAddr = addr.parse().ok()?;
        if prefix.is_empty() || prefix.len() > 8 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let prefix: u32 = prefix.parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = u8::try_from(prefix).ok().filter(|prefix| *prefix <= bits)?;
        let addr = Addr::from(ip);
        Some(Self { addr, prefix, mapped: ip.is_ipv6() && addr.family() == Family::V4 })
    }

    /// The address, with the bits behind the prefix.
    pub const fn addr(self) -> Addr {
        self.addr
    }

    /// The prefix length.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it was written as an IPv4-mapped IPv6 address; its prefix length is then one of 128 bits.
    pub const fn is_mapped(self) -> bool {
        self.mapped
    }

    /// The IPv4 network that an IPv4-mapped one means; others as they are. `None` if its prefix covers more
    /// than IPv4.
    pub(crate) const fn unmapped(self) -> Option<Self> {
        if !self.mapped {
            return Some(self);
        }
        match self.prefix.checked_sub(96) {
            Some(prefix) => Self::new(self.addr, prefix),
            None => None,
        }
    }

    /// The lowest and the highest address of the network.
    pub fn network(self) -> Interval {
        let family = self.addr.family;
        // A shift by all bits of the type is no number in Rust: /128 leaves no host bits.
        let host = family.max().checked_shr(self.prefix.into()).unwrap_or(0);
        let first = self.addr.number & !host;
        Interval {
            first: Addr { family, number: first },
            last: Addr { family, number: first | host },
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_read_as_the_reference_reads_them() {
        for (text, canonical) in [
            ("10.1.2.3", "10.1.2.3"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("4000::15.0.4.0", "4000::f00:400"),
        ] {
            assert_eq!(addr(text).to_string(), canonical);
        }
        for text in
            ["", "10.1.2", "10.1.2.03", "10.1.2.256", "fe80::1%eth0", " 10.1.2.3", "10.1.2.3/24"]
        {
            assert_eq!(Addr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn networks_have_their_first_and_last_address() {
        for (text, first, last) in [
            ("10.1.2.3/24", "10.1.2.0", "10.1.2.255"),
            ("10.1.2.3/0", "0.0.0.0", "255.255.255.255"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.3"),
            ("10.1.2.0/024", "10.1.2.0", "10.1.2.255"),
            ("2001:db8::5/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
            ("2001:db8::5/128", "2001:db8::5", "2001:db8::5"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let network = Cidr::parse(text).unwrap().network();
            assert_eq!((network.first(), network.last()), (addr(first), addr(last)), "{text}");
        }
        for text in [
            "10.1.2.0",
            "10.1.2.0/",
            "10.1.2.0/33",
            "10.1.2.0/+8",
            "10.1.2.0/-1",
            "::/129",
            "10.01.2.0/24",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn mapped_networks_mean_ipv4_ones() {
        let unmapped =
            |text: &str| Cidr::parse(text).unwrap().unmapped().map(|cidr| cidr.to_string());
        assert_eq!(unmapped("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(unmapped("::ffff:10.0.0.0/90"), None);
        assert_eq!(unmapped("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
    }

    #[test]
    fn the_ends_of_a_family_have_no_neighbour() {
        assert_eq!(addr("255.255.255.255").next(), None);
        assert_eq!(addr("0.0.0.0").previous(), None);
        assert_eq!(addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").next(), None);
        assert_eq!(addr("::").previous(), None);
        assert_eq!(addr("10.0.0.255").next(), Some(addr("10.0.1.0")));
    }

    #[test]
    fn intervals_know_what_they_contain() {
        let interval = Interval::new(addr("10.0.0.5"), addr("10.0.0.9")).unwrap();
        assert_eq!(interval.count(), 5);
        assert!(interval.contains(addr("10.0.0.9")) && !interval.contains(addr("10.0.0.10")));
        assert!(!interval.contains(addr("::5")));
        assert_eq!(interval.from(addr("10.0.0.8")).unwrap().count(), 2);
        assert_eq!(interval.from(addr("10.0.0.10")), None);
        assert_eq!(Interval::new(addr("10.0.0.2"), addr("10.0.0.1")), None);
        assert_eq!(Interval::new(addr("10.0.0.2"), addr("::3")), None);
    }
}
