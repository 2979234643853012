//! Texts that know where in a file each of their characters stands.

use std::fmt::Write as _;

/// A text of a file: all of it, or what a value of the file says, such as the JSON within a manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    text: String,
    /// The offset in the file of each byte of the text; nothing where they are the same.
    origin: Option<Vec<usize>>,
}

impl Text {
    /// The whole file.
    pub(crate) fn whole(file: &str) -> Self {
        Self { text: file.to_owned(), origin: None }
    }

    /// A text that is put together piece by piece.
    pub(crate) fn pieces() -> Self {
        Self { text: String::new(), origin: Some(Vec::new()) }
    }

    /// Adds a character that stands at `offset` of the file.
    pub(crate) fn push(&mut self, c: char, offset: usize) {
        self.text.push(c);
        if let Some(origin) = &mut self.origin {
            origin.resize(self.text.len(), offset);
        }
    }

    /// Takes away white space at the end, but for what is in front of `keep`.
    pub(crate) fn trim_end(&mut self, keep: usize) {
        let spaces = self.text.bytes().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let length = self.text.len().saturating_sub(spaces).max(keep);
        self.text.truncate(length);
        if let Some(origin) = &mut self.origin {
            origin.truncate(length);
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where in the file the byte at this offset of the text stands. Behind the end it is the last one.
    pub(crate) fn offset(&self, at: usize) -> usize {
        match &self.origin {
            None => at.min(self.text.len()),
            Some(origin) => origin.get(at).or(origin.last()).copied().unwrap_or_default(),
        }
    }
}

/// A line and a column of a file, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// The line.
    pub(crate) line: usize,
    /// The column.
    pub(crate) column: usize,
}

/// The line and column of an offset of a file.
pub(crate) fn spot(file: &str, offset: usize) -> Spot {
    let before = upto(file, offset);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.get(start..).map_or(0, |text| text.chars().count()) + 1;
    Spot { line, column }
}

/// The file up to an offset, or up to the character that the offset is within.
fn upto(file: &str, offset: usize) -> &str {
    let mut end = offset.min(file.len());
    while !file.is_char_boundary(end) {
        end -= 1;
    }
    file.get(..end).unwrap_or_default()
}

/// The longest piece of a line that is shown, in characters.
const SHOWN: usize = 100;

/// The line of an offset and a caret below the character at it, as compilers show it; a long line is cut
/// on both sides.
pub(crate) fn excerpt(file: &str, offset: usize) -> String {
    let Spot { line: number, column } = spot(file, offset);
    let start = upto(file, offset).rfind('\n').map_or(0, |newline| newline + 1);
    let line = file.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let skipped = (column - 1).saturating_sub(SHOWN * 3 / 5);
    let mut shown = String::new();
    let mut caret = String::new();
    if skipped > 0 {
        shown.push_str("...");
        caret.push_str("   ");
    }
    let mut chars = line.chars().enumerate().skip(skipped);
    for (i, c) in chars.by_ref().take(SHOWN) {
        let piece = match c {
            '\t' => "\t".to_owned(),
            c => printable(c.encode_utf8(&mut [0; 4])),
        };
        if i + 1 < column {
            caret.extend(piece.chars().map(|c| if c == '\t' { '\t' } else { ' ' }));
        }
        shown.push_str(&piece);
    }
    if chars.next().is_some() {
        shown.push_str("...");
    }
    let mut text = String::new();
    let _ = writeln!(text, "{number:>6} | {shown}");
    let _ = write!(text, "{:>6} | {caret}^", "");
    text
}

/// A text as it may be shown on a terminal: no control character gets there.
pub(crate) fn printable(text: &str) -> String {
    // Besides control characters: marks that turn the order of what follows, and line separators.
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(odd) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if odd(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
        printable
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_a_line_and_a_column() {
        let file = "ab\nä€c\n\tx";
        for (offset, line, column) in [
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (5, 2, 2),
            (6, 2, 2),
            (8, 2, 3),
            (10, 3, 1),
            (99, 3, 3),
        ] {
            assert_eq!(spot(file, offset), Spot { line, column }, "{offset}");
        }
        assert_eq!(excerpt(file, 8), "     2 | ä€c\n       |   ^");
        assert_eq!(excerpt(file, 11), "     3 | \tx\n       | \t^");
        assert_eq!(excerpt("", 5), "     1 | \n       | ^");
        let long = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = excerpt(&long, 500);
        let (line, caret) = shown.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(caret.chars().count() - 1), Some('X'), "{shown}");
        assert!(line.len() < 130 && line.ends_with("..."));
    }

    #[test]
    fn pieces_remember_their_places() {
        let mut text = Text::pieces();
        for (c, offset) in [('a', 10), ('ä', 20), (' ', 22), (' ', 23)] {
            text.push(c, offset);
        }
        assert_eq!([0, 1, 2, 3, 99].map(|at| text.offset(at)), [10, 20, 20, 22, 23]);
        text.trim_end(4);
        assert_eq!(text.as_str(), "aä ");
        text.trim_end(0);
        assert_eq!((text.as_str(), text.offset(9)), ("aä", 20));
        assert_eq!(Text::pieces().offset(3), 0);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}\n"), "a\\u{1b}[2Jb\\u{202e}\\n");
    }
}
