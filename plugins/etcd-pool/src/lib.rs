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

use std::process::ExitCode;

pub use plugin::EtcdPool;

/// The program: the plugin, and the process that it starts to write behind.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // A runtime gives no arguments: this is the plugin's own child.
    if arguments.next().is_some_and(|argument| argument == flusher::ARGUMENT) {
        return flusher::main(arguments);
    }
    let plugin = EtcdPool::default();
    let code = cni::run(&plugin);
    // After the answer: nobody waits for the records in etcd.
    plugin.start_flusher();
    code
}
