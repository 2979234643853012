//! The database beside the model in memory: the same answers to everything, whatever came before.

use super::*;
use ipam_pool::ledger::{Ledger, Tx};
use ipam_pool::memory::{MemoryError, MemoryLedger};
use proptest::prelude::*;

const POOLS: [&str; 2] = ["a", "b"];
const NETWORKS: [&str; 2] = ["red", "blue"];
const CONTAINERS: [&str; 4] = ["c1", "c2", "c3", "c4"];
const CIDRS: [&str; 2] = ["10.1.2.0/29", "2001:db8::/126"];

/// What is done to one transaction.
#[derive(Clone, Debug)]
enum Act {
    Add { pool: usize, net: usize, container: usize, dual: bool, repeat: bool, asked: Option<u8> },
    Insert { pool: usize, net: usize, container: usize, at: u8 },
    Free { pool: usize, at: u8, undo: bool },
    Revise { pool: usize, at: u8, revision: i64 },
    Occupy { pool: usize, at: u8 },
    Vacate { pool: usize, at: u8 },
    Soil { pool: usize, at: u8, seq: u64, due: u64 },
    Clean { pool: usize, at: u8 },
    Boot { seq: u64, contact: Option<u64> },
    Node { revision: i64 },
}

#[derive(Clone, Debug)]
struct Round {
    acts: Vec<Act>,
    /// Whether it fails at its end.
    fails: bool,
    visit: bool,
    /// Whether the ledger is another one from here on.
    reopens: bool,
    passes: u64,
}

/// The first 16 are IPv4.
fn at(number: u8) -> Addr {
    match number {
        0..16 => addr(&format!("10.1.2.{number}")),
        _ => addr(&format!("2001:db8::{:x}", number - 16)),
    }
}

fn act() -> impl Strategy<Value = Act> {
    // Most happens to few addresses, or it would be to each one by one.
    let at = prop_oneof![4 => Just(3_u8), 3 => 2..7_u8, 1 => 17..20_u8];
    let pool = prop_oneof![3 => Just(0_usize), 1 => Just(1_usize)];
    let (net, container) = (0..2_usize, 0..4_usize);
    let asked = prop_oneof![4 => Just(None), 1 => (0..9_u8).prop_map(Some)];
    prop_oneof![
        6 => (pool.clone(), net.clone(), container.clone(), any::<bool>(), any::<bool>(), asked).prop_map(
            |(pool, net, container, dual, repeat, asked)| Act::Add { pool, net, container, dual, repeat, asked }
        ),
        2 => (pool.clone(), net, container, at.clone())
            .prop_map(|(pool, net, container, at)| Act::Insert { pool, net, container, at }),
        6 => (pool.clone(), at.clone(), prop::bool::weighted(0.2))
            .prop_map(|(pool, at, undo)| Act::Free { pool, at, undo }),
        1 => (pool.clone(), at.clone(), 0..9_i64)
            .prop_map(|(pool, at, revision)| Act::Revise { pool, at, revision }),
        4 => (pool.clone(), at.clone()).prop_map(|(pool, at)| Act::Occupy { pool, at }),
        4 => (pool.clone(), at.clone()).prop_map(|(pool, at)| Act::Vacate { pool, at }),
        2 => (pool.clone(), at.clone(), 0..5_u64, 0..2_000_000_u64)
            .prop_map(|(pool, at, seq, due)| Act::Soil { pool, at, seq, due }),
        1 => (pool, at).prop_map(|(pool, at)| Act::Clean { pool, at }),
        1 => (0..9_u64, any::<Option<u64>>()).prop_map(|(seq, contact)| Act::Boot { seq, contact }),
        1 => (0..9_i64).prop_map(|revision| Act::Node { revision }),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    (
        prop::collection::vec(act(), 1..5),
        prop::bool::weighted(0.15),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop_oneof![Just(0), 0..4000_u64],
    )
        .prop_map(|(acts, fails, visit, reopens, passes)| Round {
            acts,
            fails,
            visit,
            reopens,
            passes,
        })
}

fn carry_out<T: Tx>(tx: &mut T, act: &Act, policies: [Policy; 2]) -> Result<String, T::Error> {
    let id = |pool: usize| id(POOLS[pool]);
    match *act {
        Act::Add { pool, net, container, dual, repeat, asked } => {
            let (network, attachment) = (network(NETWORKS[net]), attachment(CONTAINERS[container]));
            let owner = Owner {
                namespace: Some("ns".to_owned()),
                name: Some(CONTAINERS[container].to_owned()),
                uid: None,
            };
            let requested: Vec<Addr> = asked.map(at).into_iter().collect();
            let request = Request {
                attachment: &attachment,
                sets: &sets(if dual { &CIDRS } else { &CIDRS[..1] }),
                requested: &requested,
                repeat: if repeat { Repeat::Return } else { Repeat::Refuse },
                pin: None,
                policy: policies[pool],
                owner: &owner,
            };
            let held = tx.held(Some(&id(pool)), &network, &attachment)?;
            let decided = tx.decide(&id(pool), &network, &request)?;
            for choice in decided.iter().flatten().filter(|choice| !choice.held) {
                let at = choice.addr.to_string();
                let new = allocation(POOLS[pool], NETWORKS[net], CONTAINERS[container], &at);
                tx.insert(&Allocation { owner: owner.clone(), ..new }, choice.set)?;
            }
            Ok(format!("{held:?} {decided:?}"))
        }
        Act::Insert { pool, net, container, at: n } => {
            let at = at(n).to_string();
            let new = allocation(POOLS[pool], NETWORKS[net], CONTAINERS[container], &at);
            Ok(format!("{}", tx.insert(&new, usize::from(n >= 16)).is_ok()))
        }
        Act::Free { pool, at: n, undo } => tx.free(&id(pool), at(n), undo).map(|()| String::new()),
        Act::Revise { pool, at: n, revision } => {
            tx.set_revision(&id(pool), at(n), revision).map(|()| String::new())
        }
        Act::Occupy { pool, at: n } => tx.occupy(&id(pool), at(n)).map(|()| String::new()),
        Act::Vacate { pool, at: n } => tx.vacate(&id(pool), at(n)).map(|()| String::new()),
        Act::Soil { pool, at: n, seq, due } => tx
            .set_dirty(&Dirty {
                id: id(pool),
                addr: at(n),
                base: 3,
                seq,
                fence: 7,
                borrowed: seq == 1,
                since: 1_000 + seq,
                due,
            })
            .map(|()| String::new()),
        Act::Clean { pool, at: n } => tx.clear_dirty(&id(pool), at(n)).map(|()| String::new()),
        Act::Boot { seq, contact } => {
            let contact = contact.map(|boot| Contact { boot, unix: 5, revision: 0 });
            let boot = BootState { seq, contact, ..tx.boot().clone() };
            tx.set_boot(boot).map(|()| String::new())
        }
        Act::Node { revision } => {
            let node = NodeState { revision, ..tx.node().clone() };
            tx.set_node(node).map(|()| String::new())
        }
    }
}

/// Everything that a transaction can be asked.
fn everything<T: Tx>(tx: &mut T) -> Result<Vec<String>, T::Error> {
    let backlog = tx.backlog()?;
    let mut all = vec![format!("{:?} {:?} {backlog:?}", tx.node(), tx.boot())];
    let now = clock().boot.as_millis();
    for (due, limit) in [(0, 9), (u64::try_from(now).unwrap(), 3), (u64::MAX, 99)] {
        all.push(format!("{:?}", tx.outbox(due, limit)?));
    }
    let ids: Vec<Option<PoolId>> = vec![None, Some(id("a")), Some(id("b")), Some(id("none"))];
    for name in NETWORKS.map(network) {
        for pool in &ids {
            all.push(format!("{:?}", tx.of_network(pool.as_ref(), &name)?));
            for container in CONTAINERS {
                all.push(format!("{:?}", tx.held(pool.as_ref(), &name, &attachment(container))?));
            }
        }
    }
    for pool in ids.iter().flatten() {
        for (first, last) in [(0, 15), (3, 9), (16, 23), (20, 20)] {
            let interval = Interval::new(at(first), at(last)).unwrap();
            all.push(format!(
                "{pool} {interval} {:?} {:?} {:?}",
                tx.within(pool, interval)?,
                tx.occupied(pool, interval)?,
                tx.usage(pool, interval)?
            ));
        }
        for n in [0, 3, 4, 15, 16, 20] {
            all.push(format!("{:?} {:?}", tx.at(pool, at(n))?, tx.dirty(pool, at(n))?));
        }
    }
    Ok(all)
}

/// Runs a round; the answers are kept also where it fails.
fn play<L: Ledger>(
    ledger: &mut L,
    round: &Round,
    policies: [Policy; 2],
    failure: L::Error,
) -> (Vec<String>, Option<bool>) {
    let mut answers = Vec::new();
    let said = &mut answers;
    let work = |tx: &mut L::Tx<'_>| {
        for act in &round.acts {
            let said_of = carry_out(tx, act, policies)?;
            said.push(said_of);
        }
        said.extend(everything(tx)?);
        if round.fails { Err(failure) } else { Ok(()) }
    };
    let done = if round.visit {
        ledger.visit(work).map(|visited| visited.is_some())
    } else {
        ledger.transact(work).map(|()| true)
    };
    if let Err(error) = &done {
        assert!(round.fails, "{error}");
    }
    (answers, done.ok())
}

fn compare(rounds: &[Round], cooldowns: [u64; 2], strategies: [Order; 2]) {
    let dir = Dir::new();
    let mut disk = dir.ledger();
    let mut model = MemoryLedger::default();
    NOW.with(|now| now.set(1_000_000));
    let policies = [0, 1]
        .map(|n| Policy { strategy: strategies[n], cooldown: Duration::from_millis(cooldowns[n]) });
    let first =
        |pool| Act::Add { pool, net: 0, container: 0, dual: true, repeat: true, asked: None };
    let begin = [0, 1].map(|pool| Round {
        acts: vec![first(pool)],
        fails: false,
        visit: false,
        reopens: false,
        passes: 0,
    });
    for (n, round) in begin.iter().chain(rounds).enumerate() {
        NOW.with(|now| now.set(now.get() + round.passes));
        model.set_now(NOW.with(Cell::get));
        if round.reopens {
            disk = dir.ledger();
        }
        let mut round = round.clone();
        if strategies.contains(&Order::Sticky) {
            // What is remembered of a pod is not seen before the transaction ends.
            round.acts.truncate(1);
        }
        let lost = StoreError::Unstable { path: PathBuf::new() };
        let (ours, theirs) = (
            play(&mut disk, &round, policies, lost),
            play(&mut model, &round, policies, MemoryError::Broken),
        );
        for (i, (one, two)) in ours.0.iter().zip(&theirs.0).enumerate() {
            assert_eq!(one, two, "round {n}, answer {i} of {round:?}");
        }
        assert_eq!(ours, theirs, "round {n}: {round:?}");
    }
    assert_eq!(faults(&dir), [], "free space and allocations contradict");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_database_answers_as_the_model(
        rounds in prop::collection::vec(round(), 1..25),
        cooldowns in (prop_oneof![Just(0), Just(5000_u64)], prop_oneof![Just(0), Just(3000_u64)]),
        lowest in any::<bool>(),
        sticky in any::<bool>(),
    ) {
        let one = if lowest { Order::Lowest } else { Order::Next };
        let two = if sticky { Order::Sticky } else { Order::Next };
        compare(&rounds, cooldowns.into(), [one, two]);
    }
}
