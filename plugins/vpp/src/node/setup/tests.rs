use super::*;
use ipam_core::config::json::At;
use proptest::prelude::*;
use serde_json::{Value, json};

fn render(config: &Value, index: u32) -> Result<NodeSetup, String> {
    let node = NodeIdentity { index, name: "vm".to_owned(), source: "test".to_owned() };
    let spec = NodeSpec::parse(&At::root(config)).map_err(|error| error.to_string())?;
    spec.render(Some(&node)).map_err(|error| error.to_string())
}

/// Routes as `destination next hop`.
fn routes(setup: &NodeSetup) -> Vec<String> {
    setup.routes.iter().map(|(prefix, via)| format!("{prefix} {via}")).collect()
}

fn cluster() -> Value {
    json!({
        "uplink": {
            "pci": "0000:00:04.0",
            "address": ["192.168.16.{i}/24", "fd00:16::{i:x}/64"],
            "gateway": ["192.168.16.254", "fe80::1"],
        },
        "peers": [
            {"nodes": "1-3", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
            {"nodes": "1-3", "subnet": "fd00:1:{peer:x}::/64", "via": "fd00:16::{peer:x}"},
        ],
    })
}

#[test]
fn a_cluster_is_the_same_configuration_on_every_node() {
    let setup = render(&cluster(), 2).unwrap();
    let addresses = setup.uplink.as_ref().unwrap().addresses.iter();
    let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.16.2/24", "fd00:16::2/64"]);
    assert_eq!(
        routes(&setup),
        [
            "0.0.0.0/0 192.168.16.254",
            "10.1.1.0/24 192.168.16.1",
            "10.1.3.0/24 192.168.16.3",
            "::/0 fe80::1",
            "fd00:1:1::/64 fd00:16::1",
            "fd00:1:3::/64 fd00:16::3",
        ]
    );
    assert_eq!(setup.warnings, [""; 0]);
    assert!(!setup.is_empty());
    let other = render(&cluster(), 7).unwrap();
    assert_eq!(other.routes.len(), 8);
    assert_eq!(
        other.warnings[0],
        "peers[0].nodes: this node, 7, is not among them: others with the same rule do not reach its pods"
    );
}

#[test]
fn without_the_node_only_what_does_not_depend_on_it_is_known() {
    let spec = |config: Value| NodeSpec::parse(&At::root(&config)).unwrap();
    let fixed = spec(json!({"uplink": {"name": "E0", "address": "192.168.16.4/24"}}));
    assert!(fixed.render(None).is_ok());
    let error = spec(cluster()).render(None).unwrap_err();
    assert_eq!(error.to_string(), "uplink.address[0]: this node's index is not known");
}

#[test]
fn what_vpp_would_take_and_forward_nowhere_is_refused() {
    let changed = |path: &[&str], value: Value| {
        let mut config = cluster();
        let mut at = &mut config;
        for key in path {
            at = match key.parse::<usize>() {
                Ok(n) => &mut at[n],
                Err(_) => &mut at[*key],
            };
        }
        *at = value;
        config
    };
    let address = |value: Value| changed(&["uplink", "address"], value);
    let subnet = |value: &str| changed(&["peers", "0", "subnet"], json!(value));
    let via = |value: &str| changed(&["peers", "0", "via"], json!(value));
    let routes = |value: Value| changed(&["routes"], value);
    for (config, expected) in [
        (address(json!("192.168.16.2")), "uplink.address: \"192.168.16.2\" is no such address"),
        (
            address(json!("192.168.16.2/33")),
            "uplink.address: \"192.168.16.2/33\" is no such address",
        ),
        (address(json!("192.168.16.0/24")), "uplink.address: 192.168.16.0/24 is the subnet itself"),
        (
            address(json!("192.168.16.255/24")),
            "uplink.address: 192.168.16.255/24 is the subnet's broadcast address",
        ),
        (address(json!("fd00:16::/64")), "uplink.address: fd00:16::/64 is the subnet itself"),
        (address(json!("224.0.0.5/24")), "uplink.address: 224.0.0.5 is no address of a node"),
        (address(json!("127.0.0.1/8")), "uplink.address: 127.0.0.1 is no address of a node"),
        (
            address(json!("::ffff:1.2.3.4/96")),
            "uplink.address: ::ffff:1.2.3.4 is no address of a node",
        ),
        (
            address(json!(["192.168.16.2/24", "192.168.16.3/16"])),
            "uplink.address[1]: 192.168.16.3/16 and 192.168.16.2/24 overlap",
        ),
        (
            changed(&["uplink", "mtu"], json!(1000)),
            "uplink.mtu: IPv6 needs 1280 bytes, and this is 1000",
        ),
        (
            changed(&["uplink", "gateway"], json!("192.168.17.1")),
            "uplink.gateway: 192.168.17.1 is on no subnet of the uplink, which has 192.168.16.2/24",
        ),
        (
            changed(&["uplink", "gateway"], json!("192.168.16.{i}")),
            "uplink.gateway: 192.168.16.2 is this node itself",
        ),
        (
            changed(&["uplink", "gateway"], json!(["192.168.16.8", "192.168.16.9"])),
            "uplink.gateway[1]: 192.168.16.9 is the second gateway of IPv4",
        ),
        (
            changed(&["uplink", "gateway"], json!("192.168.16.9/24")),
            "uplink.gateway: \"192.168.16.9/24\" is no address",
        ),
        (
            routes(json!([{"dst": "0.0.0.0/0", "gw": "192.168.16.9"}])),
            "routes[0].dst: there is a route to 0.0.0.0/0 already",
        ),
        (
            routes(json!([{"dst": "10.9.0.1/16", "gw": "192.168.16.9"}])),
            "routes[0].dst: 10.9.0.1/16 has host bits: its network is 10.9.0.0/16",
        ),
        (
            routes(json!([{"dst": "10.9.0.0/16", "gw": "fd00:16::9"}])),
            "routes[0].gw: fd00:16::9 is of another address family than 10.9.0.0/16",
        ),
        (
            routes(json!([{"dst": "10.9.0.0/16", "gw": "192.168.16.2"}])),
            "routes[0].gw: 192.168.16.2 is this node itself",
        ),
        (
            routes(json!([{"dst": "10.1.2.128/25", "gw": "192.168.16.9"}])),
            "routes[0].dst: 10.1.2.128/25 lies in this node's own 10.1.2.0/24",
        ),
        (
            routes(json!([{"dst": "10.1.3.0/24", "gw": "192.168.16.9"}])),
            "routes[0].dst: 10.1.3.0/24 is a peer's subnet, too",
        ),
        (
            routes(json!([{"dst": "ff00::/8", "gw": "fd00:16::9"}])),
            "routes[0].dst: ff00::/8 is not routed",
        ),
        (
            subnet("10.{peer/256}.0.0/16"),
            "peers[0].subnet: 10.0.0.0/16 is the subnet of both node 1 and node 2",
        ),
        (
            subnet("10.{peer}.0.0/15"),
            "peers[0].subnet (node 1): 10.1.0.0/15 has host bits: its network is 10.0.0.0/15",
        ),
        (
            subnet("10.0.0.0/{peer}"),
            "peers[0].subnet (node 2): 10.0.0.0/2 has host bits: its network is 0.0.0.0/2",
        ),
        (
            subnet("{peer%256}.0.0.0/0"),
            "peers[0].subnet (node 2): 2.0.0.0/0 has host bits: its network is 0.0.0.0/0",
        ),
        (
            subnet("fd00:2:{peer}::/64"),
            "peers[0].via: 192.168.16.1 is of another address family than fd00:2:1::/64",
        ),
        (
            via("192.168.16.10{peer/256}"),
            "peers[0].via: 192.168.16.100 is the address of both node 1 and node 2",
        ),
        (
            via("192.168.17.{peer}"),
            "peers[0].via (node 1): 192.168.17.1 is on no subnet of the uplink, which has 192.168.16.2/24",
        ),
        (via("192.168.16.{peer}/24"), "peers[0].via: \"192.168.16.1/24\" is no address (node 1)"),
        (via("192.168.{peer}"), "peers[0].via: \"192.168.1\" is no address (node 1)"),
    ] {
        assert_eq!(render(&config, 2).unwrap_err(), expected);
    }
}

/// A subnet of one rule within another's, and the default route by a peer.
#[test]
fn subnets_of_different_rules_are_apart() {
    let rules = |a: &str, b: &str| {
        json!({"peers": [
            {"nodes": "1-3", "subnet": a, "via": "192.168.16.{peer}"},
            {"nodes": "1-3", "subnet": b, "via": "192.168.16.{peer}"},
        ]})
    };
    let error = render(&rules("10.{peer}.0.0/16", "10.1.{peer}.0/24"), 2).unwrap_err();
    let expected = "peers[1].subnet: 10.1.0.0/16 of node 1 contains 10.1.1.0/24 of node 1";
    assert_eq!(error, expected);
    assert!(render(&rules("10.1.{peer}.0/24", "172.30.{peer}.0/30"), 2).is_ok());
    let everything = json!({"peers": {
        "nodes": "1-3", "subnet": "0.0.0.0/{peer/256}", "via": "192.168.16.{peer}"
    }});
    let error = render(&everything, 2).unwrap_err();
    assert_eq!(error, "peers.subnet: 0.0.0.0/0 is the default route, and no subnet of a node");
}

/// One octet does not tell more than 256 nodes apart.
#[test]
fn more_than_256_nodes() {
    let of = |subnet: &str| {
        json!({"peers": {
            "nodes": "1-1000",
            "subnet": subnet,
            "via": "192.168.{peer/256}.{peer%256}",
        }})
    };
    assert_eq!(render(&of("10.{peer/256}.{peer%256}.0/24"), 300).unwrap().routes.len(), 999);
    let error = render(&of("10.1.{peer%256}.0/24"), 300).unwrap_err();
    assert!(error.contains("10.1.0.0/24 is the subnet of both node 256 and node 512"), "{error}");
    let error = render(&of("10.1.{peer}.0/24"), 300).unwrap_err();
    assert_eq!(error, "peers.subnet (node 300): \"10.1.300.0/24\" is no network");
}

#[test]
fn a_host_link_has_two_addresses_of_each_subnet() {
    let of = |vpp: Value, host: Value| json!({"hostLink": {"vpp": vpp, "host": host}});
    let link =
        render(&of(json!("172.30.{i}.1/30"), json!("172.30.{i}.2/30")), 4).unwrap().host_link;
    let link = link.unwrap();
    assert_eq!(link.vpp_address(Family::V4), Some("172.30.4.1".parse().unwrap()));
    assert_eq!(link.host_address(Family::V4), Some("172.30.4.2".parse().unwrap()));
    assert_eq!(link.host_address(Family::V6), None);
    for (vpp, host, expected) in [
        (
            json!("172.30.0.1/30"),
            json!("172.30.0.6/30"),
            "hostLink.vpp: 172.30.0.1/30 and 172.30.0.6/30 are no two addresses of one subnet",
        ),
        (
            json!("172.30.0.1/30"),
            json!("172.30.0.1/30"),
            "hostLink.vpp: 172.30.0.1/30 and 172.30.0.1/30 are no two addresses of one subnet",
        ),
        (
            json!(["172.30.0.1/30", "fd00::1/126"]),
            json!("172.30.0.2/30"),
            "hostLink.vpp[1]: hostLink.host has no address to go with fd00::1/126",
        ),
        (
            json!("172.30.0.1/30"),
            json!(["172.30.0.2/30", "fd00::1/126"]),
            "hostLink.host[1]: hostLink.vpp has no address to go with fd00::1/126",
        ),
        (
            json!(["172.30.0.1/30", "172.31.0.1/30"]),
            json!(["172.30.0.2/30", "172.31.0.2/30"]),
            "hostLink.vpp[1]: 172.31.0.1/30 is the second of its family",
        ),
    ] {
        assert_eq!(render(&of(vpp, host), 4).unwrap_err(), expected);
    }
}

#[test]
fn the_host_reaches_all_pods_that_are_known_unless_it_is_told_which() {
    let mut config = cluster();
    config["peers"][1]["subnet"] = json!("172.30.{peer}.0/30");
    config["peers"][1]["via"] = json!("192.168.16.{peer}");
    config["hostLink"] = json!({"vpp": "172.30.{i}.1/30", "host": "172.30.{i}.2/30"});
    let known = |config: &Value| -> Vec<String> {
        let link = render(config, 2).unwrap().host_link.unwrap();
        link.routes.iter().map(ToString::to_string).collect()
    };
    let all = ["10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24", "172.30.1.0/30", "172.30.3.0/30"];
    assert_eq!(known(&config), all);
    config["hostLink"]["routes"] = json!("10.1.0.0/16");
    assert_eq!(known(&config), ["10.1.0.0/16"]);
    config["hostLink"]["routes"] = json!([]);
    assert_eq!(known(&config), [""; 0]);
    for (key, value, expected) in [
        ("routes", json!("fd00::/48"), "hostLink.routes: the link has no IPv6 address"),
        (
            "hostAddresses",
            json!("172.30.2.3"),
            "hostLink.hostAddresses: 172.30.2.3 is on the link itself",
        ),
        (
            "vpp",
            json!("192.168.16.9/24"),
            "hostLink.vpp: 192.168.16.9/24 and 172.30.2.2/30 are no two addresses of one subnet",
        ),
    ] {
        let mut wrong = config.clone();
        wrong["hostLink"][key] = value;
        assert_eq!(render(&wrong, 2).unwrap_err(), expected);
    }
    config["hostLink"]["vpp"] = json!("192.168.16.9/24");
    config["hostLink"]["host"] = json!("192.168.16.10/24");
    let expected = "hostLink.vpp: 192.168.16.9/24 overlaps the uplink's 192.168.16.2/24";
    assert_eq!(render(&config, 2).unwrap_err(), expected);
}

proptest! {
    /// Each node routes to every other one, none to itself, and all agree on whose subnet is whose.
    #[test]
    fn nodes_agree(last in 1u32..600, a in 0u32..600, b in 0u32..600) {
        let (a, b) = (1 + a % last, 1 + b % last);
        let config = json!({"peers": {
            "nodes": format!("1-{last}"),
            "subnet": "10.{peer/256}.{peer%256}.0/24",
            "via": "192.168.{peer/256}.{peer%256}",
        }});
        let (one, two) = (render(&config, a).unwrap(), render(&config, b).unwrap());
        prop_assert_eq!(one.routes.len(), usize::try_from(last - 1).unwrap());
        let own: Prefix = prefix(&format!("10.{}.{}.0/24", a / 256, a % 256)).unwrap();
        prop_assert!(!one.routes.contains_key(&own));
        prop_assert_eq!(two.routes.contains_key(&own), a != b);
        prop_assert!(one.routes.iter().all(|(to, via)| two.routes.get(to).is_none_or(|it| it == via)));
    }
}
