/*!
Routes in the kernel.

A route is ours by its protocol number. One for the same destination in the same table with another protocol is
somebody else's, whatever its metric. Routes are added with NLM_F_EXCL, so that one that appears at the
same moment is not replaced; ours are replaced only where nobody else has one.
*/

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use kernel::{Family, Netlink, Route, RouteChange, RouteFilter, RouteKind};

use super::{Change, Sink};
use crate::config::{KernelSink, Onlink};
use crate::desired::Connected;
use crate::diff::{Present, Way};
use crate::forwarding::{Advertised, Forwarded, Forwarding, Paths, Traffic};

/// The scope of addresses that are good outside this host, at most (`RT_SCOPE_LINK`).
const SCOPE_LINK: u8 = 253;
/// The protocol of routes that routers have advertised (`RTPROT_RA`, linux/rtnetlink.h).
const ROUTER_ADVERTISEMENT: u8 = 9;
/// How many changes are sent at a time.
const BATCH: usize = 1024;

/// The routes of one table.
pub(super) struct KernelRoutes {
    spec: KernelSink,
    netlink: Option<Netlink>,
    nets: Vec<(Connected, u32)>,
    links: Vec<(String, u32, bool)>,
    listed: Vec<Route>,
    mtus: Vec<(String, u32)>,
    forwarding: Forwarding,
}

/// The networks of links that are up, with the link's index.
pub(super) fn connected(netlink: &mut Netlink) -> Result<Vec<(Connected, u32)>, kernel::Error> {
    let links = netlink.links()?;
    let mut nets = Vec::new();
    for address in netlink.addresses(None)? {
        let Some(link) = links.iter().find(|link| link.index == address.index) else { continue };
        let ip = address.address.addr();
        let far = address.scope < SCOPE_LINK && !ip.is_loopback();
        if !link.up || !far || address.duplicate {
            continue;
        }
        // The other end of a link with two ends is what is connected.
        let network = address.peer.map_or_else(|| address.address.trunc(), IpNet::from);
        nets.push((Connected { network, address: ip, link: link.name.clone() }, link.index));
    }
    Ok(nets)
}

impl KernelRoutes {
    pub(super) fn new(spec: KernelSink) -> Self {
        Self {
            spec,
            netlink: None,
            nets: Vec::new(),
            links: Vec::new(),
            listed: Vec::new(),
            mtus: Vec::new(),
            forwarding: Forwarding::default(),
        }
    }

    fn netlink(&mut self) -> Result<&mut Netlink, kernel::Error> {
        let netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open()?,
        };
        Ok(self.netlink.insert(netlink))
    }

    fn look(&mut self) -> Result<Vec<Route>, kernel::Error> {
        let table = self.spec.table;
        let netlink = self.netlink()?;
        let nets = connected(netlink)?;
        let all = netlink.links()?;
        let mtus = all.iter().map(|link| (link.name.clone(), link.mtu)).collect();
        let links = all.into_iter().map(|link| (link.name, link.index, link.up)).collect();
        let routes =
            netlink.routes(&RouteFilter { table: Some(table), ..RouteFilter::default() })?;
        (self.nets, self.links, self.mtus) = (nets, links, mtus);
        Ok(routes)
    }

    /// Which links packets of pods go over.
    fn paths(&self, traffic: &Traffic) -> Paths {
        let name = |index: u32| {
            self.links.iter().find(|(_, i, _)| *i == index).map(|(name, ..)| name.clone())
        };
        // Somebody else's route for the destination is the one that counts.
        let mut foreign: BTreeMap<IpNet, &Route> = BTreeMap::new();
        for route in self.listed.iter().filter(|route| route.protocol != self.spec.protocol) {
            let best = foreign.entry(route.destination).or_insert(route);
            if route.metric < best.metric {
                *best = route;
            }
        }
        let mut ways: BTreeMap<IpAddr, Option<u32>> = BTreeMap::new();
        let mut paths = Paths::default();
        for (net, via) in &traffic.routes {
            let way = *ways
                .entry(*via)
                .or_insert_with(|| way(&self.spec, &self.nets, &self.links, *via).ok()?.device);
            let device = foreign.get(net).map_or(way, |route| route.device);
            if let Some(link) = device.and_then(name) {
                paths.back.push((*net, link));
            }
        }
        paths.uplinks = paths.back.iter().map(|(_, link)| link.clone()).collect();
        for (net, _) in &self.nets {
            if traffic.addresses.contains(&net.address) && net.address.is_ipv4() {
                paths.arrival = Some(net.link.clone());
            }
            let overlaps = |own: &IpNet| own.contains(&net.network) || net.network.contains(own);
            if traffic.own.iter().any(overlaps) {
                paths.pods.insert(net.link.clone());
            }
        }
        paths.arrival = paths.arrival.or_else(|| self.spec.forward.uplink.clone());
        paths
    }

    /// Where the default route of IPv6 comes from.
    fn advertised(&mut self, wanted: bool) -> Result<Advertised, kernel::Error> {
        let mut advertised = Advertised::default();
        if !wanted {
            return Ok(advertised);
        }
        let filter = RouteFilter {
            family: Some(Family::V6),
            table: Some(kernel::MAIN_TABLE),
            ..RouteFilter::default()
        };
        let routes = if self.spec.table == kernel::MAIN_TABLE {
            self.listed.clone()
        } else {
            self.netlink()?.routes(&filter)?
        };
        let default = |route: &&Route| {
            route.destination.prefix_len() == 0 && Family::V6.has(route.destination.addr())
        };
        for route in routes.iter().filter(default) {
            advertised.default_route = true;
            if route.protocol == ROUTER_ADVERTISEMENT {
                let link = self.links.iter().find(|(_, index, _)| Some(*index) == route.device);
                advertised.link = link.map(|(name, ..)| name.clone());
            }
        }
        Ok(advertised)
    }

    fn route(&self, prefix: IpNet, way: Way) -> Route {
        let route = Route::to(prefix)
            .via(way.via)
            .table(self.spec.table)
            .protocol(self.spec.protocol)
            .metric(self.spec.metric);
        Route { device: way.device, onlink: way.onlink, ..route }
    }

    /// As it would be set here, if it is such a one.
    fn way_of(&self, route: &Route) -> Option<Way> {
        let plain = route.kind == RouteKind::Unicast
            && route.further.is_empty()
            && route.key()
                == self
                    .route(route.destination, Way { via: route.via?, device: None, onlink: false })
                    .key();
        plain.then_some(Way { via: route.via?, device: route.device, onlink: route.onlink })
    }

    fn present(&self, route: &Route) -> Present {
        let link = |index: u32| {
            self.links.iter().find(|(_, i, _)| *i == index).map(|(name, ..)| name.as_str())
        };
        let mut shown = match route.kind {
            RouteKind::Unicast => String::new(),
            kind => format!("{kind:?} ").to_lowercase(),
        };
        if let Some(via) = route.via {
            shown.push_str(&format!("via {via} "));
        }
        if let Some(name) = route.device.and_then(link) {
            shown.push_str(&format!("on {name} "));
        }
        if !route.further.is_empty() {
            shown.push_str(&format!("and {} more ways ", route.further.len()));
        }
        shown.push_str(&format!("by {}", protocol(route.protocol)));
        Present {
            prefix: route.destination,
            way: self.way_of(route),
            ours: route.protocol == self.spec.protocol,
            shown,
        }
    }
}

/// Who makes routes of a protocol (`linux/rtnetlink.h`, iproute2's rt_protos).
fn protocol(number: u8) -> String {
    match number {
        2 => "the kernel itself".to_owned(),
        3 => "ip route (protocol boot)".to_owned(),
        4 => "a person (protocol static)".to_owned(),
        16 => "DHCP".to_owned(),
        11 => "zebra".to_owned(),
        12 => "BIRD".to_owned(),
        186 => "BGP".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// The way to a next hop.
fn way(
    spec: &KernelSink,
    nets: &[(Connected, u32)],
    links: &[(String, u32, bool)],
    via: IpAddr,
) -> Result<Way, String> {
    let uplink = || {
        let name = spec.interface.as_deref()?;
        Some(
            links
                .iter()
                .find(|(link, ..)| link == name)
                .map(|(_, index, up)| (*index, *up))
                .ok_or(name),
        )
    };
    let over_uplink = |uplink: Result<(u32, bool), &str>| match uplink {
        Ok((index, true)) => Ok(Way { via, device: Some(index), onlink: true }),
        Ok((_, false)) => {
            Err(format!("the interface {} is down", spec.interface.as_deref().unwrap_or_default()))
        }
        Err(name) => Err(format!("there is no interface {name}")),
    };
    if spec.onlink == Onlink::Always
        && let Some(uplink) = uplink()
    {
        return over_uplink(uplink);
    }
    let near = nets.iter().filter(|(net, _)| net.network.contains(&via));
    if let Some((_, index)) = near.max_by_key(|(net, _)| net.network.prefix_len()) {
        return Ok(Way { via, device: Some(*index), onlink: false });
    }
    match (spec.onlink, uplink()) {
        (Onlink::Auto | Onlink::Always, Some(uplink)) => over_uplink(uplink),
        _ => Err(format!(
            "the next hop {via} is in no network of a link that is up; where all nodes are on one link, name it \
             with \"interface\" in the sink"
        )),
    }
}

impl Sink for KernelRoutes {
    fn name(&self) -> String {
        format!(
            "kernel, table {}",
            if self.spec.table == kernel::MAIN_TABLE {
                "main".to_owned()
            } else {
                self.spec.table.to_string()
            }
        )
    }

    fn list(&mut self) -> Result<Vec<Present>, String> {
        match self.look() {
            Ok(routes) => self.listed = routes,
            Err(error) => {
                self.netlink = None;
                return Err(error.to_string());
            }
        }
        Ok(self.listed.iter().map(|route| self.present(route)).collect())
    }

    fn way(&self, via: IpAddr) -> Result<Way, String> {
        way(&self.spec, &self.nets, &self.links, via)
    }

    fn forward(&mut self, traffic: &Traffic, change: bool) -> Forwarded {
        let mut traffic = traffic.clone();
        traffic.own.extend(&self.spec.forward.subnets);
        traffic.own.sort_unstable();
        traffic.own.dedup();
        let paths = self.paths(&traffic);
        let advertised = match self.advertised(traffic.has(Family::V6)) {
            Ok(advertised) => advertised,
            Err(error) => {
                self.netlink = None;
                return Forwarded { notes: vec![error.to_string()], ..Forwarded::default() };
            }
        };
        let mtus = &self.mtus;
        self.forwarding.look(&self.spec.forward, &traffic, &paths, mtus, &advertised, change)
    }

    fn forward_cleanup(&mut self, change: bool) -> Forwarded {
        if self.spec.forward.firewall {
            self.forwarding.cleanup(change)
        } else {
            Forwarded::default()
        }
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Option<String>>, String> {
        // Deleting goes first: what takes its place may be in another metric, or by another link.
        let mut order: Vec<usize> = (0..changes.len()).collect();
        order.sort_by_key(|at| !matches!(changes.get(*at), Some(Change::Delete(..))));
        let gone = || "the list has changed meanwhile".to_owned();
        let mut results: Vec<Option<String>> = vec![None; changes.len()];
        let mut requests = Vec::new();
        for at in order {
            let Some(change) = changes.get(at) else { continue };
            let request = match change {
                Change::Add(prefix, way) => vec![RouteChange::Add(self.route(*prefix, *way))],
                Change::Delete(position, _) => match self.listed.get(*position) {
                    Some(route) => vec![RouteChange::Delete(route.clone())],
                    None => Vec::new(),
                },
                Change::Replace(position, prefix, way) => match self.listed.get(*position) {
                    Some(old)
                        if old.key() == self.route(*prefix, *way).key()
                            && old.kind == RouteKind::Unicast =>
                    {
                        vec![RouteChange::Set(self.route(*prefix, *way))]
                    }
                    // Of another metric: the new one would stand beside the old.
                    Some(old) => {
                        vec![
                            RouteChange::Delete(old.clone()),
                            RouteChange::Add(self.route(*prefix, *way)),
                        ]
                    }
                    None => Vec::new(),
                },
            };
            if request.is_empty()
                && let Some(result) = results.get_mut(at)
            {
                *result = Some(gone());
            }
            requests.extend(request.into_iter().map(|request| (at, request)));
        }
        let netlink = self.netlink().map_err(|error| error.to_string())?;
        for batch in requests.chunks(BATCH) {
            let requests: Vec<RouteChange> =
                batch.iter().map(|(_, request)| request.clone()).collect();
            let answers = match netlink.change_routes(&requests) {
                Ok(answers) => answers,
                Err(error) => {
                    self.netlink = None;
                    return Err(error.to_string());
                }
            };
            for ((at, _), answer) in batch.iter().zip(answers) {
                if let (Err(error), Some(result)) = (answer, results.get_mut(*at)) {
                    *result = Some(error.to_string());
                }
            }
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Forward;

    fn spec(interface: Option<&str>, onlink: Onlink) -> KernelSink {
        let interface = interface.map(str::to_owned);
        KernelSink {
            protocol: 205,
            table: 254,
            metric: 0,
            interface,
            onlink,
            forward: Forward::default(),
        }
    }

    #[test]
    fn the_way_is_over_the_nearest_network() {
        let net = |text: &str, link: &str| {
            let net: IpNet = text.parse().unwrap();
            Connected { network: net.trunc(), address: net.addr(), link: link.to_owned() }
        };
        let nets = [(net("192.168.0.1/16", "a"), 2), (net("192.168.5.1/24", "b"), 3)];
        let links =
            [("a".to_owned(), 2, true), ("b".to_owned(), 3, true), ("c".to_owned(), 4, false)];
        let wayed = |spec: &KernelSink, via: &str| way(spec, &nets, &links, via.parse().unwrap());
        let auto = spec(None, Onlink::Auto);
        assert_eq!(wayed(&auto, "192.168.5.9").unwrap().device, Some(3));
        assert_eq!(wayed(&auto, "192.168.6.9").unwrap().device, Some(2));
        assert!(
            wayed(&auto, "10.0.0.1").unwrap_err().contains("in no network of a link that is up")
        );
        let far = wayed(&spec(Some("a"), Onlink::Auto), "10.0.0.1").unwrap();
        assert!(far.onlink && far.device == Some(2));
        assert!(!wayed(&spec(Some("a"), Onlink::Auto), "192.168.5.9").unwrap().onlink);
        let always = wayed(&spec(Some("a"), Onlink::Always), "192.168.5.9").unwrap();
        assert!(always.onlink && always.device == Some(2));
        assert!(wayed(&spec(Some("a"), Onlink::Never), "10.0.0.1").is_err());
        assert_eq!(
            wayed(&spec(Some("c"), Onlink::Auto), "10.0.0.1").unwrap_err(),
            "the interface c is down"
        );
        assert_eq!(
            wayed(&spec(Some("d"), Onlink::Auto), "10.0.0.1").unwrap_err(),
            "there is no interface d"
        );
    }
}
