//! An IPAM plugin called directly, with any configuration, in places of its own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::program::install_script;
use crate::{Call, Holdings, Plugin, Scratch, Snapshot, binary, program};

/// A plugin and a scratch directory with everything it may read or write: `dataDir`, node-local's
/// template folder, durable and volatile state.
#[derive(Debug)]
pub struct Workbench {
    plugin: Plugin,
    binary: PathBuf,
    scratch: Scratch,
    variables: Vec<(String, String)>,
}

impl Workbench {
    /// The name of the network, unless a configuration says otherwise.
    pub const NETWORK: &'static str = "net";

    /// A plugin without any state. node-local does not know which node this is but by the host name.
    pub fn new(plugin: Plugin, tag: &str) -> Self {
        let scratch = Scratch::new(tag);
        Self { plugin, binary: binary(plugin.name()), scratch, variables: Vec::new() }
    }

    /// node-local on a node whose index is in its environment.
    pub fn on_node(index: u32, tag: &str) -> Self {
        Self::new(Plugin::NodeLocal, tag).with("NODE_INDEX", index.to_string())
    }

    /// node-local on a node that has nothing but its host name. Needs root.
    pub fn on_host(name: &str, tag: &str) -> Self {
        let mut bench = Self::new(Plugin::NodeLocal, tag);
        bench.move_to_host(name);
        bench
    }

    /// With one more variable in the environment of every call.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a variable in the environment of every call from now on.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.variables.retain(|(name, _)| name != key);
        self.variables.push((key.to_owned(), value.into()));
    }

    /// Calls the plugin on a host of this name from now on: in a UTS namespace that ends with the
    /// call. Needs root.
    pub fn move_to_host(&mut self, name: &str) {
        let unshare = program("unshare");
        // Not by hostname(1), which refuses names that a kernel may have.
        let rename = "echo \"$0\" >/proc/sys/kernel/hostname && exec \"$1\"";
        let words = ["--uts", "--", "/bin/sh", "-c", rename, name];
        let command: Vec<_> =
            std::iter::once(unshare.as_os_str()).chain(words.map(AsRef::as_ref)).collect();
        let script = self.scratch.join(&format!("bin/{name:.60}"));
        self.binary = install_script(&script, &command, &binary(self.plugin.name()));
    }

    /// Calls another program in the plugin's place from now on.
    pub fn use_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Which plugin it is.
    pub fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// The scratch directory.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// `dataDir`, unless a configuration says otherwise.
    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// `PLAT_STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// `PLAT_RUN_DIR`.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// node-local's `cfgDir`, unless a configuration says otherwise.
    pub fn templates(&self) -> PathBuf {
        self.scratch.path().join("node-local")
    }

    /// Writes a file into the template folder.
    pub fn template(&self, name: &str, content: impl AsRef<[u8]>) {
        self.scratch.write(&format!("node-local/{name}"), content);
    }

    /// What the network holds.
    pub fn network(&self) -> Holdings {
        self.network_called(Self::NETWORK)
    }

    /// What a network of another name holds.
    pub fn network_called(&self, name: &str) -> Holdings {
        self.network_in(&self.data(), name)
    }

    /// What a network holds whose configuration names another `dataDir`.
    pub fn network_in(&self, data_dir: &Path, name: &str) -> Holdings {
        Holdings::new(name, data_dir, &self.run_dir()).with_state(&self.state())
    }

    /// The database, unless a configuration says otherwise.
    pub fn database(&self) -> PathBuf {
        self.run_dir().join("plat.db")
    }

    /// What is recorded: reservations, the database and durable state. The other volatile state is what is
    /// known of reservations, and any call may bring it up to date.
    pub fn snapshot(&self) -> Snapshot {
        let places = [self.data(), self.state(), self.database()];
        Snapshot::of_all(places.iter().map(PathBuf::as_path))
    }

    /// Where a network has reservations besides the default place, as it is remembered.
    pub fn places(&self) -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = fs::read_dir(self.state().join("places"))
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .collect();
        places.sort();
        places
    }

    /// A network configuration around an `ipam` section. The section gets this plugin's type, and the
    /// scratch `dataDir` and `cfgDir` where it does not name its own.
    pub fn config(&self, ipam: Value) -> Value {
        self.in_network(
            &json!({"cniVersion": "1.1.0", "name": Self::NETWORK, "type": "bridge"}),
            ipam,
        )
    }

    /// The same in another network configuration.
    pub fn in_network(&self, network: &Value, ipam: Value) -> Value {
        let Value::Object(ipam) = ipam else { panic!("an ipam section is an object: {ipam}") };
        let mut section = Map::new();
        section.insert("type".to_owned(), json!(self.plugin.name()));
        section.insert("dataDir".to_owned(), json!(self.data()));
        if self.plugin == Plugin::NodeLocal {
            section.insert("cfgDir".to_owned(), json!(self.templates()));
        }
        section.extend(ipam);
        let mut config = network.clone();
        config["ipam"] = Value::Object(section);
        config
    }

    /// A call of the plugin, or of what takes its place.
    pub fn call(&self, command: &str, config: &Value) -> Call {
        self.call_of(&self.binary, command, config)
    }

    /// A call of another program in the same environment.
    pub fn call_of(&self, binary: &Path, command: &str, config: &Value) -> Call {
        self.variables.iter().fold(
            Call::new(binary, command).state_in(self.scratch.path()).config(config),
            |call, (key, value)| call.env(key, value),
        )
    }

    /// The addresses that an ADD gives; panics if it fails.
    pub fn add(&self, id: &str, config: &Value) -> Vec<String> {
        self.call("ADD", config).id(id).run().addresses()
    }

    /// Deletes an attachment; panics if that fails.
    pub fn del(&self, id: &str, config: &Value) {
        self.call("DEL", config).id(id).run().ok();
    }

    /// The configuration with the containers whose `eth0` is still valid.
    pub fn gc_config(&self, config: &Value, valid: &[&str]) -> Value {
        let mut config = config.clone();
        config["cni.dev/valid-attachments"] =
            valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        config
    }
}
