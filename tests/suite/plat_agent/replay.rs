/*!
VPP, in miniature, is started anew, and plat-agent puts back what is attached to it: beside calls, when single pods
fail, when it is killed itself, and when VPP ends once more meanwhile.
*/

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::documented;
use support::vpp::Trouble;
use support::{
    Owned, PodNamespace, Random, VppNode, VppPod, binary, have, is_root, program, skip_unless,
    wait_until,
};
use vpp_plugin::replay::PodState;

/// The uplink that every VPP in miniature has.
const UPLINK: &str = "GigabitEthernet0/4/0";

fn can_run(test: &str) -> bool {
    let needs = [
        (is_root(), "root"),
        (have("ip"), "ip (Debian: iproute2)"),
        (have("nsenter"), "nsenter (util-linux)"),
    ];
    skip_unless(&format!("plat_agent::replay::{test}"), &needs)
}

/// An agent beside a node's VPP; killed when dropped.
struct Agent {
    process: Option<Owned>,
    place: PathBuf,
    run_dir: PathBuf,
    /// The namespace that it runs in, if it is not the tests' own.
    inside: Option<PathBuf>,
}

impl Agent {
    fn new(node: &VppNode, config: &Value) -> Self {
        let place = node.scratch().path().join("agent");
        fs::create_dir_all(&place).expect("a directory can be made");
        fs::write(place.join("agent.json"), config.to_string()).expect("a file can be written");
        Self { process: None, place, run_dir: node.run_dir(), inside: None }
    }

    /// One that keeps the pods of the node's VPP, and does nothing else.
    fn keeping(node: &VppNode) -> Self {
        let config = json!({"vpp": {"socket": node.socket()}, "routes": {"resync": "1s"}});
        Self::new(node, &config)
    }

    fn within(mut self, namespace: &PodNamespace) -> Self {
        self.inside = Some(namespace.path());
        self
    }

    fn command(&self, words: &[&str]) -> Command {
        let agent = binary("plat-agent");
        let mut command = match &self.inside {
            None => Command::new(&agent),
            Some(namespace) => {
                let mut command = Command::new(program("nsenter"));
                command.arg(format!("--net={}", namespace.display())).arg("--").arg(&agent);
                command
            }
        };
        command.arg("--config").arg(self.place.join("agent.json")).args(words);
        command.env("PLAT_RUN_DIR", &self.run_dir);
        command.env("PLAT_STATE_DIR", self.place.join("state"));
        command.env_remove("PLAT_ETCD_CONFIG").env_remove("NODE_INDEX").stdin(Stdio::null());
        command
    }

    /// Starts it as a daemon, which writes into an empty log.
    fn start(&mut self) {
        self.kill();
        let log = File::create(self.log_file()).expect("a log can be written");
        let child = self.command(&[]).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(Owned(child.expect("the agent can be started")));
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn log_file(&self) -> PathBuf {
        self.place.join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn says(&self, text: &str) {
        wait_until(&format!("the agent says {text:?}"), || self.log().contains(text));
    }

    /// Runs it to its end.
    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the agent can be started")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent said:\n{}", self.log());
        }
    }
}

fn waits_until_whole(node: &VppNode, pods: usize) {
    wait_until("every pod is back", || {
        let found = node.inspect().pods;
        found.len() == pods && found.iter().all(|pod| pod.state == PodState::Fine)
    });
}

#[test]
fn pods_of_every_kind_come_back_by_themselves() {
    if !can_run("pods_of_every_kind_come_back_by_themselves") {
        return;
    }
    let mut node = VppNode::miniature();
    let mut agent = Agent::keeping(&node);
    let attached: Vec<(VppPod, Value, Value)> = ["veth", "veth", "veth", "tap", "memif"]
        .into_iter()
        .map(|kind| {
            let (pod, config) = (node.pod(), node.config(kind));
            let result = node.add(&pod, &config);
            (pod, config, result)
        })
        .collect();
    agent.start();
    agent.says("5 attachments, 5 as they should be, within");
    let sides = || attached.iter().map(|(pod, ..)| pod.side()).collect::<Vec<_>>();
    let before = sides();
    for _ in 0..2 {
        agent.kill();
        agent.start();
        agent.says("5 attachments, 5 as they should be, within");
        node.restart_vpp();
        agent.says("was started anew");
        agent.says("5 attachments, 5 put back, within");
        for (pod, config, result) in &attached {
            agent.says(&format!(
                "{} eth0 ({}) is put back: VPP has no interface for it",
                pod.id,
                node.network()
            ));
            node.check(pod, config, result).ok();
        }
        assert_eq!(sides(), before, "the pods have not noticed");
    }
    // Who asks for one look gets it told.
    let told = agent.run(&["--dry-run", "--json"]);
    documented(["plat-agent", "--json"], &String::from_utf8_lossy(&told.stdout));
    let document: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let pods = document["vpps"][0]["pods"].as_array().expect("pods");
    assert_eq!(pods.len(), 5, "{document}");
    assert!(pods.iter().all(|pod| pod["status"] == "fine"), "{document}");
    assert_eq!(document["vpps"][0]["state"], "up", "{document}");
    for (pod, config, _) in &attached {
        node.del(pod, config);
    }
    agent.kill();
    node.assert_nothing_left(0);
}

#[test]
fn what_fails_is_told_and_tried_again() {
    if !can_run("what_fails_is_told_and_tried_again") {
        return;
    }
    let mut node = VppNode::miniature();
    let (config, mut agent) = (node.config("veth"), Agent::keeping(&node));
    let pods: Vec<VppPod> = (0..5).map(|_| node.pod()).collect();
    let results: Vec<Value> = pods.iter().map(|pod| node.add(pod, &config)).collect();
    agent.start();
    agent.says("5 attachments, 5 as they should be");
    // Two of five are refused at first; the others do not wait for them.
    node.vpp().plan_after(Some("af_packet_create_v3"), 1, 2, Trouble::Refuse(-12));
    node.restart_vpp();
    agent.says("5 attachments, 3 put back, 2 failed");
    agent.says("cannot be put back: af_packet_create: VPP -12");
    agent.says("5 attachments, 3 as they should be, 2 put back");
    agent.says("no more: VPP at");
    for (pod, result) in pods.iter().zip(&results) {
        node.check(pod, &config, result).ok();
    }
    // An interface that somebody deletes comes back, too.
    let interface = node.interfaces(&node.tag_prefix()).swap_remove(0);
    let device = interface.interface_name.to_string();
    node.client().delete_af_packet(device.trim_start_matches("host-")).expect("VPP deletes it");
    agent.says("5 attachments, 4 as they should be, 1 put back");
    pods.iter().for_each(|pod| node.del(pod, &config));
    agent.kill();
    node.assert_nothing_left(0);
}

#[test]
fn a_vpp_that_restarted_while_nobody_looked() {
    if !can_run("a_vpp_that_restarted_while_nobody_looked") {
        return;
    }
    let mut node = VppNode::miniature();
    let (config, mut agent) = (node.config("veth"), Agent::keeping(&node));
    let (gone, left) = (node.pod(), node.pod());
    node.add(&gone, &config);
    let result = node.add(&left, &config);
    node.restart_vpp();
    gone.namespace.delete();
    let told = agent.run(&["--dry-run"]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert_eq!(told.status.code(), Some(1), "{text}");
    let differs =
        format!("differs   {} eth0 ({}): VPP has no interface for it", left.id, node.network());
    assert!(text.contains(&differs), "{text}");
    assert!(text.contains("its namespace is gone, and its DEL has not come"), "{text}");
    assert_eq!(node.interfaces(&node.tag_prefix()).len(), 0, "nothing was changed");

    agent.start();
    agent.says("2 attachments, 1 put back, 1 without their namespace");
    agent.says(&format!(
        "{} eth0 ({}): its namespace is gone, and its DEL has not come",
        gone.id,
        node.network()
    ));
    node.check(&left, &config, &result).ok();
    assert_eq!(node.records().len(), 2, "the record is its DEL's");
    node.del(&gone, &config);
    agent.says("no more: VPP at");
    node.del(&left, &config);
    agent.kill();
    // One look is enough, also where there is nothing to do.
    let once = agent.run(&["--once"]);
    let text = String::from_utf8_lossy(&once.stdout);
    assert_eq!(once.status.code(), Some(0), "{text}");
    assert!(text.contains("  0 attachments\n"), "{text}");
    node.assert_nothing_left(0);
}

/// From a namespace in which the hosts' ends of the links are not, nothing is made a second time.
#[test]
fn an_agent_in_a_wrong_namespace_breaks_nothing() {
    if !can_run("an_agent_in_a_wrong_namespace_breaks_nothing") {
        return;
    }
    let mut node = VppNode::miniature();
    let config = node.config("veth");
    let pods = [node.pod(), node.pod()];
    let results = pods.each_ref().map(|pod| node.add(pod, &config));
    let before = pods.each_ref().map(VppPod::side);
    node.restart_vpp();
    let elsewhere = PodNamespace::new();
    let lost = Agent::keeping(&node).within(&elsewhere);
    let once = lost.run(&["--once"]);
    let text = String::from_utf8_lossy(&once.stdout);
    assert_eq!(once.status.code(), Some(1), "{text}");
    assert!(text.contains("is not in this network namespace"), "{text}");
    assert_eq!(pods.each_ref().map(VppPod::side), before);
    assert_eq!(node.interfaces(&node.tag_prefix()).len(), 0);
    let once = Agent::keeping(&node).run(&["--once"]);
    assert_eq!(once.status.code(), Some(0), "{}", String::from_utf8_lossy(&once.stdout));
    for (pod, result) in pods.iter().zip(&results) {
        node.check(pod, &config, result).ok();
        node.del(pod, &config);
    }
    node.assert_nothing_left(0);
}

#[test]
fn calls_go_on_beside_a_replay() {
    if !can_run("calls_go_on_beside_a_replay") {
        return;
    }
    let mut node = VppNode::miniature();
    let (config, mut agent) = (node.config("veth"), Agent::keeping(&node));
    let pods: Vec<VppPod> = (0..6).map(|_| node.pod()).collect();
    let results: Vec<Value> = pods.iter().map(|pod| node.add(pod, &config)).collect();
    let fresh = [node.pod(), node.pod(), node.pod()];
    agent.start();
    agent.says("6 attachments, 6 as they should be");
    node.vpp().slow_down(Duration::from_millis(1));
    node.restart_vpp();
    let (node, config) = (&node, &config);
    std::thread::scope(|scope| {
        for pod in &fresh {
            scope.spawn(move || node.add(pod, config));
        }
        for pod in &pods[..2] {
            scope.spawn(move || node.del(pod, config));
        }
    });
    waits_until_whole(node, 7);
    for (pod, result) in pods.iter().zip(&results).skip(2) {
        node.check(pod, config, result).ok();
    }
    for pod in pods[2..].iter().chain(&fresh) {
        node.del(pod, config);
    }
    agent.kill();
    node.assert_nothing_left(0);
}

#[test]
fn killed_and_interrupted_at_any_moment_all_is_whole_in_the_end() {
    if !can_run("killed_and_interrupted_at_any_moment_all_is_whole_in_the_end") {
        return;
    }
    let mut node = VppNode::miniature();
    let mut agent = Agent::keeping(&node);
    let kinds = ["veth", "veth", "veth", "veth", "tap", "memif"];
    let configs = kinds.map(|kind| node.config(kind));
    let pods = kinds.map(|_| node.pod());
    let results: Vec<Value> =
        pods.iter().zip(&configs).map(|(pod, config)| node.add(pod, config)).collect();
    node.vpp().slow_down(Duration::from_micros(300));
    let mut random = Random::new(11);
    for round in 0..10 {
        node.restart_vpp();
        agent.start();
        // Whatever moment it is: each is allowed.
        std::thread::sleep(Duration::from_millis(random.below(150)));
        if round % 2 == 0 {
            agent.kill();
        } else {
            node.restart_vpp();
        }
    }
    node.vpp().slow_down(Duration::ZERO);
    if agent.process.is_none() {
        agent.start();
    }
    waits_until_whole(&node, pods.len());
    for ((pod, config), result) in pods.iter().zip(&configs).zip(&results) {
        node.check(pod, config, result).ok();
        node.del(pod, config);
    }
    agent.kill();
    node.assert_nothing_left(0);
}

/// The uplink loses its link: routes are looked at then, and not when it is time.
#[test]
fn a_flap_of_the_uplink_leads_to_a_look() {
    if !can_run("a_flap_of_the_uplink_leads_to_a_look") {
        return;
    }
    let node = VppNode::miniature();
    let quiet = PodNamespace::new();
    let file = node.scratch().write("routes.json", json!({"routes": []}).to_string());
    let config = json!({
        "routes": {
            "sources": [{"type": "file", "path": file}],
            "sinks": [{"type": "vpp", "socket": node.socket()}],
            "resync": "1h",
        },
    });
    let uplink = node.client().interface_named(UPLINK).expect("VPP answers").expect("it has one");
    node.client().set_up(uplink.sw_if_index, true).expect("VPP sets it up");
    let mut agent = Agent::new(&node, &config).within(&quiet);
    agent.start();
    agent.says("0 attachments, within");
    for (link, route) in [(false, "10.1.2.0/24"), (true, "10.1.3.0/24")] {
        let routes = json!({"routes": [{"dst": route, "gw": "192.168.16.2", "node": "vm-002"}]});
        node.scratch().write("routes.json", routes.to_string());
        node.vpp().set_link(UPLINK, link);
        agent.says(&format!("{UPLINK} has {} link", if link { "a" } else { "no" }));
        agent.says(&format!("added {route} via 192.168.16.2"));
    }
    agent.kill();
}
