//! Figures of benchmarks, and how they are shown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Summary;
use serde_json::{Value, json};

/// Figures with what they are measured by, printed as rows of a table as they come.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Value>,
}

impl Report {
    /// A figure; `goal` with its bound, `true` where more is better.
    pub fn add(
        &mut self,
        what: &str,
        figure: f64,
        unit: &str,
        goal: Option<(f64, bool)>,
        how: &str,
    ) {
        let met = goal.map(|(bound, more)| if more { figure >= bound } else { figure <= bound });
        let shown = goal.map_or_else(String::new, |(bound, more)| {
            format!("{} {bound}", if more { "at least" } else { "at most" })
        });
        let verdict = match met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        println!("| {what} | {figure:.3} {unit} | {shown} | {verdict} | {how} |");
        self.rows.push(json!({
            "what": what, "figure": figure, "unit": unit, "goal": goal.map(|(bound, _)| bound),
            "met": met, "how": how,
        }));
    }

    /// The lines above the rows.
    pub fn begin(heading: &str) -> Self {
        Self::go_on(heading, Vec::new())
    }

    /// The same after some `rows` that were printed before.
    pub fn go_on(heading: &str, rows: Vec<Value>) -> Self {
        println!("{heading}");
        println!("| what | figure | goal | | how |\n|---|---|---|---|---|");
        Self { rows }
    }

    /// The rows, for another process.
    pub fn into_rows(self) -> Vec<Value> {
        self.rows
    }

    /// Writes all of them to `file`, for programs.
    pub fn write(&self, heading: &str, file: &Path) -> Result<(), String> {
        let text = format!("{:#}\n", json!({ "heading": heading, "figures": self.rows }));
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        println!("\n{}", file.display());
        Ok(())
    }
}

/// When, where, and how the figures were measured; `more` are lines about what is measured.
pub fn heading(more: &[String], runs: usize) -> String {
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or("?").to_owned()
    };
    format!(
        "Date: {}\nMachine: {} processors, kernel {}, load {}\n{}\nCommand: {}, {runs} runs\n",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        line("/proc/sys/kernel/osrelease"),
        line("/proc/loadavg"),
        more.join("\n"),
        std::env::args().collect::<Vec<_>>().join(" "),
    )
}

/// The first line that a program prints.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Of at least one measurement.
pub fn summary(measured: Vec<Duration>) -> Result<Summary, String> {
    Summary::of(measured).ok_or_else(|| "nothing measured".to_owned())
}

/// As text.
pub fn shown(summary: &Summary) -> String {
    format!(
        "median {:.2} ms, p95 {:.2}, least {:.2}",
        ms(summary.median),
        ms(summary.p95),
        ms(summary.min)
    )
}

/// Of the medians.
pub fn ratio(one: &Summary, other: &Summary) -> f64 {
    one.median.as_secs_f64() / other.median.as_secs_f64()
}
