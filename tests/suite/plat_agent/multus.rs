//! Several networks per pod, each of node-local, called as Multus calls, by one configuration for two nodes.

use serde_json::{Value, json};
use support::binary;

use super::cluster::{Cluster, Node};
use super::explain::explained;
use super::pods::{Pod, bridge, pods_available};

/// The networks of a pod, in Multus' order: the cluster's own first.
fn networks(node: &Node) -> [(&'static str, Value); 3] {
    let carve = |number: u8, default: bool| {
        let route = if default { "0.0.0.0/0".to_owned() } else { format!("10.{number}.0.0/16") };
        json!({
            "type": "node-local",
            "carve": [
                {"pool": format!("10.{number}.0.0/16"), "prefix": 24},
                {"pool": format!("fd{number}::/48"), "prefix": 64},
            ],
            "routes": [{"dst": route}, {"dst": if default { "::/0".to_owned() } else { format!("fd{number}::/48") }}],
        })
    };
    let mut storage = carve(23, false);
    // Multus does not keep it for DEL. Each node has its own: the path is the same on both in a cluster.
    storage["store"] = json!("dir");
    storage["dataDir"] = json!(node.scratch.path().join("ipam"));
    [
        ("eth0", bridge("pods", "cni0", &carve(21, true))),
        ("net1", bridge("signalling", "cni1", &carve(22, false))),
        ("net2", bridge("storage", "cni2", &storage)),
    ]
}

/// What Multus has kept of a configuration when DEL comes.
fn stripped(config: &Value, result: &Value) -> Value {
    json!({
        "cniVersion": config["cniVersion"], "name": config["name"], "type": config["type"],
        "ipam": {"type": config["ipam"]["type"]}, "prevResult": result,
    })
}

fn started(cluster: &Cluster, index: u8) -> Node {
    let mut node = cluster.node(index);
    let peers = |subnet: String, via: &str| json!({"type": "peers", "nodes": "1-2", "subnet": subnet, "via": via});
    let sources: Vec<Value> = (21..=23)
        .flat_map(|it| {
            let v6 = format!("fd{it}:0:0:{{peer:x}}::/64");
            [
                peers(format!("10.{it}.{{peer}}.0/24"), "192.168.16.{peer}"),
                peers(v6, "fd16::{peer:x}"),
            ]
        })
        .collect();
    node.configure(&json!({
        "node": node.name(),
        "index": index,
        "routes": {
            "sources": sources,
            "sinks": [{"type": "kernel"}],
        },
    }));
    node.start();
    node
}

#[test]
fn pods_of_two_nodes_reach_each_other_on_every_network() {
    if !pods_available("multus::pods_of_two_nodes_reach_each_other_on_every_network") {
        return;
    }
    let cluster = Cluster::new();
    let mut nodes = [started(&cluster, 1), started(&cluster, 2)];
    let mut pods = Vec::new();
    for node in &nodes {
        let mut pod = Pod::new(&format!("pod-{}", node.index));
        let all = networks(node);
        let results =
            all.map(|(ifname, config)| (ifname, config.clone(), pod.add(node, ifname, &config)));
        let n = node.index;
        let given =
            (21..=23).flat_map(|it| [format!("10.{it}.{n}.2"), format!("fd{it}:0:0:{n}::2")]);
        assert_eq!(pod.addresses, given.collect::<Vec<_>>());
        pods.push((pod, results));
    }
    for (one, other) in [(0, 1), (1, 0)] {
        pods[one].0.reaches(&pods[other].0);
    }
    let told = explained(&nodes[0]);
    assert_eq!(told.count("keep"), 6, "{told:?}");
    assert!(told.has("keep", "10.22.2.0/24", "computed by routes.sources[2]"), "{told:?}");

    // From the last to the first, twice, with what Multus has kept; the other node loses nothing.
    let (pod, results) = &pods[0];
    for _ in 0..2 {
        for (ifname, config, result) in results.iter().rev() {
            pod.del(&nodes[0], ifname, &stripped(config, result));
        }
    }
    for (at, left) in [(0, 0), (1, 6)] {
        let held = held_by(&nodes[at]);
        assert_eq!(held.len(), left, "{held:?}");
    }
    // A new pod takes its place.
    let mut again = Pod::new("again");
    for (ifname, config) in &networks(&nodes[0]) {
        again.add(&nodes[0], ifname, config);
    }
    let next = |address: &String| address.ends_with(".1.3") || address.ends_with(":1::3");
    assert!(again.addresses.iter().all(next), "the next ones: {:?}", again.addresses);
    again.reaches(&pods[1].0);
    for node in &mut nodes {
        node.end();
    }
}

/// What is held on a node, of all networks.
fn held_by(node: &Node) -> Vec<Value> {
    let plat = binary("plat");
    let mut command = node.space.command(plat.to_str().expect("a path"), &["ls", "--json"]);
    for (variable, place) in [("PLAT_STATE_DIR", "state"), ("PLAT_RUN_DIR", "run")] {
        command.env(variable, node.scratch.path().join(place));
    }
    let output = command.output().expect("plat can be started");
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    document["allocations"].as_array().cloned().unwrap_or_default()
}
