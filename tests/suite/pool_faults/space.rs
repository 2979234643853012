//! etcd has no room left.

use ipam_pool::txn::{Op, Txn};
use support::cluster_node::available;
use support::etcd::Setup;
use support::{ClusterNode, InEtcd};

use super::{address, assert_fails, collect, config, status};

/// Nothing can be written then, but things can be deleted: DEL and GC reach etcd, ADD of mode `sync` waits for
/// better times, ADD of mode `local` goes on.
#[test]
fn full() {
    if !available("pool_faults::space::full") {
        return;
    }
    let etcd = Setup::new().quota(4 << 20).start();
    let connection = etcd.patient();
    let node = ClusterNode::new("node-1");
    let (local, sync) = (config("local", 1, &connection), config("sync", 1, &connection));
    for id in ["a", "b", "c"] {
        node.call("ADD", id, &local).run().ok();
        node.call("ADD", id, &sync).run().ok();
    }
    node.flush(&connection);
    let mut seen = InEtcd::new(&connection);
    assert_eq!(seen.addresses().len(), 6);
    fill(&connection);
    let refused = node.call("ADD", "late", &sync).run();
    assert_fails(&refused, 11, "NOSPACE");
    node.call("DEL", "late", &sync).run().ok();
    let added = node.call("ADD", "late", &local).run();
    let late = address(&added);
    // What is freed is deleted in etcd, although something waits that cannot be written.
    node.call("DEL", "a", &local).run().ok();
    node.call("DEL", "a", &sync).run().ok();
    collect(&node, &local, &["c", "late"]).ok();
    collect(&node, &sync, &["c"]).ok();
    node.flush(&connection);
    let left = seen.addresses();
    assert_eq!(left.len(), 2, "{left:?}; {:?}", node.flush_problem());
    assert!(!left.contains(&late));
    assert_fails(&status(&node, &sync), 50, "NOSPACE");
}

/// Writes until etcd refuses.
fn fill(connection: &serde_json::Value) {
    let parsed = etcd_pool::client::Connection::parse(connection).expect("a connection");
    let mut etcd = etcd_pool::client::Etcd::new(&parsed).expect("a client");
    for n in 0.. {
        let put = Op::put(format!("/else/{n}"), vec![b'x'; 256 << 10]);
        let txn = Txn { then: vec![put], ..Txn::default() };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        if let Err(error) = etcd.txn(&txn, deadline) {
            assert_eq!(error.kind, etcd_pool::client::Kind::NoSpace, "{error:?}");
            return;
        }
        assert!(n < 1000, "etcd has no quota");
    }
}
