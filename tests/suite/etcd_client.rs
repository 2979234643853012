//! The client of etcd against real etcds: what it asks, whom, and what it says when something is wrong.

mod endpoints;
mod leases;
mod model;
mod tls;
mod transactions;
mod trouble;
mod watching;

use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd, EtcdError};
use ipam_pool::txn::{Op, Reply, Txn};
use serde_json::Value;

/// Far more than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A client for what [`support::etcd::Etcd::connection`] describes.
fn client(connection: &Value) -> Etcd {
    Etcd::new(&Connection::parse(connection).expect("a connection")).expect("a client")
}

fn soon() -> Instant {
    Instant::now() + LONG
}

fn put(key: &str, value: &str) -> Txn {
    Txn { then: vec![Op::put(key, value)], ..Txn::default() }
}

fn get(key: &str) -> Txn {
    Txn { then: vec![Op::get(key)], ..Txn::default() }
}

/// Asks with little time, and checks that no more was taken: a bit is left for a busy machine.
fn within(etcd: &mut Etcd, txn: &Txn, time: Duration) -> Result<Reply, EtcdError> {
    let start = Instant::now();
    let result = etcd.txn(txn, start + time);
    let took = start.elapsed();
    assert!(took < time + Duration::from_millis(700), "{took:?} of {time:?}: {result:?}");
    result
}

/// The value of a key.
fn read(etcd: &mut Etcd, key: &str) -> Option<String> {
    let reply = etcd.txn(&get(key), soon()).expect("a reply");
    reply.one(0).map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}
