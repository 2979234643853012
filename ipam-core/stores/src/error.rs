//! Why a store failed; no I/O error goes without its path.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call failed.
    #[error("{call} {}: {}", path.display(), errno_text(source))]
    Io {
        /// What was tried: `open`, `mkdir`, `link`.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody else held the lock for too long.
    #[error("the lock {} is held by {holder}: not free within {} s", path.display(), waited.as_secs_f64())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// Who holds it.
        holder: String,
        /// How long this call waited.
        waited: Duration,
    },
    /// The directory vanished again and again while it was being locked.
    #[error("{} is being removed and made again by somebody else", path.display())]
    Unstable {
        /// The directory.
        path: PathBuf,
    },
}

impl StoreError {
    /// Whether trying again later may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unstable { .. })
    }

    /// Whether the path is one at which nothing can be: longer than the file system allows.
    pub(crate) fn is_impossible_path(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::InvalidFilename)
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("free space or inodes on the file system of {}", path.display())
                }
                io::ErrorKind::PermissionDenied => {
                    "the plugin must run as root, or own this path".to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "the file system is read-only: name another place by dataDir".to_owned()
                }
                _ => format!("look at {}", path.display()),
            },
            Self::Busy { holder, .. } => {
                format!("look at what {holder} is doing; the runtime will try again")
            }
            Self::Unstable { path } => format!("look at who removes {}", path.display()),
        }
    }
}

/// A result that knows what it was about.
pub(crate) trait Context<T> {
    /// Adds the call and the path to an I/O error.
    fn context(self, call: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, call: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io {
            call,
            path: path.to_path_buf(),
            source: source.into(),
        })
    }
}

/// An error's text as C and Go programs write it: lower case, without the number.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_the_references() {
        let error = io::Error::from_raw_os_error(21);
        let error: Result<(), StoreError> = Err(error).context("open", Path::new("/x/y"));
        assert_eq!(error.unwrap_err().to_string(), "open /x/y: is a directory");
    }
}
