//! CHECK finds what differs, wherever it does.

use serde_json::{Value, json};
use support::VppNode;
use vpp_api::msg::IpRouteAddDelV2;
use vpp_api::{Mac, Prefix};

use super::can_run;

#[test]
fn each_difference_is_told() {
    if !can_run("check::each_difference_is_told") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    let expect = |what: &str, text: &str| {
        let (code, message) = node.check(&pod, &config, &result).error();
        assert_eq!(code, 100, "{what}: {message}");
        assert!(message.contains(text), "{what}: {message}");
        // A second ADD repairs it.
        assert_eq!(node.add(&pod, &config), result, "{what}");
        node.check(&pod, &config, &result).ok();
    };
    let (v4, v6) = (node.v4(), node.v6());
    let gateway = format!("{v4}.1");
    let gateway6 = format!("{v6}:1");
    for (words, text) in [
        (vec!["link", "set", "eth0", "mtu", "1300"], "eth0 has MTU 1300, not 1500"),
        (vec!["route", "delete", "default"], "eth0 has no route to 0.0.0.0/0 via"),
        (vec!["-6", "route", "delete", "default"], "eth0 has no route to ::/0 via"),
        (vec!["neighbor", "delete", &gateway, "dev", "eth0"], "no permanent neighbour"),
        (vec!["neighbor", "delete", &gateway6, "dev", "eth0"], "no permanent neighbour"),
        (vec!["address", "flush", "dev", "eth0", "scope", "global"], "eth0 has no address"),
    ] {
        let output = pod.namespace.run(&[&["ip"], words.as_slice()].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
        expect(&words.join(" "), text);
    }
    let mut client = node.client();
    let index = node.interfaces(&node.tag_prefix())[0].sw_if_index;
    let gateway = node.interfaces("plat/gateway/0")[0].sw_if_index;
    let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap();
    let address: std::net::IpAddr = address.parse().unwrap();

    client.set_up(index, false).unwrap();
    expect("down", "VPP's interface is down");
    client.set_mtu(index, 1300).unwrap();
    expect("MTU", "VPP's interface has MTU 1300");
    client.set_unnumbered(index, gateway, false).unwrap();
    expect("unnumbered", "does not borrow the gateway's address");
    client.set_neighbor(index, address, Mac([2, 0, 0, 0, 0, 9])).unwrap();
    expect("neighbour", "VPP has no static neighbour for");
    let source = client.fib_source("plat-pod", 0x90).unwrap();
    client.call(&IpRouteAddDelV2::delete(source, 0, Prefix::host(address))).unwrap();
    expect("route", "VPP has no route to");
    client.set_tag(index, "somebody else's").unwrap();
    let (code, message) = node.check(&pod, &config, &result).error();
    assert_eq!(code, 100, "{message}");
    client.set_tag(index, "x").unwrap();
    let tag = vpp_api::msg::SwInterfaceTagAddDel {
        is_add: false,
        sw_if_index: index,
        tag: vpp_api::wire::Text::empty(),
    };
    client.call(&tag).unwrap();
    expect("tag", "VPP's interface has no tag");
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

#[test]
fn the_result_is_compared_with_the_record() {
    if !can_run("check::the_result_is_compared_with_the_record") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut result = result.clone();
        change(&mut result);
        node.check(&pod, &config, &result).error()
    };
    for (change, text) in [
        (
            &(|it: &mut Value| it["interfaces"][1]["name"] = json!("eth1")) as &dyn Fn(&mut Value),
            "prevResult has no interface eth0",
        ),
        (
            &|it: &mut Value| it["interfaces"][1]["sandbox"] = json!("/run/netns/other"),
            "in /run/netns/other",
        ),
        (
            &|it: &mut Value| it["interfaces"][1]["mac"] = json!("02:00:00:00:00:01"),
            "with Ethernet address 02:00:00:00:00:01",
        ),
    ] {
        let (code, message) = changed(change);
        assert_eq!(code, 100, "{message}");
        assert!(message.contains(text), "{message}");
    }
    // The IPAM plugin comes first.
    assert_ne!(changed(&|it: &mut Value| it["ips"][0]["address"] = json!("10.9.9.9/32")).0, 0);
    let (code, message) = node.call("CHECK", &pod, &config).run().error();
    assert_eq!(code, 7, "{message}");
    let other = node.pod();
    assert_eq!(node.check(&other, &config, &result).error().0, 3);
    node.del(&pod, &config);
}
