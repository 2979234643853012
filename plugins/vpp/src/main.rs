//! The CNI binary `vpp`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&vpp_plugin::Vpp)
}
