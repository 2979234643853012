//! The link between VPP and the host, as it is to be.

use std::net::IpAddr;

use ipam_core::config::ConfigError;
use vpp_api::{Family, Prefix};

use super::{Filler, NodeSetup, covers};
use crate::node::spec::{HostLinkKind, HostLinkSpec, Written};

/// How many routes the host may get.
const MOST_ROUTES: usize = 4096;

/// A link between VPP and the host, with routes both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLink {
    /// What it is made of.
    pub kind: HostLinkKind,
    /// Addresses of VPP's end, with the length of their subnets.
    pub vpp: Vec<Prefix>,
    /// Addresses of the host's end, one for each of VPP's, in its subnet.
    pub host: Vec<Prefix>,
    /// What the host reaches through VPP: subnets of pods.
    pub routes: Vec<Prefix>,
    /// Further addresses of the host that VPP reaches through the link.
    pub host_addresses: Vec<IpAddr>,
    /// What the host's end is called, if it was given a name.
    pub name: Option<String>,
    /// What VPP's end of a veth pair is called on the host, if it was given a name.
    pub vpp_name: Option<String>,
    /// MTU in bytes, if it was given.
    pub mtu: Option<u32>,
}

impl HostLink {
    /// VPP's address of a family: the host's next hop.
    pub(in crate::node) fn vpp_address(&self, family: Family) -> Option<IpAddr> {
        address_of(&self.vpp, family)
    }

    /// The host's address of a family: VPP's next hop.
    pub(in crate::node) fn host_address(&self, family: Family) -> Option<IpAddr> {
        address_of(&self.host, family)
    }
}

fn address_of(addresses: &[Prefix], family: Family) -> Option<IpAddr> {
    addresses.iter().find(|address| address.family() == family).map(|address| address.address())
}

impl NodeSetup {
    /// `pods`: the subnets of pods that are known, for a link that names none.
    pub(super) fn add_host_link(
        &mut self,
        spec: &HostLinkSpec,
        filler: &Filler<'_>,
        pods: &[Prefix],
    ) -> Result<(), ConfigError> {
        let vpp = filler.own_addresses(&spec.vpp, true)?;
        let host = filler.own_addresses(&spec.host, true)?;
        pairs(spec, &vpp, &host)?;
        for (address, written) in vpp.iter().zip(&spec.vpp) {
            let mut uplink = self.uplink.iter().flat_map(|uplink| &uplink.addresses);
            if let Some(other) = uplink.find(|it| covers(**it, *address) || covers(*address, **it))
            {
                return Err(written.wrong(
                    format!("{address} overlaps the uplink's {other}"),
                    "a subnet of the link's own",
                ));
            }
        }
        let mut link = HostLink {
            kind: spec.kind,
            vpp,
            host,
            routes: Vec::new(),
            host_addresses: Vec::new(),
            name: spec.name.clone(),
            vpp_name: spec.vpp_name.clone(),
            mtu: spec.mtu,
        };
        match &spec.routes {
            Some(routes) => {
                for written in routes {
                    let network = filler.network(written)?;
                    link.must_have(network.family(), written)?;
                    link.routes.push(network);
                }
            }
            None => link.routes = link.reachable(pods),
        }
        link.routes.sort_unstable();
        link.routes.dedup();
        if link.routes.len() > MOST_ROUTES {
            return Err(ConfigError {
                message: format!("hostLink: the host would get {} routes", link.routes.len()),
                path: "hostLink".to_owned(),
                found: link.routes.len().to_string(),
                expected: format!(
                    "at most {MOST_ROUTES}: the network of all pods in \"routes\", such as 10.1.0.0/16"
                ),
            });
        }
        for written in &spec.host_addresses {
            let address = filler.address(written)?;
            link.must_have(Family::of(address), written)?;
            if link.host.iter().any(|own| own.contains(address)) {
                let what = format!("{address} is on the link itself");
                return Err(written.wrong(what, "an address that the host has elsewhere"));
            }
            link.host_addresses.push(address);
        }
        self.host_link = Some(link);
        Ok(())
    }
}

impl HostLink {
    /// Subnets of pods that are not the link's own, of families that it has.
    fn reachable(&self, pods: &[Prefix]) -> Vec<Prefix> {
        let foreign = |pods: &&Prefix| {
            let own = |own: &Prefix| covers(**pods, *own) || covers(*own, **pods);
            self.vpp_address(pods.family()).is_some() && !self.vpp.iter().any(own)
        };
        pods.iter().filter(foreign).copied().collect()
    }

    fn must_have(&self, family: Family, written: &Written) -> Result<(), ConfigError> {
        if self.vpp_address(family).is_some() {
            return Ok(());
        }
        let name = if family.is_ipv6() { "IPv6" } else { "IPv4" };
        Err(written.wrong(
            format!("the link has no {name} address"),
            "addresses of both families in \"vpp\" and \"host\"",
        ))
    }
}

/// Each end has one address of a family at most, and both are in one subnet.
fn pairs(spec: &HostLinkSpec, vpp: &[Prefix], host: &[Prefix]) -> Result<(), ConfigError> {
    for (list, all) in [(&spec.vpp, vpp), (&spec.host, host)] {
        for (n, address) in all.iter().enumerate() {
            let twice = all.iter().take(n).any(|other| other.family() == address.family());
            if let Some(written) = list.get(n).filter(|_| twice) {
                let what = format!("{address} is the second of its family");
                return Err(written.wrong(what, "one address of each family at most"));
            }
        }
    }
    let ends = [(&spec.vpp, vpp, host, "host"), (&spec.host, host, vpp, "vpp")];
    for (list, all, others, other_key) in ends {
        for (address, written) in all.iter().zip(list) {
            let pair = others.iter().find(|other| other.family() == address.family());
            let fits = pair.is_some_and(|pair| {
                pair.masked() == address.masked() && pair.address() != address.address()
            });
            if !fits {
                let what = match pair {
                    Some(pair) => {
                        format!("{address} and {pair} are no two addresses of one subnet")
                    }
                    None => format!("hostLink.{other_key} has no address to go with {address}"),
                };
                return Err(written.wrong(
                    what,
                    "two addresses of one subnet, such as 172.30.4.1/30 and 172.30.4.2/30",
                ));
            }
        }
    }
    Ok(())
}
