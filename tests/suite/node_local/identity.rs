//! Where the index comes from: an ordered list, of which the first that is there counts.

use std::fs;

use serde_json::{Value, json};
use support::Workbench;

use super::{assert_refused, assert_untouched, can_name_hosts, ips};

fn config(bench: &Workbench, index: Value) -> Value {
    let mut ipam = json!({"carve": {"pool": "10.0.0.0/8", "prefix": 24}});
    if !index.is_null() {
        ipam["index"] = index;
    }
    bench.config(ipam)
}

/// The subnet that an ADD chooses from.
fn subnet_of(bench: &Workbench, config: &Value) -> String {
    let (address, gateway) = ips(&bench.call("ADD", config).run()).swap_remove(0);
    bench.del("c1", config);
    assert!(address.ends_with("/24"), "{address}");
    gateway.strip_suffix(".1").expect("a gateway that is the first address").to_owned()
}

fn register(bench: &Workbench, index: &str) {
    fs::create_dir_all(bench.state()).expect("a scratch directory can be made");
    fs::write(bench.state().join("node-index"), index).expect("a scratch file can be written");
}

#[test]
fn the_first_source_counts() {
    if !can_name_hosts("the_first_source_counts") {
        return;
    }
    // Registered, but the host name tells nothing: it is the last resort.
    let mut bench = Workbench::on_host("ip-10-0-1-5", "ident");
    register(&bench, "50\n");
    assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), "10.0.50");
    bench.move_to_host("vm-40");
    assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), "10.0.40");
    bench.set("NODE_INDEX", "30");
    assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), "10.0.30");
    bench.template("index", "20\n");
    assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), "10.0.20");
    assert_eq!(subnet_of(&bench, &config(&bench, json!(10))), "10.0.10");
}

/// A source that is there and cannot be understood: going on to the next one would give another
/// node's addresses.
#[test]
fn a_broken_source_is_no_reason_to_go_on() {
    let broken = [
        "",
        "x",
        "-1",
        "+1",
        "1.0",
        "0x10",
        "1e3",
        "4 5",
        "4294967296",
        "99999999999999999999",
        "٤",
    ];
    for text in broken {
        // Nothing in a variable is no variable.
        if !text.is_empty() {
            let bench =
                Workbench::new(support::Plugin::NodeLocal, "ident").with("NODE_INDEX", text);
            let outcome = bench.call("ADD", &config(&bench, Value::Null)).run();
            assert_refused(&outcome, 7, &["NODE_INDEX", text, "from 0 to 4294967295"]);
            assert_untouched(&bench);
        }

        let bench = Workbench::on_node(4, "ident");
        bench.template("index", text);
        let path = bench.templates().join("index").display().to_string();
        let outcome = bench.call("ADD", &config(&bench, Value::Null)).run();
        assert_refused(&outcome, 7, &[&path, text, "from 0 to 4294967295"]);
        assert_untouched(&bench);

        let bench = Workbench::on_node(4, "ident");
        let outcome = bench.call("ADD", &config(&bench, json!(text))).run();
        assert_refused(&outcome, 7, &["ipam.index", text, "from 0 to 4294967295"]);
        assert_untouched(&bench);
    }
    for value in [
        json!(-1),
        json!(1.5),
        json!(4_294_967_296_u64),
        json!(1e30),
        json!(true),
        json!([]),
        json!({}),
    ] {
        let bench = Workbench::on_node(4, "ident");
        let outcome = bench.call("ADD", &config(&bench, value.clone())).run();
        assert_refused(&outcome, 7, &["ipam.index", "from 0 to 4294967295"]);
        assert_untouched(&bench);
    }
    let bench = Workbench::on_node(4, "ident");
    fs::create_dir_all(bench.templates().join("index")).expect("a scratch directory can be made");
    let path = bench.templates().join("index").display().to_string();
    assert_refused(&bench.call("ADD", &config(&bench, Value::Null)).run(), 5, &[&path]);
    assert_untouched(&bench);
}

/// What comes after the source that counts is not even read.
#[test]
fn sources_behind_the_first_do_not_matter() {
    let bench = Workbench::on_node(4, "ident");
    fs::write(bench.state(), "no directory").expect("a scratch file can be written");
    assert_eq!(bench.call("STATUS", &config(&bench, Value::Null)).run().stdout, "");
    let bench = Workbench::on_node(4, "ident");
    fs::create_dir_all(bench.templates().join("index")).expect("a scratch directory can be made");
    assert_eq!(subnet_of(&bench, &config(&bench, json!(7))), "10.0.7");
}

#[test]
fn a_broken_registration() {
    if !can_name_hosts("a_broken_registration") {
        return;
    }
    let bench = Workbench::on_host("ip-10-0-1-5", "ident");
    register(&bench, "five");
    let path = bench.state().join("node-index").display().to_string();
    assert_refused(&bench.call("ADD", &config(&bench, Value::Null)).run(), 7, &[&path, "five"]);
    assert!(!bench.data().exists());
}

/// Decimal whatever the zeros, white space around it or not, as a number or as a text.
#[test]
fn spellings_of_an_index() {
    for (text, subnet) in [
        ("0", "10.0.0"),
        ("000", "10.0.0"),
        ("7", "10.0.7"),
        ("007", "10.0.7"),
        ("010", "10.0.10"),
        ("  8\n", "10.0.8"),
        ("08", "10.0.8"),
        ("255", "10.0.255"),
        ("256", "10.1.0"),
        ("65535", "10.255.255"),
    ] {
        let bench = Workbench::new(support::Plugin::NodeLocal, "ident");
        assert_eq!(subnet_of(&bench, &config(&bench, json!(text))), subnet, "{text:?}");
        bench.template("index", text);
        assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), subnet, "{text:?}");
        let bench = Workbench::new(support::Plugin::NodeLocal, "ident").with("NODE_INDEX", text);
        assert_eq!(subnet_of(&bench, &config(&bench, Value::Null)), subnet, "{text:?}");
    }
    let bench = Workbench::on_node(4, "ident");
    assert_eq!(subnet_of(&bench, &config(&bench, json!(9))), "10.0.9");
    // Beyond the pool.
    let outcome = bench.call("ADD", &config(&bench, json!(65536))).run();
    assert_refused(&outcome, 7, &["index 65536", "the configuration", "10.0.0.0/8"]);
}

#[test]
fn patterns_that_are_none() {
    for pattern in ["vm-([0-9]+", "vm-[0-9]+", "(vm)-([0-9]+)", "*", "", "(?P<a>x)(y)", "\\"] {
        // The pattern is not looked at while a better source is there.
        let bench = Workbench::new(support::Plugin::NodeLocal, "ident");
        let ipam = json!({"carve": {"pool": "10.0.0.0/8", "prefix": 24}, "hostname": pattern});
        let config = bench.config(ipam);
        let outcome = bench.call("ADD", &config).run();
        assert_refused(&outcome, 7, &["ipam.hostname", "one capture group"]);
        assert_refused(&bench.call("STATUS", &config).run(), 50, &["ipam.hostname"]);
        assert_untouched(&bench);
    }
}
