use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(config: &Value) -> Result<NodeSpec, String> {
    NodeSpec::parse(&At::root(config)).map_err(|error| error.to_string())
}

#[test]
fn a_configuration_without_a_node_part_wants_nothing() {
    for config in [
        json!({}),
        json!({"type": "vpp", "name": "pods", "mtu": 1400, "uplink": null, "routes": []}),
        json!({"peers": [], "hostLink": null}),
    ] {
        let spec = parse(&config).unwrap();
        assert_eq!(spec, NodeSpec::default(), "{config}");
        assert!(!spec.needs_identity());
    }
}

#[test]
fn every_selector() {
    for (uplink, shown) in [
        (json!({"pci": "00:04.0"}), "PCI address 0000:00:04.0"),
        (json!({"name": "Ethernet0"}), "name Ethernet0"),
        (json!({"tag": "main"}), "tag main"),
        (json!({"MAC": "02:00:00:00:04:00"}), "Ethernet address 02:00:00:00:04:00"),
    ] {
        let spec = parse(&json!({"uplink": uplink})).unwrap();
        assert_eq!(spec.uplink.unwrap().selector.to_string(), shown);
    }
}

#[test]
fn peers_stand_in_three_places() {
    let rule = json!({"nodes": "1-4", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"});
    let paths = |config: Value| -> Vec<String> {
        parse(&config).unwrap().peers.into_iter().map(|rule| rule.path).collect()
    };
    assert_eq!(paths(json!({"peers": rule})), ["peers"]);
    assert_eq!(paths(json!({"peers": [rule, rule]})), ["peers[0]", "peers[1]"]);
    assert_eq!(paths(json!({"routes": {"peers": rule}})), ["routes.peers"]);
    let mixed =
        json!({"routes": [{"dst": "10.9.0.0/16", "gw": "192.168.16.9"}, {"peers": [rule]}]});
    assert_eq!(paths(mixed.clone()), ["routes[1].peers[0]"]);
    assert_eq!(parse(&mixed).unwrap().routes.len(), 1);
}

#[test]
fn the_node_is_needed_where_something_depends_on_it() {
    let rule = json!({"nodes": "1-4", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"});
    for (config, needed) in [
        (json!({"uplink": {"name": "E0", "address": "192.168.16.4/24"}}), false),
        (json!({"uplink": {"name": "E0", "address": "192.168.16.{i}/24"}}), true),
        (json!({"uplink": {"name": "E0", "gateway": "fe80::{i:x}"}}), true),
        (json!({"routes": [{"dst": "10.0.0.0/8", "gw": "192.168.16.9"}]}), false),
        (json!({"routes": [{"dst": "10.{i}.0.0/16", "gw": "192.168.16.9"}]}), true),
        (json!({"peers": rule}), true),
        (json!({"hostLink": {"vpp": "172.30.0.1/30", "host": "172.30.0.2/30"}}), false),
        (json!({"hostLink": {"vpp": "172.30.{i}.1/30", "host": "172.30.0.2/30"}}), true),
        (
            json!({"hostLink": {
                "vpp": "172.30.0.1/30", "host": "172.30.0.2/30", "hostAddresses": "10.0.0.{i}"
            }}),
            true,
        ),
    ] {
        assert_eq!(parse(&config).unwrap().needs_identity(), needed, "{config}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let link = |key: &str, value: Value| {
        let mut link = json!({"vpp": "172.30.0.1/30", "host": "172.30.0.2/30"});
        link[key] = value;
        json!({"hostLink": link})
    };
    let rule = |key: &str, value: Value| {
        let mut rule =
            json!({"nodes": "1-4", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"});
        rule[key] = value;
        json!({"peers": rule})
    };
    for (config, expected) in [
        (json!({"uplink": "eth0"}), "uplink: expected an object, found \"eth0\""),
        (json!({"uplink": {}}), "uplink: which interface is not said"),
        (json!({"uplink": {"mtu": 1500}}), "uplink: which interface is not said"),
        (
            json!({"uplink": {"pci": "00:04.0", "name": "Ethernet0"}}),
            "uplink: the interface is named more than once",
        ),
        (json!({"uplink": {"pci": "eth0"}}), "uplink.pci: \"eth0\" is no PCI address"),
        (json!({"uplink": {"mac": "02:00"}}), "uplink.mac: \"02:00\" is no Ethernet address"),
        (json!({"uplink": {"name": ""}}), "uplink.name: \"\" is no interface name"),
        (json!({"uplink": {"tag": "a b"}}), "uplink.tag: \"a b\" is no tag"),
        (
            json!({"uplink": {"name": "E0", "adress": "10.0.0.1/8"}}),
            "uplink: unknown key \"adress\"",
        ),
        (json!({"uplink": {"name": "E0", "mtu": 100}}), "uplink.mtu: 100 is no MTU"),
        (
            json!({"uplink": {"name": "E0", "address": "10.0.0.{peer}/8"}}),
            "uplink.address: {peer} is for peers only, and this node's own number is {i}",
        ),
        (
            json!({"uplink": {"name": "E0", "address": ["10.0.0.1/8", 7]}}),
            "uplink.address[1]: expected a string, found 7",
        ),
        (json!({"routes": "10.0.0.0/8"}), "routes: expected a list, found \"10.0.0.0/8\""),
        (json!({"routes": [{"dst": "10.0.0.0/8"}]}), "routes[0]: gw is missing"),
        (json!({"routes": {"peer": []}}), "routes: unknown key \"peer\""),
        (json!({"peers": {"nodes": "1-4"}}), "peers: subnet is missing"),
        (
            rule("nodes", json!("4-1")),
            "peers.nodes: \"4-1\" has a range that ends before it begins",
        ),
        (
            rule("subnet", json!("10.1.4.0/24")),
            "peers.subnet: \"10.1.4.0/24\" has no {peer}, so it is the same for every node",
        ),
        (
            rule("via", json!("192.168.16.{i}")),
            "peers.via: {i} is this node's own number, and peers have {peer}",
        ),
        (rule("via", json!("192.168.16.{x}")), "peers.via: unknown placeholder {x}"),
        (rule("mtu", json!(1)), "peers: unknown key \"mtu\""),
        (link("kind", json!("bridge")), "hostLink.kind: \"bridge\" is no kind of host link"),
        (link("vpp", json!([])), "hostLink: vpp is missing: each end of the link needs an address"),
        (
            link("name", json!("much-too-long-a-name")),
            "hostLink.name: \"much-too-long-a-name\" is no name of a network device",
        ),
        (link("vppName", json!("a/b")), "hostLink.vppName: \"a/b\" is no name of a network device"),
        (link("dev", json!("x")), "hostLink: unknown key \"dev\""),
    ] {
        assert_eq!(parse(&config).unwrap_err(), expected);
    }
}

/// Any JSON, with keys that mean something here.
fn any_json() -> impl Strategy<Value = Value> {
    let keys = prop_oneof![
        Just("uplink"),
        Just("routes"),
        Just("peers"),
        Just("hostLink"),
        Just("pci"),
        Just("name"),
        Just("address"),
        Just("nodes"),
        Just("subnet"),
        Just("via"),
        Just("dst"),
        Just("gw"),
        Just("vpp"),
        Just("host"),
        Just("mtu"),
        Just("gateway"),
        Just("kind"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        prop_oneof![
            Just("1-3"),
            Just("10.1.{peer}.0/24"),
            Just("192.168.16.{i}"),
            Just("::1/64"),
            Just("veth"),
            Just("00:04.0"),
            Just("0.0.0.0/0"),
            Just("{"),
        ]
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..5).prop_map(|entries| {
                Value::Object(
                    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_configuration_panics(config in any_json(), index in any::<u32>()) {
        if let Ok(spec) = NodeSpec::parse(&At::root(&config)) {
            let name = "n".to_owned();
            let node = ipam_core::node::NodeIdentity { index, name, source: String::new() };
            let _ = (spec.needs_identity(), spec.render(Some(&node)), spec.render(None));
        }
    }
}
