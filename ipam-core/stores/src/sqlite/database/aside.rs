//! Databases that are broken: set aside under another name, never deleted.

use std::fs;
use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::{Database, Looked, is_corrupt, reason};
use crate::boot::Boot;
use crate::error::{Context, StoreError};
use crate::lock::Lock;
use crate::sqlite::marker::Marker;

impl Database {
    /// A file in our place that is no database, or a broken one. If it was ours in this boot, or may have been,
    /// it is put under another name, and missed from then on.
    pub(super) fn broken(
        &self,
        make: bool,
        reason: &str,
        lock: Lock,
    ) -> Result<Looked, StoreError> {
        let marker = Marker::read(&self.state.durable, &self.name);
        let Some(marker) = marker else {
            return Err(StoreError::NotOurs { path: self.path.clone() });
        };
        let aside = self.set_aside("corrupt")?;
        drop(lock);
        if !marker.misses(&Boot::current()) {
            // Whatever it held died with its boot.
            return Ok(if make { Looked::Again } else { Looked::Nothing });
        }
        Err(StoreError::Corrupt { path: self.path.clone(), reason: reason.to_owned(), aside })
    }

    /// Gives the database another name, its journal, too; tells which. The caller holds the lock.
    pub(in crate::sqlite) fn set_aside(&self, why: &str) -> Result<PathBuf, StoreError> {
        let unix = (self.clock)().unix;
        let name = |n: u32| match n {
            0 => self.beside(&format!(".{why}-{unix}")),
            n => self.beside(&format!(".{why}-{unix}.{n}")),
        };
        let aside = (0..1000).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(1000));
        let mut journal = aside.clone().into_os_string();
        journal.push("-journal");
        // Without its journal a database may be half a transaction: first the journal, so that a crash in
        // between leaves nothing that would be rolled back into another file.
        match fs::rename(self.beside("-journal"), &journal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("rename", &self.path);
            }
            _ => {}
        }
        fs::rename(&self.path, &aside).context("rename", &self.path)?;
        Ok(aside)
    }

    /// An error of SQLite as ours. One that says that the file is broken sets it aside: the caller holds the
    /// lock and uses the connection no more.
    pub(in crate::sqlite) fn failed(
        &self,
        what: &'static str,
        error: rusqlite::Error,
    ) -> StoreError {
        if is_corrupt(&error) && self.path.exists() {
            let reason = reason(&error);
            return match Marker::read(&self.state.durable, &self.name) {
                None => StoreError::NotOurs { path: self.path.clone() },
                Some(_) => match self.set_aside("corrupt") {
                    Ok(aside) => StoreError::Corrupt { path: self.path.clone(), reason, aside },
                    Err(error) => error,
                },
            };
        }
        let full = matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
        StoreError::Database { call: what, path: self.path.clone(), reason: reason(&error), full }
    }
}
