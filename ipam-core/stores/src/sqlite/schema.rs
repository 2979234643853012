/*!
The tables.

Free space is kept as intervals, as in `ipam_core::extents`, over each whole address family and not over
the configured ranges: ranges change from call to call, and what is taken stays taken whatever they
are. Each network begins with two free extents, all of IPv4 and all of IPv6; extents, allocations and
resting addresses together are always exactly that. A pool (`ipam_pool`) is a network, too: instance
`etcd-pool`, name `<space>/<pool>`; there, addresses that are known to be another's are the fourth part.

An address is a BLOB of its family (4 or 6) and its bytes in network order: SQLite compares BLOBs byte by
byte, so the order is that of `Addr`.
*/

use ipam_core::addr::{Addr, Family};
use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// "Plat", in the header of each database of ours.
pub(crate) const APPLICATION_ID: u32 = 0x506c_6174;

/// How a database came to be what it is: schema version n is what the first n steps make. A step that was
/// released never changes; another version is another step.
const STEPS: [&str; 2] = [TABLES, POOLS];

/// The newest schema that is known here.
pub(crate) const VERSION: u32 = 2;

/// The first step.
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
    looked INTEGER,
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

/// The second step: what the allocations of a pool have besides, addresses that are another's, records in etcd
/// that are behind, and what the node knows of etcd in this boot. Other IPAMs leave all of it empty.
const POOLS: &str = "
ALTER TABLE meta ADD COLUMN pool TEXT;
ALTER TABLE allocation ADD COLUMN cni_network TEXT;
ALTER TABLE allocation ADD COLUMN nonce TEXT;
ALTER TABLE allocation ADD COLUMN revision INTEGER;
ALTER TABLE allocation ADD COLUMN fence INTEGER;
ALTER TABLE allocation ADD COLUMN borrowed INTEGER;
ALTER TABLE history ADD COLUMN cni_network TEXT;
CREATE TABLE occupied (
    network INTEGER NOT NULL,
    addr BLOB NOT NULL,
    freed INTEGER,
    PRIMARY KEY (network, addr)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    network INTEGER NOT NULL,
    addr BLOB NOT NULL,
    base INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    borrowed INTEGER NOT NULL,
    since INTEGER NOT NULL,
    due INTEGER NOT NULL,
    PRIMARY KEY (network, addr)
) STRICT, WITHOUT ROWID;
";

/// Makes the tables in an empty database.
pub(crate) fn create(connection: &Connection, boot: &str, inode: u64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = MEMORY; BEGIN; PRAGMA application_id = {APPLICATION_ID}"
    ))?;
    migrate(connection, 0)?;
    connection.execute(
        "INSERT INTO meta (id, boot, inode, marked) VALUES (0, ?1, ?2, 0)",
        (boot, signed(inode)),
    )?;
    connection.execute_batch("COMMIT")
}

/// Brings a database of an older schema up to date, within the transaction that is open.
pub(super) fn migrate(connection: &Connection, from: u32) -> rusqlite::Result<()> {
    take_steps(connection, from, &STEPS)
}

fn take_steps(connection: &Connection, from: u32, steps: &[&str]) -> rusqlite::Result<()> {
    let taken = usize::try_from(from).unwrap_or(usize::MAX);
    if taken >= steps.len() {
        return Ok(());
    }
    for step in steps.iter().skip(taken) {
        connection.execute_batch(step)?;
    }
    connection.execute_batch(&format!("PRAGMA user_version = {}", steps.len()))
}

/// Makes the tables of the first version.
#[cfg(test)]
pub(super) fn create_first(connection: &Connection) {
    let id = format!("BEGIN; PRAGMA application_id = {APPLICATION_ID}");
    connection.execute_batch(&id).unwrap();
    take_steps(connection, 0, &STEPS[..1]).unwrap();
    connection.execute_batch("COMMIT").unwrap();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_a_step_and_taken_once() {
        assert_eq!(u32::try_from(STEPS.len()), Ok(VERSION));
        let connection = Connection::open_in_memory().unwrap();
        let version = || -> u32 {
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
        };
        let steps = ["CREATE TABLE t (a INTEGER)", "ALTER TABLE t ADD COLUMN b INTEGER"];
        take_steps(&connection, 0, &steps[..1]).unwrap();
        connection.execute("INSERT INTO t VALUES (7)", []).unwrap();
        assert_eq!(version(), 1);
        // A step that fails undoes those before it.
        connection.execute_batch("BEGIN").unwrap();
        take_steps(&connection, 1, &[steps[0], steps[1], "no SQL"]).unwrap_err();
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(version(), 1);
        connection.prepare("SELECT b FROM t").unwrap_err();
        for _ in 0..2 {
            take_steps(&connection, version(), &steps).unwrap();
            assert_eq!(version(), 2);
        }
        let kept: (i64, Option<i64>) = connection
            .query_row("SELECT a, b FROM t", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(kept, (7, None));
    }

    #[test]
    fn keys_are_ordered_as_addresses() {
        let texts = [
            "0.0.0.0",
            "10.0.0.1",
            "32.1.13.184",
            "255.255.255.255",
            "::",
            "1::",
            "2001:db8::",
            "ffff::",
        ];
        let addrs: Vec<Addr> = texts.iter().map(|text| Addr::parse(text).unwrap()).collect();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (k BLOB)").unwrap();
        for addr in addrs.iter().rev() {
            connection.execute("INSERT INTO t VALUES (?1)", [Key(*addr)]).unwrap();
        }
        let mut statement = connection.prepare("SELECT k FROM t ORDER BY k").unwrap();
        let read: Vec<Addr> = statement
            .query_map([], |row| row.get::<_, Key>(0).map(|key| key.0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, addrs);
        for blob in [&b""[..], b"\x04", b"\x04\x0a\0\0", b"\x05\x0a\0\0\x01", b"\x06\0"] {
            Key::column_result(ValueRef::Blob(blob)).unwrap_err();
        }
    }
}
