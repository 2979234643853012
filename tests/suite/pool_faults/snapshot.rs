//! etcd begins anew with an older copy of its data.

use std::collections::BTreeSet;

use ipam_pool::key::Key;
use serde_json::json;
use support::cluster_node::available;
use support::etcd::Etcd;
use support::{ClusterNode, InEtcd, Outcome, binary};

use super::{address, assert_fails, check, config, status};

/// Runs `plat check --cluster --fix` on a node.
fn fix(node: &ClusterNode, connection: &serde_json::Value) -> String {
    let file = node.state().join("etcd.json");
    std::fs::write(&file, connection.to_string()).expect("a file can be written");
    let plat = binary("plat");
    let output =
        node.run_with(&plat, &["check", "--cluster", "--fix"], &[("PLAT_ETCD_CONFIG", &file)]);
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Nodes that have seen more than etcd knows give nothing out until an operator lets them write it anew; then
/// everybody goes on with the addresses that they had, and none is given twice.
#[test]
fn restored() {
    if !available("pool_faults::snapshot::restored") {
        return;
    }
    let mut etcd = Etcd::single();
    let connection = etcd.patient();
    let (one, two) = (ClusterNode::new("node-1"), ClusterNode::new("node-2"));
    let nodes = [(&one, 1), (&two, 2)];
    let mut held: Vec<(&ClusterNode, u32, &str, String, Outcome)> = Vec::new();
    let mut add = |node, index, mode: &'static str, id: &'static str| {
        let node: &ClusterNode = node;
        let outcome = node.call("ADD", id, &config(mode, index, &connection)).run();
        held.push((node, index, mode, id.to_owned(), outcome));
    };
    for (node, index) in nodes {
        add(node, index, "local", "before");
        add(node, index, "sync", "before-s");
        node.flush(&connection);
    }
    let saved = etcd.save();
    // The second node claims its first block of a pool, and both more, after the snapshot.
    for (node, index) in nodes {
        for id in ["a", "b", "c"] {
            add(node, index, "local", id);
        }
        for id in ["s1", "s2", "s3"] {
            add(node, index, "sync", id);
        }
        node.flush(&connection);
    }
    etcd.restore(&saved);
    let mut given = BTreeSet::new();
    for (.., outcome) in &held {
        assert!(given.insert(address(outcome)), "{outcome:?}");
    }
    for (node, index) in nodes {
        // The next contact tells.
        let sync = config("sync", index, &connection);
        let refused = node.call("ADD", "late", &sync).run();
        assert_fails(&refused, 5, "older data");
        for mode in ["local", "sync"] {
            let config = config(mode, index, &connection);
            assert_fails(&node.call("ADD", "late", &config).run(), 5, "older data");
            assert_fails(&status(node, &config), 51, "older data");
            node.call("DEL", "late", &config).run().ok();
        }
    }
    for (node, index) in nodes {
        let said = fix(node, &connection);
        for mode in ["local", "sync"] {
            let config = config(mode, index, &connection);
            let added = node.call("ADD", "after", &config).run();
            assert_eq!(added.exit, Some(0), "{added:?} after {said}");
            assert!(given.insert(address(&added)), "given twice: {added:?}");
            status(node, &config).ok();
        }
        node.flush(&connection);
    }
    for (node, index, mode, id, outcome) in &held {
        check(node, id, &config(mode, *index, &connection), outcome).ok();
    }
    let recorded: BTreeSet<String> = InEtcd::new(&connection).addresses().into_iter().collect();
    assert_eq!(recorded, given);
    assert_eq!(json!(recorded.len()), json!(20));
}

/// A node uses an address out of another's block, and etcd forgets it: the block's own node, which was in
/// contact since, must not give the address out as well.
#[test]
fn restored_while_an_address_is_lent() {
    if !available("pool_faults::snapshot::restored_while_an_address_is_lent") {
        return;
    }
    let mut etcd = Etcd::single();
    let connection = etcd.patient();
    let (one, two) = (ClusterNode::new("node-1"), ClusterNode::new("node-2"));
    let small = |index| {
        let mut config = config("sync", index, &connection);
        config["ipam"]["pool"]["cidr"] = json!("10.81.0.0/28");
        config["ipam"]["pool"]["blk"] = json!(29);
        config
    };
    let mut given = BTreeSet::new();
    for (node, index) in [(&one, 1), (&two, 2)] {
        assert!(given.insert(address(&node.call("ADD", "first", &small(index)).run())));
    }
    // Of the second one's eight addresses one is the pool's last.
    for n in 0..6 {
        assert!(given.insert(address(&two.call("ADD", &format!("more-{n}"), &small(2)).run())));
    }
    for node in [&one, &two] {
        node.flush(&connection);
    }
    let saved = etcd.save();
    let mut lent = Vec::new();
    while lent.len() < 2 {
        let outcome = two.call("ADD", &format!("lent-{}", lent.len()), &small(2)).run();
        lent.push(address(&outcome));
    }
    assert_eq!(InEtcd::new(&connection).some(|key| matches!(key, Key::Exception { .. })).len(), 2);
    given.extend(lent);
    // Later than a moment ago: contacts within a second may be noted as one.
    one.call_later(5, "ADD", "last", &small(1)).ok();
    one.call_later(5, "DEL", "last", &small(1)).ok();
    etcd.restore(&saved);
    for n in 0..8 {
        let outcome = one.call("ADD", &format!("n-{n}"), &small(1)).run();
        if outcome.exit == Some(0) {
            let address = address(&outcome);
            assert!(given.insert(address.clone()), "{address} is given twice");
        }
    }
}
