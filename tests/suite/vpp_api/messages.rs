//! Every message once, and what it does.

use std::collections::BTreeSet;

use support::Scratch;
use support::vpp::Setup;
use vpp_api::catalogue::known;
use vpp_api::msg::{self, Kind};
use vpp_api::types::{MemifMode, MemifRole, RxMode};
use vpp_api::wire::Text;
use vpp_api::{AfPacket, Client, Created, Family, FibPath, IfIndex, Memif, Table, Tap, TapFlags};

use super::{Bench, ip, mac, prefix};

/// What is there at the start: `local0` and the uplink.
#[test]
fn a_new_vpp_has_its_devices_and_they_are_down() {
    let mut bench = Bench::new();
    assert_eq!(bench.client.version().unwrap(), "26.06-miniature");
    assert_eq!(bench.client.ping().unwrap(), bench.vpp.pid());
    let interfaces = bench.client.interfaces().unwrap();
    let names: Vec<String> = interfaces.iter().map(|it| it.interface_name.to_string()).collect();
    assert_eq!(names, ["local0", "GigabitEthernet0/4/0"]);
    assert!(interfaces.iter().all(|it| !it.flags.is_up() && it.tag.is_empty()));
    let uplink = &interfaces[1];
    assert_eq!(uplink.sw_if_index, IfIndex(1));
    assert_eq!(uplink.l2_address.to_string(), "02:00:00:00:04:00");
    assert_eq!((uplink.link_mtu, uplink.mtu), (9000, [9000, 0, 0, 0]));
    assert_eq!(uplink.interface_dev_type, "dpdk");
    assert!(bench.client.messages() > 900);
}

/// Interfaces: up, tag, MTU, table, name, and back.
fn interfaces(client: &mut Client) {
    let uplink = client.interface_named("GigabitEthernet0/4/0").unwrap().unwrap().sw_if_index;
    client.set_up(uplink, true).unwrap();
    client.set_tag(uplink, "plat/12345678/0123456789abcdef").unwrap();
    client.set_mtu(uplink, 1500).unwrap();
    client.call(&msg::HwInterfaceSetMtu { sw_if_index: uplink, mtu: 1600 }).unwrap();
    let mode = RxMode::POLLING;
    let (queue_id_valid, queue_id) = (false, 0);
    let rx = msg::SwInterfaceSetRxMode { sw_if_index: uplink, queue_id_valid, queue_id, mode };
    client.call(&rx).unwrap();
    let mac_address = mac(9);
    client.call(&msg::SwInterfaceSetMacAddress { sw_if_index: uplink, mac_address }).unwrap();
    let [details] = client
        .interfaces()
        .unwrap()
        .into_iter()
        .filter(|it| it.sw_if_index == uplink)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert!(details.flags.is_up() && details.flags.has_link());
    assert_eq!(details.tag, "plat/12345678/0123456789abcdef");
    assert_eq!((details.mtu[0], details.link_mtu), (1500, 1600));
    assert_eq!(details.l2_address, mac_address);

    let made = client.call(&msg::CreateLoopback { mac_address: mac(1) }).unwrap().sw_if_index;
    let gateway = client.create_loopback(Some(mac(2)), Some(7)).unwrap();
    assert_eq!(client.interface_named("loop7").unwrap().unwrap().l2_address, mac(2));
    let name = Text::new("gateway").unwrap();
    client.call(&msg::SwInterfaceSetInterfaceName { sw_if_index: gateway, name }).unwrap();
    assert_eq!(client.interface_named("gateway").unwrap().unwrap().sw_if_index, gateway);

    let table = Table::new(7, Family::V6);
    client.add_table(&table).unwrap();
    let set = msg::SwInterfaceSetTable { sw_if_index: made, is_ipv6: true, vrf_id: 7 };
    client.call(&set).unwrap();
    for (is_ipv6, vrf_id) in [(true, 7), (false, 0)] {
        let found = client.call(&msg::SwInterfaceGetTable { sw_if_index: made, is_ipv6 }).unwrap();
        assert_eq!(found.vrf_id, vrf_id);
    }
    for prefix in ["10.1.1.1/32", "2001:db8:1::1/128"].map(prefix) {
        client.add_address(gateway, prefix).unwrap();
    }
    assert_eq!(
        client.addresses(gateway).unwrap(),
        ["10.1.1.1/32", "2001:db8:1::1/128"].map(prefix)
    );
    client.set_unnumbered(uplink, gateway, true).unwrap();
    assert!(client.addresses(uplink).unwrap().is_empty(), "what is borrowed is not told");
    let borrowers = client.dump(&msg::IpUnnumberedDump { sw_if_index: IfIndex::NONE }).unwrap();
    let [borrower] = borrowers.as_slice() else { panic!("{borrowers:?}") };
    assert_eq!((borrower.sw_if_index, borrower.ip_sw_if_index), (uplink, gateway));
    client.set_unnumbered(uplink, gateway, false).unwrap();
    assert!(client.dump(&msg::IpUnnumberedDump { sw_if_index: uplink }).unwrap().is_empty());

    let enable = true;
    client.call(&msg::SwInterfaceIp6EnableDisable { sw_if_index: uplink, enable }).unwrap();
    client.call(&msg::SwInterfaceIp6ndRaConfig::silent(uplink)).unwrap();
    features(client, uplink);
    assert!(client.delete_address(gateway, prefix("10.1.1.1/32")).unwrap());
    assert!(!client.delete_address(gateway, prefix("10.1.1.1/32")).unwrap());
    let (is_add, del_all) = (false, true);
    let prefix = prefix("0.0.0.0/0");
    let all = msg::SwInterfaceAddDelAddress { sw_if_index: gateway, is_add, del_all, prefix };
    client.call(&all).unwrap();
    assert!(client.addresses(gateway).unwrap().is_empty());
    client
        .call(&msg::SwInterfaceTagAddDel { is_add, sw_if_index: uplink, tag: Text::empty() })
        .unwrap();
    client.call(&msg::DeleteLoopback { sw_if_index: gateway }).unwrap();
    assert!(client.interface_named("gateway").unwrap().is_none());
}

fn features(client: &mut Client, uplink: IfIndex) {
    let (is_add, enable) = (true, true);
    let ip = "2001:db8::9".parse().unwrap();
    client.call(&msg::Ip6ndProxyAddDel { sw_if_index: uplink, is_add, ip }).unwrap();
    let proxy = msg::ProxyArp {
        table_id: 0,
        low: "10.1.1.2".parse().unwrap(),
        hi: "10.1.1.200".parse().unwrap(),
    };
    client.call(&msg::ProxyArpAddDel { is_add, proxy }).unwrap();
    client.call(&msg::ProxyArpIntfcEnableDisable { sw_if_index: uplink, enable }).unwrap();
    let [arc_name, feature_name] =
        ["ip4-unicast", "ip4-reassembly"].map(|it| Text::new(it).unwrap());
    let feature = msg::FeatureEnableDisable { sw_if_index: uplink, enable, arc_name, feature_name };
    client.call(&feature).unwrap();
    let enable_disable = true;
    client.call(&msg::FeatureGsoEnableDisable { sw_if_index: uplink, enable_disable }).unwrap();
}

/// Tables, sources, routes of both messages, neighbours.
fn routes(client: &mut Client) {
    let uplink = IfIndex(1);
    for family in Family::BOTH {
        client.add_table(&Table::new(9, family)).unwrap();
    }
    let tables = client.dump(&msg::IpTableDump {}).unwrap();
    assert!(tables.iter().any(|it| it.table.table_id == 9 && it.table.name == "ipv6-VRF:9"));
    let ours = client.fib_source("plat-conf", 0x90).unwrap();
    assert_eq!(client.fib_source("plat-conf", 0x90).unwrap(), ours, "it is found again");
    let add = |text: &str, path: FibPath| {
        let route = vpp_api::types::RouteV2::new(ours, 9, prefix(text), vec![path]);
        msg::IpRouteAddDelV2::add(route)
    };
    let changes = [
        add("10.1.2.0/24", FibPath::via_on(ip("192.168.16.2"), uplink)),
        add("10.1.3.0/24", FibPath::via(ip("192.168.16.3"), 0)),
        add("10.1.1.9/32", FibPath::through(uplink, Family::V4)),
        add("2001:db8:2::/64", FibPath::via_on(ip("2001:db8:16::2"), uplink)),
        add("10.66.0.0/16", FibPath::dropped(Family::V4)),
    ];
    assert!(client.change_routes(&changes).unwrap().is_empty());
    let found = client.routes(ours, 9, Family::V4).unwrap();
    let mut wanted: Vec<_> = changes
        .iter()
        .map(|it| it.route.clone())
        .filter(|it| it.prefix.family() == Family::V4)
        .collect();
    wanted.sort_by_key(|route| route.prefix);
    assert_eq!(found, wanted);
    assert_eq!(client.routes(ours, 9, Family::V6).unwrap(), [changes[3].route.clone()]);

    let route = vpp_api::types::Route {
        table_id: 9,
        stats_index: 0,
        prefix: prefix("10.77.0.0/16"),
        paths: vec![FibPath::via(ip("192.168.16.9"), 0)],
    };
    let (is_add, is_multipath) = (true, false);
    client.call(&msg::IpRouteAddDel { is_add, is_multipath, route: route.clone() }).unwrap();
    let all = client.dump(&msg::IpRouteDump { table: Table::new(9, Family::V4) }).unwrap();
    assert!(all.iter().any(|it| it.route == route));
    let exact = 0;
    let looked =
        client.call(&msg::IpRouteLookup { table_id: 9, exact, prefix: prefix("10.77.1.1/32") });
    assert_eq!(looked.unwrap().route, route);
    client.call(&msg::IpTableFlush { table: Table::new(9, Family::V4) }).unwrap();
    assert_eq!(client.routes(ours, 9, Family::V4).unwrap().len(), 4, "only those of the API go");
    let deletes = changes.map(|it| msg::IpRouteAddDelV2::delete(ours, 9, it.route.prefix));
    assert!(client.change_routes(&deletes).unwrap().is_empty());
    assert!(client.routes(ours, 9, Family::V4).unwrap().is_empty());
    client.call(&msg::IpTableAddDel { is_add: false, table: Table::new(9, Family::V4) }).unwrap();

    client.set_neighbor(uplink, ip("10.1.1.9"), mac(3)).unwrap();
    client.set_neighbor(uplink, ip("2001:db8:1::9"), mac(3)).unwrap();
    for (af, address) in [(Family::V4, "10.1.1.9"), (Family::V6, "2001:db8:1::9")] {
        let neighbors = client.dump(&msg::IpNeighborDump { sw_if_index: uplink, af }).unwrap();
        let [found] = neighbors.as_slice() else { panic!("{neighbors:?}") };
        assert_eq!((found.neighbor.ip_address, found.neighbor.mac_address), (ip(address), mac(3)));
        assert!(found.neighbor.flags.is_static() && found.age > 0.0);
        assert!(client.delete_neighbor(uplink, ip(address), mac(3)).unwrap());
        assert!(!client.delete_neighbor(uplink, ip(address), mac(3)).unwrap());
    }
}

fn tap(device: &str) -> Tap {
    Tap {
        mac: mac(4),
        host_mac: mac(5),
        device: device.to_owned(),
        namespace: Some("/proc/self/ns/net".to_owned()),
        mtu: Some(1450),
        queues: 1,
        ring: 0,
        flags: TapFlags::PERSIST.and(TapFlags::ATTACH),
        tag: "plat/tap".to_owned(),
    }
}

/// af_packet, tap and memif.
fn attachments(client: &mut Client, scratch: &Scratch) {
    let device = "v0123456789abc";
    let made = client.create_af_packet(&AfPacket::small(device, mac(6))).unwrap();
    assert!(!made.existed);
    let there = client.create_af_packet(&AfPacket::small(device, mac(6))).unwrap();
    assert_eq!(there, Created { existed: true, ..made });
    let all = client.dump(&msg::AfPacketDump {}).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].sw_if_index, all[0].host_if_name.to_string()),
        (made.sw_if_index, device.to_owned())
    );
    assert_eq!(
        client.interface_named(&format!("host-{device}")).unwrap().unwrap().l2_address,
        mac(6)
    );
    assert!(client.delete_af_packet(device).unwrap());
    assert!(!client.delete_af_packet(device).unwrap());

    let made = client.create_tap(&tap("eth0")).unwrap();
    let taps = client.dump(&msg::SwInterfaceTapV2Dump { sw_if_index: IfIndex::NONE }).unwrap();
    let [found] = taps.as_slice() else { panic!("{taps:?}") };
    assert_eq!(found.sw_if_index, made);
    assert_eq!(
        (found.host_if_name.to_string(), found.host_mac_addr, found.host_mtu_size),
        ("eth0".to_owned(), mac(5), 1450)
    );
    assert_eq!(found.host_namespace, "/proc/self/ns/net");
    assert_eq!((found.tap_flags, found.rx_ring_sz), (12, 256));
    let interface = client.interface_named("tap0").unwrap().unwrap();
    assert_eq!((interface.tag.to_string(), interface.l2_address), ("plat/tap".to_owned(), mac(4)));
    client.delete_tap(made).unwrap();

    let path = scratch.path().join("memif.sock").display().to_string();
    let socket = client.memif_socket(&path, 5).unwrap();
    assert!(!socket.existed);
    assert_eq!(client.memif_socket(&path, 5).unwrap().id, socket.id);
    let wanted = Memif {
        socket_id: socket.id,
        id: 3,
        role: MemifRole::MASTER,
        mode: MemifMode::IP,
        mac: mac(7),
        ring: 512,
        queues: 1,
    };
    let made = client.create_memif(&wanted).unwrap();
    let memifs = client.dump(&msg::MemifDump {}).unwrap();
    let [found] = memifs.as_slice() else { panic!("{memifs:?}") };
    assert_eq!((found.sw_if_index, found.id, found.socket_id), (made, 3, socket.id));
    assert_eq!((found.mode, found.ring_size, found.hw_addr), (MemifMode::IP, 512, mac(7)));
    assert_eq!(super::refusal(client.forget_memif_socket(socket.id)), -74);
    client.delete_memif(made).unwrap();
    client.forget_memif_socket(socket.id).unwrap();
}

fn others(client: &mut Client) {
    assert!(client.version().unwrap().ends_with("-miniature"));
    assert!(client.cli("show nothing").unwrap().starts_with("unknown input"));
    let versions = client.call(&msg::ApiVersions {}).unwrap().api_versions;
    assert_eq!(versions[0].name, "interface.api");
    assert!(client.call(&msg::ShowVpeSystemTime {}).unwrap().vpe_system_time > 1e9);
    client.want_interface_events().unwrap();
}

/// The requests that a release has, sent.
fn sent(setup: Setup) -> BTreeSet<String> {
    let mut bench = Bench::with(setup);
    let scratch = Scratch::new("memif");
    interfaces(&mut bench.client);
    routes(&mut bench.client);
    attachments(&mut bench.client, &scratch);
    others(&mut bench.client);
    if bench.client.has::<msg::IpTableAddDelV2>() {
        let (create_mfib, is_add) = (false, true);
        let table = Table::new(11, Family::V4);
        bench.client.call(&msg::IpTableAddDelV2 { table, create_mfib, is_add }).unwrap();
    }
    bench.vpp.take_journal().into_iter().collect()
}

/// Every request that is known is sent, understood, and has the effect that its answer tells.
#[test]
fn every_request_does_what_it_says() {
    let mut sent: BTreeSet<String> =
        ["22.10", "26.06"].into_iter().flat_map(|release| sent(Setup::release(release))).collect();
    assert!(sent.remove("sockclnt_create"));
    // Only before 22.02 and 22.06.
    let old = ["tap_create_v2", "af_packet_create_v2"];
    let requests = known().into_iter().filter(|message| message.kind == Kind::Request);
    let known: BTreeSet<String> = requests.map(|message| message.name.name.to_owned()).collect();
    let unsent: Vec<_> =
        known.difference(&sent).filter(|name| !old.contains(&name.as_str())).collect();
    assert!(unsent.is_empty(), "{unsent:?}");
    assert!(sent.is_subset(&known));
}

/// A VPP without the newer creators gets the older ones.
#[test]
fn older_creators_are_used_where_there_are_no_newer() {
    let setup =
        Setup { strange: vec!["tap_create_v3", "af_packet_create_v3"], ..Setup::release("22.10") };
    let mut bench = Bench::with(setup);
    bench.client.create_af_packet(&AfPacket::small("veth0", mac(6))).unwrap();
    let tap = bench.client.create_tap(&tap("eth1")).unwrap();
    bench.client.delete_tap(tap).unwrap();
    let journal = bench.vpp.take_journal();
    assert_eq!(journal[1..], ["af_packet_create_v2", "tap_create_v2", "tap_delete_v2"]);
}
