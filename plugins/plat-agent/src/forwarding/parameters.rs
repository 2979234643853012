//! Parameters and links that keep packets from being forwarded: decided here, of what was read.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use kernel::Family;

/// Whether packets are forwarded at all, and how strictly links look at where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `net.ipv4.ip_forward` is 0.
    pub(super) v4_off: bool,
    /// `net.ipv6.conf.all.forwarding` is 0.
    pub(super) v6_off: bool,
    /// `rp_filter` of all links together.
    pub(super) filter_all: u8,
    /// By its name.
    pub(super) links: BTreeMap<String, Link>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) mtu: u32,
    /// Its own `rp_filter`.
    pub(super) filter: u8,
    /// Its `accept_ra`.
    pub(super) accept_ra: u8,
    /// Whether the default route of IPv6 goes over it, and comes from a router's advertisement.
    pub(super) advertised: bool,
}

/// Which links packets of pods go over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The links to this node's pods.
    pub(crate) pods: BTreeSet<String>,
    /// The links to other nodes.
    pub(crate) uplinks: BTreeSet<String>,
    /// The link on which other nodes' packets arrive, where it is known.
    pub(crate) arrival: Option<String>,
    /// Networks of other nodes with the link that packets to them leave by.
    pub(crate) back: Vec<(IpNet, String)>,
}

/// What is wrong with a family's switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// It is on.
    On,
    /// It is off, and may be switched on.
    Off,
    /// It is off, and this node would lose its default route with it.
    Risky(String),
}

impl Parameters {
    /// The name of a family's switch.
    pub(super) const fn name(family: Family) -> &'static str {
        match family {
            Family::V4 => "net.ipv4.ip_forward",
            Family::V6 => "net.ipv6.conf.all.forwarding",
        }
    }

    /// Whether packets of a family are forwarded.
    pub(super) fn switch(&self, family: Family) -> Switch {
        let off = match family {
            Family::V4 => self.v4_off,
            Family::V6 => self.v6_off,
        };
        let loses = |link: &Link| link.advertised && link.accept_ra == 1;
        match self.links.iter().find(|(_, link)| loses(link)) {
            _ if !off => Switch::On,
            Some((name, _)) if family == Family::V6 => Switch::Risky(name.clone()),
            _ => Switch::Off,
        }
    }

    /// Links that take no router's advertisement any more because packets are forwarded, though they are told
    /// to: their default route and addresses, where they came so, are lost in time.
    pub(super) fn deaf<'a>(&'a self, paths: &'a Paths) -> impl Iterator<Item = &'a str> {
        let uplinks = paths.uplinks.iter().chain(&paths.arrival).collect::<BTreeSet<_>>();
        uplinks.into_iter().filter_map(|name| {
            let link = self.links.get(name)?;
            (!self.v6_off && link.accept_ra == 1).then_some(name.as_str())
        })
    }

    /// What is wrong, a sentence each.
    pub(super) fn findings(&self, paths: &Paths) -> Vec<String> {
        let mut findings = Vec::new();
        findings.extend(self.filtered(paths));
        findings.extend(self.too_large(paths));
        findings
    }

    /// Packets that come by another link than the one which leads back, where the strict filter drops them.
    fn filtered(&self, paths: &Paths) -> Option<String> {
        let arrival = paths.arrival.as_deref()?;
        let link = self.links.get(arrival)?;
        let effective = self.filter_all.max(link.filter);
        if effective != 1 {
            return None;
        }
        let other: Vec<&(IpNet, String)> = paths
            .back
            .iter()
            .filter(|(net, back)| net.addr().is_ipv4() && back != arrival)
            .collect();
        let (net, back) = other.first()?;
        let more = match other.len() {
            1 => String::new(),
            count => format!(" and {} more networks", count.saturating_sub(1)),
        };
        let where_set = if link.filter == 1 {
            format!("net.ipv4.conf.{arrival}.rp_filter")
        } else {
            "net.ipv4.conf.all.rp_filter".to_owned()
        };
        Some(format!(
            "{arrival} drops packets that would not go back by it ({where_set} is 1, strict), and those to {net}{more} \
             go by {back}: where they come by {arrival}, right is net.ipv4.conf.{arrival}.rp_filter=2"
        ))
    }

    /// Pods' links with larger packets than the uplink takes.
    fn too_large(&self, paths: &Paths) -> Option<String> {
        let mtu = |name: &String| Some((name.clone(), self.links.get(name)?.mtu));
        let (uplink, most) = paths.uplinks.iter().filter_map(mtu).min_by_key(|(_, mtu)| *mtu)?;
        let (pods, theirs) = paths
            .pods
            .iter()
            .filter(|name| !paths.uplinks.contains(*name))
            .filter_map(mtu)
            .max_by_key(|(_, mtu)| *mtu)?;
        (theirs > most).then(|| {
            format!(
                "the MTU of {pods}, where pods are, is {theirs}, and that of the uplink {uplink} is {most}: larger \
                 packets to other nodes are lost or cost time; right is an MTU of at most {most} for pods (\"mtu\" in \
                 the CNI configuration)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(filter_all: u8, filter: u8) -> Parameters {
        let link = |mtu, filter| Link { mtu, filter, ..Link::default() };
        let links =
            [("eth0", link(1500, filter)), ("eth1", link(1400, 0)), ("cni0", link(1500, 0))];
        let links = links.into_iter().map(|(name, link)| (name.to_owned(), link)).collect();
        Parameters { filter_all, links, ..Parameters::default() }
    }

    fn paths(back: &str, uplinks: &[&str]) -> Paths {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        Paths {
            pods: names(&["cni0"]),
            uplinks: names(uplinks),
            arrival: Some("eth0".to_owned()),
            back: vec![
                ("10.1.2.0/24".parse().unwrap(), back.to_owned()),
                ("fd10:2::/64".parse().unwrap(), "eth9".to_owned()),
            ],
        }
    }

    #[test]
    fn the_strict_filter_counts_where_the_way_back_is_another() {
        for (all, own, back, expected) in [
            (0, 0, "eth1", None),
            (1, 0, "eth0", None),
            (1, 0, "eth1", Some("net.ipv4.conf.all.rp_filter is 1")),
            (0, 1, "eth1", Some("net.ipv4.conf.eth0.rp_filter is 1")),
            (1, 2, "eth1", None),
            (2, 1, "eth1", None),
        ] {
            let findings = parameters(all, own).findings(&paths(back, &["eth0"]));
            match expected {
                None => assert!(findings.is_empty(), "{all} {own} {back}: {findings:?}"),
                Some(text) => {
                    assert!(findings[0].contains(text), "{findings:?}");
                    assert!(
                        findings[0].ends_with("right is net.ipv4.conf.eth0.rp_filter=2"),
                        "{findings:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_smaller_uplink_is_told() {
        let findings = parameters(0, 0).findings(&paths("eth0", &["eth0", "eth1"]));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].starts_with(
                "the MTU of cni0, where pods are, is 1500, and that of the uplink eth1 is 1400"
            ),
            "{findings:?}"
        );
        assert!(parameters(0, 0).findings(&paths("eth0", &["eth0"])).is_empty());
        assert!(parameters(0, 0).findings(&Paths::default()).is_empty());
    }

    #[test]
    fn a_default_route_that_would_be_lost_keeps_forwarding_off() {
        let mut it = parameters(0, 0);
        (it.v4_off, it.v6_off) = (true, true);
        assert_eq!(it.switch(Family::V4), Switch::Off);
        assert_eq!(it.switch(Family::V6), Switch::Off);
        let link = it.links.get_mut("eth0").unwrap();
        (link.advertised, link.accept_ra) = (true, 1);
        assert_eq!(it.switch(Family::V4), Switch::Off);
        assert_eq!(it.switch(Family::V6), Switch::Risky("eth0".to_owned()));
        assert_eq!(it.deaf(&paths("eth0", &["eth0"])).count(), 0);
        it.v6_off = false;
        assert_eq!(it.switch(Family::V6), Switch::On);
        assert_eq!(it.deaf(&paths("eth0", &["eth0"])).collect::<Vec<_>>(), ["eth0"]);
        it.links.get_mut("eth0").unwrap().accept_ra = 2;
        assert_eq!(it.switch(Family::V6), Switch::On);
        it.v6_off = true;
        assert_eq!(it.switch(Family::V6), Switch::Off);
    }
}
