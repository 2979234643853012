/*!
Offloads and drivers of links, of the calling thread's namespace.

Transmit checksums are switched by `ETHTOOL_STXCSUM`, which the kernel maps to the same feature bits
(`tx-checksum-ipv4`, `-ipv6`, `-ip-generic`, ...) as `ethtool -K`: where it is refused, the link has no such
bit that can be changed, and the feature interface would refuse it as well.
*/

use std::io;

use crate::Error;
use crate::error::{EOPNOTSUPP, Printable};
use crate::ioctl::{self, EthtoolValue, NAME_SIZE};
use crate::link::checked_name;

/// `ETHTOOL_GTXCSUM` and `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
const GET_TX_CHECKSUM: u32 = 0x16;
const SET_TX_CHECKSUM: u32 = 0x17;

/// What drives a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Driver {
    /// The driver's name: `virtio_net`, `ixgbe`, `veth`.
    pub driver: String,
    /// Where the device is: `0000:00:04.0` for one on PCI, also below virtio; empty for a virtual one.
    pub bus_info: String,
    /// The driver's version, often that of the kernel.
    pub version: String,
}

/// Whether the link leaves checksums of what it sends to the device.
///
/// # Errors
///
/// There is no such link (`is_not_found`), or it knows nothing of checksums.
pub fn tx_checksum(name: &str) -> Result<bool, Error> {
    let mut value = EthtoolValue { command: GET_TX_CHECKSUM, data: 0 };
    let what = || format!("read whether {} leaves checksums to its device", Printable(name));
    ioctl::ethtool_value(bytes(name, what)?, &mut value).map_err(|e| Error::refused(what(), e))?;
    Ok(value.data != 0)
}

/// Says whether the link leaves checksums of what it sends to the device. Off where a peer reads packets
/// that nothing completes, as af_packet on the other end of a veth.
///
/// # Errors
///
/// There is no such link (`is_not_found`), the process may not, or the link cannot be switched and is not
/// already so.
pub fn set_tx_checksum(name: &str, on: bool) -> Result<(), Error> {
    let mut value = EthtoolValue { command: SET_TX_CHECKSUM, data: u32::from(on) };
    let what = || {
        format!("switch checksum offload of {} {}", Printable(name), if on { "on" } else { "off" })
    };
    let set = ioctl::ethtool_value(bytes(name, what)?, &mut value);
    match set {
        Err(e) if e.raw_os_error() == Some(EOPNOTSUPP) && tx_checksum(name)? == on => Ok(()),
        Err(e) => Err(Error::refused(what(), e)),
        // A driver may leave things as they were without saying so.
        Ok(()) if tx_checksum(name)? != on => {
            Err(Error::refused(what(), io::Error::from_raw_os_error(EOPNOTSUPP)))
        }
        Ok(()) => Ok(()),
    }
}

/// What drives the link.
///
/// # Errors
///
/// There is no such link (`is_not_found`), or it has no driver that tells.
pub fn driver(name: &str) -> Result<Driver, Error> {
    let what = || format!("read the driver of {}", Printable(name));
    let told = ioctl::ethtool_driver(bytes(name, what)?).map_err(|e| Error::refused(what(), e))?;
    Ok(Driver {
        driver: text(&told.driver),
        bus_info: text(&told.bus_info),
        version: text(&told.version),
    })
}

fn bytes(name: &str, what: impl Fn() -> String) -> Result<[u8; NAME_SIZE], Error> {
    checked_name(name).map_err(|reason| Error::invalid(what(), reason))?;
    let mut field = [0; NAME_SIZE];
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    Ok(field)
}

/// A field up to its first zero byte; what is no UTF-8 is replaced.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_at_a_zero() {
        assert_eq!(text(b"veth\0\0\0"), "veth");
        assert_eq!(text(b"full"), "full");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn a_missing_link_is_not_found() {
        let error = driver("plat-none-1").expect_err("no such link");
        assert!(error.is_not_found(), "{error}");
        assert_eq!(error.to_string(), "cannot read the driver of plat-none-1: No such device");
        assert!(matches!(driver("a name that is too long"), Err(Error::Invalid { .. })));
    }
}
