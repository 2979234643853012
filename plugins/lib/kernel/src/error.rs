//! What can go wrong: what was tried, on what, and what the kernel said.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

// Error numbers of Linux's `asm-generic/errno-base.h` and `errno.h`, the same on every architecture that
// Rust's Linux targets with netlink in use have.
pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const ESRCH: i32 = 3;
pub(crate) const EINTR: i32 = 4;
pub(crate) const ENXIO: i32 = 6;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const EAFNOSUPPORT: i32 = 97;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
pub(crate) const ENOBUFS: i32 = 105;

/// Why something was not done or is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {what}: {}{}{}", Reason(source), Detail(detail), Hint(source))]
    Refused {
        /// What was tried, on what: `add the route 10.1.0.0/16 via 10.0.0.1`.
        what: String,
        /// The error number.
        source: io::Error,
        /// The kernel's own words, where it has some (extended acknowledgement), made printable.
        detail: Option<String>,
    },
    /// A file of the kernel cannot be opened, read or written: a namespace, a sysctl.
    #[error("cannot {what} {}: {}{}", Shown(path), Reason(source), Hint(source))]
    File {
        /// What was tried: `open the network namespace`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, but it is no network namespace.
    #[error("{} is no network namespace: {reason}", Shown(path))]
    NotNamespace {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: &'static str,
    },
    /// What is asked for cannot be: the kernel was not asked.
    #[error("cannot {what}: {reason}")]
    Invalid {
        /// What was tried.
        what: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// An answer of the kernel cannot be read.
    #[error("cannot {what}: the kernel's answer cannot be read: {reason}")]
    Malformed {
        /// What was tried.
        what: String,
        /// Why.
        reason: &'static str,
    },
    /// The kernel has not answered in time. It may still do what it was asked.
    #[error("cannot {what}: the kernel has not answered within {after:?}")]
    Timeout {
        /// What was tried.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer was lost for want of space in the socket: what became of the request is not known.
    #[error("{what}: the kernel's answer was lost, the socket's receive buffer was full")]
    Lost {
        /// What was tried.
        what: String,
    },
    /// What was listed changed during every one of several attempts to list it.
    #[error("cannot {what}: it changed during each of {tries} attempts")]
    Changing {
        /// What was tried.
        what: String,
        /// How often.
        tries: u32,
    },
}

impl Error {
    /// The system's error number, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::File { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether it is there already.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(EEXIST)
    }

    /// Whether what it is about is not there: no such file, link, route, neighbour.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(ENODEV | ENOENT | ESRCH | ENXIO))
    }

    /// Whether the process may not: it needs CAP_NET_ADMIN, or CAP_SYS_ADMIN to enter a namespace.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(EPERM | EACCES))
    }

    /// Whether a path names something that is no network namespace.
    pub const fn is_not_namespace(&self) -> bool {
        matches!(self, Self::NotNamespace { .. })
    }

    /// Whether the same may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Lost { .. } | Self::Changing { .. })
            || matches!(self.errno(), Some(EAGAIN | EBUSY | EINTR | ENOBUFS))
    }

    pub(crate) fn refused(what: impl Into<String>, source: io::Error) -> Self {
        Self::Refused { what: what.into(), source, detail: None }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }
}

/// The system's words without Rust's "(os error 17)".
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let known = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "{}", Printable(known))
    }
}

struct Detail<'a>(&'a Option<String>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

struct Hint<'a>(&'a io::Error);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(EPERM) => f.write_str(
                "; this needs root, or CAP_NET_ADMIN (CAP_SYS_ADMIN to enter a namespace)",
            ),
            _ => Ok(()),
        }
    }
}

struct Shown<'a>(&'a PathBuf);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable(&self.0.to_string_lossy()))
    }
}

/// A text with its control characters escaped: names of links, aliases and the kernel's words may have any.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn texts_say_what_on_what_and_why() {
        let cases = [
            (
                Error::refused("delete the link a", os(EBUSY)),
                "cannot delete the link a: Device or resource busy",
            ),
            (
                Error::Refused {
                    what: "add the route 10.0.0.0/8".to_owned(),
                    source: os(101),
                    detail: Some("Nexthop has invalid gateway".to_owned()),
                },
                "cannot add the route 10.0.0.0/8: Network is unreachable (Nexthop has invalid gateway)",
            ),
            (
                Error::refused("set it", os(EPERM)),
                "cannot set it: Operation not permitted; this needs root, or CAP_NET_ADMIN (CAP_SYS_ADMIN to \
                 enter a namespace)",
            ),
            (
                Error::File { what: "read", path: "/x\u{1b}[2J".into(), source: os(ENOENT) },
                "cannot read /x\\u{1b}[2J: No such file or directory",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn classes_follow_from_the_number() {
        for errno in [ENODEV, ENOENT, ESRCH, ENXIO] {
            assert!(Error::refused("x", os(errno)).is_not_found(), "{errno}");
        }
        for errno in [EPERM, EACCES] {
            assert!(Error::refused("x", os(errno)).is_permission(), "{errno}");
            assert!(!Error::refused("x", os(errno)).is_temporary(), "{errno}");
        }
        assert!(Error::refused("x", os(EEXIST)).is_exists());
        assert!(Error::Lost { what: "x".to_owned() }.is_temporary());
        assert!(Error::NotNamespace { path: "/x".into(), reason: "a" }.is_not_namespace());
        assert!(!Error::NotNamespace { path: "/x".into(), reason: "a" }.is_not_found());
    }
}
