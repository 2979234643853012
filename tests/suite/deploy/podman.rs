//! Podman's files: a container on the network, and the Quadlet unit's container, with just what it says.

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{binary, make_root, reference, repository, skip_unless, wait_until};

use crate::install::image::CONTAINERS_CONF;

use super::container::{Container, HOST, Host};
use super::read;

fn folder() -> PathBuf {
    repository().join("conf-examples/podman")
}

/// The values of a key in a section of a unit.
fn values<'a>(unit: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in unit.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name == key
        {
            found.push(value);
        }
    }
    found
}

#[test]
fn a_container_on_the_network_of_podman() {
    const NAME: &str = "a_container_on_the_network_of_podman";
    let needs = [
        (reference("bridge").is_some(), "containernetworking-plugins"),
        (support::have("busybox"), "busybox-static"),
        (support::have("iptables"), "iptables"),
    ];
    if !skip_unless(NAME, &needs) || !Host::available(NAME) {
        return;
    }
    let host = Host::start();
    let node = &host.node;
    // The example's own file, with the places of this node.
    let conf = read(&folder().join("containers.conf"))
        .replace("\"/opt/cni/bin\", \"/usr/lib/cni\"", "\"/run/plugins\"");
    assert!(conf.contains("/run/plugins"), "{conf}");
    node.write("/run/containers.conf", format!("{conf}\n{CONTAINERS_CONF}"));
    let network = read(&folder().join("10-pods.conflist"));
    node.write("/etc/cni/net.d/10-pods.conflist", &network);
    for name in ["bridge", "portmap"] {
        node.install(&reference(name).expect("the test has looked for it"));
    }
    node.install(&binary("node-local"));
    make_root(&node.path("/run/root"));
    let podman =
        ["env", "CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver", "vfs"];
    let run = |words: &[&str]| node.ok(&[&podman[..], words].concat());
    assert!(run(&["network", "ls"]).contains("pods"));
    let cgroup = node.cgroup();
    let options = ["run", "--rm", "--network", "pods", "--publish", "8080:80"];
    let rest = ["--cgroup-parent", &cgroup, "--rootfs", "/run/root"];
    let shown = run(&[&options[..], &rest, &["ip", "address", "show", "dev", "eth0"]].concat());
    assert!(shown.contains("10.1.4.2/24") && shown.contains("fd00:10:1:4::2/64"), "{shown}");
    let given = [&options[..2], &["--network", "pods:ip=10.1.4.50"], &rest].concat();
    let shown = run(&[&given[..], &["ip", "address", "show", "dev", "eth0"]].concat());
    assert!(shown.contains("10.1.4.50/24"), "{shown}");
    node.network("pods").assert_nothing_reserved();
}

#[test]
fn the_unit_of_podman_is_an_agent() {
    const NAME: &str = "the_unit_of_podman_is_an_agent";
    if !Host::available(NAME) {
        return;
    }
    let unit = read(&folder().join("plat-agent.container"));
    let of = |key: &str| values(&unit, "Container", key);
    let host = Host::start();
    let config = json!({
        "routes": {
            "sources": [{"type": "peers", "nodes": "1-8", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"}],
            "sinks": [{"type": "kernel"}],
        },
        "listen": "127.0.0.1:9434",
    });
    host.directory("/etc/plat");
    host.node.write(format!("{HOST}/etc/plat/agent.json"), config.to_string());
    // What the unit makes before it starts, and what is there, is what it mounts.
    let made = values(&unit, "Service", "ExecStartPre").concat();
    let volumes = of("Volume").into_iter().map(|volume| {
        let parts: Vec<&str> = volume.split(':').collect();
        let there = parts[0] == "/etc/plat" || made.split(' ').any(|dir| dir == parts[0]);
        assert!(there, "nobody makes {}", parts[0]);
        let options = if parts.get(2) == Some(&"ro") { "ro" } else { "rw" };
        (host.directory(parts[0]), parts[1].to_owned(), options)
    });
    let containerfile = read(&repository().join("plugins/plat-cni/packaging/Containerfile"));
    let entry = containerfile.split("ENTRYPOINT ").nth(1).expect("the image has one");
    let entry: Value = serde_json::from_str(entry.trim()).expect("it is a list");
    let entry = super::list(&entry).iter().map(|word| super::text(word).to_owned());
    let container = Container {
        name: of("ContainerName").concat(),
        command: entry.chain(of("Exec").concat().split(' ').map(str::to_owned)).collect(),
        capabilities: of("AddCapability").into_iter().map(str::to_owned).collect(),
        volumes: volumes.collect(),
        host_network: of("Network") == ["host"],
        host_pid: of("PodmanArgs") == ["--pid=host"],
        no_new_privileges: of("NoNewPrivileges") == ["true"],
        read_only: of("ReadOnly") == ["true"],
    };
    assert_eq!(of("DropCapability"), ["all"]);
    let agent = host.start_container(&container);
    wait_until("/readyz answers 200", || {
        host.get(9434, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    assert!(host.has("/opt/cni/bin/node-local"));
    let routes = host.node.ok(&["ip", "route", "show", "proto", "205"]);
    assert!(routes.contains("10.1.5.0/24 via 192.168.16.5"), "{routes}");
    host.stop(agent, "plat-agent");
}
