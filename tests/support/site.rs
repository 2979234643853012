//! One IPAM plugin with one network and places of its own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Call, Holdings, MountNamespace, NetworkDir, Scratch, binary};

/// The IPAM plugins whose ranges this node knows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// Ranges as written.
    HostLocal,
    /// Ranges by node index.
    NodeLocal,
}

impl Plugin {
    /// The plugin's type, which is also the name of its binary.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostLocal => "host-local",
            Self::NodeLocal => "node-local",
        }
    }
}

/// What remembers allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The reference's directory.
    Dir,
    /// The database in the directory of the boot's state.
    Sqlite,
}

impl Store {
    /// The word for it in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Sqlite => "sqlite",
        }
    }
}

impl Plugin {
    /// The store that the plugin uses unless it is told another one.
    pub fn default_store(self) -> Store {
        match self {
            Self::HostLocal => Store::Dir,
            Self::NodeLocal => Store::Sqlite,
        }
    }
}

/// A plugin, its configuration for one network, and where it keeps what it knows. Both plugins
/// choose from the same ranges: `10.7.0.0/16`, and with two stacks `2001:db8:7::/64`.
#[derive(Clone, Debug)]
pub struct Site {
    plugin: Plugin,
    store: Store,
    binary: PathBuf,
    data: PathBuf,
    state: PathBuf,
    run: PathBuf,
    index: u32,
    families: usize,
    prefix: u8,
    policy: bool,
}

impl Site {
    /// The network's name.
    pub const NETWORK: &'static str = "net";

    /// Reservations in the directory `base/data`, durable state in `base/state`, the boot's state in `run`.
    pub fn new(plugin: Plugin, base: &Path, run: &Path) -> Self {
        Self {
            plugin,
            store: Store::Dir,
            binary: binary(plugin.name()),
            data: base.join("data"),
            state: base.join("state"),
            run: run.to_path_buf(),
            index: 7,
            families: 1,
            prefix: 16,
            policy: false,
        }
    }

    /// The same with another program in the plugin's place.
    #[must_use]
    pub fn with_binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// The same with the plugin in a mount namespace; what starts it there is put into `scratch`.
    #[must_use]
    pub fn inside(self, namespace: &MountNamespace, scratch: &Scratch) -> Self {
        let wrapper = namespace.wrapper(&self.binary, &scratch.join("bin/plugin"));
        self.with_binary(wrapper)
    }

    /// The same with another store.
    #[must_use]
    pub fn in_store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// The same with another directory of reservations.
    #[must_use]
    pub fn with_data(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// The same with another directory of durable state.
    #[must_use]
    pub fn with_state(mut self, state: PathBuf) -> Self {
        self.state = state;
        self
    }

    /// The same with another directory of the boot's state.
    #[must_use]
    pub fn with_run(mut self, run: PathBuf) -> Self {
        self.run = run;
        self
    }

    /// The same on another node; host-local's ranges do not care.
    #[must_use]
    pub fn with_index(mut self, index: u32) -> Self {
        self.index = index;
        self
    }

    /// The same with an IPv6 range beside the IPv4 range.
    #[must_use]
    pub fn dual_stack(mut self, dual: bool) -> Self {
        self.families = if dual { 2 } else { 1 };
        self
    }

    /// The same with an IPv4 subnet of another size.
    #[must_use]
    pub fn with_prefix(mut self, prefix: u8) -> Self {
        self.prefix = prefix;
        self
    }

    /// The same with sticky addresses, each container being a pod of its own, and an hour of rest.
    #[must_use]
    pub fn with_policy(mut self, policy: bool) -> Self {
        self.policy = policy;
        self
    }

    /// Which plugin it is.
    pub fn plugin(&self) -> Plugin {
        self.plugin
    }

    /// What remembers its allocations.
    pub fn store(&self) -> Store {
        self.store
    }

    /// The program that is run.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// `dataDir`.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `PLAT_STATE_DIR`.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// `PLAT_RUN_DIR`.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// How many addresses an attachment gets.
    pub fn families(&self) -> usize {
        self.families
    }

    /// The first address of each range that can be handed out.
    pub fn first_addresses(&self) -> Vec<IpAddr> {
        let all = [IpAddr::from([10, 7, 0, 2]), IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 0, 2])];
        all.into_iter().take(self.families).collect()
    }

    /// The network's directory.
    pub fn directory(&self) -> NetworkDir {
        NetworkDir::new(&self.data, Self::NETWORK)
    }

    /// The database, where that is the store.
    pub fn database(&self) -> PathBuf {
        self.run.join("plat.db")
    }

    /// What the network holds, in whichever store.
    pub fn holdings(&self) -> Holdings {
        Holdings::new(Self::NETWORK, &self.data, &self.run).with_state(&self.state)
    }

    /// The configuration, of a version that the installed reference knows too.
    pub fn config(&self) -> Value {
        let (v4, v6) = match self.plugin {
            Plugin::HostLocal => (format!("10.7.0.0/{}", self.prefix), "2001:db8:7::/64"),
            Plugin::NodeLocal => (format!("10.{{i}}.0.0/{}", self.prefix), "2001:db8:{i}::/64"),
        };
        let sets = [json!([{ "subnet": v4 }]), json!([{ "subnet": v6 }])];
        let mut config = self.stripped_config();
        config["ipam"]["dataDir"] = json!(self.data);
        config["ipam"]["ranges"] = json!(sets[..self.families]);
        if self.store != self.plugin.default_store() {
            config["ipam"]["store"] = json!(self.store.name());
        }
        if self.policy {
            config["ipam"]["strategy"] = json!("sticky");
            config["ipam"]["cooldown"] = json!("1h");
        }
        if self.plugin == Plugin::NodeLocal {
            config["ipam"]["index"] = json!(self.index);
        }
        config
    }

    /// The configuration that Multus sends with DEL: no ranges, and no place either.
    pub fn stripped_config(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": Self::NETWORK,
            "type": "bridge",
            "ipam": { "type": self.plugin.name() },
        })
    }

    /// A call with the whole configuration.
    pub fn call(&self, command: &str, id: &str) -> Call {
        self.call_with(command, id, &self.config())
    }

    /// A call with another configuration.
    pub fn call_with(&self, command: &str, id: &str, config: &Value) -> Call {
        let call = Call::new(&self.binary, command)
            .env("PLAT_STATE_DIR", self.state.to_string_lossy())
            .env("PLAT_RUN_DIR", self.run.to_string_lossy())
            .id(id)
            .config(config);
        if !self.policy {
            return call;
        }
        let pod = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME={id}");
        call.env("CNI_ARGS", pod)
    }

    /// The configuration with the attachments that are valid: these containers' `eth0`.
    pub fn gc_config(&self, valid: &[&str]) -> Value {
        let mut config = self.config();
        config["cniVersion"] = json!("1.1.0");
        config["cni.dev/valid-attachments"] = valid
            .iter()
            .map(|id| json!({ "containerID": id, "ifname": "eth0" }))
            .collect::<Value>();
        config
    }

    /// A GC call that leaves these containers' `eth0`.
    pub fn gc(&self, valid: &[&str]) -> Call {
        self.call_with("GC", "", &self.gc_config(valid))
            .without("CNI_CONTAINERID")
            .without("CNI_IFNAME")
    }
}
