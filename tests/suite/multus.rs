//! Multus' way of calling: several networks per pod, its CNI_ARGS, roll-back when one network fails,
//! DEL repeated, without a namespace, and without the configuration that ADD had.
//!
//! Multus itself is not needed: what it sends is known, and the test sends the same to the plugins.

use std::net::IpAddr;

use serde_json::{Value, json};
use support::{Holdings, Node, Outcome, binary, finish, is_root, reference, skip_unless};

/// A node with its pods' networks, and the calls that Multus makes on it.
struct Multus {
    node: Node,
}

/// A network that a pod is attached to, and by which interface.
#[derive(Clone)]
struct Attachment {
    ifname: &'static str,
    config: Value,
}

/// A pod with its network namespace.
struct Pod {
    name: String,
    id: String,
    netns: String,
}

impl Multus {
    fn start() -> Self {
        let node = Node::start("vm-007");
        for plugin in [binary("node-local"), binary("host-local")] {
            node.install(&plugin);
        }
        node.install(&reference("bridge").expect("the test has looked for it"));
        Self { node }
    }

    fn pod(&self, name: &str) -> Pod {
        let id = format!("{name:a<8}{:056x}", 7);
        Pod { name: name.to_owned(), id, netns: self.node.add_namespace(name) }
    }

    /// What is reserved on a network; only that of `storage` is not in the default place.
    fn network(&self, name: &str) -> Holdings {
        if name == "storage" {
            self.node.network_in("/var/lib/ipam", name)
        } else {
            self.node.network(name)
        }
    }

    fn assert_nothing_allocated(&self) {
        for name in ["pods", "signalling", "storage"] {
            self.network(name).assert_nothing_reserved();
        }
    }

    /// Runs a plugin of the node with exactly this environment.
    fn call(&self, plugin: &str, environment: &[(&str, &str)], config: &Value) -> Outcome {
        let program = self.node.plugins().join(plugin);
        let mut command = self.node.command(&[program.to_str().expect("a plain path")]);
        command.envs(environment.iter().copied());
        finish(&mut command, config.to_string().as_bytes())
    }

    /// Has the main plugin of a configuration handle `command`.
    fn delegate(&self, command: &str, pod: &Pod, to: &Attachment, requests: &str) -> Outcome {
        self.call(
            to.config["type"].as_str().expect("a type"),
            &[
                ("CNI_COMMAND", command),
                ("CNI_CONTAINERID", &pod.id),
                ("CNI_NETNS", &pod.netns),
                ("CNI_IFNAME", to.ifname),
                ("CNI_PATH", "/run/plugins"),
                ("CNI_ARGS", &pod.arguments(requests)),
            ],
            &to.config,
        )
    }

    fn add(&self, pod: &Pod, to: &Attachment, requests: &str) -> Vec<IpAddr> {
        let outcome = self.delegate("ADD", pod, to, requests);
        outcome.addresses().iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn delete(&self, pod: &Pod, from: &Attachment) {
        self.delegate("DEL", pod, from, "").ok();
    }

    /// Attaches a pod to networks in order; where one fails, Multus takes back all it has tried, from
    /// the failed one on, and does not care what comes of it.
    fn add_all(&self, pod: &Pod, networks: &[(Attachment, &str)]) -> Result<(), String> {
        for (last, (network, requests)) in networks.iter().enumerate() {
            let outcome = self.delegate("ADD", pod, network, requests);
            if outcome.exit != Some(0) {
                for (network, _) in networks[..=last].iter().rev() {
                    self.delegate("DEL", pod, network, "");
                }
                return Err(outcome.error().1);
            }
        }
        Ok(())
    }
}

impl Pod {
    /// CNI_ARGS as they arrive: those of kubelet and those of Multus one after the other, with
    /// duplicate keys, `IgnoreUnknown` in both spellings, and requests of the pod's annotation last.
    fn arguments(&self, requests: &str) -> String {
        let Self { name, id, .. } = self;
        let kubelet = format!(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID=6f0c9a-{name}"
        );
        let multus = format!(
            "K8S_POD_UID=6f0c9a-{name};IgnoreUnknown=1;K8S_POD_NAMESPACE=default;\
             K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={id}"
        );
        let parts = [kubelet.as_str(), multus.as_str(), requests];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(";")
    }
}

impl Attachment {
    /// The cluster's own network, of node-local, by `eth0`.
    fn pods() -> Self {
        let ipam = json!({
            "type": "node-local",
            "carve": [
                { "pool": "10.1.0.0/16", "prefix": 24 },
                { "pool": "fd00:10:1::/48", "prefix": 64 },
            ],
        });
        Self { ifname: "eth0", config: network("pods", "cni0", ipam) }
    }

    /// A second network, of node-local, by `net1`.
    fn signalling() -> Self {
        let ipam = json!({
            "type": "node-local",
            "carve": [
                { "pool": "10.2.0.0/16", "prefix": 24 },
                { "pool": "fd00:10:2::/48", "prefix": 64 },
            ],
        });
        Self { ifname: "net1", config: network("signalling", "cni1", ipam) }
    }

    /// A third network, of host-local with another `dataDir`, by `net2`.
    fn storage() -> Self {
        let ipam = json!({
            "type": "host-local",
            "dataDir": "/var/lib/ipam",
            "ranges": [[{ "subnet": "10.3.0.0/24" }]],
        });
        Self { ifname: "net2", config: network("storage", "cni2", ipam) }
    }

    fn name(&self) -> &str {
        self.config["name"].as_str().expect("a name")
    }

    fn by(mut self, ifname: &'static str) -> Self {
        self.ifname = ifname;
        self
    }

    /// What Multus has kept of the configuration when DEL comes: no bridge, no ranges, no places.
    fn stripped(&self, result: &Value) -> Self {
        let mut config = json!({
            "cniVersion": self.config["cniVersion"],
            "name": self.config["name"],
            "type": self.config["type"],
            "ipam": { "type": self.config["ipam"]["type"] },
        });
        if !result.is_null() {
            config["prevResult"] = result.clone();
        }
        Self { ifname: self.ifname, config }
    }
}

fn network(name: &str, bridge: &str, ipam: Value) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": name,
        "type": "bridge",
        "bridge": bridge,
        "isGateway": true,
        "capabilities": { "ips": true, "mac": true },
        "ipam": ipam,
    })
}

fn all() -> [Attachment; 3] {
    [Attachment::pods(), Attachment::signalling(), Attachment::storage()]
}

fn can_run(test: &str) -> bool {
    let plugins = (reference("bridge").is_some(), "containernetworking-plugins");
    skip_unless(test, &[(is_root(), "root"), plugins])
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn pods_on_three_networks() {
    if !can_run("pods_on_three_networks") {
        return;
    }
    let multus = Multus::start();
    let pods = [multus.pod("one"), multus.pod("two")];
    let mut given = Vec::new();
    for pod in &pods {
        for network in &all() {
            given.push(multus.add(pod, network, ""));
        }
    }
    let expected = [
        addresses(&["10.1.7.2", "fd00:10:1:7::2"]),
        addresses(&["10.2.7.2", "fd00:10:2:7::2"]),
        addresses(&["10.3.0.2"]),
        addresses(&["10.1.7.3", "fd00:10:1:7::3"]),
        addresses(&["10.2.7.3", "fd00:10:2:7::3"]),
        addresses(&["10.3.0.3"]),
    ];
    assert_eq!(given, expected);
    for target in given[3..].iter().flatten() {
        multus.node.ping(&pods[0].netns, &target.to_string());
    }

    // Multus deletes from the last network to the first; runtimes ask it to at least twice.
    for _ in 0..3 {
        for network in all().iter().rev() {
            multus.delete(&pods[0], network);
        }
    }
    for network in &all() {
        let held = multus.network(network.name());
        assert_eq!(held.held_by(&pods[0].id, network.ifname), [] as [IpAddr; 0]);
        assert_eq!(held.reservations().len(), held.held_by(&pods[1].id, network.ifname).len());
        multus.delete(&pods[1], network);
    }
    multus.assert_nothing_allocated();
}

#[test]
fn a_pod_twice_on_one_network() {
    if !can_run("a_pod_twice_on_one_network") {
        return;
    }
    let multus = Multus::start();
    let pod = multus.pod("twice");
    let [first, second] = ["net1", "net2"].map(|ifname| Attachment::signalling().by(ifname));
    let of_first = multus.add(&pod, &first, "");
    let of_second = multus.add(&pod, &second, "");
    assert_eq!(of_first, addresses(&["10.2.7.2", "fd00:10:2:7::2"]));
    assert_eq!(of_second, addresses(&["10.2.7.3", "fd00:10:2:7::3"]));

    multus.delete(&pod, &second);
    multus.delete(&pod, &second);
    assert_eq!(multus.network("signalling").held_by(&pod.id, "net1"), of_first);
    assert_eq!(multus.network("signalling").reservations().len(), 2);
    multus.delete(&pod, &first);
    multus.assert_nothing_allocated();
}

#[test]
fn addresses_of_an_annotation() {
    if !can_run("addresses_of_an_annotation") {
        return;
    }
    let multus = Multus::start();
    let one_family = "MAC=02:00:00:00:00:50;IP=10.2.7.50/24";
    let both_families = "IP=10.2.7.51/24,fd00:10:2:7::51/64";
    let swapped_and_bare = "IP=fd00:10:2:7::52,10.2.7.52";
    for (name, requests, expected) in [
        ("one", one_family, &["10.2.7.50"][..]),
        ("two", both_families, &["10.2.7.51", "fd00:10:2:7::51"]),
        ("three", swapped_and_bare, &["10.2.7.52", "fd00:10:2:7::52"]),
    ] {
        let pod = multus.pod(name);
        // Multus sends what the annotation asks for twice, if the network has the capability.
        let mut network = Attachment::signalling();
        let ips = requests.split_once("IP=").map(|(_, ips)| ips).expect("a request");
        for runtime_config in [Value::Null, json!({ "ips": ips.split(',').collect::<Vec<_>>() })] {
            network.config["runtimeConfig"] = runtime_config;
            let given = multus.add(&pod, &network, requests);
            // A family that was not asked for gets the next free address.
            assert_eq!(given.len(), 2, "{requests}, {}", network.config);
            assert!(given.starts_with(&addresses(expected)), "{requests}: {given:?}");
            if requests.starts_with("MAC=") {
                let link = multus.node.ok(&["ip", "-n", name, "link", "show", "dev", "net1"]);
                assert!(link.contains("02:00:00:00:00:50"), "{link}");
            }
            multus.delete(&pod, &network);
            multus.network("signalling").assert_nothing_reserved();
        }
    }
}

#[test]
fn a_network_that_fails_takes_the_others_back() {
    if !can_run("a_network_that_fails_takes_the_others_back") {
        return;
    }
    let multus = Multus::start();
    let owner = multus.pod("owner");
    let late = multus.pod("late");
    let wanted = "IP=10.3.0.30/24";
    let networks = |pods, signalling, storage| {
        let [first, second, third] = all();
        [(first, pods), (second, signalling), (third, storage)]
    };
    multus.add_all(&owner, &networks("", "", wanted)).expect("an attached pod");

    for requests in [["", "", wanted], ["", "IP=10.2.7.2,fd00:10:2:7::99", ""]] {
        let [pods, signalling, storage] = requests;
        let error = multus.add_all(&late, &networks(pods, signalling, storage));
        let error = error.expect_err("the address is another pod's");
        assert!(error.contains("10.3.0.30") || error.contains("10.2.7.2"), "{error}");
        for network in &all() {
            let held = multus.network(network.name());
            assert_eq!(held.reservations().len(), held.held_by(&owner.id, network.ifname).len());
            assert!(!held.reservations().is_empty(), "the owner keeps what it has");
        }
    }

    multus.add_all(&late, &networks("", "", "IP=10.3.0.31/24")).expect("an attached pod");
    for pod in [&owner, &late] {
        for network in all().iter().rev() {
            multus.delete(pod, network);
        }
    }
    multus.assert_nothing_allocated();
}

#[test]
fn pods_without_a_namespace_are_deleted() {
    if !can_run("pods_without_a_namespace_are_deleted") {
        return;
    }
    let multus = Multus::start();
    for namespace in ["empty", "gone"] {
        let mut pod = multus.pod(namespace);
        for network in &all() {
            multus.add(&pod, network, "");
            assert!(!multus.network(network.name()).held_by(&pod.id, network.ifname).is_empty());
        }
        multus.node.ok(&["ip", "netns", "delete", namespace]);
        if namespace == "empty" {
            pod.netns.clear();
        }
        for _ in 0..2 {
            for network in all().iter().rev() {
                multus.delete(&pod, network);
            }
            multus.assert_nothing_allocated();
        }
    }
}

#[test]
fn a_stripped_configuration_is_enough_to_delete() {
    if !can_run("a_stripped_configuration_is_enough_to_delete") {
        return;
    }
    let multus = Multus::start();
    let neighbour = multus.pod("neighbour");
    let mut held = Vec::new();
    for network in &all() {
        multus.add(&neighbour, network, "");
        held.push(multus.network(network.name()).reservations().len());
    }
    let neighbour_alone = || {
        for (network, held) in all().iter().zip(&held) {
            let now = multus.network(network.name());
            assert_eq!(now.reservations().len(), *held, "{}", network.name());
            assert_eq!(now.held_by(&neighbour.id, network.ifname).len(), *held);
        }
    };

    for (name, with_result, with_namespace) in [
        ("cached", true, true),
        ("cached-gone", true, false),
        ("plain", false, true),
        ("plain-gone", false, false),
    ] {
        let mut pod = multus.pod(name);
        let stripped = all().map(|network| {
            let result = multus.delegate("ADD", &pod, &network, "").ok();
            assert!(!multus.network(network.name()).held_by(&pod.id, network.ifname).is_empty());
            network.stripped(&if with_result { result } else { Value::Null })
        });
        if !with_namespace {
            multus.node.ok(&["ip", "netns", "delete", name]);
            pod.netns.clear();
        }
        for _ in 0..2 {
            for network in stripped.iter().rev() {
                multus.delete(&pod, network);
            }
            neighbour_alone();
        }
    }

    // The same to the IPAM plugin itself, with nothing of the main plugin's before it.
    let pod = multus.pod("direct");
    for network in &all() {
        let result = multus.delegate("ADD", &pod, network, "").ok();
        let stripped = network.stripped(&result);
        let ipam = network.config["ipam"]["type"].as_str().expect("a type");
        let environment = [
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", pod.id.as_str()),
            ("CNI_NETNS", ""),
            ("CNI_IFNAME", network.ifname),
            ("CNI_PATH", "/run/plugins"),
        ];
        for _ in 0..2 {
            multus.call(ipam, &environment, &stripped.config).ok();
        }
    }
    neighbour_alone();
    for network in &all() {
        multus.delete(&neighbour, &network.stripped(&Value::Null));
    }
    multus.assert_nothing_allocated();
}
