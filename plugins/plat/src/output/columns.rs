/*!
Aligned columns for very many rows, with lines of other text between them.

A table crate measures every cell for wrapping and styles; a listing of a full /16 needs neither, and
has to be there before its reader notices.
*/

use std::borrow::Cow;
use std::io::{self, Write};

use super::{Colour, paint};

/// On which side a column's texts begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Left.
    Left,
    /// Right, for numbers.
    Right,
}

/// A line: cells, or a text of its own.
#[derive(Debug)]
enum Line<'a> {
    Cells(Vec<(Cow<'a, str>, Option<Colour>)>),
    Text(String),
}

/// Lines in the making. Texts must be escaped before they get here.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    header: Vec<String>,
    aligns: Vec<Align>,
    widths: Vec<usize>,
    lines: Vec<Line<'a>>,
    indent: usize,
}

impl<'a> Columns<'a> {
    /// Columns of these titles, which are shown in capitals; rows are indented by `indent` spaces.
    pub(crate) fn new(columns: &[(&str, Align)], indent: usize) -> Self {
        let header: Vec<String> = columns.iter().map(|(title, _)| title.to_uppercase()).collect();
        Self {
            widths: header.iter().map(|title| title.chars().count()).collect(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            header,
            lines: Vec::new(),
            indent,
        }
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<Cow<'a, str>>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.coloured_row(cells.into_iter().map(|cell| (cell, None)));
    }

    /// Adds a row with colours.
    pub(crate) fn coloured_row<T: Into<Cow<'a, str>>>(
        &mut self,
        cells: impl IntoIterator<Item = (T, Option<Colour>)>,
    ) {
        let cells: Vec<_> = cells.into_iter().map(|(cell, colour)| (cell.into(), colour)).collect();
        for (width, (cell, _)) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(length(cell));
        }
        self.lines.push(Line::Cells(cells));
    }

    /// Adds a line of its own.
    pub(crate) fn text(&mut self, line: String) {
        self.lines.push(Line::Text(line));
    }

    /// Prints the header and the lines.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn print(&self, out: &mut dyn Write, colours: bool) -> io::Result<()> {
        let mut line = String::with_capacity(256);
        self.compose(&mut line, self.header.iter().map(|title| (title.as_str(), None)), false);
        writeln!(out, "{}", paint(&line, Colour::Bold, colours))?;
        for row in &self.lines {
            line.clear();
            match row {
                Line::Text(text) => line.push_str(text),
                Line::Cells(cells) => {
                    let cells = cells.iter().map(|(cell, colour)| (cell.as_ref(), *colour));
                    self.compose(&mut line, cells, colours);
                }
            }
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// One line of cells, without spaces at its end.
    fn compose<'t>(
        &self,
        line: &mut String,
        cells: impl Iterator<Item = (&'t str, Option<Colour>)>,
        colours: bool,
    ) {
        let spaces = |line: &mut String, n: usize| line.extend(std::iter::repeat_n(' ', n));
        let mut pending = self.indent;
        for ((cell, colour), (width, align)) in cells.zip(self.widths.iter().zip(&self.aligns)) {
            let missing = width.saturating_sub(length(cell));
            if *align == Align::Right {
                pending += missing;
            }
            if !cell.is_empty() {
                spaces(line, pending);
                pending = 0;
                match colour {
                    Some(colour) => line.push_str(&paint(cell, colour, colours)),
                    None => line.push_str(cell),
                }
            }
            if *align == Align::Left {
                pending += missing;
            }
            pending += 2;
        }
    }
}

/// The length in characters; almost every text here is ASCII.
fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_end_without_spaces() {
        let mut columns =
            Columns::new(&[("name", Align::Left), ("n", Align::Right), ("note", Align::Left)], 2);
        columns.text("first".to_owned());
        columns.row(["ä", "1", ""]);
        columns.coloured_row([("abcdef", Some(Colour::Red)), ("12", None), ("x", None)]);
        let mut plain = Vec::new();
        columns.print(&mut plain, false).unwrap();
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            "  NAME     N  NOTE\nfirst\n  ä        1\n  abcdef  12  x\n"
        );
        let mut coloured = Vec::new();
        columns.print(&mut coloured, true).unwrap();
        assert!(String::from_utf8(coloured).unwrap().contains("\x1b[31mabcdef\x1b[0m  12  x\n"));
    }
}
