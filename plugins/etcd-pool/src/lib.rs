/*!
etcd-pool: one pool of addresses for the whole cluster.

The decisions are `ipam_pool`'s; this crate has what surrounds them: the connection to etcd ([`client`],
[`reach`]), what a configuration says ([`config`]), who this node is ([`identity`]), the CNI operations
([`EtcdPool`]), and what is done behind the calls ([`flusher`]).
*/

pub mod administer;
pub mod client;
pub mod config;
pub mod errors;
pub mod flusher;
pub mod home;
pub mod identity;
mod plugin;
pub mod reach;

pub use plugin::EtcdPool;
