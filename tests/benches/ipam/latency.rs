//! ADD and DEL one after the other: over held addresses, and where it is hardest.

use std::time::{Duration, Instant};

use bench_report::{Figure, Outcome, Report, Summary, ms};

use crate::options::Options;
use crate::subject::{Subject, reference_of};
use crate::target::{Target, id};
use crate::worker::Worker;

/// So many rounds a figure has at least, however long they take.
const FEWEST_ROUNDS: u32 = 5;
const COMMANDS: [&str; 2] = ["ADD", "DEL"];

/// What one command of one plugin costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Summary,
    processor: Duration,
    /// In MB; not known without strace.
    memory: Option<f64>,
}

/// The costs of ADD and DEL of each target, measured in turns.
fn in_turns(
    targets: &[Target<'_>],
    runs: u32,
    options: &Options,
    purpose: &str,
) -> Outcome<Vec<[Cost; 2]>> {
    let patience = Duration::from_secs(options.patience);
    let mut workers = Vec::new();
    for target in targets {
        target.warm_up()?;
        workers.push([Worker::start(target, "ADD")?, Worker::start(target, "DEL")?]);
    }
    let start = Instant::now();
    for n in 0..runs {
        if n >= FEWEST_ROUNDS && start.elapsed() > patience {
            break;
        }
        for worker in workers.iter_mut().flatten() {
            worker.call(&id(purpose, n), 0)?;
        }
    }
    let mut costs = Vec::new();
    for (target, [add, del]) in targets.iter().zip(workers) {
        let ((add, add_processor), (del, del_processor)) = (add.finish()?, del.finish()?);
        target.expect_held(0)?;
        let mut memory = [None; 2];
        for n in 0..runs.min(3) {
            for (command, peak) in COMMANDS.into_iter().zip(&mut memory) {
                let now = target.call(command).peak_memory(&id("memory", n));
                *peak = now.map_err(|e| format!("strace: {e}"))?.max(*peak);
            }
        }
        target.expect_held(0)?;
        let [add_memory, del_memory] = memory.map(|kib| kib.map(|kib| kib as f64 * 1024.0 / 1e6));
        costs.push([
            Cost { wall: add, processor: add_processor, memory: add_memory },
            Cost { wall: del, processor: del_processor, memory: del_memory },
        ]);
    }
    Ok(costs)
}

/// With more and more addresses held.
pub(crate) fn over_held(
    options: &Options,
    subjects: &[Subject],
    report: &mut Report,
) -> Outcome<()> {
    for file_system in options.file_systems() {
        for held in options.sizes.iter().copied() {
            let targets: Vec<Target<'_>> = subjects
                .iter()
                .map(|subject| Target::new(subject, file_system, 16, false, held))
                .collect();
            let costs = in_turns(&targets, options.runs, options, "run")?;
            let base = reference_of(subjects, &costs);
            for (subject, cost) in subjects.iter().zip(&costs) {
                let mut add = |figure: Figure, base: Option<(&str, f64)>| {
                    let figure = figure.of(&subject.label).on(file_system.name()).at("held", held);
                    report.add(match base.filter(|_| !subject.is_reference) {
                        Some((name, value)) => figure.against(name, value),
                        None => figure,
                    });
                };
                let of_base = |value: &dyn Fn(&[Cost; 2]) -> Option<f64>| {
                    base.and_then(|(name, base)| Some((name, value(base)?)))
                };
                for (which, command) in COMMANDS.into_iter().enumerate() {
                    let time = Figure::time("time", command, &cost[which].wall);
                    add(time, of_base(&|base| Some(ms(base[which].wall.median))));
                    let spent = Figure::new("processor", command, ms(cost[which].processor), "ms");
                    add(spent, of_base(&|base| Some(ms(base[which].processor))));
                }
                let most = |[add, del]: &[Cost; 2]| Some(add.memory?.max(del.memory?));
                if let Some(memory) = most(cost) {
                    add(Figure::new("memory", "memory of a call", memory, "MB"), of_base(&most));
                }
            }
        }
    }
    Ok(())
}

/// A pool that is full, and two addresses at once.
pub(crate) fn special(options: &Options, subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    let file_system = options.file_system();
    let mut show = |case: &str, summaries: &[Summary]| {
        let base = reference_of(subjects, summaries);
        for (subject, summary) in subjects.iter().zip(summaries) {
            let figure =
                Figure::time("special", case, summary).of(&subject.label).on(file_system.name());
            report.add(match base.filter(|_| !subject.is_reference) {
                Some((name, base)) => figure.against(name, ms(base.median)),
                None => figure,
            });
        }
    };

    // All but network, broadcast and gateway.
    let all = (1_u32 << (32 - options.full)) - 3;
    let mut failing = Vec::new();
    for subject in subjects {
        let target = Target::new(subject, file_system, options.full, false, all);
        let mut worker = Worker::start(&target, "ADD")?;
        worker.call(&id("first", 0), 1)?;
        worker.measured.clear();
        for n in 0..options.runs.clamp(1, 10) {
            worker.call(&id("full", n), 1)?;
        }
        failing.push(worker.finish()?.0);
        target.expect_held(0)?;
    }
    show(&format!("ADD that fails, full /{}", options.full), &failing);

    let targets: Vec<Target<'_>> = subjects
        .iter()
        .map(|subject| Target::new(subject, file_system, 16, true, options.dual))
        .collect();
    let costs = in_turns(&targets, options.runs.div_ceil(4), options, "dual")?;
    for (which, command) in COMMANDS.into_iter().enumerate() {
        let summaries: Vec<Summary> = costs.iter().map(|costs| costs[which].wall).collect();
        show(&format!("{command}, two stacks, {} held each", options.dual), &summaries);
    }
    Ok(())
}
