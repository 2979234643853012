//! What agents run in: a network namespace with an uplink, an etcd, a VPP, and a directory for each agent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench_report::Outcome;
use ipam_pool::txn::{Op, Txn};
use kernel::{Netlink, RouteFilter};
use serde_json::{Value, json};
use support::etcd::Etcd;
use support::vpp::{Setup, Vpp};
use support::{InEtcd, Owned, Scratch, binary, program};
use vpp_api::{Client, Options};

/// The protocol number of the agent's routes.
pub(crate) const PROTOCOL: u8 = 205;
/// For how long anything may take at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// All of it.
pub(crate) struct World {
    scratch: Scratch,
    etcd: Etcd,
    /// The one in miniature, where no other was named.
    miniature: Option<Vpp>,
    socket: PathBuf,
}

/// An agent: its configuration and its state.
pub(crate) struct Agent {
    dir: PathBuf,
    config: PathBuf,
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn ip(words: &[&str]) -> Outcome<()> {
    let status = Command::new(program("ip")).args(words).status().map_err(text)?;
    if status.success() { Ok(()) } else { Err(format!("ip {words:?}: {status}")) }
}

impl World {
    /// In this process' network namespace, which is new.
    pub(crate) fn new() -> Outcome<Self> {
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "other"])?;
        ip(&["addr", "add", "192.168.0.1/17", "dev", "eth0"])?;
        for end in ["eth0", "other"] {
            ip(&["link", "set", end, "up"])?;
        }
        for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{path}"), "1").map_err(text)?;
        }
        let named = std::env::var_os("VPP_API_SOCK").map(PathBuf::from);
        let miniature = named.is_none().then(|| Vpp::start(Setup::default()));
        let socket = match (&named, &miniature) {
            (Some(path), _) => path.clone(),
            (None, Some(vpp)) => vpp.path().to_owned(),
            (None, None) => return Err("no VPP".to_owned()),
        };
        Ok(Self { scratch: Scratch::on_tmpfs("bench"), etcd: Etcd::single(), miniature, socket })
    }

    pub(crate) fn is_miniature(&self) -> bool {
        self.miniature.is_some()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn vpp_version(&self) -> String {
        Client::connect(&self.socket, &Options::new("bench"))
            .and_then(|mut client| client.version())
            .unwrap_or_else(|error| error.to_string())
    }

    /// Slow is what it is on a busy machine, and no failure.
    pub(crate) fn connection(&self) -> Value {
        self.etcd.patient()
    }

    /// The etcd with nothing in it.
    pub(crate) fn empty_etcd(&self) -> InEtcd {
        let mut etcd = InEtcd::new(&self.etcd.connection());
        let (key, end) = etcd.keys().all();
        let all = Op::Delete { key, end: Some(end) };
        etcd.txn(&Txn { then: vec![all], ..Txn::default() });
        let meta = etcd.keys().meta();
        let value =
            json!({"schema": 1, "minReader": 1, "minWriter": 1, "cluster": "c", "epoch": 0});
        etcd.put(meta, value);
        etcd
    }

    pub(crate) fn write(&self, name: &str, value: &Value) -> PathBuf {
        self.scratch.write(name, value.to_string())
    }

    pub(crate) fn agent(&self, name: &str, config: &Value) -> Agent {
        let dir = self.scratch.path().join(name);
        let config = self.scratch.write(&format!("{name}.json"), config.to_string());
        Agent { dir, config }
    }
}

impl Agent {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("plat-agent"));
        command.arg("--config").arg(&self.config).args(words).env_clear();
        command.env("PLAT_STATE_DIR", self.dir.join("state"));
        command.env("PLAT_RUN_DIR", self.dir.join("run"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end, and tells how long that took; what it prints has to contain a text.
    pub(crate) fn run(&self, words: &[&str], expected: &str) -> Outcome<Duration> {
        let deadline = Instant::now() + PATIENCE;
        let (output, took) = loop {
            let begun = Instant::now();
            let output = self.command(words).output().map_err(text)?;
            let took = begun.elapsed();
            // The lock of one that was killed a moment ago may not be free yet.
            let is_early =
                String::from_utf8_lossy(&output.stderr).contains("another plat-agent runs");
            if !is_early || Instant::now() > deadline {
                break (output, took);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = String::from_utf8_lossy(&output.stdout);
        // It ends with 1 where something of this machine needs attention.
        if matches!(output.status.code(), Some(0 | 1)) && said.contains(expected) {
            return Ok(took);
        }
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{words:?}: {}, {last:?} {wrong}; not {expected:?}", output.status))
    }

    /// Starts the daemon.
    pub(crate) fn start(&self) -> Outcome<Owned> {
        fs::create_dir_all(&self.dir).map_err(text)?;
        let log = File::create(self.dir.join("log")).map_err(text)?;
        let mut command = self.command(&[]);
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().map(Owned).map_err(text)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// How many routes of the agent's a table has.
pub(crate) fn count(netlink: &mut Netlink, table: u32) -> Outcome<usize> {
    let filter =
        RouteFilter { table: Some(table), protocol: Some(PROTOCOL), ..RouteFilter::default() };
    netlink.routes(&filter).map(|routes| routes.len()).map_err(text)
}

/// Waits until a condition holds.
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(format!("waited {PATIENCE:?} in vain until {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A value of a process' `status` in kB.
pub(crate) fn memory(pid: u32, key: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()
}
