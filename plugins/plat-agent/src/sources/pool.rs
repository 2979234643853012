//! The registry of nodes and the blocks that etcd has for etcd-pool (`ipam_pool::key`).

use std::net::IpAddr;

use ipam_core::addr::Cidr;
use ipam_pool::key::{Key, KeyRange, Keys};
use ipam_pool::record::{BlockRecord, ExceptionRecord, NodeRecord};
use ipnet::IpNet;
use serde::de::DeserializeOwned;

use super::{Me, Reader, Told, Tree, net_of};
use crate::desired::Entry;

/// Reads the keys of address spaces.
#[derive(Debug)]
pub(super) struct Pool {
    keys: Keys,
    spaces: Vec<String>,
}

/// What a key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Node(Node),
    Block { net: IpNet, holder: String, pool: String },
    Exception { net: IpNet, user: String, space: String },
}

/// A registered node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    uuid: String,
    pub(super) name: String,
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    nets: Vec<IpNet>,
}

impl Node {
    /// Its address of a family.
    pub(super) const fn address(&self, v4: bool) -> Option<IpAddr> {
        if v4 { self.v4 } else { self.v6 }
    }
}

impl Pool {
    pub(super) fn new(prefix: &str, spaces: &[String]) -> Self {
        Self { keys: Keys::new(prefix), spaces: spaces.to_vec() }
    }
}

fn json<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| {
        format!(
            "the record {} cannot be read: {error}",
            String::from_utf8_lossy(key).escape_debug()
        )
    })
}

impl Reader for Pool {
    type Item = Item;

    fn ranges(&self) -> Vec<KeyRange> {
        let mut ranges = vec![self.keys.all_nodes()];
        for space in &self.spaces {
            ranges.push(self.keys.all_blocks(space));
            ranges.push(self.keys.all_exceptions(space));
        }
        ranges
    }

    fn read(&self, key: &[u8], value: &[u8]) -> Result<Option<Item>, String> {
        Ok(match self.keys.parse(key) {
            Some(Key::Node { uuid }) => {
                let record: NodeRecord = json(key, value)?;
                let parse = |text: &str| text.parse::<IpAddr>().ok();
                let mut nets = Vec::new();
                for text in &record.nets {
                    let net = text.parse::<IpNet>().map_err(|_| {
                        format!("node {}: {:?} is no network", record.name.escape_debug(), text)
                    })?;
                    nets.push(net.trunc());
                }
                let (v4, v6) = (parse(&record.a4), parse(&record.a6));
                Some(Item::Node(Node { uuid, name: record.name, v4, v6, nets }))
            }
            Some(Key::Block { space, first }) => {
                let record: BlockRecord = json(key, value)?;
                let net = Cidr::new(first, record.len).and_then(net_of).ok_or_else(|| {
                    format!("the block at {first} cannot have the prefix length {}", record.len)
                })?;
                let pool = format!("{space}/{}", record.p);
                record.u.map(|holder| Item::Block { net, holder, pool })
            }
            Some(Key::Exception { space, addr }) => {
                let record: ExceptionRecord = json(key, value)?;
                let net = IpNet::from(IpAddr::from(addr));
                let user = record.u;
                (!user.is_empty()).then_some(Item::Exception { net, user, space })
            }
            _ => None,
        })
    }
}

/// The nodes that are registered.
pub(super) fn nodes(tree: &Tree<Pool>) -> impl Iterator<Item = &Node> {
    tree.items
        .values()
        .filter_map(|item| if let Item::Node(node) = item { Some(node) } else { None })
}

/// The entries.
pub(super) fn tell(tree: &Tree<Pool>, source: usize, me: &Me, told: &mut Told) {
    let by_uuid: std::collections::HashMap<&str, &Node> =
        nodes(tree).map(|node| (node.uuid.as_str(), node)).collect();
    let entry = |net: IpNet, uuid: &str, borrowed: bool, origin: String| {
        let node = by_uuid.get(uuid);
        let own = me
            .uuid
            .as_deref()
            .map_or_else(|| node.is_some_and(|node| node.name == me.name), |mine| mine == uuid);
        let via = node.and_then(|node| node.address(net.addr().is_ipv4()));
        let node =
            node.map_or_else(|| format!("{uuid} (not registered)"), |node| node.name.clone());
        Entry { prefix: net, node, via, own, borrowed, source, origin }
    };
    for item in tree.items.values() {
        match item {
            Item::Node(node) => {
                let origin = || format!("subnet of node {}", node.name);
                told.entries
                    .extend(node.nets.iter().map(|net| entry(*net, &node.uuid, false, origin())));
            }
            Item::Block { net, holder, pool } => {
                told.entries.push(entry(*net, holder, false, format!("block of pool {pool}")));
            }
            Item::Exception { net, user, space } => {
                let origin = format!("address of space {space}, used outside its block's node");
                let entry = entry(*net, user, true, origin);
                // An address that is used here is no network of its own.
                if entry.own {
                    told.here.push(entry.prefix);
                } else {
                    told.entries.push(entry);
                }
            }
        }
    }
}
