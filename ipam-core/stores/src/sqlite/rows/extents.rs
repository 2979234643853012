//! Free space: a table of intervals over the whole of both families.

use ipam_core::addr::{Addr, Family, Interval};
use ipam_core::extents::Extents;
use rusqlite::{OptionalExtension, Row};

use super::Rows;
use crate::sqlite::schema::Key;

/// An extent of free space.
fn extent(row: &Row<'_>) -> rusqlite::Result<(Addr, Addr)> {
    Ok((row.get::<_, Key>(0)?.0, row.get::<_, Key>(1)?.0))
}

impl Rows<'_> {
    /// Gives up everything that is held or rests or is another's, and what etcd was to be told of it: one extent
    /// for each family.
    pub(crate) fn free_everything(&self) -> rusqlite::Result<()> {
        for table in ["free_extent", "allocation", "resting", "occupied", "outbox"] {
            self.connection
                .execute(&format!("DELETE FROM {table} WHERE network = ?1"), [self.network])?;
        }
        for family in [Family::V4, Family::V6] {
            let whole = family.whole();
            self.insert_extent(whole.first(), whole.last())?;
        }
        Ok(())
    }

    fn insert_extent(&self, first: Addr, last: Addr) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT INTO free_extent (network, first, last) VALUES (?1, ?2, ?3)",
                (self.network, Key(first), Key(last)),
            )
            .map(|_| ())
    }

    fn remove_extent(&self, first: Addr) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "DELETE FROM free_extent WHERE network = ?1 AND first = ?2",
                (self.network, Key(first)),
            )
            .map(|_| ())
    }

    /// The extent that begins at or below the address, of its family.
    fn extent_below(&self, addr: Addr) -> rusqlite::Result<Option<(Addr, Addr)>> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT first, last FROM free_extent WHERE network = ?1 AND first <= ?2 \
                 ORDER BY first DESC LIMIT 1",
            )?
            .query_row((self.network, Key(addr)), extent)
            .optional()?;
        Ok(found.filter(|(first, _)| first.family() == addr.family()))
    }

    /// The extent that begins above the address, of its family.
    fn extent_above(&self, addr: Addr) -> rusqlite::Result<Option<(Addr, Addr)>> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT first, last FROM free_extent WHERE network = ?1 AND first > ?2 \
                 ORDER BY first LIMIT 1",
            )?
            .query_row((self.network, Key(addr)), extent)
            .optional()?;
        Ok(found.filter(|(first, _)| first.family() == addr.family()))
    }

    /// The free extent that contains the address, or the next one above it; cut to begin at the address.
    pub(crate) fn free_from(&self, addr: Addr) -> rusqlite::Result<Option<Interval>> {
        if let Some((_, last)) = self.extent_below(addr)?
            && last >= addr
        {
            return Ok(Interval::new(addr, last));
        }
        Ok(self.extent_above(addr)?.and_then(|(first, last)| Interval::new(first, last)))
    }

    /// Takes an address out of the free space; false if it is not free.
    pub(crate) fn take(&self, addr: Addr) -> rusqlite::Result<bool> {
        let Some((first, last)) = self.extent_below(addr)? else { return Ok(false) };
        if last < addr {
            return Ok(false);
        }
        let before = addr.previous().filter(|before| *before >= first);
        let after = addr.next().filter(|after| *after <= last);
        match before {
            Some(before) => {
                self.connection.execute(
                    "UPDATE free_extent SET last = ?3 WHERE network = ?1 AND first = ?2",
                    (self.network, Key(first), Key(before)),
                )?;
            }
            None => self.remove_extent(first)?,
        }
        if let Some(after) = after {
            self.insert_extent(after, last)?;
        }
        Ok(true)
    }

    /// Gives an address back to the free space.
    pub(crate) fn put_back(&self, addr: Addr) -> rusqlite::Result<()> {
        let below = match addr.previous() {
            Some(previous) => self.extent_below(previous)?,
            None => None,
        };
        let above = self.extent_above(addr)?.filter(|(first, _)| addr.next() == Some(*first));
        let last = match above {
            Some((first, last)) => {
                self.remove_extent(first)?;
                last
            }
            None => addr,
        };
        match below.filter(|(_, last)| last.next() == Some(addr)) {
            Some((first, _)) => self
                .connection
                .execute(
                    "UPDATE free_extent SET last = ?3 WHERE network = ?1 AND first = ?2",
                    (self.network, Key(first), Key(last)),
                )
                .map(|_| ()),
            None => self.insert_extent(addr, last),
        }
    }

    /// Makes the free space what allocations, resting addresses and those of others leave.
    pub(crate) fn mend_extents(&self) -> rusqlite::Result<()> {
        let id = [self.network];
        // An address that is held does not rest.
        self.connection.execute(
            "DELETE FROM resting WHERE network = ?1 AND addr IN \
             (SELECT addr FROM allocation WHERE network = ?1)",
            id,
        )?;
        self.connection.execute(
            "DELETE FROM occupied WHERE network = ?1 AND addr IN \
             (SELECT addr FROM allocation WHERE network = ?1 \
             UNION SELECT addr FROM resting WHERE network = ?1)",
            id,
        )?;
        self.connection.execute("DELETE FROM free_extent WHERE network = ?1", id)?;
        let mut statement = self.connection.prepare(
            "SELECT addr FROM allocation WHERE network = ?1 \
             UNION SELECT addr FROM resting WHERE network = ?1 \
             UNION SELECT addr FROM occupied WHERE network = ?1",
        )?;
        let taken: Vec<Addr> = statement
            .query_map(id, |row| row.get::<_, Key>(0).map(|key| key.0))?
            .collect::<Result<_, _>>()?;
        for family in [Family::V4, Family::V6] {
            let of = taken.iter().copied().filter(|addr| addr.family() == family);
            for free in Extents::without(family.whole(), of).intervals() {
                self.insert_extent(free.first(), free.last())?;
            }
        }
        Ok(())
    }
}
