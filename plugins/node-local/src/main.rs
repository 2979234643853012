//! The CNI binary `node-local`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&host_local::Ipam::new(node_local::NodeLocal))
}
