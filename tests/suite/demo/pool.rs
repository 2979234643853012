//! The demonstration of `make demo-pool`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::process::Signal;
use support::{Outcome, finish, have, skip_unless};

use super::{Demo, needs, table, two_at_a_time};

const SCRIPT: &str = "demo-pool.sh";

/// Which node each pod is on.
const NODES: [(&str, &str); 7] = [
    ("pod-1", "vm-001"),
    ("pod-2", "vm-001"),
    ("pod-3", "vm-002"),
    ("pod-4", "vm-003"),
    ("pod-5", "vm-001"),
    ("pod-6", "vm-002"),
    ("pod-7", "vm-003"),
];

fn can_run(test: &str) -> bool {
    let mut all = needs().to_vec();
    all.push((have("etcd"), "etcd-server"));
    skip_unless(test, &all)
}

/// What ADD has answered for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    node: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

/// The calls of a kind, as they were printed: `ADD pod-1 on vm-001   10.64.0.1   fd00:64::1   etcd-pool took …`.
fn calls(outcome: &Outcome, kind: &str) -> BTreeMap<String, Given> {
    let mut calls = BTreeMap::new();
    for line in outcome.stdout.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [first, pod, "on", node, v4, v6, "etcd-pool", "took", time, "ms"] = words[..] else {
            continue;
        };
        if first != kind {
            continue;
        }
        assert!(time.parse::<f64>().is_ok_and(|time| time > 0.0), "{line}");
        let given = Given {
            node: node.to_owned(),
            v4: v4.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
            v6: v6.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
        };
        assert_eq!(calls.insert(pod.to_owned(), given), None, "{line}");
    }
    calls
}

/// The part of what was printed that begins with this line, up to the next step.
fn part<'a>(outcome: &'a Outcome, heading: &str) -> &'a str {
    let (_, rest) = outcome
        .stdout
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("{heading:?} is not in: {}", outcome.stdout));
    // Steps begin after an empty line, and plat's tables may have some in them, too.
    let next = rest.match_indices("\n\n").find(|(at, _)| {
        let line = rest[at + 2..].lines().next().unwrap_or_default();
        HEADINGS.iter().any(|heading| line.starts_with(heading))
    });
    next.map_or(rest, |(at, _)| &rest[..at])
}

/// How the steps begin.
const HEADINGS: &[&str] = &[
    "Three nodes",
    "One configuration",
    "Four pods",
    "Pings",
    "The cluster",
    "Who has",
    "The pool",
    "etcd is killed",
    "Pods are started",
    "What vm-001",
    "etcd comes back",
    "The next call",
    "Pods deleted",
    "Everything worked",
];

/// The addresses of blocks of this prefix length are of one node.
fn assert_blocks(given: &BTreeMap<String, Given>) {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for (pod, given) in given {
        assert!(given.v4.octets().starts_with(&[10, 64]), "{pod}: {given:?}");
        assert_eq!(given.v6.segments()[..4], [0xfd00, 0x64, 0, 0], "{pod}: {given:?}");
        for block in
            [format!("4 {}", u32::from(given.v4) >> 6), format!("6 {}", u128::from(given.v6) >> 6)]
        {
            let owner = *owners.entry(block).or_insert(&given.node);
            assert_eq!(owner, given.node, "{pod} is in a block of another node: {given:?}");
        }
    }
    assert_eq!(owners.len(), 6, "one block of each family on each node: {owners:?}");
}

fn assert_worked(outcome: &Outcome) {
    assert_eq!(outcome.exit, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let text = &outcome.stdout;

    let added = calls(outcome, "ADD");
    let nodes: BTreeMap<&str, &str> =
        added.iter().map(|(pod, given)| (pod.as_str(), given.node.as_str())).collect();
    assert_eq!(nodes, BTreeMap::from(NODES), "{text}");
    let distinct: BTreeSet<Ipv4Addr> = added.values().map(|given| given.v4).collect();
    assert_eq!(distinct.len(), added.len(), "an address was given twice: {text}");
    assert_blocks(&added);
    assert_eq!(calls(outcome, "DEL"), added, "what was added was deleted, once: {text}");
    let away = part(outcome, "Pods are started and deleted all the same");
    let lines =
        |kind: &str| away.lines().filter(|line| line.trim_start().starts_with(kind)).count();
    assert_eq!((lines("ADD"), lines("DEL")), (3, 3), "one of each on each node: {away}");

    let pings = |ending: &str| text.lines().filter(|line| line.ends_with(ending)).count();
    assert_eq!(pings("IPv4 ok   IPv6 ok"), 24, "each of four pods to each other, twice: {text}");
    assert!(!text.contains("LOST"), "{text}");

    let cluster =
        part(outcome, "The cluster: its pool, its nodes and the blocks that they have claimed");
    for said in ["demo", "10.64.0.0/16", "fd00:64::/64", "vm-001", "vm-002", "vm-003"] {
        assert!(cluster.contains(said), "{said:?} is not in: {cluster}");
    }
    assert_eq!(cluster.matches("/26").count() - cluster.matches("blocks of /26").count(), 3 + 1);
    let status = part(outcome, "What vm-001 says of it");
    for said in ["away since", "connection refused", "waiting  the records of 4 addresses"] {
        assert!(status.contains(said), "{said:?} is not in: {status}");
    }

    let before = part(outcome, "etcd comes back, with the data that it had");
    let after = part(outcome, "The next call on each node writes what was left behind");
    for (part, held, free) in [(before, "pod-2", "pod-5"), (after, "pod-5", "pod-2")] {
        let (held, free) = (added[held].v4, added[free].v4);
        assert!(part.contains("etcd has records of 8 addresses"), "{part}");
        assert!(part.contains(&format!("{held} is used")), "{part}");
        assert!(part.contains(&format!("nobody in the cluster has {free}")), "{part}");
    }
    let listed: Vec<[String; 4]> = ["pod-1", "pod-5", "pod-6", "pod-7"]
        .map(|pod| {
            let given = &added[pod];
            [
                given.node.clone(),
                pod.to_owned(),
                format!("{}/16", given.v4),
                format!("{}/64", given.v6),
            ]
        })
        .to_vec();
    assert_eq!(table(outcome, &["NODE", "POD", "IPv4", "IPv6"]), listed);
    assert!(text.contains("left in etcd: the pool, 3 nodes, 6 blocks"), "{text}");
    assert!(text.ends_with("\nEverything worked, and nothing is left.\n"), "{text}");
}

#[test]
fn two_pools_at_a_time_work_and_leave_nothing() {
    if !can_run("two_pools_at_a_time_work_and_leave_nothing") {
        return;
    }
    two_at_a_time(SCRIPT).iter().for_each(assert_worked);
}

#[test]
fn a_demonstration_that_is_ended_leaves_nothing() {
    if !can_run("pool::a_demonstration_that_is_ended_leaves_nothing") {
        return;
    }
    for (at, signal) in [
        ("vm-003", Signal::TERM),
        ("pod-1 -> pod-2", Signal::INT),
        // With what writes to etcd on the nodes, and without etcd.
        ("DEL pod-3", Signal::KILL),
    ] {
        Demo::of(SCRIPT, &format!("pool-{signal:?}")).is_ended(at, signal);
    }
}

#[test]
fn a_demonstration_without_its_plugin_says_what_to_do() {
    let mut demo = Demo::of(SCRIPT, "pool-bare");
    let outcome = finish(demo.command.env("PLAT_BIN_DIR", "/nonexistent"), b"");
    assert_eq!(outcome.exit, Some(1));
    assert!(outcome.stderr.contains("/nonexistent/etcd-pool: make build"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn a_demonstration_with_a_failing_plugin_fails_and_leaves_nothing() {
    if !can_run("pool::a_demonstration_with_a_failing_plugin_fails_and_leaves_nothing") {
        return;
    }
    let scratch = support::Scratch::new("demo-pool");
    let broken = support::install_copy(&support::program("false"), &scratch.join("etcd-pool"));
    std::os::unix::fs::symlink(support::binary("plat"), scratch.join("plat")).expect("a link");
    let mut demo = Demo::of(SCRIPT, "pool-broken");
    let dir = broken.parent().expect("a file is in a directory").to_path_buf();
    let outcome = finish(demo.command.env("PLAT_BIN_DIR", dir), b"");
    assert_eq!(outcome.exit, Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("demo-pool: ADD of pod-1 failed"), "{}", outcome.stderr);
    assert_eq!(demo.processes(), [] as [std::path::PathBuf; 0]);
}
