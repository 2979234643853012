//! The node's own table is lost while its pods live: etcd knows what they hold.

use std::fs;
use std::process::Command;

use support::PoolNode;
use support::etcd::{Etcd, available};

use super::{error, local, sync};

#[test]
fn what_living_pods_hold_is_not_given_out_again() {
    if !available("what_living_pods_hold_is_not_given_out_again") {
        return;
    }
    for pool in [local(), sync()] {
        let etcd = Etcd::single();
        let node = PoolNode::new("pool-lost", &etcd.patient());
        let config = node.config(pool);
        let first = node.add("c1", &config);
        let second = node.add("c2", &config);
        node.settle();
        fs::remove_file(node.run_dir().join("plat.db")).expect("the database was there");
        let (code, text) = error(&node.call("ADD", &config).id("c3").run());
        assert_eq!(code, 11, "{text}");
        let empty = node.scratch().path().join("nothing");
        let fixed = Command::new(support::binary("plat"))
            .args(["check", "--fix", "--yes", "--conf-dir"])
            .arg(&empty)
            .env("PLAT_STATE_DIR", node.state())
            .env("PLAT_RUN_DIR", node.run_dir())
            .output()
            .expect("plat can be started");
        let text = String::from_utf8_lossy(&fixed.stdout).into_owned();
        assert!(node.run_dir().join("plat.db").exists(), "{text}");
        // What no cache of a runtime tells, etcd does.
        let third = node.add("c3", &config);
        let all = [&first, &second, &third];
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert!(one.iter().all(|addr| !other.contains(addr)), "{one:?} {other:?}");
            }
        }
        assert_eq!(node.add("c2", &config), second, "a repeated ADD");
        for id in ["c1", "c2", "c3"] {
            node.del(id, &config);
        }
        super::wait_for(&etcd, &[]);
        node.settle();
    }
}
