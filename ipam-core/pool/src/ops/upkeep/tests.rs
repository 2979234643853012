//! Upkeep, step by step over the model of etcd.

use ipam_core::addr::Addr;

use super::*;
use crate::key::Keys;
use crate::memory::MemoryLedger;
use crate::model::Etcd;
use crate::node::{Contact, NodeState};

const SPACE: &str = "default";
const NOW: Now = Now { boot: 20_000, unix: 100 };

fn context() -> Context {
    Context { keys: Keys::default(), boot: "b-1".to_owned() }
}

/// A node that has been in contact and has nothing left to clean.
fn ledger() -> MemoryLedger {
    let mut ledger = MemoryLedger::default();
    let mut node = NodeState { uuid: "u-7".to_owned(), ..NodeState::default() };
    node.spaces.entry(SPACE.to_owned()).or_default();
    ledger.set_node(node);
    let contact = Some(Contact { boot: 1_000, unix: 81, revision: 1 });
    ledger.set_boot(BootState { contact, cleaned: true, seq: 5, ..BootState::default() });
    ledger
}

/// Runs it to its end.
fn run(ledger: &mut MemoryLedger, etcd: &mut Etcd) -> Kept {
    let mut upkeep = Upkeep::new(context());
    let mut event = Event::Begin;
    for _ in 0..100 {
        match upkeep.step(ledger, NOW, event).unwrap() {
            Step::Done(done) => return done.unwrap(),
            Step::Ask(txn) => event = Event::Reply(etcd.txn(&txn).unwrap()),
        }
    }
    panic!("it does not end");
}

#[test]
fn where_nobody_asks_one_write_is_enough() {
    let (mut ledger, mut etcd) = (ledger(), Etcd::default());
    let before = ledger.boot().unwrap().clone();
    // A second one would break.
    ledger.break_after(Some(2));
    assert_eq!(run(&mut ledger, &mut etcd), Kept::default());
    assert_eq!(*ledger.boot().unwrap(), BootState { asked: NOW.boot, ..before });
}

#[test]
fn a_block_to_take_over_is_written_down_before_its_request_is_gone() {
    let (mut ledger, mut etcd) = (ledger(), Etcd::default());
    let (keys, addr) = (Keys::default(), Addr::parse("10.0.1.0").unwrap());
    let request = keys.request("u-7", SPACE, addr);
    let then = vec![Op::put(request.clone(), r#"{"reserve":false,"take":"pods"}"#)];
    etcd.txn(&Txn { then, ..Txn::default() }).unwrap();
    let mut upkeep = Upkeep::new(context());
    let Step::Ask(txn) = upkeep.step(&mut ledger, NOW, Event::Begin).unwrap() else { panic!() };
    let read = etcd.txn(&txn).unwrap();
    upkeep.step(&mut ledger, NOW, Event::Reply(read)).unwrap();
    let sweeps = &ledger.boot().unwrap().sweeps;
    assert_eq!(sweeps.iter().map(|sweep| sweep.addr).collect::<Vec<_>>(), [addr]);
    assert!(etcd.get(&request).is_some());
}
