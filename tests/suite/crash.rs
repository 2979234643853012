/*!
A plugin that is killed (SIGKILL) at each of its system calls, and what it leaves.

Whatever the moment, the runtime's DEL succeeds, no address stays reserved that no live attachment
owns (an empty reservation counts), no live reservation is lost or changed, the next ADD gets an
address that nobody holds, and state outside the network's directory makes no later call wrong.

A scenario says which plugin is killed in which call, with how much around it, and what the runtime
does next. The normal run takes a selection in which each pair of these occurs; the whole product
takes minutes.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipam_stores::survey::Health;
use support::{
    Holdings, Killer, Outcome, Plugin, Scratch, Site, Store, filler, reference, reservation,
    skip_unless,
};

/// The call that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Del,
    Gc,
    Check,
    Status,
}

/// What there is before the call that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Two attachments in the store.
    Used,
    /// Nothing at all: neither directories nor a database.
    Nothing,
    /// Two attachments in a directory, where the store is a database now.
    Directory,
}

/// Where the reservations lie; the boot's state is on tmpfs in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Disk,
    Tmpfs,
}

/// What comes first after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The runtime's DEL.
    Del,
    /// The runtime's DEL without ranges and dataDir.
    StrippedDel,
    /// The ADD of another attachment, then the DEL.
    OtherAdd,
    /// The ADD of the same attachment once more (after GC: GC once more), then the DEL.
    Retry,
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    plugin: Plugin,
    store: Store,
    start: Start,
    /// Sticky addresses that rest.
    policy: bool,
    /// The reference is killed in the plugin's place, and the plugin has to cope.
    reference: bool,
    verb: Verb,
    dual: bool,
    place: Place,
    held: u32,
    next: Next,
    /// System calls of one name that are killed at; the first and the last ones if there are more.
    limit: usize,
}

/// What a scenario came to.
#[derive(Debug, Default)]
struct Tally {
    /// System calls of the call when it is not killed.
    calls: usize,
    points: usize,
    /// Kills after which what the call was about had not begun, and kills after which it was done.
    before: usize,
    after: usize,
    /// Each problem, and the points at which it was seen.
    problems: BTreeMap<String, Vec<String>>,
}

const LIVE: [&str; 2] = ["live1", "live2"];
const VICTIMS: [&str; 2] = ["victim1", "victim2"];
const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];
const NEXT: [Next; 4] = [Next::Del, Next::StrippedDel, Next::OtherAdd, Next::Retry];
const LARGE: u32 = 300;

#[test]
fn add_killed_at_every_system_call() {
    explore("add_killed_at_every_system_call", &selection(Verb::Add), 14);
}

#[test]
fn del_killed_at_every_system_call() {
    explore("del_killed_at_every_system_call", &selection(Verb::Del), 9);
}

#[test]
fn gc_killed_at_every_system_call() {
    explore("gc_killed_at_every_system_call", &selection(Verb::Gc), 9);
}

/// Only here is an index outside the directory in use.
#[test]
fn calls_in_a_large_directory_killed_at_every_system_call() {
    let mut scenarios = Vec::new();
    for (i, plugin) in PLUGINS.into_iter().enumerate() {
        for (j, verb) in [Verb::Add, Verb::Del].into_iter().enumerate() {
            let place = if (i + j) % 2 == 0 { Place::Disk } else { Place::Tmpfs };
            let next = NEXT[(i + 2 * j) % 4];
            scenarios.push(scenario(plugin, verb, false, place, LARGE, next, 12));
        }
    }
    explore("calls_in_a_large_directory_killed_at_every_system_call", &scenarios, 9);
}

/// The reference creates a name and then rewrites the mark: killed between the two, only the name
/// is new, and an index that goes by the mark would not see it.
#[test]
fn the_reference_killed_beside_us() {
    let mut scenarios = Vec::new();
    for (place, held, next) in [
        (Place::Disk, 0, Next::Del),
        (Place::Tmpfs, 0, Next::OtherAdd),
        (Place::Disk, LARGE, Next::Retry),
        (Place::Tmpfs, LARGE, Next::Del),
    ] {
        let ours = scenario(Plugin::HostLocal, Verb::Add, held == 0, place, held, next, 16);
        scenarios.push(Scenario { reference: true, ..ours });
    }
    if skip_unless(
        "the_reference_killed_beside_us",
        &[(reference("host-local").is_some(), "the reference's host-local in /usr/lib/cni")],
    ) {
        explore("the_reference_killed_beside_us", &scenarios, 20);
    }
}

/// As many points of each system call as a run in between can have.
const SAMPLE: usize = 6;

#[test]
fn calls_with_a_database_killed() {
    let mut scenarios = Vec::new();
    for (i, verb) in [Verb::Add, Verb::Del, Verb::Gc].into_iter().enumerate() {
        // Half of the selection for each, so that over all of them each pair occurs.
        let all = selection(verb).into_iter().enumerate();
        let half = all.filter(|(n, _)| (n + i) % 2 == 0);
        scenarios.extend(half.map(|(_, one)| in_database(one, Start::Used, SAMPLE)));
    }
    explore("calls_with_a_database_killed", &scenarios, 9);
}

#[test]
fn questions_to_a_database_killed() {
    let mut scenarios = Vec::new();
    for (plugin, verb) in [(Plugin::HostLocal, Verb::Check), (Plugin::NodeLocal, Verb::Status)] {
        let one = scenario(plugin, verb, true, Place::Disk, 0, Next::Del, SAMPLE);
        scenarios.push(in_database(one, Start::Used, SAMPLE));
    }
    explore("questions_to_a_database_killed", &scenarios, 5);
}

/// The database, its marker and the directories of both are made.
#[test]
fn the_first_use_of_a_database_killed() {
    let all = selection(Verb::Add).into_iter().enumerate();
    let some = all.filter(|(n, _)| [0, 3, 5, 6].contains(n));
    let some: Vec<Scenario> =
        some.map(|(_, one)| in_database(one, Start::Nothing, SAMPLE)).collect();
    explore("the_first_use_of_a_database_killed", &some, 14);
}

/// The first ADD takes over a directory.
#[test]
fn an_import_killed() {
    let all = selection(Verb::Add).into_iter().enumerate();
    let some = all.filter(|(n, _)| [1, 2, 4, 7].contains(n));
    let mut some: Vec<Scenario> =
        some.map(|(_, one)| in_database(one, Start::Directory, SAMPLE)).collect();
    // The first DEL after the change of the store: it frees in the directory.
    for plugin in PLUGINS {
        let one = scenario(plugin, Verb::Del, false, Place::Tmpfs, 0, Next::OtherAdd, SAMPLE);
        some.push(in_database(one, Start::Directory, SAMPLE));
    }
    explore("an_import_killed", &some, 5);
}

/// Two databases are written by one ADD then, and DEL keeps what rests.
#[test]
fn calls_with_sticky_addresses_that_rest_killed() {
    let mut scenarios = Vec::new();
    for (verb, chosen) in [(Verb::Add, [0, 7]), (Verb::Del, [3, 6]), (Verb::Gc, [2, 5])] {
        for n in chosen {
            let one = in_database(selection(verb)[n], Start::Used, SAMPLE);
            scenarios.push(Scenario { policy: true, ..one });
        }
    }
    explore("calls_with_sticky_addresses_that_rest_killed", &scenarios, 9);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn every_scenario_with_a_database() {
    let mut scenarios = Vec::new();
    let verbs = [Verb::Add, Verb::Del, Verb::Gc, Verb::Check, Verb::Status];
    for plugin in PLUGINS {
        for verb in verbs {
            for (n, next) in NEXT.into_iter().enumerate() {
                for dual in [false, true] {
                    let place = [Place::Disk, Place::Tmpfs][(n + usize::from(dual)) % 2];
                    let one = scenario(plugin, verb, dual, place, 0, next, 400);
                    if matches!(verb, Verb::Check | Verb::Status) && next != Next::Del {
                        // They change nothing, so that what comes next is the same.
                        continue;
                    }
                    scenarios.push(in_database(one, Start::Used, 400));
                    // What is there before the first ADD is for ADD and DEL alone.
                    if verb == Verb::Add {
                        scenarios.push(in_database(one, Start::Nothing, 400));
                    }
                    if matches!(verb, Verb::Add | Verb::Del) {
                        scenarios.push(in_database(one, Start::Directory, 400));
                    }
                    let one = in_database(one, Start::Used, 400);
                    scenarios.push(Scenario { policy: true, ..one });
                }
            }
        }
        for start in [Start::Used, Start::Directory] {
            let one = scenario(plugin, Verb::Add, true, Place::Disk, LARGE, Next::Retry, 24);
            scenarios.push(in_database(one, start, 24));
        }
    }
    explore("every_scenario_with_a_database", &scenarios, 5);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn every_scenario() {
    let mut scenarios = Vec::new();
    for plugin in PLUGINS {
        for verb in [Verb::Add, Verb::Del, Verb::Gc] {
            for dual in [false, true] {
                for place in [Place::Disk, Place::Tmpfs] {
                    for held in [0, LARGE] {
                        for next in NEXT {
                            let limit = if held == 0 { 400 } else { 24 };
                            let ours = scenario(plugin, verb, dual, place, held, next, limit);
                            scenarios.push(ours);
                            if verb != Verb::Gc
                                && plugin == Plugin::HostLocal
                                && matches!(next, Next::Del | Next::OtherAdd)
                                && reference("host-local").is_some()
                            {
                                scenarios.push(Scenario { reference: true, limit: 24, ..ours });
                            }
                        }
                    }
                }
            }
        }
    }
    explore("every_scenario", &scenarios, 9);
}

/// Eight scenarios of one call: both plugins with each follow-up, and both stacks and places evenly
/// spread over these.
fn selection(verb: Verb) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (i, plugin) in PLUGINS.into_iter().enumerate() {
        for (j, next) in NEXT.into_iter().enumerate() {
            let dual = (i + j) % 2 == 0;
            let place = if (i + j / 2) % 2 == 0 { Place::Disk } else { Place::Tmpfs };
            scenarios.push(scenario(plugin, verb, dual, place, 0, next, 40));
        }
    }
    scenarios
}

fn scenario(
    plugin: Plugin,
    verb: Verb,
    dual: bool,
    place: Place,
    held: u32,
    next: Next,
    limit: usize,
) -> Scenario {
    let (store, start) = (Store::Dir, Start::Used);
    let (policy, reference) = (false, false);
    Scenario { plugin, store, start, policy, reference, verb, dual, place, held, next, limit }
}

/// The same in a database.
fn in_database(scenario: Scenario, start: Start, limit: usize) -> Scenario {
    Scenario { store: Store::Sqlite, start, limit, ..scenario }
}

impl Scenario {
    /// Who holds an address before the call that is killed, and after everything.
    fn live(&self) -> &'static [&'static str] {
        match self.start {
            Start::Used | Start::Directory => &LIVE,
            Start::Nothing => &[],
        }
    }

    /// Whether the killed call changes what is held.
    fn changes(&self) -> bool {
        matches!(self.verb, Verb::Add | Verb::Del | Verb::Gc)
    }
}

/// Runs scenarios on all processors and asserts that nothing went wrong, that each had at least
/// `floor` points to be killed at, and that these lay on both sides of what the call does.
fn explore(test: &str, scenarios: &[Scenario], floor: usize) {
    if !skip_unless(test, &[(Killer::works(), "strace, and the right to trace")]) {
        return;
    }
    let next = AtomicUsize::new(0);
    let tallies = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = run(scenario);
                    tallies.lock().expect("no thread panics with it").push((scenario, tally));
                }
            });
        }
    });
    let tallies = tallies.into_inner().expect("no thread panics with it");
    assert_eq!(tallies.len(), scenarios.len());
    let points: usize = tallies.iter().map(|(_, tally)| tally.points).sum();
    println!("{test}: {} scenarios, {points} kill points", tallies.len());
    let mut report = String::new();
    for (scenario, tally) in &tallies {
        println!(
            "  {scenario:?}: {} points, {} before, {} after, {} problems",
            tally.points,
            tally.before,
            tally.after,
            tally.problems.len()
        );
        for (problem, points) in tally.problems.iter().take(8) {
            let problem: String = problem.chars().take(600).collect();
            let shown = points[..points.len().min(6)].join(", ");
            report +=
                &format!("{scenario:?}\n  {problem}\n  at {} points: {shown}\n", points.len());
        }
        assert!(tally.points >= floor, "{scenario:?}: only {} kill points", tally.points);
        let in_directory = scenario.store == Store::Dir;
        if scenario.held == LARGE
            && !scenario.reference
            && scenario.verb != Verb::Gc
            && in_directory
        {
            let calls = tally.calls;
            assert!(calls < 150, "{scenario:?}: {calls} calls, so that every file is looked at");
        }
        assert!(tally.before > 0, "{scenario:?}: no kill before anything was done");
        let both = tally.after > 0 || !scenario.changes();
        assert!(both, "{scenario:?}: no kill after everything was done");
    }
    assert!(report.is_empty(), "{report}");
}

fn run(scenario: &Scenario) -> Tally {
    let world = World::new(scenario);
    let mut tally = Tally::default();
    let calls = world.system_calls();
    tally.calls = calls.values().sum();
    for (name, count) in calls {
        let half = scenario.limit.div_ceil(2);
        let chosen: BTreeSet<usize> = if count <= scenario.limit {
            (1..=count).collect()
        } else {
            (1..=half).chain(count + 1 - half..=count).collect()
        };
        for nth in chosen {
            world.point(&name, nth, &mut tally);
        }
    }
    tally
}

/// The places of a scenario, made anew for each kill.
struct World<'a> {
    scenario: &'a Scenario,
    base: Scratch,
    boot: Scratch,
    killer: Killer,
}

/// What was there before the kill.
struct Before {
    site: Site,
    live: BTreeMap<IpAddr, String>,
    /// What ADD answered to the first that lives.
    result: serde_json::Value,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let base = match scenario.place {
            Place::Disk => Scratch::below(Path::new("/var/tmp"), "crash"),
            Place::Tmpfs => Scratch::on_tmpfs("crash"),
        };
        let boot = Scratch::on_tmpfs("crash-boot");
        let binary = if scenario.reference {
            reference("host-local").expect("the caller has looked")
        } else {
            support::binary(scenario.plugin.name())
        };
        let killer = Killer::new(&binary, &boot.path().join("killer"));
        Self { scenario, base, boot, killer }
    }

    fn site(&self) -> Site {
        Site::new(self.scenario.plugin, self.base.path(), &self.boot.path().join("run"))
            .dual_stack(self.scenario.dual)
            .in_store(self.scenario.store)
            .with_policy(self.scenario.policy)
    }

    /// Everything up to the call that is to be killed.
    fn prepare(&self) -> Before {
        let site = self.site();
        for place in [site.data(), site.state(), site.run()] {
            let _ = fs::remove_dir_all(place);
        }
        if self.scenario.held > 0 {
            for first in site.first_addresses() {
                site.directory().fill(first, self.scenario.held);
            }
        }
        let first = match self.scenario.start {
            Start::Directory => site.clone().in_store(Store::Dir),
            Start::Used | Start::Nothing => site.clone(),
        };
        let ids = self.scenario.live();
        let mut result = serde_json::Value::Null;
        for id in ids {
            let added = first.call("ADD", id).run();
            assert_eq!(added.addresses().len(), site.families());
            if result.is_null() {
                result = added.json();
            }
        }
        let live = holdings(&site).reservations();
        assert_eq!(live.len(), (self.scenario.held as usize + ids.len()) * site.families());
        if self.scenario.verb != Verb::Add {
            for id in VICTIMS {
                first.call("ADD", id).run().ok();
            }
        }
        Before { site, live, result }
    }

    fn the_call(&self, before: &Before, program: &Path) -> support::Call {
        let site = before.site.clone().with_binary(program.to_path_buf());
        let mut config = site.config();
        match self.scenario.verb {
            Verb::Add => site.call("ADD", VICTIMS[0]),
            Verb::Del => site.call("DEL", VICTIMS[0]),
            Verb::Gc => gc(&site, &[], self.scenario.held),
            Verb::Check => {
                config["prevResult"] = before.result.clone();
                site.call_with("CHECK", LIVE[0], &config)
            }
            Verb::Status => {
                config["cniVersion"] = serde_json::json!("1.1.0");
                site.call_with("STATUS", "", &config)
            }
        }
    }

    fn system_calls(&self) -> BTreeMap<String, usize> {
        let before = self.prepare();
        self.killer.system_calls(|program| self.the_call(&before, program))
    }

    /// One kill, and everything after it.
    fn point(&self, name: &str, nth: usize, tally: &mut Tally) {
        let before = self.prepare();
        let held_before = victims(&holdings(&before.site));
        let killed = self.killer.kill_at(name, nth, |program| self.the_call(&before, program));
        match killed.exit {
            None => tally.points += 1,
            // One call fewer than in the trace, as a program with threads may have.
            Some(0) => return,
            Some(_) => {
                let failed = "the call fails, but is not killed".to_owned();
                tally.problems.entry(failed).or_default().push(format!("{name} #{nth}"));
            }
        }
        let held = victims(&holdings(&before.site));
        let all = VICTIMS.len().min(match self.scenario.verb {
            Verb::Gc => 2,
            Verb::Add | Verb::Del | Verb::Check | Verb::Status => 1,
        }) * before.site.families();
        let complete = |n: usize| match self.scenario.verb {
            Verb::Add => n == all,
            Verb::Del | Verb::Gc => held_before.len() - n == all,
            Verb::Check | Verb::Status => false,
        };
        if held == held_before {
            tally.before += 1;
        } else if complete(held.len()) {
            tally.after += 1;
        }
        let mut aftermath = Aftermath {
            scenario: self.scenario,
            before: &before,
            unanswered: self.scenario.verb == Verb::Add && killed.stdout.is_empty(),
            problems: Vec::new(),
        };
        aftermath.next();
        aftermath.everything_else();
        for problem in aftermath.problems {
            tally.problems.entry(problem).or_default().push(format!("{name} #{nth}"));
        }
    }
}

/// The calls after the kill, and what is wrong with them.
struct Aftermath<'a> {
    scenario: &'a Scenario,
    before: &'a Before,
    /// Whether the killed call was an ADD that has not answered: nobody knows of its addresses.
    unanswered: bool,
    problems: Vec<String>,
}

impl Aftermath<'_> {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(what());
        }
    }

    /// A call that must succeed.
    fn succeeds(&mut self, what: &str, outcome: &Outcome) -> bool {
        self.expect(outcome.exit == Some(0), || format!("{what} fails: {}", said(outcome)));
        outcome.exit == Some(0)
    }

    /// An ADD that must give whole and new addresses: none that is held already.
    fn add_anew(&mut self, id: &str) -> Vec<IpAddr> {
        let site = &self.before.site;
        let held: BTreeSet<IpAddr> = holdings(site)
            .reservations()
            .into_iter()
            .filter(|(_, content)| {
                let forgotten = self.unanswered && *content == reservation(VICTIMS[0], "eth0");
                !content.is_empty() && !forgotten
            })
            .map(|(address, _)| address)
            .collect();
        let outcome = site.call("ADD", id).run();
        if !self.succeeds(&format!("ADD {id}"), &outcome) {
            return Vec::new();
        }
        let got = addresses(&outcome);
        self.expect(got.len() == site.families(), || format!("ADD {id} gives {got:?} only"));
        let twice: Vec<_> = got.iter().filter(|address| held.contains(address)).collect();
        self.expect(twice.is_empty(), || format!("ADD {id} gives {twice:?}, which are held"));
        self.holds(id, &got);
        got
    }

    /// What an attachment must have on disk.
    fn holds(&mut self, id: &str, addresses: &[IpAddr]) {
        let mut held = holdings(&self.before.site).held_by(id, "eth0");
        held.sort_unstable();
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        self.expect(held == wanted, || format!("{id} holds {held:?}, not {wanted:?}"));
    }

    fn del(&mut self, id: &str, stripped: bool) {
        let site = &self.before.site;
        let config = if stripped { site.stripped_config() } else { site.config() };
        let outcome = site.call_with("DEL", id, &config).run();
        self.succeeds(&format!("DEL {id} (stripped: {stripped})"), &outcome);
    }

    /// Nothing but what lived before, and `others`.
    fn only_the_living(&mut self, others: &[(&str, Vec<IpAddr>)]) {
        let mut wanted = self.before.live.clone();
        for (id, addresses) in others {
            wanted.extend(addresses.iter().map(|address| (*address, reservation(id, "eth0"))));
        }
        let held = holdings(&self.before.site).reservations();
        for (address, content) in &held {
            if !wanted.contains_key(address) {
                self.problems.push(format!("leak: {address} {content:?}"));
            }
        }
        for (address, content) in &wanted {
            let now = held.get(address);
            let same = now == Some(content);
            self.expect(same, || format!("lost: {address} {content:?}, now {now:?}"));
        }
        let mut strangers = self.before.site.directory().strangers();
        if self.before.site.plugin() == Plugin::NodeLocal {
            // The index by which its ranges were rendered.
            strangers.retain(|name| name != "node-index");
        }
        self.expect(strangers.is_empty(), || format!("in the network's directory: {strangers:?}"));
    }

    /// What the runtime does first.
    fn next(&mut self) {
        let site = &self.before.site;
        let stripped = self.scenario.next == Next::StrippedDel;
        let mut others = Vec::new();
        match (self.scenario.next, self.scenario.verb) {
            (Next::Del | Next::StrippedDel, _) => {}
            (Next::OtherAdd, verb) => {
                let victims = holdings(site).held_by(VICTIMS[0], "eth0");
                let got = self.add_anew("other");
                if verb == Verb::Add && !self.unanswered {
                    self.holds(VICTIMS[0], &victims);
                }
                if verb == Verb::Gc {
                    let outcome = gc(&self.before.site, &["other"], self.scenario.held).run();
                    self.succeeds("GC once more", &outcome);
                    self.only_the_living(&[("other", got.clone())]);
                }
                others.push(("other", got));
            }
            (Next::Retry, Verb::Gc) => {
                let outcome = gc(&self.before.site, &[], self.scenario.held).run();
                self.succeeds("GC once more", &outcome);
                self.only_the_living(&[]);
            }
            (Next::Retry, Verb::Add | Verb::Del) => self.retry(),
            (Next::Retry, Verb::Check | Verb::Status) => {}
        }
        for id in VICTIMS {
            self.del(id, stripped);
        }
        self.only_the_living(&others);
        if !others.is_empty() {
            self.del("other", stripped);
            self.only_the_living(&[]);
        }
    }

    /// The same attachment's ADD, as a runtime retries it.
    fn retry(&mut self) {
        let site = &self.before.site;
        let outcome = site.call("ADD", VICTIMS[0]).run();
        let duplicate = outcome.exit == Some(1) && outcome.stdout.contains("duplicate allocation");
        if site.plugin() == Plugin::HostLocal && duplicate {
            return;
        }
        if self.succeeds("ADD of the same attachment", &outcome) {
            let got = addresses(&outcome);
            self.expect(got.len() == site.families(), || format!("the retry gives {got:?} only"));
            let live: Vec<_> = got.iter().filter(|a| self.before.live.contains_key(a)).collect();
            self.expect(live.is_empty(), || format!("the retry gives {live:?}, which are held"));
            self.holds(VICTIMS[0], &got);
        }
    }

    /// What must be true of a database after all that.
    fn sound(&mut self, site: &Site) {
        let faults = site.holdings().faults();
        self.expect(faults.is_empty(), || format!("faults: {faults:?}"));
        let health = site.holdings().health();
        self.expect(health == Health::Fine, || format!("health: {health:?}"));
        if self.scenario.start == Start::Directory {
            let directory = site.directory();
            self.expect(!directory.path().exists(), || "the directory is still there".to_owned());
            let names = fs::read_dir(site.data()).into_iter().flatten().flatten();
            let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
            self.expect(names.len() == 1, || format!("moved aside more than once: {names:?}"));
        }
    }

    fn duplicate(&mut self, site: &Site) {
        let again = site.call("ADD", LIVE[0]).run();
        match site.plugin() {
            Plugin::HostLocal => self.expect(
                again.exit == Some(1) && again.stdout.contains("duplicate allocation"),
                || format!("a duplicate ADD: {}", said(&again)),
            ),
            Plugin::NodeLocal => {
                if self.succeeds("ADD of what lives", &again) {
                    self.holds(LIVE[0], &addresses(&again));
                }
            }
        }
    }

    /// Whatever the kill left outside the directory, no later call may be wrong by it.
    fn everything_else(&mut self) {
        let site = self.before.site.clone();
        let new = self.add_anew("new");
        self.only_the_living(&[("new", new)]);

        // A duplicate is seen.
        if !self.scenario.live().is_empty() {
            self.duplicate(&site);
        }

        // Everything can be freed, with as little as a runtime may send.
        self.del("new", false);
        self.del(LIVE[0], true);
        self.del(LIVE[1], false);
        if self.scenario.held > 0 {
            self.del(&filler(0), true);
            self.del(&filler(self.scenario.held - 1), false);
        }
        let left = holdings(&site).reservations();
        let wanted = self.before.live.iter().filter(|(_, content)| {
            !LIVE.iter().any(|id| **content == reservation(id, "eth0"))
                && ![0, self.scenario.held.saturating_sub(1)]
                    .iter()
                    .any(|n| **content == reservation(&filler(*n), "eth0"))
        });
        let wanted: BTreeMap<_, _> = wanted.map(|(a, c)| (*a, c.clone())).collect();
        self.expect(left == wanted, || format!("after all DELs: {left:?}"));

        // With nothing allocated, the node may get another index.
        if self.scenario.held == 0 {
            let moved = site.clone().with_index(8);
            let outcome = moved.call("ADD", "moved").run();
            if self.succeeds("ADD with another node index", &outcome) {
                let outcome = moved.call("DEL", "moved").run();
                self.succeeds("its DEL", &outcome);
            }
        }
        if site.store() == Store::Sqlite {
            self.sound(&site);
        }
        let lasting = unfinished(&[site.data(), site.state()]);
        self.expect(lasting.is_empty(), || format!("litter: {lasting:?}"));
        // For a boot, one half-written index under a name that the next one uses again.
        let volatile = unfinished(&[site.run()]);
        self.expect(volatile.len() <= 1, || format!("litter: {volatile:?}"));
    }
}

/// Files with the look of something unfinished.
fn unfinished(places: &[&Path]) -> Vec<PathBuf> {
    let looks_unfinished = |name: &&Path| {
        let name = name.to_string_lossy();
        // A note for people in a directory that was moved aside.
        let note = name.ends_with("IMPORTED.new");
        !note && ["tmp", "temp", ".new"].iter().any(|mark| name.contains(mark))
    };
    places
        .iter()
        .flat_map(|place| {
            let files = support::Snapshot::of(place);
            let names = files.files().into_iter().filter(looks_unfinished);
            names.map(|name| place.join(name)).collect::<Vec<_>>()
        })
        .collect()
}

/// Whose reservations these are, incomplete ones included: all that is there and not live.
fn victims(holdings: &Holdings) -> BTreeSet<IpAddr> {
    let whole = VICTIMS.map(|id| reservation(id, "eth0"));
    holdings
        .reservations()
        .into_iter()
        .filter(|(_, content)| whole.contains(content))
        .map(|(address, _)| address)
        .collect()
}

/// What the network holds; looking mends nothing.
fn holdings(site: &Site) -> Holdings {
    site.holdings().frozen()
}

/// GC that leaves what lives, the fillers of a large directory, and `others`.
fn gc(site: &Site, others: &[&str], held: u32) -> support::Call {
    let fillers: Vec<String> = (0..held).map(filler).collect();
    let fillers = fillers.iter().map(String::as_str);
    let valid: Vec<&str> = LIVE.into_iter().chain(others.iter().copied()).chain(fillers).collect();
    site.gc(&valid)
}

/// What a call answered, without what differs each time.
fn said(outcome: &Outcome) -> String {
    format!("exit {:?}, {:?}, {:?}", outcome.exit, outcome.stdout, outcome.stderr)
}

fn addresses(outcome: &Outcome) -> Vec<IpAddr> {
    outcome.addresses().iter().filter_map(|address| address.parse().ok()).collect()
}

/// The tool that kills must be able to; otherwise every test above would pass by skipping.
#[test]
fn a_program_is_killed_before_its_system_call() {
    if !skip_unless(
        "a_program_is_killed_before_its_system_call",
        &[(Killer::works(), "strace, and the right to trace")],
    ) {
        return;
    }
    let scratch = Scratch::on_tmpfs("crash-tool");
    let killer = Killer::new(&support::program("pwd"), &scratch.path().join("killer"));
    let calls = killer.system_calls(|program| support::Call::new(program, "ADD"));
    assert!(calls.get("write").is_some_and(|n| *n >= 1), "{calls:?}");
    let killed = killer.kill_at("write", 1, |program| support::Call::new(program, "ADD"));
    assert_eq!((killed.exit, killed.stdout.as_str()), (None, ""));
    let lived = killer.kill_at("write", 9, |program| support::Call::new(program, "ADD"));
    assert_eq!(lived.exit, Some(0), "{lived:?}");
}
