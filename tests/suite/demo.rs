//! The demonstrations, here that of `make demo`: what they print is true, and they leave nothing, however
//! they end.

mod pool;
mod scenarios;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use support::{
    Outcome, PodNamespace, finish, have, is_root, reference, repository, skip_unless, wait_until,
};

/// A run of a script, marked in its environment so that its processes can be found.
struct Demo {
    command: Command,
    mark: String,
}

impl Demo {
    fn new(name: &str) -> Self {
        Self::of("demo.sh", name)
    }

    /// A run of this script.
    fn of(script: &str, name: &str) -> Self {
        Self::by(Command::new(Self::script(script)), name)
    }

    /// The same in a network namespace that stands for the host's.
    fn on(host: &PodNamespace, script: &str, name: &str) -> Self {
        let mut command = Command::new(support::program("nsenter"));
        command.arg(format!("--net={}", host.path().display())).arg(Self::script(script));
        Self::by(command, name)
    }

    fn script(name: &str) -> PathBuf {
        repository().join("tests/scripts").join(name)
    }

    fn by(mut command: Command, name: &str) -> Self {
        let mark = format!("PLAT_DEMO={}-{name}", std::process::id());
        let (key, value) = mark.split_once('=').expect("a variable");
        command.env(key, value);
        Self { command, mark }
    }

    /// The script's processes, the script itself included.
    fn processes(&self) -> Vec<PathBuf> {
        processes_with(&self.mark)
    }

    /// Starts it and reads what it prints up to the first line that contains `text`.
    fn start_until(&mut self, text: &str) -> Child {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the script can be started");
        let stdout = BufReader::new(child.stdout.as_mut().expect("stdout is a pipe"));
        let seen = stdout.lines().map_while(Result::ok).any(|line| line.contains(text));
        assert!(seen, "the script ended before {text:?}");
        child
    }

    /// Ends the script when it prints this, by a signal to it alone; everything else must go, too.
    fn is_ended(&mut self, at: &str, signal: Signal) {
        let mut child = self.start_until(at);
        assert!(self.processes().len() >= 3, "the script and nodes: {:?}", self.processes());
        kill_process(Pid::from_child(&child), signal).expect("the script runs");
        // Now nobody reads what it prints: that must not matter either.
        drop(child.stdout.take());
        let status = child.wait().expect("a child can be waited for");
        assert!(!status.success(), "{at:?}, {signal:?}: {status}");
        wait_until("the processes of the demonstration are gone", || self.processes().is_empty());
    }
}

/// The processes with this variable in their environment, `NAME=VALUE`.
pub(crate) fn processes_with(variable: &str) -> Vec<PathBuf> {
    fs::read_dir("/proc")
        .expect("/proc can be read")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            fs::read(process.join("environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
            })
        })
        .collect()
}

/// What both demonstrations need.
fn needs() -> [(bool, &'static str); 4] {
    [
        (is_root(), "root"),
        (have("jq"), "jq"),
        (have("ping"), "iputils-ping"),
        (reference("bridge").is_some(), "containernetworking-plugins"),
    ]
}

fn can_run(test: &str) -> bool {
    skip_unless(test, &needs())
}

/// Runs two demonstrations of a script at a time.
fn two_at_a_time(script: &str) -> Vec<Outcome> {
    // Other tests make interfaces in the one that the tests run in.
    let host = PodNamespace::new();
    let before = interfaces(&host);
    let mut demos = ["one", "two"].map(|name| Demo::on(&host, script, &format!("{script}-{name}")));
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let runs: Vec<_> =
            demos.iter_mut().map(|demo| scope.spawn(|| finish(&mut demo.command, b""))).collect();
        runs.into_iter().map(|run| run.join().expect("a demonstration")).collect()
    });
    for demo in &demos {
        assert_eq!(demo.processes(), [] as [PathBuf; 0]);
    }
    assert_eq!(interfaces(&host), before, "nothing was made in the host's namespace");
    outcomes
}

/// The rows of a table that starts with these words, up to the next empty line.
fn table(outcome: &Outcome, head: &[&str]) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    outcome
        .stdout
        .lines()
        .map(words)
        .skip_while(|row| row != head)
        .skip(1)
        .take_while(|row| !row.is_empty())
        .collect()
}

fn interfaces(host: &PodNamespace) -> Vec<String> {
    let links = host.ip(&["link", "show"]);
    let names = links.as_array().expect("a list").iter().map(|link| link["ifname"].to_string());
    names.collect()
}

fn assert_worked(outcome: &Outcome) {
    assert_eq!(outcome.exit, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let expected = [
        ["vm-001", "pod-1", "10.1.1.2/24", "fd00:10:1:1::2/64"],
        ["vm-001", "pod-2", "10.1.1.3/24", "fd00:10:1:1::3/64"],
        ["vm-002", "pod-3", "10.1.2.2/24", "fd00:10:1:2::2/64"],
        ["vm-002", "pod-4", "10.1.2.3/24", "fd00:10:1:2::3/64"],
    ];
    assert_eq!(table(outcome, &["NODE", "POD", "IPv4", "IPv6"]), expected);
    let pings = |ending: &str| outcome.stdout.lines().filter(|line| line.ends_with(ending)).count();
    assert_eq!(pings("IPv4 ok   IPv6 ok"), 12, "each pod to each other: {}", outcome.stdout);
    assert_eq!(pings("holds 4 addresses"), 2, "two pods on each node: {}", outcome.stdout);
    assert_eq!(pings("holds 0 addresses"), 2, "all deleted: {}", outcome.stdout);
}

#[test]
fn two_demonstrations_at_a_time_work_and_leave_nothing() {
    if !can_run("two_demonstrations_at_a_time_work_and_leave_nothing") {
        return;
    }
    two_at_a_time("demo.sh").iter().for_each(assert_worked);
}

#[test]
fn a_demonstration_that_is_ended_leaves_nothing() {
    if !can_run("a_demonstration_that_is_ended_leaves_nothing") {
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        Demo::new(&format!("{signal:?}")).is_ended("pod-1 -> pod-2", signal);
    }
}

#[test]
fn a_demonstration_without_its_plugin_says_what_to_do() {
    let mut demo = Demo::new("bare");
    let outcome = finish(demo.command.env("PLAT_BIN_DIR", "/nonexistent"), b"");
    assert_eq!(outcome.exit, Some(1));
    assert!(outcome.stderr.contains("/nonexistent/node-local: make build"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn a_demonstration_with_a_failing_plugin_fails_and_leaves_nothing() {
    if !can_run("a_demonstration_with_a_failing_plugin_fails_and_leaves_nothing") {
        return;
    }
    let scratch = support::Scratch::new("demo");
    let broken = support::install_copy(&support::program("false"), &scratch.join("node-local"));
    std::os::unix::fs::symlink(support::binary("plat"), scratch.join("plat")).expect("a link");
    let mut demo = Demo::new("broken");
    let dir = broken.parent().expect("a file is in a directory").to_path_buf();
    let outcome = finish(demo.command.env("PLAT_BIN_DIR", dir), b"");
    assert_eq!(outcome.exit, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("ADD of pod-1 failed"), "{}", outcome.stderr);
    assert_eq!(demo.processes(), [] as [PathBuf; 0]);
}
