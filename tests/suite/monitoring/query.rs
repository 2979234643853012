//! What an expression of Prometheus asks for, as values: names of metrics and labels. No more of the language is
//! understood than the files here use; whether an expression is one is for promtool to say.

use std::collections::BTreeSet;

/// Words that are no metrics.
const WORDS: [&str; 26] = [
    "and",
    "or",
    "unless",
    "by",
    "on",
    "ignoring",
    "without",
    "bool",
    "sum",
    "max",
    "min",
    "count",
    "topk",
    "rate",
    "increase",
    "changes",
    "predict_linear",
    "histogram_quantile",
    "time",
    "vector",
    "label_values",
    "avg",
    "absent",
    "abs",
    "offset",
    "round",
];
/// Those that labels follow in parentheses.
const LISTS: [&str; 4] = ["by", "on", "ignoring", "without"];

/// A metric, and the labels that it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) metric: String,
    pub(super) labels: Vec<String>,
}

/// What an expression asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) metrics: Vec<Asked>,
    /// Labels of `by (…)` and its like.
    pub(super) grouped: BTreeSet<String>,
}

const fn begins(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

const fn goes_on(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// A word and what follows it.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !goes_on(c)).unwrap_or(text.len()))
}

/// What follows a quoted text.
fn after_text(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == '"' && !escaped {
            return &text[at + 1..];
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a text does not end: {text}")
}

/// The labels up to the end of a list, and what follows it.
fn labels(mut text: &str, end: char) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    loop {
        let first = text.chars().next().unwrap_or_else(|| panic!("a list does not end"));
        if first == end {
            return (labels, &text[1..]);
        } else if first == '"' {
            text = after_text(text);
        } else if begins(first) {
            let (label, rest) = word(text);
            labels.push(label.to_owned());
            text = rest;
        } else {
            text = &text[first.len_utf8()..];
        }
    }
}

/// Reads an expression.
pub(super) fn query(expression: &str) -> Query {
    let mut query = Query::default();
    let mut text = expression;
    while let Some(first) = text.chars().next() {
        if first == '"' {
            text = after_text(text);
        } else if first == '$' || first.is_ascii_digit() {
            // A variable, a number, a time.
            text = word(&text[1..]).1;
        } else if begins(first) {
            let (name, rest) = word(text);
            text = rest;
            let next = rest.trim_start();
            if LISTS.contains(&name) {
                let list = next.strip_prefix('(').unwrap_or_else(|| panic!("{expression}: {name}"));
                let (list, rest) = labels(list, ')');
                query.grouped.extend(list);
                text = rest;
            } else if !WORDS.contains(&name) {
                let (asked, rest) = match next.strip_prefix('{') {
                    Some(list) => labels(list, '}'),
                    None => (Vec::new(), rest),
                };
                query.metrics.push(Asked { metric: name.to_owned(), labels: asked });
                text = rest;
            }
        } else {
            text = &text[first.len_utf8()..];
        }
    }
    query
}

#[test]
fn what_is_asked_for() {
    let asked = |metric: &str, labels: &[&str]| Asked {
        metric: metric.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    for (expression, metrics, grouped) in [
        (
            "a:b == 0 and on (x) c{d=\"}\\\"\",e!~'f'} > 1e3",
            vec![asked("a:b", &[]), asked("c", &["d", "e", "f"])],
            vec!["x"],
        ),
        (
            "sum by (a, b) (rate(c{d=~\"$e\"}[$__rate_interval])) / 3600",
            vec![asked("c", &["d"])],
            vec!["a", "b"],
        ),
        ("topk(20, a[5m]) or vector(0)", vec![asked("a", &[])], vec![]),
    ] {
        let grouped = grouped.into_iter().map(str::to_owned).collect();
        assert_eq!(query(expression), Query { metrics, grouped }, "{expression}");
    }
}
