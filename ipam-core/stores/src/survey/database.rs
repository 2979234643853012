//! The part of a survey that looks into a database.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::{Addr, Family, Interval};
use ipam_core::config::Owner;
use ipam_core::identity::{Holder, Instance, Network};
use ipam_core::layout::Layout;
use ipam_pool::ledger::Backlog;
use ipam_pool::node::BootState;
use rusqlite::{Connection, Row};

use super::{
    Allocation, Cooling, DEFAULT_DATABASE, Ended, Fault, FaultKind, Health, NetworkState, Past,
    Place, Survey, Unseen,
};
use crate::boot::{Moment, boot_id};
use crate::error::StoreError;
use crate::places::{Places, Remembered};
use crate::sqlite::{
    Calls, Database, Header, Key, New, POOLS, Rows, VERSION, connect, duration, find_network,
    holder, is_corrupt, make_network, meta, note_freed, read_calls, read_header, reason, signed,
};
use crate::{StateDirs, error::Context};

/// The same, to be written to.
fn writable(survey: &Survey, path: &Path, lock_timeout: Duration) -> Result<Database, StoreError> {
    let at = survey.at(path);
    if at.exists() {
        is_reachable(&at)?;
    } else if let Some(dir) = at.ancestors().find(|dir| dir.exists()) {
        is_reachable(dir)?;
    }
    Ok(database(survey, path, lock_timeout))
}

/// The database as the stores know it, seen from the survey's root.
fn database(survey: &Survey, path: &Path, lock_timeout: Duration) -> Database {
    let state = StateDirs {
        durable: survey.at(&survey.state.durable),
        volatile: survey.at(&survey.state.volatile),
    };
    Database::new(survey.at(path), state, lock_timeout).known_as(path)
}

/// What SQLite says, as an error about this file.
fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Database {
        call: "read",
        path: path.to_path_buf(),
        reason: reason(error),
        full: false,
    }
}

/// Reads without changing anything and without our lock. Only where a killed call has left half a
/// transaction, which a reader may not roll back, a connection that may is made first.
fn reading<T>(
    survey: &Survey,
    path: &Path,
    read: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let at = survey.at(path);
    is_reachable(&at)?;
    // One transaction: everything is of one moment.
    let once = || -> rusqlite::Result<T> {
        let connection = connect(&at, true)?;
        connection.execute_batch("BEGIN")?;
        read(&connection)
    };
    match once() {
        Err(error) if !is_corrupt(&error) => {
            database(survey, path, Duration::from_secs(5)).recover()?;
            once().map_err(|error| failed(path, &error))
        }
        other => other.map_err(|error| failed(path, &error)),
    }
}

/// SQLite follows symbolic links by their text. One of /proc/PID/root leads the kernel into another mount
/// namespace, and its text, `/`, leads SQLite to this one's file of the same name.
fn is_reachable(at: &Path) -> Result<(), StoreError> {
    let identity = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let resolved = fs::canonicalize(at).and_then(|resolved| identity(&resolved));
    match (identity(at), resolved) {
        (Ok(there), Ok(resolved)) if there == resolved => Ok(()),
        (Err(error), _) => Err(error).context("open", at),
        _ => Err(StoreError::Database {
            call: "open",
            path: at.to_path_buf(),
            reason: "it lies in another mount namespace; run this in there (nsenter --mount)"
                .to_owned(),
            full: false,
        }),
    }
}

pub(super) fn networks(
    survey: &Survey,
    path: &Path,
    networks: &mut Vec<NetworkState>,
    unseen: &mut Vec<Unseen>,
) {
    let at = survey.at(path);
    match read_header(&at).context("open", &at) {
        Ok(Header::Ours(schema)) if schema <= VERSION => {}
        // Its health says what it is.
        Ok(_) => return,
        Err(error) => {
            unseen.push(Unseen { place: Place::Database(path.to_path_buf()), error });
            return;
        }
    }
    match reading(survey, path, |connection| read_networks(connection, path)) {
        Ok(found) => networks.extend(found),
        Err(error) => unseen.push(Unseen { place: Place::Database(path.to_path_buf()), error }),
    }
}

/// The calls that were counted beside a database.
pub(super) fn calls(survey: &Survey, path: &Path) -> Vec<Calls> {
    read_calls(&database(survey, path, Duration::ZERO).calls_dir())
}

/// What this boot knows of etcd.
pub(super) fn contact(
    survey: &Survey,
    path: &Path,
) -> Result<Option<(BootState, Backlog)>, StoreError> {
    let at = survey.at(path);
    match read_header(&at).context("open", &at)? {
        Header::Ours(schema) if (2..=VERSION).contains(&schema) => {}
        _ => return Ok(None),
    }
    let read = reading(survey, path, |connection| {
        let (boot, ..) = meta(connection)?;
        let text: Option<String> =
            connection.query_row("SELECT pool FROM meta", [], |row| row.get(0))?;
        let backlog = connection.query_row(
            "SELECT count(*), coalesce(min(since), 0) FROM outbox",
            [],
            |row| {
                let number = |value: i64| u64::try_from(value).unwrap_or_default();
                Ok(Backlog { count: number(row.get(0)?), oldest: number(row.get(1)?) })
            },
        )?;
        Ok((boot == boot_id(), text, backlog))
    });
    let (ours, text, backlog) = read?;
    let known = text.filter(|_| ours).and_then(|text| serde_json::from_str(&text).ok());
    Ok(known.map(|known| (known, backlog)))
}

/// The schema of a database that is only read, and so is as an older version may have left it.
fn schema(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn read_networks(connection: &Connection, path: &Path) -> rusqlite::Result<Vec<NetworkState>> {
    let (boot, ..) = meta(connection)?;
    let ours = boot == boot_id();
    let mut statement = connection.prepare(
        "SELECT id, instance, name, pin, cooldown, layout FROM network ORDER BY name, instance",
    )?;
    let mut rows = statement.query([])?;
    let mut networks = Vec::new();
    while let Some(row) = rows.next()? {
        networks.push(read_network(connection, path, ours, row)?);
    }
    Ok(networks)
}

fn read_network(
    connection: &Connection,
    path: &Path,
    this_boot: bool,
    row: &Row<'_>,
) -> rusqlite::Result<NetworkState> {
    let id: i64 = row.get(0)?;
    let instance: String = row.get(1)?;
    let layout: Option<String> = row.get(5)?;
    let rows = Rows { connection, network: id };
    let allocations = read_allocations(connection, id)?;
    let resting = rows.resting()?;
    let faults = extent_faults(connection, id, &allocations, &resting)?;
    let cooldown = duration(row.get(4)?);
    let now = Moment::now().boot;
    let mut cooling: Vec<Cooling> = resting
        .into_iter()
        .filter(|_| this_boot)
        .filter_map(|(addr, freed)| {
            let remaining = freed.saturating_add(cooldown).checked_sub(now)?;
            (!remaining.is_zero()).then_some(Cooling { addr, remaining })
        })
        .collect();
    cooling.sort_by_key(|cooling| cooling.addr);
    let mut marks = connection
        .prepare("SELECT range_set, addr FROM mark WHERE network = ?1 ORDER BY range_set")?;
    let marks = marks
        .query_map([id], |row| {
            let set: i64 = row.get(0)?;
            Ok((usize::try_from(set).unwrap_or(usize::MAX), row.get::<_, Key>(1)?.0))
        })?
        .collect::<Result<_, _>>()?;
    Ok(NetworkState {
        network: row.get(2)?,
        instance: Instance::new(instance).ok(),
        place: Place::Database(path.to_path_buf()),
        layout: layout.and_then(|text| Layout::parse(&serde_json::from_str(&text).ok()?)),
        marks,
        pin: row.get(3)?,
        allocations,
        cooling,
        shared: false,
        faults,
    })
}

fn read_allocations(connection: &Connection, network: i64) -> rusqlite::Result<Vec<Allocation>> {
    let cni_network = if schema(connection)? < 2 { "NULL" } else { "cni_network" };
    let mut statement = connection.prepare(&format!(
        "SELECT addr, container, ifname, range_set, pod_namespace, pod_name, pod_uid, since, \
         {cni_network} FROM allocation WHERE network = ?1 ORDER BY addr",
    ))?;
    statement
        .query_map([network], |row| {
            let set: Option<i64> = row.get(3)?;
            let since: Option<i64> = row.get(7)?;
            Ok(Allocation {
                addr: row.get::<_, Key>(0)?.0,
                holder: holder(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?),
                set: set.and_then(|set| usize::try_from(set).ok()),
                owner: Owner { namespace: row.get(4)?, name: row.get(5)?, uid: row.get(6)? },
                since: since.and_then(|since| u64::try_from(since).ok()),
                cni_network: row
                    .get::<_, Option<String>>(8)?
                    .and_then(|name| Network::new(name).ok()),
            })
        })?
        .collect()
}

/// The addresses of a pool that are known to be another node's.
fn read_occupied(connection: &Connection, network: i64) -> rusqlite::Result<Vec<Addr>> {
    if schema(connection)? < 2 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT addr FROM occupied WHERE network = ?1")?;
    statement.query_map([network], |row| row.get::<_, Key>(0).map(|key| key.0))?.collect()
}

/// Free space, allocations, resting addresses and those of others are each family's whole space, each address
/// once.
fn extent_faults(
    connection: &Connection,
    network: i64,
    allocations: &[Allocation],
    resting: &[(Addr, Duration)],
) -> rusqlite::Result<Vec<Fault>> {
    let mut statement =
        connection.prepare("SELECT first, last FROM free_extent WHERE network = ?1")?;
    let mut parts: Vec<(Addr, Addr)> = statement
        .query_map([network], |row| Ok((row.get::<_, Key>(0)?.0, row.get::<_, Key>(1)?.0)))?
        .collect::<Result<_, _>>()?;
    parts.extend(allocations.iter().map(|allocation| (allocation.addr, allocation.addr)));
    parts.extend(resting.iter().map(|(addr, _)| (*addr, *addr)));
    parts.extend(read_occupied(connection, network)?.into_iter().map(|addr| (addr, addr)));
    parts.sort_unstable();
    Ok([Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| first_gap(family, &parts))
        .map(|addr| Fault {
            kind: FaultKind::Extents,
            what: format!("free space and allocations contradict each other at {addr}"),
            addr: Some(addr),
        })
        .collect())
}

/// Where the sorted parts of a family leave something out, or overlap.
fn first_gap(family: Family, parts: &[(Addr, Addr)]) -> Option<Addr> {
    let whole = family.whole();
    let mut next = Some(whole.first());
    for (first, last) in parts.iter().filter(|(first, _)| first.family() == family) {
        if next != Some(*first) || Interval::new(*first, *last).is_none() {
            return Some(*first);
        }
        next = last.next();
    }
    next
}

pub(super) fn health(survey: &Survey, path: &Path, closely: bool) -> Health {
    let at = survey.at(path);
    let database = database(survey, path, Duration::ZERO);
    match read_header(&at) {
        Ok(Header::Missing) if database.is_missed() => return Health::Lost,
        // What cannot be read is said where its networks are asked for.
        Ok(Header::Missing) | Err(_) => return Health::Absent,
        Ok(_) if is_reachable(&at).is_err() => return Health::Absent,
        Ok(Header::Foreign) => return Health::Foreign,
        Ok(Header::Garbage) if database.has_marker() => {
            return Health::Corrupt("it is no database".to_owned());
        }
        Ok(Header::Garbage) => return Health::Foreign,
        Ok(Header::Ours(schema)) if schema > VERSION => return Health::Newer(schema, VERSION),
        Ok(Header::Ours(_)) => {}
    }
    let look = |connection: &Connection| -> rusqlite::Result<Health> {
        let (boot, inode, _) = meta(connection)?;
        if boot != database.boot {
            return Ok(Health::FormerBoot);
        }
        if fs::metadata(&at).is_ok_and(|meta| signed(meta.ino()) != inode) {
            return Ok(Health::Restored);
        }
        let pragma = if closely { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
        let said: String = connection.query_row(pragma, [], |row| row.get(0))?;
        Ok(if said == "ok" { Health::Fine } else { Health::Corrupt(said) })
    };
    match reading(survey, path, look) {
        Ok(health) => health,
        Err(StoreError::Database { reason, .. }) => Health::Corrupt(reason),
        Err(error) => Health::Corrupt(error.to_string()),
    }
}

pub(super) fn history(
    survey: &Survey,
    path: &Path,
    addr: Addr,
) -> Result<Vec<(NetworkState, Past)>, StoreError> {
    if !matches!(read_header(&survey.at(path)), Ok(Header::Ours(schema)) if schema <= VERSION) {
        return Ok(Vec::new());
    }
    reading(survey, path, |connection| {
        let mut statement = connection.prepare(
            "SELECT n.instance, n.name, h.container, h.ifname, h.pod_namespace, h.pod_name, \
             h.pod_uid, h.since, h.until, h.ended FROM history h JOIN network n ON n.id = h.network \
             WHERE h.addr = ?1 ORDER BY h.id",
        )?;
        statement
            .query_map([Key(addr)], |row| {
                let instance: String = row.get(0)?;
                let (since, until): (Option<i64>, i64) = (row.get(7)?, row.get(8)?);
                let network = NetworkState {
                    network: row.get(1)?,
                    instance: Instance::new(instance).ok(),
                    ..NetworkState::empty(Place::Database(path.to_path_buf()))
                };
                let past = Past {
                    addr,
                    holder: holder(row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?),
                    owner: Owner { namespace: row.get(4)?, name: row.get(5)?, uid: row.get(6)? },
                    since: since.and_then(|since| u64::try_from(since).ok()),
                    until: u64::try_from(until).unwrap_or_default(),
                    ended: match row.get::<_, i64>(9)? {
                        0 => Ended::Released,
                        2 => Ended::Reboot,
                        _ => Ended::Collected,
                    },
                };
                Ok((network, past))
            })?
            .collect()
    })
}

pub(super) fn free(
    survey: &Survey,
    path: &Path,
    network: &NetworkState,
    allocations: &[Allocation],
    lock_timeout: Duration,
) -> Result<Vec<Addr>, StoreError> {
    let Some(instance) = &network.instance else { return Ok(Vec::new()) };
    writable(survey, path, lock_timeout)?.write(|connection, now| {
        let Some(row) = find_network(connection, instance.as_str(), &network.network)? else {
            return Ok(Vec::new());
        };
        let rows = Rows { connection, network: row.id };
        let mut freed = Vec::new();
        for seen in allocations {
            if !rows.is_still(seen.addr, &seen.holder, seen.since)? {
                continue;
            }
            if instance.as_str() == POOLS {
                note_freed(rows, &row, seen.addr, now)?;
            }
            rows.end(seen.addr, Ended::Collected, !row.cooldown.is_zero(), now)?;
            freed.push(seen.addr);
        }
        if !freed.is_empty() && !row.cooldown.is_zero() {
            connection.execute("UPDATE network SET resting = 1 WHERE id = ?1", [row.id])?;
        }
        rows.settle()?;
        Ok(freed)
    })
}

pub(super) fn set_pin(
    survey: &Survey,
    path: &Path,
    network: &NetworkState,
    pin: u32,
    lock_timeout: Duration,
) -> Result<(), StoreError> {
    let Some(instance) = &network.instance else { return Ok(()) };
    writable(survey, path, lock_timeout)?.write(|connection, _| {
        connection
            .execute(
                "UPDATE network SET pin = ?3 WHERE instance = ?1 AND name = ?2",
                (instance.as_str(), &network.network, pin),
            )
            .map(|_| ())
    })
}

/// Rebuilds the free space of a network from its allocations and resting addresses.
pub(super) fn mend_extents(
    survey: &Survey,
    path: &Path,
    network: &NetworkState,
    lock_timeout: Duration,
) -> Result<(), StoreError> {
    let Some(instance) = &network.instance else { return Ok(()) };
    writable(survey, path, lock_timeout)?.write(|connection, _| {
        match find_network(connection, instance.as_str(), &network.network)? {
            Some(row) => Rows { connection, network: row.id }.mend_extents(),
            None => Ok(()),
        }
    })
}

/// An address that another holder has.
struct Conflict {
    addr: Addr,
    holder: Holder,
}

/// Writes a network's state into its rows.
fn write_network(
    connection: &Connection,
    network: &NetworkState,
    boot: &str,
) -> rusqlite::Result<Result<usize, Conflict>> {
    let Some(instance) = &network.instance else { return Ok(Ok(0)) };
    let row = match find_network(connection, instance.as_str(), &network.network)? {
        Some(row) => row,
        None => make_network(connection, instance.as_str(), &network.network)?,
    };
    let rows = Rows { connection, network: row.id };
    let mut count = 0;
    for new in &network.allocations {
        match rows.holder_of(new.addr)? {
            Some(holder) if holder == new.holder => continue,
            Some(holder) => return Ok(Err(Conflict { addr: new.addr, holder })),
            None => {}
        }
        rows.wake(new.addr)?;
        if !rows.take(new.addr)? {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        rows.insert(&New {
            addr: new.addr,
            holder: &new.holder,
            set: new.set,
            cni_network: new.cni_network.as_ref().map(Network::as_str),
            owner: &new.owner,
            since: new.since,
            boot,
        })?;
        count += 1;
    }
    for (set, addr) in &network.marks {
        if rows.mark(*set)?.is_none() {
            rows.set_mark(*set, *addr)?;
        }
    }
    if row.pin.is_none() && network.pin.is_some() {
        connection.execute("UPDATE network SET pin = ?2 WHERE id = ?1", (row.id, network.pin))?;
    }
    if row.digest.is_none()
        && let Some(layout) = &network.layout
    {
        connection.execute(
            "UPDATE network SET layout = ?2 WHERE id = ?1",
            (row.id, layout.to_json().to_string()),
        )?;
    }
    Ok(Ok(count))
}

/// The same for several; the first conflict undoes all of it.
fn write_networks(
    connection: &Connection,
    networks: &[NetworkState],
    boot: &str,
) -> rusqlite::Result<Result<usize, Conflict>> {
    let mut count = 0;
    for network in networks {
        match write_network(connection, network, boot)? {
            Ok(written) => count += written,
            Err(conflict) => return Ok(Err(conflict)),
        }
    }
    Ok(Ok(count))
}

/// Remembers the database for the networks that would not look into it by default, as an ADD does.
fn remember(survey: &Survey, path: &Path, networks: &[NetworkState]) -> Result<(), StoreError> {
    let durable = survey.at(&survey.state.durable);
    let default = survey.state.volatile.join(DEFAULT_DATABASE);
    for network in networks {
        let by_default = path == default
            && network.instance.as_ref().is_some_and(|instance| instance.plugin() == "node-local");
        if !by_default && let Ok(name) = Network::new(network.network.as_str()) {
            let place = Remembered::Database(path.to_path_buf());
            Places::new(&durable, &name).remember(&place)?;
        }
    }
    Ok(())
}

fn settled(path: &Path, outcome: Result<usize, Conflict>) -> Result<usize, StoreError> {
    outcome.map_err(|Conflict { addr, holder }| StoreError::Held {
        addr,
        holder: match holder {
            Holder::Attachment(attachment) => attachment.to_string(),
            Holder::Container(container) => container.to_string(),
            Holder::Unknown => "somebody unknown".to_owned(),
        },
        path: path.to_path_buf(),
    })
}

pub(super) fn write(
    survey: &Survey,
    path: &Path,
    networks: &[NetworkState],
    lock_timeout: Duration,
) -> Result<usize, StoreError> {
    let database = writable(survey, path, lock_timeout)?;
    remember(survey, path, networks)?;
    let outcome =
        database.add(|connection| write_networks(connection, networks, &database.boot))?;
    settled(path, outcome)
}

pub(super) fn rebuild(
    survey: &Survey,
    path: &Path,
    networks: &[NetworkState],
    lock_timeout: Duration,
) -> Result<Option<PathBuf>, StoreError> {
    let database = writable(survey, path, lock_timeout)?;
    remember(survey, path, networks)?;
    let (outcome, aside) =
        database.replace(|connection| write_networks(connection, networks, &database.boot))?;
    settled(path, outcome).map(|_| aside)
}
