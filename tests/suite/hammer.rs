/*!
Many processes at a time on one network: ADD, DEL, CHECK and GC, some of them killed.

A runtime that lost a call sends DEL; so does each caller here. A history of who held which address
when is kept: nobody is ever given an address that is in use, and at the end nothing is left.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use ipam_stores::survey::Health;
use serde_json::{Value, json};
use support::{
    Call, History, Holdings, NetworkDir, Owned, Plugin, Random, Scratch, Stopper, Store, binary,
    filler, has_open, have, is_over, reference, reservation, skip_unless, wait_until,
};

const NETWORK: &str = "hammered";

/// How hard, for how long, and against what.
struct Plan {
    binary: PathBuf,
    store: Store,
    callers: u64,
    /// The IPv4 subnet: small, so that addresses come round again and again.
    subnet: &'static str,
    /// How many addresses of the subnet a directory holds from before; a database takes them over.
    held: u32,
    /// At least so long, and at least so many calls.
    time: Duration,
    calls: u64,
    /// Whether callers are killed and GC is called: what only ours stands.
    rough: bool,
}

impl Plan {
    fn few(plugin: Plugin, store: Store) -> Self {
        Self {
            binary: binary(plugin.name()),
            store,
            // In a database, they come from all networks of a node.
            callers: if store == Store::Dir { 32 } else { 64 },
            // Two addresses for each of a caller's attachments, and some for ghosts.
            subnet: if store == Store::Dir { "10.7.0.0/25" } else { "10.7.0.0/24" },
            held: 0,
            time: Duration::from_secs(5),
            calls: 2000,
            rough: true,
        }
    }

    fn many(plugin: Plugin, store: Store) -> Self {
        Self { subnet: "10.7.0.0/20", held: 3000, ..Self::few(plugin, store) }
    }
}

/// Attachments whose container dies without a DEL: GC has to find them.
#[derive(Default)]
struct Ghosts {
    /// Those that GC must still spare.
    alive: BTreeSet<String>,
    /// Those that it must collect, with their addresses.
    dead: BTreeMap<String, Vec<String>>,
}

struct Hammer<'a> {
    plan: &'a Plan,
    scratch: &'a Scratch,
    config: Value,
    network: Holdings,
    history: History,
    ghosts: Mutex<Ghosts>,
    /// A ghost is added while this is shared, and GC runs while it is not: a runtime does not forget
    /// an attachment that it is just adding.
    gc: RwLock<()>,
    /// What is always valid: the attachments of all callers, and what was held before.
    valid: Vec<Value>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    killed: AtomicU64,
    checks: AtomicU64,
    collected: AtomicU64,
}

fn add_to(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn attachment(id: &str) -> Value {
    json!({"containerID": id, "ifname": "eth0"})
}

/// The attachments of a caller.
fn own(caller: u64) -> [String; 2] {
    [format!("caller{caller}-a"), format!("caller{caller}-b")]
}

impl Hammer<'_> {
    fn call(&self, command: &str, id: &str) -> Call {
        add_to(&self.counts.calls);
        Call::new(&self.plan.binary, command)
            .id(id)
            .config(&self.config)
            .env("NODE_INDEX", "4")
            .state_in(self.scratch.path())
    }

    /// Runs a call, or kills it at a moment drawn by lot; `None` if it was killed before its end.
    fn perhaps_killed(&self, call: &Call, random: &mut Random) -> Option<Output> {
        let mut child = call.spawn();
        if self.plan.rough && random.chance(1, 6) {
            // Most calls wait for the lock most of their time: late moments are tried too.
            let most = *random.pick(&[500, 2_000, 10_000, 40_000]);
            thread::sleep(Duration::from_micros(random.below(most)));
            let _ = child.kill();
        }
        let output = child.wait_with_output().expect("a caller's end can be waited for");
        if output.status.code().is_none() {
            add_to(&self.counts.killed);
            return None;
        }
        Some(output)
    }

    /// ADD; `None` if it was killed.
    fn add(&self, id: &str, random: &mut Random) -> Option<Value> {
        let output = self.perhaps_killed(&self.call("ADD", id), random)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "ADD {id}: {text}");
        let result: Value = serde_json::from_str(&text).expect("a result is JSON");
        self.history.begin(id, &addresses(&result));
        Some(result)
    }

    /// DEL, again and again until one has come to its end.
    fn del(&self, id: &str, random: &mut Random) {
        self.history.end(id);
        loop {
            let mut call = self.call("DEL", id);
            if self.plan.rough && random.chance(1, 4) {
                let kind = &self.config["ipam"]["type"];
                call = call.config(
                    &json!({"name": NETWORK, "ipam": {"type": kind, "lockTimeout": "10m"}}),
                );
            }
            if let Some(output) = self.perhaps_killed(&call, random) {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "DEL {id}: {text}");
                return;
            }
        }
    }

    /// CHECK of what is held, with the result that ADD gave.
    fn check(&self, id: &str, result: &Value) {
        let mut config = self.config.clone();
        config["prevResult"] = result.clone();
        let outcome = self.call("CHECK", id).config(&config).run();
        assert_eq!(outcome.exit, Some(0), "CHECK {id}: {outcome:?}");
        add_to(&self.counts.checks);
    }

    /// An attachment that is added, lives for a moment and dies without a DEL.
    fn ghost(&self, id: &str, random: &mut Random) {
        let result = {
            let _adding = self.gc.read().unwrap_or_else(PoisonError::into_inner);
            let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
            if ghosts.dead.len() + ghosts.alive.len() >= 20 {
                return;
            }
            ghosts.alive.insert(id.to_owned());
            drop(ghosts);
            self.add(id, random)
        };
        if let Some(result) = &result {
            self.check(id, result);
        }
        self.history.end(id);
        let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
        ghosts.alive.remove(id);
        ghosts.dead.insert(id.to_owned(), result.map(|r| addresses(&r)).unwrap_or_default());
    }

    /// GC with all that is alive: the dead are gone afterwards.
    fn collect(&self, random: &mut Random) {
        let _alone = self.gc.write().unwrap_or_else(PoisonError::into_inner);
        let (alive, dead) = {
            let ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
            (ghosts.alive.clone(), ghosts.dead.clone())
        };
        let valid = self.valid.iter().cloned().chain(alive.iter().map(|id| attachment(id)));
        let Some(output) = self.perhaps_killed(&self.gc_call(valid.collect()), random) else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "GC: {text}");
        let held = self.held_now();
        for (id, addresses) in &dead {
            for address in addresses {
                let address: IpAddr = address.parse().expect("an address");
                assert_ne!(
                    held.get(&address),
                    Some(&reservation(id, "eth0")),
                    "{address} after GC"
                );
            }
            add_to(&self.counts.collected);
        }
        let mut ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner);
        ghosts.dead.retain(|id, _| !dead.contains_key(id));
    }

    /// What is held while others go on.
    fn held_now(&self) -> BTreeMap<IpAddr, String> {
        if self.plan.store == Store::Dir {
            return self.network.reservations();
        }
        let lock = File::open(self.network.database_lock()).expect("a lock is there");
        lock.lock().expect("a lock can be taken");
        self.network.clone().frozen().reservations()
    }

    fn gc_call(&self, valid: Vec<Value>) -> Call {
        let mut config = self.config.clone();
        config["cni.dev/valid-attachments"] = Value::Array(valid);
        let call = self.call("GC", "").config(&config);
        call.without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS")
    }

    fn caller(&self, number: u64, until: Instant) {
        let mut random = Random::new(number);
        let mut held: BTreeMap<String, Value> = BTreeMap::new();
        let mut ghosts = 0;
        while Instant::now() < until || self.counts.calls.load(Ordering::Relaxed) < self.plan.calls
        {
            let id = random.pick(&own(number)).clone();
            match (random.below(40), held.get(&id)) {
                (0, _) if self.plan.rough => self.collect(&mut random),
                (1..=2, _) if self.plan.rough => {
                    ghosts += 1;
                    self.ghost(&format!("ghost{number}-{ghosts}"), &mut random);
                }
                (3..=12, Some(result)) => self.check(&id, result),
                (_, Some(_)) => {
                    self.del(&id, &mut random);
                    held.remove(&id);
                }
                (_, None) => match self.add(&id, &mut random) {
                    Some(result) => drop(held.insert(id, result)),
                    None => self.del(&id, &mut random),
                },
            }
        }
        for id in own(number) {
            self.del(&id, &mut random);
        }
    }
}

fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("a result has addresses");
    ips.iter()
        .map(|ip| ip["address"].as_str().expect("an address is a text"))
        .map(|address| address.split('/').next().unwrap_or(address).to_owned())
        .collect()
}

fn hammer(plan: &Plan) {
    let scratch = Scratch::new("hammer");
    let data_dir = scratch.path().join("networks");
    let network = Holdings::new(NETWORK, &data_dir, &scratch.path().join("run"))
        .with_state(&scratch.path().join("state"));
    if plan.held > 0 {
        network.directory().fill("10.7.0.2".parse().expect("an address"), plan.held);
    }
    let kind = plan.binary.file_name().expect("a plugin has a name").to_string_lossy();
    let own = (0..plan.callers).flat_map(own);
    let hammer = Hammer {
        plan,
        scratch: &scratch,
        config: json!({
            "cniVersion": if plan.rough { "1.1.0" } else { "1.0.0" },
            "name": NETWORK,
            "type": "bridge",
            "ipam": {
                "type": kind, "dataDir": data_dir, "store": plan.store.name(),
                // How long others may have the lock is not the subject.
                "lockTimeout": "10m",
                "ranges": [[{"subnet": plan.subnet}], [{"subnet": "fd00:7::/119"}]],
            },
        }),
        network,
        history: History::new(),
        ghosts: Mutex::default(),
        gc: RwLock::default(),
        valid: (0..plan.held).map(filler).chain(own).map(|id| attachment(&id)).collect(),
        counts: Counts::default(),
    };
    let until = Instant::now() + plan.time;
    thread::scope(|scope| {
        for number in 0..plan.callers {
            let hammer = &hammer;
            scope.spawn(move || hammer.caller(number, until));
        }
    });
    hammer.history.assert_disjoint();
    if plan.rough {
        let fillers: Vec<Value> = (0..plan.held).map(|n| attachment(&filler(n))).collect();
        let outcome = hammer.gc_call(fillers).run();
        assert_eq!(outcome.exit, Some(0), "the last GC: {outcome:?}");
    }
    let left = hammer.network.reservations();
    assert_eq!(left.len(), plan.held as usize, "left: {:?}", {
        let ours = left.iter().filter(|(_, content)| !content.starts_with("filler"));
        ours.collect::<Vec<_>>()
    });
    let mut strangers = hammer.network.directory().strangers();
    if kind.as_ref() == "node-local" {
        // The index of the node that the allocations belong to.
        strangers.retain(|name| name != "node-index");
    }
    assert_eq!(strangers, Vec::<String>::new());
    if plan.store == Store::Sqlite {
        assert!(!hammer.network.directory().path().exists(), "the directory was not taken over");
        assert_eq!(hammer.network.faults(), [] as [String; 0]);
        assert_eq!(hammer.network.health(), Health::Fine);
        let files = support::Snapshot::of(&scratch.path().join("run"));
        let odd: Vec<&Path> = files.files().into_iter().filter(|name| !is_usual(name)).collect();
        assert_eq!(odd, [] as [&Path; 0], "left behind beside the database");
    }
    let counts = &hammer.counts;
    let [calls, killed, checks, collected] =
        [&counts.calls, &counts.killed, &counts.checks, &counts.collected]
            .map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "{calls} calls, {killed} killed, {checks} CHECKs, {collected} collected, {} handed out",
        hammer.history.len()
    );
    assert!(checks >= 20 && hammer.history.len() >= 200, "there was nothing to see");
    if plan.rough {
        assert!(killed >= 20 && collected >= 10, "it was not rough");
    }
}

/// Whether a file belongs beside a database, or is the index of a directory.
fn is_usual(name: &Path) -> bool {
    let usual = ["plat.db", "plat.db-lock", "plat.db-journal", "plat.db-spare"];
    let within = ["index", "plat.db-calls"];
    usual.iter().any(|usual| name == Path::new(usual))
        || within.iter().any(|directory| name.starts_with(directory))
}

#[test]
fn host_local_with_few() {
    hammer(&Plan::few(Plugin::HostLocal, Store::Dir));
}

#[test]
fn host_local_with_many() {
    hammer(&Plan::many(Plugin::HostLocal, Store::Dir));
}

#[test]
fn node_local() {
    let plan = Plan::few(Plugin::NodeLocal, Store::Dir);
    hammer(&Plan { time: Duration::from_secs(2), ..plan });
}

#[test]
fn host_local_in_a_database() {
    let plan = Plan::few(Plugin::HostLocal, Store::Sqlite);
    hammer(&Plan { time: Duration::from_secs(3), ..plan });
}

#[test]
fn node_local_in_a_database_that_takes_over_many() {
    hammer(&Plan::many(Plugin::NodeLocal, Store::Sqlite));
}

/// One network in two directories, each of them empty again and again, and every DEL without
/// configuration: it must know both places at any time.
fn two_places(plugin: &str) {
    let scratch = Scratch::new("places");
    let binary = binary(plugin);
    let place = |n: u64| scratch.path().join(format!("networks{n}"));
    thread::scope(|scope| {
        for caller in 0..8_u64 {
            let (binary, scratch, data_dir) = (&binary, &scratch, place(caller % 2));
            scope.spawn(move || {
                let network = NetworkDir::new(&data_dir, NETWORK);
                let id = format!("caller{caller}");
                let call = |command: &str, config: &Value| {
                    let call = Call::new(binary, command).id(&id).config(config);
                    call.env("NODE_INDEX", "4").state_in(scratch.path()).run()
                };
                for round in 0..60 {
                    let ipam =
                        json!({"type": plugin, "store": "dir", "subnet": "10.7.0.0/24", "dataDir": data_dir});
                    let config = json!({"cniVersion": "1.0.0", "name": NETWORK, "ipam": ipam});
                    let added = call("ADD", &config);
                    assert_eq!(added.addresses().len(), 1, "{id} in round {round}: {added:?}");
                    let stripped = json!({"name": NETWORK, "ipam": {"type": plugin}});
                    let deleted = call("DEL", &stripped);
                    assert_eq!(deleted.exit, Some(0), "{id} in round {round}: {deleted:?}");
                    let left = network.held_by(&id, "eth0");
                    assert!(left.is_empty(), "{id} in round {round}: {left:?} is not freed");
                }
            });
        }
    });
    for n in 0..2 {
        assert!(NetworkDir::new(&place(n), NETWORK).reservations().is_empty());
    }
}

#[test]
fn two_places_of_host_local() {
    two_places("host-local");
}

#[test]
fn two_places_of_node_local() {
    two_places("node-local");
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn for_long() {
    for plugin in [Plugin::HostLocal, Plugin::NodeLocal] {
        for store in [Store::Dir, Store::Sqlite] {
            for plan in [Plan::few(plugin, store), Plan::many(plugin, store)] {
                hammer(&Plan { time: Duration::from_secs(60), calls: 20_000, ..plan });
            }
        }
    }
}

/// What is asked of ours holds for the reference where nobody is killed: a failure is not the
/// hammer's own.
#[test]
fn the_reference_handled_gently() {
    let reference = reference("host-local");
    let needs = [(reference.is_some(), "Debian's containernetworking-plugins")];
    if !skip_unless("the_reference_handled_gently", &needs) {
        return;
    }
    hammer(&Plan {
        binary: reference.expect("checked above"),
        time: Duration::from_secs(1),
        calls: 1000,
        rough: false,
        ..Plan::few(Plugin::HostLocal, Store::Dir)
    });
}

// One call stopped in the middle, others made meanwhile.

/// One network, a directory or two for it, and a place for strace's files.
struct Places {
    scratch: Scratch,
    plugin: &'static str,
    binary: PathBuf,
}

impl Places {
    fn new(plugin: &'static str) -> Self {
        Self { scratch: Scratch::new("places"), plugin, binary: binary(plugin) }
    }

    fn data_dir(&self, n: u32) -> PathBuf {
        self.scratch.path().join(format!("networks{n}"))
    }

    /// A call in directory `n`, or in the one that the plugin knows of (`None`).
    fn call(&self, program: &Path, command: &str, id: &str, n: Option<u32>) -> Call {
        let mut ipam = json!({"type": self.plugin});
        if let Some(n) = n {
            ipam["subnet"] = json!("10.7.0.0/24");
            ipam["dataDir"] = json!(self.data_dir(n));
            ipam["store"] = json!("dir");
        }
        let path = std::env::var("PATH").expect("there is a PATH");
        Call::new(program, command)
            .id(id)
            .config(&json!({"cniVersion": "1.0.0", "name": NETWORK, "ipam": ipam}))
            .env("PATH", path)
            .env("NODE_INDEX", "4")
            .state_in(self.scratch.path())
    }

    fn held(&self, n: u32) -> BTreeMap<IpAddr, String> {
        NetworkDir::new(&self.data_dir(n), NETWORK).reservations()
    }
}

/// A DEL of something unknown, the first call ever in its directory, is stopped at each of its looks at
/// the directory; meanwhile another attachment is added. What the DEL does when it goes on must not make
/// that one's place unknown: a DEL without configuration still finds it.
fn late_del_forgets_nothing(plugin: &'static str) {
    for nth in 1..=8 {
        let places = Places::new(plugin);
        let data_dir = places.data_dir(1);
        let paths = [data_dir.as_path(), &data_dir.join(NETWORK)];
        let stopper = Stopper::new(places.scratch.path(), &places.binary, "%file", &paths, nth);
        let mut del = Owned(places.call(stopper.script(), "DEL", "unknown", Some(1)).spawn());
        let Some(stopped) = stopper.stopped(&del) else {
            assert!(nth > 1, "{plugin}: DEL has not looked at the directory");
            break;
        };
        let added = places.call(&places.binary, "ADD", "first", Some(1)).run();
        assert_eq!(added.addresses().len(), 1, "{added:?}");
        stopped.go_on();
        let status = del.0.wait().expect("DEL's end can be waited for");
        assert!(status.success(), "{plugin}, stopped at look {nth}: {status}");
        assert_eq!(places.held(1).len(), 1, "{plugin}, stopped at look {nth}");
        places.call(&places.binary, "DEL", "first", None).run().ok();
        let left = places.held(1);
        assert!(left.is_empty(), "{plugin}, stopped at look {nth}: {left:?} is never freed");
    }
}

#[test]
fn a_late_del_of_host_local_forgets_nothing() {
    if skip_unless("a_late_del_of_host_local_forgets_nothing", &[(have("strace"), "strace")]) {
        late_del_forgets_nothing("host-local");
    }
}

#[test]
fn a_late_del_of_node_local_forgets_nothing() {
    if skip_unless("a_late_del_of_node_local_forgets_nothing", &[(have("strace"), "strace")]) {
        late_del_forgets_nothing("node-local");
    }
}

/// An ADD in one directory is stopped at each of its steps in the plugin's own state; meanwhile the
/// last attachment in the other directory of the network goes, and with it what was known of that.
/// The ADD succeeds, and a DEL without configuration finds it.
fn add_while_the_other_place_empties(plugin: &'static str) {
    let mut stops = 0;
    for nth in 1..=12 {
        let places = Places::new(plugin);
        let added = places.call(&places.binary, "ADD", "first", Some(1)).run();
        assert_eq!(added.addresses().len(), 1, "{added:?}");
        let state = places.scratch.path().join("state");
        let dirs = directories(&state);
        let paths: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        let stopper = Stopper::new(places.scratch.path(), &places.binary, "%file", &paths, nth);
        let call = places.call(stopper.script(), "ADD", "second", Some(2));
        let mut add = Owned(call.spawn());
        let Some(stopped) = stopper.stopped(&add) else { break };
        stops += 1;
        let mut del = Owned(places.call(&places.binary, "DEL", "first", Some(1)).spawn());
        // It may look into the other directory too, and wait for the lock that the ADD holds.
        let lock = NetworkDir::new(&places.data_dir(2), NETWORK).lock();
        let pid = del.0.id();
        wait_until("DEL ends or is at the lock", || is_over(pid) || has_open(pid, &lock));
        stopped.go_on();
        let status = del.0.wait().expect("DEL's end can be waited for");
        assert!(status.success(), "{plugin}, DEL while ADD is stopped at step {nth}: {status}");
        let mut answer = String::new();
        let stdout = add.0.stdout.as_mut().expect("stdout is a pipe");
        stdout.read_to_string(&mut answer).expect("the answer can be read");
        let status = add.0.wait().expect("ADD's end can be waited for");
        assert!(status.success(), "{plugin}, stopped at step {nth}: {answer}");
        assert_eq!((places.held(1).len(), places.held(2).len()), (0, 1));
        places.call(&places.binary, "DEL", "second", None).run().ok();
        let left = places.held(2);
        assert!(left.is_empty(), "{plugin}, stopped at step {nth}: {left:?} is never freed");
    }
    assert!(stops >= 1, "{plugin}: ADD has not looked at its state");
}

/// A directory and all below it.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(directories(&entry.path()));
        }
    }
    all
}

#[test]
fn add_of_host_local_while_the_other_place_empties() {
    let test = "add_of_host_local_while_the_other_place_empties";
    if skip_unless(test, &[(have("strace"), "strace")]) {
        add_while_the_other_place_empties("host-local");
    }
}

#[test]
fn add_of_node_local_while_the_other_place_empties() {
    let test = "add_of_node_local_while_the_other_place_empties";
    if skip_unless(test, &[(have("strace"), "strace")]) {
        add_while_the_other_place_empties("node-local");
    }
}
