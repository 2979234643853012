//! etcd is away.

use std::time::Duration;

use serde_json::json;
use support::cluster_node::available;
use support::etcd::Etcd;
use support::{ClusterNode, InEtcd};

use super::{address, assert_fails, config, status};

/// Held blocks survive a reboot, but what others did meanwhile is not known: nothing is given out before etcd
/// was there once.
#[test]
fn a_reboot_without_etcd() {
    if !available("pool_faults::autonomy::a_reboot_without_etcd") {
        return;
    }
    let mut etcd = Etcd::single();
    let connection = etcd.connection();
    let node = ClusterNode::new("node-1");
    let patient = ["local", "sync"].map(|mode| config(mode, 1, &etcd.patient()));
    let hasty = ["local", "sync"].map(|mode| config(mode, 1, &connection));
    for config in &patient {
        node.call("ADD", "before", config).run().ok();
    }
    node.flush(&connection);
    let uuid = node.pool_json()["uuid"].clone();
    etcd.kill(0);
    node.reboot();
    for config in &hasty {
        let refused = node.call("ADD", "away", config).run();
        assert_fails(&refused, 11, "since this node's boot");
        assert!(refused.took < Duration::from_secs(100), "{refused:?}");
        assert_fails(&status(&node, config), 50, "since this node's boot");
        node.call("DEL", "away", config).run().ok();
        node.call("DEL", "before", config).run().ok();
    }
    etcd.restart(0);
    let mut given = Vec::new();
    for config in &patient {
        given.push(address(&node.call("ADD", "after", config).run()));
        status(&node, config).ok();
    }
    node.flush(&connection);
    // The records of the former boot are gone, by and by.
    node.flush(&connection);
    let mut recorded = InEtcd::new(&connection).addresses();
    recorded.sort();
    given.sort();
    assert_eq!(recorded, given);
    assert_eq!(node.pool_json()["uuid"], uuid);
}

/// Without etcd a node goes on alone in mode `local`, for as long as its pool says.
#[test]
fn alone_for_too_long() {
    if !available("pool_faults::autonomy::alone_for_too_long") {
        return;
    }
    let mut etcd = Etcd::single();
    let connection = etcd.connection();
    let node = ClusterNode::new("node-1");
    let mut local = config("local", 1, &connection);
    local["ipam"]["pool"]["autonomy"] = json!("1h");
    let mut patient = local.clone();
    patient["ipam"]["etcd"] = etcd.patient();
    let sync = config("sync", 1, &connection);
    node.call("ADD", "a", &patient).run().ok();
    node.call("ADD", "a", &config("sync", 1, &etcd.patient())).run().ok();
    node.flush(&connection);
    etcd.kill(0);
    // Room there is, and in mode sync nothing without etcd.
    node.call("ADD", "b", &local).run().ok();
    let refused = node.call("ADD", "b", &sync).run();
    assert_fails(&refused, 11, "etcd");
    assert!(refused.took < Duration::from_secs(100), "{refused:?}");
    let after = |seconds, id| node.call_later(seconds, "ADD", id, &local);
    after(1000, "c").ok();
    assert_fails(&node.call_later(2000, "STATUS", "", &local), 50, "ago");
    after(3500, "d").ok();
    assert_fails(&after(3700, "e"), 11, "may go on without it for 3600 s");
    node.call_later(3700, "DEL", "d", &local).ok();
    node.call_later(3700, "DEL", "e", &local).ok();
    etcd.restart(0);
    node.call_later(3700, "ADD", "f", &patient).ok();
    node.flush(&connection);
    // a, b, c, f and the a of mode sync.
    assert_eq!(InEtcd::new(&connection).addresses().len(), 5);
}
