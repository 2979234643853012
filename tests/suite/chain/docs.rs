//! The configurations in `docs/chain.md` work as they stand there.

use std::fs;

use serde_json::{Value, json};
use support::{MainPlugin, binary, repository};

use super::bench::Bench;

/// The blocks of a page that are configurations.
fn blocks() -> Vec<Value> {
    let page = fs::read_to_string(repository().join("docs/chain.md")).expect("there is the page");
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}")))
        .collect()
}

#[test]
fn the_configurations_of_the_page_work() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 4);
    for mut config in blocks {
        let bench = Bench::new();
        bench.puppet("etcd-pool");
        bench.prints("etcd-pool", "ADD", &json!({"ips": [{"address": "fd00:64::5/96"}]}));
        if config["ipam"]["type"] == "host-local" {
            config["ipam"]["dataDir"] = json!(bench.data());
        }
        let several = config["ipams"].is_array();
        if config["type"] == "chain" {
            let kind = config["main"]["type"].as_str().expect("a type").to_owned();
            let ipam = binary(if several { "chain" } else { "host-local" });
            MainPlugin::install(bench.scratch().path(), &kind, &ipam);
        }
        let add = bench.call("ADD", &config).run();
        assert_eq!(add.stderr, "", "{config}: nothing to be warned of");
        assert_eq!(
            add.addresses().len(),
            if config["ipam"]["policy"] == "first" { 1 } else { 2 },
            "{config}"
        );
        bench.check("c1", &config, &add.json()).run().ok();
        bench.del("c1", &json!({"cniVersion": "1.0.0", "name": "pods", "type": config["type"]}));
        let dir = bench.run_dir().join("chain/pods");
        assert!(!dir.exists(), "{config}: a record is left");
    }
}
