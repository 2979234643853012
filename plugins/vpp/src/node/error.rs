//! What can go wrong with the node's part of VPP.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vpp_api::Retval;

use super::why::Why;

/// Why VPP is not as the configuration wants it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// VPP cannot be reached, went away, or says what cannot be read.
    #[error(transparent)]
    Vpp(#[from] vpp_api::Error),
    /// VPP refused a step.
    #[error("cannot {step}: {retval}{}", dash(because))]
    Refused {
        /// What was to be done, as in `add 10.1.4.1/32 to loop0`.
        step: String,
        /// VPP's verdict.
        retval: Retval,
        /// What is in the way, if that is known.
        because: String,
    },
    /// VPP does not have the uplink.
    #[error("VPP has no interface of {wanted}: {}", why.sentence())]
    NoUplink {
        /// How it is looked for.
        wanted: String,
        /// What VPP has, and what the system says of the device.
        why: Box<Why>,
    },
    /// Several interfaces are the uplink.
    #[error("several interfaces of VPP have {wanted}: {}", found.join(", "))]
    Ambiguous {
        /// How it is looked for.
        wanted: String,
        /// The interfaces' names.
        found: Vec<String>,
    },
    /// Somebody else has it otherwise.
    #[error("{what}")]
    Conflict {
        /// Who and what.
        what: String,
        /// What can be done.
        advice: String,
    },
    /// Another call changes this VPP, for longer than this one may wait.
    #[error("{} is locked by another call, after {waited:?}", path.display())]
    Busy {
        /// The lock's file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A file of the run directory.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host's side of the host link.
    #[error("the host's side of the host link: {0}")]
    Kernel(#[from] kernel::Error),
}

/// What kind of trouble it is, for whoever has to give it a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeErrorKind {
    /// VPP cannot be reached, or has gone: later may be better.
    Away,
    /// Another call is at it: later may be better.
    Busy,
    /// The uplink is not there. It may come when VPP is started otherwise.
    Missing,
    /// Somebody else has it otherwise: a person has to decide.
    Conflict,
    /// VPP, or the kernel, does not do it.
    Refused,
    /// A file.
    Io,
}

impl NodeError {
    /// What kind of trouble it is.
    pub const fn kind(&self) -> NodeErrorKind {
        match self {
            Self::Vpp(error) if error.is_away() => NodeErrorKind::Away,
            Self::Vpp(_) | Self::Refused { .. } | Self::Kernel(_) => NodeErrorKind::Refused,
            Self::NoUplink { .. } => NodeErrorKind::Missing,
            Self::Ambiguous { .. } | Self::Conflict { .. } => NodeErrorKind::Conflict,
            Self::Busy { .. } => NodeErrorKind::Busy,
            Self::Io { .. } => NodeErrorKind::Io,
        }
    }

    /// What is known besides, and what to do: some sentences, or nothing.
    pub fn details(&self) -> String {
        match self {
            Self::NoUplink { why, .. } => why.details(),
            Self::Ambiguous { .. } => {
                "name the uplink by something that only one interface has, such as its name"
                    .to_owned()
            }
            Self::Conflict { advice, .. } => advice.clone(),
            Self::Busy { .. } => "try again; `fuser` tells who holds the lock".to_owned(),
            _ => String::new(),
        }
    }
}

fn dash(because: &str) -> String {
    if because.is_empty() { String::new() } else { format!(" ({because})") }
}

/// Adds the path to an I/O error.
pub(super) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, NodeError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, NodeError> {
        self.map_err(|source| NodeError::Io { action, path: path.to_owned(), source })
    }
}
