//! Figures as words.

use crate::chart::number;
use crate::figures::{Figure, Goal};

/// A ratio: three digits where it is small, else two or one.
pub(crate) fn ratio(ratio: f64) -> String {
    match ratio.abs() {
        r if r < 0.0995 => format!("{ratio:.3}"),
        r if r < 9.95 => format!("{ratio:.2}"),
        r if r < 99.5 => format!("{ratio:.1}"),
        _ => number(ratio),
    }
}

/// A ratio as a factor: `21 times`.
pub(crate) fn times(ratio: f64) -> String {
    let text = match ratio.abs() {
        r if r < 9.95 => format!("{ratio:.1}"),
        _ => number(ratio.round()),
    };
    format!("{text} times")
}

/// A number and its unit.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        // A rate reads as one word.
        unit if unit.starts_with('/') => format!("{}{unit}", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// What is measured, of what, and in brackets where and under which circumstances.
pub(crate) fn circumstances(figure: &Figure) -> String {
    let of = if figure.of.is_empty() { String::new() } else { format!("{}: ", figure.of) };
    let place = Some(figure.place.clone()).filter(|place| !place.is_empty());
    let numbers = figure.at.iter().map(|(what, at)| {
        let one = what.strip_suffix('s').filter(|_| *at == 1.0);
        format!("{} {}", number(*at), one.unwrap_or(what))
    });
    let all: Vec<String> = place.into_iter().chain(numbers).collect();
    let brackets = if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) };
    format!("{of}{}{brackets}", figure.what)
}

/// How far measurements were apart.
pub(crate) fn spread(figure: &Figure) -> Vec<String> {
    let Some(spread) = figure.spread else { return Vec::new() };
    vec![
        format!("{} times", number(spread.count as f64)),
        format!("least {}", number(spread.min)),
        format!("p95 {}", number(spread.p95)),
    ]
}

/// What a figure should be.
pub(crate) fn goal(goal: &Goal) -> String {
    let of = if goal.is_of_ratio { "ratio " } else { "" };
    format!("{of}at {} {}", if goal.is_at_least { "least" } else { "most" }, number(goal.bound))
}

/// Whether a goal is met.
pub(crate) fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// What is wanted of a figure, and of its ratio: of a rate much, of all else little.
pub(crate) fn wanted(figure: &Figure) -> &'static str {
    if figure.unit.starts_with('/') { "larger" } else { "smaller" }
}

/// A text in a cell of a table: nothing in it has a meaning for Markdown's tables or HTML.
pub(crate) fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => cell.push_str("\\|"),
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

/// A table: its head, and its rows.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&mut head.iter().map(|it| cell(it)));
    text += &format!("|{}\n", "---|".repeat(head.len()));
    for row in rows {
        text += &line(&mut row.iter().map(|it| cell(it)));
    }
    text + "\n"
}

/// Text with no line longer than a page's, as far as words go; what follows the first line of an item of a list is indented.
pub(crate) fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines: Vec<String> = Vec::new();
    for line in text.trim_end().lines() {
        if line.starts_with(['|', '#', '!', '<']) {
            lines.push(line.to_owned());
            continue;
        }
        let indent = if line.starts_with("- ") { "  " } else { "" };
        let mut current = String::new();
        for word in line.split_whitespace() {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::replace(&mut current, format!("{indent}{word}")));
            } else if current.is_empty() {
                word.clone_into(&mut current);
            } else {
                current.push(' ');
                current.push_str(word);
            }
        }
        lines.push(current);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_words() {
        for (value, text) in
            [(0.0041, "0.004"), (0.1, "0.10"), (1.234, "1.23"), (41.26, "41.3"), (250.4, "250")]
        {
            assert_eq!(ratio(value), text);
        }
        for (value, text) in [(2.54, "2.5 times"), (41.3, "41 times"), (1234.5, "1,235 times")] {
            assert_eq!(times(value), text);
        }
        assert_eq!(quantity(1.5, "ms"), "1.5 ms");
        assert_eq!(quantity(1500.4, "/s"), "1,500/s");
        assert_eq!(quantity(0.013, ""), "0.013");
        let figure = Figure::new("g", "ADD", 1.0, "ms")
            .of("x")
            .on("tmpfs")
            .at("held", 4000)
            .at("callers", 2);
        assert_eq!(circumstances(&figure), "x: ADD (tmpfs, 2 callers, 4,000 held)");
        let one = Figure::new("g", "ADD", 1.0, "ms").at("callers", 1).at("held", 1);
        assert_eq!(circumstances(&one), "ADD (1 caller, 1 held)");
        assert_eq!(goal(&Goal::ratio_at_most(1.2)), "ratio at most 1.2");
        assert_eq!(goal(&Goal::at_least(500.0)), "at least 500");
        assert_eq!((verdict(true), verdict(false)), ("met", "**missed**"));
        let rate = Figure::new("g", "ADD", 1.0, "/s");
        assert_eq!((wanted(&one), wanted(&rate)), ("smaller", "larger"));
    }

    #[test]
    fn lines_are_not_too_long() {
        let word = "word ".repeat(40);
        let text = wrapped(&format!("## {word}\n\n- {word}\n\n| {word}|\n"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(lines.iter().enumerate().all(|(n, line)| [0, 5].contains(&n) || line.len() <= 120));
        assert!(lines.get(2).is_some_and(|line| line.starts_with("- word")), "{text}");
        assert!(lines.get(3).is_some_and(|line| line.starts_with("  word")), "{text}");
        assert_eq!(wrapped("one\n\ntwo\n"), "one\n\ntwo");
    }

    #[test]
    fn cells_stay_cells() {
        assert_eq!(cell("a|b\n<c>&"), "a\\|b &lt;c>&amp;");
        let rows = [vec!["1".to_owned(), "|".to_owned()]];
        assert_eq!(table(&["a", "b"], &rows), "| a | b |\n|---|---|\n| 1 | \\| |\n\n");
        assert_eq!(table(&["a"], &[]), "");
    }
}
