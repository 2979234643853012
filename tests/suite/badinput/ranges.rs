//! Ranges that are well-formed and do not fit: the subnet, each other, or the version.

use serde_json::json;

use super::{Expected, PLUGINS, Report, bench, good, set, touched};

/// Ranges that are well-formed, and wrong: the key to blame and its value are named.
#[test]
fn ranges_that_do_not_fit() {
    let net = "10.1.2.0/24";
    let rows = [
        (json!([[{"subnet": "10.1.2.1/24"}]]), "[0][0].subnet", "10.1.2.1/24"),
        (json!([[{"subnet": "fd00::1/64"}]]), "[0][0].subnet", "fd00::1/64"),
        (json!([[{"subnet": "10.1.2.0/31"}]]), "[0][0].subnet", "10.1.2.0/31"),
        (json!([[{"subnet": "10.1.2.0/32"}]]), "[0][0].subnet", "10.1.2.0/32"),
        (json!([[{"subnet": "fd00::/127"}]]), "[0][0].subnet", "fd00::/127"),
        (json!([[{"subnet": "fd00::/128"}]]), "[0][0].subnet", "fd00::/128"),
        (json!([[{"subnet": "::ffff:10.1.2.0/120"}]]), "[0][0].subnet", "10.1.2.0"),
        (json!([[{"subnet": net, "rangeStart": "10.1.3.1"}]]), "[0][0].rangeStart", "10.1.3.1"),
        (json!([[{"subnet": net, "rangeStart": "10.1.1.255"}]]), "[0][0].rangeStart", "10.1.1.255"),
        (json!([[{"subnet": net, "rangeStart": "fd00::1"}]]), "[0][0].rangeStart", "fd00::1"),
        (
            json!([[{"subnet": net, "rangeStart": "10.1.2.50", "rangeEnd": "10.1.2.40"}]]),
            "[0][0].rangeStart",
            "10.1.2.50",
        ),
        (json!([[{"subnet": net, "rangeStart": "10.1.2.255"}]]), "[0][0].rangeStart", "10.1.2.255"),
        (json!([[{"subnet": net, "rangeEnd": "10.1.3.1"}]]), "[0][0].rangeEnd", "10.1.3.1"),
        (json!([[{"subnet": net, "rangeEnd": "10.1.2.0"}]]), "[0][0].rangeEnd", "10.1.2.0"),
        (json!([[{"subnet": net, "rangeEnd": "fd00::1"}]]), "[0][0].rangeEnd", "fd00::1"),
        (json!([[{"rangeStart": "10.1.2.5"}]]), "[0][0].subnet", "nothing"),
        (json!([[{}]]), "[0][0].subnet", "nothing"),
        (json!([[null]]), "[0][0].subnet", "nothing"),
        (json!([[{"subnet": null}]]), "[0][0].subnet", "null"),
        (json!([[]]), "[0]", "[]"),
        (json!([[{"subnet": net}], []]), "[1]", "[]"),
        (json!([[{"subnet": net}], [{"subnet": "10.2.0.1/16"}]]), "[1][0].subnet", "10.2.0.1/16"),
        (json!([[{"subnet": net}, {"subnet": "10.1.2.128/25"}]]), "[0][1].subnet", "10.1.2.128/25"),
        (json!([[{"subnet": net}, {"subnet": "fd00::/64"}]]), "[0][1].subnet", "fd00::/64"),
        (json!([[{"subnet": net}], [{"subnet": net}]]), "[1]", "ipam.ranges[0] and ipam.ranges[1]"),
        (
            json!([[{"subnet": "fd00::/64"}], [{"subnet": net}], [{"subnet": "10.1.0.0/16"}]]),
            "[2]",
            "ipam.ranges[1] and ipam.ranges[2]",
        ),
        (json!([]), "", "nothing"),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for (ranges, path, value) in &rows {
            for key in ["ipam.ranges", "runtimeConfig.ipRanges"] {
                if ranges == &json!([]) && key != "ipam.ranges" {
                    continue;
                }
                let bench = bench(plugin);
                let mut config = bench.config(json!({}));
                set(&mut config, &format!("/{}", key.replace('.', "/")), ranges.clone());
                let path = format!("{key}{path}");
                let value = vec![value.replace("ipam.ranges", key)];
                let expected = Expected { code: 7, path, value };
                let what = format!("{} {key} {ranges}", plugin.name());
                for command in ["ADD", "STATUS"] {
                    let outcome = bench.call(command, &config).run();
                    report.refused(&format!("{command} {what}"), &outcome, &expected, &bench);
                }
                let del = bench.call("DEL", &config).run();
                report.deleted(&format!("DEL {what}"), &del, &bench);
            }
        }
    }
    report.done();
}

/// Ranges that came by different keys must fit each other, too.
#[test]
fn ranges_of_different_keys_that_overlap() {
    let mut report = Report::default();
    for plugin in PLUGINS {
        for (pointer, value, paths) in [
            ("/ipam/subnet", json!("10.1.2.0/25"), ["ipam", "ipam.ranges[0]"]),
            (
                "/runtimeConfig/ipRanges",
                json!([[{"subnet": "10.1.0.0/16"}]]),
                ["runtimeConfig.ipRanges[0]", "ipam.ranges[0]"],
            ),
        ] {
            let bench = bench(plugin);
            let mut config = good(&bench);
            set(&mut config, pointer, value);
            let outcome = bench.call("ADD", &config).run();
            for path in paths {
                let expected =
                    Expected { code: 7, path: path.to_owned(), value: vec![paths.join(" and ")] };
                report.refused(
                    &format!("{} {pointer}", plugin.name()),
                    &outcome,
                    &expected,
                    &bench,
                );
            }
        }
    }
    report.done();
}

/// Old versions have room for one address of each family.
#[test]
fn more_addresses_than_a_version_has_room_for() {
    for plugin in PLUGINS {
        for version in ["0.1.0", "0.2.0", ""] {
            let bench = bench(plugin);
            let mut config = bench.config(
                json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.3.0/24"}]]}),
            );
            config["cniVersion"] = json!(version);
            let outcome = bench.call("ADD", &config).run();
            let expected = Expected {
                code: 7,
                path: "cniVersion".to_owned(),
                value: vec![format!("{version:?}")],
            };
            assert_eq!(expected.complaints(&outcome), [] as [String; 0], "{}", outcome.stdout);
            assert_eq!(touched(&bench), [] as [String; 0]);
        }
    }
}
