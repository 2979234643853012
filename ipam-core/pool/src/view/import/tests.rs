//! What an import writes, interrupted and beside nodes that claim blocks.

use proptest::prelude::*;

use super::*;
use crate::view::model::{Model, addr, cluster};

fn foreign(node: Option<&str>, pod: &str) -> Foreign {
    Foreign {
        pod: pod.to_owned(),
        container: pod.replace('/', "-"),
        ifname: "eth0".to_owned(),
        network: "net".to_owned(),
        node: node.map(str::to_owned),
    }
}

fn carry_out(
    model: &mut Model,
    pool: &str,
    addresses: &BTreeMap<Addr, Foreign>,
    most: usize,
) -> Plan {
    let snapshot = model.all();
    let wish = Wish { space: "default", pool, addresses };
    let plan = plan(&snapshot, &wish, 5).unwrap();
    for batch in batches(&snapshot, &wish, &plan).iter().take(most) {
        model.txn(&batch.txn);
    }
    plan
}

#[test]
fn addresses_stay_with_their_nodes() {
    let addresses: BTreeMap<Addr, Foreign> = [
        ("10.64.8.1", foreign(Some("vm-1"), "a/one")),
        ("10.64.8.2", foreign(Some("vm-1"), "a/two")),
        ("10.64.8.3", foreign(Some("vm-2"), "a/borrows")),
        ("10.64.8.4", foreign(Some("vm-9"), "a/unregistered")),
        ("10.64.8.5", foreign(Some("vm-1"), "")),
        ("10.64.9.1", foreign(None, "a/whereabouts")),
        ("10.64.0.30", foreign(Some("vm-1"), "a/in-a-block-in-use")),
        ("10.99.0.1", foreign(Some("vm-1"), "a/other-pool")),
        ("10.64.3.69", foreign(Some("vm-1"), "a/taken")),
    ]
    .into_iter()
    .map(|(text, foreign)| (addr(text), foreign))
    .collect();
    let mut model = cluster();
    let plan = carry_out(&mut model, "pods", &addresses, usize::MAX);
    let refused: Vec<String> =
        plan.problems.iter().filter(|p| p.refused).map(|p| p.addr.to_string()).collect();
    assert_eq!(refused, ["10.64.0.30", "10.64.3.69", "10.99.0.1"]);
    let snapshot = model.all();
    let space = &snapshot.spaces["default"];
    let state = |text: &str| {
        let used = space.at(addr(text)).unwrap();
        (used.state, used.uuid.to_string(), used.boot.to_string())
    };
    let used = |uuid: &str, boot: &str| (AddressState::Used, uuid.to_owned(), boot.to_owned());
    let reserved = (AddressState::Resv, String::new(), String::new());
    assert_eq!(state("10.64.8.1"), used("u-1", "boot-1"));
    // Only its node writes in a local block, and it does not know of this one.
    assert_eq!(state("10.64.8.3"), reserved);
    assert_eq!(state("10.64.8.4"), reserved);
    assert_eq!(state("10.64.8.5"), reserved);
    assert_eq!(state("10.64.9.1"), reserved);
    assert_eq!(space.blocks[&addr("10.64.8.0")].record.u.as_deref(), Some("u-1"));
    assert!(!space.blocks.contains_key(&addr("10.64.9.0")));
    assert_eq!(crate::view::check(&snapshot, 6), []);
}

#[test]
fn a_borrowed_address_of_a_sync_pool_gets_an_exception() {
    let addresses: BTreeMap<Addr, Foreign> = [
        (addr("10.99.0.65"), foreign(Some("vm-1"), "a/one")),
        (addr("10.99.0.66"), foreign(Some("vm-1"), "a/two")),
        (addr("10.99.0.67"), foreign(Some("vm-2"), "a/three")),
        (addr("10.99.0.7"), foreign(Some("vm-2"), "a/in-block-of-3")),
    ]
    .into();
    let mut model = cluster();
    carry_out(&mut model, "svc", &addresses, usize::MAX);
    let snapshot = model.all();
    let space = &snapshot.spaces["default"];
    assert_eq!(space.exceptions.len(), 2);
    assert_eq!(space.exceptions[&addr("10.99.0.7")].record.u, "u-2");
    let faults = crate::view::check(&snapshot, 6);
    assert!(faults.iter().all(|fault| fault.kind == "one-family"), "{faults:?}");
}

#[test]
fn reservations_end_with_their_pods() {
    let mut addresses: BTreeMap<Addr, Foreign> = (1..=250)
        .map(|n| {
            (
                Addr::new(addr("10.64.9.0").family(), addr("10.64.9.0").number() + n).unwrap(),
                foreign(None, "a/b"),
            )
        })
        .collect();
    let mut model = cluster();
    carry_out(&mut model, "pods", &addresses, usize::MAX);
    let snapshot = model.all();
    let gone = addr("10.64.9.9");
    addresses.remove(&gone);
    let wish = Wish { space: "default", pool: "pods", addresses: &addresses };
    let ended = prunable(&snapshot, &wish);
    assert_eq!(ended.iter().map(|used| used.addr).collect::<Vec<_>>(), [gone]);
    for batch in prune(&snapshot.keys, "default", &ended) {
        assert!(model.txn(&batch.txn).succeeded);
    }
    assert!(model.all().spaces["default"].at(gone).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Interrupted anywhere, beside nodes that claim blocks: what was written first stays, and to run it
    /// again ends it.
    #[test]
    fn nothing_is_given_twice(
        offsets in prop::collection::btree_map(512_u128..1500, 0_u32..5, 1..200),
        cut in 0_usize..6,
        claimed in 8_u128..24,
        sync in any::<bool>(),
    ) {
        let mut model = cluster();
        let (pool, base, mode) =
            if sync { ("svc", "fd00::", "sync") } else { ("pods", "10.64.0.0", "local") };
        let base = addr(base);
        let at = |offset: u128| Addr::new(base.family(), base.number() + offset).unwrap();
        let addresses: BTreeMap<Addr, Foreign> = offsets
            .iter()
            .map(|(offset, node)| {
                (at(*offset), foreign(Some(&format!("vm-{node}")), &format!("a/{offset}")))
            })
            .collect();
        let snapshot = model.all();
        let wish = Wish { space: "default", pool, addresses: &addresses };
        let first = plan(&snapshot, &wish, 5).unwrap();
        let batches = batches(&snapshot, &wish, &first);
        for batch in batches.iter().take(cut) {
            model.txn(&batch.txn);
        }
        // A node claims a block as nodes do: in a local pool only an empty one.
        let block = at(claimed * 64);
        let keys = Keys::default();
        let range = ipam_core::addr::Interval::new(block, at(claimed * 64 + 63)).unwrap();
        let mut compares = vec![Compare::absent(keys.block("default", block))];
        if !sync {
            compares.push(Compare::empty(keys.addresses("default", range)));
        }
        let record = BlockRecord {
            n: Some(3),
            u: Some("u-3".to_owned()),
            len: if sync { 122 } else { 26 },
            p: pool.to_owned(),
            m: if sync { Mode::Sync } else { Mode::Local },
            ..BlockRecord::default()
        };
        let put = Op::put(keys.block("default", block), record::write(&record));
        model.txn(&Txn { compares, then: vec![put], otherwise: Vec::new() });
        for batch in batches.iter().skip(cut) {
            model.txn(&batch.txn);
        }
        let mut last = Plan::default();
        for _ in 0..3 {
            last = carry_out(&mut model, pool, &addresses, usize::MAX);
        }
        prop_assert!(last.records.is_empty() && last.blocks.is_empty());
        let snapshot = model.all();
        let space = &snapshot.spaces["default"];
        for (address, foreign) in &addresses {
            let refused = last.problems.iter().any(|p| p.refused && p.addr == *address);
            let used = space.at(*address);
            prop_assert!(refused || used.is_some_and(|used| *used.pod == *foreign.pod));
            // What a local block's node may give out is not written by others.
            let held = space.block_of(*address);
            if let (Some(used), Some((_, held))) = (used, held)
                && mode == "local" && held.record.u.as_deref() == Some("u-3") && used.imported
            {
                prop_assert!(*used.uuid == *"u-3" || used.state == AddressState::Resv);
                // The block is the one of the import, or the record was there before it.
                prop_assert!(held.record.t == 5 || used.modified < held.created);
            }
        }
        let broken = crate::view::check(&snapshot, 6)
            .into_iter()
            .filter(|fault| fault.gravity == crate::view::Gravity::Broken);
        prop_assert_eq!(broken.count(), 0);
    }
}
