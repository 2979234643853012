//! The uplink, the gateway and tables.

use serde_json::json;
use support::vpp::{Hardware, Interface, Setup};
use vpp_api::IfIndex;
use vpp_plugin::node::NodeErrorKind;

use super::{Bench, GATEWAYS, cluster};

fn texts(interface: &Interface) -> Vec<String> {
    let mut texts: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

#[test]
fn everything_is_made_once_and_found_then() {
    let mut bench = Bench::new();
    let ready = bench.ensure(&cluster(), GATEWAYS);
    assert_eq!((ready.uplink, ready.mtu), (Some(IfIndex(1)), Some(1500)));
    assert_eq!(ready.notes, [""; 0]);
    assert!(ready.source != ready.pod_source);
    bench.vpp.look(|state| {
        let (_, uplink) = state.named("GigabitEthernet0/4/0").unwrap();
        assert_eq!(texts(uplink), ["192.168.16.1/24", "fd00:16::1/64"]);
        assert!(uplink.up && uplink.ra_silent);
        assert_eq!(uplink.mtu[0], 1500);
        let gateway = &state.interfaces[&ready.gateway.0];
        assert_eq!(texts(gateway), ["10.1.1.1/32", "fd00:1:1::1/128"]);
        assert!(gateway.up && gateway.ra_silent && gateway.ip6);
        assert_eq!(gateway.tag, "plat/gateway/0");
        assert_eq!(gateway.mac, ready.gateway_mac.0);
        let names: Vec<_> = state.sources.iter().map(|(_, _, name)| name.as_str()).collect();
        assert_eq!(names, ["plat-conf", "plat-pod"]);
        // Three peers of each family, a route and the default.
        assert_eq!(state.routes.len(), 8);
    });
    bench.is_settled(&cluster(), GATEWAYS);
    bench.vpp.restart();
    bench.client.reconnect().unwrap();
    assert!(bench.differences(&cluster(), GATEWAYS).len() > 10);
    bench.ensure(&cluster(), GATEWAYS);
    bench.is_settled(&cluster(), GATEWAYS);
}

#[test]
fn gateways_of_another_call_stay() {
    let mut bench = Bench::new();
    let config = json!({});
    let first = bench.ensure(&config, &["10.1.1.1"]);
    let second = bench.ensure(&config, &["10.2.1.1", "fd00:2::1"]);
    assert_eq!(first.gateway, second.gateway);
    bench.vpp.look(|state| {
        let gateway = &state.interfaces[&first.gateway.0];
        assert_eq!(texts(gateway), ["10.1.1.1/32", "10.2.1.1/32", "fd00:2::1/128"]);
    });
    assert_eq!((first.uplink, first.mtu), (None, None));
    bench.is_settled(&config, &["10.1.1.1"]);
}

#[test]
fn what_differs_is_told_and_repaired() {
    let mut bench = Bench::new();
    let ready = bench.ensure(&cluster(), GATEWAYS);
    bench.vpp.change(|state| {
        let uplink = state.interfaces.get_mut(&1).unwrap();
        uplink.up = false;
        uplink.mtu[0] = 9000;
        uplink.addresses.retain(|address| !address.is_v6());
        let gateway = state.interfaces.get_mut(&ready.gateway.0).unwrap();
        gateway.addresses.clear();
    });
    assert_eq!(
        bench.differences(&cluster(), GATEWAYS),
        [
            "the MTU of GigabitEthernet0/4/0 is 9000, not 1500",
            "GigabitEthernet0/4/0 is down",
            "GigabitEthernet0/4/0 has no address fd00:16::1/64",
            "loop0 has no address 10.1.1.1/32",
            "loop0 has no address fd00:1:1::1/128",
        ]
    );
    bench.ensure(&cluster(), GATEWAYS);
    bench.is_settled(&cluster(), GATEWAYS);
}

#[test]
fn foreign_addresses_of_the_uplink_stay_and_are_told() {
    let mut bench = Bench::new();
    bench.vpp.change(|state| {
        let uplink = state.interfaces.get_mut(&1).unwrap();
        uplink.addresses.push("172.20.0.9/16".parse().unwrap());
    });
    let ready = bench.ensure(&cluster(), GATEWAYS);
    let told = "GigabitEthernet0/4/0 has 172.20.0.9/16 besides, which is not of this configuration";
    assert_eq!(ready.notes, [told]);
    assert_eq!(bench.notes(&cluster(), GATEWAYS), [told]);
    bench.is_settled(&cluster(), GATEWAYS);
    bench.vpp.look(|state| assert_eq!(state.interfaces[&1].addresses.len(), 3));
}

#[test]
fn a_table_is_made_with_its_own_gateway() {
    let mut bench = Bench::new();
    let mut config = cluster();
    config["table"] = json!(5);
    let ready = bench.ensure(&config, GATEWAYS);
    bench.vpp.look(|state| {
        assert_eq!(state.tables[&(5, false)], "plat-5");
        assert_eq!(state.tables[&(5, true)], "plat-5");
        let gateway = &state.interfaces[&ready.gateway.0];
        assert_eq!((gateway.tables, gateway.tag.as_str()), ([5, 5], "plat/gateway/5"));
        assert_eq!(state.interfaces[&1].tables, [5, 5]);
        assert!(state.routes.keys().all(|(table, _)| *table == 5));
    });
    bench.is_settled(&config, GATEWAYS);
    // The uplink is in one table only.
    let error = bench.try_ensure(&cluster(), GATEWAYS).unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Conflict);
    let text = "GigabitEthernet0/4/0 is in table 5 with 192.168.16.1/24, not in table 0";
    assert_eq!(error.to_string(), text);
    // Pods alone have no uplink to share.
    let other = bench.ensure(&json!({}), &["10.1.1.1"]);
    assert_ne!(other.gateway, ready.gateway);
}

#[test]
fn a_missing_uplink_is_explained() {
    let mut bench = Bench::new();
    let device = bench.scratch.join("root/sys/bus/pci/devices/0000:00:05.0");
    std::fs::create_dir_all(device.join("net/eth1")).unwrap();
    let class = bench.scratch.join("root/sys/class/net/eth1");
    std::fs::create_dir_all(&class).unwrap();
    std::fs::write(class.join("flags"), "0x1003\n").unwrap();
    let mut config = cluster();
    config["uplink"]["pci"] = json!("0000:00:05.0");
    let error = bench.try_ensure(&config, GATEWAYS).unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Missing);
    assert_eq!(
        error.to_string(),
        "VPP has no interface of PCI address 0000:00:05.0: it is still up in the kernel, as eth1: VPP \
         leaves such a device alone; VPP has GigabitEthernet0/4/0 (dpdk, 02:00:00:00:04:00)"
    );
    assert!(error.details().contains("`ip link set eth1 down`"), "{}", error.details());
    assert_eq!(bench.vpp.look(|state| state.interfaces.len()), 2, "nothing was made");
}

#[test]
fn an_interface_is_found_by_name_tag_and_mac() {
    let hardware =
        Hardware { tag: "main".to_owned(), ..Hardware::dpdk("Ethernet0", [2, 0, 0, 0, 0, 9]) };
    let mut bench = Bench::with(Setup { hardware: vec![hardware], ..Setup::default() });
    for selector in
        [json!({"name": "Ethernet0"}), json!({"tag": "main"}), json!({"mac": "02:00:00:00:00:09"})]
    {
        let ready = bench.ensure(&json!({"uplink": selector}), &[]);
        assert_eq!((ready.uplink, ready.mtu), (Some(IfIndex(1)), Some(1500)), "{selector}");
    }
}

#[test]
fn what_is_in_the_way_of_an_address_is_named() {
    let mut bench = Bench::new();
    let loopback = bench.client.create_loopback(None, None).unwrap();
    bench.client.add_address(loopback, super::prefix("10.1.0.1/16")).unwrap();
    let error = bench.try_ensure(&cluster(), GATEWAYS).unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Refused);
    let text = "cannot add 10.1.1.1/32 to the gateway loopback: VPP -105: address in use \
                (loop0 has 10.1.0.1/16)";
    assert_eq!(error.to_string(), text);
    bench.client.delete_address(loopback, super::prefix("10.1.0.1/16")).unwrap();
    bench.ensure(&cluster(), GATEWAYS);
    bench.is_settled(&cluster(), GATEWAYS);
}

/// The device takes no larger frames: said so, and not left half-configured without a word.
#[test]
fn an_mtu_that_the_device_cannot_have_is_refused() {
    let mut bench = Bench::new();
    let mut config = cluster();
    config["uplink"]["mtu"] = json!(9300);
    let error = bench.try_ensure(&config, GATEWAYS).unwrap_err();
    let text = "cannot have GigabitEthernet0/4/0 take frames for 9300 bytes: VPP -7: invalid value";
    assert_eq!(error.to_string(), text);
    config["uplink"]["mtu"] = json!(9100);
    assert_eq!(bench.ensure(&config, GATEWAYS).mtu, Some(9100));
    bench.is_settled(&config, GATEWAYS);
}
