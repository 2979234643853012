//! chain: one IPAM made of several, and a whole network by one configuration.

mod all;
pub(crate) mod bench;
mod docs;
mod faults;
mod first;
mod real;
mod top;
mod with_etcd;
