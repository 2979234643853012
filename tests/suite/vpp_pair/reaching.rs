//! Packets between pods of two nodes, and between a pod and its host.

use std::time::Instant;

use support::traffic::exchange;

use super::pair;

const BYTES: usize = 100_000_000;

#[test]
fn pods_of_two_nodes_reach_each_other() {
    let Some(pair) = pair("pods_of_two_nodes_reach_each_other") else { return };
    let (one, other) = (pair.add(0, "one"), pair.add(1, "other"));
    let beside = pair.add(0, "beside");
    for pod in [&one, &other, &beside] {
        assert_eq!(pod.addresses.len(), 2, "{}", pod.result);
        pair.check(pod).ok();
    }
    for (from, to) in [(&one, &other), (&other, &one), (&one, &beside), (&beside, &other)] {
        to.addresses.iter().for_each(|address| pair.ping(from, *address));
    }
    for address in &other.addresses {
        let start = Instant::now();
        let sum = exchange(&one.namespace, &other.namespace, *address, BYTES);
        assert!(sum.bytes >= BYTES as u64);
        println!("{address}: {} bytes there and back in {:.1?}", sum.bytes, start.elapsed());
    }
}

#[test]
fn the_host_reaches_pods_and_pods_the_host() {
    let Some(pair) = pair("the_host_reaches_pods_and_pods_the_host") else { return };
    for on in [0, 1] {
        let pod = pair.add(on, "pod");
        let index = pair.nodes[on].index;
        for (address, host) in
            pod.addresses.iter().zip([format!("172.30.{index}.2"), format!("fd00:30:{index:x}::2")])
        {
            pair.ping_from_host(on, *address);
            pair.ping(&pod, host.parse().expect("an address"));
        }
        // A connection needs whole checksums on the host link, too.
        let host = kernel::Namespace::open(&pair.nodes[on].node.path("/proc/1/ns/net"));
        let host = host.expect("the node's namespace");
        for address in &pod.addresses {
            exchange(&host, &pod.namespace, *address, 1_000_000);
        }
    }
}

/// One MTU everywhere, from the uplink: a packet of that size gets through, and none is cut.
#[test]
fn a_packet_of_the_whole_mtu_gets_through() {
    let Some(pair) = pair("a_packet_of_the_whole_mtu_gets_through") else { return };
    let (one, other) = (pair.add(0, "one"), pair.add(1, "other"));
    let interfaces = one.result["interfaces"].as_array().expect("interfaces");
    assert!(interfaces.iter().all(|it| it["mtu"] == 1500), "{}", one.result);
    let node = &pair.nodes[0].node;
    for (address, payload) in other.addresses.iter().zip(["1472", "1452"]) {
        pair.ping(&one, *address);
        let address = address.to_string();
        let ping = [
            "ping", "-n", "-M", "do", "-s", payload, "-i", "0.2", "-c", "1", "-w", "100", &address,
        ];
        node.ok(&[&["ip", "netns", "exec", "one"], &ping[..]].concat());
    }
}
