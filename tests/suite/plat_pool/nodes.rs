//! Nodes that go, and machines that come back.

use super::Cluster;
use support::etcd;

#[test]
fn a_node_goes_and_leaves_what_is_others() {
    if !etcd::available("a_node_goes_and_leaves_what_is_others") {
        return;
    }
    let cluster = Cluster::start("plat-remove");
    cluster.says(&["pool", "create", "pods", "--cidr", "10.64.0.0/16", "--mode", "sync"], 0);
    cluster.node(7);
    cluster.node(8);
    cluster.block("0a400000", 7, "pods", "sync", 600);
    cluster.block("0a400040", 7, "pods", "sync", 600);
    cluster.address("0a400005", 7, "shop/web-0");
    cluster.address("0a400046", 8, "shop/db-0");
    cluster.put("s/default/x/4/0a400046", r#"{"n":8,"u":"u-8"}"#);
    // Nobody can be asked.
    let text = cluster.says(&["node", "remove", "vm-7"], 3);
    assert!(text.contains("nothing was changed") && text.contains("not stopped"), "{text}");
    let held = cluster.json(&["node", "remove", "vm-7", "--yes"], 1);
    assert_eq!((&held["state"], &held["hold"]), (&"holding".into(), &690.into()));
    let text = cluster.says(&["pool", "reserve", "10.64.0.9"], 3);
    assert!(text.contains("is being removed"), "{text}");
    cluster.says(&["node", "remove", "7", "--cancel"], 0);
    cluster.says(&["node", "remove", "7", "--cancel"], 3);
    // One that was removed long ago, by another machine.
    cluster.put(
        "t/u-7",
        r#"{"name":"vm-7","at":1700000000,"by":"me","hold":690,"boot":"another","up":5}"#,
    );
    let done = cluster.json(&["node", "remove", "vm-7"], 0);
    assert_eq!((&done["returned"], &done["handedOver"]), (&1.into(), &1.into()));
    let nodes = cluster.json(&["node", "ls", "--removed"], 0);
    assert_eq!(nodes["nodes"][0]["state"], "removed");
    assert_eq!(nodes["nodes"][1]["borrowed"], 1);
    let pool = cluster.json(&["pool", "show", "pods"], 0);
    assert_eq!((&pool["claimed"], &pool["used"]), (&1.into(), &1.into()));
    cluster.says(&["node", "remove", "vm-7"], 0);
    cluster.says(&["node", "remove", "vm-9"], 3);
}

#[test]
fn a_machine_goes_on_as_the_node_or_anew() {
    if !etcd::available("a_machine_goes_on_as_the_node_or_anew") {
        return;
    }
    let cluster = Cluster::start("plat-adopt");
    cluster.says(&["pool", "create", "pods", "--cidr", "10.64.0.0/16"], 0);
    cluster.node(7);
    cluster.block("0a400340", 7, "pods", "local", 600);
    cluster.says(&["node", "adopt", "vm-7"], 3);
    let adopted = cluster.json(&["node", "adopt", "vm-7", "--yes"], 0);
    assert_eq!((&adopted["index"], &adopted["blocks"]), (&7.into(), &1.into()));
    cluster.says(&["node", "adopt", "vm-7", "--yes"], 3);
    let state = std::fs::read(cluster.scratch.path().join("state/pool.json")).expect("its state");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("a document");
    assert_eq!((&state["uuid"], &state["name"]), (&"u-7".into(), &"vm-7".into()));
    let boot = cluster.json(&["node", "show", "vm-7"], 0);
    assert_eq!(boot["boot"], state["boots"][0]);
    let text = cluster.says(&["node", "adopt", "--anew"], 3);
    assert!(text.contains("was not removed"), "{text}");
    cluster.says(&["node", "remove", "vm-7", "--yes"], 1);
    let anew = cluster.json(&["node", "adopt", "--anew"], 0);
    assert_eq!((&anew["former"]["uuid"], &anew["removalFinished"]), (&"u-7".into(), &false.into()));
}
