//! What listed IPAM plugins can be known to give, from their sections alone.

use ipam_core::addr::{Addr, Cidr, Family};
use ipam_core::config::Config;
use ipam_core::range::RangeSet;
use node_local::{OWN_KEYS, Surroundings};
use serde_json::Value;

use crate::NAME;
use crate::config::{Section, listed, value};

/// How deep chains may stand in each other here; deeper ones are not looked into.
const DEPTH: u8 = 4;

/// The configuration with another ipam section.
pub(crate) fn with_ipam(config: &Value, ipam: &Value) -> Value {
    let mut config = config.clone();
    if let Some(object) = config.as_object_mut() {
        ipam_core::template::remove(object, "ipam");
        object.insert("ipam".to_owned(), ipam.clone());
    }
    config
}

/// Whether an address may be one of a section's; `None` where that is not known.
pub(crate) fn gives(
    config: &Value,
    section: &Section,
    around: &Surroundings,
    addr: Addr,
) -> Option<bool> {
    gives_at(config, section, around, addr, 0)
}

fn gives_at(
    config: &Value,
    section: &Section,
    around: &Surroundings,
    addr: Addr,
    depth: u8,
) -> Option<bool> {
    match section.kind.as_str() {
        "host-local" | "node-local" => {
            let sets = sets(&with_ipam(config, &section.value), &section.kind, around)?;
            Some(sets.iter().any(|set| set.range_of(addr).is_some()))
        }
        "etcd-pool" => in_pool(&section.value, addr),
        NAME if depth < DEPTH => {
            let mut unknown = false;
            for value in listed(&section.value)? {
                match gives_at(config, &Section::recorded(value)?, around, addr, depth + 1) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => unknown = true,
                }
            }
            if unknown { None } else { Some(false) }
        }
        _ => None,
    }
}

/// The ranges of a configuration; `None` if there are none to be had, which its plugin will explain.
fn sets(net: &Value, kind: &str, around: &Surroundings) -> Option<Vec<RangeSet>> {
    if kind == "host-local" {
        return Some(Config::parse(net, "", OWN_KEYS).ok()?.sets);
    }
    let supplied = node_local::supply(net, around).ok()?;
    let node = node_local::find(net, around).ok()?;
    Some(node_local::render(net, "", &supplied, &node).ok()?.config.sets)
}

/// Whether an address may be one of a pool's, as far as the section says.
fn in_pool(section: &Value, addr: Addr) -> Option<bool> {
    let object = section.as_object()?;
    if let Some(Value::Array(families)) = value(object, "families") {
        let own = if addr.family() == Family::V4 { "ipv4" } else { "ipv6" };
        if !families.iter().any(|family| family.as_str() == Some(own)) {
            return Some(false);
        }
    }
    let pool = value(object, "pool")?.as_object()?;
    let written: Vec<&Value> =
        ["cidr", "cidr6"].iter().filter_map(|key| value(pool, key)).collect();
    if written.is_empty() {
        return None;
    }
    let cidrs: Option<Vec<Cidr>> =
        written.into_iter().map(|cidr| cidr.as_str().and_then(Cidr::parse)).collect();
    Some(cidrs?.iter().any(|cidr| cidr.network().contains(addr)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::PathBuf;

    #[test]
    fn what_a_section_gives_is_known_from_its_ranges() {
        let around = Surroundings {
            root: PathBuf::from("/nonexistent"),
            host_name: "vm-004".to_owned(),
            environment: None,
            state_dir: PathBuf::from("/var/lib/plat"),
        };
        let config = json!({"cniVersion": "1.0.0", "name": "n", "type": "bridge"});
        let host_local = json!({"type": "host-local", "subnet": "10.1.4.0/24"});
        let node_local = json!({"type": "node-local", "subnet": "10.1.{i}.0/24"});
        let (inside, outside) = ("10.1.4.9", "10.1.5.9");
        for (section, addr, expected) in [
            (host_local.clone(), inside, Some(true)),
            (host_local.clone(), outside, Some(false)),
            (node_local.clone(), inside, Some(true)),
            (node_local.clone(), outside, Some(false)),
            (json!({"type": "node-local", "cfg": "missing"}), inside, None),
            (json!({"type": "host-local", "subnet": "bad"}), inside, None),
            (json!({"type": "whereabouts"}), inside, None),
            (json!({"type": "etcd-pool", "pool": "pods"}), inside, None),
            (
                json!({"type": "etcd-pool", "pool": "pods", "families": ["ipv6"]}),
                inside,
                Some(false),
            ),
            (
                json!({"type": "etcd-pool", "pool": {"cidr6": "fd00::/48", "cidr": "10.1.4.0/24"}}),
                inside,
                Some(true),
            ),
            (json!({"type": "etcd-pool", "pool": {"cidr": "10.2.0.0/16"}}), inside, Some(false)),
            (json!({"type": "chain", "ipams": [host_local, node_local]}), outside, Some(false)),
            (json!({"type": "chain", "ipams": [host_local, {"type": "x"}]}), outside, None),
            (json!({"type": "chain", "ipams": [host_local, {"type": "x"}]}), inside, Some(true)),
        ] {
            let read = Section::recorded(&section).unwrap();
            let addr = Addr::parse(addr).unwrap();
            assert_eq!(gives(&config, &read, &around, addr), expected, "{section} {addr}");
        }
    }
}
