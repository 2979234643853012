//! Many callers at once.

use bench_report::{Outcome, Rate, Report, all_at_once};

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
            let calls = if held <= 250 { options.calls } else { options.calls.div_ceil(5) };
            let targets: Vec<Target<'_>> = subjects
                .iter()
                .map(|subject| Target::new(subject, file_system, 16, false, held))
                .collect();
            targets.iter().try_for_each(Target::warm_up)?;
            for callers in options.callers.iter().copied() {
                let mut measured = Vec::new();
                for target in &targets {
                    let add = many(target, "ADD", callers, calls)?;
                    target.expect_held(calls as usize)?;
                    let del = many(target, "DEL", callers, calls)?;
                    target.expect_held(0)?;
                    measured.push([add, del]);
                }
                let base = reference_of(subjects, &measured);
                for (subject, both) in subjects.iter().zip(&measured) {
                    for (which, command) in ["ADD", "DEL"].into_iter().enumerate() {
                        let figure = both[which]
                            .figure(command)
                            .of(&subject.label)
                            .on(file_system.name())
                            .at("held", held)
                            .at("callers", callers);
                        report.add(match base.filter(|_| !subject.is_reference) {
                            Some((name, base)) => figure.against(name, base[which].per_second),
                            None => figure,
                        });
                    }
                }
            }
        }
    }
    Ok(())
}

/// `calls` calls by so many callers.
fn many(target: &Target<'_>, command: &str, callers: u32, calls: u32) -> Outcome<Rate> {
    let call = target.call(command);
    all_at_once(callers, calls, |n| {
        let timed = call.run(&id("many", n)).map_err(|e| e.to_string())?;
        expect_exit(target.subject, command, timed, 0)?;
        Ok(timed.took)
    })
}
