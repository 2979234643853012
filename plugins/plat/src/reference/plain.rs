//! The description for terminals.

use std::fmt::Write as _;

use super::{Section, markdown, within};
use crate::output::table;

/// A table for each of these configurations and for all that they are made of, each once.
pub(crate) fn write(roots: &[&'static Section]) -> String {
    let mut text = String::new();
    let mut told: Vec<&str> = Vec::new();
    for section in roots.iter().flat_map(|root| within(root)) {
        if told.contains(&section.name) {
            continue;
        }
        told.push(section.name);
        let others = section.others.sentence();
        // Writing into a text does not fail.
        let _ = writeln!(text, "{}: {} {others}\n", section.name, without_quotes(section.about));
        let mut rows = table(&["key", "value", "without it", "what"]);
        for key in section.keys {
            let kind = markdown::of(&key.kind, &|section| section.name.to_owned());
            let [kind, default, what] = [&kind, key.default, key.what].map(without_quotes);
            rows.add_row([key.name.to_owned(), kind, default, what]);
        }
        let _ = writeln!(text, "{}\n", rows.trim_fmt());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Without the quotes of Markdown.
fn without_quotes(text: &str) -> String {
    text.replace('`', "")
}
