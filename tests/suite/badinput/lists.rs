//! What CHECK and GC are given besides the configuration: `prevResult` and the valid attachments.

use serde_json::{Value, json};

use super::{Expected, PLUGINS, Report, bench, good, path_of, set};

#[test]
fn previous_results_that_are_none() {
    let rows = [
        ("/prevResult", vec![json!(5), json!("x"), json!(true), json!([])]),
        ("/prevResult/ips", vec![json!(5), json!("x"), json!(true), json!({})]),
        ("/prevResult/ips/0", vec![json!(5), json!("10.1.2.2/24"), json!(true), json!([])]),
        (
            "/prevResult/ips/0/address",
            vec![
                json!(5),
                json!(true),
                json!([]),
                json!({}),
                json!(""),
                json!("x"),
                json!("10.1.2.2"),
                json!("10.1.2.2/33"),
                json!("10.1.2.2/24\n"),
                json!("x".repeat(100_000)),
            ],
        ),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for (pointer, values) in &rows {
            for value in values {
                let bench = bench(plugin);
                let mut config = good(&bench);
                set(&mut config, pointer, value.clone());
                let what = format!("{} {pointer} {:.60}", plugin.name(), value.to_string());
                let check = bench.call("CHECK", &config).run();
                let expected = Expected::new(&path_of(pointer), value);
                report.refused(&what, &check, &expected, &bench);
                // Nobody else looks at it.
                let add = bench.call("ADD", &config).run();
                let del = bench.call("DEL", &config).run();
                for outcome in [add, del] {
                    let failed =
                        (outcome.exit != Some(0)).then(|| "fails because of it".to_owned());
                    report.row(&what, failed, &outcome);
                }
            }
        }
    }
    report.done();
}

/// A list that cannot be understood frees nothing.
#[test]
fn valid_attachments_that_are_none() {
    let entry =
        |container: Value, ifname: Value| json!([{"containerID": container, "ifname": ifname}]);
    let rows: Vec<(&str, Value)> = vec![
        ("", json!(5)),
        ("", json!("c1")),
        ("", json!(true)),
        ("", json!({})),
        ("", json!({"containerID": "c1", "ifname": "eth0"})),
        ("[0]", json!([5])),
        ("[0]", json!(["c1"])),
        ("[0]", json!([[]])),
        ("[0]", json!([null])),
        ("[0]", json!([{}])),
        ("[0]", json!([{"containerID": "c1"}])),
        ("[0]", json!([{"ifname": "eth0"}])),
        ("[0]", entry(Value::Null, json!("eth0"))),
        ("[0].containerID", entry(json!(5), json!("eth0"))),
        ("[0].ifname", entry(json!("c1"), json!([]))),
        ("[0]", entry(json!(""), json!("eth0"))),
        ("[0]", entry(json!("a/b"), json!("eth0"))),
        ("[0]", entry(json!("c1\n"), json!("eth0"))),
        ("[0]", entry(json!("c1"), json!(""))),
        ("[0]", entry(json!("c1"), json!("a/b"))),
        ("[0]", entry(json!("c1"), json!("sixteen_bytes_xx"))),
        ("[1]", json!([{"containerID": "c1", "ifname": "eth0"}, 5])),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            for (path, list) in &rows {
                let bench = bench(plugin);
                let mut config = good(&bench);
                bench.add("c1", &config);
                bench.add("c2", &config);
                config[key] = list.clone();
                let what = format!("{} {key} {list}", plugin.name());
                let before = bench.snapshot();
                let gc = bench.call("GC", &config).run();
                let at = list.pointer(&pointer_of(path)).expect("the path is the list's");
                let expected = Expected::new(&format!("{key}{path}"), at);
                let changes = before.changes(&bench.snapshot());
                report.row(&what, expected.complaints(&gc).into_iter().chain(changes), &gc);
            }
        }
    }
    report.done();
}

/// `[0].ifname` as a JSON pointer.
fn pointer_of(path: &str) -> String {
    path.replace('[', "/").replace(']', "").replace('.', "/")
}
