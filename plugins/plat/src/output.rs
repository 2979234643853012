//! Tables, numbers and times as people read them, and JSON documents.

mod columns;
mod document;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use comfy_table::{ContentArrangement, Table, TableStyle};
use serde::Serialize;

pub(crate) use columns::{Align, Columns};

/// A table without borders: columns two spaces apart, the first row in capitals.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table
}

/// Prints a JSON document with a final newline. Control characters are escaped in it, those that JSON
/// would allow as they are included.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn json(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut *out, document::Escaping::default());
    document.serialize(&mut serializer)?;
    writeln!(out)
}

/// Prints a JSON document in one line, escaped as [`json`] does.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn json_line(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(document)?;
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    writeln!(out, "{line}")
}

/// Whether a terminal could take the character for more than a character: controls, and what changes
/// the direction of text or is not seen.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a text is ASCII without controls, as almost every one is: that is known soon.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// A text from a file or a runtime, with what could harm a terminal as `\u{1b}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// A container ID as people know it: of those that are long hexadecimal numbers the first twelve digits.
pub(crate) fn short_id(id: &str) -> &str {
    let is_long_number = id.len() > 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_long_number { id.get(..12).unwrap_or(id) } else { id }
}

/// A number of addresses: with thousands separators, from 2^33 on as a power of two.
pub(crate) fn count(number: u128) -> String {
    if number >> 33 > 0 {
        // Two leading digits are shown; 53 bits are more than enough for them.
        #[allow(clippy::cast_precision_loss)]
        let exponent = format!("{:.1}", (number as f64).log2());
        return format!("2^{}", exponent.strip_suffix(".0").unwrap_or(&exponent));
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number for a JSON document: one that every reader has room for, 2^63 - 1 at most.
pub(crate) fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
}

/// The seconds since 1970 of now.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long ago `since` was, both in seconds since 1970: `45s`, `12m`, `30h`, `9d`. What lies in the
/// future, because a clock was put back, is `0s` ago.
pub(crate) fn age(now: u64, since: u64) -> String {
    span(Duration::from_secs(now.saturating_sub(since)))
}

/// A time span in its largest unit of which there are two: `45s`, `12m`, `30h`, `9d`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds since 1970 as RFC 3339 in UTC; years that it has no form for as the number.
pub(crate) fn instant(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// A share of a whole as a bar of `width` characters, in eighths of one. Something is never shown as
/// nothing, and less than all never as all.
pub(crate) fn bar(part: u128, whole: u128, width: usize) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let steps = (width as u128).saturating_mul(8);
    let filled = if whole == 0 || part == 0 || steps == 0 {
        0
    } else if part >= whole {
        steps
    } else {
        scaled(part, whole, steps).min(steps.saturating_sub(1)).max(1)
    };
    let mut bar = String::with_capacity(width * 3);
    let full = usize::try_from(filled / 8).unwrap_or(width).min(width);
    bar.extend(std::iter::repeat_n('█', full));
    let eighths = usize::try_from(filled % 8).unwrap_or(0);
    let mut rest = width - full;
    if let Some(block) = eighths.checked_sub(1).and_then(|i| EIGHTHS.get(i)) {
        bar.push(*block);
        rest = rest.saturating_sub(1);
    }
    bar.extend(std::iter::repeat_n('·', rest));
    bar
}

/// `part * steps / whole`, rounded down; of numbers so large that the product has no room, of their
/// leading digits.
pub(crate) fn scaled(mut part: u128, mut whole: u128, steps: u128) -> u128 {
    loop {
        if let Some(product) = part.checked_mul(steps) {
            return product.checked_div(whole).unwrap_or(0);
        }
        part >>= 8;
        whole >>= 8;
    }
}

/// Per cent, rounded down: `67 %`, up to ten with one decimal place, `0.4 %`.
pub(crate) fn per_cent(part: u128, whole: u128) -> String {
    let tenths = scaled(part, whole, 1000);
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = if tenths.is_multiple_of(10) || tenths > 100 {
        write!(text, "{} %", tenths / 10)
    } else {
        write!(text, "{}.{} %", tenths / 10, tenths % 10)
    };
    text
}

/// A colour of the terminal's own sixteen, so that it fits every background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Grey,
    Bold,
}

/// The text in the colour, if there are to be colours.
pub(crate) fn paint(text: &str, colour: Colour, colours: bool) -> Cow<'_, str> {
    if !colours || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let code = match colour {
        Colour::Red => "31",
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Blue => "34",
        Colour::Magenta => "35",
        Colour::Grey => "90",
        Colour::Bold => "1",
    };
    Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_cannot_steer_a_terminal() {
        for (text, shown) in [
            ("web-0", "web-0"),
            ("schnürl0", "schnürl0"),
            ("\x1b[31mred\n", "\\u{1b}[31mred\\u{a}"),
            ("a\u{9b}b\u{202e}c\u{7f}", "a\\u{9b}b\\u{202e}c\\u{7f}"),
        ] {
            assert_eq!(escape(text), shown);
        }
        let mut out = Vec::new();
        json(&mut out, &serde_json::json!({"a": "\x1b\u{9b}\u{7f}ü\u{202e}", "b": [], "c": [1]}))
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\n  \"a\": \"\\u001b\\u009b\\u007fü\\u202e\",\n  \"b\": [],\n  \"c\": [\n    1\n  ]\n}\n"
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["a"], "\x1b\u{9b}\u{7f}ü\u{202e}");
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (65_534, "65,534"),
            (16_777_214, "16,777,214"),
            (u128::from(u32::MAX) - 1, "4,294,967,294"),
            (1 << 33, "2^33"),
            ((1 << 64) - 3, "2^64"),
            (3 << 62, "2^63.6"),
            (u128::MAX, "2^128"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(whole(u128::MAX), 9_223_372_036_854_775_807);
        for (part, of, text) in [
            (0, 254, "0 %"),
            (1, 254, "0.3 %"),
            (253, 254, "99 %"),
            (254, 254, "100 %"),
            (200, 1 << 64, "0 %"),
            (u128::MAX / 2 + 1, u128::MAX, "50 %"),
            (5, 0, "0 %"),
        ] {
            assert_eq!(per_cent(part, of), text, "{part} of {of}");
        }
    }

    #[test]
    fn times_have_one_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
            (u64::MAX, "213503982334601d"),
        ] {
            assert_eq!(age(seconds, 0), text);
        }
        assert_eq!(age(5, 9), "0s");
        assert_eq!(instant(1_763_708_480), "2025-11-21T07:01:20Z");
        assert_eq!(instant(u64::MAX), "18446744073709551615");
    }

    #[test]
    fn bars_are_honest() {
        for (part, whole, text) in [
            (0, 254, "····"),
            (1, 1 << 64, "▏···"),
            (127, 254, "██··"),
            (253, 254, "███▉"),
            (254, 254, "████"),
            (9, 0, "····"),
        ] {
            assert_eq!(bar(part, whole, 4), text, "{part} of {whole}");
        }
        assert_eq!(bar(1, 2, 0), "");
    }

    #[test]
    fn container_ids_are_shortened_where_they_are_numbers() {
        let long = "0123456789abcdef".repeat(4);
        assert_eq!(short_id(&long), "0123456789ab");
        for whole in ["c1", "0123456789abcdef", "a-container-with-a-long-name"] {
            assert_eq!(short_id(whole), whole);
        }
    }

    proptest! {
        #[test]
        fn a_bar_has_its_width(part in any::<u128>(), whole in any::<u128>(), width in 0_usize..40) {
            prop_assert_eq!(bar(part, whole, width).chars().count(), width);
            prop_assert!(scaled(part.min(whole), whole, 1000) <= 1000);
        }
    }
}
