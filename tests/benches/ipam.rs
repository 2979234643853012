/*!
ADD and DEL of IPAM plugins, side by side: what a runtime waits for.

```text
cargo bench -p plat-tests --bench ipam -- [options]

--sizes LIST         addresses held already              0,250,4000,60000
--runs N             ADDs and DELs for each figure       200
--callers N          callers at once                     16
--calls N            their ADDs and DELs                 1600
--only disk|tmpfs    one file system only
--with PATH          a further plugin of host-local's kind; may be given again
--quick              small sizes, few runs: to see that everything works
--json FILE          all figures, for programs
```

Ours are measured with both stores, the directory and the database. The file system is that of either;
the other state of a boot is always on tmpfs. Every call is a process of its own, from before its start until it has been waited for. Plugins take
turns, call by call, each in places of its own, so that whatever else the machine does hurts
all alike; read the ratios, not the times. The reference is Debian's `host-local`
(containernetworking-plugins) where it is installed, else the first plugin of `--with`. A figure ends
early when its calls have taken a minute in all, and says how many there were. A call that does not
succeed ends the whole run.
*/

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Holdings, NetworkDir, Scratch, Store, Summary, Timed, TimedCall, above, binary, have,
    reference, time_of_children,
};

type Outcome<T> = Result<T, String>;

const NETWORK: &str = "bench";
const V4: &str = "10.0.0.0";
const V6: &str = "2001:db8::/64";
/// No figure takes longer, but for the few rounds that it needs at least.
const PATIENCE: Duration = Duration::from_secs(60);
const FEWEST_ROUNDS: usize = 5;

fn main() -> ExitCode {
    // `cargo bench` says so itself.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == Worker::ARGUMENT => Worker::serve(rest),
        _ => Options::parse(&arguments).and_then(|options| bench(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ipam: {message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Outcome<()> {
    let subjects = Subject::all(&options.with)?;
    let mut report = Report::default();
    print!("{}", heading(options, &subjects));
    latency(options, &subjects, &mut report)?;
    special_cases(options, &subjects, &mut report)?;
    throughput(options, &subjects, &mut report)?;
    println!("\nLoad at the end: {}", first_line("/proc/loadavg"));
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report.json(options, &subjects));
        fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------
// Options
// ---------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Options {
    sizes: Vec<u32>,
    runs: usize,
    callers: usize,
    calls: usize,
    file_systems: Vec<FileSystem>,
    with: Vec<PathBuf>,
    json: Option<PathBuf>,
    /// Prefix length of the subnet that is filled up entirely.
    full: u8,
    /// Held per family where there are two.
    dual: u32,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            sizes: vec![0, 250, 4_000, 60_000],
            runs: 200,
            callers: 16,
            calls: 1_600,
            file_systems: vec![FileSystem::Disk, FileSystem::Tmpfs],
            with: Vec::new(),
            json: None,
            full: 16,
            dual: 4_000,
        };
        // First, whatever its place, so that the others prevail.
        if arguments.iter().any(|a| a == "--quick") {
            options.sizes = vec![0, 250];
            options.runs = 10;
            options.callers = 4;
            options.calls = 40;
            options.full = 22;
            options.dual = 250;
        }
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            if name == "--quick" {
                continue;
            }
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--sizes" => {
                    let sizes = value()?.split(',').map(|size| number(name, size));
                    options.sizes = sizes.collect::<Outcome<_>>()?;
                    if options.sizes.iter().any(|size| *size > 65_000) {
                        return Err(format!("{name}: at most 65000 of a /16 can be held"));
                    }
                }
                "--runs" => options.runs = at_least_one(name, value()?)?,
                "--callers" => options.callers = at_least_one(name, value()?)?,
                "--calls" => options.calls = at_least_one(name, value()?)?,
                "--only" => {
                    options.file_systems = match value()?.as_str() {
                        "disk" => vec![FileSystem::Disk],
                        "tmpfs" => vec![FileSystem::Tmpfs],
                        other => return Err(format!("--only disk or tmpfs, not {other}")),
                    }
                }
                "--with" => options.with.push(value()?.into()),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }

    /// The sizes at which many callers are let loose.
    fn sizes_for_throughput(&self) -> impl Iterator<Item = u32> {
        self.sizes.iter().copied().filter(|size| *size <= 4_000)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Outcome<T> {
    text.trim().parse().map_err(|_| format!("{option}: {text:?} is no number"))
}

fn at_least_one(option: &str, text: &str) -> Outcome<usize> {
    match number(option, text)? {
        0 => Err(format!("{option}: at least 1")),
        n => Ok(n),
    }
}

// ---------------------------------------------------------------------------------------------
// What is measured, and where
// ---------------------------------------------------------------------------------------------

/// A plugin.
#[derive(Clone, Debug)]
struct Subject {
    label: String,
    /// `ipam.type`
    kind: &'static str,
    store: Store,
    binary: PathBuf,
    is_reference: bool,
}

impl Subject {
    fn all(with: &[PathBuf]) -> Outcome<Vec<Self>> {
        let ours = [
            ("host-local", Store::Dir),
            ("host-local", Store::Sqlite),
            ("node-local", Store::Sqlite),
        ];
        let ours = ours.map(|(kind, store)| Self {
            label: format!("{kind}, {}", store.name()),
            kind,
            store,
            binary: binary(kind),
            is_reference: false,
        });
        let debian = reference("host-local").map(|path| ("Debian's host-local".to_owned(), path));
        let others = with.iter().map(|path| (path.display().to_string(), path.clone()));
        let others: Vec<_> = debian.into_iter().chain(others).collect();
        if others.is_empty() {
            eprintln!("no reference: install containernetworking-plugins, or name one by --with");
        }
        let mut subjects = Vec::from(ours);
        for (n, (label, path)) in others.into_iter().enumerate() {
            if !path.is_file() {
                return Err(format!("{} is not there", path.display()));
            }
            let is_reference = n == 0;
            let (kind, store) = ("host-local", Store::Dir);
            subjects.push(Self { label, kind, store, binary: path, is_reference });
        }
        Ok(subjects)
    }

    /// What the plugin says of itself when it is called without a command.
    fn version(&self) -> String {
        let banner = Command::new(&self.binary).env_clear().stdin(Stdio::null()).output();
        let banner = banner.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        let mut version = banner.unwrap_or_default().lines().next().unwrap_or("?").to_owned();
        if version.ends_with("unknown") && have("dpkg-query") {
            let package = ["-W", "-f", ", package ${Version}", "containernetworking-plugins"];
            if let Ok(output) = Command::new("dpkg-query").args(package).output() {
                version += &String::from_utf8_lossy(&output.stdout);
            }
        }
        version
    }
}

/// Where allocations lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileSystem {
    Disk,
    Tmpfs,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Tmpfs => "tmpfs",
        }
    }

    fn scratch(self) -> Scratch {
        match self {
            Self::Disk => Scratch::below(Path::new("/var/tmp"), "bench"),
            Self::Tmpfs => Scratch::on_tmpfs("bench"),
        }
    }
}

/// One plugin's store with so many addresses held.
struct Target<'a> {
    subject: &'a Subject,
    holdings: Holdings,
    config: PathBuf,
    state: PathBuf,
    run: PathBuf,
    held: usize,
    // Removed with it. What lives for a boot is on tmpfs, as on a node, but for a database on the disk.
    _scratch: Scratch,
    _boot: Scratch,
}

impl<'a> Target<'a> {
    fn new(
        subject: &'a Subject,
        file_system: FileSystem,
        prefix: u8,
        dual: bool,
        held: u32,
    ) -> Self {
        let (scratch, boot) = (file_system.scratch(), Scratch::on_tmpfs("bench-boot"));
        let data = scratch.path().join("data");
        let run = match subject.store {
            Store::Dir => boot.path().join("run"),
            Store::Sqlite => scratch.path().join("run"),
        };
        // A database takes this over with its first call.
        let directory = NetworkDir::new(&data, NETWORK);
        let first = |text: &str| above(text.parse().expect("an address"), 2);
        let mut ranges = vec![json!([{ "subnet": format!("{V4}/{prefix}") }])];
        if dual {
            ranges.push(json!([{ "subnet": V6 }]));
            directory.fill(first("2001:db8::"), held);
            let mark = directory.path().join("last_reserved_ip.0");
            if held > 0 {
                fs::rename(mark, directory.path().join("last_reserved_ip.1")).expect("a mark");
            }
        }
        directory.fill(first(V4), held);
        let mut ipam = json!({
            "type": subject.kind,
            "dataDir": data,
            "ranges": ranges,
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        if subject.kind == "node-local" {
            ipam["index"] = json!(1);
        }
        if !subject.is_reference {
            ipam["store"] = json!(subject.store.name());
        }
        let config = json!({
            "cniVersion": "1.0.0",
            "name": NETWORK,
            "type": "bridge",
            "ipam": ipam,
        });
        Self {
            subject,
            holdings: Holdings::new(NETWORK, &data, &run),
            config: scratch.write("config.json", config.to_string()),
            state: scratch.path().join("state"),
            run,
            held: if dual { 2 * held as usize } else { held as usize },
            _scratch: scratch,
            _boot: boot,
        }
    }

    fn call(&self, command: &str) -> TimedCall {
        TimedCall::new(&self.subject.binary, command, &self.config, &self.state, &self.run)
    }

    /// As many are held as at the start: nothing that was measured left or lost anything.
    fn expect_held(&self, more: usize) -> Outcome<()> {
        let held = self.holdings.reservations().len();
        let wanted = self.held + more;
        if held == wanted {
            return Ok(());
        }
        Err(format!("{}: {held} addresses are held, not {wanted}", self.subject.label))
    }

    /// A first few calls, so that indexes and caches are what they are on a running node.
    fn warm_up(&self) -> Outcome<()> {
        for n in 0..3 {
            for command in ["ADD", "DEL"] {
                let timed = self.call(command).run(&id("warm", n)).map_err(|e| e.to_string())?;
                expect_exit(self.subject, command, timed, 0)?;
            }
        }
        Ok(())
    }
}

/// A container ID as runtimes make them: 64 hexadecimal digits.
fn id(purpose: &str, n: usize) -> String {
    let purpose: String = purpose.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{purpose:0<48}{n:016x}")
}

fn expect_exit(subject: &Subject, command: &str, timed: Timed, wanted: i32) -> Outcome<()> {
    if timed.exit == Some(wanted) {
        return Ok(());
    }
    Err(format!("{}: {command} ends with {:?}, not {wanted}", subject.label, timed.exit))
}

// ---------------------------------------------------------------------------------------------
// A process that makes the calls of one plugin and one command, and of nothing else: the processor
// time of its children is theirs
// ---------------------------------------------------------------------------------------------

struct Worker<'a> {
    subject: &'a Subject,
    command: &'static str,
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    measured: Vec<Duration>,
}

impl<'a> Worker<'a> {
    const ARGUMENT: &'static str = "--worker";

    fn start(target: &Target<'a>, command: &'static str) -> Outcome<Self> {
        let this = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let mut process = Command::new(this)
            .arg(Self::ARGUMENT)
            .args([&target.subject.binary, Path::new(command), &target.config])
            .args([&target.state, &target.run])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("a worker: {e}"))?;
        let requests = process.stdin.take().ok_or("a worker without stdin")?;
        let replies = BufReader::new(process.stdout.take().ok_or("a worker without stdout")?);
        let subject = target.subject;
        Ok(Self { subject, command, process, requests, replies, measured: Vec::new() })
    }

    fn ask(&mut self, request: &str) -> Outcome<String> {
        let gone = |e: io::Error| format!("a worker is gone: {e}");
        writeln!(self.requests, "{request}").map_err(gone)?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply).map_err(gone)?;
        Ok(reply)
    }

    /// One call, which must end with `exit`.
    fn call(&mut self, id: &str, exit: i32) -> Outcome<()> {
        let reply = self.ask(id)?;
        let parsed = reply.trim().split_once(' ').and_then(|(nanoseconds, exit)| {
            let took = Duration::from_nanos(nanoseconds.parse().ok()?);
            Some(Timed { took, exit: exit.parse().ok() })
        });
        let timed = parsed.ok_or_else(|| format!("{}: {}", self.subject.label, reply.trim()))?;
        expect_exit(self.subject, self.command, timed, exit)?;
        self.measured.push(timed.took);
        Ok(())
    }

    /// Times, and the mean processor time of a call.
    fn finish(mut self) -> Outcome<(Summary, Duration)> {
        let reply = self.ask(Self::ARGUMENT)?;
        let total = reply.trim().parse().map(Duration::from_nanos);
        let total = total.map_err(|_| format!("no processor time: {}", reply.trim()))?;
        let calls = u32::try_from(self.measured.len()).unwrap_or(u32::MAX).max(1);
        let summary = Summary::of(std::mem::take(&mut self.measured)).ok_or("nothing measured")?;
        Ok((summary, total / calls))
    }

    /// The worker's side: an ID in, a time and an exit status out.
    fn serve(arguments: &[String]) -> Outcome<()> {
        let [binary, command, config, state, run] = arguments else {
            return Err("a worker needs five arguments".to_owned());
        };
        let paths = [binary, config, state, run].map(Path::new);
        let call = TimedCall::new(paths[0], command, paths[1], paths[2], paths[3]);
        let mut out = io::stdout().lock();
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|e| e.to_string())?;
            let reply = if line == Self::ARGUMENT {
                let spent = time_of_children().ok_or("no processor time is known")?;
                spent.as_nanos().to_string()
            } else {
                match call.run(&line) {
                    Ok(Timed { took, exit: Some(exit) }) => format!("{} {exit}", took.as_nanos()),
                    Ok(Timed { exit: None, .. }) => "killed by a signal".to_owned(),
                    Err(e) => e.to_string(),
                }
            };
            writeln!(out, "{reply}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// ---------------------------------------------------------------------------------------------
// Figures
// ---------------------------------------------------------------------------------------------

/// What one command of one plugin costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Summary,
    processor: Duration,
    memory: Option<u64>,
}

/// The costs of ADD and DEL of each target, measured in turns.
fn in_turns(targets: &[Target<'_>], runs: usize, purpose: &str) -> Outcome<Vec<[Cost; 2]>> {
    let mut workers = Vec::new();
    for target in targets {
        target.warm_up()?;
        workers.push([Worker::start(target, "ADD")?, Worker::start(target, "DEL")?]);
    }
    let start = Instant::now();
    for n in 0..runs {
        if n >= FEWEST_ROUNDS && start.elapsed() > PATIENCE {
            break;
        }
        for worker in workers.iter_mut().flatten() {
            worker.call(&id(purpose, n), 0)?;
        }
    }
    let mut costs = Vec::new();
    for (target, [add, del]) in targets.iter().zip(workers) {
        let ((add, add_processor), (del, del_processor)) = (add.finish()?, del.finish()?);
        target.expect_held(0)?;
        let mut memory = [None; 2];
        for n in 0..3 {
            for (command, peak) in ["ADD", "DEL"].into_iter().zip(&mut memory) {
                let now = target.call(command).peak_memory(&id("memory", n));
                *peak = now.map_err(|e| format!("strace: {e}"))?.max(*peak);
            }
        }
        target.expect_held(0)?;
        let [add_memory, del_memory] = memory;
        costs.push([
            Cost { wall: add, processor: add_processor, memory: add_memory },
            Cost { wall: del, processor: del_processor, memory: del_memory },
        ]);
    }
    Ok(costs)
}

fn latency(options: &Options, subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    println!(
        "\n| ADD, ratio of medians | of minima | DEL, ratio of medians | of minima | memory, ratio | \
         on | held | plugin | ADD median ms | min | p95 | CPU | DEL median ms | min | p95 | CPU | \
         ADD max RSS KiB | DEL | runs |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for file_system in options.file_systems.iter().copied() {
        for size in options.sizes.iter().copied() {
            let targets: Vec<Target<'_>> = subjects
                .iter()
                .map(|subject| Target::new(subject, file_system, 16, false, size))
                .collect();
            let costs = in_turns(&targets, options.runs, "run")?;
            let base = reference_of(subjects, &costs);
            for (subject, [add, del]) in subjects.iter().zip(&costs) {
                let memory = |[add, del]: &[Cost; 2]| add.memory.max(del.memory);
                let memory_ratio = base
                    .and_then(|base| Some(memory(&[*add, *del])? as f64 / memory(base)? as f64));
                let mut line = format!(
                    "| {} | {} | {} | {} | {} | {} | {size} | {} |",
                    ratio(base.map(|[add, _]| add.wall.median), add.wall.median),
                    ratio(base.map(|[add, _]| add.wall.min), add.wall.min),
                    ratio(base.map(|[_, del]| del.wall.median), del.wall.median),
                    ratio(base.map(|[_, del]| del.wall.min), del.wall.min),
                    memory_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
                    file_system.name(),
                    subject.label,
                );
                for Cost { wall, processor, .. } in [add, del] {
                    let times = [wall.median, wall.min, wall.p95, *processor].map(milliseconds);
                    let _ = write!(line, " {} |", times.join(" | "));
                }
                for Cost { memory, .. } in [add, del] {
                    let memory = memory.map_or_else(|| "-".to_owned(), |kib| kib.to_string());
                    let _ = write!(line, " {memory} |");
                }
                println!("{line} {} |", add.wall.count);
                report.latency.push(json!({
                    "file_system": file_system.name(),
                    "store": subject.store.name(),
                    "held": size,
                    "plugin": subject.label,
                    "add": cost_json(add),
                    "del": cost_json(del),
                }));
            }
        }
    }
    Ok(())
}

fn special_cases(options: &Options, subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    println!(
        "\n| ratio | case | plugin | median ms | min | p95 | runs |\n|---|---|---|---|---|---|---|"
    );
    let file_system = *options.file_systems.last().ok_or("no file system")?;
    let mut show = |case: &str, summaries: &[Summary]| {
        let base = reference_of(subjects, summaries).map(|summary| summary.median);
        for (subject, summary) in subjects.iter().zip(summaries) {
            let times = [summary.median, summary.min, summary.p95].map(milliseconds);
            println!(
                "| {} | {case}, {} | {} | {} | {} |",
                ratio(base, summary.median),
                file_system.name(),
                subject.label,
                times.join(" | "),
                summary.count
            );
            report.cases.push(json!({
                "case": case,
                "file_system": file_system.name(),
                    "store": subject.store.name(),
                "plugin": subject.label,
                "wall": summary_json(summary),
            }));
        }
    };

    // All but network, broadcast and gateway.
    let all = (1_u32 << (32 - options.full)) - 3;
    let mut failing = Vec::new();
    for subject in subjects {
        let target = Target::new(subject, file_system, options.full, false, all);
        let mut worker = Worker::start(&target, "ADD")?;
        worker.call(&id("first", 0), 1)?;
        worker.measured.clear();
        for n in 0..options.runs.clamp(1, 10) {
            worker.call(&id("full", n), 1)?;
        }
        failing.push(worker.finish()?.0);
        target.expect_held(0)?;
    }
    show(&format!("ADD that fails, full /{}", options.full), &failing);

    let targets: Vec<Target<'_>> = subjects
        .iter()
        .map(|subject| Target::new(subject, file_system, 16, true, options.dual))
        .collect();
    let costs = in_turns(&targets, options.runs.div_ceil(4), "dual")?;
    for (command, which) in [("ADD", 0), ("DEL", 1)] {
        let summaries: Vec<Summary> = costs.iter().map(|costs| costs[which].wall).collect();
        show(&format!("{command}, two stacks, {} held each", options.dual), &summaries);
    }
    Ok(())
}

fn throughput(options: &Options, subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    println!(
        "\n| ADD/s, ratio | DEL/s, ratio | on | held at the start | plugin | callers | ADD/s | \
         median ms | p95 | DEL/s | median ms | p95 | calls |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for file_system in options.file_systems.iter().copied() {
        for size in options.sizes_for_throughput() {
            // With many held, the reference takes its time.
            let calls = if size <= 250 { options.calls } else { options.calls.div_ceil(4) };
            let mut measured = Vec::new();
            for subject in subjects {
                let target = Target::new(subject, file_system, 16, false, size);
                target.warm_up()?;
                let add = all_at_once(&target, "ADD", options.callers, calls)?;
                target.expect_held(calls)?;
                let del = all_at_once(&target, "DEL", options.callers, calls)?;
                target.expect_held(0)?;
                measured.push([add, del]);
            }
            let base = reference_of(subjects, &measured);
            for (subject, [add, del]) in subjects.iter().zip(&measured) {
                let against = |which: usize, rate: f64| {
                    base.map_or_else(|| "-".to_owned(), |b| format!("{:.1}", rate / b[which].0))
                };
                let mut line = format!(
                    "| {} | {} | {} | {size} | {} | {} |",
                    against(0, add.0),
                    against(1, del.0),
                    file_system.name(),
                    subject.label,
                    options.callers,
                );
                for (rate, summary) in [add, del] {
                    let times = [summary.median, summary.p95].map(milliseconds);
                    let _ = write!(line, " {rate:.0} | {} |", times.join(" | "));
                }
                println!("{line} {calls} |");
                report.throughput.push(json!({
                    "file_system": file_system.name(),
                    "store": subject.store.name(),
                    "held": size,
                    "plugin": subject.label,
                    "callers": options.callers,
                    "add": { "per_second": add.0, "wall": summary_json(&add.1) },
                    "del": { "per_second": del.0, "wall": summary_json(&del.1) },
                }));
            }
        }
    }
    Ok(())
}

/// `calls` calls by so many callers: calls per second, and what each caller waited.
fn all_at_once(
    target: &Target<'_>,
    command: &str,
    callers: usize,
    calls: usize,
) -> Outcome<(f64, Summary)> {
    let call = target.call(command);
    let next = AtomicUsize::new(0);
    let caller = || -> Outcome<Vec<Duration>> {
        let mut took = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= calls {
                return Ok(took);
            }
            let timed = call.run(&id("many", n)).map_err(|e| e.to_string())?;
            expect_exit(target.subject, command, timed, 0)?;
            took.push(timed.took);
        }
    };
    let start = Instant::now();
    let took: Outcome<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a caller has panicked".to_owned())?)
            .collect()
    });
    let elapsed = start.elapsed();
    let summary = Summary::of(took?.concat()).ok_or("nothing measured")?;
    Ok((calls as f64 / elapsed.as_secs_f64(), summary))
}

// ---------------------------------------------------------------------------------------------
// The report
// ---------------------------------------------------------------------------------------------

#[derive(Debug, Default)]
struct Report {
    latency: Vec<Value>,
    cases: Vec<Value>,
    throughput: Vec<Value>,
}

impl Report {
    fn json(&self, options: &Options, subjects: &[Subject]) -> Value {
        let subjects: Vec<Value> = subjects
            .iter()
            .map(|subject| {
                json!({
                    "label": subject.label,
                    "binary": subject.binary,
                    "version": subject.version(),
                    "reference": subject.is_reference,
                })
            })
            .collect();
        json!({
            "date": date(),
            "kernel": first_line("/proc/sys/kernel/osrelease"),
            "cpus": processors(),
            "load": first_line("/proc/loadavg"),
            "command": std::env::args().collect::<Vec<_>>(),
            "runs": options.runs,
            "plugins": subjects,
            "latency": self.latency,
            "cases": self.cases,
            "throughput": self.throughput,
        })
    }
}

fn heading(options: &Options, subjects: &[Subject]) -> String {
    let mut text = format!(
        "Date: {}\nMachine: {} processors ({}), kernel {}\nLoad: {}\nCommand: {}\n",
        date(),
        processors(),
        processor_model(),
        first_line("/proc/sys/kernel/osrelease"),
        first_line("/proc/loadavg"),
        std::env::args().collect::<Vec<_>>().join(" "),
    );
    for subject in subjects {
        let size = fs::metadata(&subject.binary).map_or(0, |metadata| metadata.len());
        let role = if subject.is_reference { " (the reference)" } else { "" };
        let _ = writeln!(
            text,
            "Plugin: {}{role}: {}, {size} bytes, {}",
            subject.label,
            subject.version(),
            subject.binary.display()
        );
    }
    let names: Vec<&str> = options.file_systems.iter().map(|one| one.name()).collect();
    let _ = writeln!(text, "File systems: {}", names.join(", "));
    text
}

/// The reference's part of what was measured for all subjects.
fn reference_of<'a, T>(subjects: &[Subject], measured: &'a [T]) -> Option<&'a T> {
    let pairs = subjects.iter().zip(measured);
    pairs.into_iter().find(|(subject, _)| subject.is_reference).map(|(_, measured)| measured)
}

fn ratio(base: Option<Duration>, time: Duration) -> String {
    base.map_or_else(
        || "-".to_owned(),
        |base| format!("{:.3}", time.as_secs_f64() / base.as_secs_f64()),
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

fn summary_json(summary: &Summary) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "count": summary.count,
        "median_ms": ms(summary.median),
        "p95_ms": ms(summary.p95),
        "min_ms": ms(summary.min),
    })
}

fn cost_json(cost: &Cost) -> Value {
    json!({
        "wall": summary_json(&cost.wall),
        "cpu_ms": cost.processor.as_secs_f64() * 1e3,
        "max_rss_kib": cost.memory,
    })
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "?".to_owned())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn processor_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or("?", |model| model.trim_start_matches([' ', '\t', ':'])).to_owned()
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}
