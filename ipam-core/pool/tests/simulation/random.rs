//! Schedules at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::command::{Command, command};
use crate::setup::POOLS;
use crate::world::{Fate, World};

/// So many cases, unless the environment says how many (`PROPTEST_CASES`).
fn config(cases: u32) -> Config {
    let default = Config::default();
    let cases = if default.cases == 256 { cases } else { default.cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..default }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn no_address_is_given_twice_and_nothing_is_left(
        nodes in 2_usize..5,
        pools in subsequence(POOLS.to_vec(), 1..=2),
        commands in prop::collection::vec(command(), 1..150),
    ) {
        let mut world = World::new(nodes);
        if let Err(violation) = world.live_through(&pools, &commands, true) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }

    #[test]
    fn no_address_is_given_twice_however_late_requests_are(
        nodes in 2_usize..5,
        pools in subsequence(POOLS.to_vec(), 1..=2),
        commands in prop::collection::vec(command(), 1..150),
    ) {
        let mut world = World::new(nodes);
        world.ever = true;
        if let Err(violation) = world.live_through(&pools, &commands, false) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }
}

/// Random schedules are worth nothing if they reach nothing.
#[test]
fn schedules_reach_every_part() {
    let mut runner = TestRunner::new_with_rng(
        Config { failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let strategy = (subsequence(POOLS.to_vec(), 1..=2), prop::collection::vec(command(), 100..150));
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..150 {
        let (pools, commands) = strategy.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(3);
        world.live_through(&pools, &commands, true).unwrap();
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    for what in [
        "ADD: new",
        "ADD: held",
        "ADD: borrowed",
        "ADD: PoolFull",
        "ADD: Away",
        "ADD: Refused",
        "ADD: Tombstoned",
        "ADD: Autonomy",
        "late",
        "node: put s/a/4",
        "node: put s/b/4",
        "node: put s/b/6",
        "node: put s/x/4",
        "node: delete s/a/4",
        "node: delete s/b/4",
        "node: delete s/x/4",
        "admin: delete s/b/4",
    ] {
        assert!(seen.contains_key(what), "nothing of {what}: {seen:#?}");
    }
}

/// What broke something once, as it was found.
fn lives(nodes: usize, pools: &[&'static str], commands: &[Command]) {
    World::new(nodes).live_through(pools, commands, true).unwrap_or_else(|e| panic!("{e}"));
}

/// A copy of a claim that had failed, and that went on elsewhere, arrives after a reboot.
#[test]
fn a_copy_of_a_claim_that_has_failed() {
    let commands = [
        Command::Flush { node: 0 },
        Command::Add { node: 1, pod: 0, pool: 2, wish: 6 },
        Command::Step { process: 0, fate: Fate::Kill },
        Command::Add { node: 0, pod: 0, pool: 0, wish: 0 },
        Command::Add { node: 3, pod: 1, pool: 1, wish: 0 },
        Command::Step { process: 2, fate: Fate::Unsent },
        Command::Step { process: 0, fate: Fate::Twice },
        Command::Step { process: 0, fate: Fate::Deliver },
        Command::Add { node: 1, pod: 0, pool: 0, wish: 0 },
        Command::Drain { node: 1 },
        Command::Add { node: 3, pod: 0, pool: 0, wish: 4 },
        Command::Upkeep { node: 1 },
        Command::Step { process: 1, fate: Fate::Deliver },
        Command::Upkeep { node: 1 },
        Command::Step { process: 11, fate: Fate::Deliver },
        Command::Step { process: 0, fate: Fate::Kill },
        Command::Upkeep { node: 3 },
        Command::Join { node: 3 },
        Command::Step { process: 2, fate: Fate::Kill },
        Command::Step { process: 2, fate: Fate::Unsent },
        Command::Step { process: 7, fate: Fate::Twice },
        Command::Step { process: 5, fate: Fate::Deliver },
        Command::Reboot { node: 3 },
        Command::Add { node: 0, pod: 0, pool: 0, wish: 0 },
        Command::Add { node: 0, pod: 0, pool: 0, wish: 0 },
        Command::Drain { node: 1 },
    ];
    lives(4, &["sync-dual", "single"], &commands);
}

/// A pod has an address last that another pod has had since, and that rests.
#[test]
fn what_another_pod_has_had_since_rests() {
    let commands = [
        Command::Flush { node: 0 },
        Command::Flush { node: 0 },
        Command::Add { node: 0, pod: 1, pool: 0, wish: 1 },
        Command::Add { node: 1, pod: 0, pool: 0, wish: 0 },
        Command::Step { process: 1, fate: Fate::Unsent },
        Command::Step { process: 0, fate: Fate::Twice },
        Command::Step { process: 0, fate: Fate::Deliver },
        Command::Step { process: 0, fate: Fate::Deliver },
        Command::Step { process: 0, fate: Fate::Deliver },
        Command::Step { process: 0, fate: Fate::Unsent },
        Command::Add { node: 0, pod: 3, pool: 0, wish: 4 },
        Command::Step { process: 0, fate: Fate::Deliver },
        Command::Del { node: 0, pod: 3, writes: None },
        Command::Add { node: 0, pod: 1, pool: 0, wish: 0 },
        Command::Add { node: 0, pod: 0, pool: 0, wish: 0 },
        Command::Add { node: 0, pod: 0, pool: 0, wish: 0 },
    ];
    lives(3, &["sync"], &commands);
}
