//! ADD and DEL one after the other: over held addresses, and where it is hardest.

use std::time::{Duration, Instant};

use bench_report::{Figure, Outcome, Report, Summary, ms};

use crate::options::Options;
use crate::subject::{Subject, reference_of};
use crate::target::{Target, id};
use crate::worker::Worker;

/// So many rounds a figure has at least, however long they take.
const FEWEST_ROUNDS: u32 = 5;
/// After so many rounds it is known who is slow.
const LOOK_AFTER: u32 = 2;
/// So many calls one turn has at most.
const MOST_IN_A_TURN: u32 = 12;
/// So much slower the slowest is, when others are called more than once a turn.
const MUCH_SLOWER: u32 = 10;
/// A call that takes longer is called once only for its memory: under strace it takes many times as long.
const LONG: Duration = Duration::from_millis(100);
const COMMANDS: [&str; 2] = ["ADD", "DEL"];
/// What a figure of a command's processor time is called.
const PROCESSOR: [&str; 2] = ["CPU of an ADD", "CPU of a DEL"];

/// What one command of one plugin costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Summary,
    processor: Duration,
    /// In MB; not known without strace, and where it is not measured.
    memory: Option<f64>,
}

/// How often one is called in each of the turns to come, when `rounds` took `took` with one call each: once where all
/// `runs` fit into the time, or where it is slow itself; else so often that it comes to `runs`.
fn in_a_turn(
    runs: u32,
    rounds: u32,
    took: Duration,
    patience: Duration,
    own: Duration,
    slowest: Duration,
) -> u32 {
    let round = took.as_secs_f64() / f64::from(rounds.max(1));
    let left = patience.saturating_sub(took).as_secs_f64();
    // At least one, so that nothing is divided by none; a number that is too large for its type becomes the largest.
    let fewest = FEWEST_ROUNDS.saturating_sub(rounds).max(1);
    let to_come = if round > 0.0 { ((left / round).ceil() as u32).max(fewest) } else { u32::MAX };
    let wanted = runs.saturating_sub(rounds);
    if to_come >= wanted || own.saturating_mul(MUCH_SLOWER) > slowest {
        return 1;
    }
    wanted.div_ceil(to_come).clamp(1, MOST_IN_A_TURN)
}

/// Calls in turns: each of `all` is the commands that follow each other with one ID and must end with `exit`.
fn take_turns(
    all: &mut [Vec<Worker<'_>>],
    runs: u32,
    options: &Options,
    purpose: &str,
    exit: i32,
) -> Outcome<()> {
    let patience = Duration::from_secs(options.patience);
    let start = Instant::now();
    let mut times = vec![1; all.len()];
    let mut number = 0;
    for round in 0..runs {
        if round >= FEWEST_ROUNDS && start.elapsed() > patience {
            break;
        }
        if round == LOOK_AFTER {
            let own: Vec<Duration> = all
                .iter()
                .map(|one| one.iter().map(|worker| worker.measured.iter().sum::<Duration>()).sum())
                .collect();
            let slowest = own.iter().max().copied().unwrap_or_default();
            let took = start.elapsed();
            let times_of = |own| in_a_turn(runs, round, took, patience, own, slowest);
            times = own.into_iter().map(times_of).collect();
        }
        for (one, times) in all.iter_mut().zip(&times) {
            for _ in 0..*times {
                number += 1;
                for worker in one.iter_mut() {
                    worker.call(&id(purpose, number), exit)?;
                }
            }
        }
    }
    Ok(())
}

/// The costs of ADD and DEL of each target, measured in turns.
fn in_turns(
    targets: &[Target<'_>],
    runs: u32,
    options: &Options,
    purpose: &str,
    is_memory_wanted: bool,
) -> Outcome<Vec<[Cost; 2]>> {
    let mut workers = Vec::new();
    for target in targets {
        target.warm_up()?;
        workers.push(vec![Worker::start(target, "ADD")?, Worker::start(target, "DEL")?]);
    }
    take_turns(&mut workers, runs, options, purpose, 0)?;
    let mut costs = Vec::new();
    for (target, workers) in targets.iter().zip(workers) {
        let [add, del] =
            <[Worker<'_>; 2]>::try_from(workers).map_err(|_| "two workers are wanted")?;
        let ((add, add_processor), (del, del_processor)) = (add.finish()?, del.finish()?);
        target.expect_held(0)?;
        let times = match (is_memory_wanted, add.median > LONG) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => runs.min(3),
        };
        let mut memory = [None; 2];
        for n in 0..times {
            for (command, peak) in COMMANDS.into_iter().zip(&mut memory) {
                let now = target.call(command).peak_memory(&id("memory", n));
                *peak = now.map_err(|e| format!("strace: {e}"))?.max(*peak);
            }
        }
        if times > 0 {
            target.expect_held(0)?;
        }
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
        for held in options.sizes_on(file_system) {
            let targets: Vec<Target<'_>> = subjects
                .iter()
                .map(|subject| Target::new(subject, file_system, 16, false, held))
                .collect();
            let is_memory_wanted = file_system == options.file_system();
            let costs = in_turns(&targets, options.runs, options, "run", is_memory_wanted)?;
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
                    let spent =
                        Figure::new("processor", PROCESSOR[which], ms(cost[which].processor), "ms");
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
    let targets: Vec<Target<'_>> = subjects
        .iter()
        .map(|subject| Target::new(subject, file_system, options.full, false, all))
        .collect();
    let mut workers = Vec::new();
    for target in &targets {
        let mut worker = Worker::start(target, "ADD")?;
        worker.call(&id("first", 0), 1)?;
        worker.measured.clear();
        workers.push(vec![worker]);
    }
    take_turns(&mut workers, options.runs, options, "full", 1)?;
    let mut failing = Vec::new();
    for worker in workers.into_iter().flatten() {
        failing.push(worker.finish()?.0);
    }
    targets.iter().try_for_each(|target| target.expect_held(0))?;
    drop(targets);
    show(&format!("ADD that fails, full /{}", options.full), &failing);

    let targets: Vec<Target<'_>> = subjects
        .iter()
        .map(|subject| Target::new(subject, file_system, 16, true, options.dual))
        .collect();
    let costs = in_turns(&targets, options.runs, options, "dual", false)?;
    for (which, command) in COMMANDS.into_iter().enumerate() {
        let summaries: Vec<Summary> = costs.iter().map(|costs| costs[which].wall).collect();
        show(&format!("{command}, two stacks, {} held each", options.dual), &summaries);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_slow_one_others_are_called_more_than_once_a_turn() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        for (runs, took, patience, own, slowest, times) in [
            // All fit in.
            (60, ms(50), s(5), ms(20), ms(25), 1),
            (60, ms(500), s(20), ms(20), ms(400), 1),
            // 15 rounds more instead of 55.
            (60, s(5), s(20), ms(20), s(4), 4),
            // The slow one itself, and one that is not much faster.
            (60, s(5), s(20), s(4), s(4), 1),
            (60, s(5), s(20), ms(500), s(4), 1),
            // No time is left, or none of it was measured.
            (60, s(30), s(20), ms(20), s(25), MOST_IN_A_TURN),
            (60, s(0), s(20), ms(0), ms(0), 1),
            (5, s(30), s(20), ms(20), s(25), 1),
        ] {
            let told = (runs, took, patience, own, slowest);
            assert_eq!(in_a_turn(runs, 5, took, patience, own, slowest), times, "{told:?}");
        }
        // Three rounds there are at any rate.
        assert_eq!(in_a_turn(10, 2, s(4), s(3), ms(10), s(3)), 3);
        assert_eq!(in_a_turn(3, 0, s(0), s(0), s(0), s(0)), 1);
    }
}
