//! Addresses of both families.

use super::*;

#[test]
fn addresses_are_set_at_once_and_again_and_taken_away() {
    if !can_run("addresses_are_set_at_once_and_again_and_taken_away") {
        return;
    }
    let mut place = Place::new();
    let pair = ["a", "b"].map(|name| VethEnd { name, ..VethEnd::default() });
    place.netlink.create_veth(&pair[0], &pair[1]).expect("made");
    let index = place.link("a").index;
    let quiet =
        LinkChange { no_address_generation: Some(true), up: Some(true), ..LinkChange::default() };
    place.netlink.change_link(index, &quiet).expect("up");
    let other = place.up("b");
    place.netlink.set_address(other, net("10.8.0.1/24")).expect("set");
    let wanted = ["10.1.2.3/24", "10.9.9.9/32", "fd00:1::7/64", "fd00:2::7/128"];
    for _ in 0..2 {
        for address in wanted {
            place.netlink.set_address(index, net(address)).expect("set");
        }
        let found = place.netlink.addresses(Some(index)).expect("a list");
        let mut texts: Vec<String> = found.iter().map(|a| a.address.to_string()).collect();
        texts.sort_unstable();
        assert_eq!(texts, wanted);
        for address in &found {
            assert!(address.permanent && !address.duplicate, "{address:?}");
            assert!(!address.tentative, "no looking for duplicates: {address:?}");
            assert_eq!((address.index, address.peer), (index, None));
        }
    }
    let all = place.netlink.addresses(None).expect("a list");
    assert_eq!(all.iter().filter(|a| a.index == index).count(), 4, "{all:?}");
    assert!(all.iter().any(|a| a.index == other && a.address == net("10.8.0.1/24")), "{all:?}");
    for address in wanted {
        assert!(place.netlink.delete_address(index, net(address)).expect("taken"));
        assert!(!place.netlink.delete_address(index, net(address)).expect("gone already"));
    }
    assert_eq!(place.netlink.addresses(Some(index)).expect("a list"), []);

    let error = place.netlink.set_address(99, net("10.0.0.1/24")).expect_err("no such link");
    assert!(error.is_not_found(), "{error}");
    // In brackets stand the kernel's own words, which differ between versions.
    assert_eq!(
        error.to_string().split(" (").next(),
        Some("cannot give link 99 the address 10.0.0.1/24: No such device")
    );
    assert!(!place.netlink.delete_address(99, net("10.0.0.1/24")).expect("not there"));
    assert!(place.netlink.addresses(Some(99)).expect_err("no such link").is_not_found());
}

#[test]
fn an_address_for_two_ends_is_told_apart_from_its_peer() {
    if !can_run("an_address_for_two_ends_is_told_apart_from_its_peer") {
        return;
    }
    let mut pair = Pair::new();
    pair.one.ip("addr add 10.5.0.1 peer 10.5.0.2/32 dev one");
    pair.one.ip("addr add fd05::1 peer fd05::2/128 dev one");
    let found = pair.one.netlink.addresses(Some(pair.index)).expect("a list");
    for (own, peer) in [("10.5.0.1/32", "10.5.0.2"), ("fd05::1/128", "fd05::2")] {
        let address = found.iter().find(|a| a.address == net(own)).expect("listed");
        assert_eq!(address.peer, Some(ip(peer)));
    }
}
