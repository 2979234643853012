//! The template files of all generations, on nodes from the first to the last that they have room for.

use serde_json::json;
use support::Workbench;

use super::{GENERATIONS, assert_refused, assert_untouched, ips, is_dual_stack, tail, template};

/// A template file: the first octet of its addresses, and its IPv6 prefix.
const TEMPLATES: [(&str, u8, &str); 3] =
    [("default", 11, "1100::"), ("ipvlan", 16, "4000::"), ("macvlan", 15, "4000::")];

/// The address that the first ADD of a node gets, with prefix lengths and gateway, IPv4 only.
fn first(name: &str, octet: u8, index: u32) -> (String, String) {
    match (name, index) {
        ("default", _) => (format!("{octet}.0.{index}.2/24"), format!("{octet}.0.{index}.1")),
        // The gateway is the network address, which would be node 0's first address.
        (_, 0) => (format!("{octet}.0.0.1/16"), format!("{octet}.0.0.0")),
        _ => (format!("{octet}.0.{index}.0/16"), format!("{octet}.0.0.0")),
    }
}

#[test]
fn the_first_address_is_range_start() {
    for generation in GENERATIONS {
        for (name, octet, prefix) in TEMPLATES {
            for index in [1, 2, 3, 4, 0, 200, 254, 255] {
                let bench = Workbench::on_node(index, "tmpl");
                bench.template(name, template(generation, name));
                let config = bench.config(json!({"cfg": name}));
                let outcome = bench.call("ADD", &config).run();

                let (v4, gateway) = first(name, octet, index);
                let mut expected = vec![(v4.clone(), gateway.clone())];
                if is_dual_stack(generation) {
                    let (address, length) = v4.split_once('/').expect("a prefix length");
                    let length = length.parse::<u8>().expect("a prefix length") + 96;
                    expected.push((
                        format!("{}/{length}", tail(prefix, address)),
                        tail(prefix, &gateway),
                    ));
                }
                assert_eq!(ips(&outcome), expected, "{generation}/{name}, index {index}");
                bench.call("CHECK", &config).run().ok();
                bench.del("c1", &config);
                assert!(bench.network().reservations().is_empty(), "{generation}/{name}");
            }
        }
    }
}

#[test]
fn addresses_follow_one_another() {
    for generation in GENERATIONS {
        for (name, octet, prefix) in TEMPLATES {
            let bench = Workbench::on_node(3, "tmpl");
            bench.template(name, template(generation, name));
            let config = bench.config(json!({"cfg": name}));
            let from = if name == "default" { 2 } else { 0 };
            for n in from..from + 5 {
                let v4 = format!("{octet}.0.3.{n}");
                let mut expected = vec![v4.clone()];
                if is_dual_stack(generation) {
                    expected.push(tail(prefix, &v4));
                }
                assert_eq!(bench.add(&format!("c{n}"), &config), expected, "{generation}/{name}");
            }
        }
    }
}

#[test]
fn there_is_no_node_256() {
    for generation in GENERATIONS {
        for (name, octet, _) in TEMPLATES {
            for index in [256, 257, 1000, u32::MAX] {
                let bench = Workbench::on_node(index, "tmpl");
                bench.template(name, template(generation, name));
                let config = bench.config(json!({"cfg": name}));
                let path = bench.templates().join(name).display().to_string();
                let number = format!("index {index}");
                let value = format!("{octet}.0.{index}.0");
                let names = [path.as_str(), &number, "NODE_INDEX", &value, "ipam.ranges[0][0]"];
                assert_refused(&bench.call("ADD", &config).run(), 7, &names);
                let status = bench.call("STATUS", &config).run();
                assert!(status.error().1.contains(&number), "{}", status.stdout);
                assert_untouched(&bench);
            }
        }
    }
}
