//! Addresses that rest after they were freed.

use std::time::Duration;

use ipam_core::addr::Addr;
use rusqlite::OptionalExtension;

use super::{Rows, duration, milliseconds};
use crate::sqlite::schema::Key;

impl Rows<'_> {
    /// When a resting address was freed, since boot.
    pub(crate) fn freed(&self, addr: Addr) -> rusqlite::Result<Option<Duration>> {
        self.connection
            .query_row(
                "SELECT freed FROM resting WHERE network = ?1 AND addr = ?2",
                (self.network, Key(addr)),
                |row| row.get(0).map(duration),
            )
            .optional()
    }

    /// Ends the rest of one address, before it is taken; true if it did rest.
    pub(crate) fn wake(&self, addr: Addr) -> rusqlite::Result<bool> {
        let woken = self.connection.execute(
            "DELETE FROM resting WHERE network = ?1 AND addr = ?2",
            (self.network, Key(addr)),
        )?;
        if woken > 0 {
            self.put_back(addr)?;
        }
        Ok(woken > 0)
    }

    /// Gives back what has rested since `before` or earlier, the longest resting first, at most `most`;
    /// tells how many.
    pub(crate) fn wake_all(&self, before: Duration, most: usize) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare(
            "SELECT addr FROM resting WHERE network = ?1 AND freed <= ?2 ORDER BY freed LIMIT ?3",
        )?;
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let rested: Vec<Key> = statement
            .query_map((self.network, milliseconds(before), limit), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for key in &rested {
            self.wake(key.0)?;
        }
        Ok(rested.len())
    }

    /// Everything that rests, with the time it was freed, the longest resting first.
    pub(crate) fn resting(&self) -> rusqlite::Result<Vec<(Addr, Duration)>> {
        let mut statement = self
            .connection
            .prepare("SELECT addr, freed FROM resting WHERE network = ?1 ORDER BY freed, addr")?;
        statement
            .query_map([self.network], |row| Ok((row.get::<_, Key>(0)?.0, duration(row.get(1)?))))?
            .collect()
    }
}
