use serde_json::json;

use super::*;

fn node(index: u32) -> NodeIdentity {
    NodeIdentity { index, name: "vm".to_owned(), source: String::new() }
}

#[test]
fn a_whole_configuration() {
    let spec = ConfigSpec::parse(&json!({
        "etcd": {"endpoints": ["http://127.0.0.1:2379"]},
        "subnets": ["10.1.{i}.0/24", "fd10:{i:x}::/64"],
        "uplink": {"addresses": ["192.168.16.{i}/24", "fd16::{i:x}"], "interface": "eth1"},
        "routes": {
            "sources": [
                {"type": "pool", "spaces": ["default", "other"]},
                {"type": "calico", "borrowed": false},
                {"type": "peers", "nodes": "1-2", "subnet": "10.2.{peer}.0/24", "via": "192.168.16.{peer}"},
                {"type": "file", "path": "/etc/plat/routes.json"},
            ],
            "sinks": [{"type": "kernel", "metric": 50, "interface": "eth1"}, {"type": "vpp"}],
            "resync": "10s",
        },
    }))
    .unwrap();
    let config = spec.on(Some(&node(12)), "host").unwrap();
    assert!(config.register && config.needs_etcd());
    assert_eq!(config.node, "host");
    let text = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&config.subnets), ["10.1.12.0/24", "fd10:c::/64"]);
    let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.16.12", "fd16::c"]);
    assert_eq!((config.sources.len(), config.sinks.len()), (4, 2));
    assert_eq!(config.resync, Duration::from_secs(10));
    let SinkSpec::Kernel(kernel) = &config.sinks[0] else { panic!("the kernel") };
    assert_eq!((kernel.protocol, kernel.table, kernel.metric), (205, 254, 50));
    let empty = ConfigSpec::parse(&json!({})).unwrap().on(None, "host").unwrap();
    assert!(!empty.register && !empty.needs_etcd());
}

#[test]
fn what_is_wrong_is_named() {
    for (document, message) in [
        (json!([]), "expected an object"),
        (json!({"route": {}}), "unknown key \"route\""),
        (json!({"etcd": {"endpoint": 1}}), "etcd: etcd has an unknown key \"endpoint\""),
        (json!({"subnets": 5}), "subnets: expected a list"),
        (json!({"subnets": "10.1.{peer}.0/24"}), "subnets: {peer} is for peers only"),
        (json!({"uplink": {}}), "uplink: says nothing"),
        (
            json!({"uplink": {"interface": "a b"}}),
            "uplink.interface: \"a b\" is no interface's name",
        ),
        (json!({"routes": {"resync": "0s"}}), "routes.resync: \"0s\" is no time from 1s to 1h"),
        (json!({"routes": {"sources": [{}]}}), "routes.sources[0]: type is missing"),
        (
            json!({"routes": {"sources": [{"type": "bgp"}]}}),
            "routes.sources[0].type: \"bgp\" is no source of routes",
        ),
        (json!({"routes": {"sources": [{"type": "file"}]}}), "routes.sources[0]: path is missing"),
        (json!({"routes": {"sources": [{"type": "file", "path": "x"}]}}), "is no absolute path"),
        (
            json!({"routes": {"sources": [{"type": "calico", "nodes": {"b": "x"}}]}}),
            "routes.sources[0].nodes.b: \"x\" is no node's address",
        ),
        (
            json!({"routes": {"sources": [{"type": "peers", "nodes": "1-2", "subnet": "10.1.{i}.0/24", "via": "192.168.16.{peer}"}]}}),
            "{i} is this node's own number",
        ),
        (
            json!({"routes": {"sinks": [{"type": "kernel", "protocol": 2}]}}),
            "routes.sinks[0].protocol: 2 is not from 5 to 255",
        ),
        (
            json!({"routes": {"sinks": [{"type": "kernel", "table": 255}]}}),
            "255 is the kernel's table of its own addresses",
        ),
        (
            json!({"routes": {"sinks": [{"type": "kernel", "onlink": true}]}}),
            "routes.sinks[0].onlink: on which link is not said",
        ),
        (
            json!({"routes": {"sinks": [{"type": "kernel"}, {"type": "kernel", "table": 254}]}}),
            "routes.sinks[1]: this sink is there twice",
        ),
    ] {
        let error = ConfigSpec::parse(&document).unwrap_err();
        assert!(error.message.contains(message), "{document}: {}", error.message);
    }
}

#[test]
fn what_is_wrong_on_a_node_is_named() {
    let subnets = |text: &str| ConfigSpec::parse(&json!({"subnets": text})).unwrap();
    let error = subnets("10.1.{i}.0/24").on(Some(&node(300)), "h").unwrap_err();
    assert_eq!(error.message, "subnets: \"10.1.300.0/24\" is not right (from \"10.1.{i}.0/24\")");
    let error = subnets("10.1.{i}.0/24").on(None, "h").unwrap_err();
    assert!(
        error.message.contains("needs the node's index, which is not known"),
        "{}",
        error.message
    );
    assert!(subnets("10.1.4.0/24").on(None, "h").is_ok());
    assert!(subnets("10.1.4.1/24").on(None, "h").is_err());
    let peers = json!({"routes": {"sources": [
        {"type": "peers", "nodes": "250-256", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
    ]}});
    let spec = ConfigSpec::parse(&peers).unwrap();
    let error = spec.on(Some(&node(1)), "h").unwrap_err();
    assert!(
        error.message.contains("\"10.1.256.0/24\" for node 256 is not right"),
        "{}",
        error.message
    );
    assert!(spec.on(None, "h").unwrap_err().message.contains("which of its nodes this one is"));
}
