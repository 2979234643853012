//! What etcd refuses.

use etcd_pool::client::Kind;
use ipam_pool::txn::{Op, Txn};
use serde_json::json;
use support::etcd::{Etcd, Setup, available};

use super::{LONG, client, put, soon};

#[test]
fn a_full_database_can_still_be_emptied() {
    if !available("a_full_database_can_still_be_emptied") {
        return;
    }
    let server = Setup::new().quota(4 << 20).start();
    let mut etcd = client(&server.connection());
    let value = "x".repeat(500_000);
    let error = (0..100)
        .find_map(|n| etcd.txn(&put(&format!("/q/{n}"), &value), soon()).err())
        .expect("the quota is 4 MiB");
    assert_eq!(error.kind, Kind::NoSpace, "{error}");
    assert!(error.message.contains("NOSPACE") && error.advice.contains("defragment"), "{error}");
    assert!(error.message.contains(&server.endpoint(0)), "{error}");
    let error = etcd.txn(&put("/small", "x"), soon()).unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace, "{error}");
    let members = etcd.members(LONG);
    assert_eq!(members[0].alarms, ["NOSPACE"], "{members:?}");
    assert_eq!(members[0].problem, None);
    let empty = Txn {
        then: vec![Op::Delete { key: b"/q/".to_vec(), end: Some(b"/q0".to_vec()) }, Op::get("/x")],
        ..Txn::default()
    };
    assert!(etcd.txn(&empty, soon()).unwrap().succeeded);
}

#[test]
fn a_client_without_a_role_is_denied() {
    if !available("a_client_without_a_role_is_denied") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    assert!(etcd.txn(&put("/k", "v"), soon()).unwrap().succeeded);
    let root = json!({"name": "root", "password": "hunter2"});
    server.post(0, "/v3/auth/user/add", &root);
    server.post(0, "/v3/auth/role/add", &json!({"name": "root"}));
    server.post(0, "/v3/auth/user/grant", &json!({"user": "root", "role": "root"}));
    server.post(0, "/v3/auth/enable", &json!({}));
    let error = etcd.txn(&put("/k", "v"), soon()).unwrap_err();
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error.message.contains(&server.endpoint(0)) && error.advice.contains("role"),
        "{error}"
    );
}
