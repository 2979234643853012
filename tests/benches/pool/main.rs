/*!
ADD and DEL of etcd-pool against what they can be compared with: the same node's own store without a pool,
and one transaction of etcd by a process that does nothing else.

```text
cargo bench -p plat-tests --bench pool -- [options]

--runs N      calls for each figure                       300
--held N      records of other nodes in the pool          100000
--quick       few of everything: to see that it works
--json FILE   all figures, for programs                   target/bench-pool.json
```

etcd is one member on loopback with its data on tmpfs, started for this. Every call is a process of its own,
from before its start until it has been waited for; what is compared takes turns, call by call. Read the
ratios, not the times. `make bench-pool` links this program as it does the plugins, statically, so that the bare
transaction's process starts as fast as theirs.
*/

mod bare;
mod figures;
mod place;

use std::path::PathBuf;
use std::process::ExitCode;

use support::etcd::Setup;
use support::report::{Report, heading, said};
use support::{binary, repository};

use bare::{BARE, bare};
use figures::{
    beside_bare_transaction, beside_own_store, killed_callers, many_callers, requests, size,
};

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
            eprintln!("pool: {message}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Debug)]
struct Options {
    runs: usize,
    held: usize,
    json: PathBuf,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let quick = arguments.iter().any(|a| a == "--quick");
        let mut options = Self {
            runs: if quick { 20 } else { 300 },
            held: if quick { 3_000 } else { 100_000 },
            json: repository().join("target/bench-pool.json"),
        };
        let mut arguments = arguments.iter().filter(|a| *a != "--quick");
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            let number = |text: &str| match text.parse() {
                Ok(0) | Err(_) => Err(format!("{name}: {text:?} is no number from 1 on")),
                Ok(n) => Ok(n),
            };
            match name.as_str() {
                "--runs" => options.runs = number(value()?)?,
                "--held" => options.held = number(value()?)?,
                "--json" => options.json = value()?.into(),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

fn bench(options: &Options) -> Outcome<()> {
    if !support::etcd::available("bench pool") {
        return Err("there is no etcd".to_owned());
    }
    let etcd = Setup::new().quota(2 << 30).start();
    let about =
        [format!("Plugin: {}", binary("etcd-pool").display()), said("etcd", &["--version"])];
    let heading = heading(&about, options.runs);
    let mut report = Report::begin(&heading);
    size(&mut report)?;
    beside_own_store(options, &etcd, &mut report)?;
    beside_bare_transaction(options, &etcd, &mut report)?;
    many_callers(options, &etcd, &mut report)?;
    requests(options, &etcd, &mut report)?;
    killed_callers(options, etcd, &mut report)?;
    report.write(&heading, &options.json)
}
