//! DEL, with whatever is left.

use std::fs;

use serde_json::{Value, json};
use support::vpp::Trouble;
use support::{Owned, VppNode, VppPod, is_over};

use super::{addresses, can_run, kinds};

#[test]
fn the_namespace_may_be_gone() {
    if !can_run("del::the_namespace_may_be_gone") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        for netns in [true, false] {
            let (pod, config) = (node.pod(), node.config(kind));
            node.add(&pod, &config);
            pod.namespace.delete();
            let call = node.call("DEL", &pod, &config);
            let call = if netns { call } else { call.env("CNI_NETNS", "") };
            call.run().ok();
            node.assert_nothing_left(0);
        }
    }
}

/// As Multus sends it: without socket, ranges, and whatever else it does not know.
#[test]
fn little_of_the_configuration_is_enough() {
    if !can_run("del::little_of_the_configuration_is_enough") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        let (pod, config) = (node.pod(), node.config(kind));
        node.add(&pod, &config);
        let stripped = json!({
            "cniVersion": "1.0.0",
            "name": node.network(),
            "type": "vpp",
            "ipam": {"type": "host-local"},
        });
        node.call("DEL", &pod, &stripped).env("CNI_NETNS", "").run().ok();
        assert!(pod.namespace.link("eth0").is_none());
        node.assert_nothing_left(0);
    }
}

/// Without a record the tag finds all.
#[test]
fn the_record_may_be_gone() {
    if !can_run("del::the_record_may_be_gone") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        for broken in [true, false] {
            let (pod, config) = (node.pod(), node.config(kind));
            node.add(&pod, &config);
            let records = node.records();
            assert_eq!(records.len(), 1);
            if broken {
                std::fs::write(&records[0], "{\"format\": 1").unwrap();
            } else {
                std::fs::remove_file(&records[0]).unwrap();
            }
            node.del(&pod, &config);
            assert!(pod.namespace.link("eth0").is_none(), "{kind}");
            node.assert_nothing_left(0);
        }
    }
}

/// The number of an interface is used again at once: the DEL of a pod whose interface is gone must not touch
/// whoever has its number.
#[test]
fn another_pod_with_the_same_number_is_left_alone() {
    if !can_run("del::another_pod_with_the_same_number_is_left_alone") {
        return;
    }
    let mut node = VppNode::restartable();
    for kind in kinds(&node) {
        let (one, two, config) = (node.pod(), node.pod(), node.config(kind));
        node.add(&one, &config);
        let number = |node: &VppNode| node.interfaces(&node.tag_prefix())[0].sw_if_index;
        let before = number(&node);
        node.restart_vpp();
        let result = node.add(&two, &config);
        assert!(!node.is_miniature() || number(&node) == before, "the number is used again");
        node.del(&one, &config);
        assert_eq!(node.interfaces(&node.tag_prefix()).len(), 1);
        assert_eq!(node.pod_routes(0).len(), 2);
        node.check(&two, &config, &result).ok();
        node.del(&two, &config);
        node.assert_nothing_left(0);
    }
}

/// VPP is away: the pod ends, and who meets that VPP next removes the rest.
fn without_vpp(node: &mut VppNode, pod: &VppPod, config: &Value) {
    // That it hangs is seen elsewhere: what is left of the time then depends on the machine.
    let aside = node.scratch().path().join("aside.sock");
    fs::rename(node.socket(), &aside).expect("a socket can be moved");
    node.call("DEL", pod, config).run().ok();
    assert!(pod.namespace.link("eth0").is_none() || config["kind"] == "memif");
    let records = node.records();
    assert_eq!(records.len(), 1);
    assert!(records[0].parent().unwrap().ends_with("pending"), "{records:?}");
    assert_eq!(node.held(), [""; 0], "the addresses are free");
    node.call("DEL", pod, config).run().ok();
    fs::rename(&aside, node.socket()).expect("a socket can be moved");
}

#[test]
fn what_is_left_in_vpp_goes_when_it_is_met_again() {
    if !can_run("del::what_is_left_in_vpp_goes_when_it_is_met_again") {
        return;
    }
    let mut node = VppNode::miniature();
    for kind in ["veth", "memif"] {
        for how in ["ADD", "GC", "DEL"] {
            let (pod, other, config) = (node.pod(), node.pod(), node.config(kind));
            let first = addresses(&node.add(&pod, &config));
            without_vpp(&mut node, &pod, &config);
            assert_eq!(node.interfaces(&node.tag_prefix()).len(), 1);
            match how {
                "ADD" => {
                    // The same addresses, to begin with: their routes are the new pod's then.
                    let mut config = config.clone();
                    config["runtimeConfig"] = json!({"ips": first});
                    let result = node.add(&other, &config);
                    assert_eq!(addresses(&result), first);
                    node.check(&other, &config, &result).ok();
                    assert_eq!(node.interfaces(&node.tag_prefix()).len(), 1);
                    assert_eq!(node.pod_routes(0).len(), 2);
                    node.del(&other, &config);
                }
                "GC" => {
                    node.gc(&config, &[]).ok();
                }
                _ => node.del(&pod, &config),
            }
            node.assert_nothing_left(0);
        }
    }
}

#[test]
fn vpp_may_have_ended() {
    if !can_run("del::vpp_may_have_ended") {
        return;
    }
    let mut node = VppNode::miniature();
    for kind in ["veth", "tap", "memif"] {
        let (pod, other, config) = (node.pod(), node.pod(), node.config(kind));
        node.add(&pod, &config);
        node.vpp_mut().kill();
        node.del(&pod, &config);
        assert!(pod.namespace.link("eth0").is_none(), "{kind}");
        assert_eq!((node.held().len(), node.records().len()), (0, 1));
        node.vpp_mut().start_again();
        node.add(&other, &config);
        node.del(&other, &config);
        node.assert_nothing_left(0);
    }
}

/// VPP ends in the middle, at each message of a DEL.
#[test]
fn vpp_may_end_at_any_moment() {
    if !can_run("del::vpp_may_end_at_any_moment") {
        return;
    }
    let mut node = VppNode::miniature();
    let config = node.config("veth");
    let pod = node.pod();
    node.add(&pod, &config);
    node.vpp().take_journal();
    node.del(&pod, &config);
    let messages = node.vpp().take_journal().len();
    assert!(messages > 5, "{messages}");
    for n in 0..messages - 1 {
        for trouble in [Trouble::DieBefore, Trouble::DieAfter, Trouble::DieAnswering] {
            let (pod, other) = (node.pod(), node.pod());
            node.add(&pod, &config);
            node.vpp().plan_after(None, n, 1, trouble);
            node.del(&pod, &config);
            assert!(!node.vpp().is_alive(), "at message {n}");
            assert_eq!((node.held().len(), node.devices(&node.tag_prefix()).len()), (0, 0));
            node.vpp_mut().start_again();
            node.add(&other, &config);
            node.del(&other, &config);
            node.assert_nothing_left(0);
        }
    }
}

/// What VPP refuses is told, everything else is done, and the next DEL tries again.
#[test]
fn what_vpp_refuses_is_tried_again() {
    if !can_run("del::what_vpp_refuses_is_tried_again") {
        return;
    }
    let node = VppNode::miniature();
    let (pod, config) = (node.pod(), node.config("veth"));
    node.add(&pod, &config);
    node.vpp().plan("af_packet_delete", Trouble::Refuse(-1));
    let (code, text) = node.call("DEL", &pod, &config).run().error();
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("VPP -1: unspecified error"), "{text}");
    assert_eq!((node.held().len(), node.records().len()), (0, 1));
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

#[test]
fn nothing_is_made_by_a_del_of_nothing() {
    if !can_run("del::nothing_is_made_by_a_del_of_nothing") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    node.del(&pod, &config);
    assert!(!node.run_dir().join("vpp").exists());
    let wrong = json!({
        "cniVersion": "1.0.0", "name": node.network(), "type": "vpp", "kind": 5, "mtu": "x",
        "timeout": [], "socket": node.socket(),
    });
    node.call("DEL", &pod, &wrong).run().ok();
}

/// The plugin is killed at each message that VPP gets: the next DEL leaves nothing.
#[test]
fn a_killed_del_is_finished_by_the_next() {
    if !can_run("del::a_killed_del_is_finished_by_the_next") {
        return;
    }
    let node = VppNode::miniature();
    for kind in ["veth", "tap", "memif"] {
        let (pod, config) = (node.pod(), node.config(kind));
        node.add(&pod, &config);
        node.vpp().take_journal();
        node.del(&pod, &config);
        let messages = node.vpp().take_journal();
        for (n, message) in messages.iter().enumerate().skip(1) {
            let n = n - 1;
            node.add(&pod, &config);
            node.vpp().take_journal();
            node.vpp().plan_after(None, n, 1000, Trouble::Ignore);
            let mut call = Owned(node.call("DEL", &pod, &config).spawn());
            let pid = call.0.id();
            // One that was without the processor for too long has given up before.
            support::wait_until("the message comes", || {
                node.vpp().look_at_journal(|journal| journal.len() > n + 1) || is_over(pid)
            });
            call.0.kill().unwrap();
            call.0.wait().unwrap();
            node.vpp().settle();
            node.vpp().forget_plans();
            node.del(&pod, &config);
            assert!(pod.namespace.link("eth0").is_none(), "{kind}, {}", message);
            node.assert_nothing_left(0);
        }
    }
}
