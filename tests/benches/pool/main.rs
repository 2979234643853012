/*!
ADD and DEL of etcd-pool against what they can be compared with: the same node's own store without a pool,
and one transaction of etcd by a process that does nothing else. `make bench-pool BENCH_OPTIONS=--help` says which options
there are.

etcd is one member on loopback with its data on tmpfs, started for this. Every call is a process of its own,
from before its start until it has been waited for; what is compared takes turns, call by call. Read the
ratios, not the times. `make bench-pool` links this program as it does the plugins, statically, so that the bare
transaction's process starts as fast as theirs.
*/

mod bare;
mod figures;
mod place;

use std::path::Path;
use std::process::ExitCode;

use bench_report::options::{Common, arguments, exit};
use bench_report::{Outcome, Program, Report, machine};
use clap::Parser as _;
use support::etcd::{Setup, available};
use support::{binary, repository};

use bare::{BARE, bare};
use figures::{
    beside_bare_transaction, beside_own_store, killed_callers, many_callers, memory, requests,
};

fn main() -> ExitCode {
    let arguments = arguments();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == BARE => bare(rest),
        _ => bench(&Options::parse(), &arguments),
    };
    exit("bench-pool", done)
}

/// ADD and DEL of etcd-pool beside node-local and a bare transaction of etcd.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench-pool")]
struct Options {
    /// Calls for each figure
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..),
        default_value = "150",
        default_value_if("quick", "true", "20")
    )]
    runs: u32,
    /// Records of other nodes in the pool
    #[arg(long, default_value = "100000", default_value_if("quick", "true", "3000"))]
    held: u32,
    /// Callers at once
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=256),
        default_value = "1,2,4,8,16,32",
        default_value_if("quick", "true", "1,4,16")
    )]
    callers: Vec<u32>,
    /// ADDs and DELs of all callers
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..=20_000),
        default_value = "600",
        default_value_if("quick", "true", "60")
    )]
    calls: u32,
    #[command(flatten)]
    common: Common,
}

fn bench(options: &Options, arguments: &[String]) -> Outcome<()> {
    if !available("bench-pool") {
        return Err("there is no etcd".to_owned());
    }
    let repository = repository();
    let version = machine::said("etcd", &["--version"]);
    let programs = vec![
        machine::plugin("etcd-pool", &binary("etcd-pool"), Some(&repository)),
        machine::plugin("node-local", &binary("node-local"), Some(&repository)),
        Program {
            name: "etcd".to_owned(),
            version: version.trim_start_matches("etcd Version: ").to_owned(),
            ..Program::default()
        },
    ];
    let places = [("tmpfs", Path::new("/dev/shm"))];
    let mut report = Report::begin("pool", arguments, machine::look(&places), programs);
    let etcd = Setup::new().quota(2 << 30).start();
    beside_own_store(options, &etcd, &mut report)?;
    beside_bare_transaction(options, &etcd, &mut report)?;
    memory(&etcd, &mut report)?;
    many_callers(options, &etcd, &mut report)?;
    requests(options, &etcd, &mut report)?;
    killed_callers(options, etcd, &mut report)?;
    report.finish(options.common.json.as_deref())
}
