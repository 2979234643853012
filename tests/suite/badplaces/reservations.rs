//! Files with the name of an address, or nearly, that no plugin has written.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::{Outcome, Scratch, Site, Snapshot, program, reservation};

use super::{PLUGINS, site};

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
