//! What the page says of itself, of the machine, and of how it was measured.

use super::text::{cell, table, wrapped};
use crate::chart::number;
use crate::figures::Run;

/// The beginning.
pub(super) fn head(command: &str) -> String {
    format!(
        "# Benchmarks\n\n\
         <!-- Written by `{}`: changes made by hand are lost. -->\n\n\
         This page is written by `{}` from what it has measured, all of it. Ratios come first: what is compared was measured in \
         turns in the same run, so that they carry over to other machines, which times do not. A ratio is the figure divided by the one it is compared with: below 1 is better for times, processor \
         time, memory and sizes, above 1 for calls a second. Times are medians of whole calls, a \
         process of its own for each, from before its start until it has been waited for.\n\n",
        // Nothing ends the comment.
        command.replace("--", "- -"),
        command.replace('`', ""),
    )
}

/// What was measured on, by what, meanwhile.
pub(super) fn machine(runs: &[Run]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let machine = &first.machine;
    let mut text = format!(
        "## Machine, load, versions\n\n{}, {} cores, {} GB of memory, Linux {}.",
        cell(&machine.processor),
        machine.cores,
        number(machine.memory_gb),
        cell(&machine.kernel),
    );
    let mut file_systems: Vec<String> = Vec::new();
    for (name, kind) in runs.iter().flat_map(|run| &run.machine.file_systems) {
        let words = if name == kind { name.clone() } else { format!("{name} is {kind}") };
        if !file_systems.contains(&words) {
            file_systems.push(words);
        }
    }
    if !file_systems.is_empty() {
        text += &format!(" File systems: {}.", cell(&file_systems.join(", ")));
    }
    text += " Load is the average over 1, 5 and 15 minutes, and the benchmark itself is part of it at the end; steal is the share of the \
             processors' time that the hypervisor gave to others.\n\n";
    text = wrapped(&text) + "\n\n";
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let Run { machine, .. } = run;
            let steal = machine.steal;
            vec![
                format!("`{}`", run.command.replace('`', "")),
                run.begun.clone(),
                format!("{} s", number(run.seconds.round())),
                machine.load_begin.clone(),
                machine.load_end.clone(),
                steal.map_or_else(|| "?".to_owned(), |it| format!("{:.1} %", it * 100.0)),
            ]
        })
        .collect();
    text += &table(&["command", "begun", "took", "load, begin", "end", "steal"], &rows);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for program in runs.iter().flat_map(|run| &run.programs) {
        let role = if program.is_reference { "the reference" } else { "" };
        let row = vec![program.name.clone(), program.version.clone(), role.to_owned()];
        if !rows.iter().any(|other| other.first() == row.first()) {
            rows.push(row);
        }
    }
    text + &table(&["program", "version", ""], &rows)
}

/// How it was measured.
pub(super) fn method(runs: &[Run]) -> String {
    if runs.is_empty() {
        return "Nothing was measured.\n".to_owned();
    }
    "## How it is measured\n\n\
     - What is compared takes turns, call by call, each in a place of its own, so that whatever else the machine does hurts all \
     alike. Where one plugin is so slow that its figure ends early, the others that take less than a tenth of its time are called \
     several times in each turn: the number of calls stands beside each.\n\
     - More than 10,000 addresses held, an ADD that fails, and two stacks are measured on tmpfs only: on a disk, nearly all of the time \
     would go into making files and removing them again.\n\
     - CPU is processor time, of the user and of the system: the mean of the calls, as the kernel counts it for children that have been waited for.\n\
     - Nothing is done between `fork` and `exec`, standard input is the configuration's file, outputs go nowhere; a call that does \
     not succeed ends the benchmark, and after each figure what is held is compared with what should be.\n\
     - Programs that do nothing but the requests that cannot be done without (one transaction of etcd, the same messages to VPP, the \
     same routes to the kernel) are linked as the plugins are, and are processes of their own, too.\n\
     - Memory is `VmHWM`, the most that was resident, read while the process is held where it exits, by strace: the larger \
     of an ADD and a DEL, of up to three each, on one file system.\n\
     - `make bench` measures all of it, in about a quarter of an hour once everything is built, and writes this page; `BENCH_QUICK=1` takes a few minutes and is for looking at the page. \
     `make bench-ipam`, `bench-pool`, `bench-vpp`, `bench-agent` measure one part and print it; `BENCH_OPTIONS='--help'` \
     says what can be asked for: other numbers, another reference (`--reference FILE`), further plugins (`--with FILE`). \
     `make bench-scale` simulates [5,000 nodes](scale.md).\n\
     - The figures are in `target/bench`, as JSON; `tests/benches/report` says how they are written and makes the page.\n"
        .to_owned()
}
