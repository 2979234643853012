//! What happens in etcd, and how soon there is a route: one node more among many, and a block that moves.

use std::time::{Duration, Instant};

use bench_report::{Figure, Goal, Outcome, Report, ms, summary};
use ipam_pool::txn::{Op, Txn};
use kernel::{Event, Groups, IpNet, Monitor, Netlink, Route};
use serde_json::{Value, json};
use support::InEtcd;

use crate::Options;
use crate::world::{World, count, memory, text, wait};

/// The table of the first agent's routes.
const TABLE: u32 = 200;
/// How many agents follow a block.
const FOLLOWERS: u32 = 3;
/// What a change may take, in milliseconds.
const GOAL: f64 = 1000.0;
/// What the agent may have of memory, in MB.
const MEMORY: f64 = 64.0;
/// For how long one route is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The subnet of a registered node.
fn subnet(number: u32) -> String {
    format!("10.{}.{}.0/24", 64 + number / 256, number % 256)
}

fn record(number: u32) -> Value {
    json!({
        "name": format!("far-{number}"), "idx": number,
        "a4": format!("192.168.16.{}", 2 + number % 200), "nets": [subnet(number)],
    })
}

fn register(etcd: &mut InEtcd, numbers: std::ops::Range<u32>) {
    let all: Vec<Op> = numbers
        .map(|number| Op::put(etcd.keys().node(&format!("u{number}")), record(number).to_string()))
        .collect();
    for batch in all.chunks(100) {
        etcd.txn(&Txn { then: batch.to_vec(), ..Txn::default() });
    }
}

fn listener(world: &World, name: &str, table: u32) -> crate::world::Agent {
    world.agent(
        name,
        &json!({
            "etcd": world.connection(), "node": name, "register": false,
            "routes": {"sources": [{"type": "pool"}], "sinks": [{"type": "kernel", "table": table}]},
        }),
    )
}

/// Waits for a change of a route to a destination in a table.
fn next(monitor: &mut Monitor, table: u32, to: IpNet, set: bool) -> Outcome<Route> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match monitor.next(Duration::from_millis(100)).map_err(text)? {
            Some(Event::RouteSet(route))
                if set && route.destination == to && route.table == table =>
            {
                return Ok(route);
            }
            Some(Event::RouteGone(route))
                if !set && route.destination == to && route.table == table =>
            {
                return Ok(route);
            }
            _ => {}
        }
    }
    Err(format!("no change of {to} within {PATIENCE:?}"))
}

fn routes_only() -> Groups {
    Groups { routes: true, ..Groups::default() }
}

/// A node more and a node less among many, and the agent's memory.
pub(crate) fn one_more(
    options: &Options,
    world: &World,
    nodes: u32,
    report: &mut Report,
) -> Outcome<()> {
    let mut etcd = world.empty_etcd();
    register(&mut etcd, 0..nodes);
    let agent = listener(world, "follower", TABLE);
    let mut netlink = Netlink::open().map_err(text)?;
    let begun = Instant::now();
    let running = agent.start()?;
    let all = usize::try_from(nodes).map_err(text)?;
    wait("all routes are there", || Ok(count(&mut netlink, TABLE)? == all))
        .map_err(|error| format!("{error}: {}", agent.log()))?;
    let first = begun.elapsed();
    let how = "from the start of the daemon, etcd read, looked at every 5 ms";
    let figure = Figure::new("follow", "first look", ms(first), "ms").of("plat-agent");
    report.add(figure.at("nodes", nodes).goal(Goal::at_most(GOAL)).how(how));
    let mut monitor = Monitor::open(routes_only()).map_err(text)?;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    let to: IpNet = subnet(nodes).parse().map_err(text)?;
    for _ in 0..options.runs {
        let begun = Instant::now();
        register(&mut etcd, nodes..nodes + 1);
        next(&mut monitor, TABLE, to, true)?;
        more.push(begun.elapsed());
        let key = etcd.keys().node(&format!("u{nodes}"));
        let begun = Instant::now();
        etcd.txn(&Txn { then: vec![Op::delete(key)], ..Txn::default() });
        next(&mut monitor, TABLE, to, false)?;
        less.push(begun.elapsed());
    }
    for (what, measured) in [("one node more", more), ("one node less", less)] {
        let measured = summary(measured)?;
        let figure = Figure::time("follow", what, &measured).of("plat-agent").at("nodes", nodes);
        report.add(figure.goal(Goal::at_most(GOAL)).how("of it 20 ms in which more is waited for"));
    }
    let of = |key: &str| memory(running.0.id(), key).map(|kib| kib * 1024.0 / 1e6);
    if let Some(now) = of("VmRSS") {
        let how = format!("VmRSS; at most {:.1}", of("VmHWM").unwrap_or_default());
        let figure = Figure::new("memory", "memory", now, "MB").of("plat-agent").at("nodes", nodes);
        report.add(figure.goal(Goal::at_most(MEMORY)).how(how));
    }
    drop(running);
    agent.run(&["--cleanup"], &format!("{nodes} removed"))?;
    Ok(())
}

/// A block moves between two nodes: when all others have followed.
pub(crate) fn moved_block(options: &Options, world: &World, report: &mut Report) -> Outcome<()> {
    let mut etcd = world.empty_etcd();
    register(&mut etcd, 0..2);
    let key = format!("{}{:08x}", "/plat/v1/s/default/b/4/", 0x0a01_0000_u32).into_bytes();
    let block =
        |holder: u32| json!({"n": holder, "u": format!("u{holder}"), "len": 26, "p": "pods"});
    etcd.put(key.clone(), block(0));
    let agents: Vec<_> = (0..FOLLOWERS)
        .map(|number| listener(world, &format!("follower-{number}"), TABLE + number))
        .collect();
    let mut monitors = Vec::new();
    let mut running = Vec::new();
    let mut netlink = Netlink::open().map_err(text)?;
    for (agent, number) in agents.iter().zip(0..) {
        monitors.push(Monitor::open(routes_only()).map_err(text)?);
        running.push(agent.start()?);
        let table = TABLE + number;
        wait("all routes are there", || Ok(count(&mut netlink, table)? == 3))
            .map_err(|error| format!("{error}: {}", agent.log()))?;
    }
    let to: IpNet = "10.1.0.0/26".parse().map_err(text)?;
    let mut measured = Vec::new();
    for run in 0..options.runs {
        let holder = u32::from(run % 2 == 0);
        for monitor in &mut monitors {
            while monitor.next(Duration::ZERO).map_err(text)?.is_some() {}
        }
        let begun = Instant::now();
        etcd.put(key.clone(), block(holder));
        for (monitor, number) in monitors.iter_mut().zip(0..) {
            next(monitor, TABLE + number, to, true)?;
        }
        measured.push(begun.elapsed());
    }
    let measured = summary(measured)?;
    let figure = Figure::time("follow", "a block moved, routes follow", &measured).of("plat-agent");
    let how = format!("the last of {FOLLOWERS} nodes");
    report.add(figure.goal(Goal::at_most(GOAL)).how(how));
    drop(running);
    for agent in &agents {
        agent.run(&["--cleanup"], "3 removed")?;
    }
    Ok(())
}
