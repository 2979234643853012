//! What VPP does otherwise than one would think.

use std::sync::{Arc, Mutex};

use support::vpp::{Devices, Hardware, Kind, Setup, TapMaker};
use vpp_api::msg::{self, IpRouteAddDelV2, SwInterfaceDump};
use vpp_api::types::{MemifMode, MemifRole, NeighborFlags, RouteV2, RxMode};
use vpp_api::{AfPacket, Family, FibPath, IfIndex, Memif, Retval, Table, Tap, TapFlags};

use super::{Bench, ip, mac, prefix, refusal};

#[test]
fn an_address_that_is_there_is_refused_with_other_numbers_for_each_family() {
    let mut bench = Bench::new();
    let (one, two) = (bench.loopback(), bench.loopback());
    let client = &mut bench.client;
    for (on, text, verdict) in [
        (one, "10.1.1.1/24", 0),
        (one, "10.1.1.1/24", -105),
        (one, "10.1.1.2/24", 0),
        (one, "10.1.1.3/32", -105),
        (two, "10.1.1.7/32", -105),
        (two, "10.1.0.0/16", -105),
        (two, "10.1.2.1/32", 0),
        (one, "2001:db8::1/64", 0),
        (one, "2001:db8::1/64", -127),
        (two, "2001:db8::7/128", -105),
        (IfIndex(99), "10.9.9.9/32", -2),
        (IfIndex(0), "10.9.9.9/32", -1),
    ] {
        let got = client.add_address(on, prefix(text));
        let got = got.map_or_else(|error| refusal::<()>(Err(error)), |()| 0);
        assert_eq!(got, verdict, "{text} on {on}");
    }
}

#[test]
fn another_table_has_addresses_of_its_own() {
    let mut bench = Bench::new();
    let (one, two) = (bench.loopback(), bench.loopback());
    let client = &mut bench.client;
    client.add_address(one, prefix("10.1.1.1/24")).unwrap();
    let table = |vrf_id| msg::SwInterfaceSetTable { sw_if_index: two, is_ipv6: false, vrf_id };
    assert_eq!(refusal(client.call(&table(5))), -3);
    client.add_table(&Table::new(5, Family::V4)).unwrap();
    client.call(&table(5)).unwrap();
    client.add_address(two, prefix("10.1.1.1/24")).unwrap();
    assert_eq!(refusal(client.call(&table(0))), -114, "the table comes before the addresses");
    client.delete_address(two, prefix("10.1.1.1/24")).unwrap();
    client.set_unnumbered(two, one, true).unwrap();
    assert_eq!(refusal(client.call(&table(0))), -114, "borrowing counts, too");
}

#[test]
fn a_number_is_used_again_at_once_and_routes_stay() {
    let mut bench = Bench::new();
    let pod = bench.client.create_af_packet(&AfPacket::small("vpod1", mac(1))).unwrap().sw_if_index;
    let source = bench.client.fib_source("plat-conf", 0x90).unwrap();
    let path = FibPath::via_on(ip("10.1.1.7"), pod);
    let route = RouteV2::new(source, 0, prefix("10.1.1.7/32"), vec![path]);
    bench.client.call(&IpRouteAddDelV2::add(route.clone())).unwrap();
    bench.client.set_neighbor(pod, ip("10.1.1.7"), mac(2)).unwrap();
    bench.client.delete_af_packet("vpod1").unwrap();
    assert_eq!(bench.client.routes(source, 0, Family::V4).unwrap(), [route]);
    let af = Family::V4;
    let neighbors = bench.client.dump(&msg::IpNeighborDump { sw_if_index: IfIndex::NONE, af });
    assert!(neighbors.unwrap().is_empty(), "neighbours go with their interface");
    let next = bench.client.create_af_packet(&AfPacket::small("vpod2", mac(3))).unwrap();
    assert_eq!(next.sw_if_index, pod, "the route of the first pod leads to the second");
    let client = &mut bench.client;
    client.call(&IpRouteAddDelV2::delete(source, 0, prefix("10.1.1.7/32"))).unwrap();
    assert!(client.routes(source, 0, Family::V4).unwrap().is_empty());
}

#[test]
fn dumps_have_host_bits_and_show_the_best_source_only() {
    let mut bench = Bench::new();
    let gateway = bench.loopback();
    let client = &mut bench.client;
    client.add_address(gateway, prefix("10.1.1.1/24")).unwrap();
    let has = |routes: &[RouteV2], text: &str| routes.iter().any(|it| it.prefix == prefix(text));
    const INTERFACE: u8 = msg::FibSource::INTERFACE;
    assert!(client.routes(INTERFACE, 0, Family::V4).unwrap().is_empty(), "it is down");
    client.set_up(gateway, true).unwrap();
    let routes = client.routes(INTERFACE, 0, Family::V4).unwrap();
    assert!(has(&routes, "10.1.1.1/24") && has(&routes, "10.1.1.1/32"), "{routes:?}");

    let source = client.fib_source("plat-conf", 0x90).unwrap();
    let add = |text: &str| {
        let path = FibPath::through(gateway, Family::V4);
        IpRouteAddDelV2::add(RouteV2::new(source, 0, prefix(text), vec![path]))
    };
    assert!(client.change_routes(&[add("10.1.3.5/24"), add("10.1.1.9/24")]).unwrap().is_empty());
    let ours = client.routes(source, 0, Family::V4).unwrap();
    assert!(has(&ours, "10.1.3.5/24"), "as it was written: {ours:?}");
    assert_eq!(ours.len(), 1, "the other is below the interface's own");
    client.set_up(gateway, false).unwrap();
    assert_eq!(client.routes(source, 0, Family::V4).unwrap().len(), 2);
    // Other host bits are the same route.
    client.call(&IpRouteAddDelV2::delete(source, 0, prefix("10.1.3.77/24"))).unwrap();
    assert_eq!(client.routes(source, 0, Family::V4).unwrap().len(), 1);
}

#[test]
fn a_source_is_made_anew_whenever_it_is_asked_for_and_is_its_owners_alone() {
    let mut bench = Bench::new();
    let client = &mut bench.client;
    let name = vpp_api::wire::Text::new("plat-agent").unwrap();
    let src = msg::FibSource { priority: 0x90, id: 0, name };
    let [first, second] =
        [(); 2].map(|()| client.call(&msg::FibSourceAdd { src: src.clone() }).unwrap().id);
    assert_eq!((first, second), (23, 24));
    assert_eq!(client.fib_source("plat-agent", 0x90).unwrap(), 23, "whoever looks finds the first");

    let route = |src| {
        let path = FibPath::through(IfIndex(1), Family::V4);
        RouteV2::new(src, 0, prefix("10.1.2.0/24"), vec![path])
    };
    client.call(&IpRouteAddDelV2::add(route(first))).unwrap();
    client.call(&IpRouteAddDelV2::delete(msg::FibSource::API, 0, prefix("10.1.2.0/24"))).unwrap();
    assert_eq!(client.routes(first, 0, Family::V4).unwrap(), [route(first)]);
    client.call(&IpRouteAddDelV2::add(route(msg::FibSource::API))).unwrap();
    assert!(client.routes(first, 0, Family::V4).unwrap().is_empty(), "the API's is better");
}

#[test]
fn routes_are_refused_for_tables_paths_and_interfaces_that_are_not_there() {
    let mut bench = Bench::new();
    let through = |index| FibPath::through(IfIndex(index), Family::V4);
    let change = |table, paths| {
        IpRouteAddDelV2::add(RouteV2::new(msg::FibSource::API, table, prefix("10.2.0.0/16"), paths))
    };
    let refused = bench.client.change_routes(&[
        change(77, vec![through(1)]),
        change(0, Vec::new()),
        change(0, vec![through(77)]),
        change(0, vec![FibPath::via(ip("203.0.113.1"), 0)]),
    ]);
    let refused = refused.unwrap().into_iter();
    let verdicts: Vec<i32> = refused.map(|(_, error)| refusal::<()>(Err(error))).collect();
    assert_eq!(verdicts, [-3, -52, -54], "a next hop that cannot be reached is accepted");
    let client = &mut bench.client;
    client.call(&IpRouteAddDelV2::delete(8, 0, prefix("10.200.0.0/16"))).expect("idempotent");
    let table = Table::new(77, Family::V4);
    assert!(client.dump(&msg::IpRouteDump { table }).unwrap().is_empty());
}

#[test]
fn single_paths_are_added_and_taken() {
    let mut bench = Bench::new();
    let paths = ["192.168.16.2", "192.168.16.3"].map(|hop| FibPath::via_on(ip(hop), IfIndex(1)));
    let change = |is_add, path: &FibPath| IpRouteAddDelV2 {
        is_add,
        is_multipath: true,
        route: RouteV2::new(8, 0, prefix("10.2.0.0/16"), vec![path.clone()]),
    };
    let client = &mut bench.client;
    client.change_routes(&[change(true, &paths[0]), change(true, &paths[1])]).unwrap();
    assert_eq!(client.routes(8, 0, Family::V4).unwrap()[0].paths, paths);
    client.call(&change(false, &paths[0])).unwrap();
    assert_eq!(client.routes(8, 0, Family::V4).unwrap()[0].paths, paths[1..]);
}

#[test]
fn interfaces_are_found_by_part_of_a_name_in_any_case() {
    let mut bench = Bench::new();
    for instance in [1, 10] {
        bench.client.create_loopback(None, Some(instance)).unwrap();
    }
    assert_eq!(bench.client.dump(&SwInterfaceDump::named_like("LOOP1")).unwrap().len(), 2);
    assert!(bench.client.interface_named("LOOP1").unwrap().is_none());
    assert!(bench.client.interface_named("loop1").unwrap().is_some());
    let dump = |index| SwInterfaceDump { sw_if_index: IfIndex(index), ..SwInterfaceDump::all() };
    assert_eq!(bench.client.dump(&dump(0)).unwrap().len(), 4, "0 is all");
    assert_eq!(bench.client.dump(&dump(1)).unwrap().len(), 1);
    assert_eq!(bench.client.dump(&dump(99)).unwrap().len(), 0);
    assert_eq!(refusal(bench.client.create_loopback(None, Some(10))), -31);
}

#[test]
fn devices_refuse_what_they_cannot_do() {
    let slow = Hardware { largest: 1600, ..Hardware::dpdk("Ethernet0", [2; 6]) };
    let mut bench = Bench::with(Setup { hardware: vec![slow], ..Setup::default() });
    let loopback = bench.loopback();
    let client = &mut bench.client;
    let frame = |sw_if_index, mtu| msg::HwInterfaceSetMtu { sw_if_index, mtu };
    assert_eq!(refusal(client.call(&frame(loopback, 1500))), -126);
    assert_eq!(refusal(client.call(&frame(IfIndex(1), 9000))), -7);
    client.call(&frame(IfIndex(1), 1500)).unwrap();
    let (queue_id_valid, queue_id, mode) = (false, 0, RxMode::INTERRUPT);
    let rx = msg::SwInterfaceSetRxMode { sw_if_index: IfIndex(1), queue_id_valid, queue_id, mode };
    assert_eq!(refusal(client.call(&rx)), -9);
    assert_eq!(refusal(client.set_tag(loopback, "")), -7);
    let silent = msg::SwInterfaceIp6ndRaConfig::silent(loopback);
    assert_eq!(refusal(client.call(&silent)), -62, "IPv6 comes first");
    let error = client.set_tag(loopback, &"x".repeat(64)).unwrap_err();
    assert!(error.to_string().ends_with("at most 63 bytes, and no NUL"), "{error}");
}

#[test]
fn af_packet_needs_a_device_and_stays_dead_when_it_goes() {
    let devices = Devices::Named(["veth0".to_owned()].into());
    let mut bench = Bench::with(Setup { devices, ..Setup::default() });
    let small = |device: &str| AfPacket::small(device, mac(1));
    assert_eq!(refusal(bench.client.create_af_packet(&small("veth1"))), -71);
    let made = bench.client.create_af_packet(&small("veth0")).unwrap();
    let memory = |bench: &Bench| {
        bench.vpp.look(|state| match state.interfaces[&made.sw_if_index.0].kind {
            Kind::AfPacket { memory, dead, .. } => (memory, dead),
            ref other => panic!("{other:?}"),
        })
    };
    assert_eq!(memory(&bench), (1 << 20, false), "small rings take a megabyte");
    bench.vpp.change(|state| state.device_is_gone("veth0"));
    let again = bench.client.create_af_packet(&small("veth0")).unwrap();
    assert!(again.existed && memory(&bench).1, "told as there, and dead");
    assert!(bench.client.delete_af_packet("veth0").unwrap());
    assert_eq!(refusal(bench.client.create_af_packet(&small("veth0"))), -71);
}

fn tap(device: &str, namespace: &str, flags: TapFlags) -> Tap {
    Tap {
        mac: mac(1),
        host_mac: mac(2),
        device: device.to_owned(),
        namespace: Some(namespace.to_owned()),
        mtu: None,
        queues: 1,
        ring: 0,
        flags,
        tag: "t".to_owned(),
    }
}

#[test]
fn taps_need_vhost_net_and_a_namespace() {
    let own = "/proc/self/ns/net";
    let mut bench = Bench::with(Setup { vhost_net: false, ..Setup::default() });
    let error = bench.client.create_tap(&tap("eth0", own, TapFlags::PERSIST)).unwrap_err();
    assert_eq!(error.retval(), Some(Retval::SYSCALL_ERROR_1));
    assert_eq!(error.to_string(), "tap_create_v3: VPP -11: system call error #1");
    let mut bench = Bench::new();
    assert_eq!(refusal(bench.client.create_tap(&tap("eth0", "/nonexistent/ns", TapFlags(0)))), -12);
    let other = Tap { tag: "x".repeat(64), ..tap("eth0", own, TapFlags(0)) };
    assert!(bench.client.create_tap(&other).is_err(), "VPP would cut the tag");
}

#[test]
fn only_taps_that_persist_outlive_vpp() {
    let mut bench = Bench::new();
    let own = "/proc/self/ns/net";
    bench.client.create_tap(&tap("keep0", own, TapFlags::PERSIST)).unwrap();
    bench.client.create_tap(&tap("lose0", own, TapFlags(0))).unwrap();
    bench.vpp.restart();
    let key = |device: &str| (own.to_owned(), device.to_owned());
    let kept = bench.vpp.look(|state| state.kernel_taps.clone());
    assert_eq!(kept.into_keys().collect::<Vec<_>>(), [key("keep0")]);
    bench.client.reconnect().unwrap();
    // Taken over without PERSIST it does not outlive the next.
    bench.client.create_tap(&tap("keep0", own, TapFlags::ATTACH)).unwrap();
    bench.vpp.restart();
    assert!(bench.vpp.look(|state| state.kernel_taps.is_empty()));
}

/// Those of the namespace that the test runs in.
#[test]
fn af_packet_finds_the_devices_that_there_are() {
    let mut bench = Bench::with(Setup { devices: Devices::Real, ..Setup::default() });
    bench.client.create_af_packet(&AfPacket::small("lo", mac(1))).unwrap();
    assert_eq!(refusal(bench.client.create_af_packet(&AfPacket::small("plat-none", mac(1)))), -71);
}

#[test]
fn rings_are_of_whole_pages() {
    let mut bench = Bench::new();
    let odd = AfPacket { frame_size: 2004, ..AfPacket::small("veth0", mac(1)) };
    assert_eq!(refusal(bench.client.create_af_packet(&odd)), -11);
}

/// Whoever tests with real namespaces makes devices in the place of taps.
#[test]
fn taps_are_made_and_deleted_by_whom_the_test_says() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let tap_maker: TapMaker = Arc::new(move |wanted| {
        log.lock().unwrap().push((wanted.device.clone(), wanted.delete));
        if wanted.device == "taken0" { -13 } else { 0 }
    });
    let mut bench = Bench::with(Setup { tap_maker: Some(tap_maker), ..Setup::default() });
    let own = "/proc/self/ns/net";
    let kept = bench.client.create_tap(&tap("eth0", own, TapFlags::PERSIST)).unwrap();
    assert_eq!(refusal(bench.client.create_tap(&tap("taken0", own, TapFlags(0)))), -13);
    bench.client.create_tap(&tap("lost0", own, TapFlags(0))).unwrap();
    bench.vpp.restart();
    bench.client.reconnect().unwrap();
    let attach = TapFlags::PERSIST.and(TapFlags::ATTACH);
    let again = bench.client.create_tap(&tap("eth0", own, attach)).unwrap();
    assert_eq!(again, kept);
    bench.client.delete_tap(again).unwrap();
    let calls: Vec<_> = std::mem::take(&mut *calls.lock().unwrap());
    let calls: Vec<_> = calls.iter().map(|(device, delete)| (device.as_str(), *delete)).collect();
    let wanted =
        [("eth0", false), ("taken0", false), ("lost0", false), ("lost0", true), ("eth0", true)];
    assert_eq!(calls, wanted, "what persists is taken over, and deleted at last");
}

#[test]
fn new_interfaces_are_down() {
    let mut bench = Bench::new();
    bench.loopback();
    bench.client.create_af_packet(&AfPacket::small("veth0", mac(1))).unwrap();
    bench.client.create_tap(&tap("eth0", "/proc/self/ns/net", TapFlags(0))).unwrap();
    let interfaces = bench.client.interfaces().unwrap();
    assert_eq!(interfaces.len(), 5);
    assert!(interfaces.iter().all(|it| !it.flags.is_up()));
}

#[test]
fn a_tap_that_is_there_gets_a_second_queue_without_a_word() {
    let mut bench = Bench::new();
    let wanted = tap("eth0", "/proc/self/ns/net", TapFlags::PERSIST);
    let first = bench.client.create_tap(&wanted).unwrap();
    let second = bench.client.create_tap(&wanted).unwrap();
    assert_ne!(first, second);
    let complaints = bench.vpp.change(|state| std::mem::take(&mut state.complaints));
    assert_eq!(complaints, ["tap eth0 of /proc/self/ns/net: a second queue of the same device"]);
}

#[test]
fn memifs_are_refused_for_many_reasons() {
    let mut bench = Bench::new();
    let client = &mut bench.client;
    assert_eq!(refusal(client.forget_memif_socket(0)), -73);
    let socket = client.memif_socket("/nonexistent/memif.sock", 1).unwrap().id;
    let wanted = |socket_id, role, ring| Memif {
        socket_id,
        id: 0,
        role,
        mode: MemifMode::ETHERNET,
        mac: mac(1),
        ring,
        queues: 0,
    };
    for (memif, verdict) in [
        (wanted(socket ^ 1, MemifRole::SLAVE, 0), -73),
        (wanted(socket, MemifRole::SLAVE, 1000), -73),
        (wanted(socket, MemifRole::MASTER, 0), -14),
    ] {
        assert_eq!(refusal(client.create_memif(&memif)), verdict, "{memif:?}");
    }
    client.create_memif(&wanted(socket, MemifRole::SLAVE, 0)).unwrap();
    assert_eq!(refusal(client.create_memif(&wanted(socket, MemifRole::MASTER, 0))), -68);
    let twice = msg::MemifSocketFilenameAddDelV2 {
        is_add: true,
        socket_id: u32::MAX,
        socket_filename: vpp_api::wire::Tail("/nonexistent/memif.sock".to_owned()),
    };
    assert_ne!(client.call(&twice).unwrap().socket_id, socket, "VPP does not look for the path");
}

#[test]
fn neighbours_may_be_set_again() {
    let mut bench = Bench::new();
    let (uplink, address) = (IfIndex(1), ip("10.1.1.7"));
    let client = &mut bench.client;
    client.set_neighbor(uplink, address, mac(1)).unwrap();
    client.set_neighbor(uplink, address, mac(2)).unwrap();
    let mut learned = msg::IpNeighborAddDel::set(uplink, address, mac(3));
    learned.neighbor.flags = NeighborFlags::NONE;
    assert_eq!(refusal(client.call(&learned)), -2);
    let adjacency = client.routes(msg::FibSource::ADJACENCY, 0, Family::V4).unwrap();
    assert_eq!(adjacency.len(), 1, "it brings a host route");
    assert_eq!(adjacency[0].prefix, prefix("10.1.1.7/32"));
    assert_eq!(refusal(client.set_neighbor(IfIndex(9), address, mac(1))), -2);
}

#[test]
fn a_table_keeps_its_name_and_is_deleted_when_it_is_empty() {
    let mut bench = Bench::new();
    let named = |name: &str| Table {
        name: vpp_api::wire::Text::new(name).unwrap(),
        ..Table::new(5, Family::V4)
    };
    bench.client.add_table(&named("first")).unwrap();
    bench.client.add_table(&named("second")).unwrap();
    let tables = bench.client.dump(&msg::IpTableDump {}).unwrap();
    let names: Vec<String> = tables.iter().map(|it| it.table.name.to_string()).collect();
    assert_eq!(names, ["ipv4-VRF:0", "ipv6-VRF:0", "first"]);
    let path = FibPath::through(IfIndex(1), Family::V4);
    let route = RouteV2::new(8, 5, prefix("10.1.0.0/16"), vec![path]);
    bench.client.call(&IpRouteAddDelV2::add(route)).unwrap();
    bench.client.call(&msg::IpTableAddDel { is_add: false, table: named("") }).expect("VPP says 0");
    let complaints = bench.vpp.change(|state| std::mem::take(&mut state.complaints));
    assert_eq!(complaints, ["BUG: table 5 is deleted, and has routes"]);
}
