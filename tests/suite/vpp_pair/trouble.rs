//! A real VPP that stands still, or is killed while an ADD is under way.

use std::thread;
use std::time::Duration;

use support::{Stopped, VppPair};

use super::leaving::of_pods;
use super::pair;

/// What a call that may take 3 s ends in, on a machine that is busy with other things.
const BOUND: Duration = Duration::from_secs(100);

fn assert_clean(pair: &VppPair, id: &str) {
    assert_eq!(of_pods(pair, 0), [""; 0]);
    let node = &pair.nodes[0].node;
    let links = node.ok(&["ip", "-netns", id, "-oneline", "link", "show"]);
    assert_eq!(links.lines().count(), 1, "only lo: {links}");
    let links = node.ok(&["ip", "-oneline", "link", "show"]);
    let is_pods = |line: &str| line.contains(": vpp") && !line.contains(": vpp-");
    assert!(!links.lines().any(is_pods), "{links}");
}

#[test]
fn a_vpp_that_stands_still_is_told_and_forgiven() {
    let Some(mut pair) = pair("a_vpp_that_stands_still_is_told_and_forgiven") else { return };
    pair.config["timeout"] = "3s".into();
    let first = pair.add(0, "first");
    pair.del(&first);
    let stopped = Stopped::new(pair.nodes[0].vpp.pid());
    let outcome = pair.call(0, "ADD", "first", &pair.config_of(0));
    assert!(outcome.took < BOUND, "{:?}", outcome.took);
    let (code, text) = outcome.error();
    assert_eq!(code, 11, "{text}");
    let outcome = pair.call(0, "DEL", "first", &pair.config_of(0));
    assert!(outcome.took < BOUND, "{:?}", outcome.took);
    outcome.ok();
    drop(stopped);
    pair.del(&first);
    assert_clean(&pair, "first");
}

#[test]
fn a_vpp_killed_during_add_leaves_nothing() {
    let Some(mut pair) = pair("a_vpp_killed_during_add_leaves_nothing") else { return };
    let first = pair.add(0, "first");
    pair.del(&first);
    for wait in [0, 10, 20, 40, 80] {
        let config = pair.config_of(0);
        let outcome = thread::scope(|scope| {
            let call = scope.spawn(|| pair.call(0, "ADD", "first", &config));
            // Whenever it is: each moment is allowed.
            thread::sleep(Duration::from_millis(wait));
            pair.nodes[0].vpp.strike();
            call.join().expect("the call")
        });
        assert!(outcome.took < BOUND, "{:?}", outcome.took);
        if outcome.exit != Some(0) {
            let (code, text) = outcome.error();
            assert_eq!(code, 11, "{text}");
        }
        pair.del(&first);
        let node = &mut pair.nodes[0];
        node.vpp.kill();
        node.vpp.start_again(&node.node);
        pair.del(&first);
        assert_clean(&pair, "first");
    }
}
