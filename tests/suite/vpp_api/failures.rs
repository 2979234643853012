//! VPP that is slow, hangs, dies, is gone, or is no VPP.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use support::vpp::{Setup, Trouble, Vpp};
use support::{Scratch, wait_until};
use vpp_api::{Client, Error, IfIndex, Options, Retval, msg};

use super::{Bench, connect, options, refusal};

/// Long enough to be waited out on any machine, short enough for a test.
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_hung_vpp_is_left_at_the_deadline_and_the_stream_is_not_used_again() {
    let mut bench = Bench::new();
    bench.client.set_timeout(SHORT);
    bench.vpp.hang();
    let started = Instant::now();
    let error = bench.client.version().unwrap_err();
    assert!(matches!(error, Error::Timeout { during: "show_version", .. }), "{error}");
    assert!(started.elapsed() >= SHORT);
    assert!(error.to_string().ends_with("has not answered show_version within 200ms"), "{error}");
    // The late answer would be taken for the next one's.
    bench.vpp.go_on();
    let error = bench.client.ping().unwrap_err();
    assert!(matches!(error, Error::GivenUp { .. }), "{error}");
    bench.client.set_timeout(options().timeout);
    bench.client.reconnect().unwrap();
    assert_eq!(bench.client.ping().unwrap(), bench.vpp.pid());
    wait_until("the old connection is closed", || bench.vpp.clients() == 1);
}

#[test]
fn a_hung_vpp_does_not_hold_up_who_connects() {
    let vpp = Vpp::start(Setup::default());
    vpp.hang();
    let hasty = Options { timeout: SHORT, ..options() };
    wait_until("the handshake is waited for", || match Client::connect(vpp.path(), &hasty) {
        Err(Error::Timeout { during, .. }) => during == "sockclnt_create",
        other => panic!("{:?}", other.err()),
    });
    vpp.go_on();
}

/// VPP's queue of connections is short: where it hangs and the queue is full, connecting itself takes for
/// ever.
#[test]
fn a_full_queue_of_connections_does_not_hold_up_who_connects() {
    let scratch = Scratch::new("queue");
    let path = scratch.path().join("api.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // A connection that is closed again keeps its place in the queue. Ends when nobody listens any more.
    let to_fill = path.clone();
    let filling = thread::spawn(move || while UnixStream::connect(&to_fill).is_ok() {});
    let hasty = Options { timeout: Duration::from_millis(50), ..options() };
    wait_until("the queue is full", || match Client::connect(&path, &hasty).unwrap_err() {
        Error::Timeout { during, .. } => during == "connect",
        other => panic!("{other}"),
    });
    drop(listener);
    filling.join().unwrap();
}

#[test]
fn silence_is_the_answer_to_what_vpp_ignores() {
    let mut bench = Bench::new();
    bench.client.set_timeout(SHORT);
    bench.vpp.plan("show_version", Trouble::Ignore);
    assert!(matches!(bench.client.version(), Err(Error::Timeout { .. })));
}

#[test]
fn a_slow_vpp_is_waited_for() {
    let mut bench = Bench::new();
    bench.vpp.plan("show_version", Trouble::Busy(SHORT));
    assert!(bench.client.version().is_ok());
    bench.vpp.slow_down(Duration::from_millis(20));
    let started = Instant::now();
    bench.client.interfaces().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(40), "the dump, and the ping behind it");
}

#[test]
fn nothing_is_waited_for_beyond_the_end_of_all() {
    let mut bench = Bench::new();
    bench.client.set_until(Some(Instant::now() + SHORT));
    bench.vpp.hang();
    let started = Instant::now();
    assert!(matches!(bench.client.ping(), Err(Error::Timeout { .. })));
    assert!(started.elapsed() < options().timeout);
    assert!(matches!(bench.client.reconnect(), Err(Error::Timeout { .. })));
    bench.vpp.go_on();
}

#[test]
fn a_restart_breaks_the_connection_and_takes_all_state() {
    let mut bench = Bench::new();
    let (pid, loopback) = (bench.client.ping().unwrap(), bench.loopback());
    bench.vpp.restart();
    let error = bench.client.set_up(loopback, true).unwrap_err();
    assert!(matches!(error, Error::Lost { during: "sw_interface_set_flags", .. }), "{error}");
    assert!(error.is_away());
    bench.client.reconnect().unwrap();
    assert_ne!(bench.client.ping().unwrap(), pid);
    // Numbers of messages are others now, and are learned again.
    assert_eq!(bench.client.interfaces().unwrap().len(), 2);
    assert_eq!(refusal(bench.client.set_up(loopback, true)), -2);
}

#[test]
fn a_dead_vpp_leaves_a_socket_with_nobody_behind_it() {
    let mut vpp = Vpp::start(Setup::default());
    vpp.kill();
    assert!(vpp.path().exists());
    let error = Client::connect(vpp.path(), &options()).unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
    // With patience the start is waited for.
    let patient = Options { patience: Duration::from_secs(60), ..options() };
    let path = vpp.path().to_owned();
    let waiting = thread::spawn(move || Client::connect(&path, &patient)?.ping());
    thread::sleep(Duration::from_millis(50));
    vpp.start_again();
    assert_eq!(waiting.join().unwrap().unwrap(), vpp.pid());
}

#[test]
fn a_vpp_that_dies_at_a_message_is_lost() {
    for trouble in [Trouble::DieBefore, Trouble::DieAfter, Trouble::DieAnswering] {
        let mut bench = Bench::new();
        bench.vpp.plan("create_loopback_instance", trouble.clone());
        let error = bench.client.create_loopback(None, None).unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{trouble:?}: {error}");
        wait_until("nobody listens", || {
            matches!(bench.client.reconnect(), Err(Error::Connect { .. }))
        });
        bench.vpp.start_again();
        bench.client.reconnect().unwrap();
        bench.loopback();
    }
}

/// For whoever tests what happens when VPP dies at each step.
#[test]
fn a_vpp_can_be_made_to_die_at_any_step() {
    for step in 0..3 {
        let mut bench = Bench::new();
        bench.vpp.plan_after(None, step, 1, Trouble::DieAfter);
        let mut done = 0;
        while bench.client.version().is_ok() {
            done += 1;
        }
        assert_eq!(done, step);
    }
}

#[test]
fn a_planned_refusal_is_told_and_nothing_is_done() {
    let mut bench = Bench::new();
    bench.vpp.plan("create_loopback_instance", Trouble::Refuse(-13));
    let error = bench.client.create_loopback(None, None).unwrap_err();
    assert_eq!(error.to_string(), "create_loopback_instance: VPP -13: system call error #3");
    assert_eq!(error.retval(), Some(Retval(-13)));
    assert_eq!(bench.client.interfaces().unwrap().len(), 2);
}

#[test]
fn an_answer_that_cannot_be_read_is_named() {
    let mut bench = Bench::new();
    bench.vpp.plan("show_version", Trouble::ShortAnswer);
    let error = bench.client.version().unwrap_err();
    assert!(matches!(error, Error::Malformed { message: "show_version_reply", .. }), "{error}");
    bench.vpp.plan("sw_interface_dump", Trouble::ShortAnswer);
    let error = bench.client.interfaces().unwrap_err();
    assert!(matches!(error, Error::Malformed { message: "sw_interface_details", .. }), "{error}");
    bench.client.ping().expect("messages still begin where they should");
}

/// A client that is not known is answered by silence: its index is from another connection.
#[test]
fn two_clients_do_not_disturb_each_other() {
    let mut bench = Bench::new();
    let mut other = connect(&bench.vpp);
    for _ in 0..20 {
        bench.client.set_up(IfIndex(1), true).unwrap();
        assert_eq!(other.interfaces().unwrap().len(), 2);
        other.call(&msg::ControlPing {}).unwrap();
    }
    drop(other);
    wait_until("it is forgotten", || bench.vpp.clients() == 1);
}

/// Somebody who answers this to whatever is said.
fn impostor(answer: Vec<u8>) -> (Scratch, thread::JoinHandle<()>) {
    let scratch = Scratch::new("impostor");
    let listener = UnixListener::bind(scratch.path().join("api.sock")).unwrap();
    let answering = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 1024]);
        let _ = socket.write_all(&answer);
    });
    (scratch, answering)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[8..12].copy_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

#[test]
fn who_is_no_vpp_is_told_so() {
    let refused = [&[0, 16][..], &[0; 8], &[0xff; 4], &[0; 6]].concat();
    for (answer, text) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "is no VPP: it sends a message of 540291120 bytes",
        ),
        (framed(&[0, 99, 0, 0]), "is no VPP: it answers the handshake with message 99"),
        (framed(&[0, 16, 0, 0]), "is no VPP: its answer to the handshake cannot be read"),
        (framed(&refused), "is no VPP: it refuses the handshake: -1"),
        (Vec::new(), "during sockclnt_create"),
        (framed(&[0, 16])[..10].to_vec(), "during sockclnt_create"),
    ] {
        let (scratch, answering) = impostor(answer);
        let error = Client::connect(&scratch.path().join("api.sock"), &options()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        answering.join().unwrap();
    }
}
