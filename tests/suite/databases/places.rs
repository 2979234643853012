//! Places where no database can be: an ADD is refused with the path and changes nothing, and what is held
//! can be freed wherever anything can be written at all.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ipam_core::identity::Instance;
use ipam_stores::survey::{NetworkState, Place};
use serde_json::json;
use support::{
    MountNamespace, Plugin, Scratch, Shortage, Site, SmallDisk, Snapshot, have,
    install_unprivileged, is_root, skip_unless,
};

use super::{PLUGINS, assert_refused, assert_unchanged, newest, recorded, site, status};

/// ADD and STATUS are refused with the path; DEL of nothing is fine, or says the same.
fn assert_impossible(site: &Site, path: &Path, what: &str) {
    let before = recorded(site);
    assert_refused(&site.call("ADD", "c1").run(), &[5], path, what);
    assert_refused(&status(site), &[50], path, what);
    for config in [site.config(), site.stripped_config()] {
        let del = site.call_with("DEL", "c1", &config).run();
        if del.exit != Some(0) {
            assert_refused(&del, &[5], path, what);
        }
    }
    assert_unchanged(&before, &recorded(site), what);
}

#[test]
fn the_database_is_a_directory() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-dir");
        let site = site(plugin, &scratch);
        fs::create_dir_all(site.database()).expect("a directory");
        assert_impossible(&site, &site.database(), &format!("{plugin:?}"));
    }
}

#[test]
fn the_database_is_below_a_file() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-below");
        let file = scratch.write("file", "no directory");
        let site = site(plugin, &scratch).with_run(file.join("run"));
        assert_impossible(&site, &file, &format!("{plugin:?}"));
        let del = site.call("DEL", "c1").run();
        assert_eq!(del.exit, Some(0), "{del:?}");
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), Some("no directory"));
    }
}

#[test]
fn what_lies_beside_is_a_directory() {
    for plugin in PLUGINS {
        for suffix in ["-lock", ".new", "-journal", "-spare"] {
            let scratch = Scratch::new("db-beside");
            let site = site(plugin, &scratch);
            let path = site.run().join(format!("plat.db{suffix}"));
            fs::create_dir_all(path.join("full")).expect("a directory");
            assert_refused(&site.call("ADD", "c1").run(), &[5], &site.database(), suffix);
            assert!(!site.database().exists() || site.holdings().reservations().is_empty());
            fs::remove_dir_all(&path).expect("a directory");
            assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.2"], "{suffix}");
        }
    }
}

/// The marker tells a database that is lost from one that never was: without it, none is used.
#[test]
fn the_marker_cannot_be_written() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-marker");
        let file = scratch.write("state", "no directory");
        let site = site(plugin, &scratch);
        let what = format!("{plugin:?}");
        assert_refused(&site.call("ADD", "c1").run(), &[5], &file, &what);
        assert!(site.holdings().reservations().is_empty(), "{what}");
        site.call("DEL", "c1").run().ok();
        fs::remove_file(&file).expect("a file");
        assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.2"], "{what}");
    }
}

/// A link is followed: an operator's own way to another place.
#[test]
fn the_database_is_a_link() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-link");
        let site = site(plugin, &scratch);
        let elsewhere = scratch.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        std::os::unix::fs::symlink(&elsewhere, site.run()).expect("a link");
        assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.2"]);
        assert!(elsewhere.join("plat.db").exists());
        site.call_with("DEL", "c1", &site.stripped_config()).run().ok();
        assert!(site.holdings().in_database(&elsewhere.join("plat.db")).reservations().is_empty());
    }
}

#[test]
fn without_permission() {
    let setpriv = !is_root() || have("setpriv");
    if !skip_unless("without_permission", &[(setpriv, "setpriv"), (is_root(), "root")]) {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-perm");
        let script = install_unprivileged(&support::binary(plugin.name()), &scratch);
        let root = site(plugin, &scratch);
        root.call("ADD", "held").run().ok();
        let user = root.clone().with_binary(script);
        for command in ["ADD", "DEL"] {
            let before = recorded(&root);
            let refused = user.call(command, "held").run();
            // DEL says first that it cannot know where else it would have to look.
            assert_refused(&refused, &[5], scratch.path(), &format!("{plugin:?}, {command}"));
            assert_unchanged(&before, &recorded(&root), command);
        }
        assert_eq!(root.holdings().held_by("held", "eth0").len(), 1);
        root.call("DEL", "held").run().ok();
    }
}

/// Nobody else may read which pod has which address, or change it.
#[test]
fn files_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-mode");
        let site = site(plugin, &scratch);
        for_sticky(&site);
        for top in [site.run(), site.state()] {
            let below = Snapshot::of(top);
            assert!(!below.files().is_empty());
            for name in below.files() {
                let path = top.join(name);
                let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
            }
            let mode = fs::metadata(top).expect("a directory").permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", top.display());
        }
    }
}

/// An ADD that leaves every kind of file.
fn for_sticky(site: &Site) {
    let mut config = site.config();
    config["ipam"]["strategy"] = json!("sticky");
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod";
    site.call_with("ADD", "c1", &config).env("CNI_ARGS", args).run().ok();
}

#[test]
fn a_read_only_file_system() {
    if !MountNamespace::can_be_made("a_read_only_file_system") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-ro");
        let namespace = MountNamespace::new();
        let site = site(plugin, &scratch).inside(&namespace, &scratch);
        let result = site.call("ADD", "held").run().ok();
        let run = site.run().as_os_str();
        namespace.run("mount", &[OsStr::new("--bind"), run, run]);
        namespace.run("mount", &[OsStr::new("-o"), OsStr::new("remount,bind,ro"), run]);
        let what = format!("{plugin:?}");
        let before = recorded(&site);
        assert_refused(&site.call("ADD", "c1").run(), &[5], &site.database(), &what);
        assert_refused(&status(&site), &[50], &site.database(), &what);
        // An address that stays held must not be reported as freed.
        assert_refused(&site.call("DEL", "held").run(), &[5], &site.database(), &what);
        // Nothing to do is no failure, and a question can be answered.
        let del = site.call("DEL", "unknown").run();
        assert_eq!(del.exit, Some(0), "{what}: {del:?}");
        let mut config = newest(&site);
        config["prevResult"] = result;
        let check = site.call_with("CHECK", "held", &config).run();
        assert_eq!(check.exit, Some(0), "{what}: {check:?}");
        assert_unchanged(&before, &recorded(&site), &what);
        namespace.run("umount", &["--lazy".as_ref(), run]);
        site.call("DEL", "held").run().ok();
        assert!(site.holdings().reservations().is_empty());
    }
}

/// From no room at all to enough: each ADD is served or refused as a whole, and whatever is held can be
/// freed.
#[test]
fn a_full_file_system() {
    if !MountNamespace::can_be_made("a_full_file_system") {
        return;
    }
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            let scratch = Scratch::new("db-full");
            let namespace = MountNamespace::new();
            let mut served = Vec::new();
            for (n, left) in [0, 1, 2, 3, 5, 8, 16, 40].into_iter().enumerate() {
                let what = format!("{plugin:?}, {shortage:?}, {left} left");
                let disk =
                    SmallDisk::mount(&namespace, scratch.path().join(format!("small{n}")), 512);
                let site = site(plugin, &scratch)
                    .inside(&namespace, &scratch)
                    .with_run(disk.inside.join("run"))
                    .with_state(scratch.path().join(format!("state{n}")))
                    .dual_stack(true);
                let seen = site.holdings().in_database(&disk.outside.join("run/plat.db")).frozen();
                // The rest of DEL's transaction is about as many pages as these have used.
                for id in ["a", "b", "c", "d"] {
                    assert_eq!(site.call("ADD", id).run().addresses().len(), 2, "{what}");
                }
                disk.fill_up(shortage, left);
                let add = site.call("ADD", "c1").run();
                if add.exit == Some(0) {
                    served.push(left);
                    assert_eq!(seen.held_by("c1", "eth0").len(), 2, "{what}");
                } else {
                    assert_refused(&add, &[5, 11], &site.database(), &what);
                    assert!(seen.held_by("c1", "eth0").is_empty(), "{what}");
                }
                // As many as there are: each of them needs a journal, and none gives room back.
                for id in ["c1", "a", "b"] {
                    let del = site.call("DEL", id).run();
                    assert_eq!(del.exit, Some(0), "{what}: DEL {id}: {del:?}");
                    assert!(seen.held_by(id, "eth0").is_empty(), "{what}: {id}");
                }
                let gc = site.gc(&["d"]).run();
                assert_eq!(gc.exit, Some(0), "{what}: GC: {gc:?}");
                let del = site.call_with("DEL", "d", &site.stripped_config()).run();
                assert_eq!(del.exit, Some(0), "{what}: DEL d: {del:?}");
                assert!(seen.reservations().is_empty(), "{what}");
                assert_eq!(seen.faults(), [] as [String; 0], "{what}");
                namespace.run("umount", &["--lazy".as_ref(), disk.inside.as_os_str()]);
            }
            assert!(served.contains(&40), "{plugin:?}, {shortage:?}: {served:?}");
            if shortage == Shortage::Pages {
                assert!(!served.contains(&0), "{plugin:?}: served without room");
            }
        }
    }
}

/// GC may be what is to make room on a full node.
#[test]
fn gc_on_a_full_file_system() {
    if !MountNamespace::can_be_made("gc_on_a_full_file_system") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-gc");
        let namespace = MountNamespace::new();
        let disk = SmallDisk::mount(&namespace, scratch.path().join("small"), 512);
        let site =
            site(plugin, &scratch).inside(&namespace, &scratch).with_run(disk.inside.join("run"));
        let seen = site.holdings().in_database(&disk.outside.join("run/plat.db")).frozen();
        for id in ["a", "b", "c"] {
            site.call("ADD", id).run().ok();
        }
        disk.fill_up(Shortage::Pages, 0);
        let gc = site.gc(&["b"]).run();
        assert_eq!(gc.exit, Some(0), "{plugin:?}: {gc:?}");
        assert_eq!(seen.held_by("b", "eth0").len(), 1);
        assert_eq!(seen.reservations().len(), 1);
    }
}

/// The very first ADD where there is too little room to make a database: nothing is left that is in the way.
#[test]
fn a_first_add_on_a_full_file_system() {
    if !MountNamespace::can_be_made("a_first_add_on_a_full_file_system") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-first");
        let namespace = MountNamespace::new();
        for (n, left) in [0, 1, 4, 10, 20, 25, 30, 60].into_iter().enumerate() {
            let what = format!("{plugin:?}, {left} left");
            let disk = SmallDisk::mount(&namespace, scratch.path().join(format!("small{n}")), 512);
            let site = site(plugin, &scratch)
                .inside(&namespace, &scratch)
                .with_run(disk.inside.join("run"))
                .with_state(scratch.path().join(format!("state{n}")));
            disk.fill_up(Shortage::Pages, left);
            let add = site.call("ADD", "c1").run();
            if add.exit != Some(0) {
                let (code, message) = add.error();
                assert_eq!(code, 5, "{what}: {message}");
                assert!(message.contains(&*site.run().to_string_lossy()), "{what}: {message}");
            }
            site.call("DEL", "c1").run().ok();
            fs::remove_file(disk.outside.join("padding")).expect("the padding");
            let add = site.call("ADD", "c2").run();
            assert_eq!(add.addresses().len(), 1, "{what}: with room: {add:?}");
            site.call("DEL", "c2").run().ok();
            namespace.run("umount", &["--lazy".as_ref(), disk.inside.as_os_str()]);
        }
    }
}

/// The marker's file system is another one; sticky addresses are a hint and no reason to fail.
#[test]
fn a_full_file_system_for_the_durable_state() {
    if !MountNamespace::can_be_made("a_full_file_system_for_the_durable_state") {
        return;
    }
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-durable");
        let namespace = MountNamespace::new();
        let disk = SmallDisk::mount(&namespace, scratch.path().join("small"), 512);
        let site = site(plugin, &scratch)
            .inside(&namespace, &scratch)
            .with_state(disk.inside.join("state"));
        let what = format!("{plugin:?}");
        disk.fill_up(Shortage::Pages, 0);
        assert_refused(&site.call("ADD", "c1").run(), &[5], site.state(), &what);
        assert!(site.holdings().reservations().is_empty(), "{what}");
        site.call("DEL", "c1").run().ok();
        fs::remove_file(disk.outside.join("padding")).expect("the padding");
        site.call("ADD", "c1").run().ok();
        disk.fill_up(Shortage::Pages, 0);
        let mut config = site.config();
        config["ipam"]["strategy"] = json!("sticky");
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod";
        let add = site.call_with("ADD", "c2", &config).env("CNI_ARGS", args).run();
        assert_eq!(add.addresses().len(), 1, "{what}: {add:?}");
        assert!(add.stderr.contains("not remembered"), "{what}: {add:?}");
        for id in ["c1", "c2"] {
            site.call_with("DEL", id, &site.stripped_config()).run().ok();
        }
        assert!(site.holdings().reservations().is_empty(), "{what}");
    }
}

/// SQLite cannot be led into another mount namespace. That is said; this machine's file of the same path is
/// neither shown nor changed.
#[test]
fn another_mount_namespace() {
    if !MountNamespace::can_be_made("another_mount_namespace") {
        return;
    }
    let scratch = Scratch::new("db-root");
    let namespace = MountNamespace::new();
    let site = site(Plugin::NodeLocal, &scratch).inside(&namespace, &scratch);
    namespace.mount_tmpfs(site.run(), "size=1m,mode=0700");
    site.call("ADD", "inside").run().ok();
    // The same path outside.
    let outside = site.clone().with_binary(support::binary("node-local"));
    let outside = outside.with_state(scratch.path().join("state-outside"));
    outside.call("ADD", "outside").run().ok();
    let root = namespace.path(Path::new("/"));
    let state = ipam_stores::StateDirs {
        durable: scratch.path().join("nowhere"),
        volatile: site.run().to_path_buf(),
    };
    let mut survey = ipam_stores::survey::Survey::new(&root, state);
    survey.data_dirs.clear();
    survey.databases.clear();
    survey.add_database(&site.database());
    let (networks, unseen) = survey.networks();
    assert_eq!(networks, []);
    let said: Vec<String> = unseen.iter().map(|unseen| unseen.error.to_string()).collect();
    assert!(said.len() == 1 && said[0].contains("another mount namespace"), "{said:?}");
    let network = NetworkState {
        network: Site::NETWORK.to_owned(),
        instance: Instance::new("node-local").ok(),
        ..NetworkState::empty(Place::Database(site.database()))
    };
    let timeout = Duration::from_secs(1);
    let before = Snapshot::of(&site.database());
    survey.write_database(&site.database(), std::slice::from_ref(&network), timeout).unwrap_err();
    survey.rebuild(&site.database(), std::slice::from_ref(&network), timeout).unwrap_err();
    assert_eq!(before.changes(&Snapshot::of(&site.database())), [] as [String; 0]);
}
