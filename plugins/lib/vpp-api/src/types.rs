/*!
VPP's compound types (VPP: `ip_types.api`, `ethernet_types.api`, `interface_types.api`, `fib_types.api`).
*/

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::wire::{DecodeError, Field, Reader, Text, below};

mod flags;
mod path;

pub use flags::{
    AfPacketFlags, AfPacketMode, EventFlags, InterfaceFlags, MemifMode, MemifRole, NeighborFlags,
    RxMode,
};
pub use path::{FibPath, Route, RouteV2};

/// The number of an interface in a running VPP. VPP gives a freed number to the next interface at once:
/// it is no identity, and not to be kept anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u32);

impl IfIndex {
    /// No interface, or all of them (`~0`).
    pub const NONE: Self = Self(u32::MAX);

    /// Whether it stands for an interface.
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_some() { write!(f, "{}", self.0) } else { f.write_str("none") }
    }
}

impl Field for IfIndex {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(u32::read(from)?))
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        u32::layout(name, out);
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Ethernet address: six pairs of hexadecimal digits with colons between them are")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or(MacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(mac)) }
    }
}

impl Field for Mac {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(from.array()?))
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        <[u8; 6]>::layout(name, out);
    }
}

/// An address family, as VPP numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 0.
    V4,
    /// 1.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }

    /// Whether it is IPv6, as many messages ask.
    pub const fn is_ipv6(self) -> bool {
        matches!(self, Self::V6)
    }

    /// How many bits an address has.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl Field for Family {
    fn write(&self, out: &mut Vec<u8>) {
        u8::from(self.is_ipv6()).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(from)? {
            0 => Ok(Self::V4),
            1 => Ok(Self::V6),
            other => Err(DecodeError::Value { field: "an address family", value: other.into() }),
        }
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        u8::layout(name, out);
    }
}

/// The 16 bytes that hold an address of either family, IPv4 in the first four.
pub(crate) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address in 16 bytes.
pub(crate) fn address_of(family: Family, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        Family::V4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::V6 => Ipv6Addr::from(bytes).into(),
    }
}

impl Field for IpAddr {
    fn write(&self, out: &mut Vec<u8>) {
        Family::of(*self).write(out);
        address_bytes(*self).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(address_of(Family::read(from)?, from.array()?))
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        u8::layout(&below(name, "af"), out);
        <[u8; 16]>::layout(&below(name, "un"), out);
    }
}

/// An address with a prefix length, which is at most the number of its bits. Host bits stay: VPP's dumps
/// have them, so prefixes are to be compared with [`Prefix::masked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// A prefix is longer than its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a prefix of {address} cannot have {len} bits")]
pub struct PrefixError {
    /// The address.
    pub address: IpAddr,
    /// The length that was asked for.
    pub len: u8,
}

impl Prefix {
    /// A prefix. VPP's own check is not to be relied on: before 24.02 a wrong length stops VPP.
    ///
    /// # Errors
    ///
    /// [`PrefixError`] if `len` is more than the address has bits.
    pub const fn new(address: IpAddr, len: u8) -> Result<Self, PrefixError> {
        if len > Family::of(address).bits() {
            return Err(PrefixError { address, len });
        }
        Ok(Self { address, len })
    }

    /// The address alone: /32 or /128.
    pub const fn host(address: IpAddr) -> Self {
        Self { address, len: Family::of(address).bits() }
    }

    /// The address, with its host bits.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether it covers every address of its family.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The address family.
    pub const fn family(self) -> Family {
        Family::of(self.address)
    }

    /// The same without host bits.
    #[must_use]
    pub fn masked(self) -> Self {
        let hidden = u32::from(self.family().bits().saturating_sub(self.len));
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(hidden).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(hidden).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Self { address, len: self.len }
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family()
            && Self { address, len: self.len }.masked() == self.masked()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl Field for Prefix {
    fn write(&self, out: &mut Vec<u8>) {
        self.address.write(out);
        self.len.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let address = IpAddr::read(from)?;
        let len = u8::read(from)?;
        let wrong = DecodeError::Value { field: "a prefix length", value: len.into() };
        Self::new(address, len).map_err(|_| wrong)
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        IpAddr::layout(&below(name, "address"), out);
        u8::layout(&below(name, "len"), out);
    }
}

/// An address of one family with a length that is not checked: tap messages have them, for the kernel's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithLength<A> {
    /// The address.
    pub address: A,
    /// The prefix length in bits.
    pub len: u8,
}

impl<A: Field> Field for WithLength<A> {
    fn write(&self, out: &mut Vec<u8>) {
        self.address.write(out);
        self.len.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { address: A::read(from)?, len: u8::read(from)? })
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        A::layout(&below(name, "address"), out);
        u8::layout(&below(name, "len"), out);
    }
}

crate::msg::fields! {
    /// A routing table (VRF) of one family.
    #[derive(Eq)]
    Table {
        /// Its number; 0 is always there.
        table_id: u32,
        /// Whether it is for IPv6.
        is_ip6: bool,
        /// Its name; VPP makes one up if it is empty, and never changes it.
        name: Text<64>,
    }
}

impl Table {
    /// A table without a name.
    pub const fn new(table_id: u32, family: Family) -> Self {
        Self { table_id, is_ip6: family.is_ipv6(), name: Text::empty() }
    }
}

#[cfg(test)]
mod tests;
