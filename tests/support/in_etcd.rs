//! What pools keep in etcd, read and written past the plugins.

use std::fmt;
use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd};
use ipam_pool::key::{Key, Keys};
use ipam_pool::txn::{Answer, Kv, Op, Reply, Txn};
use serde_json::Value;

/// Far more than an etcd takes that is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that lies below the prefix of a connection.
#[derive(Debug)]
pub struct InEtcd {
    etcd: Etcd,
    keys: Keys,
}

impl InEtcd {
    /// Reached as a configuration's `etcd` section says.
    pub fn new(connection: &Value) -> Self {
        let connection = Connection::parse(connection).expect("a connection");
        let etcd = Etcd::new(&connection).expect("a client");
        Self { etcd, keys: Keys::new(&connection.prefix) }
    }

    /// The keys.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Carries out a transaction; panics if etcd does not answer.
    pub fn txn(&mut self, txn: &Txn) -> Reply {
        self.etcd.txn(txn, Instant::now() + PATIENCE).expect("etcd answers")
    }

    /// Everything, by key; panics at a key that is none of ours.
    pub fn all(&mut self) -> Vec<(Key, Kv)> {
        let (mut key, end) = self.keys.all();
        let mut all = Vec::new();
        loop {
            let page = Op::Get { key, end: Some(end.clone()), keys_only: false, limit: 4096 };
            let mut reply = self.txn(&Txn { then: vec![page], ..Txn::default() });
            let Some(Answer::Got { kvs, more }) = reply.answers.pop() else { return all };
            let last = kvs.last().map(|kv| kv.key.clone());
            for kv in kvs {
                let text = String::from_utf8_lossy(&kv.key).into_owned();
                let key = self.keys.parse(&kv.key).unwrap_or_else(|| panic!("what is {text}?"));
                all.push((key, kv));
            }
            match last {
                Some(mut next) if more => {
                    next.push(0);
                    key = next;
                }
                _ => return all,
            }
        }
    }

    /// What is of certain kinds.
    pub fn some(&mut self, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, Kv)> {
        self.all().into_iter().filter(|(key, _)| wanted(key)).collect()
    }

    /// The addresses that have a record, as text.
    pub fn addresses(&mut self) -> Vec<String> {
        let all = self.all().into_iter();
        all.filter_map(|(key, _)| match key {
            Key::Address { addr, .. } => Some(addr.to_string()),
            _ => None,
        })
        .collect()
    }

    /// Writes a key.
    pub fn put(&mut self, key: Vec<u8>, value: impl fmt::Display) {
        let put = Op::put(key, value.to_string());
        self.txn(&Txn { then: vec![put], ..Txn::default() });
    }
}
