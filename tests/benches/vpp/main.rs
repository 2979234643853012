/*!
ADD of vpp against the calls that it cannot do without: the same requests to VPP and the kernel by a program that
does nothing else.

```text
cargo bench -p plat-tests --bench vpp -- [options]

--runs N      calls for each figure                       100
--routes N    routes to other nodes                       1000
--pods N      pods whose memory is measured               50
--quick       few of everything: to see that it works
--json FILE   all figures, for programs                   target/bench-vpp.json
```

Where `VPP_API_SOCK` is set it is that VPP, which has to run in the network namespace of this program, on this
machine; else one in miniature, which makes interfaces in no time and has no memory worth a figure. Every call is
a process of its own, from before its start until it has been waited for; what is compared takes turns, call by
call. Read the ratios, not the times. `make bench-vpp` links this program as it does the plugins.
*/

mod bare;
mod figures;
mod relay;
mod report;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::json;
use support::{VppNode, binary, is_root, repository};

use bare::{BARE, bare};
use report::Report;

type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == BARE => bare(rest),
        _ => Options::parse(&arguments).and_then(|options| bench(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("vpp: {message}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Debug)]
struct Options {
    runs: usize,
    routes: usize,
    pods: usize,
    json: PathBuf,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let quick = arguments.iter().any(|a| a == "--quick");
        let mut options = Self {
            runs: if quick { 10 } else { 100 },
            routes: 1000,
            pods: if quick { 5 } else { 50 },
            json: repository().join("target/bench-vpp.json"),
        };
        let mut arguments = arguments.iter().filter(|a| *a != "--quick");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: &str| match text.parse() {
                Ok(0) | Err(_) => Err(format!("{name}: {text:?} is no number from 1 on")),
                Ok(number) => Ok(number),
            };
            match name.as_str() {
                "--runs" => options.runs = number(value()?)?,
                "--routes" => options.routes = number(value()?)?,
                "--pods" => options.pods = number(value()?)?,
                "--json" => options.json = value()?.into(),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

fn bench(options: &Options) -> Outcome<()> {
    if !is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let node = VppNode::new();
    let heading = heading(options, &node)?;
    println!("{heading}");
    println!("| what | figure | goal | | how |\n|---|---|---|---|---|");
    let mut report = Report::default();
    figures::size(&mut report)?;
    figures::beside_bare_calls(options, &node, &mut report)?;
    figures::round_trips(&node, &mut report)?;
    figures::peer_routes(options, &node, &mut report)?;
    figures::memory(options, &node, &mut report)?;
    let text = format!("{:#}\n", json!({ "heading": heading, "figures": report.rows }));
    if let Some(dir) = options.json.parent() {
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    fs::write(&options.json, text).map_err(|e| format!("{}: {e}", options.json.display()))?;
    println!("\n{}", options.json.display());
    Ok(())
}

fn heading(options: &Options, node: &VppNode) -> Outcome<String> {
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or("?").to_owned()
    };
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    let date = date.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    Ok(format!(
        "Date: {}\nMachine: {} processors, kernel {}, load {}\nPlugin: {}\nVPP: {}\nCommand: {}, {} runs\n",
        date.unwrap_or_else(|_| "?".to_owned()),
        std::thread::available_parallelism().map_or(0, usize::from),
        line("/proc/sys/kernel/osrelease"),
        line("/proc/loadavg"),
        binary("vpp").display(),
        node.client().version().map_err(|e| e.to_string())?,
        std::env::args().collect::<Vec<_>>().join(" "),
        options.runs,
    ))
}
