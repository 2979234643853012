//! Pods by the bridge plugin and an IPAM plugin of ours, as a runtime makes them on a node.

use std::process::Command;

use serde_json::{Value, json};
use support::{Outcome, binary, finish, have, is_root, reference, skip_unless, wait_until};

use super::cluster::{Namespace, Node, available};

/// Whether the test can have nodes with pods; otherwise it says that it is skipped.
pub(super) fn pods_available(test: &str) -> bool {
    let bridge = [
        (reference("bridge").is_some(), "containernetworking-plugins"),
        (is_root(), "root"),
        (have("ping"), "ping"),
    ];
    skip_unless(test, &bridge) && available(test)
}

/// A pod: a network namespace with an attachment to each of some networks.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) space: Namespace,
    /// The container ID.
    pub(super) id: String,
    /// The addresses that it got, in their order, without prefix lengths.
    pub(super) addresses: Vec<String>,
}

impl Pod {
    /// A pod that is attached to nothing.
    pub(super) fn new(id: &str) -> Self {
        let space = Namespace::new();
        // The bridge plugin would wait for the end of duplicate address detection.
        for of in ["all", "default"] {
            space.set_sysctl(&format!("ipv6/conf/{of}/accept_dad"), 0);
        }
        Self { space, id: id.to_owned(), addresses: Vec::new() }
    }

    /// A pod of a node that is attached to a network by `eth0`.
    pub(super) fn on(node: &Node, id: &str, config: &Value) -> Self {
        let mut pod = Self::new(id);
        pod.add(node, "eth0", config);
        pod
    }

    /// Attaches it to a further network.
    pub(super) fn add(&mut self, node: &Node, ifname: &str, config: &Value) -> Value {
        let outcome = self.call(node, "ADD", ifname, config);
        let result = outcome.ok();
        self.addresses.extend(outcome.addresses());
        result
    }

    /// Detaches it.
    pub(super) fn del(&self, node: &Node, ifname: &str, config: &Value) {
        self.call(node, "DEL", ifname, config).ok();
    }

    /// A call of a network's main plugin on a node.
    pub(super) fn call(&self, node: &Node, what: &str, ifname: &str, config: &Value) -> Outcome {
        let main = config["type"].as_str().expect("a type");
        let main = reference(main).unwrap_or_else(|| binary(main));
        self.call_of(node, &main, what, ifname, config)
    }

    /// A call of a plugin on a node.
    pub(super) fn call_of(
        &self,
        node: &Node,
        plugin: &std::path::Path,
        what: &str,
        ifname: &str,
        config: &Value,
    ) -> Outcome {
        let namespace = format!("/run/netns/{}", self.space.name);
        let mut command = self.command(node, plugin);
        command
            .env("CNI_COMMAND", what)
            .env("CNI_CONTAINERID", &self.id)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", ifname);
        finish(&mut command, config.to_string().as_bytes())
    }

    fn command(&self, node: &Node, plugin: &std::path::Path) -> Command {
        let ours = binary("node-local");
        let bridge = reference("bridge").expect("the test has looked for it");
        let dirs = [&ours, &bridge].map(|it| it.parent().expect("a directory").display());
        let mut command = node.space.command(plugin.to_str().expect("a path"), &[]);
        command.env("CNI_PATH", format!("{}:{}", dirs[0], dirs[1]));
        command.env("NODE_INDEX", node.index.to_string()).env_remove("PLAT_ETCD_CONFIG");
        for (variable, place) in [("PLAT_STATE_DIR", "state"), ("PLAT_RUN_DIR", "run")] {
            command.env(variable, node.scratch.path().join(place));
        }
        command
    }

    /// Waits until it reaches every address of another pod.
    pub(super) fn reaches(&self, other: &Self) {
        for address in &other.addresses {
            let what = format!("{} reaches {address} of {}", self.id, other.id);
            wait_until(&what, || self.space.pings(address));
        }
    }
}

/// Waits until every pod reaches every other one.
pub(super) fn all_reach_all(pods: &[&Pod]) {
    for (at, one) in pods.iter().enumerate() {
        for (_, other) in pods.iter().enumerate().filter(|(to, _)| *to != at) {
            one.reaches(other);
        }
    }
}

/// A network by the bridge plugin.
pub(super) fn bridge(name: &str, bridge: &str, ipam: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": bridge,
        "isGateway": true, "ipam": ipam,
    })
}
