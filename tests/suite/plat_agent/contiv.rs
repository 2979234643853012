/*!
A cluster like Contiv-VPP's of one configuration: chain with node-local and vpp, the same file on both nodes, and
plat-agent, with the same file too. Nothing else runs on a node but VPP.

VPP is in miniature here, so that everything is seen but packets; with `VPP_BIN` and `VPP_PLUGIN_PATH` set, two
real ones are joined and pods ping each other (see `support::VppProgram`).
*/

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipam_pool::txn::{Op, Txn};
use kernel::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::vpp::{Devices, Setup, Vpp};
use support::{
    InEtcd, Node, Outcome, Owned, Plugin, Random, VppPair, VppProgram, binary, children_of, finish,
    have, is_root, repository, skip_unless, wait_until,
};
use vpp_api::{Client, Family, Options, Table, msg};

/// Where plat-agent tells what it sees.
const STATUS: &str = "127.0.0.1:9434";
/// Where every node finds etcd.
const ETCD: &str = "127.0.0.1:2379";

fn can_run(test: &str) -> bool {
    let name = format!("plat_agent::contiv::{test}");
    let needs = [
        (is_root(), "root"),
        (have("ip"), "ip (Debian: iproute2)"),
        (have("nsenter"), "nsenter (util-linux)"),
    ];
    skip_unless(&name, &needs)
}

/// The network configuration of every node: that of the examples, by veth. Routes to other nodes come from etcd.
fn network() -> Value {
    let text = fs::read_to_string(repository().join("conf-examples/chain-vpp.conflist"));
    let list: Value = serde_json::from_str(&text.expect("the example is there")).expect("JSON");
    let mut config = list["plugins"][0].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    config["name"] = list["name"].clone();
    config["main"]["kind"] = "veth".into();
    config["main"].as_object_mut().expect("an object").remove("peers");
    config
}

/// The agent's configuration of every node: that of the examples.
fn agent_config() -> Value {
    let path = repository().join("conf-examples/plat-agent/contiv-vpp.json");
    let text = fs::read_to_string(path).expect("the example is there");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["etcd"]["endpoints"] = json!([format!("http://{ETCD}")]);
    config["listen"] = STATUS.into();
    config
}

/// Carries what comes to an address of a node to one of this machine.
struct Forwarder {
    within: Namespace,
    stop: Arc<AtomicBool>,
}

impl Forwarder {
    fn new(node: &Node, to: SocketAddr) -> Self {
        let within = Namespace::open(&node.path("/proc/1/ns/net")).expect("the node's namespace");
        let listener = within.run(|| TcpListener::bind(ETCD)).expect("the namespace");
        let listener = listener.expect("nobody else listens there");
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(to) else { continue };
                carry(&client, &server);
                carry(&server, &client);
            }
        });
        Self { within, stop }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes who accepts.
        let _ = self.within.run(|| TcpStream::connect(ETCD));
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

/// plat-agent on a node; killed when dropped.
struct Agent {
    parent: Owned,
    pid: u32,
}

impl Agent {
    fn start(node: &Node) -> Self {
        let log = File::options().create(true).append(true).open(node.path("/run/agent.log"));
        let program = node.plugins().join("plat-agent").to_string_lossy().into_owned();
        let mut command = node.command(&[&program, "--config", "/run/agent.json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        let mut parent = Owned(command.spawn().expect("the agent can be started"));
        let mut pid = None;
        wait_until("the agent runs", || {
            let ended = parent.0.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "{ended:?}: {}", log_of(node));
            pid = children_of(parent.0.id()).first().copied();
            pid.is_some()
        });
        Self { parent, pid: pid.expect("it runs") }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a process ID");
        let _ = kill_process(pid, signal);
    }

    /// Ends it by a signal, and asserts that it ends well.
    fn end(mut self, node: &Node) {
        self.signal(Signal::TERM);
        let mut status = None;
        wait_until("the agent ends", || {
            status = self.parent.0.try_wait().expect("it can be waited for");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{}", log_of(node));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // Who has started it waits until all of its threads are gone, and its locks with them.
        wait_until("the agent is gone", || !matches!(self.parent.0.try_wait(), Ok(None)));
    }
}

fn log_of(node: &Node) -> String {
    fs::read_to_string(node.path("/run/agent.log")).unwrap_or_default()
}

/// A node with everything that it needs. What ends first stands first.
struct Member {
    agent: Option<Agent>,
    vpp: Vpp,
    _forwarder: Option<Forwarder>,
    node: Node,
    index: u32,
}

impl Member {
    fn new(index: u32, etcd: Option<&Etcd>) -> Self {
        let node = Node::start(&format!("vm-{index:03}"));
        for name in ["chain", "vpp", "node-local", "plat", "plat-agent"] {
            node.install(&binary(name));
        }
        let directory = node.path("/run/vpp");
        fs::create_dir_all(&directory).expect("a directory of the node can be made");
        let setup = Setup { devices: Devices::Any, ..Setup::default() };
        let vpp = Vpp::start_at(&directory.join("api.sock"), setup);
        let address = |etcd: &Etcd| {
            let endpoint = etcd.endpoint(0);
            endpoint.trim_start_matches("http://").parse().expect("an address with a port")
        };
        let _forwarder = etcd.map(|etcd| Forwarder::new(&node, address(etcd)));
        Self { agent: None, vpp, _forwarder, node, index }
    }

    fn start_agent(&mut self, config: &Value) {
        self.node.write("/run/agent.json", config.to_string());
        self.agent = None;
        self.agent = Some(Agent::start(&self.node));
    }

    fn says(&self, text: &str) {
        wait_until(&format!("the agent of node {} says {text:?}", self.index), || {
            log_of(&self.node).contains(text)
        });
    }

    /// ADD of a pod with a namespace of its own; the result.
    fn add(&self, id: &str) -> Value {
        self.node.add_namespace(id);
        call(&self.node, "ADD", id, &network()).ok()
    }

    fn check(&self, id: &str, result: &Value) -> Outcome {
        let mut config = network();
        config["prevResult"] = result.clone();
        call(&self.node, "CHECK", id, &config)
    }

    fn client(&self) -> Client {
        let options = Options { timeout: Duration::from_secs(60), ..Options::new("suite") };
        Client::connect(self.vpp.path(), &options).expect("VPP answers")
    }

    /// The routes of a FIB source, as `10.1.2.0/24 via 192.168.16.2`, or without next hop if they have an interface.
    fn routes_of(&self, source: &str) -> BTreeSet<String> {
        let mut client = self.client();
        let sources = client.dump(&msg::FibSourceDump {}).expect("VPP answers");
        let mut all = BTreeSet::new();
        for source in sources.iter().filter(|it| it.src.name == source) {
            for family in Family::BOTH {
                let table = Table::new(0, family);
                let request = msg::IpRouteV2Dump { src: source.src.id, table };
                for details in client.dump(&request).expect("VPP answers") {
                    let path = details.route.paths.first().expect("a path");
                    let via =
                        path.next_hop().filter(|_| path.sw_if_index == vpp_api::IfIndex::NONE);
                    let via = via.map_or(String::new(), |via| format!(" via {via}"));
                    all.insert(format!("{}{via}", details.route.prefix));
                }
            }
        }
        all
    }

    fn has_routes_to(&self, other: u32) -> bool {
        let wanted = [
            format!("10.1.{other}.0/24 via 192.168.16.{other}"),
            format!("fd00:10:1:{other:x}::/64 via fd00:192:168:16::{other:x}"),
        ];
        self.routes_of("plat-agent") == BTreeSet::from(wanted)
    }

    /// The uplink's addresses.
    fn uplink(&self) -> Vec<String> {
        let mut client = self.client();
        let uplink = client.interface_named("GigabitEthernet0/4/0").expect("VPP answers");
        let uplink = uplink.expect("it is there");
        assert!(uplink.flags.is_up());
        let addresses = client.addresses(uplink.sw_if_index).expect("VPP answers");
        addresses.iter().map(ToString::to_string).collect()
    }

    /// The names of attachments' interfaces in VPP.
    fn attachments(&self) -> Vec<String> {
        let all = self.client().interfaces().expect("VPP answers");
        let ours =
            all.iter().filter(|it| vpp_plugin::tag::Tag::parse(&it.tag.to_string()).is_some());
        ours.map(|it| it.interface_name.to_string()).collect()
    }

    /// What the agent answers on its loopback port.
    fn get(&self, path: &str) -> String {
        let within = Namespace::open(&self.node.path("/proc/1/ns/net")).expect("the namespace");
        let asked = within.run(|| -> io::Result<String> {
            let mut stream = TcpStream::connect(STATUS)?;
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        // Nobody listens yet.
        asked.expect("the namespace").unwrap_or_default()
    }

    fn status(&self) -> Value {
        let answer = self.get("/status");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    /// DEL of pods, twice as runtimes do it; nothing is left then.
    fn clear(&self, ids: &[&str]) {
        for id in ids.iter().chain(ids) {
            call(&self.node, "DEL", id, &network()).ok();
        }
        assert_eq!(self.attachments(), [""; 0]);
        assert_eq!(self.routes_of("plat-pod"), BTreeSet::new());
        let links = self.node.ok(&["ip", "-oneline", "link", "show"]);
        assert!(!links.contains(": vpp"), "{links}");
        for directory in ["vpp", "chain"] {
            assert_eq!(records(&self.node.path("/run/plat").join(directory)), [""; 0]);
        }
        self.node.network("pods").of(Plugin::NodeLocal).assert_nothing_reserved();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the agent of node {} said:\n{}", self.index, log_of(&self.node));
        }
    }
}

/// The records of attachments below a directory: the files called by hashes.
fn records(directory: &Path) -> Vec<String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let networks = entries(directory).filter(|it| it.file_name() != "node");
    let files = networks.flat_map(|network| entries(&network.path()).collect::<Vec<_>>());
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".json") && !name.starts_with('.')).collect()
}

/// A call of chain on a node, as a runtime makes it.
fn call(node: &Node, command: &str, id: &str, config: &Value) -> Outcome {
    let plugins = node.plugins();
    let (command, container) = (format!("CNI_COMMAND={command}"), format!("CNI_CONTAINERID={id}"));
    let (netns, path) =
        (format!("CNI_NETNS=/run/netns/{id}"), format!("CNI_PATH={}", plugins.display()));
    let chain = plugins.join("chain").to_string_lossy().into_owned();
    let words = ["env", &command, &container, &netns, &path, "CNI_IFNAME=eth0", &chain];
    finish(&mut node.command(&words), config.to_string().as_bytes())
}

#[test]
fn one_configuration_is_the_whole_of_a_cluster() {
    const TEST: &str = "one_configuration_is_the_whole_of_a_cluster";
    if !can_run(TEST) || !support::etcd::available(TEST) {
        return;
    }
    let etcd = Etcd::single();
    let mut members = [1, 2].map(|index| Member::new(index, Some(&etcd)));
    members.iter_mut().for_each(|member| member.start_agent(&agent_config()));
    let mut results = Vec::new();
    for member in &members {
        let index = member.index;
        for (id, host) in [("a", 2), ("b", 3)] {
            let result = member.add(id);
            let ips = result["ips"].as_array().expect("addresses");
            let ips: Vec<&str> = ips.iter().filter_map(|ip| ip["address"].as_str()).collect();
            let expected =
                [format!("10.1.{index}.{host}/32"), format!("fd00:10:1:{index}::{host}/128")];
            assert_eq!(ips, expected, "{result}");
            results.push(result);
        }
        let expected = [format!("192.168.16.{index}/24"), format!("fd00:192:168:16::{index}/64")];
        assert_eq!(member.uplink(), expected);
    }
    wait_until("both know the way to each other", || {
        members[0].has_routes_to(2) && members[1].has_routes_to(1)
    });
    let [one, two] = &mut members;
    wait_until("all is well", || one.get("/readyz").starts_with("HTTP/1.0 200"));

    // VPP ends, which is told, and comes back with nothing.
    one.vpp.kill();
    wait_until("it is told", || one.get("/readyz").starts_with("HTTP/1.0 503"));
    wait_until("it is told", || one.status()["vpps"][0]["state"] == "away");
    one.vpp.start_again();
    one.says("2 attachments, 2 put back");
    wait_until("the routes are back", || one.has_routes_to(2));
    assert_eq!(one.uplink(), ["192.168.16.1/24", "fd00:192:168:16::1/64"]);
    for (id, result) in ["a", "b"].into_iter().zip(&results) {
        one.check(id, result).ok();
    }
    let checked = one.node.run(&["/run/plugins/plat", "vpp", "check"]);
    assert_eq!(checked.exit, Some(0), "{}{}", checked.stdout, checked.stderr);
    wait_until("all is well again", || one.get("/readyz").starts_with("HTTP/1.0 200"));
    let status = one.status();
    let counts = &status["vpps"][0]["counts"];
    assert_eq!((&counts["restarts"], &counts["putBack"]), (&1.into(), &2.into()), "{status}");
    assert_eq!(status["vpps"][0]["last"]["putBack"], 2, "{status}");
    let metrics = one.get("/metrics");
    let line = "\nplat_vpp_pods_put_back_total{socket=\"/run/vpp/api.sock\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");

    // The second node is given up: nobody is sent there any more.
    two.agent.take().expect("it runs").end(&two.node);
    let state = fs::read(two.node.path("/var/lib/plat/pool.json")).expect("the node's state");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    let mut in_etcd = InEtcd::new(&etcd.connection());
    let key = in_etcd.keys().node(state["uuid"].as_str().expect("its UUID"));
    in_etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() });
    wait_until("its routes are gone", || one.routes_of("plat-agent").is_empty());
    assert_eq!(one.attachments().len(), 2, "and no pod");

    one.clear(&["a", "b"]);
    two.clear(&["a", "b"]);
    one.agent.take().expect("it runs").end(&one.node);
    assert_eq!(one.vpp.complaints(), [""; 0]);
    assert_eq!(two.vpp.complaints(), [""; 0]);
}

/// Whatever ends in the middle of whatever, the node is whole when nothing ends any more.
#[test]
fn agents_killed_and_vpps_restarted_during_replays() {
    if !can_run("agents_killed_and_vpps_restarted_during_replays") {
        return;
    }
    let mut member = Member::new(1, None);
    let config = json!({"vpp": {}, "routes": {"resync": "1s"}});
    let ids = ["a", "b", "c", "d"];
    let results = ids.map(|id| member.add(id));
    member.vpp.slow_down(Duration::from_micros(300));
    let mut random = Random::new(5);
    for round in 0..6 {
        member.vpp.restart();
        member.start_agent(&config);
        thread::sleep(Duration::from_millis(random.below(120)));
        match round % 3 {
            0 => member.agent = None,
            1 => member.vpp.restart(),
            _ => {
                member.vpp.kill();
                // A pod goes while VPP is away, and comes again.
                call(&member.node, "DEL", "d", &network()).ok();
                member.vpp.start_again();
                call(&member.node, "ADD", "d", &network()).ok();
            }
        }
    }
    member.vpp.slow_down(Duration::ZERO);
    member.start_agent(&config);
    for (id, result) in ids.into_iter().zip(&results).take(3) {
        wait_until("the pod is whole", || member.check(id, result).exit == Some(0));
    }
    wait_until("plat finds all well", || {
        member.node.run(&["/run/plugins/plat", "vpp", "check"]).exit == Some(0)
    });
    member.clear(&ids);
    drop(member.agent.take());
    assert_eq!(member.vpp.complaints(), [""; 0]);
}

/// Two real VPPs, joined by their uplinks: packets get through again, and nobody has done anything.
#[test]
fn pods_of_real_vpps_reach_each_other_again() {
    const TEST: &str = "plat_agent::contiv::pods_of_real_vpps_reach_each_other_again";
    let Some(program) = VppProgram::find(TEST) else { return };
    if !can_run("pods_of_real_vpps_reach_each_other_again")
        || !skip_unless(TEST, &[(have("ping"), "ping (iputils-ping)")])
    {
        return;
    }
    let mut pair = VppPair::start(&program);
    let uplink = pair.config_of(0)["uplink"]["name"].clone();
    let mut config = network();
    let main = &mut config["main"];
    main["uplink"].as_object_mut().expect("an object").remove("pci");
    main["uplink"]["name"] = if program.has_dpdk() { uplink } else { "host-upl{i}".into() };
    main["peers"] = json!([
        {"nodes": "1-2", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
        {"nodes": "1-2", "subnet": "fd00:10:1:{peer:x}::/64", "via": "fd00:192:168:16::{peer:x}"},
    ]);
    pair.config = config;
    let agents: Vec<Agent> = pair
        .nodes
        .iter()
        .map(|it| {
            ["chain", "plat-agent"].iter().for_each(|name| it.node.install(&binary(name)));
            it.node.write("/run/agent.json", json!({"vpp": {}}).to_string());
            Agent::start(&it.node)
        })
        .collect();
    let pods = ["one", "two", "three"].map(|id| pair.add(0, id));
    let other = pair.add(1, "other");
    let reach = |pair: &VppPair| {
        for pod in &pods {
            pod.addresses.iter().for_each(|address| pair.ping(&other, *address));
            other.addresses.iter().for_each(|address| pair.ping(pod, *address));
        }
    };
    reach(&pair);
    for round in 1..=2 {
        let it = &mut pair.nodes[0];
        it.vpp.kill();
        it.vpp.start_again(&it.node);
        wait_until("the pods are back", || {
            let log = log_of(&it.node);
            log.lines().filter(|line| line.contains("3 attachments, 3 put back")).count() == round
        });
        pods.iter().for_each(|pod| drop(pair.check(pod).ok()));
        reach(&pair);
    }
    println!("{}", log_of(&pair.nodes[0].node));
    pods.iter().chain([&other]).for_each(|pod| pair.del(pod));
    drop(agents);
}
