//! What an operator asks of pods on VPP: `show`, `check`, `trace`. On a real VPP where `VPP_API_SOCK` names one.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Answer, VppNode, VppPod, binary, documented, is_root, program, skip_unless};

/// `plat vpp` on a node.
fn plat(node: &VppNode, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("plat"));
    command
        .arg("vpp")
        .args(arguments)
        .env("PLAT_RUN_DIR", node.run_dir())
        .env("PLAT_STATE_DIR", node.scratch().path().join("state"))
        .stdin(Stdio::null());
    command
}

fn run(node: &VppNode, arguments: &[&str]) -> Answer {
    Answer::of(&mut plat(node, arguments))
}

/// Attaches a pod that has a name.
fn attach(node: &VppNode, config: &Value, name: &str) -> (VppPod, Value) {
    let pod = node.pod();
    let arguments = format!("K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};IgnoreUnknown=1");
    let result = node.call("ADD", &pod, config).env("CNI_ARGS", arguments).run().ok();
    (pod, result)
}

/// The document of the one VPP that a node has.
fn document(node: &VppNode, arguments: &[&str]) -> Value {
    let answer = run(node, &[arguments, &["--json"]].concat());
    answer.document()["vpps"][0].clone()
}

/// The entry of a pod in a document.
#[track_caller]
fn entry<'d>(document: &'d Value, pod: &VppPod) -> &'d Value {
    let pods = document["pods"].as_array().expect("a list");
    let found = pods.iter().find(|entry| entry["container"] == pod.id.as_str());
    found.unwrap_or_else(|| panic!("{} is not among {pods:#?}", pod.id))
}

#[test]
fn attachments_are_shown_with_their_interfaces() {
    if !skip_unless("attachments_are_shown_with_their_interfaces", &[(is_root(), "root")]) {
        return;
    }
    let node = VppNode::new();
    let none = run(&node, &["show", "--socket", &node.socket().to_string_lossy()]);
    assert!(none.stdout.contains("no pod is attached"), "{} {}", none.stdout, none.stderr);
    let config = node.config("veth");
    let (one, result) = attach(&node, &config, "web-1");
    let (two, _) = attach(&node, &config, "web-2");
    let shown = document(&node, &["show"]);
    let entry = entry(&shown, &one);
    assert_eq!((&entry["state"], &entry["kind"]), (&"up".into(), &"veth".into()), "{shown:#}");
    assert_eq!((&entry["namespace"], &entry["pod"]), (&"shop".into(), &"web-1".into()));
    let address = result["ips"][0]["address"].as_str().expect("an address");
    let address = address.split('/').next().expect("an address");
    assert_eq!(entry["addresses"][0], address);
    assert!(entry["vpp_interface"].as_str().is_some_and(|name| name.starts_with("host-vpp")));
    let roles: Vec<&Value> =
        shown["interfaces"].as_array().expect("a list").iter().map(|one| &one["role"]).collect();
    assert!(roles.contains(&&json!("gateway")), "{roles:?}");
    let text = run(&node, &["show"]);
    assert!(text.stdout.contains("shop/web-1") && text.stdout.contains(address), "{}", text.stdout);
    let text = run(&node, &["show", "--pod", "shop/web-2"]).stdout;
    assert!(text.contains("web-2") && !text.contains("web-1"), "{text}");
    node.del(&one, &config);
    node.del(&two, &config);
    node.assert_nothing_left(0);
}

#[test]
fn after_a_restart_of_vpp_every_pod_is_put_back() {
    if !skip_unless("after_a_restart_of_vpp_every_pod_is_put_back", &[(is_root(), "root")]) {
        return;
    }
    let mut node = VppNode::restartable();
    let config = node.config("veth");
    let (one, result) = attach(&node, &config, "web-1");
    let (two, _) = attach(&node, &config, "web-2");
    let fine = run(&node, &["check"]);
    assert_eq!(fine.exit, Some(0), "{} {}", fine.stdout, fine.stderr);
    assert!(fine.stdout.contains("2 attachments: all is well"), "{}", fine.stdout);

    node.restart_vpp();
    let broken = document(&node, &["check"]);
    assert_eq!(entry(&broken, &one)["state"], "differs", "{broken:#}");
    assert_eq!(run(&node, &["check"]).exit, Some(2));
    assert_eq!(entry(&document(&node, &["show"]), &one)["state"], "missing");
    // Nobody can be asked here.
    let asked = run(&node, &["check", "--fix"]);
    assert_eq!(asked.exit, Some(3));
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(entry(&document(&node, &["check"]), &two)["state"], "differs", "nothing was done");

    let fixed = run(&node, &["check", "--fix", "--yes"]);
    assert_eq!(fixed.exit, Some(0), "{} {}", fixed.stdout, fixed.stderr);
    for name in ["shop/web-1", "shop/web-2"] {
        let line = fixed.stdout.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(line.starts_with("fixed"), "{}", fixed.stdout);
    }
    assert_eq!(run(&node, &["check"]).exit, Some(0));
    assert_eq!(entry(&document(&node, &["show"]), &two)["state"], "up");
    node.check(&one, &config, &result).ok();
    node.del(&one, &config);
    node.del(&two, &config);
    node.assert_nothing_left(0);
}

/// Somebody has deleted a route, taken an interface down: that is told, and put right.
#[test]
fn what_differs_is_told_and_repaired() {
    if !skip_unless("what_differs_is_told_and_repaired", &[(is_root(), "root")]) {
        return;
    }
    let node = VppNode::new();
    let config = node.config("veth");
    let (pod, _) = attach(&node, &config, "web-1");
    let interface = node.interfaces(&node.tag_prefix()).swap_remove(0);
    node.client().set_up(interface.sw_if_index, false).expect("VPP does");
    assert_eq!(entry(&document(&node, &["show"]), &pod)["state"], "down");
    let told = document(&node, &["check"]);
    let what = entry(&told, &pod)["what"].to_string();
    assert!(what.contains("down"), "{what}");
    let traced = run(&node, &["trace", "web-1", "--time", "0s"]);
    assert_eq!(traced.exit, Some(2), "{}", traced.stdout);
    assert!(traced.stdout.contains("FAIL"), "{}", traced.stdout);
    let fixed = document(&node, &["check", "--fix", "--yes"]);
    assert_eq!(entry(&fixed, &pod)["state"], "repaired", "{fixed:#}");
    let traced = run(&node, &["trace", "web-1", "--time", "0s"]);
    assert_eq!(traced.exit, Some(0), "{}", traced.stdout);
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

#[test]
fn a_vpp_that_is_away_is_told_with_its_pods() {
    if !skip_unless("a_vpp_that_is_away_is_told_with_its_pods", &[(is_root(), "root")]) {
        return;
    }
    let mut node = VppNode::miniature();
    let config = node.config("veth");
    let (pod, _) = attach(&node, &config, "web-1");
    node.vpp_mut().kill();
    for command in ["show", "check"] {
        let answer = run(&node, &[command]);
        assert_eq!(answer.exit, Some(2), "{command}: {}", answer.stdout);
        assert!(answer.stdout.contains("cannot connect to VPP"), "{}", answer.stdout);
    }
    assert_eq!(entry(&document(&node, &["show"]), &pod)["state"], "unknown");
    let answer = run(&node, &["trace", "web-1"]);
    assert_eq!((answer.exit, answer.stdout.as_str()), (Some(3), ""), "{}", answer.stderr);
    let answer = run(&node, &["trace", "nobody"]);
    assert!(answer.stderr.contains("no attachment of a pod nobody"), "{}", answer.stderr);
    node.vpp_mut().start_again();
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

/// An interface that nobody owns is found; a file in place of a record is told.
#[test]
fn what_nobody_owns_is_found() {
    if !skip_unless("what_nobody_owns_is_found", &[(is_root(), "root")]) {
        return;
    }
    let node = VppNode::miniature();
    let config = node.config("veth");
    let (pod, _) = attach(&node, &config, "web-1");
    let mut client = node.client();
    let orphan = client.create_loopback(None, None).expect("VPP does");
    client.set_tag(orphan, "plat/00000001/0000000000000002").expect("VPP does");
    let shown = run(&node, &["show"]);
    assert_eq!(shown.exit, Some(1), "{}", shown.stdout);
    assert!(shown.stdout.contains("1 interface of ours"), "{}", shown.stdout);
    let checked = document(&node, &["check"]);
    assert_eq!(checked["strays"][0]["tag"], "plat/00000001/0000000000000002", "{checked:#}");
    client.call(&vpp_api::msg::DeleteLoopback { sw_if_index: orphan }).expect("VPP does");
    let record = node.records().swap_remove(0);
    let whole = std::fs::read(&record).expect("a record");
    std::fs::write(&record, "{").expect("a file can be written");
    let checked = run(&node, &["check"]);
    assert_eq!(checked.exit, Some(2), "{}", checked.stdout);
    assert!(checked.stdout.contains("is no record"), "{}", checked.stdout);
    std::fs::write(&record, whole).expect("a file can be written");
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

/// On a real VPP: packets of the pod are followed, and why they go nowhere is told.
#[test]
fn packets_are_followed() {
    let real = std::env::var_os("VPP_API_SOCK").is_some();
    let needs = [(is_root(), "root"), (real, "a real VPP at VPP_API_SOCK")];
    // Packets are not part of the miniature: without a real VPP there is nothing to see here.
    if !needs.iter().all(|(met, _)| *met) && std::env::var_os("PLAT_TESTS_SKIP_NOTHING").is_some() {
        return;
    }
    if !skip_unless("packets_are_followed", &needs) {
        return;
    }
    let node = VppNode::new();
    let config = node.config("veth");
    let (pod, result) = attach(&node, &config, "web-1");
    let traced = plat(
        &node,
        &["trace", "web-1", "--to", "198.18.0.9", "--time", "30s", "--count", "1", "--json"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .expect("plat can be started");
    let mut sending = Command::new(program("nsenter"))
        .arg(format!("--net={}", pod.namespace.path().display()))
        .args(["bash", "-c", "exec 3<>/dev/tcp/198.18.0.9/80"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash can be started");
    let traced = Answer::from(traced.wait_with_output().expect("plat ends"));
    let _ = sending.kill();
    let _ = sending.wait();
    documented(["plat", "vpp", "trace", "--json"], &traced.stdout);
    let document = traced.document();
    let packet = &document["packets"][0];
    assert_eq!(packet["dropped"], true, "{document:#}");
    assert!(packet["end"].as_str().is_some_and(|end| end.contains("no route")), "{packet:#}");
    let title = packet["packet"].as_str().expect("a text");
    let own = result["ips"][0]["address"].as_str().and_then(|ip| ip.split('/').next());
    assert!(title.contains(own.expect("an address")) && title.contains("SYN"), "{title}");
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}
