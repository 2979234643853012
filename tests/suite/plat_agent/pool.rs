//! etcd-pool beside the agent: blocks of one node become routes of others.

use std::time::{Duration, Instant};

use ipam_pool::key::Key;
use serde_json::{Value, json};
use support::{Call, InEtcd, binary, wait_until};

use super::cluster::{Cluster, Node, available};

fn configured(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    let mut config = node.registered(cluster);
    config["subnets"] = json!([]);
    node.configure(&config);
    node.start();
    node
}

/// A call of etcd-pool on a node; the plugin reaches etcd directly.
fn call(cluster: &Cluster, node: &Node, command: &str, id: &str) -> Call {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge",
        "ipam": {
            "type": "etcd-pool", "etcd": cluster.etcd.connection(),
            "pool": {"name": "pods", "cidr": "10.64.0.0/16", "block": 28},
        },
    });
    Call::new(&binary("etcd-pool"), command).state_in(node.scratch.path()).id(id).config(&config)
}

fn blocks(etcd: &mut InEtcd) -> Vec<(Key, Value)> {
    let all = etcd.some(|key| matches!(key, Key::Block { .. })).into_iter();
    all.map(|(key, kv)| (key, serde_json::from_slice(&kv.value).expect("a record"))).collect()
}

#[test]
fn blocks_that_are_claimed_and_move_are_followed() {
    if !available("blocks_that_are_claimed_and_move_are_followed") {
        return;
    }
    let cluster = Cluster::new();
    let (mut one, two) = (configured(&cluster, 1), configured(&cluster, 2));
    let three = configured(&cluster, 3);
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    wait_until("all are registered", || {
        etcd.some(|key| matches!(key, Key::Live { .. })).len() == 3
    });

    let addresses = call(&cluster, &two, "ADD", "c1").run().addresses();
    let block = {
        let all = blocks(&mut etcd);
        assert_eq!(all[0].1["n"], 2, "{all:?}");
        let Key::Block { first, .. } = all[0].0.clone() else { panic!("a block") };
        format!("{first}/28")
    };
    one.waits_for_route(&format!("{block} via 192.168.16.2 dev eth0 proto 205"));
    three.waits_for_route(&format!("{block} via 192.168.16.2 dev eth0 proto 205"));
    assert!(!two.space.has_route(&block), "its own");

    // What the call has left behind is written by the agent: no process of its own was started.
    let address = addresses[0].split('/').next().expect("an address").to_owned();
    wait_until("the address has a record", || etcd.addresses().contains(&address));

    // The block moves.
    let record =
        etcd.some(|key| matches!(key, Key::Node { .. })).into_iter().find_map(|(key, kv)| {
            let record: Value = serde_json::from_slice(&kv.value).ok()?;
            let Key::Node { uuid } = key else { return None };
            (record["name"] == "vm-003").then_some(uuid)
        });
    let third = record.expect("the third is registered");
    let (key, kv) = etcd.some(|key| matches!(key, Key::Block { .. })).remove(0);
    let mut value: Value = serde_json::from_slice(&kv.value).expect("a record");
    value["u"] = json!(third);
    value["n"] = json!(3);
    assert!(matches!(key, Key::Block { .. }));
    let begun = Instant::now();
    etcd.put(kv.key.clone(), &value);
    one.waits_for_route(&format!("{block} via 192.168.16.3 dev eth0 proto 205"));
    let took = begun.elapsed();
    eprintln!("a block that moved was followed within {took:?}");
    assert!(took < Duration::from_secs(30));

    // An address of it is used at the second node: a route of its own.
    let exception = String::from_utf8(kv.key).expect("text").replace("/b/4/", "/x/4/");
    let second = two_uuid(&mut etcd);
    etcd.put(exception.into_bytes(), json!({"n": 2, "u": second}));
    let first = block.trim_end_matches("/28").to_owned();
    one.waits_for_route(&format!("{first} via 192.168.16.2"));
    one.end();
}

fn two_uuid(etcd: &mut InEtcd) -> String {
    let names = etcd.some(|key| matches!(key, Key::Name { name } if name == "vm-002"));
    String::from_utf8(names[0].1.value.clone()).expect("a UUID")
}
