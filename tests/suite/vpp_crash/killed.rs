//! The plugin is killed (SIGKILL) at its system calls that have an effect.

use std::collections::BTreeMap;

use serde_json::Value;
use support::{Call, Killer, VppNode, VppPod, binary, is_root, skip_unless};

use super::{assert_nothing_left, config};

/// How many points the short tests take.
const FEW: usize = 24;

#[test]
fn add_killed_at_some_system_calls() {
    explore("add_killed_at_some_system_calls", "ADD", FEW);
}

#[test]
fn del_killed_at_some_system_calls() {
    explore("del_killed_at_some_system_calls", "DEL", FEW);
}

#[test]
#[ignore = "takes minutes"]
fn add_killed_at_every_system_call() {
    explore("add_killed_at_every_system_call", "ADD", usize::MAX);
}

#[test]
#[ignore = "takes minutes"]
fn del_killed_at_every_system_call() {
    explore("del_killed_at_every_system_call", "DEL", usize::MAX);
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Tally {
    /// The plugin was killed.
    killed: usize,
    /// Its IPAM plugin was, and it has told so.
    told: usize,
    /// There were fewer calls of that name than before.
    whole: usize,
}

/// A call and the system call of it that is its last. Says which, should something be wrong then.
struct At<'a> {
    command: &'a str,
    point: (&'a str, usize),
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} killed at {:?}", self.command, self.point);
        }
    }
}

struct Scene {
    node: VppNode,
    pod: VppPod,
    config: Value,
    killer: Killer,
}

impl Scene {
    fn new() -> Self {
        let node = VppNode::new();
        let pod = node.pod();
        let killer = Killer::new(&binary("vpp"), &node.scratch().path().join("killer"));
        let config = config(&node);
        Self { node, pod, config, killer }
    }

    fn call(&self, command: &str) -> Call {
        self.node.call(command, &self.pod, &self.config)
    }

    fn add(&self) -> Value {
        self.call("ADD").run().ok()
    }

    fn del(&self) {
        self.call("DEL").run().ok();
    }

    /// How often each system call is made.
    fn system_calls(&self, command: &str) -> BTreeMap<String, usize> {
        // Once before: what the first call of all makes is there then.
        self.add();
        if command == "ADD" {
            self.del();
        }
        let calls = self.killer.system_calls_of_one(|program| self.call(command).through(program));
        self.del();
        calls
    }

    /// Kills a call at a point; what comes then is the runtime's.
    fn kill(&self, at: &At<'_>, tally: &mut Tally, retries: bool) {
        let At { command, point: (name, nth) } = *at;
        if command == "DEL" {
            self.add();
        }
        let outcome = self.killer.kill_at(name, nth, |program| self.call(command).through(program));
        match outcome.exit {
            None => tally.killed += 1,
            Some(0) => tally.whole += 1,
            Some(_) => {
                // Somebody else's message, or ours: an answer in any case.
                outcome.error();
                tally.told += 1;
            }
        }
        if self.node.is_miniature() {
            self.node.vpp().settle();
        }
        if command == "ADD" && retries {
            let result = self.add();
            self.node.check(&self.pod, &self.config, &result).ok();
        }
        self.del();
        assert_nothing_left(&self.node, &self.pod);
    }
}

/// Kills a call at `most` points at the most, spread over it.
fn explore(test: &str, command: &str, most: usize) {
    let name = format!("vpp_crash::{test}");
    if !skip_unless(&name, &[(is_root(), "root")]) {
        return;
    }
    if !skip_unless(&name, &[(Killer::works(), "strace that may trace")]) {
        return;
    }
    let scene = Scene::new();
    let calls = scene.system_calls(command);
    let points: Vec<(&str, usize)> = calls
        .iter()
        .flat_map(|(name, count)| (1..=*count).map(move |nth| (name.as_str(), nth)))
        .collect();
    let step = points.len().div_ceil(most).max(1);
    let mut tally = Tally::default();
    for (n, point) in points.iter().step_by(step).enumerate() {
        let at = At { command, point: *point };
        if most == usize::MAX {
            // Where there is time, both.
            scene.kill(&at, &mut tally, false);
        }
        scene.kill(&at, &mut tally, most == usize::MAX || n % 2 == 0);
    }
    println!("{command}: {} points, {tally:?}", points.len());
    assert!(tally.killed > 5, "hardly anything was killed: {tally:?}");
}
