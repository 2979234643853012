//! The dashboard.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use support::Scratch;

use super::rules::with_records;
use super::{folder, passes, promtool, told};

fn dashboard() -> Value {
    let text = fs::read_to_string(folder().join("plat-dashboard.json")).expect("it can be read");
    serde_json::from_str(&text).expect("it is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is missing in {value}"))
}

/// The expressions of all panels: the panel's title, the expression, its legend.
fn expressions(dashboard: &Value) -> Vec<(&str, &str, &str)> {
    let panels = list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row");
    let targets = panels.flat_map(|panel| {
        let title = text(panel, "title");
        list(panel, "targets").iter().map(move |target| (title, target))
    });
    targets.map(|(title, it)| (title, text(it, "expr"), text(it, "legendFormat"))).collect()
}

#[test]
fn every_panel_is_whole() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "it is of a current Grafana");
    let (mut ids, mut titles, mut places) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut rows = Vec::new();
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().expect("an ID")), "{title}: its ID is there twice");
        assert!(titles.insert(title), "{title} is there twice");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && places.insert((x, y)), "{title} lies over another one");
            }
        }
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        assert!(text(panel, "description").ends_with('.'), "{title}: its description");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}: its unit");
        let targets = list(panel, "targets");
        assert!(!targets.is_empty(), "{title} shows nothing");
        let references: BTreeSet<&str> = targets.iter().map(|it| text(it, "refId")).collect();
        assert_eq!(references.len(), targets.len(), "{title}: a refId is there twice");
        for source in targets.iter().chain([panel]).map(|it| &it["datasource"]) {
            assert_eq!(text(source, "uid"), "${datasource}", "{title}");
        }
    }
    assert!(rows.len() >= 6, "{rows:?}");
    let variables: Vec<&str> =
        list(&dashboard["templating"], "list").iter().map(|it| text(it, "name")).collect();
    assert_eq!(variables, ["datasource", "node", "network"]);
    for (title, expression, _) in expressions(&dashboard) {
        for part in expression.split('$').skip(1) {
            let name = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
            let name = name.unwrap_or_default();
            let known = variables.contains(&name) || name == "__rate_interval";
            assert!(known, "{title}: nothing is named ${name}");
        }
    }
}

#[test]
fn the_dashboard_asks_for_nothing_that_nobody_tells() {
    let told = with_records();
    let dashboard = dashboard();
    for (title, expression, legend) in expressions(&dashboard) {
        let labels = told::labels(&told, expression, title);
        for shown in told::shown(legend) {
            assert!(labels.contains(shown), "{title}: its legend shows {shown}: {labels:?}");
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (metric, label) = inside.and_then(|it| it.rsplit_once(", ")).expect("a label");
            assert!(told::labels(&told, metric, query).contains(label), "{query}");
        }
    }
}

#[test]
fn every_query_of_the_dashboard_is_one() {
    let Some(promtool) = promtool("every_query_of_the_dashboard_is_one") else { return };
    let dashboard = dashboard();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, (_, expression, _)) in expressions(&dashboard).iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        rules.push_str(&format!("      - record: query:{number}\n        expr: >-\n"));
        rules.push_str(&format!("          {expression}\n"));
    }
    let scratch = Scratch::new("dashboard");
    let file = scratch.write("rules.yaml", rules);
    passes(&promtool, &["check", "rules", file.to_str().expect("a path")], None);
}
