//! Processes take their steps, and the network loses and repeats what they ask.

use ipam_pool::memory::MemoryError;
use ipam_pool::op::{Event, Loss};
use ipam_pool::ops::Trouble;
use ipam_pool::txn::{Op, Reply};

use crate::job::{Job, Outcome, Running, Wish};
use crate::world::{Checked, Fate, LATE, Node, Packet, Pod, Process, Rule, Violation, World};

/// After how many steps a process is taken to run for ever.
const STEPS: u32 = 400;

impl World {
    /// Begins a process. It takes its first step at once.
    pub(crate) fn start(&mut self, n: usize, mut job: Job) -> Checked<()> {
        if let Job::Add(wish) = &mut job {
            wish.nonce = format!("x{}", self.serial());
            let pod = &mut self.nodes[n].pods[wish.pod];
            if *pod == Pod::Absent {
                *pod = Pod::Doubtful;
            }
        }
        let (context, facts) = (self.context(n), self.facts(n));
        let operation = Running::new(&job, context, facts);
        self.nodes[n].processes.push(Process {
            job,
            operation,
            ask: None,
            reply: None,
            doubt: false,
            steps: 0,
            began: self.time,
        });
        let p = self.nodes[n].processes.len() - 1;
        self.advance(n, p, Event::Begin)
    }

    /// A process takes a step; it may be over then and is removed.
    fn advance(&mut self, n: usize, p: usize, event: Event) -> Checked {
        let (now, time) = (self.now(n), self.time);
        let Node { ledger, processes, .. } = &mut self.nodes[n];
        let process = &mut processes[p];
        ledger.set_now(now.boot);
        process.steps += 1;
        (process.ask, process.reply, process.doubt) = (None, None, false);
        let outcome = process.operation.step(ledger, now, event);
        let steps = process.steps;
        match outcome {
            Ok(Outcome::Asks(txn)) => {
                let uuid = ledger.node().uuid.clone();
                process.ask = Some(Packet { txn, uuid, sent: time });
                if steps > STEPS {
                    return self.violate(Rule::Stuck, format!("{steps} steps of node {n}"));
                }
                Ok(())
            }
            Ok(outcome) => {
                let process = self.nodes[n].processes.remove(p);
                self.finish(n, process.job, outcome)
            }
            Err(MemoryError::Broken) => {
                self.nodes[n].processes.remove(p);
                Ok(())
            }
            Err(error) => {
                self.nodes[n].processes.remove(p);
                self.violate(Rule::Refused, error.to_string())
            }
        }
    }

    /// An operation is over.
    fn finish(&mut self, n: usize, job: Job, outcome: Outcome) -> Checked {
        match (job, outcome) {
            (Job::Add(wish), Outcome::Added(Ok(added))) => {
                let texts: Vec<String> =
                    added.allocations.iter().map(|a| a.addr.to_string()).collect();
                self.say(format!("node {n}: ADD of pod {}: {}", wish.pod, texts.join(" ")));
                let borrowed = added.allocations.iter().any(|a| a.borrowed);
                self.count(if added.held { "ADD: held" } else { "ADD: new" });
                if borrowed {
                    self.count("ADD: borrowed");
                }
                self.added(n, &wish, &added)
            }
            // As the plugin does: contact first, where it is missing.
            (Job::Add(wish), Outcome::Added(Err(trouble))) if !wish.joined && unknown(&trouble) => {
                self.say(format!("node {n}: ADD of pod {} joins first: {trouble}", wish.pod));
                if matches!(trouble, Trouble::Autonomy { .. }) {
                    self.count("ADD: Autonomy");
                }
                let facts = self.facts(n);
                let operation = Running::new(&Job::Join, self.context(n), facts);
                let job = Job::Add(Wish { joined: true, ..wish });
                self.again(n, job, operation)
            }
            (Job::Add(wish), Outcome::Joined(Ok(()))) => {
                let job = Job::Add(wish);
                let facts = self.facts(n);
                let operation = Running::new(&job, self.context(n), facts);
                self.again(n, job, operation)
            }
            (Job::Add(wish), Outcome::Added(Err(trouble)) | Outcome::Joined(Err(trouble))) => {
                self.say(format!("node {n}: ADD of pod {} failed: {trouble}", wish.pod));
                let name = format!("{trouble:?}");
                let word = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                self.count(format!("ADD: {word}"));
                self.failed(n, &wish, &trouble)
            }
            (job, Outcome::Joined(result) | Outcome::Other(result)) => {
                let text = result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
                self.say(format!("node {n}: {job:?}: {text}"));
                match result {
                    Ok(()) => Ok(()),
                    Err(trouble) => self.troubled(n, &trouble),
                }
            }
            (job, outcome) => panic!("{job:?} came to {outcome:?}"),
        }
    }

    fn again(&mut self, n: usize, job: Job, operation: Running) -> Checked {
        let process = Process {
            job,
            operation,
            ask: None,
            reply: None,
            doubt: false,
            steps: 0,
            began: self.time,
        };
        self.nodes[n].processes.push(process);
        let p = self.nodes[n].processes.len() - 1;
        self.advance(n, p, Event::Begin)
    }

    /// What happens next to a process.
    pub(crate) fn step(&mut self, n: usize, p: usize, fate: Fate) -> Checked {
        let process = &mut self.nodes[n].processes[p];
        let Some(packet) = process.ask.clone() else { return Ok(()) };
        if let Some(reply) = process.reply.take() {
            let reply = Reply { doubt: process.doubt, ..reply };
            return match fate {
                Fate::Mute | Fate::Late => self.advance(n, p, Event::Lost(Loss::Unknown)),
                Fate::Kill | Fate::KillSent | Fate::KillApplied => self.kill(n, p),
                Fate::Break(writes) => self.broken(n, p, Event::Reply(reply), writes),
                _ => self.advance(n, p, Event::Reply(reply)),
            };
        }
        match fate {
            Fate::Unsent => return self.advance(n, p, Event::Lost(Loss::Unsent)),
            Fate::Kill => return self.kill(n, p),
            Fate::Late => {
                self.wire.push(packet);
                return self.advance(n, p, Event::Lost(Loss::Unknown));
            }
            Fate::KillSent => {
                self.wire.push(packet);
                return self.kill(n, p);
            }
            _ => {}
        }
        let reply = self.carry_out(&packet)?;
        match fate {
            Fate::Apply => {
                self.nodes[n].processes[p].reply = Some(reply);
                Ok(())
            }
            Fate::Mute => self.advance(n, p, Event::Lost(Loss::Unknown)),
            Fate::Twice => {
                self.wire.push(packet);
                self.nodes[n].processes[p].doubt = true;
                self.advance(n, p, Event::Reply(Reply { doubt: true, ..reply }))
            }
            Fate::KillApplied => self.kill(n, p),
            Fate::Break(writes) => self.broken(n, p, Event::Reply(reply), writes),
            _ => self.advance(n, p, Event::Reply(reply)),
        }
    }

    fn kill(&mut self, n: usize, p: usize) -> Checked {
        self.nodes[n].processes.remove(p);
        Ok(())
    }

    fn broken(&mut self, n: usize, p: usize, event: Event, writes: u32) -> Checked {
        self.nodes[n].ledger.break_after(Some(writes));
        let result = self.advance(n, p, event);
        self.nodes[n].ledger.break_after(None);
        result
    }

    /// Lets a process run to its end over a network that works.
    pub(crate) fn run(&mut self, n: usize, job: Job) -> Checked {
        self.start(n, job)?;
        self.drain(n)
    }

    /// Lets all processes of a node run to their ends.
    pub(crate) fn drain(&mut self, n: usize) -> Checked {
        while !self.nodes[n].processes.is_empty() {
            let last = self.nodes[n].processes.len() - 1;
            self.step(n, last, Fate::Deliver)?;
        }
        Ok(())
    }

    /// etcd carries a request out.
    pub(crate) fn carry_out(&mut self, packet: &Packet) -> Checked<Reply> {
        let removed = self.etcd.get(&self.keys.tombstone(&packet.uuid)).is_some();
        let before = self.etcd.revision();
        let reply = match self.etcd.txn(&packet.txn) {
            Ok(reply) => reply,
            Err(refused) => {
                return Err(Violation {
                    rule: Rule::Refused,
                    what: format!("{refused}: {:?}", packet.txn),
                });
            }
        };
        if self.etcd.revision() > before {
            if packet.sent < self.time {
                self.count("late");
            }
            if packet.sent + LATE <= self.time {
                self.overdue.insert(packet.uuid.clone());
            }
            for op in &packet.txn.then {
                if reply.succeeded
                    && let Op::Put { key, .. } | Op::Delete { key, .. } = op
                {
                    let word = if matches!(op, Op::Put { .. }) { "put" } else { "delete" };
                    let text = String::from_utf8_lossy(key).into_owned();
                    let kind: Vec<_> =
                        text.split('/').skip(3).filter(|part| part.len() <= 2).collect();
                    let who = if packet.uuid == "admin" { "admin" } else { "node" };
                    self.count(format!("{who}: {word} {}", kind.join("/")));
                }
            }
            if removed {
                let what = format!("{} has written: {:?}", packet.uuid, packet.txn.then);
                self.violate(Rule::Removed, what)?;
            }
            self.check_etcd()?;
        }
        Ok(reply)
    }
}

/// Whether the plugin makes contact and tries again.
fn unknown(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::NoContact | Trouble::Autonomy { .. } | Trouble::NoPool { .. })
}
