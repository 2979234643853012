//! The CNI binary `chain`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(&chain::Chain)
}
