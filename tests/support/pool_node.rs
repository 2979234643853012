//! A node with etcd-pool, called directly.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::program::install_script;
use crate::{Call, Scratch, binary, is_over, program, wait_until};

/// The plugin, state of its own, and where etcd is. What it leaves behind ends with it.
#[derive(Debug)]
pub struct PoolNode {
    binary: PathBuf,
    scratch: Scratch,
}

impl PoolNode {
    /// The name of the network, unless a configuration says otherwise.
    pub const NETWORK: &'static str = "net";

    /// A node on which a file says how etcd is reached.
    pub fn new(tag: &str, connection: &Value) -> Self {
        let scratch = Scratch::on_tmpfs(tag);
        scratch.write("etcd.json", connection.to_string());
        Self { binary: binary("etcd-pool"), scratch }
    }

    /// The same with a host name of its own. Needs root.
    pub fn named(name: &str, tag: &str, connection: &Value) -> Self {
        let mut node = Self::new(tag, connection);
        let unshare = program("unshare");
        let rename = "echo \"$0\" >/proc/sys/kernel/hostname && exec \"$1\"";
        let words = ["--uts", "--", "/bin/sh", "-c", rename, name];
        let command: Vec<_> =
            std::iter::once(unshare.as_os_str()).chain(words.map(AsRef::as_ref)).collect();
        let script = node.scratch.join("bin/etcd-pool");
        node.binary = install_script(&script, &command, &binary("etcd-pool"));
        node
    }

    /// Says anew how etcd is reached.
    pub fn reach(&self, connection: &Value) {
        self.scratch.write("etcd.json", connection.to_string());
    }

    /// The scratch directory.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// `PLAT_STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// `PLAT_RUN_DIR`.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// What is called in the plugin's place, which it runs itself.
    pub fn program(&self) -> &Path {
        &self.binary
    }

    /// A network configuration with this `pool`.
    pub fn config(&self, pool: Value) -> Value {
        self.config_of(Self::NETWORK, json!({"pool": pool}))
    }

    /// A network configuration around an `ipam` section, which gets the plugin's type.
    pub fn config_of(&self, network: &str, mut ipam: Value) -> Value {
        ipam["type"] = json!("etcd-pool");
        json!({"cniVersion": "1.1.0", "name": network, "type": "bridge", "ipam": ipam})
    }

    /// A call of the plugin.
    pub fn call(&self, command: &str, config: &Value) -> Call {
        let file = self.scratch.path().join("etcd.json");
        Call::new(&self.binary, command)
            .state_in(self.scratch.path())
            .env("PLAT_ETCD_CONFIG", file.to_string_lossy())
            .config(config)
    }

    /// The operator's command line on this node.
    pub fn plat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::binary("plat"));
        command
            .args(arguments)
            .env("PLAT_STATE_DIR", self.state())
            .env("PLAT_RUN_DIR", self.run_dir())
            .env("PLAT_ETCD_CONFIG", self.scratch.path().join("etcd.json"));
        command
    }

    /// The addresses that an ADD gives; panics if it fails.
    pub fn add(&self, id: &str, config: &Value) -> Vec<String> {
        self.call("ADD", config).id(id).run().addresses()
    }

    /// Deletes an attachment; panics if that fails.
    pub fn del(&self, id: &str, config: &Value) {
        self.call("DEL", config).id(id).run().ok();
    }

    /// Processes of the plugin's that belong to this node.
    pub fn processes(&self) -> Vec<u32> {
        let ours = [b"PLAT_RUN_DIR=", self.run_dir().as_os_str().as_bytes()].concat();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|pair| pair == ours) && !is_over(*pid)
        })
        .collect()
    }

    /// Waits until what the calls have started has come to its end.
    pub fn settle(&self) {
        wait_until("what flushes comes to its end", || self.processes().is_empty());
    }

    /// What is written of a flush that fails.
    pub fn flush_log(&self) -> String {
        fs::read_to_string(self.run_dir().join("pool-flush.log")).unwrap_or_default()
    }
}

impl Drop for PoolNode {
    fn drop(&mut self) {
        for pid in self.processes() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
