//! Network definitions as they are written, on nodes with their own host name, `/etc/cni/node-local` and
//! `/var/lib`: those with a bridge on real bridges, others behind a main plugin that hands its calls on.

use std::fs;

use serde_json::{Value, json};
use support::{MainPlugin, Node, Outcome, Scratch, binary, finish, reference, skip_unless};

use super::{GENERATIONS, can_name_hosts, data, is_dual_stack, tail, template};

/// A definition with the name that Multus gives it: its own, else the object's.
fn definition(object: &str) -> Value {
    let path = data().join("networks").join(format!("{object}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut config: Value = serde_json::from_str(&text).expect("a definition is JSON");
    if config["name"].is_null() {
        config["name"] = json!(object);
    }
    config
}

fn start(host: &str, generation: &str) -> Node {
    let node = Node::start(host);
    node.install(&binary("node-local"));
    node.install(&binary("host-local"));
    for name in ["default", "ipvlan", "macvlan"] {
        node.write(format!("/etc/cni/node-local/{name}"), template(generation, name));
    }
    node
}

/// What a runtime does on a node.
fn call(
    node: &Node,
    plugin: &str,
    command: &str,
    pod: &str,
    path: &str,
    config: &Value,
) -> Outcome {
    let mut process = node.command(&[plugin]);
    process.envs([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", pod),
        ("CNI_NETNS", &format!("/run/netns/{pod}")),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", path),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p"),
    ]);
    finish(&mut process, config.to_string().as_bytes())
}

/// With the addresses that xcluster's test pings, node by node.
#[test]
fn links_that_a_kernel_may_lack() {
    if !can_name_hosts("links_that_a_kernel_may_lack") {
        return;
    }
    for generation in GENERATIONS {
        for index in 1..=4_u8 {
            let host = format!("vm-{index:03}");
            let node = start(&host, generation);
            for (object, octet) in [("ipvlan", 16), ("macvlan", 15)] {
                let config = definition(object);
                let scratch = Scratch::new("links");
                let ipam = node.plugins().join("node-local");
                let main = MainPlugin::install(scratch.path(), object, &ipam);
                let plugin = main.path().to_str().expect("a plain path");
                let run =
                    |command: &str| call(&node, plugin, command, "pod", &main.cni_path(), &config);

                let v4 = format!("{octet}.0.{index}.0");
                let mut expected = vec![v4.clone()];
                if is_dual_stack(generation) {
                    expected.push(tail("4000::", &v4));
                }
                let outcome = run("ADD");
                assert_eq!(outcome.addresses(), expected, "{generation}, {host}");
                assert_eq!(outcome.json()["cniVersion"], "0.3.1");
                run("DEL").ok();
                run("DEL").ok();
                node.network(object).assert_nothing_reserved();

                // The IPAM plugin was called as the main plugin was.
                let calls = main.calls();
                let commands: Vec<&str> = calls
                    .iter()
                    .flat_map(|call| &call.environment)
                    .filter_map(|line| line.strip_prefix("CNI_COMMAND="))
                    .collect();
                assert_eq!(commands, ["ADD", "DEL", "DEL"]);
                for call in &calls {
                    assert_eq!(call.stdin, config.to_string());
                    for variable in
                        ["CNI_CONTAINERID=pod", "CNI_IFNAME=net1", "CNI_NETNS=/run/netns/pod"]
                    {
                        assert!(call.environment.iter().any(|line| line == variable), "{call:?}");
                    }
                }
            }
        }
    }
}

/// Runs a definition with Debian's bridge plugin: two pods that reach each other and their gateway.
fn bridged(node: &Node, config: &Value, hosts: [&[&str]; 2], gateways: &[&str]) {
    node.install(&reference("bridge").expect("the test has looked for it"));
    let name = config["name"].as_str().expect("a name");
    let plugins = node.plugins();
    let bridge = plugins.join("bridge");
    let run = |command: &str, pod: &str, config: &Value| {
        let (bridge, plugins) = (bridge.to_str().expect("plain"), plugins.to_str().expect("plain"));
        call(node, bridge, command, pod, plugins, config)
    };
    let pods = [format!("{name:.8}-a"), format!("{name:.8}-b")];
    let mut results = Vec::new();
    for (pod, expected) in pods.iter().zip(hosts) {
        node.add_namespace(pod);
        let result = run("ADD", pod, config).ok();
        let given: Vec<&str> = match result["ips"].as_array() {
            Some(ips) => ips.iter().filter_map(|ip| ip["address"].as_str()).collect(),
            // Before 0.3.0.
            None => [&result["ip4"]["ip"], &result["ip6"]["ip"]]
                .iter()
                .filter_map(|ip| ip.as_str())
                .collect(),
        };
        assert_eq!(given, expected, "{name}");
        results.push(result);
    }
    let bare = |address: &&str| address.split('/').next().unwrap_or_default().to_owned();
    let targets = hosts[1].iter().map(bare).chain(gateways.iter().map(|text| (*text).to_owned()));
    for target in targets {
        node.ping(&format!("/run/netns/{}", pods[0]), &target);
    }
    if config["cniVersion"] == "0.4.0" {
        let mut check = config.clone();
        check["prevResult"] = results[0].clone();
        run("CHECK", &pods[0], &check).ok();
    }
    for pod in &pods {
        for _ in 0..2 {
            run("DEL", pod, config).ok();
        }
        node.ok(&["ip", "netns", "delete", pod]);
    }
    node.network(name).assert_nothing_reserved();
}

fn can_bridge(test: &str) -> bool {
    can_name_hosts(test)
        && skip_unless(test, &[(reference("bridge").is_some(), "containernetworking-plugins")])
}

#[test]
fn a_bridge_with_a_template() {
    if !can_bridge("a_bridge_with_a_template") {
        return;
    }
    for generation in GENERATIONS {
        let node = start("vm-003", generation);
        // With `cfg`, and with no word about where the ranges are.
        for object in ["bridge", "xcluster"] {
            let dual = is_dual_stack(generation);
            let [a, b] =
                [["11.0.3.2/24", "1100::b00:302/120"], ["11.0.3.3/24", "1100::b00:303/120"]];
            let gateways = ["11.0.3.1", "1100::b00:301"];
            let families = if dual { 2 } else { 1 };
            let hosts = [&a[..families], &b[..families]];
            bridged(&node, &definition(object), hosts, &gateways[..families]);
            node.ok(&["ip", "link", "delete", "cbr0"]);
        }
    }
}

/// The ranges that the later generation computed in the script itself.
#[test]
fn a_bridge_with_a_formula() {
    if !can_bridge("a_bridge_with_a_formula") {
        return;
    }
    let node = start("vm-012", "percent-0.4.0");
    let formula = json!({"ipam": {"ranges": [
        [{"subnet": "11.0.{i}.0/24"}],
        [{"subnet": "1000::2:11.0.{i}.0/120"}],
    ]}});
    node.write("/etc/cni/node-local/default", formula.to_string());
    bridged(
        &node,
        &definition("xcluster"),
        [&["11.0.12.2/24", "1000::2:b00:c02/120"], &["11.0.12.3/24", "1000::2:b00:c03/120"]],
        &["11.0.12.1", "1000::2:b00:c01"],
    );
}

#[test]
fn a_bridge_with_ranges_of_its_own() {
    if !can_bridge("a_bridge_with_ranges_of_its_own") {
        return;
    }
    let node = start("vm-001", "percent-0.4.0");
    bridged(
        &node,
        &definition("bridge1"),
        [&["172.30.1.2/24", "1000::1:ac1e:102/120"], &["172.30.1.3/24", "1000::1:ac1e:103/120"]],
        &["172.30.1.1", "1000::1:ac1e:101"],
    );
}

/// Where a boot script put the index into the definition, and where node-local does.
#[test]
fn a_bridge_with_marks_in_its_definition() {
    if !can_bridge("a_bridge_with_marks_in_its_definition") {
        return;
    }
    let node = start("vm-009", "x-0.3.1");
    let written = definition("delegate");
    let substituted = written.to_string().replace(".x", ".9");
    let mut left = written.clone();
    left["ipam"]["type"] = json!("node-local");
    for config in [serde_json::from_str(&substituted).expect("still JSON"), left] {
        bridged(&node, &config, [&["11.0.9.2/24"], &["11.0.9.3/24"]], &["11.0.9.1"]);
        node.ok(&["rm", "-rf", "/run/plat", "/var/lib/plat", "/var/lib/cni/networks/delegate"]);
    }
}

#[test]
fn kubenet() {
    if !can_bridge("kubenet") {
        return;
    }
    let node = start("kubenet1", "percent-0.4.0");
    bridged(
        &node,
        &definition("kubenet"),
        [&["10.244.1.2/24", "fd00:10:244:1::2/64"], &["10.244.1.3/24", "fd00:10:244:1::3/64"]],
        &["10.244.1.1", "fd00:10:244:1::1"],
    );
}
