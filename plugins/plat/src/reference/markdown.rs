//! The description as Markdown.

use std::fmt::Write as _;

use super::{Key, Kind, Section, within};

/// Headings and tables of these configurations and all that they are made of, each once.
pub(crate) fn write(roots: &[&'static Section]) -> String {
    let mut text = String::new();
    let mut told: Vec<&str> = Vec::new();
    for root in roots {
        for section in within(root) {
            if told.contains(&section.name) {
                continue;
            }
            told.push(section.name);
            let level = if section.name == root.name { "##" } else { "###" };
            // Writing into a text does not fail.
            let _ = write!(
                text,
                "{level} {}\n\n{} {}\n\n| key | value | without it | what |\n|---|---|---|---|\n",
                section.name,
                section.about,
                section.others.sentence()
            );
            for key in section.keys {
                let _ = writeln!(text, "{}", row(key));
            }
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn row(key: &Key) -> String {
    let link = |section: &Section| format!("[{}](#{})", section.name, anchor(section.name));
    let kind = of(&key.kind, &link).replace('|', "\\|");
    format!("| `{}` | {kind} | {} | {} |", key.name, key.default, key.what)
}

/// What a value may be, as people say it; `object` tells what an object is called.
pub(super) fn of(kind: &Kind, object: &dyn Fn(&Section) -> String) -> String {
    said(kind, false, object)
}

/// Several of the kind where `many`.
fn said(kind: &Kind, many: bool, object: &dyn Fn(&Section) -> String) -> String {
    match kind {
        Kind::Text(form) => (*form).to_owned(),
        Kind::Words(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Number(0, last) if *last >= u64::from(u32::MAX) - 1 => "number".to_owned(),
        Kind::Number(first, last) if *last == u64::from(u32::MAX) => format!("number from {first}"),
        Kind::Number(first, last) => format!("number from {first} to {last}"),
        Kind::List(element) if many => format!("lists of: {}", said(element, true, object)),
        Kind::List(element) => format!("list of: {}", said(element, true, object)),
        Kind::OneOrList(element) => format!("{}, or a list of such", said(element, false, object)),
        Kind::Either(kinds) => {
            kinds.iter().map(|kind| said(kind, many, object)).collect::<Vec<_>>().join("; or ")
        }
        Kind::Object(section) => object(section),
        Kind::Named(element) => format!("object by names, each: {}", said(element, false, object)),
        Kind::Any => "as that plugin says".to_owned(),
    }
}

/// What Markdown's readers make of a heading.
fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}
