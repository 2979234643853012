//! The command line `plat`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plat::main()
}
