//! The rows of one network, one statement or a few at a time. All of it happens within a transaction.

mod extents;
mod history;
mod resting;

use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::allocator::Held;
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Instance, Network};
use ipam_core::layout::Layout;
use ipam_core::store::Record;
use rusqlite::{Connection, OptionalExtension};

use super::schema::Key;
use crate::boot::Moment;
use crate::survey::Ended;

/// A network's own row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkRow {
    /// The key of its other rows.
    pub(crate) id: i64,
    /// The node index of its allocations.
    pub(crate) pin: Option<u32>,
    /// The cooldown of the last ADD.
    pub(crate) cooldown: Duration,
    /// Whether freed addresses may rest.
    pub(crate) resting: bool,
    /// What the layout was last.
    pub(crate) digest: Option<i64>,
    /// A directory that was imported and is to be moved aside still.
    pub(crate) aside: Option<String>,
    /// When the directory that may be imported was changed last before it was looked into.
    pub(crate) looked: Option<i64>,
}

/// The rows of one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) network: i64,
}

/// A duration as whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds as a duration; nothing is negative here.
pub(crate) fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}

/// Seconds since 1970 as a column.
pub(super) fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}

/// The network of this name in this instance.
pub(crate) fn find_network(
    connection: &Connection,
    instance: &str,
    name: &str,
) -> rusqlite::Result<Option<NetworkRow>> {
    connection
        .prepare_cached(
            "SELECT id, pin, cooldown, resting, digest, aside, looked FROM network \
             WHERE instance = ?1 AND name = ?2",
        )?
        .query_row((instance, name), |row| {
            Ok(NetworkRow {
                id: row.get(0)?,
                pin: row.get(1)?,
                cooldown: duration(row.get(2)?),
                resting: row.get(3)?,
                digest: row.get(4)?,
                aside: row.get(5)?,
                looked: row.get(6)?,
            })
        })
        .optional()
}

/// Makes a network, all free.
pub(crate) fn make_network(
    connection: &Connection,
    instance: &str,
    name: &str,
) -> rusqlite::Result<NetworkRow> {
    connection.execute("INSERT INTO network (instance, name) VALUES (?1, ?2)", (instance, name))?;
    let id = connection.last_insert_rowid();
    Rows { connection, network: id }.free_everything()?;
    Ok(NetworkRow { id, ..NetworkRow::default() })
}

/// The holder that two columns name. An empty interface is a record of the container alone, an empty
/// container one that names nobody.
pub(crate) fn holder(container: &str, ifname: &str) -> Holder {
    match (ContainerId::new(container), IfName::new(ifname)) {
        (Ok(container), Ok(ifname)) => Holder::Attachment(Attachment { container, ifname }),
        (Ok(container), Err(_)) if ifname.is_empty() => Holder::Container(container),
        _ => Holder::Unknown,
    }
}

/// The two columns of a holder.
pub(crate) fn columns(holder: &Holder) -> (&str, &str) {
    match holder {
        Holder::Attachment(Attachment { container, ifname }) => {
            (container.as_str(), ifname.as_str())
        }
        Holder::Container(container) => (container.as_str(), ""),
        Holder::Unknown => ("", ""),
    }
}

/// A new allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) addr: Addr,
    pub(crate) holder: &'a Holder,
    pub(crate) set: Option<usize>,
    /// The CNI network, where the rows are a pool's.
    pub(crate) cni_network: Option<&'a str>,
    pub(crate) owner: &'a Owner,
    pub(crate) since: Option<u64>,
    pub(crate) boot: &'a str,
}

impl Rows<'_> {
    /// What an attachment holds, by address; records of its container alone included.
    pub(crate) fn held(&self, attachment: &Attachment) -> rusqlite::Result<Vec<Held>> {
        // Left to itself, and asked for an order, SQLite reads every allocation of the network.
        let mut statement = self.connection.prepare(
            "SELECT addr, ifname FROM allocation INDEXED BY allocation_holder \
             WHERE container = ?1 AND network = ?2 AND ifname IN (?3, '')",
        )?;
        let ids = (attachment.container.as_str(), self.network, attachment.ifname.as_str());
        let mut held: Vec<Held> = statement
            .query_map(ids, |row| {
                let by_container = row.get_ref(1)?.as_str()?.is_empty();
                Ok(Held { addr: row.get::<_, Key>(0)?.0, by_container })
            })?
            .collect::<Result<_, _>>()?;
        held.sort_unstable();
        Ok(held)
    }

    /// The same, of a pool: what the attachment of this CNI network holds.
    pub(super) fn held_in(
        &self,
        cni_network: Option<&Network>,
        attachment: &Attachment,
    ) -> rusqlite::Result<Vec<Held>> {
        let Some(cni_network) = cni_network else { return self.held(attachment) };
        let mut statement = self.connection.prepare(
            "SELECT addr FROM allocation INDEXED BY allocation_holder \
             WHERE container = ?1 AND network = ?2 AND ifname = ?3 AND cni_network = ?4",
        )?;
        let (container, ifname) = (attachment.container.as_str(), attachment.ifname.as_str());
        let mut held: Vec<Held> = statement
            .query_map((container, self.network, ifname, cni_network.as_str()), |row| {
                Ok(Held { addr: row.get::<_, Key>(0)?.0, by_container: false })
            })?
            .collect::<Result<_, _>>()?;
        held.sort_unstable();
        Ok(held)
    }

    /// How many addresses are held.
    pub(crate) fn count(&self) -> rusqlite::Result<usize> {
        let count: i64 = self.connection.query_row(
            "SELECT count(*) FROM allocation WHERE network = ?1",
            [self.network],
            |row| row.get(0),
        )?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM allocation WHERE network = ?1)",
            [self.network],
            |row| row.get(0),
        )
    }

    /// Who holds an address.
    pub(crate) fn holder_of(&self, addr: Addr) -> rusqlite::Result<Option<Holder>> {
        self.connection
            .query_row(
                "SELECT container, ifname FROM allocation WHERE network = ?1 AND addr = ?2",
                (self.network, Key(addr)),
                |row| Ok(holder(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?)),
            )
            .optional()
    }

    /// Other instances of the same plugin in the network `name`, each with the key of its rows.
    pub(crate) fn siblings(
        &self,
        instance: &Instance,
        name: &str,
    ) -> rusqlite::Result<Vec<(i64, String)>> {
        let plugin = instance.plugin();
        // By the index on instances: what an ADD has read already. An '@' comes just before an 'A'.
        let mut statement = self.connection.prepare(
            "SELECT id, instance FROM network WHERE instance >= ?1 AND instance < ?2 AND name = ?3",
        )?;
        let mut rows = statement.query((plugin, format!("{plugin}A"), name))?;
        let mut siblings = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, other): (i64, String) = (row.get(0)?, row.get(1)?);
            if id != self.network
                && Instance::new(other.as_str()).is_ok_and(|o| o.plugin() == plugin)
            {
                siblings.push((id, other));
            }
        }
        Ok(siblings)
    }

    /// Whether an address is still held by this holder since that time.
    pub(crate) fn is_still(
        &self,
        addr: Addr,
        holder: &Holder,
        since: Option<u64>,
    ) -> rusqlite::Result<bool> {
        let (container, ifname) = columns(holder);
        self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM allocation WHERE network = ?1 AND addr = ?2 \
             AND container = ?3 AND ifname = ?4 AND since IS ?5)",
            (self.network, Key(addr), container, ifname, since.map(seconds)),
            |row| row.get(0),
        )
    }

    /// Every record, by address.
    pub(crate) fn list(&self) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.connection.prepare(
            "SELECT addr, container, ifname FROM allocation WHERE network = ?1 ORDER BY addr",
        )?;
        statement
            .query_map([self.network], |row| {
                let holder = holder(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
                Ok(Record { addr: row.get::<_, Key>(0)?.0, holder })
            })?
            .collect()
    }

    /// Records an allocation whose address was taken out of the free space before.
    pub(crate) fn insert(&self, new: &New<'_>) -> rusqlite::Result<()> {
        let (container, ifname) = columns(new.holder);
        let set = new.set.and_then(|set| i64::try_from(set).ok());
        self.connection
            .execute(
                "INSERT INTO allocation (network, addr, container, ifname, range_set, \
                 pod_namespace, pod_name, pod_uid, since, boot, cni_network) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                (
                    self.network,
                    Key(new.addr),
                    container,
                    ifname,
                    set,
                    &new.owner.namespace,
                    &new.owner.name,
                    &new.owner.uid,
                    new.since.map(seconds),
                    new.boot,
                    new.cni_network,
                ),
            )
            .map(|_| ())
    }

    /// Ends an allocation: it goes into the history, and its address rests or is free.
    pub(crate) fn end(
        &self,
        addr: Addr,
        ended: Ended,
        rests: bool,
        now: Moment,
    ) -> rusqlite::Result<()> {
        self.remember(addr, ended, now)?;
        self.forget(addr)?;
        if rests {
            self.connection
                .execute(
                    "INSERT INTO resting (network, addr, freed) VALUES (?1, ?2, ?3)",
                    (self.network, Key(addr), milliseconds(now.boot)),
                )
                .map(|_| ())
        } else {
            self.put_back(addr)
        }
    }

    /// Takes an allocation back that nobody knows of.
    pub(crate) fn undo(&self, addr: Addr) -> rusqlite::Result<()> {
        self.forget(addr)?;
        self.put_back(addr)
    }

    fn forget(&self, addr: Addr) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "DELETE FROM allocation WHERE network = ?1 AND addr = ?2",
                (self.network, Key(addr)),
            )
            .map(|_| ())
    }

    /// The last address handed out from a set.
    pub(crate) fn mark(&self, set: usize) -> rusqlite::Result<Option<Addr>> {
        let set = i64::try_from(set).unwrap_or(i64::MAX);
        self.connection
            .query_row(
                "SELECT addr FROM mark WHERE network = ?1 AND range_set = ?2",
                (self.network, set),
                |row| row.get::<_, Key>(0).map(|key| key.0),
            )
            .optional()
    }

    /// Moves the mark of a set.
    pub(crate) fn set_mark(&self, set: usize, addr: Addr) -> rusqlite::Result<()> {
        let set = i64::try_from(set).unwrap_or(i64::MAX);
        self.connection
            .execute(
                "INSERT OR REPLACE INTO mark (network, range_set, addr) VALUES (?1, ?2, ?3)",
                (self.network, set, Key(addr)),
            )
            .map(|_| ())
    }

    /// Remembers what addresses were chosen from last.
    pub(super) fn set_layout(&self, layout: &Layout, digest: i64) -> rusqlite::Result<()> {
        let (text, cooldown) = (layout.to_json().to_string(), milliseconds(layout.policy.cooldown));
        self.connection
            .execute(
                "UPDATE network SET digest = ?2, layout = ?3, cooldown = ?4 WHERE id = ?1",
                (self.network, digest, text, cooldown),
            )
            .map(|_| ())
    }

    /// Notes that addresses rest.
    pub(super) fn set_resting(&self) -> rusqlite::Result<()> {
        self.connection
            .execute("UPDATE network SET resting = 1 WHERE id = ?1", [self.network])
            .map(|_| ())
    }

    /// Without allocations there is no pin.
    pub(crate) fn settle(&self) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "UPDATE network SET pin = NULL WHERE id = ?1 AND pin IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM allocation WHERE network = ?1)",
                [self.network],
            )
            .map(|_| ())
    }
}
