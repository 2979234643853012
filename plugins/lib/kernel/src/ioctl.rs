/*!
The two system calls that no safe crate has: what kind of namespace a file is, and ethtool.

This is the only module with `unsafe`. What is safe about it: every argument is a `#[repr(C)]` structure that
is at least as large as what the kernel reads and writes for the number of the call, lives until the call
returns, and is valid for any bytes that the kernel writes.
*/
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Updater, ioctl};

/// `NS_GET_NSTYPE` of `linux/nsfs.h`, Linux 4.11.
const NS_GET_NSTYPE: Opcode = 0xb703;
/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: Opcode = 0x8946;
/// `IFNAMSIZ`: with the closing zero.
pub(crate) const NAME_SIZE: usize = 16;

/// Asks for the `CLONE_NEW…` flag of a namespace, which is what the call returns.
struct NamespaceType;

// SAFETY: the call takes no argument and touches no memory of ours.
unsafe impl Ioctl for NamespaceType {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        NS_GET_NSTYPE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(output)
    }
}

/// The `CLONE_NEW…` flag of the namespace behind `fd`.
pub(crate) fn namespace_type(fd: impl AsFd) -> io::Result<i32> {
    // SAFETY: see `NamespaceType`; a file that is no namespace refuses the number.
    unsafe { ioctl(fd, NamespaceType) }.map_err(io::Error::from)
}

/// `struct ifreq` with a pointer in its union. The union is 16 bytes on 32-bit machines and 24 on others.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_SIZE],
    data: *mut c_void,
    rest: [u8; 24 - size_of::<*mut c_void>()],
}

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct EthtoolValue {
    pub(crate) command: u32,
    pub(crate) data: u32,
}

/// `struct ethtool_drvinfo` of `linux/ethtool.h`.
#[repr(C)]
pub(crate) struct EthtoolDriver {
    command: u32,
    pub(crate) driver: [u8; 32],
    pub(crate) version: [u8; 32],
    pub(crate) firmware: [u8; 32],
    pub(crate) bus_info: [u8; 32],
    rest: [u8; 32 + 12 + 5 * 4],
}

/// `ETHTOOL_GDRVINFO`.
const GET_DRIVER: u32 = 3;

/// Gets or sets one number; `value.command` says which.
pub(crate) fn ethtool_value(name: [u8; NAME_SIZE], value: &mut EthtoolValue) -> io::Result<()> {
    // SAFETY: the callers' commands, `ETHTOOL_GTXCSUM` and `ETHTOOL_STXCSUM`, are about an `ethtool_value`.
    unsafe { ethtool(name, value) }
}

/// What drives a link.
pub(crate) fn ethtool_driver(name: [u8; NAME_SIZE]) -> io::Result<EthtoolDriver> {
    let zeros = [0; 32];
    let mut driver = EthtoolDriver {
        command: GET_DRIVER,
        driver: zeros,
        version: zeros,
        firmware: zeros,
        bus_info: zeros,
        rest: [0; 32 + 12 + 5 * 4],
    };
    // SAFETY: the command is about an `ethtool_drvinfo`.
    unsafe { ethtool(name, &mut driver) }?;
    Ok(driver)
}

/// # Safety
///
/// `argument` is `#[repr(C)]`, valid for any bytes, and starts with a command whose structure it is.
unsafe fn ethtool<T>(name: [u8; NAME_SIZE], argument: &mut T) -> io::Result<()> {
    // Any socket takes calls about links; this one needs no family of the network to be compiled in.
    let socket = UnixDatagram::unbound()?;
    let mut request = InterfaceRequest {
        name,
        data: std::ptr::from_mut(argument).cast(),
        rest: [0; 24 - size_of::<*mut c_void>()],
    };
    // SAFETY: the request is at least a `struct ifreq`, its pointer is valid during the call, and the caller
    // vouches for what it points at.
    let call = unsafe { Updater::<SIOCETHTOOL, InterfaceRequest>::new(&mut request) };
    // SAFETY: as above.
    unsafe { ioctl(&socket, call) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_the_kernel() {
        assert_eq!(size_of::<EthtoolValue>(), 8);
        assert_eq!(size_of::<EthtoolDriver>(), 196);
        assert_eq!(size_of::<InterfaceRequest>(), 40);
    }

    #[test]
    fn only_a_namespace_has_a_type() {
        const CLONE_NEWNET: i32 = 0x4000_0000;
        let namespace = std::fs::File::open("/proc/self/ns/net").expect("a namespace");
        assert_eq!(namespace_type(&namespace).expect("a type"), CLONE_NEWNET);
        let null = std::fs::File::open("/dev/null").expect("a file");
        assert!(namespace_type(&null).is_err());
    }
}
