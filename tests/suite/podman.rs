//! Podman with its CNI backend: real containers on bridge and our plugins, static addresses, several
//! networks, containers that are killed.

use std::net::IpAddr;

use serde_json::{Value, json};
use support::{
    Holdings, Node, Outcome, binary, have, is_root, make_root, reference, skip_unless, wait_until,
};

const CONTAINERS_CONF: &str = r#"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/run/plugins"]
network_config_dir = "/etc/cni/net.d"

[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"

# The defaults are above the hard limits of a root without CAP_SYS_RESOURCE.
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;

/// The two networks of a container that is on both. Podman deals out interface names in no order,
/// unless it is told.
const PODS: &str = "pods:interface_name=eth0";
const STORAGE: &str = "storage:interface_name=eth1";

/// Podman on a node of its own, with the networks `pods` (node-local, both families) and `storage`
/// (host-local, IPv4).
struct Podman {
    node: Node,
}

impl Podman {
    fn start() -> Self {
        let node = Node::start("vm-007");
        for plugin in [binary("node-local"), binary("host-local")] {
            node.install(&plugin);
        }
        node.install(&reference("bridge").expect("the test has looked for it"));
        let pods = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": true,
                "ipam": {
                    "type": "node-local",
                    "carve": [
                        { "pool": "10.1.0.0/16", "prefix": 24 },
                        { "pool": "fd00:10:1::/48", "prefix": 64 },
                    ],
                },
            }],
        });
        let storage = json!({
            "cniVersion": "1.0.0",
            "name": "storage",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni1",
                "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.2.0.0/24" }]] },
            }],
        });
        node.write("/etc/cni/net.d/10-pods.conflist", pods.to_string());
        node.write("/etc/cni/net.d/20-storage.conflist", storage.to_string());
        node.write("/run/containers.conf", CONTAINERS_CONF);
        make_root(&node.path("/run/root"));
        Self { node }
    }

    fn run(&self, words: &[&str]) -> Outcome {
        let podman =
            ["env", "CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver", "vfs"];
        self.node.run(&[&podman[..], words].concat())
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.exit, Some(0), "podman {words:?}: {}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Tries to start a container that sleeps.
    fn try_start(&self, name: &str, networks: &[&str]) -> Outcome {
        let cgroup = self.node.cgroup();
        let mut words = vec!["run", "--detach", "--name", name, "--cgroup-parent", &cgroup];
        for network in networks {
            words.extend(["--network", network]);
        }
        words.extend(["--rootfs", "/run/root", "/bin/sleep", "100000"]);
        self.run(&words)
    }

    /// Starts a container that sleeps, and tells its id.
    fn container(&self, name: &str, networks: &[&str]) -> String {
        let outcome = self.try_start(name, networks);
        assert_eq!(outcome.exit, Some(0), "{name}: {}{}", outcome.stdout, outcome.stderr);
        outcome.stdout.trim().to_owned()
    }

    fn inspect(&self, name: &str) -> Value {
        let all: Value =
            serde_json::from_str(&self.ok(&["inspect", name])).expect("podman inspect prints JSON");
        all[0].clone()
    }

    /// The addresses that Podman was told for a container, IPv4 first.
    fn addresses(&self, name: &str, network: &str) -> Vec<IpAddr> {
        let told = &self.inspect(name)["NetworkSettings"]["Networks"][network];
        ["IPAddress", "GlobalIPv6Address"]
            .iter()
            .filter_map(|key| told[key].as_str()?.parse().ok())
            .collect()
    }

    /// Kills a process of the node, by the number it has there.
    fn kill(&self, pid: &Value) {
        assert!(pid.as_u64().is_some_and(|pid| pid > 1), "a process: {pid}");
        self.node.ok(&["kill", "-KILL", &pid.to_string()]);
        // Podman takes who is about to die for running, and then cannot stop it.
        let (status, lives) = (format!("/proc/{pid}/status"), "^State:[[:space:]]*[^ZX[:space:]]");
        wait_until("the killed process is dead", || {
            self.node.run(&["grep", "-qs", lives, &status]).exit != Some(0)
        });
    }

    fn pods(&self) -> Holdings {
        self.node.network("pods")
    }

    fn storage(&self) -> Holdings {
        self.node.network("storage")
    }

    fn assert_nothing_allocated(&self) {
        self.pods().assert_nothing_reserved();
        self.storage().assert_nothing_reserved();
    }
}

fn can_run(test: &str) -> bool {
    skip_unless(
        test,
        &[
            (is_root(), "root"),
            (have("podman"), "podman"),
            (have("runc"), "runc"),
            (have("conmon"), "conmon"),
            (have("busybox"), "busybox-static"),
            (reference("bridge").is_some(), "containernetworking-plugins"),
        ],
    )
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn containers_reach_each_other_and_leave_nothing() {
    if !can_run("containers_reach_each_other_and_leave_nothing") {
        return;
    }
    let podman = Podman::start();
    let first = podman.container("first", &["pods"]);
    let second = podman.container("second", &["pods"]);

    let addresses = podman.addresses("second", "pods");
    assert_eq!(addresses, [address("10.1.7.3"), address("fd00:10:1:7::3")]);
    assert_eq!(podman.pods().held_by(&first, "eth0").len(), 2);
    assert_eq!(podman.pods().held_by(&second, "eth0"), addresses);
    for target in &addresses {
        let target = target.to_string();
        podman.ok(&["exec", "first", "ping", "-c", "1", "-w", "100", &target]);
    }

    podman.ok(&["stop", "--time", "0", "first"]);
    assert_eq!(podman.pods().held_by(&first, "eth0"), [] as [IpAddr; 0]);
    assert_eq!(podman.pods().held_by(&second, "eth0"), addresses);
    podman.ok(&["start", "first"]);
    assert_eq!(podman.pods().held_by(&first, "eth0").len(), 2);
    podman.ok(&["rm", "--force", "--time", "0", "first", "second"]);
    podman.assert_nothing_allocated();
}

#[test]
fn static_addresses_are_given_once() {
    if !can_run("static_addresses_are_given_once") {
        return;
    }
    let podman = Podman::start();
    let id = podman.container("wanted", &["pods:ip=10.1.7.77,mac=02:00:00:00:00:4d"]);
    let addresses = podman.addresses("wanted", "pods");
    assert_eq!(addresses, [address("10.1.7.77"), address("fd00:10:1:7::2")]);
    assert_eq!(podman.pods().held_by(&id, "eth0"), addresses);
    let told = podman.inspect("wanted");
    assert_eq!(
        told["NetworkSettings"]["Networks"]["pods"]["MacAddress"],
        json!("02:00:00:00:00:4d")
    );

    let refused = podman.try_start("too-late", &["pods:ip=10.1.7.77"]);
    assert_ne!(refused.exit, Some(0));
    assert!(refused.stderr.contains("10.1.7.77"), "{}", refused.stderr);
    let outside = podman.try_start("outside", &["pods:ip=10.1.8.77"]);
    assert_ne!(outside.exit, Some(0));
    assert!(outside.stderr.contains("10.1.8.77"), "{}", outside.stderr);
    // Both failed in IPv4 only; the IPv6 addresses of their calls are free again.
    assert_eq!(podman.pods().reservations().len(), 2);

    podman.container("dual", &["pods:ip=10.1.7.78,ip=fd00:10:1:7::78"]);
    let both = [address("10.1.7.78"), address("fd00:10:1:7::78")];
    assert_eq!(podman.addresses("dual", "pods"), both);

    podman.ok(&["rm", "--force", "--time", "0", "wanted", "dual"]);
    podman.container("next", &["pods:ip=10.1.7.77"]);
    podman.ok(&["rm", "--force", "--time", "0", "next"]);
    podman.assert_nothing_allocated();
}

#[test]
fn a_container_on_two_networks() {
    if !can_run("a_container_on_two_networks") {
        return;
    }
    let podman = Podman::start();
    let both = podman.container("both", &[PODS, &format!("{STORAGE},ip=10.2.0.20")]);
    let one = podman.container("one", &["storage"]);
    assert_eq!(podman.pods().held_by(&both, "eth0").len(), 2);
    assert_eq!(podman.storage().held_by(&both, "eth1"), [address("10.2.0.20")]);
    assert_eq!(podman.storage().held_by(&one, "eth0").len(), 1);
    podman.ok(&["exec", "one", "ping", "-c", "1", "-w", "100", "10.2.0.20"]);

    podman.ok(&["rm", "--force", "--time", "0", "both"]);
    podman.pods().assert_nothing_reserved();
    assert_eq!(podman.storage().reservations().len(), 1);
    podman.ok(&["rm", "--force", "--time", "0", "one"]);
    podman.assert_nothing_allocated();
}

#[test]
fn killed_containers_leave_nothing() {
    if !can_run("killed_containers_leave_nothing") {
        return;
    }
    let podman = Podman::start();
    let killed = podman.container("killed", &[PODS, STORAGE]);
    let orphan = podman.container("orphan", &[PODS, STORAGE]);
    let other = podman.container("other", &["pods"]);

    // The monitor of the container notices, and has Podman clean up.
    podman.kill(&podman.inspect("killed")["State"]["Pid"]);
    wait_until("the addresses of a killed container are free", || {
        podman.pods().held_by(&killed, "eth0").is_empty()
            && podman.storage().held_by(&killed, "eth1").is_empty()
    });
    wait_until("Podman has done with it", || {
        podman.inspect("killed")["State"]["Status"] == "exited"
    });

    // Nobody notices where the monitor is killed as well, until the container is removed.
    let state = podman.inspect("orphan")["State"].clone();
    podman.kill(&state["ConmonPid"]);
    podman.kill(&state["Pid"]);
    assert_eq!(podman.pods().held_by(&orphan, "eth0").len(), 2);
    podman.ok(&["rm", "--force", "--time", "0", "killed", "orphan"]);
    podman.storage().assert_nothing_reserved();
    assert_eq!(podman.pods().reservations().len(), 2);
    assert_eq!(podman.pods().held_by(&other, "eth0").len(), 2);

    podman.ok(&["rm", "--force", "--time", "0", "other"]);
    podman.assert_nothing_allocated();
}
