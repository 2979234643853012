/*!
Who holds an address.

The texts in here come from a runtime and end up in file names and file contents; each type can only
be made from a text that is safe there. The rules are those of the CNI specification for container IDs
and network names, and the reference's for interface names.
*/

use std::fmt;

use crate::config::Owner;

/// A text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// A character outside `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    #[error(
        "has characters other than letters, digits, '_', '.' and '-', or begins with one of the latter"
    )]
    Characters,
    /// More than 15 bytes.
    #[error("is longer than 15 bytes")]
    TooLong,
    /// `.` or `..`.
    #[error("is . or ..")]
    Dots,
    /// `/`, `:` or white space.
    #[error("contains /, : or white space")]
    Separator,
}

/// Whether a text is `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
fn is_plain(text: &str) -> Result<(), NameError> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(NameError::Empty)?;
    let plain = first.is_ascii_alphanumeric()
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if plain { Ok(()) } else { Err(NameError::Characters) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks a text.
            ///
            /// # Errors
            /// What is wrong with it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a network: `name` of the configuration. Unique on a node.
    Network,
    is_plain
);
name!(
    /// The runtime's ID of a container, unique on a node.
    ContainerId,
    is_plain
);
name!(
    /// The name of an interface within its container.
    IfName,
    |text: &str| {
        if text.is_empty() {
            Err(NameError::Empty)
        } else if text.len() > 15 {
            Err(NameError::TooLong)
        } else if text == "." || text == ".." {
            Err(NameError::Dots)
        } else if text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace()) {
            Err(NameError::Separator)
        } else {
            Ok(())
        }
    }
);

name!(
    /// One IPAM of a node: the plugin's type (`node-local`), with its pool or its position in a chain where
    /// one attachment may be served by several (`etcd-pool/pods`, `node-local@1`). Rows of different
    /// instances never meet.
    Instance,
    |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-/@".contains(&b);
        match text.bytes().next() {
            None => Err(NameError::Empty),
            Some(first) if !first.is_ascii_alphanumeric() || !text.bytes().all(plain) => {
                Err(NameError::Characters)
            }
            Some(_) => Ok(()),
        }
    }
);

impl Instance {
    /// The type of its plugin.
    pub fn plugin(&self) -> &str {
        self.0.split(['@', '/']).next().unwrap_or_default()
    }
}

/// One interface of one container: what holds addresses in a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The container.
    pub container: ContainerId,
    /// Its interface.
    pub ifname: IfName,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.container, self.ifname)
    }
}

/// An interface of a pod: what gets its address again under [`crate::policy::Strategy::Sticky`]. Unlike the
/// container ID it is the same after a restart of the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodInterface {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The interface.
    pub ifname: IfName,
}

impl PodInterface {
    /// The interface of the pod, where namespace and name are known.
    pub fn of(owner: &Owner, ifname: &IfName) -> Option<Self> {
        let (namespace, name) = (owner.namespace.clone()?, owner.name.clone()?);
        Some(Self { namespace, name, ifname: ifname.clone() })
    }
}

/// The holder that a record names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An attachment.
    Attachment(Attachment),
    /// A container without interface: records of the reference before v0.8.0. It stands for every
    /// interface of the container.
    Container(ContainerId),
    /// A record that names nobody that could be understood: its address stays taken.
    Unknown,
}

impl Holder {
    /// Whether the record belongs to the attachment beyond doubt.
    pub fn is(&self, attachment: &Attachment) -> bool {
        matches!(self, Self::Attachment(a) if a == attachment)
    }

    /// Whether the record is of the old kind and names the attachment's container.
    pub fn is_container_of(&self, attachment: &Attachment) -> bool {
        matches!(self, Self::Container(id) if *id == attachment.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths() {
        for text in ["a", "0", "a.b_c-D", "..a".trim_start_matches('.'), "x".repeat(300).as_str()] {
            assert!(Network::new(text).is_ok(), "{text}");
        }
        for text in ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", "a:b", "a\0"] {
            assert!(Network::new(text).is_err(), "{text:?}");
            assert!(ContainerId::new(text).is_err(), "{text:?}");
        }
        for text in ["eth0", "a.b", "schnürl0", "exactly15bytes.", "-"] {
            assert!(IfName::new(text).is_ok(), "{text}");
        }
        for text in ["", "sixteen_bytes_xx", ".", "..", "a/b", "a:b", "a b", "a\u{a0}b", "a\r\nb"] {
            assert!(IfName::new(text).is_err(), "{text:?}");
        }
    }
}
