use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::replay::Last;

/// The names of all metrics, as they are written.
fn names() -> BTreeSet<String> {
    ALL.iter().chain([&RESYNC_SECONDS]).map(|metric| metric.name.to_owned()).collect()
}

#[test]
fn names_follow_the_rules() {
    assert_eq!(names().len(), ALL.len() + 1, "a name stands twice");
    for metric in ALL.iter().chain(of_plat::ALL).chain([&RESYNC_SECONDS]) {
        let Metric { name, help, labels } = metric;
        assert!(name.starts_with("plat_"), "{name}");
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(name) && labels.iter().all(|label| plain(label)), "{name}");
        // Base units only.
        for wrong in ["milli", "micro", "minutes", "kilo", "percent"] {
            assert!(!name.contains(wrong), "{name}");
        }
        assert!(help.ends_with('.'), "{name}: {help}");
        let distinct: BTreeSet<_> = labels.iter().collect();
        assert_eq!(distinct.len(), labels.len(), "{name}");
    }
}

#[test]
fn the_documentation_has_each_metric_with_its_labels() {
    let page = include_str!("../../../../docs/plat-agent.md");
    let all: Vec<&Metric> = ALL.iter().chain([&RESYNC_SECONDS]).collect();
    assert_eq!(documented(page, &all), names());
    let page = include_str!("../../../../docs/operations/monitoring.md");
    let all: Vec<&Metric> = of_plat::ALL.iter().collect();
    let names = all.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(documented(page, &all), names);
}

/// The metrics of a page's tables, of which there is one each.
fn documented(page: &str, all: &[&Metric]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| `plat_")) {
        let mut cells = row.split('|');
        let name = format!("plat_{}", cells.next().unwrap().trim().trim_end_matches('`'));
        let labels: Vec<&str> = cells
            .next()
            .unwrap()
            .split(',')
            .map(|label| label.trim().trim_matches('`'))
            .filter(|label| !label.is_empty())
            .collect();
        let metric = all.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is documented and does not exist"));
        assert_eq!(metric.labels, labels, "{name}");
        assert!(found.insert(name), "{row}: twice");
    }
    found
}

/// A value for each metric, with labels that have to be escaped.
fn full() -> Samples {
    let mut samples = Samples::default();
    for (at, metric) in ALL.iter().enumerate() {
        let labels = vec!["a \"b\"\\\nc=,}"; metric.labels.len()];
        samples.set(metric, &labels, if at % 2 == 0 { 5.0 } else { 0.25 });
    }
    samples
}

/// Reads a text line by line as a scraper does (OpenMetrics 1.0, sections 3 and 4): the names of families, and
/// how many samples there are.
fn parsed(text: &str) -> (BTreeSet<String>, usize) {
    let mut families = BTreeSet::new();
    let (mut current, mut kind) = (String::new(), String::new());
    let mut samples = 0;
    let mut lines = text.lines();
    assert_eq!(lines.next_back(), Some("# EOF"));
    for line in lines {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !help.ends_with(".."), "{line}");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "{line}");
            of.clone_into(&mut kind);
            let name = if of == "counter" { format!("{name}_total") } else { name.to_owned() };
            assert!(families.insert(name), "twice: {line}");
        } else {
            let end = line.find(['{', ' ']).unwrap();
            let suffix = line[..end].strip_prefix(&current).unwrap_or_else(|| panic!("{line}"));
            match kind.as_str() {
                "gauge" => assert_eq!(suffix, "", "{line}"),
                "counter" => assert_eq!(suffix, "_total", "{line}"),
                _ => assert!(["_bucket", "_count", "_sum"].contains(&suffix), "{line}"),
            }
            let rest =
                if line[end..].starts_with('{') { labels(&line[end..]) } else { &line[end..] };
            let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
            assert!(value >= 0.0, "{line}");
            samples += 1;
        }
    }
    (families, samples)
}

/// What follows the labels.
fn labels(mut text: &str) -> &str {
    text = text.strip_prefix('{').unwrap();
    loop {
        let (name, rest) = text.split_once("=\"").unwrap();
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name:?}"
        );
        let mut escaped = false;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            })
            .unwrap()
            .0;
        text = &rest[end + 1..];
        match text.strip_prefix(',') {
            Some(more) => text = more,
            None => return text.strip_prefix('}').unwrap(),
        }
    }
}

#[test]
fn what_is_printed_is_valid_and_has_each_metric() {
    for samples in [Samples::default(), full()] {
        let text = samples.text(Metrics::new().resync());
        assert_eq!(parsed(&text).0, names(), "{text}");
    }
    let metrics = Metrics::new();
    metrics.resync().observe(0.003);
    let (_, samples) = parsed(&full().text(metrics.resync()));
    // Those of the histogram: 13 steps and the last one, the count, the sum.
    assert_eq!(samples, ALL.len() + 16);
}

#[test]
fn what_was_freed_is_counted() {
    let metrics = Metrics::new();
    metrics.collected(3, true);
    metrics.collected(1, false);
    metrics.collected(0, true);
    let text = metrics.samples().clone().text(metrics.resync());
    for line in [
        "plat_gc_freed_total 4",
        "plat_gc_runs_total{outcome=\"done\"} 2",
        "plat_gc_runs_total{outcome=\"failed\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
    }
}

#[test]
fn only_what_has_a_value_is_told_in_the_plain_format() {
    let mut samples = Samples::default();
    samples.set(&of_plat::STATUS, &[], 2.0);
    samples.add(&CALLS, &["host-local", "a \"b\"", "ADD", "done"], 3.0);
    let expected = "# HELP plat_calls_total Calls of plugins in this boot that have changed a database, and refused ones.\n\
                    # TYPE plat_calls_total counter\n\
                    plat_calls_total{ipam=\"host-local\",network=\"a \\\"b\\\"\",command=\"ADD\",outcome=\"done\"} 3\n\
                    # HELP plat_status What plat status ends with: 0 fine, 1 look at it, 2 act, 3 it could not be looked at.\n\
                    # TYPE plat_status gauge\n\
                    plat_status 2\n";
    assert_eq!(samples.plain_text(), expected);
    assert_eq!(Samples::default().plain_text(), "");
}

#[test]
fn routes_are_counted_by_what_they_are() {
    let row = |action: Action, net: &str, error: Option<&str>| Row {
        action,
        destination: net.parse().unwrap(),
        route: String::new(),
        node: None,
        reason: String::new(),
        error: error.map(str::to_owned),
    };
    let sink = SinkReport {
        sink: "VPP at /x, table 0".to_owned(),
        trouble: None,
        routes: vec![
            row(Action::Keep, "10.1.1.0/24", None),
            row(Action::Add, "10.1.2.0/24", None),
            row(Action::Add, "10.1.3.0/24", Some("no")),
            row(Action::Remove, "10.1.4.0/24", None),
            row(Action::Remove, "10.1.5.0/24", Some("no")),
            row(Action::Hold, "10.1.6.0/24", None),
            row(Action::Foreign, "10.1.7.0/24", None),
            row(Action::Unreachable, "10.1.8.0/24", Some("no way")),
            row(Action::Replace, "fd00::/64", None),
        ],
    };
    let v4 = Totals::of(&sink, |row| row.destination.addr().is_ipv4());
    let expected =
        Totals { desired: 5, present: 4, held: 1, foreign: 1, unreachable: 1, failed: 2 };
    assert_eq!(v4, expected);
    let metrics = Metrics::new();
    let mut report = Report { sinks: vec![sink], complete: true, ..Report::default() };
    metrics.looked(&report, Duration::from_millis(1));
    metrics.looked(&report, Duration::from_millis(1));
    let mut vpp = VppReport::new(Path::new("/x"));
    vpp.state = VppState::Up;
    vpp.counts.put_back = 3;
    vpp.counts.failed.insert("kernel", 1);
    let last = Last { reason: String::new(), took_ms: 1500, put_back: 3, failed: 1 };
    vpp.last = Some(last);
    metrics.vpps(std::slice::from_ref(&vpp));
    let text = metrics.samples().clone().text(metrics.resync());
    parsed(&text);
    let at = "sink=\"VPP at /x, table 0\",family=";
    for line in [
        format!("plat_routes_desired{{{at}\"ipv4\"}} 5"),
        format!("plat_routes_present{{{at}\"ipv6\"}} 1"),
        format!("plat_route_changes_total{{{at}\"ipv4\",action=\"add\",outcome=\"done\"}} 2"),
        format!("plat_route_changes_total{{{at}\"ipv4\",action=\"add\",outcome=\"failed\"}} 2"),
        "plat_vpp_up{socket=\"/x\"} 1".to_owned(),
        "plat_vpp_pods_put_back_total{socket=\"/x\"} 3".to_owned(),
        "plat_vpp_pods_failed_total{socket=\"/x\",cause=\"kernel\"} 1".to_owned(),
        "plat_vpp_pods_failed_total{socket=\"/x\",cause=\"busy\"} 0".to_owned(),
        "plat_vpp_pods{socket=\"/x\",status=\"namespace-gone\"} 0".to_owned(),
        "plat_vpp_replay_duration_seconds{socket=\"/x\"} 1.5".to_owned(),
        "plat_agent_resyncs_total 2".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
    }
    // Nothing is remembered of a sink that is away but what is left to say.
    report.sinks[0].trouble = Some("away".to_owned());
    report.sinks[0].routes.clear();
    metrics.looked(&report, Duration::from_millis(1));
    let text = metrics.samples().clone().text(metrics.resync());
    assert!(text.contains("plat_sink_up{sink=\"VPP at /x, table 0\"} 0\n"), "{text}");
    assert!(text.contains(&format!("plat_routes_desired{{{at}\"ipv4\"}} 0\n")), "{text}");
}

#[test]
fn whole_numbers_are_written_as_such() {
    for (value, expected) in [
        (0.0, Some(0)),
        (5.0, Some(5)),
        (0.5, None),
        (1e300, None),
        (f64::NAN, None),
        (-3.0, Some(-3)),
    ] {
        assert_eq!(whole(value), expected, "{value}");
    }
}
