/*!
ADD and DEL of IPAM plugins, side by side: what a runtime waits for. `make bench-ipam BENCH_OPTIONS=--help` says which options
there are.

Ours are measured with both stores, the directory and the database. The file system is that of either;
the other state of a boot is always on tmpfs. Every call is a process of its own, from before its start until it has been waited for. Plugins take
turns, call by call, each in places of its own, so that whatever else the machine does hurts
all alike; read the ratios, not the times. The reference is Debian's `host-local`
(containernetworking-plugins) where it is installed, or the plugin of `--reference`. A figure ends
early when its turns have taken half a minute (`--patience`), and says how many calls there were; where one plugin is so slow
that this would be few, the others are called several times each turn. A call that does not succeed ends the whole run.
*/

mod callers;
mod latency;
mod options;
mod start;
mod subject;
mod target;
mod worker;

use std::process::ExitCode;

use bench_report::options::{arguments, exit};
use bench_report::{Outcome, Report, machine};
use clap::Parser as _;

use options::Options;
use subject::Subject;
use worker::Worker;

fn main() -> ExitCode {
    let arguments = arguments();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == Worker::ARGUMENT => Worker::serve(rest),
        _ => bench(&Options::parse(), &arguments),
    };
    exit("bench-ipam", done)
}

fn bench(options: &Options, arguments: &[String]) -> Outcome<()> {
    let subjects = Subject::all(options)?;
    let places = options.file_systems().map(|it| (it.name(), it.path())).collect::<Vec<_>>();
    let mut report =
        Report::begin("ipam", arguments, machine::look(&places), subject::programs(&subjects));
    start::sizes(&subjects, &mut report)?;
    start::times(options, &subjects, &mut report)?;
    latency::over_held(options, &subjects, &mut report)?;
    latency::special(options, &subjects, &mut report)?;
    callers::over_callers(options, &subjects, &mut report)?;
    report.finish(options.common.json.as_deref())
}
