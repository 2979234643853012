//! A node's state, and the calls that are made there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::etcd::Etcd;
use support::{Scratch, TimedCall, binary};

use bench_report::Outcome;

/// The network of all calls.
pub(crate) const NETWORK: &str = "bench";
/// What other nodes hold lies in the upper half; its blocks have 1,024 addresses.
pub(crate) const SYNC: &str = "10.96.0.0/14";
/// The prefix length of blocks.
pub(crate) const BLOCK: u8 = 22;

/// A node's state, and a network on it.
pub(crate) struct Place {
    scratch: Scratch,
    pub(crate) config: PathBuf,
    plugin: PathBuf,
}

impl Place {
    pub(crate) fn new(plugin: &str, ipam: Value) -> Self {
        let scratch = Scratch::on_tmpfs("bench");
        let config =
            json!({ "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge", "ipam": ipam });
        let config = scratch.write("config.json", config.to_string());
        Self { scratch, config, plugin: binary(plugin) }
    }

    /// A node on a pool of its own: all that is on this machine has one host name.
    pub(crate) fn pool(etcd: &Etcd, number: usize, mode: &str, flush: bool) -> Self {
        let cidr = if mode == "local" { "10.80.0.0/14" } else { SYNC };
        let pool = json!({ "name": mode, "mode": mode, "cidr": cidr, "blk": BLOCK });
        Self::new(
            "etcd-pool",
            json!({
                "type": "etcd-pool",
                "index": number,
                "pool": pool,
                "routes": [{ "dst": "0.0.0.0/0" }],
                "flush": flush,
                "etcd": connection(etcd, number),
            }),
        )
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    pub(crate) fn call(&self, command: &str) -> TimedCall {
        let state = self.scratch.path().join("state");
        TimedCall::new(&self.plugin, command, &self.config, &state, &self.run())
    }

    /// The time of a call that succeeds.
    pub(crate) fn time(&self, command: &str, id: &str) -> Outcome<Duration> {
        succeeded(&self.call(command), command, id)
    }

    /// Starts a call and lets it run.
    pub(crate) fn spawn(&self, command: &str, id: &str) -> Outcome<Child> {
        self.spawn_with(&self.config, command, id)
    }

    /// The same with another configuration.
    pub(crate) fn spawn_with(&self, config: &Path, command: &str, id: &str) -> Outcome<Child> {
        let config = File::open(config).map_err(|e| e.to_string())?;
        Command::new(&self.plugin)
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", "/var/run/netns/none")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("PLAT_STATE_DIR", self.scratch.path().join("state"))
            .env("PLAT_RUN_DIR", self.run())
            .stdin(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())
    }

    /// Whether something flushes for this node.
    pub(crate) fn is_flushing(&self) -> bool {
        let database = self.run().join("plat.db").into_os_string().into_encoded_bytes();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
            let mut words = line.split(|b| *b == 0);
            words.nth(1) == Some(b"flush") && words.next() == Some(&database)
        })
    }

    pub(crate) fn wait_for_flushers(&self) -> Outcome<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.is_flushing() {
            if Instant::now() > deadline {
                return Err("a flusher does not end".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.wait_for_flushers();
    }
}

/// etcd, as the node of this number is to see it.
pub(crate) fn connection(etcd: &Etcd, number: usize) -> Value {
    // Slow is what it is on a busy machine, and no failure.
    let mut connection = etcd.patient();
    connection["prefix"] = json!(format!("/bench/{number}"));
    connection
}

pub(crate) fn succeeded(call: &TimedCall, command: &str, id: &str) -> Outcome<Duration> {
    let timed = call.run(id).map_err(|e| e.to_string())?;
    if timed.exit == Some(0) {
        return Ok(timed.took);
    }
    // What it said is not kept while it is timed.
    let again = call.answer(id).map_err(|e| e.to_string())?;
    Err(format!("{command} of {id} ends with {:?}; asked once more, it says {again}", timed.exit))
}

/// A container ID as runtimes make them.
pub(crate) fn id(purpose: &str, n: u32) -> String {
    let purpose: String = purpose.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{purpose:0<48}{n:016x}")
}
