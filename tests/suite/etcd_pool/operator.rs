//! What an operator does with a pool while nodes use it.

use std::process::{Output, Stdio};

use ipam_pool::key::{DEFAULT_PREFIX, Keys};
use ipam_pool::txn::Op;
use serde_json::{Value, json};
use support::documented;
use support::etcd::{Etcd, available};
use support::{PoolNode, have, skip_unless, wait_until};

use super::{address, ask, error, local, wait_for};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn an_address_of_a_node_is_reserved_by_that_node() {
    if !available("an_address_of_a_node_is_reserved_by_that_node") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-reserve", &etcd.patient());
    let pool = json!({"name": "p", "cidr": "10.64.0.0/16", "mode": "local"});
    let mut config = node.config(pool);
    // The pod that comes and goes below never meets the address that is to be reserved.
    config["ipam"]["strategy"] = json!("lowest");
    let held = node.add("c1", &config).remove(0);
    node.settle();
    let free = address(&held).offset(5).expect("a block is larger").to_string();
    // Its block is the node's own: no more than a request is made, and the node decides.
    let mut asking = node
        .plat(&["pool", "reserve", &free, "--for", "printer", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("plat can be started");
    let mut ended = None;
    wait_until("the node has answered", || {
        // What a node that is in use does all the time.
        node.add("c2", &config);
        node.del("c2", &config);
        ended = asking.try_wait().expect("it is ours");
        ended.is_some()
    });
    let output = asking.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{}", text(&output));
    let key = Keys::new(DEFAULT_PREFIX).address("default", address(&free));
    let reply = ask(&etcd, vec![Op::get(key.clone())]);
    let record: Value =
        serde_json::from_slice(&reply.one(0).expect("a record").value).expect("a document");
    assert_eq!(record["p"], "printer", "{record}");

    // Nobody gets it, asked for or not.
    let mut asked = config.clone();
    asked["args"] = json!({"cni": {"ips": [free]}});
    let (code, message) = error(&node.call("ADD", &asked).id("c3").run());
    assert_eq!(code, 11, "{message}");
    for id in ["c4", "c5", "c6", "c7", "c8", "c9"] {
        assert_ne!(node.add(id, &config), std::slice::from_ref(&free));
    }
    // What a pod holds is not reserved, and both sides are named.
    let output = node
        .plat(&["pool", "reserve", &held, "--timeout", "100ms"])
        .output()
        .expect("plat can be started");
    assert!(!output.status.success());
    assert!(text(&output).contains(&held), "{}", text(&output));

    let output = node.plat(&["pool", "unreserve", &free, "--timeout", "100ms"]).output();
    let output = output.expect("plat can be started");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("has not answered yet"), "{}", text(&output));
    wait_until("the node has taken it back", || {
        node.add("c2", &config);
        node.del("c2", &config);
        node.settle();
        node.call("ADD", &asked).id("c3").run().json()["ips"].is_array()
    });
}

#[test]
fn an_imported_block_is_taken_over_with_its_pods() {
    if !available("an_imported_block_is_taken_over_with_its_pods") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-import", &etcd.patient());
    let pool = json!({"name": "p", "cidr": "10.64.0.0/16", "mode": "local"});
    let mut config = node.config(pool);
    config["ipam"]["strategy"] = json!("lowest");
    let own = node.add("c1", &config).remove(0);
    node.settle();
    let listed = node.plat(&["node", "ls", "--json"]).output().expect("plat can be started");
    documented(["plat", "node", "ls", "--json"], &String::from_utf8_lossy(&listed.stdout));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("a document");
    let name = listed["nodes"][0]["name"].as_str().expect("a name").to_owned();

    // Another block than the node's own, the first of its addresses in use, and one after it.
    let third = if address(&own) < address("10.64.128.0") { "10.64.200" } else { "10.64.8" };
    let pod = |pod: &str| {
        json!({"handle_id": format!("k8s-pod-network.{pod}"),
               "secondary": {"node": name, "namespace": "shop", "pod": pod}})
    };
    let blocks = json!({"kind": "IPAMBlock", "metadata": {"name": "one"}, "spec": {
        "cidr": format!("{third}.64/26"), "affinity": format!("host:{name}"),
        "allocations": [0, 1, null], "attributes": [pod("web"), pod("db")],
    }});
    let file = node.scratch().write("blocks.json", blocks.to_string());
    let path = file.to_str().expect("UTF-8");
    let import = ["import", "--from", "calico", "--path", path, "--to-pool", "p"];
    let done = node.plat(&import).output().expect("plat can be started");
    assert!(text(&done).contains("2 addresses written"), "{}", text(&done));

    let held = || -> Vec<String> {
        let output = node.plat(&["ls", "--json"]).output().expect("plat can be started");
        documented(["plat", "ls", "--json"], &String::from_utf8_lossy(&output.stdout));
        let all: Value = serde_json::from_slice(&output.stdout).expect("a document");
        let all = all["allocations"].as_array().expect("a list").clone();
        all.iter().map(|a| a["address"].as_str().expect("an address").to_owned()).collect()
    };
    let both = [format!("{third}.64"), format!("{third}.65")];
    wait_until("the node has taken the block over", || {
        // What a node that is in use does all the time.
        node.add("c2", &config);
        node.del("c2", &config);
        node.settle();
        let held = held();
        both.iter().all(|address| held.contains(address))
    });
    // It is a block like others by now, and what is in use there is nobody else's.
    let mut asked = config.clone();
    for address in &both {
        asked["args"] = json!({"cni": {"ips": [address]}});
        assert_eq!(error(&node.call("ADD", &asked).id("c3").run()).0, 11);
    }
    let next = format!("{third}.66");
    asked["args"] = json!({"cni": {"ips": [next]}});
    assert_eq!(node.add("c3", &asked), std::slice::from_ref(&next));
    node.settle();
    let looked = node.plat(&["check", "--cluster"]).output().expect("plat can be started");
    assert!(looked.status.success(), "{}", text(&looked));
    let asked = node.plat(&["node", "ls", "--json"]).output().expect("plat can be started");
    let asked: Value = serde_json::from_slice(&asked.stdout).expect("a document");
    assert_eq!(asked["nodes"][0]["requests"], 0, "{asked}");
}

#[test]
fn a_restored_cluster_learns_from_its_nodes() {
    const TEST: &str = "a_restored_cluster_learns_from_its_nodes";
    if !available(TEST) || !skip_unless(TEST, &[(have("etcdctl"), "etcdctl")]) {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-new", &etcd.patient());
    let config = node.config(local());
    node.add("c1", &config);
    node.settle();
    let saved = etcd.save();
    let second = node.add("c2", &config);
    node.del("c1", &config);
    node.settle();
    wait_for(&etcd, &[(&second[0], ["c2", "eth0", "net"]), (&second[1], ["c2", "eth0", "net"])]);

    etcd.restore_as_new_cluster(&saved);
    // The block is the node's own until it hears otherwise.
    let third = node.add("c3", &config);
    node.settle();
    let (code, message) = error(&node.call("ADD", &config).id("c4").run());
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("is not the one"), "{message}");
    assert_eq!(node.call("STATUS", &config).run().error().0, 50);
    // A DEL needs nothing of that.
    node.del("c9", &config);

    let fixed = node.plat(&["check", "--cluster", "--fix", "--yes"]).output();
    let fixed = fixed.expect("plat can be started");
    let fourth = node.add("c4", &config);
    assert!(![&second, &third].contains(&&fourth), "{}", text(&fixed));
    let holder = |id: &'static str| [id, "eth0", "net"];
    wait_for(
        &etcd,
        &[
            (&second[0], holder("c2")),
            (&second[1], holder("c2")),
            (&third[0], holder("c3")),
            (&third[1], holder("c3")),
            (&fourth[0], holder("c4")),
            (&fourth[1], holder("c4")),
        ],
    );
    let looked = node.plat(&["check", "--cluster"]).output().expect("plat can be started");
    assert!(looked.status.success(), "{}", text(&looked));
    node.settle();
}
