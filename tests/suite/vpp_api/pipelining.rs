//! Many requests in one round trip.

use std::time::Duration;

use vpp_api::msg::{self, IpRouteAddDelV2};
use vpp_api::types::RouteV2;
use vpp_api::{Error, Family, FibPath, IfIndex, Prefix, Table};

use super::{Bench, ip, prefix, refusal};

#[test]
fn everything_is_verified_in_one_round_trip() {
    let mut bench = Bench::new();
    let gateway = bench.loopback();
    bench.client.add_address(gateway, prefix("10.1.1.1/32")).unwrap();
    bench.vpp.take_journal();
    let before = bench.client.round_trips();
    let mut batch = bench.client.batch();
    let interfaces = batch.dump(&msg::SwInterfaceDump::all()).unwrap();
    let addresses = batch.dump(&msg::IpAddressDump::of(gateway, Family::V4)).unwrap();
    let sources = batch.dump(&msg::FibSourceDump {}).unwrap();
    let version = batch.call(&msg::ShowVersion {}).unwrap();
    let routes =
        batch.dump(&msg::IpRouteV2Dump { src: 0, table: Table::new(0, Family::V4) }).unwrap();
    let wrong = batch.call(&msg::DeleteLoopback { sw_if_index: IfIndex(99) }).unwrap();
    let mut answers = batch.send().unwrap();
    assert_eq!(answers.details(routes).unwrap().len(), 5);
    assert_eq!(answers.details(interfaces).unwrap().len(), 3);
    assert_eq!(answers.details(addresses).unwrap()[0].prefix, prefix("10.1.1.1/32"));
    assert_eq!(answers.details(sources).unwrap().len(), 6);
    assert_eq!(answers.reply(version).unwrap().program, "vpe");
    let error = answers.reply(wrong).unwrap_err();
    assert_eq!(error.to_string(), "delete_loopback: VPP -2: invalid interface index");
    assert_eq!(bench.client.round_trips(), before + 1);
    assert_eq!(bench.vpp.take_journal().last().unwrap(), "control_ping", "one ping ends all dumps");
}

fn peers(source: u8) -> Vec<IpRouteAddDelV2> {
    let peer = |n: u32| {
        let prefix =
            Prefix::new(std::net::Ipv4Addr::from_bits(0x0a40_0000 | (n << 8)).into(), 24).unwrap();
        let path = FibPath::via_on(ip("192.168.16.2"), IfIndex(1));
        IpRouteAddDelV2::add(RouteV2::new(source, 0, prefix, vec![path]))
    };
    (0..1000).map(peer).collect()
}

/// More than the socket's buffers hold in either direction, so both have to be moved at once.
#[test]
fn a_thousand_routes_go_out_together() {
    let mut bench = Bench::new();
    let source = bench.client.fib_source("plat-conf", 0x90).unwrap();
    let before = bench.client.round_trips();
    assert!(bench.client.change_routes(&peers(source)).unwrap().is_empty());
    let routes = bench.client.routes(source, 0, Family::V4).unwrap();
    assert_eq!(routes.len(), 1000);
    assert_eq!(bench.client.round_trips(), before + 2);
    let wanted: Vec<_> = peers(source).into_iter().map(|it| it.route).collect();
    assert_eq!(routes, wanted);
}

#[test]
fn answers_are_found_also_when_they_come_in_pieces() {
    let mut bench = Bench::new();
    bench.vpp.write_in_pieces(7);
    bench.client.reconnect().unwrap();
    let source = bench.client.fib_source("plat-conf", 0x90).unwrap();
    assert!(bench.client.change_routes(&peers(source)[..50]).unwrap().is_empty());
    assert_eq!(bench.client.routes(source, 0, Family::V4).unwrap().len(), 50);
}

#[test]
fn one_refusal_does_not_stop_the_others() {
    let mut bench = Bench::new();
    let mut changes = peers(msg::FibSource::API);
    changes.truncate(10);
    changes[3].route.paths.clear();
    changes[7].route.table_id = 99;
    let refused = bench.client.change_routes(&changes).unwrap();
    let refused: Vec<_> = refused
        .into_iter()
        .map(|(prefix, error)| (prefix.to_string(), refusal::<()>(Err(error))))
        .collect();
    assert_eq!(refused, [("10.64.3.0/24".to_owned(), -52), ("10.64.7.0/24".to_owned(), -3)]);
    assert_eq!(bench.client.routes(msg::FibSource::API, 0, Family::V4).unwrap().len(), 8);
}

/// VPP throws away what it cannot read; the ping behind it shows that before the deadline does.
#[test]
fn what_is_ignored_beside_a_dump_is_seen_at_once() {
    let mut bench = Bench::new();
    bench.client.set_timeout(Duration::from_secs(600));
    bench.vpp.plan("show_version", support::vpp::Trouble::Ignore);
    let mut batch = bench.client.batch();
    let version = batch.call(&msg::ShowVersion {}).unwrap();
    let interfaces = batch.dump(&msg::SwInterfaceDump::all()).unwrap();
    let mut answers = batch.send().unwrap();
    assert_eq!(answers.details(interfaces).unwrap().len(), 2);
    assert!(matches!(answers.reply(version), Err(Error::Ignored { message: "show_version" })));
    bench.client.ping().expect("the connection is as good as before");
}

#[test]
fn a_batch_that_is_not_sent_asks_nothing() {
    let mut bench = Bench::new();
    bench.vpp.take_journal();
    let mut batch = bench.client.batch();
    let _ = batch.call(&msg::ControlPing {}).unwrap();
    drop(batch);
    bench.client.batch().send().expect("nothing to ask is no error");
    bench.client.version().unwrap();
    assert_eq!(bench.vpp.take_journal(), ["show_version"]);
}

#[test]
fn a_ticket_is_good_for_its_batch_only() {
    let mut bench = Bench::new();
    let mut batch = bench.client.batch();
    let stale = batch.call(&msg::ControlPing {}).unwrap();
    batch.send().unwrap();
    let mut batch = bench.client.batch();
    let _ticket = batch.call(&msg::ControlPing {}).unwrap();
    let mut answers = batch.send().unwrap();
    assert!(matches!(answers.reply(stale), Err(Error::NotHere)));
}
