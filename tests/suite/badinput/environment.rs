//! Variables that are missing or wrong: code 4; CNI_ARGS, which are configuration: code 7.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use support::Call;

use super::{Expected, PLUGINS, Report, bench, complaints_about_code, error_of, good, touched};

const IDENTITY: [&str; 4] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];

fn needed(command: &str) -> Vec<&'static str> {
    match command {
        "ADD" | "CHECK" => IDENTITY.to_vec(),
        "DEL" => vec!["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
        "GC" => vec!["CNI_PATH"],
        _ => vec![],
    }
}

/// Every combination of missing variables; an empty one is a missing one. All are named together.
#[test]
fn missing_variables() {
    let mut report = Report::default();
    for plugin in PLUGINS {
        for command in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
            for combination in 1..16_usize {
                let missing: Vec<&str> = (0..4)
                    .filter(|bit| combination >> bit & 1 == 1)
                    .map(|bit| IDENTITY[bit])
                    .collect();
                let fatal: Vec<&str> =
                    needed(command).into_iter().filter(|name| missing.contains(name)).collect();
                if fatal.is_empty() {
                    continue;
                }
                let bench = bench(plugin);
                let call = bench.call(command, &good(&bench));
                let unset =
                    missing.iter().fold(call.clone(), |call: Call, name| call.without(name));
                let empty = missing.iter().fold(call, |call, name| call.env(name, ""));
                for call in [unset, empty] {
                    let outcome = call.run();
                    let mut wrong = complaints_about_code(&outcome, 4);
                    let expected = format!("required env variables [{}] missing", fatal.join(","));
                    let error = error_of(&outcome);
                    if error["msg"] != expected {
                        wrong.push(format!("msg is not {expected:?}"));
                    }
                    wrong.extend(touched(&bench));
                    report.row(
                        &format!("{} {command} without {missing:?}", plugin.name()),
                        wrong,
                        &outcome,
                    );
                }
            }
        }
    }
    report.done();
}

#[test]
fn wrong_variables() {
    let long = "x".repeat(100_000);
    let rows: Vec<(&str, &str)> = vec![
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_CONTAINERID", "../../etc/passwd"),
        ("CNI_CONTAINERID", ".hidden"),
        ("CNI_CONTAINERID", "-x"),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_CONTAINERID", "a\n"),
        ("CNI_CONTAINERID", "a\r\neth0"),
        ("CNI_CONTAINERID", "ä"),
        ("CNI_CONTAINERID", "\u{1b}[31m"),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "a\tb"),
        ("CNI_IFNAME", "a\u{a0}b"),
        ("CNI_IFNAME", "a\n"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "sixteen_bytes_xx"),
        ("CNI_IFNAME", &long),
        ("CNI_COMMAND", "add"),
        ("CNI_COMMAND", "ADD "),
        ("CNI_COMMAND", "DELETE"),
        ("CNI_COMMAND", "\n"),
        ("CNI_COMMAND", &long),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for command in ["ADD", "DEL", "CHECK"] {
            for (variable, value) in &rows {
                let bench = bench(plugin);
                let outcome = bench.call(command, &good(&bench)).env(variable, value).run();
                let mut wrong = complaints_about_code(&outcome, 4);
                wrong.extend(touched(&bench));
                report.row(
                    &format!("{} {command} {variable}={value:.40?}", plugin.name()),
                    wrong,
                    &outcome,
                );
            }
        }
    }
    report.done();
}

#[test]
fn wrong_arguments() {
    let long = format!("IP={}", "1".repeat(100_000));
    let many = (0..5000).map(|n| format!("K{n}=v")).collect::<Vec<_>>().join(";");
    let rows: Vec<(&str, &str)> = vec![
        ("IP", "\"IP\""),
        (";", "\"\""),
        ("IP=10.1.2.5;", "\"\""),
        ("IP=10.1.2.5;;IgnoreUnknown=1", "\"\""),
        ("=", "="),
        ("IP=a=b", "IP=a=b"),
        ("IP=x", "IP=x"),
        ("IP=10.1.2", "IP=10.1.2"),
        ("IP=10.1.2.256", "IP=10.1.2.256"),
        ("IP=010.1.2.5", "IP=010.1.2.5"),
        ("IP=10.1.2.5/33", "IP=10.1.2.5/33"),
        ("IP=10.1.2.5,", "IP=10.1.2.5,"),
        ("IP=,10.1.2.5", "IP=,10.1.2.5"),
        ("IP=10.1.2.5 10.1.2.6", "IP=10.1.2.5 10.1.2.6"),
        ("IP=10.1.2.5\n", "IP=10.1.2.5"),
        ("IP=\u{1b}[31m", "IP="),
        ("IgnoreUnknown=yes", "IgnoreUnknown=yes"),
        ("IgnoreUnknown=", "IgnoreUnknown="),
        ("IgnoreUnknown=1;IgnoreUnknown=2", "IgnoreUnknown=2"),
        ("A=1;B=2", "\"A=1\" \"B=2\""),
        ("ip=10.1.2.5", "ip=10.1.2.5"),
        ("K8S_POD_NAME=p", "K8S_POD_NAME=p"),
        ("IgnoreUnknown=0;A=1", "A=1"),
        ("IgnoreUnknown=1, A=1", "IgnoreUnknown=1, A=1"),
        (&long, "IP=11111"),
        (&many, "K0=v"),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for (arguments, found) in &rows {
            let bench = bench(plugin);
            let config = good(&bench);
            let what = format!("{} {arguments:.60?}", plugin.name());
            let expected =
                Expected { code: 7, path: "CNI_ARGS".to_owned(), value: vec![(*found).to_owned()] };
            let add = bench.call("ADD", &config).env("CNI_ARGS", arguments).run();
            report.refused(&format!("ADD {what}"), &add, &expected, &bench);
            let del = bench.call("DEL", &config).env("CNI_ARGS", arguments).run();
            report.deleted(&format!("DEL {what}"), &del, &bench);
        }
    }
    report.done();
}

/// Bytes that are no text at all.
#[test]
fn variables_that_are_no_text() {
    let mut report = Report::default();
    for plugin in PLUGINS {
        for (variable, code) in [("CNI_CONTAINERID", 4), ("CNI_IFNAME", 4), ("CNI_ARGS", 7)] {
            let bench = bench(plugin);
            let config = good(&bench);
            let mut command = Command::new(support::binary(plugin.name()));
            command
                .env_clear()
                .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")])
                .envs([
                    ("CNI_NETNS", "/var/run/netns/none"),
                    ("CNI_PATH", "/opt/cni/bin"),
                    ("NODE_INDEX", "2"),
                ])
                .env("PLAT_STATE_DIR", bench.state())
                .env("PLAT_RUN_DIR", bench.run_dir())
                .env(variable, OsStr::from_bytes(b"IP=10.1.2.\xff"));
            let outcome = support::finish(&mut command, config.to_string().as_bytes());
            let mut wrong = complaints_about_code(&outcome, code);
            wrong.extend(touched(&bench));
            report.row(&format!("{} {variable}", plugin.name()), wrong, &outcome);
        }
    }
    report.done();
}
