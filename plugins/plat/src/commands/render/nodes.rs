//! What many nodes make of a configuration, and where they meet.

use std::collections::HashMap;

use ipam_core::addr::{Cidr, Interval};
use ipam_core::node::NodeIdentity;
use node_local::{Problem, Supplied};

use crate::netconf::Member;
use crate::overlap;

/// The configuration of one IPAM plugin, ready for any node.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) member: Member,
    /// The section with its template; nothing for host-local.
    pub(super) supplied: Option<Supplied>,
}

/// A node that is asked for: its name, and its identity as far as it is known.
pub(super) type Wanted = (String, Result<NodeIdentity, Problem>);

/// A range of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The position of its set, over all plugins of the configuration.
    pub(super) set: usize,
    pub(super) subnet: Cidr,
    pub(super) interval: Interval,
}

/// What a node makes of a configuration.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) node: String,
    /// Its index, where there is one.
    pub(super) index: Option<u32>,
    pub(super) ranges: Vec<Given>,
    /// Why it gets none: a sentence, and what would be right.
    pub(super) problem: Option<(String, String)>,
}

/// What the node makes of the configurations.
pub(super) fn row((name, identity): Wanted, all: &[Ready]) -> Row {
    let failed = |problem: Problem, index: Option<u32>| Row {
        node: name.clone(),
        index,
        ranges: Vec::new(),
        problem: Some((problem.error.message, problem.error.details)),
    };
    let node = match identity {
        Ok(node) => node,
        Err(problem) => return failed(problem, None),
    };
    let mut ranges = Vec::new();
    let mut before = 0;
    for Ready { member, supplied } in all {
        let sets = match supplied {
            Some(supplied) => node_local::render(&member.net, "", supplied, &node)
                .map(|rendered| rendered.config.sets),
            None => ipam_core::config::Config::parse(&member.net, "", &[])
                .map(|config| config.sets)
                .map_err(Problem::from),
        };
        let sets = match sets {
            Ok(sets) => sets,
            Err(problem) => return failed(problem, Some(node.index)),
        };
        for (i, set) in sets.iter().enumerate() {
            ranges.extend(set.ranges().iter().map(|range| Given {
                set: before + i,
                subnet: range.subnet(),
                interval: range.interval(),
            }));
        }
        before += sets.len();
    }
    Row { node: name, index: Some(node.index), ranges, problem: None }
}

/// Two nodes that would hand out the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    /// The positions of their rows.
    pub(super) rows: (usize, usize),
    /// Their ranges.
    pub(super) intervals: (Interval, Interval),
}

/// Nodes that meet: for each, one that it shares addresses with.
pub(super) fn clashes(rows: &[Row]) -> Vec<Clash> {
    let mut owners = Vec::new();
    let mut items = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        for range in &row.ranges {
            items.push((range.interval, owners.len()));
            owners.push((i, range.interval));
        }
    }
    let owner = |number: usize| owners.get(number).map_or(usize::MAX, |(row, _)| *row);
    let pairs = overlap::find(&items, owner);
    let mut found: Vec<Clash> = pairs
        .into_iter()
        .filter_map(|(a, b)| {
            let ((one, first), (other, second)) = (owners.get(a)?, owners.get(b)?);
            Some(if one <= other {
                Clash { rows: (*one, *other), intervals: (*first, *second) }
            } else {
                Clash { rows: (*other, *one), intervals: (*second, *first) }
            })
        })
        .collect();
    found.sort_by_key(|clash| (clash.rows.1, clash.rows.0, clash.intervals.1));
    found.dedup_by_key(|clash| clash.rows);
    found
}

/// Subnets that several nodes have, and how many.
pub(super) fn shared_subnets(rows: &[Row]) -> Vec<(Cidr, usize)> {
    let mut nodes: HashMap<Cidr, (usize, usize)> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        for range in &row.ranges {
            let (count, last) = nodes.entry(range.subnet).or_insert((0, usize::MAX));
            if *last != i {
                (*count, *last) = (*count + 1, i);
            }
        }
    }
    let mut shared: Vec<(Cidr, usize)> =
        nodes.into_iter().map(|(cidr, (count, _))| (cidr, count)).filter(|(_, n)| *n > 1).collect();
    shared.sort_by_key(|(cidr, _)| (cidr.addr(), cidr.prefix()));
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rows(ipam: &Value, indexes: std::ops::RangeInclusive<u32>) -> Vec<Row> {
        let net = json!({"cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipam": ipam});
        let supplied = (ipam["type"] == "node-local").then(|| Supplied {
            ipam: ipam.clone(),
            file: None,
            warnings: Vec::new(),
        });
        let all = [Ready { member: Member { path: String::new(), net }, supplied }];
        let identity = |index| NodeIdentity {
            index,
            name: format!("node-{index}"),
            source: "a test".to_owned(),
        };
        indexes.map(|i| row((format!("node-{i}"), Ok(identity(i))), &all)).collect()
    }

    #[test]
    fn nodes_that_meet_are_found() {
        for (ipam, indexes, clash, failed) in [
            (
                json!({"type": "node-local", "carve": {"pool": "10.1.0.0/16", "prefix": 24}}),
                0..=300,
                None,
                45,
            ),
            (json!({"type": "node-local", "subnet": "10.{i/256}.{i%256}.0/24"}), 0..=1000, None, 0),
            // Octets the wrong way round: /16 of one node holds /24 of others.
            (json!({"type": "node-local", "subnet": "15.{i%256}.{i/256}.0/24"}), 0..=1000, None, 0),
            (json!({"type": "node-local", "subnet": "15.{i%256}.0.0/16"}), 0..=255, None, 0),
            (
                json!({"type": "node-local", "ranges": [[{"subnet": "10.{i}.0.0/16"}, {"subnet": "10.1{i}.0.0/16"}]]}),
                0..=99,
                Some((0, 10)),
                0,
            ),
            (json!({"type": "node-local", "subnet": "fd00:0:0:{i}::/64"}), 0..=300, None, 0),
            (json!({"type": "node-local", "subnet": "fd00::{i:x}:0/108"}), 1..=2, None, 2),
            (json!({"type": "host-local", "subnet": "10.1.0.0/24"}), 1..=3, Some((0, 1)), 0),
        ] {
            let rows = rows(&ipam, indexes);
            let found = clashes(&rows);
            assert_eq!(found.first().map(|c| c.rows), clash, "{ipam}");
            assert_eq!(rows.iter().filter(|r| r.problem.is_some()).count(), failed, "{ipam}");
        }
    }

    #[test]
    fn one_lan_is_told() {
        let ipam =
            json!({"type": "node-local", "subnet": "10.15.0.0/16", "rangeStart": "10.15.{i}.0"});
        let rows = rows(&ipam, 1..=9);
        assert_eq!(clashes(&rows), []);
        assert_eq!(shared_subnets(&rows), [(Cidr::parse("10.15.0.0/16").unwrap(), 9)]);
    }
}
