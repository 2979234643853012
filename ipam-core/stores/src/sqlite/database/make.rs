//! Databases that are made, whole or not at all.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::{Database, connect, reason};
use crate::error::{Context, StoreError};
use crate::sqlite::schema;

impl Database {
    /// Makes an empty database, whole or not at all, unless one is missed.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        if self.is_missed() {
            return Err(StoreError::Lost { path: self.path.clone() });
        }
        let new = self.make_new()?;
        // The journal of a database that is gone would be rolled back into the new one.
        remove_if_there(&self.beside("-journal"))?;
        fs::rename(&new, &self.path).context("rename", &self.path)
    }

    /// An empty database of this boot under a temporary name.
    pub(in crate::sqlite) fn make_new(&self) -> Result<PathBuf, StoreError> {
        let new = self.beside(".new");
        remove_if_there(&new)?;
        remove_if_there(&self.beside(".new-journal"))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let inode = file.and_then(|file| file.metadata()).context("open", &new)?.ino();
        let create = || schema::create(&connect(&new, false)?, &self.boot, inode);
        create().map_err(|error| self.failed("make", error))?;
        Ok(new)
    }

    /// Makes a new database and fills it, then puts it in the place of the old one, which is set aside; an
    /// inner error leaves everything as it was. Tells where the old one is.
    pub(crate) fn replace<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<(Result<T, E>, Option<PathBuf>), StoreError> {
        let lock = self.lock(true)?;
        let Some(_lock) = lock else {
            return Err(StoreError::Unstable { path: self.path.clone() });
        };
        let new = self.make_new()?;
        let fill = || -> rusqlite::Result<Result<T, E>> {
            let connection = connect(&new, false)?;
            connection.execute_batch("BEGIN; UPDATE meta SET marked = 1")?;
            let done = work(&connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(done)
        };
        let filled = fill().map_err(|error| StoreError::Database {
            call: "make",
            path: self.path.clone(),
            reason: reason(&error),
            full: matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull)),
        })?;
        if filled.is_err() {
            remove_if_there(&new)?;
            return Ok((filled, None));
        }
        self.write_marker()?;
        let aside = if self.path.exists() { Some(self.set_aside("replaced")?) } else { None };
        remove_if_there(&self.beside("-journal"))?;
        fs::rename(&new, &self.path).context("rename", &self.path)?;
        remove_if_there(&self.beside(".new-journal"))?;
        Ok((filled, aside))
    }
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("unlink", path),
        _ => Ok(()),
    }
}
