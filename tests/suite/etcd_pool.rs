//! etcd-pool: nodes on one etcd, called as a runtime calls them.

mod attachments;
mod dying;
mod lost;
mod nodes;
mod operator;
mod outages;
mod pools;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd as Client};
use ipam_core::addr::{Addr, Family};
use ipam_pool::key::{DEFAULT_PREFIX, Key, Keys};
use ipam_pool::record::{self, AddressRecord};
use ipam_pool::txn::{Op, Reply, Txn};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::{Outcome, wait_until};

/// A pool with both families whose records are written behind.
fn local() -> Value {
    json!({"name": "pods", "cidr": "10.64.0.0/16", "cidr6": "fd00:64::/96", "gateway": "first"})
}

/// A pool whose records are written before an ADD answers.
fn sync() -> Value {
    json!({"name": "sync", "cidr": "10.65.0.0/16", "mode": "sync"})
}

/// Carries out a transaction, as another node or an operator might.
fn ask(etcd: &Etcd, then: Vec<Op>) -> Reply {
    let connection = Connection::parse(&etcd.connection()).expect("a connection");
    let mut client = Client::new(&connection).expect("a client");
    let deadline = Instant::now() + Duration::from_secs(60);
    client.txn(&Txn { then, ..Txn::default() }, deadline).expect("etcd answers")
}

/// The records of addresses in etcd: container ID, interface and network of each.
fn records(etcd: &Etcd) -> BTreeMap<Addr, [String; 3]> {
    let keys = Keys::new(DEFAULT_PREFIX);
    let reply = ask(etcd, vec![Op::range(keys.all_addresses("default"))]);
    let read = |kv| {
        let record: AddressRecord = record::read(kv).expect("a record");
        [record.c, record.i, record.w]
    };
    reply
        .got(0)
        .iter()
        .map(|kv| match keys.parse(&kv.key) {
            Some(Key::Address { addr, .. }) => (addr, read(kv)),
            other => panic!("no address: {other:?}"),
        })
        .collect()
}

/// Waits until etcd has records of these attachments, by address: container, interface, network.
fn wait_for(etcd: &Etcd, expected: &[(&str, [&str; 3])]) {
    let expected: BTreeMap<Addr, [String; 3]> =
        expected.iter().map(|(addr, holder)| (address(addr), holder.map(str::to_owned))).collect();
    wait_until(&format!("etcd has {expected:?}"), || records(etcd) == expected);
}

fn address(text: &str) -> Addr {
    Addr::parse(text).unwrap_or_else(|| panic!("{text} is no address"))
}

fn family(text: &str) -> Family {
    address(text).family()
}

/// The whole of an error: code, message and details in one text.
fn error(outcome: &Outcome) -> (u64, String) {
    let (code, message) = outcome.error();
    let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
    (code, format!("{message}\n{details}"))
}
