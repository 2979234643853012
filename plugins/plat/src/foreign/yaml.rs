/*!
YAML as kubectl prints it: `kubectl get … -o yaml`, several documents, too.

Block mappings and sequences, plain, quoted and literal scalars, `{}` and `[]`. Of everything else (anchors, tags,
flow collections with content) it says that it does not read it, instead of reading it wrong.
*/

use serde_json::{Map, Value};

/// How deep documents may be nested.
const DEEPEST: usize = 64;

/// What is not read: the line, and why.
type Beyond = (usize, String);

struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
    /// The whole line, for literal scalars.
    raw: &'a str,
}

struct Parser<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

/// Reads the documents.
///
/// # Errors
/// The first line that is not read, and why.
pub(super) fn read(text: &str) -> Result<Vec<Value>, Beyond> {
    let mut documents = Vec::new();
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut end = |lines: &mut Vec<Line<'_>>| -> Result<(), Beyond> {
        let mut parser = Parser { lines: std::mem::take(lines), at: 0 };
        parser.skip_empty();
        if let Some(line) = parser.lines.get(parser.at) {
            let indent = line.indent;
            let value = parser.node(indent, 0)?;
            parser.skip_empty();
            if let Some(line) = parser.lines.get(parser.at) {
                return Err((line.number, "the indentation does not fit".to_owned()));
            }
            documents.push(value);
        }
        Ok(())
    };
    for (number, raw) in text.lines().enumerate() {
        if raw == "---" || raw.starts_with("--- ") || raw == "..." {
            end(&mut lines)?;
            continue;
        }
        let text = raw.trim_start_matches(' ');
        if text.starts_with('\t') {
            return Err((number + 1, "tabs do not indent".to_owned()));
        }
        lines.push(Line {
            number: number + 1,
            indent: raw.len() - text.len(),
            text: text.trim_end(),
            raw,
        });
    }
    end(&mut lines)?;
    Ok(documents)
}

impl<'a> Parser<'a> {
    fn skip_empty(&mut self) {
        while self
            .lines
            .get(self.at)
            .is_some_and(|line| line.text.is_empty() || line.text.starts_with('#'))
        {
            self.at += 1;
        }
    }

    /// The line that is next, if anything is on it.
    fn peek(&mut self) -> Option<(usize, usize, &'a str)> {
        self.skip_empty();
        self.lines.get(self.at).map(|line| (line.number, line.indent, line.text))
    }

    /// A mapping or a sequence whose lines have this indentation.
    fn node(&mut self, indent: usize, depth: usize) -> Result<Value, Beyond> {
        let Some((number, _, text)) = self.peek() else { return Ok(Value::Null) };
        if depth > DEEPEST {
            return Err((number, "it is nested too deep".to_owned()));
        }
        if text == "-" || text.starts_with("- ") {
            return self.sequence(indent, depth);
        }
        let mut object = Map::new();
        while let Some((number, here, text)) = self.peek() {
            if here != indent || text == "-" || text.starts_with("- ") {
                break;
            }
            let (key, rest) = key(text).ok_or_else(|| (number, "no key".to_owned()))?;
            let key = match scalar(key, number)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            self.at += 1;
            let value = self.value(rest, number, indent, depth)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Result<Value, Beyond> {
        let mut items = Vec::new();
        while let Some((number, here, text)) = self.peek() {
            let Some(rest) = text.strip_prefix('-').filter(|_| here == indent) else { break };
            if !rest.is_empty() && !rest.starts_with(' ') {
                break;
            }
            let inner = rest.trim_start_matches(' ');
            if inner.is_empty() {
                self.at += 1;
                items.push(self.value("", number, indent + 1, depth)?);
            } else if key(inner).is_some() || inner.starts_with("- ") {
                // What follows the dash is the first line of a node of its own.
                let deeper = indent + (text.len() - inner.len());
                if let Some(line) = self.lines.get_mut(self.at) {
                    (line.indent, line.text) = (deeper, inner);
                }
                items.push(self.node(deeper, depth + 1)?);
            } else {
                self.at += 1;
                items.push(self.value(inner, number, indent, depth)?);
            }
        }
        Ok(Value::Array(items))
    }

    /// What follows a key or a dash.
    fn value(
        &mut self,
        rest: &str,
        number: usize,
        indent: usize,
        depth: usize,
    ) -> Result<Value, Beyond> {
        match rest {
            "" => match self.peek() {
                Some((_, here, text))
                    if here > indent || (here == indent && text.starts_with('-')) =>
                {
                    self.node(here, depth + 1)
                }
                _ => Ok(Value::Null),
            },
            "|" | "|-" | "|+" => Ok(Value::String(self.literal(indent, rest != "|-"))),
            _ => {
                let value = scalar(rest, number)?;
                // A plain scalar that goes on in the next line is folded.
                match (value, self.peek()) {
                    (Value::String(_), Some((next, here, _))) if here > indent => {
                        Err((next, "a text of several lines is not read".to_owned()))
                    }
                    (value, _) => Ok(value),
                }
            }
        }
    }

    fn literal(&mut self, indent: usize, newline: bool) -> String {
        let mut text = String::new();
        let mut own = None;
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() && line.indent <= indent {
                break;
            }
            let own = *own.get_or_insert(line.indent);
            text.push_str(line.raw.get(own..).unwrap_or_default());
            text.push('\n');
            self.at += 1;
        }
        let trimmed = text.trim_end_matches('\n').len();
        text.truncate(trimmed);
        if newline {
            text.push('\n');
        }
        text
    }
}

/// A key and what follows its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let from = match quote {
        Some(quote) => text.get(1..)?.find(quote)? + 2,
        None => 0,
    };
    let tail = text.get(from..)?;
    let colon = match tail.find(": ") {
        Some(colon) => colon,
        None => tail.strip_suffix(':')?.len(),
    };
    let (key, rest) = text.split_at_checked(from + colon)?;
    Some((key.trim_end(), rest.get(1..)?.trim()))
}

fn scalar(text: &str, number: usize) -> Result<Value, Beyond> {
    let beyond = |why: &str| Err((number, why.to_owned()));
    let first = text.chars().next().unwrap_or('\0');
    match first {
        '"' => match serde_json::from_str::<String>(text) {
            Ok(text) => Ok(Value::String(text)),
            Err(_) => beyond("a quoted text that is not read"),
        },
        '\'' => match text.get(1..).and_then(|text| text.strip_suffix('\'')) {
            Some(inner) if !inner.replace("''", "").contains('\'') => {
                Ok(Value::String(inner.replace("''", "'")))
            }
            _ => beyond("a quoted text that is not read"),
        },
        '{' | '[' => match text {
            "{}" => Ok(Value::Object(Map::new())),
            "[]" => Ok(Value::Array(Vec::new())),
            _ => beyond("a list or mapping in one line is not read"),
        },
        '&' | '*' | '!' | '>' | '%' | '@' | '`' | '|' => beyond("this form of YAML is not read"),
        _ => {
            let text = text.split(" #").next().unwrap_or(text).trim_end();
            Ok(match text {
                "null" | "~" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => text
                    .parse::<i64>()
                    .ok()
                    .filter(|number| number.to_string() == text)
                    .map_or_else(|| Value::String(text.to_owned()), Value::from),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_kubectl_prints_is_read() {
        let text = r#"apiVersion: v1
items:
- apiVersion: whereabouts.cni.cncf.io/v1alpha1
  kind: IPPool
  metadata:
    annotations:
      note: |-
        two
          lines
    name: lan-10.0.0.0-24
  spec:
    allocations:
      "1":
        id: 0abc
        podref: 'default/it''s'
      "22": {}
    range: 10.0.0.0/24
- kind: Empty # a remark
  list: []
  plain:
  - a
  - "b: c"
  time: "2024-03-05T12:34:56Z"
kind: List
---
kind: Second
count: 7
"#;
        assert_eq!(
            read(text).unwrap(),
            [
                json!({
                    "apiVersion": "v1",
                    "items": [
                        {
                            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
                            "kind": "IPPool",
                            "metadata": {
                                "annotations": {"note": "two\n  lines"},
                                "name": "lan-10.0.0.0-24"
                            },
                            "spec": {
                                "allocations": {
                                    "1": {"id": "0abc", "podref": "default/it's"},
                                    "22": {}
                                },
                                "range": "10.0.0.0/24"
                            }
                        },
                        {
                            "kind": "Empty", "list": [], "plain": ["a", "b: c"],
                            "time": "2024-03-05T12:34:56Z"
                        }
                    ],
                    "kind": "List"
                }),
                json!({"kind": "Second", "count": 7}),
            ]
        );
    }

    #[test]
    fn what_is_not_read_is_said() {
        for (text, line) in [
            ("a: &x 1", 1),
            ("a: 1\n   b: 2\n", 2),
            ("a: {b: 1}", 1),
            ("a: one\n  two", 2),
            ("a:\n\tb: 1", 2),
            ("just a text", 1),
            ("a: \"open", 1),
        ] {
            assert_eq!(read(text).unwrap_err().0, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "[ab:\\- \n#'\"{}|]{0,60}") {
            let _ = read(&text);
        }
    }
}
