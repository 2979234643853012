//! Kernel parameters and offloads, inside a namespace.

use kernel::{ethtool, sysctl};

use super::*;

#[test]
fn parameters_are_those_of_the_namespace() {
    if !can_run("parameters_are_those_of_the_namespace") {
        return;
    }
    let pair = Pair::new();
    let name = sysctl::of_link("ipv6", "one", "disable_ipv6");
    let inside = pair.one.namespace.run(|| {
        assert_eq!(sysctl::get(&name).expect("read").as_deref(), Some("0"));
        sysctl::set(&name, "1").expect("set");
        assert_eq!(sysctl::get(&name).expect("read").as_deref(), Some("1"));
        assert_eq!(
            sysctl::get("net.ipv6.conf.one.disable_ipv6").expect("read").as_deref(),
            Some("1")
        );
        let refused =
            sysctl::set("net.ipv4.conf.one.forwarding", "nonsense").expect_err("no number");
        assert_eq!(
            refused.to_string(),
            "cannot write /proc/sys/net/ipv4/conf/one/forwarding: Invalid argument"
        );
    });
    inside.expect("entered");
    // The link is in that namespace only, and so is its parameter.
    assert_eq!(sysctl::get(&name).expect("no error"), None);
    assert!(sysctl::set(&name, "0").expect_err("not there").is_not_found());

    // IPv6 is off: its addresses are refused, with a reason.
    let mut netlink = Netlink::open_in(&pair.one.namespace).expect("a socket");
    let error = netlink.set_address(pair.index, net("fd09::1/64")).expect_err("off");
    let text = error.to_string();
    let expected =
        format!("cannot give link {} the address fd09::1/64: Permission denied (", pair.index);
    assert!(text.starts_with(&expected) && text.contains("IPv6 is disabled"), "{text}");
}

#[test]
fn a_link_with_a_dot_has_parameters() {
    if !can_run("a_link_with_a_dot_has_parameters") {
        return;
    }
    let mut place = Place::new();
    let pair = ["a.100", "b"].map(|name| VethEnd { name, ..VethEnd::default() });
    place.netlink.create_veth(&pair[0], &pair[1]).expect("made");
    let name = sysctl::of_link("ipv4", "a.100", "forwarding");
    let inside = place.namespace.run(|| {
        sysctl::set(&name, "1").expect("set");
        sysctl::get("net.ipv4.conf.a/100.forwarding").expect("read")
    });
    assert_eq!(inside.expect("entered").as_deref(), Some("1"));
}

#[test]
fn checksums_are_switched_off_and_on() {
    if !can_run("checksums_are_switched_off_and_on") {
        return;
    }
    let pair = Pair::new();
    let inside = pair.one.namespace.run(|| {
        assert!(ethtool::tx_checksum("one").expect("read"));
        for on in [false, false, true] {
            ethtool::set_tx_checksum("one", on).expect("switched");
            assert_eq!(ethtool::tx_checksum("one").expect("read"), on);
        }
        let driver = ethtool::driver("one").expect("told");
        assert_eq!((driver.driver.as_str(), driver.bus_info.as_str()), ("veth", ""));
        // A loopback cannot be switched: said where it differs, fine where it does not.
        let on = ethtool::tx_checksum("lo").expect("read");
        ethtool::set_tx_checksum("lo", on).expect("it is so");
        let error = ethtool::set_tx_checksum("lo", !on).expect_err("it is fixed");
        assert_eq!(
            error.to_string(),
            "cannot switch checksum offload of lo off: Operation not supported"
        );
    });
    inside.expect("entered");
    // Only in that namespace.
    assert!(ethtool::tx_checksum("one").expect_err("not here").is_not_found());
}
