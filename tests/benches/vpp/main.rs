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

use std::path::PathBuf;
use std::process::ExitCode;

use support::report::{Report, heading};
use support::{VppNode, binary, is_root, repository};

use bare::{BARE, bare};

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
    let version = node.client().version().map_err(|e| e.to_string())?;
    let about = [format!("Plugin: {}", binary("vpp").display()), format!("VPP: {version}")];
    let heading = heading(&about, options.runs);
    let mut report = Report::begin(&heading);
    figures::size(&mut report)?;
    figures::beside_bare_calls(options, &node, &mut report)?;
    figures::round_trips(&node, &mut report)?;
    figures::peer_routes(options, &node, &mut report)?;
    figures::memory(options, &node, &mut report)?;
    report.write(&heading, &options.json)
}
