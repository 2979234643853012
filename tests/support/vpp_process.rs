/*!
A real VPP, as a process of a node: where its program is, how it is started without huge pages and without a NIC, and
that it goes when the test goes.

| variable | what it names |
|---|---|
| `VPP_BIN` | the program `vpp` |
| `VPP_PLUGIN_PATH` | the directory of its plugins, of which `af_packet_plugin.so` and `ping_plugin.so` are needed |

Without them there is no VPP, and tests that need one say so: no package of the system has it. With
`dpdk_plugin.so` among the plugins the uplink is a DPDK device (`net_af_packet`, for which VPP has to be linked with a
DPDK that has it); else VPP opens it by af_packet.
*/

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use vpp_api::{Client, Options};

use crate::{Node, Owned, child_of, is_over, wait_until};

/// What VPP calls a DPDK device that has no PCI address.
const DPDK_UPLINK: &str = "Ethernet0";

/// Where a VPP is.
#[derive(Clone, Debug)]
pub struct VppProgram {
    binary: PathBuf,
    plugins: PathBuf,
}

impl VppProgram {
    /// The one that `VPP_BIN` and `VPP_PLUGIN_PATH` name; says that the test is skipped where they are not
    /// set. That is no failure, since a machine may have every package that the tests need, and no VPP.
    pub fn find(test: &str) -> Option<Self> {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let (Some(binary), Some(plugins)) = (path("VPP_BIN"), path("VPP_PLUGIN_PATH")) else {
            use std::io::Write as _;
            let text =
                format!("SKIPPED {test}: needs a VPP (VPP_BIN and VPP_PLUGIN_PATH name one)");
            let _ = writeln!(std::io::stderr(), "{text}");
            return None;
        };
        for file in
            [binary.clone(), plugins.join("af_packet_plugin.so"), plugins.join("ping_plugin.so")]
        {
            assert!(file.exists(), "{} is not there", file.display());
        }
        Some(Self { binary, plugins })
    }

    /// Whether it has the DPDK plugin.
    pub fn has_dpdk(&self) -> bool {
        self.plugins.join("dpdk_plugin.so").exists()
    }

    /// What VPP calls its uplink on this device.
    pub fn uplink_name(&self, device: &str) -> String {
        if self.has_dpdk() { DPDK_UPLINK.to_owned() } else { format!("host-{device}") }
    }

    /// The startup configuration for a directory of its own, and the debug commands that it begins with.
    fn startup(&self, directory: &Path, uplink: Option<&str>) -> (String, String) {
        let place = directory.display();
        let mut plugins =
            format!("  path {}\n  plugin default {{ disable }}\n", self.plugins.display());
        let mut enable = |name: &str| {
            let name = format!("{name}_plugin.so");
            if self.plugins.join(&name).exists() {
                let _ = writeln!(plugins, "  plugin {name} {{ enable }}");
            }
        };
        ["af_packet", "ping", "memif", "tap"].into_iter().for_each(&mut enable);
        let mut commands = String::new();
        let mut dpdk = String::new();
        match uplink {
            Some(device) if self.has_dpdk() => {
                enable("dpdk");
                // The prefix keeps the files of two VPPs of one machine apart.
                let prefix = format!("plat-{}-{device}", std::process::id());
                dpdk = format!(
                    "dpdk {{ no-pci no-hugetlb iova-mode va file-prefix {prefix} \
                     vdev net_af_packet0,iface={device} }}\n"
                );
            }
            Some(device) => commands = format!("create host-interface name {device}\n"),
            None => {}
        }
        let text = format!(
            "unix {{ nodaemon nosyslog log {place}/vpp.log runtime-dir {place} cli-listen {place}/cli.sock \
             poll-sleep-usec 200 exec {place}/commands }}\n\
             socksvr {{ socket-name {place}/api.sock }}\n\
             statseg {{ socket-name {place}/stats.sock size 32m page-size 4k }}\n\
             memory {{ main-heap-size 192M main-heap-page-size 4k }}\n\
             buffers {{ buffers-per-numa 8192 page-size 4k }}\n\
             plugins {{\n{plugins}}}\n{dpdk}"
        );
        (text, commands)
    }
}

/// A VPP that runs on a node, in the place where everybody expects it: `/run/vpp`. It ends when this is dropped,
/// and with the node at the latest.
#[derive(Debug)]
pub struct VppProcess {
    program: VppProgram,
    uplink: Option<String>,
    directory: PathBuf,
    /// nsenter, whose child VPP is.
    parent: Option<Owned>,
    pid: u32,
}

impl VppProcess {
    /// Starts one on a node, its uplink on a device of the node, and waits until it answers.
    pub fn start(program: &VppProgram, node: &Node, uplink: Option<&str>) -> Self {
        let mut vpp = Self {
            program: program.clone(),
            uplink: uplink.map(str::to_owned),
            directory: node.path("/run/vpp"),
            parent: None,
            pid: 0,
        };
        let (startup, commands) = program.startup(Path::new("/run/vpp"), uplink);
        node.write("/run/vpp/startup.conf", startup);
        node.write("/run/vpp/commands", commands);
        vpp.start_again(node);
        vpp
    }

    /// Its API socket, as seen from outside the node.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    /// Its process ID, as the host numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it calls its uplink.
    pub fn uplink(&self) -> Option<String> {
        self.uplink.as_deref().map(|device| self.program.uplink_name(device))
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        self.try_client().expect("VPP answers")
    }

    fn try_client(&self) -> Result<Client, vpp_api::Error> {
        let options = Options { timeout: Duration::from_secs(60), ..Options::new("suite") };
        Client::connect(&self.socket(), &options)
    }

    /// What a debug command says.
    pub fn cli(&self, command: &str) -> String {
        self.client().cli(command).expect("VPP answers")
    }

    /// Lets it crash, and does not wait until it has ended: no handler of it runs, and its sockets stay.
    pub fn strike(&self) {
        let _ = kill_process(raw(self.pid), Signal::KILL);
    }

    /// The same, and waits until it has ended.
    pub fn kill(&mut self) {
        if self.parent.is_none() {
            return;
        }
        self.strike();
        // Its first thread may be over while another one still holds its sockets.
        let pid = self.pid;
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        wait_until("VPP is gone", || is_over(pid) && threads() <= 1);
        self.parent = None;
    }

    /// Starts it after it was killed; it has nothing then.
    pub fn start_again(&mut self, node: &Node) {
        assert!(self.parent.is_none(), "it is to be killed first");
        let mut command: Command =
            node.command(&[&self.program.binary.to_string_lossy(), "-c", "/run/vpp/startup.conf"]);
        let output =
            fs::File::create(self.directory.join("output")).expect("a file for VPP's output");
        let same = output.try_clone().expect("a descriptor");
        command.stdin(Stdio::null()).stdout(output).stderr(same);
        let mut parent = Owned(command.spawn().expect("VPP can be started"));
        let binary = self.program.binary.clone();
        let mut pid = None;
        wait_until("VPP runs", || {
            pid = child_of(parent.0.id(), &binary);
            self.assert_running(&mut parent);
            pid.is_some()
        });
        self.pid = pid.expect("it runs");
        wait_until("VPP answers", || {
            self.assert_running(&mut parent);
            self.try_client().and_then(|mut client| client.ping()).is_ok()
        });
        if let Some(uplink) = self.uplink() {
            // What the configuration has it carry out comes after it answers.
            wait_until("VPP has its uplink", || {
                self.assert_running(&mut parent);
                let found = self.try_client().and_then(|mut it| it.interface_named(&uplink));
                found.is_ok_and(|found| found.is_some())
            });
        }
        self.parent = Some(parent);
        self.leave_processor();
        self.widen(node);
    }

    /// Two VPPs that have bound themselves to one processor would wait for each other.
    fn leave_processor(&self) {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
        let tasks =
            fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        for task in tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()) {
            let _ = sched_setaffinity(Some(raw(task)), &all);
        }
    }

    /// DPDK's af_packet driver counts the Ethernet header and VLAN tags as part of what the device calls its MTU, and
    /// so lowers it. No NIC does.
    fn widen(&self, node: &Node) {
        let Some(device) = self.uplink.as_deref().filter(|_| self.program.has_dpdk()) else {
            return;
        };
        self.cli(&format!("set interface mtu packet 1500 {DPDK_UPLINK}"));
        node.ok(&["ip", "link", "set", device, "mtu", "1500"]);
    }

    fn assert_running(&self, parent: &mut Owned) {
        let ended = parent.0.try_wait().expect("a child can be waited for");
        if let Some(status) = ended {
            let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            panic!("VPP has ended ({status}): {}{}", read("output"), read("vpp.log"));
        }
    }
}

impl Drop for VppProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn raw(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process ID")
}
