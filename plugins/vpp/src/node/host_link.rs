/*!
The host's side of the host link: a veth pair, or the device of a tap, its addresses, and routes to pods.

A pair is ours by its alias, which it gets as it is made. What has one of its names and another alias is
somebody else's, and refused. Routes have a protocol number of their own, as those of other daemons do.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kernel::{IpNet, Link, LinkChange, Netlink, Route, RouteChange, RouteFilter, VethEnd};
use vpp_api::{Mac, Prefix};

use super::error::NodeError;
use super::plan::Conflict;
use super::setup::{HostLink, is_veth};
use crate::names::hash64;

/// Who has made the host's routes to pods, in the kernel's words (`rtm_protocol`): a number that nobody
/// else is known to use.
pub const PROTOCOL: u8 = 112;

/// What the ends of a host link are called, and their Ethernet addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The host's.
    pub(super) host: String,
    /// VPP's end of a veth pair, as the host calls it.
    pub(super) vpp: Option<String>,
    pub(super) alias: String,
    pub(super) host_mac: Mac,
    /// What VPP takes for its own.
    pub(super) vpp_mac: Mac,
    /// What the kernel takes for VPP's end's. Another one than VPP's: the kernel ignores what is for VPP then.
    pair_mac: Mac,
    pub(super) mtu: u32,
}

impl Ends {
    pub(super) fn of(link: &HostLink, table: u32, mtu: Option<u32>) -> Self {
        let mac = |end: &str| {
            let [a, b, c, d, ..] = hash64(&["host", end, &table.to_string()]).to_be_bytes();
            Mac([0x02, 0xfe, a, b, c, d])
        };
        let vpp = || link.vpp_name.clone().unwrap_or_else(|| format!("vpp-v{table:x}"));
        Self {
            host: link.name.clone().unwrap_or_else(|| format!("vpp-h{table:x}")),
            vpp: is_veth(link).then(vpp),
            alias: tag(table),
            host_mac: mac("host"),
            vpp_mac: mac("vpp"),
            pair_mac: mac("pair"),
            mtu: link.mtu.or(mtu).unwrap_or(1500),
        }
    }
}

/// The mark of VPP's end, and of the host's: `plat/host/<table>`.
pub(super) fn tag(table: u32) -> String {
    format!("plat/host/{table}")
}

/// What the host has.
#[derive(Clone, Debug, Default)]
pub(super) struct HostSide {
    host: Option<Link>,
    vpp: Option<Link>,
    addresses: BTreeSet<IpNet>,
    routes: BTreeMap<IpNet, Route>,
    /// Whether what the host sends lacks checksums, which VPP would not complete.
    unfinished: bool,
}

/// Something to be done on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostStep {
    CreateVeth,
    /// The mark of a tap's device, which VPP has made.
    Mark,
    SetUp(String),
    SetMtu(String, u32),
    SetMac(String, Mac),
    FinishChecksums,
    SetAddress(IpNet),
    SetRoute(Box<Route>),
    DeleteRoute(Box<Route>),
}

impl HostSide {
    /// Looks, in the namespace of the netlink socket, which is the calling thread's.
    pub(super) fn look(netlink: &mut Netlink, ends: &Ends) -> Result<Self, kernel::Error> {
        let mut side = Self { host: netlink.link(&ends.host)?, ..Self::default() };
        if let Some(vpp) = &ends.vpp {
            side.vpp = netlink.link(vpp)?;
        }
        let Some(host) = &side.host else { return Ok(side) };
        let (index, veth) = (host.index, ends.vpp.is_some());
        for address in netlink.addresses(Some(index))? {
            side.addresses.insert(address.address);
        }
        let filter =
            RouteFilter { protocol: Some(PROTOCOL), device: Some(index), ..RouteFilter::default() };
        for route in netlink.routes(&filter)? {
            side.routes.insert(route.destination, route);
        }
        side.unfinished = veth && kernel::ethtool::tx_checksum(&ends.host)?;
        Ok(side)
    }

    /// Whether devices are there that VPP can have its end on.
    pub(super) const fn is_whole(&self, ends: &Ends) -> bool {
        self.host.is_some() && (ends.vpp.is_none() || self.vpp.is_some())
    }

    /// What has to be done on the host. What is done before VPP makes its end is told apart from what is done
    /// behind it: a tap's device comes with it.
    pub(super) fn plan(&self, link: &HostLink, ends: &Ends) -> Result<Vec<HostStep>, Conflict> {
        let mut steps = Vec::new();
        for end in [&self.host, &self.vpp].into_iter().flatten() {
            // VPP marks nothing: what looks like a tap with the link's Ethernet address is ours.
            let fresh_tap = ends.vpp.is_none()
                && end.alias.is_none()
                && end.mac.map(|mac| mac.0) == Some(ends.host_mac.0);
            if end.alias.as_deref() != Some(ends.alias.as_str()) && !fresh_tap {
                return Err(Conflict {
                    what: format!("device {} of the host is not the host link's", end.name),
                    advice: "give the host link other names by hostLink.name and hostLink.vppName, or \
                             delete the device",
                });
            }
        }
        if let (Some(vpp), false) = (&ends.vpp, self.is_whole(ends)) {
            steps.push(HostStep::CreateVeth);
            steps.push(HostStep::SetUp(vpp.clone()));
        }
        let names = [(Some(&ends.host), &self.host), (ends.vpp.as_ref(), &self.vpp)];
        for (name, end) in names {
            let (Some(name), Some(end)) = (name, end) else { continue };
            if !self.is_whole(ends) {
                continue;
            }
            if ends.vpp.is_none() && end.alias.is_none() {
                steps.push(HostStep::Mark);
            }
            if end.mtu != ends.mtu {
                steps.push(HostStep::SetMtu(name.clone(), ends.mtu));
            }
            if *name == ends.host && end.mac.map(|mac| mac.0) != Some(ends.host_mac.0) {
                steps.push(HostStep::SetMac(name.clone(), ends.host_mac));
            }
        }
        if ends.vpp.is_some() && (self.unfinished || !self.is_whole(ends)) {
            steps.push(HostStep::FinishChecksums);
        }
        for address in link.host.iter().filter_map(|address| net(*address)) {
            if !self.addresses.contains(&address) {
                steps.push(HostStep::SetAddress(address));
            }
        }
        for (name, end) in names {
            if let (Some(name), Some(Link { up: false, .. })) = (name, end) {
                steps.push(HostStep::SetUp(name.clone()));
            }
        }
        if !self.is_whole(ends) {
            steps.push(HostStep::SetUp(ends.host.clone()));
        }
        self.route(link, &mut steps);
        Ok(steps)
    }

    fn route(&self, link: &HostLink, steps: &mut Vec<HostStep>) {
        let wanted: BTreeMap<IpNet, Route> = link
            .routes
            .iter()
            .filter_map(|prefix| {
                let destination = net(*prefix)?;
                let via = link.vpp_address(prefix.family())?;
                let mut route = Route::to(destination).via(via);
                route.protocol = PROTOCOL;
                // What VPP, and other nodes, have a way back to.
                route.source = link.host_address(prefix.family());
                Some((destination, route))
            })
            .collect();
        for (destination, route) in &wanted {
            let is_there = self.routes.get(destination).is_some_and(|there| {
                there.via == route.via && there.source == route.source && there.further.is_empty()
            });
            if !is_there {
                steps.push(HostStep::SetRoute(Box::new(route.clone())));
            }
        }
        for (destination, route) in &self.routes {
            if !wanted.contains_key(destination) {
                steps.push(HostStep::DeleteRoute(Box::new(route.clone())));
            }
        }
    }
}

/// Does the steps in their order, all changes of routes together.
pub(super) fn apply(
    netlink: &mut Netlink,
    ends: &Ends,
    steps: &[HostStep],
) -> Result<(), NodeError> {
    let mut changes = Vec::new();
    for step in steps {
        match step {
            HostStep::CreateVeth => create_veth(netlink, ends)?,
            HostStep::Mark => {
                let alias = Some(ends.alias.as_str());
                change(netlink, &ends.host, &LinkChange { alias, ..LinkChange::default() })?;
            }
            HostStep::SetUp(name) => {
                change(netlink, name, &LinkChange { up: Some(true), ..LinkChange::default() })?;
            }
            HostStep::SetMtu(name, mtu) => {
                change(netlink, name, &LinkChange { mtu: Some(*mtu), ..LinkChange::default() })?;
            }
            HostStep::SetMac(name, mac) => {
                let mac = Some(kernel::Mac(mac.0));
                change(netlink, name, &LinkChange { mac, ..LinkChange::default() })?;
            }
            HostStep::FinishChecksums => kernel::ethtool::set_tx_checksum(&ends.host, false)?,
            HostStep::SetAddress(address) => {
                if let Some(link) = netlink.link(&ends.host)? {
                    netlink.set_address(link.index, *address)?;
                }
            }
            HostStep::SetRoute(route) => {
                let device = netlink.link(&ends.host)?.map(|link| link.index);
                let mut route = route.as_ref().clone();
                route.device = device;
                changes.push(RouteChange::Set(route));
            }
            HostStep::DeleteRoute(route) => {
                changes.push(RouteChange::Delete(route.as_ref().clone()));
            }
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    for (result, change) in netlink.change_routes(&changes)?.into_iter().zip(&changes) {
        match result {
            Err(error) if matches!(change, RouteChange::Delete(_)) && error.is_not_found() => {}
            result => result?,
        }
    }
    Ok(())
}

/// The pair, marked from the start. One that has lost an end is deleted first.
fn create_veth(netlink: &mut Netlink, ends: &Ends) -> Result<(), NodeError> {
    let Some(vpp) = &ends.vpp else { return Ok(()) };
    for name in [&ends.host, vpp] {
        if let Some(link) = netlink.link(name)? {
            netlink.delete_link(link.index)?;
        }
    }
    let end = |name, mac: Mac| VethEnd {
        name,
        mac: Some(kernel::Mac(mac.0)),
        mtu: Some(ends.mtu),
        alias: Some(&ends.alias),
        ..VethEnd::default()
    };
    netlink.create_veth(&end(&ends.host, ends.host_mac), &end(vpp, ends.pair_mac))?;
    // Nobody but VPP speaks there.
    let silent = LinkChange { no_address_generation: Some(true), ..LinkChange::default() };
    change(netlink, vpp, &silent)
}

fn change(netlink: &mut Netlink, name: &str, change: &LinkChange<'_>) -> Result<(), NodeError> {
    // One that is gone is found missing by whoever looks next.
    if let Some(link) = netlink.link(name)? {
        netlink.change_link(link.index, change)?;
    }
    Ok(())
}

fn net(prefix: Prefix) -> Option<IpNet> {
    IpNet::new(prefix.address(), prefix.len()).ok()
}

/// What is not as it should be where a step is needed.
pub(super) fn describe(step: &HostStep, ends: &Ends) -> Option<String> {
    let host = &ends.host;
    Some(match step {
        HostStep::CreateVeth => format!("the veth pair of the host link, {host}, is missing"),
        HostStep::Mark => format!("{host} has no alias"),
        HostStep::SetUp(name) => format!("device {name} of the host is down"),
        HostStep::SetMtu(name, mtu) => format!("the MTU of device {name} of the host is not {mtu}"),
        HostStep::SetMac(name, mac) => format!("device {name} of the host has not {mac}"),
        HostStep::FinishChecksums => format!("device {host} of the host sends no checksums"),
        HostStep::SetAddress(address) => {
            format!("device {host} of the host has no address {address}")
        }
        HostStep::SetRoute(route) => {
            let via: Option<IpAddr> = route.via;
            let via = via.map_or_else(String::new, |via| format!(" by {via}"));
            format!("the host has no route to {}{via}", route.destination)
        }
        HostStep::DeleteRoute(route) => {
            format!("the host's route to {} is not wanted any more", route.destination)
        }
    })
}
