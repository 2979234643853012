/*!
Which routes there should be: values in, values out.

Sources tell entries: a network, the node that it is on, and that node's address. What cannot be right is
refused, each with its reason, and stops nothing else. Where two entries contradict each other, the source
that is named first in the configuration counts. Within one source nobody can tell who is right: nothing is
set then, and a route that is there already stays until the contradiction is resolved, so that a mistake on
one node does not cut off another.
*/

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// What a source tells of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The network, or one address of it.
    pub prefix: IpNet,
    /// The node that it is on.
    pub node: String,
    /// That node's address for other nodes; none if it is not known.
    pub via: Option<IpAddr>,
    /// Whether it is this node's own.
    pub own: bool,
    /// Whether it is an address that is used outside the node whose network contains it: it may lie within
    /// others' networks, and within this node's own.
    pub borrowed: bool,
    /// The position of the source in the configuration: the first one counts.
    pub source: usize,
    /// Where it comes from, for people: `block of pool default/pods`.
    pub origin: String,
}

/// A network that a link of this node is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The network, without host bits.
    pub network: IpNet,
    /// This node's address in it.
    pub address: IpAddr,
    /// The link's name.
    pub link: String,
}

/// What is known when routes are decided on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What the sources tell.
    pub entries: Vec<Entry>,
    /// The networks that this node is in.
    pub connected: Vec<Connected>,
    /// Whether every source has told all it knows. If not, nothing is removed.
    pub complete: bool,
}

/// A route that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The next hop.
    pub via: IpAddr,
    /// The node that it leads to.
    pub node: String,
    /// Why: where it comes from.
    pub origin: String,
}

/// An entry that makes no route, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The network.
    pub prefix: IpNet,
    /// The node that it is said to be on.
    pub node: String,
    /// Where it comes from.
    pub origin: String,
    /// Why it is refused.
    pub reason: Reason,
}

/// Why an entry makes no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It would be the default route.
    #[error("a default route is never set: it would take all traffic of this node")]
    Default,
    /// It is no network of pods: loopback, multicast, link-local, unspecified.
    #[error("these are no addresses that packets are routed to")]
    NotUnicast,
    /// It overlaps a network of this node's pods.
    #[error("it overlaps {0}, which is this node's own")]
    Own(IpNet),
    /// It overlaps a network of a link.
    #[error(
        "it overlaps {network}, in which this node is with {link}: nodes would lose each other"
    )]
    Connected {
        /// The link's network.
        network: IpNet,
        /// The link.
        link: String,
    },
    /// Another node's network overlaps it.
    #[error(
        "it overlaps {prefix} of node {node} ({origin}){}",
        until(held, "; neither is changed until one is gone")
    )]
    Overlap {
        /// The other network.
        prefix: IpNet,
        /// Its node.
        node: String,
        /// Where that comes from.
        origin: String,
        /// Whether neither of them counts.
        held: bool,
    },
    /// Another entry has the same network with another next hop.
    #[error(
        "node {node} claims it too, by {} ({origin}){}",
        shown(via),
        until(held, "; nothing is changed until one gives it up")
    )]
    Conflict {
        /// The other node.
        node: String,
        /// Its next hop.
        via: Option<IpAddr>,
        /// Where that comes from.
        origin: String,
        /// Whether neither of them counts.
        held: bool,
    },
    /// The node has no address of the family.
    #[error("node {0} has no {1} address that is known")]
    NoNextHop(String, &'static str),
    /// The next hop is of the other family.
    #[error("its next hop {0} is of the other family")]
    Family(IpAddr),
    /// The next hop is no node's address.
    #[error("its next hop {0} is no address of a node")]
    NotANode(IpAddr),
    /// The next hop is this node.
    #[error("its next hop {0} is this node's own address on {1}: do two nodes have the same one?")]
    Myself(IpAddr, String),
    /// The next hop lies behind the route itself.
    #[error("its next hop {0} lies in it: the way there would lead to itself")]
    WithinItself(IpAddr),
}

const fn until<'a>(held: &bool, text: &'a str) -> &'a str {
    if *held { text } else { "" }
}

fn shown(via: &Option<IpAddr>) -> String {
    via.map_or_else(|| "an address that is not known".to_owned(), |via| via.to_string())
}

/// All that should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The routes.
    pub routes: BTreeMap<IpNet, Route>,
    /// Networks about which there is a contradiction, and the next hops that are claimed: such a route stays
    /// as it is.
    pub held: BTreeMap<IpNet, Vec<IpAddr>>,
    /// What makes no route.
    pub refused: Vec<Refused>,
    /// Whether what is not desired may be removed.
    pub complete: bool,
}

/// Decides.
#[must_use]
pub fn desired(facts: &Facts) -> Desired {
    let mut result = Desired { complete: facts.complete, ..Desired::default() };
    let own: Vec<IpNet> =
        facts.entries.iter().filter(|e| e.own).map(|e| e.prefix.trunc()).collect();
    let mut candidates: BTreeMap<IpNet, Vec<&Entry>> = BTreeMap::new();
    for entry in facts.entries.iter().filter(|entry| !entry.own) {
        match fault(entry, &own, &facts.connected) {
            Some(reason) => result.refuse(entry, reason),
            None => candidates.entry(entry.prefix.trunc()).or_default().push(entry),
        }
    }
    let mut chosen: BTreeMap<IpNet, &Entry> = BTreeMap::new();
    for (prefix, entries) in candidates {
        if let Some(entry) = result.choose(prefix, entries) {
            chosen.insert(prefix, entry);
        }
    }
    result.part(&mut chosen);
    for (prefix, entry) in chosen {
        if let Some(via) = entry.via {
            let route = Route { via, node: entry.node.clone(), origin: entry.origin.clone() };
            result.routes.insert(prefix, route);
        }
    }
    result
        .refused
        .sort_by(|a, b| (a.prefix, &a.node, &a.origin).cmp(&(b.prefix, &b.node, &b.origin)));
    result
}

impl Desired {
    fn refuse(&mut self, entry: &Entry, reason: Reason) {
        self.refused.push(Refused {
            prefix: entry.prefix,
            node: entry.node.clone(),
            origin: entry.origin.clone(),
            reason,
        });
    }

    fn hold(&mut self, prefix: IpNet, entry: &Entry) {
        self.held.entry(prefix).or_default().extend(entry.via);
    }

    /// Of several entries for one network the one that counts.
    fn choose<'a>(&mut self, prefix: IpNet, mut entries: Vec<&'a Entry>) -> Option<&'a Entry> {
        entries.sort_by_key(|entry| entry.source);
        let first = *entries.first()?;
        let differ = |entry: &Entry| entry.via != first.via;
        // Within the source that counts, everybody must agree.
        let rival =
            entries.iter().find(|entry| entry.source == first.source && differ(entry)).copied();
        let conflict = |other: &Entry, held| Reason::Conflict {
            node: other.node.clone(),
            via: other.via,
            origin: other.origin.clone(),
            held,
        };
        if let Some(rival) = rival {
            for entry in entries {
                let other = if differ(entry) { first } else { rival };
                self.refuse(entry, conflict(other, true));
                self.hold(prefix, entry);
            }
            return None;
        }
        for entry in entries.into_iter().filter(|entry| differ(entry)) {
            self.refuse(entry, conflict(first, false));
        }
        Some(first)
    }

    /// Takes out what overlaps another node's. Networks overlap only if one contains the other: in their order
    /// those that contain one are on a stack when it comes.
    fn part(&mut self, chosen: &mut BTreeMap<IpNet, &Entry>) {
        let mut around: Vec<(IpNet, &Entry)> = Vec::new();
        let mut out: Vec<(IpNet, &Entry, Reason, bool)> = Vec::new();
        for (prefix, entry) in chosen.iter() {
            while around.last().is_some_and(|(outer, _)| !outer.contains(prefix)) {
                around.pop();
            }
            if entry.borrowed {
                continue;
            }
            for (outer, other) in &around {
                if other.node == entry.node {
                    continue;
                }
                let held = other.source == entry.source;
                let reason = |prefix: &IpNet, of: &Entry| Reason::Overlap {
                    prefix: *prefix,
                    node: of.node.clone(),
                    origin: of.origin.clone(),
                    held,
                };
                if held || other.source > entry.source {
                    out.push((*outer, other, reason(prefix, entry), held));
                }
                if held || other.source < entry.source {
                    out.push((*prefix, entry, reason(outer, other), held));
                }
            }
            around.push((*prefix, entry));
        }
        for (prefix, entry, reason, held) in out {
            if chosen.remove(&prefix).is_some() {
                self.refuse(entry, reason);
            }
            if held && !self.held.contains_key(&prefix) {
                self.hold(prefix, entry);
            }
        }
    }
}

/// What is wrong with an entry by itself.
fn fault(entry: &Entry, own: &[IpNet], connected: &[Connected]) -> Option<Reason> {
    let prefix = entry.prefix.trunc();
    if prefix.prefix_len() == 0 {
        return Some(Reason::Default);
    }
    if !is_routed(prefix) {
        return Some(Reason::NotUnicast);
    }
    // An address of a block of ours may be used elsewhere; all others of the block are here.
    let within = |outer: &IpNet| outer != &prefix && outer.contains(&prefix);
    let overlaps = |net: &IpNet| overlap(*net, prefix) && !(entry.borrowed && within(net));
    if let Some(own) = own.iter().find(|net| overlaps(net)) {
        return Some(Reason::Own(*own));
    }
    let via = match entry.via {
        Some(via) if via.is_ipv4() == prefix.addr().is_ipv4() => via,
        Some(via) => return Some(Reason::Family(via)),
        None => return Some(Reason::NoNextHop(entry.node.clone(), family(prefix))),
    };
    if !is_host(via) {
        return Some(Reason::NotANode(via));
    }
    if let Some(me) = connected.iter().find(|net| net.address == via) {
        return Some(Reason::Myself(via, me.link.clone()));
    }
    if let Some(net) = connected.iter().find(|net| overlaps(&net.network)) {
        return Some(Reason::Connected { network: net.network, link: net.link.clone() });
    }
    prefix.contains(&via).then_some(Reason::WithinItself(via))
}

const fn family(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Whether packets to a network may go from node to node.
fn is_routed(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => {
            let first = net.network();
            !(first.is_unspecified()
                || first.is_loopback()
                || first.is_multicast()
                || first.is_link_local())
                && first.octets() < [240, 0, 0, 0]
        }
        IpNet::V6(net) => {
            let first = net.network();
            !(first.is_unspecified()
                || first.is_loopback()
                || first.is_multicast()
                || first.is_unicast_link_local())
        }
    }
}

/// Whether an address may be a node's.
pub(crate) const fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast())
        }
        // A link-local address says nothing without the link.
        IpAddr::V6(v6) => {
            !(v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests;
