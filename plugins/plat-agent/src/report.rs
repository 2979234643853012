//! What was found and done, as people and programs read it.

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, TableStyle};

use crate::engine::{Action, Report, Row};

/// Prints a report as one JSON document.
///
/// # Errors
/// If it cannot be written.
pub fn json(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

/// Prints a report for people.
///
/// # Errors
/// If it cannot be written.
pub fn table(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for sink in &report.sinks {
        writeln!(out, "{}", plain(&sink.sink))?;
        if let Some(trouble) = &sink.trouble {
            writeln!(out, "  {}", plain(trouble))?;
        }
        if sink.routes.is_empty() && sink.trouble.is_none() {
            writeln!(out, "  no route of ours, and none to make")?;
        }
        if !sink.routes.is_empty() {
            let mut rows: Vec<&Row> = sink.routes.iter().collect();
            rows.sort_by_key(|row| (row.destination, row.action));
            let mut table = grid(&["action", "destination", "route", "node", "why"]);
            for row in rows {
                let why = match &row.error {
                    Some(error) => format!("{}: {error}", row.reason),
                    None => row.reason.clone(),
                };
                table.add_row([
                    action(row).to_owned(),
                    row.destination.to_string(),
                    plain(&row.route),
                    plain(row.node.as_deref().unwrap_or("-")),
                    plain(&why),
                ]);
            }
            print(out, &table)?;
        }
        writeln!(out)?;
    }
    if !report.forwarding.is_empty() {
        writeln!(out, "forwarding")?;
        let mut table = grid(&["action", "what", "why"]);
        for measure in &report.forwarding {
            let why = match &measure.error {
                Some(error) => format!("{}: {error}", measure.reason),
                None => measure.reason.clone(),
            };
            let verb = if measure.error.is_some() { "failed" } else { measure.action.word() };
            table.add_row([verb.to_owned(), plain(&measure.what), plain(&why)]);
        }
        print(out, &table)?;
        writeln!(out)?;
    }
    crate::replay::table(out, &report.vpps)?;
    if !report.refused.is_empty() {
        writeln!(out, "refused")?;
        let mut table = grid(&["destination", "node", "from", "why"]);
        for row in &report.refused {
            table.add_row([
                row.destination.to_string(),
                plain(&row.node),
                plain(&row.origin),
                plain(&row.reason),
            ]);
        }
        print(out, &table)?;
        writeln!(out)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {}", plain(note))?;
    }
    for hint in &report.hints {
        writeln!(out, "hint: {}", plain(hint))?;
    }
    if !report.complete {
        writeln!(out, "note: a source has not told all it knows, so nothing is removed")?;
    }
    writeln!(out, "{}", summary(report))
}

/// The numbers in one line.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    for (kind, name) in [
        (Action::Add, "added"),
        (Action::Replace, "replaced"),
        (Action::Remove, "removed"),
        (Action::Keep, "kept"),
        (Action::Hold, "held"),
        (Action::Foreign, "foreign"),
        (Action::Unreachable, "unreachable"),
    ] {
        let count = report.count(kind);
        if count > 0 || matches!(kind, Action::Add | Action::Remove | Action::Keep) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{count} {name}");
        }
    }
    let failed =
        report.sinks.iter().flat_map(|sink| &sink.routes).filter(|row| row.error.is_some());
    let failed = failed.filter(|row| row.action != Action::Unreachable).count();
    for (count, name) in [(failed, "failed"), (report.refused.len(), "refused")] {
        if count > 0 {
            let _ = write!(text, ", {count} {name}");
        }
    }
    text
}

const fn action(row: &Row) -> &'static str {
    match (row.action, row.error.is_some()) {
        (Action::Unreachable, _) => "unreachable",
        (_, true) => "failed",
        (Action::Add, _) => "add",
        (Action::Replace, _) => "replace",
        (Action::Remove, _) => "remove",
        (Action::Keep, _) => "keep",
        (Action::Hold, _) => "hold",
        (Action::Foreign, _) => "foreign",
    }
}

pub(crate) fn grid(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table
}

pub(crate) fn print(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, " {}", line.trim_end())?;
    }
    Ok(())
}

/// Whether a terminal could take the character for more than a character.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text from etcd or a file, with what could harm a terminal as `\u{1b}`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}
