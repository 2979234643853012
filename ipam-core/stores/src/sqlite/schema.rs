/*!
The tables.

Free space is kept as intervals, as in `ipam_core::extents`, over each whole address family and not over
the configured ranges: ranges change from call to call, and what is taken stays taken whatever they
are. Each network begins with two free extents, all of IPv4 and all of IPv6; extents, allocations and
resting addresses together are always exactly that.

An address is a BLOB of its family (4 or 6) and its bytes in network order: SQLite compares BLOBs byte by
byte, so the order is that of `Addr`.
*/

use ipam_core::addr::{Addr, Family};
use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// "Plat", in the header of each database of ours.
pub(crate) const APPLICATION_ID: u32 = 0x506c_6174;

/// The newest schema that is known here.
pub(crate) const VERSION: u32 = 1;

/// Version 1.
const TABLES: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    boot TEXT NOT NULL,
    inode INTEGER NOT NULL,
    marked INTEGER NOT NULL
) STRICT;
CREATE TABLE network (
    id INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    pin INTEGER,
    cooldown INTEGER NOT NULL DEFAULT 0,
    resting INTEGER NOT NULL DEFAULT 0,
    digest INTEGER,
    layout TEXT,
    aside TEXT,
    UNIQUE (instance, name)
) STRICT;
CREATE TABLE mark (
    network INTEGER NOT NULL,
    range_set INTEGER NOT NULL,
    addr BLOB NOT NULL,
    PRIMARY KEY (network, range_set)
) STRICT, WITHOUT ROWID;
CREATE TABLE allocation (
    network INTEGER NOT NULL,
    addr BLOB NOT NULL,
    container TEXT NOT NULL,
    ifname TEXT NOT NULL,
    range_set INTEGER,
    pod_namespace TEXT,
    pod_name TEXT,
    pod_uid TEXT,
    since INTEGER,
    boot TEXT NOT NULL,
    PRIMARY KEY (network, addr)
) STRICT, WITHOUT ROWID;
CREATE INDEX allocation_holder ON allocation (container, network, ifname);
CREATE TABLE free_extent (
    network INTEGER NOT NULL,
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    PRIMARY KEY (network, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE resting (
    network INTEGER NOT NULL,
    addr BLOB NOT NULL,
    freed INTEGER NOT NULL,
    PRIMARY KEY (network, addr)
) STRICT, WITHOUT ROWID;
CREATE INDEX resting_freed ON resting (network, freed);
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    network INTEGER NOT NULL,
    addr BLOB NOT NULL,
    container TEXT NOT NULL,
    ifname TEXT NOT NULL,
    pod_namespace TEXT,
    pod_name TEXT,
    pod_uid TEXT,
    since INTEGER,
    until INTEGER NOT NULL,
    ended INTEGER NOT NULL
) STRICT;
CREATE INDEX history_addr ON history (addr);
";

/// Makes the tables in an empty database.
pub(crate) fn create(connection: &Connection, boot: &str, inode: u64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = MEMORY; BEGIN; PRAGMA application_id = {APPLICATION_ID}; \
         PRAGMA user_version = {VERSION}; {TABLES}"
    ))?;
    connection.execute(
        "INSERT INTO meta (id, boot, inode, marked) VALUES (0, ?1, ?2, 0)",
        (boot, signed(inode)),
    )?;
    connection.execute_batch("COMMIT")
}

/// SQLite's integers are signed; what is stored is compared for equality only.
pub(crate) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// An address as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Addr);

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number = self.0.number().to_be_bytes();
        let (family, bytes) = match self.0.family() {
            Family::V4 => (4, number.get(12..).unwrap_or_default()),
            Family::V6 => (6, number.as_slice()),
        };
        let mut blob = Vec::with_capacity(17);
        blob.push(family);
        blob.extend_from_slice(bytes);
        Ok(ToSqlOutput::from(blob))
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = |bytes: &[u8]| {
            bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
        };
        let addr = match value.as_blob()? {
            [4, rest @ ..] if rest.len() == 4 => Addr::new(Family::V4, number(rest)),
            [6, rest @ ..] if rest.len() == 16 => Addr::new(Family::V6, number(rest)),
            _ => None,
        };
        addr.map(Self).ok_or(FromSqlError::InvalidType)
    }
}
