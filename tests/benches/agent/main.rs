/*!
plat-agent: all routes at once, one change among many, memory, and how soon a block that moves is followed; beside a
bare program that does the same requests and nothing else.

```text
cargo bench -p plat-tests --bench agent -- [options]

--runs N      times that each figure is measured         15
--routes N    routes of a full resync                    5000
--pods N      pods that are put back; 0 leaves that out  100
--quick       few of everything: to see that it works
--json FILE   all figures, for programs                  target/bench-agent.json
```

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
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::Value;
use support::report::{Report, heading};
use support::{binary, is_root, program, repository};

use bare::{BARE, bare};
use world::World;

type Outcome<T> = Result<T, String>;

/// How often VPP is restarted.
const RESTARTS: usize = 5;
/// The first argument of the process in the namespace.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == BARE => bare(rest),
        Some((first, rest)) if first == INSIDE => inside(rest),
        _ => Options::parse(&arguments).and_then(|options| enter(&options, &arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("agent: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Restarts a VPP under pods, and goes on in a network namespace of its own.
fn enter(options: &Options, arguments: &[String]) -> Outcome<()> {
    if !is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let mut report = Report::default();
    if options.pods > 0 {
        report = Report::begin("A VPP that is restarted under pods");
        let mut add = |what: &str, figure: f64, unit: &str, bound: Option<f64>, how: &str| {
            report.add(what, figure, unit, bound.map(|bound| (bound, false)), how);
        };
        replay::run(options.pods, RESTARTS.min(options.runs), &mut add)?;
    }
    let rows = Value::Array(report.into_rows()).to_string();
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program("unshare"));
    command.args(["--net", "--"]).arg(this).args([INSIDE, rows.as_str()]).args(arguments);
    Err(format!("unshare: {}", command.exec()))
}

/// The process in the namespace: it is given the figures that there are.
fn inside(arguments: &[String]) -> Outcome<()> {
    let (rows, rest) = arguments.split_first().ok_or("no figures")?;
    let rows = serde_json::from_str(rows).map_err(|e| e.to_string())?;
    bench(&Options::parse(rest)?, rows)
}

#[derive(Clone, Debug)]
struct Options {
    runs: usize,
    routes: u32,
    pods: usize,
    json: PathBuf,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let quick = arguments.iter().any(|a| a == "--quick");
        let mut options = Self {
            runs: if quick { 3 } else { 15 },
            routes: 5000,
            pods: if quick { 10 } else { 100 },
            json: repository().join("target/bench-agent.json"),
        };
        let mut arguments = arguments.iter().filter(|a| *a != "--quick");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: &str| match text.parse::<u32>() {
                Ok(0) | Err(_) => Err(format!("{name}: {text:?} is no number from 1 on")),
                Ok(number) if number > 10_000 => Err(format!("{name}: at most 10000")),
                Ok(number) => Ok(number),
            };
            match name.as_str() {
                "--runs" => options.runs = number(value()?)?.try_into().unwrap_or(1),
                "--routes" => options.routes = number(value()?)?,
                "--pods" => options.pods = value()?.parse().map_err(|_| "--pods: no number")?,
                "--json" => options.json = value()?.into(),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

fn bench(options: &Options, rows: Vec<Value>) -> Outcome<()> {
    let world = World::new()?;
    let about = [
        format!("Agent: {}", binary("plat-agent").display()),
        format!("VPP: {}", world.vpp_version()),
    ];
    let heading = heading(&about, options.runs);
    let mut report = Report::go_on(&heading, rows);
    routes::in_kernel(options, &world, &mut report)?;
    routes::in_vpp(options, &world, &mut report)?;
    for nodes in [1000, 5000] {
        follow::one_more(options, &world, nodes, &mut report)?;
    }
    follow::moved_block(options, &world, &mut report)?;
    report.write(&heading, &options.json)
}
