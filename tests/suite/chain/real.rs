//! Under Debian's main plugins, with real interfaces.

use serde_json::{Value, json};
use support::{Node, Outcome, binary, finish, is_root, reference, skip_unless};

const MAINS: [&str; 3] = ["bridge", "ptp", "host-device"];

fn can_run(test: &str) -> bool {
    let plugins = MAINS.iter().all(|plugin| reference(plugin).is_some());
    skip_unless(test, &[(is_root(), "root"), (plugins, "containernetworking-plugins")])
}

/// A node of index 4 with these plugins.
fn node() -> Node {
    let node = Node::start("vm-004");
    for plugin in MAINS {
        node.install(&reference(plugin).expect("the test has looked for it"));
    }
    for plugin in ["chain", "host-local", "node-local"] {
        node.install(&binary(plugin));
    }
    node
}

/// What a runtime does.
fn run(node: &Node, config: &Value, command: &str, pod: &str, netns: &str) -> Outcome {
    let kind = config["type"].as_str().expect("a type");
    let plugin = node.plugins().join(kind);
    let mut process = node.command(&[plugin.to_str().expect("a plain path")]);
    process.envs([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", pod),
        ("CNI_NETNS", netns),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", node.plugins().to_str().expect("a plain path")),
    ]);
    finish(&mut process, config.to_string().as_bytes())
}

fn with_result(config: &Value, result: &Value) -> Value {
    let mut config = config.clone();
    config["prevResult"] = result.clone();
    config
}

fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("addresses").iter();
    let texts = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next());
    texts.map(str::to_owned).collect()
}

fn assert_empty(node: &Node) {
    node.network("pods").assert_nothing_reserved();
    assert!(!node.path("/run/plat/chain/pods").exists(), "records are left");
}

fn ipams() -> Value {
    json!([
        {"type": "node-local", "carve": {"pool": "10.1.0.0/16", "prefix": 24}, "routes": [{"dst": "0.0.0.0/0"}]},
        {"type": "node-local", "carve": {"pool": "fd00:1::/48", "prefix": 64}, "routes": [{"dst": "::/0"}]},
    ])
}

#[test]
fn a_bridge_with_two_ipams() {
    if !can_run("a_bridge_with_two_ipams") {
        return;
    }
    let node = node();
    let config = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {"type": "chain", "ipams": ipams()},
    });
    let mut results = Vec::new();
    for pod in ["a", "b"] {
        let netns = node.add_namespace(pod);
        let result = run(&node, &config, "ADD", pod, &netns).ok();
        run(&node, &with_result(&config, &result), "CHECK", pod, &netns).ok();
        results.push(result);
    }
    assert_eq!(results[1]["ips"][0]["address"], "10.1.4.3/24");
    assert_eq!(results[1]["ips"][1]["address"], "fd00:1:0:4::3/64");
    for address in ["10.1.4.3", "fd00:1:0:4::3"] {
        node.ping("/run/netns/a", address);
    }
    // As some runtimes delete: without configuration, and without namespace.
    let stripped =
        json!({"cniVersion": "1.0.0", "name": "pods", "type": "bridge", "ipam": {"type": "chain"}});
    run(&node, &with_result(&stripped, &results[0]), "DEL", "a", "/run/netns/a").ok();
    node.ok(&["ip", "netns", "delete", "b"]);
    for _ in 0..2 {
        run(&node, &with_result(&config, &results[1]), "DEL", "b", "").ok();
    }
    assert_empty(&node);
}

/// A runtime of 1.1.0, plugins of 1.0.0, and one configuration for all nodes.
#[test]
fn a_whole_network_by_one_configuration() {
    if !can_run("a_whole_network_by_one_configuration") {
        return;
    }
    let node = node();
    for main in [
        json!({"type": "bridge", "cniVersion": "1.0.0", "bridge": "br{i}", "isGateway": true}),
        json!({"type": "ptp", "cniVersion": "1.0.0"}),
    ] {
        for ipams in [ipams(), json!([ipams()[0]])] {
            let families = ipams.as_array().expect("a list").len();
            let config = json!({
                "cniVersion": "1.1.0", "name": "pods", "type": "chain", "main": main, "ipams": ipams,
            });
            let status = |netns| run(&node, &config, "STATUS", "", netns);
            status("").ok();
            let mut results = Vec::new();
            for pod in ["a", "b", "c"] {
                let netns = node.add_namespace(pod);
                let result = run(&node, &config, "ADD", pod, &netns).ok();
                assert_eq!(result["cniVersion"], "1.1.0");
                assert_eq!(result["ips"].as_array().map(Vec::len), Some(families), "{result}");
                run(&node, &with_result(&config, &result), "CHECK", pod, &netns).ok();
                results.push(result);
            }
            if main["type"] == "bridge" {
                node.ok(&["ip", "link", "show", "br4"]);
            }
            let addresses = addresses(&results[1]);
            for address in &addresses {
                node.ping("/run/netns/a", address);
            }
            // An ADD that fails because eth0 is there gives back what it took, and harms nobody.
            run(&node, &config, "ADD", "other", "/run/netns/a").error();
            assert_eq!(node.network("pods").reservations().len(), 3 * families);
            node.ping("/run/netns/a", &addresses[0]);
            // One that dies without a DEL.
            node.ok(&["ip", "netns", "delete", "c"]);
            let mut gc = config.clone();
            gc["cni.dev/valid-attachments"] =
                json!(["a", "b"].map(|id| json!({"containerID": id, "ifname": "eth0"})));
            run(&node, &gc, "GC", "", "").ok();
            assert_eq!(node.network("pods").reservations().len(), 2 * families);
            let stripped = json!({"cniVersion": "1.0.0", "name": "pods", "type": "chain"});
            run(&node, &stripped, "DEL", "a", "/run/netns/a").ok();
            node.ok(&["ip", "netns", "delete", "a"]);
            node.ok(&["ip", "netns", "delete", "b"]);
            for _ in 0..2 {
                run(&node, &with_result(&config, &results[1]), "DEL", "b", "").ok();
            }
            assert_empty(&node);
        }
    }
}

/// host-device does not go on to its IPAM when the namespace is gone.
#[test]
fn a_device_of_the_host() {
    if !can_run("a_device_of_the_host") {
        return;
    }
    let node = node();
    let config = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "chain", "main": {"type": "host-device", "device": "dev{i}"}, "ipams": ipams(),
    });
    for stripped in [false, true] {
        node.ok(&["ip", "link", "add", "dev4", "type", "veth", "peer", "name", "peer4"]);
        let netns = node.add_namespace("a");
        let result = run(&node, &config, "ADD", "a", &netns).ok();
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(2), "{result}");
        node.ok(&["ip", "-n", "a", "link", "show", "eth0"]);
        run(&node, &with_result(&config, &result), "CHECK", "a", &netns).ok();
        node.ok(&["ip", "netns", "delete", "a"]);
        let form = json!({"cniVersion": "1.0.0", "name": "pods", "type": "chain"});
        let form = if stripped { form } else { with_result(&config, &result) };
        run(&node, &form, "DEL", "a", "").ok();
        assert_empty(&node);
        // It comes back, or goes with its namespace; in any case it is there once.
        let _ = node.run(&["ip", "link", "delete", "peer4"]);
        support::wait_until("the device is gone", || {
            node.run(&["ip", "link", "show", "dev4"]).exit != Some(0)
        });
    }
}
