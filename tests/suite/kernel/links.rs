//! Links made, changed, moved and deleted.

use super::*;

#[test]
fn a_pair_is_made_in_two_namespaces_with_everything() {
    if !can_run("a_pair_is_made_in_two_namespaces_with_everything") {
        return;
    }
    let (mut one, mut two) = (Place::new(), Place::new());
    let inside = Namespace::open(&two.path()).expect("there");
    let long = "x".repeat(255);
    let end = VethEnd {
        name: "plat0123456789a",
        mac: Some(mac(1)),
        mtu: Some(1400),
        alias: Some("plat/one"),
        ..VethEnd::default()
    };
    let peer = VethEnd {
        name: "eth0",
        mac: Some(mac(2)),
        mtu: Some(1300),
        namespace: Some(&inside),
        alias: Some(&long),
        queues: Some(2),
    };
    one.netlink.create_veth(&end, &peer).expect("made");
    let (a, b) = (one.link("plat0123456789a"), two.link("eth0"));
    for (link, number, mtu, alias) in [(&a, 1, 1400, "plat/one"), (&b, 2, 1300, long.as_str())] {
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!((link.mac, link.mtu), (Some(mac(number)), mtu));
        assert_eq!(link.alias.as_deref(), Some(alias));
        assert!(!link.up && !link.running && !link.loopback);
        assert!(link.peer_namespace.is_some(), "the other end is elsewhere");
    }
    assert_eq!((a.peer, b.peer), (Some(b.index), Some(a.index)));
    let seen = two.ip_json("link show eth0");
    assert_eq!(seen[0]["num_tx_queues"], 2, "{seen}");
    assert_eq!(two.netlink.link_by_index(b.index).expect("an answer"), Some(b.clone()));
    assert_eq!(one.netlink.link("eth0").expect("an answer"), None);

    // Again: a name is taken, and nothing is changed.
    let again = one.netlink.create_veth(&end, &peer).expect_err("taken");
    assert!(again.is_exists(), "{again}");
    assert_eq!(
        again.to_string().split(" (").next(),
        Some("cannot create the veth pair plat0123456789a and eth0: File exists")
    );
    // The name of the other end alone, too; nothing is left of the first.
    let taken = one.netlink.create_veth(&VethEnd { name: "fresh", ..end }, &peer);
    assert!(taken.expect_err("taken").is_exists());
    assert_eq!(one.netlink.link("fresh").expect("an answer"), None);

    assert!(one.netlink.delete_link(a.index).expect("deleted"));
    assert!(!one.netlink.delete_link(a.index).expect("gone already"));
    assert_eq!(two.netlink.link("eth0").expect("an answer"), None, "both ends go");
}

#[test]
fn a_link_is_changed() {
    if !can_run("a_link_is_changed") {
        return;
    }
    let mut place = Place::new();
    let pair = ["a", "b"].map(|name| VethEnd { name, ..VethEnd::default() });
    place.netlink.create_veth(&pair[0], &pair[1]).expect("made");
    let index = place.link("a").index;
    let change = LinkChange {
        mtu: Some(9000),
        mac: Some(mac(7)),
        name: Some("renamed.100"),
        alias: Some("text"),
        up: Some(true),
        no_address_generation: Some(true),
        ..LinkChange::default()
    };
    place.up("b");
    place.netlink.change_link(index, &change).expect("changed");
    let link = place.link("renamed.100");
    assert_eq!((link.index, link.mtu, link.mac), (index, 9000, Some(mac(7))));
    assert_eq!(link.alias.as_deref(), Some("text"));
    assert!(link.up);
    let seen = place.ip_json("link show renamed.100");
    assert_eq!(seen[0]["inet6_addr_gen_mode"], "none", "{seen}");
    // IPv6 makes its link-local address when the link goes up: none here, one at the other end.
    let other = place.link("b").index;
    support::wait_until("the other end has its link-local address", || {
        !place.netlink.addresses(Some(other)).expect("a list").is_empty()
    });
    assert_eq!(place.netlink.addresses(Some(index)).expect("a list"), []);

    let back = LinkChange { up: Some(false), alias: Some(""), ..LinkChange::default() };
    place.netlink.change_link(index, &back).expect("changed");
    let link = place.link("renamed.100");
    assert!(!link.up);
    assert_eq!(link.alias, None, "an empty alias is none");
    place.netlink.change_link(index, &LinkChange::default()).expect("nothing to do");
}

#[test]
fn a_link_moves_to_another_namespace_under_a_new_name() {
    if !can_run("a_link_moves_to_another_namespace_under_a_new_name") {
        return;
    }
    let (mut one, mut two) = (Place::new(), Place::new());
    let pair = ["a", "b"].map(|name| VethEnd { name, ..VethEnd::default() });
    one.netlink.create_veth(&pair[0], &pair[1]).expect("made");
    let index = one.link("b").index;
    let change = LinkChange {
        namespace: Some(&two.namespace),
        name: Some("eth0"),
        up: Some(true),
        ..LinkChange::default()
    };
    one.netlink.change_link(index, &change).expect("moved");
    assert_eq!(one.netlink.link("b").expect("an answer"), None);
    assert!(two.link("eth0").up);
}

#[test]
fn refusals_say_what_and_why() {
    if !can_run("refusals_say_what_and_why") {
        return;
    }
    let mut place = Place::new();
    let pair = ["a", "b"].map(|name| VethEnd { name, ..VethEnd::default() });
    place.netlink.create_veth(&pair[0], &pair[1]).expect("made");
    let index = place.link("a").index;
    let mut change = |change: LinkChange<'_>| {
        place.netlink.change_link(index, &change).expect_err("refused").to_string()
    };
    let none = LinkChange::default();
    let prefix = format!("cannot change link {index} to ");
    assert_eq!(
        change(LinkChange { mtu: Some(1_000_000), ..none }),
        format!("{prefix}MTU 1000000: Invalid argument (mtu greater than device maximum)")
    );
    assert_eq!(
        change(LinkChange { name: Some("b"), ..none }),
        format!("{prefix}name b: File exists")
    );
    assert_eq!(
        change(LinkChange { name: Some("much too long a name"), ..none }),
        format!("{prefix}name much too long a name: the name of a link has one to 15 bytes")
    );
    assert_eq!(
        change(LinkChange { mac: Some(Mac([1, 0, 0, 0, 0, 1])), ..none }),
        format!("{prefix}Ethernet address 01:00:00:00:00:01: Cannot assign requested address")
    );
    let error = place.netlink.change_link(99, &LinkChange { up: Some(true), ..none });
    let error = error.expect_err("no such link");
    assert!(error.is_not_found(), "{error}");
    assert_eq!(error.to_string(), "cannot change link 99 to up: No such device");
    let error = place.netlink.delete_link(1).expect_err("a loopback stays");
    assert_eq!(error.to_string(), "cannot delete link 1: Operation not supported");
    let names = [VethEnd { name: "veth%d", ..VethEnd::default() }, pair[1]];
    let error = place.netlink.create_veth(&names[0], &names[1]).expect_err("a pattern");
    assert!(error.to_string().contains("percent sign"), "{error}");
}
