/*!
Which address a pod's interface had last: the memory of the strategy `sticky`.

It is the one thing of a network that outlives the boot, so it lies in a database of its own in the
durable state directory. It is a hint and nothing more: whatever is wrong with it, a pod gets another
address. An address is remembered for one pod only; [`MOST`] bounds what all networks of the node have
together.
*/

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::allocator::Choice;
use ipam_core::identity::PodInterface;
use rusqlite::{Connection, OpenFlags};

use super::schema::{APPLICATION_ID, Key};
use crate::files::make_dir;

/// How many of the addresses given out last are remembered, over all networks of the node.
const MOST: i64 = 65_536;

/// For how long another database's call is waited for.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS sticky (
    id INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    network TEXT NOT NULL,
    range_set INTEGER NOT NULL,
    pod_namespace TEXT NOT NULL,
    pod_name TEXT NOT NULL,
    ifname TEXT NOT NULL,
    addr BLOB NOT NULL,
    UNIQUE (instance, network, pod_namespace, pod_name, ifname, range_set),
    UNIQUE (instance, network, addr)
) STRICT;
";

/// The memory of one network of one instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sticky<'a> {
    pub(super) durable: &'a Path,
    pub(super) instance: &'a str,
    pub(super) network: &'a str,
}

impl Sticky<'_> {
    fn path(&self) -> PathBuf {
        self.durable.join("sticky.db")
    }

    /// The addresses that the pod's interface had last.
    pub(super) fn read(&self, pod: &PodInterface) -> rusqlite::Result<Vec<Addr>> {
        if !self.path().exists() {
            return Ok(Vec::new());
        }
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut statement = connection.prepare(
            "SELECT addr FROM sticky WHERE instance = ?1 AND network = ?2 AND pod_namespace = ?3 \
             AND pod_name = ?4 AND ifname = ?5 ORDER BY range_set",
        )?;
        let ids = (self.instance, self.network, &pod.namespace, &pod.name, pod.ifname.as_str());
        statement.query_map(ids, |row| row.get::<_, Key>(0).map(|key| key.0))?.collect()
    }

    /// Remembers what the pod's interface has now.
    pub(super) fn write(&self, pod: &PodInterface, choices: &[Choice]) -> rusqlite::Result<()> {
        // What fails here fails when the file is opened.
        let _ = make_dir(self.durable);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = self.connect(flags)?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        for choice in choices.iter().filter(|choice| !choice.held) {
            // Both the pod's former address and the address' former pod are replaced.
            transaction.execute(
                "INSERT OR REPLACE INTO sticky (instance, network, range_set, pod_namespace, \
                 pod_name, ifname, addr) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                (
                    self.instance,
                    self.network,
                    i64::try_from(choice.set).unwrap_or(i64::MAX),
                    &pod.namespace,
                    &pod.name,
                    pod.ifname.as_str(),
                    Key(choice.addr),
                ),
            )?;
        }
        let newest = transaction.last_insert_rowid();
        transaction.execute("DELETE FROM sticky WHERE id <= ?1", [newest.saturating_sub(MOST)])?;
        transaction.commit()
    }

    fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let path = self.path();
        let fresh = !path.exists();
        if fresh {
            // SQLite itself would make a file that others can read.
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = std::fs::OpenOptions::new();
            let _ = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL")?;
        if fresh {
            connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
        }
        Ok(connection)
    }
}
