//! Leases: granted, renewed, over.

use ipam_pool::txn::{Op, Txn};
use support::etcd::{Etcd, available};
use support::wait_until;

use super::{client, read, soon};

#[test]
fn a_key_dies_with_its_lease() {
    if !available("a_key_dies_with_its_lease") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let (lease, seconds) = etcd.lease(None, 600, soon()).unwrap();
    assert!(lease != 0 && seconds == 600);
    let with = |lease: i64| Txn {
        then: vec![Op::Put { key: b"/l".to_vec(), value: b"here".to_vec(), lease }],
        ..Txn::default()
    };
    assert!(etcd.txn(&with(lease), soon()).unwrap().succeeded);
    let get = Txn { then: vec![Op::get("/l")], ..Txn::default() };
    assert_eq!(etcd.txn(&get, soon()).unwrap().one(0).unwrap().lease, lease);
    assert_eq!(etcd.lease(Some(lease), 600, soon()).unwrap(), (lease, 600));
    // One that nobody renews ends, and the key with it; etcd's shortest is about two seconds.
    let mut short = lease;
    wait_until("a key is written before its lease is over", || {
        (short, _) = etcd.lease(None, 1, soon()).unwrap();
        assert_ne!(short, lease);
        etcd.txn(&with(short), soon()).is_ok_and(|reply| reply.succeeded)
    });
    wait_until("the key dies", || read(&mut etcd, "/l").is_none());
    // Renewing what is over grants another one.
    let (new, seconds) = etcd.lease(Some(short), 60, soon()).unwrap();
    assert!(new != short && seconds == 60);
    let error = etcd.txn(&with(short), soon()).unwrap_err();
    assert!(error.message.contains("lease not found"), "{error}");
}
