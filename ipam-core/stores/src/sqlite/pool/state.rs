/*!
What survives a boot: `pool.json` in the durable state directory.

It is the only place that knows which blocks the node holds, and there is one for the node. Which addresses of
the blocks are held is known to a database, so the file names the one that gives them out: of two databases,
each would give out the same addresses. It has a lock of its own, taken after the database's.
*/

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ipam_pool::node::NodeState;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, StoreError};
use crate::files::{make_dir, replace_durably, state_file};
use crate::lock::Lock;
use crate::sqlite::Database;

/// The file's name.
const NAME: &str = "pool.json";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Content {
    /// The database that addresses are given out of; empty: of none yet.
    database: String,
    /// The boot that this is so in.
    database_boot: String,
    /// What the node remembers.
    #[serde(flatten)]
    pub(super) node: NodeState,
}

/// The file, locked.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    pub(super) content: Content,
    /// None where there is no directory that it could be in.
    _lock: Option<Lock>,
}

impl StateFile {
    /// Locks and reads it; `make`: its directory is made if need be.
    pub(super) fn open(database: &Database, make: bool) -> Result<Self, StoreError> {
        let dir = &database.state.durable;
        let path = dir.join(NAME);
        let lock = lock(dir, database, make)?;
        let content = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| StoreError::Unreadable {
                path: path.clone(),
                reason: visible(&error.to_string()),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error).context("read", &path),
        };
        Ok(Self { path, content, _lock: lock })
    }

    /// Whether the addresses of the blocks are given out of this database in this boot.
    pub(super) fn is_bound_to(&self, database: &Database) -> bool {
        self.content.database_boot == database.boot && self.content.database == name(database)
    }

    /// Whether they may be.
    pub(super) fn check(&self, database: &Database) -> Result<(), StoreError> {
        let Content { database: bound, database_boot, .. } = &self.content;
        // What was given out in another boot is free.
        if bound.is_empty() || *database_boot != database.boot || *bound == name(database) {
            return Ok(());
        }
        Err(StoreError::OtherDatabase { path: database.path.clone(), other: PathBuf::from(bound) })
    }

    /// Notes that they are, durably.
    pub(super) fn bind(&mut self, database: &Database) -> Result<(), StoreError> {
        if self.is_bound_to(database) {
            return Ok(());
        }
        self.check(database)?;
        self.write(Content {
            database: name(database),
            database_boot: database.boot.clone(),
            node: self.content.node.clone(),
        })
    }

    /// Writes what the node remembers, durably.
    pub(super) fn set(&mut self, node: NodeState) -> Result<(), StoreError> {
        if node == self.content.node {
            return Ok(());
        }
        self.write(Content { node, ..self.content.clone() })
    }

    fn write(&mut self, content: Content) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec_pretty(&content).map_err(|error| {
            StoreError::Unreadable { path: self.path.clone(), reason: visible(&error.to_string()) }
        })?;
        text.push(b'\n');
        replace_durably(&self.path, &text).context("write", &self.path)?;
        self.content = content;
        Ok(())
    }
}

/// The database as the file names it.
fn name(database: &Database) -> String {
    database.path.to_string_lossy().into_owned()
}

/// What a parser says of a file may contain what is in the file.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn lock(dir: &Path, database: &Database, make: bool) -> Result<Option<Lock>, StoreError> {
    let path = dir.join(format!("{NAME}-lock"));
    let open = || state_file().read(true).write(true).create(true).truncate(false).open(&path);
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(dir).context("mkdir", dir)?;
            open()
        }
        // What cannot be written can be read.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
        other => other,
    };
    let file = file.context("open", &path)?;
    Lock::exclusive(file, &path, database.lock_timeout).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_shown_without_control_characters() {
        assert_eq!(visible("a\u{1b}[31m\nb ä"), "a\\u{1b}[31m\\nb ä");
    }
}
