//! A node's range ends before the next node's begins, also where a template gives only `rangeStart`.

use serde_json::json;
use support::Workbench;

use super::{GENERATIONS, assert_refused, assert_untouched, is_dual_stack, tail, template};

fn node(index: u32, generation: &str, name: &str) -> Workbench {
    let bench = Workbench::on_node(index, "neigh");
    bench.template(name, template(generation, name));
    bench
}

fn pair(generation: &str, v4: &str) -> Vec<String> {
    let mut pair = vec![v4.to_owned()];
    if is_dual_stack(generation) {
        pair.push(tail("4000::", v4));
    }
    pair
}

#[test]
fn the_257th_add_begins_anew() {
    for generation in GENERATIONS {
        for (name, octet) in [("ipvlan", 16), ("macvlan", 15)] {
            let bench = node(1, generation, name);
            let config = bench.config(json!({"cfg": name}));
            for n in 0..260 {
                let expected = pair(generation, &format!("{octet}.0.1.{}", n % 256));
                assert_eq!(bench.add("c1", &config), expected, "{generation}/{name}, ADD {n}");
                bench.del("c1", &config);
            }
        }
    }
}

#[test]
fn the_257th_container_gets_no_address() {
    let bench = node(1, "percent-0.4.0", "macvlan");
    let config = bench.config(json!({"cfg": "macvlan"}));
    for n in 0..256 {
        let expected = pair("percent-0.4.0", &format!("15.0.1.{n}"));
        assert_eq!(bench.add(&format!("c{n}"), &config), expected);
    }
    let before = bench.snapshot();
    assert_refused(
        &bench.call("ADD", &config).id("c256").run(),
        11,
        &["no IP addresses available", "15.0.1.0-15.0.1.255"],
    );
    assert_refused(&bench.call("STATUS", &config).run(), 50, &["no IP addresses available"]);
    assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
    // One that goes makes room for one.
    bench.del("c77", &config);
    assert_eq!(bench.add("c256", &config), pair("percent-0.4.0", "15.0.1.77"));
}

#[test]
fn a_neighbours_address_cannot_be_requested() {
    for (index, first, last, foreign) in [
        // Node 0's first address is the gateway.
        (0, "15.0.0.1", "15.0.0.255", &["15.0.1.0"][..]),
        (1, "15.0.1.0", "15.0.1.255", &["15.0.0.255", "15.0.2.0"]),
        (254, "15.0.254.0", "15.0.254.255", &["15.0.253.255", "15.0.255.0"]),
        // The last node's range ends with the subnet; IPv4's broadcast address is nobody's.
        (255, "15.0.255.0", "15.0.255.254", &["15.0.254.255", "15.0.255.255", "15.1.0.0"]),
    ] {
        let bench = node(index, "percent-0.4.0", "macvlan");
        let config = bench.config(json!({"cfg": "macvlan"}));
        let requested = |id: &str, address: &str| {
            bench.call("ADD", &config).id(id).env("CNI_ARGS", format!("IP={address}")).run()
        };
        for (n, own) in [first, last].into_iter().enumerate() {
            let v6 = tail("4000::", own);
            let outcome = requested(&format!("c{n}"), &format!("{own},{v6}"));
            assert_eq!(outcome.addresses(), [own.to_owned(), v6], "index {index}");
        }
        for address in foreign {
            assert_refused(&requested("f1", address), 7, &["requested IPs", address]);
            if *address == "15.0.255.255" {
                // IPv6 has no broadcast address.
                continue;
            }
            let v6 = tail("4000::", address);
            assert_refused(&requested("f1", &v6), 7, &["requested IPs", &v6]);
        }
        assert_eq!(bench.network().held_by("f1", "eth0").len(), 0);
    }
}

/// Other ways to write where a node's range begins: all end where the next begins.
#[test]
fn range_ends_are_derived() {
    for (range, index, last, beyond) in [
        (
            json!({"subnet": "10.0.0.0/8", "rangeStart": "10.{i/256}.{i%256}.0"}),
            255,
            "10.0.255.255",
            "10.1.0.0",
        ),
        (
            json!({"subnet": "10.0.0.0/8", "rangeStart": "10.{i/256}.{i%256}.0"}),
            256,
            "10.1.0.255",
            "10.1.1.0",
        ),
        (json!({"subnet": "10.0.0.0/8", "rangeStart": "10.{i}.0.10"}), 3, "10.4.0.9", "10.4.0.10"),
        (json!({"subnet": "10.7.0.0/24", "rangeStart": "10.7.0.{i}"}), 9, "10.7.0.9", "10.7.0.10"),
        (
            json!({"subnet": "10.{i}.0.0/16", "rangeStart": "10.{i}.0.10"}),
            3,
            "10.3.255.254",
            "10.4.0.1",
        ),
        (
            json!({"subnet": "fd00::/32", "rangeStart": "fd00:0:{i:x}::"}),
            9,
            "fd00:0:9:ffff:ffff:ffff:ffff:ffff",
            "fd00:0:a::",
        ),
        (
            json!({"subnet": "fd00::/32", "rangeStart": "fd00:0:{i:x}::"}),
            65535,
            "fd00:0:ffff:ffff:ffff:ffff:ffff:ffff",
            "fd00:1::",
        ),
        // An end that is written stays.
        (
            json!({"subnet": "10.0.0.0/8", "rangeStart": "10.0.{i}.0", "rangeEnd": "10.0.{i}.99"}),
            3,
            "10.0.3.99",
            "10.0.3.100",
        ),
    ] {
        let bench = Workbench::on_node(index, "ends");
        let config = bench.config(json!({"ranges": [[range]]}));
        let requested = |address: &str| {
            bench.call("ADD", &config).env("CNI_ARGS", format!("IP={address}")).run()
        };
        assert_eq!(requested(last).addresses(), [last], "{config}");
        bench.del("c1", &config);
        assert_refused(&requested(beyond), 7, &["requested IPs", beyond]);
    }
}

/// 256 nodes begin at one address, and the range of this one ends where it begins itself.
#[test]
fn a_range_without_computable_end_is_refused() {
    let bench = Workbench::on_node(256, "ends");
    let range = json!({"subnet": "10.0.0.0/8", "rangeStart": "10.{i/256}.0.0"});
    let config = bench.config(json!({"ranges": [[range]]}));
    let names = ["ranges[0][0].rangeStart", "cannot be computed", "rangeEnd", "index 256"];
    assert_refused(&bench.call("ADD", &config).run(), 7, &names);
    assert_untouched(&bench);
}

/// Nothing of the range says which node this is: it is served, since it may be meant, and warned of.
#[test]
fn a_range_without_index_is_warned_of() {
    let bench = Workbench::on_node(5, "ends");
    for range in [
        json!({"subnet": "10.0.0.0/24"}),
        json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.7"}),
        json!({"subnet": "10.0.0.0/24", "gateway": "10.0.0.{i}"}),
    ] {
        let config = bench.config(json!({"ranges": [[range]]}));
        let outcome = bench.call("ADD", &config).run();
        outcome.ok();
        let warnings = outcome.stderr.matches("every node hands out the same addresses").count();
        assert_eq!(warnings, 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("ipam.ranges[0][0]"), "{}", outcome.stderr);
        bench.del("c1", &config);
    }
}
