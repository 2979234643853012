//! Nodes that register their own subnets, and routes in the kernel.

use ipam_pool::key::Key;
use serde_json::json;
use support::wait_until;

use super::cluster::{Cluster, Node, available};

fn started(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    node.configure(&node.registered(cluster));
    node.start();
    node
}

#[test]
fn every_pod_reaches_every_other_whatever_happens() {
    if !available("every_pod_reaches_every_other_whatever_happens") {
        return;
    }
    let mut cluster = Cluster::new();
    let mut one = started(&cluster, 1);
    let two = started(&cluster, 2);
    one.reaches(&two);
    two.reaches(&one);

    // A node comes.
    let mut three = started(&cluster, 3);
    for (from, to) in [(&one, &three), (&three, &one), (&two, &three), (&three, &two)] {
        from.reaches(to);
    }

    // node-local is told the index that was registered.
    let index = std::fs::read_to_string(three.scratch.path().join("state/node-index"));
    assert_eq!(index.expect("it is written"), "3\n");

    // A link goes down, and all routes over it with it, and comes up again.
    one.space.ip(&["link", "set", "eth0", "down"]);
    one.waits_for_no_route("10.1.2.0/24");
    one.space.ip(&["link", "set", "eth0", "up"]);
    // The kernel has dropped its IPv6 address, too, as it does.
    one.space.ip(&["-6", "addr", "replace", "fd16::1/64", "dev", "eth0", "nodad"]);
    one.reaches(&two);
    one.reaches(&three);

    // Somebody deletes a route.
    one.space.ip(&["route", "del", "10.1.2.0/24"]);
    one.waits_for_route("10.1.2.0/24 via 192.168.16.2 dev eth0 proto 205");

    // etcd is away: everything stays, over a restart of the agent, too.
    cluster.etcd.kill(0);
    wait_until("the loss is told", || one.log().contains("routes stay as they are"));
    assert!(one.space.has_route("10.1.3.0/24"));
    one.kill();
    one.start();
    wait_until("the new one has looked", || {
        one.log().matches("routes stay as they are").count() > 1
    });
    assert!(one.space.has_route("10.1.2.0/24") && one.space.has_route("10.1.3.0/24"));
    one.reaches(&two);
    cluster.etcd.restart(0);

    // A node goes while an agent is dead: that one finds it out when it is started again.
    one.kill();
    three.end();
    let uuid = uuid_of(&cluster, "vm-003");
    let mut etcd = support::InEtcd::new(&cluster.etcd.connection());
    let key = etcd.keys().node(&uuid);
    etcd.txn(&ipam_pool::txn::Txn {
        then: vec![ipam_pool::txn::Op::delete(key)],
        ..Default::default()
    });
    two.waits_for_no_route("10.1.3.0/24");
    assert!(one.space.has_route("10.1.3.0/24"));
    one.start();
    one.waits_for_no_route("10.1.3.0/24");
    one.waits_for_no_route("fd10:3::/64");
    one.reaches(&two);

    // It ends cleanly, and its routes stay.
    one.end();
    assert!(one.space.has_route("10.1.2.0/24"));
    let live = etcd.some(|key| matches!(key, Key::Live { .. }));
    assert_eq!(live.len(), 1, "only the second one's agent says that it lives");

    // What it has set can be removed, and nothing else.
    one.space.ip(&["route", "add", "10.77.0.0/16", "via", "192.168.16.2", "proto", "static"]);
    let (exit, said) = one.agent(&["--cleanup"]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("0 added, 2 removed, 0 kept"), "{said}");
    assert!(one.space.has_route("10.77.0.0/16") && !one.space.has_route("10.1.2.0/24"));
    assert!(!one.space.has_route("fd10:2::/64"));
}

fn uuid_of(cluster: &Cluster, name: &str) -> String {
    let mut etcd = support::InEtcd::new(&cluster.etcd.connection());
    let names = etcd.some(|key| matches!(key, Key::Name { name: it } if it == name));
    String::from_utf8(names[0].1.value.clone()).expect("a UUID")
}

#[test]
fn a_foreign_route_is_told_and_never_taken_over() {
    if !available("a_foreign_route_is_told_and_never_taken_over") {
        return;
    }
    let cluster = Cluster::new();
    let mut node = cluster.node(1);
    node.configure(&json!({
        "node": "vm-001",
        "index": 1,
        "routes": {
            "sources": [{
                "type": "peers", "nodes": "1-4", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}",
            }],
            "sinks": [{"type": "kernel"}],
            "resync": "1s",
        },
        "listen": "127.0.0.1:9434",
    }));
    let foreign = "10.1.2.0/24 via 192.168.16.77 dev eth0 proto static metric 9";
    node.space.ip(&[
        "route",
        "add",
        "10.1.2.0/24",
        "via",
        "192.168.16.77",
        "proto",
        "static",
        "metric",
        "9",
    ]);
    let (exit, said) = node.agent(&["--dry-run"]);
    assert_eq!(exit, Some(1), "{said}");
    for words in [
        "add 10.1.3.0/24 via 192.168.16.3 3 computed by routes.sources[0]",
        "foreign 10.1.2.0/24 via 192.168.16.77 on eth0 by a person (protocol static) 2 not ours, and not touched",
    ] {
        let plain: Vec<String> = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert!(plain.iter().any(|line| line.contains(words)), "no {words:?} in\n{said}");
    }
    assert!(!node.space.has_route("10.1.3.0/24"), "nothing is changed");

    node.start();
    node.waits_for_route("10.1.3.0/24 via 192.168.16.3 dev eth0 proto 205");
    node.waits_for_route("10.1.4.0/24 via 192.168.16.4 dev eth0 proto 205");
    wait_until("all was looked at again", || {
        node.get(9434, "/metrics")
            .contains("plat_routes_present{sink=\"kernel, table main\",family=\"ipv4\"} 2\n")
    });
    wait_until("it is told", || node.log().contains("has a route of somebody else's"));
    assert!(node.space.has_route(foreign));
    assert!(!node.space.has_route("10.1.2.0/24 via 192.168.16.2"));
    // A second agent is refused, one that only looks is not.
    let (exit, said) = node.agent(&["--once"]);
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("another plat-agent runs on this node"), "{said}");
    assert!(node.agent(&["--dry-run", "--json"]).1.contains("\"action\": \"foreign\""));
    // Metrics and health, in the node's own namespace.
    let get = |path: &str| node.get(9434, path);
    assert!(get("/healthz").starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(get("/readyz").ends_with("\r\n\r\nok\n"));
    let metrics = get("/metrics");
    for line in [
        "plat_routes_desired{sink=\"kernel, table main\",family=\"ipv4\"} 3",
        "plat_routes_foreign{sink=\"kernel, table main\",family=\"ipv4\"} 1",
        "plat_sink_up{sink=\"kernel, table main\"} 1",
        "plat_sources_complete 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line:?} in\n{metrics}");
    }
    assert!(get("/status").contains("\"action\": \"foreign\""));
    // It goes out of the way.
    node.space.ip(&["route", "del", "10.1.2.0/24", "metric", "9"]);
    node.waits_for_route("10.1.2.0/24 via 192.168.16.2 dev eth0 proto 205");
    assert_ne!(node.pid(), 0);
    node.end();
}
