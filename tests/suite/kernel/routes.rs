//! Routes: one at a time, and thousands.

use std::time::Instant;

use kernel::{Family, IPV6_METRIC, NextHop, Route, RouteChange, RouteFilter, RouteKind};

use super::*;

const OURS: u8 = 205;
const ANY: RouteFilter = RouteFilter { family: None, table: None, protocol: None, device: None };

/// A route of ours over the first end.
fn ours(pair: &Pair, destination: &str, via: &str) -> Route {
    Route::to(net(destination)).via(ip(via)).device(pair.index).protocol(OURS)
}

/// All routes of ours, sorted.
fn all_of_ours(pair: &mut Pair) -> Vec<Route> {
    let filter = RouteFilter { protocol: Some(OURS), ..ANY };
    let mut list = pair.one.netlink.routes(&filter).expect("a list");
    list.sort_by_key(Route::key);
    list
}

#[test]
fn every_kind_of_route_is_listed_as_it_was_set() {
    if !can_run("every_kind_of_route_is_listed_as_it_was_set") {
        return;
    }
    let mut pair = Pair::new();
    let index = pair.index;
    let mut wanted = vec![
        ours(&pair, "10.1.0.0/16", "10.0.0.2"),
        ours(&pair, "10.1.0.0/16", "10.0.0.2").metric(50),
        ours(&pair, "0.0.0.0/0", "169.254.1.1").onlink(),
        ours(&pair, "10.2.0.0/16", "fd00::2"),
        Route::to(net("10.3.0.0/16")).device(index).protocol(OURS),
        Route {
            mtu: Some(1400),
            advmss: Some(1300),
            source: Some(ip("10.0.0.1")),
            ..ours(&pair, "10.4.0.0/16", "10.0.0.2")
        },
        ours(&pair, "10.5.0.0/16", "10.0.0.2").table(1234),
        Route::to(net("10.6.0.0/16")).protocol(OURS).kind(RouteKind::Blackhole),
        Route::to(net("10.7.0.0/16")).protocol(OURS).kind(RouteKind::Unreachable),
        Route {
            further: vec![NextHop {
                via: Some(ip("10.0.0.3")),
                device: Some(index),
                onlink: false,
                weight: 3,
            }],
            weight: 2,
            ..ours(&pair, "10.8.0.0/16", "10.0.0.2")
        },
        ours(&pair, "fd01::/64", "fd00::2"),
        ours(&pair, "fd01::/64", "fd00::2").metric(50),
        ours(&pair, "::/0", "fe80::1").onlink(),
        Route::to(net("fd03::1/128")).device(index).protocol(OURS),
        Route {
            mtu: Some(1400),
            source: Some(ip("fd00::1")),
            ..ours(&pair, "fd04::/64", "fd00::2")
        },
        ours(&pair, "fd05::/64", "fd00::2").table(1234),
        Route::to(net("fd06::/64")).protocol(OURS).kind(RouteKind::Blackhole),
        Route::to(net("fd07::/64")).protocol(OURS).kind(RouteKind::Unreachable),
    ];
    for route in &wanted {
        pair.one.netlink.add_route(route).unwrap_or_else(|e| panic!("{e}"));
        let again = pair.one.netlink.add_route(route).expect_err("it is there");
        assert!(again.is_exists(), "{again}");
        pair.one.netlink.set_route(route).unwrap_or_else(|e| panic!("{e}"));
    }
    wanted = wanted.into_iter().map(Route::completed).collect();
    wanted.sort_by_key(Route::key);
    assert_eq!(all_of_ours(&mut pair), wanted);

    // The filters, which the kernel applies, and we again.
    let count = |pair: &mut Pair, filter| pair.one.netlink.routes(&filter).expect("a list").len();
    let ours = RouteFilter { protocol: Some(OURS), ..ANY };
    assert_eq!(count(&mut pair, RouteFilter { family: Some(Family::V4), ..ours }), 10);
    assert_eq!(count(&mut pair, RouteFilter { family: Some(Family::V6), ..ours }), 8);
    assert_eq!(count(&mut pair, RouteFilter { table: Some(1234), ..ANY }), 2);
    assert_eq!(count(&mut pair, RouteFilter { table: Some(4321), ..ANY }), 0, "no such table");
    assert_eq!(count(&mut pair, RouteFilter { device: Some(index), ..ours }), 14);
    assert_eq!(count(&mut pair, RouteFilter { device: Some(1), ..ours }), 0);
    assert!(count(&mut pair, ANY) > wanted.len());
    let error = pair.one.netlink.routes(&RouteFilter { device: Some(99), ..ANY });
    assert!(error.expect_err("no such link").is_not_found());

    // From the highest metric: an IPv4 metric of 0 stands for any.
    for route in wanted.iter().rev() {
        assert!(pair.one.netlink.delete_route(route).unwrap_or_else(|e| panic!("{e}")), "{route}");
        assert!(!pair.one.netlink.delete_route(route).unwrap_or_else(|e| panic!("{e}")), "{route}");
    }
    assert_eq!(all_of_ours(&mut pair), []);
}

#[test]
fn setting_replaces_and_deleting_is_choosy() {
    if !can_run("setting_replaces_and_deleting_is_choosy") {
        return;
    }
    let mut pair = Pair::new();
    for (destination, routers) in
        [("10.1.0.0/16", ["10.0.0.2", "10.0.0.3"]), ("fd01::/64", ["fd00::2", "fd00::3"])]
    {
        for router in routers {
            let route = ours(&pair, destination, router);
            pair.one.netlink.set_route(&route).expect("set");
            assert_eq!(all_of_ours(&mut pair), [route.completed()]);
        }
        let old = ours(&pair, destination, routers[0]);
        assert!(!pair.one.netlink.delete_route(&old).expect("another router"));
        assert!(!pair.one.netlink.delete_route(&old.clone().metric(7)).expect("another metric"));
        // Without a router, whichever it has.
        let any = Route::to(net(destination)).protocol(OURS);
        assert!(pair.one.netlink.delete_route(&any).expect("deleted"));

        // Another's route to the same destination is never deleted.
        let foreign = old.clone().protocol(3);
        pair.one.netlink.add_route(&foreign).expect("added");
        assert!(!pair.one.netlink.delete_route(&old).expect("none of ours"));
        assert!(!pair.one.netlink.delete_route(&any).expect("none of ours"));
        let filter = RouteFilter { protocol: Some(3), ..ANY };
        assert_eq!(
            pair.one.netlink.routes(&filter).expect("a list"),
            [foreign.clone().completed()]
        );
        assert!(pair.one.netlink.delete_route(&foreign).expect("deleted"));
    }
}

#[test]
fn refusals_say_what_and_why() {
    if !can_run("routes::refusals_say_what_and_why") {
        return;
    }
    let mut pair = Pair::new();
    let mut refused = |route: Route| pair.one.netlink.add_route(&route).expect_err("refused");
    let error = refused(Route::to(net("10.1.0.0/16")).via(ip("192.0.2.1")));
    assert_eq!(
        error.to_string(),
        "cannot add the route 10.1.0.0/16 via 192.0.2.1 protocol 4: Network is unreachable (Nexthop \
         has invalid gateway)"
    );
    let error = refused(Route::to(net("fd01::/64")).via(ip("2001:db8::1")));
    assert!(
        error.to_string().starts_with("cannot add the route fd01::/64 via 2001:db8::1 "),
        "{error}"
    );
    let error = refused(Route::to(net("10.1.0.0/16")).device(99));
    assert!(error.is_not_found(), "{error}");
    let error = refused(Route::to(net("10.1.0.1/16")).device(1));
    assert_eq!(
        error.to_string(),
        "cannot add the route 10.1.0.1/16 over link 1 protocol 4: it has host bits set; 10.1.0.0/16 \
         would be right"
    );
}

#[test]
fn five_thousand_routes_and_some_bad_ones() {
    if !can_run("five_thousand_routes_and_some_bad_ones") {
        return;
    }
    let mut pair = Pair::new();
    let route = |pair: &Pair, n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        if n.is_multiple_of(2) {
            ours(pair, &format!("10.{}.{low}.0/24", 100 + high), "10.0.0.2")
        } else {
            ours(pair, &format!("fd01:{high:x}:{low:x}::/48"), "fd00::2")
        }
    };
    let mut changes: Vec<RouteChange> =
        (0..5_000).map(|n| RouteChange::Set(route(&pair, n))).collect();
    // One that the kernel refuses, and one that is not even sent.
    changes.insert(2_500, RouteChange::Add(Route::to(net("10.1.0.0/16")).via(ip("192.0.2.1"))));
    changes.insert(4_000, RouteChange::Add(Route::to(net("10.1.2.3/16")).device(1)));
    let start = Instant::now();
    let results = pair.one.netlink.change_routes(&changes).expect("answers");
    let added = start.elapsed();
    let bad: Vec<(usize, String)> = results
        .iter()
        .enumerate()
        .filter_map(|(at, result)| Some((at, result.as_ref().err()?.to_string())))
        .collect();
    assert_eq!(results.len(), 5_002);
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].0 == 2_500 && bad[0].1.contains("10.1.0.0/16 via 192.0.2.1"), "{bad:?}");
    assert!(bad[1].0 == 4_000 && bad[1].1.contains("host bits"), "{bad:?}");

    let start = Instant::now();
    let found = all_of_ours(&mut pair);
    let listed = start.elapsed();
    let mut wanted: Vec<Route> = (0..5_000).map(|n| route(&pair, n).completed()).collect();
    wanted.sort_by_key(Route::key);
    assert!(found == wanted, "{} routes instead of {}", found.len(), wanted.len());

    // Adding what is there fails each time, deleting what is gone does not.
    let again: Vec<RouteChange> = (0..300).map(|n| RouteChange::Add(route(&pair, n))).collect();
    let results = pair.one.netlink.change_routes(&again).expect("answers");
    assert!(results.iter().all(|r| r.as_ref().is_err_and(kernel::Error::is_exists)));
    let gone: Vec<RouteChange> = (0..5_000).map(|n| RouteChange::Delete(route(&pair, n))).collect();
    let start = Instant::now();
    for _ in 0..2 {
        let results = pair.one.netlink.change_routes(&gone).expect("answers");
        assert!(results.iter().all(Result::is_ok));
    }
    let deleted = start.elapsed();
    assert_eq!(all_of_ours(&mut pair), []);
    assert!(pair.one.netlink.change_routes(&[]).expect("nothing").is_empty());
    eprintln!("5,000 routes: set in {added:?}, listed in {listed:?}, deleted twice in {deleted:?}");
}

#[test]
fn the_metric_of_ipv6_is_never_0() {
    if !can_run("the_metric_of_ipv6_is_never_0") {
        return;
    }
    let mut pair = Pair::new();
    let route = ours(&pair, "fd01::/64", "fd00::2");
    pair.one.netlink.add_route(&route).expect("added");
    assert_eq!(all_of_ours(&mut pair).first().map(|r| r.metric), Some(IPV6_METRIC));
    let same = route.metric(IPV6_METRIC);
    assert!(pair.one.netlink.add_route(&same).expect_err("the same").is_exists());
}
