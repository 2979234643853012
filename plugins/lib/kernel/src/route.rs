//! Routes: listed, set, added, deleted, one or thousands at a time.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;

mod change;
mod message;
pub use change::RouteChange;
pub(crate) use message::{DELETED, NEW, read};

/// The kernel's main table.
pub const MAIN_TABLE: u32 = 254;
/// `RTPROT_STATIC`: what a person has set.
const STATIC_PROTOCOL: u8 = 4;
/// What IPv6 takes for a metric of 0 (`IP6_RT_PRIO_USER`).
pub const IPV6_METRIC: u32 = 1024;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Whether an address is of this family.
    pub const fn has(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }

    pub(crate) const fn number(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// What becomes of a packet (`RTN_…` of `linux/rtnetlink.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteKind {
    /// It is sent on.
    #[default]
    Unicast,
    /// It is for this host.
    Local,
    /// It is dropped silently.
    Blackhole,
    /// It is dropped, its sender is told "host unreachable".
    Unreachable,
    /// It is dropped, its sender is told "administratively prohibited".
    Prohibit,
    /// The next table is asked.
    Throw,
    /// Any other, by the kernel's number.
    Other(u8),
}

/// One of several ways of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The router; without, the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link's index.
    pub device: Option<u32>,
    /// The router is taken to be on the link, whatever addresses the link has.
    pub onlink: bool,
    /// Its share, from 1.
    pub weight: u16,
}

/// A route. [`Route::to`] makes one with the usual values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to; without host bits.
    pub destination: IpNet,
    /// The router; without, the destination is on the link. An IPv4 route may have an IPv6 router.
    pub via: Option<IpAddr>,
    /// The link's index. The kernel finds one by `via` if there is none.
    pub device: Option<u32>,
    /// The router is taken to be on the link, whatever addresses the link has; needs `device`.
    pub onlink: bool,
    /// Further ways beside `via` and `device`, which then have a share of `weight`.
    pub further: Vec<NextHop>,
    /// The share of the first way, if there are several; from 1.
    pub weight: u16,
    /// The table; the main one is 254.
    pub table: u32,
    /// Who has made it (`RTPROT_…`): 2 the kernel, 3 ip(8), 4 a person, others daemons.
    pub protocol: u8,
    /// Among routes to the same destination the lowest wins. 0 is 1024 for IPv6.
    pub metric: u32,
    /// How far the destination is (`RT_SCOPE_…`): 0 anywhere, 253 on the link, 254 this host. `None`: as is
    /// usual for the kind, which is what ip(8) takes. A list always tells it.
    pub scope: Option<u8>,
    /// What becomes of a packet.
    pub kind: RouteKind,
    /// The MTU to this destination, in bytes.
    pub mtu: Option<u32>,
    /// The largest TCP segment that is announced, in bytes.
    pub advmss: Option<u32>,
    /// The address that the host uses itself to there.
    pub source: Option<IpAddr>,
}

impl Route {
    /// A route of the main table to a destination, set by a person (protocol 4), with no way yet.
    pub const fn to(destination: IpNet) -> Self {
        Self {
            destination,
            via: None,
            device: None,
            onlink: false,
            further: Vec::new(),
            weight: 1,
            table: MAIN_TABLE,
            protocol: STATIC_PROTOCOL,
            metric: 0,
            scope: None,
            kind: RouteKind::Unicast,
            mtu: None,
            advmss: None,
            source: None,
        }
    }

    /// By this router.
    #[must_use]
    pub const fn via(mut self, router: IpAddr) -> Self {
        self.via = Some(router);
        self
    }

    /// Over the link with this index.
    #[must_use]
    pub const fn device(mut self, index: u32) -> Self {
        self.device = Some(index);
        self
    }

    /// The router is on the link, whatever addresses the link has.
    #[must_use]
    pub const fn onlink(mut self) -> Self {
        self.onlink = true;
        self
    }

    /// With this metric.
    #[must_use]
    pub const fn metric(mut self, metric: u32) -> Self {
        self.metric = metric;
        self
    }

    /// Made by this protocol.
    #[must_use]
    pub const fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// In this table.
    #[must_use]
    pub const fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// Of this kind.
    #[must_use]
    pub const fn kind(mut self, kind: RouteKind) -> Self {
        self.kind = kind;
        self
    }

    /// The route as a list will tell it, for comparing: scope and metric as the kernel completes them.
    #[must_use]
    pub fn completed(mut self) -> Self {
        self.scope = Some(match self.destination {
            IpNet::V4(_) => self.scope.unwrap_or_else(|| self.usual_scope()),
            // IPv6 knows no scopes of routes.
            IpNet::V6(_) => 0,
        });
        if self.metric == 0 && matches!(self.destination, IpNet::V6(_)) {
            self.metric = IPV6_METRIC;
        }
        self
    }

    /// What identifies a route to the kernel: two with the same cannot be in one namespace, setting one
    /// replaces the other, whoever made it.
    pub fn key(&self) -> (u32, IpNet, u32) {
        let metric = match self.destination {
            IpNet::V6(_) if self.metric == 0 => IPV6_METRIC,
            _ => self.metric,
        };
        (self.table, self.destination, metric)
    }

    /// As ip(8) chooses.
    fn usual_scope(&self) -> u8 {
        match self.kind {
            RouteKind::Local => message::SCOPE_HOST,
            RouteKind::Unicast if self.via.is_none() && self.further.is_empty() => {
                message::SCOPE_LINK
            }
            _ => message::SCOPE_ANYWHERE,
        }
    }

    fn checked(&self) -> Result<(), String> {
        let destination = self.destination;
        if destination != destination.trunc() {
            return Err(format!("it has host bits set; {} would be right", destination.trunc()));
        }
        let ways = std::iter::once((self.via, self.device, self.onlink))
            .chain(self.further.iter().map(|hop| (hop.via, hop.device, hop.onlink)));
        for (via, device, onlink) in ways {
            if matches!((destination, via), (IpNet::V6(_), Some(IpAddr::V4(_)))) {
                return Err("an IPv6 route has no IPv4 router".to_owned());
            }
            if onlink && (via.is_none() || device.is_none()) {
                return Err("onlink needs a router and a device".to_owned());
            }
        }
        if self.source.is_some_and(|source| !Family::of(destination.addr()).has(source)) {
            return Err("its source address is of the other family".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => (),
            RouteKind::Local => f.write_str("local ")?,
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Prohibit => f.write_str("prohibit ")?,
            RouteKind::Throw => f.write_str("throw ")?,
            RouteKind::Other(kind) => write!(f, "(kind {kind}) ")?,
        }
        write!(f, "{}", self.destination)?;
        way(f, self.via, self.device, self.onlink)?;
        for hop in &self.further {
            f.write_str(" and")?;
            way(f, hop.via, hop.device, hop.onlink)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        write!(f, " protocol {}", self.protocol)
    }
}

fn way(
    f: &mut fmt::Formatter<'_>,
    via: Option<IpAddr>,
    device: Option<u32>,
    onlink: bool,
) -> fmt::Result {
    if let Some(via) = via {
        write!(f, " via {via}")?;
    }
    if let Some(device) = device {
        write!(f, " over link {device}")?;
    }
    if onlink {
        f.write_str(" onlink")?;
    }
    Ok(())
}

/// Which routes to list; what is `None` does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// The family of the destination.
    pub family: Option<Family>,
    /// The table.
    pub table: Option<u32>,
    /// Who has made it.
    pub protocol: Option<u8>,
    /// The index of the link of one of its ways.
    pub device: Option<u32>,
}

impl RouteFilter {
    /// Whether a route is one of these.
    pub fn has(&self, route: &Route) -> bool {
        let over = |index| {
            route.device == Some(index) || route.further.iter().any(|hop| hop.device == Some(index))
        };
        self.family.is_none_or(|family| family.has(route.destination.addr()))
            && self.table.is_none_or(|table| table == route.table)
            && self.protocol.is_none_or(|protocol| protocol == route.protocol)
            && self.device.is_none_or(over)
    }
}

/// An empty message of a family.
fn of_family(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message
}

#[cfg(test)]
mod tests;
