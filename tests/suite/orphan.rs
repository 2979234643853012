/*!
An ADD that nobody waits for any more, and a lock that is held for too long.

A runtime that gives up kills the main plugin, not the IPAM plugin that the main plugin has started
and that waits for the lock; and it sends DEL at once. Whatever the order in which the two get the
lock, nothing may stay allocated.
*/

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Call, NetworkDir, Orphan, Owned, Scratch, Stopped, binary, child_of, children_of, has_open,
    install_script, is_over, parent_of, program, wait_until,
};

const NETWORK: &str = "orphans";

/// A plugin, its configuration and its directory.
struct Place {
    scratch: Scratch,
    binary: PathBuf,
    config: Value,
    network: NetworkDir,
}

impl Place {
    fn new(plugin: &'static str) -> Self {
        let scratch = Scratch::new("orphan");
        let data_dir = scratch.path().join("networks");
        Self {
            binary: binary(plugin),
            config: json!({
                "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge",
                "ipam": {
                    "type": plugin, "dataDir": data_dir,
                    "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd00:8::/64"}]],
                },
            }),
            network: NetworkDir::new(&data_dir, NETWORK),
            scratch,
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

    /// Takes the network's lock, which is let go with the file.
    fn lock(&self) -> File {
        fs::create_dir_all(self.network.path()).expect("a network directory can be made");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.network.lock())
            .expect("a lock can be opened");
        file.lock().expect("a lock can be taken");
        file
    }

    /// Waits until a process has opened the lock: it waits for it, or is about to.
    fn until_at_lock(&self, pid: u32) {
        let lock = self.network.lock();
        wait_until("the IPAM plugin comes to the lock", || has_open(pid, &lock));
    }

    /// Every file of the network's directory with its content.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(self.network.path())
            .expect("the network directory can be read")
            .map(|entry| entry.expect("an entry can be read"))
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).expect("a file can be read"))
            })
            .collect()
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
    wait_until("DEL is at the lock", || has_open(pid, &place.network.lock()) || is_over(pid));
    drop(lock);
    let status = del.0.wait().expect("DEL's end can be waited for");
    assert!(status.success(), "DEL: {status}");
}

/// The main plugin reads the answer through a pipe and dies with it.
fn orphaned_add(plugin: &'static str) {
    let place = Place::new(plugin);
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
        assert_eq!(place.network.reservations(), before, "{plugin}, round {round}");
        assert_eq!(place.network.held_by("orphan", "eth0").len(), 0);
    }
    // And the same attachment is added without more ado when it is tried again.
    place.call("ADD", "orphan").run().ok();
}

#[test]
fn orphaned_add_of_host_local() {
    orphaned_add("host-local");
}

#[test]
fn orphaned_add_of_node_local() {
    orphaned_add("node-local");
}

/// The answer's reader outlives the main plugin: it must not be told of a success that DEL has undone.
fn orphan_says_nothing(plugin: &'static str) {
    let place = Place::new(plugin);
    let lock = place.lock();
    let mut main = Owned(place.main_plugin("\"$0\" <\"$CONF\" &\nwait").spawn());
    let mut stdout = main.0.stdout.take().expect("stdout is a pipe");
    let orphan = make_orphan(&place, &mut main);
    del_overtakes(&place, lock, &orphan);
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("what the orphan says can be read");
    wait_until("the orphan ends", || orphan.is_over());
    assert!(!said.contains("\"ips\""), "{plugin} told nobody of a success: {said}");
    if !said.is_empty() {
        let error: Value = serde_json::from_str(&said).expect("an error is JSON");
        assert!(error["code"].as_u64().is_some_and(|code| code > 0), "{said}");
    }
    assert!(place.network.reservations().is_empty());
}

#[test]
fn an_orphan_of_host_local_says_nothing() {
    orphan_says_nothing("host-local");
}

#[test]
fn an_orphan_of_node_local_says_nothing() {
    orphan_says_nothing("node-local");
}

/// The one who asked has closed the pipe before the answer comes. The pipe is a shell's, not the test's:
/// of the test's own, a process that another thread starts at that moment has a copy for a while.
fn closed_before_the_answer(plugin: &'static str) {
    let place = Place::new(plugin);
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
        assert_ne!(status.trim(), "0", "{plugin}, round {round}: success that nobody read");
        assert_eq!(place.network.reservations(), before, "{plugin}, round {round}");
    }
    place.call("ADD", "orphan").run().ok();
}

#[test]
fn closed_before_the_answer_of_host_local() {
    closed_before_the_answer("host-local");
}

#[test]
fn closed_before_the_answer_of_node_local() {
    closed_before_the_answer("node-local");
}

/// An answer that cannot be written undoes the call; one that can be written anywhere is written.
fn answer_to_a_file(plugin: &'static str) {
    let place = Place::new(plugin);
    let full = place.main_plugin("exec \"$0\" >/dev/full").run();
    assert_ne!(full.exit, Some(0), "{plugin}: success that could not be written");
    assert!(place.network.reservations().is_empty(), "{plugin}: {full:?}");

    let written = place.main_plugin("exec \"$0\" >\"$ANSWER\"").run();
    assert_eq!(written.exit, Some(0), "{plugin}: {written:?}");
    let answer =
        fs::read_to_string(place.scratch.join("answer.json")).expect("the answer can be read");
    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    assert_eq!(answer["ips"].as_array().map(Vec::len), Some(2), "{plugin}: {answer}");
    assert_eq!(place.network.held_by("orphan", "eth0").len(), 2, "{plugin}");

    // Nobody reads /dev/null, but nobody has gone away either.
    assert_eq!(place.call("DEL", "orphan").run().exit, Some(0));
    assert_eq!(place.main_plugin("exec \"$0\" >/dev/null").run().exit, Some(0));
    assert_eq!(place.network.held_by("orphan", "eth0").len(), 2, "{plugin}");
}

#[test]
fn answers_of_host_local_to_files() {
    answer_to_a_file("host-local");
}

#[test]
fn answers_of_node_local_to_files() {
    answer_to_a_file("node-local");
}

/// The lock is held for longer than the deadline: code 11, and everything is as it was.
fn lock_held_too_long(plugin: &'static str) {
    let mut place = Place::new(plugin);
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
        assert_eq!(code, 11, "{plugin} {command}: {text}");
        let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
        let whole = format!("{text} {details}");
        let path = place.network.lock();
        assert!(whole.contains(&*path.to_string_lossy()), "{plugin} {command}: {whole}");
        let holder = std::process::id().to_string();
        let named = whole.split(|c: char| !c.is_ascii_digit()).any(|word| word == holder);
        assert!(named, "{plugin} {command}: process {holder} holds it, but: {whole}");
        assert!(outcome.took >= Duration::from_millis(300), "{command}: {:?}", outcome.took);
        assert!(outcome.took < Duration::from_secs(25), "{command}: {:?}", outcome.took);
        assert_eq!(place.files(), before, "{plugin} {command} changed something");
    }
    drop(lock);
    place.call("ADD", "new").run().ok();
    for id in ["stays", "new"] {
        assert_eq!(place.call("DEL", id).run().exit, Some(0));
    }
    assert!(place.network.reservations().is_empty());
}

#[test]
fn a_lock_held_too_long_for_host_local() {
    lock_held_too_long("host-local");
}

#[test]
fn a_lock_held_too_long_for_node_local() {
    lock_held_too_long("node-local");
}

/// Less than the deadline is waited for; a deadline that is none is refused before anything is done.
fn deadline_is_a_duration(plugin: &'static str) {
    let mut place = Place::new(plugin);
    place.config["ipam"]["lockTimeout"] = json!("30s");
    let lock = place.lock();
    let mut add = Owned(place.call("ADD", "waits").spawn());
    place.until_at_lock(add.0.id());
    drop(lock);
    let status = add.0.wait().expect("ADD's end can be waited for");
    assert!(status.success(), "{plugin}: {status}");
    assert_eq!(place.network.held_by("waits", "eth0").len(), 2);

    for wrong in [json!("soon"), json!("-1s"), json!("5"), json!(true)] {
        let mut place = Place::new(plugin);
        place.config["ipam"]["lockTimeout"] = wrong.clone();
        let (code, text) = place.call("ADD", "c1").run().error();
        assert_eq!(code, 7, "{plugin}, {wrong}: {text}");
        assert!(text.contains("lockTimeout"), "{plugin}, {wrong}: {text}");
        assert!(!place.network.path().exists(), "{plugin}, {wrong}: something was made");
    }
}

#[test]
fn the_deadline_of_host_local_is_a_duration() {
    deadline_is_a_duration("host-local");
}

#[test]
fn the_deadline_of_node_local_is_a_duration() {
    deadline_is_a_duration("node-local");
}
