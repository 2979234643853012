//! The examples of etcd-pool, with an etcd.

use std::fs;

use etcd_pool::client::Connection;
use ipam_core::addr::Cidr;
use serde_json::{Value, json};
use support::PoolNode;
use support::etcd::{Etcd, available};

use super::{Example, Statement, folder, prefixed};

impl Example {
    /// The configuration with the etcd of the test.
    fn reaching(&self, etcd: &Etcd) -> Value {
        let mut config = self.config.clone();
        if !config["ipam"]["etcd"].is_null() {
            config["ipam"]["etcd"] = etcd.patient();
        }
        config
    }

    /// Makes the pool that the configuration only names, as its text says it was made.
    fn make_pool(&self, node: &PoolNode, statement: &Statement) {
        let Some(name) = self.config["ipam"]["pool"].as_str() else { return };
        let mut pool = json!({"name": name});
        for network in &statement.addresses {
            let key = if network.contains(':') { "cidr6" } else { "cidr" };
            pool[key] = json!(network);
        }
        let other = node.config_of("other", json!({"pool": pool}));
        node.add("maker", &other);
        node.del("maker", &other);
    }
}

/// Asserts that addresses are what the README says.
fn assert_said(example: &Example, statement: &Statement, addresses: &[String]) {
    let file = &example.file;
    let pool = &example.config["ipam"]["pool"];
    // With a gateway in each block an address is of its block.
    let block = if pool["gateway"] == "block" { pool["block"].as_u64() } else { None };
    if !statement.out_of {
        assert_eq!(addresses, statement.addresses, "{file}");
        return;
    }
    assert_eq!(addresses.len(), statement.addresses.len(), "{file}: {addresses:?}");
    for (address, network) in addresses.iter().zip(&statement.addresses) {
        let [address, network] = [address, network]
            .map(|text| Cidr::parse(text).unwrap_or_else(|| panic!("{file}: {text}")));
        assert!(network.network().contains(address.addr()), "{file}: {address} of {network}");
        let prefix = block.unwrap_or_else(|| network.prefix().into());
        assert_eq!(u64::from(address.prefix()), prefix, "{file}: {address} of {network}");
    }
}

#[test]
fn addresses_are_out_of_the_pools() {
    if !available("addresses_are_out_of_the_pools") {
        return;
    }
    for example in Example::with_pool() {
        let file = &example.file;
        for statement in example.statements() {
            assert!(statement.node.is_none(), "{file}: which node it is does not matter");
            let etcd = Etcd::single();
            let node = PoolNode::new("pool-example", &etcd.patient());
            let mut config = example.reaching(&etcd);
            example.make_pool(&node, &statement);
            for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
                config["cniVersion"] = json!(version);
                if !statement.requested.is_empty() {
                    assert_eq!(config["capabilities"]["ips"], true, "{file}");
                    config["runtimeConfig"] = json!({"ips": statement.requested});
                }
                let add = node.call("ADD", &config).run();
                assert_said(&example, &statement, &prefixed(&add));
                assert_eq!(add.stderr, "", "{file}: nothing to be warned of");
                if version != "0.3.1" {
                    let mut checked = config.clone();
                    checked["prevResult"] = add.json();
                    node.call("CHECK", &checked).run().ok();
                }
                if version == "1.1.0" {
                    node.call("STATUS", &config).run().ok();
                }
                // As some runtimes delete.
                let stripped = json!({
                    "cniVersion": version,
                    "name": config["name"],
                    "ipam": {"type": config["ipam"]["type"]},
                });
                node.del("c1", &stripped);
                assert_eq!(node.call("ADD", &config).id("c2").run().addresses().len(), {
                    statement.addresses.len()
                });
                node.del("c2", &config);
            }
            node.settle();
            assert_eq!(node.flush_log(), "", "{file}");
        }
    }
}

/// The file is as a node needs it, but for the certificates.
#[test]
fn the_file_says_where_etcd_is() {
    let text = fs::read_to_string(folder().join("etcd-pool-file/etcd.json")).expect("an example");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let connection = Connection::parse(&value).expect("a connection");
    assert_eq!(connection.endpoints.len(), 3);
    assert!(connection.key.is_some(), "it shows how a node proves who it is");
}
