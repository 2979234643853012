//! The daemon `plat-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plat_agent::main()
}
