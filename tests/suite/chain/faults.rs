//! Calls that nobody waits for any more, and calls that are killed.

use std::fs;

use serde_json::json;
use support::{Killer, binary, skip_unless, wait_until};

use super::bench::Bench;

/// The runtime has given up, and its DEL comes while an IPAM of the chain is still at work.
#[test]
fn a_del_waits_until_what_is_under_way_is_undone() {
    let bench = Bench::new();
    bench.puppet("slow");
    bench.prints("slow", "ADD", &json!({"ips": [{"address": "192.0.2.9/24"}]}));
    bench.waits("slow", "ADD", true);
    for form in [Bench::stripped("bridge"), json!({"name": Bench::NETWORK})] {
        let ipams =
            [Bench::node_local("10.1.{i}.0/24"), json!({"type": "slow"}), json!({"type": "slow2"})];
        if !bench.plugins().join("slow2").exists() {
            bench.puppet("slow2");
        }
        let mut add = bench.call("ADD", &Bench::config("all", &ipams)).spawn();
        wait_until("the slow one is asked", || {
            bench.calls().iter().any(|call| call.starts_with("slow ADD"))
        });
        assert_eq!(bench.held("c1"), 1);
        drop(add.stdout.take());
        let del = bench.call("DEL", &form);
        let deleting = std::thread::spawn(move || del.run());
        bench.waits("slow", "ADD", false);
        deleting.join().expect("the DEL ends").ok();
        assert!(!add.wait().expect("it ends").success());
        let asked = bench.asked();
        assert_eq!(asked, ["slow DEL"], "the third is not asked any more");
        bench.assert_empty();
        bench.waits("slow", "ADD", true);
    }
}

/// An answer that nobody reads is undone.
#[test]
fn an_answer_that_cannot_be_delivered_is_undone() {
    let bench = Bench::new();
    bench.puppet("slow");
    bench.prints("slow", "ADD", &json!({"ips": [{"address": "192.0.2.9/24"}]}));
    bench.waits("slow", "ADD", true);
    let main = json!({"type": "slow"});
    let ipams = json!([Bench::node_local("10.1.{i}.0/24")]);
    let top = json!({"cniVersion": "1.1.0", "name": Bench::NETWORK, "type": "chain", "main": main, "ipams": ipams});
    let ipam = Bench::config("all", &[Bench::node_local("10.1.{i}.0/24"), json!({"type": "slow"})]);
    for config in [top, ipam] {
        let mut add = bench.call("ADD", &config).spawn();
        wait_until("the slow one is asked", || !bench.calls().is_empty());
        drop(add.stdout.take());
        bench.waits("slow", "ADD", false);
        assert!(!add.wait().expect("it ends").success());
        assert_eq!(bench.asked(), ["slow DEL"]);
        bench.assert_empty();
        bench.waits("slow", "ADD", true);
    }
}

/// SIGKILL at each system call of an ADD, a DEL or a GC, of chain itself or of the IPAMs that it runs. The next DEL
/// leaves nothing, whatever the configuration has lost.
#[test]
fn killed_anywhere_the_next_del_leaves_nothing() {
    if !skip_unless("killed_anywhere_the_next_del_leaves_nothing", &[(Killer::works(), "strace")]) {
        return;
    }
    let config = Bench::config(
        "all",
        &[Bench::node_local("10.1.{i}.0/24"), Bench::node_local("fd00:1:{i}::/64")],
    );
    let mut points = 0;
    for command in ["ADD", "DEL"] {
        let bench = Bench::new();
        let killer = Killer::new(&binary("chain"), &bench.scratch().path().join("killer"));
        // A directory and a database that are there already.
        bench.add("live", &config);
        let prepare = || {
            if command == "DEL" {
                bench.add("victim", &config);
            }
        };
        prepare();
        let calls =
            killer.system_calls(|program| bench.call_of(program, command, &config).id("victim"));
        bench.del("victim", &config);
        for (name, count) in calls {
            // The first and the last ones tell most; there are three processes.
            let all: Vec<usize> = (1..=count).filter(|n| *n <= 3 || n + 2 > count).collect();
            for nth in all {
                prepare();
                let killed = killer.kill_at(&name, nth, |program| {
                    bench.call_of(program, command, &config).id("victim")
                });
                points += 1;
                let form = if nth % 2 == 0 { config.clone() } else { Bench::stripped("bridge") };
                bench.del("victim", &form);
                let at = format!("{command} killed at {name} {nth}: {killed:?}");
                assert_eq!((bench.held("victim"), bench.held("live")), (0, 2), "{at}");
                assert_eq!(bench.records(), ["live:eth0:ipam"], "{at}");
                assert!(bench.network().faults().is_empty(), "{at}");
            }
        }
        bench.del("live", &Bench::stripped("bridge"));
        bench.assert_empty();
    }
    assert!(points > 40, "only {points} points");
}

/// A record that cannot be kept: nothing is asked for.
#[test]
fn without_a_record_nothing_is_given() {
    let bench = Bench::new();
    let config = Bench::config("all", &[Bench::node_local("10.1.{i}.0/24")]);
    fs::create_dir_all(bench.run_dir()).unwrap();
    fs::write(bench.run_dir().join("chain"), "").unwrap();
    let (code, message) = bench.call("ADD", &config).run().error();
    assert_eq!(code, 5);
    assert!(message.contains("run/chain"), "{message}");
    assert_eq!(bench.held("c1"), 0);
    fs::remove_file(bench.run_dir().join("chain")).unwrap();
    bench.add("c1", &config);
    // A record that was torn and scribbled on keeps no pod.
    let record = bench.run_dir().join("chain/net/c1:eth0:ipam");
    fs::write(
        &record,
        "{\"may\": [5, {}, {\"type\": \"node-local\"}]}\nscribble\n{\"has\": 99}\ntorn",
    )
    .unwrap();
    let del = bench.call("DEL", &Bench::stripped("bridge")).run();
    del.ok();
    assert!(del.stderr.contains("c1:eth0:ipam"), "{}", del.stderr);
    assert_eq!(bench.held("c1"), 0);
}
