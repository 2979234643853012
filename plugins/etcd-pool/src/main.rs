//! The CNI binary `etcd-pool`.

use std::process::ExitCode;

use etcd_pool::{EtcdPool, flusher};

fn main() -> ExitCode {
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
