//! What a DaemonSet does on a node: its containers run as the manifest says, on directories that stand for the host's, until its
//! probes answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};
use support::vpp::Vpp;
use support::{Owned, etcd, finish, reference, wait_until};

use super::container::{Container, HOST, Host, project};
use super::{can_render, folder, list, of_kind, rendered, text};

/// A DaemonSet on one node.
struct Rollout {
    host: Host,
    all: Vec<Value>,
    daemon_set: Value,
    /// What else of the host is there, by its path.
    given: Vec<(String, String)>,
}

impl Rollout {
    fn new(host: Host, overlay: &str) -> Self {
        let mut rollout =
            Self { host, all: Vec::new(), daemon_set: Value::Null, given: Vec::new() };
        rollout.apply(overlay);
        rollout
    }

    /// `kubectl apply -k`.
    fn apply(&mut self, overlay: &str) {
        self.all = rendered(&folder().join(overlay));
        self.daemon_set = of_kind(&self.all, "DaemonSet")[0].clone();
    }

    fn spec(&self) -> &Value {
        &self.daemon_set["spec"]["template"]["spec"]
    }

    /// What a source of a projected volume brings: path, content, mode.
    fn files(&self, volume: &Value) -> Vec<(String, String, u32)> {
        let mut files = Vec::new();
        for source in list(&volume["projected"]["sources"]) {
            let (source, data) = if source["secret"].is_null() {
                let name = &source["configMap"]["name"];
                let config = of_kind(&self.all, "ConfigMap").into_iter();
                let config = config.into_iter().find(|one| one["metadata"]["name"] == *name);
                (&source["configMap"], config.expect("there is one")["data"].clone())
            } else {
                let data = json!({"ca.crt": "ca", "tls.crt": "certificate", "tls.key": "key"});
                (&source["secret"], data)
            };
            for item in list(&source["items"]) {
                let content = text(&data[text(&item["key"])]).to_owned();
                let mode = item["mode"].as_u64().unwrap_or(0o644);
                let mode = u32::try_from(mode).expect("a mode is small");
                files.push((text(&item["path"]).to_owned(), content, mode));
            }
        }
        files
    }

    /// Where a volume is on the node.
    fn place(&self, name: &Value) -> String {
        let volumes = list(&self.spec()["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == *name).expect("it is there");
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            let given = self.given.iter().find(|(of, _)| of == path);
            return given.map_or_else(|| self.host.directory(path), |(_, at)| at.clone());
        }
        let inside = format!("/run/kubelet/{}", text(name));
        let dir = self.host.node.path(&inside);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory of the node can be made");
        project(&dir, &self.files(volume));
        inside
    }

    fn container(&self, container: &Value) -> Container {
        let rights = &container["securityContext"];
        let mounts = list(&container["volumeMounts"]).iter().map(|mount| {
            let options = match (&mount["readOnly"], &mount["mountPropagation"]) {
                (Value::Null, Value::Null) => "rw",
                (Value::Null, propagation) if propagation == "HostToContainer" => "rslave",
                (read_only, Value::Null) if *read_only == true => "ro",
                _ => panic!("not known: {mount}"),
            };
            (self.place(&mount["name"]), text(&mount["mountPath"]).to_owned(), options)
        });
        let texts = |value: &Value| list(value).iter().map(|one| text(one).to_owned()).collect();
        Container {
            name: text(&container["name"]).to_owned(),
            command: texts(&container["command"]),
            capabilities: texts(&rights["capabilities"]["add"]),
            volumes: mounts.collect(),
            host_network: self.spec()["hostNetwork"] == true,
            host_pid: self.spec()["hostPID"] == true,
            no_new_privileges: rights["allowPrivilegeEscalation"] == false,
            read_only: rights["readOnlyRootFilesystem"] == true,
        }
    }

    /// Runs the init containers, and tells what the last one said.
    fn init(&self) -> String {
        let mut said = String::new();
        for container in list(&self.spec()["initContainers"]) {
            let outcome = self.host.run(&self.container(container));
            let name = &container["name"];
            assert_eq!(outcome.exit, Some(0), "{name}: {}{}", outcome.stdout, outcome.stderr);
            said = outcome.stdout;
        }
        said
    }

    /// Starts the agent and waits until a probe answers with this status; tells what it says.
    fn agent(&self, probe: &str, expected: u32) -> (Owned, String) {
        let container = &self.spec()["containers"][0];
        let mut agent = self.host.start_container(&self.container(container));
        let get = &container[probe]["httpGet"];
        assert_eq!(get["host"], "127.0.0.1", "what the agent listens on");
        let (port, path) = (get["port"].as_u64().expect("a port"), text(&get["path"]));
        let mut said = String::new();
        wait_until(&format!("{path} answers {expected}"), || {
            let ended = agent.0.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it has ended: {}", self.host.log("plat-agent"));
            let Some((status, body)) = self.host.get(port, path) else { return false };
            said = body;
            status == expected
        });
        (agent, said)
    }

    /// The routes of the agent.
    fn routes(&self) -> String {
        self.host.node.ok(&["ip", "route", "show", "proto", "205"])
    }
}

/// What a runtime does with a list of plugins: each in turn, with what the last one answered.
fn attach(host: &Host, config: &Value, pod: &str, arguments: &str) -> Value {
    let namespace = host.node.add_namespace(pod);
    let call = |command: &str, plugin: &Value, previous: &Value| {
        let mut plugin = plugin.clone();
        for key in ["name", "cniVersion"] {
            plugin[key] = config[key].clone();
        }
        if !previous.is_null() {
            plugin["prevResult"] = previous.clone();
        }
        let bin = format!("{HOST}/opt/cni/bin");
        let path = format!("{bin}:/run/plugins");
        let kind = text(&plugin["type"]);
        let dir =
            if host.has(&format!("/opt/cni/bin/{kind}")) { bin.as_str() } else { "/run/plugins" };
        let mut process = host.node.command(&[&format!("{dir}/{kind}")]);
        process
            .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", pod), ("CNI_NETNS", &namespace)])
            .envs([("CNI_IFNAME", "eth0"), ("CNI_PATH", &path)])
            .env("CNI_ARGS", arguments);
        finish(&mut process, plugin.to_string().as_bytes())
    };
    let plugins = list(&config["plugins"]);
    let mut result = Value::Null;
    for plugin in plugins {
        result = call("ADD", plugin, &result).ok();
    }
    let shown = host.node.ok(&["ip", "-n", pod, "address", "show", "dev", "eth0"]);
    for ip in list(&result["ips"]) {
        assert!(shown.contains(text(&ip["address"])), "{result}: {shown}");
    }
    assert!(!list(&result["ips"]).is_empty(), "{result}");
    // The reference plugins do not find a route again that is no default route and names no gateway.
    let plain = list(&result["routes"])
        .iter()
        .all(|route| route["gw"].is_string() || text(&route["dst"]).ends_with("/0"));
    for plugin in plugins.iter().filter(|_| plain) {
        call("CHECK", plugin, &result).ok();
    }
    for plugin in plugins.iter().rev().chain(plugins.iter().rev()) {
        call("DEL", plugin, &result).ok();
    }
    result
}

/// Attaches a pod with a list of plugins on a host on which the plugins are installed.
pub(super) fn attach_with(host: &Host, config: &Value, pod: &str, arguments: &str) -> Value {
    for name in ["bridge", "portmap"] {
        host.node.install(&reference(name).expect("the test has looked for it"));
    }
    attach(host, config, pod, arguments)
}

/// Whether a DaemonSet can be run here.
fn available(test: &str) -> bool {
    let plugins = reference("bridge").is_some() && reference("portmap").is_some();
    support::skip_unless(test, &[(plugins, "containernetworking-plugins")])
        && Host::available(test)
        && can_render(test)
}

#[test]
fn the_plugins_and_an_agent_with_routes_and_off_again() {
    if !available("the_plugins_and_an_agent_with_routes_and_off_again") {
        return;
    }
    let mut rollout = Rollout::new(Host::start(), "overlays/kubenet");
    let said = rollout.init();
    assert!(said.contains("installed") && said.contains("10-plat.conflist"), "{said}");
    let conflist =
        fs::read(rollout.host.node.path(format!("{HOST}/etc/cni/net.d/10-plat.conflist")));
    let original = fs::read(folder().join("overlays/kubenet/10-plat.conflist"));
    assert_eq!(conflist.ok(), original.ok());
    // A pod that is started anew finds everything in its place.
    let said = rollout.init();
    assert!(said.contains("already"), "{said}");

    let (agent, _) = rollout.agent("readinessProbe", 200);
    let routes = rollout.routes();
    assert!(routes.contains("10.1.5.0/24 via 192.168.16.5 dev eth0"), "{routes}");
    assert!(!routes.contains("10.1.4.0/24"), "its own: {routes}");
    let (status, metrics) = rollout.host.page(9434, "/metrics");
    assert!(status == 200 && metrics.contains("plat_agent_ready 1"), "{metrics}");
    attach_with(
        &rollout.host,
        &serde_json::from_slice(&conflist_of("kubenet")).expect("JSON"),
        "a",
        "",
    );

    rollout.host.stop(agent, "plat-agent");
    assert!(rollout.routes().contains("10.1.5.0/24"), "routes stay");
    rollout.apply("overlays/uninstall");
    let said = rollout.init();
    assert!(said.contains("removed"), "{said}");
    assert_eq!(rollout.routes(), "");
    for gone in
        ["/opt/cni/bin/node-local", "/etc/cni/net.d/10-plat.conflist", "/etc/plat/agent.json"]
    {
        assert!(!rollout.host.has(gone), "{gone}");
    }
    assert!(rollout.host.has("/var/lib/plat"), "the state stays");
}

fn conflist_of(overlay: &str) -> Vec<u8> {
    let path = folder().join("overlays").join(overlay).join("10-plat.conflist");
    fs::read(path).expect("an overlay has one")
}

#[test]
fn an_agent_waits_for_etcd_and_is_ready_with_it() {
    const NAME: &str = "an_agent_waits_for_etcd_and_is_ready_with_it";
    if !available(NAME) || !etcd::available(NAME) {
        return;
    }
    let host = Host::start();
    host.node.ok(&["ip", "address", "add", "192.168.16.254/32", "dev", "lo"]);
    host.directory("/run/containerd");
    let mut rollout = Rollout::new(host, "overlays/registry");
    rollout.init();
    let (agent, said) = rollout.agent("livenessProbe", 200);
    assert_eq!(said, "ok\n");
    let (status, why) = rollout.host.page(9434, "/readyz");
    assert_eq!(status, 503, "{why}");

    let url = "http://192.168.16.254:2379";
    let mut etcd = rollout.host.node.command(&["etcd", "--data-dir", "/run/etcd"]);
    etcd.args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", "http://127.0.0.1:2380"])
        .args(["--initial-advertise-peer-urls", "http://127.0.0.1:2380"])
        .args(["--initial-cluster", "default=http://127.0.0.1:2380"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _etcd = Owned(etcd.spawn().expect("etcd can be started"));
    wait_until("/readyz answers 200", || {
        rollout.host.get(9434, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    rollout.host.stop(agent, "plat-agent");

    // Without the network and the agent: what is not wanted any more goes.
    rollout.apply("overlays/install-only");
    let said = rollout.init();
    assert!(said.contains("removed"), "{said}");
    assert!(!rollout.host.has("/etc/cni/net.d/10-plat.conflist"));
    assert!(!rollout.host.has("/etc/plat/etcd.json"));
    assert!(rollout.host.has("/opt/cni/bin/etcd-pool"));
}

#[test]
fn an_agent_reaches_vpp() {
    if !available("an_agent_reaches_vpp") {
        return;
    }
    let vpp = Vpp::start(support::vpp::Setup::default());
    let dir = vpp.path().parent().expect("a socket is in a directory").display().to_string();
    let name = vpp.path().file_name().expect("a socket has a name").to_owned();
    let mut rollout = Rollout::new(Host::start(), "overlays/vpp");
    rollout.given.push(("/run/vpp".to_owned(), dir));
    assert_eq!(name, "api.sock", "what VPP calls it, and the configuration");
    rollout.init();
    let (agent, _) = rollout.agent("readinessProbe", 200);
    let (_, status) = rollout.host.page(9434, "/status");
    assert!(status.contains("/run/vpp/api.sock"), "{status}");
    rollout.host.stop(agent, "plat-agent");
    assert_eq!(vpp.complaints(), [""; 0]);
}

#[test]
fn certificates_come_with_their_modes() {
    if !available("certificates_come_with_their_modes") {
        return;
    }
    let mut rollout = Rollout::new(Host::start(), "overlays/install-only");
    // As the component's patch does it.
    let patch = super::documents(&super::read(&folder().join("components/etcd-tls/patch.yaml")));
    let secret = list(&patch[0]).iter().find(|step| !step["value"]["secret"].is_null());
    let volume = &mut rollout.daemon_set["spec"]["template"]["spec"]["volumes"][0];
    volume["projected"]["sources"] = json!([secret.expect("it has one")["value"]]);
    rollout.init();
    for (name, mode) in [("ca.pem", 0o644), ("node.pem", 0o644), ("node-key.pem", 0o400)] {
        let path = rollout.host.node.path(format!("{HOST}/etc/plat/etcd/{name}"));
        let meta = fs::metadata(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{name}");
    }
}

/// The further networks of pods, one after the other, as Multus has them attached.
#[test]
fn further_networks_for_real() {
    if !available("further_networks_for_real") {
        return;
    }
    let rollout = Rollout::new(Host::start(), "overlays/multus");
    rollout.init();
    for (number, network) in
        of_kind(&rollout.all, "NetworkAttachmentDefinition").into_iter().enumerate()
    {
        let mut config: Value =
            serde_json::from_str(text(&network["spec"]["config"])).expect("it is JSON");
        if config["plugins"].is_null() {
            config = json!({
                "name": config["name"],
                "cniVersion": config["cniVersion"],
                "plugins": [config.clone()],
            });
        }
        attach_with(&rollout.host, &config, &format!("pod{number}"), "");
    }
}
