/*!
Cluster-wide pools, without any I/O.

A pool is a range of addresses in etcd that all nodes share. A node claims blocks of it and gives the
addresses of its blocks to its attachments. This crate is everything that decides: keys and values
([`key`], [`record`], [`pool`]), what is asked of etcd ([`txn`]), what a node remembers ([`node`],
[`ledger`]), and the operations ([`op`], [`ops`]) as machines that take one step at a time. [`model`] and
[`memory`] are etcd and a node's store in memory: the models that tests run all this against. Nothing in
here opens a file or a socket, or knows what time it is, so that every order of steps, losses and
crashes can be tried.
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
