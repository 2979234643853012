//! Neighbours: who has which Ethernet address on a link.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use crate::address::family_of;
use crate::netlink::Request;
use crate::route::Family;
use crate::wire::{Frame, read_ip, read_u16, read_u32};
use crate::{Error, Mac, Netlink};

/// `RTM_NEWNEIGH`, `RTM_DELNEIGH` of `linux/rtnetlink.h`.
pub(crate) const NEW: u16 = 28;
pub(crate) const DELETED: u16 = 29;
/// The length of `struct ndmsg`.
const HEADER: usize = 12;
// Attributes and states, from `linux/neighbour.h`.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbor {
    /// The link's index.
    pub index: u32,
    /// Its IP address.
    pub address: IpAddr,
    /// Its Ethernet address, if it is known.
    pub mac: Option<Mac>,
    /// Somebody has set it; it is not asked for, and does not age.
    pub permanent: bool,
    /// The kernel's state, bits `NUD_…`: 2 reachable, 4 stale, 0x20 failed, 0x40 needs none, 0x80 permanent.
    pub state: u16,
}

impl Netlink {
    /// The neighbours on a link, of both families. Those of groups are among them, as the kernel keeps them.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn neighbors(&mut self, index: u32) -> Result<Vec<Neighbor>, Error> {
        let mut neighbors = Vec::new();
        for family in Family::BOTH {
            let mut message = NeighbourMessage::default();
            message.header.family = family.number();
            message.attributes = vec![NeighbourAttribute::IfIndex(index)];
            let what = || format!("list the {family} neighbours on link {index}");
            let message = RouteNetlinkMessage::GetNeighbour(message);
            neighbors.extend(self.list(&message, what, |frame| {
                read(frame).filter(|n| n.index == index && family.has(n.address))
            })?);
        }
        Ok(neighbors)
    }

    /// Says for good who has an address on a link, whatever was known before.
    ///
    /// # Errors
    ///
    /// There is no such link (`is_not_found`), or the process may not.
    pub fn set_neighbor(&mut self, index: u32, address: IpAddr, mac: Mac) -> Result<(), Error> {
        let mut message = message(index, address);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let request = Request {
            message: RouteNetlinkMessage::NewNeighbour(message),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
        };
        self.change(request, || format!("set the neighbour {address} on link {index} to {mac}"))
    }

    /// Forgets a neighbour; false if none was known.
    ///
    /// # Errors
    ///
    /// The process may not.
    pub fn delete_neighbor(&mut self, index: u32, address: IpAddr) -> Result<bool, Error> {
        let request = Request {
            message: RouteNetlinkMessage::DelNeighbour(message(index, address)),
            flags: 0,
        };
        match self.change(request, || format!("delete the neighbour {address} on link {index}")) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(address);
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    })];
    message
}

/// A neighbour as the kernel tells it, in answers and in events; `None` for what is no IP neighbour, as an
/// entry of a bridge.
pub(crate) fn read(frame: &Frame<'_>) -> Option<Neighbor> {
    let index = read_u32(frame.body.get(4..)?)?;
    let state = read_u16(frame.body.get(8..)?)?;
    let (mut address, mut mac) = (None, None);
    for (kind, value) in frame.attributes(HEADER) {
        match kind {
            NDA_DST => address = read_ip(value),
            NDA_LLADDR => mac = value.try_into().ok().map(Mac),
            _ => (),
        }
    }
    Some(Neighbor { index, address: address?, mac, permanent: state & NUD_PERMANENT != 0, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Frames};

    #[test]
    fn what_is_written_is_read() {
        for text in ["10.1.2.3", "fe80::1"] {
            let address: IpAddr = text.parse().expect("an address");
            let mut message = message(7, address);
            message.header.state = NeighbourState::Permanent;
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]));
            let mut bytes = Vec::new();
            wire::append(&mut bytes, RouteNetlinkMessage::NewNeighbour(message), 0, 1);
            let found = read(&Frames::of(&bytes).next().expect("one")).expect("readable");
            let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
            assert_eq!(
                found,
                Neighbor { index: 7, address, mac, permanent: true, state: NUD_PERMANENT }
            );
        }
    }
}
