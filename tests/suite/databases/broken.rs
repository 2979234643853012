//! A file that is no database of ours, or a broken one: never believed, never deleted, never a crash.

use std::fs;
use std::net::IpAddr;

use ipam_stores::survey::Health;
use serde_json::json;
use support::{Scratch, Site, Snapshot};

use super::{PLUGINS, assert_lost, assert_refused, edit, newest, set_aside, site, status};

/// Asserts that a strange file is named, refused and left alone by every call.
fn assert_left_alone(site: &Site, codes: &[u64], del_works: bool, what: &str) {
    let database = site.database();
    let files = || Snapshot::of_all([site.state(), database.as_path()]);
    let before = files();
    assert_refused(&site.call("ADD", "c1").run(), codes, &database, what);
    assert_refused(&status(site), &[50], &database, what);
    let mut config = newest(site);
    config["prevResult"] = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/16"}]});
    assert_ne!(site.call_with("CHECK", "c1", &config).run().exit, Some(0), "{what}");
    let del = site.call("DEL", "c1").run();
    if del_works {
        assert_eq!(del.exit, Some(0), "{what}: {del:?}");
    } else {
        assert_refused(&del, codes, &database, what);
    }
    let gc = site.gc(&[]).run();
    assert!(matches!(gc.exit, Some(0 | 1)), "{what}: {gc:?}");
    let changes = before.changes(&files());
    assert!(changes.is_empty(), "{what}: {changes:?}");
    assert!(set_aside(site, "corrupt").is_empty(), "{what}: set aside");
}

#[test]
fn files_of_other_programs() {
    for plugin in PLUGINS {
        for content in ["", "a letter to a friend\n", "SQLite format 2", "SQLite format 3\0short"] {
            let scratch = Scratch::new("db-text");
            let site = site(plugin, &scratch);
            fs::create_dir_all(site.run()).expect("a directory");
            fs::write(site.database(), content).expect("a file");
            assert_left_alone(&site, &[7], true, &format!("{plugin:?}, {content:?}"));
        }
        let scratch = Scratch::new("db-other");
        let site = site(plugin, &scratch);
        fs::create_dir_all(site.run()).expect("a directory");
        edit(&site.database(), "CREATE TABLE network (name TEXT); PRAGMA application_id = 7;");
        assert_left_alone(&site, &[7], true, &format!("{plugin:?}, another database"));
        assert_eq!(site.holdings().health(), Health::Foreign);
    }
}

#[test]
fn a_newer_schema() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-newer");
        let site = site(plugin, &scratch);
        site.call("ADD", "held").run().ok();
        edit(&site.database(), "PRAGMA user_version = 99");
        let what = format!("{plugin:?}");
        assert_left_alone(&site, &[5, 7], false, &what);
        let text = site.call("ADD", "c1").run().error().1;
        assert!(text.contains("99") && text.contains('2'), "{text}");
        assert_eq!(site.holdings().health(), Health::Newer(99, 2));
        // As the newer version would, going back.
        edit(&site.database(), "PRAGMA user_version = 2");
        site.call("DEL", "held").run().ok();
        assert!(site.holdings().reservations().is_empty());
    }
}

/// Broken as a whole: set aside as it is, and missed from then on.
#[test]
fn broken_databases_are_set_aside() {
    type Break = (&'static str, fn(Vec<u8>) -> Vec<u8>);
    let ways: [Break; 8] = [
        ("empty", |_| Vec::new()),
        ("zeros", |bytes| vec![0; bytes.len()]),
        ("a header overwritten", |mut bytes| {
            bytes[..100].fill(0xff);
            bytes
        }),
        ("half a header", |mut bytes| {
            bytes.truncate(50);
            bytes
        }),
        ("a header alone", |mut bytes| {
            bytes.truncate(100);
            bytes
        }),
        ("one page", |mut bytes| {
            bytes.truncate(4096);
            bytes
        }),
        ("every page but the first", |mut bytes| {
            bytes[4096..].fill(0xff);
            bytes
        }),
        ("the first page but its header", |mut bytes| {
            bytes[100..4096].fill(0x5a);
            bytes
        }),
    ];
    for plugin in PLUGINS {
        for (what, destroy) in ways {
            let scratch = Scratch::new("db-broken");
            let site = site(plugin, &scratch);
            for id in ["c1", "c2"] {
                site.call("ADD", id).run().ok();
            }
            let broken = destroy(fs::read(site.database()).expect("a database"));
            fs::write(site.database(), &broken).expect("a database");
            let what = format!("{plugin:?}, {what}");
            let health = site.holdings().health();
            assert!(matches!(health, Health::Corrupt(_)), "{what}: {health:?}");
            assert_lost(&site, "c1", &what);
            let aside = set_aside(&site, "corrupt");
            assert_eq!(aside.len(), 1, "{what}: {aside:?}");
            assert!(fs::read(&aside[0]).expect("a file") == broken, "{what}: changed");
            assert_eq!(site.holdings().health(), Health::Lost, "{what}");
        }
    }
}

/// A DEL may be the first that meets it.
#[test]
fn a_del_meets_a_broken_database() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-del");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        fs::write(site.database(), "broken").expect("a database");
        let del = site.call("DEL", "c1").run();
        assert_eq!(del.exit, Some(0), "{del:?}");
        assert!(del.stderr.contains("broken"), "not reported: {del:?}");
        assert_eq!(set_aside(&site, "corrupt").len(), 1);
        assert_lost(&site, "c1", "after DEL");
    }
}

/// One page at a time: whatever a call makes of it, it is an answer, and an address that is held is not
/// given to another one.
#[test]
fn every_single_page_overwritten() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-page");
        let site = site(plugin, &scratch).dual_stack(true);
        for id in ["c1", "c2", "c3"] {
            site.call("ADD", id).run().ok();
        }
        site.call("DEL", "c2").run().ok();
        let whole = fs::read(site.database()).expect("a database");
        let state = fs::read(&super::markers(&site)[0]).expect("a marker");
        let held: Vec<IpAddr> = site.holdings().reservations().into_keys().collect();
        let pages = whole.len() / 4096;
        assert!(pages >= 8, "{pages} pages");
        for page in 1..pages {
            for (byte, from) in [(0xff, 0), (0, 0), (0xa5, 8), (0xff, 2048)] {
                let mut bytes = whole.clone();
                bytes[page * 4096 + from..(page + 1) * 4096].fill(byte);
                // The same inode, so that it is no copy.
                fs::write(site.database(), &bytes).expect("a database");
                fs::write(&super::markers(&site)[0], &state).expect("a marker");
                let what = format!("{plugin:?}, page {page}, {byte:#x} from {from}");
                let add = site.call("ADD", "new").run();
                assert!(matches!(add.exit, Some(0 | 1)), "{what}: {add:?}");
                if add.exit == Some(0) {
                    for address in add.addresses() {
                        let address: IpAddr = address.parse().expect("an address");
                        assert!(!held.contains(&address), "{what}: {address} is held");
                    }
                } else {
                    assert!(matches!(add.error().0, 5 | 11), "{what}: {add:?}");
                }
                for call in [status(&site), site.gc(&["c1", "c3"]).run()] {
                    assert!(matches!(call.exit, Some(0 | 1)), "{what}: {call:?}");
                }
                let del = site.call("DEL", "c1").run();
                assert_eq!(del.exit, Some(0), "{what}: {del:?}");
                // What was set aside is put back for the next page.
                for aside in set_aside(&site, "corrupt") {
                    fs::rename(aside, site.database()).expect("the inode comes back");
                }
                let _ = fs::remove_file(site.run().join("plat.db-journal"));
            }
        }
    }
}
