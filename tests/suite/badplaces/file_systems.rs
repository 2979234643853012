//! File systems that are read-only or full.

use std::ffi::OsStr;
use std::fs;

use support::{MountNamespace, Plugin, Scratch, Shortage, SmallDisk, Snapshot};

use super::{PLUGINS, assert_refused, assert_refused_unchanged, assert_unchanged, site};

#[test]
fn read_only_file_system() {
    if !MountNamespace::can_be_made("read_only_file_system") {
        return;
    }
    for plugin in PLUGINS {
        for dual in [false, true] {
            let scratch = Scratch::new("ro");
            let namespace = MountNamespace::new();
            let site = site(plugin, &scratch).inside(&namespace, &scratch).dual_stack(dual);
            site.call("ADD", "held").run().ok();
            let data = site.data().as_os_str();
            namespace.run("mount", &[OsStr::new("--bind"), data, data]);
            namespace.run("mount", &[OsStr::new("-o"), OsStr::new("remount,bind,ro"), data]);
            assert_refused_unchanged(&site, "ADD", "c1", site.directory().path());
            assert_refused_unchanged(&site, "DEL", "held", site.directory().path());
            // Nothing to do is no failure.
            let outcome = site.call("DEL", "unknown").run();
            assert_eq!(outcome.exit, Some(0), "{outcome:?}");
            namespace.run("umount", &["--lazy".as_ref(), data]);
            site.call("DEL", "held").run().ok();
            site.directory().assert_empty();
        }
    }
}

/// Every amount of room from none at all to enough: each ADD either succeeds as a whole or is refused
/// and leaves everything as it was. Somewhere on the way there is room for the reservation and none
/// for the mark.
#[test]
fn full_disk() {
    if !MountNamespace::can_be_made("full_disk") {
        return;
    }
    const ENOUGH: u64 = 8;
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            // With and without an earlier ADD's marks; without, they need room of their own.
            for marked in [true, false] {
                let scratch = Scratch::new("full");
                let namespace = MountNamespace::new();
                let mut succeeded = Vec::new();
                for left in 0..=ENOUGH {
                    let what = format!("{plugin:?}, {shortage:?}, marked: {marked}, {left} left");
                    let inside = scratch.path().join(format!("small{left}"));
                    let disk = SmallDisk::mount(&namespace, inside, 128);
                    let site = site(plugin, &scratch)
                        .inside(&namespace, &scratch)
                        .with_data(disk.inside.join("data"))
                        .dual_stack(true);
                    let seen = site.clone().with_data(disk.outside.join("data"));
                    let held = site.call("ADD", "held").run();
                    assert_eq!(held.addresses().len(), 2);
                    if !marked {
                        for set in 0..2 {
                            let mark = format!("last_reserved_ip.{set}");
                            fs::remove_file(seen.directory().path().join(mark)).expect("a mark");
                        }
                    }
                    disk.fill_up(shortage, left);
                    let places = || Snapshot::of_all([seen.data(), site.state()]);
                    let before = places();
                    let outcome = site.call("ADD", "c1").run();
                    if outcome.exit == Some(0) {
                        succeeded.push(left);
                        let mut got = outcome.addresses();
                        got.sort();
                        let mut held: Vec<String> = seen
                            .directory()
                            .held_by("c1", "eth0")
                            .iter()
                            .map(ToString::to_string)
                            .collect();
                        held.sort();
                        assert_eq!((got.len(), &got), (2, &held), "{what}");
                    } else {
                        assert_refused(&outcome, site.directory().path());
                        assert_unchanged(&before, &places(), &what);
                    }
                    // Freeing needs no room.
                    for id in ["c1", "held"] {
                        let outcome = site.call("DEL", id).run();
                        assert_eq!(outcome.exit, Some(0), "{what}: DEL {id}: {outcome:?}");
                    }
                    assert!(seen.directory().reservations().is_empty(), "{what}");
                    namespace.run("umount", &["--lazy".as_ref(), disk.inside.as_os_str()]);
                }
                assert!(!succeeded.contains(&0), "{plugin:?}, {shortage:?}: succeeds without room");
                assert!(succeeded.contains(&ENOUGH), "{plugin:?}, {shortage:?}: {succeeded:?}");
            }
        }
    }
}

/// The place of what a DEL without configuration needs to know.
#[test]
fn full_disk_for_the_durable_state() {
    if !MountNamespace::can_be_made("full_disk_for_the_durable_state") {
        return;
    }
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            let scratch = Scratch::new("full-state");
            let namespace = MountNamespace::new();
            let inside = scratch.path().join("small");
            let disk = SmallDisk::mount(&namespace, inside, 128);
            let site = site(plugin, &scratch)
                .inside(&namespace, &scratch)
                .with_state(disk.inside.join("state"));
            disk.fill_up(shortage, 0);
            let outcome = site.call("ADD", "c1").run();
            if matches!(shortage, Shortage::Pages) && outcome.exit == Some(0) {
                // An inode may be enough to remember a place, if that place is remembered then.
                site.call_with("DEL", "c1", &site.stripped_config()).run().ok();
                assert!(site.directory().reservations().is_empty(), "{plugin:?}: not freed");
                continue;
            }
            assert_refused(&outcome, site.state());
            assert_eq!(outcome.error().0, 5, "{outcome:?}");
            assert!(site.directory().reservations().is_empty());
            assert!(Snapshot::of(&disk.outside.join("state")).files().is_empty());
        }
    }
}

/// The place of what only makes calls faster: they are as right without it.
#[test]
fn full_disk_for_the_state_of_the_boot() {
    if !MountNamespace::can_be_made("full_disk_for_the_state_of_the_boot") {
        return;
    }
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            for left in [0, 1, 2] {
                let scratch = Scratch::new("full-run");
                let namespace = MountNamespace::new();
                let inside = scratch.path().join("small");
                let disk = SmallDisk::mount(&namespace, inside, 128);
                let site = site(plugin, &scratch)
                    .inside(&namespace, &scratch)
                    .with_run(disk.inside.join("run"));
                site.directory().fill(site.first_addresses()[0], 300);
                disk.fill_up(shortage, left);
                for id in ["c1", "c2"] {
                    assert_eq!(site.call("ADD", id).run().addresses().len(), 1);
                }
                let again = site.call("ADD", "c1").run();
                assert_eq!(again.exit == Some(0), plugin == Plugin::NodeLocal, "{again:?}");
                for id in ["c1", "c2"] {
                    site.call("DEL", id).run().ok();
                }
                assert_eq!(site.directory().reservations().len(), 300);
            }
        }
    }
}
