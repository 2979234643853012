//! What a runtime does all day.

use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Call, Outcome, Random};

use super::{Held, World};

/// How many attachments a caller has at most.
const MOST: usize = 2;

/// One caller of one node.
pub(super) struct Caller<'a> {
    world: &'a World,
    node: usize,
    number: usize,
    random: Random,
    next: u64,
}

impl<'a> Caller<'a> {
    pub(super) fn new(world: &'a World, node: usize, number: usize) -> Self {
        let seed = world.seed.wrapping_mul(1009).wrapping_add((node * 100 + number) as u64);
        Self { world, node, number, random: Random::new(seed), next: 0 }
    }

    pub(super) fn run(mut self) {
        while self.world.goes_on() {
            let node = &self.world.nodes[self.node];
            let held = node.held.read().unwrap_or_else(PoisonError::into_inner);
            let mine: Vec<Held> = held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .filter(|held| held.caller == Some(self.number))
                .cloned()
                .collect();
            if mine.len() >= MOST || (!mine.is_empty() && self.random.chance(1, 3)) {
                let one = self.random.pick(&mine).clone();
                self.use_and_delete(&held, one);
            } else {
                self.add(&held);
            }
        }
    }

    fn call(&self, command: &str, id: &str, config: &Value) -> Call {
        self.world.nodes[self.node].node.call(command, id, config)
    }

    fn add(&mut self, all: &Mutex<Vec<Held>>) {
        let world = self.world;
        let net = usize::try_from(self.random.below(world.nets.len() as u64)).unwrap_or_default();
        self.next += 1;
        let id = format!("n{}-c{}-{}", self.node + 1, self.number, self.next);
        let config = world.config(self.node, net);
        let call = self.call("ADD", &id, &config);
        if self.random.chance(1, 24) {
            world.count("ADD killed");
            kill_within(call.spawn(), Duration::from_micros(self.random.below(12_000)));
            // Whatever it has done: a runtime that has no answer deletes.
            self.delete(&id, net);
            return;
        }
        let outcome = run(&call);
        if outcome.exit != Some(0) {
            self.refused("ADD", &id, &outcome);
            self.delete(&id, net);
            return;
        }
        let addresses = outcome.addresses();
        world.history.begin(&id, &addresses);
        world.count("ADD");
        if let Some(fault) = world.nets[net].fault(&addresses) {
            world.wrong(format!("{id}: {fault}"));
        }
        let result = outcome.json();
        let caller = Some(self.number).filter(|_| !self.random.chance(1, 40));
        if caller.is_none() {
            world.count("forgotten");
        }
        let held = Held { id, net, addresses, result, caller };
        all.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    }

    /// An ADD may be refused for a time, and never for good.
    fn refused(&self, command: &str, id: &str, outcome: &Outcome) {
        let code =
            outcome.exit.filter(|exit| *exit == 1).and_then(|_| outcome.json()["code"].as_u64());
        if code == Some(11) {
            let said = outcome.json()["msg"].as_str().unwrap_or_default().to_owned();
            self.world.count(reason(&said));
            return;
        }
        self.world.wrong(format!("{command} of {id}: {outcome:?}"));
    }

    fn use_and_delete(&mut self, all: &Mutex<Vec<Held>>, held: Held) {
        let world = self.world;
        let mut config = world.config(self.node, held.net);
        if self.random.chance(1, 6) {
            let outcome = run(&self.call("ADD", &held.id, &config));
            if outcome.exit == Some(0) {
                world.count("ADD again");
                if outcome.addresses() != held.addresses {
                    world.wrong(format!("{}: {held:?}, again {outcome:?}", held.id));
                }
            } else {
                self.refused("ADD again", &held.id, &outcome);
            }
        }
        if self.random.chance(1, 6) {
            config["prevResult"] = held.result.clone();
            let outcome = run(&self.call("CHECK", &held.id, &config));
            world.count("CHECK");
            if outcome.exit != Some(0) {
                world.wrong(format!("CHECK of {held:?}: {outcome:?}"));
            }
            config["prevResult"] = json!(null);
        }
        world.history.end(&held.id);
        if self.random.chance(1, 24) {
            world.count("DEL killed");
            let call = self.call("DEL", &held.id, &config);
            kill_within(call.spawn(), Duration::from_micros(self.random.below(8_000)));
        }
        self.delete(&held.id, held.net);
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| other.id != held.id || other.net != held.net);
    }

    /// A DEL always succeeds.
    fn delete(&self, id: &str, net: usize) {
        let outcome = run(&self.call("DEL", id, &self.world.config(self.node, net)));
        self.world.count("DEL");
        if outcome.exit != Some(0) {
            self.world.wrong(format!("DEL of {id}: {outcome:?}"));
        }
    }
}

/// Runs a call to its end. Nobody looks now and then whether it is over: so many callers that do would need the
/// processors for nothing else.
fn run(call: &Call) -> Outcome {
    let start = Instant::now();
    let output = call.spawn().wait_with_output().expect("a call can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome {
        exit: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        took: start.elapsed(),
    }
}

/// Kills a process when that time is over, if it is not over by then, and waits for its end.
fn kill_within(mut child: Child, time: Duration) {
    std::thread::sleep(time);
    let _ = child.kill();
    let _ = child.wait();
}

/// Why an ADD was refused, in few words.
fn reason(said: &str) -> &'static str {
    for (part, reason) in [
        ("no block of pool", "refused: pool full"),
        ("may not hold more", "refused: too many blocks"),
        ("since this node's boot", "refused: no contact in this boot"),
        ("conflicts with other nodes", "refused: contended"),
        ("quorum", "refused: no quorum"),
        ("in time", "refused: no answer in time"),
        ("lock", "refused: lock"),
        ("free", "refused: no address free"),
        ("etcd", "refused: etcd"),
    ] {
        if said.contains(part) {
            return reason;
        }
    }
    "refused: else"
}
