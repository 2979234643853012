//! Links as messages, and messages as links. Pure.

use std::os::fd::AsRawFd;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::{Link, LinkChange, VethEnd};
use crate::Mac;
use crate::error::Printable;
use crate::wire::{Attributes, Frame, read_i32, read_text, read_u8, read_u32};

/// `RTM_NEWLINK`, `RTM_DELLINK` of `linux/rtnetlink.h`.
pub(crate) const NEW: u16 = 16;
pub(crate) const DELETED: u16 = 17;
/// The length of `struct ifinfomsg`.
const HEADER: usize = 16;
// Attributes, from `linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
const IFLA_INFO_KIND: u16 = 1;
/// `IFNAMSIZ` without the closing zero.
const LONGEST_NAME: usize = 15;
/// `IFALIASZ` without the closing zero.
const LONGEST_ALIAS: usize = 255;

/// What a message says of an end that is to be made.
pub(super) fn end_message(end: &VethEnd<'_>) -> Result<LinkMessage, &'static str> {
    checked_name(end.name)?;
    end.alias.map_or(Ok(()), checked_alias)?;
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(end.name.to_owned()));
    attributes.extend(end.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(end.mtu.map(LinkAttribute::Mtu));
    attributes.extend(end.namespace.map(|n| LinkAttribute::NetNsFd(n.as_fd().as_raw_fd())));
    if let Some(queues) = end.queues {
        attributes.push(LinkAttribute::NumTxQueues(queues));
        attributes.push(LinkAttribute::NumRxQueues(queues));
    }
    Ok(message)
}

pub(super) fn change_attributes(change: &LinkChange<'_>) -> Vec<LinkAttribute> {
    let mut attributes = Vec::new();
    attributes.extend(change.namespace.map(|n| LinkAttribute::NetNsFd(n.as_fd().as_raw_fd())));
    attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(change.mtu.map(LinkAttribute::Mtu));
    attributes.extend(change.name.map(|name| LinkAttribute::IfName(name.to_owned())));
    attributes.extend(change.alias.map(alias_attribute));
    attributes.extend(change.controller.map(LinkAttribute::Controller));
    attributes
}

/// Without a closing zero, for which an alias of the full length has no room.
pub(super) fn alias_attribute(alias: &str) -> LinkAttribute {
    LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec()))
}

/// A change in words, for errors.
pub(super) fn described(change: &LinkChange<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(change.namespace.map(|_| "another namespace".to_owned()));
    parts.extend(change.mac.map(|mac| format!("Ethernet address {mac}")));
    parts.extend(change.mtu.map(|mtu| format!("MTU {mtu}")));
    parts.extend(change.name.map(|name| format!("name {}", Printable(name))));
    parts.extend(change.alias.map(|alias| format!("alias {}", Printable(alias))));
    parts.extend(change.controller.map(|index| format!("controller {index}")));
    parts.extend(change.up.map(|up| if up { "up" } else { "down" }.to_owned()));
    if parts.is_empty() { String::new() } else { format!(" to {}", parts.join(", ")) }
}

/// What the kernel takes for a name. `%` it would take for a place to put a number.
pub(crate) fn checked_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err("the name of a link has one to 15 bytes");
    }
    if name == "." || name == ".." {
        return Err("a link cannot be named by a dot or two");
    }
    let bad = |b: u8| matches!(b, b'/' | b':' | b'%' | 0 | 0x0b) || b.is_ascii_whitespace();
    if name.bytes().any(bad) {
        return Err("the name of a link has no slash, colon, percent sign, white space or zero");
    }
    Ok(())
}

pub(super) fn checked_alias(alias: &str) -> Result<(), &'static str> {
    if alias.len() > LONGEST_ALIAS {
        return Err("an alias has up to 255 bytes");
    }
    if alias.contains('\0') {
        return Err("an alias has no zero byte");
    }
    Ok(())
}

/// A link as the kernel tells it, in answers and in events; `None` for what a bridge tells of its ports.
pub(crate) fn read(frame: &Frame<'_>) -> Option<Link> {
    if read_u8(frame.body)? != 0 {
        return None;
    }
    let flags = LinkFlags::from_bits_retain(read_u32(frame.body.get(8..)?)?);
    let mut link = Link {
        index: read_u32(frame.body.get(4..)?)?,
        name: String::new(),
        kind: None,
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        alias: None,
        controller: None,
        peer: None,
        peer_namespace: None,
        parent_device: None,
        parent_bus: None,
    };
    for (kind, value) in frame.attributes(HEADER) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
            IFLA_IFNAME => link.name = read_text(value),
            IFLA_MTU => link.mtu = read_u32(value)?,
            IFLA_LINK => link.peer = read_u32(value).filter(|index| *index != 0),
            IFLA_MASTER => link.controller = read_u32(value).filter(|index| *index != 0),
            IFLA_LINKINFO => {
                link.kind = Attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, kind)| read_text(kind));
            }
            IFLA_IFALIAS => link.alias = Some(read_text(value)),
            IFLA_LINK_NETNSID => link.peer_namespace = read_i32(value),
            IFLA_PARENT_DEV_NAME => link.parent_device = Some(read_text(value)),
            IFLA_PARENT_DEV_BUS_NAME => link.parent_bus = Some(read_text(value)),
            _ => (),
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::{InfoKind, LinkInfo};

    use super::*;
    use crate::wire::{self, Frames};

    #[test]
    fn names_and_aliases() {
        for good in ["a", "eth0.100", "123456789012345", "ä", "..."] {
            assert_eq!(checked_name(good), Ok(()), "{good}");
        }
        for bad in ["", "1234567890123456", ".", "..", "a/b", "a:b", "a b", "a\n", "a\0", "veth%d"]
        {
            assert!(checked_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(checked_alias(&"x".repeat(255)), Ok(()));
        assert_eq!(checked_alias(""), Ok(()));
        assert!(checked_alias(&"x".repeat(256)).is_err());
        assert!(checked_alias("a\0").is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = end_message(&VethEnd {
            name: "abc",
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            mtu: Some(1400),
            ..VethEnd::default()
        })
        .expect("valid");
        message.header.index = 7;
        message.header.flags = LinkFlags::Up;
        message.attributes.extend([
            alias_attribute("text"),
            LinkAttribute::Controller(3),
            LinkAttribute::Link(0),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ]);
        let mut bytes = Vec::new();
        wire::append(&mut bytes, RouteNetlinkMessage::NewLink(message.clone()), 0, 1);
        message.header.interface_family = netlink_packet_route::AddressFamily::Bridge;
        wire::append(&mut bytes, RouteNetlinkMessage::NewLink(message), 0, 1);
        let mut frames = Frames::of(&bytes);
        let link = read(&frames.next().expect("two")).expect("readable");
        assert_eq!((link.index, link.name.as_str(), link.mtu), (7, "abc", 1400));
        assert_eq!(link.mac, Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!((link.kind.as_deref(), link.alias.as_deref()), (Some("veth"), Some("text")));
        assert_eq!((link.controller, link.peer), (Some(3), None));
        assert!(link.up && !link.running && !link.loopback);
        assert_eq!(read(&frames.next().expect("two")), None, "a bridge's view of its port");
    }

    #[test]
    fn a_change_in_words() {
        assert_eq!(described(&LinkChange::default()), "");
        let change = LinkChange {
            up: Some(true),
            mtu: Some(9000),
            name: Some("a\u{1b}"),
            ..LinkChange::default()
        };
        assert_eq!(described(&change), " to MTU 9000, name a\\u{1b}, up");
    }
}
