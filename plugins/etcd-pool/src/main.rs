//! The CNI binary `etcd-pool`.

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd_pool::main()
}
