//! A machine that was installed anew.

use super::*;
use crate::key::Keys;
use crate::ledger::Allocation;
use crate::memory::MemoryLedger;
use crate::model::Etcd;
use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};

const SPACE: &str = "default";
const NOW: Now = Now { boot: 1_000, unix: 100 };

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn put(etcd: &mut Etcd, key: Vec<u8>, value: &str) {
    etcd.txn(&Txn { then: vec![Op::put(key, value)], ..Txn::default() }).unwrap();
}

fn cluster() -> Etcd {
    let mut etcd = Etcd::default();
    let keys = Keys::default();
    let e = &mut etcd;
    put(e, keys.meta(), r#"{"schema":1,"minReader":1,"minWriter":1,"cluster":"c-1","epoch":2}"#);
    put(e, keys.pools(SPACE), r#"{"pools":[{"name":"pods","cidr":"10.0.0.0/16"}]}"#);
    put(e, keys.node("u-7"), r#"{"name":"vm-7","idx":7,"boot":"old","a4":"192.168.1.7"}"#);
    put(e, keys.name("vm-7"), "u-7");
    put(e, keys.boot("u-7"), "old");
    put(
        e,
        keys.block(SPACE, addr("10.0.1.0")),
        r#"{"n":7,"u":"u-7","len":26,"p":"pods","aut":500}"#,
    );
    put(e, keys.exception(SPACE, addr("10.0.8.7")), r#"{"n":7,"u":"u-7"}"#);
    etcd
}

fn context() -> Context {
    Context { keys: Keys::default(), boot: "new".to_owned() }
}

fn facts() -> Facts {
    Facts { uuid: "u-new".to_owned(), machine: "m-1".to_owned(), ..Facts::default() }
}

fn ledger(state: NodeState) -> MemoryLedger {
    let mut ledger = MemoryLedger::default();
    ledger.set_node(state);
    ledger
}

fn fresh() -> MemoryLedger {
    ledger(NodeState { uuid: "u-fresh".to_owned(), ..NodeState::default() })
}

/// Runs until the answer at a position is lost, or to the end.
fn run<O, T>(
    mut operation: O,
    ledger: &mut MemoryLedger,
    etcd: &mut Etcd,
    lost: Option<usize>,
) -> Result<T, AdminError>
where
    O: Operation<MemoryLedger, Output = Result<T, AdminError>>,
{
    let mut event = Event::Begin;
    for at in 0..100 {
        match operation.step(ledger, NOW, event).unwrap() {
            Step::Done(done) => return done,
            Step::Ask(txn) => {
                let reply = etcd.txn(&txn).unwrap();
                event =
                    if lost == Some(at) { Event::Lost(Loss::Unknown) } else { Event::Reply(reply) };
            }
        }
    }
    panic!("it does not end")
}

fn adopt(node: &str) -> Adopt {
    Adopt::new(context(), facts(), node.to_owned(), false)
}

fn state(ledger: &mut MemoryLedger) -> NodeState {
    ledger.transact(|tx| Ok(tx.node().clone())).unwrap()
}

#[test]
fn a_fresh_installation_goes_on_as_the_node() {
    let (mut etcd, mut ledger) = (cluster(), fresh());
    ledger
        .transact(|tx| {
            let contact =
                Some(crate::node::Contact { boot: 5, unix: 5, ..crate::node::Contact::default() });
            tx.set_boot(BootState { contact, cleaned: true, ..BootState::default() })
        })
        .unwrap();
    let adopted = run(adopt("vm-7"), &mut ledger, &mut etcd, None).unwrap();
    assert_eq!((adopted.uuid.as_str(), adopted.index, adopted.blocks), ("u-7", 7, 1));
    let state = state(&mut ledger);
    assert_eq!((state.uuid.as_str(), state.name.as_str(), state.index), ("u-7", "vm-7", Some(7)));
    assert_eq!((state.boots.as_slice(), state.epoch), (&["new".to_owned()][..], 2));
    let block = &state.blocks[0];
    let key = Keys::default().block(SPACE, addr("10.0.1.0"));
    assert_eq!((block.fence, block.autonomy), (etcd.get(&key).unwrap().created, 500));
    assert_eq!(state.borrowed[0].addr, addr("10.0.8.7"));
    // Nothing is given out before the next contact, and the former boot's records are cleaned up.
    let boot = ledger.boot().unwrap();
    assert!(boot.contact.is_none() && !boot.cleaned);
    let keys = Keys::default();
    assert_eq!(etcd.get(&keys.boot("u-7")).unwrap().value, b"new");
    let record: NodeRecord = record::read(etcd.get(&keys.node("u-7")).unwrap()).unwrap();
    assert_eq!((record.boot.as_str(), record.a4.as_str()), ("new", "192.168.1.7"));
    assert_eq!(
        run(adopt("vm-7"), &mut ledger, &mut etcd, None).unwrap_err(),
        AdminError::IsNode("vm-7".to_owned())
    );
}

#[test]
fn a_lost_answer_leaves_what_the_next_contact_can_finish() {
    for lost in 0..12 {
        let (mut etcd, mut ledger) = (cluster(), fresh());
        if run(adopt("vm-7"), &mut ledger, &mut etcd, Some(lost)).is_ok() {
            assert!(lost > 2);
            continue;
        }
        let state = state(&mut ledger);
        let boot = etcd.get(&Keys::default().boot("u-7")).unwrap().value.clone();
        let known = state.boots.iter().any(|known| known.as_bytes() == boot);
        // Either nothing has begun, or whoever writes for the node is one that this installation knows.
        assert!(state.uuid == "u-fresh" || (state.uuid == "u-7" && known), "{lost}: {state:?}");
    }
}

#[test]
fn what_lives_or_is_gone_is_not_adopted() {
    let keys = Keys::default();
    let mut etcd = cluster();
    assert_eq!(
        run(adopt("vm-8"), &mut fresh(), &mut etcd, None).unwrap_err(),
        AdminError::NoNode("vm-8".to_owned())
    );
    put(&mut etcd, keys.live("u-7"), "");
    let error = run(adopt("vm-7"), &mut fresh(), &mut etcd, None).unwrap_err();
    assert_eq!(error, AdminError::Alive { name: "vm-7".to_owned() });
    put(&mut etcd, keys.tombstone("u-7"), r#"{"name":"vm-7","at":5,"by":"root","hold":60}"#);
    let error = run(adopt("vm-7"), &mut fresh(), &mut etcd, None).unwrap_err();
    assert_eq!(error, AdminError::Removed { name: "vm-7".to_owned(), by: "root".to_owned() });

    // Its machine starts in between: then it is that one's.
    let (mut etcd, mut ledger) = (cluster(), fresh());
    let before = state(&mut ledger);
    let mut operation = adopt("vm-7");
    let mut event = Event::Begin;
    let error = loop {
        match operation.step(&mut ledger, NOW, event).unwrap() {
            Step::Done(done) => break done.unwrap_err(),
            Step::Ask(txn) => {
                if !txn.compares.is_empty() {
                    put(&mut etcd, keys.boot("u-7"), "another");
                }
                event = Event::Reply(etcd.txn(&txn).unwrap());
            }
        }
    };
    assert_eq!(error, AdminError::Runs { name: "vm-7".to_owned(), boot: "another".to_owned() });
    assert_eq!(state(&mut ledger), before);
}

#[test]
fn who_holds_addresses_stays_who_it_is() {
    let id = PoolId { space: SPACE.to_owned(), pool: "pods".to_owned() };
    let mut ledger = ledger(NodeState {
        uuid: "u-7".to_owned(),
        name: "vm-7".to_owned(),
        blocks: vec![Block {
            id: id.clone(),
            first: addr("10.0.1.0"),
            prefix: 26,
            fence: 9,
            mode: crate::record::Mode::Local,
            autonomy: 5,
            state: BlockState::Held,
        }],
        ..NodeState::default()
    });
    ledger
        .transact(|tx| {
            tx.insert(
                &Allocation {
                    id: id.clone(),
                    addr: addr("10.0.1.5"),
                    network: Network::new("net").unwrap(),
                    attachment: Attachment {
                        container: ContainerId::new("c").unwrap(),
                        ifname: IfName::new("eth0").unwrap(),
                    },
                    owner: Owner::default(),
                    nonce: "n".to_owned(),
                    since: 5,
                    revision: 0,
                    fence: 9,
                    borrowed: false,
                },
                0,
            )
        })
        .unwrap();
    let mut etcd = cluster();
    let anew = || Anew::new(context(), facts());
    let error = run(anew(), &mut ledger, &mut etcd, None).unwrap_err();
    assert_eq!(error, AdminError::Holds { held: 1 });
    assert_eq!(
        run(adopt("vm-7"), &mut ledger, &mut etcd, None).unwrap_err(),
        AdminError::Holds { held: 1 }
    );
    ledger.transact(|tx| tx.free(&id, addr("10.0.1.5"), true)).unwrap();
    let error = run(anew(), &mut ledger, &mut etcd, None).unwrap_err();
    assert_eq!(error, AdminError::StillNode { name: "vm-7".to_owned() });
    put(&mut etcd, Keys::default().tombstone("u-7"), r#"{"name":"vm-7","at":5,"by":"r","hold":6}"#);
    let node = run(anew(), &mut ledger, &mut etcd, None).unwrap();
    assert_eq!((node.former.as_str(), node.uuid.as_str(), node.finished), ("u-7", "u-new", false));
    let state = state(&mut ledger);
    assert_eq!((state.uuid.as_str(), state.name.as_str(), state.blocks.len()), ("u-new", "", 0));
}
