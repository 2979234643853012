//! Why a store failed; no I/O error goes without its path.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;

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
    /// SQLite failed.
    #[error("{call} the database {}: {reason}", path.display())]
    Database {
        /// What was tried: `open`, `read`, `write`, `make`.
        call: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
        /// Whether its file system is full.
        full: bool,
    },
    /// The database of this boot is gone, and with it what living pods hold.
    #[error("the database {} is gone, though it was made in this boot", path.display())]
    Lost {
        /// The database.
        path: PathBuf,
    },
    /// The database is a copy that was put back.
    #[error("the database {} is not the file that was written last in this boot, but a copy", path.display())]
    Restored {
        /// The database.
        path: PathBuf,
    },
    /// The database was broken and has been set aside.
    #[error("the database {} was broken ({reason}) and is now {}", path.display(), aside.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// How it was broken.
        reason: String,
        /// Where it is now.
        aside: PathBuf,
    },
    /// The database was written by a later version.
    #[error("the database {} has schema {schema}, this version knows {known} at most", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        schema: u32,
        /// The newest one known here.
        known: u32,
    },
    /// A file of another program is where the database should be.
    #[error("{} is no database of Plat's; it was left as it is", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The database would lie on a network file system.
    #[error("the database {} would lie on {kind}, which other nodes can write to", path.display())]
    NetworkFs {
        /// The database.
        path: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// What a file of ours says cannot be understood. It was left as it is.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The node's pools lie in another database: of two, each would give the same addresses out.
    #[error(
        "this node's pools are in the database {} since it booted, not in {}",
        other.display(),
        path.display()
    )]
    OtherDatabase {
        /// The database.
        path: PathBuf,
        /// The one that they are in.
        other: PathBuf,
    },
    /// An address that is to be written is held by somebody else.
    #[error("{addr} is held by {holder} in {} already", path.display())]
    Held {
        /// The address.
        addr: Addr,
        /// Who holds it.
        holder: String,
        /// Where.
        path: PathBuf,
    },
    /// Another IPAM of the same network has given the address away.
    #[error("{addr} is given to {holder} already by another IPAM of this network, {instance} in {}", path.display())]
    OtherInstance {
        /// The address.
        addr: Addr,
        /// Who holds it.
        holder: String,
        /// The other IPAM.
        instance: String,
        /// Where.
        path: PathBuf,
    },
    /// The state belongs to another node.
    #[error("{} holds addresses of the node with index {pinned}, not {pin}", path.display())]
    OtherNode {
        /// The store.
        path: PathBuf,
        /// Its node index.
        pinned: u32,
        /// The other one.
        pin: u32,
    },
    /// A directory of state that others can write to: what is in there may be anybody's.
    #[error("the state directory {} can be changed by others than root (mode {mode:04o}, user {owner})", path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// The user that it belongs to.
        owner: u32,
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
        matches!(
            self,
            Self::Busy { .. }
                | Self::Unstable { .. }
                | Self::Lost { .. }
                | Self::Restored { .. }
                | Self::Corrupt { .. }
        )
    }

    /// Whether what is known of existing attachments is lost.
    pub const fn affects_existing(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Restored { .. } | Self::Corrupt { .. })
    }

    /// Whether the configuration names a place where the store cannot be.
    pub const fn is_misplaced(&self) -> bool {
        matches!(
            self,
            Self::NotOurs { .. }
                | Self::NetworkFs { .. }
                | Self::OtherDatabase { .. }
                | Self::OtherInstance { .. }
        )
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
            Self::Database { full: true, path, .. } => {
                format!("free space on the file system of {}", path.display())
            }
            Self::Database { path, .. } => format!("look at {}", path.display()),
            Self::Lost { .. } | Self::Restored { .. } | Self::Corrupt { .. } => {
                "no address is given out until `plat check --fix` has found what living pods hold, \
                 or the node has booted"
                    .to_owned()
            }
            Self::Newer { .. } => "use the version that wrote it, or a later one".to_owned(),
            Self::NotOurs { .. } => "name another file by database, or move this one away".to_owned(),
            Self::NetworkFs { .. } => {
                "name a local file by database, or use \"store\": \"dir\", which several nodes may share"
                    .to_owned()
            }
            Self::Unreadable { path, .. } => format!(
                "mend {} or put a copy back; without it, the node would not know which blocks it holds",
                path.display()
            ),
            Self::OtherDatabase { other, .. } => format!(
                "name {} by database in each network that uses a pool, or boot the node",
                other.display()
            ),
            Self::Held { .. } => "free it first, or leave it out".to_owned(),
            Self::OtherInstance { .. } => {
                "IPAMs of one chain must have ranges of their own, and keep their order (or have an \
                 \"instance\" each) while containers live"
                    .to_owned()
            }
            Self::Busy { holder, .. } => {
                format!("look at what {holder} is doing; the runtime will try again")
            }
            Self::OtherNode { .. } => {
                "addresses of two nodes do not belong into one store".to_owned()
            }
            Self::Exposed { path, .. } => format!(
                "see who has made it so and what is in it, then: chown root {0}; chmod 0700 {0}",
                path.display()
            ),
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
