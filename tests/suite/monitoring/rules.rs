//! The rules.

use std::collections::BTreeSet;
use std::fs;

use super::told::{self, Told};
use super::{folder, passes, promtool};
use support::repository;

const FILE: &str = "plat.rules.yaml";
const PAGE: &str = "docs/operations/monitoring.md";

/// A rule, as it is written.
#[derive(Debug, Default)]
struct Rule {
    /// Whether it is an alert.
    is_alert: bool,
    name: String,
    expression: String,
    keys: Vec<(String, String)>,
}

impl Rule {
    fn key(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The rules of the file. Its shape is simple, and promtool says whether it is YAML.
fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(folder().join(FILE)).expect("the rules can be read");
    let (mut rules, mut rule): (Vec<Rule>, Option<Rule>) = (Vec::new(), None);
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some((kind, name)) = line.strip_prefix("- ").and_then(|rest| rest.split_once(": ")) {
            if kind == "name" {
                // The next group.
                rules.extend(rule.take());
            } else {
                let (is_alert, name) = (kind == "alert", name.to_owned());
                let next = Rule { is_alert, name, ..Rule::default() };
                rules.extend(rule.replace(next));
            }
            continue;
        }
        let Some(rule) = &mut rule else { continue };
        match line.split_once(": ") {
            Some(("expr", ">-")) => rule.keys.push(("expr".to_owned(), String::new())),
            Some(("expr", value)) => rule.expression = value.to_owned(),
            Some((key, value)) if key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
                rule.keys.push((key.to_owned(), value.trim_matches('"').to_owned()));
            }
            _ if rule.keys.last().is_some_and(|(key, _)| key == "expr") => {
                rule.expression.push_str(line);
                rule.expression.push(' ');
            }
            _ => {}
        }
    }
    rules.extend(rule);
    rules
}

/// What is told, with what the rules record.
pub(super) fn with_records() -> Told {
    let mut told = told::all();
    for rule in rules().iter().filter(|rule| !rule.is_alert) {
        let labels = told::labels(&told, &rule.expression, &rule.name);
        told.insert(rule.name.clone(), labels);
    }
    told
}

#[test]
fn rules_ask_for_nothing_that_nobody_tells() {
    let told = with_records();
    let rules = rules();
    assert!(rules.len() > 40, "{rules:?}");
    for rule in rules.iter().filter(|rule| rule.is_alert) {
        let name = &rule.name;
        let labels = told::labels(&told, &rule.expression, name);
        for key in ["summary", "description", "runbook_url"] {
            let text = rule.key(key).unwrap_or_else(|| panic!("{name} has no {key}"));
            for shown in told::shown(text) {
                assert!(labels.contains(shown), "{name}: {key} shows {shown}, and has {labels:?}");
            }
        }
        let severity = rule.key("severity");
        assert!(matches!(severity, Some("warning" | "critical")), "{name}: {severity:?}");
        // A restart is over when it is told.
        assert_eq!(rule.key("for").is_none(), name == "PlatVppRestarted", "{name}: for");
    }
}

/// The anchor that a heading has on GitHub.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_alert_has_a_page_a_row_and_a_test() {
    let tests = fs::read_to_string(folder().join("plat.rules.test.yaml")).expect("there are tests");
    let page = fs::read_to_string(repository().join(PAGE)).expect("there is a page");
    let mut named = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `Plat")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, severity) = (cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
        let link = cells[4].rsplit_once("](").and_then(|(_, rest)| rest.split_once(')'));
        let link = link.unwrap_or_else(|| panic!("{row}: no page")).0.to_owned();
        assert!(named.insert((name, severity, format!("docs/operations/{link}"))), "{row}: twice");
    }
    let mut alerts = BTreeSet::new();
    for rule in rules().iter().filter(|rule| rule.is_alert) {
        let name = &rule.name;
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
        let url = rule.key("runbook_url").expect("it has one");
        let (path, heading) = url.split_once('#').unwrap_or((url, ""));
        let text = fs::read_to_string(repository().join(path));
        let text = text.unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
        let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
        let found = headings.any(|it| anchor(it.trim_start_matches('#').trim()) == heading);
        assert!(heading.is_empty() || found, "{name}: {path} has no heading {heading}");
        let severity = rule.key("severity").expect("it has one").to_owned();
        alerts.insert((name.clone(), severity, url.to_owned()));
    }
    assert_eq!(named, alerts, "left: the table of {PAGE}, right: {FILE}");
}

#[test]
fn every_alert_fires_when_it_should_and_no_other() {
    let Some(promtool) = promtool("every_alert_fires_when_it_should_and_no_other") else { return };
    passes(&promtool, &["check", "rules", FILE], None);
    passes(&promtool, &["check", "config", "prometheus.yml"], None);
    passes(&promtool, &["test", "rules", "plat.rules.test.yaml"], None);
}
