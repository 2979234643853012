/*!
A node whose pods are attached to VPP: a VPP in miniature, or the real one at `VPP_API_SOCK`, with the plugin
and an IPAM plugin, and state in a scratch place.

What VPP has is asked by its API in both cases, so that a test says the same of both. The pods are real network
namespaces. A real VPP has to run in the network namespace of the tests, and may serve several tests at once:
each has a network and addresses of its own. `VPP_RESTART` is a command that restarts it; without, tests that need
that run on the miniature alone.
*/

mod replay;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vpp_api::msg::{self, SwInterfaceDetails};
use vpp_api::{Client, Family, IfIndex, Options, Prefix, Table};

use crate::pod_namespace::PodNamespace;
use crate::vpp::{Devices, Setup, TapWanted, Vpp};
use crate::{Call, Outcome, Scratch, binary, program, wait_until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A pod.
#[derive(Debug)]
pub struct VppPod {
    /// Its container ID.
    pub id: String,
    /// Its network namespace.
    pub namespace: PodNamespace,
}

/// A node with VPP.
#[derive(Debug)]
pub struct VppNode {
    vpp: Option<Vpp>,
    socket: PathBuf,
    scratch: Scratch,
    network: String,
    subnet: (u8, u8),
}

/// The real VPP, if there is one.
fn real() -> Option<PathBuf> {
    std::env::var_os("VPP_API_SOCK").map(PathBuf::from)
}

/// A tap of the kernel in the namespace that is asked for; what VPP answers.
fn make_tap(wanted: &TapWanted) -> i32 {
    let namespace = if wanted.namespace.starts_with('/') {
        wanted.namespace.clone()
    } else {
        format!("/run/netns/{}", wanted.namespace)
    };
    let enter = format!("--net={namespace}");
    let run = |words: &[&str]| {
        let mut command = Command::new(program("nsenter"));
        command.arg(&enter).arg(program("ip")).args(words);
        command.output().is_ok_and(|output| output.status.success())
    };
    let device = wanted.device.as_str();
    if wanted.delete {
        return if run(&["link", "delete", device]) { 0 } else { -13 };
    }
    let [a, b, c, d, e, f] = wanted.mac;
    let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    let mtu = wanted.mtu.to_string();
    let made = run(&["tuntap", "add", "dev", device, "mode", "tap"])
        && run(&["link", "set", device, "address", &mac])
        && (wanted.mtu == 0 || run(&["link", "set", device, "mtu", &mtu]));
    if made { 0 } else { -13 }
}

impl VppNode {
    /// With the real VPP where there is one, else with one in miniature.
    pub fn new() -> Self {
        match real() {
            Some(socket) => Self::at(None, socket),
            None => Self::miniature(),
        }
    }

    /// With a VPP that can be restarted.
    pub fn restartable() -> Self {
        let can = std::env::var_os("VPP_RESTART").is_some();
        if can { Self::new() } else { Self::miniature() }
    }

    /// With a VPP in miniature, for what a real one does not do on demand.
    pub fn miniature() -> Self {
        Self::with(Setup::default())
    }

    /// The same, set up otherwise. Its devices are those of the tests' namespace, its taps the kernel's.
    pub fn with(setup: Setup) -> Self {
        let setup = Setup { devices: Devices::Real, tap_maker: Some(Arc::new(make_tap)), ..setup };
        let vpp = Vpp::start(setup);
        let socket = vpp.path().to_owned();
        Self::at(Some(vpp), socket)
    }

    fn at(vpp: Option<Vpp>, socket: PathBuf) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed) + 1;
        let network = format!("net-{}-{n}", std::process::id());
        let low = |number: u32| u8::try_from(number % 250 + 1).expect("a byte");
        let subnet = (low(std::process::id()), low(n));
        Self { vpp, socket, scratch: Scratch::new("vpp-node"), network, subnet }
    }

    /// Whether VPP is the one in miniature.
    pub fn is_miniature(&self) -> bool {
        self.vpp.is_some()
    }

    /// The VPP in miniature.
    pub fn vpp(&self) -> &Vpp {
        self.vpp.as_ref().expect("a test that needs the miniature asks for it")
    }

    /// The same, to be killed.
    pub fn vpp_mut(&mut self) -> &mut Vpp {
        self.vpp.as_mut().expect("a test that needs the miniature asks for it")
    }

    /// VPP is killed, and comes again with nothing.
    pub fn restart_vpp(&mut self) {
        match &mut self.vpp {
            Some(vpp) => vpp.restart(),
            None => {
                let command = std::env::var("VPP_RESTART").expect("a VPP that can be restarted");
                let status = Command::new("sh").args(["-c", &command]).status();
                assert!(status.is_ok_and(|status| status.success()), "{command}");
                wait_until("VPP answers again", || self.try_client().is_ok());
            }
        }
    }

    fn try_client(&self) -> Result<Client, vpp_api::Error> {
        let options = Options { timeout: Duration::from_secs(60), ..Options::new("suite") };
        Client::connect(&self.socket, &options)
    }

    /// A client of VPP.
    pub fn client(&self) -> Client {
        self.try_client().expect("VPP answers")
    }

    /// VPP's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// A directory of the test's own.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// `PLAT_RUN_DIR`.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// Where the IPAM plugin keeps addresses.
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The addresses that are held, by the names of host-local's files.
    pub fn held(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.data_dir().join(&self.network)).into_iter().flatten();
        let names = files.flatten().filter_map(|file| file.file_name().into_string().ok());
        let mut held: Vec<String> = names.filter(|name| name.parse::<IpAddr>().is_ok()).collect();
        held.sort();
        held
    }

    /// The subnet of IPv4, without its last number.
    pub fn v4(&self) -> String {
        format!("10.{}.{}", self.subnet.0, self.subnet.1)
    }

    /// The subnet of IPv6, without its last number.
    pub fn v6(&self) -> String {
        format!("fd{:02x}:{:x}:", self.subnet.0, self.subnet.1)
    }

    /// The network configuration for a kind, dual stack.
    pub fn config(&self, kind: &str) -> Value {
        json!({
            "cniVersion": "1.1.0",
            "name": self.network,
            "type": "vpp",
            "socket": self.socket,
            "timeout": "3m",
            "kind": kind,
            "memif": {"directory": self.scratch.path().join("memif")},
            "ipam": {
                "type": "host-local",
                "dataDir": self.data_dir(),
                "ranges": [
                    [{"subnet": format!("{}.0/24", self.v4())}],
                    [{"subnet": format!("{}:/64", self.v6())}],
                ],
            },
        })
    }

    /// A pod with a namespace of its own.
    pub fn pod(&self) -> VppPod {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("pod-{}-{n}", std::process::id());
        VppPod { id, namespace: PodNamespace::new() }
    }

    /// A call for a pod.
    pub fn call(&self, command: &str, pod: &VppPod, config: &Value) -> Call {
        self.bare_call(command, config)
            .id(&pod.id)
            .env("CNI_NETNS", pod.namespace.path().to_string_lossy())
            .env("CNI_IFNAME", "eth0")
    }

    /// A call for no pod: GC, STATUS.
    pub fn bare_call(&self, command: &str, config: &Value) -> Call {
        let plugins = binary("host-local");
        let plugins = plugins.parent().expect("a program is in a directory").to_string_lossy();
        Call::new(&binary("vpp"), command)
            .without("CNI_CONTAINERID")
            .without("CNI_NETNS")
            .without("CNI_IFNAME")
            .env("CNI_PATH", plugins)
            .state_in(self.scratch.path())
            .config(config)
    }

    /// ADD; the result.
    #[track_caller]
    pub fn add(&self, pod: &VppPod, config: &Value) -> Value {
        self.call("ADD", pod, config).run().ok()
    }

    /// DEL.
    #[track_caller]
    pub fn del(&self, pod: &VppPod, config: &Value) {
        self.call("DEL", pod, config).run().ok();
    }

    /// CHECK with the result of ADD.
    pub fn check(&self, pod: &VppPod, config: &Value, result: &Value) -> Outcome {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        self.call("CHECK", pod, &config).run()
    }

    /// GC; only these pods are valid.
    pub fn gc(&self, config: &Value, valid: &[&VppPod]) -> Outcome {
        let mut config = config.clone();
        let valid: Vec<Value> =
            valid.iter().map(|pod| json!({"containerID": pod.id, "ifname": "eth0"})).collect();
        config["cni.dev/valid-attachments"] = valid.into();
        self.bare_call("GC", &config).run()
    }

    /// The interfaces of attachments of this network, by what is written on their devices or records: those whose
    /// tag begins as `prefix` says.
    pub fn interfaces(&self, prefix: &str) -> Vec<SwInterfaceDetails> {
        let all = self.client().interfaces().expect("VPP answers");
        all.into_iter().filter(|it| it.tag.to_string().starts_with(prefix)).collect()
    }

    /// The routes of pods in a table, as `ADDRESS/LENGTH INTERFACE`, those of the node's subnets.
    pub fn pod_routes(&self, table: u32) -> Vec<(String, IfIndex)> {
        let mut client = self.client();
        let sources = client.dump(&msg::FibSourceDump {}).expect("VPP answers");
        let source = sources.into_iter().find(|source| source.src.name == "plat-pod");
        let Some(source) = source else { return Vec::new() };
        let mut routes = Vec::new();
        for family in Family::BOTH {
            let table = Table::new(table, family);
            let request = msg::IpRouteV2Dump { src: source.src.id, table };
            for details in client.dump(&request).expect("VPP answers") {
                let prefix = details.route.prefix;
                if self.is_ours(prefix) {
                    let path = details.route.paths.first().expect("a path");
                    routes.push((prefix.to_string(), path.sw_if_index));
                }
            }
        }
        routes.sort();
        routes
    }

    fn is_ours(&self, prefix: Prefix) -> bool {
        let text = prefix.to_string();
        text.starts_with(&format!("{}.", self.v4())) || text.starts_with(&self.v6())
    }

    /// The hosts' ends of veth pairs that are of this network by what is written on them.
    pub fn devices(&self, prefix: &str) -> Vec<String> {
        let output = Command::new(program("ip")).args(["-json", "link", "show"]).output();
        let output = output.expect("ip can be run");
        let links: Value = serde_json::from_slice(&output.stdout).expect("ip writes JSON");
        let links = links.as_array().cloned().unwrap_or_default();
        let text = |link: &Value, key: &str| link[key].as_str().unwrap_or_default().to_owned();
        links
            .iter()
            .filter(|link| text(link, "ifalias").starts_with(prefix))
            .map(|link| text(link, "ifname"))
            .collect()
    }

    /// The records of attachments, those that are pending last.
    pub fn records(&self) -> Vec<PathBuf> {
        let below = |directory: PathBuf| {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths
        };
        let directories = below(self.run_dir().join("vpp"));
        let (pending, live): (Vec<_>, Vec<_>) =
            directories.into_iter().partition(|path| path.ends_with("pending"));
        let is_record = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
        let files = live.into_iter().chain(pending).filter(|path| path.is_dir()).flat_map(below);
        files
            .filter(is_record)
            .filter(|path| {
                path.file_stem()
                    .and_then(|stem| stem.to_str())
                    .is_some_and(|stem| stem.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
            })
            .collect()
    }

    /// The prefix of the network's tags, known by a record of it.
    pub fn tag_prefix(&self) -> String {
        format!("plat/{}/", vpp_plugin::names::NetworkHash::of(&self.network))
    }

    /// Asserts that nothing of any attachment is left: in VPP, in the kernel, with the IPAM plugin, in records.
    #[track_caller]
    pub fn assert_nothing_left(&self, table: u32) {
        let prefix = self.tag_prefix();
        let names = |all: Vec<SwInterfaceDetails>| -> Vec<String> {
            all.iter().map(|interface| interface.interface_name.to_string()).collect()
        };
        assert_eq!(names(self.interfaces(&prefix)), [""; 0], "interfaces in VPP");
        if let Some(vpp) = &self.vpp {
            let is_pods = |it: &&crate::vpp::Interface| {
                use crate::vpp::Kind::{AfPacket, Memif, Tap};
                matches!(it.kind, AfPacket { .. } | Memif { .. } | Tap { .. })
            };
            let left = vpp.look(|state| state.interfaces.values().filter(is_pods).count());
            assert_eq!(left, 0, "interfaces without a tag");
            let sockets = vpp.look(|state| state.memif_sockets.len());
            assert_eq!(sockets, 1, "sockets of memifs, VPP's own among them");
        }
        assert_eq!(self.pod_routes(table), [], "routes in VPP");
        assert_eq!(self.devices(&prefix), [""; 0], "devices");
        assert_eq!(self.held(), [""; 0], "addresses");
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "records");
    }
}

impl Default for VppNode {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for VppNode {
    fn drop(&mut self) {
        let prefix = self.tag_prefix();
        for device in self.devices(&prefix) {
            let _ = Command::new(program("ip")).args(["link", "delete", &device]).status();
        }
        if let Some(vpp) = &self.vpp {
            if !std::thread::panicking() {
                assert_eq!(vpp.complaints(), [""; 0], "what VPP would have logged");
            }
            return;
        }
        // A real VPP serves the next test, too.
        let Ok(mut client) = self.try_client() else { return };
        for interface in client.interfaces().unwrap_or_default() {
            if interface.tag.to_string().starts_with(&prefix) {
                let name = interface.interface_name.to_string();
                let _ = client.delete_af_packet(name.trim_start_matches("host-"));
                let _ = client.delete_memif(interface.sw_if_index);
            }
        }
    }
}
