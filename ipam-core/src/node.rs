/*!
Which node this is: its index in the cluster.

An index found wrongly gives two nodes the same addresses, and nothing in the cluster would tell. So the
sources are an ordered, explicit list, the first one that is there counts, and one that is there but
cannot be understood is an error, never a reason to go on to the next.
*/

use std::fmt;

use regex_lite::Regex;

use crate::config::json::shown;

/// A node, as templates see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its number in the cluster, from 0.
    pub index: u32,
    /// Its host name.
    pub name: String,
    /// Where the index comes from, for people.
    pub source: String,
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}, index {} from {}", self.name, self.index, self.source)
    }
}

/// What the plugin has found of each source, in order. Nothing has been checked yet.
#[derive(Clone, Debug, Default)]
pub struct IndexSources {
    /// `index` of the configuration.
    pub configured: Option<String>,
    /// The administrator's file: its path and content.
    pub file: Option<(String, String)>,
    /// The environment variable NODE_INDEX.
    pub environment: Option<String>,
    /// The host name.
    pub host_name: String,
    /// `hostname` of the configuration: a pattern with one capture group, in place of the default rule.
    pub pattern: Option<String>,
    /// What plat-agent has registered: path and content.
    pub registered: Option<(String, String)>,
}

/// Why a node has no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A source has a text that is no index.
    #[error("{origin}: {} is no node index", shown_quoted(text))]
    NoIndex {
        /// Which source.
        origin: String,
        /// What is there.
        text: String,
    },
    /// The pattern is no regular expression, or has not exactly one capture group.
    #[error(
        "ipam.hostname: {} is no pattern with one capture group{}",
        shown_quoted(pattern),
        because(why)
    )]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host name tells no index, and no other source has one.
    #[error("the node's index is not known: host name {} {why}", shown_quoted(name))]
    Unknown {
        /// The host name.
        name: String,
        /// Why it tells nothing.
        why: String,
    },
}

impl NodeError {
    /// What would be right.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoIndex { .. } => "a whole number from 0 to 4294967295",
            Self::Pattern { .. } => {
                "a regular expression such as \"^ip-10-0-1-([0-9]+)$\", matched against the first label \
                 of the host name"
            }
            Self::Unknown { .. } => {
                "give the index by \"index\" in ipam, by the file /etc/cni/node-local/index, by the \
                 environment variable NODE_INDEX, by a host name that ends in its only number (vm-004), \
                 or by a pattern in \"hostname\""
            }
        }
    }
}

fn shown_quoted(text: &str) -> String {
    format!("{:?}", shown(text))
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl IndexSources {
    /// Finds the node's index.
    ///
    /// # Errors
    /// Why no source tells it.
    pub fn resolve(self) -> Result<NodeIdentity, NodeError> {
        let name = self.host_name.clone();
        let found = |index, source: &str| {
            Ok(NodeIdentity { index, name: name.clone(), source: source.to_owned() })
        };
        if let Some(text) = self.configured {
            return found(parse_index("ipam.index", &text)?, "the configuration");
        }
        if let Some((path, text)) = self.file {
            return found(parse_index(&path, &text)?, &path);
        }
        if let Some(text) = self.environment {
            return found(parse_index("NODE_INDEX", &text)?, "NODE_INDEX");
        }
        let unknown = match index_of_host_name(&self.host_name, self.pattern.as_deref()) {
            Ok(index) => return found(index, "its host name"),
            Err(unknown @ NodeError::Unknown { .. }) => unknown,
            Err(error) => return Err(error),
        };
        match self.registered {
            Some((path, text)) => found(parse_index(&path, &text)?, &path),
            None => Err(unknown),
        }
    }
}

/// The index that a host name tells. Without a pattern: the number at the end of the first label, if that is
/// the only number in it. `ip-10-0-1-5` has four: its nodes would share whatever was chosen.
///
/// # Errors
/// Why it tells none.
pub fn index_of_host_name(name: &str, pattern: Option<&str>) -> Result<u32, NodeError> {
    let unknown = |why: &str| NodeError::Unknown { name: name.to_owned(), why: why.to_owned() };
    let label = name.split('.').next().unwrap_or_default();
    let digits = match pattern {
        Some(pattern) => captured(label, pattern)?.ok_or_else(|| {
            unknown(&format!("does not match the pattern {}", shown_quoted(pattern)))
        })?,
        None => {
            let end = label.trim_end_matches(|c: char| c.is_ascii_digit());
            if end.len() == label.len() {
                return Err(unknown("does not end in a number"));
            }
            if end.contains(|c: char| c.is_ascii_digit()) {
                return Err(unknown("has more than one number"));
            }
            label.get(end.len()..).unwrap_or_default().to_owned()
        }
    };
    parse_index(&format!("host name {}", shown(name)), &digits)
}

/// What the pattern's capture group finds in a host name's first label.
fn captured(label: &str, pattern: &str) -> Result<Option<String>, NodeError> {
    let wrong = |why: String| NodeError::Pattern { pattern: pattern.to_owned(), why };
    let regex = Regex::new(pattern).map_err(|error| wrong(error.to_string()))?;
    // The whole match counts as a group.
    if regex.captures_len() != 2 {
        return Err(wrong(format!("it has {}", regex.captures_len() - 1)));
    }
    let group = regex.captures(label).and_then(|captures| captures.get(1));
    Ok(group.map(|group| group.as_str().to_owned()))
}

/// Reads an index: decimal digits, leading zeros allowed (decimal too), white space around them ignored.
/// `origin` is where the text stands, for the error.
///
/// # Errors
/// If it is none.
pub fn parse_index(origin: &str, text: &str) -> Result<u32, NodeError> {
    let digits = text.trim();
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| NodeError::NoIndex { origin: origin.to_owned(), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_names_tell_an_index_or_are_refused() {
        for (name, index) in [
            ("vm-004", 4),
            ("vm-000", 0),
            ("node7", 7),
            ("kubenet1", 1),
            ("vm5", 5),
            ("kind-worker2", 2),
            ("cni-worker1", 1),
            ("worker-pool-3", 3),
            ("vm-004.example.com", 4),
            ("vm-256", 256),
            ("vm-070000", 70_000),
            ("vm-010", 10),
            ("42", 42),
            ("n4294967295", u32::MAX),
        ] {
            assert_eq!(index_of_host_name(name, None), Ok(index), "{name}");
        }
        for (name, text) in [
            ("ip-10-0-1-5", "has more than one number"),
            ("vm-08a", "does not end in a number"),
            ("k8s-node-3", "has more than one number"),
            ("localhost", "does not end in a number"),
            ("", "does not end in a number"),
            ("vm.example.com4", "does not end in a number"),
            ("n4294967296", "is no node index"),
            ("n99999999999999999999999", "is no node index"),
        ] {
            let error = index_of_host_name(name, None).unwrap_err().to_string();
            assert!(error.contains(text), "{name}: {error}");
        }
    }

    #[test]
    fn a_pattern_replaces_the_rule() {
        let index = |pattern| index_of_host_name("ip-10-0-1-5.eu", Some(pattern));
        assert_eq!(index("-([0-9]+)$"), Ok(5));
        assert_eq!(index("^ip-(\\d+)-"), Ok(10));
        for (pattern, text) in [
            ("-[0-9]+$", "is no pattern with one capture group: it has 0"),
            ("(a)(b)", "is no pattern with one capture group: it has 2"),
            ("(", "is no pattern with one capture group: "),
            ("^vm-([0-9]+)$", "does not match the pattern"),
            ("^(ip)", "is no node index"),
        ] {
            let error = index(pattern).unwrap_err().to_string();
            assert!(error.contains(text), "{pattern}: {error}");
        }
    }

    #[test]
    fn the_first_source_counts_and_a_bad_one_is_no_reason_to_go_on() {
        let own = |text: &str| Some(text.to_owned());
        let file = |text: &str| Some(("/etc/cni/node-local/index".to_owned(), text.to_owned()));
        let mut sources = IndexSources {
            configured: own("1"),
            file: file("2\n"),
            environment: own("3"),
            host_name: "vm-004".to_owned(),
            pattern: None,
            registered: Some(("/var/lib/plat/node-index".to_owned(), "5".to_owned())),
        };
        let resolve = |sources: &IndexSources| {
            sources
                .clone()
                .resolve()
                .map(|node| (node.index, node.source))
                .map_err(|e| e.to_string())
        };
        assert_eq!(resolve(&sources), Ok((1, "the configuration".to_owned())));
        sources.configured = None;
        assert_eq!(resolve(&sources), Ok((2, "/etc/cni/node-local/index".to_owned())));
        sources.file = file("x");
        assert_eq!(
            resolve(&sources),
            Err("/etc/cni/node-local/index: \"x\" is no node index".to_owned())
        );
        sources.file = None;
        assert_eq!(resolve(&sources), Ok((3, "NODE_INDEX".to_owned())));
        for text in ["", "-1", "+1", "1.0", "0x10", "4 5"] {
            sources.environment = own(text);
            assert!(resolve(&sources).is_err(), "{text}");
        }
        sources.environment = None;
        assert_eq!(resolve(&sources), Ok((4, "its host name".to_owned())));
        sources.host_name = "ip-10-0-1-5".to_owned();
        assert_eq!(resolve(&sources), Ok((5, "/var/lib/plat/node-index".to_owned())));
        sources.registered = None;
        assert_eq!(
            resolve(&sources),
            Err(
                "the node's index is not known: host name \"ip-10-0-1-5\" has more than one number"
                    .to_owned()
            )
        );
    }

    proptest! {
        #[test]
        fn no_name_is_too_much(name in "\\PC{0,80}", pattern in proptest::option::of("\\PC{0,40}")) {
            let _ = index_of_host_name(&name, pattern.as_deref());
        }

        #[test]
        fn a_number_at_the_end_is_the_index(label in "[a-z-]{0,20}", zeros in 0_usize..4, index in any::<u32>()) {
            let name = format!("{label}{}{index}.example.com", "0".repeat(zeros));
            prop_assert_eq!(index_of_host_name(&name, None), Ok(index));
        }
    }
}
