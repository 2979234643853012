//! STATUS: whether an ADD could be served.

use serde_json::json;
use support::VppNode;
use support::vpp::Setup;

use super::can_run;

#[test]
fn all_is_well() {
    if !can_run("status::all_is_well") {
        return;
    }
    let node = VppNode::new();
    node.bare_call("STATUS", &node.config("veth")).run().ok();
}

#[test]
fn what_is_missing_is_told() {
    if !can_run("status::what_is_missing_is_told") {
        return;
    }
    let mut node = VppNode::miniature();
    let config = node.config("veth");
    let status = |node: &VppNode, config| node.bare_call("STATUS", config).run().error();
    let mut wrong = config.clone();
    wrong["ipam"]["type"] = json!("plat-none");
    assert_eq!(status(&node, &wrong).0, 50);
    let mut wrong = config.clone();
    wrong["ipam"]["ranges"] = json!([[{"subnet": "10.0.0.0/33"}]]);
    assert_eq!(status(&node, &wrong).0, 7);
    node.vpp_mut().kill();
    let (code, text) = status(&node, &config);
    assert_eq!(code, 50);
    assert!(text.contains("cannot connect to VPP"), "{text}");
}

#[test]
fn plugins_that_vpp_lacks_are_named() {
    if !can_run("status::plugins_that_vpp_lacks_are_named") {
        return;
    }
    for (kind, plugin, name) in
        [("veth", "af_packet", "af_packet"), ("tap", "tapv2", "tap"), ("memif", "memif", "memif")]
    {
        let node = VppNode::with(Setup { without: vec![plugin], ..Setup::default() });
        let (pod, config) = (node.pod(), node.config(kind));
        let (code, text) = node.bare_call("STATUS", &config).run().error();
        assert_eq!(code, 50, "{text}");
        assert!(text.contains(&format!("plugin {name} is not loaded")), "{text}");
        let (code, text) = node.call("ADD", &pod, &config).run().error();
        assert_eq!(code, 7, "{text}");
        node.assert_nothing_left(0);
    }
}

/// Every release that the messages are the same for.
#[test]
fn older_releases_serve() {
    if !can_run("status::older_releases_serve") {
        return;
    }
    for release in ["22.10", "24.06", "26.06"] {
        let node = VppNode::with(Setup::release(release));
        for kind in ["veth", "tap", "memif"] {
            let (pod, config) = (node.pod(), node.config(kind));
            node.bare_call("STATUS", &config).run().ok();
            let result = node.add(&pod, &config);
            node.check(&pod, &config, &result).ok();
            node.del(&pod, &config);
            node.assert_nothing_left(0);
        }
    }
}
