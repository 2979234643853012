//! IPv4 from node-local, IPv6 from etcd-pool, with an etcd.

use serde_json::{Value, json};
use support::etcd::{Etcd, available};
use support::{Call, PoolNode, binary};

use super::bench::Bench;

/// A bench that has etcd-pool, on a node that it knows.
struct Both {
    bench: Bench,
    node: PoolNode,
    etcd: Etcd,
}

impl Both {
    fn new() -> Self {
        let etcd = Etcd::single();
        let bench = Bench::new();
        bench.link(&binary("etcd-pool"), "etcd-pool");
        Self { node: PoolNode::new("chain-pool", &etcd.patient()), bench, etcd }
    }

    /// State is the node's: what writes behind ends with it.
    fn call(&self, command: &str, config: &Value) -> Call {
        let file = self.node.scratch().path().join("etcd.json");
        self.bench
            .call(command, config)
            .state_in(self.node.scratch().path())
            .env("PLAT_ETCD_CONFIG", file.display().to_string())
    }

    fn held(&self, id: &str) -> Vec<String> {
        let mut held = Vec::new();
        for network in [Bench::NETWORK, "default/p"] {
            let data = self.bench.data();
            let holdings = support::Holdings::new(network, &data, &self.node.run_dir());
            held.extend(holdings.held_by(id, "eth0").iter().map(ToString::to_string));
        }
        held
    }
}

fn pool(mode: &str) -> Value {
    json!({"type": "etcd-pool", "pool": {"name": "p", "cidr6": "fd00:64::/112", "blk6": 124, "mode": mode}})
}

#[test]
fn one_attachment_of_two_sources() {
    if !available("one_attachment_of_two_sources") {
        return;
    }
    for mode in ["local", "sync"] {
        let both = Both::new();
        let config = Bench::config("all", &[Bench::node_local("10.1.{i}.0/24"), pool(mode)]);
        let add = |id: &str| both.call("ADD", &config).id(id).run();
        let first = add("c1");
        let addresses = first.addresses();
        assert_eq!(addresses[0], "10.1.4.2");
        assert!(addresses[1].starts_with("fd00:64::"), "{addresses:?}");
        assert_eq!(add("c1").addresses(), addresses, "idempotent");
        let second = add("c2").addresses();
        assert_eq!(second[0], "10.1.4.3");
        let mut check = config.clone();
        check["prevResult"] = first.json();
        both.call("CHECK", &check).id("c1").run().ok();
        both.call("STATUS", &config).run().ok();

        let mut gc = config.clone();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
        both.call("GC", &gc).run().ok();
        assert_eq!((both.held("c1").len(), both.held("c2").len()), (0, 2));
        for _ in 0..2 {
            both.call("DEL", &Bench::stripped("bridge")).id("c2").env("CNI_NETNS", "").run().ok();
            assert_eq!(both.held("c2"), [] as [String; 0]);
        }
        both.node.settle();
    }
}

#[test]
fn what_the_first_gave_is_undone_when_etcd_is_away() {
    if !available("what_the_first_gave_is_undone_when_etcd_is_away") {
        return;
    }
    let mut both = Both::new();
    let config = Bench::config("all", &[Bench::node_local("10.1.{i}.0/24"), pool("sync")]);
    both.etcd.kill(0);
    both.node.reach(&both.etcd.connection());
    let (code, message) = both.call("ADD", &config).run().error();
    assert_eq!(code, 11);
    assert!(message.starts_with("ipam.ipams[1] (etcd-pool): "), "{message}");
    assert_eq!(both.held("c1"), [] as [String; 0]);
    let (code, message) = both.call("STATUS", &config).run().error();
    assert_eq!(code, 50);
    assert!(message.starts_with("ipam.ipams[1] (etcd-pool): "), "{message}");

    // With somebody to go on to, it is no failure.
    let first = Bench::config("first", &[pool("sync"), Bench::node_local("10.1.{i}.0/24")]);
    assert_eq!(both.call("ADD", &first).run().addresses(), ["10.1.4.3"], "after the last one");
    both.call("STATUS", &first).run().ok();
    both.call("DEL", &first).run().ok();
    assert_eq!(both.held("c1"), [] as [String; 0]);
    both.node.settle();
}
