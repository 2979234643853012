/*!
The node's part of VPP for one node: placeholders filled in, peers spelt out without the node itself.

What VPP would take without a word and forward nowhere is refused here: a subnet's own address, a next hop
that no uplink reaches, two nodes with one subnet.
*/

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam_core::config::ConfigError;
use ipam_core::config::json::shown;
use ipam_core::node::NodeIdentity;
use vpp_api::{Family, Prefix};

use super::spec::{HostLinkKind, NodeSpec, Selector, UplinkSpec, Written};

mod host_link;
mod peers;

pub use host_link::HostLink;

/// How many routes a configuration may have.
const MOST_ROUTES: usize = 262_144;

/// The node's part of VPP as it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSetup {
    /// The interface to other nodes.
    pub uplink: Option<Uplink>,
    /// Next hops by destination, which has no host bits: routes as written, by gateway, and to peers.
    pub routes: BTreeMap<Prefix, IpAddr>,
    /// The link to the host.
    pub host_link: Option<HostLink>,
    /// What is odd, but not wrong, a sentence each.
    pub warnings: Vec<String>,
}

/// The interface to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// How it is found.
    pub selector: Selector,
    /// Its addresses, with the lengths of their subnets.
    pub addresses: Vec<Prefix>,
    /// Its MTU in bytes; as it is if not given.
    pub mtu: Option<u32>,
}

/// Whose texts are filled in.
struct Filler<'n> {
    node: Option<&'n NodeIdentity>,
}

impl NodeSpec {
    /// What it is on a node. The node is needed where [`NodeSpec::needs_identity`] says so.
    ///
    /// # Errors
    /// What cannot be meant so, or is not possible on this node.
    pub fn render(&self, node: Option<&NodeIdentity>) -> Result<NodeSetup, ConfigError> {
        let filler = Filler { node };
        let mut setup = NodeSetup::default();
        if let Some(uplink) = &self.uplink {
            setup.add_uplink(uplink, &filler)?;
        }
        let peers = peers::Peers::of(&self.peers, &filler, &setup)?;
        setup.warnings.extend(peers.warnings);
        for route in &self.routes {
            let (dst, gw) = (filler.network(&route.dst)?, filler.address(&route.gw)?);
            if let Some(own) = peers.own.iter().find(|own| covers(**own, dst)) {
                return Err(route.dst.wrong(
                    format!("{dst} lies in this node's own {own}"),
                    "a destination on other nodes",
                ));
            }
            setup.add_route(dst, gw, &route.dst, &route.gw)?;
        }
        for (subnet, via) in &peers.routes {
            if setup.routes.insert(*subnet, *via).is_some() {
                let path = &self.routes.first().map_or("routes", |route| route.dst.path.as_str());
                return Err(ConfigError {
                    message: format!("{path}: {subnet} is a peer's subnet, too"),
                    path: (*path).to_owned(),
                    found: subnet.to_string(),
                    expected: "each destination once".to_owned(),
                });
            }
        }
        if setup.routes.len() > MOST_ROUTES {
            return Err(ConfigError {
                message: format!("peers: {} routes are too many", setup.routes.len()),
                path: "peers".to_owned(),
                found: setup.routes.len().to_string(),
                expected: format!("at most {MOST_ROUTES} routes"),
            });
        }
        if let Some(link) = &self.host_link {
            let pods: Vec<Prefix> = peers
                .own
                .iter()
                .chain(peers.routes.iter().map(|(subnet, _)| subnet))
                .copied()
                .collect();
            setup.add_host_link(link, &filler, &pods)?;
        }
        Ok(setup)
    }
}

impl NodeSetup {
    /// Whether there is nothing that VPP is to have.
    pub fn is_empty(&self) -> bool {
        self.uplink.is_none() && self.routes.is_empty() && self.host_link.is_none()
    }

    /// Whether an address is on a subnet of the uplink, or on every link.
    pub(super) fn is_on_uplink(&self, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        self.uplink.as_ref().is_some_and(|uplink| {
            link_local || uplink.addresses.iter().any(|own| own.contains(address))
        })
    }

    fn add_uplink(&mut self, spec: &UplinkSpec, filler: &Filler<'_>) -> Result<(), ConfigError> {
        let addresses = filler.own_addresses(&spec.addresses, true)?;
        let v6 = addresses.iter().any(|address| address.family() == Family::V6);
        if let Some(mtu) = spec.mtu.filter(|mtu| v6 && *mtu < 1280) {
            return Err(ConfigError {
                message: format!("uplink.mtu: IPv6 needs 1280 bytes, and this is {mtu}"),
                path: "uplink.mtu".to_owned(),
                found: mtu.to_string(),
                expected: "at least 1280, or no IPv6 address".to_owned(),
            });
        }
        self.uplink = Some(Uplink { selector: spec.selector.clone(), addresses, mtu: spec.mtu });
        for gateway in &spec.gateways {
            let address = filler.address(gateway)?;
            let default = match address {
                IpAddr::V4(_) => Prefix::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
                IpAddr::V6(_) => Prefix::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            let default =
                default.map_err(|error| gateway.wrong(error.to_string(), "an address"))?;
            self.must_be_reachable(address, gateway)?;
            if self.routes.contains_key(&default) {
                let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
                return Err(gateway.wrong(
                    format!("{address} is the second gateway of {family}"),
                    "at most one of each family",
                ));
            }
            self.add_route(default, address, gateway, gateway)?;
        }
        Ok(())
    }

    fn add_route(
        &mut self,
        dst: Prefix,
        gw: IpAddr,
        dst_at: &Written,
        gw_at: &Written,
    ) -> Result<(), ConfigError> {
        same_family(dst, gw, gw_at)?;
        self.must_not_be_own(gw, gw_at)?;
        if self.routes.insert(dst, gw).is_some() {
            return Err(dst_at.wrong(format!("there is a route to {dst} already"), "each once"));
        }
        Ok(())
    }

    /// A next hop that has to be on the uplink's subnets: everything that is meant for it is lost otherwise.
    fn must_be_reachable(&self, address: IpAddr, at: &Written) -> Result<(), ConfigError> {
        let own: Vec<String> = self
            .uplink
            .iter()
            .flat_map(|uplink| &uplink.addresses)
            .filter(|own| own.family() == Family::of(address))
            .map(ToString::to_string)
            .collect();
        // Whoever gives the uplink its addresses otherwise knows its subnets, too.
        if own.is_empty() || self.is_on_uplink(address) {
            return Ok(());
        }
        Err(at.wrong(
            format!("{address} is on no subnet of the uplink, which has {}", own.join(", ")),
            "an address that the uplink reaches without a router",
        ))
    }

    fn must_not_be_own(&self, address: IpAddr, at: &Written) -> Result<(), ConfigError> {
        let mut own = self.uplink.iter().flat_map(|uplink| &uplink.addresses);
        if own.any(|own| own.address() == address) {
            return Err(
                at.wrong(format!("{address} is this node itself"), "another node's address")
            );
        }
        Ok(())
    }
}

impl Written {
    /// An error about what it became.
    fn wrong(&self, what: impl std::fmt::Display, right: &str) -> ConfigError {
        ConfigError {
            message: format!("{}: {what}", self.path),
            path: self.path.clone(),
            found: shown(&self.text),
            expected: right.to_owned(),
        }
    }
}

impl Filler<'_> {
    fn text(&self, written: &Written) -> Result<String, ConfigError> {
        match self.node {
            Some(node) => Ok(written.template.render(node.index, &node.name)),
            None if !written.template.depends() => Ok(written.template.render(0, "")),
            None => Err(written.wrong("this node's index is not known", "a known index")),
        }
    }

    /// An address that others may have.
    fn address(&self, written: &Written) -> Result<IpAddr, ConfigError> {
        let text = self.text(written)?;
        let address: IpAddr = text.parse().map_err(|_| {
            let what = format!("{:?} is no address", shown(&text));
            written.wrong(what, "an address without a prefix length, such as 192.168.16.254")
        })?;
        usable(address, written)?;
        Ok(address)
    }

    /// A destination.
    fn network(&self, written: &Written) -> Result<Prefix, ConfigError> {
        let text = self.text(written)?;
        network(&text, written)
    }

    /// Addresses with the lengths of their subnets, of an interface.
    fn own_addresses(&self, all: &[Written], host_part: bool) -> Result<Vec<Prefix>, ConfigError> {
        let mut addresses: Vec<Prefix> = Vec::new();
        for written in all {
            let text = self.text(written)?;
            let right = "an address with the length of its subnet, such as 192.168.16.4/24";
            let address = prefix(&text).ok_or_else(|| {
                written.wrong(format!("{:?} is no such address", shown(&text)), right)
            })?;
            usable(address.address(), written)?;
            if host_part {
                host_of(address, written)?;
            }
            let overlaps = |other: &&Prefix| covers(**other, address) || covers(address, **other);
            match addresses.iter().find(overlaps) {
                Some(other)
                    if other.address() == address.address() || other.len() != address.len() =>
                {
                    let what = format!("{address} and {other} overlap");
                    return Err(written.wrong(what, "each subnet once, with one length"));
                }
                _ => addresses.push(address),
            }
        }
        Ok(addresses)
    }
}

/// An address with a length. One without stands for the address alone only where the caller says so.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, len) = text.split_once('/')?;
    let plain = !len.is_empty() && len.len() <= 3 && len.bytes().all(|byte| byte.is_ascii_digit());
    let len: u8 = len.parse().ok().filter(|_| plain)?;
    Prefix::new(address.parse().ok()?, len).ok()
}

/// A prefix without host bits.
fn network(text: &str, written: &Written) -> Result<Prefix, ConfigError> {
    let right = "a network such as 10.1.4.0/24 or fd00:1::/64";
    let Some(network) = prefix(text) else {
        return Err(written.wrong(format!("{:?} is no network", shown(text)), right));
    };
    if network != network.masked() {
        let what = format!("{network} has host bits: its network is {}", network.masked());
        return Err(written.wrong(what, right));
    }
    let address = network.address();
    if address.is_multicast() || address.is_loopback() {
        return Err(written.wrong(format!("{network} is not routed"), right));
    }
    Ok(network)
}

/// Refuses addresses that no node can have.
fn usable(address: IpAddr, written: &Written) -> Result<(), ConfigError> {
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let odd = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    if odd || mapped || broadcast {
        return Err(
            written.wrong(format!("{address} is no address of a node"), "a unicast address")
        );
    }
    Ok(())
}

/// Refuses the address of a subnet itself, and an IPv4 subnet's broadcast address.
fn host_of(address: Prefix, written: &Written) -> Result<(), ConfigError> {
    let most = address.family().bits().saturating_sub(1);
    if address.len() >= most {
        return Ok(());
    }
    let is_last = |v4: std::net::Ipv4Addr| {
        let hosts = u32::MAX.checked_shr(u32::from(address.len())).unwrap_or(0);
        v4.to_bits() & hosts == hosts
    };
    let what = match address.address() {
        it if it == address.masked().address() => "the subnet itself",
        IpAddr::V4(v4) if is_last(v4) => "the subnet's broadcast address",
        _ => return Ok(()),
    };
    Err(written.wrong(format!("{address} is {what}"), "an address of a host within the subnet"))
}

fn same_family(dst: Prefix, gw: IpAddr, at: &Written) -> Result<(), ConfigError> {
    if dst.family() == Family::of(gw) {
        return Ok(());
    }
    Err(at.wrong(
        format!("{gw} is of another address family than {dst}"),
        "IPv4 by IPv4, and IPv6 by IPv6",
    ))
}

/// Whether all of `inner` lies in `outer`.
pub(super) fn covers(outer: Prefix, inner: Prefix) -> bool {
    outer.len() <= inner.len() && outer.contains(inner.address())
}

/// Whether VPP has a host link by veth.
pub(super) const fn is_veth(link: &HostLink) -> bool {
    matches!(link.kind, HostLinkKind::Veth)
}

#[cfg(test)]
mod tests;
