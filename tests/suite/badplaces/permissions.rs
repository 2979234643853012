//! Places that the plugin may not use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{
    Plugin, Scratch, Site, Snapshot, have, install_copy, install_unprivileged, is_root, program,
    reservation, skip_unless,
};

use super::{PLUGINS, assert_refused, assert_refused_unchanged, site};

/// The plugin as a program of an unprivileged user; root ignores modes.
fn unprivileged(plugin: Plugin, scratch: &Scratch) -> PathBuf {
    let binary = support::binary(plugin.name());
    if is_root() {
        install_unprivileged(&binary, scratch)
    } else {
        install_copy(&binary, &scratch.join("bin/plugin"))
    }
}

/// A site of an unprivileged user's: a dataDir that everybody may write to, and state of its own.
fn unprivileged_site(plugin: Plugin, scratch: &Scratch) -> Site {
    let site = site(plugin, scratch).with_binary(unprivileged(plugin, scratch));
    for place in [site.data(), site.state(), site.run()] {
        fs::create_dir_all(place).expect("a directory");
    }
    set_mode(site.data(), 0o777);
    for place in [site.state(), site.run()].into_iter().filter(|_| is_root()) {
        std::os::unix::fs::chown(place, Some(65534), Some(65534)).expect("root can");
    }
    site
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

/// Modes that a test takes away are given back, so that its directory can be removed.
struct Restored<'a>(&'a Path);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.0, fs::Permissions::from_mode(0o755));
    }
}

fn can_be_unprivileged(test: &str) -> bool {
    skip_unless(test, &[(!is_root() || have("setpriv"), "setpriv")])
}

#[test]
fn data_dir_without_permission() {
    if !can_be_unprivileged("data_dir_without_permission") {
        return;
    }
    for plugin in PLUGINS {
        for mode in [0o555, 0o000] {
            let scratch = Scratch::new("perm-data");
            let site = unprivileged_site(plugin, &scratch);
            let _restored = Restored(site.data());
            set_mode(site.data(), mode);
            assert_refused_unchanged(&site, "ADD", "c1", site.data());
        }
    }
}

#[test]
fn network_directory_without_permission() {
    if !can_be_unprivileged("network_directory_without_permission") {
        return;
    }
    for plugin in PLUGINS {
        for dual in [false, true] {
            let scratch = Scratch::new("perm-net");
            let site = unprivileged_site(plugin, &scratch).dual_stack(dual);
            site.call("ADD", "held").run().ok();
            let directory = site.directory();
            let _restored = Restored(directory.path());
            take(directory.path(), 0o555);
            assert_refused_unchanged(&site, "ADD", "c1", directory.path());
            // An address that stays held must not be reported as freed.
            assert_refused_unchanged(&site, "DEL", "held", directory.path());
            give(directory.path());
            site.call("DEL", "held").run().ok();
            site.directory().assert_empty();
        }
    }
}

/// Makes a directory the test user's, with a mode.
fn take(path: &Path, mode: u32) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(0), Some(0)).expect("root may change owners");
    }
    set_mode(path, mode);
}

/// Undoes [`take`].
fn give(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("root may change owners");
    }
    set_mode(path, 0o755);
}

#[test]
fn lock_without_permission() {
    if !can_be_unprivileged("lock_without_permission") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("perm-lock");
        let site = unprivileged_site(plugin, &scratch);
        site.call("ADD", "held").run().ok();
        let lock = site.directory().lock();
        take(&lock, 0o000);
        assert_refused_unchanged(&site, "ADD", "c1", &lock);
    }
}

/// Where the network's places cannot be recorded, a DEL without them would not find the address.
#[test]
fn state_directory_without_permission() {
    if !can_be_unprivileged("state_directory_without_permission") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("perm-state");
        let site = unprivileged_site(plugin, &scratch);
        let _restored = Restored(site.state());
        set_mode(site.state(), 0o555);
        let outcome = site.call("ADD", "c1").run();
        assert_refused(&outcome, site.state());
        assert_eq!(outcome.error().0, 5);
        assert!(site.directory().reservations().is_empty());
        let left = Snapshot::of(site.state());
        assert!(left.files().is_empty(), "{left:?}");
    }
}

/// What is kept for one boot only makes calls faster.
#[test]
fn run_directory_without_permission() {
    if !can_be_unprivileged("run_directory_without_permission") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("perm-run");
        let site = unprivileged_site(plugin, &scratch);
        site.directory().fill(site.first_addresses()[0], 300);
        if is_root() {
            chown_below(site.data());
        }
        let _restored = Restored(site.run());
        set_mode(site.run(), 0o555);
        site.call("ADD", "c1").run().ok();
        site.call("ADD", "c2").run().ok();
        site.call("DEL", "c1").run().ok();
        site.call("DEL", "c2").run().ok();
        assert_eq!(site.directory().reservations().len(), 300);
    }
}

fn chown_below(top: &Path) {
    let status = Command::new(program("chown")).args(["-R", "65534:65534"]).arg(top).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn unreadable_reservation() {
    if !can_be_unprivileged("unreadable_reservation") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("perm-file");
        let site = unprivileged_site(plugin, &scratch);
        site.call("ADD", "held").run().ok();
        let path = site.directory().path().join("10.7.0.3");
        fs::write(&path, reservation("other", "eth0")).expect("a reservation");
        take(&path, 0o000);
        let outcome = site.call("ADD", "c1").run();
        assert_eq!(outcome.addresses(), ["10.7.0.4"], "taken, whoever holds it");
        assert!(outcome.stderr.contains("10.7.0.3"), "not reported: {outcome:?}");
        let outcome = site.call("DEL", "c1").run();
        assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        assert!(path.exists());
        assert!(!site.directory().path().join("10.7.0.4").exists());
    }
}
