//! Watching: everything once and in order, over lost members; what is compacted away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_pool::client::{Change, Kind};
use ipam_pool::txn::{Op, Txn};
use serde_json::json;
use support::etcd::{Etcd, available};
use support::wait_until;

use super::{LONG, client, hasty, put, soon};

fn range() -> (Vec<u8>, Vec<u8>) {
    (b"/w/".to_vec(), b"/w0".to_vec())
}

#[test]
fn changes_are_told_from_a_revision_on() {
    if !available("changes_are_told_from_a_revision_on") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    etcd.txn(&put("/w/old", "x"), soon()).unwrap();
    let from = etcd.txn(&put("/w/a", "1"), soon()).unwrap().revision;
    etcd.txn(&put("/else", "x"), soon()).unwrap();
    let several = Txn {
        then: vec![Op::put("/w/b", "2"), Op::delete("/w/a"), Op::put("/w/c", "3")],
        ..Txn::default()
    };
    let last = etcd.txn(&several, soon()).unwrap().revision;
    let mut told = Vec::new();
    etcd.watch(range(), from, Some(soon()), &mut |change| {
        told.push(match change {
            Change::Put(kv) => (String::from_utf8(kv.key).unwrap(), kv.modified, true),
            Change::Deleted { key, revision } => (String::from_utf8(key).unwrap(), revision, false),
        });
        told.len() < 4
    })
    .unwrap();
    let expected =
        [("/w/a", from, true), ("/w/b", last, true), ("/w/a", last, false), ("/w/c", last, true)];
    assert_eq!(told, expected.map(|(key, revision, there)| (key.to_owned(), revision, there)));
    // With nothing to tell it ends with its time.
    let start = Instant::now();
    let until = start + Duration::from_millis(300);
    etcd.watch(range(), last + 1, Some(until), &mut |change| panic!("{change:?}")).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < LONG);
}

#[test]
fn nothing_is_lost_or_told_twice_when_members_go() {
    if !available("nothing_is_lost_or_told_twice_when_members_go") {
        return;
    }
    const COUNT: usize = 300;
    let mut server = Etcd::cluster(3);
    let connection = server.connection();
    let from = client(&connection).txn(&put("/else", "x"), soon()).unwrap().revision + 1;
    let enough = AtomicBool::new(false);
    let mut doubtful = Vec::new();
    let told = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut etcd = hasty(&connection);
            let (mut told, mut from) = (Vec::new(), from);
            // One that is given up because nobody answered for some seconds goes on where it was.
            wait_until("the last change is told", || {
                let ended = etcd.watch(range(), from, Some(soon()), &mut |change| {
                    if let Change::Put(kv) = change {
                        told.push((kv.modified, String::from_utf8(kv.value).unwrap()));
                    }
                    if told.len() >= COUNT / 3 {
                        enough.store(true, Ordering::Relaxed);
                    }
                    told.last().is_none_or(|(_, value)| value != "last")
                });
                if let Err(error) = ended {
                    assert!(matches!(error.kind, Kind::Unreachable | Kind::NoQuorum), "{error}");
                }
                from = told.last().map_or(from, |(revision, _)| revision + 1);
                told.last().is_some_and(|(_, value)| value == "last")
            });
            told
        });
        let mut etcd = hasty(&connection);
        etcd.prefer(2);
        let mut killed = false;
        for n in 0..COUNT {
            let value = if n + 1 == COUNT { "last".to_owned() } else { n.to_string() };
            let reply = etcd.txn(&put(&format!("/w/{n:04}"), &value), soon()).unwrap();
            if reply.doubt {
                doubtful.push(value);
            }
            // The watcher's member.
            if !killed && (enough.load(Ordering::Relaxed) || n == COUNT / 2) {
                server.kill(0);
                killed = true;
            }
        }
        watcher.join().unwrap()
    });
    assert!(told.windows(2).all(|w| w[0].0 < w[1].0), "revisions ascend");
    // A write whose first copy was lost may have been made twice, with two revisions; the other one may be late.
    let mut values: Vec<String> = Vec::new();
    for (_, value) in told {
        if !values.contains(&value) {
            values.push(value);
        } else {
            assert!(doubtful.contains(&value), "{value} was written once, and told twice");
        }
    }
    let expected: Vec<String> =
        (0..COUNT - 1).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(values, expected);
}

#[test]
fn what_is_compacted_away_is_said_so() {
    if !available("what_is_compacted_away_is_said_so") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let from = etcd.txn(&put("/w/a", "0"), soon()).unwrap().revision;
    etcd.txn(&put("/w/a", "1"), soon()).unwrap();
    let compaction = json!({"revision": (from + 1).to_string(), "physical": true});
    server.post(0, "/v3/kv/compaction", &compaction);
    let error =
        etcd.watch(range(), from, Some(soon()), &mut |change| panic!("{change:?}")).unwrap_err();
    assert_eq!(error.kind, Kind::Refused, "{error}");
    assert!(error.message.contains("compacted") && !error.advice.is_empty(), "{error}");
    assert!(error.message.contains(&from.to_string()), "{error}");
}

#[test]
fn a_watch_without_etcd_comes_to_an_end() {
    if !available("a_watch_without_etcd_comes_to_an_end") {
        return;
    }
    let mut server = Etcd::single();
    let mut etcd = client(&server.connection());
    let from = etcd.txn(&put("/w/a", "0"), soon()).unwrap().revision;
    server.kill(0);
    let error = etcd.watch(range(), from, None, &mut |change| panic!("{change:?}")).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains(&server.endpoint(0)), "{error}");
}

#[test]
fn a_watch_without_quorum_comes_to_an_end() {
    if !available("a_watch_without_quorum_comes_to_an_end") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let mut etcd = client(&server.connection());
    etcd.prefer(leader);
    let from = etcd.txn(&put("/w/a", "0"), soon()).unwrap().revision;
    server.kill((leader + 1) % 3);
    server.kill((leader + 2) % 3);
    let mut told = 0;
    // Who is not reached for some seconds ends it, too.
    wait_until("the want of a quorum is told", || {
        told = 0;
        let error = etcd
            .watch(range(), from, None, &mut |_| {
                told += 1;
                true
            })
            .unwrap_err();
        println!("{:?}: {error}", error.kind);
        error.kind == Kind::NoQuorum
    });
    assert_eq!(told, 1);
}
