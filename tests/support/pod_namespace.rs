//! Network namespaces that stand for pods.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::program;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace below `/run/netns`; deleted when dropped.
#[derive(Debug)]
pub struct PodNamespace {
    name: String,
}

impl PodNamespace {
    /// A new one, as a runtime makes it: `lo` is down.
    pub fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plat-{}-{n}", std::process::id());
        let namespace = Self { name };
        namespace.ip_netns("add");
        namespace
    }

    /// Its path, as CNI_NETNS has it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Deletes it, before its time.
    pub fn delete(&self) {
        self.ip_netns("delete");
    }

    fn ip_netns(&self, verb: &str) {
        let status = Command::new(program("ip")).args(["netns", verb, &self.name]).status();
        assert!(status.is_ok_and(|status| status.success()), "ip netns {verb} {}", self.name);
    }

    /// Runs a program inside.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program("ip"));
        command.args(["netns", "exec", &self.name]).args(words);
        command.output().expect("ip can be run")
    }

    /// What `ip -json` says inside.
    pub fn ip(&self, words: &[&str]) -> Value {
        let output = self.run(&[&["ip", "-json"], words].concat());
        assert!(output.status.success(), "ip {words:?}: {output:?}");
        if output.stdout.is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_slice(&output.stdout).expect("ip writes JSON")
    }

    /// The same for one link, as an object; nothing if it is not there.
    pub fn link(&self, name: &str) -> Option<Value> {
        let links = self.ip(&["-details", "address", "show"]);
        let links = links.as_array().cloned().unwrap_or_default();
        links.into_iter().find(|link| link["ifname"] == name)
    }

    /// The value of a kernel parameter.
    pub fn sysctl(&self, path: &str) -> String {
        let output = self.run(&["cat", &format!("/proc/sys/{path}")]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Default for PodNamespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PodNamespace {
    fn drop(&mut self) {
        let _ = Command::new(program("ip"))
            .args(["netns", "delete", &self.name])
            .stderr(std::process::Stdio::null())
            .status();
    }
}
