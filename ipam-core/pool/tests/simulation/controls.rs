//! Negative controls: what each compare is for. With it a schedule is harmless, without it an address is given
//! twice.

use std::sync::Arc;

use ipam_core::addr::Addr;
use ipam_pool::key::{Key, Keys};
use ipam_pool::model::Ignore;
use ipam_pool::txn::{Compare, Op, Target, Txn};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::command::command;
use crate::job::{Job, Wish};
use crate::operator::HOLD;
use crate::setup::{AUTONOMY, SPACE};
use crate::world::{Checked, Fate, Pod, Rule, World};

/// Takes compares of one kind as held.
fn ignoring(kind: fn(&Key, &Target) -> bool) -> Ignore {
    let keys = Keys::default();
    Arc::new(move |compare: &Compare| {
        keys.parse(&compare.key).is_some_and(|key| kind(&key, &compare.target))
    })
}

pub(crate) fn fence() -> Ignore {
    ignoring(
        |key, target| matches!((key, target), (Key::Block { .. }, Target::Created(fence)) if *fence != 0),
    )
}

fn tombstone() -> Ignore {
    ignoring(|key, _| matches!(key, Key::Tombstone { .. }))
}

pub(crate) fn address() -> Ignore {
    ignoring(|key, target| matches!((key, target), (Key::Address { .. }, Target::Modified(_))))
}

fn boot() -> Ignore {
    ignoring(|key, target| matches!((key, target), (Key::Boot { .. }, Target::Value(_))))
}

impl World {
    fn wants(&self, n: usize, pod: usize, pool: &'static str, addr: &str) -> Job {
        Job::Add(Wish {
            pod,
            generation: self.nodes[n].generations[pod],
            pool,
            requested: vec![Addr::parse(addr).unwrap()],
            sticky: false,
            nonce: String::new(),
            unheard: false,
            joined: false,
        })
    }

    /// An ADD over a network that works; tells whether the pod has its address.
    fn add(&mut self, n: usize, pod: usize, pool: &'static str, addr: &str) -> Checked<bool> {
        let job = self.wants(n, pod, pool, addr);
        self.run(n, job)?;
        Ok(matches!(self.nodes[n].pods[pod], Pod::Live(_)))
    }

    /// Runs the newest process of a node until it asks for this.
    fn until(&mut self, n: usize, asks: impl Fn(&Txn) -> bool) -> Checked {
        loop {
            let p = self.nodes[n].processes.len().checked_sub(1).expect("it is over before that");
            if self.nodes[n].processes[p].ask.as_ref().is_some_and(|ask| asks(&ask.txn)) {
                return Ok(());
            }
            self.step(n, p, Fate::Deliver)?;
        }
    }
}

fn deletes(txn: &Txn, key: &[u8]) -> bool {
    txn.then.iter().any(|op| matches!(op, Op::Delete { key: of, .. } if of == key))
}

fn puts(txn: &Txn, key: &[u8]) -> bool {
    txn.then.iter().any(|op| matches!(op, Op::Put { key: of, .. } if of == key))
}

/// Without it the schedule is harmless, with it an address is given twice.
fn proves(schedule: fn(&mut World) -> Checked, ignore: Option<Ignore>, careless: bool) {
    let run = |ignore: Option<Ignore>, careless: bool| {
        let mut world = World::new(3);
        world.only = Some(Rule::Duplicate);
        world.careless = careless;
        world.etcd.ignore(ignore);
        schedule(&mut world).map_err(|violation| (violation, world.log))
    };
    if let Err((violation, log)) = run(None, false) {
        panic!("{violation}\n{}", log.join("\n"));
    }
    let found = run(ignore, careless).map_err(|(violation, _)| violation.rule);
    assert_eq!(found, Err(Rule::Duplicate));
}

/// A block of mode local is given back, a copy of the request arrives late. The next node that has the
/// block has not yet written what it gave out.
fn late_return(world: &mut World) -> Checked {
    let addr = "10.0.5.1";
    let block = world.keys.block(SPACE, Addr::parse(addr).unwrap());
    assert!(world.add(0, 0, "single", addr)?);
    world.del(0, 0, None)?;
    world.run(0, Job::Flush)?;
    // A block rests while a request of before may arrive.
    world.pass(61_000);
    world.start(0, Job::Upkeep)?;
    world.until(0, |txn| deletes(txn, &block))?;
    world.step(0, 0, Fate::Twice)?;
    world.drain(0)?;
    assert!(world.add(1, 0, "single", addr)?);
    let late = world.wire.pop().unwrap();
    world.carry_out(&late)?;
    world.add(2, 0, "single", addr).map(|_| ())
}

#[test]
fn without_the_fence_a_block_is_given_away_under_its_node() {
    proves(late_return, Some(fence()), false);
}

/// A removed node finds out at its next write, and not only when its time without etcd is over.
fn removed(world: &mut World) -> Checked {
    let addr = "10.0.5.1";
    assert!(world.add(0, 0, "single", addr)?);
    world.del(0, 0, None)?;
    world.entomb(0)?;
    world.pass(AUTONOMY * 1000 - 10_000);
    world.run(0, Job::Flush)?;
    world.pass(HOLD + 1 - (AUTONOMY * 1000 - 10_000));
    world.reclaim()?;
    assert!(world.add(1, 0, "single", addr)?);
    world.add(0, 1, "single", addr).map(|_| ())
}

#[test]
fn without_the_tombstone_a_removed_node_goes_on() {
    proves(removed, Some(tombstone()), false);
}

/// A block's node and one that borrows of it choose the same address at once.
fn borrowed(world: &mut World) -> Checked {
    let addr = "10.0.2.2";
    let key = world.keys.address(SPACE, Addr::parse(addr).unwrap());
    assert!(world.add(0, 0, "sync", "10.0.2.1")?);
    for (n, pod) in [(1, 0), (0, 1)] {
        let job = world.wants(n, pod, "sync", addr);
        world.start(n, job)?;
        world.until(n, |txn| puts(txn, &key))?;
    }
    world.drain(0)?;
    world.drain(1)
}

#[test]
fn without_the_revision_of_the_address_two_nodes_take_it() {
    proves(borrowed, Some(address()), false);
}

/// A copy of a node's disk boots and takes over; the node does not know and goes on.
fn copied(world: &mut World) -> Checked {
    assert!(world.add(0, 0, "sync", "10.0.2.1")?);
    world.copy(0, 1);
    assert!(world.add(1, 0, "sync", "10.0.2.3")?);
    world.add(0, 1, "sync", "10.0.2.2")?;
    // To this one the record is its own, of an attempt that it has not heard of.
    world.add(1, 1, "sync", "10.0.2.2").map(|_| ())
}

#[test]
fn without_the_boot_a_copied_disk_goes_on() {
    proves(copied, Some(boot()), false);
}

/// A node is removed while it is off, and boots when its block is another's, without a way to etcd.
fn asleep(world: &mut World) -> Checked {
    let addr = "10.0.5.1";
    assert!(world.add(0, 0, "single", addr)?);
    world.shut(0);
    world.entomb(0)?;
    world.pass(HOLD + 1);
    world.reclaim()?;
    assert!(world.add(1, 0, "single", addr)?);
    world.boot(0);
    let job = world.wants(0, 0, "single", addr);
    world.start(0, job)?;
    while !world.nodes[0].processes.is_empty() {
        world.step(0, 0, Fate::Unsent)?;
    }
    Ok(())
}

#[test]
fn without_contact_in_this_boot_a_removed_node_goes_on() {
    proves(asleep, None, true);
}

/// After how many random worlds a node gives out what is another's.
fn search(ignore: Option<Ignore>, careless: bool, most: u32) -> Option<u32> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = prop::collection::vec(command(), 100..150);
    (1..=most).find(|_| {
        let commands = strategy.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(3);
        world.only = Some(Rule::Ownership);
        world.ever = true;
        world.careless = careless;
        world.etcd.ignore(ignore.clone());
        world.live_through(&["single", "sync"], &commands, false).is_err()
    })
}

#[test]
fn without_the_revision_of_the_address_random_schedules_find_it_too() {
    assert!(search(Some(address()), false, 1000).is_some());
    assert!(search(None, false, 50).is_none());
}
