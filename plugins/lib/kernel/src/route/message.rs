//! Routes as messages, and messages as routes. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};

use super::{Family, NextHop, Route, RouteFilter, RouteKind, of_family};
use crate::address::family_of;
use crate::wire::{Attributes, Frame, read_ip, read_u8, read_u16, read_u32};

/// `RTM_NEWROUTE`, `RTM_DELROUTE` of `linux/rtnetlink.h`.
pub(crate) const NEW: u16 = 24;
pub(crate) const DELETED: u16 = 25;
// `RT_SCOPE_…`, likewise.
pub(super) const SCOPE_ANYWHERE: u8 = 0;
pub(super) const SCOPE_LINK: u8 = 253;
pub(super) const SCOPE_HOST: u8 = 254;
const SCOPE_NOWHERE: u8 = 255;
/// The length of `struct rtmsg`.
const HEADER: usize = 12;
/// The length of `struct rtnexthop`.
const NEXT_HOP: usize = 8;
/// `RTNH_F_ONLINK`, in a route's and in a next hop's flags.
const ONLINK: u8 = 4;
/// `RTM_F_CLONED`: a cached result, no route.
const CLONED: u32 = 0x200;
/// `AF_INET`, `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;
// Attributes, likewise.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// The request to make a route.
pub(super) fn new(route: &Route) -> RouteNetlinkMessage {
    let mut message = common(route);
    message.header.scope = route.scope.unwrap_or_else(|| route.usual_scope()).into();
    if route.onlink && route.further.is_empty() {
        message.header.flags = RouteFlags::Onlink;
    }
    let mut metrics = Vec::new();
    metrics.extend(route.mtu.map(RouteMetric::Mtu));
    metrics.extend(route.advmss.map(RouteMetric::Advmss));
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    RouteNetlinkMessage::NewRoute(message)
}

/// The request to delete a route: whatever its scope, MTU and the like.
pub(super) fn delete(route: &Route) -> RouteNetlinkMessage {
    let mut message = common(route);
    message.header.scope = SCOPE_NOWHERE.into();
    RouteNetlinkMessage::DelRoute(message)
}

fn common(route: &Route) -> RouteMessage {
    let family = family_of(route.destination.addr());
    let mut message = of_family(family);
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.protocol = route.protocol.into();
    message.header.kind = route.kind.number().into();
    // The field has room for small numbers; the attribute counts.
    message.header.table = u8::try_from(route.table).unwrap_or(0);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(route.destination.addr().into()));
    attributes.push(RouteAttribute::Table(route.table));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    attributes.extend(route.source.map(|s| RouteAttribute::PrefSource(RouteAddress::from(s))));
    if route.further.is_empty() {
        attributes.extend(router(route.destination, route.via));
        attributes.extend(route.device.map(RouteAttribute::Oif));
    } else {
        let first = NextHop {
            via: route.via,
            device: route.device,
            onlink: route.onlink,
            weight: route.weight,
        };
        let hops = std::iter::once(&first).chain(&route.further);
        attributes.push(RouteAttribute::MultiPath(
            hops.map(|hop| next_hop(route.destination, hop)).collect(),
        ));
    }
    message
}

/// A router of the other family has an attribute of its own.
fn router(destination: IpNet, via: Option<IpAddr>) -> Option<RouteAttribute> {
    via.map(|via| match (destination, via) {
        (IpNet::V4(_), IpAddr::V6(_)) => RouteAttribute::Via(RouteVia::from(via)),
        _ => RouteAttribute::Gateway(RouteAddress::from(via)),
    })
}

fn next_hop(destination: IpNet, hop: &NextHop) -> RouteNextHop {
    let mut next = RouteNextHop::default();
    next.interface_index = hop.device.unwrap_or(0);
    // The kernel counts the weight from 0, up to 255.
    next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if hop.onlink {
        next.flags = RouteNextHopFlags::Onlink;
    }
    next.attributes.extend(router(destination, hop.via));
    next
}

/// The request to list what a filter lets through. With strict checking, everything that is no filter must
/// be zero.
pub(super) fn list(family: Family, filter: &RouteFilter) -> RouteMessage {
    let mut message = of_family(family.number());
    message.header.protocol = filter.protocol.unwrap_or(0).into();
    message.attributes.extend(filter.table.map(RouteAttribute::Table));
    message.attributes.extend(filter.device.map(RouteAttribute::Oif));
    message
}

/// A route as the kernel tells it, in answers and in events; `None` for what is no IP route, and for cached
/// results.
pub(crate) fn read(frame: &Frame<'_>) -> Option<Route> {
    let &[family, prefix_len, _, _, table, protocol, scope, kind] = frame.body.first_chunk()?;
    let flags = read_u32(frame.body.get(8..)?)?;
    let unspecified = match family {
        INET => IpAddr::from([0; 4]),
        INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    if flags & CLONED != 0 {
        return None;
    }
    let mut route = Route::to(IpNet::new(unspecified, prefix_len).ok()?);
    route.table = table.into();
    route.protocol = protocol;
    route.scope = Some(scope);
    route.kind = RouteKind::of(kind);
    route.onlink = flags & u32::from(ONLINK) != 0;
    for (kind, value) in frame.attributes(HEADER) {
        match kind {
            RTA_DST => route.destination = IpNet::new(read_ip(value)?, prefix_len).ok()?,
            RTA_OIF => route.device = read_u32(value),
            RTA_GATEWAY => route.via = read_ip(value),
            RTA_VIA => route.via = read_via(value),
            RTA_PRIORITY => route.metric = read_u32(value)?,
            RTA_PREFSRC => route.source = read_ip(value),
            RTA_TABLE => route.table = read_u32(value)?,
            RTA_METRICS => read_metrics(value, &mut route),
            RTA_MULTIPATH => read_ways(value, &mut route),
            _ => (),
        }
    }
    // IPv6 tells the loopback as the device of a route that leads nowhere.
    if route.kind.is_nowhere() {
        route.device = None;
    }
    Some(route)
}

fn read_via(value: &[u8]) -> Option<IpAddr> {
    read_ip(value.get(2..)?)
}

fn read_metrics(value: &[u8], route: &mut Route) {
    for (kind, value) in Attributes(value) {
        match kind {
            RTAX_MTU => route.mtu = read_u32(value),
            RTAX_ADVMSS => route.advmss = read_u32(value),
            _ => (),
        }
    }
}

/// Several ways; the first becomes the route's own.
fn read_ways(mut value: &[u8], route: &mut Route) {
    let mut hops = Vec::new();
    while let Some((hop, length)) = read_next_hop(value) {
        hops.push(hop);
        value = value.get(length.saturating_add(3) & !3..).unwrap_or_default();
    }
    let mut hops = hops.into_iter();
    if let Some(first) = hops.next() {
        route.via = first.via;
        route.device = first.device;
        route.onlink = first.onlink;
        route.weight = first.weight;
        route.further = hops.collect();
    }
}

fn read_next_hop(bytes: &[u8]) -> Option<(NextHop, usize)> {
    let length = usize::from(read_u16(bytes)?);
    let flags = read_u8(bytes.get(2..)?)?;
    let weight = u16::from(read_u8(bytes.get(3..)?)?) + 1;
    let device = read_u32(bytes.get(4..)?).filter(|index| *index != 0);
    let mut via = None;
    for (kind, value) in Attributes(bytes.get(NEXT_HOP..length)?) {
        match kind {
            RTA_GATEWAY => via = read_ip(value),
            RTA_VIA => via = read_via(value),
            _ => (),
        }
    }
    Some((NextHop { via, device, onlink: flags & ONLINK != 0, weight }, length))
}

impl RouteKind {
    fn number(self) -> u8 {
        match self {
            Self::Unicast => RouteType::Unicast.into(),
            Self::Local => RouteType::Local.into(),
            Self::Blackhole => RouteType::BlackHole.into(),
            Self::Unreachable => RouteType::Unreachable.into(),
            Self::Prohibit => RouteType::Prohibit.into(),
            Self::Throw => RouteType::Throw.into(),
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match RouteType::from(number) {
            RouteType::Unicast => Self::Unicast,
            RouteType::Local => Self::Local,
            RouteType::BlackHole => Self::Blackhole,
            RouteType::Unreachable => Self::Unreachable,
            RouteType::Prohibit => Self::Prohibit,
            RouteType::Throw => Self::Throw,
            _ => Self::Other(number),
        }
    }

    const fn is_nowhere(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw)
    }
}
