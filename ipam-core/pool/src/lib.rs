/*!
Cluster-wide pools, without any I/O.

A pool is a range of addresses in etcd that all nodes share. A node claims blocks of it and gives the
addresses of its blocks to its attachments. This crate is everything that decides: keys and values
([`key`], [`record`], [`pool`]), what is asked of etcd ([`txn`]), what a node remembers ([`node`],
[`ledger`]), and the operations ([`op`], [`ops`]) as machines that take one step at a time. [`model`] and
[`memory`] are etcd and a node's store in memory: the models that tests run all this against. Nothing in
here opens a file or a socket, or knows what time it is, so that every order of steps, losses and
crashes can be tried.

```
use ipam_pool::key::Keys;
use ipam_pool::memory::MemoryLedger;
use ipam_pool::model::Etcd;
use ipam_pool::op::{Event, Now, Operation, Step};
use ipam_pool::ops::{Context, Facts, Join};

let (mut etcd, mut ledger) = (Etcd::default(), MemoryLedger::default());
let context = Context { keys: Keys::default(), boot: "boot-1".to_owned() };
let facts = Facts { uuid: "u-7".to_owned(), name: "vm-7".to_owned(), ..Facts::default() };
let mut join = Join::new(context, facts, "default".to_owned());
let mut event = Event::Begin;
let joined = loop {
    // Whoever drives it may lose the request or its answer, wait, or die here.
    match join.step(&mut ledger, Now { boot: 5, unix: 100 }, event).expect("a ledger") {
        Step::Ask(txn) => event = Event::Reply(etcd.txn(&txn).expect("etcd carries it out")),
        Step::Done(joined) => break joined,
    }
};
assert!(joined.is_ok() && etcd.get(&Keys::default().node("u-7")).is_some());
```

[`admin`] has the operations of operators, and [`view`] what they are shown.
*/

pub mod admin;
pub mod key;
pub mod ledger;
pub mod memory;
pub mod model;
pub mod node;
pub mod op;
pub mod ops;
pub mod pool;
pub mod record;
pub mod txn;
pub mod view;
