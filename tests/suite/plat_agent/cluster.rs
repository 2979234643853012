//! Nodes as network namespaces on one bridge, each with a pod, and an etcd that all of them reach.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ipam_pool::key::Key;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::{InEtcd, Owned, Scratch, binary, have, is_root, program, skip_unless, wait_until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether the test can have nodes; otherwise it says that it is skipped.
pub(super) fn available(test: &str) -> bool {
    let tools =
        [(is_root(), "root"), (have("ip"), "ip (Debian: iproute2)"), (have("ping"), "ping")];
    skip_unless(test, &tools) && support::etcd::available(test)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn ip(words: &[&str]) {
    let output = run(Command::new(program("ip")).args(words));
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace; deleted when dropped.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
}

impl Namespace {
    pub(super) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plat-agent-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let it = Self { name };
        it.ip(&["link", "set", "lo", "up"]);
        it
    }

    pub(super) fn ip(&self, words: &[&str]) {
        ip(&[&["-n", &self.name], words].concat());
    }

    /// A command inside.
    pub(super) fn command(&self, program_name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program("ip"));
        command.args(["netns", "exec", &self.name]).arg(program_name).args(words);
        command
    }

    /// The routes of both families, a line each.
    pub(super) fn routes(&self) -> Vec<String> {
        let mut all = Vec::new();
        for family in ["-4", "-6"] {
            let output =
                run(Command::new(program("ip")).args(["-n", &self.name, family, "route", "show"]));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            all.extend(
                text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")),
            );
        }
        all
    }

    pub(super) fn has_route(&self, start: &str) -> bool {
        self.routes().iter().any(|line| line.starts_with(start))
    }

    pub(super) fn pings(&self, address: &str) -> bool {
        run(&mut self.command("ping", &["-c", "1", "-W", "1", "-n", address])).status.success()
    }

    fn sysctl(&self, path: &str) {
        self.set_sysctl(path, 1);
    }

    pub(super) fn set_sysctl(&self, path: &str, value: u32) {
        let script = format!("echo {value} >/proc/sys/net/{path}");
        let output = run(&mut self.command("/bin/sh", &["-c", &script]));
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(Command::new(program("ip")).args(["netns", "del", &self.name]));
    }
}

/// Takes connections in a namespace and carries them to an address of this one.
#[derive(Debug)]
struct Forwarder {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    namespace: String,
    /// Whether nobody is carried.
    cut: Arc<AtomicBool>,
    carried: Arc<Mutex<Vec<TcpStream>>>,
}

impl Forwarder {
    fn new(namespace: &Namespace, to: SocketAddr) -> Self {
        let name = namespace.name.clone();
        let listener =
            inside(&name, || TcpListener::bind("192.168.16.254:0")).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let (cut, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_cut, carrying) = (Arc::clone(&cut), Arc::clone(&carried));
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let mut carrying = carrying.lock().expect("no thread fails with it");
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(to) else { continue };
                carrying.extend(client.try_clone());
                carry(&client, &server);
                carry(&server, &client);
            }
        });
        Self { address, stop, namespace: name, cut, carried }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes who accepts.
        let address = self.address;
        let _ = inside(&self.namespace, || TcpStream::connect(address));
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

/// Does something in a namespace, on a thread of its own.
pub(super) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace is there");
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace can be entered");
            work()
        });
        done.join().expect("the thread ends well")
    })
}

/// A bridge for nodes, and an etcd.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) etcd: Etcd,
    forwarder: Forwarder,
    pub(super) hub: Namespace,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let etcd = Etcd::single();
        let hub = Namespace::new();
        hub.ip(&["link", "add", "br0", "type", "bridge"]);
        hub.ip(&["addr", "add", "192.168.16.254/24", "dev", "br0"]);
        hub.ip(&["link", "set", "br0", "up"]);
        let to = etcd.endpoint(0);
        let to = to.trim_start_matches("http://").parse().expect("an address with a port");
        let forwarder = Forwarder::new(&hub, to);
        Self { etcd, forwarder, hub }
    }

    /// How nodes reach etcd.
    pub(super) fn connection(&self) -> Value {
        json!({"endpoints": [format!("http://{}", self.forwarder.address)]})
    }

    /// Nodes lose etcd, and it does not lose its data.
    pub(super) fn cut(&self) {
        let mut carried = self.forwarder.carried.lock().expect("no thread fails with it");
        self.forwarder.cut.store(true, Ordering::Relaxed);
        for stream in carried.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Nodes reach etcd again.
    pub(super) fn mend(&self) {
        self.forwarder.cut.store(false, Ordering::Relaxed);
    }

    /// The UUID of a node that is registered.
    pub(super) fn uuid_of(&self, name: &str) -> String {
        let mut etcd = InEtcd::new(&self.etcd.connection());
        let names = etcd.some(|key| matches!(key, Key::Name { name: it } if it == name));
        String::from_utf8(names[0].1.value.clone()).expect("a UUID")
    }

    /// A node with this index, its uplink 192.168.16.<index> and fd16::<index>, and a pod 10.1.<index>.2 and
    /// fd10:<index>::2.
    pub(super) fn node(&self, index: u8) -> Node {
        let (space, pod) = (Namespace::new(), Namespace::new());
        let port = format!("port{index}");
        let hub = &self.hub.name;
        space.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns", hub]);
        self.hub.ip(&["link", "set", &port, "master", "br0", "up"]);
        space.ip(&["addr", "add", &format!("192.168.16.{index}/24"), "dev", "eth0"]);
        space.ip(&["addr", "add", &format!("fd16::{index}/64"), "dev", "eth0", "nodad"]);
        space.ip(&["link", "set", "eth0", "up"]);
        space.ip(&[
            "link", "add", "pods", "type", "veth", "peer", "name", "eth0", "netns", &pod.name,
        ]);
        for (here, there, family) in [
            (format!("10.1.{index}.1/24"), format!("10.1.{index}.2/24"), "-4"),
            (format!("fd10:{index}::1/64"), format!("fd10:{index}::2/64"), "-6"),
        ] {
            let nodad: &[&str] = if family == "-6" { &["nodad"] } else { &[] };
            space.ip(&[&["addr", "add", here.as_str(), "dev", "pods"], nodad].concat());
            pod.ip(&[&["addr", "add", there.as_str(), "dev", "eth0"], nodad].concat());
        }
        space.ip(&["link", "set", "pods", "up"]);
        pod.ip(&["link", "set", "eth0", "up"]);
        pod.ip(&["route", "add", "default", "via", &format!("10.1.{index}.1")]);
        pod.ip(&["-6", "route", "add", "default", "via", &format!("fd10:{index}::1")]);
        space.sysctl("ipv4/ip_forward");
        space.sysctl("ipv6/conf/all/forwarding");
        let scratch = Scratch::on_tmpfs("agent");
        Node { index, space, pod, scratch, agent: None }
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: u8,
    pub(super) space: Namespace,
    pub(super) pod: Namespace,
    pub(super) scratch: Scratch,
    agent: Option<Owned>,
}

impl Node {
    pub(super) fn name(&self) -> String {
        format!("vm-{:03}", self.index)
    }

    /// The configuration of a node that is registered with its own subnets.
    pub(super) fn registered(&self, cluster: &Cluster) -> Value {
        json!({
            "etcd": cluster.connection(),
            "node": self.name(),
            "index": self.index,
            "subnets": ["10.1.{i}.0/24", "fd10:{i}::/64"],
            "uplink": {"interface": "eth0"},
            "routes": {"sources": [{"type": "pool"}], "sinks": [{"type": "kernel"}]},
        })
    }

    pub(super) fn configure(&self, config: &Value) -> PathBuf {
        self.scratch.write("agent.json", config.to_string())
    }

    fn agent_command(&self, words: &[&str]) -> Command {
        let agent = binary("plat-agent");
        let mut command = self.space.command(agent.to_str().expect("a path"), &[]);
        let config = self.scratch.path().join("agent.json");
        command.arg("--config").arg(config).args(words).stdin(Stdio::null());
        for (variable, place) in [("PLAT_STATE_DIR", "state"), ("PLAT_RUN_DIR", "run")] {
            command.env(variable, self.scratch.path().join(place));
        }
        command.env_remove("PLAT_ETCD_CONFIG").env_remove("NODE_INDEX");
        command
    }

    /// Runs the agent to its end: its exit status, and what it says.
    pub(super) fn agent(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = run(&mut self.agent_command(words));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts the daemon.
    pub(super) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.scratch.path().join("log"));
        let log = log.expect("a log can be written");
        let child: Child = self
            .agent_command(&[])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent can be started");
        self.agent = Some(Owned(child));
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    pub(super) fn pid(&self) -> u32 {
        self.agent.as_ref().expect("the agent runs").0.id()
    }

    /// What the daemon answers on a loopback port. It leaves who says nothing for a while.
    pub(super) fn get(&self, port: u16, path: &str) -> String {
        let mut answer = String::new();
        wait_until("the agent answers", || {
            answer = inside(&self.space.name, || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
                write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).ok().map(|_| answer)
            })
            .unwrap_or_default();
            answer.contains("\r\n\r\n")
        });
        answer
    }

    /// Kills the daemon.
    pub(super) fn kill(&mut self) {
        self.agent = None;
    }

    /// Ends the daemon by a signal, and asserts that it ends well.
    pub(super) fn end(&mut self) {
        let mut agent = self.agent.take().expect("the agent runs");
        let pid = i32::try_from(agent.0.id()).ok().and_then(Pid::from_raw).expect("a process ID");
        kill_process(pid, Signal::TERM).expect("it can be told");
        let mut status = None;
        wait_until("the agent ends", || {
            status = agent.0.try_wait().expect("it can be waited for");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{}", self.log());
    }

    pub(super) fn waits_for_route(&self, start: &str) {
        wait_until(&format!("{} has the route {start}", self.name()), || {
            self.space.has_route(start)
        });
    }

    pub(super) fn waits_for_no_route(&self, start: &str) {
        wait_until(&format!("{} has no route {start}", self.name()), || {
            !self.space.has_route(start)
        });
    }

    /// Waits until its pod reaches another node's.
    pub(super) fn reaches(&self, other: &Self) {
        for address in [format!("10.1.{}.2", other.index), format!("fd10:{}::2", other.index)] {
            let what = format!("the pod of {} reaches {address}", self.name());
            wait_until(&what, || self.pod.pings(&address));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name(), self.log());
            eprintln!("--- its routes:\n{}", self.space.routes().join("\n"));
        }
    }
}
