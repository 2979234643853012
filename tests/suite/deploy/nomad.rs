//! Nomad's files: the job, the network and the client's configuration name the same things, and the network works.

use std::collections::BTreeMap;

use serde_json::Value;
use support::{binary, reference, repository, skip_unless};

use super::container::Host;
use super::read;
use super::rollout::attach_with;

fn file(name: &str) -> String {
    read(&repository().join("conf-examples/nomad").join(name))
}

/// The values of a key in a file of HCL: plain texts, and lists of them.
fn values<'a>(hcl: &'a str, key: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    for (at, _) in hcl.match_indices(key) {
        let before = hcl[..at].rsplit('\n').next().unwrap_or_default();
        let Some(rest) = hcl[at + key.len()..].trim_start().strip_prefix('=') else { continue };
        if !before.trim().is_empty() {
            continue;
        }
        let rest = rest.trim_start();
        let end = if rest.starts_with('[') { rest.find(']') } else { rest.find('\n') };
        let value = &rest[..end.unwrap_or(rest.len())];
        found.push(value.split('"').skip(1).step_by(2).collect());
    }
    found
}

/// Brackets of all kinds open and close, outside of texts and comments.
fn is_balanced(hcl: &str) -> bool {
    let mut open = Vec::new();
    for line in hcl.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for c in line.split('"').step_by(2).flat_map(str::chars) {
            match c {
                '{' | '[' | '(' => open.push(c),
                '}' | ']' | ')' => {
                    let expected = match c {
                        '}' => '{',
                        ']' => '[',
                        _ => '(',
                    };
                    if open.pop() != Some(expected) {
                        return false;
                    }
                }
                _ => {}
            }
        }
    }
    open.is_empty()
}

#[test]
fn files_of_nomad_name_the_same_things() {
    let (client, web, agent) =
        (file("client.hcl"), file("web.nomad.hcl"), file("plat-agent.nomad.hcl"));
    for hcl in [&client, &web, &agent] {
        assert!(is_balanced(hcl), "{hcl}");
    }
    let network: Value = serde_json::from_str(&file("pods.conflist")).expect("JSON");
    let name = network["name"].as_str().expect("a name");
    assert_eq!(values(&web, "mode"), [[format!("cni/{name}").as_str()]]);
    assert_eq!(values(&client, "cni_path"), [["/opt/cni/bin"]]);
    assert_eq!(values(&client, "cni_config_dir"), [["/opt/cni/config"]]);

    let version = env!("CARGO_PKG_VERSION");
    let image = format!("registry.example.org/plat:{version}");
    assert_eq!(values(&agent, "image"), [[image.as_str()], [image.as_str()]]);
    let volumes: BTreeMap<&str, &str> =
        values(&agent, "volumes").concat().iter().filter_map(|v| v.split_once(':')).collect();
    assert!(volumes.contains_key("/opt/cni/bin"), "where the client looks: {volumes:?}");
    let allowed = values(&client, "allow_caps").concat();
    for capability in values(&agent, "cap_add").concat() {
        assert!(allowed.contains(&capability), "the client does not allow {capability}");
    }
    // What consul-template would take for its own.
    assert!(!file("agent.json").contains("{{"));
}

#[test]
fn the_network_of_nomad_for_real() {
    let plugins = reference("bridge").is_some() && reference("portmap").is_some();
    let needs = [(plugins, "containernetworking-plugins")];
    const NAME: &str = "the_network_of_nomad_for_real";
    if !skip_unless(NAME, &needs) || !Host::available(NAME) {
        return;
    }
    let host = Host::start();
    host.node.install(&binary("node-local"));
    let config = serde_json::from_str(&file("pods.conflist")).expect("JSON");
    // What Nomad 1.9 passes, and with an address that the job asks for.
    let arguments =
        "IgnoreUnknown=true;NOMAD_REGION=global;NOMAD_NAMESPACE=default;NOMAD_JOB_ID=web";
    let result = attach_with(&host, &config, "alloc", arguments);
    assert_eq!(result["ips"][0]["address"], "10.1.4.2/24");
    let result = attach_with(&host, &config, "fixed", &format!("{arguments};IP=10.1.4.50"));
    assert_eq!(result["ips"][0]["address"], "10.1.4.50/24");
}

#[test]
fn hcl_is_read_as_far_as_it_is_needed() {
    let hcl =
        "a {\n  x = \"1\"\n  # x = \"2\"\n  list = [\n    \"p\", \"q}\",\n  ]\n  xx = \"3\"\n}\n";
    assert_eq!(values(hcl, "x"), [["1"]]);
    assert_eq!(values(hcl, "list"), [["p", "q}"]]);
    assert!(is_balanced(hcl) && !is_balanced("a {\n") && !is_balanced("a { ]\n"));
}
