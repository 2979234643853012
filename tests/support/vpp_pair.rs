/*!
Two nodes with a real VPP each, joined by a veth pair that both VPPs have as their uplink.

Both nodes have the same network configuration; what is different follows from their host names, `vm-1` and
`vm-2`. Nothing of them is in the namespaces of the machine that the tests run on.
*/

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use kernel::Namespace;
use serde_json::{Value, json};

use crate::vpp_process::{VppProcess, VppProgram};
use crate::{Node, Outcome, binary, finish, program};

/// A node of the pair.
#[derive(Debug)]
pub struct VppPairNode {
    /// Its VPP.
    pub vpp: VppProcess,
    /// Its namespaces.
    pub node: Node,
    /// Its number: 1 or 2.
    pub index: u32,
}

/// Two nodes.
#[derive(Debug)]
pub struct VppPair {
    /// They.
    pub nodes: [VppPairNode; 2],
    /// The network configuration of both.
    pub config: Value,
}

/// A pod of a node.
#[derive(Debug)]
pub struct PairPod {
    /// Its container ID, and the name of its namespace.
    pub id: String,
    /// Which node it is on: 0 or 1.
    pub on: usize,
    /// Its namespace.
    pub namespace: Namespace,
    /// What ADD has answered.
    pub result: Value,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

impl VppPair {
    /// Starts both. Needs root.
    pub fn start(vpp: &VppProgram) -> Self {
        let [one, two] = [1, 2].map(|index| Node::start(&format!("vm-{index}")));
        let holders = [&one, &two].map(|node| node.holder().to_string());
        let [first, second] = &holders;
        let pair = ["link", "add", "upl1", "netns", first, "type", "veth", "peer", "name", "upl2"];
        let made = Command::new(program("ip")).args(pair).args(["netns", second]).status();
        assert!(made.is_ok_and(|status| status.success()), "the nodes can be joined");
        let mut index = 0;
        let nodes = [one, two].map(|node| {
            index += 1;
            let device = format!("upl{index}");
            node.ok(&["ip", "link", "set", &device, "up"]);
            for name in ["vpp", "node-local", "plat"] {
                node.install(&binary(name));
            }
            let vpp = VppProcess::start(vpp, &node, Some(&device));
            VppPairNode { vpp, node, index }
        });
        let config = configuration();
        let mut pair = Self { nodes, config };
        pair.name_uplink(vpp);
        pair
    }

    /// A DPDK device has the same name on both nodes. One of af_packet has the kernel's.
    fn name_uplink(&mut self, vpp: &VppProgram) {
        if vpp.has_dpdk() {
            self.config["uplink"]["name"] = vpp.uplink_name("upl1").into();
        }
    }

    /// The configuration of a node.
    pub fn config_of(&self, on: usize) -> Value {
        let mut config = self.config.clone();
        if config["type"] == "vpp" && config["uplink"]["name"].is_null() {
            config["uplink"]["name"] = self.nodes[on].vpp.uplink().into();
        }
        config
    }

    /// A call of the plugin on a node, as a runtime makes it.
    pub fn call(&self, on: usize, command: &str, id: &str, config: &Value) -> Outcome {
        let node = &self.nodes[on].node;
        let plugins = node.plugins();
        let path = plugins.display();
        let (command, container) =
            (format!("CNI_COMMAND={command}"), format!("CNI_CONTAINERID={id}"));
        let (netns, path) = (format!("CNI_NETNS=/run/netns/{id}"), format!("CNI_PATH={path}"));
        let plugin = config["type"].as_str().unwrap_or("vpp");
        let binary = plugins.join(plugin).to_string_lossy().into_owned();
        let words =
            ["env", &command, &container, &netns, &path, "CNI_IFNAME=eth0", binary.as_str()];
        finish(&mut node.command(&words), config.to_string().as_bytes())
    }

    /// Starts a pod on a node.
    pub fn add(&self, on: usize, id: &str) -> PairPod {
        let node = &self.nodes[on].node;
        let inside = node.add_namespace(id);
        let namespace = Namespace::open(&node.path(inside)).expect("the pod's namespace");
        let outcome = self.call(on, "ADD", id, &self.config_of(on));
        let result = outcome.ok();
        let addresses =
            outcome.addresses().iter().map(|it| it.parse().expect("an address")).collect();
        PairPod { id: id.to_owned(), on, namespace, result, addresses }
    }

    /// CHECK of a pod.
    pub fn check(&self, pod: &PairPod) -> Outcome {
        let mut config = self.config_of(pod.on);
        config["prevResult"] = pod.result.clone();
        self.call(pod.on, "CHECK", &pod.id, &config)
    }

    /// DEL of a pod. Its namespace stays.
    pub fn del(&self, pod: &PairPod) {
        self.call(pod.on, "DEL", &pod.id, &self.config_of(pod.on)).ok();
    }

    /// Pings an address from a pod; panics if no answer comes.
    pub fn ping(&self, from: &PairPod, to: IpAddr) {
        let namespace = format!("/run/netns/{}", from.id);
        self.nodes[from.on].node.ping(&namespace, &to.to_string());
    }

    /// Pings an address from a node itself; panics if no answer comes.
    pub fn ping_from_host(&self, on: usize, to: IpAddr) {
        let to = to.to_string();
        self.nodes[on].node.ok(&["ping", "-n", "-i", "0.2", "-c", "1", "-w", "100", &to]);
    }

    /// Runs the command line on a node.
    pub fn plat(&self, on: usize, arguments: &[&str]) -> Outcome {
        let node = &self.nodes[on].node;
        let plat = node.plugins().join("plat").to_string_lossy().into_owned();
        node.run(&[&[plat.as_str()], arguments].concat())
    }

    /// What `ip` says in a pod's namespace.
    pub fn ip_in(&self, pod: &PairPod, arguments: &[&str]) -> String {
        let node = &self.nodes[pod.on].node;
        node.ok(&[&["ip", "-netns", pod.id.as_str()], arguments].concat())
    }

    /// The names of what is in a directory of a node.
    pub fn files(&self, on: usize, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.nodes[on].node.path(Path::new(directory)));
        let entries = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// One configuration for every node, but for the uplink's name.
fn configuration() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "pods",
        "type": "vpp",
        "kind": "veth",
        "uplink": {
            "address": ["192.168.16.{i}/24", "fd00:16::{i:x}/64"],
        },
        "peers": [
            {"nodes": "1-2", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
            {"nodes": "1-2", "subnet": "fd00:1:{peer:x}::/64", "via": "fd00:16::{peer:x}"},
        ],
        "hostLink": {
            "vpp": ["172.30.{i}.1/30", "fd00:30:{i:x}::1/64"],
            "host": ["172.30.{i}.2/30", "fd00:30:{i:x}::2/64"],
        },
        "ipam": {
            "type": "node-local",
            "ranges": [[{"subnet": "10.1.{i}.0/24"}], [{"subnet": "fd00:1:{i:x}::/64"}]],
        },
    })
}
