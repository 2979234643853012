//! Several nodes.

use std::collections::BTreeMap;
use std::fs;

use ipam_pool::key::{DEFAULT_PREFIX, Keys};
use ipam_pool::record::{self, Tombstone};
use ipam_pool::txn::Op;
use serde_json::{Value, json};
use support::etcd::{Etcd, available};
use support::{PoolNode, is_root, skip_unless, wait_until};

use super::{address, ask, error, local, records};

fn can_name_hosts(test: &str) -> bool {
    available(test) && skip_unless(test, &[(is_root(), "root, to make UTS namespaces")])
}

#[test]
fn nodes_share_a_pool() {
    if !can_name_hosts("nodes_share_a_pool") {
        return;
    }
    let etcd = Etcd::single();
    for mode in ["local", "sync"] {
        let nodes: Vec<PoolNode> = ["vm-001", "vm-002", "vm-003"]
            .map(|name| PoolNode::named(&format!("{name}-{mode}"), "pool-nodes", &etcd.patient()))
            .into();
        // Room for more blocks than calls: calls at the same time may each claim one.
        let pool = json!({
            "name": mode, "cidr": if mode == "sync" { "10.1.0.0/22" } else { "10.2.0.0/22" },
            "blk": 28, "mode": mode,
        });
        let given: Vec<(String, String)> = std::thread::scope(|scope| {
            let calls: Vec<_> = nodes
                .iter()
                .flat_map(|node| {
                    let pool = &pool;
                    (0..6).map(move |n| {
                        scope.spawn(move || {
                            let id = format!("{n}");
                            (node.add(&id, &node.config(pool.clone())).remove(0), id)
                        })
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("a call")).collect()
        });
        let unique: BTreeMap<_, _> = given.iter().cloned().collect();
        assert_eq!(unique.len(), 18, "{mode}: {given:?}");
        wait_until("all have records", || {
            let records = records(&etcd);
            unique
                .iter()
                .all(|(ip, id)| records.get(&address(ip)).is_some_and(|holder| holder[0] == *id))
        });
        for node in &nodes {
            for n in 0..6 {
                node.del(&n.to_string(), &node.config(json!(mode)));
            }
        }
        wait_until("no record is left", || records(&etcd).is_empty());
        nodes.iter().for_each(PoolNode::settle);
    }
}

/// Existing attachments of a node that was removed are in danger, and STATUS says so.
#[test]
fn a_removed_node_says_so() {
    if !available("a_removed_node_says_so") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-removed", &etcd.patient());
    let config = node.config(local());
    let outcome = node.call("ADD", &config).run();
    node.settle();
    let state = fs::read(node.state().join("pool.json")).expect("the node's state");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    let uuid = state["uuid"].as_str().expect("a UUID");
    let tombstone = record::write(&Tombstone {
        name: "vm".to_owned(),
        at: 1,
        by: "an operator".to_owned(),
        hold: 1000,
        ..Tombstone::default()
    });
    ask(&etcd, vec![Op::put(Keys::new(DEFAULT_PREFIX).tombstone(uuid), tombstone)]);
    // It learns that when it writes next.
    node.add("c2", &config);
    node.settle();
    let (code, text) = error(&node.call("STATUS", &config).run());
    assert_eq!(code, 51, "{text}");
    assert!(text.contains("removed from the cluster by an operator"), "{text}");
    let (code, text) = error(&node.call("ADD", &config).id("c3").run());
    assert_eq!(code, 5, "{text}");
    let mut checked = config.clone();
    checked["prevResult"] = outcome.json();
    assert_eq!(node.call("CHECK", &checked).run().error().0, 100);
    node.del("c1", &config);
    assert_eq!(node.call("CHECK", &checked).run().error().0, 3);
    node.settle();
}

#[test]
fn a_name_belongs_to_one_node() {
    if !can_name_hosts("a_name_belongs_to_one_node") {
        return;
    }
    let etcd = Etcd::single();
    let pool = json!({"name": "p", "cidr": "10.1.0.0/24"});
    let one = PoolNode::named("vm-004", "pool-name", &etcd.patient());
    one.add("c1", &one.config(pool.clone()));
    let two = PoolNode::named("vm-004", "pool-name", &etcd.patient());
    let (code, text) = error(&two.call("ADD", &two.config(pool.clone())).run());
    assert_eq!(code, 7, "{text}");
    assert!(text.contains("vm-004") && text.contains("adopt"), "{text}");
    // It is the name that is in the way, not the node.
    let three = PoolNode::named("vm-005", "pool-name", &etcd.patient());
    three.add("c1", &three.config(pool));
    one.settle();
    three.settle();
}
