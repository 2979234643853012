//! The examples of vpp, with a VPP in miniature, on a node of its own.

use std::path::Path;

use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use serde_json::{Value, json};
use support::vpp::{Devices, Setup, Vpp};
use support::{Node, VppNode, VppPod, binary, is_root, skip_unless};
use vpp_plugin::config::Config;
use vpp_plugin::node::NodeSpec;

use super::{Example, run};

impl Example {
    fn is_vpp(&self) -> bool {
        self.config["type"] == "vpp"
    }
}

fn examples() -> Vec<Example> {
    Example::everywhere().filter(Example::is_vpp).collect()
}

/// Every key is one that the plugin knows, and what follows from it can be meant so, on the first node and the last.
#[test]
fn configurations_of_vpp_can_be_meant_so() {
    let mut kinds = Vec::new();
    for example in examples() {
        let file = &example.file;
        let config = Config::parse(&example.config, "").unwrap_or_else(|e| panic!("{file}: {e}"));
        kinds.push((example.text("kind").to_owned(), config.ipam.unwrap_or_default()));
        let spec = NodeSpec::parse(&At::root(&config.node));
        let spec = spec.unwrap_or_else(|e| panic!("{file}: {e}"));
        for index in [1, 4, 64] {
            let node =
                NodeIdentity { index, name: format!("vm-{index}"), source: "the test".to_owned() };
            let setup = spec.render(Some(&node)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!(setup.warnings, [""; 0], "{file}: nothing to be warned of");
            let peers = match &example.config["peers"] {
                Value::Null => 0,
                Value::Array(rules) => 63 * rules.len(),
                _ => 63,
            };
            let gateway = usize::from(!example.config["uplink"]["gateway"].is_null());
            assert_eq!(setup.routes.len(), peers + gateway, "{file}: the node itself is left out");
        }
    }
    kinds.sort();
    let all = [
        ("auto", "etcd-pool"),
        ("auto", "node-local"),
        ("auto", "node-local"),
        ("memif", "host-local"),
        ("tap", "node-local"),
        ("veth", "host-local"),
        ("veth", "node-local"),
    ];
    assert_eq!(kinds, all.map(|(kind, ipam)| (kind.to_owned(), ipam.to_owned())));
}

/// Pods of node 4 are attached and detached, and VPP has the node's part. Devices on the host itself are made on a
/// node of the test's own, everything else in the network namespace of the tests.
#[test]
fn pods_are_attached_to_vpp() {
    if !skip_unless("pods_are_attached_to_vpp", &[(is_root(), "root")]) {
        return;
    }
    for example in examples().into_iter().filter(|example| !example.has_pool()) {
        if example.config["hostLink"].is_null() {
            with_pods(&example);
        } else {
            on_a_node(&example);
        }
    }
}

fn with_pods(example: &Example) {
    let node = VppNode::miniature();
    let mut config = example.config.clone();
    config["socket"] = json!(node.socket());
    config["ipam"]["dataDir"] = json!(node.data_dir());
    let memifs = node.scratch().path().join("memif");
    if config["kind"] == "memif" {
        config["memif"]["directory"] = json!(memifs);
    }
    let call = |command: &str, pod: &VppPod, config: &Value| {
        node.call(command, pod, config).env("NODE_INDEX", "4").run()
    };
    let pods = [node.pod(), node.pod()];
    let results: Vec<Value> = pods.iter().map(|pod| call("ADD", pod, &config).ok()).collect();
    for (pod, result) in pods.iter().zip(&results) {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        call("CHECK", pod, &config).ok();
    }
    assert_given(example, &results[0]);
    assert_node(example, node.vpp());
    if config["kind"] == "memif" {
        let interfaces = results[0]["interfaces"].as_array().expect("interfaces");
        let socket = interfaces.iter().find_map(|one| one["socketPath"].as_str());
        let socket = Path::new(socket.expect("a memif has a socket"));
        assert!(socket.starts_with(&memifs), "{}", socket.display());
    }
    for pod in &pods {
        for _ in 0..2 {
            call("DEL", pod, &config).ok();
        }
    }
    assert_eq!(attachments(node.vpp()), [""; 0], "{}", example.file);
    assert_eq!(node.records().len(), 0, "{}", example.file);
}

fn on_a_node(example: &Example) {
    let node = Node::start("vm-004");
    for plugin in ["vpp", "host-local", "node-local"] {
        node.install(&binary(plugin));
    }
    let vpp = Vpp::start(Setup { devices: Devices::Any, ..Setup::default() });
    let mut config = example.config.clone();
    config["socket"] = json!(vpp.path());
    node.add_namespace("a");
    let result = run(&node, example, &config, "ADD", "a").ok();
    let mut checked = config.clone();
    checked["prevResult"] = result.clone();
    run(&node, example, &checked, "CHECK", "a").ok();
    assert_given(example, &result);
    assert_node(example, &vpp);
    let routes = node.ok(&["ip", "route"]);
    for route in config["hostLink"]["routes"].as_array().into_iter().flatten() {
        let route = route.as_str().expect("a text");
        assert!(route.contains(':') || routes.contains(route), "{route}: {routes}");
    }
    for _ in 0..2 {
        run(&node, example, &config, "DEL", "a").ok();
    }
    assert_eq!(attachments(&vpp), [""; 0], "{}", example.file);
    assert_eq!(vpp.complaints(), [""; 0], "{}", example.file);
}

/// The addresses are those that the README says.
fn assert_given(example: &Example, result: &Value) {
    let bare = |address: &str| address.split('/').next().map(str::to_owned);
    let ips = result["ips"].as_array().expect("addresses");
    let given: Vec<String> = ips.iter().filter_map(|ip| bare(ip["address"].as_str()?)).collect();
    let statement = example.statements().swap_remove(0);
    let said: Vec<String> = statement.addresses.iter().filter_map(|a| bare(a)).collect();
    assert_eq!(given, said, "{}", example.file);
}

/// The interfaces of attachments that VPP has.
fn attachments(vpp: &Vpp) -> Vec<String> {
    vpp.look(|state| {
        let all = state.interfaces.values();
        let ours = all.filter(|one| vpp_plugin::tag::Tag::parse(&one.tag).is_some());
        ours.map(|one| one.name.clone()).collect()
    })
}

/// What the configuration says of the uplink and of other nodes is so in VPP.
fn assert_node(example: &Example, vpp: &Vpp) {
    let file = &example.file;
    if example.config["uplink"].is_null() {
        return;
    }
    vpp.look(|state| {
        let (_, uplink) = state.named("GigabitEthernet0/4/0").expect("the uplink");
        assert!(uplink.up, "{file}");
        let addresses: Vec<String> =
            uplink.addresses.iter().map(|prefix| format!("{prefix:?}")).collect();
        assert!(!addresses.is_empty(), "{file}");
        if let Some(mtu) = example.config["uplink"]["mtu"].as_u64() {
            assert_eq!(u64::from(uplink.mtu[0]), mtu, "{file}");
        }
        assert!(state.routes.len() >= 63, "{file}: routes to the other nodes");
        let has_host = state.interfaces.values().any(|one| one.tag.starts_with("plat/host/"));
        assert_eq!(has_host, !example.config["hostLink"].is_null(), "{file}");
    });
}
