/*!
PCI addresses, and how VPP names their devices.

DPDK's interfaces are called after speed or driver and place: `GigabitEthernet0/4/0` is bus 0, slot 4,
function 0, in hexadecimal, or in decimal where VPP's startup configuration says `decimal-interface-names`.
The word in front is not looked at: VPP has two dozen of them (VPP: `plugins/dpdk/device/{driver,init}.c`).
Newer VPPs write a PCI domain that is not 0 in front, as in `GigabitEthernet-10000/0/4/0`; drivers of
VPP's own always do, as in `avf-0/4/0/0`.
*/

use std::fmt;
use std::str::FromStr;

/// The address of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// The domain; 16 bits, but for domains that software makes (10000 and up).
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The slot: 5 bits.
    pub slot: u8,
    /// The function: 3 bits.
    pub function: u8,
}

/// A text is no PCI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PCI address: one is such as 0000:00:04.0, as plat vpp nics shows it")]
pub struct PciError;

impl FromStr for PciAddress {
    type Err = PciError;

    /// As lspci writes it, with the domain or without, or as lshw does: `pci@0000:00:04.0`.
    fn from_str(text: &str) -> Result<Self, PciError> {
        let text = text.strip_prefix("pci@").unwrap_or(text);
        let (place, function) = text.split_once('.').ok_or(PciError)?;
        let mut parts = place.rsplit(':');
        let slot = parts.next().ok_or(PciError)?;
        let bus = parts.next().ok_or(PciError)?;
        let domain = parts.next().unwrap_or("0");
        if parts.next().is_some() {
            return Err(PciError);
        }
        let number = |text: &str, digits: usize, most: u32| {
            let plain = (1..=digits).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u32::from_str_radix(text, 16).ok().filter(|_| plain);
            number.filter(|number| *number <= most).ok_or(PciError)
        };
        let byte = |number: u32| u8::try_from(number).map_err(|_| PciError);
        Ok(Self {
            domain: number(domain, 8, u32::MAX)?,
            bus: byte(number(bus, 2, 0xff)?)?,
            slot: byte(number(slot, 2, 0x1f)?)?,
            function: byte(number(function, 1, 7)?)?,
        })
    }
}

/// As lspci and sysfs write it.
impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, slot, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    }
}

/// How well an interface's name fits a PCI address; the greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It fits if its numbers are decimal.
    Decimal,
    /// It fits but for the domain, which older VPPs do not write.
    WithoutDomain,
    /// It fits.
    Exact,
}

impl PciAddress {
    /// Whether an interface of this name may be the device's.
    pub(super) fn fits(&self, name: &str) -> Option<Fit> {
        let Place { domain, numbers } = Place::of(name)?;
        let own = [self.bus, self.slot, self.function].map(u32::from);
        let is = |radix: u32| {
            let read = |text: &&str| u32::from_str_radix(text, radix).ok();
            numbers.iter().map(read).eq(own.into_iter().map(Some))
        };
        match domain {
            Some(domain) => {
                let own = u32::from_str_radix(domain, 16).ok() == Some(self.domain);
                (own && is(16)).then_some(Fit::Exact)
            }
            None if is(16) && self.domain == 0 => Some(Fit::Exact),
            None if is(16) => Some(Fit::WithoutDomain),
            None if is(10) && self.domain == 0 => Some(Fit::Decimal),
            None => None,
        }
    }

    /// Whether VPP means this device by an interface's name.
    pub fn is_named(&self, interface: &str) -> bool {
        self.fits(interface) == Some(Fit::Exact)
    }

    /// The device of an interface, if its name tells: to be taken for domain 0 where none is written.
    pub(super) fn of_interface(name: &str) -> Option<Self> {
        let Place { domain, numbers: [bus, slot, function] } = Place::of(name)?;
        format!("{}:{bus}:{slot}.{function}", domain.unwrap_or("0")).parse().ok()
    }
}

/// The numbers at the end of a name.
struct Place<'n> {
    domain: Option<&'n str>,
    numbers: [&'n str; 3],
}

impl<'n> Place<'n> {
    fn of(name: &'n str) -> Option<Self> {
        let is_of_place = |c: char| c == '/' || matches!(c, '0'..='9' | 'a'..='f');
        let word = name.trim_end_matches(is_of_place);
        let place = name.get(word.len()..)?;
        let mut parts: Vec<&str> = place.split('/').collect();
        // A representor has a fourth number, too, but behind.
        let domain = (parts.len() == 4 && word.ends_with('-')).then(|| parts.remove(0));
        let numbers: [&str; 3] = parts.try_into().ok()?;
        let whole = numbers.iter().chain(&domain).all(|part| (1..=8).contains(&part.len()));
        (whole && !word.is_empty()).then_some(Self { domain, numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_as_lspci_writes_them() {
        for (text, shown) in [
            ("0000:00:04.0", "0000:00:04.0"),
            ("00:04.0", "0000:00:04.0"),
            ("0:4.0", "0000:00:04.0"),
            ("10000:E1:1F.7", "10000:e1:1f.7"),
            ("pci@0000:3b:1f.7", "0000:3b:1f.7"),
        ] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), shown, "{text}");
        }
        for text in
            ["", "04.0", "00:04", "0000:00:20.0", "0000:00:04.8", "0000:00:04.", "1:0000:00:04.0"]
        {
            assert_eq!(text.parse::<PciAddress>(), Err(PciError), "{text}");
        }
        for text in ["0000:00:0g.0", "0000:100:04.0", "+0:04.0", "0000:00:04.0 ", "::.", "é:ü.ö"]
        {
            assert_eq!(text.parse::<PciAddress>(), Err(PciError), "{text}");
        }
    }

    #[test]
    fn names_that_vpp_makes_of_them() {
        for (address, name, fits) in [
            ("0000:00:04.0", "GigabitEthernet0/4/0", Some(Fit::Exact)),
            ("0000:00:04.0", "TenGigabitEthernet0/4/0", Some(Fit::Exact)),
            ("0000:00:04.0", "Ethernet0/4/0", Some(Fit::Exact)),
            ("0000:00:04.0", "VirtualFunctionEthernet0/4/0", Some(Fit::Exact)),
            ("0000:af:1a.3", "HundredGigabitEthernetaf/1a/3", Some(Fit::Exact)),
            ("0000:81:10.0", "TwoDotFiveGigabitEthernet81/10/0", Some(Fit::Exact)),
            ("0000:81:10.0", "TenGigabitEthernet129/16/0", Some(Fit::Decimal)),
            ("0000:00:04.0", "avf-0/0/4/0", Some(Fit::Exact)),
            ("0000:00:04.0", "avf-1/0/4/0", None),
            ("10000:00:04.0", "GigabitEthernet-10000/0/4/0", Some(Fit::Exact)),
            ("10000:00:04.0", "GigabitEthernet0/4/0", Some(Fit::WithoutDomain)),
            ("0000:00:04.0", "GigabitEthernet-10000/0/4/0", None),
            ("0000:00:04.0", "GigabitEthernet0/4/0/1", None),
            ("0000:00:04.0", "GigabitEthernet0/4/0.100", None),
            ("0000:00:04.0", "GigabitEthernet0/4/1", None),
            ("0000:00:04.0", "GigabitEthernet0/14/0", None),
            ("0000:00:04.0", "Ethernet0", None),
            ("0000:00:04.0", "0/4/0", None),
            ("0000:00:04.0", "local0", None),
            ("0000:00:04.0", "", None),
            ("0000:00:04.0", "GigabitEthernet0//0", None),
        ] {
            let address: PciAddress = address.parse().unwrap();
            assert_eq!(address.fits(name), fits, "{address} {name}");
            assert_eq!(address.is_named(name), fits == Some(Fit::Exact), "{address} {name}");
        }
    }

    #[test]
    fn the_device_of_a_name() {
        for (name, address) in [
            ("GigabitEthernet0/4/0", Some("0000:00:04.0")),
            ("GigabitEthernet-10000/e1/1f/7", Some("10000:e1:1f.7")),
            ("Ethernet0", None),
            ("GigabitEthernet0/44/0", None),
        ] {
            let found = PciAddress::of_interface(name).map(|address| address.to_string());
            assert_eq!(found.as_deref(), address, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_vpp_writes_is_found(domain in 0u32..0x20000, bus: u8, slot in 0u8..32, function in 0u8..8) {
            let address = PciAddress { domain, bus, slot, function };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            let dash = if domain == 0 { String::new() } else { format!("-{domain:x}/") };
            let name = format!("TwentyFiveGigabitEthernet{dash}{bus:x}/{slot:x}/{function:x}");
            prop_assert_eq!(address.fits(&name), Some(Fit::Exact));
            prop_assert_eq!(PciAddress::of_interface(&name), Some(address));
        }

        #[test]
        fn no_name_panics(name in ".{0,40}") {
            let address = PciAddress { domain: 0, bus: 0, slot: 4, function: 0 };
            let _ = (address.fits(&name), PciAddress::of_interface(&name), name.parse::<PciAddress>());
        }
    }
}
