//! The database belongs to a boot: gone or put back within it, what living pods hold is not known; in the
//! next one, nothing is held.

use std::fs::{self, File, OpenOptions};

use ipam_stores::survey::Health;
use support::{Owned, Scratch, has_open, wait_until};

use super::{PLUGINS, assert_lost, assert_refused, reboot, set_aside, site, status};

#[test]
fn removed_in_the_same_boot() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-gone");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        fs::remove_file(site.database()).expect("a database");
        assert_lost(&site, "c1", "the file is gone");
        assert_eq!(site.holdings().health(), Health::Lost);
        assert!(!site.database().exists());
        // The whole directory, as some clean-up scripts do.
        fs::remove_dir_all(site.run()).expect("a directory");
        assert_lost(&site, "c1", "the directory is gone");
    }
}

#[test]
fn a_copy_put_back() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-copy");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        let copy = scratch.path().join("copy");
        fs::copy(site.database(), &copy).expect("a copy");
        site.call("ADD", "c2").run().ok();
        fs::rename(&copy, site.database()).expect("a copy can be put back");
        assert_eq!(site.holdings().health(), Health::Restored);
        assert_lost(&site, "c2", "a copy");
        // What the copy knows is still freed.
        site.call("DEL", "c1").run().ok();
        assert!(site.holdings().held_by("c1", "eth0").is_empty());
        assert!(set_aside(&site, "corrupt").is_empty());
    }
}

#[test]
fn another_boot_begins_empty() {
    for plugin in PLUGINS {
        for dual in [false, true] {
            let scratch = Scratch::new("db-boot");
            let site = site(plugin, &scratch).dual_stack(dual);
            for id in ["c1", "c2", "c3"] {
                site.call("ADD", id).run().ok();
            }
            reboot(&site);
            assert_eq!(site.holdings().health(), Health::FormerBoot);
            // Nothing of the former boot is an answer any more, and nothing is wrong.
            status(&site).ok();
            site.call("DEL", "c3").run().ok();
            let got = site.call("ADD", "c4").run().addresses();
            assert_eq!(got[0], "10.7.0.5", "after the mark of the former boot");
            assert_eq!(site.holdings().reservations().len(), site.families());
            assert_eq!(site.holdings().health(), Health::Fine);
            assert_eq!(site.holdings().faults(), [] as [String; 0]);
            site.call("DEL", "c4").run().ok();
            // The marker is of this boot again.
            site.call("ADD", "c5").run().ok();
            fs::remove_file(site.database()).expect("a database");
            assert_lost(&site, "c5", "gone after a reboot");
        }
    }
}

/// On tmpfs nothing is left of it.
#[test]
fn another_boot_finds_nothing() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-none");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        reboot(&site);
        fs::remove_dir_all(site.run()).expect("a directory");
        assert_eq!(site.holdings().health(), Health::Absent);
        site.call("DEL", "c1").run().ok();
        assert!(!site.run().exists(), "DEL of nothing makes something");
        status(&site).ok();
        assert_eq!(site.call("ADD", "c2").run().addresses(), ["10.7.0.2"]);
    }
}

/// The directory is removed while a call waits for the lock in it.
#[test]
fn removed_while_a_call_waits() {
    for plugin in PLUGINS {
        for used in [false, true] {
            let scratch = Scratch::new("db-wait");
            let site = site(plugin, &scratch);
            if used {
                site.call("ADD", "c1").run().ok();
            }
            fs::create_dir_all(site.run()).expect("a directory");
            let path = site.holdings().database_lock();
            let lock: File = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .expect("a lock can be opened");
            lock.lock().expect("a lock can be taken");
            let mut add = Owned(site.call("ADD", "waits").spawn());
            let pid = add.0.id();
            wait_until("ADD is at the lock", || has_open(pid, &path));
            fs::remove_dir_all(site.run()).expect("a directory can be removed");
            drop(lock);
            let status = add.0.wait().expect("ADD's end can be waited for");
            // Nothing was known before: nothing is missed.
            assert_eq!(status.success(), !used, "{plugin:?}, used: {used}");
            if used {
                assert_refused(&site.call("ADD", "c2").run(), &[11], &site.database(), "gone");
            } else {
                assert_eq!(site.holdings().held_by("waits", "eth0").len(), 1);
            }
        }
    }
}

/// A DEL that waits is content.
#[test]
fn removed_while_a_del_waits() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-wait");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        let path = site.holdings().database_lock();
        let lock = File::open(&path).expect("a lock can be opened");
        lock.lock().expect("a lock can be taken");
        let mut del = Owned(site.call("DEL", "c1").spawn());
        let pid = del.0.id();
        wait_until("DEL is at the lock", || has_open(pid, &path));
        fs::remove_dir_all(site.run()).expect("a directory can be removed");
        drop(lock);
        let status = del.0.wait().expect("DEL's end can be waited for");
        assert!(status.success(), "{plugin:?}: {status}");
        assert!(!site.run().exists(), "DEL of nothing makes something");
    }
}
