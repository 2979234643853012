/*!
host-local and Debian's reference on one directory, as during an upgrade or with a mixed fleet.

The reference knows nothing of an index: whatever it creates, removes, re-creates or leaves behind
when it is killed, the next call of ours has to see. So both take turns at full speed, on a disk file
system and on tmpfs (which differ in what their time stamps tell), with few addresses held and with
many.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use support::{
    Call, History, NetworkDir, Outcome, Random, Scratch, above, binary, filler, have,
    install_script, program, reference, reservation, skip_unless,
};

const NETWORK: &str = "shared";
const DISK: &str = "/var/tmp";
const TMPFS: &str = "/dev/shm";
/// With so many addresses held, reading every file is what nobody wants to do.
const MANY: u32 = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    Ours,
    Reference,
}
use Plugin::{Ours, Reference};

impl Plugin {
    fn other(self) -> Self {
        if self == Ours { Reference } else { Ours }
    }
}

/// One directory and the two plugins that share it.
struct Shared {
    scratch: Scratch,
    ours: PathBuf,
    reference: PathBuf,
    config: Value,
    network: NetworkDir,
}

impl Shared {
    /// A directory below `base`; `None` where the reference is not installed.
    fn new(test: &str, base: &str, sets: &[&str]) -> Option<Self> {
        let reference = reference("host-local");
        let needs = [(reference.is_some(), "Debian's containernetworking-plugins")];
        if !skip_unless(test, &needs) {
            return None;
        }
        let scratch = Scratch::below(Path::new(base), "beside");
        let data_dir = scratch.path().join("networks");
        let ranges: Vec<Value> = sets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
        Some(Self {
            config: json!({
                "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge",
                "ipam": {"type": "host-local", "dataDir": data_dir, "ranges": ranges},
            }),
            network: NetworkDir::new(&data_dir, NETWORK),
            ours: binary("host-local"),
            reference: reference?,
            scratch,
        })
    }

    fn binary(&self, plugin: Plugin) -> &Path {
        if plugin == Ours { &self.ours } else { &self.reference }
    }

    fn call(&self, plugin: Plugin, command: &str, id: &str) -> Call {
        Call::new(self.binary(plugin), command)
            .id(id)
            .config(&self.config)
            .state_in(self.scratch.path())
    }

    /// ADD that must succeed: the addresses, one a set.
    #[track_caller]
    fn add(&self, plugin: Plugin, id: &str) -> Vec<IpAddr> {
        addresses(&self.call(plugin, "ADD", id).run())
    }

    /// ADD of a requested address that must succeed.
    #[track_caller]
    fn request(&self, plugin: Plugin, id: &str, address: IpAddr) {
        let outcome = self.call(plugin, "ADD", id).env("CNI_ARGS", format!("IP={address}")).run();
        assert_eq!(addresses(&outcome).first(), Some(&address), "requested for {id}");
    }

    /// ADD of an attachment that holds `held`: refused as a duplicate that names the address.
    #[track_caller]
    fn refused(&self, plugin: Plugin, id: &str, held: IpAddr) {
        let outcome = self.call(plugin, "ADD", id).run();
        assert_ne!(outcome.exit, Some(0), "{id} holds {held}, and got more: {}", outcome.stdout);
        let (_, text) = outcome.error();
        let wanted = format!("{held} has been allocated to {id}, duplicate allocation");
        assert!(text.contains(&wanted), "expected {wanted:?}, got {text:?}");
    }

    #[track_caller]
    fn del(&self, plugin: Plugin, id: &str) {
        assert_eq!(self.call(plugin, "DEL", id).run().ok(), Value::Null, "DEL {id}");
    }

    /// DEL of ours, with all that there is or with a configuration stripped to name and type.
    #[track_caller]
    fn del_ours(&self, id: &str, stripped: bool) {
        let mut call = self.call(Ours, "DEL", id);
        if stripped {
            call = call.config(&json!({
                "cniVersion": "1.0.0", "name": NETWORK, "ipam": {"type": "host-local"},
            }));
        }
        assert_eq!(call.run().ok(), Value::Null, "DEL {id}, stripped: {stripped}");
    }

    /// Whether the file of an address is there.
    fn exists(&self, address: IpAddr) -> bool {
        self.network.path().join(address.to_string()).exists()
    }
}

#[track_caller]
fn addresses(outcome: &Outcome) -> Vec<IpAddr> {
    let addresses = outcome.addresses();
    addresses.iter().map(|a| a.parse().expect("an address is answered")).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

// Turns.

#[test]
fn turns_over_two_range_sets() {
    let Some(shared) =
        Shared::new("turns_over_two_range_sets", DISK, &["10.1.0.0/24", "fd00:1::/64"])
    else {
        return;
    };
    // Each continues where the other stopped: the mark is shared.
    let mut plugin = Ours;
    for n in 2..42u32 {
        let got = shared.add(plugin, &format!("c{n}"));
        let expected = vec![above(ip("10.1.0.0"), n), above(ip("fd00:1::"), n)];
        assert_eq!(got, expected, "the {n}th, by {plugin:?}");
        plugin = plugin.other();
    }
    // Each frees what the other gave; every fourth with a stripped configuration.
    for n in 3..42u32 {
        let id = format!("c{n}");
        let held = above(ip("10.1.0.0"), n);
        shared.refused(if n % 2 == 0 { Reference } else { Ours }, &id, held);
        match n % 4 {
            0 => shared.del(Reference, &id),
            1 => shared.del_ours(&id, true),
            2 => shared.del(Reference, &id),
            _ => shared.del_ours(&id, false),
        }
        assert_eq!(shared.network.held_by(&id, "eth0"), Vec::<IpAddr>::new());
    }
    assert_eq!(shared.network.reservations().len(), 2, "the first attachment holds two");
    shared.del(Reference, "c2");
    shared.network.assert_empty();
}

// What the reference did a moment ago.

/// Scripted rounds: what the reference adds is refused as a duplicate and freed by the next call of
/// ours, also where the reference has given the same name to somebody else meanwhile.
fn a_moment_ago(test: &str, base: &str, held: u32, rounds: u32) {
    let Some(shared) = Shared::new(test, base, &["10.2.0.0/20"]) else { return };
    shared.network.fill(ip("10.2.0.2"), held);
    // Keeps the place of this network known to a stripped DEL.
    shared.add(Ours, "anchor");
    for round in 0..rounds {
        let (a, b, c) = (format!("a{round}"), format!("b{round}"), format!("c{round}"));
        let got = shared.add(Reference, &a)[0];
        if round % 2 == 0 {
            shared.refused(Ours, &a, got);
        }
        shared.del_ours(&a, round % 3 == 0);
        assert!(!shared.exists(got), "round {round}: {got} of the reference is not freed");

        // The same name, created again for another attachment, after ours has seen the first.
        let got = shared.add(Reference, &a)[0];
        match round % 4 {
            0 => shared.refused(Ours, &a, got),
            1 => drop(shared.add(Ours, &c)),
            2 => assert_eq!(shared.call(Ours, "CHECK", &a).run().exit, Some(0)),
            _ => {}
        }
        shared.del(Reference, &a);
        shared.request(Reference, &b, got);
        if round % 5 != 4 {
            shared.refused(Ours, &b, got);
        }
        // The one that held it before frees nothing.
        shared.del_ours(&a, round % 2 == 0);
        assert!(shared.exists(got), "round {round}: {got} was freed by its former holder");
        shared.del_ours(&b, round % 3 == 1);
        assert!(!shared.exists(got), "round {round}: {got}, created again, is not freed");
        if round % 4 == 1 {
            shared.del(Reference, &c);
        }
    }
    shared.del(Ours, "anchor");
    let left = shared.network.reservations();
    assert_eq!(left.len(), held as usize, "only what was there before");
    assert!(left.values().all(|content| content.starts_with("filler")));
}

#[test]
fn a_moment_ago_on_disk_with_few() {
    a_moment_ago("a_moment_ago_on_disk_with_few", DISK, 0, 200);
}

#[test]
fn a_moment_ago_on_tmpfs_with_few() {
    a_moment_ago("a_moment_ago_on_tmpfs_with_few", TMPFS, 0, 200);
}

#[test]
fn a_moment_ago_on_disk_with_many() {
    a_moment_ago("a_moment_ago_on_disk_with_many", DISK, MANY, 60);
}

#[test]
fn a_moment_ago_on_tmpfs_with_many() {
    a_moment_ago("a_moment_ago_on_tmpfs_with_many", TMPFS, MANY, 60);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn a_moment_ago_for_long() {
    for base in [DISK, TMPFS] {
        a_moment_ago("a_moment_ago_for_long", base, 0, 2000);
        a_moment_ago("a_moment_ago_for_long", base, MANY, 500);
    }
}

/// What the directory should hold: a model of both plugins over one range.
struct Model {
    first: IpAddr,
    size: u32,
    mark: u32,
    held: BTreeMap<u32, String>,
}

impl Model {
    fn of(&self, id: &str) -> Option<u32> {
        self.held.iter().find(|(_, holder)| *holder == id).map(|(n, _)| *n)
    }

    /// The next free number after the mark, round once.
    fn next(&self) -> u32 {
        (1..=self.size)
            .map(|step| (self.mark + step) % self.size)
            .find(|n| !self.held.contains_key(n))
            .expect("the range is not full")
    }

    fn address(&self, n: u32) -> IpAddr {
        above(self.first, n)
    }
}

/// Random steps of both plugins against the model: every answer and every address is foretold.
fn random_turns(test: &str, base: &str, held: u32, steps: u32, seed: u64) {
    let Some(shared) = Shared::new(test, base, &["10.3.0.0/20"]) else { return };
    let first = ip("10.3.0.2");
    shared.network.fill(first, held);
    let mut model = Model {
        first,
        size: 4093, // up to 10.3.15.254
        mark: (held + 4093 - 1) % 4093,
        held: (0..held).map(|n| (n, filler(n))).collect(),
    };
    let mut random = Random::new(seed);
    let ids: Vec<String> = (0..6).map(|n| format!("pod{n}")).collect();
    // Requested numbers come from a few, so that names are created again and again.
    let base_number = u64::from(held) + 2000;
    shared.add(Ours, "anchor");
    model.mark = model.next();
    model.held.insert(model.mark, "anchor".to_owned());
    for step in 0..steps {
        let plugin = if random.chance(1, 2) { Ours } else { Reference };
        let id = random.pick(&ids);
        let holds = model.of(id);
        let what = random.below(10);
        let context = format!("step {step} (seed {seed}): {plugin:?}, {what}, {id}, {holds:?}");
        match (what, holds) {
            (0..=3, None) => {
                let n = model.next();
                let outcome = shared.call(plugin, "ADD", id).run();
                assert_eq!(outcome.exit, Some(0), "{context}: {outcome:?}");
                assert_eq!(addresses(&outcome), [model.address(n)], "{context}");
                model.held.insert(n, id.clone());
                model.mark = n;
            }
            (0..=3, Some(n)) => {
                let outcome = shared.call(plugin, "ADD", id).run();
                assert_eq!(outcome.exit, Some(1), "{context}: {outcome:?}");
                assert!(outcome.stdout.contains("duplicate allocation"), "{context}: {outcome:?}");
                assert!(outcome.stdout.contains(&model.address(n).to_string()), "{context}");
            }
            // The reference gives a second address to one that has one: not asked here.
            (4 | 5, Some(_)) if plugin == Reference => {}
            (4 | 5, _) => {
                let n = u32::try_from(base_number + random.below(4)).expect("a small number");
                let free = holds.is_none() && !model.held.contains_key(&n);
                let args = format!("IP={}", model.address(n));
                let outcome = shared.call(plugin, "ADD", id).env("CNI_ARGS", args).run();
                assert_eq!(outcome.exit, Some(i32::from(!free)), "{context}: {outcome:?}");
                if free {
                    assert_eq!(addresses(&outcome), [model.address(n)], "{context}");
                    model.held.insert(n, id.clone());
                    model.mark = n;
                }
            }
            (6, _) => {
                let exit = shared.call(plugin, "CHECK", id).run().exit;
                assert_eq!(exit, Some(i32::from(holds.is_none())), "{context}");
            }
            _ => {
                if plugin == Ours {
                    shared.del_ours(id, what == 9);
                } else {
                    shared.del(Reference, id);
                }
                if let Some(n) = holds {
                    assert!(!shared.exists(model.address(n)), "{context}: not freed");
                    model.held.remove(&n);
                }
            }
        }
        // Seldom, since looking takes time and time is what this test leaves out.
        if step % 50 == 49 || step + 1 == steps {
            let expected: BTreeMap<IpAddr, String> = model
                .held
                .iter()
                .map(|(n, holder)| (model.address(*n), reservation(holder, "eth0")))
                .collect();
            assert_eq!(shared.network.reservations(), expected, "{context}");
            assert_eq!(shared.network.strangers(), Vec::<String>::new(), "{context}");
        }
    }
}

#[test]
fn random_turns_with_few() {
    random_turns("random_turns_with_few", DISK, 0, 600, 1);
    random_turns("random_turns_with_few", TMPFS, 0, 600, 2);
}

#[test]
fn random_turns_on_disk_with_many() {
    random_turns("random_turns_on_disk_with_many", DISK, MANY, 400, 3);
}

#[test]
fn random_turns_on_tmpfs_with_many() {
    random_turns("random_turns_on_tmpfs_with_many", TMPFS, MANY, 400, 4);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn random_turns_for_long() {
    for seed in 10..14 {
        random_turns("random_turns_for_long", DISK, 0, 2000, seed);
        random_turns("random_turns_for_long", TMPFS, 0, 2000, seed);
        random_turns("random_turns_for_long", DISK, MANY, 1000, seed);
        random_turns("random_turns_for_long", TMPFS, MANY, 1000, seed);
    }
}

// All at once.

/// 16 callers at a time, each ADD and each DEL by a plugin drawn by lot.
fn sixteen_callers(test: &str, base: &str, held: u32, rounds: u32) {
    let sets = ["10.4.0.0/20", "fd00:4::/112"];
    let Some(shared) = Shared::new(test, base, &sets) else { return };
    shared.network.fill(ip("10.4.0.2"), held);
    shared.add(Ours, "anchor");
    let history = History::new();
    let by_reference = AtomicU64::new(0);
    thread::scope(|scope| {
        for caller in 0..16u64 {
            let (shared, history, by_reference) = (&shared, &history, &by_reference);
            scope.spawn(move || {
                let mut random = Random::new(caller);
                let id = format!("caller{caller}");
                for round in 0..rounds {
                    let mut lot = || {
                        let plugin = if random.chance(1, 2) { Ours } else { Reference };
                        by_reference.fetch_add(u64::from(plugin == Reference), Ordering::Relaxed);
                        plugin
                    };
                    let got = shared.call(lot(), "ADD", &id).run().addresses();
                    assert_eq!(got.len(), 2, "{id} in round {round}: {got:?}");
                    history.begin(&id, &got);
                    let plugin = lot();
                    history.end(&id);
                    match plugin {
                        Ours => shared.del_ours(&id, round % 3 == 0),
                        Reference => shared.del(Reference, &id),
                    }
                    let now = got.iter().map(|a| shared.network.path().join(a));
                    let own = reservation(&id, "eth0");
                    for file in now {
                        let content = fs::read_to_string(&file).unwrap_or_default();
                        assert_ne!(content, own, "{} after DEL by {plugin:?}", file.display());
                    }
                }
            });
        }
    });
    let calls = u64::from(16 * rounds * 2);
    let by_reference = by_reference.into_inner();
    assert!((calls / 4..=calls * 3 / 4).contains(&by_reference), "{by_reference} of {calls}");
    assert_eq!(history.len(), (16 * rounds * 2) as usize, "two addresses for each ADD");
    history.assert_disjoint();
    shared.del_ours("anchor", true);
    if held == 0 {
        shared.network.assert_empty();
    }
    assert_eq!(shared.network.reservations().len(), held as usize);
    assert_eq!(shared.network.strangers(), Vec::<String>::new());
}

#[test]
fn sixteen_callers_of_both_kinds() {
    sixteen_callers("sixteen_callers_of_both_kinds", DISK, 0, 20);
    sixteen_callers("sixteen_callers_of_both_kinds", TMPFS, 0, 20);
}

#[test]
fn sixteen_callers_of_both_kinds_with_many() {
    sixteen_callers("sixteen_callers_of_both_kinds_with_many", DISK, MANY, 3);
    sixteen_callers("sixteen_callers_of_both_kinds_with_many", TMPFS, MANY, 3);
}

// The reference, killed.

/// A program that runs the reference and kills it at one call: which one is said in its environment.
fn killer(shared: &Shared) -> PathBuf {
    let script = "exec strace -f -qq -o /dev/null ${AT_PATH:+-P \"$AT_PATH\"} -e trace=\"$AT_CALL\" \
                  -e inject=\"$AT_CALL:signal=SIGKILL:when=$AT_COUNT\" \"$0\"";
    let shell = program("sh");
    let command = [shell.as_os_str(), OsStr::new("-c"), OsStr::new(script)];
    install_script(&shared.scratch.join("killed"), &command, &shared.reference)
}

/// The reference's `command`, killed at the `count`th of its `syscall`s (of those on `path`, where one
/// is given); false if it came to its end before.
fn killed(
    shared: &Shared,
    script: &Path,
    (command, id): (&str, &str),
    (syscall, count, path): (&str, u32, Option<&Path>),
) -> bool {
    let mut call = Call::new(script, command)
        .id(id)
        .config(&shared.config)
        .state_in(shared.scratch.path())
        .env("PATH", std::env::var("PATH").expect("there is a PATH"))
        .env("AT_CALL", syscall)
        .env("AT_COUNT", count.to_string());
    if let Some(path) = path {
        call = call.env("AT_PATH", path.to_string_lossy());
    }
    let outcome = call.run();
    // strace ends as the program that it traced did.
    assert!(matches!(outcome.exit, None | Some(0)), "{syscall} {count}: {outcome:?}");
    outcome.exit.is_none()
}

fn can_kill(test: &str) -> bool {
    skip_unless(test, &[(have("strace"), "strace"), (have("sh"), "sh")])
}

/// Every call of the reference that has to do with files.
const FILE_CALLS: &[&str] = &[
    "openat",
    "read",
    "write",
    "close",
    "flock",
    "mkdirat",
    "unlinkat",
    "newfstatat",
    "fstat",
    "getdents64",
    "fcntl",
];

/// The reference is killed at each of its calls; then DEL of ours comes, as a runtime would send it.
fn killed_everywhere(test: &str, base: &str, command: &str) {
    if !can_kill(test) {
        return;
    }
    let sets = ["10.5.0.0/29", "fd00:5::/125"];
    let Some(shared) = Shared::new(test, base, &sets) else { return };
    let script = killer(&shared);
    let (mut points, mut left_empty, mut left_some) = (0, 0, 0);
    // strace counts for each of the reference's threads, so that not every write is met by the first round.
    let again = std::iter::repeat_n(&"write", 50);
    for (nth, syscall) in FILE_CALLS.iter().chain(again).enumerate() {
        if nth >= FILE_CALLS.len() && (command != "ADD" || left_empty >= 2) {
            break;
        }
        for count in 1..200 {
            let _ = fs::remove_dir_all(shared.network.path());
            let mut live = shared.add(Ours, "live1");
            live.extend(shared.add(Reference, "live2"));
            let live: BTreeSet<IpAddr> = live.into_iter().collect();
            if command == "DEL" {
                shared.add(Reference, "victim");
            }
            if !killed(&shared, &script, (command, "victim"), (syscall, count, None)) {
                break;
            }
            points += 1;
            let context = format!("{command} killed at {syscall} {count}");
            let rest = shared.network.reservations();
            left_some += usize::from(rest.len() > live.len());
            left_empty += usize::from(rest.values().any(String::is_empty));
            shared.del_ours("victim", points % 2 == 0);
            let held: BTreeSet<IpAddr> = shared.network.reservations().into_keys().collect();
            assert_eq!(held, live, "after {context} and DEL; it had left {rest:?}");
            // All the other addresses, three of each family, are there to be had.
            for n in 0..3 {
                let id = format!("new{n}");
                let outcome = shared.call(Ours, "ADD", &id).run();
                assert_eq!(outcome.exit, Some(0), "{id} after {context}: {outcome:?}");
                let got = addresses(&outcome);
                assert!(got.iter().all(|a| !live.contains(a)), "{got:?} after {context}");
            }
            assert_eq!(shared.network.reservations().len(), 10, "after {context}");
            assert_eq!(shared.network.strangers(), Vec::<String>::new(), "after {context}");
        }
    }
    println!("{command}: {points} points, {left_some} left something, {left_empty} left it empty");
    assert!(points >= 20, "{command}: only {points} points");
    assert!(left_some >= 2, "{command}: nothing was left in the middle of things");
    if command == "ADD" {
        assert!(left_empty >= 2, "no empty reservation was left");
    }
}

#[test]
fn the_reference_is_killed_at_each_call_of_add() {
    killed_everywhere("the_reference_is_killed_at_each_call_of_add", TMPFS, "ADD");
}

#[test]
fn the_reference_is_killed_at_each_call_of_del() {
    killed_everywhere("the_reference_is_killed_at_each_call_of_del", DISK, "DEL");
}

/// With many addresses held: the reference is killed at each of its calls on the lock, on the file of
/// each address that it takes, and on each mark.
fn killed_among_many(test: &str, base: &str, held: u32) {
    if !can_kill(test) {
        return;
    }
    let sets = ["10.6.0.0/20", "fd00:6::/112"];
    let Some(shared) = Shared::new(test, base, &sets) else { return };
    let script = killer(&shared);
    shared.network.fill(ip("10.6.0.2"), held);
    shared.add(Ours, "anchor");
    let before = shared.network.reservations();
    let mut points = 0;
    for file in ["lock", "first", "last_reserved_ip.0", "second", "last_reserved_ip.1"] {
        for syscall in ["openat", "flock", "write", "close"] {
            // One whose reservations ours has just seen: what comes next are the addresses after it.
            let seen = shared.add(Ours, "seen");
            let next: Vec<IpAddr> = seen.iter().map(|a| above(*a, 1)).collect();
            let file = match file {
                "first" => next[0].to_string(),
                "second" => next[1].to_string(),
                other => other.to_owned(),
            };
            let path = shared.network.path().join(&file);
            let context = format!("killed at {syscall} of {file}");
            if killed(&shared, &script, ("ADD", "victim"), (syscall, 1, Some(&path))) {
                points += 1;
                let made: Vec<IpAddr> =
                    next.iter().copied().filter(|a| shared.exists(*a)).collect();
                if let Some(address) = made.first()
                    && fs::metadata(shared.network.path().join(address.to_string()))
                        .is_ok_and(|file| file.len() > 0)
                    && points % 2 == 0
                {
                    shared.refused(Ours, "victim", *address);
                }
            }
            shared.del_ours("victim", points % 3 == 0);
            for address in &next {
                assert!(!shared.exists(*address), "{context}: {address} is left");
            }
            shared.request(Ours, "again", next[0]);
            shared.del(Reference, "seen");
            shared.del_ours("again", false);
            assert_eq!(shared.network.reservations(), before, "{context}");
        }
    }
    println!("{points} points");
    assert!(points >= 12, "only {points} points");
}

#[test]
fn the_reference_is_killed_among_many() {
    let test = "the_reference_is_killed_among_many";
    // Under strace, each of the reference's looks at a file takes its time.
    killed_among_many(test, DISK, 200);
    killed_among_many(test, TMPFS, 200);
}

#[test]
#[ignore = "minutes: run by make test-long"]
fn the_reference_is_killed_for_long() {
    let test = "the_reference_is_killed_for_long";
    for base in [DISK, TMPFS] {
        killed_everywhere(test, base, "ADD");
        killed_everywhere(test, base, "DEL");
        killed_among_many(test, base, MANY);
    }
}
