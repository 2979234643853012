//! Installing is killed, or fails, at every step that changes something.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use support::{Killer, Outcome, binary, finish, program, skip_unless};

use super::{System, assert_answers};

/// What changes names or makes them durable, as the machines' system calls are called.
const CHANGING: &str =
    "/^(rename|renameat|renameat2|link|linkat|unlink|unlinkat|fsync|mkdir|mkdirat)$";

/// Two plugins: one in the place of the reference's, one where nothing was.
const INSTALL: [&str; 3] = ["install", "--only", "host-local,chain"];

fn can_run(test: &str) -> bool {
    skip_unless(test, &[(Killer::works(), "strace")])
}

/// Runs `plat` under strace with these options. Children are not traced.
fn traced(system: &System, options: &[String], words: &[&str]) -> Outcome {
    let plat = system.command(words);
    let mut command = Command::new(program("strace"));
    command.args(["-qq", "-o"]).arg(system.scratch.path().join("trace")).args(options);
    command.arg("--").arg(plat.get_program()).args(plat.get_args());
    for (name, value) in plat.get_envs() {
        command.env(name, value.expect("variables are set only"));
    }
    finish(&mut command, b"")
}

/// Where to interfere in a run: each system call that changes something, with its number among those of its name.
fn points(system: &System, words: &[&str]) -> Vec<(String, usize)> {
    let outcome = traced(system, &["-e".to_owned(), format!("trace={CHANGING}")], words);
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    let trace = fs::read_to_string(system.scratch.path().join("trace")).expect("there is a trace");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in trace.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        // What was not there and cannot be removed changes nothing.
        if rest.ends_with("= 0") {
            points.push((name.to_owned(), *count));
        }
    }
    points
}

fn at(point: &(String, usize), what: &str) -> Vec<String> {
    let (name, nth) = point;
    vec![
        "-e".to_owned(),
        format!("trace={name}"),
        "-e".to_owned(),
        format!("inject={name}:{what}:when={nth}"),
    ]
}

/// Whatever has happened, the name stands for a whole program, and the reference is not lost.
fn assert_whole(system: &System, point: &(String, usize)) {
    let content = fs::read(system.file("host-local")).expect("the name is never gone");
    if content == fs::read(binary("host-local")).expect("it is built") {
        system.assert_says("host-local.before-plat", "the reference");
    } else {
        system.assert_says("host-local", "the reference");
    }
    if system.file("chain").exists() {
        assert!(fs::read(system.file("chain")).ok() == fs::read(binary("chain")).ok(), "{point:?}");
    }
}

#[test]
fn a_killed_install_is_healed_by_the_next_one_and_undone_by_uninstall() {
    if !can_run("a_killed_install_is_healed_by_the_next_one_and_undone_by_uninstall") {
        return;
    }
    let points = points(&System::with_reference(), &INSTALL);
    assert!(points.len() > 10, "{points:?}");
    for point in &points {
        let system = System::with_reference();
        let outcome = traced(&system, &at(point, "signal=SIGKILL"), &INSTALL);
        assert_eq!(outcome.exit, None, "{point:?} does not kill: {outcome:?}");
        assert_whole(&system, point);
        // Undone as it is, then made anew; the other order is the end of it.
        let undone = system.plat(&["uninstall"]);
        assert_eq!(undone.exit, Some(0), "{point:?}: {undone:?}");
        system.assert_says("host-local", "the reference");
        system.assert_names(&["host-local"]);

        let outcome = traced(&system, &at(point, "signal=SIGKILL"), &INSTALL);
        assert!(matches!(outcome.exit, None | Some(0)), "{point:?}: {outcome:?}");
        system.ok(&INSTALL);
        system.assert_names(&["chain", "host-local", "host-local.before-plat"]);
        for name in ["chain", "host-local"] {
            assert_answers(&system.file(name));
        }
        system.ok(&["uninstall"]);
        system.assert_names(&["host-local"]);
        system.assert_says("host-local", "the reference");
    }
}

#[test]
fn a_killed_uninstall_can_be_done_again() {
    if !can_run("a_killed_uninstall_can_be_done_again") {
        return;
    }
    let system = System::with_reference();
    system.ok(&INSTALL);
    for point in &points(&system, &["uninstall"]) {
        system.ok(&INSTALL);
        let outcome = traced(&system, &at(point, "signal=SIGKILL"), &["uninstall"]);
        assert_eq!(outcome.exit, None, "{point:?} does not kill: {outcome:?}");
        system.ok(&["uninstall"]);
        system.assert_names(&["host-local"]);
        system.assert_says("host-local", "the reference");
        assert!(!system.state().join("install.json").exists(), "{point:?}");
    }
}

#[test]
fn what_fails_is_undone() {
    if !can_run("what_fails_is_undone") {
        return;
    }
    let points = points(&System::with_reference(), &INSTALL);
    let mut refused = 0;
    for point in points.iter().filter(|(name, _)| !name.starts_with("unlink")) {
        let system = System::with_reference();
        let before = system.picture();
        let outcome = traced(&system, &at(point, "error=ENOSPC"), &INSTALL);
        // A link that cannot be made is made up for by a copy.
        if outcome.exit == Some(0) {
            assert!(point.0.starts_with("link"), "{point:?}: {outcome:?}");
            system.assert_says("host-local.before-plat", "the reference");
            continue;
        }
        refused += 1;
        assert_eq!(outcome.exit, Some(3), "{point:?}: {outcome:?}");
        assert!(outcome.stderr.contains("No space left on device"), "{point:?}: {outcome:?}");
        assert!(system.picture() == before, "{point:?}: {:?}", system.names());
        assert!(!system.state().join("install.json").exists(), "{point:?}");
    }
    assert!(refused > 5, "{points:?}");
    // Over an older version of ours: that one comes back.
    let system = System::with_reference();
    system.ok(&INSTALL);
    let other = system.other_version(&["chain", "host-local"]).to_string_lossy().into_owned();
    let before = system.picture();
    let upgrade = [&INSTALL[..], &["--from", &other]].concat();
    let last = points.iter().rfind(|(name, _)| name.starts_with("rename"));
    let outcome = traced(&system, &at(last.expect("there is one"), "error=EIO"), &upgrade);
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("nothing was changed"), "{outcome:?}");
    assert!(system.picture() == before, "{:?}", system.names());
}
