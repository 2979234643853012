//! Every configuration of `conf-examples/plat-agent` is one that the agent takes, and those of the scenarios, of Kubernetes
//! and of Nomad are.

use std::fs;

use serde_json::Value;
use support::repository;

use super::cluster::{Cluster, available};

#[test]
fn the_examples_are_configurations() {
    if !available("the_examples_are_configurations") {
        return;
    }
    let cluster = Cluster::new();
    let node = cluster.node(1);
    let mut count = 0;
    let examples = repository().join("conf-examples");
    let scenarios = fs::read_dir(examples.join("scenarios")).expect("it is there").flatten();
    let overlays =
        fs::read_dir(examples.join("kubernetes/overlays")).expect("it is there").flatten();
    let further = ["plat-agent", "kubernetes/base", "nomad"].map(|dir| examples.join(dir));
    let dirs = scenarios.chain(overlays).map(|entry| entry.path()).chain(further);
    for entry in dirs.flat_map(|dir| fs::read_dir(dir).expect("it is there").flatten()) {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("it can be read");
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        // The examples are for hosts whose names tell their index.
        config["index"] = 1.into();
        config["node"] = "vm-001".into();
        // Some of them leave it to a file of the node where etcd is.
        let sources = config["routes"]["sources"].as_array().cloned().unwrap_or_default();
        if config.get("etcd").is_some() || sources.iter().any(|source| source["type"] == "pool") {
            config["etcd"] = cluster.connection();
        }
        node.configure(&config);
        let (exit, said) = node.agent(&["--dry-run"]);
        assert!(matches!(exit, Some(0 | 1)), "{}: {said}", path.display());
        assert!(said.contains(" added, "), "{}: {said}", path.display());
        count += 1;
    }
    assert!(count >= 15, "{count} examples");
}
