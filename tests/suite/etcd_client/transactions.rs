//! Transactions of every kind.

use etcd_pool::client::Kind;
use ipam_pool::txn::{Answer, Compare, Kv, MOST, Op, Target, Txn};
use support::etcd::{Etcd, available};

use super::{client, get, put, soon};

fn range(first: &str, end: &str) -> (Vec<u8>, Vec<u8>) {
    (first.into(), end.into())
}

#[test]
fn compares_of_every_kind() {
    if !available("compares_of_every_kind") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let first = etcd.txn(&put("/a/1", "one"), soon()).unwrap();
    let second = etcd.txn(&put("/a/2", "two"), soon()).unwrap();
    let third = etcd.txn(&put("/a/1", "uno"), soon()).unwrap();
    assert!(first.succeeded && first.cluster != 0 && !first.doubt);
    assert_eq!(third.revision, first.revision + 2);
    let (made, changed) = (first.revision, third.revision);
    let over = |target: Target, first: &str, end: &str| Compare {
        key: first.into(),
        end: Some(end.into()),
        target,
    };
    for (compare, holds) in [
        (Compare::absent("/a/1"), false),
        (Compare::absent("/a/3"), true),
        (Compare::created("/a/1", made), true),
        (Compare::created("/a/1", changed), false),
        (Compare::modified("/a/1", changed), true),
        (Compare::modified("/a/1", made), false),
        (Compare::modified("/a/3", 0), true),
        (Compare::value("/a/1", "uno"), true),
        (Compare::value("/a/1", "one"), false),
        (Compare::value("/a/3", ""), false),
        (Compare::empty(range("/a/3", "/a/9")), true),
        (Compare::empty(range("/a/2", "/a/9")), false),
        (Compare::empty(range("/a/0", "/a/1")), true),
        // Every key of a range must hold.
        (over(Target::Created(made), "/a/1", "/a/2"), true),
        (over(Target::Created(made), "/a/1", "/a/3"), false),
        (over(Target::Modified(second.revision), "/a/2", "/a/9"), true),
        (over(Target::Value(b"two".to_vec()), "/a/2", "/a/9"), true),
        (over(Target::Value(b"two".to_vec()), "/a/1", "/a/9"), false),
    ] {
        let txn = Txn {
            compares: vec![compare],
            then: vec![Op::get("/a/2")],
            otherwise: vec![Op::get("/a/1"), Op::get("/a/3")],
        };
        let reply = etcd.txn(&txn, soon()).unwrap();
        assert_eq!(reply.succeeded, holds, "{:?}", txn.compares);
        assert_eq!(reply.answers.len(), if holds { 1 } else { 2 });
        assert_eq!(reply.revision, third.revision);
        if !holds {
            let kv = Kv {
                key: b"/a/1".to_vec(),
                value: b"uno".to_vec(),
                created: made,
                modified: changed,
                lease: 0,
            };
            assert_eq!(reply.one(0), Some(&kv));
            assert_eq!(reply.one(1), None);
        }
    }
    // All of them must hold.
    let both = |second| Txn {
        compares: vec![Compare::absent("/a/3"), second],
        then: vec![Op::put("/a/3", "three")],
        otherwise: vec![],
    };
    assert!(!etcd.txn(&both(Compare::absent("/a/1")), soon()).unwrap().succeeded);
    assert!(etcd.txn(&both(Compare::absent("/a/4")), soon()).unwrap().succeeded);
}

#[test]
fn reads_and_deletes_of_ranges() {
    if !available("reads_and_deletes_of_ranges") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let puts = (0..10).map(|n| Op::put(format!("/r/{n}"), format!("v{n}"))).collect();
    let reply = etcd.txn(&Txn { then: puts, ..Txn::default() }, soon()).unwrap();
    assert_eq!(reply.answers, vec![Answer::Put; 10]);
    let limited =
        Op::Get { key: b"/r/2".to_vec(), end: Some(b"/r/9".to_vec()), keys_only: false, limit: 3 };
    let txn = Txn {
        then: vec![
            Op::range(range("/r/", "/r0")),
            limited,
            Op::keys(range("/r/", "/r0"), 4),
            Op::keys(range("/r/", "/r0"), 10),
            Op::range(range("/s/", "/s0")),
            Op::Delete { key: b"/r/3".to_vec(), end: Some(b"/r/7".to_vec()) },
            Op::delete("/r/8"),
            Op::delete("/none"),
        ],
        ..Txn::default()
    };
    let reply = etcd.txn(&txn, soon()).unwrap();
    let keys = |at: usize| -> Vec<String> {
        let kvs = reply.got(at).iter();
        kvs.map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    };
    let more = |at: usize| matches!(reply.answers[at], Answer::Got { more: true, .. });
    assert_eq!(keys(0).len(), 10);
    assert!(keys(0).is_sorted() && !more(0));
    assert_eq!(keys(1), ["/r/2", "/r/3", "/r/4"]);
    assert_eq!(reply.got(1)[0].value, b"v2");
    assert!(more(1) && more(2) && !more(3));
    assert!(reply.got(2).len() == 4 && reply.got(2).iter().all(|kv| kv.value.is_empty()));
    assert_eq!(reply.answers[4], Answer::Got { kvs: vec![], more: false });
    assert_eq!(reply.answers[5..], [Answer::Deleted(4), Answer::Deleted(1), Answer::Deleted(0)]);
    let left = etcd
        .txn(&Txn { then: vec![Op::range(range("/r/", "/r0"))], ..Txn::default() }, soon())
        .unwrap();
    assert_eq!(left.got(0).len(), 5);
}

#[test]
fn as_much_as_etcd_takes_and_no_more() {
    if !available("as_much_as_etcd_takes_and_no_more") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let most = |count: usize| Txn {
        compares: (0..count).map(|n| Compare::absent(format!("/m/{n}"))).collect(),
        then: (0..count).map(|n| Op::put(format!("/m/{n}"), "x")).collect(),
        otherwise: (0..count).map(|n| Op::get(format!("/m/{n}"))).collect(),
    };
    let reply = etcd.txn(&most(MOST), soon()).unwrap();
    assert!(reply.succeeded && reply.answers.len() == MOST);
    let reply = etcd.txn(&most(MOST), soon()).unwrap();
    assert!(!reply.succeeded && (0..MOST).all(|n| reply.one(n).is_some()));
    let error = etcd.txn(&most(MOST + 1), soon()).unwrap_err();
    assert_eq!(error.kind, Kind::Refused, "{error}");
    assert!(error.message.contains("too many operations"), "{error}");
    let twice = Txn { then: vec![Op::put("/d", "1"), Op::put("/d", "2")], ..Txn::default() };
    let error = etcd.txn(&twice, soon()).unwrap_err();
    assert!(error.kind == Kind::Refused && error.message.contains("duplicate key"), "{error}");
    assert!(etcd.txn(&Txn::default(), soon()).unwrap().succeeded);
}

#[test]
fn an_answer_may_be_large() {
    if !available("an_answer_may_be_large") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let value = "x".repeat(400_000);
    for n in 0..20 {
        assert!(etcd.txn(&put(&format!("/large/{n:02}"), &value), soon()).unwrap().succeeded);
    }
    let all = Txn { then: vec![Op::range(range("/large/", "/large0"))], ..Txn::default() };
    let reply = etcd.txn(&all, soon()).unwrap();
    assert_eq!(reply.got(0).iter().map(|kv| kv.value.len()).sum::<usize>(), 8_000_000);
    assert!(etcd.txn(&get("/large/00"), soon()).is_ok());
}
