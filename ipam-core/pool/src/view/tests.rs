//! Snapshots, counts, explanations, differences and events.

use serde_json::json;

use super::model::{Model, addr, cluster};
use super::*;
use crate::key::Keys;
use crate::ledger::Allocation;
use crate::node::{Block, BlockState, NodeState, PoolId};
use crate::record::Mode;

#[test]
fn a_snapshot_holds_everything_whatever_the_pages() {
    for page in [3, 4, 7, 1000] {
        let mut model = cluster();
        model.page = page;
        model.put(b"/plat/v1/odd".to_vec(), "x");
        model.put(Keys::default().node("u-9"), "{");
        let count = model.kvs.len();
        let snapshot = model.all();
        assert!(!snapshot.is_torn());
        assert_eq!((snapshot.count, snapshot.to), (count, model.revision));
        let space = &snapshot.spaces["default"];
        assert_eq!((space.addresses.len(), space.blocks.len(), space.pools.len()), (4, 4, 2));
        assert_eq!(snapshot.unreadable.len(), 2);
        assert_eq!(space.at(addr("10.64.3.69")).unwrap().pod.as_ref(), "default/b");
        assert_eq!(space.block_of(addr("10.64.3.127")).unwrap().0.to_string(), "10.64.3.64/26");
        assert!(space.block_of(addr("10.64.3.128")).is_none());
    }
}

#[test]
fn a_small_picture_that_changes_is_read_again_and_a_restless_one_is_accepted() {
    for (changes, torn) in [(1, false), (1000, true)] {
        let mut model = cluster();
        model.page = 5;
        let mut reader = Reader::new(Keys::default(), Scope::All);
        let mut left = changes;
        let mut asked = 0;
        while let Some(txn) = reader.ask() {
            reader.take(model.txn(&txn));
            if left > 0 {
                left -= 1;
                model.used("10.64.0.3", 1, "new");
            }
            asked += 1;
            assert!(asked < 100);
        }
        assert_eq!(reader.finish().is_torn(), torn);
    }
}

#[test]
fn one_address_is_a_small_question_of_one_moment() {
    let mut model = cluster();
    model.page = 1000;
    let address = addr("10.64.3.69");
    let scope = Scope::Address { space: "default".to_owned(), addr: address };
    let snapshot = model.read(scope);
    assert!(!snapshot.is_torn());
    let space = &snapshot.spaces["default"];
    assert_eq!((space.addresses.len(), space.blocks.len(), snapshot.nodes.len()), (1, 4, 3));
}

#[test]
fn pools_are_counted() {
    let mut model = cluster();
    let keys = Keys::default();
    model.document(
        keys.address("default", addr("10.99.0.9")),
        &json!({"st": "resv", "p": "printer"}),
    );
    // Not given out anyway: it takes nothing away.
    model.document(keys.address("default", addr("10.64.0.9")), &json!({"st": "resv", "p": "x"}));
    let snapshot = model.all();
    let seen: Vec<(String, u64, u64, u64, u128, u128)> = pools(&snapshot)
        .iter()
        .map(|view| {
            let counts = view.counts;
            (
                view.part.cidr.to_string(),
                view.claimed,
                counts.used,
                counts.reserved,
                view.withheld,
                view.free,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            // Network, gateway, broadcast and eight excluded ones.
            ("10.64.0.0/20".to_owned(), 2, 2, 1, 11, 4096 - 11 - 2),
            ("10.99.0.0/24".to_owned(), 1, 1, 1, 2, 256 - 2 - 2),
            ("fd00::/112".to_owned(), 1, 1, 0, 1, 65536 - 1 - 1),
        ]
    );
    let views = blocks(&snapshot);
    assert_eq!(views.len(), 4);
    assert_eq!(
        (views[0].node, views[0].counts.used, views[0].counts.reserved),
        (Some("vm-1"), 1, 1)
    );
}

#[test]
fn addresses_are_explained() {
    let mut model = cluster();
    model.document(
        Keys::default().address("default", addr("10.99.0.9")),
        &json!({"st": "park", "p": "x/y", "exp": 9, "u": "u-3"}),
    );
    let snapshot = model.all();
    let explained = |text: &str| explain(&snapshot, "default", addr(text));
    for (text, standing) in [
        ("10.64.3.69", Standing::Used),
        ("10.64.3.70", Standing::Free),
        ("10.64.0.0", Standing::NetworkEnd),
        ("10.64.15.255", Standing::NetworkEnd),
        ("10.64.0.1", Standing::Gateway),
        ("10.64.0.9", Standing::Excluded),
        ("10.99.0.9", Standing::Parked),
        ("10.1.0.1", Standing::NoPool),
    ] {
        assert_eq!(explained(text).standing, standing, "{text}");
    }
    assert_eq!(explained("10.64.3.70").next, NextOwner::Holder { uuid: "u-2", lends: false });
    assert_eq!(explained("10.99.0.7").next, NextOwner::Holder { uuid: "u-3", lends: true });
    assert_eq!(explained("10.99.0.9").next, NextOwner::Pod);
    assert_eq!(explained("10.64.0.1").next, NextOwner::Nobody);
    // In the order in which the nodes would come by.
    let NextOwner::Claimer { nearest } = explained("10.64.5.1").next else { panic!("a claimer") };
    let mut nodes: Vec<&str> = nearest.iter().map(|(uuid, _)| *uuid).collect();
    assert!(nearest.is_sorted_by_key(|(_, distance)| *distance), "{nearest:?}");
    nodes.sort_unstable();
    assert_eq!(nodes, ["u-1", "u-2", "u-3"]);
}

fn allocation(address: &str, container: &str) -> Allocation {
    let attachment = ipam_core::identity::Attachment {
        container: ipam_core::identity::ContainerId::new(container).unwrap(),
        ifname: ipam_core::identity::IfName::new("eth0").unwrap(),
    };
    Allocation {
        id: PoolId { space: "default".to_owned(), pool: "pods".to_owned() },
        addr: addr(address),
        network: ipam_core::identity::Network::new("net").unwrap(),
        attachment,
        owner: ipam_core::config::Owner::default(),
        nonce: "1".to_owned(),
        since: 100,
        revision: 1,
        fence: 1,
        borrowed: false,
    }
}

#[test]
fn a_node_is_compared_with_etcd() {
    let mut model = cluster();
    model.used("10.64.0.4", 1, "left");
    model.used("10.64.0.5", 1, "other");
    model.used("10.64.0.6", 2, "foreign");
    model.block("10.64.9.0", 26, 1, "pods", "local");
    let snapshot = model.all();
    let id = PoolId { space: "default".to_owned(), pool: "pods".to_owned() };
    let block = |first: &str, fence| Block {
        id: id.clone(),
        first: addr(first),
        prefix: 26,
        fence,
        mode: Mode::Local,
        autonomy: 0,
        state: BlockState::Held,
    };
    let fence = snapshot.spaces["default"].blocks[&addr("10.64.0.0")].created;
    let node = NodeState {
        uuid: "u-1".to_owned(),
        blocks: vec![block("10.64.0.0", fence), block("10.64.8.0", 5)],
        ..NodeState::default()
    };
    let held = [
        allocation("10.64.0.2", "a"),
        allocation("10.64.0.3", "new"),
        allocation("10.64.0.5", "mine"),
        allocation("10.64.0.6", "mine2"),
    ];
    let found: Vec<(&str, String, Option<i64>)> = compare(&node, &held, &[], &snapshot)
        .into_iter()
        .map(|one| (one.kind, one.addr.to_string(), one.mend.map(|dirty| dirty.base)))
        .collect();
    let revision = |text: &str| snapshot.spaces["default"].at(addr(text)).unwrap().modified;
    let text = |text: &str| text.to_owned();
    assert_eq!(
        found,
        [
            ("block-lost", text("10.64.8.0"), None),
            ("block-unknown", text("10.64.9.0"), None),
            ("record-missing", text("10.64.0.3"), Some(0)),
            ("record-differs", text("10.64.0.5"), Some(revision("10.64.0.5"))),
            ("record-foreign", text("10.64.0.6"), None),
            ("record-left", text("10.64.0.4"), Some(revision("10.64.0.4"))),
        ]
    );
}

#[test]
fn changes_are_told() {
    let mut model: Model = cluster();
    let snapshot = model.all();
    let (keys, mut names) = (Keys::default(), Names::new(&snapshot));
    let key = keys.address("default", addr("10.64.0.2"));
    let mut tell = |key: &[u8], put| {
        let event = event(&keys, &mut names, key, put, 7);
        (event.object, event.action, event.subject, event.node, event.text)
    };
    let some = |text: &str| Some(text.to_owned());
    let text = |text: &str| text.to_owned();
    let used = text("default/a eth0");
    assert_eq!(
        tell(&key, model.kvs.get(&key)),
        ("address", "used", text("10.64.0.2"), some("vm-1"), used.clone())
    );
    assert_eq!(tell(&key, None), ("address", "freed", text("10.64.0.2"), some("vm-1"), used));
    let block = keys.block("default", addr("10.64.0.0"));
    assert_eq!(
        tell(&block, model.kvs.get(&block)),
        ("block", "claimed", text("10.64.0.0/26"), some("vm-1"), text("pool pods, local"))
    );
    assert_eq!(tell(b"/plat/v1/?", None).0, "key");
}
