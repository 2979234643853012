//! The examples of chain: with main plugins that record their calls, and with Debian's bridge.

use ipam_core::addr::Cidr;
use serde_json::{Value, json};
use support::etcd::{Etcd, available};
use support::{MainPlugin, PoolNode, binary, is_root, reference, skip_unless};

use super::{Example, folder, node, prefixed, run};
use crate::chain::bench::Bench;

/// The sections of the IPAM plugins.
fn sections(config: &mut Value) -> Vec<&mut Value> {
    let inner = config["ipam"]["ipams"].is_array();
    if inner {
        return config["ipam"]["ipams"].as_array_mut().into_iter().flatten().collect();
    }
    if config["ipams"].is_array() {
        return config["ipams"].as_array_mut().into_iter().flatten().collect();
    }
    vec![&mut config["ipam"]]
}

fn needs_etcd(example: &Example) -> bool {
    sections(&mut example.config.clone()).iter().any(|section| section["type"] == "etcd-pool")
}

#[test]
fn chains_give_what_the_readme_says() {
    let with_etcd = available("chains_give_what_the_readme_says: those with etcd-pool");
    let mut seen = 0;
    for example in Example::with_chain() {
        if needs_etcd(&example) && !with_etcd {
            continue;
        }
        seen += 1;
        let file = &example.file;
        let bench = Bench::new();
        // What writes to etcd behind the calls ends with it.
        let mut pool_node = None;
        let mut config = example.config.clone();
        let etcd = needs_etcd(&example).then(Etcd::single);
        if let Some(etcd) = &etcd {
            bench.link(&binary("etcd-pool"), "etcd-pool");
            pool_node = Some(PoolNode::new("chain-example", &etcd.patient()));
        }
        for section in sections(&mut config) {
            if let Some(etcd) = etcd.as_ref().filter(|_| !section["etcd"].is_null()) {
                section["etcd"] = etcd.patient();
            }
            if section["type"] == "host-local" {
                section["dataDir"] = json!(bench.data());
            }
        }
        let several = sections(&mut config).len() > 1;
        let main = (config["type"] == "chain").then(|| {
            let kind = config["main"]["type"].as_str().expect("a type").to_owned();
            let only = sections(&mut config)[0]["type"].as_str().expect("a type").to_owned();
            let ipam = binary(if several { "chain" } else { &only });
            MainPlugin::install(bench.scratch().path(), &kind, &ipam)
        });
        for statement in example.statements() {
            assert_eq!(statement.node, Some(4), "{file}: the bench is node 4");
            for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
                config["cniVersion"] = json!(version);
                let call = |command: &str, config: &Value| {
                    let call = bench.call(command, config);
                    match &pool_node {
                        Some(node) => call.state_in(node.scratch().path()),
                        None => call,
                    }
                };
                let add = call("ADD", &config).run();
                let given = prefixed(&add);
                if statement.out_of {
                    let [given, wanted] = [&given, &statement.addresses].map(|all| {
                        all.iter().filter_map(|text| Cidr::parse(text)).collect::<Vec<_>>()
                    });
                    assert_eq!(given.len(), wanted.len(), "{file}");
                    for (given, wanted) in given.iter().zip(&wanted) {
                        assert!(wanted.network().contains(given.addr()), "{file}: {given}");
                    }
                } else if version == "0.3.1" {
                    assert_eq!(given, statement.addresses, "{file}");
                }
                assert_eq!(add.stderr, "", "{file}: nothing to be warned of");
                let mut checked = config.clone();
                checked["prevResult"] = add.json();
                if version != "0.3.1" {
                    call("CHECK", &checked).run().ok();
                }
                if version == "1.1.0" {
                    call("STATUS", &config).run().ok();
                }
                // As some runtimes delete.
                let kind = &config["type"];
                call("DEL", &json!({"cniVersion": version, "name": config["name"], "type": kind, "ipam": {"type": "chain"}}))
                    .run()
                    .ok();
            }
        }
        if let Some(main) = main {
            let filled = main.calls().first().map(|call| call.stdin.clone()).unwrap_or_default();
            assert!(!filled.contains("{i"), "{file}: {filled}");
        }
        if let Some(node) = pool_node {
            node.settle();
        }
    }
    assert!(seen >= 3, "only {seen} examples");
}

/// With Debian's bridge: interfaces have the addresses, and pods reach each other.
#[test]
fn chains_with_a_real_bridge() {
    let needs =
        [(is_root(), "root"), (reference("bridge").is_some(), "containernetworking-plugins")];
    if !skip_unless("chains_with_a_real_bridge", &needs) {
        return;
    }
    for example in Example::with_chain() {
        let file = &example.file;
        let main =
            if example.text("type") == "chain" { &example.config["main"] } else { &example.config };
        if needs_etcd(&example) || main["type"] != "bridge" {
            continue;
        }
        let node = node();
        node.install(&binary("chain"));
        let mut results = Vec::new();
        for pod in ["a", "b"] {
            node.add_namespace(pod);
            results.push(run(&node, &example, &example.config, "ADD", pod).ok());
        }
        let statement = &example.statements()[0];
        let shown = node.ok(&["ip", "-n", "a", "address", "show", "dev", "eth0"]);
        for address in &statement.addresses {
            assert!(shown.contains(&format!(" {address} ")), "{file}: {shown}");
        }
        for ip in results[1]["ips"].as_array().expect("addresses") {
            let address = ip["address"].as_str().expect("an address");
            node.ping("/run/netns/a", address.split('/').next().expect("an address"));
        }
        if example.text("type") == "chain" {
            node.ok(&["ip", "link", "show", "rack4"]);
        }
        for (pod, result) in ["a", "b"].iter().zip(&results) {
            let mut config = example.config.clone();
            config["prevResult"] = result.clone();
            for _ in 0..2 {
                run(&node, &example, &config, "DEL", pod).ok();
            }
        }
        node.network_in("/var/lib/cni/networks", example.text("name")).assert_nothing_reserved();
        assert!(folder().join(file).exists());
    }
}
