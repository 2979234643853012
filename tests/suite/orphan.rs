/*!
An ADD that nobody waits for any more, and a lock that is held for too long.

A runtime that gives up kills the main plugin, not the IPAM plugin that the main plugin has started
and that waits for the lock; and it sends DEL at once. Whatever the order in which the two get the
lock, nothing may stay allocated.
*/

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Call, Holdings, Orphan, Owned, Plugin, Scratch, Snapshot, Stopped, Store, binary, child_of,
    children_of, has_open, install_script, is_over, parent_of, program, wait_until,
};

const NETWORK: &str = "orphans";

/// A plugin, its configuration and its store.
struct Place {
    scratch: Scratch,
    binary: PathBuf,
    config: Value,
    store: Store,
    network: Holdings,
}

impl Place {
    fn new(plugin: Plugin, store: Store) -> Self {
        let scratch = Scratch::new("orphan");
        let data_dir = scratch.path().join("networks");
        Self {
            binary: binary(plugin.name()),
            config: json!({
                "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge",
                "ipam": {
                    "type": plugin.name(), "dataDir": data_dir, "store": store.name(),
                    "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd00:8::/64"}]],
                },
            }),
            store,
            network: Holdings::new(NETWORK, &data_dir, &scratch.path().join("run")).of(plugin),
            scratch,
        }
    }

    /// The file that calls lock.
    fn lock_file(&self) -> PathBuf {
        match self.store {
            Store::Dir => self.network.directory().lock(),
            Store::Sqlite => self.network.database_lock(),
        }
    }

    fn call_of(&self, program: &Path, command: &str, id: &str) -> Call {
        Call::new(program, command)
            .id(id)
            .config(&self.config)
            .env("NODE_INDEX", "4")
            .state_in(self.scratch.path())
    }

    fn call(&self, command: &str, id: &str) -> Call {
        self.call_of(&self.binary, command, id)
    }

    /// ADD by a main plugin: a script that finds the IPAM plugin in `$0`, its configuration in `CONF`
    /// and a place for an answer in `ANSWER`.
    fn main_plugin(&self, script: &str) -> Call {
        let command = [program("sh").into_os_string(), "-c".into(), script.into()];
        let command: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
        let path = install_script(&self.scratch.join("main"), &command, &self.binary);
        let conf = self.scratch.write("conf.json", self.config.to_string());
        self.call_of(&path, "ADD", "orphan")
            .env("CONF", conf.to_string_lossy())
            .env("ANSWER", self.scratch.join("answer.json").to_string_lossy())
    }

    /// Takes the lock, which is let go with the file.
    fn lock(&self) -> File {
        let path = self.lock_file();
        fs::create_dir_all(path.parent().expect("a lock is in a directory"))
            .expect("a directory can be made");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .expect("a lock can be opened");
        file.lock().expect("a lock can be taken");
        file
    }

    /// Waits until a process has opened the lock: it waits for it, or is about to.
    fn until_at_lock(&self, pid: u32) {
        let lock = self.lock_file();
        wait_until("the IPAM plugin comes to the lock", || has_open(pid, &lock));
    }

    /// Every file of the store with its content.
    fn files(&self) -> Snapshot {
        let lock = self.lock_file();
        Snapshot::of(lock.parent().expect("a lock is in a directory"))
    }
}

/// Waits until the main plugin's IPAM plugin is at the lock, kills the main plugin, and tells the
/// orphan.
fn make_orphan(place: &Place, main: &mut Owned) -> Orphan {
    let parent = main.0.id();
    let mut orphan = None;
    wait_until("the main plugin has started the IPAM plugin", || {
        orphan = child_of(parent, &place.binary);
        orphan.is_some()
    });
    let orphan = Orphan::new(orphan.expect("it was waited for"), &place.binary);
    place.until_at_lock(orphan.pid);
    main.0.kill().expect("the main plugin can be killed");
    main.0.wait().expect("the main plugin's end can be waited for");
    wait_until("the orphan has another parent", || parent_of(orphan.pid) != Some(parent));
    assert!(!orphan.is_over(), "the IPAM plugin waits for the lock, but it ended");
    orphan
}

/// DEL is served while the orphan is stopped, then the orphan goes on.
fn del_overtakes(place: &Place, lock: File, orphan: &Orphan) {
    let _stopped = Stopped::new(orphan.pid);
    drop(lock);
    let outcome = place.call("DEL", "orphan").run();
    assert_eq!(outcome.exit, Some(0), "DEL: {outcome:?}");
}

/// DEL while the lock is still held by somebody else, then the lock is free.
fn del_and_free(place: &Place, lock: File) {
    let mut del = Owned(place.call("DEL", "orphan").spawn());
    let pid = del.0.id();
    // It may come to its end without the lock: there is nothing to delete.
    wait_until("DEL is at the lock", || has_open(pid, &place.lock_file()) || is_over(pid));
    drop(lock);
    let status = del.0.wait().expect("DEL's end can be waited for");
    assert!(status.success(), "DEL: {status}");
}

/// The main plugin reads the answer through a pipe and dies with it.
fn orphaned_add(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let place = Place::new(plugin, store);
    place.call("ADD", "stays").run().ok();
    let before = place.network.reservations();
    for round in 0..6 {
        let lock = place.lock();
        let main = place.main_plugin("answer=$(\"$0\") && printf %s \"$answer\"");
        let mut main = Owned(main.spawn());
        let orphan = make_orphan(&place, &mut main);
        match round % 3 {
            0 => del_overtakes(&place, lock, &orphan),
            1 => del_and_free(&place, lock),
            _ => {
                drop(lock);
                assert_eq!(place.call("DEL", "orphan").run().exit, Some(0));
            }
        }
        wait_until("the orphan ends", || orphan.is_over());
        assert_eq!(place.network.reservations(), before, "{what}, round {round}");
        assert_eq!(place.network.held_by("orphan", "eth0").len(), 0);
    }
    // And the same attachment is added without more ado when it is tried again.
    place.call("ADD", "orphan").run().ok();
}

#[test]
fn orphaned_adds_in_directories() {
    orphaned_add(Plugin::HostLocal, Store::Dir);
    orphaned_add(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn orphaned_adds_in_databases() {
    orphaned_add(Plugin::HostLocal, Store::Sqlite);
    orphaned_add(Plugin::NodeLocal, Store::Sqlite);
}

/// The answer's reader outlives the main plugin: it must not be told of a success that DEL has undone.
fn orphan_says_nothing(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let place = Place::new(plugin, store);
    let lock = place.lock();
    let mut main = Owned(place.main_plugin("\"$0\" <\"$CONF\" &\nwait").spawn());
    let mut stdout = main.0.stdout.take().expect("stdout is a pipe");
    let orphan = make_orphan(&place, &mut main);
    del_overtakes(&place, lock, &orphan);
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("what the orphan says can be read");
    wait_until("the orphan ends", || orphan.is_over());
    assert!(!said.contains("\"ips\""), "{what} told nobody of a success: {said}");
    if !said.is_empty() {
        let error: Value = serde_json::from_str(&said).expect("an error is JSON");
        assert!(error["code"].as_u64().is_some_and(|code| code > 0), "{said}");
    }
    assert!(place.network.reservations().is_empty());
}

#[test]
fn orphans_that_say_nothing_in_directories() {
    orphan_says_nothing(Plugin::HostLocal, Store::Dir);
    orphan_says_nothing(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn orphans_that_say_nothing_in_databases() {
    orphan_says_nothing(Plugin::HostLocal, Store::Sqlite);
    orphan_says_nothing(Plugin::NodeLocal, Store::Sqlite);
}

/// The one who asked has closed the pipe before the answer comes. The pipe is a shell's, not the test's:
/// of the test's own, a process that another thread starts at that moment has a copy for a while.
fn closed_before_the_answer(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let place = Place::new(plugin, store);
    place.call("ADD", "stays").run().ok();
    let before = place.network.reservations();
    let script = "{ \"$0\" <\"$CONF\"; echo $? >\"$ANSWER\"; } | true";
    for round in 0..5 {
        let lock = place.lock();
        let mut main = Owned(place.main_plugin(script).spawn());
        let shell = main.0.id();
        let mut add = None;
        wait_until("the shell has started the IPAM plugin", || {
            add = children_of(shell).iter().find_map(|child| child_of(*child, &place.binary));
            add.is_some()
        });
        let add = add.expect("it was waited for");
        place.until_at_lock(add);
        let pipe = fs::read_link(format!("/proc/{add}/fd/1")).expect("stdout is a pipe");
        // The shell's own end is closed once the reader has its own; then only the writer must be left.
        wait_until("the reader has gone", || {
            !has_open(shell, &pipe) && children_of(shell).len() == 1
        });
        drop(lock);
        main.0.wait().expect("the shell's end can be waited for");
        let answer = place.scratch.join("answer.json");
        let status = fs::read_to_string(answer).expect("the exit status can be read");
        assert_ne!(status.trim(), "0", "{what}, round {round}: success that nobody read");
        assert_eq!(place.network.reservations(), before, "{what}, round {round}");
    }
    place.call("ADD", "orphan").run().ok();
}

#[test]
fn closed_before_the_answer_in_directories() {
    closed_before_the_answer(Plugin::HostLocal, Store::Dir);
    closed_before_the_answer(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn closed_before_the_answer_in_databases() {
    closed_before_the_answer(Plugin::HostLocal, Store::Sqlite);
    closed_before_the_answer(Plugin::NodeLocal, Store::Sqlite);
}

/// An answer that cannot be written undoes the call; one that can be written anywhere is written.
fn answer_to_a_file(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let place = Place::new(plugin, store);
    let full = place.main_plugin("exec \"$0\" >/dev/full").run();
    assert_ne!(full.exit, Some(0), "{what}: success that could not be written");
    assert!(place.network.reservations().is_empty(), "{what}: {full:?}");

    let written = place.main_plugin("exec \"$0\" >\"$ANSWER\"").run();
    assert_eq!(written.exit, Some(0), "{what}: {written:?}");
    let answer =
        fs::read_to_string(place.scratch.join("answer.json")).expect("the answer can be read");
    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    assert_eq!(answer["ips"].as_array().map(Vec::len), Some(2), "{what}: {answer}");
    assert_eq!(place.network.held_by("orphan", "eth0").len(), 2, "{what}");

    // Nobody reads /dev/null, but nobody has gone away either.
    assert_eq!(place.call("DEL", "orphan").run().exit, Some(0));
    assert_eq!(place.main_plugin("exec \"$0\" >/dev/null").run().exit, Some(0));
    assert_eq!(place.network.held_by("orphan", "eth0").len(), 2, "{what}");
}

#[test]
fn answers_to_files_in_directories() {
    answer_to_a_file(Plugin::HostLocal, Store::Dir);
    answer_to_a_file(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn answers_to_files_in_databases() {
    answer_to_a_file(Plugin::HostLocal, Store::Sqlite);
    answer_to_a_file(Plugin::NodeLocal, Store::Sqlite);
}

/// The lock is held for longer than the deadline: code 11, and everything is as it was.
fn lock_held_too_long(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let mut place = Place::new(plugin, store);
    let held = place.call("ADD", "stays").run().ok();
    place.config["ipam"]["lockTimeout"] = json!("300ms");
    let before = place.files();
    let lock = place.lock();
    let mut with_result = place.config.clone();
    with_result["prevResult"] = held;
    for (command, id) in [("ADD", "new"), ("DEL", "stays"), ("CHECK", "stays"), ("GC", "")] {
        let mut config = with_result.clone();
        if command == "GC" {
            config["cniVersion"] = json!("1.1.0");
            config["cni.dev/valid-attachments"] = json!([]);
        }
        let outcome = place.call(command, id).config(&config).run();
        let (code, text) = outcome.error();
        assert_eq!(code, 11, "{what} {command}: {text}");
        let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
        let whole = format!("{text} {details}");
        let path = place.lock_file();
        assert!(whole.contains(&*path.to_string_lossy()), "{what} {command}: {whole}");
        let holder = std::process::id().to_string();
        let named = whole.split(|c: char| !c.is_ascii_digit()).any(|word| word == holder);
        assert!(named, "{what} {command}: process {holder} holds it, but: {whole}");
        assert!(outcome.took >= Duration::from_millis(300), "{command}: {:?}", outcome.took);
        assert!(outcome.took < Duration::from_secs(25), "{command}: {:?}", outcome.took);
        assert_eq!(place.files(), before, "{what} {command} changed something");
    }
    drop(lock);
    place.call("ADD", "new").run().ok();
    for id in ["stays", "new"] {
        assert_eq!(place.call("DEL", id).run().exit, Some(0));
    }
    assert!(place.network.reservations().is_empty());
}

#[test]
fn a_lock_held_too_long_in_directories() {
    lock_held_too_long(Plugin::HostLocal, Store::Dir);
    lock_held_too_long(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn a_lock_held_too_long_in_databases() {
    lock_held_too_long(Plugin::HostLocal, Store::Sqlite);
    lock_held_too_long(Plugin::NodeLocal, Store::Sqlite);
}

/// Less than the deadline is waited for; a deadline that is none is refused before anything is done.
fn deadline_is_a_duration(plugin: Plugin, store: Store) {
    let what = format!("{plugin:?}, {store:?}");
    let mut place = Place::new(plugin, store);
    place.config["ipam"]["lockTimeout"] = json!("30s");
    let lock = place.lock();
    let mut add = Owned(place.call("ADD", "waits").spawn());
    place.until_at_lock(add.0.id());
    drop(lock);
    let status = add.0.wait().expect("ADD's end can be waited for");
    assert!(status.success(), "{what}: {status}");
    assert_eq!(place.network.held_by("waits", "eth0").len(), 2);

    for wrong in [json!("soon"), json!("-1s"), json!("5"), json!(true)] {
        let mut place = Place::new(plugin, store);
        place.config["ipam"]["lockTimeout"] = wrong.clone();
        let (code, text) = place.call("ADD", "c1").run().error();
        assert_eq!(code, 7, "{what}, {wrong}: {text}");
        assert!(text.contains("lockTimeout"), "{what}, {wrong}: {text}");
        let made = place.network.directory().path().exists() || place.network.database().exists();
        assert!(!made, "{what}, {wrong}: something was made");
    }
}

#[test]
fn the_deadline_is_a_duration_in_directories() {
    deadline_is_a_duration(Plugin::HostLocal, Store::Dir);
    deadline_is_a_duration(Plugin::NodeLocal, Store::Dir);
}

#[test]
fn the_deadline_is_a_duration_in_databases() {
    deadline_is_a_duration(Plugin::HostLocal, Store::Sqlite);
    deadline_is_a_duration(Plugin::NodeLocal, Store::Sqlite);
}
