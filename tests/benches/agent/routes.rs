//! All routes at once: added, looked at, removed.

use std::time::Duration;

use bench_report::{Figure, Goal, Outcome, Report, ms, summary};
use serde_json::{Value, json};

use crate::Options;
use crate::bare::Bare;
use crate::world::World;

/// Times that are not counted.
const WARM: u32 = 1;
/// What a full resync may take, in milliseconds.
const GOAL: f64 = 1000.0;
/// The kernel's table.
const TABLE: u32 = 100;

/// So many routes over two hundred next hops.
fn document(routes: u32) -> Value {
    let all = (0..routes).map(|number| {
        let (high, low) = (64 + number / 256, number % 256);
        json!({
            "dst": format!("10.{high}.{low}.0/24"),
            "gw": format!("192.168.16.{}", 2 + number % 200),
            "node": format!("vm-{number}"),
        })
    });
    json!({"routes": all.collect::<Vec<_>>()})
}

pub(crate) fn in_kernel(options: &Options, world: &World, report: &mut Report) -> Outcome<()> {
    let sink = json!({"type": "kernel", "table": TABLE});
    let goal = Some(Goal::at_most(GOAL));
    whole(options, world, report, "the kernel", &sink, &TABLE.to_string(), goal)
}

pub(crate) fn in_vpp(options: &Options, world: &World, report: &mut Report) -> Outcome<()> {
    let sink = json!({"type": "vpp", "socket": world.socket()});
    let name = if world.is_miniature() { "VPP in miniature" } else { "VPP" };
    // The goal is meant for a real VPP: the one in miniature takes its own time for a list.
    let goal = (!world.is_miniature()).then_some(Goal::at_most(GOAL));
    whole(options, world, report, name, &sink, &world.socket().display().to_string(), goal)
}

fn whole(
    options: &Options,
    world: &World,
    report: &mut Report,
    name: &str,
    sink: &Value,
    place: &str,
    goal: Option<Goal>,
) -> Outcome<()> {
    let count = options.routes;
    let file = world.write("routes.json", &document(count));
    let agent = world.agent(
        "whole",
        &json!({
            "node": "bench",
            "routes": {"sources": [{"type": "file", "path": file}], "sinks": [sink]},
        }),
    );
    let bare = Bare { routes: file, place: place.to_owned() };
    // A VPP may have some of an earlier run.
    agent.run(&["--cleanup"], " removed, 0 kept")?;
    let mut agents: [Vec<Duration>; 3] = Default::default();
    let mut bares: [Vec<Duration>; 3] = Default::default();
    for run in 0..options.runs + WARM {
        let by_agent = [
            agent.run(&["--once"], &format!("{count} added, 0 removed, 0 kept"))?,
            agent.run(&["--once"], &format!("0 added, 0 removed, {count} kept"))?,
            agent.run(&["--cleanup"], &format!("0 added, {count} removed, 0 kept"))?,
        ];
        let by_bare = [bare.run(true)?, bare.run(true)?, bare.run(false)?];
        if run >= WARM {
            for at in 0..3 {
                agents[at].push(by_agent[at]);
                bares[at].push(by_bare[at]);
            }
        }
    }
    for (what, (by_agent, by_bare)) in
        ["added", "looked at", "removed"].iter().zip(agents.into_iter().zip(bares))
    {
        let (by_agent, by_bare) = (summary(by_agent)?, summary(by_bare)?);
        let figure = Figure::time("routes", &format!("routes {what}"), &by_agent);
        let figure = figure.of("plat-agent").on(name).at("routes", count).goal(goal);
        report.add(figure.against("a bare program", ms(by_bare.median)));
    }
    Ok(())
}
