/*!
Many nodes on one pool while etcd and the nodes themselves go through what they go through in a year.

16 nodes of 8 callers each add and delete attachments of four networks in two pools, one of mode `local` and
one of mode `sync` that lends, against an etcd of three members. Meanwhile members are killed, stopped, taken
away two at a time; calls and flushers are killed; nodes reboot; runtimes collect garbage. Who held which
address when is recorded, all over the cluster: no address may be in two hands, none may lie outside its pool
or in what the pool excludes, and none may be given out before it has rested. At the end all is deleted, and
nothing may be left: not in etcd, not in the nodes' databases, and no process.

`PLAT_STRESS_SECONDS` says for how long `for_long` goes on, `PLAT_STRESS_SEED` makes its choices the same
again (what the machine does between them is another matter).
*/

mod afterwards;
mod load;
mod pools;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::cluster_node::available;
use support::etcd::Etcd;
use support::{ClusterNode, History};

use load::Caller;
use pools::{Net, POOLS};

/// How many nodes there are.
const NODES: usize = 16;
/// How many callers each has.
const CALLERS: usize = 8;

/// What every run has to have done at least once.
const TRIED: &[&str] = &[
    "ADD",
    "ADD again",
    "ADD killed",
    "CHECK",
    "DEL",
    "DEL killed",
    "GC",
    "flusher killed",
    "forgotten",
    "leader killed",
    "member stopped",
    "reboot",
    "two of three away",
];

/// How much longer than it should a run may take until it has.
const AT_MOST: Duration = Duration::from_secs(300);

/// All that callers share.
struct World {
    nodes: Vec<Node>,
    nets: Vec<Net>,
    connection: Value,
    history: History,
    seed: u64,
    over: AtomicBool,
    /// How many calls may still be made.
    left: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// What must not be, a sentence each.
    wrong: Mutex<Vec<String>>,
}

/// A node with what runs on it. Calls hold the lock for reading; who reboots it or collects its garbage waits
/// for them.
struct Node {
    number: usize,
    node: ClusterNode,
    held: RwLock<Mutex<Vec<Held>>>,
}

/// An attachment that has addresses.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    net: usize,
    addresses: Vec<String>,
    result: Value,
    /// The caller that made it; `None`: its runtime has forgotten it, and leaves it to GC.
    caller: Option<usize>,
}

impl World {
    fn new(connection: Value, seed: u64, calls: u64) -> Self {
        let node = |number: usize| Node {
            number,
            node: ClusterNode::new(&format!("node-{}", number + 1)),
            held: RwLock::default(),
        };
        Self {
            nodes: (0..NODES).map(node).collect(),
            nets: pools::nets(),
            connection,
            history: History::new(),
            seed,
            over: AtomicBool::new(false),
            left: AtomicU64::new(calls),
            counts: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn config(&self, node: usize, net: usize) -> Value {
        self.nets[net].config(node, &self.connection)
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_insert(0) += 1;
    }

    fn wrong(&self, what: String) {
        eprintln!("{what}");
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Whether everything was tried that every run has to try: on a slow machine that takes longer than the run.
    fn has_tried_all(&self) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        TRIED.iter().all(|what| counts.contains_key(what))
    }

    /// Takes one of the calls that may be made; until all was tried there are more.
    fn goes_on(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        !self.over.load(Ordering::Relaxed)
            && (self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
                || !self.has_tried_all())
    }

    /// Whether there is time for more trouble, and for whom.
    fn has_time(&self, end: Instant) -> bool {
        let now = Instant::now();
        (now < end && self.left.load(Ordering::Relaxed) > 0)
            || (now < end + AT_MOST && !self.has_tried_all())
    }
}

/// Runs all of it, and asserts all of it.
fn stress(seconds: u64, calls: u64, seed: u64) {
    let mut etcd = Etcd::cluster(3);
    let world = World::new(etcd.connection(), seed, calls);
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for node in 0..NODES {
            for caller in 0..CALLERS {
                let world = &world;
                scope.spawn(move || Caller::new(world, node, caller).run());
            }
        }
        scope.spawn(|| trouble::of_nodes(&world, end));
        trouble::of_etcd(&world, &mut etcd, end);
        world.over.store(true, Ordering::Relaxed);
    });
    let loaded = start.elapsed();
    let added = world.history.len();
    afterwards::delete_everything(&world);
    afterwards::settle(&world);
    let counts = world.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    eprintln!(
        "pool_stress: seed {seed}, {added} addresses given in {loaded:?}, all over after {:?}: {counts:?}",
        start.elapsed()
    );
    world.history.assert_disjoint();
    for pool in POOLS {
        let rest = Duration::from_secs(pool.cooldown);
        let restless = world.history.restless(rest).into_iter();
        let early: Vec<_> = restless.filter(|(before, _)| pool.has(&before.address)).collect();
        assert!(early.is_empty(), "{} rests were too short: {:?}", early.len(), early.first());
    }
    let wrong = world.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} things were wrong: {:#?}", wrong.len(), wrong);
    // Else nothing was tried.
    for what in TRIED {
        assert!(counts.contains_key(what), "there was no {what}: {counts:?}");
    }
}

/// The seed that is given, or this one.
fn seed(otherwise: u64) -> u64 {
    let given = std::env::var("PLAT_STRESS_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(otherwise)
}

#[test]
fn for_half_a_minute() {
    if available("pool_stress::for_half_a_minute") {
        stress(30, 20_000, seed(1));
    }
}

#[test]
#[ignore = "takes a quarter of an hour, or PLAT_STRESS_SECONDS"]
fn for_long() {
    if !available("pool_stress::for_long") {
        return;
    }
    let given = std::env::var("PLAT_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    stress(given.unwrap_or(900), u64::MAX, seed(u64::from(std::process::id())));
}

/// The record that a broken pool would leave is found: an address in two hands on two nodes, one that did not
/// rest, one of nobody's pool.
#[test]
fn what_is_wrong_is_found() {
    let history = History::new();
    let given = |holder: &str, address: &str| history.begin(holder, &[address.to_owned()]);
    for n in 0..2000_u32 {
        let holder = format!("n{}-{n}", n % 16);
        given(&holder, &format!("10.70.{}.{}", n / 200, n % 200));
        history.end(&holder);
    }
    history.assert_disjoint();
    given("n1-a", "10.70.3.77");
    given("n2-b", "10.70.3.78");
    given("n3-c", "10.70.3.77");
    history.end("n1-a");
    history.end("n3-c");
    let overlaps = history.overlaps();
    assert_eq!(overlaps.len(), 1, "{overlaps:?}");
    assert_eq!((&*overlaps[0].0.holder, &*overlaps[0].1.holder), ("n1-a", "n3-c"));
    assert!(!history.restless(Duration::from_secs(3600)).is_empty());
    for (address, pool) in [
        ("10.70.0.41", Some("local")),
        ("10.71.0.77", Some("sync")),
        ("fd00:70::1:1", Some("local")),
        ("10.70.0.32", None),
        ("10.70.0.0", None),
        ("10.72.0.1", None),
        ("fd00:72::1", None),
        ("no address", None),
    ] {
        let of = POOLS.iter().find(|pool| pool.gives(address)).map(|pool| pool.name);
        assert_eq!(of, pool, "{address}");
    }
}
