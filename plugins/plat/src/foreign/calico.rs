/*!
IPAM blocks of Calico, from its custom resources or from its etcd.

A block has `cidr`, `affinity` (`host:NODE`), `allocations` (for each of its addresses null or an index
into `attributes`) and `attributes` (`handle_id`, `secondary`: node, namespace, pod, timestamp). A pod's
handle is `NETWORK.CONTAINER_ID`. An address whose `secondary.node` is not the block's host is borrowed:
it belongs to that node. Unknown fields are ignored, and blocks that are marked as deleted.
*/

use ipam_core::addr::Cidr;
use ipam_core::config::Owner;
use ipam_core::identity::{ContainerId, Holder, Network};
use ipam_stores::survey::Allocation;
use serde_json::Value;

use super::{Gathered, filled, name_of, nth, unknown};
use crate::netconf::{entry, text_of};

/// The network name of Calico's own configuration, for addresses that no pod holds.
const NETWORK: &str = "k8s-pod-network";

/// The part of an etcd key that only blocks have.
const BLOCK: &str = "/block/";

/// The most addresses of a block: Calico's are of 64, at most some thousands.
const LARGEST: usize = 1 << 20;

/// Reads the blocks among the items and tells how many there were.
pub(super) fn read(items: &[Value], node: Option<&str>, gathered: &mut Gathered) -> usize {
    let mut known = 0;
    for item in items {
        if let Some(key) = text_of(item, "key") {
            let bytes = living::encoded::base64(key).unwrap_or_default();
            let key = String::from_utf8_lossy(&bytes);
            if !key.contains("/ipam/") || !key.contains(BLOCK) || key.contains("/ipam/v2/host/") {
                continue;
            }
            known += 1;
            let value = text_of(item, "value").and_then(living::encoded::base64);
            match value.and_then(|value| serde_json::from_slice::<Value>(&value).ok()) {
                Some(value) => block(&key, &value, node, gathered),
                None => gathered.skip(format!("{key:?}: the value is no JSON; skipped")),
            }
        } else if text_of(item, "kind").is_none_or(|kind| kind == "IPAMBlock")
            && let Some(spec) =
                entry(item, "spec").or(Some(item)).filter(|spec| entry(spec, "cidr").is_some())
        {
            known += 1;
            block(name_of(item), spec, node, gathered);
        }
    }
    known
}

fn block(name: &str, block: &Value, node: Option<&str>, gathered: &mut Gathered) {
    if entry(block, "deleted") == Some(&Value::Bool(true)) {
        return;
    }
    let cidr = text_of(block, "cidr").unwrap_or_default();
    let Some(cidr) = Cidr::parse(cidr).filter(|cidr| !cidr.is_mapped()) else {
        return gathered.skip(format!("block {name}: cidr {cidr:?} is no network; skipped"));
    };
    let Some(allocations) = entry(block, "allocations").and_then(Value::as_array) else {
        return gathered.skip(format!("block {name}: no list of allocations; skipped"));
    };
    let host = text_of(block, "affinity").and_then(|affinity| affinity.strip_prefix("host:"));
    let none = Vec::new();
    let attributes = entry(block, "attributes").and_then(Value::as_array).unwrap_or(&none);
    for (ordinal, index) in allocations.iter().take(LARGEST).enumerate() {
        if index.is_null() {
            continue;
        }
        let addr = u128::try_from(ordinal).ok().and_then(|n| nth(cidr, n));
        let Some(addr) = addr else {
            return gathered
                .skip(format!("block {name}: more allocations than addresses; skipped"));
        };
        let attribute =
            index.as_u64().and_then(|i| usize::try_from(i).ok()).and_then(|i| attributes.get(i));
        let Some(attribute) = attribute else {
            if node.is_none() || host == node {
                gathered.skip(format!(
                    "block {name}: {addr} has no attributes; it stays held by nobody known"
                ));
                gathered.add(NETWORK, unknown(addr));
            }
            continue;
        };
        let secondary = entry(attribute, "secondary").unwrap_or(&Value::Null);
        let on = text_of(secondary, "node").or(host);
        if node.is_some() && on != node {
            continue;
        }
        if let Some(on) = on {
            gathered.nodes.insert(addr, on.to_owned());
        }
        let handle = filled(attribute, "handle_id").unwrap_or_default();
        let Some((network, container)) = pod_of(&handle) else {
            let what = filled(secondary, "type").unwrap_or(handle);
            gathered.skip(format!(
                "block {name}: {addr} ({what:?}) is of no pod; it stays held by nobody known"
            ));
            gathered.add(NETWORK, unknown(addr));
            gathered.uses.insert(addr, what);
            continue;
        };
        let allocation = Allocation {
            addr,
            holder: Holder::Container(container),
            set: None,
            owner: Owner {
                namespace: filled(secondary, "namespace"),
                name: filled(secondary, "pod"),
                uid: None,
            },
            since: filled(secondary, "timestamp").and_then(|text| seconds(&text)),
            cni_network: None,
        };
        gathered.add(network.as_str(), allocation);
    }
}

/// The network and the container of a pod's handle.
fn pod_of(handle: &str) -> Option<(Network, ContainerId)> {
    let (network, container) = handle.rsplit_once('.')?;
    Some((Network::new(network).ok()?, ContainerId::new(container).ok()?))
}

/// A time as Go prints it, `2024-03-05 12:34:56.789 +0000 UTC`, in seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let mut parts = text.split(' ');
    let (date, time, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let time = time.split('.').next()?;
    let offset: jiff::Timestamp = format!("{date}T{time}{offset}").parse().ok()?;
    u64::try_from(offset.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, expected) in [
            ("2024-03-05 12:34:56.789 +0000 UTC", Some(1_709_642_096)),
            ("2024-03-05 13:34:56 +0100 CET", Some(1_709_642_096)),
            ("2024-03-05", None),
            ("1960-01-01 00:00:00 +0000 UTC", None),
            ("x y z", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
