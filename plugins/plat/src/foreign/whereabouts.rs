/*!
IPPool and OverlappingRangeIPReservation resources of whereabouts 0.4 to 0.9.

`spec.range` is the network, `spec.allocations` a map from the offset of an address to `{"id": container ID,
"podref": "namespace/name", "ifname"}`; podref and ifname are missing in old ones. The name of a pool is
`[NETWORK-][NODE-]RANGE`, the range with `-` in place of `/` and `:`.

A reservation has `spec.containerid`, `spec.podref` and `spec.ifname`; its name is `[NETWORK-]ADDRESS`, with `-` in
place of `:`. It is written beside the pool and may be there without a record in one.
*/

use ipam_core::addr::{Addr, Cidr};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName};
use ipam_stores::survey::Allocation;
use serde_json::Value;

use super::{Gathered, filled, name_of, nth};
use crate::netconf::{entry, text_of};

/// Reads the pools among the items and tells how many there were.
pub(super) fn read(items: &[Value], node: Option<&str>, gathered: &mut Gathered) -> usize {
    let mut known = 0;
    for item in items {
        let spec = entry(item, "spec");
        if let (Some(spec), Some("OverlappingRangeIPReservation")) = (spec, text_of(item, "kind")) {
            known += 1;
            let name = name_of(item);
            let Some(addr) = reserved(name) else {
                gathered.skip(format!("reservation {name}: no address in its name; skipped"));
                continue;
            };
            let (holder, owner) = (holder(spec), owner(spec));
            gathered.reserved.insert(
                addr,
                Allocation { addr, holder, set: None, owner, since: None, cni_network: None },
            );
            continue;
        }
        let (Some(spec), true) = (spec, text_of(item, "kind").is_none_or(|kind| kind == "IPPool"))
        else {
            continue;
        };
        let Some(range) = text_of(spec, "range") else { continue };
        known += 1;
        let name = name_of(item);
        let Some(cidr) = Cidr::parse(range).filter(|cidr| !cidr.is_mapped()) else {
            gathered.skip(format!("pool {name}: range {range:?} is no network; skipped"));
            continue;
        };
        let network = network_of(name, range, node);
        gathered.network(&network);
        let allocations = match entry(spec, "allocations") {
            None => continue,
            Some(Value::Object(allocations)) => allocations,
            Some(_) => {
                gathered.skip(format!("pool {name}: allocations is no object; skipped"));
                continue;
            }
        };
        for (offset, record) in allocations {
            let addr = offset.parse().ok().and_then(|n: u128| nth(cidr, n));
            let Some(addr) = addr else {
                gathered.skip(format!("pool {name}: {offset:?} is no offset in {range}; skipped"));
                continue;
            };
            let holder = holder(record);
            if holder == Holder::Unknown {
                gathered.skip(format!(
                    "pool {name}: {addr} names no container; it stays held by nobody known"
                ));
            }
            let owner = owner(record);
            let allocation =
                Allocation { addr, holder, set: None, owner, since: None, cni_network: None };
            gathered.add(&network, allocation);
        }
    }
    known
}

/// The address at the end of a reservation's name.
fn reserved(name: &str) -> Option<Addr> {
    let parts: Vec<&str> = name.split('-').collect();
    if let Some(addr) = parts.last().and_then(|last| Addr::parse(last)) {
        return Some(addr);
    }
    // An IPv6 address has at most eight parts; what comes before is the network's name. The longest that is
    // an address is meant.
    let first = parts.len().saturating_sub(8);
    (first..parts.len())
        .filter_map(|from| parts.get(from..))
        .find_map(|parts| Addr::parse(&parts.join(":")))
}

fn holder(record: &Value) -> Holder {
    let id = filled(record, "id")
        .or_else(|| filled(record, "containerid"))
        .and_then(|id| ContainerId::new(id).ok());
    let ifname = filled(record, "ifname").and_then(|name| IfName::new(name).ok());
    match (id, ifname) {
        (Some(container), Some(ifname)) => Holder::Attachment(Attachment { container, ifname }),
        (Some(container), None) => Holder::Container(container),
        (None, _) => Holder::Unknown,
    }
}

fn owner(record: &Value) -> Owner {
    let podref = filled(record, "podref").unwrap_or_default();
    let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match podref.split_once('/') {
        Some((namespace, name)) => {
            Owner { namespace: part(namespace), name: part(name), uid: None }
        }
        None => Owner { name: part(&podref), ..Owner::default() },
    }
}

/// The network's name: that of the pool without its range and node, if anything is left.
fn network_of(pool: &str, range: &str, node: Option<&str>) -> String {
    let range: String =
        range.chars().map(|c| if matches!(c, '/' | ':') { '-' } else { c }).collect();
    let Some(rest) = pool.strip_suffix(range.as_str()) else { return pool.to_owned() };
    let rest = rest.strip_suffix('-').unwrap_or(rest);
    let rest = node
        .and_then(|node| rest.strip_suffix(node))
        .map_or(rest, |rest| rest.strip_suffix('-').unwrap_or(rest));
    if rest.is_empty() { pool.to_owned() } else { rest.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_name_their_address() {
        for (name, addr) in [
            ("10.0.0.7", Some("10.0.0.7")),
            ("lan-10.0.0.7", Some("10.0.0.7")),
            ("fd00--7", Some("fd00::7")),
            ("lan-fd00--7", Some("fd00::7")),
            ("--7", Some("::7")),
            ("lan", None),
            ("", None),
        ] {
            assert_eq!(reserved(name), addr.and_then(Addr::parse), "{name}");
        }
    }

    #[test]
    fn pools_name_their_network() {
        for (pool, range, node, network) in [
            ("10.0.0.0-24", "10.0.0.0/24", None, "10.0.0.0-24"),
            ("lan-10.0.0.0-24", "10.0.0.0/24", None, "lan"),
            ("lan-vm-4-10.0.0.0-24", "10.0.0.0/24", Some("vm-4"), "lan"),
            ("lan-fd00---64", "fd00::/64", None, "lan"),
            ("odd", "10.0.0.0/24", Some("odd"), "odd"),
        ] {
            assert_eq!(network_of(pool, range, node), network, "{pool}");
        }
    }
}
