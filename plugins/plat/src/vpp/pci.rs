//! PCI addresses as people write them, and what VPP calls a device by its address.

use std::fmt;
use std::str::FromStr;

/// Where a device is on the PCI bus. Its text is the form of Linux and of DPDK, `0000:00:04.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PciAddress {
    /// The domain, 0 on most machines.
    pub(crate) domain: u32,
    /// The bus.
    pub(crate) bus: u8,
    /// The device (slot), below 32.
    pub(crate) device: u8,
    /// The function, below 8.
    pub(crate) function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

/// A text that is no PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PCI address; expected: such as 0000:00:04.0, as plat vpp nics shows it")]
pub(crate) struct NotPci(String);

/// Reads `0000:00:04.0`, the same without domain as `lspci` prints it, and `pci@0000:00:04.0` as `lshw` does.
impl FromStr for PciAddress {
    type Err = NotPci;

    fn from_str(text: &str) -> Result<Self, NotPci> {
        parse(text.strip_prefix("pci@").unwrap_or(text)).ok_or_else(|| NotPci(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (place, function) = text.split_once('.')?;
    let (place, device) = place.rsplit_once(':')?;
    let (domain, bus) = place.rsplit_once(':').unwrap_or(("0000", place));
    let address = PciAddress {
        domain: hexadecimal(domain, 4..=8)?,
        bus: u8::try_from(hexadecimal(bus, 2..=2)?).ok()?,
        device: u8::try_from(hexadecimal(device, 2..=2)?).ok()?,
        function: u8::try_from(hexadecimal(function, 1..=1)?).ok()?,
    };
    (address.device < 32 && address.function < 8).then_some(address)
}

/// A number of so many hexadecimal digits, and nothing else: no sign.
fn hexadecimal(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let is_number = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_number.then(|| u32::from_str_radix(text, 16).ok())?
}

impl PciAddress {
    /// Whether VPP means this device by an interface's name. DPDK's interfaces are called by speed or kind and
    /// place, `GigabitEthernet0/4/0`, in hexadecimal digits; VPP 26.06 puts a domain that is not 0 in front.
    pub(crate) fn is_named(self, interface: &str) -> bool {
        let Self { domain, bus, device, function } = self;
        let place = format!("{bus:x}/{device:x}/{function:x}");
        let Some(front) = interface.strip_suffix(&place) else { return false };
        let Some((_, front)) = front.rsplit_once("Ethernet") else { return false };
        front.is_empty() || front == format!("-{domain:x}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_as_every_tool_prints_them() {
        for (text, canonical) in [
            ("0000:00:04.0", "0000:00:04.0"),
            ("00:04.0", "0000:00:04.0"),
            ("pci@0000:3b:1f.7", "0000:3b:1f.7"),
            ("10000:E1:00.1", "10000:e1:00.1"),
        ] {
            assert_eq!(address(text).to_string(), canonical, "{text}");
        }
        for wrong in [
            "",
            "eth0",
            "0000:00:04",
            "0000:00:4.0",
            "0:00:04.0",
            "0000:00:20.0",
            "0000:00:04.8",
            "0000:00:04.0 ",
            "+000:00:04.0",
            "0000:00:04.0.0",
            "0000:100:04.0",
            "4.0",
            ":00:04.0",
        ] {
            let error = wrong.parse::<PciAddress>().unwrap_err();
            assert!(error.to_string().contains("0000:00:04.0"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn vpp_names_devices_by_their_place() {
        for (pci, name, is) in [
            ("0000:00:04.0", "GigabitEthernet0/4/0", true),
            ("0000:00:04.0", "VirtualFunctionEthernet0/4/0", true),
            ("0000:00:04.0", "GigabitEthernet10/4/0", false),
            ("0000:3b:1f.1", "TenGigabitEthernet3b/1f/1", true),
            ("0001:00:04.0", "GigabitEthernet-1/0/4/0", true),
            ("0000:00:04.0", "GigabitEthernet-1/0/4/0", false),
            ("0000:00:04.0", "host-eth0", false),
            ("0000:00:04.0", "", false),
        ] {
            assert_eq!(address(pci).is_named(name), is, "{pci} {name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(domain: u32, bus: u8, device in 0_u8..32, function in 0_u8..8) {
            let address = PciAddress { domain, bus, device, function };
            prop_assert_eq!(address.to_string().parse::<PciAddress>(), Ok(address));
        }

        #[test]
        fn no_text_harms(text in ".{0,30}") {
            let _ = text.parse::<PciAddress>();
        }
    }
}
