//! Every configuration of `conf-examples/plat-agent` is one that the agent takes.

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
    for entry in
        fs::read_dir(repository().join("conf-examples/plat-agent")).expect("it is there").flatten()
    {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("it can be read");
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        // The examples are for hosts whose names tell their index.
        config["index"] = 1.into();
        config["node"] = "vm-001".into();
        if config.get("etcd").is_some() {
            config["etcd"] = cluster.connection();
        }
        node.configure(&config);
        let (exit, said) = node.agent(&["--dry-run"]);
        assert!(matches!(exit, Some(0 | 1)), "{}: {said}", path.display());
        assert!(said.contains(" added, "), "{}: {said}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}
