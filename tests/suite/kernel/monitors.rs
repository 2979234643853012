//! What others change is heard.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kernel::{Event, Groups, Monitor, Route, RouteChange, RouteFilter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

const ENOUGH: Duration = Duration::from_secs(60);

/// The first event that is wanted; others come between.
fn heard(monitor: &mut Monitor, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + ENOUGH;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match monitor.next(left).expect("no failure") {
            Some(event) if wanted(&event) => return event,
            Some(_) => (),
            None => panic!("nothing heard of {what}"),
        }
    }
}

#[test]
fn every_change_is_heard() {
    if !can_run("every_change_is_heard") {
        return;
    }
    let mut pair = Pair::new();
    let index = pair.index;
    let mut monitor = Monitor::open_in(&pair.one.namespace, Groups::ALL).expect("a monitor");
    let netlink = &mut pair.one.netlink;

    netlink.set_address(index, net("10.7.0.1/24")).expect("set");
    heard(
        &mut monitor,
        "the address",
        |e| matches!(e, Event::AddressSet(a) if a.address == net("10.7.0.1/24") && a.index == index),
    );
    netlink.delete_address(index, net("10.7.0.1/24")).expect("taken");
    heard(
        &mut monitor,
        "its end",
        |e| matches!(e, Event::AddressGone(a) if a.address == net("10.7.0.1/24")),
    );
    for (destination, router) in [("10.1.0.0/16", "10.0.0.2"), ("fd01::/64", "fd00::2")] {
        let route = Route::to(net(destination)).via(ip(router)).device(index).protocol(205);
        netlink.add_route(&route).expect("added");
        let route = route.completed();
        heard(&mut monitor, "the route", |e| *e == Event::RouteSet(route.clone()));
        netlink.delete_route(&route).expect("deleted");
        heard(&mut monitor, "its end", |e| *e == Event::RouteGone(route.clone()));
    }
    netlink.set_neighbor(index, ip("10.0.0.9"), mac(9)).expect("set");
    heard(
        &mut monitor,
        "the neighbour",
        |e| matches!(e, Event::NeighborSet(n) if n.address == ip("10.0.0.9") && n.mac == Some(mac(9))),
    );
    let change = LinkChange { mtu: Some(1400), ..LinkChange::default() };
    netlink.change_link(index, &change).expect("changed");
    heard(
        &mut monitor,
        "the MTU",
        |e| matches!(e, Event::LinkSet(l) if l.index == index && l.mtu == 1400),
    );
    netlink.delete_link(index).expect("deleted");
    heard(
        &mut monitor,
        "the link's end",
        |e| matches!(e, Event::LinkGone(l) if l.index == index && l.name == "one"),
    );
}

#[test]
fn a_link_that_goes_down_takes_its_routes_along() {
    if !can_run("a_link_that_goes_down_takes_its_routes_along") {
        return;
    }
    let mut pair = Pair::new();
    let index = pair.index;
    let routes = [("10.1.0.0/16", "10.0.0.2"), ("fd01::/64", "fd00::2")]
        .map(|(to, via)| Route::to(net(to)).via(ip(via)).device(index).protocol(205).completed());
    for route in &routes {
        pair.one.netlink.add_route(route).expect("added");
    }
    let mut monitor = Monitor::open_in(&pair.one.namespace, Groups::ALL).expect("a monitor");
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    pair.one.netlink.change_link(index, &down).expect("down");
    // Only IPv6 tells of each route. The kernel's order is its own affair.
    let down = |e: &Event| matches!(e, Event::LinkSet(l) if l.index == index && !l.up);
    let gone = |e: &Event| *e == Event::RouteGone(routes[1].clone());
    let first = heard(&mut monitor, "the link or the route", |e| down(e) || gone(e));
    let was_link = down(&first);
    heard(&mut monitor, "the other", |e| if was_link { gone(e) } else { down(e) });
    let filter = RouteFilter { protocol: Some(205), ..RouteFilter::default() };
    assert_eq!(pair.one.netlink.routes(&filter).expect("a list"), []);
}

#[test]
fn only_what_is_asked_for_and_only_there() {
    if !can_run("only_what_is_asked_for_and_only_there") {
        return;
    }
    let mut pair = Pair::new();
    let groups = Groups { routes: true, ..Groups::default() };
    let mut here = Monitor::open_in(&pair.one.namespace, groups).expect("a monitor");
    let mut there = Monitor::open_in(&pair.two.namespace, groups).expect("a monitor");
    pair.one.netlink.set_neighbor(pair.index, ip("10.0.0.9"), mac(9)).expect("set");
    let route = Route::to(net("10.1.0.0/16")).via(ip("10.0.0.2")).device(pair.index);
    pair.one.netlink.add_route(&route).expect("added");
    let mut fds = [PollFd::new(&here, PollFlags::IN)];
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&patience)).expect("no failure"), 1, "{:?}", here.as_fd());
    let route = Event::RouteSet(route.completed());
    // IPv6 makes routes of its own meanwhile.
    let mut last = None;
    while last.as_ref() != Some(&route) {
        last = here.next(ENOUGH).expect("no failure");
        assert!(matches!(last, Some(Event::RouteSet(_) | Event::RouteGone(_))), "{last:?}");
    }
    while let Some(event) = there.next(Duration::ZERO).expect("no failure") {
        assert_ne!(event, route, "it is of the other namespace");
        assert!(matches!(event, Event::RouteSet(_) | Event::RouteGone(_)), "{event:?}");
    }
}

#[test]
fn what_is_lost_is_told() {
    if !can_run("what_is_lost_is_told") {
        return;
    }
    let mut pair = Pair::new();
    let groups = Groups { routes: true, ..Groups::default() };
    let mut monitor = Monitor::open_in(&pair.one.namespace, groups).expect("a monitor");
    // The smallest buffer that there is.
    rustix::net::sockopt::set_socket_recv_buffer_size(monitor.as_fd(), 1).expect("set");
    let changes: Vec<RouteChange> = (0..200)
        .map(|n| Route::to(net(&format!("10.1.{n}.0/24"))).device(pair.index))
        .map(RouteChange::Add)
        .collect();
    let results = pair.one.netlink.change_routes(&changes).expect("answers");
    assert!(results.iter().all(Result::is_ok));
    heard(&mut monitor, "a loss", |e| *e == Event::Lost);
    // It goes on after that.
    while monitor.next(Duration::ZERO).expect("no failure").is_some() {}
    let RouteChange::Add(first) = changes[0].clone() else { unreachable!() };
    pair.one.netlink.delete_route(&first).expect("deleted");
    heard(&mut monitor, "a route's end", |e| *e == Event::RouteGone(first.clone().completed()));
}
