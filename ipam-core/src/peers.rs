/*!
Rules for routes to other nodes: which nodes there are, and texts with their numbers to fill in.

```text
{"nodes": "1-64", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"}
```
*/

mod template;

pub use template::{Template, TemplateError, Variable};

use crate::config::ConfigError;
use crate::config::json::{At, shown};

/// How many nodes a rule may have.
const MOST_NODES: u64 = 65_536;

/// Numbers of nodes: ranges in their order, apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(Vec<(u32, u32)>);

impl Nodes {
    /// Reads a list such as `1-3,7`.
    ///
    /// # Errors
    /// If it is none, names a node twice, or too many.
    pub fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const RIGHT: &str = "numbers and ranges of them, such as \"1-64\" or \"1-3,7\"";
        let text = at.string()?;
        let wrong = |what: &str| at.wrong(format!("{at}: {:?} {what}", shown(text)), RIGHT);
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (number(first), number(last));
            let (Some(first), Some(last)) = range else {
                return Err(wrong("is no list of node numbers"));
            };
            if first > last {
                return Err(wrong("has a range that ends before it begins"));
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let twice = ranges.iter().zip(ranges.iter().skip(1)).any(|(a, b)| b.0 <= a.1);
        if twice {
            return Err(wrong("has a node twice"));
        }
        let nodes = Self(ranges);
        if nodes.count() > MOST_NODES {
            return Err(at.wrong(
                format!("{at}: {} nodes are more than one rule can have", nodes.count()),
                format!("at most {MOST_NODES} nodes"),
            ));
        }
        Ok(nodes)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

/// A whole number, with spaces around it if need be.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn nodes(text: &str) -> Result<Vec<u32>, String> {
        let value = json!(text);
        let nodes = Nodes::parse(&At::standing_at(&value, "nodes"));
        nodes.map(|nodes| nodes.iter().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_of_nodes() {
        assert_eq!(nodes("1-4").unwrap(), [1, 2, 3, 4]);
        assert_eq!(nodes("7, 1-3").unwrap(), [1, 2, 3, 7]);
        assert_eq!(nodes("0").unwrap(), [0]);
        assert_eq!(nodes("4294967295").unwrap(), [u32::MAX]);
        for (text, wrong) in [
            ("", "is no list of node numbers"),
            ("1,", "is no list of node numbers"),
            ("a-b", "is no list of node numbers"),
            ("-3", "is no list of node numbers"),
            ("1-2-3", "is no list of node numbers"),
            ("4294967296", "is no list of node numbers"),
            ("+1", "is no list of node numbers"),
            ("5-4", "has a range that ends before it begins"),
            ("1-3,3", "has a node twice"),
        ] {
            assert_eq!(nodes(text).unwrap_err(), format!("nodes: {text:?} {wrong}"));
        }
        let error = nodes("0-4294967295").unwrap_err();
        assert_eq!(error, "nodes: 4294967296 nodes are more than one rule can have");
        assert_eq!(nodes("1-65536").unwrap().len(), 65_536);
    }

    proptest! {
        #[test]
        fn each_node_comes_once_and_in_order(text in "[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?){0,4}") {
            if let Ok(nodes) = nodes(&text) {
                prop_assert!(nodes.is_sorted_by(|a, b| a < b));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = nodes(&text);
        }
    }
}
