//! host-local with one `dataDir` for two nodes on one network: the old way of nodes to share a subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use support::{Node, Outcome, Scratch, binary, finish, is_root, program, reference, skip_unless};

/// How many calls at a time each node makes.
const AT_A_TIME: u32 = 4;
/// How many pods each of these has.
const PODS: u32 = 8;
/// How many addresses there are: fewer than pods.
const ADDRESSES: usize = 56;

/// The network, the same on both nodes.
fn network(dir: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "stretched", "type": "bridge", "bridge": "br-stretched",
        "ipam": {
            "type": "host-local", "dataDir": dir, "shared": true, "lockTimeout": "60s",
            "ranges": [[{"subnet": "10.26.0.0/24", "rangeStart": "10.26.0.10", "rangeEnd": "10.26.0.65"}]],
        },
    })
}

fn node(name: &str) -> Node {
    let node = Node::start(name);
    node.install(&binary("host-local"));
    node.install(&reference("bridge").expect("the test has looked for it"));
    node
}

/// A cable between the bridges of two nodes.
fn connect(one: &Node, other: &Node) {
    let [here, there] = [one, other].map(|node| node.holder().to_string());
    let status = Command::new(program("nsenter"))
        .args([&format!("--target={here}"), "--net", "--", "ip", "link", "add", "lan", "type"])
        .args(["veth", "peer", "name", "lan", "netns", &there])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "a cable can be made");
    for node in [one, other] {
        node.ok(&["ip", "link", "add", "br-stretched", "type", "bridge"]);
        node.ok(&["ip", "link", "set", "lan", "master", "br-stretched", "up"]);
        node.ok(&["ip", "link", "set", "br-stretched", "up"]);
    }
}

fn call(node: &Node, plugin: &str, what: &str, id: &str, config: &Value) -> Outcome {
    let path = node.plugins().join(plugin);
    let mut command = node.command(&[path.to_str().expect("a plain path")]);
    command.env("CNI_COMMAND", what).env("CNI_PATH", "/run/plugins");
    if what != "GC" {
        command.env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0");
        command.env("CNI_NETNS", format!("/run/netns/{id}"));
    }
    finish(&mut command, config.to_string().as_bytes())
}

/// The IPAM plugin alone.
fn ipam(node: &Node, what: &str, id: &str, config: &Value) -> Outcome {
    call(node, "host-local", what, id, config)
}

/// The addresses that have a reservation, with the container that has it.
fn reserved(dir: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir.join("stretched")).expect("it is there").flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let text = std::fs::read_to_string(entry.path()).ok()?;
            name.starts_with("10.").then(|| (name, text.lines().next().unwrap_or("").to_owned()))
        })
        .collect()
}

#[test]
fn two_nodes_give_no_address_twice_and_free_nothing_of_each_other() {
    let test = "shared::two_nodes_give_no_address_twice_and_free_nothing_of_each_other";
    let bridge = (reference("bridge").is_some(), "containernetworking-plugins");
    if !skip_unless(test, &[(is_root(), "root"), bridge]) {
        return;
    }
    let scratch = Scratch::new("shared");
    let dir = scratch.path().join("cni-ipam");
    let config = network(&dir);
    let nodes = [node("vm-001"), node("vm-002")];
    connect(&nodes[0], &nodes[1]);

    // Both nodes at once, each with several calls at a time, more than there are addresses.
    let given: Vec<(usize, String, Outcome)> = thread::scope(|scope| {
        let mut calls = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            for caller in 0..AT_A_TIME {
                let config = &config;
                calls.push(scope.spawn(move || {
                    let pods = (0..PODS).map(move |pod| format!("pod-{at}-{caller}-{pod}"));
                    pods.map(|id| (at, id.clone(), ipam(node, "ADD", &id, config)))
                        .collect::<Vec<_>>()
                }));
            }
        }
        calls.into_iter().flat_map(|call| call.join().expect("a caller")).collect()
    });
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (_, id, outcome) in &given {
        if outcome.exit == Some(0) {
            for address in outcome.addresses() {
                assert_eq!(owners.insert(address.clone(), id.clone()), None, "{address} twice");
            }
        } else {
            assert_eq!(outcome.error().0, 11, "only because there are no more: {id}");
        }
    }
    assert_eq!(owners.len(), ADDRESSES, "all of them, and each once");
    assert_eq!(reserved(&dir), owners);

    // GC on one node knows only that node's pods, or none at all: nothing is freed, which is told.
    let mine: Vec<Value> = given
        .iter()
        .filter(|(at, ..)| *at == 0)
        .map(|(_, id, _)| json!({"containerID": id, "ifname": "eth0"}))
        .collect();
    for valid in [json!(mine), json!([])] {
        let mut config = config.clone();
        config["cniVersion"] = json!("1.1.0");
        config["cni.dev/valid-attachments"] = valid;
        ipam(&nodes[0], "GC", "", &config).ok();
        assert_eq!(reserved(&dir), owners);
    }

    // A node deletes what it has; the other's stays.
    for (_, id, _) in given.iter().filter(|(at, ..)| *at == 0) {
        ipam(&nodes[0], "DEL", id, &config).ok();
    }
    owners.retain(|_, owner| owner.starts_with("pod-1-"));
    assert_eq!(reserved(&dir), owners);

    // What is free is the other node's to give, and pods of both are on one network.
    let pods: Vec<(String, String)> = nodes
        .iter()
        .map(|node| {
            let id = format!("real-{}", node.holder());
            node.add_namespace(&id);
            let address = call(node, "bridge", "ADD", &id, &config).addresses().remove(0);
            assert!(!owners.contains_key(&address), "{address} is another's");
            (id, address)
        })
        .collect();
    let both: BTreeSet<&str> = pods.iter().map(|(_, address)| address.as_str()).collect();
    assert_eq!(both.len(), 2);
    for (from, to) in [(0, 1), (1, 0)] {
        nodes[from].ping(&format!("/run/netns/{}", pods[from].0), &pods[to].1);
    }
    for (node, (id, _)) in nodes.iter().zip(&pods) {
        call(node, "bridge", "DEL", id, &config).ok();
    }
    assert_eq!(reserved(&dir), owners);
}
