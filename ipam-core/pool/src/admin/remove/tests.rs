//! Nodes are removed in the model of etcd.

use super::*;
use crate::admin::tests::{Cut, run, run_cut};
use crate::model::Etcd;
use crate::record::BlockRecord;

const SPACE: &str = "default";
const DAY: u64 = 86_400;

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn put(etcd: &mut Etcd, key: Vec<u8>, value: &str) {
    etcd.txn(&Txn { then: vec![Op::put(key, value)], ..Txn::default() }).unwrap();
}

/// Node vm-7 with three blocks: one of its own, one with a reservation, one with an address that vm-8 has
/// borrowed; and an address that it has borrowed from vm-8.
fn cluster(autonomy: u64) -> Etcd {
    let mut etcd = Etcd::default();
    let keys = Keys::default();
    let e = &mut etcd;
    put(e, keys.pools(SPACE), r#"{"pools":[{"name":"pods","cidr":"10.0.0.0/16","mode":"sync"}]}"#);
    for (uuid, name, index) in [("u-7", "vm-7", 7), ("u-8", "vm-8", 8)] {
        put(e, keys.node(uuid), &format!(r#"{{"name":"{name}","idx":{index}}}"#));
        put(e, keys.name(name), uuid);
        put(e, keys.index(index), uuid);
        put(e, keys.boot(uuid), "boot");
    }
    let block =
        |n| format!(r#"{{"n":{n},"u":"u-{n}","len":26,"p":"pods","m":"sync","aut":{autonomy}}}"#);
    for first in ["10.0.0.0", "10.0.1.0", "10.0.2.0"] {
        put(e, keys.block(SPACE, addr(first)), &block(7));
    }
    put(e, keys.block(SPACE, addr("10.0.8.0")), &block(8));
    let used = |n| format!(r#"{{"n":{n},"u":"u-{n}","c":"c","i":"eth0"}}"#);
    for text in ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.2.1", "10.0.8.7"] {
        put(e, keys.address(SPACE, addr(text)), &used(7));
    }
    for text in ["10.0.8.1", "10.0.2.8"] {
        put(e, keys.address(SPACE, addr(text)), &used(8));
    }
    put(e, keys.address(SPACE, addr("10.0.1.9")), r#"{"st":"resv","p":"printer"}"#);
    put(e, keys.exception(SPACE, addr("10.0.8.7")), r#"{"n":7,"u":"u-7"}"#);
    put(e, keys.exception(SPACE, addr("10.0.2.8")), r#"{"n":8,"u":"u-8"}"#);
    put(e, keys.request("u-7", SPACE, addr("10.0.0.5")), r#"{"reserve":true}"#);
    etcd
}

fn options(node: &str) -> RemoveOptions {
    RemoveOptions {
        node: node.to_owned(),
        by: "root".to_owned(),
        boot: "remover".to_owned(),
        ..RemoveOptions::default()
    }
}

fn remove(options: &RemoveOptions) -> RemoveNode {
    RemoveNode::new(Keys::default(), options.clone())
}

const fn at(seconds: u64) -> Now {
    Now { boot: seconds * 1000, unix: 1_000_000 + seconds }
}

/// What is left when the node is gone.
fn check_gone(etcd: &Etcd) {
    let keys = Keys::default();
    let text: Vec<String> = etcd
        .all()
        .map(|kv| String::from_utf8_lossy(&kv.key).replace("/plat/v1/", ""))
        .filter(|key| !key.contains("s/default/pools"))
        .collect();
    assert_eq!(
        text,
        [
            "n/u-8",
            "ni/0000000008",
            "nn/vm-8",
            "o/u-8",
            // What is reserved stays, and what vm-8 has.
            "s/default/a/4/0a000109",
            "s/default/a/4/0a000208",
            "s/default/a/4/0a000801",
            "s/default/b/4/0a000200",
            "s/default/b/4/0a000800",
            "s/default/x/4/0a000208",
            "t/u-7",
        ]
    );
    let block = etcd.get(&keys.block(SPACE, addr("10.0.2.0"))).unwrap();
    let record: BlockRecord = record::read(block).unwrap();
    assert_eq!((record.n, record.u, record.len), (None, None, 26));
    let tombstone: Tombstone = record::read(etcd.get(&keys.tombstone("u-7")).unwrap()).unwrap();
    assert!(tombstone.done);
}

#[test]
fn a_node_goes_after_its_hold() {
    let mut etcd = cluster(DAY);
    let fence = etcd.get(&Keys::default().block(SPACE, addr("10.0.2.0"))).unwrap().created;
    let hold = DAY + DAY / 20 + LEASE;
    let first = run(remove(&options("vm-7")), &mut etcd, at(0)).unwrap();
    assert_eq!(first.state, RemovalState::Holding { left: hold, until: 1_000_000 + hold });
    assert!(first.begun_here && first.blocks == 3);
    let before: Vec<_> = etcd.all().cloned().collect();
    let again = run(remove(&options("7")), &mut etcd, at(hold - 1)).unwrap();
    assert_eq!(again.state, RemovalState::Holding { left: 1, until: 1_000_000 + hold });
    assert!(!again.begun_here);
    assert_eq!(etcd.all().cloned().collect::<Vec<_>>(), before);
    let done = run(remove(&options("u-7")), &mut etcd, at(hold)).unwrap();
    assert_eq!(done.state, RemovalState::Done);
    assert_eq!((done.returned, done.handed_over, done.freed), (2, 1, 3));
    check_gone(&etcd);
    // The borrower writes with the same fence as before.
    let block = etcd.get(&Keys::default().block(SPACE, addr("10.0.2.0"))).unwrap();
    assert_eq!(block.created, fence);
    let after = run(remove(&options("vm-7")), &mut etcd, at(hold + 5)).unwrap();
    assert_eq!(after.state, RemovalState::WasDone);
    // When the borrowed address is gone the block goes in passing with the next removal, and an old tombstone.
    let keys = Keys::default();
    for key in [keys.address(SPACE, addr("10.0.2.8")), keys.exception(SPACE, addr("10.0.2.8"))] {
        etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() }).unwrap();
    }
    let off = RemoveOptions { off: true, ..options("vm-8") };
    run(remove(&off), &mut etcd, at(hold + 31 * DAY)).unwrap();
    run(remove(&off), &mut etcd, at(hold + 31 * DAY + LEASE + 1)).unwrap();
    assert!(etcd.get(&keys.block(SPACE, addr("10.0.2.0"))).is_none());
    assert!(etcd.get(&keys.tombstone("u-7")).is_none());
    assert!(etcd.get(&keys.tombstone("u-8")).is_some());
}

#[test]
fn what_makes_a_removal_unsafe_is_refused() {
    let keys = Keys::default();
    for (name, autonomy, change, wanted) in [
        ("vm-9", DAY, "", "there is no node vm-9"),
        ("vm-7", DAY, "live", "node vm-7 is alive: its agent answers"),
        (
            "vm-7",
            0,
            "",
            "node vm-7 may give out addresses without etcd for ever (its block 10.0.0.0/26 says so)",
        ),
    ] {
        let mut etcd = cluster(autonomy);
        if change == "live" {
            put(&mut etcd, keys.live("u-7"), "");
        }
        let error = run(remove(&options(name)), &mut etcd, at(0)).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        assert!(etcd.range(&keys.all_tombstones()).next().is_none());
        if change == "live" {
            let force = RemoveOptions { force: true, ..options(name) };
            assert!(run(remove(&force), &mut etcd, at(0)).unwrap().begun_here);
        }
        if autonomy == 0 {
            let off = RemoveOptions { off: true, ..options(name) };
            let held = run(remove(&off), &mut etcd, at(0)).unwrap();
            assert_eq!(held.state, RemovalState::Holding { left: LEASE, until: 1_000_060 });
            assert_eq!(run(remove(&off), &mut etcd, at(60)).unwrap().state, RemovalState::Done);
        }
    }
    // A block that was claimed after the hold was counted.
    let mut etcd = cluster(100);
    run(remove(&options("vm-7")), &mut etcd, at(0)).unwrap();
    put(
        &mut etcd,
        keys.block(SPACE, addr("10.0.40.0")),
        r#"{"n":7,"u":"u-7","len":26,"p":"pods","m":"local","aut":1000}"#,
    );
    let left = run(remove(&options("vm-7")), &mut etcd, at(200)).unwrap().state;
    assert_eq!(left, RemovalState::Holding { left: 1_110 - 200, until: 1_001_110 });
    // Another machine goes by the wall clock, and waits longer.
    let other = RemoveOptions { boot: "another".to_owned(), ..options("vm-7") };
    let left = run(remove(&other), &mut etcd, at(1_110)).unwrap().state;
    assert_eq!(left, RemovalState::Holding { left: 600, until: 1_000_000 + 1_110 + 600 });
    let error = run(remove(&other), &mut etcd, Now { boot: 5, unix: 999_999 }).unwrap_err();
    assert!(matches!(error, AdminError::ClockBehind { .. }));
}

#[test]
fn a_removal_can_be_cancelled_until_something_is_given_back() {
    let mut etcd = cluster(100);
    let cancel = |node: &str| CancelRemoval::new(Keys::default(), node.to_owned());
    let error = run(cancel("vm-7"), &mut etcd, at(0)).unwrap_err();
    assert_eq!(error, AdminError::NotRemoved("vm-7".to_owned()));
    let before = etcd.all().count();
    run(remove(&options("vm-7")), &mut etcd, at(0)).unwrap();
    assert_eq!(run(cancel("vm-7"), &mut etcd, at(5)).unwrap(), "vm-7");
    assert_eq!(etcd.all().count(), before);
    run(remove(&options("vm-7")), &mut etcd, at(10)).unwrap();
    // The one that says that it begins is sent, and its answer is lost.
    let begin = (0..20).find(|n| {
        let mut copy = etcd.clone();
        let _ = run_cut(remove(&options("vm-7")), &mut copy, at(900), Cut::Answer(*n));
        let kv = copy.get(&Keys::default().tombstone("u-7")).unwrap();
        record::read::<Tombstone>(kv).unwrap().begun
    });
    let _ = run_cut(remove(&options("vm-7")), &mut etcd, at(900), Cut::Answer(begin.unwrap()));
    let error = run(cancel("vm-7"), &mut etcd, at(901)).unwrap_err();
    assert_eq!(error, AdminError::GivenBack("vm-7".to_owned()));
    run(remove(&options("vm-7")), &mut etcd, at(902)).unwrap();
    check_gone(&etcd);
}

/// Whatever is lost, the next run does the rest, and what others have stays.
#[test]
fn a_removal_goes_on_after_any_loss() {
    // A removal of this node takes fewer requests than that.
    for n in 0..60 {
        for (one, two) in [(0, n), (n, 0), (n, n)] {
            let mut etcd = cluster(100);
            let options = options("vm-7");
            let _ = run_cut(remove(&options), &mut etcd, at(0), Cut::Answer(one));
            let _ = run(remove(&options), &mut etcd, at(1)).unwrap();
            let _ = run_cut(remove(&options), &mut etcd, at(500), Cut::Answer(two));
            let _ = run_cut(remove(&options), &mut etcd, at(501), Cut::Request(one));
            let last = run(remove(&options), &mut etcd, at(502)).unwrap();
            assert!(matches!(last.state, RemovalState::Done | RemovalState::WasDone), "{last:?}");
            check_gone(&etcd);
        }
    }
}

/// Two operators at once: every way in which their requests can follow each other for some steps.
#[test]
fn two_removals_at_once_do_the_work_of_one() {
    for order in 0_u32..1 << 10 {
        let mut etcd = cluster(100);
        run(remove(&options("vm-7")), &mut etcd, at(0)).unwrap();
        let mut machines = [remove(&options("vm-7")), remove(&options("vm-7"))];
        let mut events = [Some(crate::op::Event::Begin), Some(crate::op::Event::Begin)];
        for step in 0..400 {
            let mut who = if step < 10 { (order >> step & 1) as usize } else { step % 2 };
            if events[who].is_none() {
                who = 1 - who;
            }
            let Some(event) = events[who].take() else { break };
            match machines[who].step(at(500), &event) {
                Step::Ask(txn) => {
                    events[who] = Some(crate::op::Event::Reply(etcd.txn(&txn).unwrap()));
                }
                Step::Done(done) => {
                    done.unwrap();
                }
            }
        }
        check_gone(&etcd);
    }
}

/// A node borrows an address of a block at some step of a removal: whether it got it, whether its record is
/// there in the end, and whether the block is.
fn borrowed_at(step: usize, etcd: &mut Etcd) -> (bool, bool, bool) {
    let keys = Keys::default();
    let (block, address) =
        (keys.block(SPACE, addr("10.0.0.0")), keys.address(SPACE, addr("10.0.0.30")));
    run(remove(&options("vm-7")), etcd, at(0)).unwrap();
    let fence = etcd.get(&block).unwrap().created;
    let borrow = Txn {
        compares: vec![Compare::created(block.clone(), fence), Compare::absent(address.clone())],
        then: vec![
            Op::put(address.clone(), r#"{"n":8,"u":"u-8","c":"z"}"#),
            Op::put(keys.exception(SPACE, addr("10.0.0.30")), r#"{"n":8,"u":"u-8"}"#),
        ],
        otherwise: Vec::new(),
    };
    let mut machine = remove(&options("vm-7"));
    let mut event = crate::op::Event::Begin;
    let mut got = false;
    for n in 0..200 {
        if n == step {
            got = etcd.txn(&borrow).unwrap().succeeded;
        }
        match machine.step(at(500), &event) {
            Step::Ask(txn) => event = crate::op::Event::Reply(etcd.txn(&txn).unwrap()),
            Step::Done(done) => {
                assert_eq!(done.unwrap().state, RemovalState::Done);
                break;
            }
        }
    }
    (got, etcd.get(&address).is_some(), etcd.get(&block).is_some())
}

/// An address that is borrowed just when its block is given back: the block stays, as nobody's.
#[test]
fn what_is_borrowed_meanwhile_stays() {
    let mut kept = 0;
    for step in 0..60 {
        let (got, address, block) = borrowed_at(step, &mut cluster(100));
        assert_eq!((address, block), (got, got), "step {step}");
        kept += usize::from(got);
    }
    assert!(kept > 3);
}

/// The same without the compare that finds it: an address is lost that a pod has.
#[test]
fn without_the_compare_a_borrowed_address_is_lost() {
    let lost = (0..60).any(|step| {
        let mut etcd = cluster(100);
        let exceptions = Keys::default().all_exceptions(SPACE);
        etcd.ignore(Some(std::sync::Arc::new(move |compare: &Compare| {
            compare.end.is_some() && compare.key.starts_with(&exceptions.0)
        })));
        let (got, address, _) = borrowed_at(step, &mut etcd);
        got && !address
    });
    assert!(lost);
}
