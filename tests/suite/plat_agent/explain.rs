//! `--dry-run` tells of every route what would be done and why, in a table and as JSON.

use std::collections::BTreeSet;

use serde_json::Value;
use support::documented;

use super::cluster::Node;

/// What a dry run has told: an action, a destination and the reason, for each route of each sink.
#[derive(Debug)]
pub(super) struct Explained(Vec<(String, String, String)>);

impl Explained {
    /// Whether it says so.
    pub(super) fn has(&self, action: &str, destination: &str, reason: &str) -> bool {
        self.0.iter().any(|(its_action, its_destination, its_reason)| {
            its_action == action && its_destination == destination && its_reason.contains(reason)
        })
    }

    /// How many routes there are with an action.
    pub(super) fn count(&self, action: &str) -> usize {
        self.0.iter().filter(|(its, ..)| its == action).count()
    }
}

/// A dry run on a node. Every route has a reason, every route of the agent's in the kernel is told of, the
/// table tells the same, and nothing is changed.
pub(super) fn explained(node: &Node) -> Explained {
    let before = node.space.routes();
    let (exit, document) = node.agent(&["--dry-run", "--json"]);
    assert!(matches!(exit, Some(0 | 1)), "{document}");
    documented(["plat-agent", "--json"], &document);
    let report: Value = serde_json::from_str(&document).expect("one JSON document");
    let mut all = Vec::new();
    for row in rows(&report) {
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        assert!(!word("reason").is_empty() && !word("route").is_empty(), "{row}");
        let known = !matches!(word("action").as_str(), "remove" | "hold");
        assert!(!known || row["node"].is_string(), "{row}");
        all.push((word("action"), word("destination"), word("reason")));
    }
    for row in report["refused"].as_array().expect("a list") {
        for key in ["destination", "node", "origin", "reason"] {
            assert!(row[key].as_str().is_some_and(|text| !text.is_empty()), "{row}");
        }
    }
    let told: BTreeSet<&str> = all.iter().map(|(_, destination, _)| destination.as_str()).collect();
    let ours = before.iter().filter(|line| line.contains("proto 205"));
    for destination in ours.filter_map(|line| line.split(' ').next()) {
        // The kernel's tools leave the prefix length of one address out.
        let whole =
            [destination.to_owned(), format!("{destination}/32"), format!("{destination}/128")];
        assert!(whole.iter().any(|it| told.contains(it.as_str())), "nothing about {destination}");
    }
    let (exit, table) = node.agent(&["--dry-run"]);
    assert!(matches!(exit, Some(0 | 1)), "{table}");
    let plain: Vec<String> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for (action, destination, reason) in &all {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = plain.iter().any(|line| {
            line.starts_with(&format!("{action} {destination} ")) && line.contains(&reason)
        });
        assert!(shown, "no {action} {destination} {reason} in\n{table}");
    }
    Explained(all)
}

fn rows(report: &Value) -> impl Iterator<Item = &Value> {
    let sinks = report["sinks"].as_array().expect("a list").iter();
    sinks.flat_map(|sink| sink["routes"].as_array().expect("a list"))
}
