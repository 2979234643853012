//! Nodes, their processes, etcd, and what lies between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipam_core::addr::Addr;
use ipam_pool::key::Keys;
use ipam_pool::memory::MemoryLedger;
use ipam_pool::model::Etcd;
use ipam_pool::node::{BootState, Contact};
use ipam_pool::op::Now;
use ipam_pool::ops::{Context, Facts};
use ipam_pool::pool::PoolsRecord;
use ipam_pool::record;
use ipam_pool::txn::{Op, Reply, Txn};

use crate::job::{Job, Running};
use crate::setup::{self, SPACE};

/// For how long a request that was lost may still arrive, in milliseconds.
pub(crate) const LATE: u64 = 60_000;

/// When the world begins, in seconds since 1970.
const EPOCH: u64 = 1_700_000_000;

/// How many pods a node may have.
pub(crate) const PODS: usize = 4;

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// I1: two attachments have an address.
    Duplicate,
    /// I2, I10: a record without a block or an exception, an ADD out of a block of another.
    Ownership,
    /// I3: blocks overlap.
    Blocks,
    /// I4: a removed node has written.
    Removed,
    /// I5: etcd and a node's table differ, and nothing is left to do.
    Drift,
    /// I6: an address was given out before its rest was over.
    Rest,
    /// I7: an address was given out that never is.
    Withheld,
    /// I8: an ADD has given something else than one address for each family, or none at all.
    Half,
    /// I9: a repeated ADD has another result.
    Repeat,
    /// At the end something is left that nobody uses.
    Leak,
    /// An ADD fails though there are addresses, or something never ends.
    Stuck,
    /// A node was told that it lost something though nobody took it.
    Alarm,
    /// etcd refuses the request, or the store does.
    Refused,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// What the network does with a request, or what happens to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out and answered; an answer that is there already is delivered.
    Deliver,
    /// It is carried out. The answer is on its way.
    Apply,
    /// It certainly never arrives.
    Unsent,
    /// It is carried out, the answer is lost.
    Mute,
    /// It is not carried out now, but may be later, and the process gives up.
    Late,
    /// Two copies are sent: one is carried out and answered, the other may be later.
    Twice,
    /// The process dies before it is sent.
    Kill,
    /// The process dies; the request may arrive later.
    KillSent,
    /// It is carried out, and the process dies.
    KillApplied,
    /// It is answered, and the process dies after so many writes of what follows.
    Break(u32),
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) txn: Txn,
    /// The node that has sent it.
    pub(crate) uuid: String,
    pub(crate) sent: u64,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) job: Job,
    pub(crate) operation: Running,
    /// What it has asked for.
    pub(crate) ask: Option<Packet>,
    /// The answer, on its way, and whether another copy of the request is.
    pub(crate) reply: Option<Reply>,
    pub(crate) doubt: bool,
    pub(crate) steps: u32,
    pub(crate) began: u64,
}

/// A pod, as its runtime knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pod {
    /// There is none, or none any more.
    #[default]
    Absent,
    /// An ADD has begun. It may have failed or died.
    Doubtful,
    /// An ADD has given it these.
    Live(Vec<Addr>),
    /// A DEL has begun, and died.
    Leaving,
}

/// A node.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) ledger: MemoryLedger,
    pub(crate) machine: String,
    pub(crate) name: String,
    pub(crate) boot: String,
    pub(crate) on: bool,
    booted: u64,
    /// For how long its own clock stood still, in milliseconds.
    lag: u64,
    /// By how much its wall clock is wrong, in seconds.
    skew: i64,
    pub(crate) processes: Vec<Process>,
    pub(crate) pods: [Pod; PODS],
    pub(crate) generations: [u32; PODS],
    pub(crate) wishes: [Option<(&'static str, Vec<Addr>, bool)>; PODS],
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) node: usize,
    pub(crate) pod: usize,
    pub(crate) generation: u32,
}

/// An address that was freed.
#[derive(Clone, Debug)]
pub(crate) struct Freed {
    pub(crate) at: u64,
    pub(crate) node: usize,
    pub(crate) boot: String,
    pub(crate) pod: usize,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) etcd: Etcd,
    pub(crate) nodes: Vec<Node>,
    pub(crate) wire: Vec<Packet>,
    /// In milliseconds since the world began.
    pub(crate) time: u64,
    pub(crate) live: BTreeMap<Addr, Live>,
    pub(crate) freed: BTreeMap<Addr, Freed>,
    /// Tombstones: when they were set, and for which node.
    pub(crate) stones: BTreeMap<String, (u64, usize)>,
    /// Whether requests may arrive at any time, and not only within [`LATE`].
    pub(crate) ever: bool,
    /// The nodes of which a request was carried out after [`LATE`]: what it wrote nobody expects any more, and stays
    /// until the address is wanted again.
    pub(crate) overdue: BTreeSet<String>,
    /// Whether nodes give out addresses without contact after a boot: a negative control.
    pub(crate) careless: bool,
    /// The only rule that is checked, if any.
    pub(crate) only: Option<Rule>,
    pub(crate) log: Vec<String>,
    /// How often what has happened.
    pub(crate) seen: BTreeMap<String, u32>,
    serial: u64,
}

impl Process {
    /// Whether its request was carried out and the answer is on its way.
    pub(crate) const fn is_answered(&self) -> bool {
        self.reply.is_some()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let keys = Keys::default();
        let mut etcd = Etcd::default();
        let pools = PoolsRecord {
            generation: 1,
            pools: setup::POOLS.iter().map(|name| setup::pool(name)).collect(),
            ..PoolsRecord::default()
        };
        let put = Op::put(keys.pools(SPACE), record::write(&pools));
        etcd.txn(&Txn { then: vec![put], ..Txn::default() }).unwrap();
        let mut world = Self {
            keys,
            etcd,
            nodes: Vec::new(),
            wire: Vec::new(),
            time: 0,
            live: BTreeMap::new(),
            freed: BTreeMap::new(),
            stones: BTreeMap::new(),
            ever: false,
            overdue: BTreeSet::new(),
            careless: false,
            only: None,
            log: Vec::new(),
            seen: BTreeMap::new(),
            serial: 0,
        };
        for n in 0..nodes {
            let (machine, name) = (format!("machine-{n}"), format!("vm-{n}"));
            world.nodes.push(Node { machine, name, ..Node::default() });
            world.boot(n);
        }
        world
    }

    /// Another world like this one, between two processes.
    pub(crate) fn fork(&self) -> Self {
        assert!(
            self.nodes.iter().all(|node| node.processes.is_empty()),
            "processes cannot be copied"
        );
        Self {
            keys: self.keys.clone(),
            etcd: self.etcd.clone(),
            overdue: self.overdue.clone(),
            nodes: self
                .nodes
                .iter()
                .map(|node| Node {
                    ledger: node.ledger.clone(),
                    machine: node.machine.clone(),
                    name: node.name.clone(),
                    boot: node.boot.clone(),
                    processes: Vec::new(),
                    pods: node.pods.clone(),
                    wishes: node.wishes.clone(),
                    ..*node
                })
                .collect(),
            wire: self.wire.clone(),
            live: self.live.clone(),
            freed: self.freed.clone(),
            stones: self.stones.clone(),
            log: Vec::new(),
            seen: BTreeMap::new(),
            ..*self
        }
    }

    pub(crate) fn violate(&self, rule: Rule, what: impl Into<String>) -> Checked {
        match self.only {
            Some(only) if only != rule => Ok(()),
            _ => Err(Violation { rule, what: what.into() }),
        }
    }

    pub(crate) fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.log.push(format!("{:>6}.{:03} {text}", self.time / 1000, self.time % 1000));
    }

    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn now(&self, n: usize) -> Now {
        let node = &self.nodes[n];
        Now {
            boot: (self.time - node.booted).saturating_sub(node.lag) + 5_000,
            unix: (EPOCH + self.time / 1000).saturating_add_signed(node.skew),
        }
    }

    /// Time passes. What is on its way arrives in time or never. A process has a deadline.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.time += milliseconds;
        for node in &mut self.nodes {
            node.processes.retain(|process| process.began + LATE > self.time);
        }
        if !self.ever {
            let time = self.time;
            self.wire.retain(|packet| packet.sent + LATE > time);
        }
    }

    /// The node stands still, and so does its clock; what hangs in it is over when it goes on.
    pub(crate) fn pause(&mut self, n: usize, milliseconds: u64) {
        self.pass(milliseconds);
        self.nodes[n].lag += milliseconds;
    }

    /// The wall clock is set.
    pub(crate) fn jump(&mut self, n: usize, skew: i64) {
        self.nodes[n].skew = skew;
    }

    /// Turns a node off: its pods are gone.
    pub(crate) fn shut(&mut self, n: usize) {
        self.live.retain(|_, live| live.node != n);
        let node = &mut self.nodes[n];
        node.on = false;
        node.processes.clear();
        node.pods = Default::default();
        for generation in &mut node.generations {
            *generation += 1;
        }
    }

    /// Turns it on, or on again.
    pub(crate) fn boot(&mut self, n: usize) {
        self.shut(n);
        let (serial, time, careless) = (self.serial(), self.time, self.careless);
        let node = &mut self.nodes[n];
        node.on = true;
        node.boot = format!("boot-{n}-{serial}");
        (node.booted, node.lag) = (time, 0);
        node.ledger.reboot(5_000);
        if careless && !node.ledger.node().uuid.is_empty() {
            let now = self.now(n);
            let contact = Contact { boot: now.boot, unix: now.unix, ..Contact::default() };
            self.nodes[n].ledger.set_boot(BootState {
                contact: Some(contact),
                cleaned: true,
                ..BootState::default()
            });
        }
    }

    /// Puts a copy of one node's disk into another, which boots. Nothing tells the machines apart.
    pub(crate) fn copy(&mut self, from: usize, to: usize) {
        for n in [from, to] {
            self.nodes[n].machine.clear();
        }
        let mut node = self.nodes[from].ledger.node().clone();
        node.machine.clear();
        self.nodes[to].ledger = MemoryLedger::default();
        self.nodes[to].ledger.set_node(node);
        self.boot(to);
    }

    /// Makes the node a new one: its pods are deleted, its state is removed.
    pub(crate) fn renew(&mut self, n: usize) {
        self.nodes[n].ledger = MemoryLedger::default();
        self.boot(n);
    }

    pub(crate) fn context(&self, n: usize) -> Context {
        Context { keys: self.keys.clone(), boot: self.nodes[n].boot.clone() }
    }

    pub(crate) fn facts(&mut self, n: usize) -> Facts {
        let serial = self.serial();
        let node = &self.nodes[n];
        Facts {
            uuid: format!("u{n}-{serial}"),
            machine: node.machine.clone(),
            name: node.name.clone(),
            index: u32::try_from(n).ok(),
            version: "0.1.0".to_owned(),
            random: serial.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..Facts::default()
        }
    }
}
