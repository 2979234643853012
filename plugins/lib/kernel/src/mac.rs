//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address, written `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is a group's address (broadcast too), which no link can have as its own.
    pub const fn is_multicast(self) -> bool {
        let Self([first, ..]) = self;
        first & 1 == 1
    }

    /// Whether it was chosen by somebody (locally administered), not given by a manufacturer.
    pub const fn is_local(self) -> bool {
        let Self([first, ..]) = self;
        first & 2 == 2
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an Ethernet address has six numbers of two hexadecimal digits, as 02:00:00:00:00:01")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError)?;
            // `from_str_radix` takes a sign, too.
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        if parts.next().is_some() {
            return Err(MacError);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, bytes) in [
            ("02:00:00:00:00:01", [2, 0, 0, 0, 0, 1]),
            ("FF:ff:Ab:0c:00:10", [0xff, 0xff, 0xab, 0x0c, 0, 0x10]),
        ] {
            assert_eq!(text.parse(), Ok(Mac(bytes)));
            assert_eq!(Mac(bytes).to_string(), text.to_lowercase());
        }
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
            "02-00-00-00-00-01",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(MacError), "{bad}");
        }
    }

    #[test]
    fn bits() {
        assert!(Mac([0xff; 6]).is_multicast());
        assert!(!Mac([2, 0, 0, 0, 0, 1]).is_multicast());
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_local());
    }
}
