//! The client of etcd against real etcds: what it asks, whom, and what it says when something is wrong.

mod endpoints;
mod leases;
mod model;
mod tls;
mod transactions;
mod trouble;
mod watching;

use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd, EtcdError, Member};
use ipam_pool::txn::{Op, Reply, Txn};
use serde_json::Value;

/// Far more than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A client for what [`support::etcd::Etcd::connection`] describes.
fn hasty(connection: &Value) -> Etcd {
    Etcd::new(&Connection::parse(connection).expect("a connection")).expect("a client")
}

/// The same, which asks an endpoint that is there once: a copy would not be what a test has asked for, and on a machine
/// that stands still for a moment a second is not long.
fn client(connection: &Value) -> Etcd {
    let mut etcd = hasty(connection);
    etcd.set_patience(LONG);
    etcd
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

/// Asks with this time, and checks that no more was taken, but for what a machine may stand still.
fn within(etcd: &mut Etcd, txn: &Txn, time: Duration) -> Result<Reply, EtcdError> {
    let start = Instant::now();
    let result = etcd.txn(txn, start + time);
    let took = start.elapsed();
    assert!(took < time + LONG, "{took:?} of {time:?}: {result:?}");
    result
}

/// What the members tell of themselves, as soon as it is this: who was not reached in time tells nothing.
fn told(etcd: &mut Etcd, what: &str, holds: impl Fn(&[Member]) -> bool) -> Vec<Member> {
    let mut members = Vec::new();
    let end = soon();
    while !holds(&members) {
        assert!(Instant::now() < end, "{what}: {members:?}");
        members = etcd.members(LONG);
    }
    members
}

/// The failure of a question with little time, as soon as it is this one; a moment of the machine may be all of it.
fn fails(
    etcd: &mut Etcd,
    txn: &Txn,
    time: Duration,
    holds: impl Fn(&EtcdError) -> bool,
) -> EtcdError {
    let end = soon();
    loop {
        let error = within(etcd, txn, time).expect_err("nobody can answer");
        if holds(&error) {
            return error;
        }
        assert!(Instant::now() < end, "{error}");
    }
}

/// The value of a key.
fn read(etcd: &mut Etcd, key: &str) -> Option<String> {
    let reply = etcd.txn(&get(key), soon()).expect("a reply");
    reply.one(0).map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}
