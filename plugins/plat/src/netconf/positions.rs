/*!
Where in a JSON text each value stands.

The text has been parsed already and is valid; this index is only made to tell people the place of what
is wrong in it, and which keys stand in an object twice. What it does not understand has no place.
*/

/// A value and where it stands, in bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The offset of its first byte.
    pub(crate) start: usize,
    /// What is within it.
    pub(crate) kind: Kind,
}

/// What is within a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: a text, a number, true, false, null.
    Leaf {
        /// The offset behind its last byte.
        end: usize,
    },
    /// Members, in the order of the text, with duplicates.
    Object(Vec<Member>),
    /// Elements.
    Array(Vec<Located>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its key, unescaped.
    pub(crate) key: String,
    /// The offset of the key's quote.
    pub(crate) start: usize,
    /// Its value.
    pub(crate) value: Located,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The offset of the value, or of the last value on the way to it.
    pub(crate) value: usize,
    /// The offset of its key, if it has one.
    pub(crate) key: Option<usize>,
    /// Whether the path was followed to its end.
    pub(crate) complete: bool,
}

/// Deeper texts are not parsed by serde_json either.
const DEEPEST: usize = 128;

impl Located {
    /// The index of a JSON text; nothing if it is not valid.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut scanner = Scanner { text, at: 0 };
        let value = scanner.value(0)?;
        scanner.space();
        (scanner.at == text.len()).then_some(value)
    }

    /// Follows a path such as `plugins[0].ipam.ranges[0][1].subnet`. Keys match as written, else without
    /// regard to case, and may contain dots; of duplicates the last one counts, as for every reader.
    pub(crate) fn find(&self, path: &str) -> Found {
        let mut found = Found { value: self.start, key: None, complete: false };
        let mut value = self;
        let mut rest = path;
        loop {
            if rest.is_empty() {
                return Found { complete: true, ..found };
            }
            match &value.kind {
                Kind::Array(elements) => {
                    let Some((digits, behind)) =
                        rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
                    else {
                        return found;
                    };
                    let Some(element) = digits.parse().ok().and_then(|i: usize| elements.get(i))
                    else {
                        return found;
                    };
                    found = Found { value: element.start, key: None, complete: false };
                    (value, rest) = (element, behind);
                }
                Kind::Object(members) => {
                    let name = rest.strip_prefix('.').unwrap_or(rest);
                    let Some(member) = member(members, name) else { return found };
                    found = Found {
                        value: member.value.start,
                        key: Some(member.start),
                        complete: false,
                    };
                    value = &member.value;
                    rest = name.get(member.key.len()..).unwrap_or_default();
                }
                Kind::Leaf { .. } => return found,
            }
        }
    }

    /// Calls `see` with each key that stands in one object more than once, or twice but for the case of its
    /// letters: the former member, the later one.
    pub(crate) fn duplicates<'a>(&'a self, see: &mut impl FnMut(&'a Member, &'a Member)) {
        match &self.kind {
            Kind::Leaf { .. } => {}
            Kind::Array(elements) => elements.iter().for_each(|element| element.duplicates(see)),
            Kind::Object(members) => {
                let mut sorted: Vec<(String, &Member)> = members
                    .iter()
                    .map(|member| (member.key.to_ascii_lowercase(), member))
                    .collect();
                sorted.sort_by(|a, b| (&a.0, a.1.start).cmp(&(&b.0, b.1.start)));
                for pair in sorted.windows(2) {
                    if let [(one, former), (other, later)] = pair
                        && one == other
                    {
                        see(former, later);
                    }
                }
                members.iter().for_each(|member| member.value.duplicates(see));
            }
        }
    }
}

/// The member whose key a path begins with: the longest one, in its own spelling first.
fn member<'a>(members: &'a [Member], path: &str) -> Option<&'a Member> {
    let begins = |member: &&Member, exact: bool| {
        let Some(name) = path.get(..member.key.len()) else { return false };
        let same = if exact { name == member.key } else { name.eq_ignore_ascii_case(&member.key) };
        let behind = path.get(member.key.len()..).unwrap_or_default();
        same && (behind.is_empty() || behind.starts_with(['.', '[']))
    };
    let longest =
        |exact| members.iter().filter(|m| begins(m, exact)).max_by_key(|member| member.key.len());
    longest(true).or_else(|| longest(false))
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes over this byte; nothing if there is another one.
    fn eat(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<Located> {
        if depth > DEEPEST {
            return None;
        }
        self.space();
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => {
                let mut members = Vec::new();
                self.list(b'{', b'}', |scanner| {
                    scanner.space();
                    let start = scanner.at;
                    let key = scanner.string()?;
                    scanner.eat(b':')?;
                    let value = scanner.value(depth + 1)?;
                    members.push(Member { key, start, value });
                    Some(())
                })?;
                Kind::Object(members)
            }
            b'[' => {
                let mut elements = Vec::new();
                self.list(b'[', b']', |scanner| {
                    elements.push(scanner.value(depth + 1)?);
                    Some(())
                })?;
                Kind::Array(elements)
            }
            b'"' => {
                self.string()?;
                Kind::Leaf { end: self.at }
            }
            _ => {
                let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
                while self.peek().is_some_and(is_word) {
                    self.at += 1;
                }
                if self.at == start {
                    return None;
                }
                Kind::Leaf { end: self.at }
            }
        };
        Some(Located { start, kind })
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.eat(open)?;
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.eat(b',').is_none() {
                return self.eat(close);
            }
        }
    }

    /// A string, unescaped.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.eat(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const TEXT: &str = r#"{"name": "n", "plugins": [ {"Ipam": {"a.b": {"c": 5}, "ranges": [[], [{"subnet":"x"}]]}} ],
 "name":"m", "NAME": 3}"#;

    #[test]
    fn paths_lead_to_places() {
        let located = Located::of(TEXT).unwrap();
        for (path, at, complete) in [
            ("", "{", true),
            ("plugins", "[ {", true),
            ("plugins[0].ipam.ranges[1][0].subnet", "\"x\"", true),
            ("plugins[0].ipam.a.b.c", "5}", true),
            ("plugins[0].ipam.ranges[1][0].gateway", "{\"subnet\"", false),
            ("plugins[7].ipam", "[ {", false),
            ("plugins[x", "[ {", false),
            ("NAME", "3}", true),
            ("nothing", "{", false),
        ] {
            let found = located.find(path);
            assert!(TEXT[found.value..].starts_with(at), "{path}: {found:?}");
            assert_eq!(found.complete, complete, "{path}");
        }
        let key = located.find("plugins[0].ipam").key.unwrap();
        assert!(TEXT[key..].starts_with("\"Ipam\""));
        let mut seen = Vec::new();
        located.duplicates(&mut |a, b| seen.push((a.key.clone(), b.key.clone())));
        assert_eq!(seen, [("name".into(), "name".into()), ("name".into(), "NAME".into())]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"\\\\é]{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn same(located: &Located, value: &Value, text: &str) -> bool {
        match (&located.kind, value) {
            (Kind::Object(members), Value::Object(object)) => {
                members.len() == object.len()
                    && members
                        .iter()
                        .all(|m| object.get(&m.key).is_some_and(|v| same(&m.value, v, text)))
            }
            (Kind::Array(elements), Value::Array(values)) => {
                elements.len() == values.len()
                    && elements.iter().zip(values).all(|(e, v)| same(e, v, text))
            }
            (Kind::Leaf { end }, value) => {
                let written = value.to_string();
                text[located.start..*end] == written
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_value_has_its_place(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let located = Located::of(&text).unwrap();
            prop_assert!(same(&located, &value, &text), "{text}");
        }

        #[test]
        fn no_text_is_too_much(text in "[{}\\[\\]\",:a0\\\\ é]{0,40}", path in "[a.\\[\\]0é]{0,8}") {
            if let Some(located) = Located::of(&text) {
                let _ = located.find(&path);
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(Located::of(&"[".repeat(100_000)), None);
    }
}
