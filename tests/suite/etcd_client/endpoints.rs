//! Whom the client asks: dead endpoints, hanging ones, members that come and go.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use etcd_pool::client::Kind;
use ipam_pool::txn::{Compare, Op, Txn};
use serde_json::json;
use support::etcd::{Etcd, available, free_port};

use super::{client, get, put, read, soon, within};

const CALL: Duration = Duration::from_secs(5);

#[test]
fn a_dead_endpoint_costs_nothing_but_its_refusal() {
    if !available("a_dead_endpoint_costs_nothing_but_its_refusal") {
        return;
    }
    let server = Etcd::single();
    let dead = format!("http://127.0.0.1:{}", free_port());
    let other = format!("http://127.0.0.1:{}", free_port());
    let mut etcd = client(&json!({"endpoints": [dead, other, server.endpoint(0)]}));
    for n in 0..50 {
        let reply = within(&mut etcd, &put("/k", &n.to_string()), CALL).unwrap();
        assert!(reply.succeeded && !reply.doubt);
        assert_eq!(etcd.preferred(), 2);
    }
    let members = etcd.members(Duration::from_secs(10));
    assert_eq!(members.len(), 3);
    assert!(members[0].problem.as_deref() == Some("connection refused"), "{members:?}");
    let alive = &members[2];
    assert!(alive.problem.is_none() && alive.leader && alive.size > 0, "{alive:?}");
    assert!(alive.version.starts_with("3.") && alive.alarms.is_empty(), "{alive:?}");
}

#[test]
fn nobody_there_is_certain_and_names_all() {
    let ports = [free_port(), free_port()];
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let mut etcd = client(&json!({"endpoints": urls}));
    let error = within(&mut etcd, &put("/k", "v"), Duration::from_millis(500)).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(urls.iter().all(|url| error.message.contains(url.as_str())), "{error}");
    assert!(error.message.contains("connection refused") && !error.advice.is_empty(), "{error}");
    assert!(etcd.members(CALL).iter().all(|m| m.problem.is_some()));
    // No time at all is no reason to panic.
    let error = etcd.txn(&get("/k"), Instant::now()).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
}

#[test]
fn one_who_never_answers_leaves_doubt() {
    // Connections are made by the kernel, and nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut etcd = client(&json!({"endpoints": [url]}));
    let error = within(&mut etcd, &put("/k", "v"), Duration::from_millis(1500)).unwrap_err();
    assert_eq!(error.kind, Kind::Unknown, "{error}");
    assert!(error.message.contains(&url) && error.message.contains("no answer in time"), "{error}");
    let members = etcd.members(Duration::from_millis(300));
    assert_eq!(members[0].problem.as_deref(), Some("no answer in time"));
}

#[test]
fn a_hanging_member_is_left_for_another() {
    if !available("a_hanging_member_is_left_for_another") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let hung = (leader + 1) % 3;
    let mut etcd = client(&server.connection());
    etcd.prefer(hung);
    assert!(etcd.txn(&put("/before", "x"), soon()).unwrap().succeeded);
    assert_eq!(etcd.preferred(), hung);
    server.stop(hung);
    let once = Txn {
        compares: vec![Compare::absent("/once")],
        then: vec![Op::put("/once", "1")],
        otherwise: vec![Op::get("/once")],
    };
    let reply = within(&mut etcd, &once, CALL).unwrap();
    assert!(reply.succeeded);
    // The copy that the hanging member has may still be carried out.
    assert!(reply.doubt);
    assert_ne!(etcd.preferred(), hung);
    for n in 0..20 {
        let reply = within(&mut etcd, &put("/k", &n.to_string()), CALL).unwrap();
        assert!(reply.succeeded && !reply.doubt);
    }
    // A new process begins with it, and comes to another one, too.
    let mut fresh = client(&server.connection());
    fresh.prefer(hung);
    assert_eq!(read(&mut fresh, "/k").as_deref(), Some("19"));
    server.cont(hung);
    server.wait_healthy(hung);
    assert_eq!(read(&mut etcd, "/once").as_deref(), Some("1"));
}

#[test]
fn the_leader_is_killed() {
    if !available("the_leader_is_killed") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let mut etcd = client(&server.connection());
    etcd.prefer(leader);
    assert!(etcd.txn(&put("/k", "0"), soon()).unwrap().succeeded);
    server.kill(leader);
    let reply = etcd.txn(&put("/k", "1"), soon()).unwrap();
    assert!(reply.succeeded);
    assert_ne!(etcd.preferred(), leader);
    assert_eq!(read(&mut etcd, "/k").as_deref(), Some("1"));
    let told = etcd.members(Duration::from_secs(10));
    assert!(told[leader].problem.is_some());
    server.restart(leader);
    let told = etcd.members(Duration::from_secs(10));
    assert!(told.iter().all(|m| m.problem.is_none()), "{told:?}");
    assert_eq!(told.iter().filter(|m| m.leader).count(), 1, "{told:?}");
}

#[test]
fn two_of_three_are_away() {
    if !available("two_of_three_are_away") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let mut etcd = client(&server.connection());
    etcd.prefer(leader);
    assert!(etcd.txn(&put("/k", "0"), soon()).unwrap().succeeded);
    server.kill((leader + 1) % 3);
    server.kill((leader + 2) % 3);
    // At first the leader does not know: what it takes it may carry out when others come back.
    let error = within(&mut etcd, &put("/k", "1"), Duration::from_secs(3)).unwrap_err();
    assert!(matches!(error.kind, Kind::Unknown | Kind::NoQuorum), "{error}");
    // Once it has given up leading it refuses at once.
    let end = soon();
    let error = loop {
        let error = within(&mut etcd, &put("/k", "2"), Duration::from_secs(2)).unwrap_err();
        if error.kind == Kind::NoQuorum {
            break error;
        }
        assert!(Instant::now() < end, "{error}");
    };
    assert!(error.message.contains("no quorum") && !error.advice.is_empty(), "{error}");
    assert!(server.endpoints().iter().all(|url| error.message.contains(url.as_str())), "{error}");
    let told = etcd.members(Duration::from_secs(5));
    assert!(told[leader].problem.as_deref() == Some("no leader"), "{told:?}");
    server.revive((leader + 1) % 3);
    assert!(etcd.txn(&put("/k", "3"), soon()).unwrap().succeeded);
    // What was certain to be refused was not carried out later.
    assert_eq!(read(&mut etcd, "/k").as_deref(), Some("3"));
}

#[test]
fn a_member_is_started_again() {
    if !available("a_member_is_started_again") {
        return;
    }
    let mut server = Etcd::single();
    let mut etcd = client(&server.connection());
    let before = etcd.txn(&put("/k", "0"), soon()).unwrap();
    server.restart(0);
    let after = etcd.txn(&put("/k", "1"), soon()).unwrap();
    assert_eq!((after.cluster, after.revision), (before.cluster, before.revision + 1));
    // With old data revisions go back, and the cluster is the same.
    let saved = server.save();
    for _ in 0..5 {
        etcd.txn(&put("/k", "2"), soon()).unwrap();
    }
    server.restore(&saved);
    let back = etcd.txn(&get("/k"), soon()).unwrap();
    assert_eq!((back.cluster, back.revision), (after.cluster, after.revision));
    assert_eq!(back.one(0).unwrap().value, b"1");
}

#[test]
fn a_host_name_is_looked_up() {
    if !available("a_host_name_is_looked_up") {
        return;
    }
    let server = Etcd::single();
    let named = server.endpoint(0).replace("127.0.0.1", "localhost");
    let mut etcd = client(&json!({"endpoints": [named]}));
    assert!(within(&mut etcd, &put("/k", "v"), CALL).unwrap().succeeded);
    // Where nobody answers questions about names, that takes longer than anybody waits for.
    let mut etcd = client(&json!({"endpoints": ["http://etcd.invalid:2379"]}));
    let error = within(&mut etcd, &put("/k", "v"), Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("etcd.invalid"), "{error}");
    println!("{error}");
    let start = Instant::now();
    drop(etcd);
    assert!(start.elapsed() < Duration::from_secs(1));
}
