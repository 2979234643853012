//! What `plat` tells of a cluster, and how it imports into one: on a real etcd with records as nodes write them.

mod importing;
mod looking;

use std::process::Command;
use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd as Client};
use ipam_core::addr::Addr;
use ipam_pool::key::Keys;
use ipam_pool::txn::{Op, Txn};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::{Answer, Scratch, binary};

/// An etcd with records, and a system of the test's own to run `plat` on.
struct Cluster {
    etcd: Etcd,
    client: Client,
    scratch: Scratch,
}

fn addr(text: &str) -> Addr {
    Addr::parse(text).expect("an address")
}

impl Cluster {
    fn empty() -> Self {
        let etcd = Etcd::single();
        let connection = Connection::parse(&etcd.connection()).expect("a connection");
        let client = Client::new(&connection).expect("a client");
        Self { etcd, client, scratch: Scratch::new("plat-cluster") }
    }

    /// Three nodes, a local pool and one of mode sync.
    fn new() -> Self {
        let mut cluster = Self::empty();
        let keys = Keys::default();
        let mut all = vec![(
            keys.pools("default"),
            json!({"gen": 1, "pools": [
                {"name": "pods", "cidr": "10.64.0.0/20", "blk": 26, "mode": "local", "gw": "first",
                 "exclude": ["10.64.0.8/29"]},
                {"name": "svc", "cidr": "10.99.0.0/24", "blk": 26, "mode": "sync"},
            ]})
            .to_string(),
        )];
        for index in 1..=3 {
            let uuid = format!("u-{index}");
            let name = format!("vm-{index}");
            let node = json!({"name": name, "idx": index, "boot": format!("boot-{index}")});
            all.push((keys.node(&uuid), node.to_string()));
            all.push((keys.name(&name), uuid.clone()));
            all.push((keys.index(index), uuid.clone()));
            all.push((keys.boot(&uuid), format!("boot-{index}")));
        }
        all.push((keys.live("u-1"), String::new()));
        cluster.put(all);
        for (first, index, pool, mode) in [
            ("10.64.0.0", 1, "pods", "local"),
            ("10.64.3.64", 2, "pods", "local"),
            ("10.99.0.0", 3, "svc", "sync"),
        ] {
            cluster.put(vec![block(first, index, pool, mode)]);
        }
        cluster.put(vec![
            used("10.64.0.2", 1, "default/web-0"),
            used("10.64.3.69", 2, "default/db-0"),
            used("10.99.0.5", 3, "prod/api-0"),
        ]);
        cluster
    }

    fn put(&mut self, all: Vec<(Vec<u8>, String)>) {
        for some in all.chunks(100) {
            let then =
                some.iter().map(|(key, value)| Op::put(key.clone(), value.as_str())).collect();
            self.txn(&Txn { then, ..Txn::default() });
        }
    }

    fn txn(&mut self, txn: &Txn) -> ipam_pool::txn::Reply {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.client.txn(txn, deadline).expect("etcd answers")
    }

    /// The document of a key; `None` if it is not there.
    fn get(&mut self, key: Vec<u8>) -> Option<Value> {
        let reply = self.txn(&Txn { then: vec![Op::get(key)], ..Txn::default() });
        reply.one(0).map(|kv| serde_json::from_slice(&kv.value).expect("a document"))
    }

    fn address(&mut self, text: &str) -> Option<Value> {
        self.get(Keys::default().address("default", addr(text)))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("plat"));
        command
            .arg("--root")
            .arg(self.scratch.path())
            .args(["--etcd", &self.etcd.endpoint(0)])
            .args(arguments)
            .env_remove("PLAT_STATE_DIR")
            .env_remove("PLAT_RUN_DIR")
            .env_remove("PLAT_ETCD_CONFIG");
        command
    }

    fn plat(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }
}

fn block(first: &str, index: u32, pool: &str, mode: &str) -> (Vec<u8>, String) {
    let value =
        json!({"n": index, "u": format!("u-{index}"), "len": 26, "p": pool, "m": mode, "t": 1});
    (Keys::default().block("default", addr(first)), value.to_string())
}

fn used(address: &str, index: u32, pod: &str) -> (Vec<u8>, String) {
    let value = json!({
        "n": index, "u": format!("u-{index}"), "b": format!("boot-{index}"), "p": pod, "t": 1,
        "c": pod.replace('/', "-"), "i": "eth0", "w": "net", "x": "1",
    });
    (Keys::default().address("default", addr(address)), value.to_string())
}
