//! Pools and reservations.

use super::Cluster;
use support::etcd;

#[test]
fn pools_are_made_changed_and_removed() {
    if !etcd::available("pools_are_made_changed_and_removed") {
        return;
    }
    let cluster = Cluster::start("plat-pool");
    assert!(cluster.says(&["pool", "ls"], 0).contains("there is no pool"));
    cluster.says(&["pool", "create", "pods", "--cidr", "10.64.0.0/16", "--mode", "sync"], 0);
    let again = cluster.json(
        &["pool", "create", "pods", "--cidr", "10.64.0.0/16", "--mode", "sync", "--block", "26"],
        0,
    );
    assert_eq!(again["changed"], false);
    let text = cluster.says(&["pool", "create", "more", "--cidr", "10.64.8.0/21"], 3);
    assert!(text.contains("pool more would overlap pool pods in 10.64.8.0/21"), "{text}");
    // The same addresses are others in another space.
    cluster.says(&["pool", "create", "more", "--cidr", "10.64.8.0/21", "--space", "blue"], 0);
    let pools = cluster.json(&["pool", "ls"], 0);
    assert_eq!(pools["pools"].as_array().map(Vec::len), Some(2));

    cluster.node(7);
    cluster.block("0a400340", 7, "pods", "sync", 600);
    cluster.address("0a400345", 7, "shop/web-0");
    let refused = cluster.json(&["pool", "edit", "pods", "--cidr", "10.64.128.0/17"], 3);
    assert_eq!(refused["blocks"][0]["node"], "vm-7");
    assert_eq!(refused["addresses"][0]["address"], "10.64.3.69");
    assert_eq!(refused["addresses"][0]["pod"], "shop/web-0");
    for (change, wanted) in [
        (&["--exclude", "10.64.3.64/26"][..], "10.64.3.64/26 cannot be excluded"),
        (&["--mode", "local"], "its mode cannot be changed"),
        (&["--block", "28"], "the prefix length of its IPv4 blocks cannot be changed"),
    ] {
        let text = cluster.says(&[&["pool", "edit", "pods"], change].concat(), 3);
        assert!(text.contains(wanted), "{text}");
    }
    let changed = cluster.json(&["pool", "edit", "pods", "--cooldown", "60s"], 0);
    assert_eq!(changed["differences"][0]["to"], "60 s");
    let text = cluster.says(&["pool", "rm", "pods"], 3);
    assert!(text.contains("vm-7 holds 10.64.3.64/26"), "{text}");
    cluster.says(&["pool", "rm", "more", "--space", "blue"], 0);
    cluster.says(&["pool", "edit", "pods"], 3);
    cluster.says(&["pool", "create", "x", "--cidr", "10.1.0.1/16"], 3);
}

#[test]
fn addresses_are_reserved() {
    if !etcd::available("addresses_are_reserved") {
        return;
    }
    let cluster = Cluster::start("plat-reserve");
    cluster.says(&["pool", "create", "pods", "--cidr", "10.64.0.0/16"], 0);
    cluster.node(7);
    cluster.block("0a400340", 7, "pods", "local", 600);
    let done = cluster.json(&["pool", "reserve", "10.64.9.9", "--for", "printer"], 0);
    assert_eq!((&done["changed"], &done["keepsBlock"]), (&true.into(), &true.into()));
    assert_eq!(cluster.json(&["pool", "reserve", "10.64.9.9"], 0)["changed"], false);
    let shown = cluster.json(&["pool", "show", "pods"], 0);
    assert_eq!(shown["reservations"][0]["for"], "printer");
    // Its node does not answer.
    let waiting = cluster.json(&["pool", "reserve", "10.64.3.70", "--timeout", "100ms"], 1);
    assert_eq!(waiting["waiting"]["node"], "vm-7");
    // It refuses.
    cluster.put("q/u-7/default/4/0a400346", r#"{"reserve":true,"refused":"in use by a pod"}"#);
    let asked = cluster.json(&["node", "show", "vm-7"], 0);
    assert_eq!(asked["requests"][0]["refused"], "in use by a pod");
    cluster.says(&["pool", "reserve", "10.9.9.9"], 3);
    let text = cluster.says(&["pool", "rm", "pods"], 3);
    assert!(text.contains("1 block"), "{text}");
    cluster.says(&["pool", "unreserve", "10.64.9.9"], 0);
    cluster.says(&["pool", "unreserve", "10.64.9.9"], 3);
}
