//! Events.

use std::time::Duration;

use support::wait_until;
use vpp_api::types::EventFlags;
use vpp_api::{Event, IfIndex, msg};

use super::{Bench, connect, refusal};

const NOW: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(60);

fn interface(event: Option<Event>) -> (IfIndex, EventFlags, bool) {
    match event {
        Some(Event::Interface(event)) => {
            assert_eq!(event.pid, std::process::id());
            (event.sw_if_index, event.flags, event.deleted)
        }
        other => panic!("{other:?}"),
    }
}

/// They come between answers, and are no answers: there is no context in them.
#[test]
fn events_between_answers_are_kept() {
    let mut bench = Bench::new();
    bench.client.want_interface_events().unwrap();
    bench.client.want_interface_events().expect("again is no error");
    let loopback = bench.loopback();
    bench.client.set_up(loopback, true).unwrap();
    bench.client.set_up(loopback, true).unwrap();
    bench.client.call(&msg::DeleteLoopback { sw_if_index: loopback }).unwrap();
    let up = EventFlags(EventFlags::ADMIN_UP.0 | EventFlags::LINK_UP.0);
    for wanted in [
        (loopback, EventFlags::NONE, false),
        (loopback, up, false),
        (loopback, EventFlags::NONE, true),
    ] {
        assert_eq!(interface(bench.client.next_event(NOW).unwrap()), wanted);
    }
    assert_eq!(bench.client.next_event(NOW).unwrap(), None);
    bench.client.ping().expect("waiting in vain is no failure");
}

#[test]
fn an_event_is_waited_for() {
    let mut bench = Bench::new();
    let mut watcher = connect(&bench.vpp);
    watcher.want_interface_events().unwrap();
    bench.client.set_up(IfIndex(1), true).unwrap();
    let (index, ..) = interface(watcher.next_event(SOON).unwrap());
    assert_eq!(index, IfIndex(1));
    bench.vpp.set_link("GigabitEthernet0/4/0", false);
    assert_eq!(interface(watcher.next_event(SOON).unwrap()), (IfIndex(1), EventFlags::NONE, false));
    assert_eq!(bench.client.next_event(NOW).unwrap(), None, "who did not ask is not told");
}

#[test]
fn a_second_subscription_is_refused_by_vpp() {
    let mut bench = Bench::new();
    let want = msg::WantInterfaceEvents { enable_disable: 1, pid: 1 };
    bench.client.call(&want).unwrap();
    assert_eq!(refusal(bench.client.call(&want)), -31);
}

#[test]
fn who_waits_for_events_learns_that_vpp_has_ended() {
    let mut bench = Bench::new();
    bench.client.want_interface_events().unwrap();
    bench.vpp.restart();
    let error = bench.client.next_event(SOON).unwrap_err();
    assert!(error.is_away(), "{error}");
    assert!(!bench.client.is_connected());
    bench.client.reconnect().unwrap();
    bench.client.set_up(IfIndex(1), true).unwrap();
    assert_eq!(bench.client.next_event(NOW).unwrap(), None, "it is to be asked for again");
}

#[test]
fn who_only_looks_learns_that_vpp_has_ended() {
    let mut bench = Bench::new();
    assert_eq!(bench.client.next_event(Duration::ZERO).unwrap(), None);
    bench.vpp.restart();
    wait_until("it is seen", || bench.client.next_event(Duration::ZERO).is_err());
    assert!(!bench.client.is_connected());
}
