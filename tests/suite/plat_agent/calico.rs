//! Calico's keys in a real etcd, routes in the kernel.

use serde_json::{Value, json};
use support::InEtcd;

use super::cluster::{Cluster, available};

#[test]
fn routes_follow_calicos_blocks() {
    if !available("routes_follow_calicos_blocks") {
        return;
    }
    let cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    let mut put = |key: &str, value: Value| etcd.put(format!("/calico/{key}").into_bytes(), value);
    let confirmed = || json!({"state": "confirmed", "deleted": false});
    let block = |cidr: &str, host: &str, user: &str| {
        json!({
            "cidr": cidr, "affinity": format!("host:{host}"), "deleted": false,
            "allocations": [null, 0], "attributes": [{"handle_id": "h", "secondary": {"node": user}}],
        })
    };
    for index in 2..=3 {
        put(
            &format!("resources/v3/projectcalico.org/nodes/vm-00{index}"),
            json!({"spec": {"bgp": {"ipv4Address": format!("192.168.16.{index}/24"), "ipv6Address": format!("fd16::{index}/64")}}}),
        );
    }
    put("ipam/v2/host/vm-002/ipv4/block/10.244.2.0-26", confirmed());
    put("ipam/v2/host/vm-002/ipv6/block/fd44:0:0:2::-122", confirmed());
    put("ipam/v2/host/vm-001/ipv4/block/10.244.1.0-26", confirmed());
    put("ipam/v2/assignment/ipv4/block/10.244.1.0-26", block("10.244.1.0/26", "vm-001", "vm-001"));

    let mut node = cluster.node(1);
    node.configure(&json!({
        "node": "vm-001",
        "register": false,
        "etcd": cluster.connection(),
        "routes": {"sources": [{"type": "calico"}], "sinks": [{"type": "kernel"}]},
    }));
    let (_, said) = node.agent(&["--dry-run"]);
    assert!(said.contains("Calico's affinity for 10.244.2.0/26"), "{said}");
    node.start();
    // What was there before the start.
    node.waits_for_route("10.244.2.0/26 via 192.168.16.2 dev eth0 proto 205");
    node.waits_for_route("fd44:0:0:2::/122 via fd16::2 dev eth0 proto 205");
    assert!(!node.space.has_route("10.244.1.0/26"), "its own");

    // A block appears, and moves; a claim that is not confirmed is none.
    put(
        "ipam/v2/host/vm-003/ipv4/block/10.244.3.0-26",
        json!({"state": "pending", "deleted": false}),
    );
    put("ipam/v2/host/vm-002/ipv4/block/10.244.4.0-26", confirmed());
    node.waits_for_route("10.244.4.0/26 via 192.168.16.2");
    assert!(!node.space.has_route("10.244.3.0/26"));
    put("ipam/v2/host/vm-003/ipv4/block/10.244.3.0-26", confirmed());
    node.waits_for_route("10.244.3.0/26 via 192.168.16.3");
    put("ipam/v2/assignment/ipv4/block/10.244.4.0-26", block("10.244.4.0/26", "vm-003", "vm-003"));
    put("ipam/v2/host/vm-003/ipv4/block/10.244.4.0-26", confirmed());
    node.waits_for_route("10.244.4.0/26 via 192.168.16.3");

    // An address of a block is used elsewhere: of another's, and of this node's own.
    put("ipam/v2/assignment/ipv4/block/10.244.4.0-26", block("10.244.4.0/26", "vm-003", "vm-002"));
    node.waits_for_route("10.244.4.1 via 192.168.16.2");
    put("ipam/v2/assignment/ipv4/block/10.244.1.0-26", block("10.244.1.0/26", "vm-001", "vm-002"));
    node.waits_for_route("10.244.1.1 via 192.168.16.2");
    put("ipam/v2/assignment/ipv4/block/10.244.1.0-26", block("10.244.1.0/26", "vm-001", "vm-001"));
    node.waits_for_no_route("10.244.1.1");

    // A node gets another address; a block disappears.
    put(
        "resources/v3/projectcalico.org/nodes/vm-002",
        json!({"spec": {"bgp": {"ipv4Address": "192.168.16.22/24"}}}),
    );
    node.waits_for_route("10.244.2.0/26 via 192.168.16.22");
    // Its IPv6 address is not known any more: there is no route, which is told.
    node.waits_for_no_route("fd44:0:0:2::/122");
    put("ipam/v2/host/vm-002/ipv4/block/10.244.2.0-26", json!({"state": "pendingDeletion"}));
    node.waits_for_no_route("10.244.2.0/26");
    node.end();
    assert!(node.space.has_route("10.244.3.0/26"));
}
