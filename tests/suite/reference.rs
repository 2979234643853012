/*!
The description of every key: that it is the plugins' own, that the examples are within it, and that the
documentation has it.
*/

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use support::schema::{Others, fits};
use support::{Call, Scratch, binary, repository};

/// What `plat conf keys` prints.
fn keys(arguments: &[&str]) -> String {
    let output = Command::new(binary("plat")).args(["conf", "keys"]).args(arguments).output();
    let output = output.expect("plat can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("plat prints UTF-8")
}

/// All schemas by the name of what they are for.
fn schemas() -> Map<String, Value> {
    match serde_json::from_str(&keys(&["--json"])).expect("a document") {
        Value::Object(all) => all,
        other => panic!("{other}"),
    }
}

#[test]
fn the_documentation_has_every_key() {
    let page = repository().join("docs/reference/configuration.md");
    let written = fs::read_to_string(&page).expect("the page is there");
    let (_, tables) = written.split_once("\n## ").expect("it has headings");
    let told = keys(&["--markdown"]);
    let told = told.strip_prefix("## ").expect("headings");
    assert!(
        tables == told,
        "{} is not what `plat conf keys --markdown` prints below its introduction",
        page.display()
    );
}

#[test]
fn one_configuration_or_all_as_tables() {
    let all = keys(&[]);
    for name in schemas().keys() {
        let one = keys(&[name]);
        assert!(all.contains(one.lines().next().expect("a line")), "{name}");
        let schema: Value = serde_json::from_str(&keys(&[name, "--json"])).expect("a document");
        assert_eq!(schema["title"], json!(name));
    }
    let refused = Command::new(binary("plat")).args(["conf", "keys", "docker"]).output();
    let refused = refused.expect("plat can be run");
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("node-local"), "{said}");
}

/// The described keys of an object: of the configuration itself, or of one that it is made of.
fn described(schema: &Value, object: &str) -> BTreeSet<String> {
    let properties = match object {
        "" => &schema["properties"],
        name => &schema["$defs"][name]["properties"],
    };
    properties.as_object().expect(object).keys().cloned().collect()
}

/// What a program would take in place of a key that it does not know.
fn taken(said: &str) -> BTreeSet<String> {
    let (_, list) = said.rsplit_once("one of ").unwrap_or_else(|| panic!("no list: {said}"));
    let list = list.split(['\n', '"']).next().unwrap_or_default();
    list.split(", ").map(|key| key.trim().trim_end_matches('\\').to_owned()).collect()
}

#[test]
fn the_agent_knows_what_is_described() {
    let scratch = Scratch::new("keys-agent");
    let said = |config: Value| {
        let file = scratch.write("agent.json", config.to_string());
        let mut command = Command::new(binary("plat-agent"));
        command.args(["--dry-run", "--config"]).arg(file);
        command.env("PLAT_STATE_DIR", scratch.path()).env("PLAT_RUN_DIR", scratch.path());
        let output = command.output().expect("plat-agent can be run");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let schema = &schemas()["plat-agent"];
    for (object, config) in [
        ("", json!({"?": 1})),
        ("agent-uplink", json!({"uplink": {"?": 1}})),
        ("agent-routes", json!({"routes": {"?": 1}})),
        ("agent-vpp", json!({"vpp": {"?": 1}})),
        ("gc", json!({"gc": {"?": 1}})),
        ("masquerade", json!({"routes": {"sinks": [{"type": "kernel", "masquerade": {"?": 1}}]}})),
    ] {
        assert_eq!(taken(&said(config)), described(schema, object), "{object}");
    }
    for (object, list, kinds) in [
        ("source", "sources", &["pool", "calico", "peers", "file"][..]),
        ("sink", "sinks", &["kernel", "vpp"]),
    ] {
        let all: BTreeSet<String> = kinds
            .iter()
            .flat_map(|kind| taken(&said(json!({"routes": {list: [{"type": kind, "?": 1}]}}))))
            .collect();
        assert_eq!(all, described(schema, object), "{object}");
        let words = &schema["$defs"][object]["properties"]["type"]["enum"];
        assert_eq!(*words, json!(kinds), "{object}");
    }
}

#[test]
fn vpp_knows_what_is_described() {
    let scratch = Scratch::new("keys-vpp");
    let schema = &schemas()["vpp"];
    let said = |key: &str, value: Value| {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "vpp",
            "socket": scratch.path().join("none.sock"),
            "ipam": {
                "type": "host-local",
                "subnet": "10.1.0.0/24",
                "dataDir": scratch.path().join("networks"),
            },
        });
        config[key] = value;
        let bin = binary("vpp");
        let call = Call::new(&bin, "ADD").state_in(scratch.path()).config(&config);
        call.env("CNI_PATH", bin.parent().expect("a directory").to_string_lossy()).run().stdout
    };
    for (object, key, value) in [
        ("uplink", "uplink", json!({"?": 1})),
        ("hostLink", "hostLink", json!({"?": 1})),
        ("peers", "peers", json!({"?": 1})),
        ("rules", "routes", json!({"?": 1})),
    ] {
        assert_eq!(taken(&said(key, value)), described(schema, object), "{object}");
    }
    let mut of_route = taken(&said("routes", json!([{"?": 1}])));
    of_route.extend(taken(&said("routes", json!([{"peers": [], "?": 1}]))));
    assert_eq!(of_route, described(schema, "vpp-route"));
}

#[test]
fn other_keys_are_told_where_it_is_said() {
    let scratch = Scratch::new("keys-others");
    let host_local = json!({
        "type": "host-local", "subnet": "10.1.0.0/24", "dataDir": scratch.path().join("networks"),
    });
    let chain = json!({
        "type": "chain", "ipams": [host_local], "policy": "first", "instance": "a",
    });
    for (plugin, ipam, left_out) in [("host-local", &host_local, ""), ("chain", &chain, "ipam")] {
        let mut ipam = ipam.clone();
        ipam["zzz"] = json!(1);
        let config = json!({"cniVersion": "1.1.0", "name": plugin, "type": "bridge", "ipam": ipam});
        let bin = binary(plugin);
        let answer = Call::new(&bin, "ADD")
            .state_in(scratch.path())
            .env("CNI_PATH", bin.parent().expect("a directory").to_string_lossy())
            .config(&config)
            .run();
        assert_eq!(answer.stderr.matches("unknown key").count(), 1, "{}", answer.stderr);
        assert!(answer.stderr.contains("zzz: unknown key, ignored"), "{}", answer.stderr);
        if !left_out.is_empty() {
            let mut given: BTreeSet<String> =
                ipam.as_object().expect("an object").keys().cloned().collect();
            given.remove("zzz");
            given.insert(left_out.to_owned());
            assert_eq!(given, described(&schemas()[plugin], ""));
        }
    }
}

/// Every object of a document that is one of the described configurations.
fn configurations<'a>(value: &'a Value, found: &mut Vec<(&'static str, &'a Value)>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| configurations(value, found)),
        Value::Object(object) => {
            match object.get("type").and_then(Value::as_str) {
                Some("host-local") => found.push(("host-local", value)),
                Some("node-local") => found.push(("node-local", value)),
                Some("etcd-pool") => found.push(("etcd-pool", value)),
                Some("chain") if object.contains_key("main") => {
                    found.push(("chain-network", value))
                }
                Some("chain") => found.push(("chain", value)),
                Some("vpp") => found.push(("vpp", value)),
                _ => {}
            }
            object.values().for_each(|value| configurations(value, found));
        }
        _ => {}
    }
}

#[test]
fn the_examples_are_as_described() {
    let all = schemas();
    let examples = repository().join("conf-examples");
    let mut pending: Vec<PathBuf> = vec![examples];
    let mut seen = BTreeSet::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            pending.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let Ok(document) = serde_json::from_str::<Value>(&text) else { continue };
        let mut found = Vec::new();
        configurations(&document, &mut found);
        if document.get("endpoints").is_some() {
            found.push(("etcd", &document));
        }
        if document.get("routes").is_some_and(|routes| routes.get("sinks").is_some()) {
            found.push(("plat-agent", &document));
        }
        if path.ends_with("policy/policy.json") {
            found.push(("policy", &document));
        }
        for (name, value) in found {
            seen.insert(name);
            let schema = &all[name];
            if let Err(wrong) = fits(value, schema, Others::AsSaid) {
                panic!("{}: {wrong}", path.display());
            }
        }
    }
    let described: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(seen, described, "each has an example");
}

#[test]
fn what_is_wrong_is_not_as_described() {
    let all = schemas();
    for (name, wrong) in [
        ("host-local", json!({"type": "host-local", "ranges": [{"subnet": "10.1.0.0/24"}]})),
        ("host-local", json!({"type": "host-local", "store": "memory"})),
        ("etcd", json!({"endpoints": "http://127.0.0.1:2379"})),
        ("etcd", json!({"endpoints": [], "password": "x"})),
        ("plat-agent", json!({"routes": {"sources": [{"type": "rumours"}]}})),
        ("vpp", json!({"type": "vpp", "tap": {"queues": 65}})),
        ("policy", json!({"networks": "pods"})),
        ("policy", json!({"network": ["pods"]})),
    ] {
        let schema = &all[name];
        assert!(fits(&wrong, schema, Others::AsSaid).is_err(), "{wrong}");
    }
}
