//! The statements for what only a pool's rows have.

use ipam_core::addr::{Addr, Interval};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
use ipam_pool::ledger::{Allocation, Backlog, Dirty, Usage};
use ipam_pool::node::{BootState, PoolId};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::boot::Moment;
use crate::sqlite::rows::{NetworkRow, Rows, milliseconds, seconds};
use crate::sqlite::schema::Key;

/// The instance that the rows of every pool belong to.
pub(crate) const INSTANCE: &str = "etcd-pool";

/// What stands for a name in a row that was written without one, by hand.
const UNKNOWN: &str = "unknown";

/// What [`allocation`] reads.
const COLUMNS: &str = "n.name, a.addr, a.cni_network, a.container, a.ifname, a.pod_namespace, \
    a.pod_name, a.pod_uid, a.nonce, a.since, a.revision, a.fence, a.borrowed";

/// What [`dirty`] reads.
const OUTBOX: &str = "n.name, o.addr, o.base, o.seq, o.fence, o.borrowed, o.since, o.due \
    FROM outbox o JOIN network n ON n.id = o.network";

/// The rows of all pools.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pools<'a> {
    pub(super) connection: &'a Connection,
}

/// The pool that a row's name says; no pool's name is without slash.
fn pool_id(name: &str) -> PoolId {
    let (space, pool) = name.split_once('/').unwrap_or(("", name));
    PoolId { space: space.to_owned(), pool: pool.to_owned() }
}

/// A number of ours that is never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A name, also where a row has none: its address is held all the same.
fn name<T, E>(text: Option<String>, make: impl Fn(String) -> Result<T, E>) -> rusqlite::Result<T> {
    text.and_then(|text| make(text).ok())
        .or_else(|| make(UNKNOWN.to_owned()).ok())
        .ok_or(rusqlite::Error::InvalidQuery)
}

fn allocation(row: &Row<'_>) -> rusqlite::Result<Allocation> {
    Ok(Allocation {
        id: pool_id(row.get_ref(0)?.as_str()?),
        addr: row.get::<_, Key>(1)?.0,
        network: name(row.get(2)?, Network::new)?,
        attachment: Attachment {
            container: name(row.get(3)?, ContainerId::new)?,
            ifname: name(row.get(4)?, IfName::new)?,
        },
        owner: Owner { namespace: row.get(5)?, name: row.get(6)?, uid: row.get(7)? },
        nonce: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        since: unsigned(row.get::<_, Option<i64>>(9)?.unwrap_or_default()),
        revision: row.get::<_, Option<i64>>(10)?.unwrap_or_default(),
        fence: row.get::<_, Option<i64>>(11)?.unwrap_or_default(),
        borrowed: row.get::<_, Option<bool>>(12)?.unwrap_or_default(),
    })
}

fn dirty(row: &Row<'_>) -> rusqlite::Result<Dirty> {
    Ok(Dirty {
        id: pool_id(row.get_ref(0)?.as_str()?),
        addr: row.get::<_, Key>(1)?.0,
        base: row.get(2)?,
        seq: unsigned(row.get(3)?),
        fence: row.get(4)?,
        borrowed: row.get(5)?,
        since: unsigned(row.get(6)?),
        due: unsigned(row.get(7)?),
    })
}

/// Puts an address that an operator is about to free into the outbox, so that its record in etcd goes, too.
pub(crate) fn note_freed(
    rows: Rows<'_>,
    row: &NetworkRow,
    addr: Addr,
    now: Moment,
) -> rusqlite::Result<()> {
    let Rows { connection, network } = rows;
    let text: Option<String> =
        connection.query_row("SELECT pool FROM meta", [], |row| row.get(0))?;
    // Without it, nothing was written to etcd in this boot.
    let boot = text.and_then(|text| serde_json::from_str::<BootState>(&text).ok());
    let Some(mut boot) = boot else { return Ok(()) };
    boot.seq = boot.seq.saturating_add(1);
    // One that is borrowed rests before its block's node may give it out.
    connection.execute(
        "INSERT INTO outbox (network, addr, base, seq, fence, borrowed, since, due) \
         SELECT network, addr, coalesce(revision, 0), ?3, coalesce(fence, 0), \
         coalesce(borrowed, 0), ?4, iif(borrowed, ?5, 0) \
         FROM allocation WHERE network = ?1 AND addr = ?2 \
         ON CONFLICT DO UPDATE SET seq = excluded.seq, due = excluded.due",
        (
            network,
            Key(addr),
            seconds(boot.seq),
            seconds(now.unix),
            milliseconds(now.boot.saturating_add(row.cooldown)),
        ),
    )?;
    Pools { connection }.set_boot(&serde_json::to_string(&boot).unwrap_or_default())
}

impl Pools<'_> {
    /// Allocations of one pool, or of all; `rest` is what follows in the statement.
    fn allocations(
        &self,
        rest: &str,
        parameters: &[&dyn ToSql],
    ) -> rusqlite::Result<Vec<Allocation>> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {COLUMNS} {rest}"))?;
        let mut found: Vec<Allocation> =
            statement.query_map(parameters, allocation)?.collect::<Result<_, _>>()?;
        found.sort_by(|a, b| (a.addr, &a.id).cmp(&(b.addr, &b.id)));
        Ok(found)
    }

    /// What an attachment holds in all pools.
    pub(super) fn held(
        &self,
        network: &Network,
        attachment: &Attachment,
    ) -> rusqlite::Result<Vec<Allocation>> {
        self.allocations(
            "FROM allocation a INDEXED BY allocation_holder CROSS JOIN network n \
             ON n.id = a.network WHERE a.container = ?1 AND a.ifname = ?2 AND a.cni_network = ?3 \
             AND n.instance = ?4",
            &[
                &attachment.container.as_str(),
                &attachment.ifname.as_str(),
                &network.as_str(),
                &INSTANCE,
            ],
        )
    }

    /// What a network holds in all pools.
    pub(super) fn of_network(&self, network: &Network) -> rusqlite::Result<Vec<Allocation>> {
        self.allocations(
            "FROM network n CROSS JOIN allocation a ON a.network = n.id \
             WHERE n.instance = ?1 AND a.cni_network = ?2",
            &[&INSTANCE, &network.as_str()],
        )
    }

    /// What a network holds in one pool.
    pub(super) fn of_network_in(
        &self,
        pool: i64,
        network: &Network,
    ) -> rusqlite::Result<Vec<Allocation>> {
        self.allocations(
            "FROM network n CROSS JOIN allocation a ON a.network = n.id \
             WHERE n.id = ?1 AND a.cni_network = ?2",
            &[&pool, &network.as_str()],
        )
    }

    /// What is held in an interval of one pool.
    pub(super) fn within(
        &self,
        pool: i64,
        interval: Interval,
    ) -> rusqlite::Result<Vec<Allocation>> {
        self.allocations(
            "FROM network n CROSS JOIN allocation a ON a.network = n.id \
             WHERE n.id = ?1 AND a.addr BETWEEN ?2 AND ?3",
            &[&pool, &Key(interval.first()), &Key(interval.last())],
        )
    }

    /// The outbox, oldest change first.
    pub(super) fn outbox(&self, now: u64, limit: usize) -> rusqlite::Result<Vec<Dirty>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare(&format!(
            "SELECT {OUTBOX} WHERE o.due <= ?1 ORDER BY o.seq, n.name, o.addr LIMIT ?2"
        ))?;
        statement.query_map((seconds(now), limit), dirty)?.collect()
    }

    /// How much waits.
    pub(super) fn backlog(&self) -> rusqlite::Result<Backlog> {
        let sql = "SELECT count(*), coalesce(min(since), 0) FROM outbox";
        self.connection.prepare_cached(sql)?.query_row([], |row| {
            Ok(Backlog { count: unsigned(row.get(0)?), oldest: unsigned(row.get(1)?) })
        })
    }

    /// Whether a CNI network holds anything in the database, of a pool or as a network of its own.
    pub(super) fn is_used_by(&self, network: &Network) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM network n JOIN allocation a ON a.network = n.id \
             WHERE a.cni_network = ?1 OR n.name = ?1)",
            [network.as_str()],
            |row| row.get(0),
        )
    }

    /// Writes what the node knows of etcd in this boot.
    pub(super) fn set_boot(&self, text: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached("UPDATE meta SET pool = ?1")?.execute([text]).map(|_| ())
    }
}

/// What only a pool has.
impl Rows<'_> {
    /// Records an allocation whose address was taken out of the free space before.
    pub(super) fn insert_pool(
        &self,
        new: &Allocation,
        set: usize,
        boot: &str,
    ) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT INTO allocation (network, addr, container, ifname, range_set, \
                 pod_namespace, pod_name, pod_uid, since, boot, cni_network, nonce, revision, \
                 fence, borrowed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                (
                    self.network,
                    Key(new.addr),
                    new.attachment.container.as_str(),
                    new.attachment.ifname.as_str(),
                    i64::try_from(set).unwrap_or(i64::MAX),
                    &new.owner.namespace,
                    &new.owner.name,
                    &new.owner.uid,
                    seconds(new.since),
                    boot,
                    new.network.as_str(),
                    &new.nonce,
                    new.revision,
                    new.fence,
                    new.borrowed,
                ),
            )
            .map(|_| ())
    }

    /// Notes the revision of an allocation's record.
    pub(super) fn set_revision(&self, addr: Addr, revision: i64) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("UPDATE allocation SET revision = ?3 WHERE network = ?1 AND addr = ?2")?
            .execute((self.network, Key(addr), revision))
            .map(|changed| changed > 0)
    }

    /// Notes that an address is another's, and when it was freed here if it rests; false if it is held, or is
    /// another's already.
    pub(super) fn occupy(&self, addr: Addr) -> rusqlite::Result<bool> {
        let freed = if self.take(addr)? {
            None
        } else {
            let Some(freed) = self.freed(addr)? else { return Ok(false) };
            self.connection.execute(
                "DELETE FROM resting WHERE network = ?1 AND addr = ?2",
                (self.network, Key(addr)),
            )?;
            Some(milliseconds(freed))
        };
        self.connection.execute(
            "INSERT INTO occupied (network, addr, freed) VALUES (?1, ?2, ?3)",
            (self.network, Key(addr), freed),
        )?;
        Ok(true)
    }

    /// Notes that an address is no longer another's: it goes on with the rest that it had, or is free. True if
    /// it was another's.
    pub(super) fn vacate(&self, addr: Addr) -> rusqlite::Result<bool> {
        let freed: Option<Option<i64>> = self
            .connection
            .query_row(
                "DELETE FROM occupied WHERE network = ?1 AND addr = ?2 RETURNING freed",
                (self.network, Key(addr)),
                |row| row.get(0),
            )
            .optional()?;
        match freed {
            None => return Ok(false),
            Some(None) => self.put_back(addr)?,
            Some(Some(freed)) => {
                self.connection.execute(
                    "INSERT INTO resting (network, addr, freed) VALUES (?1, ?2, ?3)",
                    (self.network, Key(addr), freed),
                )?;
                self.set_resting()?;
            }
        }
        Ok(true)
    }

    /// Takes an address that nobody holds out of the free space, whatever it is kept for; false if somebody
    /// holds it.
    pub(super) fn take_whatever(&self, addr: Addr) -> rusqlite::Result<bool> {
        if self.take(addr)? {
            return Ok(true);
        }
        self.vacate(addr)?;
        self.wake(addr)?;
        self.take(addr)
    }

    /// The addresses of an interval that are another's.
    pub(super) fn occupied(&self, interval: Interval) -> rusqlite::Result<Vec<Addr>> {
        let mut statement = self.connection.prepare(
            "SELECT addr FROM occupied WHERE network = ?1 AND addr BETWEEN ?2 AND ?3 ORDER BY addr",
        )?;
        let bounds = (self.network, Key(interval.first()), Key(interval.last()));
        statement.query_map(bounds, |row| row.get::<_, Key>(0).map(|key| key.0))?.collect()
    }

    /// How much of an interval cannot be given out; what was freed before `rested`, in milliseconds since
    /// boot, can.
    pub(super) fn usage(&self, interval: Interval, rested: i64) -> rusqlite::Result<Usage> {
        self.connection
            .prepare_cached(
                "SELECT \
             (SELECT count(*) FROM allocation WHERE network = ?1 AND addr BETWEEN ?2 AND ?3), \
             (SELECT count(*) FROM resting WHERE network = ?1 AND addr BETWEEN ?2 AND ?3 \
             AND freed > ?4), \
             (SELECT count(*) FROM occupied WHERE network = ?1 AND addr BETWEEN ?2 AND ?3)",
            )?
            .query_row((self.network, Key(interval.first()), Key(interval.last()), rested), |row| {
                Ok(Usage {
                    held: unsigned(row.get(0)?),
                    resting: unsigned(row.get(1)?),
                    occupied: unsigned(row.get(2)?),
                })
            })
    }

    /// Whether an address waits in the outbox.
    pub(super) fn dirty(&self, id: &PoolId, addr: Addr) -> rusqlite::Result<Option<Dirty>> {
        self.connection
            .prepare_cached(
                "SELECT ?3, addr, base, seq, fence, borrowed, since, due FROM outbox \
                 WHERE network = ?1 AND addr = ?2",
            )?
            .query_row((self.network, Key(addr), id.to_string()), dirty)
            .optional()
    }

    /// Puts an address into the outbox.
    pub(super) fn set_dirty(&self, dirty: &Dirty) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO outbox (network, addr, base, seq, fence, borrowed, since, \
                 due) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                self.network,
                Key(dirty.addr),
                dirty.base,
                seconds(dirty.seq),
                dirty.fence,
                dirty.borrowed,
                seconds(dirty.since),
                seconds(dirty.due),
            ))
            .map(|_| ())
    }

    /// Takes an address out of the outbox; true if it was in there.
    pub(super) fn clear_dirty(&self, addr: Addr) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("DELETE FROM outbox WHERE network = ?1 AND addr = ?2")?
            .execute((self.network, Key(addr)))
            .map(|cleared| cleared > 0)
    }
}
