//! A node is removed, or is there twice.

use std::collections::BTreeSet;

use serde_json::json;
use support::cluster_node::available;
use support::etcd::Etcd;
use support::{ClusterNode, InEtcd};

use super::{address, assert_fails, check, config, status};

/// What was removed gives nothing out any more, as soon as it hears of it, and says so; taken back, it goes on.
#[test]
fn removed() {
    if !available("pool_faults::identity::removed") {
        return;
    }
    let etcd = Etcd::single();
    let connection = etcd.patient();
    let node = ClusterNode::new("node-1");
    let (local, sync) = (config("local", 1, &connection), config("sync", 1, &connection));
    let added = node.call("ADD", "a", &local).run();
    node.call("ADD", "a", &sync).run().ok();
    node.flush(&connection);
    let mut seen = InEtcd::new(&connection);
    let before = seen.addresses();
    let uuid = node.pool_json()["uuid"].as_str().expect("a UUID").to_owned();
    let tombstone = seen.keys().tombstone(&uuid);
    seen.put(tombstone, json!({"name": "node-1", "at": 1, "by": "the test", "hold": 1000}));
    assert_fails(&node.call("ADD", "b", &sync).run(), 5, "removed from the cluster by the test");
    for config in [&local, &sync] {
        assert_fails(&status(&node, config), 51, "removed from the cluster by the test");
        assert_fails(&node.call("ADD", "c", config).run(), 5, "removed");
        node.call("DEL", "c", config).run().ok();
    }
    assert_eq!(check(&node, "a", &local, &added).exit, Some(1));
    // It writes nothing more, not even that something is gone.
    node.call("DEL", "a", &sync).run().ok();
    node.flush(&connection);
    assert_eq!(seen.addresses(), before);
    assert!(node.flush_problem().is_some_and(|said| said.contains("removed")));
}

/// A disk that is copied with the node's state, to a machine that cannot be told from it: only one of the two
/// goes on, and no address is given twice from the moment on in which they meet.
#[test]
fn copied_with_the_machine() {
    if !available("pool_faults::identity::copied_with_the_machine") {
        return;
    }
    let etcd = Etcd::single();
    let connection = etcd.patient();
    let original = ClusterNode::on_machine("node-1", "the-same");
    let copy = ClusterNode::on_machine("node-2", "the-same");
    let (local, sync) = (config("local", 1, &connection), config("sync", 1, &connection));
    let mut given = BTreeSet::new();
    for id in ["a", "b"] {
        given.insert(address(&original.call("ADD", id, &sync).run()));
        given.insert(address(&original.call("ADD", id, &local).run()));
    }
    original.flush(&connection);
    assert_eq!(given.len(), 4);
    copy.copy_disk_of(&original);
    // The copy boots, and looks like a reboot of the original.
    let of_copy = copy.call("ADD", "c", &sync).run();
    let refused = original.call("ADD", "d", &sync).run();
    assert_fails(&refused, 5, "another machine uses this node's identity");
    for config in [&local, &sync] {
        assert_fails(&status(&original, config), 51, "another machine");
        assert_fails(&original.call("ADD", "e", config).run(), 5, "another machine");
    }
    // The one that goes on does go on.
    let mut late = BTreeSet::from([address(&of_copy)]);
    for id in ["f", "g", "h"] {
        assert!(late.insert(address(&copy.call("ADD", id, &sync).run())));
    }
}

/// A disk that is copied to another machine is a new node there.
#[test]
fn copied_to_another_machine() {
    if !available("pool_faults::identity::copied_to_another_machine") {
        return;
    }
    let etcd = Etcd::single();
    let connection = etcd.patient();
    let (original, copy) = (ClusterNode::new("node-1"), ClusterNode::new("node-2"));
    let mut given = BTreeSet::new();
    let mut add = |node: &ClusterNode, index, mode, id: &str| {
        let added = address(&node.call("ADD", id, &config(mode, index, &connection)).run());
        assert!(given.insert(added.clone()), "{added} is given twice");
    };
    for mode in ["local", "sync"] {
        add(&original, 1, mode, "a");
    }
    original.flush(&connection);
    copy.copy_disk_of(&original);
    for mode in ["local", "sync"] {
        for (id, copied) in [("b", "c"), ("d", "e")] {
            add(&copy, 2, mode, copied);
            add(&original, 1, mode, id);
        }
    }
    assert_ne!(original.pool_json()["uuid"], copy.pool_json()["uuid"]);
    original.flush(&connection);
    copy.flush(&connection);
    let recorded: BTreeSet<String> = InEtcd::new(&connection).addresses().into_iter().collect();
    assert_eq!(recorded, given);
}
