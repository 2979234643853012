//! An ADD that fails takes back what it has made.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;
use support::VppNode;
use support::vpp::Trouble;

use super::can_run;

/// What VPP may refuse without harm: nothing of an ADD.
fn is_refusable(message: &str) -> bool {
    !message.ends_with("_dump") && message != "control_ping" && message != "sockclnt_create"
}

/// VPP refuses each message in turn; it ends before, after and in the middle of each.
#[test]
fn vpp_may_fail_at_each_message() {
    if !can_run("rollback::vpp_may_fail_at_each_message") {
        return;
    }
    let mut node = VppNode::miniature();
    for kind in ["veth", "tap", "memif"] {
        let mut config = node.config(kind);
        config["table"] = json!(7);
        let pod = node.pod();
        // The node's part is there then.
        node.add(&pod, &config);
        node.del(&pod, &config);
        node.vpp().take_journal();
        node.add(&pod, &config);
        let journal = node.vpp().take_journal();
        node.del(&pod, &config);
        assert!(journal.len() > 10, "{journal:?}");
        for (n, message) in journal.iter().enumerate().skip(1) {
            let pod = node.pod();
            let refused = is_refusable(message).then_some(Trouble::Refuse(-1));
            for trouble in refused.into_iter().chain([Trouble::DieBefore, Trouble::DieAfter]) {
                node.vpp().plan_after(None, n - 1, 1, trouble.clone());
                let (code, text) = node.call("ADD", &pod, &config).run().error();
                let context = format!("{kind}, {message}, {trouble:?}: {text}");
                let died = !node.vpp().is_alive();
                // A gateway that is in another table than it seems to be is told as that.
                let codes: &[u64] = if died { &[11] } else { &[5, 7] };
                assert!(codes.contains(&code), "{code}: {context}");
                assert_eq!(node.held(), [""; 0], "{context}");
                assert_eq!(node.devices(&node.tag_prefix()), [""; 0], "{context}");
                assert!(pod.namespace.link("eth0").is_none(), "{context}");
                if died {
                    node.vpp_mut().start_again();
                    // As the runtime does.
                    node.del(&pod, &config);
                }
                node.assert_nothing_left(7);
                if died {
                    // The node's part again, so that the next message is the same.
                    node.add(&pod, &config);
                    node.del(&pod, &config);
                }
            }
        }
    }
}

/// A program in the place of the IPAM plugin, and the value of CNI_PATH with it.
fn ipam(node: &VppNode, script: &str) -> String {
    let path: PathBuf = node.scratch().write("plugins/odd-ipam", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.parent().unwrap().display().to_string()
}

#[test]
fn the_ipam_plugin_may_fail() {
    if !can_run("rollback::the_ipam_plugin_may_fail") {
        return;
    }
    let node = VppNode::new();
    let (pod, mut config) = (node.pod(), node.config("veth"));
    config["ipam"] = json!({"type": "odd-ipam"});
    let deleted = node.scratch().path().join("deleted");
    for (add, code, has_del) in [
        (r#"echo '{"cniVersion":"1.1.0","code":11,"msg":"no addresses"}'; exit 1"#, 11, false),
        ("exit 3", 999, false),
        ("echo nonsense", 6, false),
        (r#"echo '{"ips": 5}'"#, 6, true),
        (r#"echo '{"cniVersion":"1.1.0","ips":[]}'"#, 7, true),
        (r#"echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.5/24"}]}'"#, 7, true),
        (r#"echo '{"ips":[{"address":"10.0.0.5/24","gateway":"fd00::1"}]}'"#, 6, true),
    ] {
        let _ = std::fs::remove_file(&deleted);
        let script = format!(
            "case $CNI_COMMAND in ADD) cat >/dev/null; {add};; DEL) touch {};; esac",
            deleted.display()
        );
        let path = ipam(&node, &script);
        let (got, text) = node.call("ADD", &pod, &config).env("CNI_PATH", &path).run().error();
        assert_eq!(got, code, "{add}: {text}");
        assert_eq!(deleted.exists(), has_del, "{add}: the addresses are freed");
        node.assert_nothing_left(0);
    }
    let (code, text) = node.call("ADD", &pod, &config).env("CNI_PATH", "/nowhere").run().error();
    assert_eq!(code, 7, "{text}");
    let path = ipam(&node, "sleep 60");
    config["timeout"] = json!("1s");
    let (code, text) = node.call("ADD", &pod, &config).env("CNI_PATH", &path).run().error();
    assert_eq!(code, 11, "{text}");
    node.assert_nothing_left(0);
}

/// VPP that is away is told before anything is made.
#[test]
fn nothing_is_made_without_vpp() {
    if !can_run("rollback::nothing_is_made_without_vpp") {
        return;
    }
    let mut node = VppNode::miniature();
    let (pod, mut config) = (node.pod(), node.config("veth"));
    config["timeout"] = json!("1s");
    node.vpp().hang();
    let (code, text) = node.call("ADD", &pod, &config).run().error();
    assert_eq!(code, 11, "{text}");
    node.vpp().go_on();
    node.vpp_mut().kill();
    let (code, text) = node.call("ADD", &pod, &config).run().error();
    assert_eq!(code, 11, "{text}");
    std::fs::remove_file(node.socket()).unwrap();
    let (code, text) = node.call("ADD", &pod, &config).run().error();
    assert_eq!(code, 11, "{text}");
    assert_eq!(node.held(), [""; 0]);
    node.vpp_mut().start_again();
    node.assert_nothing_left(0);
}

/// Nobody reads the answer: the ADD is undone.
#[test]
fn an_answer_that_nobody_reads_is_taken_back() {
    if !can_run("rollback::an_answer_that_nobody_reads_is_taken_back") {
        return;
    }
    let node = VppNode::new();
    let (pod, config) = (node.pod(), node.config("veth"));
    let mut child = node.call("ADD", &pod, &config).spawn();
    drop(child.stdout.take());
    assert_ne!(child.wait().unwrap().code(), Some(0));
    assert!(pod.namespace.link("eth0").is_none());
    node.assert_nothing_left(0);
}
