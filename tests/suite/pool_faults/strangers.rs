//! An etcd that is not this node's, or whose data is of a later version.

use ipam_pool::key::Keys;
use serde_json::json;
use support::cluster_node::available;
use support::etcd::Etcd;
use support::{ClusterNode, InEtcd};

use super::{assert_fails, config, status};

#[test]
fn another_cluster() {
    if !available("pool_faults::strangers::another_cluster") {
        return;
    }
    let (etcd, other) = (Etcd::single(), Etcd::single());
    let node = ClusterNode::new("node-1");
    let sync = config("sync", 1, &etcd.patient());
    node.call("ADD", "a", &sync).run().ok();
    let elsewhere = config("sync", 1, &other.patient());
    assert_fails(
        &node.call("ADD", "b", &elsewhere).run(),
        7,
        "is not the one that this node belongs to",
    );
    assert_eq!(InEtcd::new(&other.connection()).all().len(), 0, "something was written there");
    // With the right one all is well.
    node.call("ADD", "b", &sync).run().ok();
    status(&node, &sync).ok();
}

#[test]
fn a_newer_schema() {
    if !available("pool_faults::strangers::a_newer_schema") {
        return;
    }
    let etcd = Etcd::single();
    let connection = etcd.patient();
    let mut seen = InEtcd::new(&connection);
    let newer = json!({"schema": 99, "minReader": 1, "minWriter": 99, "cluster": "c"});
    seen.put(Keys::default().meta(), newer);
    let node = ClusterNode::new("node-1");
    for mode in ["local", "sync"] {
        let config = config(mode, 1, &connection);
        let refused = node.call("ADD", "a", &config).run();
        assert_fails(&refused, 5, "has schema 99, and this version knows 1");
        assert_fails(&status(&node, &config), 50, "schema 99");
        node.call("DEL", "a", &config).run().ok();
    }
    assert_eq!(seen.all().len(), 1, "something was written");
}
