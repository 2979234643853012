//! Many callers at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bench_report::{Figure, Outcome, Report, Summary, ms, summary};

use crate::options::Options;
use crate::subject::{Subject, reference_of};
use crate::target::{Target, expect_exit, id};

/// Calls per second over how many call.
pub(crate) fn over_callers(
    options: &Options,
    subjects: &[Subject],
    report: &mut Report,
) -> Outcome<()> {
    for file_system in options.file_systems() {
        for held in options.callers_held.iter().copied() {
            // With many held, the reference takes its time.
            let calls = if held <= 250 { options.calls } else { options.calls.div_ceil(4) };
            let targets: Vec<Target<'_>> = subjects
                .iter()
                .map(|subject| Target::new(subject, file_system, 16, false, held))
                .collect();
            targets.iter().try_for_each(Target::warm_up)?;
            for callers in options.callers.iter().copied() {
                let mut measured = Vec::new();
                for target in &targets {
                    let add = all_at_once(target, "ADD", callers, calls)?;
                    target.expect_held(calls as usize)?;
                    let del = all_at_once(target, "DEL", callers, calls)?;
                    target.expect_held(0)?;
                    measured.push([add, del]);
                }
                let base = reference_of(subjects, &measured);
                for (subject, both) in subjects.iter().zip(&measured) {
                    for (which, command) in ["ADD", "DEL"].into_iter().enumerate() {
                        let (rate, waited) = both[which];
                        let how = format!(
                            "{calls} calls, each median {:.2} ms, p95 {:.2}",
                            ms(waited.median),
                            ms(waited.p95)
                        );
                        let figure = Figure::new("callers", command, rate, "/s")
                            .of(&subject.label)
                            .on(file_system.name())
                            .at("held", held)
                            .at("callers", callers)
                            .how(how);
                        report.add(match base.filter(|_| !subject.is_reference) {
                            Some((name, base)) => figure.against(name, base[which].0),
                            None => figure,
                        });
                    }
                }
            }
        }
    }
    Ok(())
}

/// `calls` calls by so many callers: calls per second, and what each caller waited.
fn all_at_once(
    target: &Target<'_>,
    command: &str,
    callers: u32,
    calls: u32,
) -> Outcome<(f64, Summary)> {
    let call = target.call(command);
    let next = AtomicU32::new(0);
    let caller = || -> Outcome<Vec<Duration>> {
        let mut took = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= calls {
                return Ok(took);
            }
            let timed = call.run(&id("many", n)).map_err(|e| e.to_string())?;
            expect_exit(target.subject, command, timed, 0)?;
            took.push(timed.took);
        }
    };
    let start = Instant::now();
    let took: Outcome<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a caller has panicked".to_owned())?)
            .collect()
    });
    let elapsed = start.elapsed();
    Ok((f64::from(calls) / elapsed.as_secs_f64(), summary(took?.concat())?))
}
