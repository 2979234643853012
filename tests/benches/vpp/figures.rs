//! What is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench_report::{Figure, Goal, Outcome, Report, ms, summary};
use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use serde_json::{Value, json};
use support::{TimedCall, VppNode, VppPod, binary};
use vpp_api::{Client, IfIndex, msg};
use vpp_plugin::node::{NodeSetup, NodeSpec, Place, Wanted, differences, ensure};

use crate::Options;
use crate::bare::Bare;
use crate::relay::{Relay, Waits};

/// Times that are not counted: the first ones find nothing in caches.
const WARM: u32 = 3;
/// The number of a loopback that stands for an uplink.
const UPLINK: u32 = 977;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A goal that is meant for a real VPP.
fn goal(node: &VppNode, goal: Goal) -> Option<Goal> {
    (!node.is_miniature()).then_some(goal)
}

/// The configuration as a file, for calls that read it themselves.
fn written(node: &VppNode, name: &str, config: &Value) -> PathBuf {
    node.scratch().write(name, config.to_string())
}

fn call(node: &VppNode, command: &str, config: &Path, pod: &VppPod) -> TimedCall {
    let plugins = binary("host-local");
    let plugins = plugins.parent().unwrap_or(Path::new("/")).to_owned();
    let state = node.scratch().path().join("state");
    TimedCall::new(&binary("vpp"), command, config, &state, &node.run_dir())
        .with("CNI_NETNS", pod.namespace.path())
        .with("CNI_PATH", plugins)
        .with("NODE_INDEX", "1")
}

fn time(call: &TimedCall, id: &str) -> Outcome<Duration> {
    let timed = call.run(id).map_err(text)?;
    match timed.exit {
        Some(0) => Ok(timed.took),
        other => Err(format!("a call has failed: {other:?}")),
    }
}

/// ADD in turns with the bare requests, both dual stack and by veth; and DEL.
pub(crate) fn beside_bare_calls(
    options: &Options,
    node: &VppNode,
    report: &mut Report,
) -> Outcome<()> {
    let config = node.config("veth");
    let file = written(node, "config.json", &config);
    let (pod, other) = (node.pod(), node.pod());
    let (add, del) = (call(node, "ADD", &file, &pod), call(node, "DEL", &file, &pod));
    time(&add, "first")?;
    let mut client = node.client();
    let bare = Bare {
        socket: node.socket().to_owned(),
        namespace: other.namespace.path(),
        // Several benchmarks may run on one machine.
        device: format!("bench{}", std::process::id()),
        gateway: gateway(&mut client)?,
        source: client.fib_source("plat-pod", 0x90).map_err(text)?,
        addresses: [format!("{}.250", node.v4()), format!("{}:fffe", node.v6())]
            .map(|address| address.parse().unwrap_or(std::net::IpAddr::V4([0; 4].into()))),
        gateways: [format!("{}.1", node.v4()), format!("{}:1", node.v6())]
            .map(|address| address.parse().unwrap_or(std::net::IpAddr::V4([0; 4].into()))),
    };
    time(&del, "first")?;
    let this = std::env::current_exe().map_err(text)?;
    let [mut adds, mut dels, mut bares, mut pairs, mut interfaces] = [const { Vec::new() }; 5];
    for n in 0..options.runs + WARM {
        let id = format!("pod{n}");
        let add = time(&add, &id)?;
        let del = time(&del, &id)?;
        let took = bare.run(&this)?;
        bare.undo()?;
        if n >= WARM {
            adds.push(add);
            dels.push(del);
            bares.push(took.all);
            pairs.push(took.pair);
            interfaces.push(took.interface);
        }
    }
    let (add, del) = (summary(adds)?, summary(dels)?);
    let (bare, pair, interface) = (summary(bares)?, summary(pairs)?, summary(interfaces)?);
    // The miniature makes interfaces in no time, so that nothing is left to compare with.
    let goal = self::goal(node, Goal::ratio_at_most(1.3));
    let figure = Figure::time("attach", "ADD by veth", &add).of("vpp");
    report.add(figure.against("the bare requests", ms(bare.median)).goal(goal));
    report.add(Figure::time("attach", "DEL", &del).of("vpp"));
    report.add(Figure::time("part", "the veth pair", &pair).of("the bare requests"));
    report.add(Figure::time("part", "VPP's interface", &interface).of("the bare requests"));
    let beyond = ms(add.median) - ms(bare.median);
    let how = "difference of the medians";
    let figure = Figure::new("part", "ADD beyond the bare requests", beyond, "ms").of("vpp");
    report.add(figure.how(how));
    let own = ms(add.median) - ms(pair.median) - ms(interface.median);
    let goal = self::goal(node, Goal::at_most(8.0));
    let figure = Figure::new("part", "ADD without making interfaces", own, "ms").of("vpp");
    let how = "without the veth pair and VPP's interface, with host-local's process";
    report.add(figure.goal(goal).how(how));
    // What goes on in host-local's process.
    let ipam = TimedCall::new(
        &binary("host-local"),
        "ADD",
        &file,
        &node.scratch().path().join("state"),
        &node.run_dir(),
    );
    let undo = TimedCall::new(
        &binary("host-local"),
        "DEL",
        &file,
        &node.scratch().path().join("state"),
        &node.run_dir(),
    );
    let mut alone = Vec::new();
    for n in 0..options.runs.min(50) {
        let id = format!("alone{n}");
        alone.push(time(&ipam, &id)?);
        time(&undo, &id)?;
    }
    let alone = summary(alone)?;
    report.add(Figure::time("part", "ADD by itself", &alone).of("host-local"));
    Ok(())
}

fn gateway(client: &mut Client) -> Outcome<IfIndex> {
    let all = client.interfaces().map_err(text)?;
    let gateway = all.into_iter().find(|it| it.tag == "plat/gateway/0");
    gateway.map(|it| it.sw_if_index).ok_or_else(|| "no gateway loopback".to_owned())
}

/// How often ADD waits for VPP when the node's part is done, besides connecting, making the interface, and leaving.
pub(crate) fn round_trips(node: &VppNode, report: &mut Report) -> Outcome<()> {
    let pod = node.pod();
    let relay_at = node.scratch().path().join("relay.sock");
    let mut config = node.config("veth");
    config["uplink"] = json!({"name": uplink(node)?, "address": "198.18.0.1/15"});
    config["peers"] =
        json!({"nodes": "1-9", "subnet": "100.64.{peer}.0/24", "via": "198.18.0.{peer}"});
    let direct = written(node, "direct.json", &config);
    let add = call(node, "ADD", &direct, &pod);
    let del = call(node, "DEL", &direct, &pod);
    // Once before, by VPP's own socket: what the first call of all makes is there then.
    time(&add, "before")?;
    time(&del, "before")?;
    config["socket"] = relay_at.to_string_lossy().into();
    let relayed = written(node, "relayed.json", &config);
    let asked = [("ADD", ", making the interface", Some(Goal::at_most(3.0))), ("DEL", "", None)];
    for (command, making, goal) in asked {
        let relay = Relay::start(&relay_at, node.socket())?;
        let all = call(node, command, &relayed, &pod);
        time(&all, "counted")?;
        let trips = relay.trips()?;
        fs::remove_file(&relay_at).map_err(text)?;
        let waits = Waits::of(&trips);
        let how = format!("{} in all, with connecting{making} and leaving", waits.all);
        let what = format!("round trips of {command}");
        let figure = Figure::new("trips", &what, waits.besides as f64, "");
        report.add(figure.of("vpp").goal(goal).how(how));
    }
    forget_uplink(node)
}

fn setup(config: &Value) -> Outcome<NodeSetup> {
    let node =
        NodeIdentity { index: 1, name: "vm-1".to_owned(), source: "the benchmark".to_owned() };
    let spec = NodeSpec::parse(&At::root(config)).map_err(text)?;
    spec.render(Some(&node)).map_err(text)
}

/// A loopback in the place of a NIC.
fn uplink(node: &VppNode) -> Outcome<String> {
    let mut client = node.client();
    let name = format!("loop{UPLINK}");
    if client.interface_named(&name).map_err(text)?.is_none() {
        client.create_loopback(None, Some(UPLINK)).map_err(text)?;
    }
    Ok(name)
}

fn forget_uplink(node: &VppNode) -> Outcome<()> {
    let mut client = node.client();
    let found = client.interface_named(&format!("loop{UPLINK}")).map_err(text)?;
    let Some(found) = found else { return Ok(()) };
    client.call(&msg::DeleteLoopback { sw_if_index: found.sw_if_index }).map_err(text)
}

/// Routes to other nodes: verified, and added, by the calls that ADD makes, in this process.
pub(crate) fn peer_routes(options: &Options, node: &VppNode, report: &mut Report) -> Outcome<()> {
    let uplink = json!({"name": uplink(node)?, "address": "198.18.0.1/15"});
    let nodes = format!("1-{}", options.routes + 1);
    let peers = json!({
        "nodes": nodes,
        "subnet": "100.{peer/256}.{peer%256}.0/24",
        "via": "198.18.{peer/256}.{peer%256}",
    });
    let without = setup(&json!({"uplink": uplink}))?;
    let with = setup(&json!({"uplink": uplink, "peers": peers}))?;
    let mut client = node.client();
    let run_dir = node.scratch().path().join("routes");
    let wants = |setup| Wanted { setup, network: "bench-routes", table: 0, gateways: &[] };
    let place = || Place {
        run_dir: &run_dir,
        root: Path::new("/"),
        deadline: Instant::now() + Duration::from_secs(60),
    };
    let (mut added, mut verified, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..options.runs.min(20) + 1 {
        let mut measure = |setup| -> Outcome<Duration> {
            let start = Instant::now();
            ensure(&mut client, &wants(setup), &place(), None).map_err(text)?;
            Ok(start.elapsed())
        };
        let took = [measure(&without)?, measure(&with)?, measure(&with)?];
        if n > 0 {
            removed.push(took[0]);
            added.push(took[1]);
            verified.push(took[2]);
        }
    }
    let wrong = differences(&mut client, &wants(&with), &place(), None).map_err(text)?;
    let wrong = wrong.into_iter().filter(|difference| !difference.is_note()).count();
    if wrong > 0 {
        return Err(format!("{wrong} of the routes are not as they should be"));
    }
    ensure(&mut client, &wants(&without), &place(), None).map_err(text)?;
    forget_uplink(node)?;
    let (added, verified, removed) = (summary(added)?, summary(verified)?, summary(removed)?);
    for (what, time, bound) in [
        ("routes to other nodes verified", &verified, Some(50.0)),
        ("routes to other nodes added", &added, Some(200.0)),
        ("routes to other nodes removed", &removed, None),
    ] {
        let goal = bound.and_then(|bound| self::goal(node, Goal::at_most(bound)));
        let figure = Figure::time("routes", what, time).of("vpp").at("routes", options.routes);
        report.add(figure.goal(goal));
    }
    Ok(())
}

/// The plugin's memory, and VPP's for a pod.
pub(crate) fn memory(options: &Options, node: &VppNode, report: &mut Report) -> Outcome<()> {
    let file = written(node, "config.json", &node.config("veth"));
    let pods: Vec<VppPod> = (0..=options.pods).map(|_| node.pod()).collect();
    let Some((first, others)) = pods.split_first() else { return Ok(()) };
    let add = call(node, "ADD", &file, first);
    match add.peak_memory(&first.id).map_err(text)? {
        Some(kib) => {
            let memory = kib as f64 * 1024.0 / 1e6;
            let goal = Goal::at_most(6.0);
            let figure = Figure::new("memory", "memory of an ADD", memory, "MB").of("vpp");
            report.add(figure.goal(goal).how("VmHWM of the plugin"));
        }
        None => report.without("memory of an ADD", "strace is not installed"),
    }
    let pid = node.client().ping().map_err(text)?;
    let resident = || -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    };
    let before = resident();
    for pod in others {
        time(&call(node, "ADD", &file, pod), &pod.id)?;
    }
    let after = resident();
    for pod in &pods {
        time(&call(node, "DEL", &file, pod), &pod.id)?;
    }
    match before.zip(after) {
        Some((before, after)) if !node.is_miniature() => {
            let each = (after - before) * 1024.0 / 1e6 / f64::from(options.pods);
            let how = format!("{} pods: from {before} to {after} kB resident", options.pods);
            let figure = Figure::new("memory", "memory for a pod", each, "MB").of("VPP");
            report.add(figure.goal(Goal::at_most(2.0)).how(how));
        }
        _ => report.without("VPP's memory for a pod", "the one in miniature has none"),
    }
    Ok(())
}
