//! Places that a tenant names and somebody else can write to: what waits, links, devices, and state that is not only
//! root's.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use support::Scratch;

use super::{Bench, PLUGINS, refused, set_mode};

/// A call that opened one would wait for ever, or do what the device does when it is opened.
#[test]
fn what_is_no_file_is_not_opened() {
    let bench = Bench::new();
    bench.fifo("cfg/fifo");
    bench.fifo("own/index");
    let fifo = bench.at("cfg/fifo");
    let tls =
        |file: &Value| json!({"etcd": {"endpoints": ["https://127.0.0.1:1"], "caCert": file}});
    let template =
        |dir: &str, name: &str| json!({"index": 1, "ranges": null, "cfgDir": dir, "cfg": name});
    let cfg = bench.at("cfg").display().to_string();
    let own = bench.at("own").display().to_string();
    let mut rows = vec![
        ("node-local", template(&cfg, "fifo"), "not a regular file"),
        ("node-local", template("/dev", "zero"), "not a regular file"),
        ("node-local", template("/proc", "kmsg"), "cannot be read"),
        ("node-local", json!({"index": null, "cfgDir": own}), "not a regular file"),
    ];
    for file in [json!(fifo), json!("/dev/zero")] {
        for plugin in ["host-local", "node-local", "etcd-pool"] {
            rows.push((plugin, json!({"resolvConf": file}), "not a regular file"));
        }
        for plugin in ["host-local", "node-local"] {
            let place = json!({"store": "sqlite", "database": file});
            rows.push((plugin, place, "is no database of Plat's"));
        }
        rows.push(("etcd-pool", tls(&file), "is not a file"));
    }
    for (plugin, ipam, text) in rows {
        // A database is locked by a file beside it.
        if ipam["database"] == "/dev/zero" {
            continue;
        }
        let config = bench.config(plugin, ipam);
        let outcome = bench.call(plugin, "ADD", &config).run();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.exit == Some(1) && said.contains(text), "{plugin} {config}: {said}");
        let outcome = bench.call(plugin, "STATUS", &config).run();
        assert_eq!(outcome.exit, Some(1), "{plugin} {config}: {}", outcome.stdout);
        bench.call(plugin, "DEL", &config).run().ok();
    }
    let config = bench.config("etcd-pool", json!({}));
    let call = bench.call("etcd-pool", "ADD", &config);
    let outcome = call.env("PLAT_ETCD_CONFIG", fifo.display().to_string()).run();
    assert!(refused(&outcome, 7, "a FIFO").contains("not a regular file"));
}

/// Somebody who can write to a directory that a configuration names, such as one below /tmp, has been there first.
#[test]
fn links_and_fifos_in_a_directory_are_not_followed() {
    let bench = Bench::new();
    let victim = bench.at("victim");
    for command in ["ADD", "DEL"] {
        let data = Scratch::new("sec-data");
        let network = data.path().join("net");
        fs::create_dir(&network).expect("a directory can be made");
        // A reservation of this attachment's: a DEL must look closer.
        fs::write(network.join("10.1.2.9"), "c1\r\neth0").expect("a file can be written");
        symlink(&victim, network.join("lock")).expect("a link can be made");
        let config = bench.config("host-local", json!({"dataDir": data.path()}));
        let said = refused(&bench.call("host-local", command, &config).run(), 5, command);
        assert!(said.contains("net/lock"), "{said}");
        assert!(!victim.exists(), "{command} has followed the link");
    }
    let beside = |name: &str| bench.at(&format!("db/{name}"));
    fs::create_dir(bench.at("db")).expect("a directory can be made");
    let config =
        bench.config("node-local", json!({"store": "sqlite", "database": beside("plat.db")}));
    symlink(&victim, beside("plat.db-lock")).expect("a link can be made");
    let said = refused(&bench.call("node-local", "ADD", &config).run(), 5, "a lock that is a link");
    assert!(said.contains("plat.db-lock"), "{said}");
    fs::remove_file(beside("plat.db-lock")).expect("it is there");
    // What keeps room for a DEL, and what a database is made under.
    for name in ["plat.db-spare", "plat.db.new"] {
        symlink(&victim, beside(name)).expect("a link can be made");
        bench.call("node-local", "ADD", &config).id(name).run();
        assert!(!victim.exists(), "{name} was followed");
        let _ = fs::remove_file(beside(name));
    }
    bench.fifo("fifo/net/lock");
    let config = bench.config("host-local", json!({"dataDir": bench.at("fifo")}));
    assert_eq!(bench.call("host-local", "ADD", &config).run().addresses(), ["10.1.2.2"]);
    bench.call("host-local", "DEL", &config).run().ok();
}

/// A file of another program is neither changed nor moved.
#[test]
fn files_of_others_are_left_as_they_are() {
    for plugin in ["host-local", "node-local", "etcd-pool"] {
        for content in ["root:x:0:0::/:/bin/sh\n", "", "SQLite format 3\0and so on"] {
            let bench = Bench::new();
            let victim = bench.scratch.write("shadow", content);
            set_mode(&victim, 0o640);
            let place = if plugin == "etcd-pool" {
                json!({"database": victim})
            } else {
                json!({"store": "sqlite", "database": victim})
            };
            let mut config = bench.config(plugin, place);
            config["cni.dev/valid-attachments"] = json!([]);
            for command in ["ADD", "STATUS", "CHECK", "GC", "DEL"] {
                bench.call(plugin, command, &config).run();
                assert_eq!(
                    fs::read(&victim).expect("it is there"),
                    content.as_bytes(),
                    "{plugin} {command}"
                );
            }
        }
    }
}

/// Whoever can write to the state could give himself other pods' addresses.
#[test]
fn state_that_others_can_change_gives_nothing_out() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        let config = bench.config(plugin, json!({}));
        for dir in [bench.run_dir(), bench.state()] {
            fs::create_dir_all(&dir).expect("a directory can be made");
            for mode in [0o777, 0o1777, 0o702] {
                set_mode(&dir, mode);
                for (command, code) in [("ADD", 5), ("STATUS", 50)] {
                    let what = format!("{plugin} {command} {mode:o}");
                    let said = refused(&bench.call(plugin, command, &config).run(), code, &what);
                    let shown = dir.display();
                    assert!(
                        said.contains(&format!(
                            "the state directory {shown} can be changed by others"
                        )),
                        "{said}"
                    );
                    assert!(said.contains(&format!("chmod 0700 {shown}")), "{said}");
                }
                bench.call(plugin, "DEL", &config).run().ok();
            }
            for mode in [0o700, 0o755] {
                set_mode(&dir, mode);
                let outcome = bench.call(plugin, "STATUS", &config).run();
                assert!(!outcome.stdout.contains("can be changed by others"), "{}", outcome.stdout);
            }
        }
    }
}
