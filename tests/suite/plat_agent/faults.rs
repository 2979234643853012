//! Agents that are killed at any moment, histories of etcd that are gone, and many nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipam_pool::txn::{Op, Txn};
use serde_json::{Value, json};
use support::{InEtcd, Random, wait_until};

use super::cluster::{Cluster, Node, available};

/// A node that only listens.
fn listener(cluster: &Cluster) -> Node {
    let node = cluster.node(1);
    let mut config = node.registered(cluster);
    config["register"] = json!(false);
    config["subnets"] = json!([]);
    // What is seen was told: nothing is looked at again by and by.
    config["routes"]["resync"] = json!("1h");
    node.configure(&config);
    node
}

fn meta(etcd: &mut InEtcd) {
    let key = etcd.keys().meta();
    etcd.put(key, json!({"schema": 1, "minReader": 1, "minWriter": 1, "cluster": "c", "epoch": 0}));
}

/// A registered node with one subnet.
fn record(number: u32) -> Value {
    json!({
        "name": format!("far-{number}"),
        "idx": number,
        "a4": format!("192.168.16.{}", 2 + number % 200),
        "nets": [format!("10.{}.{}.0/24", 64 + number / 256, number % 256)],
    })
}

fn register(etcd: &mut InEtcd, numbers: impl Iterator<Item = u32>) {
    let all: Vec<Op> = numbers
        .map(|number| Op::put(etcd.keys().node(&format!("u{number}")), record(number).to_string()))
        .collect();
    for batch in all.chunks(100) {
        etcd.txn(&Txn { then: batch.to_vec(), ..Txn::default() });
    }
}

fn remove(etcd: &mut InEtcd, number: u32) {
    let key = etcd.keys().node(&format!("u{number}"));
    etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() });
}

fn ours(node: &Node) -> usize {
    node.space.routes().iter().filter(|line| line.contains("proto 205")).count()
}

#[test]
fn a_thousand_nodes_and_one_more() {
    if !available("a_thousand_nodes_and_one_more") {
        return;
    }
    let cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    meta(&mut etcd);
    register(&mut etcd, 0..1000);
    let mut node = listener(&cluster);
    node.start();
    wait_until("all routes are there", || ours(&node) == 1000);
    let begun = Instant::now();
    register(&mut etcd, 1000..1001);
    node.waits_for_route("10.67.232.0/24 via 192.168.16.2");
    eprintln!("one node more among a thousand was followed within {:?}", begun.elapsed());
    // One route was added, and nothing else was touched.
    let added =
        "kernel, table main: added 10.67.232.0/24 via 192.168.16.2: subnet of node far-1000";
    wait_until("it is told", || node.log().contains(added));
    remove(&mut etcd, 7);
    node.waits_for_no_route("10.64.7.0/24");
    assert_eq!(ours(&node), 1000);
    node.end();
}

#[test]
fn a_history_that_is_gone_is_read_anew() {
    if !available("a_history_that_is_gone_is_read_anew") {
        return;
    }
    let cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    meta(&mut etcd);
    register(&mut etcd, 1..4);
    let mut node = listener(&cluster);
    node.start();
    wait_until("all routes are there", || ours(&node) == 3);
    cluster.cut();
    wait_until("the loss is told", || node.log().contains("routes stay as they are"));
    // What happens meanwhile nobody can tell the agent change by change.
    register(&mut etcd, 4..6);
    remove(&mut etcd, 1);
    let reply = etcd.txn(&Txn { then: vec![Op::get(etcd.keys().meta())], ..Txn::default() });
    cluster.etcd.post(0, "/v3/kv/compaction", &json!({"revision": reply.revision.to_string()}));
    assert_eq!(ours(&node), 3);
    cluster.mend();
    node.waits_for_route("10.64.5.0/24");
    node.waits_for_no_route("10.64.1.0/24");
    assert_eq!(ours(&node), 4);

    // An etcd without its data is one that is away.
    let (key, end) = etcd.keys().all();
    etcd.txn(&Txn { then: vec![Op::Delete { key, end: Some(end) }], ..Txn::default() });
    wait_until("it is told", || node.log().contains("or its data are lost"));
    assert_eq!(ours(&node), 4);
    node.end();
}

#[test]
fn an_agent_that_is_killed_at_any_moment_leaves_nothing_wrong() {
    if !available("an_agent_that_is_killed_at_any_moment_leaves_nothing_wrong") {
        return;
    }
    let cluster = Cluster::new();
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    meta(&mut etcd);
    let mut node = listener(&cluster);
    node.space.ip(&["route", "add", "10.77.0.0/16", "via", "192.168.16.9", "proto", "static"]);
    let mut random = Random::new(7);
    for round in 0..12 {
        let first = round * 40;
        register(&mut etcd, first..first + 300);
        for gone in first.saturating_sub(40)..first {
            remove(&mut etcd, gone);
        }
        node.start();
        std::thread::sleep(Duration::from_millis(random.below(120)));
        node.kill();
    }
    node.start();
    // The last rounds' nodes are there: 440 to 739.
    let expected: BTreeSet<String> = (440..740)
        .map(|number| format!("10.{}.{}.0/24", 64 + number / 256, number % 256))
        .collect();
    wait_until("exactly what is registered is there", || {
        let routes = node.space.routes();
        let ours = routes.iter().filter(|line| line.contains("proto 205"));
        let there: BTreeSet<String> =
            ours.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
        there == expected
    });
    assert!(node.space.has_route("10.77.0.0/16"));
    node.end();
}
