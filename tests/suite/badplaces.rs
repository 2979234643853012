/*!
Places that are wrong: an ADD that cannot be carried out is refused with code 5 or 11 and the path, and
changes nothing. Files that are wrong: they are reported on standard error, never believed, and never
a reason to crash or to wait.
*/

mod file_systems;
mod permissions;
mod reservations;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Outcome, Plugin, Scratch, Site, Snapshot, reservation};

const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];

fn site(plugin: Plugin, scratch: &Scratch) -> Site {
    Site::new(plugin, scratch.path(), &scratch.path().join("run"))
}

/// Asserts an error of the documented kind that names `path`.
fn assert_refused(outcome: &Outcome, path: &Path) {
    let (code, _) = outcome.error();
    assert!(code == 5 || code == 11, "code {code}: {outcome:?}");
    let path = path.to_string_lossy();
    assert!(outcome.stdout.contains(&*path), "{path} is not named: {outcome:?}");
}

fn assert_unchanged(before: &Snapshot, after: &Snapshot, what: &str) {
    let changes = before.changes(after);
    assert!(changes.is_empty(), "{what}: changed:\n{}", changes.join("\n"));
}

/// Asserts that `command` is refused with `path`, and that no file below the site's places of
/// reservations and durable state is touched.
fn assert_refused_unchanged(site: &Site, command: &str, id: &str, path: &Path) {
    let places = || Snapshot::of_all([site.data(), site.state()]);
    let before = places();
    let outcome = site.call(command, id).run();
    assert_refused(&outcome, path);
    assert_unchanged(&before, &places(), &format!("{command} {id} with {site:?}"));
}

#[test]
fn data_dir_is_a_file() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("bad-data");
        let site = site(plugin, &scratch);
        scratch.write("data", "no directory");
        assert_refused_unchanged(&site, "ADD", "c1", site.data());
        del_of_nothing(&site, site.data());
    }
}

#[test]
fn data_dir_below_a_file() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("bad-parent");
        let file = scratch.write("file", "no directory");
        let site = site(plugin, &scratch).with_data(file.join("data"));
        assert_refused_unchanged(&site, "ADD", "c1", &file);
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), Some("no directory"));
    }
}

#[test]
fn network_directory_is_a_file() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("bad-net");
        let site = site(plugin, &scratch);
        let path = scratch.write("data/net", "no directory");
        assert_refused_unchanged(&site, "ADD", "c1", &path);
        del_of_nothing(&site, &path);
    }
}

/// A DEL where nothing can be held: that is fine, or it says what is wrong.
fn del_of_nothing(site: &Site, path: &Path) {
    let outcome = site.call("DEL", "c1").run();
    if outcome.exit != Some(0) {
        assert_refused(&outcome, path);
    }
}

#[test]
fn network_directory_is_a_link_to_nothing() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("bad-link");
        let site = site(plugin, &scratch);
        let path = scratch.join("data/net");
        symlink(scratch.path().join("nothing"), &path).expect("a link");
        assert_refused_unchanged(&site, "ADD", "c1", &path);
        assert!(!scratch.path().join("nothing").exists());
    }
}

/// The walk of the reference does not follow such a link, so that its DEL frees nothing.
#[test]
fn network_directory_is_a_link_to_a_directory() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("link");
        let site = site(plugin, &scratch);
        let elsewhere = scratch.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        let link = scratch.join("data/net");
        symlink(&elsewhere, &link).expect("a link");
        let got = site.call("ADD", "c1").run().addresses();
        assert_eq!(got, ["10.7.0.2"]);
        let content = fs::read_to_string(elsewhere.join("10.7.0.2")).expect("a reservation");
        assert_eq!(content, reservation("c1", "eth0"));
        let again = site.call("ADD", "c1").run();
        match plugin {
            Plugin::HostLocal => {
                assert!(again.error().1.contains("duplicate allocation"), "{again:?}");
            }
            Plugin::NodeLocal => assert_eq!(again.addresses(), got),
        }
        assert_eq!(site.call("ADD", "c2").run().addresses(), ["10.7.0.3"]);
        site.call("DEL", "c1").run().ok();
        site.call_with("DEL", "c2", &site.stripped_config()).run().ok();
        site.directory().assert_empty();
        assert_eq!(fs::read_link(&link).ok(), Some(elsewhere), "the link is still one");
    }
}

#[test]
fn lock_is_a_directory() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("bad-lock");
        let site = site(plugin, &scratch);
        let lock = site.directory().lock();
        fs::create_dir_all(&lock).expect("a directory");
        assert_refused_unchanged(&site, "ADD", "c1", &lock);
    }
}

#[test]
fn mark_is_a_directory() {
    for plugin in PLUGINS {
        for dual in [false, true] {
            let scratch = Scratch::new("bad-mark");
            let site = site(plugin, &scratch).dual_stack(dual);
            site.call("ADD", "before").run().ok();
            // The mark of the last set: the first set's work has to be undone.
            let set = site.families() - 1;
            let mark = site.directory().path().join(format!("last_reserved_ip.{set}"));
            fs::remove_file(&mark).expect("ADD has left a mark");
            fs::create_dir(&mark).expect("a directory");
            assert_refused_unchanged(&site, "ADD", "c1", &mark);
            // What was held before can still be freed.
            site.call("DEL", "before").run().ok();
            assert!(site.directory().reservations().is_empty());
        }
    }
}

/// The very first ADD of a network. Where the network's places are is remembered before there is
/// anything to find there; the DEL that follows each failed ADD makes it forgotten.
#[test]
fn first_add_that_fails() {
    for plugin in PLUGINS {
        for set in 0..2 {
            let scratch = Scratch::new("bad-first");
            let site = site(plugin, &scratch).dual_stack(true);
            let mark = site.directory().path().join(format!("last_reserved_ip.{set}"));
            fs::create_dir_all(&mark).expect("a directory");
            fs::write(site.directory().lock(), "").expect("a lock");
            let state = || Snapshot::of(site.state()).without_directories();
            let before = state();
            let listing = || {
                let mut names: Vec<_> = fs::read_dir(site.directory().path())
                    .expect("the directory is there")
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .collect();
                names.sort();
                names
            };
            let names = listing();
            let outcome = site.call("ADD", "c1").run();
            assert_refused(&outcome, &mark);
            let mut left = listing();
            // On which node the ranges were rendered; no allocation, but of no use either.
            left.retain(|name| name != "node-index");
            assert_eq!(left, names, "{plugin:?}, set {set}");
            site.call("DEL", "c1").run().ok();
            assert_eq!(listing(), names, "{plugin:?}, set {set}, after DEL");
            assert_unchanged(&before, &state(), &format!("{plugin:?}, set {set}"));
        }
    }
}

/// The mark is a hint; whatever it says, ADD finds an address.
#[test]
fn broken_marks() {
    let long = vec![b'1'; 1 << 20];
    let contents: &[&[u8]] = &[
        b"",
        b"\n",
        b"10.7.0.2\n",
        b"10.7.0",
        b"300.1.1.1",
        b"192.0.2.1",
        b"2001:db8::1",
        b"\xff\xfe",
        b"10.7.0.2\0",
        &[0; 8],
        &long,
    ];
    for plugin in PLUGINS {
        for content in contents {
            let scratch = Scratch::new("marks");
            let site = site(plugin, &scratch);
            site.call("ADD", "held").run().ok();
            let mark = site.directory().path().join("last_reserved_ip.0");
            fs::write(&mark, content).expect("a mark");
            let shown = String::from_utf8_lossy(&content[..content.len().min(20)]).into_owned();
            let outcome = site.call("ADD", "c1").run();
            assert_eq!(outcome.addresses(), ["10.7.0.3"], "mark {shown:?}: {outcome:?}");
            let now = fs::read_to_string(&mark).expect("a mark");
            assert_eq!(now, "10.7.0.3", "mark {shown:?}");
        }
    }
}

/// State of another program's, or damaged state of ours, outside the network's directory.
#[test]
fn broken_state() {
    for plugin in PLUGINS {
        for held in [0, 300] {
            for content in [&b""[..], b"\0\0\0\0\0\0\0\0", b"{", b"[1,2]\n", &[0xff; 5000]] {
                let scratch = Scratch::new("state");
                let site = site(plugin, &scratch);
                site.directory().fill(site.first_addresses()[0], held);
                let first = site.call("ADD", "c1").run().addresses();
                site.call("ADD", "c2").run().ok();
                let files = |place: &Path| -> Vec<PathBuf> {
                    let below = Snapshot::of(place);
                    below.files().into_iter().map(|name| place.join(name)).collect()
                };
                let damaged = [files(site.state()), files(site.run())].concat();
                assert!(!damaged.is_empty(), "a dataDir of its own is recorded");
                for path in &damaged {
                    // What is a link is replaced by a file, not written through.
                    if path.is_symlink() {
                        fs::remove_file(path).expect("a link can be removed");
                    }
                    fs::write(path, content).expect("a file can be overwritten");
                }
                let what = format!("{plugin:?}, {held} held, {damaged:?} damaged");
                // An attachment is found, and its addresses are freed, with the whole configuration.
                let again = site.call("ADD", "c1").run();
                match plugin {
                    Plugin::HostLocal => {
                        assert!(again.stdout.contains("duplicate"), "{what}: {again:?}");
                    }
                    Plugin::NodeLocal => assert_eq!(again.addresses(), first, "{what}: {again:?}"),
                }
                assert_eq!(site.call("ADD", "c3").run().addresses().len(), 1, "{what}");
                for id in ["c1", "c2", "c3"] {
                    let outcome = site.call("DEL", id).run();
                    assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
                }
                assert_eq!(site.directory().reservations().len(), held as usize, "{what}");
            }
        }
    }
}

/// Every call but VERSION reads the same places; a wrong one is never a crash.
#[test]
fn no_call_crashes() {
    type Wrong = (&'static str, fn(&Site));
    let wrong: [Wrong; 4] = [
        ("dataDir is a file", |site| fs::write(site.data(), "x").expect("a file")),
        ("state is a file", |site| fs::write(site.state(), "x").expect("a file")),
        ("run is a file", |site| fs::write(site.run(), "x").expect("a file")),
        ("all are links to themselves", |site| {
            for place in [site.data(), site.state(), site.run()] {
                symlink(place, place).expect("a link");
            }
        }),
    ];
    for plugin in PLUGINS {
        for (what, make) in wrong {
            for command in ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"] {
                let scratch = Scratch::new("calls");
                let site = site(plugin, &scratch);
                make(&site);
                let mut config = site.gc_config(&[]);
                if command == "CHECK" {
                    config["prevResult"] = json!({
                        "cniVersion": "1.1.0",
                        "ips": [{ "address": "10.7.0.2/16" }],
                    });
                }
                let outcome = site.call_with(command, "c1", &config).run();
                assert!(matches!(outcome.exit, Some(0 | 1)), "{what}, {command}: {outcome:?}");
                if outcome.exit == Some(1) {
                    assert!(outcome.json()["code"].is_u64(), "{what}, {command}: {outcome:?}");
                } else if command == "ADD" {
                    assert!(outcome.json()["ips"] != Value::Null, "{what}: {outcome:?}");
                }
            }
        }
    }
}
