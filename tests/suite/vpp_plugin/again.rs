//! ADD of what is there already, whole or in parts.

use serde_json::{Value, json};
use support::vpp::{Devices, Setup, Trouble, Vpp};
use support::{Owned, VppNode, is_over};

use super::{addresses, can_run, kinds};

#[test]
fn a_second_add_finds_the_first() {
    if !can_run("again::a_second_add_finds_the_first") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        for ipam in ["host-local", "node-local"] {
            let (pod, mut config) = (node.pod(), node.config(kind));
            config["ipam"]["type"] = json!(ipam);
            if ipam == "node-local" {
                config["ipam"]["index"] = json!(3);
                config["ipam"]["database"] = json!(node.scratch().path().join("plat.db"));
            }
            let first = node.add(&pod, &config);
            let before = node.interfaces(&node.tag_prefix());
            let second = node.add(&pod, &config);
            assert_eq!(second, first, "{kind} {ipam}");
            assert_eq!(node.interfaces(&node.tag_prefix()), before);
            node.check(&pod, &config, &first).ok();
            node.del(&pod, &config);
            node.assert_nothing_left(0);
        }
    }
}

/// A second ADD that fails does not take the first one away.
#[test]
fn a_second_add_that_fails_changes_nothing() {
    if !can_run("again::a_second_add_that_fails_changes_nothing") {
        return;
    }
    let node = VppNode::miniature();
    let (pod, config) = (node.pod(), node.config("veth"));
    let result = node.add(&pod, &config);
    // The first two are for the gateway.
    node.vpp().plan_after(Some("sw_interface_get_table"), 2, 1, Trouble::Refuse(-1));
    assert_eq!(node.call("ADD", &pod, &config).run().error().0, 5);
    node.check(&pod, &config, &result).ok();
    node.del(&pod, &config);
    node.assert_nothing_left(0);
}

/// What somebody has taken away, a second ADD makes again.
#[test]
fn what_is_missing_is_made_again() {
    if !can_run("again::what_is_missing_is_made_again") {
        return;
    }
    let node = VppNode::new();
    for kind in kinds(&node) {
        let (pod, config) = (node.pod(), node.config(kind));
        let result = node.add(&pod, &config);
        let mut client = node.client();
        let find = || node.interfaces(&node.tag_prefix()).pop().expect("an interface");
        let index = find().sw_if_index;
        let gateway = node.interfaces("plat/gateway/0").pop().expect("a gateway").sw_if_index;
        client.set_up(index, false).unwrap();
        client.set_mtu(index, 1300).unwrap();
        client.set_unnumbered(index, gateway, false).unwrap();
        assert!(node.check(&pod, &config, &result).error().1.contains("is down"));
        assert_eq!(node.add(&pod, &config), result);
        node.check(&pod, &config, &result).ok();
        // The whole interface.
        let name = find().interface_name.to_string();
        match kind {
            "veth" => client.delete_af_packet(name.strip_prefix("host-").unwrap()).map(|_| ()),
            "tap" => client.delete_tap(index),
            _ => client.delete_memif(index),
        }
        .unwrap();
        assert_eq!(node.add(&pod, &config), result, "{kind}");
        node.check(&pod, &config, &result).ok();
        // The pod's end.
        if kind != "memif" {
            pod.namespace.run(&["ip", "link", "delete", "eth0"]);
            assert_eq!(node.add(&pod, &config), result, "{kind}");
            node.check(&pod, &config, &result).ok();
        }
        node.del(&pod, &config);
        node.assert_nothing_left(0);
    }
}

/// The plugin is killed at each message that VPP gets: the DEL that follows leaves nothing, and so does
/// the next ADD.
#[test]
fn a_killed_add_is_finished_or_removed() {
    if !can_run("again::a_killed_add_is_finished_or_removed") {
        return;
    }
    let node = VppNode::miniature();
    for kind in ["veth", "tap", "memif"] {
        let config = node.config(kind);
        let pod = node.pod();
        node.add(&pod, &config);
        node.del(&pod, &config);
        node.vpp().take_journal();
        node.add(&pod, &config);
        let messages = node.vpp().take_journal();
        node.del(&pod, &config);
        for (n, message) in messages.iter().enumerate().skip(1) {
            let n = n - 1;
            let pod = node.pod();
            // Nobody answers from this message on.
            node.vpp().plan_after(None, n, 1000, Trouble::Ignore);
            let mut call = Owned(node.call("ADD", &pod, &config).spawn());
            let pid = call.0.id();
            // One that was without the processor for too long has given up before.
            support::wait_until("the message comes", || {
                node.vpp().look_at_journal(|journal| journal.len() > n + 1) || is_over(pid)
            });
            call.0.kill().unwrap();
            call.0.wait().unwrap();
            node.vpp().settle();
            node.vpp().forget_plans();
            node.vpp().take_journal();
            if n % 2 == 0 {
                node.del(&pod, &config);
            } else {
                let result = node.add(&pod, &config);
                assert_eq!(addresses(&result).len(), 2, "{kind}, killed at {}", message);
                node.check(&pod, &config, &result).ok();
                assert_eq!(node.interfaces(&node.tag_prefix()).len(), 1);
                node.del(&pod, &config);
            }
            node.assert_nothing_left(0);
            node.vpp().take_journal();
        }
    }
}

/// VPP has ended and come again: a second ADD makes its side again.
#[test]
fn an_add_after_a_restart_of_vpp() {
    if !can_run("again::an_add_after_a_restart_of_vpp") {
        return;
    }
    let mut node = VppNode::restartable();
    for kind in kinds(&node) {
        let (pod, config) = (node.pod(), node.config(kind));
        let result = node.add(&pod, &config);
        node.restart_vpp();
        assert_eq!(node.add(&pod, &config), result, "{kind}");
        assert_eq!(node.check(&pod, &config, &result).ok(), Value::Null);
        node.del(&pod, &config);
        node.assert_nothing_left(0);
    }
}

/// The configuration may have got another table meanwhile: nothing is left in the first one.
#[test]
fn another_table_is_changed_to() {
    if !can_run("again::another_table_is_changed_to") {
        return;
    }
    let node = VppNode::new();
    let (pod, mut config) = (node.pod(), node.config("veth"));
    config["ipam"]["type"] = json!("node-local");
    config["ipam"]["index"] = json!(3);
    config["ipam"]["database"] = json!(node.scratch().path().join("plat.db"));
    let first = node.add(&pod, &config);
    let table = 5000 + std::process::id() % 1000;
    config["table"] = json!(table);
    assert_eq!(node.add(&pod, &config), first);
    assert_eq!((node.pod_routes(0).len(), node.pod_routes(table).len()), (0, 2));
    node.check(&pod, &config, &first).ok();
    node.del(&pod, &config);
    node.assert_nothing_left(table);
}

/// Many pods at once, the first ones of the node: one gateway is made, and every pod is whole.
#[test]
fn many_at_once() {
    if !can_run("again::many_at_once") {
        return;
    }
    let node = VppNode::new();
    let config = node.config("veth");
    let pods: Vec<_> = (0..8).map(|_| node.pod()).collect();
    let results: Vec<Value> = std::thread::scope(|scope| {
        let adding: Vec<_> =
            pods.iter().map(|pod| scope.spawn(|| node.add(pod, &config))).collect();
        adding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(node.interfaces("plat/gateway/0").len(), 1);
    for (pod, result) in pods.iter().zip(&results) {
        node.check(pod, &config, result).ok();
    }
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| node.del(pod, &config));
        }
    });
    node.assert_nothing_left(0);
}

/// A configuration that names another VPP by now: the first one keeps nothing, also where it is away meanwhile.
#[test]
fn what_another_vpp_had_goes() {
    if !can_run("again::what_another_vpp_had_goes") {
        return;
    }
    let node = VppNode::miniature();
    let mut other = Vpp::start(Setup { devices: Devices::Real, ..Setup::default() });
    let (config, mut moved) = (node.config("veth"), node.config("veth"));
    moved["socket"] = json!(other.path());
    let attached = |vpp: &Vpp| {
        let is_ours = |tag: &str| tag.starts_with(&node.tag_prefix());
        vpp.look(|state| state.interfaces.values().filter(|it| is_ours(&it.tag)).count())
    };
    let pod = node.pod();
    let first = node.add(&pod, &config);
    assert_eq!((attached(node.vpp()), attached(&other)), (1, 0));
    assert_eq!(node.add(&pod, &moved), first, "the pod keeps what it has");
    assert_eq!((attached(node.vpp()), attached(&other)), (0, 1));
    node.check(&pod, &moved, &first).ok();
    assert_eq!(node.pod_routes(0), []);
    // And back, while the second one does not run.
    other.kill();
    let second = node.call("ADD", &pod, &config).run();
    assert!(second.stderr.contains("removed when it is met again"), "{}", second.stderr);
    second.ok();
    assert_eq!((attached(node.vpp()), node.records().len()), (1, 2), "one is pending");
    other.start_again();
    // Whoever meets it next removes what it has.
    let next = node.pod();
    node.add(&next, &moved);
    assert_eq!((attached(&other), node.records().len()), (1, 2));
    node.check(&pod, &config, &first).ok();
    node.del(&next, &moved);
    node.del(&pod, &config);
    assert_eq!(attached(&other), 0);
    assert_eq!(other.complaints(), [""; 0]);
    node.assert_nothing_left(0);
}
