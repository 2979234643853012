//! Keys that nobody reads: served, and named on standard error, once each.

use serde_json::{Value, json};
use support::Plugin;

use super::{PLUGINS, bench, good, set};

/// How often a path is named on standard error.
fn named(stderr: &str, path: &str) -> usize {
    stderr.lines().filter(|line| line.contains(&format!("{path}:"))).count()
}

#[test]
fn unknown_keys_are_named_once_each() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let mut config = good(&bench);
        let unknown = [
            "/ipam/range",
            "/ipam/excludes",
            "/ipam/datadirectory",
            "/ipam/ranges/0/0/gatway",
            "/ipam/ranges/0/0/range_start",
            "/ipam/routes/0/via",
            "/runtimeConfig/ipRanges/0/0/gatway",
        ];
        set(&mut config, "/ipam/routes/0/dst", json!("0.0.0.0/0"));
        set(&mut config, "/runtimeConfig/ipRanges/0/0/subnet", json!("fd00::/64"));
        for pointer in unknown {
            set(&mut config, pointer, json!("10.1.2.3"));
        }
        let outcome = bench.call("ADD", &config).run();
        assert_eq!(outcome.addresses(), ["fd00::2", "10.1.2.2"]);
        for pointer in unknown {
            let path = super::path_of(pointer);
            assert_eq!(named(&outcome.stderr, &path), 1, "{path}: {}", outcome.stderr);
        }
        let other_than_warned_of =
            outcome.stderr.lines().filter(|line| !line.contains("unknown key"));
        let expected = usize::from(plugin == Plugin::NodeLocal);
        assert_eq!(other_than_warned_of.count(), expected, "{}", outcome.stderr);
    }
}

/// What a template says and nobody reads is as silent as a mistyped key.
#[test]
fn unknown_keys_of_a_template_are_named() {
    let bench = bench(Plugin::NodeLocal);
    let template = json!({"ipam": {
        "type": "host-local",
        "dataDir": "/elsewhere",
        "rangs": [],
        "ranges": [[{"subnet": "10.1.{i}.0/24", "gatway": "10.1.{i}.1"}]],
    }});
    bench.template("default", template.to_string());
    let config = bench.config(json!({"dns": {"nameserver": ["10.1.2.3"]}}));
    let outcome = bench.call("ADD", &config).run();
    assert_eq!(outcome.addresses(), ["10.1.2.2"]);
    for key in ["dataDir", "rangs", "ranges[0][0].gatway", "dns.nameserver"] {
        assert_eq!(named(&outcome.stderr, key), 1, "{key}: {}", outcome.stderr);
    }
}

/// Neither the keys that are known, nor those of other parts of a configuration.
#[test]
fn known_keys_are_not_warned_of() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let mut config = good(&bench);
        for (pointer, value) in [
            ("/ipam/SUBNET", json!("10.1.3.0/24")),
            ("/ipam/rangestart", json!("10.1.3.9")),
            ("/ipam/rangeEnd", json!("10.1.3.99")),
            ("/ipam/gateway", json!("10.1.3.1")),
            ("/ipam/routes", json!([])),
            ("/ipam/resolvConf", json!("")),
            ("/ipam/exclude", json!([])),
            ("/ipam/smallSubnets", json!(false)),
            ("/ipam/shared", json!(false)),
            ("/ipam/store", json!("dir")),
            ("/ipam/lockTimeout", json!("5s")),
            ("/capabilities", json!({"ips": true})),
            ("/bridge", json!("cni0")),
            ("/runtimeConfig/mac", json!("02:00:00:00:00:01")),
            ("/args/cni/labels", json!([])),
            ("/dns", json!({})),
        ] {
            set(&mut config, pointer, value);
        }
        if plugin == Plugin::NodeLocal {
            for (key, value) in
                [("index", json!(2)), ("hostname", json!("([0-9]+)")), ("dns", json!({}))]
            {
                config["ipam"][key] = value;
            }
        }
        let outcome = bench.call("ADD", &config).run();
        assert_eq!(outcome.addresses(), ["10.1.3.9", "10.1.2.2"]);
        assert!(!outcome.stderr.contains("unknown key"), "{}", outcome.stderr);
    }
}

/// node-local's keys mean nothing to host-local, which must not stay silent about it.
#[test]
fn keys_of_node_local_are_unknown_to_host_local() {
    let bench = bench(Plugin::HostLocal);
    let mut config = good(&bench);
    let keys = ["cfg", "cfgDir", "index", "hostname", "carve", "dns"];
    for key in keys {
        config["ipam"][key] = json!("x");
    }
    let outcome = bench.call("ADD", &config).run();
    outcome.ok();
    for key in keys {
        assert_eq!(named(&outcome.stderr, &format!("ipam.{key}")), 1, "{}", outcome.stderr);
    }
}

/// A key's name is the writer's: it must not look like a line of the log.
#[test]
fn names_of_unknown_keys_are_harmless() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let mut config = good(&bench);
        let section = config["ipam"].as_object_mut().expect("a section");
        for name in ["a\nhost-local: all is well", "\u{1b}[31mred", "", "x\0"] {
            section.insert(name.to_owned(), Value::Null);
        }
        section.insert("k".repeat(100_000), json!(1));
        let outcome = bench.call("ADD", &config).run();
        outcome.ok();
        assert!(
            !outcome.stderr.contains('\u{1b}') && !outcome.stderr.contains('\0'),
            "{:?}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.lines().any(|line| line == "host-local: all is well"),
            "{:?}",
            outcome.stderr
        );
        assert!(outcome.stderr.len() < 4096, "{} bytes", outcome.stderr.len());
    }
}

/// Calls that hand nothing out have nothing to say about keys.
#[test]
fn deletion_does_not_warn() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let mut config = good(&bench);
        config["ipam"]["excludes"] = json!([]);
        assert_eq!(bench.call("DEL", &config).run().stderr, "");
    }
}
