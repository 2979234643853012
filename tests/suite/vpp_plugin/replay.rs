//! VPP restarts, and attachments are put back without their pods.

use std::time::Duration;

use support::{VppNode, VppPod};
use vpp_plugin::replay::{PodState, Report};

use super::{can_run, kinds};

fn states(report: &Report) -> Vec<&PodState> {
    report.pods.iter().map(|pod| &pod.state).collect()
}

/// The strays of this node's network: a real VPP may have others.
fn strays(node: &VppNode, report: &Report) -> Vec<bool> {
    let ours = report.strays.iter().filter(|it| it.tag.to_string().starts_with(&node.tag_prefix()));
    ours.map(|stray| stray.removed).collect()
}

#[test]
fn every_pod_comes_back_untouched() {
    if !can_run("replay::every_pod_comes_back_untouched") {
        return;
    }
    let mut node = VppNode::restartable();
    for kind in kinds(&node) {
        let config = node.config(kind);
        let pods = [node.pod(), node.pod(), node.pod()];
        let results = pods.each_ref().map(|pod| node.add(pod, &config));
        assert_eq!(states(&node.inspect()), [&PodState::Fine; 3]);
        assert_eq!(states(&node.replay()), [&PodState::Fine; 3]);
        let before = pods.each_ref().map(VppPod::side);
        node.restart_vpp();
        let report = node.inspect();
        assert!(states(&report).iter().all(|it| matches!(it, PodState::Differs(_))), "{report:?}");
        let report = node.replay();
        assert!(states(&report).iter().all(|it| matches!(it, PodState::Repaired(_))), "{report:?}");
        assert_eq!(pods.each_ref().map(VppPod::side), before, "{kind}: the pods have not noticed");
        assert_eq!(states(&node.inspect()), [&PodState::Fine; 3], "{kind}");
        for (pod, result) in pods.iter().zip(&results) {
            node.check(pod, &config, result).ok();
            node.del(pod, &config);
        }
        node.assert_nothing_left(0);
    }
}

#[test]
fn what_differs_is_repaired() {
    if !can_run("replay::what_differs_is_repaired") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    let mut client = node.client();
    let index = node.interfaces(&node.tag_prefix())[0].sw_if_index;
    client.set_up(index, false).unwrap();
    client.set_mtu(index, 1234).unwrap();
    let differs = vec![
        "VPP's interface has MTU 1234, not 1500".to_owned(),
        "VPP's interface is down".to_owned(),
    ];
    assert_eq!(states(&node.inspect()), [&PodState::Differs(differs.clone())]);
    assert_eq!(states(&node.replay()), [&PodState::Repaired(differs)]);
    node.check(&pod, &config, &result).ok();

    // The pod's side is told, and left alone.
    pod.namespace.run(&["ip", "route", "delete", "default"]);
    let report = node.replay();
    let PodState::Differs(texts) = states(&report)[0] else { panic!("{report:?}") };
    assert!(texts[0].contains("eth0 has no route to 0.0.0.0/0"), "{texts:?}");
    node.add(&pod, &config);

    // Its interface is made again, with all that is on it.
    pod.namespace.run(&["ip", "link", "delete", "eth0"]);
    let report = node.replay();
    assert!(matches!(states(&report)[..], [PodState::Repaired(_)]), "{report:?}");
    node.check(&pod, &config, &result).ok();
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

#[test]
fn pods_that_are_gone_and_records_that_are_broken_are_told() {
    if !can_run("replay::pods_that_are_gone_and_records_that_are_broken_are_told") {
        return;
    }
    let node = VppNode::new();
    let (one, two, config) = (node.pod(), node.pod(), node.config("veth"));
    node.add(&one, &config);
    one.namespace.delete();
    assert_eq!(states(&node.replay()), [&PodState::NamespaceGone]);
    node.del(&one, &config);
    node.add(&two, &config);
    let record = node.records().pop().unwrap();
    let text = std::fs::read(&record).unwrap();
    std::fs::write(&record, "{").unwrap();
    assert!(matches!(states(&node.replay())[..], [PodState::Failed(_)]));
    std::fs::write(&record, text).unwrap();
    assert_eq!(states(&node.replay()), [&PodState::Fine]);
    node.del(&two, &config);
    node.assert_nothing_left(0);
}

/// What carries a pod is never removed, what is dead is.
#[test]
fn strays_are_told_and_dead_ones_removed() {
    if !can_run("replay::strays_are_told_and_dead_ones_removed") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    node.add(&pod, &config);
    for record in node.records() {
        std::fs::remove_file(record).unwrap();
    }
    assert_eq!(strays(&node, &node.inspect()), [false]);
    assert_eq!(strays(&node, &node.replay()), [false]);
    pod.namespace.run(&["ip", "link", "delete", "eth0"]);
    assert_eq!(strays(&node, &node.inspect()), [false]);
    assert_eq!(strays(&node, &node.replay()), [true]);
    assert_eq!(strays(&node, &node.replay()), [false; 0]);
    assert_eq!(node.pod_routes(0), []);
    node.call("DEL", &pod, &config).run().ok();
    node.assert_nothing_left(0);
}

/// A replay that meets an ADD waits for it, and then finds nothing to do.
#[test]
fn what_a_call_makes_meanwhile_is_left_alone() {
    if !can_run("replay::what_a_call_makes_meanwhile_is_left_alone") {
        return;
    }
    let node = VppNode::miniature();
    let config = node.config("veth");
    let pods = [node.pod(), node.pod(), node.pod()];
    // Each ADD has written what it is about to make, and takes its time.
    let slow = support::vpp::Trouble::Busy(Duration::from_millis(300));
    node.vpp().plan_after(Some("af_packet_create_v3"), 0, 3, slow);
    std::thread::scope(|scope| {
        let adds = pods.each_ref().map(|pod| scope.spawn(|| node.add(pod, &config)));
        while adds.iter().any(|add| !add.is_finished()) {
            let report = node.replay();
            let touched =
                |it: &&PodState| matches!(it, PodState::Repaired(_) | PodState::Failed(_));
            assert!(!states(&report).iter().any(touched), "{report:?}");
        }
    });
    assert_eq!(states(&node.replay()), [&PodState::Fine; 3]);
    pods.iter().for_each(|pod| node.del(pod, &config));
    node.assert_nothing_left(0);
}
