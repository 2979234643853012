/*!
Calico's blocks and nodes, as libcalico-go keeps them in etcd v3.

```text
/calico/ipam/v2/host/<node>/ipv4/block/10.244.3.64-26        {"state":"confirmed","deleted":false}
/calico/ipam/v2/assignment/ipv4/block/10.244.3.64-26         the block: cidr, affinity, allocations, attributes
/calico/resources/v3/projectcalico.org/nodes/<node>          spec.bgp.ipv4Address, ipv6Address; spec.addresses
```

A block belongs to the node that has a confirmed affinity for it; old data have an affinity without a state,
or say it in the block only. An affinity that is pending, or being given up, is none. An address whose attribute
names another node than the block's is borrowed by that node. Unknown fields are ignored.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_core::addr::{Addr, Cidr};
use ipam_pool::key::KeyRange;
use ipnet::IpNet;
use serde_json::Value;

use super::{Me, Reader, Told, Tree, below, net_of};
use crate::desired::Entry;

/// The most addresses of a block that are looked at: Calico's are of 64, at most some thousands.
const LARGEST: usize = 1 << 16;

/// Reads Calico's keys.
#[derive(Debug)]
pub(super) struct Calico {
    prefix: String,
    borrowed: bool,
}

/// What a key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A node's claim of a block.
    Affinity { node: String, net: IpNet, confirmed: bool },
    /// A block: whose it is by itself, and which of its addresses others use.
    Block { net: IpNet, host: Option<String>, users: Vec<(IpAddr, String)> },
    /// A node's addresses, IPv4 and IPv6.
    Node { name: String, v4: Option<IpAddr>, v6: Option<IpAddr> },
}

impl Calico {
    pub(super) fn new(prefix: &str, borrowed: bool) -> Self {
        Self { prefix: prefix.to_owned(), borrowed }
    }
}

impl Reader for Calico {
    type Item = Item;

    fn ranges(&self) -> Vec<KeyRange> {
        ["ipam/v2/host/", "ipam/v2/assignment/", "resources/v3/projectcalico.org/nodes/"]
            .iter()
            .map(|part| below(format!("{}/{part}", self.prefix)))
            .collect()
    }

    fn read(&self, key: &[u8], value: &[u8]) -> Result<Option<Item>, String> {
        let Ok(text) = std::str::from_utf8(key) else { return Ok(None) };
        let Some(rest) = text.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/'))
        else {
            return Ok(None);
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let wrong = |why: &str| Err(format!("Calico's key {} {why}", text.escape_debug()));
        match parts.as_slice() {
            ["ipam", "v2", "host", node, "ipv4" | "ipv6", "block", block] => {
                let Some(net) = block_name(block) else { return wrong("names no block") };
                // The value of 2016 is empty.
                if value.iter().all(u8::is_ascii_whitespace) {
                    let node = (*node).to_owned();
                    return Ok(Some(Item::Affinity { node, net, confirmed: true }));
                }
                let Ok(value) = serde_json::from_slice::<Value>(value) else {
                    return wrong("is no JSON");
                };
                if is_deleted(&value) {
                    return Ok(None);
                }
                let confirmed = match value.get("state").and_then(Value::as_str) {
                    None | Some("" | "confirmed") => true,
                    Some(_) => false,
                };
                Ok(Some(Item::Affinity { node: (*node).to_owned(), net, confirmed }))
            }
            ["ipam", "v2", "assignment", "ipv4" | "ipv6", "block", block] => {
                let Ok(value) = serde_json::from_slice::<Value>(value) else {
                    return wrong("is no JSON");
                };
                if is_deleted(&value) {
                    return Ok(None);
                }
                let cidr = value.get("cidr").and_then(Value::as_str).and_then(Cidr::parse);
                let Some(net) = cidr.and_then(net_of).or_else(|| block_name(block)) else {
                    return wrong("has no cidr");
                };
                Ok(Some(self.block(net, &value)))
            }
            ["resources", "v3", "projectcalico.org", "nodes", name] => {
                let Ok(value) = serde_json::from_slice::<Value>(value) else {
                    return wrong("is no JSON");
                };
                Ok(Some(node(name, &value)))
            }
            _ => Ok(None),
        }
    }
}

impl Calico {
    fn block(&self, net: IpNet, value: &Value) -> Item {
        let host = value
            .get("affinity")
            .and_then(Value::as_str)
            .and_then(|affinity| affinity.strip_prefix("host:"))
            .or_else(|| value.get("hostAffinity").and_then(Value::as_str))
            .filter(|host| !host.is_empty())
            .map(str::to_owned);
        let mut users = Vec::new();
        let none = Vec::new();
        if self.borrowed {
            let list = |key: &str| value.get(key).and_then(Value::as_array).unwrap_or(&none);
            let (allocations, attributes) = (list("allocations"), list("attributes"));
            let first = Addr::from(net.network());
            for (ordinal, index) in allocations.iter().take(LARGEST).enumerate() {
                let user = index
                    .as_u64()
                    .and_then(|index| attributes.get(usize::try_from(index).ok()?))
                    .and_then(|attribute| attribute.pointer("/secondary/node")?.as_str())
                    .filter(|node| Some(*node) != host.as_deref() && !node.is_empty());
                let address =
                    u128::try_from(ordinal).ok().and_then(|n| first.offset(n)).map(IpAddr::from);
                if let (Some(user), Some(address)) = (user, address)
                    && net.contains(&address)
                {
                    users.push((address, user.to_owned()));
                }
            }
        }
        Item::Block { net, host, users }
    }
}

fn is_deleted(value: &Value) -> bool {
    value.get("deleted") == Some(&Value::Bool(true))
}

/// `10.244.3.64-26`, `fd00-1--40-122` with the colons of IPv6 as they are or as dashes.
fn block_name(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.rsplit_once('-')?;
    let cidr = Cidr::parse(&format!("{address}/{prefix}"))
        .or_else(|| Cidr::parse(&format!("{}/{prefix}", address.replace('-', ":"))))?;
    net_of(cidr)
}

fn node(name: &str, value: &Value) -> Item {
    let plain = |text: &str| -> Option<IpAddr> { text.split('/').next()?.parse().ok() };
    let of = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).and_then(plain);
    let listed: Vec<(IpAddr, bool)> = value
        .pointer("/spec/addresses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|address| {
            let internal = address.get("type").and_then(Value::as_str) == Some("InternalIP");
            Some((plain(address.get("address")?.as_str()?)?, internal))
        })
        .collect();
    let any = |v4: bool| {
        let family = || listed.iter().filter(move |(address, _)| address.is_ipv4() == v4);
        family()
            .find(|(_, internal)| *internal)
            .or_else(|| family().next())
            .map(|(address, _)| *address)
    };
    Item::Node {
        name: name.to_owned(),
        v4: of("/spec/bgp/ipv4Address").filter(IpAddr::is_ipv4).or_else(|| any(true)),
        v6: of("/spec/bgp/ipv6Address").filter(IpAddr::is_ipv6).or_else(|| any(false)),
    }
}

/// The entries; `elsewhere` knows addresses of nodes that count before Calico's.
pub(super) fn tell(
    tree: &Tree<Calico>,
    source: usize,
    me: &Me,
    elsewhere: &dyn Fn(&str, bool) -> Option<IpAddr>,
    told: &mut Told,
) {
    let mut nodes: BTreeMap<&str, [Option<IpAddr>; 2]> = BTreeMap::new();
    let mut claims: BTreeMap<IpNet, Vec<(&str, bool)>> = BTreeMap::new();
    for item in tree.items.values() {
        match item {
            Item::Node { name, v4, v6 } => {
                nodes.insert(name, [*v4, *v6]);
            }
            Item::Affinity { node, net, confirmed } => {
                claims.entry(*net).or_default().push((node, *confirmed));
            }
            Item::Block { .. } => {}
        }
    }
    let entry = |prefix: IpNet, node: &str, borrowed: bool, origin: String| {
        let v4 = prefix.addr().is_ipv4();
        let calico =
            || nodes.get(node).and_then(|[first, second]| if v4 { *first } else { *second });
        let via = elsewhere(node, v4).or_else(calico);
        let own = node == me.name;
        Entry { prefix, node: node.to_owned(), via, own, borrowed, source, origin }
    };
    let mut blocks: BTreeSet<IpNet> = BTreeSet::new();
    for item in tree.items.values() {
        let Item::Block { net, host, users } = item else { continue };
        blocks.insert(*net);
        let claims = claims.get(net).map_or(&[][..], Vec::as_slice);
        let confirmed: Vec<&str> =
            claims.iter().filter(|(_, confirmed)| *confirmed).map(|(node, _)| *node).collect();
        // The block decides between several; where nobody has ever claimed it, it says it alone.
        let holders: Vec<&str> = match host.as_deref() {
            Some(host) if confirmed.contains(&host) || claims.is_empty() => vec![host],
            _ => confirmed,
        };
        for holder in &holders {
            told.entries.push(entry(*net, holder, false, format!("Calico's block {net}")));
        }
        for (address, user) in users.iter().filter(|(_, user)| !holders.contains(&user.as_str())) {
            let entry =
                entry((*address).into(), user, true, format!("borrowed of Calico's block {net}"));
            if entry.own {
                told.here.push(entry.prefix);
            } else {
                told.entries.push(entry);
            }
        }
    }
    // An affinity whose block is not there, or is not read: it is the node's all the same.
    for (net, claims) in claims.iter().filter(|(net, _)| !blocks.contains(*net)) {
        for (node, _) in claims.iter().filter(|(_, confirmed)| *confirmed) {
            told.entries.push(entry(*net, node, false, format!("Calico's affinity for {net}")));
        }
    }
}
