//! Calls that are killed, callers that go away, and what is left running.

use std::fs;

use serde_json::json;
use support::etcd::{Etcd, available};
use support::{Owned, PoolNode, parent_of, wait_until};

use super::{local, sync, wait_for};

/// While etcd says nothing, a call that waits for it is killed: nobody after it is delayed, and what it has
/// half done gives no address twice.
#[test]
fn a_killed_call_delays_nobody() {
    if !available("a_killed_call_delays_nobody") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-killed", &etcd.patient());
    let config = node.config(sync());
    let first = node.add("c1", &config);
    node.settle();
    etcd.stop(0);
    {
        let mut call = Owned(node.call("ADD", &config).id("c2").spawn());
        // It has decided, and waits for etcd: its address is in the database.
        let database = node.run_dir().join("plat.db");
        let before = fs::metadata(&database).and_then(|meta| meta.modified()).expect("a time");
        wait_until("the call has decided", || {
            fs::metadata(&database).and_then(|m| m.modified()).is_ok_and(|now| now != before)
                || call.0.try_wait().is_ok_and(|status| status.is_some())
        });
    }
    etcd.cont(0);
    // The runtime tries again, and sends a DEL for what it gave up.
    let third = node.add("c3", &config);
    let second = node.add("c2", &config);
    let mut all = [first.clone(), second.clone(), third.clone()].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3, "{first:?} {second:?} {third:?}");
    for id in ["c1", "c2", "c3"] {
        node.del(id, &config);
    }
    wait_for(&etcd, &[]);
    node.settle();
}

/// What writes behind the calls is one process, of nobody's session, without the caller's standard streams,
/// and ends by itself.
#[test]
fn what_flushes_is_in_nobodys_way() {
    if !available("what_flushes_is_in_nobodys_way") {
        return;
    }
    let mut etcd = Etcd::single();
    let node = PoolNode::new("pool-flusher", &etcd.patient());
    let config = node.config(local());
    node.add("c1", &config);
    node.settle();
    // It waits for an answer as long as one may come.
    etcd.stop(0);
    for id in ["c2", "c3", "c4"] {
        node.add(id, &config);
    }
    wait_until("one is left", || node.processes().len() == 1);
    let pid = node.processes()[0];
    // The parent of who has lost its own is who collects the dead.
    wait_until("it is nobody's child", || {
        parent_of(pid).is_none_or(|parent| parent != std::process::id())
    });
    for stream in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{stream}"));
        assert!(target.is_err() || target.is_ok_and(|t| t.ends_with("null")), "{stream}");
    }
    assert!(fs::read_link(format!("/proc/{pid}/cwd")).map_or(true, |cwd| cwd.as_os_str() == "/"));
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
    let kept = environment.split('\0').filter(|pair| !pair.is_empty());
    assert!(kept.clone().all(|pair| pair.starts_with("PLAT_")), "{environment:?}");
    etcd.cont(0);
    node.settle();
    node.call("STATUS", &config).run().ok();
    node.del("c1", &config);
    node.del("c2", &config);
    node.del("c3", &config);
    node.del("c4", &config);
    wait_for(&etcd, &[]);
    node.settle();
}

/// A runtime that gave up has killed the main plugin, not this one: nothing is given to nobody.
#[test]
fn an_answer_that_nobody_reads_is_taken_back() {
    if !available("an_answer_that_nobody_reads_is_taken_back") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-orphan", &etcd.patient());
    let config = node.config(json!({"name": "p", "cidr": "10.1.0.0/29", "blk": 29}));
    node.add("c1", &config);
    let mut call = Owned(node.call("ADD", &config).id("c2").spawn());
    drop(call.0.stdout.take());
    wait_until("it ends", || call.0.try_wait().is_ok_and(|status| status.is_some()));
    assert_eq!(node.call("CHECK", &config).id("c2").run().error().0, 3);
    node.settle();
    wait_until("etcd knows of one", || super::records(&etcd).len() == 1);
}
