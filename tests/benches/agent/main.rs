/*!
plat-agent: all routes at once, one change among many, memory, and how soon a block that moves is followed; beside a
bare program that does the same requests and nothing else. `make bench-agent BENCH_OPTIONS=--help` says which options
there are.

First it restarts a VPP under pods (replay.rs has its own variables). Then it goes on in a network namespace of its own, in which an etcd and the agents run; each has a table of its own for its
routes, so that several agents are as many nodes. Where `VPP_API_SOCK` is set it is that VPP, else one in miniature.
Every `--once` is a process of its own, from before its start until it has been waited for; what is compared takes turns.
Read the ratios, not the times. `make bench-agent` links this program as it does the plugins.
*/

mod bare;
mod follow;
mod replay;
mod routes;
mod world;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use bench_report::options::{Common, arguments, exit};
use bench_report::{Figure, Goal, Outcome, Program, Report, machine};
use clap::Parser as _;
use support::{binary, is_root, program, repository};

use bare::{BARE, bare};
use world::World;

/// How often VPP is restarted.
const RESTARTS: u32 = 5;
/// The first argument of the process in the namespace.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let arguments = arguments();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == BARE => bare(rest),
        Some((first, rest)) if first == INSIDE => inside(rest),
        _ => enter(&Options::parse(), &arguments),
    };
    exit("bench-agent", done)
}

/// Routes by plat-agent beside a bare program, and how soon it follows.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench-agent")]
struct Options {
    /// Times that each figure is measured
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(1..),
        default_value = "15",
        default_value_if("quick", "true", "3")
    )]
    runs: u32,
    /// Routes of a full resync
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "5000")]
    routes: u32,
    /// Nodes of clusters in which one comes and goes
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=10_000),
        default_value = "1000,5000"
    )]
    nodes: Vec<u32>,
    /// Pods that are put back; 0 leaves that out
    #[arg(
        long,
        value_parser = clap::value_parser!(u32).range(..=500),
        default_value = "100",
        default_value_if("quick", "true", "10")
    )]
    pods: u32,
    #[command(flatten)]
    common: Common,
}

/// Restarts a VPP under pods, and goes on in a network namespace of its own.
fn enter(options: &Options, arguments: &[String]) -> Outcome<()> {
    if !is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let repository = repository();
    let etcd = machine::said("etcd", &["--version"]);
    let programs = vec![
        machine::program("plat-agent", &binary("plat-agent"), Some(&repository)),
        Program {
            name: "etcd".to_owned(),
            version: etcd.trim_start_matches("etcd Version: ").to_owned(),
            ..Program::default()
        },
    ];
    let places = [("tmpfs", Path::new("/dev/shm"))];
    let mut report = Report::begin("agent", arguments, machine::look(&places), programs);
    if options.pods > 0 {
        let mut add = |what: &str, figure: f64, unit: &str, bound: Option<f64>, how: &str| {
            let goal = bound.map(Goal::at_most);
            report.add(Figure::new("restart", what, figure, unit).goal(goal).how(how));
        };
        replay::run(options.pods as usize, RESTARTS.min(options.runs) as usize, &mut add)?;
    }
    let report = serde_json::to_string(&report).map_err(|e| e.to_string())?;
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program("unshare"));
    command.args(["--net", "--"]).arg(this).args([INSIDE, report.as_str()]).args(arguments);
    Err(format!("unshare: {}", command.exec()))
}

/// The process in the namespace: it is given the report so far.
fn inside(arguments: &[String]) -> Outcome<()> {
    let (report, rest) = arguments.split_first().ok_or("no report")?;
    let mut report: Report = serde_json::from_str(report).map_err(|e| e.to_string())?;
    let options = Options::parse_from([String::new()].iter().chain(rest));
    let world = World::new()?;
    report.program(Program {
        name: "VPP".to_owned(),
        version: world.vpp_version(),
        ..Program::default()
    });
    routes::in_kernel(&options, &world, &mut report)?;
    routes::in_vpp(&options, &world, &mut report)?;
    for nodes in options.nodes.iter().copied() {
        follow::one_more(&options, &world, nodes, &mut report)?;
    }
    follow::moved_block(&options, &world, &mut report)?;
    report.finish(options.common.json.as_deref())
}
