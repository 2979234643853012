/*!
Places that are wrong: an ADD that cannot be carried out is refused with code 5 or 11 and the path, and
changes nothing. Files that are wrong: they are reported on standard error, never believed, and never
a reason to crash or to wait.
*/

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{
    MountNamespace, Outcome, Plugin, Scratch, Site, Snapshot, have, install_copy, install_script,
    is_root, program, reservation, skip_unless,
};

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

/// The plugin as a program of an unprivileged user; root ignores modes.
fn unprivileged(plugin: Plugin, scratch: &Scratch) -> PathBuf {
    // The built binary may lie where only its owner may look.
    let copy = install_copy(&support::binary(plugin.name()), &scratch.join("bin/plugin"));
    if !is_root() {
        return copy;
    }
    let setpriv = program("setpriv");
    let options = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"].map(OsStr::new);
    let command: Vec<&OsStr> = std::iter::once(setpriv.as_os_str()).chain(options).collect();
    install_script(&scratch.join("bin/unprivileged"), &command, &copy)
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

fn can_mount(test: &str) -> bool {
    skip_unless(
        test,
        &[
            (is_root(), "root"),
            (have("unshare") && have("nsenter"), "unshare and nsenter"),
            (have("mount"), "mount"),
        ],
    )
}

/// A site whose plugin runs in a mount namespace.
fn site_in(namespace: &MountNamespace, plugin: Plugin, scratch: &Scratch) -> Site {
    let wrapper = namespace.wrapper(&support::binary(plugin.name()), &scratch.join("bin/plugin"));
    site(plugin, scratch).with_binary(wrapper)
}

#[test]
fn read_only_file_system() {
    if !can_mount("read_only_file_system") {
        return;
    }
    for plugin in PLUGINS {
        for dual in [false, true] {
            let scratch = Scratch::new("ro");
            let namespace = MountNamespace::new();
            let site = site_in(&namespace, plugin, &scratch).dual_stack(dual);
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

/// What a full file system lacks.
#[derive(Clone, Copy, Debug)]
enum Shortage {
    Pages,
    Inodes,
}

/// A small tmpfs in which `left` pages or inodes remain.
struct SmallDisk {
    /// As the namespace sees it.
    inside: PathBuf,
    /// As this process sees it.
    outside: PathBuf,
    shortage: Shortage,
}

impl SmallDisk {
    const PAGE: u64 = 4096;

    fn mount(namespace: &MountNamespace, inside: PathBuf, shortage: Shortage) -> Self {
        namespace.mount_tmpfs(&inside, "size=128k,nr_inodes=40,mode=0755");
        let outside = namespace.path(&inside);
        Self { inside, outside, shortage }
    }

    fn fill_up(&self, left: u64) {
        match self.shortage {
            Shortage::Pages => {
                let mut file = fs::File::create(self.outside.join("padding")).expect("an inode");
                let page = [b'x'; Self::PAGE as usize];
                let mut pages = 0;
                while file.write_all(&page).is_ok() {
                    pages += 1;
                    assert!(pages < 1000, "the file system is not small");
                }
                file.set_len((pages - left) * Self::PAGE).expect("a file can be cut");
            }
            Shortage::Inodes => {
                let name = |n: u64| self.outside.join(format!("padding{n}"));
                let full = (0..1000).find(|n| fs::File::create(name(*n)).is_err());
                let full = full.expect("the file system is small");
                for n in full - left..full {
                    fs::remove_file(name(n)).expect("a file can be removed");
                }
            }
        }
    }
}

/// Every amount of room from none at all to enough: each ADD either succeeds as a whole or is refused
/// and leaves everything as it was. Somewhere on the way there is room for the reservation and none
/// for the mark.
#[test]
fn full_disk() {
    if !can_mount("full_disk") {
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
                    let disk = SmallDisk::mount(&namespace, inside, shortage);
                    let site = site_in(&namespace, plugin, &scratch)
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
                    disk.fill_up(left);
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
    if !can_mount("full_disk_for_the_durable_state") {
        return;
    }
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            let scratch = Scratch::new("full-state");
            let namespace = MountNamespace::new();
            let inside = scratch.path().join("small");
            let disk = SmallDisk::mount(&namespace, inside, shortage);
            let site = site_in(&namespace, plugin, &scratch).with_state(disk.inside.join("state"));
            disk.fill_up(0);
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
    if !can_mount("full_disk_for_the_state_of_the_boot") {
        return;
    }
    for plugin in PLUGINS {
        for shortage in [Shortage::Pages, Shortage::Inodes] {
            for left in [0, 1, 2] {
                let scratch = Scratch::new("full-run");
                let namespace = MountNamespace::new();
                let inside = scratch.path().join("small");
                let disk = SmallDisk::mount(&namespace, inside, shortage);
                let site = site_in(&namespace, plugin, &scratch).with_run(disk.inside.join("run"));
                site.directory().fill(site.first_addresses()[0], 300);
                disk.fill_up(left);
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

/// A call that asks for an address.
fn requesting(site: &Site, id: &str, address: &str) -> Outcome {
    site.call("ADD", id).env("CNI_ARGS", format!("IgnoreUnknown=1;IP={address}")).run()
}

#[test]
fn broken_reservations() {
    // 1 MiB: longer than any buffer that one would give a reservation.
    let long = vec![b'a'; 1 << 20];
    let broken: &[(&str, &[u8])] = &[
        ("binary", &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0x80, 0xfe, 0x0d, 0x0a, 0xc0]),
        ("very long", &long),
        ("LF only", b"\n"),
        ("CR only", b"\r"),
        ("CR LF only", b"\r\n"),
        ("three lines", b"c9\r\neth0\r\nmore"),
        ("strange characters", b"c 9;$(reboot)/../\x1b[31m\r\neth0"),
        ("no UTF-8", b"\xff\xfe\xf0\x28\r\neth0"),
        ("NULs", &[0; 12]),
        ("NUL in the ID", b"c9\0x\r\neth0"),
    ];
    for plugin in PLUGINS {
        for (what, content) in broken {
            let scratch = Scratch::new("broken");
            let site = site(plugin, &scratch);
            site.call("ADD", "held").run().ok();
            let path = site.directory().path().join("10.7.0.3");
            fs::write(&path, content).expect("a file can be written");

            let outcome = site.call("ADD", "c1").run();
            assert_eq!(outcome.addresses(), ["10.7.0.4"], "{what}");
            assert!(outcome.stderr.contains("10.7.0.3"), "{what}: not reported: {outcome:?}");
            assert!(
                !outcome.stderr.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
                "{what}: control characters reach the log: {:?}",
                outcome.stderr
            );
            assert!(outcome.stderr.len() < 4096, "{what}: {} bytes of log", outcome.stderr.len());
            let (_, message) = requesting(&site, "c2", "10.7.0.3").error();
            assert!(message.contains("10.7.0.3"), "{what}: {message}");
            for command in ["STATUS", "GC"] {
                let mut config = site.gc_config(&["held", "c1"]);
                if command == "STATUS" {
                    config["cniVersion"] = json!("1.1.0");
                }
                let outcome = site.call_with(command, "c1", &config).run();
                assert_eq!(outcome.exit, Some(0), "{what}: {command}: {outcome:?}");
            }
            // Whatever GC makes of the broken one, it leaves the others.
            assert_eq!(site.directory().held_by("held", "eth0").len(), 1, "{what}");
            assert_eq!(site.directory().held_by("c1", "eth0").len(), 1, "{what}");
            for id in ["c1", "held"] {
                let outcome = site.call("DEL", id).run();
                assert_eq!(outcome.exit, Some(0), "{what}: DEL {id}: {outcome:?}");
                assert!(site.directory().held_by(id, "eth0").is_empty(), "{what}: {id}");
            }
        }
    }
}

/// An empty reservation is what a crash leaves; its address is free.
#[test]
fn empty_reservations() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("empty");
        let site = site(plugin, &scratch);
        site.call("ADD", "held").run().ok();
        let path = site.directory().path().join("10.7.0.3");
        fs::write(&path, b"").expect("a file can be written");
        assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.3"]);
        let content = fs::read_to_string(&path).expect("a reservation");
        assert_eq!(content, reservation("c1", "eth0"));

        let path = site.directory().path().join("10.7.0.9");
        fs::write(&path, b"").expect("a file can be written");
        assert_eq!(requesting(&site, "c2", "10.7.0.9").addresses(), ["10.7.0.9"]);

        let path = site.directory().path().join("10.7.0.11");
        fs::write(&path, b"").expect("a file can be written");
        site.gc(&["held", "c1", "c2"]).run().ok();
        let held: Vec<IpAddr> = site.directory().reservations().into_keys().collect();
        let wanted = ["10.7.0.2", "10.7.0.3", "10.7.0.9"].map(|a| a.parse::<IpAddr>());
        assert_eq!(held.into_iter().map(Ok).collect::<Vec<_>>(), wanted);
    }
}

/// Line ends of another system are read as what they were meant to be; an ID alone is how reservations
/// once were.
#[test]
fn reservation_with_other_line_ends() {
    for plugin in PLUGINS {
        for content in ["c9\neth0", "c9\r\neth0\r\n", "c9\neth0\n", "c9", "c9\r\n"] {
            let scratch = Scratch::new("lines");
            let site = site(plugin, &scratch);
            site.call("ADD", "held").run().ok();
            let path = site.directory().path().join("10.7.0.3");
            fs::write(&path, content).expect("a file can be written");
            assert_eq!(site.call("ADD", "c1").run().addresses(), ["10.7.0.4"], "{content:?}");
            site.call("DEL", "c9").run().ok();
            assert!(!path.exists(), "{content:?} is not freed by its holder's DEL");
        }
    }
}

/// Whatever has an address's name takes the address; none of it may make a call wait or fail.
#[test]
fn reservations_that_are_no_files() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("no-files");
        let site = site(plugin, &scratch);
        site.call("ADD", "held").run().ok();
        let path = |name: &str| site.directory().path().join(name);
        fs::create_dir(path("10.7.0.3")).expect("a directory");
        fs::write(path("10.7.0.3/10.7.0.9"), reservation("c1", "eth0")).expect("a file");
        symlink(scratch.path().join("nothing"), path("10.7.0.4")).expect("a link");
        symlink("10.7.0.5", path("10.7.0.5")).expect("a link to itself");
        // Opened without care, this one blocks for ever.
        let status = Command::new(program("mkfifo")).arg(path("10.7.0.6")).status();
        assert!(status.is_ok_and(|status| status.success()));
        symlink("/dev/zero", path("10.7.0.7")).expect("a link");
        let outcome = site.call("ADD", "c1").run();
        assert_eq!(outcome.addresses(), ["10.7.0.8"], "{outcome:?}");
        let outcome = site.gc(&["held", "c1"]).run();
        assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        for id in ["c1", "held"] {
            let outcome = site.call("DEL", id).run();
            assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        }
        // Looked at by name: reading what is there would block this process, too.
        assert!(!path("10.7.0.2").exists() && !path("10.7.0.8").exists(), "not freed");
        assert!(!scratch.path().join("nothing").exists(), "the link has been written through");
        assert!(path("10.7.0.3").is_dir());
    }
}

/// Names that another program, or a person, may have put there. None is an address, so that none is a
/// reservation, and each stays as it is.
#[test]
fn names_that_look_almost_like_addresses() {
    let names = [
        "10.7.0.03",
        "010.7.0.3",
        "10.7.0.3.4",
        "10.7.0",
        "10.7.0.3 ",
        " 10.7.0.3",
        "10.7.0.256",
        "fe80::1%eth0",
        "2001:db8:7::3%eth0",
        "10.7.0.3~",
        "10.7.0.3.swp",
        "last_reserved_ip.",
        "last_reserved_ip.x",
    ];
    for plugin in PLUGINS {
        let scratch = Scratch::new("names");
        let site = site(plugin, &scratch).dual_stack(true);
        site.call("ADD", "held").run().ok();
        let own = Snapshot::of(site.directory().path());
        for name in names {
            let content = reservation("stranger", "eth0");
            fs::write(site.directory().path().join(name), content).expect("a file");
        }
        let mut got = requesting(&site, "c1", "10.7.0.3").addresses();
        got.sort();
        assert_eq!(got, ["10.7.0.3", "2001:db8:7::3"]);
        let mut next = site.call("ADD", "c2").run().addresses();
        next.sort();
        assert_eq!(next, ["10.7.0.4", "2001:db8:7::4"]);
        let outcome = site.gc(&["held", "c2"]).run();
        assert_eq!(outcome.exit, Some(0), "{outcome:?}");
        assert!(site.directory().held_by("c1", "eth0").is_empty(), "GC frees what is not valid");
        assert_eq!(site.directory().held_by("c2", "eth0").len(), 2);
        for id in ["c1", "c2", "held"] {
            site.call("DEL", id).run().ok();
        }
        for name in names {
            let content = fs::read_to_string(site.directory().path().join(name)).ok();
            assert_eq!(content, Some(reservation("stranger", "eth0")), "{name:?}");
        }
        let now = Snapshot::of(site.directory().path());
        let left: Vec<&Path> = now
            .files()
            .into_iter()
            .filter(|name| !names.iter().any(|stranger| Path::new(stranger) == *name))
            .collect();
        let marks_and_lock: Vec<&Path> = own
            .files()
            .into_iter()
            .filter(|name| {
                let name = name.to_string_lossy();
                name == "lock" || name.starts_with("last_reserved_ip.")
            })
            .collect();
        assert_eq!(left, marks_and_lock);
    }
}

/// The reference writes an address in one way and understands others. So does a plugin here: the
/// address is taken, and its holder's DEL frees it.
#[test]
fn other_spellings_of_an_address() {
    let spellings = [
        ("::ffff:10.7.0.9", "10.7.0.9"),
        ("2001:DB8:7::9", "2001:db8:7::9"),
        ("2001:0db8:7::9", "2001:db8:7::9"),
        ("2001:db8:7:0:0:0:0:9", "2001:db8:7::9"),
    ];
    for plugin in PLUGINS {
        for (spelling, address) in spellings {
            let scratch = Scratch::new("spellings");
            let site = site(plugin, &scratch).dual_stack(true);
            site.call("ADD", "held").run().ok();
            let path = site.directory().path().join(spelling);
            fs::write(&path, reservation("stranger", "eth0")).expect("a file");
            let (_, message) = requesting(&site, "c1", address).error();
            assert!(message.contains(address), "{spelling}: {message}");
            assert_eq!(site.call("ADD", "c1").run().addresses().len(), 2, "{spelling}");
            site.gc(&["held", "c1", "stranger"]).run().ok();
            assert!(path.exists(), "{spelling} is freed by GC, though its holder is valid");
            site.call("DEL", "stranger").run().ok();
            assert!(!path.exists(), "{spelling} is not freed by its holder's DEL");
            let got = requesting(&site, "c2", address).addresses();
            assert!(got.iter().any(|got| got == address), "{spelling}: {got:?}");
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
