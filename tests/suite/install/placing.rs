//! What is put where, and what comes back.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use serde_json::json;
use support::{Call, Owned, binary, finish};

use super::{PLUGINS, System, assert_answers};

#[test]
fn a_second_install_changes_nothing_and_uninstall_removes() {
    let system = System::new();
    let shown = system.ok(&["install", "--dry-run"]);
    assert!(shown.contains("Nothing was changed"), "{shown}");
    assert!(system.names().is_empty() && !system.state().exists());

    let shown = system.ok(&["install"]);
    assert!(shown.contains("installed") && shown.contains("Next: "), "{shown}");
    system.assert_names(&PLUGINS);
    for name in PLUGINS {
        system.assert_is(name, &binary(name));
        assert_answers(&system.file(name));
        let mode = fs::metadata(system.file(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{name}");
    }
    for (path, mode) in [("", 0o700), ("install.json", 0o600), ("install.lock", 0o600)] {
        let meta = fs::metadata(system.state().join(path)).expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{path}");
    }

    let before = system.picture();
    let shown = system.ok(&["install"]);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(system.picture() == before, "files were written again");
    let document: serde_json::Value =
        serde_json::from_str(&system.ok(&["install", "--json"])).expect("it is JSON");
    let rows = document["plugins"].as_array().expect("a list");
    assert!(rows.iter().all(|row| row["action"] == "unchanged" && row["version"].is_string()));
    assert_eq!(rows.len(), PLUGINS.len());

    system.ok(&["uninstall", "--dry-run"]);
    system.assert_names(&PLUGINS);
    let shown = system.ok(&["uninstall"]);
    assert!(shown.contains("removed"), "{shown}");
    assert!(system.names().is_empty());
    assert!(!system.state().join("install.json").exists());
    let shown = system.ok(&["uninstall"]);
    assert!(shown.contains("No plugin of Plat"), "{shown}");
}

#[test]
fn the_reference_is_kept_over_upgrades_and_comes_back() {
    let system = System::with_reference();
    let shown = system.ok(&["install"]);
    assert!(shown.contains("host-local.before-plat"), "{shown}");
    assert_answers(&system.file("host-local"));
    system.assert_says("host-local.before-plat", "the reference");

    // An upgrade is no reason to put ours aside.
    let other = system.other_version(&["host-local"]);
    let shown = system.ok(&["install", "--only", "host-local", "--from", &other.to_string_lossy()]);
    assert!(shown.contains("updated"), "{shown}");
    system.assert_is("host-local", &other.join("host-local"));
    system.assert_says("host-local.before-plat", "the reference");

    // Without what is recorded ours is known all the same.
    fs::remove_file(system.state().join("install.json")).expect("it is there");
    let shown = system.ok(&["install", "--only", "host-local"]);
    assert!(shown.contains("updated"), "{shown}");
    system.assert_is("host-local", &binary("host-local"));

    // The system's own upgrade has put a newer one there.
    system.foreign("host-local", &["/bin/echo", "a newer reference"]);
    system.ok(&["install"]);
    assert_answers(&system.file("host-local"));
    system.ok(&["uninstall"]);
    system.assert_names(&["host-local"]);
    system.assert_says("host-local", "a newer reference");
}

#[test]
fn a_link_of_somebody_else_comes_back_as_a_link() {
    let system = System::new();
    let target = system.scratch.write("elsewhere", "somebody else's");
    for (name, target) in [("host-local", target.as_path()), ("chain", "nowhere".as_ref())] {
        symlink(target, system.file(name)).expect("a link can be made");
    }
    system.ok(&["install"]);
    assert_answers(&system.file("host-local"));
    assert_eq!(fs::read(&target).expect("it is there"), b"somebody else's");
    system.ok(&["uninstall"]);
    system.assert_names(&["chain", "host-local"]);
    assert_eq!(fs::read_link(system.file("host-local")).expect("a link"), target);
}

#[test]
fn what_somebody_has_changed_since_is_left() {
    let system = System::with_reference();
    system.ok(&["install"]);
    system.foreign("host-local", &["/bin/echo", "a third one"]);
    system.foreign("vpp", &["/bin/echo", "another vpp"]);
    let outcome = system.plat(&["uninstall"]);
    assert_eq!(outcome.exit, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("host-local.before-plat"), "{}", outcome.stderr);
    system.assert_names(&["host-local", "host-local.before-plat", "vpp"]);
    system.assert_says("host-local", "a third one");
    system.assert_says("host-local.before-plat", "the reference");
    // When it is gone, the first one comes back.
    fs::remove_file(system.file("host-local")).expect("it is there");
    fs::remove_file(system.file("vpp")).expect("it is there");
    system.ok(&["uninstall"]);
    system.assert_names(&["host-local"]);
    system.assert_says("host-local", "the reference");
}

#[test]
fn only_what_is_named() {
    let system = System::with_reference();
    system.ok(&["install", "--only", "node-local,vpp"]);
    system.assert_names(&["host-local", "node-local", "vpp"]);
    system.assert_says("host-local", "the reference");
    system.ok(&["install", "--only", "host-local", "--only", "chain"]);
    system.ok(&["uninstall", "--only", "vpp"]);
    system.assert_names(&["chain", "host-local", "host-local.before-plat", "node-local"]);
    system.ok(&["uninstall"]);
    system.assert_names(&["host-local"]);
}

#[test]
fn a_running_plugin_is_replaced_and_goes_on() {
    let system = System::new();
    system.ok(&["install", "--only", "host-local"]);
    // It waits for its configuration.
    let child = Command::new(system.file("host-local"))
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", "/none"), ("CNI_PATH", "/none")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a plugin can be started");
    let mut child = Owned(child);
    let other = system.other_version(&["host-local"]);
    system.ok(&["install", "--only", "host-local", "--from", &other.to_string_lossy()]);
    system.assert_is("host-local", &other.join("host-local"));
    assert!(child.0.try_wait().expect("it can be waited for").is_none());
    let mut stdin = child.0.stdin.take().expect("a pipe");
    stdin.write_all(b"{}").expect("the plugin reads");
    drop(stdin);
    let mut said = String::new();
    let mut stdout = child.0.stdout.take().expect("a pipe");
    std::io::Read::read_to_string(&mut stdout, &mut said).expect("the plugin answers");
    assert!(said.contains("missing network name"), "{said}");
}

#[test]
fn the_state_goes_when_it_is_told_to_and_nothing_lives() {
    let system = System::with_reference();
    let run = system.scratch.path().join("run");
    system.ok(&["install"]);
    let call = |command: &str| {
        let ipam =
            json!({"type": "node-local", "index": 4, "ranges": [[{"subnet": "10.1.{i}.0/24"}]]});
        let config = json!({"cniVersion": "1.0.0", "name": "purged", "ipam": ipam});
        Call::new(&system.file("node-local"), command)
            .state_in(system.scratch.path())
            .config(&config)
            .run()
    };
    assert_eq!(call("ADD").addresses(), ["10.1.4.2"]);
    let before = system.picture();
    let outcome = system.plat(&["uninstall", "--purge"]);
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("purged holds 1 address"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--yes"), "{}", outcome.stderr);
    assert!(system.picture() == before && run.join("plat.db").exists());

    // Taking the plugins away keeps what is held, and says so.
    let outcome = system.plat(&["uninstall"]);
    assert!(outcome.stderr.contains("purged holds 1 address"), "{}", outcome.stderr);
    system.ok(&["install"]);
    call("DEL").ok();
    system.ok(&["uninstall", "--purge"]);
    assert!(!run.exists() && !system.state().exists());
    system.assert_names(&["host-local"]);

    system.ok(&["install"]);
    assert_eq!(call("ADD").addresses(), ["10.1.4.2"]);
    system.ok(&["uninstall", "--purge", "--yes"]);
    assert!(!run.exists() && !system.state().exists());
}

#[test]
fn another_program_follows_with_its_arguments() {
    let system = System::new();
    let mut command = system.command(&["install", "--only", "chain"]);
    command.args(["--exec", "/bin/echo", "--config", "followed"]);
    let outcome = finish(&mut command, b"");
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().last(), Some("--config followed"), "{outcome:?}");
    assert_answers(&system.file("chain"));
}
