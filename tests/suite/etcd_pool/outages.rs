//! etcd is away, and comes back.

use std::time::Duration;

use serde_json::json;
use support::PoolNode;
use support::etcd::{Etcd, available};

use super::{error, local, sync, wait_for};

/// The budget of five seconds, and what a process takes on a busy machine, or one that stands still for a while.
const SOON: Duration = Duration::from_secs(100);

#[test]
fn a_node_goes_on_alone_and_catches_up() {
    if !available("a_node_goes_on_alone_and_catches_up") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-alone", &etcd.patient());
    let config = node.config(local());
    let first = node.add("c1", &config);
    node.settle();
    etcd.kill(0);
    node.reach(&etcd.connection());
    let second = node.add("c2", &config);
    assert_eq!(node.add("c2", &config), second);
    // As some runtimes delete.
    let stripped = json!({
        "cniVersion": "1.1.0", "name": PoolNode::NETWORK, "ipam": {"type": "etcd-pool"},
    });
    node.del("c1", &stripped);
    node.del("c1", &stripped);
    node.settle();
    assert!(node.flush_log().contains("etcd at http://127.0.0.1:"), "{}", node.flush_log());
    assert_eq!(node.flush_log().lines().count(), 1, "{}", node.flush_log());
    // The freed address goes round; what is behind in etcd knows the order.
    let third = node.add("c3", &config);
    assert_ne!(third, first);
    node.settle();

    etcd.restart(0);
    node.reach(&etcd.patient());
    node.call("STATUS", &config).run().ok();
    let holder = |id: &'static str| [id, "eth0", "net"];
    wait_for(
        &etcd,
        &[
            (&second[0], holder("c2")),
            (&second[1], holder("c2")),
            (&third[0], holder("c3")),
            (&third[1], holder("c3")),
        ],
    );
    node.settle();
    assert_eq!(node.flush_log(), "", "what is over is not told any more");
}

#[test]
fn without_etcd_nothing_synchronous_is_given() {
    if !available("without_etcd_nothing_synchronous_is_given") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-gone", &etcd.patient());
    let config = node.config(sync());
    let ips = node.add("c1", &config);
    node.settle();
    // Dead, then silent: connections are refused, or not answered.
    for silent in [false, true] {
        if silent {
            etcd.stop(0);
        } else {
            etcd.kill(0);
        }
        node.reach(&etcd.connection());
        let outcome = node.call("ADD", &config).id("c2").run();
        let (code, text) = error(&outcome);
        assert_eq!(code, 11, "{text}");
        assert!(outcome.took < SOON, "{:?}", outcome.took);
        assert!(text.contains("http://127.0.0.1:"), "{text}");
        let outcome = node.call("STATUS", &config).run();
        assert_eq!(outcome.error().0, 50);
        assert!(outcome.took < SOON, "{:?}", outcome.took);
        let mut checked = config.clone();
        checked["prevResult"] =
            json!({"cniVersion": "1.1.0", "ips": [{"address": format!("{}/16", ips[0])}]});
        let outcome = node.call("CHECK", &checked).run();
        outcome.ok();
        assert!(outcome.stderr.contains("were not looked at"), "{}", outcome.stderr);
        node.del("c2", &config);
        if silent {
            etcd.cont(0);
        } else {
            etcd.restart(0);
        }
        node.reach(&etcd.patient());
    }
    node.del("c1", &config);
    // What was in doubt is looked at again, but nothing that was answered is there.
    wait_for(&etcd, &[]);
    let again = node.add("c2", &config);
    assert_eq!(again.len(), 1);
    node.del("c2", &config);
    wait_for(&etcd, &[]);
    node.settle();
}

#[test]
fn nothing_is_given_before_the_first_contact() {
    if !available("nothing_is_given_before_the_first_contact") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-first", &etcd.patient());
    let config = node.config(local());
    etcd.kill(0);
    node.reach(&etcd.connection());
    let outcome = node.call("ADD", &config).run();
    let (code, text) = error(&outcome);
    assert_eq!(code, 11, "{text}");
    assert!(text.contains("etcd was not reached since this node's boot: etcd at"), "{text}");
    assert!(outcome.took < SOON, "{:?}", outcome.took);
    let (code, text) = error(&node.call("STATUS", &config).run());
    assert_eq!(code, 50, "{text}");
    node.del("c1", &config);
    etcd.restart(0);
    node.reach(&etcd.patient());
    node.call("STATUS", &config).run().ok();
    assert_eq!(node.add("c1", &config).len(), 2);
    node.settle();
}

#[test]
fn a_full_node_needs_etcd_for_a_block() {
    if !available("a_full_node_needs_etcd_for_a_block") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-full", &etcd.patient());
    // Nothing is claimed ahead: whoever would is not started.
    let pool = json!({"name": "p", "cidr": "10.1.0.0/24", "blk": 32});
    let config = node.config_of("net", json!({"pool": pool, "flush": false}));
    node.add("c1", &config);
    assert!(node.processes().is_empty());
    etcd.kill(0);
    node.reach(&etcd.connection());
    let (code, text) = error(&node.call("ADD", &config).id("c2").run());
    assert_eq!(code, 11, "{text}");
    let (code, text) = error(&node.call("STATUS", &config).run());
    assert_eq!(code, 50, "{text}");
    assert!(text.contains("no free address and cannot claim a block"), "{text}");
    etcd.restart(0);
    node.reach(&etcd.patient());
    node.call("STATUS", &config).run().ok();
    node.add("c2", &config);
}
