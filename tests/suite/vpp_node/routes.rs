//! Routes to other nodes.

use std::time::Instant;

use serde_json::{Value, json};
use support::vpp::State;
use vpp_api::msg::{FibSource, IpRouteAddDelV2};
use vpp_api::types::RouteV2;
use vpp_api::{FibPath, IfIndex};
use vpp_plugin::node::{NodeErrorKind, ours};

use super::{Bench, GATEWAYS, cluster, prefix};

fn destinations(state: &State) -> Vec<String> {
    state.routes.keys().map(|(table, prefix)| format!("{table} {prefix}")).collect()
}

fn peers(nodes: &str) -> Value {
    json!({
        "uplink": {"pci": "0000:00:04.0", "address": "192.168.0.{i}/16"},
        "peers": {
            "nodes": nodes,
            "subnet": "10.{peer/256}.{peer%256}.0/24",
            "via": "192.168.{peer/256}.{peer%256}",
        },
    })
}

#[test]
fn routes_lead_through_the_uplink_and_elsewhere() {
    let mut bench = Bench::new();
    let config = json!({
        "uplink": {"pci": "0000:00:04.0", "address": "192.168.16.{i}/24"},
        "routes": [
            {"dst": "10.2.0.0/16", "gw": "192.168.16.2"},
            {"dst": "10.3.0.0/16", "gw": "10.2.0.1"},
            {"dst": "fd00:9::/64", "gw": "fe80::1"},
        ],
    });
    bench.ensure(&config, &[]);
    bench.vpp.look(|state| {
        let through = |text: &str| {
            let of_sources = &state.routes[&(0, text.parse().unwrap())];
            of_sources.values().next().unwrap().paths[0].number("sw_if_index")
        };
        assert_eq!(through("10.2.0.0/16"), 1);
        assert_eq!(through("10.3.0.0/16"), u32::MAX, "VPP finds the way itself");
        assert_eq!(through("fd00:9::/64"), 1);
    });
    bench.is_settled(&config, &[]);
}

#[test]
fn what_is_wanted_no_more_goes_and_what_was_changed_comes_back() {
    let mut bench = Bench::new();
    bench.ensure(&peers("1-4"), &[]);
    bench.ensure(&peers("1,3,9"), &[]);
    let expected = ["0 10.0.3.0/24", "0 10.0.9.0/24"];
    assert_eq!(bench.vpp.look(destinations), expected);
    let source = bench.client.fib_source("plat-conf", 0x90).unwrap();
    let path = FibPath::via_on("192.168.0.77".parse().unwrap(), IfIndex(1));
    let other = RouteV2::new(source, 0, prefix("10.0.3.0/24"), vec![path]);
    bench.client.call(&IpRouteAddDelV2::add(other)).unwrap();
    assert_eq!(
        bench.differences(&peers("1,3,9"), &[]),
        ["the route to 10.0.3.0/24 leads to 192.168.0.77, not 192.168.0.3"]
    );
    bench.ensure(&peers("1,3,9"), &[]);
    bench.is_settled(&peers("1,3,9"), &[]);
    bench.ensure(&json!({}), &[]);
    assert_eq!(bench.vpp.look(destinations), [""; 0]);
}

/// Two networks in one table: neither sweeps the other's routes.
#[test]
fn networks_leave_each_others_routes_alone() {
    let mut bench = Bench::new();
    let (mut one, mut two) = (peers("1-3"), peers("1,7-8"));
    one["name"] = json!("one");
    two["name"] = json!("two");
    bench.ensure(&one, &[]);
    bench.ensure(&two, &[]);
    let expected = ["0 10.0.2.0/24", "0 10.0.3.0/24", "0 10.0.7.0/24", "0 10.0.8.0/24"];
    assert_eq!(bench.vpp.look(destinations), expected);
    bench.is_settled(&one, &[]);
    bench.is_settled(&two, &[]);
    let mut gone = json!({});
    gone["name"] = json!("two");
    bench.ensure(&gone, &[]);
    assert_eq!(bench.vpp.look(destinations), expected[..2]);
    // They do not agree on the way.
    two["peers"]["nodes"] = json!("1-2");
    two["peers"]["via"] = json!("192.168.9.{peer}");
    let error = bench.try_ensure(&two, &[]).unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Conflict);
    assert_eq!(
        error.to_string(),
        "network one has 10.0.2.0/24 by 192.168.0.2, and this one wants it by 192.168.9.2"
    );
}

/// An operator's route, or another agent's, counts more than ours: told, and left alone.
#[test]
fn a_foreign_route_is_told_and_not_taken_over() {
    let mut bench = Bench::new();
    let path = FibPath::via_on("192.168.0.200".parse().unwrap(), IfIndex(1));
    let route = RouteV2::new(FibSource::API, 0, prefix("10.0.2.0/24"), vec![path]);
    bench.client.call(&IpRouteAddDelV2::add(route)).unwrap();
    let ready = bench.ensure(&peers("1-3"), &[]);
    assert_eq!(
        ready.notes,
        [
            "10.0.2.0/24 is already routed in VPP by API, and stays so: the route by 192.168.0.2 is not made"
        ]
    );
    assert_eq!(bench.differences(&peers("1-3"), &[]), [""; 0]);
    let delete = IpRouteAddDelV2::delete(FibSource::API, 0, prefix("10.0.2.0/24"));
    bench.client.call(&delete).unwrap();
    assert_eq!(bench.ensure(&peers("1-3"), &[]).notes, [""; 0]);
    bench.is_settled(&peers("1-3"), &[]);
}

#[test]
fn what_is_ours_is_listed() {
    let mut bench = Bench::new();
    bench.client.create_loopback(None, None).unwrap();
    bench.ensure(&cluster(), GATEWAYS);
    let ours = ours(&mut bench.client).unwrap();
    let tags: Vec<_> =
        ours.interfaces.iter().map(|it| (it.name.as_str(), it.tag.as_str())).collect();
    assert_eq!(tags, [("loop1", "plat/gateway/0")]);
    assert_eq!(ours.interfaces[0].addresses.len(), 2);
    assert_eq!(ours.routes.len(), 8);
    let peer = ours.routes.iter().find(|it| it.destination == prefix("10.1.2.0/24")).unwrap();
    assert_eq!((peer.source, peer.table), ("plat-conf", 0));
    assert_eq!(peer.paths, ["192.168.16.2 GigabitEthernet0/4/0"]);
}

/// As many as a large cluster has: a constant number of round trips. How long it takes, tests/benches tell.
#[test]
fn a_thousand_peers_take_a_few_round_trips() {
    let mut bench = Bench::new();
    let begun = Instant::now();
    let before = bench.client.round_trips();
    bench.ensure(&peers("1-1001"), &[]);
    println!("added: {:?}", begun.elapsed());
    assert!(bench.client.round_trips() - before < 12, "{}", bench.client.round_trips() - before);
    assert_eq!(bench.vpp.look(|state| state.routes.len()), 1000);
    let begun = Instant::now();
    bench.is_settled(&peers("1-1001"), &[]);
    println!("verified twice: {:?}", begun.elapsed());
}
