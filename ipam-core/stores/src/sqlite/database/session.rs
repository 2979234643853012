//! A transaction on the database, and what a process keeps of it until its next.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::Connection;

use crate::lock::Lock;

/// An open, locked database of this boot, within a transaction that writes. What is not committed did not
/// happen: also when the connection is closed or the process killed.
#[derive(Debug)]
pub(in crate::sqlite) struct Session {
    pub(in crate::sqlite) connection: Connection,
    /// Whether the durable marker of this boot is written.
    pub(in crate::sqlite) marked: bool,
    /// Whether the file is another one than the boot's: a copy.
    pub(in crate::sqlite) restored: bool,
    /// What the node knows of etcd in this boot, as `ipam_pool` writes it; none yet: nothing.
    pub(in crate::sqlite) pool: Option<String>,
    pub(super) file: Identity,
    pub(super) _lock: Lock,
}

/// Device and inode.
type Identity = (u64, u64);

/// A connection that this process keeps from one transaction to its next, without any lock. Whoever takes it up
/// again takes the lock, looks at the file as ever, and reads anew what it has found in there: all that is
/// saved is to open the file and to parse its tables.
#[derive(Debug)]
pub(in crate::sqlite) struct Parked {
    connection: Connection,
    /// The file that it has open. As long as it does, no other one has this inode.
    file: Identity,
}

impl Parked {
    /// The connection, if its file is the one that is at this path.
    pub(super) fn at(self, path: &Path) -> Option<Connection> {
        let there = fs::metadata(path).ok()?;
        (identity(&there) == self.file).then_some(self.connection)
    }
}

impl Session {
    /// Ends the transaction; what follows is another one.
    pub(in crate::sqlite) fn commit(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("COMMIT")
    }

    /// Lets the lock go and keeps the connection; what is not committed did not happen.
    pub(in crate::sqlite) fn park(self) -> Option<Parked> {
        // Of a copy nothing is kept. SQLite gives its own locks up with the transaction.
        let quiet =
            self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        (quiet && !self.restored).then_some(Parked { connection: self.connection, file: self.file })
    }

    /// Begins the next transaction.
    pub(in crate::sqlite) fn begin(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }
}

pub(super) fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}
