//! chain, called directly, with plugins that it may find.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::{Call, Holdings, Scratch, binary, install_script, program};

/// A plugin of no kind: notes its calls in one log, and answers what a file says. `$0` is its directory, `$1` its name.
const PUPPET: &str = r#"
echo "$1 $CNI_COMMAND ${CNI_CONTAINERID:--} ${CNI_ARGS:--}" >>"$0/log"
cat >"$0/$1.$CNI_COMMAND.stdin"
while [ -e "$0/$1.$CNI_COMMAND.waits" ]; do sleep 0.02; done
if [ -e "$0/$1.$CNI_COMMAND.fails" ]; then cat "$0/$1.$CNI_COMMAND.fails"; exit 1; fi
if [ -e "$0/$1.$CNI_COMMAND.prints" ]; then cat "$0/$1.$CNI_COMMAND.prints"; fi
"#;

/// A node of index 4 with a directory of plugins and state of its own.
#[derive(Debug)]
pub(crate) struct Bench {
    scratch: Scratch,
    /// How many bytes of the log have been looked at.
    seen: AtomicUsize,
}

impl Bench {
    pub(crate) const NETWORK: &'static str = "net";

    pub(crate) fn new() -> Self {
        let bench = Self { scratch: Scratch::on_tmpfs("chain"), seen: AtomicUsize::new(0) };
        for name in ["chain", "host-local", "node-local"] {
            bench.link(&binary(name), name);
        }
        fs::create_dir_all(bench.puppets()).expect("a scratch directory can be made");
        bench
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.scratch.path().join("cni-path")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn puppets(&self) -> PathBuf {
        self.scratch.path().join("puppets")
    }

    /// Puts a program into the directory of plugins.
    pub(crate) fn link(&self, program: &Path, name: &str) {
        let place = self.scratch.join(&format!("cni-path/{name}"));
        std::os::unix::fs::symlink(program, place).expect("a link can be made");
    }

    /// Puts a plugin there that does what [`Bench::prints`] and [`Bench::fails`] say.
    pub(crate) fn puppet(&self, name: &str) {
        let (shell, dir) = (program("sh"), self.puppets());
        let words = [shell.as_os_str(), "-c".as_ref(), PUPPET.as_ref(), dir.as_os_str()];
        install_script(&self.scratch.join(&format!("cni-path/{name}")), &words, Path::new(name));
    }

    pub(crate) fn prints(&self, name: &str, command: &str, answer: &Value) {
        self.scratch.write(&format!("puppets/{name}.{command}.prints"), answer.to_string());
    }

    pub(crate) fn fails(&self, name: &str, command: &str, code: u32, message: &str) {
        let error = json!({"code": code, "msg": message});
        self.scratch.write(&format!("puppets/{name}.{command}.fails"), error.to_string());
    }

    pub(crate) fn fails_no_more(&self, name: &str, command: &str) {
        fs::remove_file(self.puppets().join(format!("{name}.{command}.fails"))).expect("it failed");
    }

    /// Lets a puppet's calls wait from now on, or go on.
    pub(crate) fn waits(&self, name: &str, command: &str, waits: bool) {
        let path = self.puppets().join(format!("{name}.{command}.waits"));
        if waits {
            fs::write(path, "").expect("a scratch file can be written");
        } else {
            fs::remove_file(path).expect("it waits");
        }
    }

    /// What a puppet was given last.
    pub(crate) fn given(&self, name: &str, command: &str) -> Value {
        let path = self.puppets().join(format!("{name}.{command}.stdin"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).expect("a configuration")
    }

    /// The puppets' calls since the last time, `NAME COMMAND CONTAINER CNI_ARGS` each.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.puppets().join("log")).unwrap_or_default();
        let seen = self.seen.swap(text.len(), Ordering::Relaxed);
        text[seen..].lines().map(str::to_owned).collect()
    }

    /// The same, without containers and arguments.
    pub(crate) fn asked(&self) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls.map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    /// A node-local section with a range of 10.1.4.0/24's family, by its subnet.
    pub(crate) fn node_local(subnet: &str) -> Value {
        json!({"type": "node-local", "ranges": [[{"subnet": subnet}]]})
    }

    /// A configuration of a main plugin with a chain as IPAM.
    pub(crate) fn config(policy: &str, ipams: &[Value]) -> Value {
        json!({
            "cniVersion": "1.1.0", "name": Self::NETWORK, "type": "bridge",
            "ipam": {"type": "chain", "policy": policy, "ipams": ipams},
        })
    }

    /// What some runtimes leave of it for a DEL.
    pub(crate) fn stripped(kind: &str) -> Value {
        json!({"cniVersion": "1.0.0", "name": Self::NETWORK, "type": kind, "ipam": {"type": "chain"}})
    }

    pub(crate) fn call_of(&self, program: &Path, command: &str, config: &Value) -> Call {
        Call::new(program, command)
            .state_in(self.scratch.path())
            .env("CNI_PATH", self.plugins().display().to_string())
            .env("NODE_INDEX", "4")
            .config(config)
    }

    pub(crate) fn call(&self, command: &str, config: &Value) -> Call {
        self.call_of(&binary("chain"), command, config)
    }

    pub(crate) fn add(&self, id: &str, config: &Value) -> Vec<String> {
        self.call("ADD", config).id(id).run().addresses()
    }

    pub(crate) fn del(&self, id: &str, config: &Value) {
        self.call("DEL", config).id(id).env("CNI_NETNS", "").run().ok();
    }

    pub(crate) fn check(&self, id: &str, config: &Value, result: &Value) -> Call {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        self.call("CHECK", &config).id(id)
    }

    pub(crate) fn gc(&self, config: &Value, valid: &[&str]) -> Call {
        let mut config = config.clone();
        config["cni.dev/valid-attachments"] =
            valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        self.call("GC", &config)
    }

    /// What all IPAMs of the network hold.
    pub(crate) fn network(&self) -> Holdings {
        Holdings::new(Self::NETWORK, &self.data(), &self.run_dir())
    }

    /// How many addresses an attachment holds.
    pub(crate) fn held(&self, id: &str) -> usize {
        self.network().held_by(id, "eth0").len()
    }

    /// The names of chain's records.
    pub(crate) fn records(&self) -> Vec<String> {
        let dir = self.run_dir().join("chain").join(Self::NETWORK);
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Asserts that nobody holds anything, and that nothing is recorded.
    pub(crate) fn assert_empty(&self) {
        self.network().assert_nothing_reserved();
        assert_eq!(self.records(), [] as [String; 0]);
    }
}
