//! Very much of what is right: an answer in bounded time, and addresses where there are any.

use serde_json::{Value, json};
use support::Workbench;

use super::{PLUGINS, bench, complaints_about_form, good, touched};

/// Subnets of 16 addresses, all different.
fn subnets(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| {
        let [_, b, c, d] = (n << 4).to_be_bytes();
        format!("10.{b}.{c}.{d}/28")
    })
}

fn assert_refused(bench: &Workbench, command: &str, stdin: Vec<u8>) {
    let outcome = bench.call(command, &Value::Null).stdin(stdin).run();
    assert_eq!(complaints_about_form(&outcome), [] as [String; 0], "{}", outcome.stdout);
    let (code, message) = outcome.error();
    assert_eq!(code, 6, "{message}");
    assert!(message.contains("larger than"), "{message}");
    assert_eq!(touched(bench), [] as [String; 0]);
}

#[test]
fn input_without_end() {
    for plugin in PLUGINS {
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let bench = bench(plugin);
            let mut config = good(&bench).to_string().into_bytes();
            config.resize(64 << 20, b' ');
            assert_refused(&bench, command, config);
        }
    }
}

#[test]
fn a_million_ranges() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let ranges: Vec<Value> =
            subnets(1_000_000).map(|subnet| json!({"subnet": subnet})).collect();
        let mut config = good(&bench);
        config["ipam"]["ranges"] = json!([ranges]);
        assert_refused(&bench, "ADD", config.to_string().into_bytes());
    }
}

/// As many as fit into the largest configuration that is read.
#[test]
fn thousands_of_ranges() {
    const COUNT: u32 = 30_000;
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let ranges: Vec<Value> = subnets(COUNT).map(|subnet| json!({"subnet": subnet})).collect();
        let config = bench.config(json!({"ranges": [ranges]}));
        assert_eq!(bench.add("c1", &config), ["10.0.0.2"]);
        let last = bench.call("ADD", &config).id("c2").env("CNI_ARGS", "IP=10.7.83.14").run();
        // The last of all ranges is 10.7.82.240/28.
        assert_eq!(last.error().0, 7);
        let last = bench.call("ADD", &config).id("c2").env("CNI_ARGS", "IP=10.7.82.254").run();
        assert_eq!(last.addresses(), ["10.7.82.254"]);
        // Two that overlap, at the very end.
        let mut ranges: Vec<Value> =
            config["ipam"]["ranges"][0].as_array().expect("a list").clone();
        ranges.push(json!({"subnet": "10.7.82.240/29"}));
        let overlapping = bench.config(json!({"ranges": [ranges]}));
        let (code, message) = bench.call("ADD", &overlapping).id("c3").run().error();
        assert!(code == 7 && message.contains("overlap"), "{message}");
        let sets: Vec<Value> = ranges.iter().map(|range| json!([range])).collect();
        let overlapping = bench.config(json!({"ranges": sets}));
        let (code, message) = bench.call("ADD", &overlapping).id("c3").run().error();
        assert!(code == 7 && message.contains("overlaps with"), "{message}");
    }
}

#[test]
fn thousands_of_exclusions_requests_and_routes() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let exclude: Vec<String> = (0..30_000_u32)
            .map(|n| {
                let [_, _, c, d] = (2 * n).to_be_bytes();
                format!("10.1.{c}.{d}")
            })
            .collect();
        let config =
            bench.config(json!({"ranges": [[{"subnet": "10.1.0.0/16"}]], "exclude": exclude}));
        assert_eq!(bench.add("c1", &config), ["10.1.0.3"]);
        assert_eq!(bench.add("c2", &config), ["10.1.0.5"]);

        let mut config = good(&bench);
        config["args"]["cni"]["ips"] =
            (0..30_000).map(|n| json!(format!("10.9.{}.{}", n / 250, n % 250))).collect();
        let outcome = bench.call("ADD", &config).id("c3").run();
        assert_eq!(outcome.error().0, 7);

        let routes: Vec<Value> = subnets(20_000).map(|dst| json!({"dst": dst})).collect();
        let mut config = good(&bench);
        config["name"] = json!("routes");
        config["ipam"]["routes"] = json!(routes);
        let result = bench.call("ADD", &config).run().ok();
        assert_eq!(result["routes"].as_array().map(Vec::len), Some(20_000));
    }
}

/// The whole of IPv6, or of IPv4, with hardly anything left.
#[test]
fn almost_everything_excluded() {
    for plugin in PLUGINS {
        for (subnet, exclude, left) in [
            (
                "::/0",
                json!("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
            (
                "::/0",
                json!([
                    "::/1",
                    "8000::/2",
                    "c000::-ffff::",
                    "ffff::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
                ]),
                "ffff::1",
            ),
            ("0.0.0.0/0", json!("0.0.0.0-255.255.255.253"), "255.255.255.254"),
            (
                "0.0.0.0/0",
                json!(["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "224.0.0.1-255.255.255.255"]),
                "224.0.0.0",
            ),
        ] {
            let bench = bench(plugin);
            let config =
                bench.config(json!({"ranges": [[{"subnet": subnet, "exclude": exclude}]]}));
            bench.call("STATUS", &config).run().ok();
            assert_eq!(bench.add("c1", &config), [left], "{config}");
            assert_eq!(bench.call("ADD", &config).id("c2").run().error().0, 11);
            assert_eq!(bench.call("STATUS", &config).run().error().0, 50);
            bench.del("c1", &config);
            assert_eq!(bench.add("c2", &config), [left]);
        }
        let bench = bench(plugin);
        let config = bench.config(json!({"ranges": [[{"subnet": "::/0", "exclude": "::/0"}]]}));
        let before = bench.call("STATUS", &config).run();
        assert!(before.exit == Some(1), "nothing can be handed out: {}", before.stdout);
        assert_eq!(bench.call("ADD", &config).run().exit, Some(1));
        assert_eq!(bench.network().reservations().len(), 0);
    }
}

#[test]
fn very_many_valid_attachments() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let config = good(&bench);
        for id in ["c1", "c2", "c3"] {
            bench.add(id, &config);
        }
        let ids: Vec<String> =
            (0..60_000).map(|n| format!("{n:064x}")).chain(["c2".to_owned()]).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        bench.call("GC", &bench.gc_config(&config, &ids)).run().ok();
        assert_eq!(bench.network().reservations().len(), 1);
        assert_eq!(bench.network().held_by("c2", "eth0").len(), 1);
    }
}
