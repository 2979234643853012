//! What a tenant, a container or another local user can try, and what the plugins and an administrator's policy file
//! say to it. Wrong configurations of host-local and node-local in general: `badinput`, `badplaces`.

mod documents;
mod etcd_roles;
mod places;
mod policy;
mod policy_taking_back;
mod supply_chain;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Call, Outcome, Scratch, binary, program};

/// The plugins.
const PLUGINS: [&str; 5] = ["host-local", "node-local", "etcd-pool", "chain", "vpp"];

/// The name of the network.
const NETWORK: &str = "net";

/// A place of its own for a test.
struct Bench {
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new("sec");
        // Nobody listens there: a call that gets so far says so at once, or within its patience.
        scratch.write("etcd.json", r#"{"endpoints": ["http://127.0.0.1:1"]}"#);
        Self { scratch }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn run_dir(&self) -> PathBuf {
        self.at("run")
    }

    fn state(&self) -> PathBuf {
        self.at("state")
    }

    /// A configuration of a plugin that is fine, with further keys of its ipam section.
    fn config(&self, plugin: &str, further: Value) -> Value {
        let own = match plugin {
            "host-local" => {
                json!({"dataDir": self.at("data"), "ranges": [[{"subnet": "10.1.2.0/24"}]]})
            }
            "etcd-pool" => json!({"pool": "pods", "flush": false}),
            "chain" => json!({"ipams": [node_local()]}),
            _ => node_local(),
        };
        let mut ipam = own.as_object().expect("an object").clone();
        ipam.entry("type").or_insert_with(|| json!(plugin));
        ipam.extend(further.as_object().expect("an object").clone());
        let main = if plugin == "vpp" { "vpp" } else { "bridge" };
        json!({"cniVersion": "1.1.0", "name": NETWORK, "type": main, "ipam": ipam})
    }

    /// A call of a plugin.
    fn call(&self, plugin: &str, command: &str, config: &Value) -> Call {
        let binary = binary(plugin);
        let path = binary.parent().expect("a binary is in a directory").display().to_string();
        Call::new(&binary, command)
            .state_in(self.path())
            .env("CNI_PATH", path)
            .env("PLAT_ETCD_CONFIG", self.at("etcd.json").display().to_string())
            .config(config)
    }

    /// The same under a policy file.
    fn under(&self, policy: &Path, plugin: &str, command: &str, config: &Value) -> Outcome {
        self.call(plugin, command, config).env("PLAT_POLICY", policy.display().to_string()).run()
    }

    /// A policy file with these rules.
    fn policy(&self, rules: &Value) -> PathBuf {
        self.policy_text(&rules.to_string())
    }

    /// A policy file with this text, whose name no other has.
    fn policy_text(&self, text: &str) -> PathBuf {
        let mut number = 0;
        let name = loop {
            let name = format!("policy-{number}.json");
            if !self.at(&name).exists() {
                break name;
            }
            number += 1;
        };
        let file = self.scratch.write(&name, text);
        set_mode(&file, 0o644);
        file
    }

    /// A FIFO.
    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.scratch.join(name);
        let made = Command::new(program("mkfifo")).arg(&path).status().expect("mkfifo can be run");
        assert!(made.success());
        path
    }
}

/// An ipam section of node-local that is fine.
fn node_local() -> Value {
    json!({"type": "node-local", "index": 1, "ranges": [[{"subnet": "10.1.{i}.0/24"}]]})
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("modes can be set");
}

/// Asserts an error and gives its message and details as one text.
fn refused(outcome: &Outcome, code: u64, what: &str) -> String {
    assert_eq!(outcome.exit, Some(1), "{what}: {} {}", outcome.stdout, outcome.stderr);
    let error = outcome.json();
    assert_eq!(error["code"], code, "{what}: {error}");
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let both = format!("{}\n{}", text("msg"), text("details"));
    assert!(
        !both.contains("panicked") && !text("msg").contains(char::is_control),
        "{what}: {both}"
    );
    both
}
