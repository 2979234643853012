//! The rows of one network, one statement or a few at a time. All of it happens within a transaction.

use std::time::Duration;

use ipam_core::addr::{Addr, Family, Interval};
use ipam_core::allocator::Held;
use ipam_core::config::Owner;
use ipam_core::extents::Extents;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Instance, Network};
use ipam_core::layout::Layout;
use ipam_core::store::Record;
use rusqlite::{Connection, OptionalExtension, Row};

use super::schema::Key;
use crate::boot::Moment;
use crate::survey::Ended;

/// How many ended allocations are remembered.
const HISTORY: i64 = 10_000;

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

/// An extent of free space.
fn extent(row: &Row<'_>) -> rusqlite::Result<(Addr, Addr)> {
    Ok((row.get::<_, Key>(0)?.0, row.get::<_, Key>(1)?.0))
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

    fn remember(&self, addr: Addr, ended: Ended, now: Moment) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT INTO history (network, addr, container, ifname, pod_namespace, pod_name, \
             pod_uid, since, until, ended, cni_network) \
             SELECT network, addr, container, ifname, pod_namespace, pod_name, pod_uid, since, \
             ?3, ?4, cni_network FROM allocation WHERE network = ?1 AND addr = ?2",
            (self.network, Key(addr), seconds(now.unix), ended as u8),
        )?;
        self.trim_history()
    }

    fn trim_history(&self) -> rusqlite::Result<()> {
        let last = self.connection.last_insert_rowid();
        self.connection
            .execute("DELETE FROM history WHERE id <= ?1", [last.saturating_sub(HISTORY)])
            .map(|_| ())
    }

    /// Ends everything that a former boot has left.
    pub(crate) fn end_former_boot(&self, now: Moment) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT INTO history (network, addr, container, ifname, pod_namespace, pod_name, \
             pod_uid, since, until, ended, cni_network) \
             SELECT network, addr, container, ifname, pod_namespace, pod_name, pod_uid, since, \
             ?2, ?3, cni_network FROM allocation WHERE network = ?1 ORDER BY addr LIMIT ?4",
            (self.network, seconds(now.unix), Ended::Reboot as u8, HISTORY),
        )?;
        self.trim_history()?;
        self.free_everything()?;
        self.connection
            .execute(
                "UPDATE network SET pin = NULL, resting = 0, aside = NULL WHERE id = ?1",
                [self.network],
            )
            .map(|_| ())
    }

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
