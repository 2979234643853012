//! The demonstrations of the scenarios: `make demo-kubenet`, `-calico`, `-shared`, `-multus`, `-blocks`, `-vpp`.

use std::path::PathBuf;
use std::thread;

use rustix::process::Signal;
use support::{Outcome, VppProgram, finish, have, skip_unless};

use super::{Demo, needs};

/// The scripts, and what their last steps have printed when all was well.
const SCRIPTS: [(&str, &[&str]); 5] = [
    (
        "demo-kubenet.sh",
        &[
            "foreign 10.1.3.0/24 via 192.168.16.77",
            "10.1.3.0/24 via 192.168.16.3 dev eth0",
            "pod-3 -> pod-1 across nodes IPv4 ok IPv6 ok",
            "remove 10.1.2.0/24 via 192.168.16.2 on eth0 by protocol 205 - ours, and all of ours are to be removed",
            "0 added, 4 removed, 0 kept",
        ],
    ),
    (
        "demo-calico.sh",
        &[
            "add 10.244.2.0/26 via 192.168.16.2 vm-002 Calico's affinity for 10.244.2.0/26",
            "10.244.2.0/26 via 192.168.16.3 dev eth0",
            "borrowed of Calico's block 10.244.3.0/26",
        ],
    ),
    (
        "demo-shared.sh",
        &[
            "vm-002 pod-4 10.26.0.13/24 fd00:26::13/64",
            "still 4 IPv4 addresses are reserved",
            "vm-002's are reserved: 2 IPv4 addresses",
        ],
    ),
    (
        "demo-multus.sh",
        &[
            "ADD pod-2 on vm-002 net2 storage 10.3.2.2/24 fd00:10:3:2::2/64",
            "pod-2 -> pod-1 by net2 IPv4 ok IPv6 ok",
            "DEL pod-2 on vm-002 by eth0",
        ],
    ),
    (
        "demo-blocks.sh",
        &[
            "vm-002 block of pool default/blocks",
            "pod-2 -> pod-1 across nodes IPv4 ok IPv6 ok",
            "DEL pod-2 on vm-002",
        ],
    ),
];

fn can_run(test: &str) -> bool {
    let mut all = needs().to_vec();
    all.push((have("etcd"), "etcd-server"));
    all.push((have("etcdctl"), "etcd-client"));
    skip_unless(&format!("demo::scenarios::{test}"), &all)
}

fn assert_worked(outcome: &Outcome, said: &[&str]) {
    let text = &outcome.stdout;
    assert_eq!(outcome.exit, Some(0), "{text}{}", outcome.stderr);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    for wanted in said {
        assert!(lines.iter().any(|line| line.contains(wanted)), "no {wanted:?} in: {text}");
    }
    assert!(!text.contains("LOST"), "{text}");
    assert!(text.ends_with("\nEverything worked, and nothing is left.\n"), "{text}");
}

#[test]
fn all_at_a_time_work_and_leave_nothing() {
    if !can_run("all_at_a_time_work_and_leave_nothing") {
        return;
    }
    // Mostly they wait.
    thread::scope(|scope| {
        for (script, said) in SCRIPTS {
            scope.spawn(move || {
                let mut demo = Demo::of(script, script);
                let outcome = finish(&mut demo.command, b"");
                assert_worked(&outcome, said);
                assert_eq!(demo.processes(), [] as [PathBuf; 0], "{script}");
            });
        }
    });
}

#[test]
fn with_a_vpp_on_each_node() {
    let test = "demo::scenarios::with_a_vpp_on_each_node";
    if VppProgram::find(test).is_none() || !can_run("with_a_vpp_on_each_node") {
        return;
    }
    let mut demo = Demo::of("demo-vpp.sh", "vpp");
    let outcome = finish(&mut demo.command, b"");
    let said = ["pod-3 -> pod-2 across nodes IPv4 ok IPv6 ok", "DEL pod-3 on vm-001"];
    assert_worked(&outcome, &said);
    assert_eq!(demo.processes(), [] as [PathBuf; 0]);
}

#[test]
fn one_that_is_ended_leaves_nothing() {
    if !can_run("one_that_is_ended_leaves_nothing") {
        return;
    }
    let mounted = || PathBuf::from("/srv/cni-ipam/shared").exists();
    let before = mounted();
    // While agents and etcd run; and one with mounts of its own.
    for (script, at, signal) in [
        ("demo-blocks.sh", "ADD pod-1", Signal::INT),
        ("demo-calico.sh", "It does so", Signal::KILL),
        ("demo-shared.sh", "ADD pod-2", Signal::TERM),
    ] {
        Demo::of(script, &format!("ended-{script}")).is_ended(at, signal);
    }
    assert_eq!(mounted(), before, "that was the nodes' /srv");
}

#[test]
fn without_a_plugin_each_says_what_to_do() {
    let all = SCRIPTS.iter().map(|(script, _)| *script).chain(["demo-vpp.sh"]);
    for script in all {
        let mut demo = Demo::of(script, &format!("bare-{script}"));
        // Any program will do for a VPP: it is not come to.
        demo.command.env("PLAT_BIN_DIR", "/nonexistent").env("VPP_BIN", "/bin/true");
        let outcome = finish(&mut demo.command, b"");
        assert_eq!(outcome.exit, Some(1), "{script}");
        assert!(outcome.stderr.contains(": make build"), "{script}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{script}");
    }
    let mut demo = Demo::of("demo-vpp.sh", "bare-no-vpp");
    let outcome = finish(demo.command.env("VPP_BIN", "/nonexistent"), b"");
    assert_eq!(outcome.exit, Some(1));
    assert!(outcome.stderr.contains("name one by VPP_BIN"), "{}", outcome.stderr);
}
