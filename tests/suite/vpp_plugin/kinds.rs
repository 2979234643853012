//! ADD of each kind, looked at from both ends.

use std::path::Path;

use serde_json::{Value, json};
use support::{VppNode, VppPod};
use vpp_api::msg::IpNeighborDump;
use vpp_api::{Family, IfIndex};
use vpp_plugin::names::Macs;

use super::{addresses, can_run, kinds, pod_interface, routes};

/// The pod's side of veth and tap.
fn assert_pod(node: &VppNode, pod: &VppPod, result: &Value, mtu: u32) {
    let link = pod.namespace.link("eth0").expect("eth0");
    assert_eq!(link["mtu"], mtu, "{link}");
    assert_eq!(link["address"], pod_interface(result)["mac"], "{link}");
    assert!(link["flags"].as_array().expect("flags").contains(&json!("UP")), "{link}");
    let infos = link["addr_info"].as_array().expect("addresses").iter();
    let global: Vec<String> = infos
        .filter(|info| info["scope"] == "global")
        .inspect(|info| assert_eq!(info["tentative"], Value::Null, "{info}"))
        .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
        .collect();
    assert_eq!(global, addresses(result));
    let (v4, v6) = (node.v4(), node.v6());
    let mut expected = vec![
        format!("{v4}.1"),
        format!("{v6}:1"),
        format!("default via {v4}.1"),
        format!("default via {v6}:1"),
    ];
    expected.sort();
    assert_eq!(routes(pod), expected);
    let neighbors = pod.namespace.ip(&["neighbor", "show", "dev", "eth0"]);
    let permanent: Vec<&Value> = neighbors
        .as_array()
        .expect("neighbours")
        .iter()
        .filter(|it| it["state"][0] == "PERMANENT")
        .collect();
    assert_eq!(permanent.len(), 2, "{neighbors}");
    assert!(permanent.iter().all(|it| it["lladdr"] == vpp_mac(pod)), "{neighbors}");
    let loopback = pod.namespace.link("lo").expect("lo");
    assert!(loopback["flags"].as_array().expect("flags").contains(&json!("UP")), "{loopback}");
    assert_eq!(pod.namespace.sysctl("net/ipv6/conf/eth0/accept_ra"), "0");
    assert_eq!(pod.namespace.sysctl("net/ipv6/conf/eth0/accept_dad"), "0");
}

fn vpp_mac(pod: &VppPod) -> String {
    macs(pod).vpp.to_string()
}

fn macs(pod: &VppPod) -> Macs {
    Macs::of(&attachment(pod))
}

fn attachment(pod: &VppPod) -> ipam_core::identity::Attachment {
    use ipam_core::identity::{Attachment, ContainerId, IfName};
    let container = ContainerId::new(pod.id.as_str()).expect("a container ID");
    Attachment { container, ifname: IfName::new("eth0").expect("a name") }
}

/// VPP's side.
fn assert_vpp(node: &VppNode, pod: &VppPod, result: &Value, table: u32, mtu: u32) {
    let tag = vpp_plugin::tag::Tag::of(node.network(), &attachment(pod)).to_string();
    let interfaces = node.interfaces(&tag);
    assert_eq!(interfaces.len(), 1, "{interfaces:?}");
    let interface = &interfaces[0];
    assert!(interface.flags.is_up());
    assert_eq!(interface.mtu[0], mtu);
    assert_eq!(interface.l2_address, macs(pod).vpp);
    let index = interface.sw_if_index;
    let routes: Vec<(String, IfIndex)> = {
        let mut routes: Vec<_> =
            addresses(result).into_iter().map(|address| (address, index)).collect();
        routes.sort();
        routes
    };
    assert_eq!(node.pod_routes(table), routes);
    let mut client = node.client();
    let gateways = node.interfaces(&format!("plat/gateway/{table}"));
    assert_eq!(gateways.len(), 1);
    let borrows = client.dump(&vpp_api::msg::IpUnnumberedDump { sw_if_index: index }).unwrap();
    assert_eq!(borrows.len(), 1);
    assert_eq!(borrows[0].ip_sw_if_index, gateways[0].sw_if_index);
    let mut neighbors = Vec::new();
    for af in Family::BOTH {
        for found in client.dump(&IpNeighborDump { sw_if_index: index, af }).unwrap() {
            assert!(found.neighbor.flags.is_static(), "{found:?}");
            neighbors.push((found.neighbor.ip_address, found.neighbor.mac_address.to_string()));
        }
    }
    let mac = pod_interface(result)["mac"].as_str().unwrap();
    let expected: Vec<_> = addresses(result)
        .iter()
        .map(|address| (address.split('/').next().unwrap().parse().unwrap(), mac.to_owned()))
        .collect();
    assert_eq!(neighbors, expected);
    for family in Family::BOTH {
        let is_ipv6 = family.is_ipv6();
        let request = vpp_api::msg::SwInterfaceGetTable { sw_if_index: index, is_ipv6 };
        assert_eq!(client.call(&request).unwrap().vrf_id, table);
    }
}

#[test]
fn a_pod_is_attached_and_detached() {
    if !can_run("kinds::a_pod_is_attached_and_detached") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        let (pod, config) = (node.pod(), node.config(kind));
        let result = node.add(&pod, &config);
        assert_eq!(addresses(&result).len(), 2, "{kind}: {result}");
        assert_eq!(pod_interface(&result)["mac"], macs(&pod).pod.to_string());
        assert_eq!(pod_interface(&result)["mtu"], 1500);
        if kind == "memif" {
            let socket = pod_interface(&result)["socketPath"].as_str().expect("a socket");
            assert!(Path::new(socket).parent().expect("a directory").is_dir(), "{socket}");
            assert_eq!(pod.namespace.link("eth0"), None);
        } else {
            assert_pod(&node, &pod, &result, 1500);
        }
        assert_vpp(&node, &pod, &result, 0, 1500);
        assert_eq!(node.records().len(), 1);
        assert_eq!(node.check(&pod, &config, &result).ok(), Value::Null, "{kind}");
        node.del(&pod, &config);
        assert_eq!(pod.namespace.link("eth0"), None);
        node.assert_nothing_left(0);
        node.del(&pod, &config);
        let memif = node.scratch().path().join("memif");
        assert!(!memif.exists() || memif.read_dir().unwrap().next().is_none());
    }
}

/// What leaves a pod by a veth pair must be whole: VPP forwards it as it is.
#[test]
fn checksums_are_completed_by_the_pod_of_a_veth_pair() {
    if !can_run("kinds::checksums_are_completed_by_the_pod_of_a_veth_pair") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    node.add(&pod, &config);
    let output = pod.namespace.run(&["ethtool", "--show-offload", "eth0"]);
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() {
        // Without ethtool the kernel's own test of the plugin's library stands for it.
        return;
    }
    assert!(text.contains("tx-checksumming: off"), "{text}");
    assert!(text.contains("tx-tcp-segmentation: off"), "{text}");
}

/// The host's network stack must neither answer nor forward what is VPP's.
#[test]
fn the_hosts_end_is_for_vpp_alone() {
    if !can_run("kinds::the_hosts_end_is_for_vpp_alone") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    let devices = node.devices(&node.tag_prefix());
    assert_eq!(devices.len(), 1);
    let device = &devices[0];
    assert_eq!(result["interfaces"][0]["name"], device.as_str());
    let read = |path: String| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let of = |family: &str, key: &str| read(format!("/proc/sys/net/{family}/conf/{device}/{key}"));
    assert_eq!(of("ipv6", "disable_ipv6"), "1");
    assert_eq!(of("ipv4", "rp_filter"), "1");
    assert_eq!(of("ipv4", "forwarding"), "0");
    assert_eq!(of("ipv4", "arp_ignore"), "8");
    let mac = read(format!("/sys/class/net/{device}/address"));
    assert_eq!(mac, macs(&pod).host.to_string());
    assert_ne!(mac, vpp_mac(&pod));
}

#[test]
fn options_reach_both_ends() {
    if !can_run("kinds::options_reach_both_ends") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        let (pod, mut config) = (node.pod(), node.config(kind));
        let table = 4000 + std::process::id() % 1000;
        config["mtu"] = json!(1400);
        config["table"] = json!(table);
        config["runtimeConfig"] = json!({"mac": "02:00:00:00:aa:01"});
        let result = node.add(&pod, &config);
        assert_eq!(pod_interface(&result)["mac"], "02:00:00:00:aa:01");
        if kind != "memif" {
            assert_pod(&node, &pod, &result, 1400);
        }
        assert_vpp(&node, &pod, &result, table, 1400);
        node.check(&pod, &config, &result).ok();
        node.del(&pod, &config);
        node.assert_nothing_left(table);
    }
}

#[test]
fn every_version_is_answered_in_its_form() {
    if !can_run("kinds::every_version_is_answered_in_its_form") {
        return;
    }
    let node = VppNode::new();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (pod, mut config) = (node.pod(), node.config("veth"));
        config["cniVersion"] = json!(version);
        let result = node.add(&pod, &config);
        assert_eq!(result["cniVersion"], version);
        let own = pod_interface(&result);
        assert_eq!(own["sandbox"], pod.namespace.path().to_string_lossy().into_owned());
        assert_eq!(own["mtu"].is_null(), version != "1.1.0", "{result}");
        assert_eq!(result["ips"][0]["interface"], 1);
        assert_eq!(result["ips"][0]["version"].is_null(), version.starts_with('1'), "{result}");
        if version != "0.3.1" {
            node.check(&pod, &config, &result).ok();
        }
        node.del(&pod, &config);
    }
    node.assert_nothing_left(0);
    let answer = node.bare_call("VERSION", &json!({"cniVersion": "1.1.0"})).run().ok();
    assert!(answer["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")));
}

#[test]
fn one_family_is_enough() {
    if !can_run("kinds::one_family_is_enough") {
        return;
    }
    let node = VppNode::new();
    for family in [0, 1] {
        let (pod, mut config) = (node.pod(), node.config("veth"));
        let ranges = config["ipam"]["ranges"][family].clone();
        config["ipam"]["ranges"] = json!([ranges]);
        let result = node.add(&pod, &config);
        assert_eq!(addresses(&result).len(), 1);
        assert_eq!(routes(&pod).len(), 2);
        assert_vpp(&node, &pod, &result, 0, 1500);
        node.check(&pod, &config, &result).ok();
        node.del(&pod, &config);
        node.assert_nothing_left(0);
    }
}

/// A second network leaves the first one's default route alone, and reaches its own subnet.
#[test]
fn a_second_interface_keeps_the_default_route_of_the_first() {
    if !can_run("kinds::a_second_interface_keeps_the_default_route_of_the_first") {
        return;
    }
    let (node, other) = (VppNode::new(), VppNode::new());
    let pod = node.pod();
    node.add(&pod, &node.config("veth"));
    let call = |command: &str| {
        let config = other.config("veth");
        other.call(command, &pod, &config).env("CNI_IFNAME", "net1").run().ok()
    };
    let result = call("ADD");
    let expected = json!([
        {"dst": format!("{}.0/24", other.v4()), "gw": format!("{}.1", other.v4())},
        {"dst": format!("{}:/64", other.v6()), "gw": format!("{}:1", other.v6())},
    ]);
    assert_eq!(result["routes"], expected);
    assert!(routes(&pod).contains(&format!("default via {}.1", node.v4())));
    call("DEL");
    node.del(&pod, &node.config("veth"));
}

#[test]
fn names_and_namespaces_that_cannot_be_are_refused() {
    if !can_run("kinds::names_and_namespaces_that_cannot_be_are_refused") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let (code, text) =
        node.call("ADD", &pod, &config).env("CNI_NETNS", "/run/netns/plat-none").run().error();
    assert_eq!(code, 8, "{text}");
    let (code, text) = node.call("ADD", &pod, &config).env("CNI_NETNS", "/dev/null").run().error();
    assert_eq!(code, 8, "{text}");
    pod.namespace.run(&["ip", "link", "add", "eth0", "type", "bridge"]);
    let (code, text) = node.call("ADD", &pod, &config).run().error();
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("has an interface eth0 already"), "{text}");
    assert!(pod.namespace.link("eth0").is_some());
    node.del(&pod, &config);
    assert!(pod.namespace.link("eth0").is_some(), "it is somebody else's");
    let mut without = config.clone();
    without["ipam"] = Value::Null;
    assert_eq!(node.call("ADD", &pod, &without).run().error().0, 7);
    let mut small = config;
    small["mtu"] = json!(1279);
    assert_eq!(node.call("ADD", &pod, &small).run().error().0, 7);
    node.assert_nothing_left(0);
}

/// `auto` is veth where there is no /dev/vhost-net.
#[test]
fn auto_takes_what_there_is() {
    if !can_run("kinds::auto_takes_what_there_is") {
        return;
    }
    let node = VppNode::new();
    let (pod, mut config) = (node.pod(), node.config("auto"));
    for explicit in [true, false] {
        if !explicit {
            config["kind"] = Value::Null;
        }
        node.add(&pod, &config);
        let kind = &pod.namespace.link("eth0").unwrap()["linkinfo"]["info_kind"];
        let vhost = Path::new("/dev/vhost-net").exists();
        assert_eq!(kind, if vhost { "tun" } else { "veth" });
        node.del(&pod, &config);
    }
    node.assert_nothing_left(0);
}

/// The reference's plugins behind this one, as a configuration list has them.
#[test]
fn chained_plugins_find_what_they_need() {
    if !can_run("kinds::chained_plugins_find_what_they_need") {
        return;
    }
    let node = VppNode::new();
    let (pod, mut config) = (node.pod(), node.config("veth"));
    config["cniVersion"] = json!("1.0.0");
    let result = node.add(&pod, &config);
    let (rate, burst) = (100_000_000, 800_000);
    let limits = json!({
        "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst,
    });
    for (plugin, options) in
        [("tuning", json!({"sysctl": {"net.core.somaxconn": "500"}})), ("bandwidth", limits)]
    {
        let Some(binary) = support::reference(plugin) else { continue };
        let mut chained = options;
        chained["cniVersion"] = json!("1.0.0");
        chained["name"] = config["name"].clone();
        chained["type"] = json!(plugin);
        chained["prevResult"] = result.clone();
        for command in ["ADD", "CHECK", "DEL"] {
            support::Call::new(&binary, command)
                .id(&pod.id)
                .env("CNI_NETNS", pod.namespace.path().to_string_lossy())
                .config(&chained)
                .run()
                .ok();
        }
        node.check(&pod, &config, &result).ok();
    }
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}
