use std::time::Duration;

use super::*;
use ipam_core::addr::{Cidr, Family};
use ipam_core::allocator::Repeat;
use ipam_core::config::Owner;
use ipam_core::identity::{ContainerId, IfName};
use ipam_core::policy::Policy;
use ipam_core::range::RangeSet;

use crate::node::Block;
use crate::pool::{Pool, PoolSpec};
use crate::record::Mode;

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn id() -> PoolId {
    PoolId { space: "default".to_owned(), pool: "pods".to_owned() }
}

fn network(name: &str) -> Network {
    Network::new(name).unwrap()
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn allocation(text: &str, container: &str) -> Allocation {
    Allocation {
        id: id(),
        addr: addr(text),
        network: network("net"),
        attachment: attachment(container),
        owner: Owner::default(),
        nonce: "n".to_owned(),
        since: 1,
        revision: 0,
        fence: 7,
        borrowed: false,
    }
}

fn dirty(text: &str, seq: u64, due: u64) -> Dirty {
    Dirty {
        id: id(),
        addr: addr(text),
        base: 0,
        seq,
        fence: 7,
        borrowed: false,
        since: 100 - seq,
        due,
    }
}

/// 10.0.0.0/30 without a gateway: four addresses.
fn sets() -> Vec<RangeSet> {
    let spec = PoolSpec {
        name: "pods".to_owned(),
        cidr: Some("10.0.0.0/16".to_owned()),
        block: Some(30),
        ..PoolSpec::default()
    };
    let cidr = Cidr::parse("10.0.0.8/30").unwrap();
    let block = Block {
        id: id(),
        first: cidr.addr(),
        prefix: cidr.prefix(),
        fence: 7,
        mode: Mode::Local,
        autonomy: 0,
        state: crate::node::BlockState::Held,
    };
    assert_eq!(block.family(), Family::V4);
    vec![Pool::try_from(&spec).unwrap().range_set([&block].into_iter()).unwrap()]
}

fn decide(
    ledger: &mut MemoryLedger,
    container: &str,
    requested: &[Addr],
    cooldown: u64,
) -> Result<Addr, Refusal> {
    let (attachment, owner) = (attachment(container), Owner::default());
    let (sets, policy) =
        (sets(), Policy { strategy: Strategy::Lowest, cooldown: Duration::from_secs(cooldown) });
    let request = Request {
        attachment: &attachment,
        sets: &sets,
        requested,
        repeat: Repeat::Return,
        pin: None,
        policy,
        owner: &owner,
    };
    ledger
        .transact(|tx| tx.decide(&id(), &network("net"), &request))
        .unwrap()
        .map(|choices| choices[0].addr)
}

#[test]
fn what_fails_did_not_happen_but_what_is_durable() {
    let mut ledger = MemoryLedger::default();
    assert_eq!(ledger.visit(|_| Ok(())), Ok(None));
    let named = |name: &str| NodeState { name: name.to_owned(), ..NodeState::default() };
    let held = allocation("10.0.0.8", "c1");
    let failed = ledger.transact(|tx| {
        tx.insert(&held, 0)?;
        tx.set_node(named("vm-1"))?;
        tx.insert(&held, 0)
    });
    assert_eq!(failed, Err(MemoryError::Held { id: id(), addr: addr("10.0.0.8") }));
    assert_eq!(ledger.node().name, "vm-1");
    assert_eq!(ledger.allocations().count(), 0);
    assert_eq!(ledger.visit(|_| Ok(())), Ok(None));

    ledger.break_after(Some(1));
    let failed = ledger.transact(|tx| {
        tx.set_node(named("vm-2"))?;
        tx.insert(&held, 0)
    });
    assert_eq!(failed, Err(MemoryError::Broken));
    ledger.break_after(Some(1));
    assert_eq!(
        ledger.transact(|tx| tx.insert(&held, 0)),
        Err(MemoryError::Broken),
        "the last write is done, and then it dies before the end"
    );
    ledger.break_after(None);
    assert_eq!(ledger.node().name, "vm-2");
    assert_eq!(ledger.allocations().count(), 0);

    ledger.transact(|tx| tx.insert(&held, 0)).unwrap();
    assert_eq!(ledger.visit(|tx| tx.at(&id(), held.addr)), Ok(Some(Some(held))));
    ledger.reboot(0);
    assert_eq!(ledger.visit(|_| Ok(())), Ok(None));
    assert_eq!(ledger.node().name, "vm-2");
}

#[test]
fn what_is_held_rests_or_is_anothers_is_not_given_out() {
    let mut ledger = MemoryLedger::default();
    assert_eq!(decide(&mut ledger, "c1", &[], 5), Ok(addr("10.0.0.8")));
    ledger
        .transact(|tx| {
            tx.insert(&allocation("10.0.0.8", "c1"), 0)?;
            tx.occupy(&id(), addr("10.0.0.8"))?;
            tx.occupy(&id(), addr("10.0.0.9"))
        })
        .unwrap();
    assert_eq!(decide(&mut ledger, "c1", &[], 5), Ok(addr("10.0.0.8")), "the same again");
    assert_eq!(decide(&mut ledger, "c2", &[], 5), Ok(addr("10.0.0.10")));
    assert!(matches!(
        decide(&mut ledger, "c2", &[addr("10.0.0.9")], 5),
        Err(Refusal::Taken { .. })
    ));
    ledger.set_now(1000);
    ledger.transact(|tx| tx.free(&id(), addr("10.0.0.8"), false)).unwrap();
    assert_eq!(decide(&mut ledger, "c2", &[], 5), Ok(addr("10.0.0.10")));
    assert!(matches!(
        decide(&mut ledger, "c2", &[addr("10.0.0.8")], 5),
        Err(Refusal::Cooling { .. })
    ));
    let all = Cidr::parse("10.0.0.8/30").unwrap().network();
    let usage = |ledger: &mut MemoryLedger| ledger.transact(|tx| tx.usage(&id(), all)).unwrap();
    assert_eq!(usage(&mut ledger), Usage { held: 0, resting: 1, occupied: 1 });
    ledger.set_now(5999);
    assert_eq!(usage(&mut ledger).resting, 1);
    ledger.set_now(6000);
    assert_eq!(usage(&mut ledger).resting, 0);
    assert_eq!(decide(&mut ledger, "c2", &[], 5), Ok(addr("10.0.0.8")));
    ledger
        .transact(|tx| {
            tx.insert(&allocation("10.0.0.8", "c2"), 0)?;
            tx.free(&id(), addr("10.0.0.8"), true)?;
            assert_eq!(tx.occupied(&id(), all)?, [addr("10.0.0.9")]);
            tx.vacate(&id(), addr("10.0.0.9"))
        })
        .unwrap();
    assert_eq!(decide(&mut ledger, "c2", &[], 5), Ok(addr("10.0.0.8")), "undone: no rest");
    assert_eq!(usage(&mut ledger), Usage::default());
}

#[test]
fn an_address_waits_once_in_the_outbox() {
    let mut ledger = MemoryLedger::default();
    ledger
        .transact(|tx| {
            tx.set_dirty(&dirty("10.0.0.8", 1, 0))?;
            tx.set_dirty(&dirty("10.0.0.9", 2, 50))?;
            tx.set_dirty(&dirty("10.0.0.10", 3, 0))?;
            tx.set_dirty(&dirty("10.0.0.8", 4, 0))
        })
        .unwrap();
    let seqs = |ledger: &mut MemoryLedger, now, limit| -> Vec<u64> {
        let due = ledger.transact(|tx| tx.outbox(now, limit)).unwrap();
        due.iter().map(|dirty| dirty.seq).collect()
    };
    assert_eq!(seqs(&mut ledger, 49, 9), [3, 4]);
    assert_eq!(seqs(&mut ledger, 50, 9), [2, 3, 4]);
    assert_eq!(seqs(&mut ledger, 50, 1), [2]);
    let backlog = ledger.transact(|tx| tx.backlog()).unwrap();
    assert_eq!(backlog, Backlog { count: 3, oldest: 96 });
    ledger.transact(|tx| tx.clear_dirty(&id(), addr("10.0.0.8"))).unwrap();
    assert_eq!(ledger.transact(|tx| tx.dirty(&id(), addr("10.0.0.8"))), Ok(None));
    assert_eq!(ledger.outbox().count(), 2);
}

#[test]
fn allocations_are_found_by_holder_network_and_place() {
    let mut ledger = MemoryLedger::default();
    let other = Allocation { network: network("other"), ..allocation("10.0.0.9", "c1") };
    let elsewhere = Allocation {
        id: PoolId { pool: "more".to_owned(), ..id() },
        ..allocation("10.0.0.1", "c1")
    };
    let found = ledger.transact(|tx| {
        for allocation in [&allocation("10.0.0.8", "c1"), &other, &elsewhere] {
            tx.insert(allocation, 0)?;
        }
        tx.set_revision(&id(), addr("10.0.0.9"), 12)?;
        Ok([
            tx.held(None, &network("net"), &attachment("c1"))?,
            tx.held(Some(&id()), &network("net"), &attachment("c1"))?,
            tx.of_network(None, &network("other"))?,
            tx.within(&id(), Interval::single(addr("10.0.0.8")))?,
        ])
    });
    let texts: Vec<Vec<String>> = found
        .unwrap()
        .iter()
        .map(|found| found.iter().map(|a| format!("{} {}", a.addr, a.revision)).collect())
        .collect();
    assert_eq!(
        texts,
        [
            vec!["10.0.0.1 0", "10.0.0.8 0"],
            vec!["10.0.0.8 0"],
            vec!["10.0.0.9 12"],
            vec!["10.0.0.8 0"]
        ]
    );
}
