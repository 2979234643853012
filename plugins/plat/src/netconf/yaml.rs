/*!
NetworkAttachmentDefinitions in the form in which everybody writes them:

```yaml
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: signalling
spec:
  config: |
    {"cniVersion": "1.0.0", ...}
```

This is no YAML reader. It knows block mappings of these keys and, for `config`, the literal (`|`), folded
(`>`), single-quoted and double-quoted forms; of everything else that could change the meaning it says
that it does not read it. Indentation, folding and escapes follow YAML 1.2.2, chapters 6 to 8.
*/

use super::text::Text;

/// A manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    /// `kind`.
    pub(crate) kind: String,
    /// `metadata.name`.
    pub(crate) name: Option<String>,
    /// The text of `spec.config`.
    pub(crate) config: Option<Text>,
    /// The offset of its first line.
    pub(crate) start: usize,
}

/// What is not read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// The offset in the file.
    pub(crate) offset: usize,
    /// One sentence.
    pub(crate) message: String,
}

/// One line, without its end.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    text: &'a str,
    /// The offset of its first byte.
    start: usize,
}

impl<'a> Line<'a> {
    fn indent(self) -> usize {
        self.text.len() - self.text.trim_start_matches(' ').len()
    }

    /// Whether there is nothing on it, or only a comment.
    fn is_empty(self) -> bool {
        let text = self.text.trim();
        text.is_empty() || text.starts_with('#')
    }

    fn is_marker(self) -> bool {
        let text = self.text.trim_end();
        matches!(text, "---" | "...") || text.starts_with("--- ")
    }

    /// The key and what is behind its colon, with the offset of that.
    fn key(self) -> Option<(&'a str, &'a str, usize)> {
        let body = self.text.get(self.indent()..)?;
        let (key, rest) = body.split_once(':')?;
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return None;
        }
        let bare = key.trim_end();
        let bare = ['"', '\''].iter().find_map(|q| bare.strip_prefix(*q)?.strip_suffix(*q));
        let offset = self.start + self.indent() + key.len() + 1;
        let trimmed = rest.trim_start_matches([' ', '\t']);
        Some((bare.unwrap_or(key.trim_end()), trimmed, offset + rest.len() - trimmed.len()))
    }
}

/// The manifests of a file.
///
/// # Errors
/// The first thing that is not read.
pub(crate) fn read(file: &str) -> Result<Vec<Manifest>, Beyond> {
    let mut lines = Vec::new();
    let mut start = 0;
    for text in file.split_inclusive('\n') {
        let bare = text.strip_suffix('\n').unwrap_or(text);
        lines.push(Line { text: bare.strip_suffix('\r').unwrap_or(bare), start });
        start += text.len();
    }
    let mut reader = Reader { file, lines: &lines, at: 0 };
    let mut manifests = Vec::new();
    while reader.at < lines.len() {
        manifests.extend(reader.document()?);
    }
    Ok(manifests)
}

struct Reader<'a> {
    file: &'a str,
    lines: &'a [Line<'a>],
    at: usize,
}

fn beyond<T>(offset: usize, message: impl Into<String>) -> Result<T, Beyond> {
    Err(Beyond { offset, message: message.into() })
}

impl Reader<'_> {
    fn line(&self) -> Option<Line<'_>> {
        self.lines.get(self.at).copied()
    }

    /// The next line that says something in this document.
    fn next(&mut self) -> Option<Line<'_>> {
        while self.line().is_some_and(|line| line.is_empty() && !line.is_marker()) {
            self.at += 1;
        }
        self.line().filter(|line| !line.is_marker())
    }

    fn document(&mut self) -> Result<Option<Manifest>, Beyond> {
        while self
            .line()
            .is_some_and(|line| line.is_marker() || line.is_empty() || line.text.starts_with('%'))
        {
            self.at += 1;
        }
        let mut manifest = Manifest::default();
        let mut section = String::new();
        let mut depth = None;
        let mut any = false;
        while let Some(line) = self.next() {
            let (indent, start) = (line.indent(), line.start);
            if line.text.get(indent..).is_some_and(|rest| rest.starts_with('\t')) {
                return beyond(start + indent, "a tab cannot indent a line of YAML");
            }
            if !any {
                manifest.start = start;
                any = true;
            }
            if indent > 0 && (section.is_empty() || depth.is_some_and(|depth| indent > depth)) {
                // Within a value that is of no interest here.
                self.at += 1;
                continue;
            }
            let Some((key, rest, offset)) = line.key() else {
                if section == "metadata" && indent > 0 {
                    self.at += 1;
                    continue;
                }
                return beyond(start + indent, "this is no line of a block mapping, KEY: VALUE");
            };
            let (key, rest) = (key.to_owned(), rest.to_owned());
            self.at += 1;
            if indent == 0 {
                depth = None;
                section.clear();
                match key.as_str() {
                    "kind" => manifest.kind = scalar(&rest, offset)?,
                    "metadata" | "spec" => {
                        if !comment(&rest) {
                            return beyond(offset, format!("{key} is not a block of lines"));
                        }
                        section = key;
                    }
                    _ => {}
                }
                continue;
            }
            depth.get_or_insert(indent);
            if depth != Some(indent) {
                return beyond(start + indent, format!("{section} is indented unevenly"));
            }
            match (section.as_str(), key.as_str()) {
                ("metadata", "name") => manifest.name = Some(scalar(&rest, offset)?),
                ("spec", "config") => manifest.config = Some(self.config(&rest, offset, indent)?),
                _ => {}
            }
        }
        Ok(any.then_some(manifest))
    }

    /// The value of `config`, which begins at `offset` of the file and whose key is indented by `indent`.
    fn config(&mut self, rest: &str, offset: usize, indent: usize) -> Result<Text, Beyond> {
        if comment(rest) {
            let Some(line) = self.next().filter(|line| line.indent() > indent) else {
                return beyond(offset, "config is empty");
            };
            let start = line.start + line.indent();
            let quoted = line.text.get(line.indent()..).unwrap_or_default().to_owned();
            if quoted.starts_with(['"', '\'']) {
                return self.quoted(start);
            }
            return beyond(
                start,
                "config must be a text: put the JSON behind | on lines of its own, or into quotes",
            );
        }
        match rest.chars().next() {
            Some('|' | '>') => self.block(rest, offset, indent),
            Some('"' | '\'') => self.quoted(offset),
            Some('{') => beyond(
                offset,
                "config must be a text: put the JSON behind | on lines of its own, or into quotes",
            ),
            Some('&' | '*' | '!') => beyond(offset, "anchors, aliases and tags are not read here"),
            _ => beyond(offset, "config without quotes is not read here"),
        }
    }

    /// A literal or folded text. A folded one is read as a literal one: JSON does not mind line breaks.
    fn block(&mut self, rest: &str, offset: usize, indent: usize) -> Result<Text, Beyond> {
        let header = rest.get(1..).unwrap_or_default();
        let header = header.split_once(" #").map_or(header, |(header, _)| header).trim();
        let mut wanted = None;
        for c in header.chars() {
            match c {
                '+' | '-' => {}
                '1'..='9' if wanted.is_none() => {
                    wanted = c.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                }
                _ => return beyond(offset, format!("{header:?} is not read here")),
            }
        }
        let mut width = wanted.map(|wanted| indent + wanted);
        let mut text = Text::pieces();
        while let Some(line) = self.line() {
            let blank = line.text.trim_matches([' ', '\t']).is_empty();
            let own = line.indent();
            if !blank && (own <= indent || line.is_marker()) {
                break;
            }
            if !blank {
                let width = *width.get_or_insert(own);
                if own < width {
                    return beyond(
                        line.start + own,
                        "this line of config is indented less than its first one",
                    );
                }
            }
            let width = width.unwrap_or(own);
            for (i, c) in line.text.char_indices().filter(|(i, _)| *i >= width) {
                text.push(c, line.start + i);
            }
            text.push('\n', line.start + line.text.len());
            self.at += 1;
        }
        Ok(text)
    }

    /// A quoted text, folded, which begins with its quote at `start` of the file.
    fn quoted(&mut self, start: usize) -> Result<Text, Beyond> {
        let source = self.file.get(start..).unwrap_or_default();
        let mut chars = source.char_indices().peekable();
        let Some((_, quote)) = chars.next() else { return beyond(start, "config is empty") };
        let mut text = Text::pieces();
        // White space that was written as an escape is no end of a line.
        let mut escaped = 0;
        let end = loop {
            let Some((i, c)) = chars.next() else {
                return beyond(start, "the quote that begins config is not closed");
            };
            let at = start + i;
            match c {
                '\'' if quote == '\'' && chars.next_if(|(_, c)| *c == '\'').is_some() => {
                    text.push('\'', at);
                }
                c if c == quote => break at + 1,
                '\\' if quote == '"' => {
                    let escape = chars.next().map(|(_, c)| c);
                    match escape.and_then(|escape| escaped_char(escape, &mut chars)) {
                        Some(Some(c)) => text.push(c, at),
                        // An escaped line break joins two lines.
                        Some(None) => {
                            while chars.next_if(|(_, c)| matches!(c, ' ' | '\t')).is_some() {}
                        }
                        None => return beyond(at, "this escape is not read here"),
                    }
                    escaped = text.as_str().len();
                }
                '\n' | '\r' => {
                    text.trim_end(escaped);
                    let mut breaks = usize::from(c == '\n');
                    while let Some((_, c)) =
                        chars.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r'))
                    {
                        breaks += usize::from(c == '\n');
                    }
                    match breaks {
                        0 | 1 => text.push(' ', at),
                        _ => (1..breaks).for_each(|_| text.push('\n', at)),
                    }
                }
                c => text.push(c, at),
            }
        };
        let line = self.lines.partition_point(|line| line.start < end).saturating_sub(1);
        if let Some(line) = self.lines.get(line) {
            let rest = line.text.get(end - line.start..).unwrap_or_default();
            if !comment(rest.trim_start_matches([' ', '\t'])) {
                return beyond(end, "there is something behind the closing quote");
            }
        }
        self.at = line + 1;
        Ok(text)
    }
}

/// What an escape of a double-quoted text stands for; an inner nothing is an escaped line break.
fn escaped_char(
    escape: char,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
) -> Option<Option<char>> {
    let mut code = |digits: u32| -> Option<char> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 16 + chars.next()?.1.to_digit(16)?;
        }
        char::from_u32(number)
    };
    let c = match escape {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        ' ' | '"' | '/' | '\\' => escape,
        'x' => code(2)?,
        'u' => code(4)?,
        'U' => code(8)?,
        '\n' => return Some(None),
        '\r' => return chars.next_if(|(_, c)| *c == '\n').map(|_| None),
        _ => return None,
    };
    Some(Some(c))
}

/// Whether nothing but a comment is left of a line.
fn comment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('#')
}

/// A text on one line.
fn scalar(rest: &str, offset: usize) -> Result<String, Beyond> {
    let bare = rest.split_once(" #").map_or(rest, |(value, _)| value).trim();
    for quote in ['"', '\''] {
        if let Some(inner) = bare.strip_prefix(quote) {
            return match inner.strip_suffix(quote) {
                Some(inner) if !inner.contains([quote, '\\']) => Ok(inner.to_owned()),
                _ => beyond(offset, "this quoted text is not read here"),
            };
        }
    }
    if bare.starts_with(['&', '*', '!', '|', '>', '{', '[', '@', '`', '%']) {
        return beyond(offset, "only a plain text on one line is read here");
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests;
