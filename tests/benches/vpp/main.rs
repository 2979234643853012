/*!
ADD of vpp against the calls that it cannot do without: the same requests to VPP and the kernel by a program that
does nothing else. `make bench-vpp BENCH_OPTIONS=--help` says which options there are.

Where `VPP_API_SOCK` is set it is that VPP, which has to run in the network namespace of this program, on this
machine; else one in miniature, which makes interfaces in no time and has no memory worth a figure. Every call is
a process of its own, from before its start until it has been waited for; what is compared takes turns, call by
call. Read the ratios, not the times. `make bench-vpp` links this program as it does the plugins.
*/

mod bare;
mod figures;
mod relay;

use std::process::ExitCode;

use bench_report::options::{Common, arguments, exit};
use bench_report::{Outcome, Program, Report, machine};
use clap::Parser as _;
use support::{VppNode, binary, is_root, repository};

use bare::{BARE, bare};

fn main() -> ExitCode {
    let arguments = arguments();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == BARE => bare(rest),
        _ => bench(&Options::parse(), &arguments),
    };
    exit("bench-vpp", done)
}

/// ADD of vpp beside the bare requests to VPP and the kernel.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench-vpp")]
struct Options {
    /// Calls for each figure
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..),
        default_value = "100",
        default_value_if("quick", "true", "10")
    )]
    runs: u32,
    /// Routes to other nodes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "1000")]
    routes: u32,
    /// Pods whose memory is measured
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..=200),
        default_value = "50",
        default_value_if("quick", "true", "5")
    )]
    pods: u32,
    #[command(flatten)]
    common: Common,
}

fn bench(options: &Options, arguments: &[String]) -> Outcome<()> {
    if !is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let node = VppNode::new();
    let version = node.client().version().map_err(|e| e.to_string())?;
    let repository = repository();
    let programs = vec![
        machine::plugin("vpp", &binary("vpp"), Some(&repository)),
        machine::plugin("host-local", &binary("host-local"), Some(&repository)),
        Program { name: "VPP".to_owned(), version, ..Program::default() },
    ];
    let place = ("temporary files", node.scratch().path());
    let mut report = Report::begin("vpp", arguments, machine::look(&[place]), programs);
    figures::beside_bare_calls(options, &node, &mut report)?;
    figures::round_trips(&node, &mut report)?;
    figures::peer_routes(options, &node, &mut report)?;
    figures::memory(options, &node, &mut report)?;
    report.finish(options.common.json.as_deref())
}
