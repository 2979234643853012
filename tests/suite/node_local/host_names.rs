//! The index that a host name tells, and the names that tell none.

use serde_json::json;
use support::Workbench;

use super::{assert_refused, assert_untouched, can_name_hosts, ips, tail, template};

fn host(name: &str) -> Workbench {
    let bench = Workbench::on_host(name, "host");
    bench.template("default", template("percent-0.4.0", "default"));
    bench
}

#[test]
fn names_with_one_number_at_the_end() {
    if !can_name_hosts("names_with_one_number_at_the_end") {
        return;
    }
    for (name, index) in [
        ("vm-004", 4),
        ("vm-000", 0),
        ("vm-010", 10),
        ("vm-200", 200),
        ("vm-255", 255),
        ("node7", 7),
        ("vm5", 5),
        ("kubenet1", 1),
        ("cni-worker1", 1),
        ("kind-worker2", 2),
        ("worker-pool-3", 3),
        ("vm-004.example.com", 4),
        ("vm-004.site7.example.com", 4),
        ("VM-0004", 4),
        ("9", 9),
    ] {
        let bench = host(name);
        let outcome = bench.call("ADD", &bench.config(json!({}))).run();
        let v4 = format!("11.0.{index}.");
        let expected =
            [("2/24", "1", ""), ("2/120", "1", "1100::")].map(|(host, gateway, prefix)| {
                let (address, length) = host.split_once('/').expect("a prefix length");
                let place = |host: &str| match prefix {
                    "" => format!("{v4}{host}"),
                    _ => tail(prefix, &format!("{v4}{host}")),
                };
                (format!("{}/{length}", place(address)), place(gateway))
            });
        assert_eq!(ips(&outcome), expected, "{name}");
    }
}

#[test]
fn names_that_tell_no_index() {
    if !can_name_hosts("names_that_tell_no_index") {
        return;
    }
    for (name, why) in [
        ("ip-10-0-1-5", "more than one number"),
        ("ip-10-0-1-5.eu-west-1.compute.internal", "more than one number"),
        ("rack2-vm4", "more than one number"),
        ("4vm4", "more than one number"),
        ("vm-08a", "does not end in a number"),
        ("vm", "does not end in a number"),
        ("localhost.localdomain4", "does not end in a number"),
        ("vm-4-", "does not end in a number"),
        ("vm-4294967296", "no node index"),
        ("vm-99999999999999999999", "no node index"),
    ] {
        let bench = host(name);
        let config = bench.config(json!({}));
        let add = bench.call("ADD", &config).run();
        assert_refused(&add, 7, &[name, why]);
        if why != "no node index" {
            // What to do: every other source is named.
            let ways = ["\"index\"", "/etc/cni/node-local/index", "NODE_INDEX", "\"hostname\""];
            assert_refused(&add, 7, &ways);
        }
        assert_refused(&bench.call("STATUS", &config).run(), 50, &[name, why]);
        assert_untouched(&bench);
    }
}

#[test]
fn an_index_that_does_not_fit_the_template() {
    if !can_name_hosts("an_index_that_does_not_fit_the_template") {
        return;
    }
    for (name, index) in [("vm-256", "256"), ("vm-65536", "65536"), ("vm-4294967295", "4294967295")]
    {
        let bench = host(name);
        let config = bench.config(json!({}));
        let path = bench.templates().join("default").display().to_string();
        let address = format!("11.0.{index}.0/24");
        assert_refused(
            &bench.call("ADD", &config).run(),
            7,
            &[
                name,
                &format!("index {index}"),
                "its host name",
                &path,
                &address,
                "ranges[0][0].subnet",
            ],
        );
        assert_untouched(&bench);
    }
}

#[test]
fn patterns_for_other_names() {
    if !can_name_hosts("patterns_for_other_names") {
        return;
    }
    for (name, pattern, index) in [
        ("ip-10-0-1-5", "^ip-10-0-1-([0-9]+)$", Some(5)),
        ("ip-10-0-1-5.eu-west-1.compute.internal", "^ip-10-0-1-([0-9]+)$", Some(5)),
        ("ip-10-0-2-5", "^ip-10-0-1-([0-9]+)$", None),
        ("rack2-vm4", "vm([0-9]+)", Some(4)),
        ("vm-08a", "^vm-([0-9]+)", Some(8)),
        ("vm-004", "^vm-([0-9]+)$", Some(4)),
        ("db-004", "^vm-([0-9]+)$", None),
        ("vm-4", "^(?:vm|db)-([0-9]+)$", Some(4)),
        ("vm-x", "^vm-(.*)$", None),
        ("vm-", "^vm-([0-9]*)$", None),
        ("vm-4", "^vm(-[0-9]+)$", None),
    ] {
        let bench = host(name);
        let outcome = bench.call("ADD", &bench.config(json!({"hostname": pattern}))).run();
        match index {
            Some(index) => {
                assert_eq!(ips(&outcome)[0].0, format!("11.0.{index}.2/24"), "{name}, {pattern}");
            }
            None => {
                assert_refused(&outcome, 7, &[name]);
                assert_untouched(&bench);
            }
        }
    }
}

/// The script cut the index out with `cut -d- -f2`: for these names node-local gives what it gave.
#[test]
fn the_names_of_the_script_mean_the_same() {
    if !can_name_hosts("the_names_of_the_script_mean_the_same") {
        return;
    }
    let bench = host("vm-004");
    let outcome = bench.call("ADD", &bench.config(json!({"cfg": "default"}))).run();
    let addresses: Vec<String> = ips(&outcome).into_iter().map(|(address, _)| address).collect();
    assert_eq!(addresses, ["11.0.4.2/24", "1100::b00:402/120"]);
}
