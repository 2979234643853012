//! `"type": "chain"`: a whole network by one configuration.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{MainPlugin, binary};

use super::bench::Bench;

/// With a main plugin that is a puppet.
fn with_puppet() -> Bench {
    let bench = Bench::new();
    bench.puppet("mainy");
    bench.prints(
        "mainy",
        "ADD",
        &json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "sandbox": "/x", "mtu": 1400}],
            "ips": [{"address": "10.1.4.2/24", "interface": 0, "own": true}],
        }),
    );
    bench
}

fn config(main: Value, ipams: Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": Bench::NETWORK, "type": "chain", "main": main, "ipams": ipams})
}

#[test]
fn placeholders_are_filled_in_everywhere() {
    let bench = with_puppet();
    let main = json!({
        "type": "mainy", "bridge": "br{i}", "uplink": {"address": ["192.168.16.{i}/24", "fd00::{i:04x}/64"]},
        "routes": {"subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"}, "text": "% .x {} {unknown} {i/256}.{i%256}",
        "{i}": 5,
    });
    let mut config = config(
        main,
        json!([Bench::node_local("10.1.{i}.0/24"), {"type": "host-local", "subnet": "fd00:{i}::/64", "dataDir": bench.data()}]),
    );
    config["args"] = json!({"cni": {"label": "{i}"}});
    config["prevResult"] = json!({"cniVersion": "1.1.0", "ips": []});
    config["runtimeConfig"] = json!({"portMappings": [{"hostPort": 1}]});
    let result = bench.call("ADD", &config).env("CNI_ARGS", "A=B").run();
    assert_eq!(result.stderr, "");
    assert_eq!(result.ok()["ips"][0]["own"], true, "the answer is passed on as it came");
    assert_eq!(
        bench.given("mainy", "ADD"),
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "mainy", "bridge": "br4",
            "uplink": {"address": ["192.168.16.4/24", "fd00::0004/64"]},
            "routes": {"subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
            "text": "% .x {} {unknown} 0.4", "{i}": 5,
            "args": {"cni": {"label": "{i}"}},
            "prevResult": {"cniVersion": "1.1.0", "ips": []},
            "runtimeConfig": {"portMappings": [{"hostPort": 1}]},
            "ipam": {"type": "chain", "policy": "all", "ipams": [
                Bench::node_local("10.1.{i}.0/24"),
                {"type": "host-local", "subnet": "fd00:4::/64", "dataDir": bench.data()},
            ]},
        })
    );
    assert_eq!(bench.calls(), ["mainy ADD c1 A=B"]);
}

#[test]
fn the_node_is_found_as_node_local_finds_it() {
    let bench = with_puppet();
    let main = json!({"type": "mainy", "bridge": "br{i}"});
    let section = || json!({"type": "node-local", "subnet": "10.1.{i}.0/24"});
    let bridge = |config: &Value, index: &str| {
        let outcome = bench.call("ADD", config).env("NODE_INDEX", index).run();
        outcome.ok();
        let given = bench.given("mainy", "ADD");
        bench.del("c1", config);
        (given["bridge"].as_str().unwrap().to_owned(), given["ipam"]["index"].clone())
    };
    let mut plain = config(main.clone(), json!([section()]));
    assert_eq!(bridge(&plain, "7"), ("br7".to_owned(), Value::Null));
    plain["index"] = json!(12);
    assert_eq!(bridge(&plain, "7"), ("br12".to_owned(), json!(12)), "both must be one node");
    let mut own = section();
    own["index"] = json!(9);
    assert_eq!(bridge(&config(main.clone(), json!([own])), "7"), ("br9".to_owned(), json!(9)));

    // A DEL needs no index.
    let needs = config(main.clone(), json!([]));
    let mut needs = needs;
    needs.as_object_mut().unwrap().remove("ipams");
    needs["index"] = json!("none");
    assert_eq!(bench.call("ADD", &needs).run().error().0, 7);
    assert_eq!(bench.call("STATUS", &needs).run().error().0, 50);
    bench.call("DEL", &needs).run().ok();
    assert_eq!(bench.given("mainy", "DEL")["bridge"], "br{i}");
    // What has no placeholders needs no index, either.
    let mut none =
        config(json!({"type": "mainy"}), json!([{"type": "host-local", "subnet": "10.1.2.0/24"}]));
    none["index"] = json!("none");
    bench.call("ADD", &none).run().ok();
}

#[test]
fn all_ways_to_name_the_ipam() {
    let bench = with_puppet();
    let one = json!({"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": bench.data()});
    let two = json!({"type": "node-local", "subnet": "fd00::/64"});
    let chain = json!({"type": "chain", "policy": "first", "ipams": [one, two]});
    let base = || {
        let mut base = config(json!({"type": "mainy"}), Value::Null);
        base.as_object_mut().unwrap().remove("ipams");
        base
    };
    for (key, value, policy, given) in [
        ("ipams", json!([one]), None, one.clone()),
        ("ipam", one.clone(), None, one.clone()),
        ("ipams", json!([one, two]), Some("first"), chain.clone()),
        ("ipam", json!([one, two]), Some("first"), chain.clone()),
        ("ipam", chain.clone(), None, chain.clone()),
    ] {
        let mut config = base();
        config[key] = value;
        if let Some(policy) = policy {
            config["policy"] = json!(policy);
        }
        bench.call("ADD", &config).run().ok();
        assert_eq!(bench.given("mainy", "ADD")["ipam"], given, "{config}");
        bench.del("c1", &config);
    }
    bench.call("ADD", &base()).run().ok();
    assert!(bench.given("mainy", "ADD").get("ipam").is_none(), "a network without addresses");
    bench.del("c1", &base());
    bench.assert_empty();
}

#[test]
fn what_is_wrong_is_told() {
    let bench = with_puppet();
    let ipams = || json!([Bench::node_local("10.1.{i}.0/24")]);
    for (config, message) in [
        (json!({"cniVersion": "1.0.0", "name": "net", "type": "chain"}), "main is missing"),
        (config(json!({}), ipams()), "main.type is missing"),
        (config(json!("bridge"), ipams()), "main: expected an object, found \"bridge\""),
        (config(json!({"type": "chain"}), ipams()), "main.type is chain itself"),
        (config(json!({"type": "../mainy"}), ipams()), "main: invalid plugin name: \"../mainy\""),
        (
            config(json!({"type": "mainy", "ipam": {"type": "x"}}), ipams()),
            "main.ipam: the main plugin gets",
        ),
        (config(json!({"type": "mainy"}), json!([])), "ipams: 0 IPAM plugins"),
        (
            config(json!({"type": "mainy"}), json!([{"type": "a/b"}])),
            "ipams[0] (a/b): invalid plugin name",
        ),
        (
            config(
                json!({"type": "mainy"}),
                json!([{"type": "host-local", "ranges": [[{"subnet": "15.0.0.0/16", "rangeStart": "15.0.{i}.0"}]]}]),
            ),
            "ipams[0] (host-local): 15.0.{i}.0 depends on the node",
        ),
    ] {
        let (code, text) = bench.call("ADD", &config).run().error();
        assert_eq!(code, 7, "{text}");
        assert!(text.starts_with(message), "{text}");
    }
    assert_eq!(bench.calls(), [] as [String; 0]);
    let mut odd = config(json!({"type": "mainy"}), ipams());
    odd["ipMasq"] = json!(true);
    let outcome = bench.call("ADD", &odd).run();
    assert_eq!(outcome.stderr, "chain: ipMasq: unknown key, ignored\n");
}

#[test]
fn every_operation_reaches_main_plugin_and_ipams() {
    let bench = with_puppet();
    bench.puppet("one");
    bench.puppet("two");
    let config = config(json!({"type": "mainy"}), json!([{"type": "one"}, {"type": "two"}]));
    let result = bench.call("ADD", &config).run().ok();
    assert_eq!(bench.asked(), ["mainy ADD"], "the main plugin calls its IPAM");
    bench.check("c1", &config, &result).run().ok();
    assert_eq!(bench.asked(), ["mainy CHECK"]);
    assert_eq!(bench.given("mainy", "CHECK")["prevResult"], result);
    bench.call("STATUS", &config).run().ok();
    assert_eq!(bench.asked(), ["mainy STATUS", "one STATUS", "two STATUS"]);
    bench.fails("mainy", "STATUS", 50, "away");
    bench.fails("two", "STATUS", 51, "lost");
    let (code, message) = bench.call("STATUS", &config).run().error();
    assert_eq!((code, message.as_str()), (51, "mainy: away; ipams[1] (two): lost"));
    bench.calls();
    bench.gc(&config, &["c1"]).run().ok();
    assert_eq!(bench.asked(), ["mainy GC", "one GC", "two GC"]);
    bench.gc(&config, &[]).run().ok();
    assert_eq!(bench.asked(), ["mainy GC", "mainy DEL", "one GC", "two GC"], "what is left of c1");
    assert_eq!(bench.records(), [] as [String; 0]);
    bench.fails("mainy", "CHECK", 101, "gone");
    assert_eq!(bench.check("c1", &config, &result).run().error(), (101, "mainy: gone".to_owned()));
}

#[test]
fn what_a_failure_leaves_is_left_to_the_del() {
    let bench = with_puppet();
    let config = config(json!({"type": "mainy"}), json!([Bench::node_local("10.1.{i}.0/24")]));
    bench.fails("mainy", "ADD", 11, "busy");
    assert_eq!(bench.call("ADD", &config).run().error(), (11, "mainy: busy".to_owned()));
    assert_eq!(bench.asked(), ["mainy ADD"], "it has put away what it made");
    assert_eq!(bench.records(), ["c1:eth0:main"], "for the DEL that follows");
    bench.fails_no_more("mainy", "ADD");
    bench.call("ADD", &config).run().ok();
    bench.fails("mainy", "ADD", 999, "eth0 exists");
    bench.call("ADD", &config).run().error();
    assert_eq!(bench.asked(), ["mainy ADD", "mainy ADD"], "the pod lives with what it has");
    assert_eq!(bench.records(), ["c1:eth0:main"]);
    bench.fails("mainy", "DEL", 5, "no");
    assert_eq!(bench.call("DEL", &config).run().error().0, 5);
    assert_eq!(bench.records(), ["c1:eth0:main"]);
    bench.fails_no_more("mainy", "DEL");
    bench.del("c1", &config);
    assert_eq!(bench.records(), [] as [String; 0]);
}

/// The main plugin may be older than the runtime.
#[test]
fn main_plugins_of_other_versions() {
    let bench = with_puppet();
    bench.prints(
        "mainy",
        "ADD",
        &json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.1.4.2/24", "interface": 0}], "interfaces": [{"name": "eth0"}]}),
    );
    let mut config = config(
        json!({"type": "mainy", "cniVersion": "0.4.0"}),
        json!([{"type": "host-local", "dataDir": bench.data(), "subnet": "10.1.4.0/24"}]),
    );
    let result = bench.call("ADD", &config).run().ok();
    assert_eq!(
        result,
        json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}], "ips": [{"address": "10.1.4.2/24", "interface": 0}]})
    );
    assert_eq!(bench.given("mainy", "ADD")["cniVersion"], "0.4.0");
    bench.check("c1", &config, &result).run().ok();
    let previous = &bench.given("mainy", "CHECK")["prevResult"];
    assert_eq!(previous["cniVersion"], "0.4.0");
    assert_eq!(previous["ips"][0]["version"], "4");
    bench.calls();
    bench.call("STATUS", &config).run().ok();
    bench.gc(&config, &["c1"]).run().ok();
    assert_eq!(bench.calls(), [] as [String; 0], "0.4.0 knows neither");
    for version in ["0.3.1", "1.0.0"] {
        config["cniVersion"] = json!(version);
        assert_eq!(bench.call("ADD", &config).run().ok()["cniVersion"], version);
    }
}

/// A main plugin whose links this kernel may lack: it records its calls and hands on to its IPAM.
#[test]
fn a_main_plugin_that_calls_its_ipam() {
    for (kind, several) in [("macvlan", true), ("ipvlan", false)] {
        let bench = Bench::new();
        let ipam = binary(if several { "chain" } else { "node-local" });
        let main = MainPlugin::install(bench.scratch().path(), kind, &ipam);
        let sections = if several {
            json!([Bench::node_local("10.1.{i}.0/24"), Bench::node_local("fd00:1:{i}::/64")])
        } else {
            json!([Bench::node_local("10.1.{i}.0/24")])
        };
        let config = config(json!({"type": kind, "master": "eth{i}"}), sections);
        let expected = if several { &["10.1.4.2", "fd00:1:4::2"][..] } else { &["10.1.4.2"] };
        let add = bench.call("ADD", &config).run();
        assert_eq!(add.addresses(), expected);
        assert_eq!(bench.add("c1", &config), expected, "idempotent as its IPAM is");
        bench.add("c2", &config);
        let handed = &main.calls()[0];
        let stdin: Value = serde_json::from_str(&handed.stdin).unwrap();
        assert_eq!((&stdin["type"], &stdin["master"]), (&json!(kind), &json!("eth4")));
        assert_eq!(stdin["ipam"]["type"], if several { "chain" } else { "node-local" });
        assert!(handed.environment.iter().any(|line| line == "CNI_COMMAND=ADD"), "{handed:?}");
        bench.check("c1", &config, &add.json()).run().ok();
        bench.call("STATUS", &config).run().ok();
        bench.gc(&config, &["c2"]).run().ok();
        assert_eq!((bench.held("c1"), bench.held("c2")), (0, expected.len()));
        // Nothing but the name, twice.
        for _ in 0..2 {
            bench.del(
                "c2",
                &json!({"cniVersion": "1.0.0", "name": Bench::NETWORK, "type": "chain"}),
            );
            bench.assert_empty();
        }
        let del: Value = serde_json::from_str(&main.calls().last().unwrap().stdin).unwrap();
        assert_eq!(del["master"], "eth4", "as at the ADD");
    }
}

/// A main plugin that fails and leaves its address behind.
#[test]
fn addresses_are_freed_after_a_main_plugin_that_fails() {
    let bench = Bench::new();
    let error = r#"{\"code\":999,\"msg\":\"no\"}"#;
    let script = format!("{} >/dev/null; echo \"{error}\"; exit 1", binary("node-local").display());
    let words = ["/bin/sh".as_ref(), "-c".as_ref(), script.as_ref()];
    let place = bench.scratch().join("cni-path/forgetful");
    support::install_script(&place, &words, Path::new("forgetful"));
    let config = config(json!({"type": "forgetful"}), json!([Bench::node_local("10.1.{i}.0/24")]));
    assert_eq!(bench.call("ADD", &config).run().error(), (999, "forgetful: no".to_owned()));
    assert_eq!(bench.held("c1"), 0);
}

/// A main plugin that does not go on to its IPAM when the namespace is gone.
#[test]
fn addresses_are_freed_after_a_lazy_main_plugin() {
    for sections in [
        json!([Bench::node_local("10.1.{i}.0/24")]),
        json!([Bench::node_local("10.1.{i}.0/24"), Bench::node_local("fd00:1:{i}::/64")]),
    ] {
        let bench = Bench::new();
        let ipam =
            binary(if sections.as_array().unwrap().len() > 1 { "chain" } else { "node-local" });
        MainPlugin::install(bench.scratch().path(), "lazy", &ipam);
        let config = config(json!({"type": "lazy"}), sections);
        bench.add("c1", &config);
        fs::remove_file(bench.plugins().join("lazy")).unwrap();
        bench.puppet("lazy");
        bench.del("c1", &config);
        bench.assert_empty();
    }
}
