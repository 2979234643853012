//! Placeholders, the old marks, and `carve`: from the index to subnets.

use serde_json::{Value, json};
use support::Workbench;

use super::{assert_refused, assert_untouched, ips};

/// The first address that a node gets from these ranges, with prefix length and gateway.
fn first(index: u32, ipam: Value) -> (String, String) {
    let bench = Workbench::on_node(index, "rend");
    let outcome = bench.call("ADD", &bench.config(ipam)).run();
    ips(&outcome).swap_remove(0)
}

#[test]
fn placeholders() {
    for (subnet, index, address) in [
        ("10.1.{i}.0/24", 4, "10.1.4.2/24"),
        ("10.{i}.{i}.0/24", 4, "10.4.4.2/24"),
        ("10.{i/256}.{i%256}.0/24", 4, "10.0.4.2/24"),
        ("10.{i/256}.{i%256}.0/24", 255, "10.0.255.2/24"),
        ("10.{i/256}.{i%256}.0/24", 256, "10.1.0.2/24"),
        ("10.{i/256}.{i%256}.0/24", 300, "10.1.44.2/24"),
        ("10.{i/256}.{i%256}.0/24", 65535, "10.255.255.2/24"),
        // Decimal digits of the index read as hexadecimal ones: unique, but not what {i:x} gives.
        ("2001:db8:{i}::/64", 10, "2001:db8:10::2/64"),
        ("2001:db8:{i:x}::/64", 10, "2001:db8:a::2/64"),
        ("2001:db8:{i:x}::/64", 65535, "2001:db8:ffff::2/64"),
        ("2001:db8:1{i:04x}::/64", 7, ""),
        ("2001:db8:{i:04x}::/64", 7, "2001:db8:7::2/64"),
        ("2001:db8:1{i:03x}::/64", 10, "2001:db8:100a::2/64"),
        ("2001:db8:0:{i/256}{i%256}::/64", 1, "2001:db8:0:1::2/64"),
        ("1100::11.0.{i}.0/120", 4, "1100::b00:402/120"),
        ("10.1.%.0/24", 4, "10.1.4.2/24"),
        ("10.%.%.0/24", 4, "10.4.4.2/24"),
        ("1100::11.0.%.0/120", 4, "1100::b00:402/120"),
        ("10.1.x.0/24", 4, "10.1.4.2/24"),
        ("10.x.x.0/24", 4, "10.4.4.2/24"),
        ("1100::11.0.x.0/120", 4, "1100::b00:402/120"),
        // The mark of a placeholder is none of the old marks.
        ("10.{i%256}.%.0/24", 4, "10.4.4.2/24"),
    ] {
        let bench = Workbench::on_node(index, "rend");
        let config = bench.config(json!({"ranges": [[{"subnet": subnet}]]}));
        let outcome = bench.call("ADD", &config).run();
        if address.is_empty() {
            assert_refused(&outcome, 7, &["ipam.ranges[0][0].subnet", "invalid CIDR address"]);
            assert_untouched(&bench);
        } else {
            assert_eq!(ips(&outcome)[0].0, address, "{subnet}, index {index}");
        }
    }
}

#[test]
fn placeholders_in_every_address() {
    let range = json!({
        "subnet": "10.1.{i}.0/24",
        "rangeStart": "10.1.{i}.20",
        "rangeEnd": "10.1.{i}.29",
        "gateway": "10.1.{i}.254",
        "exclude": ["10.1.{i}.20", "10.1.{i}.22-10.1.{i}.23"],
    });
    let bench = Workbench::on_node(7, "rend");
    let config = bench.config(json!({
        "ranges": [[range]],
        "exclude": "10.1.{i}.24/30",
        "routes": [
            {"dst": "10.{i}.0.0/16", "gw": "10.1.{i}.253"},
            {"dst": "0.0.0.0/0"},
            {"dst": "192.168.%.0/24", "gw": "10.1.x.252"},
        ],
        "dns": {"nameservers": ["10.1.{i}.53"], "domain": "{node}.example", "search": ["n{i}.example"]},
    }));
    let result = bench.call("ADD", &config).run().ok();
    assert_eq!(result["ips"], json!([{"address": "10.1.7.21/24", "gateway": "10.1.7.254"}]));
    assert_eq!(
        result["routes"],
        json!([
            {"dst": "10.7.0.0/16", "gw": "10.1.7.253"},
            {"dst": "0.0.0.0/0"},
            {"dst": "192.168.7.0/24", "gw": "10.1.7.252"},
        ])
    );
    assert_eq!(result["dns"]["nameservers"], json!(["10.1.7.53"]));
    assert_eq!(result["dns"]["search"], json!(["n7.example"]));
    let domain = result["dns"]["domain"].as_str().expect("a domain");
    assert!(domain.ends_with(".example") && !domain.contains('{'), "{domain}");
    let others: Vec<String> = ["c2", "c3"].iter().flat_map(|id| bench.add(id, &config)).collect();
    assert_eq!(others, ["10.1.7.28", "10.1.7.29"]);
    assert_refused(&bench.call("ADD", &config).id("c4").run(), 11, &["no IP addresses available"]);
}

#[test]
fn the_old_style_range() {
    let ipam = json!({"subnet": "10.0.0.0/16", "rangeStart": "10.0.{i}.0", "gateway": "10.0.0.0"});
    assert_eq!(first(9, ipam), ("10.0.9.0/16".to_owned(), "10.0.0.0".to_owned()));
    let bench = Workbench::on_node(9, "rend");
    let ipam = json!({"subnet": "10.0.0.0/16", "rangeStart": "10.0.{i}.0", "gateway": "10.0.0.0"});
    let config = bench.config(ipam);
    let beyond = bench.call("ADD", &config).env("CNI_ARGS", "IP=10.0.10.0").run();
    assert_refused(&beyond, 7, &["requested IPs", "10.0.10.0"]);
}

/// Keys, and texts that are no addresses, keep what looks like a mark.
#[test]
fn marks_elsewhere_are_text() {
    let bench = Workbench::on_node(4, "rend");
    bench.scratch().write("100%.x/resolv.conf", "nameserver 192.0.2.1\n");
    let resolv_conf = bench.scratch().path().join("100%.x/resolv.conf");
    let data = bench.scratch().path().join("50%.x");
    let database = data.join("100%.x.db");
    for store in ["dir", "sqlite"] {
        let mut ipam = json!({
            "carve": {"pool": "10.1.0.0/16", "prefix": 24},
            "store": store,
            "dataDir": data,
            "resolvConf": resolv_conf,
            "{i}": "%",
        });
        if store == "sqlite" {
            ipam["database"] = json!(database);
        }
        let config = bench.config(ipam);
        let result = bench.call("ADD", &config).id(store).run().ok();
        assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.1"]));
    }
    // What the directory held went into the database, and the directory aside.
    assert!(!data.join("net").exists());
    let network = bench.network().in_database(&database);
    let held = ["dir", "sqlite"].map(|id| network.held_by(id, "eth0").len());
    assert_eq!(held, [1, 1]);
}

#[test]
fn unknown_placeholders_are_refused() {
    for (subnet, found) in [
        ("10.1.{j}.0/24", "{j}"),
        ("10.1.{}.0/24", "{}"),
        ("10.1.{i.0/24", "not closed"),
        ("10.1.{i/255}.0/24", "{i/255}"),
        ("10.1.{i%255}.0/24", "{i%255}"),
        ("10.1.{i:d}.0/24", "{i:d}"),
        ("10.1.{i:4x}.0/24", "{i:4x}"),
        ("10.1.{i:099x}.0/24", "{i:099x}"),
        ("10.1.{peer}.0/24", "{peer}"),
        ("10.1.{I}.0/24", "{I}"),
        ("10.1.{ i }.0/24", "{ i }"),
        ("10.1.{node}.0/24", "invalid CIDR address"),
    ] {
        let bench = Workbench::on_node(4, "rend");
        let config = bench.config(json!({"ranges": [[{"subnet": subnet}]]}));
        let names = ["ipam.ranges[0][0].subnet", found, "index 4"];
        assert_refused(&bench.call("ADD", &config).run(), 7, &names);
        assert_untouched(&bench);
    }
}

#[test]
fn what_comes_out_is_checked() {
    for (range, index, found) in [
        (json!({"subnet": "10.{i}.1.0/16"}), 4, "host bits"),
        (json!({"subnet": "10.1.{i}.0/24"}), 256, "invalid CIDR address: 10.1.256.0/24"),
        (json!({"subnet": "2001:db8:{i:x}::/64"}), 65536, "invalid CIDR address"),
        (json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.{i}.0"}), 1, "RangeStart 10.1.1.0"),
        (json!({"subnet": "10.1.0.0/30", "rangeStart": "10.1.0.{i}"}), 4, "RangeStart 10.1.0.4"),
        (json!({"subnet": "10.1.{i}.0/31"}), 4, "too small"),
    ] {
        let bench = Workbench::on_node(index, "rend");
        let config = bench.config(json!({"ranges": [[range]]}));
        let number = format!("index {index}");
        assert_refused(
            &bench.call("ADD", &config).run(),
            7,
            &["ipam.ranges[0][0]", found, &number],
        );
        assert_untouched(&bench);
    }
}

#[test]
fn carving() {
    for (pool, prefix, index, address, gateway) in [
        ("10.1.0.0/16", 24, 0, "10.1.0.2/24", "10.1.0.1"),
        ("10.1.0.0/16", 24, 4, "10.1.4.2/24", "10.1.4.1"),
        ("10.1.0.0/16", 24, 255, "10.1.255.2/24", "10.1.255.1"),
        ("10.0.0.0/8", 24, 300, "10.1.44.2/24", "10.1.44.1"),
        ("10.0.0.0/8", 24, 65535, "10.255.255.2/24", "10.255.255.1"),
        ("10.1.0.0/16", 26, 5, "10.1.1.66/26", "10.1.1.65"),
        ("10.1.0.0/16", 30, 16383, "10.1.255.254/30", "10.1.255.253"),
        ("10.1.0.0/16", 16, 0, "10.1.0.2/16", "10.1.0.1"),
        ("0.0.0.0/0", 24, 0x000a_0104, "10.1.4.2/24", "10.1.4.1"),
        ("fd00:1::/48", 64, 10, "fd00:1:0:a::2/64", "fd00:1:0:a::1"),
        ("fd00:1::/48", 64, 65535, "fd00:1:0:ffff::2/64", "fd00:1:0:ffff::1"),
        ("fd00::/16", 120, u32::MAX, "fd00::ff:ffff:ff02/120", "fd00::ff:ffff:ff01"),
        ("::/0", 32, u32::MAX, "ffff:ffff::2/32", "ffff:ffff::1"),
        ("10.%.0.0/16", 24, 4, "10.4.4.2/24", "10.4.4.1"),
        ("10.{i}.0.0/16", 24, 4, "10.4.4.2/24", "10.4.4.1"),
    ] {
        let carve = json!({"pool": pool, "prefix": prefix});
        let expected = (address.to_owned(), gateway.to_owned());
        let context = format!("{carve}, index {index}");
        assert_eq!(first(index, json!({"carve": carve})), expected, "{context}");
        // The same in a list, and as the subnet of a range.
        assert_eq!(first(index, json!({"carve": [carve]})), expected, "{context}");
        assert_eq!(first(index, json!({"ranges": [[{"carve": carve}]]})), expected, "{context}");
    }
    let bounded = json!([[{
        "carve": {"pool": "10.1.0.0/16", "prefix": 24},
        "rangeStart": "10.1.{i}.50",
        "gateway": "10.1.{i}.254",
    }]]);
    let expected = ("10.1.9.50/24".to_owned(), "10.1.9.254".to_owned());
    assert_eq!(first(9, json!({"ranges": bounded})), expected);
}

#[test]
fn an_index_that_does_not_fit_a_pool() {
    for (pool, prefix, index, room) in [
        ("10.1.0.0/16", 24, 256, "256 subnets"),
        ("10.1.0.0/16", 24, u32::MAX, "256 subnets"),
        ("10.1.0.0/16", 16, 1, "1 subnets"),
        ("fd00:1::/48", 64, 65536, "65536 subnets"),
    ] {
        let bench = Workbench::on_node(index, "rend");
        let config = bench.config(json!({"carve": {"pool": pool, "prefix": prefix}}));
        let outcome = bench.call("ADD", &config).run();
        assert_refused(&outcome, 7, &["ipam.carve", pool, room, &format!("index {index}")]);
        assert_untouched(&bench);
    }
}

/// Two nodes never share an address: every pair of indexes that one pool has room for.
#[test]
fn nodes_have_different_addresses() {
    for ipam in [
        json!({"carve": {"pool": "10.1.0.0/22", "prefix": 26}}),
        json!({"ranges": [[{"subnet": "10.1.0.0/16", "rangeStart": "10.1.{i}.0"}]]}),
        json!({"ranges": [[{"subnet": "10.{i/256}.{i%256}.0/24"}]]}),
        json!({"ranges": [[{"subnet": "fd00:0:{i:x}::/64"}]]}),
    ] {
        let mut seen = std::collections::BTreeMap::new();
        for index in 0..16 {
            let (address, _) = first(index, ipam.clone());
            if let Some(other) = seen.insert(address.clone(), index) {
                panic!("{address} on nodes {other} and {index}: {ipam}");
            }
        }
    }
}

/// A DEL and a GC do not know the node: where state lies is as it is written.
#[test]
fn a_database_is_literal() {
    let bench = Workbench::on_node(4, "rend");
    let config = bench.config(json!({
        "carve": {"pool": "10.1.0.0/16", "prefix": 24},
        "database": bench.scratch().path().join("{i}.db"),
    }));
    super::assert_refused(&bench.call("ADD", &config).run(), 7, &["ipam.database", "placeholder"]);
}
