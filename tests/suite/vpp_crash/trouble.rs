//! VPP dies in the middle of a call, says nothing, or is not there.

use std::time::Duration;

use serde_json::Value;
use support::vpp::{Setup, Trouble};
use support::{Outcome, VppNode, VppPod, is_root, skip_unless};

use super::{assert_nothing_left, config};

/// What a call that may take a few seconds ends in, on a machine that is busy with other things, or stands still for a
/// while: undoing has 10 s of its own.
const BOUND: Duration = Duration::from_secs(100);
/// For a call that is to be given up.
const HASTY: &str = "3s";
/// For a call that does without VPP what it can: a third of it is for VPP.
const SHORT: &str = "9s";

struct Scene {
    node: VppNode,
    pod: VppPod,
    config: Value,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        let name = format!("vpp_crash::{test}");
        if !skip_unless(&name, &[(is_root(), "root")]) {
            return None;
        }
        let node = VppNode::with(Setup::default());
        let pod = node.pod();
        let config = config(&node);
        Some(Self { node, pod, config })
    }

    fn call(&self, command: &str) -> Outcome {
        self.call_within(command, "60s")
    }

    fn call_within(&self, command: &str, timeout: &str) -> Outcome {
        let mut config = self.config.clone();
        config["timeout"] = timeout.into();
        let outcome = self.node.call(command, &self.pod, &config).run();
        assert!(outcome.took < BOUND, "{command} took {:?}", outcome.took);
        outcome
    }

    /// The number of messages that a call sends to VPP.
    fn messages(&self, command: &str) -> usize {
        self.node.vpp().take_journal();
        self.call(command).ok();
        let journal = self.node.vpp().take_journal();
        journal.iter().filter(|name| *name != "sockclnt_create").count()
    }

    /// What an ADD and a DEL send, when the node's part is done.
    fn lengths(&self) -> (usize, usize) {
        self.call("ADD").ok();
        self.call("DEL").ok();
        (self.messages("ADD"), self.messages("DEL"))
    }

    /// A DEL when VPP is well again leaves nothing.
    fn ends_well(&self) {
        self.node.vpp().settle();
        self.call("DEL").ok();
        assert_nothing_left(&self.node, &self.pod);
    }
}

/// An ADD that fails because of VPP, or just not.
#[track_caller]
fn transient(outcome: &Outcome, what: &str) {
    if outcome.exit == Some(0) {
        return;
    }
    let (code, text) = outcome.error();
    assert_eq!(code, 11, "{what}: {text}");
}

#[test]
fn vpp_dies_in_the_middle_of_add() {
    let Some(mut scene) = Scene::new("vpp_dies_in_the_middle_of_add") else { return };
    let (messages, _) = scene.lengths();
    for n in 0..messages {
        let kind = [Trouble::DieBefore, Trouble::DieAfter, Trouble::DieAnswering][n % 3].clone();
        scene.node.vpp().plan_after(None, n, 1, kind.clone());
        let outcome = scene.call("ADD");
        assert_ne!(outcome.exit, Some(0), "VPP was to die at message {n}");
        transient(&outcome, &format!("{kind:?} at message {n}"));
        // The runtime's DEL, with nobody there.
        scene.call("DEL").ok();
        scene.node.vpp_mut().start_again();
        scene.ends_well();
        scene.call("ADD").ok();
        scene.ends_well();
    }
}

#[test]
fn vpp_dies_in_the_middle_of_del() {
    let Some(mut scene) = Scene::new("vpp_dies_in_the_middle_of_del") else { return };
    let (_, messages) = scene.lengths();
    for n in 0..messages {
        scene.call("ADD").ok();
        let kind = [Trouble::DieBefore, Trouble::DieAfter, Trouble::DieAnswering][n % 3].clone();
        scene.node.vpp().plan_after(None, n, 1, kind);
        // What VPP had has died with it: nothing is wrong.
        scene.call("DEL").ok();
        assert!(!scene.node.vpp().is_alive(), "VPP was to die at message {n}");
        scene.node.vpp_mut().start_again();
        scene.ends_well();
    }
}

/// One message in some is never answered, and VPP goes on.
#[test]
fn vpp_ignores_a_message_of_add() {
    let Some(scene) = Scene::new("vpp_ignores_a_message_of_add") else { return };
    ignoring(&scene, 9);
}

#[test]
#[ignore = "takes minutes"]
fn vpp_ignores_each_message_of_add() {
    let Some(scene) = Scene::new("vpp_ignores_each_message_of_add") else { return };
    ignoring(&scene, 1);
}

fn ignoring(scene: &Scene, step: usize) {
    let (messages, _) = scene.lengths();
    for n in (0..messages).step_by(step) {
        scene.node.vpp().plan_after(None, n, 1, Trouble::Ignore);
        let outcome = scene.call_within("ADD", HASTY);
        if outcome.exit != Some(0) {
            let (code, text) = outcome.error();
            // Where VPP has answered what came behind it, it has thrown the message away, and will again.
            let expected = if text.contains("has ignored") { 5 } else { 11 };
            assert_eq!(code, expected, "message {n} ignored: {text}");
        }
        // A failed ADD has taken back what it can reach.
        scene.ends_well();
    }
}

/// It hangs from before the call on, and what it was asked it does when it goes on.
#[test]
fn vpp_hangs() {
    let Some(scene) = Scene::new("vpp_hangs") else { return };
    scene.lengths();
    scene.node.vpp().hang();
    let outcome = scene.call_within("ADD", HASTY);
    let (code, text) = outcome.error();
    assert_eq!(code, 11, "{text}");
    scene.call_within("DEL", SHORT).ok();
    scene.node.vpp().go_on();
    scene.ends_well();
    // With an attachment that is there.
    scene.call("ADD").ok();
    scene.node.vpp().hang();
    scene.call_within("DEL", SHORT).ok();
    let (code, text) = scene.call_within("STATUS", HASTY).error();
    assert_eq!(code, 50, "{text}");
    scene.node.vpp().go_on();
    scene.ends_well();
}

/// The interface is made late: by a VPP that was busy for longer than the call may take.
#[test]
fn vpp_makes_the_interface_when_nobody_waits() {
    let Some(scene) = Scene::new("vpp_makes_the_interface_when_nobody_waits") else { return };
    scene.lengths();
    scene.node.vpp().plan("af_packet_create_v3", Trouble::Busy(Duration::from_secs(8)));
    let outcome = scene.call_within("ADD", HASTY);
    let (code, text) = outcome.error();
    assert_eq!(code, 11, "{text}");
    scene.call_within("DEL", SHORT).ok();
    scene.ends_well();
}

#[test]
fn the_socket_is_gone() {
    let Some(mut scene) = Scene::new("the_socket_is_gone") else { return };
    scene.lengths();
    let socket = scene.config["socket"].clone();
    scene.config["socket"] = scene.node.scratch().path().join("none.sock").to_string_lossy().into();
    let (code, text) = scene.call("ADD").error();
    assert_eq!(code, 11, "{text}");
    assert!(text.contains("none.sock"), "{text}");
    scene.call("DEL").ok();
    assert_nothing_left(&scene.node, &scene.pod);
    // Nobody listens behind the file.
    scene.config["socket"] = socket;
    scene.node.vpp_mut().kill();
    let (code, text) = scene.call("ADD").error();
    assert_eq!(code, 11, "{text}");
    scene.call("DEL").ok();
    let (code, text) = scene.call("STATUS").error();
    assert_eq!(code, 50, "{text}");
    scene.node.vpp_mut().start_again();
    scene.ends_well();
    // VPP is restarted between ADD and DEL.
    scene.call("ADD").ok();
    scene.node.vpp_mut().restart();
    scene.ends_well();
}
