//! The administrator's policy file: what it says no to, and what a broken one does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{binary, is_root, repository, skip_unless};

use super::{Bench, PLUGINS, node_local, refused, set_mode};

/// The IPAM plugins that keep state in a place that the configuration may name.
const STORES: [&str; 3] = ["host-local", "node-local", "etcd-pool"];

/// Asserts that a configuration is refused by a rule: in ADD with code 7, in STATUS with code 50.
fn denied(bench: &Bench, rules: &Value, plugin: &str, config: &Value, rule: &str, found: &str) {
    let policy = bench.policy(rules);
    for (command, code) in [("ADD", 7), ("STATUS", 50)] {
        let what = format!("{plugin} {command} {config} under {rules}");
        let said = refused(&bench.under(&policy, plugin, command, config), code, &what);
        assert!(
            said.contains(&format!("the rule {rule:?} of {}", policy.display())),
            "{what}: {said}"
        );
        assert!(said.contains(found), "{what}: {said}");
        assert!(said.contains("expected: ") || plugin == "chain", "{what}: {said}");
    }
    assert!(
        !bench.run_dir().exists() && !bench.state().exists(),
        "{plugin}: {config} has left something"
    );
}

/// Asserts that no rule is in the way, however the call ends.
fn allowed(bench: &Bench, rules: &Value, plugin: &str, config: &Value) {
    let policy = bench.policy(rules);
    let outcome = bench.under(&policy, plugin, "STATUS", config);
    assert!(
        !outcome.stdout.contains("policy"),
        "{plugin} {config} under {rules}: {}",
        outcome.stdout
    );
}

#[test]
fn places_outside_the_allowed_ones_are_refused() {
    let bench = Bench::new();
    let inside = bench.at("inside");
    fs::create_dir(&inside).expect("a directory can be made");
    symlink("/etc", inside.join("to-etc")).expect("a link can be made");
    symlink("/etc/nothing-at-all", inside.join("to-nothing")).expect("a link can be made");
    for (rule, plugins, more) in [
        ("dataDir", &STORES[..2], json!({})),
        ("database", &STORES, json!({"store": "sqlite"})),
        ("resolvConf", &STORES, json!({})),
        ("cfgDir", &["node-local"], json!({})),
    ] {
        for plugin in plugins {
            let of = |path: &Path| {
                let mut ipam = more.clone();
                ipam[rule] = json!(path);
                bench.config(plugin, ipam)
            };
            for path in ["/etc", "/etc/x", "/", "/tmp"] {
                denied(&bench, &json!({rule: [inside]}), plugin, &of(path.as_ref()), rule, path);
            }
            for name in ["../inside2", "to-etc/x", "to-nothing", "x/../../y"] {
                let path = inside.join(name);
                denied(&bench, &json!({rule: [inside]}), plugin, &of(&path), rule, name);
            }
            // However the key is written, as the plugins read it.
            let mut config = bench.config(plugin, more.clone());
            config["ipam"].as_object_mut().expect("an object").remove(rule);
            config["ipam"][rule.to_ascii_uppercase()] = json!("/etc/x");
            denied(&bench, &json!({rule: []}), plugin, &config, rule, "/etc/x");
        }
    }
    let config = bench.config("host-local", json!({"dataDir": inside.join("a/b")}));
    let policy = bench.policy(&json!({"dataDir": [inside], "resolvConf": []}));
    let added = bench.under(&policy, "host-local", "ADD", &config);
    assert_eq!(added.addresses(), ["10.1.2.2"]);
    bench.under(&policy, "host-local", "STATUS", &config).ok();
    bench.under(&policy, "host-local", "DEL", &config).ok();
}

#[test]
fn names_ranges_and_requests_are_refused() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        let config = bench.config(plugin, json!({}));
        denied(
            &bench,
            &json!({"networks": ["cbr0", "tenant-*"]}),
            plugin,
            &config,
            "networks",
            "\"net\"",
        );
        for rules in [json!({"networks": ["n*"]}), json!({"networks": ["a", "net"]}), json!({})] {
            allowed(&bench, &rules, plugin, &config);
        }
    }
    let bench = Bench::new();
    for plugin in ["node-local", "etcd-pool", "chain", "vpp"] {
        for (key, value) in [("index", json!(5)), ("hostname", json!("([0-9]+)$"))] {
            let ipam = if plugin == "chain" {
                let mut section = node_local();
                section["index"].take();
                section[key] = value.clone();
                json!({"ipams": [{"type": "chain", "ipams": [section]}]})
            } else {
                json!({"index": null, key: value})
            };
            let config = bench.config(plugin, ipam);
            denied(&bench, &json!({"nodeIndex": false}), plugin, &config, "nodeIndex", key);
        }
    }
    let template = json!({"ranges": null, "index": null, "cfg": "other"});
    let config = bench.config("node-local", template);
    denied(
        &bench,
        &json!({"cfg": ["default", "pods-*"]}),
        "node-local",
        &config,
        "cfg",
        "\"other\"",
    );
    let top = json!({"cniVersion": "1.1.0", "name": "net", "type": "chain", "index": 5,
                     "main": {"type": "host-local"}, "ipam": node_local()});
    denied(&bench, &json!({"nodeIndex": false}), "chain", &top, "nodeIndex", "index");
}

#[test]
fn ranges_lie_in_allowed_subnets() {
    let bench = Bench::new();
    let rules = json!({"subnets": ["10.9.0.0/16", "fd00::/8"]});
    for (plugin, found) in [("host-local", "10.1.2.0/24"), ("node-local", "10.1.1.0/24")] {
        denied(&bench, &rules, plugin, &bench.config(plugin, json!({})), "subnets", found);
        let mut config = bench.config(plugin, json!({"ranges": [[{"subnet": "10.9.0.0/24"}]]}));
        allowed(&bench, &rules, plugin, &config);
        config["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.8.0.0/24"}]]});
        denied(&bench, &rules, plugin, &config, "subnets", "10.8.0.0/24");
        config["runtimeConfig"] = json!({"ips": ["10.9.0.7"]});
        denied(
            &bench,
            &json!({"requestedAddresses": false}),
            plugin,
            &config,
            "requestedAddresses",
            "10.9.0.7",
        );
    }
    // The node's own index decides, and what comes of it is judged.
    let carve = json!({"ranges": null, "carve": {"pool": "10.0.0.0/8", "prefix": 24}});
    let config = bench.config("node-local", carve);
    denied(&bench, &rules, "node-local", &config, "subnets", "10.0.1.0/24");
    let policy = bench.policy(&json!({"requestedAddresses": false}));
    let config = bench.config("host-local", json!({}));
    let call = bench.call("host-local", "ADD", &config).env("CNI_ARGS", "IP=10.1.2.9");
    let outcome = call.env("PLAT_POLICY", policy.display().to_string()).run();
    assert!(refused(&outcome, 7, "CNI_ARGS").contains("10.1.2.9"));
}

#[test]
fn pools_and_where_etcd_is() {
    let bench = Bench::new();
    let own = |ipam: Value| bench.config("etcd-pool", ipam);
    let described = json!({"name": "pods", "cidr": "10.64.0.0/12"});
    let endpoint = json!({"endpoints": ["http://192.0.2.1:2379"]});
    let key = json!({"endpoints": ["https://127.0.0.1:1"], "caCert": "/etc/ssl/x", "cert": "/x", "key": "/y"});
    for (rules, ipam, rule, found) in [
        (json!({"pools": ["other", "tenants/*"]}), json!({}), "pools", "default/pods"),
        (json!({"pools": ["pods"]}), json!({"space": "x"}), "pools", "x/pods"),
        (json!({"pools": []}), json!({}), "pools", "default/pods"),
        (
            json!({"poolDescriptions": false}),
            json!({"pool": described}),
            "poolDescriptions",
            "pods",
        ),
        (
            json!({"subnets": ["10.0.0.0/12"]}),
            json!({"pool": described}),
            "subnets",
            "10.64.0.0/12",
        ),
        (json!({"etcdEndpoints": []}), json!({"etcd": endpoint}), "etcdEndpoints", "192.0.2.1"),
        (
            json!({"etcdEndpoints": ["https://a:1"]}),
            json!({"etcd": endpoint}),
            "etcdEndpoints",
            "192.0.2.1",
        ),
        (json!({"etcdFiles": ["/etc/plat/pki"]}), json!({"etcd": key}), "etcdFiles", "/etc/ssl/x"),
        (json!({"requestedAddresses": false}), json!({}), "requestedAddresses", "10.64.0.9"),
    ] {
        let mut config = own(ipam);
        if rule == "requestedAddresses" {
            config["runtimeConfig"] = json!({"ips": ["10.64.0.9"]});
        }
        denied(&bench, &rules, "etcd-pool", &config, rule, found);
    }
}

#[test]
fn sockets_and_the_nodes_part_of_vpp() {
    let bench = Bench::new();
    let rules = json!({
        "socket": ["/run/vpp"], "memifDirectory": ["/run/plat/memif"], "tables": [0], "nodeSettings": false
    });
    for (key, value, rule, found) in [
        ("socket", json!("/run/containerd/containerd.sock"), "socket", "containerd.sock"),
        ("memif", json!({"directory": "/etc"}), "memifDirectory", "\"/etc\""),
        ("table", json!(7), "tables", "7"),
        ("uplink", json!({"interface": "eth1"}), "nodeSettings", "uplink"),
        ("routes", json!([]), "nodeSettings", "routes"),
        ("peers", json!({}), "nodeSettings", "peers"),
        ("hostLink", json!({}), "nodeSettings", "hostLink"),
    ] {
        let mut config = bench.config("vpp", json!({}));
        config[key] = value;
        denied(&bench, &rules, "vpp", &config, rule, found);
    }
    allowed(&bench, &rules, "vpp", &bench.config("vpp", json!({})));
}

/// What has come out of somebody's hands otherwise than whole is no permission.
#[test]
fn a_file_that_need_not_be_the_administrators_gives_nothing_out() {
    let bench = Bench::new();
    let link = bench.at("link-to-nothing");
    symlink(bench.at("nothing"), &link).expect("a link can be made");
    let long = format!("{{\"networks\": [\"{}\"]}}", "n".repeat(1 << 20));
    let writable = |mode: u32| {
        let file = bench.policy(&json!({}));
        set_mode(&file, mode);
        file
    };
    let rows = [
        (bench.policy_text("{"), "EOF while parsing"),
        (bench.policy_text(""), "EOF while parsing"),
        (bench.policy_text("[]"), "no JSON object"),
        (bench.policy_text("{\"dataDirs\": []}"), "unknown field `dataDirs`"),
        (bench.policy_text("{\"pools\": [], \"pools\": [\"*\"]}"), "duplicate field `pools`"),
        (bench.policy_text("{\"dataDir\": [\"relative\"]}"), "dataDir[0]"),
        (bench.policy_text(&long), "longer than"),
        (bench.policy_text(&"[".repeat(100_000)), "no JSON object"),
        (writable(0o666), "can be written by others than root (mode 0666"),
        (writable(0o620), "can be written by others than root (mode 0620"),
        (bench.at("none.json"), "does not exist"),
        (link, "is a link to nothing"),
        (bench.fifo("fifo"), "not a regular file"),
        (bench.path().to_path_buf(), "cannot be read"),
    ];
    for (policy, text) in &rows {
        for plugin in PLUGINS {
            let mut config = bench.config(plugin, json!({}));
            config["cni.dev/valid-attachments"] = json!([]);
            for (command, code) in [("ADD", 7), ("STATUS", 50)] {
                let what = format!("{plugin} {command} {}", policy.display());
                let said = refused(&bench.under(policy, plugin, command, &config), code, &what);
                assert!(
                    said.contains(text) && said.contains(&policy.display().to_string()),
                    "{what}: {said}"
                );
            }
            for command in ["DEL", "GC"] {
                // VPP is away, which a GC tells.
                if (plugin, command) != ("vpp", "GC") {
                    bench.under(policy, plugin, command, &config).ok();
                }
            }
        }
    }
    // A container that got its address before is not told to be wrong.
    let config = bench.config("node-local", json!({}));
    let mut checked = config.clone();
    checked["prevResult"] = bench.call("node-local", "ADD", &config).run().ok();
    for (policy, _) in &rows {
        bench.under(policy, "node-local", "CHECK", &checked).ok();
    }
}

#[test]
fn the_file_of_somebody_else_gives_nothing_out() {
    const TEST: &str = "the_file_of_somebody_else_gives_nothing_out";
    if !skip_unless(TEST, &[(is_root(), "only root can give a file away")]) {
        return;
    }
    let bench = Bench::new();
    let policy = bench.policy(&json!({}));
    std::os::unix::fs::chown(&policy, Some(65534), None).expect("root can");
    let config = bench.config("host-local", json!({}));
    let said = refused(&bench.under(&policy, "host-local", "ADD", &config), 7, "another user's");
    assert!(said.contains("user 65534"), "{said}");
}

/// The example is what the documentation shows; it is read by the plugins, and says no.
#[test]
fn the_example_is_a_policy() {
    let bench = Bench::new();
    let example = repository().join("conf-examples/policy/policy.json");
    let policy = bench.policy_text(&fs::read_to_string(example).expect("the example is there"));
    let config = |further: Value| {
        let mut config = bench.config(
            "node-local",
            json!({"index": null, "carve": {"pool": "10.1.0.0/16", "prefix": 24}, "ranges": null}),
        );
        config["name"] = json!("tenant-a");
        for (key, value) in further.as_object().expect("an object") {
            config["ipam"][key] = value.clone();
        }
        config
    };
    let add = |config: &Value| {
        let call = bench.call("node-local", "ADD", config).env("NODE_INDEX", "7");
        call.env("PLAT_POLICY", policy.display().to_string()).run()
    };
    assert_eq!(add(&config(json!({}))).addresses(), ["10.1.7.2"]);
    for (key, value) in [
        ("dataDir", json!("/etc")),
        ("database", json!("/tmp/x.db")),
        ("resolvConf", json!("/etc/shadow")),
        ("cfgDir", json!("/tmp")),
        ("index", json!(8)),
        ("carve", json!({"pool": "192.168.0.0/16", "prefix": 24})),
    ] {
        refused(&add(&config(json!({key: value}))), 7, key);
    }
    let doc = fs::read_to_string(repository().join("docs/security.md")).expect("it is there");
    let example = fs::read_to_string(&policy).expect("it is there");
    assert!(doc.contains(example.trim()), "docs/security.md does not show the example as it is");
}

#[test]
fn plat_conf_validate_knows_the_policy() {
    let bench = Bench::new();
    let policy = bench.policy(&json!({
        "networks": ["net"], "dataDir": ["/var/lib/cni/networks"], "subnets": ["10.1.0.0/16"], "pools": ["pods"],
        "socket": [], "requestedAddresses": false
    }));
    let validate = |text: &str, policy: &Path| {
        let file = bench.scratch.write("a.conf", text);
        let mut plat = Command::new(binary("plat"));
        plat.args(["conf", "validate", "--node", "vm-004", "--policy"]).arg(policy).arg(file);
        let output = plat.output().expect("plat can be run");
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let of = |name: &str, ipam: &str| {
        format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"{name}\",\n \"type\": \"bridge\",\n \"ipam\": {ipam}}}"
        )
    };
    for (text, exit, place, message) in [
        (of("net", r#"{"type": "host-local", "subnet": "10.1.2.0/24"}"#), 0, "", "fine"),
        (
            of("net2", r#"{"type": "host-local", "subnet": "10.1.2.0/24"}"#),
            2,
            ":1:33: ",
            "\"networks\"",
        ),
        (of("net", r#"{"type": "host-local", "subnet": "10.2.2.0/24"}"#), 2, ":3:", "\"subnets\""),
        (
            of("net", r#"{"type": "host-local", "dataDir": "/etc", "subnet": "10.1.2.0/24"}"#),
            2,
            ":3:",
            "\"dataDir\"",
        ),
        (
            of("net", r#"{"type": "node-local", "carve": {"pool": "10.4.0.0/16", "prefix": 24}}"#),
            2,
            ":3:",
            "10.4.4.0/24",
        ),
        (of("net", r#"{"type": "etcd-pool", "pool": "other"}"#), 2, ":3:", "\"pools\""),
        (
            of("net", r#"{"type": "etcd-pool", "pool": {"name": "pods", "cidr": "10.9.0.0/16"}}"#),
            2,
            ":3:",
            "\"subnets\"",
        ),
        (
            of("net", r#"{"type": "host-local", "subnet": "10.1.2.0/24"}"#)
                .replace("bridge", "vpp\", \"socket\": \"/x"),
            2,
            ":2:",
            "\"socket\"",
        ),
    ] {
        let (code, said) = validate(&text, &policy);
        assert_eq!(code, Some(exit), "{text}: {said}");
        assert!(said.contains(place) && said.contains(message), "{text}: {said}");
    }
    let fine = of("net", r#"{"type": "host-local", "subnet": "10.1.2.0/24"}"#);
    for broken in [bench.at("none"), bench.policy_text("{\"x\": 1}")] {
        let (code, said) = validate(&fine, &broken);
        assert!(code == Some(3) && said.contains("the policy file"), "{code:?} {said}");
    }
}
