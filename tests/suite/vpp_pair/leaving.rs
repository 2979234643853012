//! What is there after the last pod is gone.

use support::{Plugin, VppPair, wait_until};
use vpp_api::{Family, Table, msg};

use super::pair;

/// What VPP has of pods, as text.
pub(super) fn of_pods(pair: &VppPair, on: usize) -> Vec<String> {
    let mut client = pair.nodes[on].vpp.client();
    let mut all = Vec::new();
    for interface in client.interfaces().expect("VPP answers") {
        let (tag, name) = (interface.tag.to_string(), interface.interface_name.to_string());
        if !["", "plat/gateway/0", "plat/host/0"].contains(&tag.as_str()) {
            all.push(format!("{name} {tag}"));
        }
    }
    let sources = client.dump(&msg::FibSourceDump {}).expect("VPP answers");
    for source in sources.iter().filter(|source| source.src.name == "plat-pod") {
        for family in Family::BOTH {
            let request = msg::IpRouteV2Dump { src: source.src.id, table: Table::new(0, family) };
            let routes = client.dump(&request).expect("VPP answers");
            all.extend(routes.iter().map(|route| format!("route {}", route.route.prefix)));
        }
    }
    let index = pair.nodes[on].index;
    let ours = [format!("10.1.{index}."), format!("fd00:1:{index:x}::")];
    for family in Family::BOTH {
        let request = msg::IpNeighborDump { sw_if_index: vpp_api::IfIndex::NONE, af: family };
        for details in client.dump(&request).expect("VPP answers") {
            let address = details.neighbor.ip_address.to_string();
            if ours.iter().any(|subnet| address.starts_with(subnet)) {
                all.push(format!("neighbour {address}"));
            }
        }
    }
    all
}

#[test]
fn nothing_is_left_when_pods_are_gone() {
    let Some(pair) = pair("nothing_is_left_when_pods_are_gone") else { return };
    let pods = ["one", "two"].map(|id| pair.add(0, id));
    let other = pair.add(1, "other");
    assert_eq!(of_pods(&pair, 0).iter().filter(|it| it.starts_with("host-")).count(), 2);
    pods[0].addresses.iter().for_each(|address| pair.ping(&other, *address));
    pair.del(&pods[0]);
    // The one that stays does not notice.
    pair.check(&pods[1]).ok();
    pods[1].addresses.iter().for_each(|address| pair.ping(&other, *address));
    // A pod whose namespace is gone first.
    pair.nodes[0].node.ok(&["ip", "netns", "delete", "two"]);
    let [_, two] = pods;
    let (id, on) = (two.id.clone(), two.on);
    pair.del(&two);
    drop(two);
    pair.call(on, "DEL", &id, &pair.config).ok();
    pair.del(&other);
    for on in [0, 1] {
        assert_eq!(of_pods(&pair, on), [""; 0]);
        let shown = pair.nodes[on].vpp.cli("show ip fib") + &pair.nodes[on].vpp.cli("show ip6 fib");
        assert!(!shown.contains("plat-pod"), "{shown}");
        let node = &pair.nodes[on].node;
        let links = || node.ok(&["ip", "-oneline", "link", "show"]);
        // A namespace that ends takes its links with it when the kernel comes to it.
        let is_pods = |line: &str| line.contains(": vpp") && !line.contains(": vpp-");
        wait_until("no link of a pod is left", || !links().lines().any(is_pods));
        let records = pair.files(on, "/run/plat/vpp");
        let left: Vec<String> = records
            .iter()
            .flat_map(|name| pair.files(on, &format!("/run/plat/vpp/{name}")))
            .filter(|name| name.ends_with(".json") && name.len() == 21)
            .collect();
        assert_eq!(left, [""; 0], "records");
        node.network("pods").of(Plugin::NodeLocal).assert_nothing_reserved();
    }
}
