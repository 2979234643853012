//! Whom the client asks: dead endpoints, hanging ones, members that come and go.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use etcd_pool::client::{Kind, Member};
use ipam_pool::txn::{Compare, Op, Txn};
use serde_json::json;
use support::etcd::{Etcd, available, free_port};
use support::wait_until;

use super::{LONG, client, fails, get, hasty, put, read, soon, told, within};

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
        let reply = within(&mut etcd, &put("/k", &n.to_string()), LONG).unwrap();
        assert!(reply.succeeded && !reply.doubt);
        assert_eq!(etcd.preferred(), 2);
    }
    let members = told(&mut etcd, "one is alive, and two refuse", |members| {
        let refuse = |member: &Member| member.problem.as_deref() == Some("connection refused");
        members.len() == 3 && members[..2].iter().all(refuse) && members[2].problem.is_none()
    });
    let alive = &members[2];
    assert!(alive.leader && alive.size > 0, "{alive:?}");
    assert!(alive.version.starts_with("3.") && alive.alarms.is_empty(), "{alive:?}");
}

#[test]
fn nobody_there_is_certain_and_names_all() {
    let ports = [free_port(), free_port()];
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let mut etcd = client(&json!({"endpoints": urls}));
    let error = fails(&mut etcd, &put("/k", "v"), Duration::from_millis(500), |error| {
        assert_eq!(error.kind, Kind::Unreachable, "{error}");
        let all = urls.iter().all(|url| error.message.contains(url.as_str()));
        all && error.message.contains("connection refused")
    });
    assert!(!error.advice.is_empty(), "{error}");
    assert!(etcd.members(LONG).iter().all(|m| m.problem.is_some()));
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
    let error = fails(&mut etcd, &put("/k", "v"), Duration::from_millis(1500), |error| {
        // Before the first word was sent there is none.
        assert!(matches!(error.kind, Kind::Unknown | Kind::Unreachable), "{error}");
        error.kind == Kind::Unknown
    });
    assert!(error.message.contains(&url) && error.message.contains("no answer in time"), "{error}");
    wait_until("it is told so of the member", || {
        let members = etcd.members(Duration::from_millis(300));
        members[0].problem.as_deref() == Some("no answer in time")
    });
}

#[test]
fn a_hanging_member_is_left_for_another() {
    if !available("a_hanging_member_is_left_for_another") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let hung = (leader + 1) % 3;
    let mut etcd = hasty(&server.connection());
    wait_until("it is the one who answers", || {
        etcd.prefer(hung);
        assert!(etcd.txn(&put("/before", "x"), soon()).unwrap().succeeded);
        etcd.preferred() == hung
    });
    server.stop(hung);
    let once = Txn {
        compares: vec![Compare::absent("/once")],
        then: vec![Op::put("/once", "1")],
        otherwise: vec![Op::get("/once")],
    };
    let reply = within(&mut etcd, &once, LONG).unwrap();
    // The first of two copies may have done it.
    assert!(reply.succeeded || reply.one(0).is_some_and(|kv| kv.value == b"1"), "{reply:?}");
    // The copy that the hanging member has may still be carried out.
    assert!(reply.doubt);
    assert_ne!(etcd.preferred(), hung);
    let mut free_of_doubt = 0;
    wait_until("it is not asked any more", || {
        let reply = within(&mut etcd, &put("/k", "later"), LONG).unwrap();
        assert!(reply.succeeded && etcd.preferred() != hung);
        free_of_doubt += usize::from(!reply.doubt);
        free_of_doubt == 20
    });
    // A new process begins with it, and comes to another one, too.
    let mut fresh = hasty(&server.connection());
    fresh.prefer(hung);
    assert_eq!(read(&mut fresh, "/k").as_deref(), Some("later"));
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
    let mut etcd = hasty(&server.connection());
    etcd.prefer(leader);
    assert!(etcd.txn(&put("/k", "0"), soon()).unwrap().succeeded);
    server.kill(leader);
    let reply = etcd.txn(&put("/k", "1"), soon()).unwrap();
    assert!(reply.succeeded);
    assert_ne!(etcd.preferred(), leader);
    assert_eq!(read(&mut etcd, "/k").as_deref(), Some("1"));
    assert!(etcd.members(LONG)[leader].problem.is_some());
    server.restart(leader);
    told(&mut etcd, "all are well, and one leads", |members| {
        let well = members.len() == 3 && members.iter().all(|member| member.problem.is_none());
        well && members.iter().filter(|member| member.leader).count() == 1
    });
}

#[test]
fn two_of_three_are_away() {
    if !available("two_of_three_are_away") {
        return;
    }
    let mut server = Etcd::cluster(3);
    let leader = server.leader();
    let mut etcd = hasty(&server.connection());
    etcd.prefer(leader);
    assert!(etcd.txn(&put("/k", "0"), soon()).unwrap().succeeded);
    server.kill((leader + 1) % 3);
    server.kill((leader + 2) % 3);
    // At first the leader does not know: what it takes it may carry out when others come back.
    fails(&mut etcd, &put("/k", "1"), Duration::from_secs(3), |error| {
        matches!(error.kind, Kind::Unknown | Kind::NoQuorum)
    });
    // Once it has given up leading it refuses at once.
    let error = fails(&mut etcd, &put("/k", "2"), Duration::from_secs(2), |error| {
        let named = |url: &String| error.message.contains(url.as_str());
        error.kind == Kind::NoQuorum && server.endpoints().iter().all(named)
    });
    assert!(error.message.contains("no quorum") && !error.advice.is_empty(), "{error}");
    told(&mut etcd, "the one that is left says that nobody leads", |members| {
        members.get(leader).is_some_and(|it| it.problem.as_deref() == Some("no leader"))
    });
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
    assert!(within(&mut etcd, &put("/k", "v"), LONG).unwrap().succeeded);
    // Where nobody answers questions about names, that takes longer than anybody waits for.
    let mut etcd = client(&json!({"endpoints": ["http://etcd.invalid:2379"]}));
    let error = fails(&mut etcd, &put("/k", "v"), Duration::from_secs(1), |error| {
        assert_eq!(error.kind, Kind::Unreachable, "{error}");
        error.message.contains("etcd.invalid")
    });
    println!("{error}");
    let start = Instant::now();
    drop(etcd);
    assert!(start.elapsed() < LONG);
}
