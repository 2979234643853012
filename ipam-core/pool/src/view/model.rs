//! A store in memory that carries out transactions as etcd does, for tests.

use std::collections::BTreeMap;

use ipam_core::addr::Addr;
use serde_json::{Value, json};

use super::{Reader, Scope, Snapshot};
use crate::key::Keys;
use crate::txn::{Answer, BATCH, Compare, Kv, MOST, Op, Reply, Target, Txn};

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) kvs: BTreeMap<Vec<u8>, Kv>,
    pub(super) revision: i64,
    /// How many keys a page has at most.
    pub(super) page: usize,
}

impl Model {
    pub(super) fn put(&mut self, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        let op = Op::put(key, value.into());
        assert!(self.txn(&Txn { then: vec![op], ..Txn::default() }).succeeded);
    }

    pub(super) fn document(&mut self, key: Vec<u8>, value: &Value) {
        self.put(key, value.to_string());
    }

    fn holds(&self, compare: &Compare) -> bool {
        let test = |kv: Option<&Kv>| match &compare.target {
            Target::Created(revision) => kv.map_or(0, |kv| kv.created) == *revision,
            Target::Modified(revision) => kv.map_or(0, |kv| kv.modified) == *revision,
            Target::Value(value) => kv.is_some_and(|kv| kv.value == *value),
        };
        match &compare.end {
            None => test(self.kvs.get(&compare.key)),
            Some(end) => {
                self.kvs.range(compare.key.clone()..end.clone()).all(|(_, kv)| test(Some(kv)))
            }
        }
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Reply {
        assert!(txn.compares.len() <= MOST && txn.then.len() <= BATCH, "{txn:?}");
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        if ops.iter().any(|op| !matches!(op, Op::Get { .. })) {
            self.revision += 1;
        }
        let mut written = std::collections::BTreeSet::new();
        let answers = ops
            .iter()
            .map(|op| match op {
                Op::Get { key, end, limit, .. } => {
                    let end = end.clone().unwrap_or_else(|| [key.as_slice(), &[0]].concat());
                    let all: Vec<Kv> =
                        self.kvs.range(key.clone()..end).map(|(_, kv)| kv.clone()).collect();
                    let most = usize::try_from(*limit).unwrap().min(self.page.max(1));
                    let more = all.len() > most;
                    Answer::Got { kvs: all.into_iter().take(most).collect(), more }
                }
                Op::Put { key, value, .. } => {
                    assert!(
                        written.insert(key.clone()),
                        "etcd refuses a key that is written twice"
                    );
                    let created = self.kvs.get(key).map_or(self.revision, |kv| kv.created);
                    let (value, modified) = (value.clone(), self.revision);
                    let kv = Kv { key: key.clone(), value, created, modified, lease: 0 };
                    self.kvs.insert(key.clone(), kv);
                    Answer::Put
                }
                Op::Delete { key, .. } => {
                    Answer::Deleted(i64::from(self.kvs.remove(key).is_some()))
                }
            })
            .collect();
        Reply { succeeded, revision: self.revision, cluster: 1, answers, ..Reply::default() }
    }

    pub(super) fn read(&mut self, scope: Scope) -> Snapshot {
        self.page = self.page.max(3);
        let mut reader = Reader::new(Keys::default(), scope);
        while let Some(txn) = reader.ask() {
            let reply = self.txn(&txn);
            reader.take(reply);
        }
        reader.finish()
    }

    pub(super) fn all(&mut self) -> Snapshot {
        self.read(Scope::All)
    }

    pub(super) fn node(&mut self, index: u32) {
        let (keys, uuid) = (Keys::default(), format!("u-{index}"));
        let node =
            json!({"name": format!("vm-{index}"), "idx": index, "boot": format!("boot-{index}")});
        self.document(keys.node(&uuid), &node);
        self.put(keys.name(&format!("vm-{index}")), uuid.as_str());
        self.put(keys.index(index), uuid.as_str());
        self.put(keys.boot(&uuid), format!("boot-{index}"));
    }

    pub(super) fn block(&mut self, first: &str, len: u8, node: u32, pool: &str, mode: &str) {
        let value = json!({"n": node, "u": format!("u-{node}"), "len": len, "p": pool, "m": mode, "t": 100});
        self.document(Keys::default().block("default", addr(first)), &value);
    }

    pub(super) fn used(&mut self, address: &str, node: u32, container: &str) {
        let value = json!({
            "n": node, "u": format!("u-{node}"), "b": format!("boot-{node}"), "c": container,
            "i": "eth0", "w": "net", "p": format!("default/{container}"), "t": 100, "x": "1",
        });
        self.document(Keys::default().address("default", addr(address)), &value);
    }
}

pub(super) fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

/// Three nodes, a local pool and a dual-stack one of mode sync; nothing is wrong with it.
pub(super) fn cluster() -> Model {
    let mut model = Model::default();
    let keys = Keys::default();
    for index in 1..=3 {
        model.node(index);
    }
    model.document(
        keys.pools("default"),
        &json!({"gen": 1, "pools": [
            {"name": "pods", "cidr": "10.64.0.0/20", "blk": 26, "mode": "local", "gw": "first",
             "exclude": ["10.64.0.8/29"]},
            {"name": "svc", "cidr": "10.99.0.0/24", "cidr6": "fd00::/112", "blk": 26, "mode": "sync"},
        ]}),
    );
    model.block("10.64.0.0", 26, 1, "pods", "local");
    model.block("10.64.3.64", 26, 2, "pods", "local");
    model.block("10.99.0.0", 26, 3, "svc", "sync");
    model.block("fd00::", 122, 3, "svc", "sync");
    model.used("10.64.0.2", 1, "a");
    model.used("10.64.3.69", 2, "b");
    model.used("10.99.0.5", 3, "c");
    model.used("fd00::5", 3, "c");
    model
}
