//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::EADDRNOTAVAIL;
use crate::netlink::Request;
use crate::route::Family;
use crate::wire::{Frame, read_ip, read_u8, read_u32};
use crate::{Error, Netlink};

/// `RTM_NEWADDR`, `RTM_DELADDR` of `linux/rtnetlink.h`.
pub(crate) const NEW: u16 = 20;
pub(crate) const DELETED: u16 = 21;
/// The length of `struct ifaddrmsg`.
const HEADER: usize = 8;
// Attributes, from `linux/if_addr.h`.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// The address itself with the length of its prefix; host bits are kept.
    pub address: IpNet,
    /// The other end, where the link has only two.
    pub peer: Option<IpAddr>,
    /// It has no end of its lifetime.
    pub permanent: bool,
    /// IPv6: it cannot be used yet, duplicates are being looked for.
    pub tentative: bool,
    /// IPv6: somebody else has it.
    pub duplicate: bool,
    /// How far it is valid: 0 everywhere, 253 on the link, 254 in the host (`RT_SCOPE_…`).
    pub scope: u8,
}

impl Netlink {
    /// The addresses of one link, or of all.
    ///
    /// # Errors
    ///
    /// There is no such link (`is_not_found`).
    pub fn addresses(&mut self, index: Option<u32>) -> Result<Vec<Address>, Error> {
        let mut addresses = Vec::new();
        for family in Family::BOTH {
            let mut message = AddressMessage::default();
            message.header.family = family.number();
            message.header.index = index.unwrap_or(0);
            let what = || match index {
                Some(index) => format!("list the {family} addresses of link {index}"),
                None => format!("list the {family} addresses"),
            };
            addresses.extend(self.list(
                &RouteNetlinkMessage::GetAddress(message),
                what,
                |frame| {
                    // A kernel without IPv6 answers with all families that it has, an old one with all links.
                    read(frame).filter(|found| {
                        family.has(found.address.addr()) && index.is_none_or(|i| i == found.index)
                    })
                },
            )?);
        }
        Ok(addresses)
    }

    /// Gives a link an address; one that it has already gets the same lifetime and flags again. IPv6 without
    /// looking for duplicates: it can be used at once.
    ///
    /// # Errors
    ///
    /// There is no such link (`is_not_found`), IPv6 is off there (`is_permission`), the process may not.
    pub fn set_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        let mut message = message(index, address);
        if matches!(address, IpNet::V6(_)) {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        if address.addr().is_loopback() {
            message.header.scope = AddressScope::Host;
        }
        let request = Request {
            message: RouteNetlinkMessage::NewAddress(message),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
        };
        self.change(request, || format!("give link {index} the address {address}"))
    }

    /// Takes an address from a link; false if it did not have it.
    ///
    /// # Errors
    ///
    /// The process may not.
    pub fn delete_address(&mut self, index: u32, address: IpNet) -> Result<bool, Error> {
        let request =
            Request { message: RouteNetlinkMessage::DelAddress(message(index, address)), flags: 0 };
        match self.change(request, || format!("take the address {address} from link {index}")) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() || e.errno() == Some(EADDRNOTAVAIL) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

pub(crate) const fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// An address as the kernel tells it, in answers and in events.
pub(crate) fn read(frame: &Frame<'_>) -> Option<Address> {
    let prefix_len = read_u8(frame.body.get(1..)?)?;
    let scope = read_u8(frame.body.get(3..)?)?;
    let index = read_u32(frame.body.get(4..)?)?;
    let mut flags = AddressFlags::from_bits_retain(u32::from(read_u8(frame.body.get(2..)?)?));
    let (mut address, mut local) = (None, None);
    for (kind, value) in frame.attributes(HEADER) {
        match kind {
            IFA_ADDRESS => address = read_ip(value),
            IFA_LOCAL => local = read_ip(value),
            IFA_FLAGS => flags = AddressFlags::from_bits_retain(read_u32(value)?),
            _ => (),
        }
    }
    // IFA_ADDRESS is the other end where there is a local one, else the address itself.
    let own = local.or(address)?;
    Some(Address {
        index,
        address: IpNet::new(own, prefix_len).ok()?,
        peer: address.filter(|peer| *peer != own),
        permanent: flags.contains(AddressFlags::Permanent),
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
        scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Frames};

    #[test]
    fn what_is_written_is_read() {
        for text in ["10.1.2.3/24", "fd00::7/128", "0.0.0.0/0", "127.0.0.1/8"] {
            let address: IpNet = text.parse().expect("an address");
            let mut bytes = Vec::new();
            wire::append(&mut bytes, RouteNetlinkMessage::NewAddress(message(7, address)), 0, 1);
            let found = read(&Frames::of(&bytes).next().expect("one")).expect("readable");
            assert_eq!((found.index, found.address, found.peer), (7, address, None));
            assert!(!found.permanent && !found.tentative && !found.duplicate);
        }
    }

    #[test]
    fn the_other_end_is_not_the_address() {
        let mut message = message(7, "10.0.0.1/32".parse().expect("an address"));
        let peer: IpAddr = "10.0.0.2".parse().expect("an address");
        message.attributes = vec![
            AddressAttribute::Address(peer),
            AddressAttribute::Local("10.0.0.1".parse().expect("an address")),
            AddressAttribute::Flags(AddressFlags::Permanent | AddressFlags::Tentative),
        ];
        let mut bytes = Vec::new();
        wire::append(&mut bytes, RouteNetlinkMessage::NewAddress(message), 0, 1);
        let found = read(&Frames::of(&bytes).next().expect("one")).expect("readable");
        assert_eq!(found.address.to_string(), "10.0.0.1/32");
        assert_eq!(found.peer, Some(peer));
        assert!(found.permanent && found.tentative);
    }
}
