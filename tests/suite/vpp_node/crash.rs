//! VPP dies or refuses at every message: the next call finishes what this one has begun.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use support::vpp::Trouble;
use vpp_plugin::node::{NodeErrorKind, Place, Wanted, ensure};

use super::{Bench, GATEWAYS, cluster, connect, setup};

#[test]
fn whatever_is_refused_is_done_by_the_next_call() {
    let mut sane = Bench::new();
    sane.vpp.take_journal();
    sane.ensure(&cluster(), GATEWAYS);
    let messages = sane.vpp.take_journal();
    let kinds: BTreeSet<&String> = messages.iter().collect();
    for message in kinds.into_iter().filter(|name| !name.ends_with("_dump")) {
        let mut bench = Bench::new();
        bench.vpp.plan(message, Trouble::Refuse(-1));
        // Lookups that are refused say no more than that there is nothing.
        if let Err(error) = bench.try_ensure(&cluster(), GATEWAYS) {
            assert_eq!(error.kind(), NodeErrorKind::Refused, "{message}: {error}");
        }
        bench.ensure(&cluster(), GATEWAYS);
        bench.is_settled(&cluster(), GATEWAYS);
        let made = bench.vpp.look(|state| (state.interfaces.len(), state.sources.len()));
        assert_eq!(made, (3, 2), "{message}");
    }
}

#[test]
fn vpp_dies_anywhere() {
    let mut sane = Bench::new();
    sane.vpp.take_journal();
    sane.ensure(&cluster(), GATEWAYS);
    let messages = sane.vpp.take_journal().len();
    for trouble in [Trouble::DieBefore, Trouble::DieAfter, Trouble::DieAnswering] {
        for after in (0..messages).step_by(3) {
            let mut bench = Bench::new();
            bench.vpp.plan_after(None, after, 1, trouble.clone());
            let error = bench.try_ensure(&cluster(), GATEWAYS).unwrap_err();
            assert_eq!(error.kind(), NodeErrorKind::Away, "{trouble:?} after {after}: {error}");
            bench.vpp.start_again();
            bench.client.reconnect().unwrap();
            bench.ensure(&cluster(), GATEWAYS);
            bench.is_settled(&cluster(), GATEWAYS);
        }
    }
}

/// The client is gone in the middle: its last message is the last that VPP has done.
#[test]
fn a_call_ends_anywhere() {
    let mut sane = Bench::new();
    sane.vpp.take_journal();
    sane.ensure(&cluster(), GATEWAYS);
    let messages = sane.vpp.take_journal().len();
    for after in 0..messages {
        let mut bench = Bench::new();
        // Nothing behind is done, as if it had not been sent.
        bench.vpp.plan_after(None, after, messages, Trouble::Ignore);
        bench.client.set_timeout(Duration::from_millis(50));
        bench.try_ensure(&cluster(), GATEWAYS).unwrap_err();
        bench.client.set_timeout(Duration::from_secs(60));
        bench.client.reconnect().unwrap();
        // Until what was sent before is thrown away, too.
        support::wait_until("the first connection is over", || bench.vpp.clients() == 1);
        bench.vpp.plan_nothing();
        bench.ensure(&cluster(), GATEWAYS);
        bench.is_settled(&cluster(), GATEWAYS);
        let made = bench.vpp.look(|state| (state.interfaces.len(), state.sources.len()));
        assert_eq!(made, (3, 2), "after {after}");
    }
}

/// As when a node boots: all pods come at once, and none of them finds anything.
#[test]
fn many_calls_at_once_make_everything_once() {
    let bench = Bench::new();
    let (vpp, run_dir) = (&bench.vpp, &bench.scratch.join("run"));
    std::thread::scope(|scope| {
        for n in 1..=8 {
            scope.spawn(move || {
                let (setup, gateway) =
                    (setup(&cluster(), 1), format!("10.1.{n}.1").parse().unwrap());
                let gateways = [gateway];
                let wanted =
                    Wanted { setup: &setup, network: "pods", table: 0, gateways: &gateways };
                let deadline = Instant::now() + Duration::from_secs(60);
                let place = Place { run_dir, root: "/nowhere".as_ref(), deadline };
                ensure(&mut connect(vpp), &wanted, &place, None).unwrap();
            });
        }
    });
    let made = bench.vpp.look(|state| {
        let [gateway] = state.tagged("plat/gateway/0").try_into().expect("one gateway");
        let addresses = state.interfaces[&gateway].addresses.len();
        (state.interfaces.len(), state.sources.len(), addresses, state.routes.len())
    });
    assert_eq!(made, (3, 2, 8, 8));
}
