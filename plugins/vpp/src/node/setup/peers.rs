//! Routes to other nodes, spelt out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam_core::config::ConfigError;
use ipam_core::config::json::shown;
use vpp_api::Prefix;

use super::{Filler, NodeSetup, covers, network, same_family, usable};
use crate::node::spec::PeersSpec;

/// What the rules for peers come to.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Subnets of the other nodes, and the way there.
    pub(super) routes: Vec<(Prefix, IpAddr)>,
    /// What the rules say of the node itself.
    pub(super) own: Vec<Prefix>,
    pub(super) warnings: Vec<String>,
}

/// A subnet and whose it is: the rule and the node.
struct Claim<'s> {
    subnet: Prefix,
    rule: &'s PeersSpec,
    node: u32,
}

impl Peers {
    pub(super) fn of(
        rules: &[PeersSpec],
        filler: &Filler<'_>,
        setup: &NodeSetup,
    ) -> Result<Self, ConfigError> {
        let mut peers = Self::default();
        let mut claims = Vec::new();
        for rule in rules {
            let Some(own) = filler.node else {
                return Err(rule.subnet.wrong("this node's index is not known", "a known index"));
            };
            let own_subnet = subnet(rule, own.index)?;
            claims.push(Claim { subnet: own_subnet, rule, node: own.index });
            peers.own.push(own_subnet);
            let mut hops: BTreeMap<IpAddr, u32> = BTreeMap::new();
            let mut listed = false;
            for node in rule.nodes.iter() {
                listed |= node == own.index;
                let via = via(rule, node, setup)?;
                if let Some(other) = hops.insert(via, node) {
                    return Err(rule.via.wrong(
                        format!("{via} is the address of both node {other} and node {node}"),
                        "an address for each node: with more than 256, {peer/256} and {peer%256}",
                    ));
                }
                if node == own.index {
                    continue;
                }
                setup.must_not_be_own(via, &rule.via)?;
                let subnet = subnet(rule, node)?;
                same_family(subnet, via, &rule.via)?;
                claims.push(Claim { subnet, rule, node });
                peers.routes.push((subnet, via));
            }
            if !listed {
                peers.warnings.push(format!(
                    "{}.nodes: this node, {}, is not among them: others with the same rule do not \
                     reach its pods",
                    rule.path, own.index
                ));
            }
        }
        apart(claims)?;
        Ok(peers)
    }
}

fn subnet(rule: &PeersSpec, node: u32) -> Result<Prefix, ConfigError> {
    let written = &rule.subnet;
    let text = written.template.render(node, "");
    let subnet = network(&text, written).map_err(|error| of_node(error, &written.path, node))?;
    if subnet.is_empty() {
        let what = format!("{subnet} is the default route, and no subnet of a node");
        return Err(written.wrong(what, "a node's pod subnet, such as 10.1.{peer}.0/24"));
    }
    Ok(subnet)
}

fn via(rule: &PeersSpec, node: u32, setup: &NodeSetup) -> Result<IpAddr, ConfigError> {
    let written = &rule.via;
    let text = written.template.render(node, "");
    let address = text.parse().map_err(|_| {
        let what = format!("{:?} is no address (node {node})", shown(&text));
        written.wrong(what, "an address without a prefix length, such as 192.168.16.{peer}")
    })?;
    usable(address, written).map_err(|error| of_node(error, &written.path, node))?;
    setup
        .must_be_reachable(address, written)
        .map_err(|error| of_node(error, &written.path, node))?;
    Ok(address)
}

/// The same error with the node that it is about.
fn of_node(error: ConfigError, path: &str, node: u32) -> ConfigError {
    let what = error.message.strip_prefix(path).unwrap_or(&error.message);
    ConfigError { message: format!("{path} (node {node}){what}"), ..error }
}

/// Refuses subnets of different nodes, or by different rules, that have an address in common.
fn apart(mut claims: Vec<Claim<'_>>) -> Result<(), ConfigError> {
    // Whoever contains another comes before it, and nothing else between the two but what it contains, too.
    claims.sort_by_key(|claim| (claim.subnet.address(), claim.subnet.len(), claim.node));
    let mut before: Option<&Claim<'_>> = None;
    for claim in &claims {
        if let Some(other) = before.filter(|other| covers(other.subnet, claim.subnet)) {
            let (a, b) = (other.subnet, claim.subnet);
            let what = if a == b {
                format!("{a} is the subnet of both node {} and node {}", other.node, claim.node)
            } else {
                format!("{a} of node {} contains {b} of node {}", other.node, claim.node)
            };
            return Err(claim.rule.subnet.wrong(
                what,
                "a subnet for each node: with more than 256, {peer/256} and {peer%256}",
            ));
        }
        before = Some(claim);
    }
    Ok(())
}
