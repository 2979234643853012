//! containerd, asked through its Container Runtime Interface as kubelet asks it: pods on bridge and
//! our plugins, pods that are killed, containerd killed under them.

mod cri;

use std::fs;
use std::net::IpAddr;

use serde_json::{Value, json};
use support::{
    Holdings, Node, Plugin, binary, have, is_root, make_image, make_root, reference, skip_unless,
    wait_until,
};

use cri::{Cri, Pod};

const IMAGE: &str = "plat.test/pause:1";

const CONFIG: &str = r#"
version = 2
# Drivers that this needs not; each would look at the host.
disabled_plugins = [
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "/run/containerd/containerd.sock"

# A machine that stands still for a moment is no reason to give a shim up.
[timeouts]
"io.containerd.timeout.shim.cleanup" = "60s"
"io.containerd.timeout.shim.load" = "60s"
"io.containerd.timeout.shim.shutdown" = "60s"
"io.containerd.timeout.task.state" = "60s"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "plat.test/pause:1"
disable_apparmor = true
disable_tcp_service = true
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/run/plugins"
conf_dir = "/etc/cni/net.d"
"#;

/// containerd on a node of its own, with the network `pods`.
struct Containerd {
    cri: Cri,
    /// The daemon's process, as the node numbers it.
    daemon: String,
    node: Node,
}

impl Containerd {
    /// The IPAM plugin gets the section `ipam`, without its `type`.
    fn start(plugin: Plugin, mut ipam: Value) -> Self {
        let node = Node::start("vm-007");
        node.install(&binary(plugin.name()));
        for name in ["bridge", "loopback"] {
            node.install(&reference(name).expect("the test has looked for it"));
        }
        ipam["type"] = json!(plugin.name());
        let network = json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": true,
                "ipam": ipam,
            }],
        });
        node.write("/etc/cni/net.d/10-pods.conflist", network.to_string());
        node.write("/run/config.toml", CONFIG);
        let daemon = Self::run_daemon(&node);
        let cri = Cri::connect(&node.path("/run/containerd/containerd.sock"));

        let root = node.path("/run/image/root");
        make_root(&root);
        make_image(&node.path("/run/image"), IMAGE, &root, &["/bin/sleep", "100000"]);
        node.ok(&["ctr", "-n", "k8s.io", "image", "import", "/run/image/image.tar"]);
        Self { cri, daemon, node }
    }

    fn run_daemon(node: &Node) -> String {
        let start = "containerd --config /run/config.toml </dev/null >>/run/log 2>&1 & echo $!";
        node.ok(&["sh", "-c", start]).trim().to_owned()
    }

    /// Kills containerd without warning and starts it again; the pods' shims live on.
    fn restart(&mut self) {
        self.kill_daemon();
        self.start_again();
    }

    fn kill_daemon(&self) {
        self.node.ok(&["kill", "-KILL", &self.daemon]);
    }

    fn start_again(&mut self) {
        self.daemon = Self::run_daemon(&self.node);
        self.cri = Cri::connect(&self.node.path("/run/containerd/containerd.sock"));
    }

    /// Starts a pod, and tells it with its addresses, IPv4 first.
    fn pod(&mut self, name: &str) -> (Pod, Vec<IpAddr>) {
        let pod = self
            .cri
            .run_pod(name, &self.node.cgroup())
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.log()));
        let (addresses, _) = self.cri.inspect(&pod);
        assert_eq!(self.network().held_by(&pod.id, "eth0"), addresses, "{name}");
        (pod, addresses)
    }

    /// Kills the process that holds a pod's namespaces.
    fn kill(&mut self, pod: &Pod) {
        let (_, pid) = self.cri.inspect(pod);
        assert!(pid > 1, "not the node's first process");
        self.node.ok(&["kill", "-KILL", &pid.to_string()]);
    }

    fn remove(&mut self, pod: &Pod) {
        self.cri.stop(pod);
        self.cri.remove(pod);
    }

    fn network(&self) -> Holdings {
        self.node.network("pods")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.node.path("/run/log")).unwrap_or_default()
    }

    fn assert_nothing_left(&mut self) {
        self.network().assert_nothing_reserved();
        assert_eq!(self.cri.pods(), [] as [String; 0]);
        // The bridge plugin leaves its bridge, but no pod's interface on it.
        let interfaces = self.node.ok(&["ip", "-o", "link", "show", "type", "veth"]);
        assert_eq!(interfaces, "");
    }
}

fn can_run(test: &str) -> bool {
    skip_unless(
        test,
        &[
            (is_root(), "root"),
            (have("containerd"), "containerd"),
            (have("ctr"), "ctr"),
            (have("runc"), "runc"),
            (have("busybox"), "busybox-static"),
            (reference("bridge").is_some(), "containernetworking-plugins"),
        ],
    )
}

/// A subnet of either family for this node, in each plugin's own words; both mean the same.
fn ranges(plugin: Plugin) -> Value {
    match plugin {
        Plugin::HostLocal => json!({
            "ranges": [[{ "subnet": "10.1.7.0/24" }], [{ "subnet": "fd00:10:1:7::/64" }]],
        }),
        Plugin::NodeLocal => json!({
            "carve": [
                { "pool": "10.1.0.0/16", "prefix": 24 },
                { "pool": "fd00:10:1::/48", "prefix": 64 },
            ],
        }),
    }
}

fn addresses(v4: &str, v6: &str) -> Vec<IpAddr> {
    [v4, v6].iter().map(|text| text.parse().expect("an address")).collect()
}

/// Pods from their start to their end, two of them alive at a time.
fn pods_reach_each_other(plugin: Plugin) {
    let mut containerd = Containerd::start(plugin, ranges(plugin));
    let (first, of_first) = containerd.pod("first");
    let (second, of_second) = containerd.pod("second");
    assert_eq!(of_first, addresses("10.1.7.2", "fd00:10:1:7::2"));
    assert_eq!(of_second, addresses("10.1.7.3", "fd00:10:1:7::3"));
    let container = containerd.cri.run_container(&first, IMAGE);
    for address in of_second {
        containerd.cri.ping(&container, address);
    }

    // kubelet stops a pod more than once, and again before it removes it.
    containerd.cri.stop(&first);
    assert_eq!(containerd.network().reservations().len(), 2, "those of the second pod");
    containerd.cri.stop(&first);
    containerd.cri.remove(&first);
    containerd.cri.remove(&first);
    assert_eq!(containerd.network().held_by(&second.id, "eth0").len(), 2);
    containerd.remove(&second);
    containerd.assert_nothing_left();
}

/// Pods whose process is killed, with containerd alive, restarted meanwhile, or killed first.
fn killed_pods_leave_nothing(plugin: Plugin) {
    let mut containerd = Containerd::start(plugin, ranges(plugin));
    let (killed, _) = containerd.pod("killed");
    containerd.kill(&killed);
    containerd.cri.wait_until_dead(&killed);
    containerd.remove(&killed);
    containerd.assert_nothing_left();

    let (survivor, of_survivor) = containerd.pod("survivor");
    let (victim, _) = containerd.pod("victim");
    let container = containerd.cri.run_container(&victim, IMAGE);
    containerd.restart();
    assert_eq!(containerd.cri.pods().len(), 2);
    assert_eq!(containerd.cri.inspect(&survivor).0, of_survivor);
    assert_eq!(containerd.network().reservations().len(), 4);
    for address in of_survivor {
        containerd.cri.ping(&container, address);
    }

    let (_, process) = containerd.cri.inspect(&victim);
    containerd.kill_daemon();
    containerd.node.ok(&["kill", "-KILL", &process.to_string()]);
    containerd.start_again();
    containerd.cri.wait_until_dead(&victim);
    containerd.remove(&victim);
    assert_eq!(containerd.network().held_by(&survivor.id, "eth0").len(), 2);
    assert_eq!(containerd.network().reservations().len(), 2);
    containerd.remove(&survivor);
    containerd.assert_nothing_left();
}

/// A range of one address: the second pod has to wait, and takes nothing meanwhile.
fn a_pod_waits_for_an_address(plugin: Plugin) {
    let mut ipam = ranges(plugin);
    match plugin {
        Plugin::HostLocal => ipam["ranges"][0][0]["subnet"] = json!("10.1.0.28/30"),
        Plugin::NodeLocal => ipam["carve"][0]["prefix"] = json!(30),
    }
    let mut containerd = Containerd::start(plugin, ipam);
    let cgroup = containerd.node.cgroup();
    let (first, of_first) = containerd.pod("first");
    assert_eq!(of_first, addresses("10.1.0.30", "fd00:10:1:7::2"));
    for _ in 0..2 {
        let error = containerd.cri.run_pod("second", &cgroup).err().unwrap_or_default();
        assert!(error.contains("no IP addresses available"), "{error}");
        assert_eq!(containerd.network().reservations().len(), 2, "those of the first pod");
    }
    containerd.remove(&first);
    let (second, of_second) = containerd.pod("second");
    assert_eq!(of_second[0], of_first[0]);
    containerd.remove(&second);
    containerd.assert_nothing_left();
}

/// `plat` asks the runtime who lives: what it does not have is freed, what it has is not, nor what is in a
/// namespace that is still there.
#[test]
fn plat_asks_the_runtime_who_lives() {
    if !can_run("containerd::plat_asks_the_runtime") {
        return;
    }
    let mut containerd = Containerd::start(Plugin::HostLocal, ranges(Plugin::HostLocal));
    containerd.node.install(&binary("plat"));
    let (alive, of_alive) = containerd.pod("alive");
    let (dead, of_dead) = containerd.pod("dead");
    // Left behind long ago by a pod that the runtime has forgotten.
    let network = containerd.network();
    network.directory().fill("10.1.7.100".parse().expect("an address"), 3);
    containerd.kill(&dead);
    containerd.cri.wait_until_dead(&dead);

    let plat = |arguments: &[&str]| {
        let cri = ["--cri", "/run/containerd/containerd.sock"];
        containerd.node.run(&[&["/run/plugins/plat"], arguments, &cri[..]].concat())
    };
    let gc = plat(&["gc", "--grace", "0s", "--json"]);
    assert_eq!(gc.exit, Some(0), "{}", gc.stderr);
    assert_eq!(gc.json()["freed"].as_array().map(Vec::len), Some(3), "{}", gc.stdout);
    assert_eq!(network.held_by(&alive.id, "eth0"), of_alive);
    // Its namespace is still there, and has its addresses.
    assert_eq!(network.held_by(&dead.id, "eth0"), of_dead);

    // As after a crash of the machine's runtime directory.
    for space in containerd.node.ok(&["ip", "netns", "list"]).lines() {
        let name = space.split(' ').next().unwrap_or_default();
        let addresses = containerd.node.ok(&["ip", "-n", name, "-o", "addr"]);
        if addresses.contains(&format!("{}/", of_dead[0])) {
            containerd.node.ok(&["ip", "netns", "delete", name]);
        }
    }
    let check = plat(&["check", "--grace", "0s", "--json"]);
    assert_eq!(check.exit, Some(1), "{}", check.stdout);
    let problems = check.json()["problems"].clone();
    for problem in problems.as_array().expect("a list") {
        assert_eq!(problem["kind"], "leaked", "{problem:#}");
        let what = problem["what"].as_str().unwrap_or_default();
        assert!(what.contains("default/dead"), "{what}");
    }
    let gc = plat(&["gc", "--grace", "0s", "--json"]);
    assert_eq!(gc.json()["freed"].as_array().map(Vec::len), Some(2), "{}", gc.stdout);

    let refused = plat(&["release", "--pod", "default/alive"]);
    assert_eq!(refused.exit, Some(3), "{}", refused.stdout);
    for part in [alive.id.as_str(), "pod default/alive"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(network.held_by(&alive.id, "eth0"), of_alive);
    containerd.remove(&dead);
    containerd.remove(&alive);
    containerd.assert_nothing_left();
}

/// plat-agent does the same: once, when it is asked by a signal, and by itself.
#[test]
fn plat_agent_frees_what_no_pod_lives_for() {
    if !can_run("containerd::plat_agent_frees") {
        return;
    }
    let mut containerd = Containerd::start(Plugin::HostLocal, ranges(Plugin::HostLocal));
    containerd.node.install(&binary("plat-agent"));
    let (alive, of_alive) = containerd.pod("alive");
    let network = containerd.network();
    let leak = |count: u32| {
        network.directory().fill("10.1.7.100".parse().expect("an address"), count);
        assert_eq!(network.reservations().len(), 2 + count as usize);
    };
    let configure = |containerd: &Containerd, gc: Value| {
        let config = json!({"node": "vm-007", "register": false, "gc": gc});
        containerd.node.write("/run/agent.json", config.to_string());
    };
    const SOCKET: &str = "unix:///run/containerd/containerd.sock";
    let agent = |containerd: &Containerd, arguments: &[&str]| {
        let words = ["/run/plugins/plat-agent", "--config", "/run/agent.json"];
        containerd.node.run(&[&words, arguments].concat())
    };
    leak(3);
    // What is young stays.
    configure(&containerd, json!({"runtime": SOCKET}));
    let young = agent(&containerd, &["--gc"]);
    assert_eq!(young.exit, Some(0), "{}", young.stderr);
    assert!(young.stdout.contains("0 freed, 5 kept"), "{}", young.stdout);
    configure(&containerd, json!({"runtime": SOCKET, "grace": "0s"}));
    let dry = agent(&containerd, &["--gc", "--dry-run"]);
    assert!(dry.stdout.contains("3 would be freed, 2 kept"), "{}", dry.stdout);
    assert!(dry.stdout.contains("the container runtime does not have it"), "{}", dry.stdout);
    assert!(dry.stdout.contains("pod default/alive"), "{}", dry.stdout);
    assert_eq!(network.reservations().len(), 5);
    // A runtime that does not answer proves nothing.
    containerd.kill_daemon();
    let away = agent(&containerd, &["--gc"]);
    assert_eq!(away.exit, Some(3), "{}", away.stdout);
    assert!(away.stderr.contains("cannot be asked"), "{}", away.stderr);
    assert_eq!(network.reservations().len(), 5);
    containerd.start_again();
    let once = agent(&containerd, &["--gc", "--json"]);
    assert_eq!(once.exit, Some(0), "{}", once.stderr);
    assert_eq!(once.json()["freed"].as_array().map(Vec::len), Some(3), "{}", once.stdout);
    assert_eq!(network.held_by(&alive.id, "eth0"), of_alive);

    let run = |containerd: &Containerd| {
        let start = "/run/plugins/plat-agent --config /run/agent.json </dev/null >/dev/null 2>/run/agent.log & echo $!";
        let pid = containerd.node.ok(&["sh", "-c", start]).trim().to_owned();
        let log = containerd.node.path("/run/agent.log");
        let log = move || fs::read_to_string(&log).unwrap_or_default();
        wait_until("the agent runs", || log().contains("started"));
        (pid, log)
    };
    let (pid, log) = run(&containerd);
    leak(2);
    containerd.node.ok(&["kill", "-USR1", &pid]);
    wait_until("two are freed", || network.reservations().len() == 2);
    wait_until("it is told", || log().contains("gc: 2 addresses freed, 2 kept"));
    containerd.node.ok(&["kill", "-TERM", &pid]);
    wait_until("the agent ends", || log().contains("ended"));

    configure(&containerd, json!({"runtime": SOCKET, "grace": "0s", "interval": "1s"}));
    leak(1);
    let (pid, log) = run(&containerd);
    wait_until("one is freed", || network.reservations().len() == 2);
    containerd.kill_daemon();
    wait_until("that it is away is told", || log().contains("cannot be asked"));
    containerd.start_again();
    wait_until("that it is back is told", || log().contains("no more: gc: the container runtime"));
    assert_eq!(network.held_by(&alive.id, "eth0"), of_alive);
    containerd.node.ok(&["kill", "-TERM", &pid]);
    wait_until("the agent ends", || log().contains("ended"));
    containerd.remove(&alive);
    containerd.assert_nothing_left();
}

macro_rules! with_plugin {
    ($($name:ident: $scenario:ident($plugin:ident);)*) => {
        $(
            #[test]
            fn $name() {
                if can_run(stringify!($name)) {
                    $scenario(Plugin::$plugin);
                }
            }
        )*
    };
}

with_plugin! {
    pods_with_node_local_reach_each_other: pods_reach_each_other(NodeLocal);
    pods_with_host_local_reach_each_other: pods_reach_each_other(HostLocal);
    killed_pods_with_node_local_leave_nothing: killed_pods_leave_nothing(NodeLocal);
    killed_pods_with_host_local_leave_nothing: killed_pods_leave_nothing(HostLocal);
    a_pod_with_node_local_waits_for_an_address: a_pod_waits_for_an_address(NodeLocal);
    a_pod_with_host_local_waits_for_an_address: a_pod_waits_for_an_address(HostLocal);
}
