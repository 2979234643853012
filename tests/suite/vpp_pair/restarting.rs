//! A VPP that is killed and comes back: empty, and the pods do not notice more than a pause.

use std::net::TcpListener;

use support::traffic::{connect, exchange, listen, receive, send};
use support::{PairPod, VppPair};

use super::pair;

/// Everything of a pod that must not change: links with their numbers, addresses, routes, neighbours.
fn inside(pair: &VppPair, pod: &PairPod) -> String {
    let link = pair.ip_in(pod, &["-json", "-details", "link", "show", "dev", "eth0"]);
    let mut links: serde_json::Value = serde_json::from_str(&link).expect("ip writes JSON");
    // Statistics of the device.
    links[0].as_object_mut().expect("a link").remove("stats64");
    let mut all = links.to_string();
    for words in [
        &["-oneline", "address", "show", "dev", "eth0"][..],
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["neighbour", "show", "dev", "eth0", "nud", "permanent"],
    ] {
        all += &pair.ip_in(pod, words);
    }
    all
}

#[test]
fn a_killed_vpp_gets_its_pods_back() {
    let Some(mut pair) = pair("a_killed_vpp_gets_its_pods_back") else { return };
    let pods = ["one", "two", "three"].map(|id| pair.add(0, id));
    let other = pair.add(1, "other");
    let [one, ..] = &pods;
    let listeners: Vec<TcpListener> =
        one.addresses.iter().map(|address| listen(&one.namespace, *address)).collect();
    let targets: Vec<_> =
        listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
    // A connection from before goes on.
    let near = connect(&other.namespace, targets[0]);
    let (far, _) = listeners[0].accept().expect("a connection");
    far.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a timeout");
    let talk = |seed| {
        let sent = std::thread::scope(|scope| {
            let sends = scope.spawn(|| send(&near, 1 << 20, seed));
            let received = receive(&far, 1 << 20);
            (sends.join().expect("the sending thread"), received)
        });
        assert_eq!(sent.0, sent.1);
    };
    talk(1);
    let before: Vec<String> = pods.iter().map(|pod| inside(&pair, pod)).collect();
    let fine = pair.plat(0, &["vpp", "check"]);
    assert_eq!(fine.exit, Some(0), "{}{}", fine.stdout, fine.stderr);

    pair.nodes[0].vpp.kill();
    let away = pair.plat(0, &["vpp", "check"]);
    assert_ne!(away.exit, Some(0), "{}{}", away.stdout, away.stderr);
    // Neither a CHECK nor an ADD waits for long.
    let (code, text) = pair.check(one).error();
    assert_eq!(code, 11, "{text}");

    let node = &mut pair.nodes[0];
    node.vpp.start_again(&node.node);
    let told = pair.plat(0, &["vpp", "check"]);
    assert_ne!(told.exit, Some(0), "{}{}", told.stdout, told.stderr);
    for pod in &pods {
        assert!(told.stdout.contains(&pod.id), "{} is not named: {}", pod.id, told.stdout);
        pair.check(pod).error();
    }
    println!("plat vpp check\n{}", told.stdout);
    let fixed = pair.plat(0, &["vpp", "check", "--fix", "--yes"]);
    assert_eq!(fixed.exit, Some(0), "{}{}", fixed.stdout, fixed.stderr);
    println!("plat vpp check --fix\n{}", fixed.stdout);
    let again = pair.plat(0, &["vpp", "check"]);
    assert_eq!(again.exit, Some(0), "{}{}", again.stdout, again.stderr);

    let after: Vec<String> = pods.iter().map(|pod| inside(&pair, pod)).collect();
    assert_eq!(before, after, "the pods were touched");
    for pod in &pods {
        pair.check(pod).ok();
        pod.addresses.iter().for_each(|address| pair.ping(&other, *address));
        pod.addresses.iter().for_each(|address| pair.ping_from_host(0, *address));
    }
    talk(2);
    for (listener, target) in listeners.iter().zip(&targets) {
        let near = connect(&other.namespace, *target);
        let (far, _) = listener.accept().expect("a connection");
        drop((near, far));
    }
    for address in &other.addresses {
        exchange(&one.namespace, &other.namespace, *address, 10_000_000);
    }
}

/// The next ADD brings the node's part back by itself, and pods that come and go meanwhile are whole.
#[test]
fn pods_that_come_and_go_after_a_restart_are_whole() {
    let Some(mut pair) = pair("pods_that_come_and_go_after_a_restart_are_whole") else { return };
    let (old, gone) = (pair.add(0, "old"), pair.add(0, "gone"));
    let other = pair.add(1, "other");
    let node = &mut pair.nodes[0];
    node.vpp.kill();
    // VPP is away: DEL works, and frees what is free.
    pair.del(&gone);
    let node = &mut pair.nodes[0];
    node.vpp.start_again(&node.node);
    let new = pair.add(0, "new");
    new.addresses.iter().for_each(|address| pair.ping(&other, *address));
    let fixed = pair.plat(0, &["vpp", "check", "--fix", "--yes"]);
    assert_eq!(fixed.exit, Some(0), "{}{}", fixed.stdout, fixed.stderr);
    for pod in [&old, &new] {
        pod.addresses.iter().for_each(|address| pair.ping(&other, *address));
        pair.check(pod).ok();
    }
    let shown = pair.nodes[0].vpp.cli("show interface");
    let pods =
        shown.lines().filter(|line| line.starts_with("host-vpp") && !line.starts_with("host-vpp-"));
    assert_eq!(pods.count(), 2, "{shown}");
}
