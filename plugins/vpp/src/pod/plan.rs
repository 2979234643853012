/*!
What a pod gets: addresses, next hops, routes. Values only.

VPP routes for its pods, and a pod is alone on its link. So each address is a /32 or /128; the gateway is known by
a link route and a permanent neighbour, VPP's end of the link; and everything else is reached by it. Any
other next hop that a route names is VPP's end of the link, too: VPP decides where packets go.

Routes are those that the IPAM plugin names. A family without any gets a default route, because a pod that reaches
nothing is of no use, unless the pod has one by another interface: who is attached to a second network keeps the
default route of the first. `defaultRoute` says it explicitly. The subnet of an address that no route covers is
reached by the gateway, too, as the prefix length of the IPAM plugin means it.
*/

use std::net::IpAddr;

use cni::{IpConfig, IpamResult};
use ipnet::IpNet;
use kernel::{Family, Mac};

use crate::record::{PodAddress, PodRoute, Record};
use crate::tag::Tag;

/// What a pod gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSide {
    /// The interface.
    pub(crate) ifname: String,
    /// What is written on it.
    pub(crate) alias: String,
    /// Its Ethernet address.
    pub(crate) mac: Mac,
    /// VPP's Ethernet address.
    pub(crate) vpp_mac: Mac,
    /// Its MTU in bytes.
    pub(crate) mtu: u32,
    /// Its addresses, without their subnets.
    pub(crate) addresses: Vec<IpAddr>,
    /// Who VPP is to the pod: gateways first, then other next hops.
    pub(crate) next_hops: Vec<IpAddr>,
    /// Routes beside those to the next hops.
    pub(crate) routes: Vec<PodRoute>,
}

/// Addresses and routes, as an IPAM plugin's answer means them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The addresses with their subnets and gateways.
    pub(crate) addresses: Vec<PodAddress>,
    /// The routes.
    pub(crate) routes: Vec<PodRoute>,
    /// Those of them that the IPAM plugin has not named, for the answer.
    pub(crate) added: Vec<PodRoute>,
    /// What was left out, for people.
    pub(crate) warnings: Vec<String>,
}

/// An answer of an IPAM plugin that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    /// No address at all.
    #[error("the IPAM plugin gave no address")]
    NoAddress,
    /// An address without gateway.
    #[error("the IPAM plugin gave {0} without a gateway")]
    NoGateway(String),
    /// What is no prefix, or of two families.
    #[error("the IPAM plugin gave {0}")]
    Wrong(String),
}

impl PodSide {
    /// That of an attachment.
    pub(crate) fn of(record: &Record, tag: Tag) -> Self {
        Self {
            ifname: record.ifname.clone(),
            alias: tag.to_string(),
            mac: Mac(record.pod_mac.0),
            vpp_mac: Mac(record.vpp_mac.0),
            mtu: record.mtu,
            addresses: record.addresses.iter().map(|address| address.address.addr()).collect(),
            next_hops: record.next_hops(),
            routes: record.routes.clone(),
        }
    }
}

impl LayoutError {
    /// What to do about it.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::NoAddress => {
                "VPP routes to pods by their addresses: the IPAM plugin must give one"
            }
            Self::NoGateway(_) => {
                "a pod reaches everything by a gateway, which VPP is: name one in the IPAM plugin's \
                 configuration"
            }
            Self::Wrong(_) => "the answer of the IPAM plugin is wrong",
        }
    }
}

/// What an IPAM plugin's answer means. `default_route`: the configuration's; `has_default`: whether the pod has a
/// default route by another interface.
pub(crate) fn layout(
    answer: &IpamResult,
    default_route: Option<bool>,
    has_default: impl Fn(Family) -> bool,
) -> Result<Layout, LayoutError> {
    let mut layout = Layout::default();
    for ip in &answer.ips {
        layout.addresses.push(address(ip)?);
    }
    if layout.addresses.is_empty() {
        return Err(LayoutError::NoAddress);
    }
    let addresses = layout.addresses.clone();
    let gateway = |family: Family| {
        let of_family = addresses.iter().find(|address| family.has(address.gateway));
        of_family.map(|address| address.gateway)
    };
    for route in &answer.routes {
        match read_route(route, gateway)? {
            Some(route) => layout.routes.push(route),
            None => layout.warnings.push(format!(
                "the route to {} is left out: the pod has no address of its family",
                route.dst
            )),
        }
    }
    for family in Family::BOTH {
        let Some(gateway) = gateway(family) else { continue };
        let named: Vec<&PodRoute> =
            layout.routes.iter().filter(|route| family.has(route.via)).collect();
        let wants = match default_route {
            Some(wants) => wants && !named.iter().any(|route| is_default(route)),
            None => named.is_empty() && !has_default(family),
        };
        if wants {
            layout.add(everything(family), gateway);
        }
    }
    for PodAddress { address, gateway } in addresses {
        let subnet = address.trunc();
        let is_host = address.prefix_len() == address.max_prefix_len();
        let covers =
            |route: &PodRoute| route.table.is_none() && route.destination.contains(&subnet);
        if !is_host && !layout.routes.iter().any(covers) {
            layout.add(subnet, gateway);
        }
    }
    Ok(layout)
}

impl Layout {
    fn add(&mut self, destination: IpNet, via: IpAddr) {
        let route = PodRoute {
            destination,
            via,
            mtu: None,
            advmss: None,
            metric: 0,
            table: None,
            scope: None,
        };
        self.routes.push(route.clone());
        self.added.push(route);
    }
}

/// 0.0.0.0/0 or ::/0.
pub(crate) fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

fn is_default(route: &PodRoute) -> bool {
    route.destination.prefix_len() == 0 && route.table.is_none()
}

fn address(ip: &IpConfig) -> Result<PodAddress, LayoutError> {
    let text = format!("{}/{}", ip.address, ip.prefix);
    let address = IpNet::new(ip.address, ip.prefix)
        .map_err(|_| LayoutError::Wrong(format!("{text}, which is no address in a subnet")))?;
    let gateway = ip.gateway.ok_or_else(|| LayoutError::NoGateway(text.clone()))?;
    let fits = gateway.is_ipv4() == ip.address.is_ipv4()
        && gateway != ip.address
        && !gateway.is_unspecified()
        && !gateway.is_multicast();
    if !fits {
        return Err(LayoutError::Wrong(format!("{text} with gateway {gateway}, which cannot be")));
    }
    Ok(PodAddress { address, gateway })
}

/// A route; nothing if there is no next hop.
fn read_route(
    route: &cni::Route,
    gateway: impl Fn(Family) -> Option<IpAddr>,
) -> Result<Option<PodRoute>, LayoutError> {
    let wrong = |what: &str| LayoutError::Wrong(format!("a route to {} with {what}", route.dst));
    let destination: IpNet = route.dst.parse().map_err(|_| {
        LayoutError::Wrong(format!("a route to {:?}, which is no prefix", route.dst))
    })?;
    let destination = destination.trunc();
    let family = Family::of(destination.addr());
    let Some(via) = route.gw.or_else(|| gateway(family)) else { return Ok(None) };
    if !family.has(via) || via.is_unspecified() {
        return Err(wrong(&format!("next hop {via}, which cannot be")));
    }
    let number = |value: i64, what: &str| u32::try_from(value).map_err(|_| wrong(what));
    let some = |value: u32| Some(value).filter(|value| *value != 0);
    let scope = route.scope.map(u8::try_from).transpose().map_err(|_| wrong("a wrong scope"))?;
    Ok(Some(PodRoute {
        destination,
        via,
        mtu: some(number(route.mtu, "a wrong MTU")?),
        advmss: some(number(route.advmss, "a wrong segment size")?),
        metric: number(route.priority, "a wrong metric")?,
        table: route.table.map(|table| number(table, "a wrong table")).transpose()?,
        // A route with a next hop is never of the link's or the host's scope.
        scope: scope.filter(|scope| *scope < LINK_SCOPE),
    }))
}

/// `RT_SCOPE_LINK` of `linux/rtnetlink.h`.
const LINK_SCOPE: u8 = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str, prefix: u8, gateway: Option<&str>) -> IpConfig {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        IpConfig { address: address.parse().unwrap(), prefix, gateway }
    }

    fn route(dst: &str, gw: Option<&str>) -> cni::Route {
        cni::Route {
            dst: dst.to_owned(),
            gw: gw.map(|gw| gw.parse().unwrap()),
            mtu: 0,
            advmss: 0,
            priority: 0,
            table: None,
            scope: None,
        }
    }

    fn answer(ips: &[IpConfig], routes: &[cni::Route]) -> IpamResult {
        IpamResult { ips: ips.to_vec(), routes: routes.to_vec(), ..IpamResult::default() }
    }

    fn dual() -> [IpConfig; 2] {
        [ip("10.1.1.5", 24, Some("10.1.1.1")), ip("fd00:1::5", 64, Some("fd00:1::1"))]
    }

    fn texts(routes: &[PodRoute]) -> Vec<String> {
        routes.iter().map(|route| format!("{} via {}", route.destination, route.via)).collect()
    }

    #[test]
    fn routes_follow_from_the_answer() {
        let none = |_| false;
        let v4_taken = |family| family == Family::V4;
        type Has<'a> = &'a dyn Fn(Family) -> bool;
        for (routes, default_route, has, expected, added) in [
            (
                vec![],
                None,
                &none as Has<'_>,
                vec!["0.0.0.0/0 via 10.1.1.1", "::/0 via fd00:1::1"],
                2,
            ),
            (vec![], None, &v4_taken, vec!["::/0 via fd00:1::1", "10.1.1.0/24 via 10.1.1.1"], 2),
            (
                vec![],
                Some(true),
                &v4_taken,
                vec!["0.0.0.0/0 via 10.1.1.1", "::/0 via fd00:1::1"],
                2,
            ),
            (
                vec![],
                Some(false),
                &none,
                vec!["10.1.1.0/24 via 10.1.1.1", "fd00:1::/64 via fd00:1::1"],
                2,
            ),
            (
                vec![route("0.0.0.0/0", None), route("::/0", None)],
                None,
                &v4_taken,
                vec!["0.0.0.0/0 via 10.1.1.1", "::/0 via fd00:1::1"],
                0,
            ),
            (
                vec![route("192.168.5.7/16", Some("10.1.1.254"))],
                None,
                &none,
                vec![
                    "192.168.0.0/16 via 10.1.1.254",
                    "::/0 via fd00:1::1",
                    "10.1.1.0/24 via 10.1.1.1",
                ],
                2,
            ),
            (
                vec![route("10.0.0.0/8", None), route("fd00::/16", None)],
                Some(true),
                &none,
                vec![
                    "10.0.0.0/8 via 10.1.1.1",
                    "fd00::/16 via fd00:1::1",
                    "0.0.0.0/0 via 10.1.1.1",
                    "::/0 via fd00:1::1",
                ],
                2,
            ),
        ] {
            let layout = layout(&answer(&dual(), &routes), default_route, has).unwrap();
            assert_eq!(texts(&layout.routes), expected);
            assert_eq!(layout.added.len(), added, "{expected:?}");
        }
    }

    #[test]
    fn a_route_without_a_next_hop_is_left_out() {
        let v4 = [ip("10.1.1.5", 32, Some("10.1.1.1"))];
        let routes = [route("0.0.0.0/0", None), route("::/0", None)];
        let layout = layout(&answer(&v4, &routes), None, |_| false).unwrap();
        assert_eq!(texts(&layout.routes), ["0.0.0.0/0 via 10.1.1.1"]);
        assert_eq!(layout.warnings.len(), 1);
    }

    #[test]
    fn answers_that_cannot_be_are_refused() {
        let refused = |ips: &[IpConfig], routes: &[cni::Route]| {
            layout(&answer(ips, routes), None, |_| false).unwrap_err().to_string()
        };
        assert_eq!(refused(&[], &[]), "the IPAM plugin gave no address");
        assert_eq!(
            refused(&[ip("10.1.1.5", 24, None)], &[]),
            "the IPAM plugin gave 10.1.1.5/24 without a gateway"
        );
        for (address, prefix, gateway) in [
            ("10.1.1.5", 24, "fd00::1"),
            ("10.1.1.5", 24, "10.1.1.5"),
            ("10.1.1.5", 24, "0.0.0.0"),
            ("10.1.1.5", 33, "10.1.1.1"),
        ] {
            refused(&[ip(address, prefix, Some(gateway))], &[]);
        }
        let mut wide = route("10.0.0.0/8", None);
        wide.mtu = -1;
        for route in [route("x", None), route("10.0.0.0/8", Some("fd00::1")), wide] {
            refused(&dual(), &[route]);
        }
    }

    #[test]
    fn options_of_routes_are_kept() {
        let mut given = route("10.0.0.0/8", None);
        (given.mtu, given.advmss, given.priority) = (1400, 1360, 50);
        (given.table, given.scope) = (Some(100), Some(253));
        let layout = layout(&answer(&dual(), &[given]), Some(false), |_| false).unwrap();
        let route = &layout.routes[0];
        assert_eq!((route.mtu, route.advmss, route.metric), (Some(1400), Some(1360), 50));
        assert_eq!((route.table, route.scope), (Some(100), None));
        // The other table covers nothing.
        assert!(texts(&layout.routes).contains(&"10.1.1.0/24 via 10.1.1.1".to_owned()));
    }
}
