/*!
From a directory of the reference's format into a database.

The first ADD of a network in a database takes over what its dataDir holds, so that changing the store
loses nothing. Only what was reserved in this boot is taken: the rest belongs to containers that died with
theirs. All of it is one transaction; the directory is moved aside afterwards, and a call that is killed in
between leaves a note in the network's row for the next one.

A directory does not know whose it is: another IPAM of the same network may keep its reservations there. So
only addresses of this one's subnets are taken, and where others remain, the directory stays and loses the
files that were taken.
*/

use std::path::{Path, PathBuf};

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::Network;
use rusqlite::Connection;

use super::database::{Database, Session};
use super::rows::{self, NetworkRow, New, Rows};
use crate::boot::earliest;
use crate::dir::{DirStore, Location, Stock};
use crate::error::StoreError;

/// The directory of a network that may be there to be imported.
#[derive(Clone, Copy)]
pub(super) struct Importer<'a> {
    pub(super) database: &'a Database,
    pub(super) network: &'a Network,
    pub(super) instance: &'a str,
    /// Whether an address may be this IPAM's.
    pub(super) covers: &'a dyn Fn(Addr) -> bool,
}

impl Importer<'_> {
    pub(super) fn store(&self, data_dir: &Path) -> DirStore {
        let location = Location {
            data_dir: data_dir.to_path_buf(),
            network: self.network.clone(),
            shared: None,
            lock_timeout: self.database.lock_timeout,
        };
        DirStore::new(location, self.database.state.clone())
    }

    /// Takes over what the dataDir holds of the network, if it holds anything, and makes the network's row.
    /// Tells how many addresses, and where the directory is now.
    pub(super) fn import(
        &self,
        session: &mut Session,
        data_dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Option<(usize, PathBuf)>, StoreError> {
        let mut store = self.store(data_dir);
        let stock = store.take_stock()?;
        warnings.extend(store.take_warnings());
        let Some(stock) = stock else { return Ok(None) };
        if !stock.records.is_empty()
            && !stock.records.iter().any(|(record, _)| (self.covers)(record.addr))
        {
            return Ok(None);
        }
        if stock.shared {
            warnings.push(format!(
                "{}: used by other nodes, too: nothing of it was imported",
                data_dir.join(self.network.as_str()).display()
            ));
            return Ok(None);
        }
        self.database.mark(session)?;
        let count = self.write_all(session, data_dir, &stock)?;
        let aside = self.finish(session, stock, warnings)?;
        Ok(Some((count, aside)))
    }

    /// Writes it down in a transaction of its own.
    fn write_all(
        &self,
        session: &mut Session,
        data_dir: &Path,
        stock: &Stock,
    ) -> Result<usize, StoreError> {
        let mut write = || -> rusqlite::Result<usize> {
            let count = self.write(&session.connection, data_dir, stock)?;
            session.commit()?;
            session.begin()?;
            Ok(count)
        };
        write().map_err(|error| self.database.failed("write", error))
    }

    fn write(
        &self,
        connection: &Connection,
        data_dir: &Path,
        stock: &Stock,
    ) -> rusqlite::Result<usize> {
        let network = match rows::find_network(connection, self.instance, self.network.as_str())? {
            Some(row) => row,
            None => rows::make_network(connection, self.instance, self.network.as_str())?,
        };
        let rows = Rows { connection, network: network.id };
        let earliest = earliest((self.database.clock)(), &self.database.state.volatile);
        let mut count = 0;
        for (record, changed) in &stock.records {
            let ours = *changed >= earliest && (self.covers)(record.addr);
            // Two spellings of one address are one.
            if ours && rows.take(record.addr)? {
                rows.insert(&New {
                    addr: record.addr,
                    holder: &record.holder,
                    set: None,
                    cni_network: None,
                    owner: &Owner::default(),
                    since: (*changed != u64::MAX).then_some(*changed),
                    boot: &self.database.boot,
                })?;
                count += 1;
            }
        }
        for (set, addr) in stock.marks.iter().filter(|(_, addr)| (self.covers)(*addr)) {
            rows.set_mark(*set, *addr)?;
        }
        let pin = stock.pin.filter(|_| count > 0);
        connection.execute(
            "UPDATE network SET pin = ?2, aside = ?3 WHERE id = ?1",
            (network.id, pin, data_dir.to_string_lossy()),
        )?;
        Ok(count)
    }

    /// Moves aside what an import that was killed has read.
    pub(super) fn resume(
        &self,
        session: &mut Session,
        row: &NetworkRow,
        warnings: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let Some(data_dir) = &row.aside else { return Ok(()) };
        let mut store = self.store(Path::new(data_dir));
        let stock = store.take_stock()?;
        warnings.extend(store.take_warnings());
        match stock {
            // Read again: it may be another directory by now, made by the store that keeps directories.
            Some(stock) => {
                self.write_all(session, Path::new(data_dir), &stock)?;
                self.finish(session, stock, warnings).map(|_| ())
            }
            None => self.moved(session),
        }
    }

    /// Puts away what is in the database now; tells where the directory is.
    fn finish(
        &self,
        session: &mut Session,
        stock: Stock,
        warnings: &mut Vec<String>,
    ) -> Result<PathBuf, StoreError> {
        let path = stock.path().to_path_buf();
        let taken = self
            .taken(&session.connection, &stock)
            .map_err(|error| self.database.failed("read", error))?;
        let put_away = if taken.len() == stock.records.len() {
            stock.move_aside(&self.database.path, (self.database.clock)().unix)
        } else {
            stock.remove(&taken).map(|()| path.clone())
        };
        match put_away {
            Ok(now) => {
                self.moved(session)?;
                Ok(now)
            }
            Err(error) => {
                // Its reservations are in the database now; the next boot takes them for dead. The row
                // keeps the note, and each ADD tries again.
                warnings.push(format!("imported, but not put away: {error}"));
                Ok(path)
            }
        }
    }

    /// What the directory need not keep: what the database has for the same holder, and the dead. An address
    /// that another holds there is nobody's to take away here.
    fn taken(&self, connection: &Connection, stock: &Stock) -> rusqlite::Result<Vec<Addr>> {
        let row = rows::find_network(connection, self.instance, self.network.as_str())?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let rows = Rows { connection, network: row.id };
        let earliest = earliest((self.database.clock)(), &self.database.state.volatile);
        let mut taken = Vec::new();
        for (record, changed) in &stock.records {
            if (self.covers)(record.addr)
                && (*changed < earliest
                    || rows.holder_of(record.addr)? == Some(record.holder.clone()))
            {
                taken.push(record.addr);
            }
        }
        Ok(taken)
    }

    fn moved(&self, session: &mut Session) -> Result<(), StoreError> {
        let name = self.network.as_str();
        session
            .connection
            .execute(
                "UPDATE network SET aside = NULL WHERE instance = ?1 AND name = ?2",
                (self.instance, name),
            )
            .map(|_| ())
            .map_err(|error| self.database.failed("write", error))
    }
}
