//! What is measured.

use std::time::Duration;

use bench_report::{Figure, Goal, Outcome, Report, Summary, all_at_once, ms, summary};
use serde_json::json;
use support::etcd::Etcd;
use support::{Owned, Stopped, time_of_children};

use crate::Options;
use crate::bare::{bare_process, fill};
use crate::place::{Place, connection, id, succeeded};

/// Times that are not counted: the first ones find nothing in caches.
const WARM: u32 = 3;
/// How often etcd is asked for what it tells of itself; two seconds each.
const TRIES: u32 = 30;
const LOCAL: &str = "etcd-pool, local";
const SYNC: &str = "etcd-pool, sync";
const OWN: &str = "node-local, the same store";
const BARE: &str = "a bare transaction of etcd";

/// ADD and DEL out of a block that has room, in turns with node-local's.
pub(crate) fn beside_own_store(options: &Options, etcd: &Etcd, report: &mut Report) -> Outcome<()> {
    let own = Place::new(
        "node-local",
        json!({
            "type": "node-local",
            "index": 1,
            "store": "sqlite",
            "ranges": [[{ "subnet": "10.0.0.0/16" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        }),
    );
    let pool = Place::pool(etcd, 1, "local", true);
    let quiet = Place::pool(etcd, 2, "local", false);
    let places = [&own, &pool, &quiet];
    let mut took: [[Vec<Duration>; 2]; 3] = Default::default();
    for n in 0..options.runs + WARM {
        for (which, command) in ["ADD", "DEL"].into_iter().enumerate() {
            for (place, took) in places.iter().zip(&mut took) {
                let time = place.time(command, &id("turns", n))?;
                if n >= WARM {
                    took[which].push(time);
                }
            }
        }
    }
    let [own_took, pool_took, quiet_took] = took;
    let names = ["ADD", "DEL"];
    let sums = own_took.into_iter().zip(pool_took).zip(quiet_took).zip(names);
    for (((own, pool), quiet), name) in sums {
        let (own, pool, quiet) = (summary(own)?, summary(pool)?, summary(quiet)?);
        let goal = Some(Goal::ratio_at_most(1.2)).filter(|_| name == "ADD");
        let against = |it: Figure| it.against(OWN, ms(own.median));
        report.add(against(Figure::time("local", name, &pool).of(LOCAL).goal(goal)));
        let alone = "etcd-pool, local, nothing told to etcd";
        report.add(against(Figure::time("alone", name, &quiet).of(alone)));
    }
    for (of, place) in [(OWN, &own), (LOCAL, &pool)] {
        let spent = processor_time(place, options.runs)?;
        let how = PROCESSOR;
        report.add(Figure::new("processor", "CPU of an ADD", spent, "ms").of(of).how(how));
    }
    Ok(())
}

/// How a processor time came about.
const PROCESSOR: &str = "mean of the calls themselves, without what they leave behind";

/// The mean processor time of an ADD, in milliseconds. What it leaves behind is not in it.
fn processor_time(place: &Place, runs: u32) -> Outcome<f64> {
    let before = time_of_children().ok_or("no processor time is known")?;
    for n in 0..runs {
        place.time("ADD", &id("cpu", n))?;
    }
    let spent = time_of_children().ok_or("no processor time is known")?.saturating_sub(before);
    for n in 0..runs {
        place.time("DEL", &id("cpu", n))?;
    }
    Ok(ms(spent) / f64::from(runs))
}

/// A sync ADD by a process that has just been started, in turns with the bare transaction, with nothing and
/// with much in the pool.
pub(crate) fn beside_bare_transaction(
    options: &Options,
    etcd: &Etcd,
    report: &mut Report,
) -> Outcome<()> {
    let number = 3;
    let place = Place::pool(etcd, number, "sync", true);
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let endpoint = etcd.endpoint(0);
    let mut medians = Vec::new();
    for held in [0, options.held] {
        fill(&connection(etcd, number), held as usize)?;
        let (mut add, mut del, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..options.runs + WARM {
            let name = format!("{held}-{n}");
            add.push(place.time("ADD", &id(&name, n))?);
            bare.push(bare_process(&this, &endpoint, &name)?);
            del.push(place.time("DEL", &id(&name, n))?);
        }
        let [add, del, bare] =
            [add, del, bare].map(|times| summary(times[WARM as usize..].to_vec()));
        let (add, del, bare) = (add?, del?, bare?);
        for (what, time, goal) in
            [("ADD", &add, Some(Goal::ratio_at_most(2.0))), ("DEL", &del, None)]
        {
            let figure = Figure::time("sync", what, time).of(SYNC).at("held by others", held);
            report.add(figure.against(BARE, ms(bare.median)).goal(goal));
        }
        medians.push(add);
    }
    if let [first, last] = &medians[..] {
        let figure = Figure::time("flat", "ADD beside one with none held", last)
            .of(SYNC)
            .at("held by others", options.held);
        report
            .add(figure.against("with none held", ms(first.median)).goal(Goal::ratio_at_most(1.2)));
    }
    let spent = processor_time(&place, options.runs)?;
    let goal = Goal::at_most(2.0);
    let how = PROCESSOR;
    report.add(Figure::new("processor", "CPU of an ADD", spent, "ms").of(SYNC).goal(goal).how(how));
    Ok(())
}

/// What a call has resident at most.
pub(crate) fn memory(etcd: &Etcd, report: &mut Report) -> Outcome<()> {
    for (of, mode, number) in [(LOCAL, "local", 9), (SYNC, "sync", 10)] {
        // A process that is left behind is none of the call's.
        let place = Place::pool(etcd, number, mode, false);
        place.time("ADD", &id("warm", 0))?;
        let peak = place.call("ADD").peak_memory(&id("memory", 0));
        match peak.map_err(|e| format!("strace: {e}"))? {
            Some(kib) => {
                let memory = kib as f64 * 1024.0 / 1e6;
                report.add(Figure::new("memory", "memory of an ADD", memory, "MB").of(of));
            }
            None => report.without("memory", "strace is not installed"),
        }
    }
    Ok(())
}

/// Many callers of one node at once.
pub(crate) fn many_callers(options: &Options, etcd: &Etcd, report: &mut Report) -> Outcome<()> {
    for (mode, of, index, goal) in
        [("sync", SYNC, 4, Some(Goal::at_least(500.0))), ("local", LOCAL, 5, None)]
    {
        let place = Place::pool(etcd, index, mode, true);
        place.time("ADD", &id("warm", 0))?;
        for callers in options.callers.iter().copied() {
            for command in ["ADD", "DEL"] {
                let call = place.call(command);
                let one = |n| succeeded(&call, command, &id("many", n));
                let rate = all_at_once(callers, options.calls, one)?;
                let goal = goal.filter(|_| command == "ADD" && callers == 16);
                report.add(rate.figure(command).of(of).at("callers", callers).goal(goal));
            }
        }
    }
    Ok(())
}

/// What a local ADD costs etcd once a node has its block: many in a row, and one now and then.
pub(crate) fn requests(options: &Options, etcd: &Etcd, report: &mut Report) -> Outcome<()> {
    let place = Place::pool(etcd, 6, "local", true);
    place.time("ADD", &id("warm", 0))?;
    place.wait_for_flushers()?;
    // Half a block: the rest stays free, no block is claimed ahead.
    let adds = options.runs.clamp(1, 500);
    let before = handled(etcd)?;
    for n in 0..adds {
        place.time("ADD", &id("row", n))?;
    }
    place.wait_for_flushers()?;
    let all = handled(etcd)? - before;
    let goal = Goal::at_most(0.05);
    let how =
        format!("requests: {all}, for {adds} ADDs one after the other, all of them told to etcd");
    let each = all / f64::from(adds);
    // What is written behind in one go is shared by the ADDs of that moment: few of them share little.
    let goal = (adds >= 100).then_some(goal);
    report.add(
        Figure::new("requests", "requests to etcd for an ADD", each, "")
            .of(LOCAL)
            .goal(goal)
            .how(how),
    );
    let before = handled(etcd)?;
    let few = options.runs.clamp(1, 5);
    for n in 0..few {
        place.time("DEL", &id("row", n))?;
        place.wait_for_flushers()?;
    }
    let all = handled(etcd)? - before;
    let how = format!("requests: {all}, for {few} calls, each after the last one was told");
    let each = all / f64::from(few);
    report.add(
        Figure::new("requests", "requests to etcd for a lone call", each, "").of(LOCAL).how(how),
    );
    Ok(())
}

/// How many requests of the key-value service etcd has answered.
fn handled(etcd: &Etcd) -> Outcome<f64> {
    // On a busy machine an answer may take longer than is waited for it.
    let text = (0..TRIES).find_map(|_| etcd.metrics(0)).ok_or("etcd tells no metrics")?;
    let ours = |line: &&str| {
        line.starts_with("grpc_server_handled_total{")
            && line.contains("grpc_service=\"etcdserverpb.KV\"")
    };
    Ok(text.lines().filter(ours).filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

/// A call that is killed, or that waits for an etcd that says nothing, holds nobody up.
pub(crate) fn killed_callers(options: &Options, etcd: Etcd, report: &mut Report) -> Outcome<()> {
    let sync = Place::pool(&etcd, 7, "sync", true);
    let both = Place::pool(&etcd, 8, "sync", false);
    sync.time("ADD", &id("warm", 0))?;
    let (mut calm, mut after) = (Vec::new(), Vec::new());
    for n in 0..options.runs {
        calm.push(sync.time("ADD", &id("calm", n))?);
        sync.time("DEL", &id("calm", n))?;
        let victim = sync.spawn("ADD", &id("victim", n))?;
        std::thread::sleep(Duration::from_micros((u64::from(n) % 40) * 100));
        // Killed when this goes.
        drop(Owned(victim));
        after.push(sync.time("ADD", &id("after", n))?);
        sync.time("DEL", &id("after", n))?;
        sync.time("DEL", &id("victim", n))?;
    }
    let most = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let (worst_calm, worst) = (most(&calm), most(&after));
    let (calm, after) = (summary(calm)?, summary(after)?);
    let how = format!("longest {:.1} ms, where none was killed {:.1}", ms(worst), ms(worst_calm));
    let figure = Figure::time("unhindered", "ADD after a killed one", &after).of(SYNC).how(how);
    report.add(
        figure.against("where none was killed", ms(calm.median)).goal(Goal::ratio_at_most(1.2)),
    );
    // Now one that is in the middle for as long as it can be, on a node that uses both pools.
    drop(sync);
    let local = Place::pool(&etcd, 8, "local", false);
    local.time("ADD", &id("warm", 0))?;
    let mut first = local.spawn_with(&both.config, "ADD", &id("first", 0))?;
    first.wait().map_err(|e| e.to_string())?;
    let calm = times(&local, "calm", options.runs)?;
    let stopped = Stopped::new(etcd.pid(0));
    let waiting = Owned(local.spawn_with(&both.config, "ADD", &id("waits", 0))?);
    std::thread::sleep(Duration::from_millis(50));
    let beside = times(&local, "beside", options.runs.min(200))?;
    drop(waiting);
    drop(stopped);
    let figure = Figure::time("unhindered", "ADD while another pool's waits", &beside).of(LOCAL);
    report.add(figure.against("while none waits", ms(calm.median)).goal(Goal::ratio_at_most(1.2)));
    Ok(())
}

fn times(place: &Place, purpose: &str, runs: u32) -> Outcome<Summary> {
    let mut took = Vec::new();
    for n in 0..runs {
        took.push(place.time("ADD", &id(purpose, n))?);
        place.time("DEL", &id(purpose, n))?;
    }
    summary(took)
}
