//! Figures, and how they are shown.

use std::time::Duration;

use serde_json::{Value, json};
use support::Summary;

use crate::Outcome;

/// Figures with what they are measured by.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Value>,
}

impl Report {
    /// A figure; `goal` with its bound, `true` where more is better.
    pub(crate) fn add(
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
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn summary(measured: Vec<Duration>) -> Outcome<Summary> {
    Summary::of(measured).ok_or_else(|| "nothing measured".to_owned())
}

pub(crate) fn shown(summary: &Summary) -> String {
    format!(
        "median {:.2} ms, p95 {:.2}, least {:.2}",
        ms(summary.median),
        ms(summary.p95),
        ms(summary.min)
    )
}

pub(crate) fn ratio(one: &Summary, other: &Summary) -> f64 {
    one.median.as_secs_f64() / other.median.as_secs_f64()
}
