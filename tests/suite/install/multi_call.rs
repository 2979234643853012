//! The binary of all programs: each by its name.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use support::{Call, Outcome, binary, finish};

use super::{PLUGINS, System, assert_answers};

/// A directory with all names, links to the one binary.
fn linked(system: &System) -> PathBuf {
    let dir = system.scratch.join("linked/x").parent().expect("it has one").to_path_buf();
    for name in PLUGINS.iter().chain(&["plat", "plat-agent", "something"]) {
        symlink(binary("plat-cni"), dir.join(name)).expect("a link can be made");
    }
    dir
}

fn run(program: &PathBuf, words: &[&str]) -> Outcome {
    finish(Command::new(program).args(words).env_remove("CNI_COMMAND"), b"")
}

#[test]
fn each_name_is_the_program_of_that_name() {
    let system = System::new();
    let dir = linked(&system);
    for name in PLUGINS {
        let (one, all) = (binary(name), dir.join(name));
        let answer = |path: &PathBuf| Call::new(path, "VERSION").run().stdout;
        assert_eq!(answer(&one), answer(&all), "{name}");
        assert_eq!(run(&one, &[]).stderr, run(&all, &[]).stderr, "{name}");
        // A call that is wrong is answered in CNI's way, in the same words.
        let wrong = |path: &PathBuf| Call::new(path, "ADD").config(&json!({"name": "a/b"})).run();
        let (expected, given) = (wrong(&one), wrong(&all));
        assert_eq!((expected.exit, &expected.stdout), (given.exit, &given.stdout), "{name}");
        assert_eq!(given.error().1, "invalid characters found in network name");
    }
    for (name, words) in
        [("plat", &["--help"][..]), ("plat-agent", &["--help"]), ("plat", &["nonsense"])]
    {
        let (expected, given) = (run(&binary(name), words), run(&dir.join(name), words));
        assert_eq!(expected.exit, given.exit, "{name}");
        assert_eq!(expected.stdout, given.stdout, "{name}");
        assert_eq!(expected.stderr, given.stderr, "{name}");
    }
}

#[test]
fn a_name_can_be_the_first_argument_and_others_are_told() {
    let system = System::new();
    let all = binary("plat-cni");
    let version = run(&all, &["plat", "--version"]);
    assert_eq!(version.stdout, run(&binary("plat"), &["--version"]).stdout);
    assert!(run(&all, &["vpp"]).stderr.starts_with("CNI vpp plugin"));
    for (path, words) in [
        (all.clone(), &[][..]),
        (all, &["bridge"]),
        (linked(&system).join("something"), &["--help"]),
    ] {
        let outcome = run(&path, words);
        assert_eq!(outcome.exit, Some(3), "{words:?}: {outcome:?}");
        assert!(outcome.stdout.is_empty());
        for name in PLUGINS {
            assert!(outcome.stderr.contains(name), "{words:?}: {}", outcome.stderr);
        }
    }
}

#[test]
fn its_names_are_installed_as_one_file_and_work() {
    let system = System::with_reference();
    let dir = linked(&system);
    let outcome = finish(
        Command::new(dir.join("plat"))
            .arg("install")
            .arg("--from")
            .arg(&dir)
            .arg("--bin-dir")
            .arg(system.bin())
            .env("PLAT_STATE_DIR", system.state()),
        b"",
    );
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    let inode = |name: &str| fs::symlink_metadata(system.file(name)).expect("it is there").ino();
    for name in PLUGINS {
        assert_answers(&system.file(name));
        assert_eq!(inode(name), inode("chain"), "{name}");
    }
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.9.0.0/24"}]],
            "dataDir": system.scratch.path().join("data"),
        },
    });
    let call = |command: &str| {
        Call::new(&system.file("host-local"), command)
            .state_in(system.scratch.path())
            .config(&config)
            .run()
    };
    assert_eq!(call("ADD").addresses(), ["10.9.0.2"]);
    call("DEL").ok();
    system.ok(&["uninstall"]);
    system.assert_names(&["host-local"]);
    system.assert_says("host-local", "the reference");
}
