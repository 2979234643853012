//! What is in a pod, and what is not as it was answered.

use std::net::IpAddr;

use ipnet::IpNet;
use kernel::{
    Address, Error, Family, Link, MAIN_TABLE, Namespace, Neighbor, Netlink, Route, RouteFilter,
};

use super::plan::PodSide;

/// A pod's namespace, opened.
#[derive(Debug)]
pub(crate) struct Pod {
    /// The namespace.
    pub(crate) namespace: Namespace,
    /// A socket of it.
    pub(crate) netlink: Netlink,
}

impl Pod {
    /// Opens a socket in a namespace.
    ///
    /// # Errors
    /// If it cannot be entered.
    pub(crate) fn enter(namespace: Namespace) -> Result<Self, Error> {
        let netlink = Netlink::open_in(&namespace)?;
        Ok(Self { namespace, netlink })
    }

    /// The families that have a default route by another interface than this one.
    ///
    /// # Errors
    /// If the routes cannot be listed.
    pub(crate) fn default_routes(&mut self, ifname: &str) -> Result<Vec<Family>, Error> {
        let own = self.netlink.link(ifname)?.map(|link| link.index);
        let routes = self.routes()?;
        let is_of = |family: &Family| {
            let is_default = |route: &Route| {
                route.destination.prefix_len() == 0
                    && family.has(route.destination.addr())
                    && (route.device.is_none() || route.device != own)
            };
            routes.iter().any(is_default)
        };
        Ok(Family::BOTH.into_iter().filter(is_of).collect())
    }

    fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let filter = RouteFilter { table: Some(MAIN_TABLE), ..RouteFilter::default() };
        self.netlink.routes(&filter)
    }
}

/// What the kernel has.
struct Found {
    link: Link,
    addresses: Vec<Address>,
    neighbors: Vec<Neighbor>,
    routes: Vec<Route>,
}

/// What in a pod is not as it was answered: one sentence each.
///
/// # Errors
/// If it cannot be looked at.
pub(crate) fn differences(pod: &mut Pod, side: &PodSide) -> Result<Vec<String>, Error> {
    let Some(link) = pod.netlink.link(&side.ifname)? else {
        return Ok(vec![format!("the pod has no interface {}", side.ifname)]);
    };
    let addresses = pod.netlink.addresses(Some(link.index))?;
    let neighbors = pod.netlink.neighbors(link.index)?;
    let filter = RouteFilter { device: Some(link.index), ..RouteFilter::default() };
    let routes = pod.netlink.routes(&filter)?;
    Ok(compare(side, &Found { link, addresses, neighbors, routes }))
}

fn compare(side: &PodSide, found: &Found) -> Vec<String> {
    let Found { link, addresses, neighbors, routes } = found;
    let ifname = &side.ifname;
    let mut differences = Vec::new();
    let mut note = |text: String| differences.push(text);
    if !link.up {
        note(format!("{ifname} is down"));
    }
    // A chained plugin may have given it another Ethernet address, and VPP would not find it.
    if let Some(mac) = link.mac
        && mac != side.mac
    {
        note(format!("{ifname} has Ethernet address {mac}, not {}", side.mac));
    }
    if link.mtu != side.mtu {
        note(format!("{ifname} has MTU {}, not {}", link.mtu, side.mtu));
    }
    for wanted in side.addresses.iter().map(|address| IpNet::from(*address)) {
        if !addresses.iter().any(|address| address.address == wanted) {
            note(format!("{ifname} has no address {wanted}"));
        }
    }
    for next_hop in &side.next_hops {
        let is_vpp = |neighbor: &Neighbor| {
            neighbor.address == *next_hop
                && neighbor.permanent
                && neighbor.mac == Some(side.vpp_mac)
        };
        if !neighbors.iter().any(is_vpp) {
            note(format!("{ifname} has no permanent neighbour {next_hop} ({})", side.vpp_mac));
        }
    }
    let has = |destination: IpNet, via: Option<IpAddr>, table: u32| {
        let is_it = |route: &Route| {
            route.destination == destination && route.via == via && route.table == table
        };
        routes.iter().any(is_it)
    };
    for next_hop in &side.next_hops {
        if !has(IpNet::from(*next_hop), None, MAIN_TABLE) {
            note(format!("{ifname} has no link route to {next_hop}"));
        }
    }
    for route in &side.routes {
        if !has(route.destination, Some(route.via), route.table.unwrap_or(MAIN_TABLE)) {
            note(format!("{ifname} has no route to {} via {}", route.destination, route.via));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use kernel::Mac;

    use super::*;
    use crate::record::PodRoute;

    fn side() -> PodSide {
        PodSide {
            ifname: "eth0".to_owned(),
            alias: "plat/x/y".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            vpp_mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            addresses: vec!["10.1.1.5".parse().unwrap()],
            next_hops: vec!["10.1.1.1".parse().unwrap()],
            routes: vec![PodRoute {
                destination: "0.0.0.0/0".parse().unwrap(),
                via: "10.1.1.1".parse().unwrap(),
                mtu: None,
                advmss: None,
                metric: 0,
                table: None,
                scope: None,
            }],
        }
    }

    /// Everything is told at once. That nothing is told where all is well, and what changes when single things are
    /// taken away, is tested in real namespaces.
    #[test]
    fn an_interface_without_anything_lacks_everything() {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link("lo").unwrap().unwrap();
        let nothing =
            Found { link, addresses: Vec::new(), neighbors: Vec::new(), routes: Vec::new() };
        let found = compare(&side(), &nothing);
        for text in [
            "eth0 has no address 10.1.1.5/32",
            "eth0 has no permanent neighbour 10.1.1.1 (02:00:00:00:00:02)",
            "eth0 has no link route to 10.1.1.1",
            "eth0 has no route to 0.0.0.0/0 via 10.1.1.1",
        ] {
            assert!(found.iter().any(|difference| difference == text), "{found:?}");
        }
    }
}
