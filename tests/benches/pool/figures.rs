//! What is measured.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::etcd::Etcd;
use support::report::{Report, ms, ratio, shown, summary};
use support::{Owned, Stopped, Summary, binary, time_of_children};

use crate::bare::{bare_process, fill};
use crate::place::{Place, connection, id, succeeded};
use crate::{Options, Outcome};

/// How many call at once.
const CALLERS: usize = 16;

pub(crate) fn size(report: &mut Report) -> Outcome<()> {
    let size = fs::metadata(binary("etcd-pool")).map_err(|e| e.to_string())?.len();
    let goal = Some((6.0, false));
    report.add("binary", size as f64 / 1e6, "MB", goal, &format!("{size} bytes"));
    Ok(())
}

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
    for n in 0..options.runs + 3 {
        for (which, command) in ["ADD", "DEL"].into_iter().enumerate() {
            for (place, took) in places.iter().zip(&mut took) {
                let time = place.time(command, &id("turns", n))?;
                if n >= 3 {
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
        let goal = Some((1.2, false)).filter(|_| name == "ADD");
        let how = format!("{}; node-local: {}", shown(&pool), shown(&own));
        report.add(&format!("local {name} / own store's"), ratio(&pool, &own), "x", goal, &how);
        let how = format!("without a flusher: {}", shown(&quiet));
        report.add(
            &format!("local {name} alone / own store's"),
            ratio(&quiet, &own),
            "x",
            None,
            &how,
        );
    }
    for (what, place) in [("own store's ADD", &own), ("local ADD", &pool)] {
        let cpu = processor_time(place, options.runs)?;
        report.add(&format!("CPU of a {what}"), cpu, "ms", None, "of the call itself");
    }
    Ok(())
}

/// The mean processor time of an ADD, in milliseconds. What it leaves behind is not in it.
fn processor_time(place: &Place, runs: usize) -> Outcome<f64> {
    let before = time_of_children().ok_or("no processor time is known")?;
    for n in 0..runs {
        place.time("ADD", &id("cpu", n))?;
    }
    let spent = time_of_children().ok_or("no processor time is known")?.saturating_sub(before);
    for n in 0..runs {
        place.time("DEL", &id("cpu", n))?;
    }
    Ok(ms(spent) / runs as f64)
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
        fill(&connection(etcd, number), held)?;
        let (mut add, mut del, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..options.runs + 3 {
            let name = format!("{held}-{n}");
            add.push(place.time("ADD", &id(&name, n))?);
            bare.push(bare_process(&this, &endpoint, &name)?);
            del.push(place.time("DEL", &id(&name, n))?);
        }
        let [add, del, bare] = [add, del, bare].map(|times| summary(times[3..].to_vec()));
        let (add, del, bare) = (add?, del?, bare?);
        let how = format!("{}; bare: {}", shown(&add), shown(&bare));
        let what = format!("sync ADD / bare transaction, {held} held");
        report.add(&what, ratio(&add, &bare), "x", Some((2.0, false)), &how);
        let what = format!("sync DEL / bare transaction, {held} held");
        report.add(&what, ratio(&del, &bare), "x", None, &shown(&del));
        medians.push(add);
    }
    if let [first, last] = &medians[..] {
        let what = format!("sync ADD, {} held / none", options.held);
        report.add(&what, ratio(last, first), "x", Some((1.2, false)), "flat");
    }
    let cpu = processor_time(&place, options.runs)?;
    report.add("CPU of a sync ADD", cpu, "ms", Some((2.0, false)), "of the call itself");
    Ok(())
}

/// Many callers of one node at once.
pub(crate) fn many_callers(options: &Options, etcd: &Etcd, report: &mut Report) -> Outcome<()> {
    let calls = options.runs * 5;
    for (mode, index, goal) in [("sync", 4, Some((500.0, true))), ("local", 5, None)] {
        let place = Place::pool(etcd, index, mode, true);
        place.time("ADD", &id("warm", 0))?;
        for command in ["ADD", "DEL"] {
            let next = AtomicUsize::new(0);
            let call = place.call(command);
            let caller = || -> Outcome<Vec<Duration>> {
                let mut took = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= calls {
                        return Ok(took);
                    }
                    took.push(succeeded(&call, command, &id("many", n))?);
                }
            };
            let start = Instant::now();
            let took: Outcome<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().map_err(|_| "a caller has panicked".to_owned())?
                };
                threads.into_iter().map(join).collect()
            });
            let rate = calls as f64 / start.elapsed().as_secs_f64();
            let goal = goal.filter(|_| command == "ADD");
            let how = format!("{calls} calls; {}", shown(&summary(took?.concat())?));
            report.add(&format!("{mode} {command}, {CALLERS} callers"), rate, "/s", goal, &how);
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
    let goal = Some((0.05, false));
    let how = format!("{all} requests for {adds} ADDs one after the other, all of them flushed");
    report.add("requests per local ADD", all / adds as f64, "", goal, &how);
    let before = handled(etcd)?;
    let few = options.runs.clamp(1, 5);
    for n in 0..few {
        place.time("DEL", &id("row", n))?;
        place.wait_for_flushers()?;
    }
    let all = handled(etcd)? - before;
    let how = format!("{all} requests for {few} calls, each after the last one's flush");
    report.add("requests per lone call", all / few as f64, "", None, &how);
    Ok(())
}

/// How many requests of the key-value service etcd has answered.
fn handled(etcd: &Etcd) -> Outcome<f64> {
    let text = etcd.metrics(0).ok_or("etcd tells no metrics")?;
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
        std::thread::sleep(Duration::from_micros((n as u64 % 40) * 100));
        // Killed when this goes.
        drop(Owned(victim));
        after.push(sync.time("ADD", &id("after", n))?);
        sync.time("DEL", &id("after", n))?;
        sync.time("DEL", &id("victim", n))?;
    }
    let most = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let (worst_calm, worst) = (most(&calm), most(&after));
    let (calm, after) = (summary(calm)?, summary(after)?);
    let how = format!(
        "{}, longest {:.1} ms; else {:.2}, longest {:.1}",
        shown(&after),
        ms(worst),
        ms(calm.median),
        ms(worst_calm)
    );
    let what = "sync ADD after a killed one / else";
    report.add(what, ratio(&after, &calm), "x", Some((1.2, false)), &how);
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
    let how = format!("{}; else {:.2}", shown(&beside), ms(calm.median));
    let what = "local ADD while a sync ADD waits / else";
    report.add(what, ratio(&beside, &calm), "x", Some((1.2, false)), &how);
    Ok(())
}

fn times(place: &Place, purpose: &str, runs: usize) -> Outcome<Summary> {
    let mut took = Vec::new();
    for n in 0..runs {
        took.push(place.time("ADD", &id(purpose, n))?);
        place.time("DEL", &id(purpose, n))?;
    }
    summary(took)
}
