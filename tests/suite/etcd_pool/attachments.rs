//! ADD, CHECK, DEL, GC and STATUS of one node.

use serde_json::{Value, json};
use support::etcd::{Etcd, available};
use support::{PoolNode, wait_until};

use super::{ask, error, family, local, records, sync, wait_for};
use ipam_core::addr::Family;
use ipam_pool::key::{DEFAULT_PREFIX, Keys};
use ipam_pool::txn::Op;

#[test]
fn an_attachment_lives_and_its_records_follow() {
    if !available("an_attachment_lives_and_its_records_follow") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-life", &etcd.patient());
    let config = node.config(local());
    node.call("STATUS", &config).run().ok();

    let outcome = node.call("ADD", &config).run();
    let result = outcome.ok();
    assert_eq!(outcome.stderr, "", "nothing to be warned of");
    let ips = outcome.addresses();
    assert_eq!(ips.iter().map(|ip| family(ip)).collect::<Vec<_>>(), [Family::V4, Family::V6]);
    assert_eq!(result["ips"][0]["address"], json!(format!("{}/16", ips[0])));
    assert_eq!(result["ips"][0]["gateway"], json!("10.64.0.1"));
    assert_eq!(result["ips"][1]["address"], json!(format!("{}/96", ips[1])));
    assert_eq!(result["ips"][1]["gateway"], json!("fd00:64::1"));
    let holder = ["c1", "eth0", "net"];
    wait_for(&etcd, &[(&ips[0], holder), (&ips[1], holder)]);
    node.settle();

    // Again, as a runtime does that has not seen the answer.
    assert_eq!(node.add("c1", &config), ips);
    let mut checked = config.clone();
    checked["prevResult"] = result;
    node.call("CHECK", &checked).run().ok();
    assert_eq!(node.call("CHECK", &checked).id("c9").run().error().0, 3);
    checked["prevResult"]["ips"][0]["address"] = json!("10.64.0.9/16");
    let (code, text) = error(&node.call("CHECK", &checked).run());
    assert_eq!(code, 100);
    assert!(text.contains("10.64.0.9 not reserved"), "{text}");

    node.call("STATUS", &config).run().ok();
    for _ in 0..2 {
        node.del("c1", &config);
    }
    wait_for(&etcd, &[]);
    assert_eq!(node.call("CHECK", &config).run().error().0, 3);
    node.settle();
}

#[test]
fn a_synchronous_answer_has_its_record() {
    if !available("a_synchronous_answer_has_its_record") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-sync", &etcd.patient());
    let config = node.config(sync());
    for id in ["c1", "c2", "c3"] {
        let outcome = node.call("ADD", &config).id(id).run();
        let ips = outcome.addresses();
        let holder = [id, "eth0", "net"].map(str::to_owned);
        assert_eq!(records(&etcd).get(&super::address(&ips[0])), Some(&holder));
        assert_eq!(node.add(id, &config), ips);
        let mut checked = config.clone();
        checked["prevResult"] = outcome.json();
        node.call("CHECK", &checked).id(id).run().ok();
    }
    let ips = node.add("c3", &config);
    let key = Keys::new(DEFAULT_PREFIX).address("default", super::address(&ips[0]));
    let record = ask(&etcd, vec![Op::get(key.clone())]).got(0)[0].value.clone();
    ask(&etcd, vec![Op::delete(key.clone())]);
    // An etcd that is slow to answer is no reason to fail: then there is only a warning.
    wait_until("CHECK finds that there is no record", || {
        let outcome = node.call("CHECK", &config).id("c3").run();
        if outcome.exit == Some(0) {
            return false;
        }
        let (code, text) = error(&outcome);
        assert_eq!(code, 100, "{text}");
        assert!(text.contains("has no record in etcd"), "{text}");
        true
    });
    ask(&etcd, vec![Op::put(key, record)]);
    node.call("CHECK", &config).id("c3").run().ok();
    node.del("c1", &config);
    node.del("c2", &config);
    wait_for(&etcd, &[(&ips[0], ["c3", "eth0", "net"])]);
    node.settle();
}

#[test]
fn what_the_runtime_does_not_know_is_freed() {
    if !available("what_the_runtime_does_not_know_is_freed") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-gc", &etcd.patient());
    let config = node.config(json!({"name": "p", "cidr": "10.1.0.0/24"}));
    let other = node.config_of("other", json!({"pool": "p"}));
    let kept = node.add("c1", &config);
    node.add("c2", &config);
    node.add("c3", &config);
    let others = node.add("c2", &other);
    let valid = |ids: &[&str]| -> Value {
        let mut config = config.clone();
        config["cni.dev/valid-attachments"] =
            ids.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        config
    };
    // Without a list nothing is freed.
    node.call("GC", &config).run().ok();
    node.call("GC", &valid(&["c1"])).run().ok();
    let expected =
        [(kept[0].as_str(), ["c1", "eth0", "net"]), (&others[0], ["c2", "eth0", "other"])];
    wait_for(&etcd, &expected);
    node.call("GC", &valid(&[])).run().ok();
    wait_for(&etcd, &expected[1..]);
    node.settle();
}

#[test]
fn an_address_may_be_asked_for() {
    if !available("an_address_may_be_asked_for") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-ask", &etcd.patient());
    let config = node.config(local());
    let ask = |id: &str, ips: &[&str]| {
        let mut config = config.clone();
        config["runtimeConfig"] = json!({"ips": ips});
        node.call("ADD", &config).id(id).run()
    };
    let wanted = ["10.64.9.9", "fd00:64::9:9"];
    assert_eq!(ask("c1", &wanted).addresses(), wanted);
    assert_eq!(ask("c1", &wanted).addresses(), wanted);
    let args = node.call("ADD", &config).id("c2").env("CNI_ARGS", "IP=10.64.9.10");
    assert_eq!(args.run().addresses()[0], "10.64.9.10");
    for (id, ips, code) in [
        ("c3", &["10.64.9.9"][..], 11),
        ("c1", &["10.64.9.11"], 7),
        ("c4", &["10.99.0.1"], 7),
        ("c5", &["10.64.0.1"], 7),
    ] {
        let outcome = ask(id, ips);
        assert_eq!(outcome.error().0, code, "{ips:?}: {}", outcome.stdout);
    }
    node.settle();
}

/// A pool's addresses are unique whatever networks use it.
#[test]
fn networks_that_share_a_pool_share_no_address() {
    if !available("networks_that_share_a_pool_share_no_address") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-share", &etcd.patient());
    let pool = json!({"name": "p", "cidr": "10.1.0.0/28", "blk": 29});
    let networks: Vec<Value> =
        ["a", "b"].map(|name| node.config_of(name, json!({"pool": pool}))).into();
    let mut seen = std::collections::BTreeSet::new();
    for id in ["c1", "c2", "c3"] {
        for network in &networks {
            for ip in node.add(id, network) {
                assert!(seen.insert(ip.clone()), "{ip} was given out twice");
            }
        }
    }
    // The attachment of one network is none of the other's.
    node.del("c1", &networks[0]);
    wait_until("its record is gone", || records(&etcd).len() == 5);
    node.settle();
}

#[test]
fn routes_dns_and_families_are_as_written() {
    if !available("routes_dns_and_families_are_as_written") {
        return;
    }
    let etcd = Etcd::single();
    let node = PoolNode::new("pool-rest", &etcd.patient());
    let resolv = node.scratch().write("resolv.conf", "nameserver 192.0.2.53\nsearch a.example\n");
    let config = node.config_of(
        "net",
        json!({
            "pool": local(), "families": ["ipv6"], "resolvConf": resolv,
            "routes": [{"dst": "::/0", "mtu": 1400}], "dataDir": "/none",
        }),
    );
    let outcome = node.call("ADD", &config).run();
    let result = outcome.ok();
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(1));
    assert_eq!(result["routes"], json!([{"dst": "::/0", "mtu": 1400}]));
    assert_eq!(result["dns"], json!({"nameservers": ["192.0.2.53"], "search": ["a.example"]}));
    assert_eq!(outcome.stderr, "etcd-pool: ipam.dataDir: unknown key, ignored\n");
    std::fs::remove_file(&resolv).expect("it was there");
    assert_eq!(node.call("STATUS", &config).run().error().0, 50);
    node.settle();
}
