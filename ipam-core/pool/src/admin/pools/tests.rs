//! Pools are changed in the model of etcd.

use super::*;
use crate::admin::tests::{Cut, run, run_cut};
use crate::model::Etcd;
use crate::op::Event;

const SPACE: &str = "default";

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn spec(json: &str) -> PoolSpec {
    serde_json::from_str(json).unwrap()
}

fn machine(change: Change) -> ChangePools {
    ChangePools::new(Keys::default(), SPACE.to_owned(), change, "c-1".to_owned())
}

fn create(json: &str) -> ChangePools {
    machine(Change::Create(spec(json)))
}

fn edit(patch: PoolPatch) -> ChangePools {
    machine(Change::Edit { name: "pods".to_owned(), patch })
}

fn remove(reservations: bool) -> ChangePools {
    machine(Change::Remove { name: "pods".to_owned(), reservations })
}

fn put(etcd: &mut Etcd, key: Vec<u8>, value: &str) {
    etcd.txn(&Txn { then: vec![Op::put(key, value)], ..Txn::default() }).unwrap();
}

fn there(etcd: &Etcd) -> PoolsRecord {
    etcd.get(&Keys::default().pools(SPACE)).map(|kv| record::read(kv).unwrap()).unwrap_or_default()
}

/// A pool with a block of node 7 that has two addresses, a reservation in another block, and an old parking.
fn cluster(mode: &str) -> Etcd {
    let mut etcd = Etcd::default();
    let keys = Keys::default();
    let pool = format!(r#"{{"name":"pods","cidr":"10.0.0.0/16","mode":"{mode}"}}"#);
    run(create(&pool), &mut etcd, Now::default()).unwrap();
    let block = format!(r#"{{"n":7,"u":"u-7","len":26,"p":"pods","m":"{mode}"}}"#);
    put(&mut etcd, keys.block(SPACE, addr("10.0.3.64")), &block);
    let used = r#"{"n":7,"u":"u-7","c":"abc","i":"eth0","p":"shop/web-0","st":"used"}"#;
    put(&mut etcd, keys.address(SPACE, addr("10.0.3.70")), used);
    put(&mut etcd, keys.address(SPACE, addr("10.0.3.71")), used);
    put(&mut etcd, keys.address(SPACE, addr("10.0.9.9")), r#"{"st":"resv","p":"printer"}"#);
    put(&mut etcd, keys.address(SPACE, addr("10.0.9.10")), r#"{"st":"park","p":"a/b","exp":50}"#);
    etcd
}

#[test]
fn pools_come_change_and_go() {
    let mut etcd = Etcd::default();
    let now = Now::default();
    let made = run(create(r#"{"name":"pods","cidr":"10.0.0.0/16"}"#), &mut etcd, now).unwrap();
    assert!(made.changed && made.before.is_none());
    let meta: Meta = record::read(etcd.get(&Keys::default().meta()).unwrap()).unwrap();
    assert_eq!((meta.schema, meta.cluster.as_str()), (SCHEMA, "c-1"));
    // Once more is nothing new; another one of the name is told.
    let again = run(create(r#"{"name":"pods","cidr":"10.0.0.0/16","blk":26}"#), &mut etcd, now);
    assert!(!again.unwrap().changed);
    let other = run(create(r#"{"name":"pods","cidr":"10.0.0.0/17"}"#), &mut etcd, now);
    let text = other.unwrap_err().to_string();
    assert_eq!(
        text,
        "there is a pool pods already, and it is another one: cidr is 10.0.0.0/16 there and to be 10.0.0.0/17"
    );
    let text = run(create(r#"{"name":"more","cidr":"10.0.4.0/22"}"#), &mut etcd, now);
    assert_eq!(text.unwrap_err().to_string(), "pool more would overlap pool pods in 10.0.4.0/22");
    run(create(r#"{"name":"more","cidr":"10.1.0.0/16","cidr6":"fd00::/96"}"#), &mut etcd, now)
        .unwrap();
    let cidr = |text: &str| Some(Some(text.to_owned()));
    let text =
        run(edit(PoolPatch { cidr: cidr("10.0.0.0/15"), ..PoolPatch::default() }), &mut etcd, now);
    assert_eq!(text.unwrap_err().to_string(), "pool pods would overlap pool more in 10.1.0.0/16");
    let patch =
        PoolPatch { cidr: cidr("10.0.0.0/17"), mode: Some(Mode::Sync), ..PoolPatch::default() };
    assert!(run(edit(patch.clone()), &mut etcd, now).unwrap().changed);
    assert!(!run(edit(patch), &mut etcd, now).unwrap().changed);
    assert_eq!(there(&etcd).generation, 3);
    assert!(run(remove(false), &mut etcd, now).unwrap().changed);
    let text = run(remove(false), &mut etcd, now).unwrap_err().to_string();
    assert_eq!(text, "there is no pool pods in space default; there is more");
    for bad in [
        r#"{"name":"","cidr":"10.9.0.0/16"}"#,
        r#"{"name":"a/b","cidr":"10.9.0.0/16"}"#,
        r#"{"name":"x","cidr":"10.9.0.1/16"}"#,
    ] {
        let error = run(create(bad), &mut etcd, now).unwrap_err();
        assert!(matches!(error, AdminError::BadPool(_)), "{bad}: {error}");
    }
}

#[test]
fn what_is_in_use_stands_against_it_with_a_list() {
    let now = Now { boot: 0, unix: 100 };
    let cidr = |text: &str| PoolPatch { cidr: Some(Some(text.to_owned())), ..PoolPatch::default() };
    let exclude = |text: &str| PoolPatch { exclude: vec![text.to_owned()], ..PoolPatch::default() };
    for (mode, change, wanted) in [
        (
            "sync",
            edit(cidr("10.0.128.0/17")),
            Err(
                "pool pods: 10.0.0.0/17 cannot be taken from it while 1 block and 3 addresses are in use",
            ),
        ),
        (
            "sync",
            edit(cidr("10.0.0.0/21")),
            Err(
                "pool pods: 10.0.8.0-10.0.255.255 cannot be taken from it while 1 address is in use",
            ),
        ),
        // An address that was kept for a time that is over does not matter.
        ("sync", edit(cidr("10.0.0.0/22")), Err("10.0.4.0-10.0.255.255 cannot be taken")),
        (
            "sync",
            edit(exclude("10.0.3.70-10.0.3.80")),
            Err("10.0.3.70-10.0.3.80 cannot be excluded while 2 addresses are in use"),
        ),
        ("sync", edit(exclude("10.0.3.72/29")), Ok(0)),
        // What is reserved may be excluded, too.
        ("sync", edit(exclude("10.0.9.0/24")), Ok(0)),
        // A node of mode local learns of it later.
        ("local", edit(exclude("10.0.3.100")), Ok(1)),
        (
            "local",
            edit(PoolPatch { mode: Some(Mode::Sync), ..PoolPatch::default() }),
            Err("pool pods: its mode cannot be changed while 1 block is in use"),
        ),
        (
            "local",
            edit(PoolPatch { block: Some(Some(28)), ..PoolPatch::default() }),
            Err("the prefix length of its IPv4 blocks cannot be changed while 1 block is in use"),
        ),
        (
            "local",
            edit(PoolPatch { gateway: Some("block".to_owned()), ..PoolPatch::default() }),
            Err("blocks cannot get gateways"),
        ),
        (
            "local",
            edit(PoolPatch {
                max_blocks: Some(Some(3)),
                autonomy: Some(Some(0)),
                ..PoolPatch::default()
            }),
            Ok(0),
        ),
        ("local", edit(cidr("10.0.0.0/15")), Ok(0)),
        (
            "local",
            remove(true),
            Err("pool pods: it cannot be removed while 1 block and 2 addresses are in use"),
        ),
    ] {
        let mut etcd = cluster(mode);
        let before = there(&etcd);
        match (run(change.clone(), &mut etcd, now), wanted) {
            (Ok(changed), Ok(late)) => {
                assert!(changed.changed);
                assert_eq!(changed.late.len(), late, "{change:?}");
            }
            (Err(error), Err(text)) => {
                assert!(error.to_string().contains(text), "{error} is not {text}");
                assert_eq!(there(&etcd), before);
                assert!(!error.advice().is_empty());
            }
            (got, wanted) => panic!("{change:?}: {got:?} instead of {wanted:?}"),
        }
    }
    let Err(AdminError::InTheWay(way)) =
        run(edit(cidr("10.0.128.0/17")), &mut cluster("sync"), now)
    else {
        panic!("it is in the way")
    };
    let addresses: Vec<String> = way.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        [
            "10.0.3.70 is held by pod shop/web-0 eth0 on node 7",
            "10.0.3.71 is held by pod shop/web-0 eth0 on node 7",
            "10.0.9.9 is reserved for printer"
        ]
    );
    assert_eq!(
        (way.blocks[0].block.to_string().as_str(), way.blocks[0].index),
        ("10.0.3.64/26", Some(7))
    );
}

#[test]
fn reservations_go_with_the_pool_only_if_that_is_wanted() {
    let now = Now { boot: 0, unix: 100 };
    let mut etcd = cluster("sync");
    let keys = Keys::default();
    for key in [
        keys.block(SPACE, addr("10.0.3.64")),
        keys.address(SPACE, addr("10.0.3.70")),
        keys.address(SPACE, addr("10.0.3.71")),
    ] {
        etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() }).unwrap();
    }
    let error = run(remove(false), &mut etcd, now).unwrap_err();
    assert_eq!(error.to_string(), "pool pods has 1 reserved addresses, which would go with it");
    assert_eq!(run(remove(true), &mut etcd, now).unwrap().ended, 1);
    assert_eq!(etcd.range(&keys.all_addresses(SPACE)).count(), 0);
}

/// At every point of a change something comes in its way: a claimed block, an allocation. It is never passed over.
#[test]
fn nothing_passes_a_change_unseen() {
    let keys = Keys::default();
    let now = Now { boot: 0, unix: 100 };
    let cidr = PoolPatch { cidr: Some(Some("10.0.0.0/17".to_owned())), ..PoolPatch::default() };
    let exclude = PoolPatch { exclude: vec!["10.0.3.64/28".to_owned()], ..PoolPatch::default() };
    let block = (keys.block(SPACE, addr("10.0.200.0")), r#"{"n":1,"u":"u-1","len":26,"p":"pods"}"#);
    let used = (keys.address(SPACE, addr("10.0.3.73")), r#"{"n":7,"u":"u-7","c":"x"}"#);
    for (change, (key, value)) in
        [(edit(cidr), block.clone()), (edit(exclude), used), (remove(true), block)]
    {
        let mut refused = 0;
        for at in 0..12 {
            let mut etcd = Etcd::default();
            run(create(r#"{"name":"pods","cidr":"10.0.0.0/16","mode":"sync"}"#), &mut etcd, now)
                .unwrap();
            let mut machine = change.clone();
            let mut event = Event::Begin;
            let mut output = None;
            for step in 0..50 {
                match machine.step(now, &event) {
                    Step::Done(done) => {
                        output = Some(done);
                        break;
                    }
                    Step::Ask(txn) => {
                        if step == at {
                            put(&mut etcd, key.clone(), value);
                        }
                        event = Event::Reply(etcd.txn(&txn).unwrap());
                    }
                }
            }
            match output.unwrap() {
                // It was done before.
                Ok(_) => assert!(etcd.get(&key).is_none(), "at step {at}"),
                Err(AdminError::InTheWay(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 1, "{change:?}");
    }
}

/// A change whose request or answer is lost can be run again.
#[test]
fn a_change_can_be_run_again() {
    let now = Now { boot: 0, unix: 100 };
    let edit = edit(PoolPatch {
        cooldown: Some(9),
        exclude: vec!["10.0.1.1".to_owned()],
        ..PoolPatch::default()
    });
    for change in [create(r#"{"name":"more","cidr":"10.5.0.0/16"}"#), edit] {
        for at in 0..10 {
            for cut in [Cut::Request(at), Cut::Answer(at)] {
                let mut etcd = cluster("sync");
                let generation = there(&etcd).generation;
                let _ = run_cut(change.clone(), &mut etcd, now, cut);
                run(change.clone(), &mut etcd, now).unwrap();
                assert_eq!(there(&etcd).generation, generation + 1, "{cut:?}");
            }
        }
    }
    // A client may send a request twice: the second copy fails, and finds the work of the first.
    let mut etcd = Etcd::default();
    let mut machine = create(r#"{"name":"pods","cidr":"10.0.0.0/16"}"#);
    let mut event = Event::Begin;
    let changed = loop {
        match machine.step(now, &event) {
            Step::Done(done) => break done.unwrap(),
            Step::Ask(txn) => {
                let _ = etcd.txn(&txn).unwrap();
                event = Event::Reply(etcd.txn(&txn).unwrap());
            }
        }
    };
    assert!(changed.changed);
}

#[test]
fn data_of_a_later_version_are_left_alone() {
    let mut etcd = Etcd::default();
    put(
        &mut etcd,
        Keys::default().meta(),
        r#"{"schema":9,"minReader":1,"minWriter":9,"cluster":"c"}"#,
    );
    let error = run(create(r#"{"name":"pods","cidr":"10.0.0.0/16"}"#), &mut etcd, Now::default());
    assert_eq!(error.unwrap_err(), AdminError::Newer { schema: 9, known: SCHEMA });
}
