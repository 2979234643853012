//! What cannot be installed changes nothing, and says why.

use std::fs;
use std::process::Command;

use support::{MountNamespace, binary, finish, install_copy, is_root, program, skip_unless};

use super::System;

fn refused(system: &System, words: &[&str], reason: &str) {
    let before = system.picture();
    let outcome = system.plat(words);
    assert_eq!(outcome.exit, Some(3), "{words:?}: {outcome:?}");
    assert!(outcome.stderr.contains(reason), "{words:?}: {}", outcome.stderr);
    assert!(system.picture() == before, "{words:?} has changed something: {:?}", system.names());
    assert!(!system.state().join("install.json").exists(), "{words:?}");
}

#[test]
fn what_is_no_plugin_is_not_installed() {
    let system = System::with_reference();
    let from = system.scratch.join("from/x").parent().expect("it has one").to_path_buf();
    let from_text = from.to_string_lossy().into_owned();
    let install = |only: &str, reason: &str| {
        refused(&system, &["install", "--from", &from_text, "--only", only], reason);
    };
    install("host-local", "host-local is not there");
    refused(&system, &["install", "--from", &from_text], "host-local is not there");
    install_copy(&program("true"), &from.join("host-local"));
    install("host-local", "does not answer as the plugin host-local");
    install_copy(&binary("vpp"), &from.join("chain"));
    install("chain", "it says that it is");
    // The first one is good, and is not installed for the second one's sake.
    install_copy(&binary("host-local"), &from.join("host-local"));
    install("host-local,chain", "nothing was changed");
    fs::write(from.join("vpp"), "no program").expect("a file can be written");
    install("host-local,vpp", "nothing was changed");
    fs::create_dir(from.join("node-local")).expect("a directory can be made");
    install("node-local", "is no program");
    install("bridge", "invalid value 'bridge'");
    assert!(!system.names().iter().any(|name| name.contains("plat-new")));
}

#[test]
fn a_place_that_is_no_place_is_told() {
    let system = System::with_reference();
    fs::create_dir(system.file("vpp")).expect("a directory can be made");
    refused(&system, &["install"], "vpp is no program, and is not replaced");
    fs::remove_dir(system.file("vpp")).expect("it is empty");

    let outcome = finish(
        Command::new(binary("plat"))
            .args(["install", "--bin-dir"])
            .arg(system.file("host-local"))
            .env("PLAT_STATE_DIR", system.state()),
        b"",
    );
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("cannot make the directory"), "{}", outcome.stderr);

    // A state directory that is the system's own is not purged.
    for state in ["/", "/tmp", "relative/state", "/var/../tmp"] {
        let mut command = system.command(&["uninstall", "--purge", "--yes"]);
        let outcome = finish(command.env("PLAT_RUN_DIR", state), b"");
        assert_eq!(outcome.exit, Some(3), "{state}: {outcome:?}");
        assert!(outcome.stderr.contains("is no state directory"), "{}", outcome.stderr);
    }
}

#[test]
fn a_broken_manifest_is_told_and_a_later_one() {
    let system = System::with_reference();
    for (text, reason) in [("{", "EOF while parsing"), (r#"{"schema": 7, "dirs": {}}"#, "schema 7")]
    {
        system.scratch.write("state/install.json", text);
        for word in ["install", "uninstall"] {
            let before = system.picture();
            let outcome = system.plat(&[word]);
            assert_eq!(outcome.exit, Some(3), "{outcome:?}");
            assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
            assert!(system.picture() == before);
        }
    }
}

#[test]
fn a_read_only_place_is_told() {
    if !skip_unless("a_read_only_place_is_told", &[(is_root(), "root")]) {
        return;
    }
    let system = System::new();
    let namespace = MountNamespace::new();
    namespace.mount_tmpfs(&system.bin(), "ro");
    // The wrapper gives no arguments on.
    let script =
        system.scratch.write("words", "#!/bin/sh\nexec \"$PLAT\" install --bin-dir \"$BIN\"\n");
    let script = install_copy(&script, &system.scratch.path().join("plat"));
    let wrapper = namespace.wrapper(&script, &system.scratch.path().join("inside"));
    let mut command = Command::new(wrapper);
    command.env("PLAT", binary("plat")).env("BIN", system.bin());
    let outcome = finish(command.env("PLAT_STATE_DIR", system.state()), b"");
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only file system"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--bin-dir"), "{}", outcome.stderr);
    assert!(!system.state().join("install.json").exists());
}
