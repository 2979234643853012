//! The end of a connection: VPP is told, because it may not notice.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use support::vpp::{Setup, Vpp};
use support::wait_until;
use vpp_api::msg::{FibSource, IpRouteAddDelV2, IpTableAddDel};
use vpp_api::types::RouteV2;
use vpp_api::{Client, Family, FibPath, Prefix, Table};

use super::{connect, options, real};

#[test]
fn who_goes_takes_leave() {
    let vpp = Vpp::start(Setup::default());
    let mut client = connect(&vpp);
    client.want_interface_events().unwrap();
    client.ping().unwrap();
    // Events that were not taken are no hindrance.
    vpp.set_link("GigabitEthernet0/4/0", false);
    client.reconnect().unwrap();
    client.ping().unwrap();
    drop(client);
    drop(connect(&vpp));
    wait_until("all are gone", || vpp.clients() == 0);
    assert_eq!(vpp.silent_ends(), 0);
    assert_eq!(vpp.complaints(), [""; 0]);
}

/// It is told, and not waited for: it finds that when it goes on.
#[test]
fn a_hung_vpp_is_told_also() {
    let vpp = Vpp::start(Setup::default());
    let client = connect(&vpp);
    vpp.hang();
    drop(client);
    assert_eq!(vpp.clients(), 1);
    vpp.go_on();
    wait_until("it is gone", || vpp.clients() == 0);
    assert_eq!(vpp.silent_ends(), 0);
}

#[test]
fn who_has_no_time_left_takes_leave_also() {
    let vpp = Vpp::start(Setup::default());
    let mut client = connect(&vpp);
    client.set_until(Some(Instant::now()));
    drop(client);
    wait_until("it is gone", || vpp.clients() == 0);
    assert_eq!(vpp.silent_ends(), 0);
}

/// One who does not listen makes VPP notice who is gone.
#[test]
fn who_ended_without_a_word_is_noticed_when_vpp_is_roused() {
    let vpp = Vpp::start(Setup::default());
    for _ in 0..3 {
        drop(UnixStream::connect(vpp.path()).unwrap());
    }
    wait_until("three are gone", || vpp.silent_ends() == 3);
    Client::rouse(vpp.path(), &options()).unwrap();
    wait_until("they are noticed", || vpp.silent_ends() == 0);
    vpp.settle();
    assert_eq!(vpp.silent_ends(), 0);
    assert_eq!(vpp.complaints(), [""; 0]);
    let away = Client::rouse("/nonexistent/api.sock".as_ref(), &options()).unwrap_err();
    assert!(away.is_away(), "{away}");
}

/// A dump that does not fit into a socket makes VPP wait for its client; whoever ends without a word behind that is
/// not noticed by VPP 26.02. Run it with `VPP_API_SOCK=/run/vpp/api.sock`: it makes table 4177, and deletes it.
#[test]
fn a_real_vpp_outlives_who_comes_and_goes() {
    const ROUTES: u32 = 3000;
    let Some(socket) = real::socket("leave::a_real_vpp_outlives_who_comes_and_goes") else {
        return;
    };
    let mut client = Client::connect(&socket, &options()).unwrap();
    let table = Table::new(4177, Family::V4);
    client.add_table(&table).unwrap();
    let route = |n: u32| {
        let address = Ipv4Addr::from_bits(0x0a00_0000 | (n << 8));
        let prefix = Prefix::new(address.into(), 24).unwrap();
        RouteV2::new(FibSource::API, 4177, prefix, vec![FibPath::dropped(Family::V4)])
    };
    let routes: Vec<RouteV2> = (0..ROUTES).map(route).collect();
    let adds: Vec<_> = routes.iter().cloned().map(IpRouteAddDelV2::add).collect();
    assert!(client.change_routes(&adds).unwrap().is_empty());
    for _ in 0..20 {
        let mut other = Client::connect(&socket, &options()).unwrap();
        let listed = other.routes(FibSource::API, 4177, Family::V4).unwrap();
        assert_eq!(listed.len(), routes.len());
    }
    let delete = |route: &RouteV2| IpRouteAddDelV2::delete(FibSource::API, 4177, route.prefix);
    let deletes: Vec<_> = routes.iter().map(delete).collect();
    assert!(client.change_routes(&deletes).unwrap().is_empty());
    client.call(&IpTableAddDel { is_add: false, table }).unwrap();
}
