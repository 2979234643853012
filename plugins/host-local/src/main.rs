//! The CNI binary `host-local`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&host_local::Ipam::new(host_local::HostLocal))
}
