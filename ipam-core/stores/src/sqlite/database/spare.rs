//! Space that is kept beside the database for a DEL on a full file system.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Database;
use crate::error::{Context, StoreError};
use crate::files::state_file;

/// Space that is kept for a DEL on a full file system, in bytes: its journal and a few new pages.
const SPARE: u64 = 256 * 1024;

impl Database {
    /// Keeps space for later DELs: an ADD that cannot must not take what is left.
    pub(in crate::sqlite) fn keep_spare(&self) -> Result<(), StoreError> {
        let path = self.beside("-spare");
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == SPARE) {
            return Ok(());
        }
        let make = || -> io::Result<()> {
            let file = state_file().write(true).create(true).truncate(true).open(&path)?;
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SPARE) {
                // Where space cannot be reserved, it is used.
                Err(Errno::OPNOTSUPP) => {
                    io::copy(&mut io::repeat(0).take(SPARE), &mut &file).map(|_| ())
                }
                other => Ok(other?),
            }
        };
        make().or_else(|error| {
            let _ = fs::remove_file(&path);
            Err(error).context("write", &path)
        })
    }

    /// Gives up the kept space, so that something can be freed; false if there was none.
    pub(in crate::sqlite) fn use_spare(&self) -> bool {
        fs::remove_file(self.beside("-spare")).is_ok()
    }

    /// Gives the kept space up where there is hardly any other: what is freed then makes no room at once, but
    /// must not leak.
    pub(in crate::sqlite) fn make_room(&self) {
        let dir = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let free = rustix::fs::statvfs(dir).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if free.is_ok_and(|free| free < SPARE) {
            self.use_spare();
        }
    }
}
