//! Every file of `conf-examples` does what its README says, on this machine as on a node.

mod chains;
mod pages;
mod pools;
mod vpp;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{
    NetworkDir, Node, Outcome, Plugin, Workbench, binary, finish, is_root, reference, repository,
    skip_unless,
};

/// Parts of the folder that other tests run.
const COVERED_ELSEWHERE: [&str; 16] = [
    "README.md",
    "demo",
    "demo-pool",
    "kubernetes/README.md",
    "kubernetes/base",
    "kubernetes/components",
    "kubernetes/networks/kustomization.yaml",
    "kubernetes/overlays/install-only",
    "kubernetes/overlays/multus",
    "kubernetes/overlays/uninstall",
    "monitoring",
    "nomad",
    "plat-agent",
    "podman",
    "policy",
    "scenarios",
];

/// Names of files that are no network configurations, and that other tests run.
const NO_NETWORKS: [&str; 3] = ["agent.json", "kustomization.yaml", "patch.yaml"];

fn folder() -> PathBuf {
    repository().join("conf-examples")
}

/// What the README says of a file's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    /// The node's index, where it matters.
    node: Option<u32>,
    /// What the container asks for.
    requested: Vec<String>,
    /// What it gets.
    addresses: Vec<String>,
    /// Whether these are networks that the addresses are out of.
    out_of: bool,
}

impl Statement {
    /// Reads `Node 4, asked for `A`: `B` `C``, or `Any node: out of `B` `C``.
    fn parse(text: &str) -> Self {
        let (who, addresses) =
            text.rsplit_once(": ").unwrap_or_else(|| panic!("no statement: {text}"));
        let (who, requested) = who.split_once(", asked for ").unwrap_or((who, ""));
        let node = match who {
            "Any node" => None,
            _ => who
                .strip_prefix("Node ")
                .and_then(|index| index.parse().ok())
                .or_else(|| panic!("which node? {text}")),
        };
        let out_of = addresses.starts_with("out of ");
        let (requested, addresses) = (quoted(requested), quoted(addresses));
        let statement = Self { node, requested, addresses, out_of };
        assert!(!statement.addresses.is_empty(), "no addresses: {text}");
        statement
    }
}

/// The pieces of a text that stand in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The README's sections: files of the heading, and the statements below it.
fn sections() -> Vec<(Vec<String>, Vec<Statement>)> {
    let text = fs::read_to_string(folder().join("README.md")).expect("there is a README");
    let mut sections: Vec<(Vec<String>, Vec<Statement>)> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            sections.push((quoted(heading), Vec::new()));
        } else if let (Some(statement), Some((_, statements))) =
            (line.strip_prefix("- "), sections.last_mut())
        {
            statements.push(Statement::parse(statement));
        }
    }
    sections
}

/// All files of the folder, named relative to it.
fn files() -> Vec<String> {
    fn visit(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("a folder can be read").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder()).expect("below the folder").display().to_string();
            let file = entry.file_name();
            let no_network = NO_NETWORKS.iter().any(|other| file.as_os_str() == *other);
            if no_network || COVERED_ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                visit(&path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    visit(&folder(), &mut found);
    found.sort();
    found
}

/// A configuration that a main plugin gets, with name and version as a runtime puts them in.
#[derive(Clone, Debug)]
struct Example {
    file: String,
    config: Value,
}

impl Example {
    /// The configurations of a file; none for one that is no network configuration.
    fn of(file: &str) -> Vec<Self> {
        let text = fs::read_to_string(folder().join(file)).expect("an example can be read");
        let text = match file.rsplit_once('.').map(|(_, extension)| extension) {
            Some("conflist") => text,
            Some("yaml") => config_block(&text),
            _ => return Vec::new(),
        };
        let network: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        let plugins = match network["plugins"].as_array() {
            Some(plugins) => plugins.clone(),
            None => vec![network.clone()],
        };
        plugins
            .into_iter()
            // What comes after the first one gives out no addresses: portmap and the like.
            .filter(|config| config["type"] == "chain" || !config["ipam"].is_null())
            .map(|mut config| {
                config["name"] = network["name"].clone();
                config["cniVersion"] = network["cniVersion"].clone();
                Self { file: file.to_owned(), config }
            })
            .collect()
    }

    /// Those whose addresses a node knows by itself.
    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Self::everywhere().collect();
        all.retain(|example| !example.has_pool() && !example.is_chain());
        all
    }

    /// Those whose addresses nodes share by etcd.
    fn with_pool() -> Vec<Self> {
        Self::everywhere().filter(Self::has_pool).collect()
    }

    fn everywhere() -> impl Iterator<Item = Self> {
        files().into_iter().flat_map(|file| Self::of(&file))
    }

    fn has_pool(&self) -> bool {
        self.config["ipam"]["type"] == "etcd-pool"
    }

    /// Those of several IPAM plugins, or of a whole network.
    fn with_chain() -> Vec<Self> {
        Self::everywhere().filter(Self::is_chain).collect()
    }

    fn is_chain(&self) -> bool {
        self.config["type"] == "chain" || self.config["ipam"]["type"] == "chain"
    }

    /// What the README says of it.
    fn statements(&self) -> Vec<Statement> {
        let found = sections().into_iter().find(|(files, _)| files.contains(&self.file));
        found.unwrap_or_else(|| panic!("{} is not in the README", self.file)).1
    }

    fn text(&self, key: &str) -> &str {
        self.config[key].as_str().unwrap_or_else(|| panic!("{}: no {key}", self.file))
    }

    fn plugin(&self) -> Plugin {
        match self.config["ipam"]["type"].as_str() {
            Some("host-local") => Plugin::HostLocal,
            Some("node-local") => Plugin::NodeLocal,
            other => panic!("{}: IPAM {other:?}", self.file),
        }
    }

    /// A bench of the IPAM plugin on a node, and the configuration with its places moved there.
    fn on(&self, node: Option<u32>) -> (Workbench, Value) {
        let bench = match node {
            Some(index) => Workbench::on_node(index, "example"),
            None => Workbench::new(self.plugin(), "example"),
        };
        let mut ipam = self.config["ipam"].clone();
        ipam["dataDir"] = json!(bench.data());
        if self.plugin() == Plugin::NodeLocal {
            ipam["cfgDir"] = json!(folder().join("node-local-template"));
        }
        let config = bench.in_network(&self.config, ipam);
        (bench, config)
    }
}

/// The text of the key `config` of a manifest, a block that keeps its lines. All else is YAML, and not
/// read.
fn config_block(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| line.trim() != "config: |");
    let key = lines.next().expect("a manifest has a block `config: |`");
    let block = lines.take_while(|line| line.trim().is_empty() || indent(line) > indent(key));
    block.collect::<Vec<_>>().join("\n")
}

fn prefixed(outcome: &Outcome) -> Vec<String> {
    let result = outcome.ok();
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("no ips in {result}"));
    ips.iter().filter_map(|ip| ip["address"].as_str()).map(str::to_owned).collect()
}

#[test]
fn every_file_is_described_and_run() {
    let described: Vec<String> = {
        let mut described: Vec<String> =
            sections().into_iter().flat_map(|(files, _)| files).collect();
        described.sort();
        described
    };
    assert_eq!(files(), described, "left: the folder; right: the README");
    for (files, statements) in sections() {
        assert!(!statements.is_empty(), "nothing is said of {files:?}");
        let run: usize = files.iter().map(|file| Example::of(file).len()).sum();
        assert!(run > 0, "{files:?}: no network configuration");
        for file in &files {
            // What is no network configuration itself is what one of the others uses.
            let used = ["node-local-template/", "etcd-pool-file/"];
            let used = used.iter().any(|folder| file.starts_with(folder));
            assert!(!Example::of(file).is_empty() || used, "{file} is not run");
        }
    }
    for covered in COVERED_ELSEWHERE {
        assert!(folder().join(covered).exists(), "{covered}");
    }
}

#[test]
fn addresses_are_those_of_the_readme() {
    for example in Example::all() {
        let file = &example.file;
        for statement in example.statements() {
            assert_eq!(statement.node.is_some(), example.plugin() == Plugin::NodeLocal, "{file}");
            let (bench, mut config) = example.on(statement.node);
            if !statement.requested.is_empty() {
                assert_eq!(config["capabilities"]["ips"], true, "{file}: nothing can be asked for");
                config["runtimeConfig"] = json!({"ips": statement.requested});
            }
            let add = bench.call("ADD", &config).run();
            assert_eq!(prefixed(&add), statement.addresses, "{file}, {statement:?}");
            assert_eq!(add.stderr, "", "{file}: nothing to be warned of");
            assert_eq!(add.json()["cniVersion"], config["cniVersion"], "{file}");

            config["prevResult"] = add.json();
            bench.call("CHECK", &config).run().ok();
            let network = bench.network_called(example.text("name"));
            assert_eq!(network.held_by("c1", "eth0").len(), statement.addresses.len(), "{file}");
            for _ in 0..2 {
                bench.del("c1", &config);
                network.assert_nothing_reserved();
            }
            // As some runtimes delete.
            bench.add("c2", &config);
            let stripped = json!({
                "cniVersion": config["cniVersion"],
                "name": config["name"],
                "ipam": {"type": config["ipam"]["type"]},
            });
            bench.del("c2", &stripped);
            network.assert_nothing_reserved();
        }
    }
}

/// Newer runtimes ask more; the examples answer.
#[test]
fn examples_work_in_every_version() {
    for example in Example::all() {
        for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let statement = &example.statements()[0];
            let (bench, mut config) = example.on(statement.node);
            config["cniVersion"] = json!(version);
            if version == "1.1.0" {
                bench.call("STATUS", &config).run().ok();
            }
            assert_eq!(
                prefixed(&bench.call("ADD", &config).run()),
                statement.addresses,
                "{version}"
            );
            bench.del("c1", &config);
        }
    }
}

#[test]
fn the_second_subnet_comes_after_the_first() {
    let example = Example::of("host-local-several-subnets.conflist").swap_remove(0);
    let (bench, config) = example.on(None);
    let given: Vec<String> = (0..7).flat_map(|n| bench.add(&format!("c{n}"), &config)).collect();
    let expected =
        ["10.23.0.2", "10.23.0.3", "10.23.0.4", "10.23.0.5", "10.23.0.6", "10.23.8.2", "10.23.8.3"];
    assert_eq!(given, expected);
}

#[test]
fn excluded_addresses_are_never_given() {
    let example = Example::of("host-local-exclude.conflist").swap_remove(0);
    let (bench, config) = example.on(None);
    for last in 100..=127 {
        assert_eq!(bench.add(&format!("c{last}"), &config), [format!("192.168.7.{last}")]);
    }
    assert_eq!(bench.call("ADD", &config).run().error().0, 11);
    bench.del("c100", &config);
    for asked in ["192.168.7.1", "192.168.7.50", "192.168.7.128", "192.168.7.253", "192.168.7.254"]
    {
        let outcome = bench.call("ADD", &config).env("CNI_ARGS", format!("IP={asked}")).run();
        assert_eq!(outcome.error().0, 7, "{asked}");
    }
}

#[test]
fn a_link_has_one_container() {
    let example = Example::of("point-to-point.conflist").swap_remove(0);
    let (bench, config) = example.on(None);
    assert_eq!(bench.add("c1", &config), ["10.27.0.1", "fd00:10:27::1"]);
    assert_eq!(bench.call("ADD", &config).id("c2").run().error().0, 11);
}

/// Two nodes, each with its own state, and one `dataDir`.
#[test]
fn nodes_share_a_directory() {
    let example = Example::of("shared-data-dir.conflist").swap_remove(0);
    let (one, config) = example.on(None);
    let (two, _) = example.on(None);
    let network = NetworkDir::new(&one.data(), example.text("name"));
    for (n, node) in [&one, &two, &two, &one, &two].into_iter().enumerate() {
        assert_eq!(node.add(&format!("c{n}"), &config), [format!("10.26.0.{}", 10 + n)]);
    }
    // A node knows its own containers only: what it says frees nothing of the other's.
    let mut gc = one.gc_config(&config, &["c0", "c3"]);
    gc["cniVersion"] = json!("1.1.0");
    let outcome = one.call("GC", &gc).run();
    outcome.ok();
    assert!(outcome.stderr.contains("other nodes"), "{}", outcome.stderr);
    assert_eq!(network.reservations().len(), 5);
    one.del("c0", &config);
    two.del("c1", &config);
    assert_eq!(network.reservations().len(), 3);
}

/// What a runtime does on a node with one configuration.
fn run(node: &Node, example: &Example, config: &Value, command: &str, pod: &str) -> Outcome {
    let plugin = node.plugins().join(example.text("type"));
    let mut process = node.command(&[plugin.to_str().expect("a plain path")]);
    process.envs([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", pod),
        ("CNI_NETNS", &format!("/run/netns/{pod}")),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", node.plugins().to_str().expect("a plain path")),
    ]);
    finish(&mut process, config.to_string().as_bytes())
}

/// A node of index 4 with the examples' main plugins, and nothing of the host's to write to.
fn node() -> Node {
    let node = Node::start("vm-004");
    for plugin in ["bridge", "ptp"] {
        node.install(&reference(plugin).expect("the test has looked for it"));
    }
    for plugin in ["host-local", "node-local"] {
        node.install(&binary(plugin));
    }
    node.ok(&["mount", "-t", "tmpfs", "tmpfs", "/srv"]);
    let template = fs::read(folder().join("node-local-template/default")).expect("an example");
    node.write("/etc/cni/node-local/default", template);
    node
}

/// With Debian's main plugins: interfaces have the addresses, and containers reach each other.
#[test]
fn bridges_and_links_for_real() {
    let plugins = ["bridge", "ptp"].iter().all(|plugin| reference(plugin).is_some());
    let needs = [(is_root(), "root"), (plugins, "containernetworking-plugins")];
    if !skip_unless("bridges_and_links_for_real", &needs) {
        return;
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for example in Example::all() {
        let kind = example.text("type").to_owned();
        *kinds.entry(kind.clone()).or_default() += 1;
        if kind == "macvlan" || kind == "vpp" {
            // Kernels may lack it; what its IPAM plugin does is tested above. VPP has tests of its own.
            continue;
        }
        on_a_node(&example);
    }
    assert_eq!(
        kinds.keys().map(String::as_str).collect::<Vec<_>>(),
        ["bridge", "macvlan", "ptp", "vpp"]
    );
}

fn on_a_node(example: &Example) {
    let file = &example.file;
    let node = node();
    let statement = example
        .statements()
        .into_iter()
        .find(|statement| {
            statement.requested.is_empty() && [None, Some(4)].contains(&statement.node)
        })
        .unwrap_or_else(|| panic!("{file}: nothing is said of node 4"));
    // A point-to-point link has one container, which has the host to talk to.
    let pods: &[&str] = if file == "point-to-point.conflist" { &["a"] } else { &["a", "b"] };
    let mut results = Vec::new();
    for pod in pods {
        node.add_namespace(pod);
        let result = run(&node, example, &example.config, "ADD", pod).ok();
        // Before the next one comes: a bridge without address changes its MAC with its ports.
        let mut config = example.config.clone();
        config["prevResult"] = result.clone();
        run(&node, example, &config, "CHECK", pod).ok();
        results.push(result);
    }
    let ips = |result: &Value, key: &str| -> Vec<String> {
        let ips = result["ips"].as_array().expect("addresses");
        ips.iter().filter_map(|ip| ip[key].as_str()).map(str::to_owned).collect()
    };
    assert_eq!(ips(&results[0], "address"), statement.addresses, "{file}");
    let shown = node.ok(&["ip", "-n", "a", "address", "show", "dev", "eth0"]);
    for address in &statement.addresses {
        assert!(shown.contains(&format!(" {address} ")), "{file}: {shown}");
    }
    let last = results.last().expect("a pod");
    let targets = if pods.len() == 1 { ips(last, "gateway") } else { ips(last, "address") };
    for target in targets {
        node.ping("/run/netns/a", target.split('/').next().expect("an address"));
    }

    for (pod, result) in pods.iter().zip(&results) {
        let mut config = example.config.clone();
        config["prevResult"] = result.clone();
        for _ in 0..2 {
            run(&node, example, &config, "DEL", pod).ok();
        }
    }
    let data_dir = example.config["ipam"]["dataDir"].as_str().unwrap_or("/var/lib/cni/networks");
    let network = node.network_in(data_dir, example.text("name"));
    let used = network.directory().lock().exists() || !network.states().is_empty();
    assert!(used, "{file}: {} was not used", network.places());
    network.assert_nothing_reserved();
}
