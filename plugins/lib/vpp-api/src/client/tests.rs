use std::path::Path;
use std::time::Duration;

use super::*;
use crate::types::{EventFlags, IfIndex};

#[test]
fn events_are_told_by_number_and_kept_up_to_a_bound() {
    let event = SwInterfaceEvent {
        pid: 1,
        sw_if_index: IfIndex(7),
        flags: EventFlags::NONE,
        deleted: true,
    };
    let mut message = Vec::new();
    77u16.write(&mut message);
    0x8000_0001u32.write(&mut message);
    event.write(&mut message);
    assert_eq!(read_event(Some(77), &message), Some(Event::Interface(event)));
    assert_eq!(read_event(Some(78), &message), None);
    assert_eq!(read_event(None, &message), None);
    assert_eq!(read_event(Some(77), &message[..12]), None);

    let mut events = VecDeque::new();
    for _ in 0..EVENTS + 10 {
        keep(&mut events, read_event(Some(77), &message));
    }
    assert_eq!(events.len(), EVENTS);
    assert_eq!(events.back(), Some(&Event::Missed));
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let path = Path::new("/nonexistent/api.sock");
    let error = Client::connect(path, &Options::new("test")).unwrap_err();
    let text = "cannot connect to VPP at /nonexistent/api.sock: No such file or directory";
    assert!(error.to_string().starts_with(text), "{error}");
    assert!(error.is_away());
}

#[test]
fn patience_ends() {
    let mut options = Options::new("test");
    options.patience = Duration::from_millis(60);
    let started = Instant::now();
    let error = Client::connect("/nonexistent/api.sock".as_ref(), &options).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(started.elapsed() >= options.patience);
}

#[test]
fn no_time_is_too_long() {
    for time in [Duration::ZERO, Duration::from_secs(5), Duration::MAX] {
        assert!(after(time) >= Instant::now() - Duration::from_secs(1), "{time:?}");
    }
    let options = Options { timeout: Duration::MAX, ..Options::new("test") };
    assert!(options.deadline() > Instant::now());
}
