/*!
Texts with a number to fill in: the node's own (`{i}`), or a peer's (`{peer}`).

| placeholder | 4 | 300 |
|---|---|---|
| `{i}`, `{peer}` | `4` | `300` |
| `{i:x}`, `{peer:x}` | `4` | `12c` |
| `{i:04x}`, `{peer:04x}` | `0004` | `012c` |
| `{i/256}`, `{peer/256}` | `0` | `1` |
| `{i%256}`, `{peer%256}` | `4` | `44` |

The forms are those of node-local, whose `{node}` there is, too. A text has either the node's number or a
peer's, never both: what is filled in for each peer would otherwise depend on who fills it in.
*/

use crate::config::json::shown;

/// Whose number a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The node's own: `{i}`; and its name, `{node}`.
    Node,
    /// A peer's: `{peer}`.
    Peer,
}

impl Variable {
    const fn name(self) -> &'static str {
        match self {
            Self::Node => "i",
            Self::Peer => "peer",
        }
    }

    /// What may stand in braces, for errors.
    #[must_use]
    pub const fn known(self) -> &'static str {
        match self {
            Self::Node => "{i}, {i:x}, {i:04x}, {i/256}, {i%256} or {node}",
            Self::Peer => "{peer}, {peer:x}, {peer:04x}, {peer/256} or {peer%256}",
        }
    }
}

/// A text with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Number(Form),
    Name,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Decimal,
    /// With at least so many digits.
    Hexadecimal(usize),
    High,
    Low,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{` without `}`.
    #[error("a brace is not closed")]
    Open,
    /// What stands in braces means nothing.
    #[error("unknown placeholder {{{0}}}")]
    Unknown(String),
    /// This node's number, where a peer's is wanted.
    #[error("{{{0}}} is this node's own number, and peers have {{peer}}")]
    OwnInPeers(String),
    /// A peer's number, where there is none.
    #[error("{{{0}}} is for peers only, and this node's own number is {{i}}")]
    PeerElsewhere(String),
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// What in braces is none of [`Variable::known`].
    pub fn parse(text: &str, variable: Variable) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(placeholder(name, variable)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether anything is filled in.
    #[must_use]
    pub fn depends(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text for a number and a node's name.
    #[must_use]
    pub fn render(&self, number: u32, name: &str) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name => out.push_str(name),
                Part::Number(form) => out.push_str(&form.write(number)),
            }
        }
        out
    }
}

impl Form {
    fn write(self, number: u32) -> String {
        match self {
            Self::Decimal => number.to_string(),
            Self::Hexadecimal(digits) => format!("{number:0digits$x}"),
            Self::High => (number / 256).to_string(),
            Self::Low => (number % 256).to_string(),
        }
    }

    /// What stands behind the variable.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Decimal),
            "/256" => Some(Self::High),
            "%256" => Some(Self::Low),
            ":x" => Some(Self::Hexadecimal(1)),
            _ => {
                let digits = text.strip_prefix(":0")?.strip_suffix('x')?;
                let wide = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let digits: usize = digits.parse().ok()?;
                (wide && digits <= 8).then_some(Self::Hexadecimal(digits))
            }
        }
    }
}

fn placeholder(name: &str, variable: Variable) -> Result<Part, TemplateError> {
    let form = |variable: Variable| name.strip_prefix(variable.name()).and_then(Form::parse);
    if variable == Variable::Node && name == "node" {
        return Ok(Part::Name);
    }
    if let Some(form) = form(variable) {
        return Ok(Part::Number(form));
    }
    let written = || shown(name);
    Err(match variable {
        Variable::Peer if form(Variable::Node).is_some() => TemplateError::OwnInPeers(written()),
        Variable::Node if form(Variable::Peer).is_some() => TemplateError::PeerElsewhere(written()),
        _ => TemplateError::Unknown(written()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeIdentity;
    use crate::template::render;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_filled_in() {
        for (text, number, expected) in [
            ("10.1.{peer}.0/24", 4, "10.1.4.0/24"),
            ("10.{peer/256}.{peer%256}.0/24", 300, "10.1.44.0/24"),
            ("fd00:{peer:x}::/64", 300, "fd00:12c::/64"),
            ("fd00:{peer:04x}::/64", 300, "fd00:012c::/64"),
            ("", 1, ""),
            ("{peer}{peer}", 7, "77"),
        ] {
            let template = Template::parse(text, Variable::Peer).unwrap();
            assert_eq!(template.render(number, ""), expected, "{text}");
            assert_eq!(template.depends(), text.contains('{'), "{text}");
        }
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        use Variable::{Node, Peer};
        for (text, variable, expected) in [
            ("10.{i", Node, "a brace is not closed"),
            ("{peer", Peer, "a brace is not closed"),
            ("{i+1}", Node, "unknown placeholder {i+1}"),
            ("{peer:09x}", Peer, "unknown placeholder {peer:09x}"),
            ("{peer:0x}", Peer, "unknown placeholder {peer:0x}"),
            ("{node}", Peer, "unknown placeholder {node}"),
            ("{i:x}", Peer, "{i:x} is this node's own number, and peers have {peer}"),
            ("{peer%256}", Node, "{peer%256} is for peers only, and this node's own number is {i}"),
        ] {
            let error = Template::parse(text, variable).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    proptest! {
        /// A text means here what it means in node-local.
        #[test]
        fn as_in_node_local(
            index in any::<u32>(),
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{i}"), Just("{i:x}"), Just("{i:04x}"), Just("{i:08x}"), Just("{i/256}"),
                    Just("{i%256}"), Just("{node}"), Just("10."), Just(":"), Just("{i:x04}"), Just("{x}"),
                ],
                0..6,
            ),
        ) {
            let text = parts.concat();
            let node = NodeIdentity { index, name: "vm-7".to_owned(), source: String::new() };
            let theirs = render(&serde_json::json!({"other": text}), &node);
            let ours = Template::parse(&text, Variable::Node);
            prop_assert_eq!(theirs.is_ok(), ours.is_ok());
            if let (Ok((theirs, _)), Ok(ours)) = (theirs, ours) {
                prop_assert_eq!(theirs["other"].as_str().unwrap(), ours.render(index, "vm-7"));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            for variable in [Variable::Node, Variable::Peer] {
                if let Ok(template) = Template::parse(&text, variable) {
                    let _ = template.render(u32::MAX, "n");
                }
            }
        }
    }
}
