//! Addresses are reserved in the model of etcd.

use super::*;
use crate::admin::tests::{Cut, run, run_cut};
use crate::model::Etcd;

const SPACE: &str = "default";

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
    let pools = r#"{"pools":[{"name":"pods","cidr":"10.0.0.0/16","mode":"sync"},
        {"name":"edge","cidr":"10.1.0.0/16","exclude":["10.1.5.0/24"]}]}"#;
    put(e, keys.pools(SPACE), pools);
    put(
        e,
        keys.block(SPACE, addr("10.0.0.0")),
        r#"{"n":7,"u":"u-7","len":26,"p":"pods","m":"sync"}"#,
    );
    put(e, keys.block(SPACE, addr("10.0.1.0")), r#"{"len":26,"p":"pods","m":"sync"}"#);
    put(e, keys.block(SPACE, addr("10.1.0.0")), r#"{"n":7,"u":"u-7","len":26,"p":"edge"}"#);
    put(
        e,
        keys.block(SPACE, addr("10.0.2.0")),
        r#"{"n":9,"u":"u-9","len":26,"p":"pods","m":"sync"}"#,
    );
    put(e, keys.tombstone("u-9"), r#"{"name":"vm-9","at":1,"by":"root","hold":60}"#);
    put(
        e,
        keys.address(SPACE, addr("10.0.0.1")),
        r#"{"n":7,"u":"u-7","c":"abc","p":"a/b","i":"eth0"}"#,
    );
    put(e, keys.address(SPACE, addr("10.0.0.2")), r#"{"st":"park","p":"a/c","exp":50}"#);
    put(e, keys.address(SPACE, addr("10.0.0.3")), r#"{"st":"park","p":"a/d","exp":500}"#);
    etcd
}

fn reserve(text: &str) -> Reserve {
    let what = Reservation::Reserve { why: "printer".to_owned() };
    Reserve::new(Keys::default(), SPACE.to_owned(), addr(text), what)
}

fn end(text: &str) -> Reserve {
    Reserve::new(Keys::default(), SPACE.to_owned(), addr(text), Reservation::End)
}

const NOW: Now = Now { boot: 0, unix: 100 };

fn record_of(etcd: &Etcd, text: &str) -> Option<AddressRecord> {
    etcd.get(&Keys::default().address(SPACE, addr(text))).map(|kv| record::read(kv).unwrap())
}

#[test]
fn what_is_free_is_reserved_and_freed() {
    for (text, alone, out) in [
        ("10.0.0.9", false, false),
        ("10.0.1.9", false, false),
        ("10.0.9.9", false, false),
        // It was kept for a pod, and that is over.
        ("10.0.0.2", false, false),
        // A block of a pool of mode local that nobody has.
        ("10.1.9.9", true, false),
        ("10.1.5.9", true, true),
    ] {
        let mut etcd = cluster();
        let Reserved::Done { changed: true, record: Some(record), blocks_block, withheld, .. } =
            run(reserve(text), &mut etcd, NOW).unwrap()
        else {
            panic!("{text}")
        };
        assert_eq!((blocks_block, withheld), (alone, out), "{text}");
        assert_eq!(record_of(&etcd, text), Some(record.clone()));
        assert_eq!((record.st, record.p.as_str(), record.u), (AddressState::Resv, "printer", None));
        let again = run(reserve(text), &mut etcd, NOW).unwrap();
        assert!(matches!(again, Reserved::Done { changed: false, .. }));
        let other = Reservation::Reserve { why: "scanner".to_owned() };
        let other = Reserve::new(Keys::default(), SPACE.to_owned(), addr(text), other);
        assert!(matches!(
            run(other, &mut etcd, NOW).unwrap(),
            Reserved::Done { changed: true, .. }
        ));
        assert_eq!(record_of(&etcd, text).unwrap().p, "scanner");
        assert!(matches!(
            run(end(text), &mut etcd, NOW).unwrap(),
            Reserved::Done { changed: true, .. }
        ));
        assert_eq!(record_of(&etcd, text), None);
        let error = run(end(text), &mut etcd, NOW).unwrap_err();
        assert_eq!(error, AdminError::NotReserved(addr(text)));
    }
    for (text, wanted) in [
        ("10.9.0.1", "10.9.0.1 is in no pool of space default"),
        ("10.0.0.1", "10.0.0.1 is held by pod a/b eth0 on node 7"),
        ("10.0.0.3", "10.0.0.3 is kept for pod a/d"),
        ("10.0.2.1", "10.0.2.1 lies in a block of node vm-9, which is being removed"),
    ] {
        let mut etcd = cluster();
        assert_eq!(run(reserve(text), &mut etcd, NOW).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn a_node_of_mode_local_is_asked() {
    let keys = Keys::default();
    let text = "10.1.0.9";
    let request = keys.request("u-7", SPACE, addr(text));
    let mut etcd = cluster();
    for machine in [reserve(text), reserve(text).asked(), reserve(text)] {
        let Reserved::Waiting(waiting) = run(machine, &mut etcd, NOW).unwrap() else {
            panic!("it is the node's")
        };
        assert_eq!(
            (waiting.uuid.as_str(), waiting.index, waiting.pool.as_str()),
            ("u-7", Some(7), "edge")
        );
        let asked: RequestRecord = record::read(etcd.get(&request).unwrap()).unwrap();
        assert!(asked.reserve && asked.why == "printer");
    }
    // The node refuses: who has asked is told, and the request goes.
    let refused = r#"{"reserve":true,"why":"printer","refused":"it is held by pod a/b"}"#;
    put(&mut etcd, request.clone(), refused);
    let error = run(reserve(text).asked(), &mut etcd, NOW).unwrap_err();
    assert_eq!(error.to_string(), "the node that holds its block refuses: it is held by pod a/b");
    assert!(etcd.get(&request).is_none());
    // An old refusal is no answer to a new request.
    put(&mut etcd, request.clone(), refused);
    assert!(matches!(run(reserve(text), &mut etcd, NOW).unwrap(), Reserved::Waiting(_)));
    assert!(!String::from_utf8_lossy(&etcd.get(&request).unwrap().value).contains("refused"));
    // What was not done yet can be taken back.
    assert!(matches!(
        run(end(text), &mut etcd, NOW).unwrap(),
        Reserved::Done { changed: true, .. }
    ));
    assert!(etcd.get(&request).is_none());
    // The node does it.
    run(reserve(text), &mut etcd, NOW).unwrap();
    let work = Txn {
        then: vec![
            Op::delete(request.clone()),
            Op::put(
                keys.address(SPACE, addr(text)),
                r#"{"n":7,"u":"u-7","st":"resv","p":"printer"}"#,
            ),
        ],
        ..Txn::default()
    };
    etcd.txn(&work).unwrap();
    let done = run(reserve(text).asked(), &mut etcd, NOW).unwrap();
    assert!(matches!(done, Reserved::Done { .. }), "{done:?}");
    assert!(matches!(run(end(text), &mut etcd, NOW).unwrap(), Reserved::Waiting(_)));
    let asked: RequestRecord = record::read(etcd.get(&request).unwrap()).unwrap();
    assert!(!asked.reserve);
    let undo = Txn {
        then: vec![Op::delete(request), Op::delete(keys.address(SPACE, addr(text)))],
        ..Txn::default()
    };
    etcd.txn(&undo).unwrap();
    let done = run(end(text).asked(), &mut etcd, NOW).unwrap();
    assert!(matches!(done, Reserved::Done { changed: true, .. }));
}

#[test]
fn a_reservation_can_be_run_again() {
    for text in ["10.0.0.9", "10.1.0.9", "10.1.9.9"] {
        for at in 0..6 {
            for cut in [Cut::Request(at), Cut::Answer(at)] {
                let mut etcd = cluster();
                let _ = run_cut(reserve(text), &mut etcd, NOW, cut);
                run(reserve(text), &mut etcd, NOW).unwrap();
                let count = etcd.all().count();
                let _ = run_cut(end(text), &mut etcd, NOW, cut);
                let _ = run(end(text), &mut etcd, NOW);
                assert_eq!(etcd.all().count(), count - 1, "{text} {cut:?}");
            }
        }
    }
}

/// The owner gives the address out, or the block changes hands, at any step: never both.
#[test]
fn an_address_is_not_reserved_and_given_out() {
    let keys = Keys::default();
    for text in ["10.0.0.9", "10.0.9.9"] {
        for step in 0..6 {
            let mut etcd = cluster();
            let mut machine = reserve(text);
            let mut event = crate::op::Event::Begin;
            let given = Txn {
                compares: vec![Compare::absent(keys.address(SPACE, addr(text)))],
                then: vec![Op::put(
                    keys.address(SPACE, addr(text)),
                    r#"{"n":7,"u":"u-7","c":"n"}"#,
                )],
                otherwise: Vec::new(),
            };
            let mut got = false;
            for n in 0..60 {
                if n == step {
                    got = etcd.txn(&given).unwrap().succeeded;
                }
                match machine.step(NOW, &event) {
                    Step::Ask(txn) => event = crate::op::Event::Reply(etcd.txn(&txn).unwrap()),
                    Step::Done(done) => {
                        assert_eq!(done.is_ok(), !got, "{text} {step}");
                        break;
                    }
                }
            }
        }
    }
}
