//! Addresses and prefixes as messages have them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layout::Values;

/// An address with a prefix length, as it was written: with host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// The prefix length.
    pub len: u8,
}

/// The address in 16 bytes.
pub(super) fn address_of(v6: bool, bytes: &[u8]) -> IpAddr {
    if v6 {
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("sixteen bytes")).into()
    } else {
        Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).expect("four bytes")).into()
    }
}

/// The 16 bytes of an address.
pub(super) fn bytes_of(address: IpAddr) -> Vec<u8> {
    let mut bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes.resize(16, 0);
    bytes
}

impl Prefix {
    /// The prefix in the field `name` of a message.
    pub(super) fn of(values: &Values, name: &str) -> Self {
        let v6 = values.truth(&format!("{name}.address.af"));
        let address = address_of(v6, values.bytes(&format!("{name}.address.un")));
        let len = u8::try_from(values.number(&format!("{name}.len"))).expect("a byte");
        Self { address, len }
    }

    /// Writes it as the field `name`.
    pub(super) fn write(self, values: Values, name: &str) -> Values {
        values
            .with(&format!("{name}.address.af"), self.is_v6())
            .with(&format!("{name}.address.un"), bytes_of(self.address))
            .with(&format!("{name}.len"), u32::from(self.len))
    }

    /// The address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, len: if address.is_ipv6() { 128 } else { 32 } }
    }

    /// Whether it is IPv6.
    pub fn is_v6(self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether the length can be.
    pub(super) fn is_valid(self) -> bool {
        self.len <= Self::host(self.address).len
    }

    /// Without host bits.
    #[must_use]
    pub fn masked(self) -> Self {
        let hidden = u32::from(Self::host(self.address).len.saturating_sub(self.len));
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

    /// Whether the two have an address in common.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let len = self.len.min(other.len);
        self.is_v6() == other.is_v6()
            && Self { len, ..self }.masked() == Self { len, ..other }.masked()
    }
}

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no prefix: {text}");
        let (address, len) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Self { address, len: len.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}
