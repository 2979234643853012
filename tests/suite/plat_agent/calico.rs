//! Calico's keys in a real etcd, routes in the kernel and in VPP.

use std::collections::BTreeSet;

use ipam_pool::txn::{Op, Txn};
use serde_json::{Value, json};
use support::vpp::{Setup, Vpp};
use support::{InEtcd, wait_until};

use super::cluster::{Cluster, Node, available};
use super::explain::explained;
use super::vpp::routes_in;

const CONFIRMED: &str = r#"{"state":"confirmed","deleted":false}"#;

/// The key of a node's claim of a block of IPv4.
fn claim(host: &str, block: &str) -> Vec<u8> {
    format!("/calico/ipam/v2/host/{host}/ipv4/block/{}", block.replace('/', "-")).into_bytes()
}

/// The number-th block of a host, and the routes to it as VPP has them.
fn nth(number: u32) -> (String, String) {
    let block = format!("10.{}.{}.0/26", 128 + number / 256, number % 256);
    let via = format!("192.168.16.{}", 2 + number % 200);
    (format!("far-{number}"), format!("{block} via {via}"))
}

/// A thousand hosts with a block each.
fn hosts(etcd: &mut InEtcd, numbers: std::ops::Range<u32>) {
    let mut all = Vec::new();
    for number in numbers {
        let (host, route) = nth(number);
        let (block, via) = route.split_once(" via ").expect("a route");
        let record = json!({"spec": {"bgp": {"ipv4Address": format!("{via}/24")}}});
        let key = format!("/calico/resources/v3/projectcalico.org/nodes/{host}");
        all.push(Op::put(key.into_bytes(), record.to_string()));
        all.push(Op::put(claim(&host, block), CONFIRMED));
    }
    for batch in all.chunks(100) {
        etcd.txn(&Txn { then: batch.to_vec(), ..Txn::default() });
    }
}

fn expected(numbers: std::ops::Range<u32>) -> BTreeSet<String> {
    numbers.map(|number| nth(number).1).collect()
}

/// The agent's routes in the kernel, as `10.1.2.0/26 via 192.168.16.2`.
fn in_kernel(node: &Node) -> BTreeSet<String> {
    let routes = node.space.routes();
    let ours = routes.iter().filter(|line| line.contains("proto 205"));
    ours.filter_map(|line| Some(line.split_once(" dev ")?.0.to_owned())).collect()
}

#[test]
fn vpp_and_the_kernel_follow_through_every_fault() {
    if !available("calico::vpp_and_the_kernel_follow_through_every_fault") {
        return;
    }
    let mut vpp = Vpp::start(Setup::default());
    let mut cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    hosts(&mut etcd, 0..1000);
    let mut node = cluster.node(1);
    node.configure(&json!({
        "node": "vm-001",
        "register": false,
        "etcd": cluster.connection(),
        "routes": {
            "sources": [{"type": "calico"}],
            "sinks": [{"type": "vpp", "socket": vpp.path()}, {"type": "kernel"}],
            // What happens is noticed by itself.
            "resync": "1h",
        },
    }));
    node.start();
    let mut all = expected(0..1000);
    let both_have = |what: &str, vpp: &Vpp, node: &Node, all: &BTreeSet<String>| {
        wait_until(&format!("VPP has {what}"), || routes_in(vpp) == *all);
        wait_until(&format!("the kernel has {what}"), || in_kernel(node) == *all);
    };
    both_have("all routes", &vpp, &node, &all);

    // A block moves: nothing else is touched, among a thousand.
    let writes = |names: &[String]| names.iter().filter(|it| it.contains("route_add_del")).count();
    vpp.take_journal();
    let (host, route) = nth(7);
    let block = route.split_once(" via ").expect("a route").0.to_owned();
    // In this order: were it looked at in between, two would claim it, and nothing would be touched yet.
    let moved = vec![Op::put(claim("far-8", &block), CONFIRMED), Op::delete(claim(&host, &block))];
    etcd.txn(&Txn { then: moved, ..Txn::default() });
    all.remove(&route);
    all.insert(format!("{block} via 192.168.16.10"));
    both_have("the block that has moved", &vpp, &node, &all);
    assert_eq!(writes(&vpp.take_journal()), 1, "one route is replaced");

    // etcd is away: all stays, over a restart of VPP, and over one of the agent.
    cluster.etcd.kill(0);
    wait_until("the loss is told", || node.log().contains("routes stay as they are"));
    vpp.restart();
    both_have("all routes after its restart", &vpp, &node, &all);
    node.kill();
    node.start();
    wait_until("the new one has looked", || {
        node.log().matches("routes stay as they are").count() > 1
    });
    both_have("all routes without etcd", &vpp, &node, &all);
    cluster.etcd.restart(0);

    // The agent is dead while blocks appear, move and disappear.
    node.kill();
    hosts(&mut etcd, 1000..1010);
    let (host, route) = nth(9);
    let gone = route.split_once(" via ").expect("a route").0;
    etcd.txn(&Txn { then: vec![Op::delete(claim(&host, gone))], ..Txn::default() });
    all.extend(expected(1000..1010));
    all.remove(&route);
    let told = explained(&node);
    let counts = ["add", "remove", "keep"].map(|action| told.count(action));
    assert_eq!(counts, [20, 2, 1998], "in both sinks");
    assert!(told.has("remove", gone, "no source tells of it any more"));
    assert!(told.has("add", "10.131.232.0/26", "Calico's affinity for 10.131.232.0/26"));
    vpp.take_journal();
    node.start();
    both_have("what there is now", &vpp, &node, &all);
    assert_eq!(writes(&vpp.take_journal()), 11, "the difference and nothing else");
    node.end();
    assert_eq!(vpp.complaints(), [""; 0]);
}

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

#[test]
fn an_etcd_that_has_lost_calicos_data_is_away() {
    if !available("an_etcd_that_has_lost_calicos_data_is_away") {
        return;
    }
    let cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    let information = "/calico/resources/v3/projectcalico.org/clusterinformations/default";
    let affinity =
        |number: u8| format!("/calico/ipam/v2/host/vm-002/ipv4/block/10.244.{number}.0-26");
    etcd.put(information.into(), json!({"spec": {"clusterGUID": "g", "datastoreReady": true}}));
    etcd.put(
        "/calico/resources/v3/projectcalico.org/nodes/vm-002".into(),
        json!({"spec": {"bgp": {"ipv4Address": "192.168.16.2/24"}}}),
    );
    for number in 0..40 {
        etcd.put(affinity(number).into_bytes(), json!({"state": "confirmed"}));
    }
    let mut node = cluster.node(1);
    node.configure(&json!({
        "node": "vm-001",
        "register": false,
        "etcd": cluster.connection(),
        "routes": {"sources": [{"type": "calico"}], "sinks": [{"type": "kernel"}]},
    }));
    let ours =
        |node: &Node| node.space.routes().iter().filter(|line| line.contains("proto 205")).count();
    node.start();
    wait_until("all routes are there", || ours(&node) == 40);

    // All of it is lost at once, and something that is no block is written again soon.
    let (key, end) = (b"/calico/".to_vec(), b"/calico0".to_vec());
    etcd.txn(&Txn { then: vec![Op::Delete { key, end: Some(end) }], ..Txn::default() });
    etcd.put(b"/calico/felix/v2/no-region/host/vm-002/status".to_vec(), json!({}));
    wait_until("it is told", || node.log().contains("or its data are lost"));
    assert_eq!(ours(&node), 40);
    node.end();
    // One that is started now cannot know more.
    let (exit, said) = node.agent(&["--once"]);
    assert_eq!(exit, Some(1), "{said}");
    assert!(said.contains("or its data are lost"), "{said}");
    assert_eq!(ours(&node), 40);

    // A Calico with all of its data and no block is one without blocks.
    node.start();
    etcd.put(affinity(7).into_bytes(), json!({"state": "pendingDeletion"}));
    etcd.put(information.into(), json!({"spec": {"clusterGUID": "g", "datastoreReady": true}}));
    wait_until("no route is there", || ours(&node) == 0);
    etcd.txn(&Txn { then: vec![Op::delete(affinity(7).into_bytes())], ..Txn::default() });
    let (exit, said) = node.agent(&["--dry-run"]);
    assert_eq!(exit, Some(0), "{said}");
    node.end();
}
