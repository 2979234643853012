//! `plat install --files`: network configurations and the like, put on a system with the plugins.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::{Outcome, Scratch, binary, finish};

use super::PLUGINS;

/// Another system's disk, and a tree of files for it.
struct Disk {
    scratch: Scratch,
}

impl Disk {
    fn new() -> Self {
        let scratch = Scratch::new("install-files");
        for dir in ["root/x", "files/x"] {
            scratch.join(dir);
        }
        Self { scratch }
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        self.scratch.path().join("root").join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.on_disk(path)).ok()
    }

    fn plat(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(binary("plat"));
        command.args(words).arg("--root").arg(self.scratch.path().join("root"));
        finish(&mut command, b"")
    }

    fn install(&self, further: &[&str]) -> Outcome {
        let files = self.scratch.path().join("files").display().to_string();
        self.plat(&[&["install", "--files", &files], further].concat())
    }

    fn ok(outcome: &Outcome) -> &str {
        assert_eq!(outcome.exit, Some(0), "{}{}", outcome.stdout, outcome.stderr);
        &outcome.stdout
    }
}

const CONFLIST: &str = "etc/cni/net.d/10-plat.conflist";

#[test]
fn files_are_put_on_a_disk_renewed_and_taken_away() {
    let disk = Disk::new();
    let theirs = "somebody else's";
    disk.scratch.write("root/etc/plat/etcd.json", theirs);
    disk.scratch.write(&format!("files/{CONFLIST}"), "{\"name\": \"one\"}");
    disk.scratch.write("files/etc/plat/etcd.json", "{}");
    let key = disk.scratch.write("files/etc/plat/etcd/key.pem", "key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode can be set");

    let shown = disk.install(&["--dry-run"]);
    assert!(Disk::ok(&shown).contains("10-plat.conflist"), "{}", shown.stdout);
    assert_eq!(disk.text(CONFLIST), None);

    let shown = disk.install(&[]);
    let said = Disk::ok(&shown);
    assert!(
        said.contains("/etc/plat/etcd.json") && said.contains("etcd.json.before-plat"),
        "{said}"
    );
    assert_eq!(disk.text(CONFLIST).as_deref(), Some("{\"name\": \"one\"}"));
    let mode = |path: &str| {
        let meta = fs::metadata(disk.on_disk(path)).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!((mode("etc/plat/etcd/key.pem"), mode("opt/cni/bin/vpp")), (0o400, 0o755));
    // Nothing but these names: a runtime reads the directory at any moment.
    let names = fs::read_dir(disk.on_disk("etc/cni/net.d")).expect("it is there").count();
    assert_eq!(names, 1);

    let shown = disk.install(&[]);
    assert_eq!(Disk::ok(&shown).lines().count(), 1, "{}", shown.stdout);
    let shown = disk.install(&["--json"]);
    let document: Value = serde_json::from_str(Disk::ok(&shown)).expect("it is JSON");
    let rows = document["files"].as_array().expect("a list");
    assert!(rows.len() == 3 && rows.iter().all(|row| row["action"] == "unchanged"), "{document}");

    // Another name, and one file less.
    fs::remove_dir_all(disk.scratch.path().join("files")).expect("it can be removed");
    disk.scratch.write("files/etc/cni/net.d/05-plat.conflist", "{\"name\": \"two\"}");
    Disk::ok(&disk.install(&[]));
    assert_eq!(disk.text(CONFLIST), None);
    assert_eq!(disk.text("etc/plat/etcd.json").as_deref(), Some(theirs));

    // Without --files nothing is said of them.
    Disk::ok(&disk.plat(&["install"]));
    assert!(disk.text("etc/cni/net.d/05-plat.conflist").is_some());
    Disk::ok(&disk.plat(&["uninstall", "--only", "vpp"]));
    assert!(disk.text("etc/cni/net.d/05-plat.conflist").is_some(), "the others are there");
    let shown = disk.plat(&["uninstall"]);
    assert!(Disk::ok(&shown).contains("05-plat.conflist"), "{}", shown.stdout);
    assert_eq!(disk.text("etc/cni/net.d/05-plat.conflist"), None);
    assert!(!disk.on_disk("var/lib/plat/install.json").exists());
    for name in PLUGINS {
        assert!(!disk.on_disk("opt/cni/bin").join(name).exists(), "{name}");
    }
}

#[test]
fn a_file_that_was_changed_since_is_left_and_told() {
    let disk = Disk::new();
    disk.scratch.write(&format!("files/{CONFLIST}"), "ours");
    Disk::ok(&disk.install(&[]));
    disk.scratch.write(&format!("root/{CONFLIST}"), "another one");
    let outcome = disk.plat(&["uninstall"]);
    assert_eq!(outcome.exit, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("10-plat.conflist is not the one"), "{}", outcome.stderr);
    assert_eq!(disk.text(CONFLIST).as_deref(), Some("another one"));
}

#[test]
fn what_cannot_be_put_is_told_and_nothing_is_half_written() {
    let disk = Disk::new();
    let outcome = disk.plat(&["install", "--files", "/nowhere/at/all"]);
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(!disk.on_disk("opt").exists(), "nothing was begun");
    // A directory stands where the file should be.
    disk.scratch.write(&format!("files/{CONFLIST}"), "ours");
    fs::create_dir_all(disk.on_disk(CONFLIST)).expect("a directory can be made");
    let outcome = disk.install(&[]);
    assert_eq!(outcome.exit, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("is no file"), "{}", outcome.stderr);
    fs::remove_dir(disk.on_disk(CONFLIST)).expect("it can be removed");
    // A link that leads nowhere is somebody else's.
    symlink("/nowhere/at/all", disk.on_disk(CONFLIST)).expect("a link can be made");
    Disk::ok(&disk.install(&[]));
    assert_eq!(disk.text(CONFLIST).as_deref(), Some("ours"));
    Disk::ok(&disk.plat(&["uninstall"]));
    assert_eq!(fs::read_link(disk.on_disk(CONFLIST)).ok(), Some(PathBuf::from("/nowhere/at/all")));
}
