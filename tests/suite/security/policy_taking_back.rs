//! DEL, GC and CHECK under a policy file: what is ours is taken back whatever the file says, and nothing else is
//! touched.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Bench, refused};

/// A directory with files as host-local would make them, which are not its.
fn somebody_elses(bench: &Bench, name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = bench.at(&format!("{name}/net"));
    fs::create_dir_all(&dir).expect("a directory can be made");
    for (file, content) in [
        ("10.1.2.9", "c1\r\neth0"),
        ("10.1.2.10", ""),
        ("notes", "c1"),
        ("last_reserved_ip.0", "x"),
    ] {
        fs::write(dir.join(file), content).expect("a file can be written");
    }
    content(&dir)
}

fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("it is there")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("it can be read")))
        .collect();
    files.sort();
    files
}

/// A tenant has a DEL of any configuration sent by making a pod and ending it.
#[test]
fn a_place_that_is_forbidden_is_not_touched() {
    let bench = Bench::new();
    let before = somebody_elses(&bench, "theirs");
    let broken = bench.policy_text("{");
    let policy = bench.policy(&json!({"dataDir": ["/var/lib/cni/networks"], "database": []}));
    for plugin in ["host-local", "node-local"] {
        for store in ["dir", "sqlite"] {
            let mut ipam = json!({"dataDir": bench.at("theirs"), "store": store});
            if store == "sqlite" {
                ipam["database"] = json!(bench.at("theirs/net/plat.db"));
            }
            let mut config = bench.config(plugin, ipam);
            config["cni.dev/valid-attachments"] = json!([]);
            for policy in [&policy, &broken] {
                let what = format!("{plugin} {store} {}", policy.display());
                let deleted = bench.under(policy, plugin, "DEL", &config);
                deleted.ok();
                assert!(
                    deleted.stderr.contains("not looked at: ipam.data"),
                    "{what}: {}",
                    deleted.stderr
                );
                let collected = bench.under(policy, plugin, "GC", &config);
                collected.ok();
                assert!(collected.stderr.contains("not looked at"), "{what}: {}", collected.stderr);
                let said = refused(&bench.under(policy, plugin, "CHECK", &config), 7, &what);
                assert!(said.contains("has never used that place"), "{what}: {said}");
                assert_eq!(content(&bench.at("theirs/net")), before, "{what}");
            }
        }
    }
    let config = bench.config("etcd-pool", json!({"database": bench.at("theirs/net/plat.db")}));
    for policy in [&policy, &broken] {
        bench.under(policy, "etcd-pool", "DEL", &config).ok();
        bench.under(policy, "etcd-pool", "GC", &config).ok();
        assert_eq!(content(&bench.at("theirs/net")), before);
    }
}

/// The policy is younger than the allocation: the place is remembered, so it is ours.
#[test]
fn what_was_given_before_the_policy_is_taken_back() {
    for plugin in ["host-local", "node-local"] {
        for store in ["dir", "sqlite"] {
            for gone in ["DEL", "GC"] {
                let bench = Bench::new();
                let mut ipam = json!({"dataDir": bench.at("before"), "store": store});
                if store == "sqlite" {
                    ipam["database"] = json!(bench.at("before/plat.db"));
                }
                let config = bench.config(plugin, ipam);
                let added = bench.call(plugin, "ADD", &config).run();
                let address = added.addresses();
                let policy = bench.policy(&json!({"dataDir": [], "database": []}));
                let mut checked = config.clone();
                checked["prevResult"] = added.ok();
                bench.under(&policy, plugin, "CHECK", &checked).ok();
                let outcome = bench.under(&policy, plugin, "ADD", &config);
                refused(&outcome, 7, "a new one is refused");
                let mut collect = config.clone();
                collect["cni.dev/valid-attachments"] = json!([]);
                let outcome = bench.under(&policy, plugin, gone, &collect);
                outcome.ok();
                // Without the policy the address is given out again: to whoever asks for it.
                let mut again = config.clone();
                again["runtimeConfig"] = json!({"ips": address});
                let second = bench.call(plugin, "ADD", &again).id("c2").run();
                assert_eq!(second.addresses(), address, "{plugin} {store} {gone}");
            }
        }
    }
}

/// A DEL that has lost its configuration needs none of it.
#[test]
fn a_del_without_configuration_works_under_any_policy() {
    for broken in [false, true] {
        let bench = Bench::new();
        let config = bench.config("host-local", json!({}));
        let added = bench.call("host-local", "ADD", &config).run().addresses();
        let policy = if broken {
            bench.policy_text("{")
        } else {
            bench.policy(&json!({"networks": [], "dataDir": [], "subnets": []}))
        };
        let bare: Value = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": {"type": "host-local"}});
        bench.under(&policy, "host-local", "DEL", &bare).ok();
        assert!(!bench.at("data/net").join(&added[0]).exists(), "broken: {broken}");
    }
}
