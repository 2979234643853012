//! GC: of its own network only.

use serde_json::{Value, json};
use support::VppNode;

use super::{can_run, kinds};

#[test]
fn what_the_runtime_does_not_know_goes() {
    if !can_run("gc::what_the_runtime_does_not_know_goes") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        let config = node.config(kind);
        let pods = [node.pod(), node.pod(), node.pod()];
        let results = pods.each_ref().map(|pod| node.add(pod, &config));
        node.gc(&config, &[&pods[0], &pods[1], &pods[2]]).ok();
        assert_eq!(node.interfaces(&node.tag_prefix()).len(), 3);
        node.gc(&config, &[&pods[1]]).ok();
        assert_eq!(node.interfaces(&node.tag_prefix()).len(), 1);
        assert_eq!((node.held().len(), node.records().len()), (2, 1));
        node.check(&pods[1], &config, &results[1]).ok();
        assert!(pods[0].namespace.link("eth0").is_none());
        // No list at all frees nothing.
        node.bare_call("GC", &config).run().ok();
        node.check(&pods[1], &config, &results[1]).ok();
        node.gc(&config, &[]).ok();
        node.assert_nothing_left(0);
    }
}

#[test]
fn another_network_is_left_alone() {
    if !can_run("gc::another_network_is_left_alone") {
        return;
    }
    let node = VppNode::new();
    let (one, config) = (node.pod(), node.config("veth"));
    node.add(&one, &config);
    let mut other = config.clone();
    other["name"] = json!(format!("{}-other", node.network()));
    other["ipam"]["ranges"] = json!([[{"subnet": "10.0.77.0/24"}]]);
    let two = node.pod();
    let result = node.add(&two, &other);
    node.gc(&config, &[]).ok();
    node.check(&two, &other, &result).ok();
    assert!(one.namespace.link("eth0").is_none());
    node.gc(&other, &[]).ok();
    assert!(two.namespace.link("eth0").is_none());
    node.assert_nothing_left(0);
}

/// Two networks may have one hash: the record tells them apart.
#[test]
fn a_network_with_the_same_hash_is_left_alone() {
    if !can_run("gc::a_network_with_the_same_hash_is_left_alone") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    let record = node.records().pop().unwrap();
    let text = std::fs::read_to_string(&record).unwrap();
    let mut foreign: Value = serde_json::from_str(&text).unwrap();
    foreign["network"] = json!("somebody-elses");
    std::fs::write(&record, foreign.to_string()).unwrap();
    let mut without_ipam = config.clone();
    without_ipam["ipam"] = Value::Null;
    node.gc(&without_ipam, &[]).ok();
    std::fs::write(&record, text).unwrap();
    node.check(&pod, &config, &result).ok();
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

/// Interfaces and devices that nobody has a record of.
#[test]
fn strays_are_found_by_their_tags() {
    if !can_run("gc::strays_are_found_by_their_tags") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        for broken in [true, false] {
            let (pod, config) = (node.pod(), node.config(kind));
            node.add(&pod, &config);
            for record in node.records() {
                if broken {
                    std::fs::write(record, "{").unwrap();
                } else {
                    std::fs::remove_file(record).unwrap();
                }
            }
            node.gc(&config, &[]).ok();
            node.assert_nothing_left(0);
        }
    }
}

#[test]
fn vpp_away_is_told_and_the_rest_is_done() {
    if !can_run("gc::vpp_away_is_told_and_the_rest_is_done") {
        return;
    }
    let mut node = VppNode::miniature();
    let (pod, config) = (node.pod(), node.config("veth"));
    node.add(&pod, &config);
    node.vpp_mut().kill();
    let (code, text) = node.gc(&config, &[]).error();
    assert_eq!(code, 11, "{text}");
    assert_eq!((node.held().len(), node.devices(&node.tag_prefix()).len()), (0, 0));
    node.vpp_mut().start_again();
    node.gc(&config, &[]).ok();
    node.assert_nothing_left(0);
}
