//! How VPP looks for what a pod sends, as the configuration says it.

use serde_json::json;
use support::VppNode;
use support::vpp::Trouble;

use super::{can_run, kinds};

/// The request that sets it.
const MESSAGE: &str = "sw_interface_set_rx_mode";

/// How VPP receives what the node's pods send, each; the words are those of the configuration.
fn modes(node: &VppNode) -> Vec<String> {
    let interfaces = node.interfaces(&node.tag_prefix());
    let names = interfaces.iter().map(|it| it.interface_name.to_string());
    if node.is_miniature() {
        let word = |name: String| {
            node.vpp().look(|state| match state.named(&name).expect("it is there").1.rx_mode {
                1 => "polling".to_owned(),
                2 => "interrupt".to_owned(),
                3 => "adaptive".to_owned(),
                other => format!("mode {other}"),
            })
        };
        return names.map(word).collect();
    }
    let placed = node.client().cli("show interface rx-placement").expect("VPP answers");
    let word = |name: String| {
        let line = placed.lines().find(|line| line.contains(&format!(" {name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name}: {placed}"));
        line.split(['(', ')']).nth(1).expect("a mode").to_owned()
    };
    names.map(word).collect()
}

/// It is set with the other requests for the interface, and holds.
#[test]
fn a_mode_is_set_and_holds() {
    if !can_run("rx_mode::a_mode_is_set_and_holds") {
        return;
    }
    let mut node = VppNode::restartable();
    for kind in kinds(&node).into_iter().filter(|kind| *kind != "memif") {
        let all: &[&str] = match kind {
            "tap" => &["polling", "interrupt", "adaptive"],
            _ => &["polling", "interrupt"],
        };
        for mode in all {
            let mut config = node.config(kind);
            config["rxMode"] = json!(mode);
            // Two: a replay makes several by another way than one.
            let pods = [node.pod(), node.pod()];
            let results = pods.each_ref().map(|pod| node.add(pod, &config));
            assert_eq!(modes(&node), [*mode; 2], "{kind}");
            // Somebody has changed it by hand: a second ADD says it again.
            set_by_hand(&node, if *mode == "polling" { 2 } else { 1 });
            assert_ne!(modes(&node), [*mode; 2], "{kind}");
            for (pod, result) in pods.iter().zip(&results) {
                assert_eq!(node.add(pod, &config), *result, "{kind}");
                node.check(pod, &config, result).ok();
            }
            assert_eq!(modes(&node), [*mode; 2], "{kind}");
            // What VPP has lost is put back with it: of all pods, and of one.
            node.restart_vpp();
            node.replay();
            assert_eq!(modes(&node), [*mode; 2], "{kind}");
            pods[0].namespace.run(&["ip", "link", "delete", "eth0"]);
            node.replay();
            assert_eq!(modes(&node), [*mode; 2], "{kind}");
            pods.iter().for_each(|pod| node.del(pod, &config));
            node.assert_nothing_left(0);
        }
    }
}

/// Sets the mode of every interface of the node's pods.
fn set_by_hand(node: &VppNode, mode: u32) {
    use vpp_api::{msg::SwInterfaceSetRxMode, types::RxMode};
    let mut client = node.client();
    for interface in node.interfaces(&node.tag_prefix()) {
        let sw_if_index = interface.sw_if_index;
        let (queue_id_valid, queue_id, mode) = (false, 0, RxMode(mode));
        let request = SwInterfaceSetRxMode { sw_if_index, queue_id_valid, queue_id, mode };
        client.call(&request).expect("VPP has the mode");
    }
}

/// One request, before the interface is up; without the key none, also where a record is older than the key.
#[test]
fn nothing_is_sent_without_the_key() {
    if !can_run("rx_mode::nothing_is_sent_without_the_key") {
        return;
    }
    let mut node = VppNode::miniature();
    for kind in ["veth", "tap", "memif"] {
        let (pod, config) = (node.pod(), node.config(kind));
        node.vpp().take_journal();
        node.add(&pod, &config);
        node.add(&pod, &config);
        node.restart_vpp();
        node.replay();
        let journal = node.vpp().take_journal();
        assert!(!journal.iter().any(|message| message == MESSAGE), "{kind}: {journal:?}");
        node.del(&pod, &config);
    }
    let (pod, mut config) = (node.pod(), node.config("veth"));
    config["rxMode"] = json!("polling");
    node.vpp().take_journal();
    node.add(&pod, &config);
    let journal = node.vpp().take_journal();
    let places: Vec<usize> =
        (0..journal.len()).filter(|place| journal[*place] == MESSAGE).collect();
    assert_eq!(places.len(), 1, "{journal:?}");
    assert_eq!(journal[places[0] + 1], "sw_interface_set_flags", "{journal:?}");
    // The record of a program that knew no modes.
    let path = node.records().pop().expect("a record");
    let text = std::fs::read_to_string(&path).expect("a record");
    let older = text.replace("  \"rxMode\": \"polling\",\n", "");
    assert_ne!(older, text);
    std::fs::write(&path, older).expect("a record can be written");
    node.restart_vpp();
    node.vpp().take_journal();
    node.replay();
    let journal = node.vpp().take_journal();
    assert!(journal.iter().any(|message| message == "af_packet_create_v3"), "{journal:?}");
    assert!(!journal.iter().any(|message| message == MESSAGE), "{journal:?}");
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

/// A VPP that refuses: the ADD fails and leaves nothing, a second one leaves what there was.
#[test]
fn a_mode_that_vpp_refuses_fails_the_add() {
    if !can_run("rx_mode::a_mode_that_vpp_refuses_fails_the_add") {
        return;
    }
    let node = VppNode::miniature();
    for kind in ["veth", "tap"] {
        let (pod, mut config) = (node.pod(), node.config(kind));
        config["rxMode"] = json!("interrupt");
        node.vpp().plan(MESSAGE, Trouble::Refuse(-9));
        let outcome = node.call("ADD", &pod, &config).run();
        assert!(outcome.stdout.contains(r#"another \"rxMode\", or none"#), "{}", outcome.stdout);
        let (code, text) = outcome.error();
        assert_eq!(code, 5, "{text}");
        assert!(
            text.contains("VPP cannot set rx-mode interrupt: sw_interface_set_rx_mode"),
            "{text}"
        );
        assert!(text.contains("VPP -9: not implemented"), "{text}");
        assert!(pod.namespace.link("eth0").is_none(), "{kind}");
        node.assert_nothing_left(0);
        let result = node.add(&pod, &config);
        node.vpp().plan(MESSAGE, Trouble::Refuse(-9));
        assert_eq!(node.call("ADD", &pod, &config).run().error().0, 5, "{kind}");
        node.check(&pod, &config, &result).ok();
        node.del(&pod, &config);
        node.assert_nothing_left(0);
    }
}

/// What cannot be is said before anything is made.
#[test]
fn a_mode_that_cannot_be_is_refused() {
    if !can_run("rx_mode::a_mode_that_cannot_be_is_refused") {
        return;
    }
    let node = VppNode::miniature();
    let pod = node.pod();
    for (kind, mode, expected) in [
        ("veth", json!("fast"), "expected: polling, interrupt or adaptive"),
        ("veth", json!(1), "expected a string, found 1"),
        ("veth", json!("adaptive"), "polling or interrupt, or adaptive with kind tap"),
        ("auto", json!("adaptive"), "which kind auto may make"),
        ("memif", json!("polling"), "no rxMode with kind memif"),
    ] {
        let mut config = node.config(kind);
        config["rxMode"] = mode;
        let outcome = node.call("ADD", &pod, &config).run();
        let (code, text) = outcome.error();
        assert_eq!(code, 7, "{text}");
        assert!(text.starts_with("rxMode: "), "{text}");
        assert!(outcome.stdout.contains(expected), "{}", outcome.stdout);
    }
    assert_eq!(node.vpp().take_journal(), [""; 0]);
    node.assert_nothing_left(0);
}
