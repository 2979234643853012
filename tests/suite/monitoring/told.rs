//! What is told: the metrics of the documentation's tables, which the agent's own tests compare with its code; and whether
//! a query asks for anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use support::repository;

use super::query::query;

/// What others tell, with the labels that are asked for.
const OTHERS: [(&str, &[&str]); 3] = [
    ("up", &[]),
    ("ALERTS", &["alertname", "alertstate", "severity"]),
    ("node_textfile_mtime_seconds", &["file"]),
];
/// What Prometheus adds to everything.
const ADDED: [&str; 2] = ["instance", "job"];

/// Labels by metric.
pub(super) type Told = BTreeMap<String, BTreeSet<String>>;

/// The metrics of a page's table.
pub(super) fn table(page: &str) -> Told {
    let text = fs::read_to_string(repository().join(page)).expect("the page can be read");
    let ticked = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `plat_")).map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (ticked(cells[1]).remove(0), ticked(cells[2]).into_iter().collect())
    });
    let told: Told = rows.collect();
    assert!(told.len() > 8, "{page} has a table: {told:?}");
    told
}

/// All that may be asked for.
pub(super) fn all() -> Told {
    let mut told = table("docs/plat-agent.md");
    told.extend(table("docs/operations/monitoring.md"));
    let histogram = "plat_agent_resync_duration_seconds";
    assert!(told.contains_key(histogram), "{histogram}");
    told.insert(format!("{histogram}_bucket"), ["le".to_owned()].into());
    for (name, labels) in OTHERS {
        told.insert(name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
    }
    told
}

/// The labels that what an expression asks for may have; panics if it asks for what is not told.
pub(super) fn labels(told: &Told, expression: &str, place: &str) -> BTreeSet<String> {
    let query = query(expression);
    assert!(!query.metrics.is_empty(), "{place} asks for nothing: {expression}");
    let mut all: BTreeSet<String> = ADDED.iter().map(|label| (*label).to_owned()).collect();
    for asked in query.metrics {
        let metric = &asked.metric;
        let has = told.get(metric).unwrap_or_else(|| panic!("{place}: nobody tells {metric}"));
        for label in &asked.labels {
            let known = has.contains(label) || ADDED.contains(&label.as_str());
            assert!(known, "{place}: {metric} has no label {label}");
        }
        all.extend(has.iter().cloned());
    }
    for label in &query.grouped {
        assert!(all.contains(label), "{place}: nothing has the label {label}: {expression}");
    }
    if query.grouped.is_empty() { all } else { query.grouped }
}

/// The labels that a text shows: `{{ $labels.x }}` in a rule, `{{x}}` in a dashboard.
pub(super) fn shown(text: &str) -> Vec<&str> {
    text.split("{{")
        .skip(1)
        .filter_map(|part| part.split_once("}}"))
        .map(|(inside, _)| inside.trim())
        .filter(|inside| !inside.starts_with("$value"))
        .map(|inside| inside.trim_start_matches("$labels."))
        .collect()
}
