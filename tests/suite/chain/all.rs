//! Policy `all`: each listed IPAM contributes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use support::NetworkDir;

use super::bench::Bench;

fn dual() -> Value {
    let ipams = [Bench::node_local("10.1.{i}.0/24"), Bench::node_local("fd00:1:{i}::/64")];
    Bench::config("all", &ipams)
}

#[test]
fn two_of_one_type_are_two() {
    let bench = Bench::new();
    let config = dual();
    for (id, expected) in [("c1", ["10.1.4.2", "fd00:1:4::2"]), ("c2", ["10.1.4.3", "fd00:1:4::3"])]
    {
        let add = bench.call("ADD", &config).id(id).run();
        assert_eq!(add.addresses(), expected);
        assert_eq!(add.stderr, "", "nothing to be warned of");
        bench.check(id, &config, &add.json()).run().ok();
        // A runtime tries again after a timeout.
        assert_eq!(bench.add(id, &config), expected);
    }
    let instances: Vec<String> =
        bench.network().states().iter().map(|s| s.instance.as_ref().unwrap().to_string()).collect();
    assert_eq!(instances, ["node-local", "node-local@1"]);
    assert_eq!(bench.records(), ["c1:eth0:ipam", "c2:eth0:ipam"]);
    let record = bench.run_dir().join("chain/net/c1:eth0:ipam");
    assert_eq!(fs::metadata(record).unwrap().permissions().mode() & 0o777, 0o600);
    bench.call("STATUS", &config).run().ok();
    bench.gc(&config, &["c2"]).run().ok();
    assert_eq!((bench.held("c1"), bench.held("c2")), (0, 2));
    assert_eq!(bench.records(), ["c2:eth0:ipam"]);
    for _ in 0..2 {
        bench.del("c2", &config);
        bench.assert_empty();
    }
}

#[test]
fn a_result_has_the_form_of_each_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let bench = Bench::new();
        let mut config = dual();
        config["cniVersion"] = json!(version);
        let result = bench.call("ADD", &config).run().ok();
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.1.4.2/24");
            assert_eq!(result["ip6"]["gateway"], "fd00:1:4::1");
        } else {
            assert_eq!(result["ips"][1]["address"], "fd00:1:4::2/64");
            assert_eq!(result["ips"][1]["version"].as_str(), (version < "1.0.0").then_some("6"));
        }
        bench.del("c1", &config);
        bench.assert_empty();
    }
    let bench = Bench::new();
    let mut config = Bench::config(
        "all",
        &[Bench::node_local("10.1.{i}.0/24"), Bench::node_local("10.2.{i}.0/24")],
    );
    config["cniVersion"] = json!("0.2.0");
    let (code, message) = bench.call("ADD", &config).run().error();
    assert_eq!((code, message.contains("more than 1 address per family")), (7, true), "{message}");
    bench.assert_empty();
    bench.call("VERSION", &config).run().ok();
}

#[test]
fn directories_are_kept_apart_too() {
    let bench = Bench::new();
    let host_local =
        |subnet: &str| json!({"type": "host-local", "dataDir": bench.data(), "subnet": subnet});
    let config = Bench::config("all", &[host_local("10.1.2.0/24"), host_local("fd00::/64")]);
    for id in ["c1", "c2"] {
        assert_eq!(bench.add(id, &config).len(), 2);
    }
    let second = NetworkDir::new(&bench.data().join(".1"), Bench::NETWORK);
    assert_eq!(bench.network().directory().reservations().len(), 2);
    assert_eq!(second.reservations().len(), 2);
    let result = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.2/24"}, {"address": "fd00::2/64"}]});
    bench.check("c1", &config, &result).run().ok();
    bench.gc(&config, &["c2"]).run().ok();
    assert_eq!((bench.held("c1"), second.held_by("c1", "eth0").len()), (0, 0));
    assert_eq!((bench.held("c2"), second.held_by("c2", "eth0").len()), (1, 1));
    bench.del("c2", &Bench::stripped("bridge"));
    assert_eq!(second.reservations().len(), 0);
    bench.assert_empty();
}

#[test]
fn what_cannot_be_kept_apart_is_refused() {
    let bench = Bench::new();
    bench.puppet("dhcp");
    for ipams in [
        [json!({"type": "dhcp"}), json!({"type": "dhcp"})],
        [
            json!({"type": "etcd-pool", "pool": "p"}),
            json!({"type": "etcd-pool", "pool": {"name": "p"}}),
        ],
    ] {
        let config = Bench::config("all", &ipams);
        let (code, message) = bench.call("ADD", &config).run().error();
        assert_eq!(code, 7);
        assert!(
            message.contains("ipam.ipams[0]") && message.contains("ipam.ipams[1]"),
            "{message}"
        );
        assert_eq!(bench.call("STATUS", &config).run().error().0, 50);
    }
    assert_eq!(bench.calls(), [] as [String; 0]);
    bench.assert_empty();
}

#[test]
fn names_that_are_paths_are_refused() {
    let bench = Bench::new();
    for name in ["../node-local", "/bin/true", "a/b", "..", "a\nb", "missing"] {
        let ipams = [Bench::node_local("10.1.{i}.0/24"), json!({"type": name})];
        let (code, message) = bench.call("ADD", &Bench::config("all", &ipams)).run().error();
        assert_eq!(code, 7, "{name}");
        assert!(message.starts_with("ipam.ipams[1] ("), "{message}");
        let refused = message.contains("invalid plugin name") || name == "missing";
        assert!(refused && !message.contains('\n'), "{message}");
    }
    bench.assert_empty();
}

#[test]
fn contradictions_are_undone_and_name_both() {
    let bench = Bench::new();
    let with_route = |subnet: &str| {
        let mut section = Bench::node_local(subnet);
        section["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        section
    };
    let gateway = |subnet: &str, gateway: &str| json!({"type": "node-local", "ranges": [[{"subnet": subnet, "gateway": gateway, "rangeStart": "10.1.4.100", "rangeEnd": "10.1.4.199"}]]});
    for (ipams, expected) in [
        (
            [with_route("10.1.{i}.0/24"), with_route("10.2.{i}.0/24")],
            "default routes of both ipam.ipams[0] (node-local) (0.0.0.0/0) and ipam.ipams[1] (node-local) (0.0.0.0/0)",
        ),
        (
            [Bench::node_local("10.1.{i}.0/24"), gateway("10.1.{i}.0/24", "10.1.4.254")],
            "ipam.ipams[0] (node-local) and ipam.ipams[1] (node-local) name different gateways for one subnet: \
             10.1.4.1 for 10.1.4.3/24 and 10.1.4.254 for 10.1.4.100/24",
        ),
    ] {
        let (code, message) = bench.call("ADD", &Bench::config("all", &ipams)).run().error();
        assert_eq!((code, message.as_str()), (7, expected));
        bench.assert_empty();
    }
    // One range twice: the second finds the address given by the first.
    let bench = Bench::new();
    let same = [Bench::node_local("10.1.{i}.0/24"), Bench::node_local("10.1.{i}.0/24")];
    let (code, message) = bench.call("ADD", &Bench::config("all", &same)).run().error();
    assert_eq!(code, 7);
    assert!(message.contains("10.1.4.2 is given to c1 eth0 already by another IPAM"), "{message}");
    bench.assert_empty();
}

/// Two pods live, and somebody turns the list round: nobody's address is given away.
#[test]
fn a_changed_order_gives_nobodys_address_away() {
    let bench = Bench::new();
    bench.add("c1", &dual());
    bench.add("c2", &dual());
    let turned = [Bench::node_local("fd00:1:{i}::/64"), Bench::node_local("10.1.{i}.0/24")];
    let turned = Bench::config("all", &turned);
    let (code, message) = bench.call("ADD", &turned).id("c3").run().error();
    assert_eq!(code, 7);
    assert!(message.contains("is given to c1 eth0 already"), "{message}");
    assert_eq!(bench.held("c3"), 0);
    for id in ["c1", "c2", "c3"] {
        bench.del(id, &turned);
    }
    bench.assert_empty();
    assert_eq!(bench.add("c3", &turned), ["fd00:1:4::2", "10.1.4.2"]);
    bench.del("c3", &turned);
}

#[test]
fn a_failure_undoes_in_reverse() {
    let bench = Bench::new();
    for name in ["one", "two", "three", "four"] {
        bench.puppet(name);
        bench.prints(name, "ADD", &json!({"cniVersion": "0.4.0", "ips": []}));
    }
    let ipams = ["one", "two", "three", "four"].map(|kind| json!({"type": kind}));
    let config = Bench::config("all", &ipams);
    bench.fails("three", "ADD", 11, "full");
    let (code, message) = bench.call("ADD", &config).run().error();
    assert_eq!((code, message.as_str()), (11, "ipam.ipams[2] (three): full"));
    let asked = ["one ADD", "two ADD", "three ADD", "three DEL", "two DEL", "one DEL"];
    assert_eq!(bench.asked(), asked);
    assert_eq!(bench.records(), [] as [String; 0]);

    // What cannot be undone is remembered for the DEL.
    bench.fails("two", "DEL", 5, "no");
    bench.call("ADD", &config).run().error();
    assert_eq!(bench.asked(), asked);
    assert_eq!(bench.records().len(), 1);
    bench.fails_no_more("two", "DEL");
    bench.del("c1", &Bench::stripped("bridge"));
    assert_eq!(bench.asked(), ["two DEL"]);
    assert_eq!(bench.records(), [] as [String; 0]);
}

#[test]
fn del_and_gc_go_on_after_errors_and_tell_all() {
    let bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.puppet(name);
        bench.prints(name, "ADD", &json!({"ips": [{"address": "10.0.0.1/8"}]}));
    }
    bench.prints("two", "ADD", &json!({"ips": [{"address": "fd00::1/8"}]}));
    bench.prints("three", "ADD", &json!({"ips": []}));
    let config = Bench::config("all", &["one", "two", "three"].map(|kind| json!({"type": kind})));
    assert_eq!(bench.add("c1", &config), ["10.0.0.1", "fd00::1"]);
    bench.calls();
    bench.fails("one", "DEL", 5, "first");
    bench.fails("three", "DEL", 11, "third");
    let (code, message) = bench.call("DEL", &config).run().error();
    assert_eq!((code, message.as_str()), (11, "three: third; one: first"));
    assert_eq!(bench.asked(), ["three DEL", "two DEL", "one DEL"]);
    bench.fails_no_more("one", "DEL");
    bench.fails_no_more("three", "DEL");
    bench.del("c1", &Bench::stripped("bridge"));
    assert_eq!(bench.asked(), ["three DEL", "one DEL"], "the second has freed all");
    assert_eq!(bench.records(), [] as [String; 0]);

    bench.fails("one", "GC", 5, "first");
    // A plugin of before GC was specified.
    bench.fails("two", "GC", 4, "unknown CNI_COMMAND: GC");
    bench.fails("three", "GC", 50, "third");
    let (code, message) = bench.gc(&config, &[]).run().error();
    assert_eq!((code, message.as_str()), (5, "one: first; three: third"));
    assert_eq!(bench.asked(), ["one GC", "two GC", "three GC"]);
    assert_eq!(bench.given("three", "GC")["cni.dev/valid-attachments"], json!([]));

    bench.fails("one", "STATUS", 50, "first");
    bench.fails("two", "STATUS", 4, "unknown CNI_COMMAND: STATUS");
    bench.fails("three", "STATUS", 51, "third");
    let (code, message) = bench.call("STATUS", &config).run().error();
    assert_eq!(
        (code, message.as_str()),
        (51, "ipam.ipams[0] (one): first; ipam.ipams[2] (three): third")
    );
}

#[test]
fn del_finds_what_was_used_whatever_is_left_of_the_configuration() {
    for form in [
        Bench::stripped("bridge"),
        json!({"name": Bench::NETWORK}),
        json!({"cniVersion": "0.3.1", "name": Bench::NETWORK, "ipam": null}),
        json!({"cniVersion": "1.1.0", "name": Bench::NETWORK, "ipam": {"type": "chain", "ipams": [{"type": "missing"}, 5], "policy": 7}}),
        Bench::config("all", &[Bench::node_local("bad")]),
    ] {
        let bench = Bench::new();
        let config = dual();
        for id in ["c1", "c2"] {
            assert_eq!(bench.add(id, &config).len(), 2);
        }
        for _ in 0..2 {
            bench.del("c1", &form);
            assert_eq!((bench.held("c1"), bench.held("c2")), (0, 2), "{form}");
        }
        // Without the record, the configuration tells.
        fs::remove_dir_all(bench.run_dir().join("chain")).unwrap();
        bench.del("c2", &config);
        bench.assert_empty();
    }
}

/// GC when the runtime does not tell what the chain was made of.
#[test]
fn gc_finds_what_was_used() {
    let bench = Bench::new();
    let config = dual();
    for id in ["c1", "c2", "c3"] {
        bench.add(id, &config);
    }
    // One that has lost its record.
    fs::remove_file(bench.run_dir().join("chain/net/c3:eth0:ipam")).unwrap();
    let mut stripped = Bench::stripped("bridge");
    stripped["cniVersion"] = json!("1.1.0");
    bench.call("GC", &stripped).run().ok();
    assert_eq!(bench.records().len(), 2, "without a list nothing is freed");
    bench.gc(&stripped, &["c2"]).run().ok();
    assert_eq!((bench.held("c1"), bench.held("c2"), bench.held("c3")), (0, 2, 0));
    assert_eq!(bench.records(), ["c2:eth0:ipam"]);
    bench.gc(&stripped, &[]).run().ok();
    bench.assert_empty();
}

#[test]
fn check_sees_what_is_lost() {
    let bench = Bench::new();
    let config = dual();
    let result = bench.call("ADD", &config).run().ok();
    bench.check("c1", &config, &result).run().ok();
    // Another plugin behind us has added an address.
    let mut more = result.clone();
    more["ips"].as_array_mut().unwrap().push(json!({"address": "192.168.7.7/24"}));
    bench.check("c1", &config, &more).run().ok();
    let mut less = result.clone();
    less["ips"].as_array_mut().unwrap().pop();
    let (code, message) = bench.check("c1", &config, &less).run().error();
    assert_eq!(code, 100);
    assert!(message.contains("fd00:1:4::2, which prevResult does not have"), "{message}");
    let mut other = result.clone();
    other["ips"][0]["address"] = json!("10.1.4.9/24");
    let (code, message) = bench.check("c1", &config, &other).run().error();
    assert_eq!(code, 100);
    assert!(message.contains("10.1.4.9 not reserved"), "{message}");
    // Behind the chain's back: only one of the two still holds what it gave.
    let own = json!({"cniVersion": "1.1.0", "name": Bench::NETWORK, "type": "bridge", "ipam": Bench::node_local("10.1.{i}.0/24")});
    bench.call_of(&support::binary("node-local"), "DEL", &own).run().ok();
    let (code, message) = bench.check("c1", &config, &result).run().error();
    assert_eq!(code, 3);
    assert!(message.starts_with("ipam.ipams[0] (node-local): Failed to find address"), "{message}");
    bench.del("c1", &config);
    bench.assert_empty();
}

/// A runtime asks the network for addresses; each IPAM hears of its own.
#[test]
fn what_is_asked_for_goes_to_who_has_it() {
    let bench = Bench::new();
    bench.puppet("other");
    bench.prints("other", "ADD", &json!({"ips": [{"address": "192.0.2.9/24"}]}));
    let mut config = dual();
    config["ipam"]["ipams"].as_array_mut().unwrap().push(json!({"type": "other"}));
    config["args"] = json!({"cni": {"ips": ["fd00:1:4::77"], "keep": 1}});
    config["runtimeConfig"] = json!({"ips": ["192.0.2.9"], "mac": "x"});
    let add =
        bench.call("ADD", &config).env("CNI_ARGS", "IgnoreUnknown=1;IP=10.1.4.66;K8S_POD_NAME=p");
    assert_eq!(add.run().addresses(), ["10.1.4.66", "fd00:1:4::77", "192.0.2.9"]);
    assert_eq!(bench.calls(), ["other ADD c1 IgnoreUnknown=1;K8S_POD_NAME=p"]);
    let given = bench.given("other", "ADD");
    assert_eq!(given["runtimeConfig"], json!({"ips": ["192.0.2.9"], "mac": "x"}));
    assert_eq!(given["args"], json!({"cni": {"keep": 1}}));
    bench.del("c1", &config);
    let mut config = dual();
    config["runtimeConfig"] = json!({"ips": ["10.99.0.1"]});
    let (code, message) = bench.call("ADD", &config).run().error();
    assert_eq!(code, 7);
    assert!(message.starts_with("no listed IPAM gives 10.99.0.1"), "{message}");
    bench.assert_empty();
}

#[test]
fn everything_of_the_configuration_reaches_each() {
    let bench = Bench::new();
    bench.puppet("one");
    bench.prints("one", "ADD", &json!({"ips": [{"address": "10.0.0.1/8"}]}));
    let mut config = Bench::config("all", &[json!({"type": "one", "key": {"{i}": "{i}"}})]);
    config["prevResult"] = json!({"cniVersion": "1.1.0", "ips": []});
    config["runtimeConfig"] = json!({"portMappings": [{"hostPort": 1}]});
    config["args"] = json!({"x": [1, 2]});
    config["bridge"] = json!("cni0");
    bench.call("ADD", &config).env("CNI_ARGS", "A=B").run().ok();
    let mut expected = config.clone();
    // Under a main plugin nothing is filled in: that is for the top, and node-local does it itself.
    expected["ipam"] = json!({"type": "one", "key": {"{i}": "{i}"}});
    assert_eq!(bench.given("one", "ADD"), expected);
    assert_eq!(bench.calls(), ["one ADD c1 A=B"]);
}

/// Chains in a chain: dual stack that overflows as a whole.
#[test]
fn chains_in_chains() {
    let bench = Bench::new();
    let small = |a: &str, b: &str| json!({"type": "chain", "ipams": [Bench::node_local(a), Bench::node_local(b)]});
    let config = Bench::config(
        "first",
        &[small("10.1.{i}.0/30", "fd00:1:{i}::/126"), small("10.2.{i}.0/24", "fd00:2:{i}::/64")],
    );
    assert_eq!(bench.add("c1", &config), ["10.1.4.2", "fd00:1:4::2"]);
    let mut second = Vec::new();
    for id in ["c2", "c3", "c4"] {
        second.push(bench.add(id, &config));
    }
    assert_eq!(second.last().unwrap(), &["10.2.4.4", "fd00:2:4::4"], "{second:?}");
    bench.gc(&config, &["c1", "c4"]).run().ok();
    assert_eq!((bench.held("c1"), bench.held("c2"), bench.held("c4")), (2, 0, 2));
    for id in ["c1", "c4"] {
        bench.del(id, &Bench::stripped("bridge"));
    }
    bench.assert_empty();
}
