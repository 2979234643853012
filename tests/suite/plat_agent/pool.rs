//! etcd-pool beside the agent: blocks of one node become routes of others.

use std::time::Instant;

use ipam_pool::key::Key;
use serde_json::{Value, json};
use support::{Call, InEtcd, binary, wait_until};

use super::cluster::{Cluster, Node, available};
use super::explain::explained;

fn configured(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    let mut config = node.registered(cluster);
    config["subnets"] = json!([]);
    // What is seen was told: nothing is looked at again by and by.
    config["routes"]["resync"] = json!("1h");
    node.configure(&config);
    node.start();
    node
}

/// A call of etcd-pool on a node; the plugin reaches etcd directly.
fn call(cluster: &Cluster, node: &Node, command: &str, id: &str) -> Call {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge",
        "ipam": {
            "type": "etcd-pool", "etcd": cluster.etcd.patient(),
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
    eprintln!("a block that moved was followed within {:?}", begun.elapsed());

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

/// A pool of two blocks.
fn small(cluster: &Cluster, node: &Node, command: &str, id: &str) -> Call {
    let config = json!({
        "cniVersion": "1.1.0", "name": "small", "type": "bridge",
        "ipam": {
            "type": "etcd-pool", "etcd": cluster.etcd.patient(),
            "pool": {"name": "small", "cidr": "10.65.0.0/28", "block": 29},
        },
    });
    Call::new(&binary("etcd-pool"), command).state_in(node.scratch.path()).id(id).config(&config)
}

#[test]
fn a_block_that_is_given_back_goes_to_another_node() {
    if !available("pool::a_block_that_is_given_back_goes_to_another_node") {
        return;
    }
    let mut cluster = Cluster::new();
    let mut one = configured(&cluster, 1);
    let (two, mut three) = (configured(&cluster, 2), configured(&cluster, 3));
    let mut etcd = InEtcd::new(&cluster.etcd.connection());
    wait_until("all are registered", || {
        etcd.some(|key| matches!(key, Key::Live { .. })).len() == 3
    });
    // The second node takes all there is.
    let mut pods: Vec<(String, String)> = Vec::new();
    for number in 0..8 {
        let id = format!("c{number}");
        // Its agent may be claiming the last block at the moment: a runtime tries again, too.
        let mut address = String::new();
        wait_until("an address is given", || {
            let outcome = small(&cluster, &two, "ADD", &id).run();
            if outcome.exit == Some(0) {
                address = outcome.addresses().remove(0);
            } else {
                assert_eq!(outcome.error().0, 11);
            }
            !address.is_empty()
        });
        pods.push((id, address));
    }
    for node in [&one, &three] {
        for block in ["10.65.0.0/29", "10.65.0.8/29"] {
            node.waits_for_route(&format!("{block} via 192.168.16.2"));
        }
    }
    let (code, said) = small(&cluster, &three, "ADD", "late").run().error();
    assert_eq!(code, 11, "{said}");

    // etcd is restarted, with nothing of which nobody knows whether it was written.
    let recorded = |etcd: &mut InEtcd| {
        let there = etcd.addresses();
        pods.iter().all(|(_, address)| there.contains(address))
    };
    wait_until("all records are written", || recorded(&mut etcd));
    cluster.etcd.kill(0);
    wait_until("the loss is told", || one.log().contains("routes stay as they are"));
    cluster.etcd.restart(0);

    // The second node empties a block: its agent gives that back, and the third one claims it, while the first
    // one's agent is dead.
    one.kill();
    let is_in_second = |address: &str| {
        let last: u8 = address.rsplit('.').next().and_then(|it| it.parse().ok()).expect("a byte");
        last >= 8
    };
    let (second, first): (Vec<_>, Vec<_>) =
        pods.iter().partition(|(_, address)| is_in_second(address));
    let (emptied, left) =
        if second.len() >= first.len() { (first, second) } else { (second, first) };
    // The other one needs room, too.
    for (id, _) in emptied.iter().chain(left.iter().take(left.len() - 2)) {
        small(&cluster, &two, "DEL", id).run().ok();
    }
    wait_until("the block is given back", || blocks(&mut etcd).len() == 1);
    let mut given = None;
    wait_until("the third one gets it", || {
        let outcome = small(&cluster, &three, "ADD", "late").run();
        given = (outcome.exit == Some(0)).then(|| outcome.addresses().remove(0));
        given.is_some()
    });
    let moved = if given.is_some_and(|address| is_in_second(&address)) {
        "10.65.0.8/29"
    } else {
        "10.65.0.0/29"
    };
    two.waits_for_route(&format!("{moved} via 192.168.16.3"));
    assert!(one.space.has_route(&format!("{moved} via 192.168.16.2")), "nobody was there to see");
    let told = explained(&one);
    assert!(
        told.has("replace", moved, "block of pool default/small; it is via 192.168.16.2"),
        "{told:?}"
    );
    one.start();
    one.waits_for_route(&format!("{moved} via 192.168.16.3"));
    three.waits_for_no_route(moved);
    one.end();
    three.end();
}
