use proptest::prelude::*;

use super::*;
use crate::wire::{self, Frames};

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn written_and_read(route: &Route) -> Route {
    let mut bytes = Vec::new();
    wire::append(&mut bytes, message::new(route), 0, 1);
    read(&Frames::of(&bytes).next().expect("one")).expect("readable")
}

#[test]
fn scopes_are_those_that_ip_chooses() {
    let plain = Route::to(net("10.0.0.0/8"));
    let cases = [
        (plain.clone().via(ip("10.0.0.1")), 0),
        (plain.clone().device(3), 253),
        (plain.clone().kind(RouteKind::Local), 254),
        (plain.clone().kind(RouteKind::Blackhole), 0),
        (Route { scope: Some(200), ..plain.device(3) }, 200),
        (Route::to(net("fd00::/8")).device(3), 0),
    ];
    for (route, scope) in cases {
        assert_eq!(route.clone().completed().scope, Some(scope), "{route}");
    }
    assert_eq!(Route::to(net("::/0")).completed().metric, 1024);
    assert_eq!(Route::to(net("::/0")).key(), Route::to(net("::/0")).metric(1024).key());
    assert_ne!(Route::to(net("0.0.0.0/0")).key(), Route::to(net("0.0.0.0/0")).metric(1024).key());
}

#[test]
fn what_cannot_be_is_not_sent() {
    let cases = [
        (Route::to(net("10.1.2.3/24")).device(1), "10.1.2.0/24 would be right"),
        (Route::to(net("fd00::/8")).via(ip("10.0.0.1")), "no IPv4 router"),
        (Route::to(net("10.0.0.0/8")).via(ip("10.0.0.1")).onlink(), "needs a router and a device"),
        (Route { source: Some(ip("::1")), ..Route::to(net("10.0.0.0/8")) }, "other family"),
    ];
    for (route, text) in cases {
        let error = RouteChange::Add(route).request().err().expect("refused").to_string();
        assert!(error.starts_with("cannot add the route ") && error.contains(text), "{error}");
    }
}

#[test]
fn in_words() {
    let route = Route {
        further: vec![NextHop { via: Some(ip("10.0.0.2")), ..NextHop::default() }],
        ..Route::to(net("10.0.0.0/8")).via(ip("10.0.0.1")).device(3).onlink().metric(5).table(7)
    };
    assert_eq!(
        route.to_string(),
        "10.0.0.0/8 via 10.0.0.1 over link 3 onlink and via 10.0.0.2 table 7 metric 5 protocol 4"
    );
    assert_eq!(
        Route::to(net("::/0")).kind(RouteKind::Unreachable).to_string(),
        "unreachable ::/0 protocol 4"
    );
}

#[test]
fn filters() {
    let route = Route {
        further: vec![NextHop { device: Some(9), ..NextHop::default() }],
        ..Route::to(net("10.0.0.0/8")).device(3)
    };
    let all = RouteFilter::default();
    for (filter, has) in [
        (all, true),
        (RouteFilter { family: Some(Family::V6), ..all }, false),
        (RouteFilter { table: Some(254), protocol: Some(4), ..all }, true),
        (RouteFilter { table: Some(255), ..all }, false),
        (RouteFilter { protocol: Some(2), ..all }, false),
        (RouteFilter { device: Some(3), ..all }, true),
        (RouteFilter { device: Some(9), ..all }, true),
        (RouteFilter { device: Some(4), ..all }, false),
    ] {
        assert_eq!(filter.has(&route), has, "{filter:?}");
    }
}

fn addresses(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
    } else {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    }
}

prop_compose! {
    fn hops(v6: bool)(
        via in proptest::option::of(addresses(v6)), device in 1_u32..99, onlink: bool, weight in 1_u16..=256,
    ) -> NextHop {
        NextHop { via, device: Some(device), onlink: onlink && via.is_some(), weight }
    }
}

fn routes() -> impl Strategy<Value = Route> {
    any::<bool>().prop_flat_map(|v6| {
        (
            (addresses(v6), 0_u8..=32, hops(v6), proptest::collection::vec(hops(v6), 0..3)),
            (1_u32.., any::<u8>(), 1_u32.., proptest::option::of(addresses(v6))),
            (proptest::option::of(any::<u32>()), proptest::option::of(any::<u32>()), any::<u8>()),
        )
            .prop_map(
                |(
                    (address, length, hop, further),
                    (table, protocol, metric, source),
                    (mtu, advmss, scope),
                )| {
                    let weight = if further.is_empty() { 1 } else { hop.weight };
                    Route {
                        destination: IpNet::new(address, length).expect("short enough").trunc(),
                        via: hop.via,
                        device: hop.device,
                        onlink: hop.onlink,
                        further,
                        weight,
                        table,
                        protocol,
                        metric,
                        scope: Some(scope),
                        kind: RouteKind::Unicast,
                        mtu,
                        advmss,
                        source,
                    }
                },
            )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(route in routes()) {
        prop_assert_eq!(route.checked(), Ok(()));
        prop_assert_eq!(written_and_read(&route), route);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..120), family in 0_usize..3) {
        let mut body = body;
        if let Some(first) = body.first_mut() {
            *first = [2, 10, 7].get(family).copied().unwrap_or(2);
        }
        let frame = wire::Frame { kind: NEW, flags: 0, sequence: 0, body: &body };
        let _ = read(&frame);
        let _ = crate::link::read(&frame);
        let _ = crate::address::read(&frame);
        let _ = crate::neighbor::read(&frame);
    }
}
