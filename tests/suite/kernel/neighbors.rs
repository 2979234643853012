//! Permanent neighbours.

use super::*;

#[test]
fn neighbours_are_set_changed_and_deleted() {
    if !can_run("neighbours_are_set_changed_and_deleted") {
        return;
    }
    let mut pair = Pair::new();
    let (place, index) = (&mut pair.one, pair.index);
    for address in ["10.0.0.77", "fe80::1", "169.254.1.1"].map(ip) {
        for number in [1, 1, 2] {
            place.netlink.set_neighbor(index, address, mac(number)).expect("set");
            let list = place.netlink.neighbors(index).expect("a list");
            let found: Vec<_> = list.iter().filter(|n| n.address == address).collect();
            assert_eq!(found.len(), 1, "{list:?}");
            assert_eq!((found[0].mac, found[0].permanent), (Some(mac(number)), true));
        }
        assert!(place.netlink.delete_neighbor(index, address).expect("deleted"));
        assert!(!place.netlink.delete_neighbor(index, address).expect("gone already"));
        let list = place.netlink.neighbors(index).expect("a list");
        assert!(list.iter().all(|n| n.address != address || !n.permanent), "{list:?}");
    }
    let seen = place.ip_json("neigh show nud permanent");
    assert_eq!(seen.as_array().map(Vec::len), Some(0), "{seen}");
    let error = place.netlink.set_neighbor(99, ip("10.0.0.9"), mac(1)).expect_err("no such link");
    assert!(error.is_not_found(), "{error}");
    assert_eq!(
        error.to_string().split(" (").next(),
        Some("cannot set the neighbour 10.0.0.9 on link 99 to 02:00:00:00:00:01: No such device")
    );
    assert!(!place.netlink.delete_neighbor(99, ip("10.0.0.9")).expect("not there"));
}
