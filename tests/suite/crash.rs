/*!
A plugin that is killed (SIGKILL) at each of its system calls, and what it leaves.

Whatever the moment, the runtime's DEL succeeds, no address stays reserved that no live attachment
owns (an empty reservation counts), no live reservation is lost or changed, the next ADD gets an
address that nobody holds, and state outside the network's directory makes no later call wrong.

A scenario says which plugin is killed in which call, with how much around it, and what the runtime
does next. The normal run takes a selection in which each pair of these occurs; the whole product
takes minutes.
*/

mod aftermath;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Holdings, Killer, Plugin, Scratch, Site, Store, filler, reference, skip_unless};

use world::World;

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
