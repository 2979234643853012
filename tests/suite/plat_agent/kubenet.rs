//! kubenet by hand, automated: a subnet of one pool for each node, the bridge plugin, routes by the agent.

use ipam_pool::txn::{Op, Txn};
use serde_json::{Value, json};
use support::{InEtcd, wait_until};

use super::cluster::{Cluster, Node};
use super::explain::explained;
use super::pods::{Pod, all_reach_all, bridge, pods_available};

/// The network, the same on every node: `10.2.N.0/24` on node N of cluster 2.
fn network() -> Value {
    let ipam = json!({
        "type": "node-local",
        "carve": [{"pool": "10.2.0.0/16", "prefix": 24}, {"pool": "fd20::/48", "prefix": 64}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    });
    bridge("kubenet", "cbr0", &ipam)
}

fn started(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    let mut config = node.registered(cluster);
    config["subnets"] = json!(["10.2.{i}.0/24", "fd20:0:0:{i:x}::/64"]);
    node.configure(&config);
    node.start();
    node
}

#[test]
fn every_pod_pings_every_pod() {
    if !pods_available("kubenet::every_pod_pings_every_pod") {
        return;
    }
    let mut cluster = Cluster::new();
    let (mut one, mut two) = (started(&cluster, 1), started(&cluster, 2));
    let first = Pod::on(&one, "pod-1", &network());
    let second = Pod::on(&two, "pod-2", &network());
    assert_eq!(first.addresses, ["10.2.1.2", "fd20:0:0:1::2"]);
    assert_eq!(second.addresses, ["10.2.2.2", "fd20:0:0:2::2"]);
    let neighbour = Pod::on(&one, "pod-4", &network());
    all_reach_all(&[&first, &second, &neighbour]);

    // In the way of the node that comes, somebody has a route; the agent that is dead then finds out later.
    one.space.ip(&["route", "add", "10.2.3.0/24", "via", "192.168.16.77", "proto", "static"]);
    two.kill();
    let mut three = started(&cluster, 3);
    let third = Pod::on(&three, "pod-3", &network());
    assert_eq!(third.addresses, ["10.2.3.2", "fd20:0:0:3::2"]);
    two.start();
    all_reach_all(&[&second, &third]);
    one.waits_for_route("fd20:0:0:3::/64 via fd16::3");
    wait_until("it is told", || one.log().contains("has a route of somebody else's"));
    assert!(one.space.has_route("10.2.3.0/24 via 192.168.16.77 dev eth0 proto static"));
    let told = explained(&one);
    assert!(told.has("foreign", "10.2.3.0/24", "would be via 192.168.16.3"), "{told:?}");
    assert!(told.has("keep", "fd20:0:0:3::/64", "subnet of node vm-003"), "{told:?}");
    one.space.ip(&["route", "del", "10.2.3.0/24", "proto", "static"]);
    let all = [&first, &second, &third, &neighbour];
    all_reach_all(&all);

    // A link goes down with all routes over it and comes up, while etcd is away and back.
    cluster.etcd.kill(0);
    two.space.ip(&["link", "set", "eth0", "down"]);
    two.waits_for_no_route("10.2.1.0/24");
    two.space.ip(&["link", "set", "eth0", "up"]);
    two.space.ip(&["-6", "addr", "replace", "fd16::2/64", "dev", "eth0", "nodad"]);
    all_reach_all(&all);
    cluster.etcd.restart(0);

    // A node goes: its pods, then the node.
    third.del(&three, "eth0", &network());
    three.end();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    let key = etcd.keys().node(&cluster.uuid_of("vm-003"));
    etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() });
    for node in [&one, &two] {
        node.waits_for_no_route("10.2.3.0/24");
        node.waits_for_no_route("fd20:0:0:3::/64");
    }
    all_reach_all(&[&first, &second, &neighbour]);
    one.end();
    two.end();
}
