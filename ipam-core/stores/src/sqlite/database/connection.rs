//! SQLite's connections: how they are opened, how a transaction begins, what SQLite's errors mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::sqlite::schema;

/// For how long SQLite waits for a program that reads without our lock.
const READERS: Duration = Duration::from_secs(5);

/// The row of the whole database.
pub(super) struct Meta {
    pub(super) boot: String,
    pub(super) inode: i64,
    pub(super) marked: bool,
    pub(super) pool: Option<String>,
}

/// Opens a database that is there.
pub(crate) fn connect(path: &Path, read_only: bool) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    flags |= if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READERS)?;
    // Plans are made by the tables alone: by default a statement is prepared a second time once its values are known.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if !read_only {
        // One connection for each process: a log would be replayed and removed by each of them. What a killed
        // process has written the kernel has; and what a power loss leaves is of a former boot, dropped if it
        // can be read and set aside if not. So nothing waits for a disk.
        connection.execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF")?;
    }
    Ok(connection)
}

/// Begins a transaction, and reads what is known of the whole database.
pub(super) fn begin(connection: &Connection, make: bool) -> rusqlite::Result<Meta> {
    match connection.execute_batch("BEGIN IMMEDIATE") {
        // A question can be answered where nothing can be written.
        Err(error) if !make && is_read_only(&error) => connection.execute_batch("BEGIN")?,
        other => other?,
    }
    // Not the header's word: a migration that was killed has been rolled back by now.
    let mut version = connection.prepare_cached("PRAGMA user_version")?;
    let schema = version.query_row([], |row| row.get(0))?;
    schema::migrate(connection, schema)?;
    let read = "SELECT boot, inode, marked, pool FROM meta";
    connection.prepare_cached(read)?.query_row([], |row| {
        let (boot, inode, marked, pool) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Meta { boot, inode, marked, pool })
    })
}

/// The boot that the rows are of, the inode that the file had in it, and whether its marker is written.
pub(crate) fn meta(connection: &Connection) -> rusqlite::Result<(String, i64, bool)> {
    connection.query_row("SELECT boot, inode, marked FROM meta", [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

fn is_read_only(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ReadOnly)
}

/// Whether SQLite says that the file is broken. Tables that are not there are as bad: the header said that it
/// is ours.
pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                || text.as_ref().is_some_and(|text| text.starts_with("no such "))
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        rusqlite::Error::SqlInputError { msg, .. } => msg.starts_with("no such "),
        _ => false,
    }
}

/// What SQLite says, in words.
pub(crate) fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => {
            text.clone().unwrap_or_else(|| failure.to_string())
        }
        other => other.to_string(),
    }
}
