//! The link between VPP and the host, with real devices in a namespace that stands for the host.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kernel::Namespace;
use serde_json::{Value, json};
use support::vpp::{Devices, Kind, Setup, TapMaker, TapWanted, Trouble};
use support::{PodNamespace, have, is_root, program, skip_unless};
use vpp_plugin::node::{NodeErrorKind, PROTOCOL};

use super::{Bench, GATEWAYS};

fn config(kind: &str) -> Value {
    json!({
        "peers": [
            {"nodes": "1-3", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
            {"nodes": "1-3", "subnet": "fd00:1:{peer:x}::/64", "via": "fd00:16::{peer:x}"},
            {"nodes": "1-3", "subnet": "172.30.{peer}.0/30", "via": "192.168.16.{peer}"},
        ],
        "hostLink": {
            "kind": kind,
            "vpp": ["172.30.{i}.1/30", "fd00:30:{i:x}::1/126"],
            "host": ["172.30.{i}.2/30", "fd00:30:{i:x}::2/126"],
            "hostAddresses": ["192.168.56.{i}"],
        },
    })
}

/// Runs a test in a host of its own, if that can be.
fn on_a_host(test: &str, setup: Setup, work: impl FnOnce(&PodNamespace, Bench) + Send) {
    let name = format!("vpp_node::host_link::{test}");
    if !skip_unless(&name, &[(is_root(), "root"), (have("ip"), "ip")]) {
        return;
    }
    let host = PodNamespace::new();
    host.run(&["ip", "link", "set", "lo", "up"]);
    let namespace = Namespace::open(&host.path()).unwrap();
    // VPP's threads are started inside, and see the devices there.
    namespace.run(|| work(&host, Bench::with(setup))).unwrap();
}

fn with_devices() -> Setup {
    Setup { devices: Devices::Real, ..Setup::default() }
}

/// Routes of ours on the host, as `destination via source`.
fn routes(host: &PodNamespace) -> Vec<String> {
    let protocol = PROTOCOL.to_string();
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        let routes = host.ip(&[family, "route", "show", "proto", &protocol]);
        for route in routes.as_array().unwrap() {
            let of = |key: &str| route[key].as_str().unwrap_or("-").to_owned();
            all.push(format!("{} {} {} {}", of("dst"), of("gateway"), of("dev"), of("prefsrc")));
        }
    }
    all.sort();
    all
}

fn addresses(host: &PodNamespace, name: &str) -> Vec<String> {
    let link = host.link(name).unwrap_or_else(|| panic!("no {name}"));
    let infos = link["addr_info"].as_array().unwrap().iter().filter(|it| it["scope"] == "global");
    let mut all: Vec<String> =
        infos.map(|it| format!("{}/{}", it["local"].as_str().unwrap(), it["prefixlen"])).collect();
    all.sort();
    all
}

fn is_as_wanted(host: &PodNamespace, bench: &mut Bench, kind: &str, device: &str) {
    bench.is_settled(&config(kind), GATEWAYS);
    assert_eq!(addresses(host, device), ["172.30.1.2/30", "fd00:30:1::2/126"]);
    let (v4, v6) =
        (format!("172.30.1.1 {device} 172.30.1.2"), format!("fd00:30:1::1 {device} fd00:30:1::2"));
    assert_eq!(
        routes(host),
        [
            format!("10.1.1.0/24 {v4}"),
            format!("10.1.2.0/24 {v4}"),
            format!("10.1.3.0/24 {v4}"),
            format!("172.30.2.0/30 {v4}"),
            format!("172.30.3.0/30 {v4}"),
            format!("fd00:1:1::/64 {v6}"),
            format!("fd00:1:2::/64 {v6}"),
            format!("fd00:1:3::/64 {v6}"),
        ]
    );
    bench.vpp.look(|state| {
        let [index] = state.tagged("plat/host/0").try_into().expect("one host link");
        let interface = &state.interfaces[&index];
        assert!(interface.up && interface.ra_silent && interface.mtu[0] == 1500);
        let texts: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["172.30.1.1/30", "fd00:30:1::1/126"]);
        let route = &state.routes[&(0, "192.168.56.1/32".parse().unwrap())];
        let path = &route.values().next().unwrap().paths[0];
        assert_eq!(path.number("sw_if_index"), index);
    });
}

#[test]
fn a_veth_pair_leads_both_ways() {
    on_a_host("a_veth_pair_leads_both_ways", with_devices(), |host, mut bench| {
        let lacking = bench.differences(&config("veth"), GATEWAYS);
        assert!(lacking.iter().any(|it| it == "the host link is missing in VPP"), "{lacking:?}");
        let pair = "the veth pair of the host link, vpp-h0, is missing";
        assert!(lacking.iter().any(|it| it == pair), "{lacking:?}");
        let ready = bench.ensure(&config("veth"), GATEWAYS);
        is_as_wanted(host, &mut bench, "veth", "vpp-h0");
        bench.vpp.look(|state| {
            let link = &state.interfaces[&ready.host_link.unwrap().0];
            assert!(matches!(&link.kind, Kind::AfPacket { memory, .. } if *memory < 2 << 20));
            // The kernel ignores what is for VPP.
            let pair = host.link("vpp-v0").unwrap();
            let mac = pair["address"].as_str().unwrap().parse::<vpp_api::Mac>().unwrap();
            assert_ne!(mac.0, link.mac);
        });
        let one = host.link("vpp-h0").unwrap();
        assert_eq!((&one["ifalias"], &one["mtu"]), (&json!("plat/host/0"), &json!(1500)));
        let sent = kernel::ethtool::tx_checksum("vpp-h0").unwrap();
        assert!(!sent, "VPP completes no checksums");
    });
}

#[test]
fn what_is_changed_on_the_host_is_told_and_repaired() {
    let test = "what_is_changed_on_the_host_is_told_and_repaired";
    on_a_host(test, with_devices(), |host, mut bench| {
        bench.ensure(&config("veth"), GATEWAYS);
        let address = "172.30.1.2/30";
        for (words, told) in [
            (
                &["ip", "link", "set", "vpp-h0", "mtu", "1400"][..],
                "the MTU of device vpp-h0 of the host is not 1500",
            ),
            (&["ip", "link", "set", "vpp-v0", "down"], "device vpp-v0 of the host is down"),
            (&["ip", "link", "set", "vpp-h0", "down"], "device vpp-h0 of the host is down"),
            (
                &["ip", "address", "del", address, "dev", "vpp-h0"],
                "device vpp-h0 of the host has no address 172.30.1.2/30",
            ),
            (
                &["ip", "route", "del", "10.1.2.0/24"],
                "the host has no route to 10.1.2.0/24 by 172.30.1.1",
            ),
            (
                &["ip", "route", "add", "10.9.0.0/16", "dev", "vpp-h0", "proto", "112"],
                "the host's route to 10.9.0.0/16 is not wanted any more",
            ),
            (&["ip", "link", "del", "vpp-h0"], "the host link in VPP has lost its device"),
        ] {
            let output = host.run(words);
            assert!(output.status.success(), "{words:?}: {output:?}");
            let lacking = bench.differences(&config("veth"), GATEWAYS);
            assert!(lacking.iter().any(|it| it == told), "{told}: {lacking:?}");
            bench.ensure(&config("veth"), GATEWAYS);
            is_as_wanted(host, &mut bench, "veth", "vpp-h0");
        }
        // A restart of VPP leaves the pair, and its routes.
        bench.vpp.restart();
        bench.client.reconnect().unwrap();
        bench.ensure(&config("veth"), GATEWAYS);
        is_as_wanted(host, &mut bench, "veth", "vpp-h0");
    });
}

#[test]
fn somebody_elses_device_stays() {
    on_a_host("somebody_elses_device_stays", with_devices(), |host, mut bench| {
        host.run(&["ip", "link", "add", "vpp-h0", "type", "veth", "peer", "name", "other"]);
        let error = bench.try_ensure(&config("veth"), GATEWAYS).unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::Conflict);
        assert_eq!(error.to_string(), "device vpp-h0 of the host is not the host link's");
        assert!(host.link("other").is_some());
        let mut renamed = config("veth");
        renamed["hostLink"]["name"] = json!("uplink0");
        renamed["hostLink"]["vppName"] = json!("uplink1");
        bench.ensure(&renamed, GATEWAYS);
        assert_eq!(addresses(host, "uplink0"), ["172.30.1.2/30", "fd00:30:1::2/126"]);
        bench.is_settled(&renamed, GATEWAYS);
    });
}

/// The client is gone in the middle: its last message is the last that VPP has done.
#[test]
fn a_call_with_a_host_link_ends_anywhere() {
    let test = "a_call_with_a_host_link_ends_anywhere";
    on_a_host(test, with_devices(), |host, mut bench| {
        bench.vpp.take_journal();
        bench.ensure(&config("veth"), GATEWAYS);
        let messages = bench.vpp.take_journal().len();
        for after in 0..messages {
            bench.vpp.restart();
            bench.client.reconnect().unwrap();
            if after % 2 == 0 {
                host.run(&["ip", "link", "del", "vpp-h0"]);
            }
            bench.vpp.plan_after(None, after, messages, Trouble::Ignore);
            bench.client.set_timeout(Duration::from_millis(50));
            bench.try_ensure(&config("veth"), GATEWAYS).unwrap_err();
            bench.client.set_timeout(Duration::from_secs(60));
            bench.client.reconnect().unwrap();
            // Until what was sent before is thrown away, too.
            support::wait_until("the first connection is over", || bench.vpp.clients() == 1);
            bench.vpp.plan_nothing();
            bench.ensure(&config("veth"), GATEWAYS);
            is_as_wanted(host, &mut bench, "veth", "vpp-h0");
            let made = bench.vpp.look(|state| state.interfaces.len());
            assert_eq!(made, 4, "after {after}");
        }
    });
}

/// What a kernel does for VPP.
fn make_tap(wanted: &TapWanted) -> i32 {
    let ip = |words: &[&str]| {
        let output = Command::new(program("ip")).args(words).output().expect("ip can be run");
        output.status.success()
    };
    let device = wanted.device.as_str();
    if wanted.delete {
        ip(&["link", "del", device]);
        return 0;
    }
    let mac = vpp_api::Mac(wanted.mac).to_string();
    let made = ip(&["tuntap", "add", "dev", device, "mode", "tap"])
        && ip(&["link", "set", device, "address", &mac, "mtu", &wanted.mtu.to_string()]);
    if made { 0 } else { -13 }
}

#[test]
fn a_tap_leads_both_ways_and_outlives_vpp() {
    let maker: TapMaker = Arc::new(make_tap);
    let setup = Setup { tap_maker: Some(maker), ..with_devices() };
    on_a_host("a_tap_leads_both_ways_and_outlives_vpp", setup, |host, mut bench| {
        bench.ensure(&config("tap"), GATEWAYS);
        is_as_wanted(host, &mut bench, "tap", "vpp-h0");
        bench.vpp.restart();
        bench.client.reconnect().unwrap();
        assert!(host.link("vpp-h0").is_some(), "it persists");
        bench.ensure(&config("tap"), GATEWAYS);
        is_as_wanted(host, &mut bench, "tap", "vpp-h0");
        host.run(&["ip", "link", "del", "vpp-h0"]);
        bench.ensure(&config("tap"), GATEWAYS);
        is_as_wanted(host, &mut bench, "tap", "vpp-h0");
    });
}

#[test]
fn a_tap_needs_vhost_net() {
    let setup = Setup { vhost_net: false, ..with_devices() };
    on_a_host("a_tap_needs_vhost_net", setup, |_, mut bench| {
        let error = bench.try_ensure(&config("tap"), GATEWAYS).unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::Refused);
        let text =
            "cannot make the host link: VPP -11: system call error #1 (taps need /dev/vhost-net)";
        assert_eq!(error.to_string(), text);
    });
}
