//! What can go wrong between a request and its answer.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::retval::Retval;
use crate::table::Component;
use crate::wire::{DecodeError, TextError};

/// Why there is no answer, or none that was wished for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody can be reached at the socket: VPP does not run, or its socket is elsewhere.
    #[error("cannot connect to VPP at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke: VPP has ended or restarted.
    #[error("lost VPP at {} during {during}: {source}", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// The first message that had no answer yet.
        during: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// VPP did not answer in time. It may still do what it was asked.
    #[error("VPP at {} has not answered {during} within {after:?}", path.display())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// The first message that had no answer yet.
        during: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection was given up after an earlier failure; [`crate::Client::reconnect`] makes a new one.
    #[error("the connection to VPP at {} was given up after an earlier failure", path.display())]
    GivenUp {
        /// The socket.
        path: PathBuf,
    },
    /// Who listens at the socket does not speak VPP's protocol, or not this one.
    #[error("what answers at {} is no VPP: {reason}", path.display())]
    NotVpp {
        /// The socket.
        path: PathBuf,
        /// What it said wrongly.
        reason: String,
    },
    /// This VPP does not have the message.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// VPP refused.
    #[error("{message}: {retval}")]
    Refused {
        /// The request.
        message: &'static str,
        /// VPP's reason.
        retval: Retval,
    },
    /// VPP has thrown the request away: it answered the next one.
    #[error("VPP has ignored {message}")]
    Ignored {
        /// The request.
        message: &'static str,
    },
    /// An answer cannot be read.
    #[error("VPP's {message} cannot be read: {source}")]
    Malformed {
        /// The answer.
        message: &'static str,
        /// Why.
        source: DecodeError,
    },
    /// A text does not fit its field.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A ticket of another batch, or one that was used before.
    #[error(
        "no answer to this request is here: it was asked in another batch, or was taken before"
    )]
    NotHere,
}

impl Error {
    /// VPP's reason, if it refused.
    pub const fn retval(&self) -> Option<Retval> {
        match self {
            Self::Refused { retval, .. } => Some(*retval),
            _ => None,
        }
    }

    /// Whether VPP is away, or was: nothing is known of what became of the request, and all of VPP's
    /// state may be gone.
    pub const fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Lost { .. } | Self::Timeout { .. } | Self::GivenUp { .. }
        )
    }
}

/// A message that a VPP does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// Its name.
    pub message: &'static str,
    /// The CRC of its layout.
    pub crc: u32,
    /// What of VPP has it.
    pub component: Component,
    /// Why it is missing.
    pub reason: MissingReason,
}

/// Why a message is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingReason {
    /// None of its plugin's messages is there.
    NotLoaded,
    /// Others of its component are there: this VPP is too old, or too new.
    NotInThisVersion,
    /// It is there with another layout, that of this CRC.
    OtherLayout(u32),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, crc, component, reason } = self;
        match reason {
            MissingReason::NotLoaded => {
                write!(f, "plugin {component} is not loaded in this VPP: it has no {message}")
            }
            MissingReason::NotInThisVersion => {
                write!(f, "this VPP's {component} has no message {message}")
            }
            MissingReason::OtherLayout(other) => write!(
                f,
                "this VPP's {message} has another layout (CRC {other:08x}, not {crc:08x})"
            ),
        }
    }
}
