//! Each fault is found in a cluster that has only this one, is confirmed, and is gone when it was mended.

use serde_json::json;

use super::*;
use crate::key::Keys;
use crate::view::model::{Model, addr, cluster};

const NOW: u64 = 1_000_000_000;

struct Case {
    kind: &'static str,
    mended: bool,
    harm: fn(&mut Model, &Keys),
}

const CASES: &[Case] = &[
    Case { kind: "unknown-key", mended: false, harm: |m, _| m.put(b"/plat/v1/z/z".to_vec(), "1") },
    Case {
        kind: "unreadable",
        mended: false,
        harm: |m, k| m.put(k.exception("default", addr("10.99.0.5")), "?"),
    },
    Case {
        kind: "newer-schema",
        mended: false,
        harm: |m, k| {
            m.document(
                k.meta(),
                &json!({"schema": 9, "minReader": 9, "minWriter": 9, "cluster": "x"}),
            );
        },
    },
    Case {
        kind: "bad-pool",
        mended: false,
        harm: |m, k| {
            m.document(k.pools("blue"), &json!({"pools": [{"name": "b", "cidr": "10.0.0.1/8"}]}));
        },
    },
    Case {
        kind: "pools-overlap",
        mended: false,
        harm: |m, k| {
            m.document(
                k.pools("blue"),
                &json!({"pools": [{"name": "b", "cidr": "10.0.0.0/8"}, {"name": "c", "cidr": "10.1.0.0/16"}]}),
            );
        },
    },
    Case {
        kind: "blocks-overlap",
        mended: false,
        harm: |m, _| m.block("10.64.3.96", 27, 3, "pods", "local"),
    },
    Case {
        kind: "block-outside-pool",
        mended: false,
        harm: |m, _| m.block("10.65.0.0", 26, 3, "pods", "local"),
    },
    Case {
        kind: "block-of-nobody",
        mended: false,
        harm: |m, _| m.block("10.64.8.0", 26, 9, "pods", "local"),
    },
    Case {
        kind: "block-index",
        mended: true,
        harm: |m, k| {
            m.document(
                k.block("default", addr("10.64.8.0")),
                &json!({"n": 7, "u": "u-3", "len": 26, "p": "pods", "m": "local", "new": true}),
            );
        },
    },
    Case { kind: "address-without-block", mended: false, harm: |m, _| m.used("10.64.9.9", 2, "x") },
    Case {
        kind: "address-in-foreign-block",
        mended: false,
        harm: |m, _| m.used("10.64.3.70", 1, "x"),
    },
    Case { kind: "withheld-in-use", mended: false, harm: |m, _| m.used("10.64.0.1", 1, "x") },
    Case {
        kind: "parked-too-long",
        mended: true,
        harm: |m, k| {
            m.document(
                k.address("default", addr("10.99.0.9")),
                &json!({"st": "park", "u": "u-3", "p": "a/b", "exp": NOW - 1}),
            );
        },
    },
    Case {
        kind: "parked-too-long",
        mended: false,
        harm: |m, k| {
            m.document(
                k.address("default", addr("10.64.0.20")),
                &json!({"st": "park", "u": "u-1", "p": "a/b", "exp": NOW - 1}),
            );
        },
    },
    Case {
        kind: "exception-dangling",
        mended: true,
        harm: |m, k| {
            m.document(k.exception("default", addr("10.99.0.77")), &json!({"n": 1, "u": "u-1"}));
        },
    },
    Case {
        kind: "exception-needless",
        mended: true,
        harm: |m, k| {
            m.document(k.exception("default", addr("10.99.0.5")), &json!({"n": 3, "u": "u-3"}));
        },
    },
    Case { kind: "attachment-twice", mended: false, harm: |m, _| m.used("10.64.0.3", 1, "a") },
    Case { kind: "former-boot", mended: false, harm: |m, k| m.put(k.boot("u-2"), "boot-later") },
    Case {
        kind: "sticky-old",
        mended: true,
        harm: |m, k| {
            m.document(k.sticky("default", "ab"), &json!({"key": "a/b/eth0", "ips": [], "exp": 5}));
        },
    },
    Case { kind: "name-dangling", mended: true, harm: |m, k| m.put(k.name("ghost"), "u-8") },
    Case { kind: "index-dangling", mended: true, harm: |m, k| m.put(k.index(88), "u-8") },
    Case { kind: "boot-dangling", mended: true, harm: |m, k| m.put(k.boot("u-8"), "b") },
    Case { kind: "name-elsewhere", mended: false, harm: |m, k| m.put(k.name("other"), "u-1") },
    Case { kind: "index-elsewhere", mended: false, harm: |m, k| m.put(k.index(55), "u-1") },
    Case { kind: "name-missing", mended: true, harm: |m, k| drop(m.kvs.remove(&k.name("vm-1"))) },
    Case { kind: "index-missing", mended: true, harm: |m, k| drop(m.kvs.remove(&k.index(1))) },
    Case {
        kind: "removal-unfinished",
        mended: false,
        harm: |m, k| {
            m.document(k.tombstone("u-7"), &json!({"name": "vm-7", "at": 5, "by": "x", "hold": 9}));
        },
    },
    Case {
        kind: "tombstone-old",
        mended: true,
        harm: |m, k| {
            m.document(k.tombstone("u-7"), &json!({"at": 5, "by": "x", "hold": 9, "done": true}));
        },
    },
    Case {
        kind: "request-unanswered",
        mended: false,
        harm: |m, k| {
            m.document(
                k.request("u-1", "default", addr("10.64.0.5")),
                &json!({"reserve": true, "t": 5}),
            );
        },
    },
    Case {
        kind: "request-to-nobody",
        mended: true,
        harm: |m, k| {
            m.document(
                k.request("u-9", "default", addr("10.64.0.5")),
                &json!({"reserve": true, "t": 5}),
            );
        },
    },
    Case { kind: "one-family", mended: false, harm: |m, _| m.used("10.99.0.6", 3, "half") },
];

#[test]
fn nothing_is_wrong_with_a_sound_cluster() {
    assert_eq!(check(&cluster().all(), NOW), []);
}

#[test]
fn each_fault_is_found_confirmed_and_mended() {
    for case in CASES {
        let mut model = cluster();
        (case.harm)(&mut model, &Keys::default());
        let faults = check(&model.all(), NOW);
        let kinds: Vec<&str> = faults.iter().map(|fault| fault.kind).collect();
        let fault = faults.iter().find(|fault| fault.kind == case.kind);
        let fault = fault.unwrap_or_else(|| panic!("{}: {kinds:?}", case.kind));
        assert_eq!(fault.is_mendable(), case.mended, "{}", case.kind);
        assert!(model.txn(&confirm(fault)).succeeded, "{}", case.kind);
        let Some(txn) = mend(fault) else { continue };
        assert!(model.txn(&txn).succeeded, "{}", case.kind);
        assert_eq!(check(&model.all(), NOW), [], "{}", case.kind);
        assert!(
            !model.txn(&confirm(fault)).succeeded,
            "{} is confirmed after it was mended",
            case.kind
        );
    }
}

#[test]
fn a_fault_that_has_changed_is_left_alone() {
    for case in CASES.iter().filter(|case| case.mended) {
        let mut model = cluster();
        (case.harm)(&mut model, &Keys::default());
        let faults = check(&model.all(), NOW);
        let fault = faults.iter().find(|fault| fault.kind == case.kind).unwrap();
        // Any of the keys that it is about is written by somebody.
        for compare in &confirm(fault).compares {
            let mut changed = model.clone();
            let value = changed.kvs.get(&compare.key).map_or(b"x".to_vec(), |kv| kv.value.clone());
            if changed.kvs.contains_key(&compare.key)
                && matches!(compare.target, crate::txn::Target::Created(_))
            {
                changed.kvs.remove(&compare.key);
            }
            changed.put(compare.key.clone(), value);
            let before = changed.clone();
            assert!(!changed.txn(&mend(fault).unwrap()).succeeded, "{}", case.kind);
            assert_eq!(changed.kvs, before.kvs);
        }
    }
}

#[test]
fn what_a_living_node_may_use_is_never_freed() {
    // Whatever is wrong, mending deletes no record of an address in use.
    for case in CASES {
        let mut model = cluster();
        (case.harm)(&mut model, &Keys::default());
        for fault in check(&model.all(), NOW) {
            for op in mend(&fault).map_or_else(Vec::new, |txn| txn.then) {
                let Op::Delete { key, end: None } = op else { continue };
                let Some(Key::Address { addr, .. }) = Keys::default().parse(&key) else { continue };
                let snapshot = model.all();
                let used = snapshot.spaces["default"].at(addr).unwrap();
                assert_ne!(used.state, crate::record::AddressState::Used, "{}", fault.what);
            }
        }
    }
}

#[test]
fn a_record_of_a_node_that_is_gone_for_good_is_deleted() {
    let mut model = cluster();
    let keys = Keys::default();
    model.used("10.64.9.9", 7, "x");
    for (done, mendable) in [(false, false), (true, true)] {
        model.document(
            keys.tombstone("u-7"),
            &json!({"at": NOW - 100, "by": "x", "hold": 9, "done": done}),
        );
        let faults = check(&model.all(), NOW);
        let fault = faults.iter().find(|fault| fault.kind == "address-without-block").unwrap();
        assert_eq!(fault.is_mendable(), mendable);
    }
}

#[test]
fn an_exception_that_is_missing_is_written() {
    let mut model = cluster();
    model.used("10.99.0.6", 1, "x");
    let faults = check(&model.all(), NOW);
    let fault = faults.iter().find(|fault| fault.kind == "address-in-foreign-block").unwrap();
    assert!(model.txn(&mend(fault).unwrap()).succeeded);
    let faults = check(&model.all(), NOW);
    assert!(faults.iter().all(|fault| fault.kind == "one-family"), "{faults:?}");
}
