//! Links: veth pairs, and what can be changed of any link.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};

use crate::error::{EAFNOSUPPORT, Printable};
use crate::netlink::Request;
use crate::{Error, Mac, Namespace, Netlink};

mod message;
pub(crate) use message::{DELETED, NEW, checked_name, read};
use message::{alias_attribute, change_attributes, checked_alias, described, end_message};

/// A link, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its index, which no other link of the namespace has.
    pub index: u32,
    /// Its name; bytes that are no UTF-8 are replaced, control characters are as they are.
    pub name: String,
    /// What it is, where that is no plain device: `veth`, `tun`, `bridge`.
    pub kind: Option<String>,
    /// Its Ethernet address; none where the kernel tells none, or one of another length.
    pub mac: Option<Mac>,
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Somebody has switched it on.
    pub up: bool,
    /// It can carry packets: it is up and so is what it depends on.
    pub running: bool,
    /// It is a loopback.
    pub loopback: bool,
    /// A text that somebody has put there.
    pub alias: Option<String>,
    /// The index of the bridge, bond or VRF that it belongs to.
    pub controller: Option<u32>,
    /// The index of the link that it is on; of a veth, its other end. In another namespace if
    /// `peer_namespace` is there.
    pub peer: Option<u32>,
    /// The kernel's number, in this namespace, for the namespace of `peer`.
    pub peer_namespace: Option<i32>,
    /// The device's name on its bus (Linux 5.14): `0000:00:04.0` on PCI, `virtio0` on virtio; there
    /// [`crate::ethtool::driver`] tells the PCI address.
    pub parent_device: Option<String>,
    /// The bus of `parent_device`: `pci`, `virtio`.
    pub parent_bus: Option<String>,
}

/// One end of a veth pair that is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct VethEnd<'a> {
    /// Its name, one to 15 bytes.
    pub name: &'a str,
    /// Its Ethernet address; chosen by the kernel without.
    pub mac: Option<Mac>,
    /// Its MTU; 1500 without.
    pub mtu: Option<u32>,
    /// Where to make it; in the socket's namespace without.
    pub namespace: Option<&'a Namespace>,
    /// Its alias, up to 255 bytes.
    pub alias: Option<&'a str>,
    /// How many queues it has in each direction; one without.
    pub queues: Option<u32>,
}

/// What is to be changed of a link; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Switch it on or off.
    pub up: Option<bool>,
    /// The MTU.
    pub mtu: Option<u32>,
    /// The Ethernet address.
    pub mac: Option<Mac>,
    /// The name, one to 15 bytes. Older kernels rename only what is down.
    pub name: Option<&'a str>,
    /// The alias, up to 255 bytes; empty for none.
    pub alias: Option<&'a str>,
    /// Move it there. The index may be another one then.
    pub namespace: Option<&'a Namespace>,
    /// Whether IPv6 makes no link-local address when it goes up (`addr_gen_mode none`).
    pub no_address_generation: Option<bool>,
    /// Its bridge, bond or VRF by index; 0 for none.
    pub controller: Option<u32>,
}

impl Netlink {
    /// All links of the namespace.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        self.list(&RouteNetlinkMessage::GetLink(message), || "list the links".to_owned(), read)
    }

    /// The link of a name, or `None`. An alternative name finds its link, too.
    ///
    /// # Errors
    ///
    /// The kernel refuses. A name that no link can have is not there.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        if checked_name(name).is_err() {
            return Ok(None);
        }
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        self.one_link(message, || format!("find the link {}", Printable(name)))
    }

    /// The link of an index, or `None`.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        if index == 0 {
            return Ok(None);
        }
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.one_link(message, || format!("find link {index}"))
    }

    fn one_link(
        &mut self,
        mut message: LinkMessage,
        what: impl Fn() -> String,
    ) -> Result<Option<Link>, Error> {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let request = Request { message: RouteNetlinkMessage::GetLink(message), flags: 0 };
        let mut found = None;
        match self.ask(request, &what, |frame| found = read(frame)) {
            Ok(()) if found.is_none() => {
                Err(Error::Malformed { what: what(), reason: "a link is not in it" })
            }
            Ok(()) => Ok(found),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a veth pair, each end where it shall be; both are down. Nothing is left if it fails.
    ///
    /// # Errors
    ///
    /// A name is taken (`is_exists`) or cannot be one, or the process may not.
    pub fn create_veth(&mut self, end: &VethEnd<'_>, peer: &VethEnd<'_>) -> Result<(), Error> {
        let what =
            || format!("create the veth pair {} and {}", Printable(end.name), Printable(peer.name));
        let mut one = end_message(end).map_err(|reason| Error::invalid(what(), reason))?;
        let other = end_message(peer).map_err(|reason| Error::invalid(what(), reason))?;
        one.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        let request = Request {
            message: RouteNetlinkMessage::NewLink(one),
            flags: NLM_F_CREATE | NLM_F_EXCL,
        };
        self.change(request, what)?;
        // The kernel takes no alias while it makes a link.
        self.set_alias(end).and_then(|()| self.set_alias(peer)).inspect_err(|_| {
            // The error that counts is the first; with one end, the other is gone.
            let _ = self.delete_end(end);
        })
    }

    /// Sets an end's alias, where it has one.
    fn set_alias(&mut self, end: &VethEnd<'_>) -> Result<(), Error> {
        let (Some(alias), Some(namespace)) = (end.alias, end.namespace) else {
            return match end.alias {
                Some(alias) => self.set_alias_here(end.name, alias),
                None => Ok(()),
            };
        };
        Self::open_in(namespace)?.set_alias_here(end.name, alias)
    }

    fn set_alias_here(&mut self, name: &str, alias: &str) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(name.to_owned()), alias_attribute(alias)];
        let request = Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 };
        self.change(request, || format!("set the alias of the link {}", Printable(name)))
    }

    fn delete_end(&mut self, end: &VethEnd<'_>) -> Result<(), Error> {
        let delete = |netlink: &mut Self| match netlink.link(end.name)? {
            Some(link) => netlink.delete_link(link.index).map(|_| ()),
            None => Ok(()),
        };
        match end.namespace {
            Some(namespace) => delete(&mut Self::open_in(namespace)?),
            None => delete(self),
        }
    }

    /// Deletes a link; false if it was not there. A veth goes with its other end.
    ///
    /// # Errors
    ///
    /// The link cannot be deleted, as a device of the machine; or the process may not.
    pub fn delete_link(&mut self, index: u32) -> Result<bool, Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        // Without an index the kernel would take a name or a group for what to delete.
        if index == 0 {
            return Ok(false);
        }
        let request = Request { message: RouteNetlinkMessage::DelLink(message), flags: 0 };
        match self.change(request, || format!("delete link {index}")) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Changes a link. The kernel takes the parts one after another, in this order: namespace, Ethernet
    /// address, MTU, name, alias, controller, up; when one is refused, those before it are done.
    ///
    /// # Errors
    ///
    /// There is no such link (`is_not_found`), a name is taken (`is_exists`) or cannot be one, the MTU is not
    /// one for this link, or the process may not.
    pub fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<(), Error> {
        let what = || format!("change link {index}{}", described(change));
        let invalid = |reason: &str| Error::invalid(what(), reason);
        if index == 0 {
            return Err(invalid("links are numbered from 1"));
        }
        change.name.map_or(Ok(()), checked_name).map_err(invalid)?;
        change.alias.map_or(Ok(()), checked_alias).map_err(invalid)?;
        // In one message the kernel would see to it only when the link is up, and has its address.
        if let Some(none) = change.no_address_generation {
            self.set_address_generation(index, none)?;
        }
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(up) = change.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        message.attributes = change_attributes(change);
        if message.attributes.is_empty() && change.up.is_none() {
            return Ok(());
        }
        let request = Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 };
        self.change(request, what)
    }

    fn set_address_generation(&mut self, index: u32, none: bool) -> Result<(), Error> {
        let mode = if none { In6AddrGenMode::None } else { In6AddrGenMode::Eui64 };
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
            AfSpecInet6::AddrGenMode(mode),
        ])])];
        let request = Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 };
        match self.change(request, || format!("set how IPv6 makes addresses on link {index}")) {
            // The link has no IPv6: it makes no addresses either.
            Err(e) if none && e.errno() == Some(EAFNOSUPPORT) => Ok(()),
            other => other,
        }
    }
}
