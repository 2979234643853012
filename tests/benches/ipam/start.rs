//! What a program costs before it does anything: its size, and its start.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bench_report::{Figure, Outcome, Report, summary};
use support::{Scratch, TimedCall, binary};

use crate::options::Options;
use crate::subject::Subject;

/// Our plugins.
const PLUGINS: [&str; 5] = ["host-local", "node-local", "chain", "vpp", "etcd-pool"];
/// Our other programs.
const OTHERS: [&str; 2] = ["plat-agent", "plat"];
/// Times that are not counted.
const WARM: u32 = 3;

/// A program, once, whatever stores it was measured with.
struct One {
    name: String,
    binary: PathBuf,
    is_reference: bool,
}

fn programs(ours: &[&str], subjects: &[Subject]) -> Vec<One> {
    let ours = ours.iter().map(|name| One {
        name: (*name).to_owned(),
        binary: binary(name),
        is_reference: false,
    });
    let others = subjects.iter().filter(|it| !it.is_ours).map(|it| One {
        name: it.label.clone(),
        binary: it.binary.clone(),
        is_reference: it.is_reference,
    });
    ours.chain(others).collect()
}

/// Reports a figure of each program; only those of host-local's kind are compared.
fn add_all(report: &mut Report, all: &[One], figures: Vec<Figure>) {
    let base = all.iter().zip(&figures).find(|(one, _)| one.is_reference);
    let base = base.map(|(one, figure)| (one.name.clone(), figure.value));
    for (one, figure) in all.iter().zip(figures) {
        let figure = figure.of(&one.name);
        report.add(match base.as_ref().filter(|_| !one.is_reference) {
            Some((name, value)) => figure.against(name, *value),
            None => figure,
        });
    }
}

/// The size of each binary.
pub(crate) fn sizes(subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    let all = programs(&[&PLUGINS[..], &OTHERS[..]].concat(), subjects);
    let mut figures = Vec::new();
    for one in &all {
        let metadata = fs::metadata(&one.binary);
        let size = metadata.map_err(|e| format!("{}: {e}", one.binary.display()))?.len();
        figures.push(
            Figure::new("size", "size of the binary", size as f64 / 1e6, "MB")
                .how(format!("{size} bytes")),
        );
    }
    add_all(report, &all, figures);
    Ok(())
}

/// The time of a process that answers VERSION, in turns.
pub(crate) fn times(options: &Options, subjects: &[Subject], report: &mut Report) -> Outcome<()> {
    let all = programs(&PLUGINS, subjects);
    let scratch = Scratch::on_tmpfs("bench-start");
    let config = scratch.write("config.json", "{\"cniVersion\":\"1.0.0\"}");
    let (state, run) = (scratch.path().join("state"), scratch.path().join("run"));
    let calls: Vec<TimedCall> = all
        .iter()
        .map(|one| TimedCall::new(&one.binary, "VERSION", &config, &state, &run))
        .collect();
    let mut took = vec![Vec::<Duration>::new(); all.len()];
    for n in 0..options.runs + WARM {
        for ((one, call), took) in all.iter().zip(&calls).zip(&mut took) {
            let timed = call.run("none").map_err(|e| format!("{}: {e}", one.name))?;
            if timed.exit != Some(0) {
                return Err(format!("{}: VERSION ends with {:?}", one.name, timed.exit));
            }
            if n >= WARM {
                took.push(timed.took);
            }
        }
    }
    let mut figures = Vec::new();
    for took in took {
        let summary = summary(took)?;
        figures.push(Figure::time("start", "VERSION", &summary));
    }
    add_all(report, &all, figures);
    Ok(())
}
