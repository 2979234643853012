//! Collects a benchmark's figures, and prints them as rows of a table as they come.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::figures::{Figure, Machine, Program, Run, SCHEMA};
use crate::machine::{self, Ticks};
use crate::page::text;
use crate::{Outcome, options};

/// A run in the making. As JSON, another process can go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    run: Run,
    began: Duration,
    ticks: Option<Ticks>,
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A line for people; that nobody reads it is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl Report {
    /// Of a benchmark called `bench`, whose program is `bench-BENCH`. Prints what is known before anything is measured.
    #[must_use]
    pub fn begin(
        bench: &str,
        arguments: &[String],
        machine: Machine,
        programs: Vec<Program>,
    ) -> Self {
        let run = Run {
            schema: SCHEMA,
            bench: bench.to_owned(),
            command: options::command_line(&format!("bench-{bench}"), arguments),
            begun: machine::date(),
            machine,
            programs,
            ..Run::default()
        };
        say(&heading(&run));
        say("| ratio | what | figure | goal | | how |\n|---|---|---|---|---|---|");
        Self { run, began: now(), ticks: Ticks::now() }
    }

    /// A figure more.
    pub fn add(&mut self, figure: Figure) {
        say(&row(&figure));
        self.run.figures.push(figure);
    }

    /// Something that is not measured, and why.
    pub fn without(&mut self, what: &str, why: &str) {
        say(&format!("| | {what} | ? | | | {why} |"));
    }

    /// The program of which it is known only now.
    pub fn program(&mut self, program: Program) {
        self.run.programs.push(program);
    }

    /// Writes all figures to `json`, if that is wanted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self, json: Option<&Path>) -> Outcome<()> {
        self.run.seconds = now().saturating_sub(self.began).as_secs_f64();
        self.run.machine.load_end = machine::load();
        let ticks = Ticks::now().zip(self.ticks);
        self.run.machine.steal = ticks.and_then(|(after, before)| after.steal_since(before));
        let Machine { load_end, steal, .. } = &self.run.machine;
        let steal = steal.map_or_else(|| "unknown".to_owned(), |it| format!("{:.1} %", it * 100.0));
        say(&format!("\n{:.0} s; load at the end {load_end}, steal {steal}", self.run.seconds));
        let Some(path) = json else { return Ok(()) };
        let trouble = |e: std::io::Error| format!("{}: {e}", path.display());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(trouble)?;
        }
        fs::write(path, self.run.write().map_err(|e| e.to_string())?).map_err(trouble)
    }
}

/// When, where and what.
fn heading(run: &Run) -> String {
    let Run { machine, .. } = run;
    let mut text = format!(
        "Date: {}\nMachine: {}, {} cores, {:.1} GB, kernel {}\nLoad: {}\nCommand: {}\n",
        run.begun,
        machine.processor,
        machine.cores,
        machine.memory_gb,
        machine.kernel,
        machine.load_begin,
        run.command,
    );
    for (name, kind) in &machine.file_systems {
        text += &format!("File system: {name} is {kind}\n");
    }
    for program in &run.programs {
        let role = if program.is_reference { " (the reference)" } else { "" };
        text += &format!("Program: {}{role}: {}\n", program.name, program.version);
    }
    text
}

/// A figure as a row, its ratio first.
fn row(figure: &Figure) -> String {
    let ratio = figure.ratio().map(text::ratio).unwrap_or_default();
    let circumstances = text::circumstances(figure);
    let goal = figure.goal.map(|goal| text::goal(&goal)).unwrap_or_default();
    let verdict = match figure.is_met() {
        None => "",
        Some(true) => "met",
        Some(false) => "MISSED",
    };
    let mut how = text::spread(figure);
    if let Some(against) = &figure.against {
        how.push(format!("{}: {}", against.of, text::quantity(against.value, &figure.unit)));
    }
    how.extend(Some(figure.how.clone()).filter(|how| !how.is_empty()));
    let value = text::quantity(figure.value, &figure.unit);
    format!("| {ratio} | {circumstances} | {value} | {goal} | {verdict} | {} |", how.join("; "))
}
