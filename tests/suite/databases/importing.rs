//! A network whose store changes from the directory to the database: nothing that lives is lost, nothing that
//! died with its boot is taken over, and it happens once.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use support::{
    Plugin, Scratch, Site, Store, have, install_script, is_root, program, reference, reservation,
    skip_unless,
};

use super::{PLUGINS, assert_refused, newest, site};

/// What lies in the dataDir.
fn names(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.data()).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Asserts that the directory is aside under a name that no network can have, with a note, and tells where.
fn aside(site: &Site, what: &str) -> PathBuf {
    let names = names(site);
    assert_eq!(names.len(), 1, "{what}: {names:?}");
    assert!(names[0].starts_with(".net@imported-"), "{what}: {names:?}");
    let aside = site.data().join(&names[0]);
    let note = fs::read_to_string(aside.join("IMPORTED")).expect("a note");
    assert!(note.contains(&*site.database().to_string_lossy()), "{what}: {note}");
    aside
}

#[test]
fn reservations_marks_and_pin() {
    for plugin in PLUGINS {
        for dual in [false, true] {
            let what = format!("{plugin:?}, dual: {dual}");
            let scratch = Scratch::new("db-import");
            let site = site(plugin, &scratch).dual_stack(dual);
            let before = site.clone().in_store(Store::Dir);
            let mut held = Vec::new();
            for id in ["c1", "c2", "c3"] {
                held.push(before.call("ADD", id).run().addresses());
            }
            before.call("DEL", "c2").run().ok();
            // What was once written without an interface, and a name in another spelling.
            let old = before.directory().path().join("10.7.0.200");
            fs::write(old, "old").expect("a reservation");
            let all = before.directory().reservations();

            let add = site.call("ADD", "c4").run();
            assert_eq!(add.addresses()[0], "10.7.0.5", "{what}: the mark goes on");
            let mut now = site.holdings().reservations();
            now.retain(|_, holder| *holder != reservation("c4", "eth0"));
            assert_eq!(now, all, "{what}");
            assert_eq!(site.holdings().faults(), [] as [String; 0], "{what}");
            let aside = aside(&site, &what);
            assert!(aside.join("10.7.0.2").exists(), "{what}: nothing is deleted");

            // What was taken over is as if it had been reserved here.
            match plugin {
                Plugin::HostLocal => {
                    let again = site.call("ADD", "c1").run().error().1;
                    assert!(again.contains("duplicate"), "{what}: {again}");
                }
                Plugin::NodeLocal => {
                    assert_eq!(site.call("ADD", "c1").run().addresses(), held[0], "{what}");
                    let other = site.clone().with_index(8).call("ADD", "c5").run();
                    assert_eq!(other.error().0, 7, "{what}: the pin: {other:?}");
                }
            }
            let mut check = newest(&site);
            let ips: Vec<_> =
                held[2].iter().map(|a| json!({"address": format!("{a}/16")})).collect();
            check["prevResult"] = json!({"cniVersion": "1.1.0", "ips": ips});
            site.call_with("CHECK", "c3", &check).run().ok();
            site.call("DEL", "c1").run().ok();
            site.call_with("DEL", "c3", &site.stripped_config()).run().ok();
            site.call("DEL", "old").run().ok();
            site.call("DEL", "c4").run().ok();
            assert!(site.holdings().reservations().is_empty(), "{what}");
            // The default of nothing is left to remember, but what node-local knows anyway.
            let places = fs::read_dir(site.state().join("places")).into_iter().flatten().count();
            assert_eq!(places, 0, "{what}: places that hold nothing");
        }
    }
}

/// The reference's directory.
#[test]
fn from_the_reference() {
    let Some(reference) = reference("host-local") else {
        let _ = skip_unless("from_the_reference", &[(false, "containernetworking-plugins")]);
        return;
    };
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-reference");
        let site = site(plugin, &scratch).dual_stack(true);
        let before = Site::new(Plugin::HostLocal, scratch.path(), site.run())
            .dual_stack(true)
            .with_binary(reference.clone());
        for id in ["c1", "c2"] {
            before.call("ADD", id).run().ok();
        }
        let all = before.directory().reservations();
        assert_eq!(site.call("ADD", "c3").run().addresses(), ["10.7.0.4", "2001:db8:7::4"]);
        site.call("DEL", "c3").run().ok();
        assert_eq!(site.holdings().reservations(), all, "{plugin:?}");
        aside(&site, "from the reference");
    }
}

/// A directory that comes later, by a mistake or by going back and forth, is left alone.
#[test]
fn what_is_reserved_in_a_directory_later_is_taken_over_too() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-once");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        before.call("ADD", "c1").run().ok();
        site.call("ADD", "c2").run().ok();
        aside(&site, "first");
        fs::create_dir(site.directory().path()).expect("a directory");
        fs::write(site.directory().path().join("10.7.0.9"), reservation("c9", "eth0"))
            .expect("a reservation");
        assert_eq!(site.call("ADD", "c3").run().addresses(), ["10.7.0.4"]);
        assert!(!site.directory().path().exists(), "{plugin:?}");
        let rows: usize = site.holdings().states().iter().map(|s| s.allocations.len()).sum();
        assert_eq!(rows, 4, "{plugin:?}");
        site.call("DEL", "c9").run().ok();
        assert!(site.holdings().held_by("c9", "eth0").is_empty());
    }
}

/// One address, and two who have it: the directory keeps what the database cannot have.
#[test]
fn a_conflict_is_not_thrown_away() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-conflict");
        let site = site(plugin, &scratch);
        assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.2"]);
        fs::create_dir_all(site.directory().path()).expect("a directory");
        for (name, id) in [("10.7.0.2", "other"), ("10.7.0.9", "c9")] {
            let content = reservation(id, "eth0");
            fs::write(site.directory().path().join(name), content).expect("a reservation");
        }
        assert_eq!(site.call("ADD", "c2").run().addresses(), ["10.7.0.3"]);
        let left = site.directory().reservations();
        assert_eq!(left.values().collect::<Vec<_>>(), [&reservation("other", "eth0")]);
        assert_eq!(site.holdings().held_by("c9", "eth0").len(), 1, "{plugin:?}");
    }
}

/// What `plat import` moves is found by a DEL that has lost its configuration, and guarded like the rest.
#[test]
fn what_plat_has_moved_is_found() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-moved");
        let site = site(plugin, &scratch);
        let directory = site.clone().in_store(Store::Dir);
        let held = directory.call("ADD", "c1").run().addresses();
        let output = std::process::Command::new(support::binary("plat"))
            .args(["import", Site::NETWORK, "--from", "host-local", "--conf-dir", "/nowhere"])
            .args(["--instance", plugin.name(), "--path"])
            .arg(site.directory().path())
            .env("PLAT_STATE_DIR", site.state())
            .env("PLAT_RUN_DIR", site.run())
            .arg("--database")
            .arg(site.database())
            .output()
            .expect("plat can be started");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(site.holdings().held_by("c1", "eth0").len(), held.len(), "{plugin:?}");
        let (code, text) = directory.call("ADD", "c2").run().error();
        assert!(code == 7 && text.contains("holds 1 address in"), "{code} {text}");
        site.call_with("DEL", "c1", &site.stripped_config()).run().ok();
        assert!(site.holdings().held_by("c1", "eth0").is_empty(), "{plugin:?}");
    }
}

/// Back to the directory, or to another database, with pods alive: refused until they are gone or taken over.
#[test]
fn addresses_in_a_database_are_not_given_out_elsewhere() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-back");
        let site = site(plugin, &scratch);
        assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.2"]);
        let mut other = newest(&site);
        other["ipam"]["database"] = json!(scratch.path().join("other.db"));
        let mut directory = newest(&site.clone().in_store(Store::Dir));
        directory["ipam"]["dataDir"] = json!(site.data());
        for config in [&other, &directory] {
            let (code, text) = site.call_with("ADD", "c2", config).run().error();
            assert!(code == 7 && text.contains("holds 1 address in"), "{code} {text}");
            let (code, text) = site.call_with("STATUS", "", config).run().error();
            assert!(code == 50 && text.contains("holds 1 address in"), "{code} {text}");
        }
        assert!(!site.directory().path().exists() && !scratch.path().join("other.db").exists());
        // DEL with either configuration finds it.
        site.call_with("DEL", "c1", &directory).run().ok();
        let added = site.call_with("ADD", "c2", &directory).run();
        assert_eq!(added.addresses(), ["10.7.0.2"], "{plugin:?}");
    }
}

/// Nothing to take over: no directory is made, and none is needed.
#[test]
fn nothing_to_import() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-nothing");
        let site = site(plugin, &scratch);
        site.call("ADD", "c1").run().ok();
        site.call("DEL", "c1").run().ok();
        assert!(!site.data().exists(), "{plugin:?}");
    }
}

/// An ADD that is refused takes over what there is, or nothing: it is whole in one of the two.
#[test]
fn a_refused_first_add() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-refused");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        before.call("ADD", "c1").run().ok();
        let all = site.holdings().reservations();
        let asking = site.call("ADD", "c2").env("CNI_ARGS", "IgnoreUnknown=1;IP=10.7.0.2");
        assert_eq!(asking.run().exit, Some(1));
        assert_eq!(site.holdings().reservations(), all, "{plugin:?}");
        assert_eq!(site.call("ADD", "c2").run().addresses(), ["10.7.0.3"], "{plugin:?}");
        aside(&site, "after a refused ADD");
    }
}

/// Between the change of the configuration and the first ADD, a pod that lives is still known.
#[test]
fn questions_before_the_first_add() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-before");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        let result = before.call("ADD", "c1").run().ok();
        before.call("ADD", "c2").run().ok();
        let mut check = newest(&site);
        check["prevResult"] = result;
        let outcome = site.call_with("CHECK", "c1", &check).run();
        assert_eq!(outcome.exit, Some(0), "{plugin:?}: CHECK of what lives: {outcome:?}");
        site.gc(&["c1"]).run().ok();
        let held = site.holdings().reservations();
        assert_eq!(held.len(), 1, "{plugin:?}: GC has not freed what is not valid: {held:?}");
    }
}

/// A file that does not say whose it is keeps its address.
#[test]
fn unreadable_reservations_stay_taken() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-odd");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        before.call("ADD", "c1").run().ok();
        let directory = before.directory().path().to_path_buf();
        fs::write(directory.join("10.7.0.3"), [0xff, 0xfe, 0]).expect("a file");
        fs::create_dir(directory.join("10.7.0.4")).expect("a directory");
        fs::write(directory.join("10.7.0.5"), "").expect("an empty file");
        fs::write(directory.join("a-note"), "not ours").expect("a file");
        let add = site.call("ADD", "c2").run();
        assert_eq!(add.addresses(), ["10.7.0.5"], "{plugin:?}: {add:?}");
        let aside = aside(&site, "odd files");
        assert!(aside.join("a-note").exists() && aside.join("10.7.0.4").is_dir());
        assert_eq!(site.holdings().faults(), [] as [String; 0]);
    }
}

/// A directory that several nodes use stays theirs.
#[test]
fn a_shared_directory() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-shared");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        before.call("ADD", "c1").run().ok();
        let mut config = newest(&site);
        config["ipam"]["shared"] = json!(true);
        let refused = site.call_with("ADD", "c2", &config).run();
        let (code, message) = refused.error();
        assert!(code == 7 && message.contains("shared"), "{plugin:?}: {message}");
        assert_eq!(before.directory().reservations().len(), 1);
        assert!(!site.database().exists());
    }
}

/// A dataDir that cannot be read says so; the ADD does not begin with an empty database.
#[test]
fn a_directory_that_is_none() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-none");
        let site = site(plugin, &scratch);
        let file = scratch.write("data/net", "no directory");
        assert_refused(&site.call("ADD", "c1").run(), &[5], &file, &format!("{plugin:?}"));
        fs::remove_file(&file).expect("a file");
        site.call("ADD", "c1").run().ok();
    }
}

/// The plugin as it runs a second after the boot of its node: in a time namespace. Needs root.
fn just_booted(plugin: Plugin, scratch: &Scratch) -> PathBuf {
    let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
    let uptime: f64 = uptime.split(' ').next().and_then(|u| u.parse().ok()).expect("a number");
    let offset = format!("-{}", (uptime - 1.0) as u64);
    let unshare = program("unshare");
    let words = [
        unshare.as_os_str(),
        OsStr::new("--time"),
        OsStr::new("--boottime"),
        OsStr::new(&offset),
        OsStr::new("--fork"),
        OsStr::new("--"),
    ];
    let script = scratch.join("bin/just-booted");
    install_script(&script, &words, &support::binary(plugin.name()))
}

/// Whether this machine has time namespaces.
fn has_time_namespaces() -> bool {
    std::process::Command::new(program("unshare"))
        .args(["--time", "--boottime", "-1", "--fork", "--", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

/// What was reserved before the boot died with it.
#[test]
fn the_dead_are_not_imported() {
    let needs = [
        (is_root(), "root"),
        (have("unshare") && is_root() && has_time_namespaces(), "time namespaces"),
    ];
    if !skip_unless("the_dead_are_not_imported", &needs) {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-dead");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir).with_run(scratch.path().join("former/run"));
        for id in ["c1", "c2"] {
            before.call("ADD", id).run().ok();
        }
        // The boot comes some seconds later, with it the directory of runtime state, and another pod.
        std::thread::sleep(Duration::from_secs(4));
        fs::create_dir(site.run()).expect("a directory");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        before.call("ADD", "c3").run().ok();
        let booted = site.clone().with_binary(just_booted(plugin, &scratch));
        let add = booted.call("ADD", "c4").run();
        assert_eq!(add.addresses(), ["10.7.0.5"], "{plugin:?} at {now}: the mark: {add:?}");
        let held: Vec<String> = site.holdings().reservations().into_values().collect();
        let living = ["c3", "c4"].map(|id| reservation(id, "eth0"));
        assert_eq!(held, living, "{plugin:?}");
        aside(&site, "dead and living");
    }
}

/// Two IPAMs of a chain had one directory: each takes over what is in its own ranges.
#[test]
fn a_directory_of_two_plugins() {
    let scratch = Scratch::new("db-chain");
    let [host, node] = PLUGINS.map(|plugin| site(plugin, &scratch));
    let directory = host.directory();
    fs::create_dir_all(directory.path()).expect("a directory");
    for (address, id) in [("10.7.0.2", "c1"), ("2001:db8:7::2", "c1"), ("10.7.0.3", "c2")] {
        fs::write(directory.path().join(address), reservation(id, "eth0")).expect("a reservation");
    }
    let v4 = newest(&host);
    let mut v6 = newest(&node);
    v6["ipam"]["ranges"] = json!([[{"subnet": "2001:db8:{i}::/64"}]]);
    let all = host.holdings().reservations();

    assert_eq!(host.call_with("ADD", "c3", &v4).run().addresses(), ["10.7.0.4"]);
    assert!(directory.path().join("2001:db8:7::2").exists(), "the other's is still there");
    assert!(!directory.path().join("10.7.0.2").exists());
    assert_eq!(node.call_with("ADD", "c3", &v6).run().addresses(), ["2001:db8:7::3"]);
    let mut now = host.holdings().reservations();
    now.retain(|_, holder| *holder != reservation("c3", "eth0"));
    assert_eq!(now, all);
    let of = |plugin| host.holdings().of(plugin).held_by("c1", "eth0").len();
    assert_eq!((of(Plugin::HostLocal), of(Plugin::NodeLocal)), (1, 1));
    node.call_with("DEL", "c1", &v6).run().ok();
    assert_eq!((of(Plugin::HostLocal), of(Plugin::NodeLocal)), (1, 0));
    host.call_with("DEL", "c1", &host.stripped_config()).run().ok();
    assert_eq!((of(Plugin::HostLocal), of(Plugin::NodeLocal)), (0, 0));
}

/// An import was killed before the directory was put away, and more was reserved there since (the operator
/// went back for a while): what it holds then is not forgotten.
#[test]
fn an_interrupted_import_reads_again() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-again");
        let site = site(plugin, &scratch);
        let before = site.clone().in_store(Store::Dir);
        before.call("ADD", "c1").run().ok();
        site.call("ADD", "c2").run().ok();
        // As it is after the kill, but for what is in the directory.
        let note = format!("UPDATE network SET aside = '{}'", site.data().display());
        super::edit(&site.database(), &note);
        fs::create_dir(site.directory().path()).expect("a directory");
        for (address, id) in [("10.7.0.2", "c1"), ("10.7.0.9", "c9")] {
            let path = site.directory().path().join(address);
            fs::write(path, reservation(id, "eth0")).expect("a reservation");
        }
        site.call("ADD", "c3").run().ok();
        assert!(!site.directory().path().exists(), "{plugin:?}: put away");
        assert_eq!(site.holdings().held_by("c9", "eth0").len(), 1, "{plugin:?}: forgotten");
        let asking = site.call("ADD", "c4").env("CNI_ARGS", "IgnoreUnknown=1;IP=10.7.0.9").run();
        assert_ne!(asking.exit, Some(0), "{plugin:?}: given out twice");
        assert_eq!(site.holdings().faults(), [] as [String; 0]);
    }
}
