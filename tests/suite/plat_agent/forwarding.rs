//! Firewalls that drop what is forwarded, masquerading, and parameters that are told.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::{have, program, skip_unless, wait_until};

use super::cluster::{Cluster, Namespace, Node, available, inside};

fn has_tools(test: &str) -> bool {
    let tools = [
        (have("nft"), "nft (Debian: nftables)"),
        (have("iptables"), "iptables"),
        (have("ip6tables"), "ip6tables (Debian: iptables)"),
    ];
    available(test) && skip_unless(test, &tools)
}

/// Runs a program in a namespace; whether it ended well, and what it said.
fn tried(space: &Namespace, name: &str, words: &[&str]) -> (bool, String) {
    let path = program(name);
    let mut command: Command = space.command(path.to_str().expect("a path"), words);
    let output = command.output().unwrap_or_else(|error| panic!("{name} {words:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn run(space: &Namespace, name: &str, words: &[&str]) -> String {
    let (good, said) = tried(space, name, words);
    assert!(good, "{name} {words:?}: {said}");
    said
}

/// The rules of nftables without what changes by itself.
fn ruleset(space: &Namespace) -> String {
    run(space, "nft", &["--stateless", "list", "ruleset"])
}

/// A kernel sink in a configuration without etcd, with further keys.
fn config(node: &Node, keys: Value) -> Value {
    let mut sink = json!({"type": "kernel"});
    for (key, value) in keys.as_object().expect("an object") {
        sink[key] = value.clone();
    }
    json!({
        "node": node.name(),
        "index": node.index,
        "routes": {
            "sources": [
                {"type": "peers", "nodes": "1-3", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
                {"type": "peers", "nodes": "1-3", "subnet": "fd10:{peer}::/64", "via": "fd16::{peer}"},
            ],
            "sinks": [sink],
            "resync": "1s",
        },
    })
}

#[test]
fn chains_that_drop_are_told_and_opened() {
    if !has_tools("chains_that_drop_are_told_and_opened") {
        return;
    }
    let cluster = Cluster::new();
    let mut nodes = [cluster.node(1), cluster.node(2), cluster.node(3)];
    // As Docker leaves it behind; a chain of nftables with a rule of somebody's; iptables of old.
    for name in ["iptables", "ip6tables"] {
        run(&nodes[0].space, name, &["-P", "FORWARD", "DROP"]);
        run(&nodes[0].space, name, &["-A", "FORWARD", "-i", "docker0", "-j", "ACCEPT"]);
    }
    let chain = "add table inet guard; add chain inet guard way { type filter hook forward priority 0; policy drop; }; \
                 add rule inet guard way iifname \"docker0\" accept";
    run(&nodes[1].space, "nft", &[chain]);
    let legacy = have("iptables-legacy")
        && tried(&nodes[2].space, "iptables-legacy", &["-w", "-P", "FORWARD", "DROP"]).0;
    if legacy {
        run(&nodes[2].space, "ip6tables-legacy", &["-w", "-P", "FORWARD", "DROP"]);
    } else {
        eprintln!("iptables-legacy does not work here: the third node has nftables, too");
        run(&nodes[2].space, "nft", &[chain]);
    }
    let before: Vec<String> = nodes.iter().map(|node| ruleset(&node.space)).collect();

    for (node, place) in nodes.iter().zip([
        "chain FORWARD of nftables' table ip filter has the policy drop",
        "chain way of nftables' table inet guard has the policy drop",
        if legacy {
            "chain FORWARD of iptables-legacy has the policy drop"
        } else {
            "chain way of nftables' table inet guard has the policy drop"
        },
    ]) {
        node.configure(&config(node, json!({})));
        let (exit, said) = node.agent(&["--once"]);
        assert_eq!(exit, Some(1), "{said}");
        assert!(said.contains(place) && said.contains("\"forwardAccept\": true"), "{said}");
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let address = format!("10.1.{}.2", nodes[to].index);
        assert!(!nodes[from].pod.pings(&address), "{address} is behind chains that drop");
    }
    let after: Vec<String> = nodes.iter().map(|node| ruleset(&node.space)).collect();
    assert_eq!(after, before, "without being asked nothing is changed");

    for node in &mut nodes {
        node.configure(&config(node, json!({"forwardAccept": true})));
        let (_, said) = node.agent(&["--dry-run"]);
        assert!(said.contains("accept what comes from 10.1."), "{said}");
        assert!(!said.contains("packets of pods are dropped"), "{said}");
    }
    let dry: Vec<String> = nodes.iter().map(|node| ruleset(&node.space)).collect();
    assert_eq!(dry, before, "a dry run changes nothing");
    for node in &mut nodes {
        node.start();
    }
    let [one, two, three] = &mut nodes;
    for (from, to) in [(&*one, &*two), (two, three), (three, one), (one, three)] {
        from.reaches(to);
    }
    wait_until("it is told", || {
        one.log().contains("forwarding: add: accept what goes to 10.1.1.0/24 in chain FORWARD")
    });
    // Somebody flushes the rules.
    run(&one.space, "iptables", &["-F", "FORWARD"]);
    run(&two.space, "nft", &["flush", "chain", "inet", "guard", "way"]);
    for node in [&*one, &*two] {
        wait_until("the rules are back", || {
            ruleset(&node.space).matches("comment \"plat-agent\"").count() == 4
        });
    }
    one.reaches(two);
    // What was ours goes, and nothing else.
    for node in [&mut *one, &mut *two, &mut *three] {
        node.end();
        let (exit, said) = node.agent(&["--cleanup"]);
        assert_eq!(exit, Some(0), "{said}");
        assert!(!ruleset(&node.space).contains("plat-agent"), "{said}");
    }
    assert_eq!(ruleset(&three.space), before[2]);
    if legacy {
        let left = run(&three.space, "iptables-legacy", &["-w", "-S", "FORWARD"]);
        assert_eq!(left, "-P FORWARD DROP\n");
    }
    assert!(run(&one.space, "iptables", &["-S", "FORWARD"]).contains("-P FORWARD DROP"));
    // A second time there is nothing to do.
    assert!(one.agent(&["--cleanup"]).1.contains("0 added, 0 removed, 0 kept"));
}

/// The address from which a packet of one namespace arrives in another, if it arrives.
fn seen(from: &Namespace, to: &Namespace, address: &str) -> Option<IpAddr> {
    let address: IpAddr = address.parse().expect("an address");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = inside(&to.name, || UdpSocket::bind((address, 0))).ok()?;
    let there = socket.local_addr().expect("it has one");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time");
    inside(&from.name, || UdpSocket::bind(any)?.send_to(b"x", there)).ok()?;
    let (_, peer) = socket.recv_from(&mut [0; 4]).ok()?;
    Some(peer.ip())
}

#[test]
fn what_leaves_the_cluster_has_the_nodes_address() {
    if !has_tools("what_leaves_the_cluster_has_the_nodes_address") {
        return;
    }
    let cluster = Cluster::new();
    cluster.hub.ip(&["addr", "add", "fd16::254/64", "dev", "br0", "nodad"]);
    cluster.hub.ip(&["addr", "add", "172.16.0.1/32", "dev", "br0"]);
    cluster.hub.ip(&["route", "add", "10.1.1.0/24", "via", "192.168.16.1"]);
    let (mut one, mut two) = (cluster.node(1), cluster.node(2));
    one.space.ip(&["route", "add", "172.16.0.0/12", "via", "192.168.16.254"]);
    run(&one.space, "nft", &["add table inet other; add chain inet other way"]);
    let before = ruleset(&one.space);
    one.configure(&config(&one, json!({"masquerade": {"except": ["172.16.0.0/12"]}})));
    two.configure(&config(&two, json!({})));
    one.start();
    two.start();
    one.reaches(&two);
    let arrives_from = |from: &Namespace, to: &Namespace, address: &str, expected: &str| {
        let expected: IpAddr = expected.parse().expect("an address");
        wait_until(&format!("packets arrive at {address} from {expected}"), || {
            seen(from, to, address) == Some(expected)
        });
    };
    arrives_from(&one.pod, &cluster.hub, "192.168.16.254", "192.168.16.1");
    arrives_from(&one.pod, &cluster.hub, "fd16::254", "fd16::1");
    // Other pods and what is excepted see the pod.
    arrives_from(&one.pod, &two.pod, "10.1.2.2", "10.1.1.2");
    arrives_from(&one.pod, &two.pod, "fd10:2::2", "fd10:1::2");
    arrives_from(&one.pod, &cluster.hub, "172.16.0.1", "10.1.1.2");
    arrives_from(&one.pod, &two.space, "192.168.16.2", "10.1.1.2");
    // The other node does not, unless it is asked.
    assert!(!ruleset(&two.space).contains("masquerade"));

    // The table is put back, and follows the networks.
    run(&one.space, "nft", &["delete", "table", "inet", "plat-agent"]);
    wait_until("the table is back", || ruleset(&one.space).contains("masquerade"));
    let set =
        |node: &Node| run(&node.space, "nft", &["list", "set", "inet", "plat-agent", "cluster4"]);
    assert!(set(&one).contains("10.1.1.0-10.1.3.255"), "{}", set(&one));
    one.end();
    let mut more = config(&one, json!({"masquerade": true}));
    more["routes"]["sources"][0]["nodes"] = json!("1-4");
    one.configure(&more);
    one.start();
    wait_until("the fourth node's network is in it", || set(&one).contains("10.1.1.0-10.1.4.255"));
    assert!(!set(&one).contains("172.16.0.0"), "{}", set(&one));
    // Without the key it goes.
    one.end();
    let (_, said) = one.agent(&["--dry-run"]);
    assert!(said.contains("keep    masquerade what leaves the cluster"), "{said}");
    one.configure(&config(&one, json!({})));
    one.agent(&["--once"]);
    assert_eq!(ruleset(&one.space), before);
    one.configure(&config(&one, json!({"masquerade": true})));
    one.agent(&["--once"]);
    assert!(ruleset(&one.space).contains("masquerade"));
    let (exit, said) = one.agent(&["--cleanup"]);
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(ruleset(&one.space), before);
    two.end();
}

fn set(space: &Namespace, parameter: &str, value: &str) {
    run(space, "sh", &["-c", &format!("echo {value} >/proc/sys/net/{parameter}")]);
}

fn get(space: &Namespace, parameter: &str) -> String {
    run(space, "cat", &[&format!("/proc/sys/net/{parameter}")]).trim().to_owned()
}

#[test]
fn what_keeps_packets_from_getting_through_is_told() {
    if !has_tools("what_keeps_packets_from_getting_through_is_told") {
        return;
    }
    let cluster = Cluster::new();
    let node = cluster.node(1);
    let space = &node.space;
    let said = |keys: Value, words: &[&str]| {
        let mut config = config(&node, keys);
        config["uplink"] = json!({"interface": "eth0"});
        node.configure(&config);
        node.agent(words).1
    };
    for name in ["all", "eth0", "pods"] {
        set(space, &format!("ipv4/conf/{name}/rp_filter"), "0");
    }
    let fine = said(json!({}), &["--dry-run"]);
    assert!(!fine.contains("note:"), "{fine}");

    // The uplink takes less than the pods' link.
    space.ip(&["link", "set", "eth0", "mtu", "1400"]);
    // Packets to one node leave by another link than they come by.
    space.ip(&["link", "add", "eth1", "type", "bridge"]);
    space.ip(&["link", "set", "eth1", "up"]);
    space.ip(&["addr", "add", "192.168.17.1/24", "dev", "eth1"]);
    space.ip(&["route", "add", "10.1.2.0/24", "via", "192.168.17.2", "proto", "static"]);
    let lax = said(json!({}), &["--dry-run"]);
    assert!(!lax.contains("rp_filter"), "{lax}");
    set(space, "ipv4/conf/all/rp_filter", "1");
    let strict = said(json!({}), &["--dry-run"]);
    for words in [
        "the MTU of pods, where pods are, is 1500, and that of the uplink eth0 is 1400",
        "net.ipv4.conf.all.rp_filter is 1, strict), and those to 10.1.2.0/24 go by eth1",
        "right is net.ipv4.conf.eth0.rp_filter=2",
    ] {
        assert!(strict.contains(words), "no {words:?} in\n{strict}");
    }
    set(space, "ipv4/conf/eth0/rp_filter", "2");
    let loose = said(json!({}), &["--dry-run"]);
    assert!(!loose.contains("rp_filter"), "the larger value counts: {loose}");

    // Forwarding is off, and the default route would be lost with it.
    set(space, "ipv4/ip_forward", "0");
    set(space, "ipv6/conf/all/forwarding", "0");
    set(space, "ipv6/conf/eth0/accept_ra", "1");
    space.ip(&["-6", "route", "add", "default", "via", "fd16::254", "dev", "eth0", "proto", "ra"]);
    let off = said(json!({}), &["--dry-run"]);
    assert!(
        off.contains("net.ipv4.ip_forward is 0") && off.contains("in the sink sets it"),
        "{off}"
    );
    assert!(off.contains("right is net.ipv6.conf.eth0.accept_ra=2 first"), "{off}");
    let dry = said(json!({"forwarding": true}), &["--dry-run"]);
    assert!(dry.contains("net.ipv4.ip_forward=1"), "{dry}");
    assert_eq!(get(space, "ipv4/ip_forward"), "0");
    let once = said(json!({"forwarding": true}), &["--once"]);
    assert_eq!(get(space, "ipv4/ip_forward"), "1", "{once}");
    assert_eq!(get(space, "ipv6/conf/all/forwarding"), "0", "{once}");
    set(space, "ipv6/conf/eth0/accept_ra", "2");
    let once = said(json!({"forwarding": true}), &["--once"]);
    assert_eq!(get(space, "ipv6/conf/all/forwarding"), "1", "{once}");
    assert!(space.has_route("default via fd16::254"), "{once}");
}
