/*!
A database of this node and boot, for all its networks.

SQLite, one connection for each call: open, one transaction, close; where a call has several, the lock is let go in
between and the connection is kept (`database::Parked`). What it costs does not depend on how much
is held: the next free address is two or three seeks in a B-tree of free extents, an attachment's
addresses are one in an index. `database` has what surrounds the file, `schema` the tables, `rows` the
statements, `seen` the decision; `pool` is the same for a node's part of cluster-wide pools.

Rows belong to an IPAM instance, so that two IPAMs that serve one attachment never see each other's.
*/

mod calls;
mod database;
mod import;
pub(crate) mod marker;
mod pool;
mod rows;
mod schema;
mod seen;
mod sticky;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipam_core::addr::Addr;
use ipam_core::allocator::{Choice, Refusal, Request, Resting, Undecided, first_exhausted};
use ipam_core::identity::{Attachment, Holder, Instance, Network};
use ipam_core::layout::Layout;
use ipam_core::range::RangeSet;
use ipam_core::store::{Record, ReserveError, Store, Valid, theirs};
use rusqlite::Connection;

use crate::boot::Moment;
use crate::dir::DirStore;
use crate::error::StoreError;
use crate::files::check_writable;
use crate::places::{Places, Remembered};
use crate::survey::Ended;

pub(crate) use calls::read as read_calls;
pub use calls::{Calls, Command, Outcome};
pub use database::{Clock, Database};
pub(crate) use database::{Header, connect, is_corrupt, meta, read_header, reason};
pub(crate) use pool::{INSTANCE as POOLS, note_freed};
pub use pool::{PoolLedger, PoolTx};
pub(crate) use rows::{New, Rows, duration, find_network, holder, make_network};
pub(crate) use schema::{Key, VERSION, signed};

use database::Session;
use import::Importer;
use rows::NetworkRow;
use seen::{Seen, WAKES, decide, wake};
use sticky::Sticky;

/// Whose rows, and where they come from.
#[derive(Clone, Debug)]
pub struct SqliteLocation {
    /// The network.
    pub network: Network,
    /// The IPAM instance.
    pub instance: Instance,
    /// Whether the database is another one than the plugin looks into by default: then the network
    /// remembers it, for a DEL without configuration.
    pub elsewhere: bool,
    /// The dataDir that an ADD takes over where the network has a directory there, an absolute path.
    pub import: Option<PathBuf>,
}

/// The allocations of one network of one instance in a database.
#[derive(Debug)]
pub struct SqliteStore {
    database: Database,
    location: SqliteLocation,
    places: Places,
    warnings: Vec<String>,
    /// Whether an address that another instance of the plugin holds in the network is refused.
    guarded: bool,
}

/// Why a verb did not do what it should.
enum Failure {
    Sql(rusqlite::Error),
    Store(StoreError),
    Refused(Refusal),
    Unwanted,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl SqliteStore {
    /// The store of a network. Nothing is opened yet.
    pub fn new(database: Database, location: SqliteLocation) -> Self {
        let places = Places::new(&database.state.durable, &location.network);
        Self { database, location, places, warnings: Vec::new(), guarded: false }
    }

    /// The same, refusing to give an address that another instance of the plugin holds in the network. Instances do not
    /// see each other's rows; this is for those whose places in a chain may change while containers live.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        self.guarded = true;
        self
    }

    /// What was odd, a sentence each; emptied by the call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn importer<'a>(&'a self, covers: &'a dyn Fn(Addr) -> bool) -> Importer<'a> {
        Importer {
            database: &self.database,
            network: &self.location.network,
            instance: self.location.instance.as_str(),
            covers,
        }
    }

    fn network_dir(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(self.location.network.as_str())
    }

    fn remembered(&self) -> Remembered {
        Remembered::Database(self.database.path.clone())
    }

    fn row(&self, connection: &Connection) -> rusqlite::Result<Option<NetworkRow>> {
        let SqliteLocation { instance, network, .. } = &self.location;
        find_network(connection, instance.as_str(), network.as_str())
    }

    /// Counts a call; the caller holds the lock.
    fn count(&self, command: Command, outcome: Outcome, begun: Instant) {
        let SqliteLocation { instance, network, .. } = &self.location;
        self.database.count((instance.as_str(), network.as_str()), (command, outcome), begun);
    }

    fn sticky(&self) -> Sticky<'_> {
        Sticky {
            durable: &self.database.state.durable,
            instance: self.location.instance.as_str(),
            network: self.location.network.as_str(),
        }
    }

    /// How many addresses the network holds here.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn held(&mut self) -> Result<usize, StoreError> {
        let opened = self.database.open()?;
        Ok(self.ask(opened.as_ref(), |rows, _| rows.count())?.unwrap_or_default())
    }

    /// Takes over what the network's directory holds, if there is one and it has changed since: what the other
    /// store has given out meanwhile must not be given out here.
    fn import_new(&mut self, session: &mut Session, sets: &[RangeSet]) -> Result<(), Failure> {
        let covers = |addr: Addr| {
            let mut ranges = sets.iter().flat_map(RangeSet::ranges);
            ranges.any(|range| range.subnet().network().contains(addr))
        };
        let row = self.row(&session.connection)?;
        let mut warnings = Vec::new();
        if let Some(row) = row.as_ref().filter(|row| row.aside.is_some()) {
            self.importer(&covers).resume(session, row, &mut warnings)?;
        }
        // Nearly always there is none.
        if let Some(data_dir) = &self.location.import
            && let Some(changed) = last_change(&self.network_dir(data_dir))
            && row.and_then(|row| row.looked) != Some(changed)
        {
            self.importer(&covers).import(session, data_dir, &mut warnings)?;
            if let Some(looked) = last_change(&self.network_dir(data_dir)) {
                session.connection.execute(
                    "UPDATE network SET looked = ?3 WHERE instance = ?1 AND name = ?2",
                    (self.location.instance.as_str(), self.location.network.as_str(), looked),
                )?;
            }
        }
        self.warnings.extend(warnings);
        Ok(())
    }

    fn try_reserve(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
        begun: Instant,
    ) -> Result<Vec<Choice>, Failure> {
        self.import_new(session, request.sets)?;
        let pod = request.sticky();
        let sticky = pod.as_ref().map_or_else(Vec::new, |pod| {
            let remembered = self.sticky().read(pod);
            remembered.unwrap_or_else(|error| {
                self.warnings.push(format!("sticky addresses are not known: {}", reason(&error)));
                Vec::new()
            })
        });
        let now = (self.database.clock)();
        let connection = &session.connection;
        let row = match self.row(connection)? {
            Some(row) => row,
            None => make_network(
                connection,
                self.location.instance.as_str(),
                self.location.network.as_str(),
            )?,
        };
        let rows = Rows { connection, network: row.id };
        if let (Some(pinned), Some(now)) = (row.pin, request.pin)
            && pinned != now
            && !rows.is_empty()?
        {
            return Err(Failure::Refused(Refusal::Pinned { pinned, now }));
        }
        let mut seen = Seen::new(rows, now, request.policy.cooldown);
        seen.sticky = &sticky;
        let choices = match decide(&row, request, seen) {
            Ok(choices) => choices,
            Err(Undecided::Refused { refusal, passed }) => {
                if !passed.is_empty() {
                    for choice in &passed {
                        rows.set_mark(choice.set, choice.addr)?;
                    }
                    session.commit()?;
                }
                return Err(Failure::Refused(refusal));
            }
            Err(Undecided::View(error)) => return Err(error.into()),
        };
        if !wanted() {
            return Err(Failure::Unwanted);
        }
        if choices.iter().all(|choice| choice.held) {
            return Ok(choices);
        }
        if self.guarded {
            self.refuse_siblings(rows, &choices)?;
        }
        if self.location.elsewhere {
            self.places.remember(&self.remembered())?;
        }
        self.database.keep_spare()?;
        if !session.marked {
            self.database.write_marker()?;
            connection.execute("UPDATE meta SET marked = 1", [])?;
        }
        self.write(rows, &row, request, &choices, now)?;
        session.commit()?;
        self.count(Command::Add, Outcome::Done, begun);
        if let Some(pod) = pod
            && let Err(error) = self.sticky().write(&pod, &choices)
        {
            self.warnings.push(format!("the address is not remembered: {}", reason(&error)));
        }
        Ok(choices)
    }

    /// An IPAM that has changed its place in a chain must not give out what the one that was there before has given.
    fn refuse_siblings(&self, rows: Rows<'_>, choices: &[Choice]) -> Result<(), Failure> {
        let SqliteLocation { instance, network, .. } = &self.location;
        // Nearly always there are none.
        for (id, instance) in rows.siblings(instance, network.as_str())? {
            let theirs = Rows { connection: rows.connection, network: id };
            for choice in choices.iter().filter(|choice| !choice.held) {
                if let Some(holder) = theirs.holder_of(choice.addr)? {
                    return Err(Failure::Store(StoreError::OtherInstance {
                        addr: choice.addr,
                        holder: name_of(&holder),
                        instance,
                        path: self.database.path.clone(),
                    }));
                }
            }
        }
        Ok(())
    }

    /// Writes a decision down.
    fn write(
        &self,
        rows: Rows<'_>,
        row: &NetworkRow,
        request: &Request<'_>,
        choices: &[Choice],
        now: Moment,
    ) -> rusqlite::Result<()> {
        let holder = Holder::Attachment(request.attachment.clone());
        for choice in choices.iter().filter(|choice| !choice.held) {
            if row.resting {
                // A sticky address ends its own rest.
                rows.wake(choice.addr)?;
            }
            if !rows.take(choice.addr)? {
                // Free by the extents, but not theirs to give: they and the allocations contradict.
                return Err(rusqlite::Error::QueryReturnedNoRows);
            }
            rows.insert(&New {
                addr: choice.addr,
                holder: &holder,
                set: Some(choice.set),
                cni_network: None,
                owner: request.owner,
                since: Some(now.unix),
                boot: &self.database.boot,
            })?;
            rows.set_mark(choice.set, choice.addr)?;
        }
        let digest = signed(Layout::digest(request.sets, request.policy));
        let pin = request.pin.or(row.pin);
        if row.digest != Some(digest) {
            let layout = Layout { sets: request.sets.to_vec(), policy: request.policy };
            rows.set_layout(&layout, digest)?;
        }
        if row.pin != pin {
            rows.connection.execute("UPDATE network SET pin = ?2 WHERE id = ?1", (row.id, pin))?;
        }
        Ok(())
    }

    fn try_release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        let begun = Instant::now();
        let opened = match self.database.open() {
            // What was in it is gone or was never ours: nothing is left to free.
            Err(error @ (StoreError::Corrupt { .. } | StoreError::NotOurs { .. })) => {
                self.warnings.push(error.to_string());
                return Ok(Vec::new());
            }
            other => other?,
        };
        let Some(mut session) = opened else {
            if self.location.elsewhere {
                self.places.forget_if_gone(&self.remembered(), &self.database.path);
            }
            return Ok(Vec::new());
        };
        let freed = self.end(&mut session, Ended::Released, begun, &mut |rows| {
            Ok(theirs(&rows.held(attachment)?))
        });
        freed.map_err(|error| self.database.failed("write", error))
    }

    fn try_retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, StoreError> {
        let begun = Instant::now();
        let opened = self.database.open()?;
        if self.ask(opened.as_ref(), |_, _| Ok(()))?.is_none()
            && let Some(mut dir) = self.not_imported()
        {
            return dir.retain(valid);
        }
        let Some(mut session) = opened else { return Ok(Vec::new()) };
        let valid = Valid::new(valid);
        let freed = self.end(&mut session, Ended::Collected, begun, &mut |rows| {
            let records = rows.list()?.into_iter();
            let stale = records.filter(|record| !valid.keeps(&record.holder));
            Ok(stale.map(|record| record.addr).collect())
        });
        freed.map_err(|error| self.database.failed("write", error))
    }

    /// Asks the network's rows; `None` if it has none.
    fn ask<T>(
        &self,
        session: Option<&Session>,
        question: impl FnOnce(Rows<'_>, &NetworkRow) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let Some(session) = session else { return Ok(None) };
        let ask = || -> rusqlite::Result<Option<T>> {
            let Some(row) = self.row(&session.connection)? else { return Ok(None) };
            let rows = Rows { connection: &session.connection, network: row.id };
            question(rows, &row).map(Some)
        };
        ask().map_err(|error| self.database.failed("read", error))
    }

    /// The directory that the network's next ADD takes over, if there is one: until then, what is held is
    /// in there.
    fn not_imported(&self) -> Option<DirStore> {
        let data_dir = self.location.import.as_ref()?;
        self.network_dir(data_dir).exists().then(|| self.importer(&|_| true).store(data_dir))
    }

    /// Ends allocations, in a transaction of their own.
    fn end(
        &self,
        session: &mut Session,
        ended: Ended,
        begun: Instant,
        which: &mut dyn FnMut(Rows<'_>) -> rusqlite::Result<Vec<Addr>>,
    ) -> rusqlite::Result<Vec<Addr>> {
        let Some(row) = self.row(&session.connection)? else {
            self.places.forget(&self.remembered());
            return Ok(Vec::new());
        };
        let now = (self.database.clock)();
        let rows = Rows { connection: &session.connection, network: row.id };
        let stale = which(rows)?;
        let rests = !row.cooldown.is_zero();
        for addr in &stale {
            rows.end(*addr, ended, rests, now)?;
        }
        if !stale.is_empty() {
            if rests && !row.resting {
                rows.set_resting()?;
            }
            if row.pin.is_some() {
                rows.settle()?;
            }
        }
        let empty = self.location.elsewhere && rows.is_empty()?;
        if !stale.is_empty() {
            let command = if ended == Ended::Released { Command::Del } else { Command::Gc };
            session.commit()?;
            self.count(command, Outcome::Done, begun);
        }
        if empty {
            self.places.forget(&self.remembered());
        }
        Ok(stale)
    }
}

/// A holder, for people.
fn name_of(holder: &Holder) -> String {
    match holder {
        Holder::Attachment(attachment) => attachment.to_string(),
        Holder::Container(container) => container.to_string(),
        Holder::Unknown => "somebody unknown".to_owned(),
    }
}

/// When a directory was changed last, in nanoseconds; `None` if there is none.
fn last_change(dir: &Path) -> Option<i64> {
    // What is there and no directory is an error of the import.
    let meta = std::fs::metadata(dir).ok()?;
    meta.ctime().checked_mul(1_000_000_000)?.checked_add(meta.ctime_nsec())
}

impl Store for SqliteStore {
    type Error = StoreError;

    fn reserve(
        &mut self,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Choice>, ReserveError<StoreError>> {
        let begun = Instant::now();
        let mut session = self.database.open_or_make().map_err(ReserveError::Store)?;
        let reserved = self.try_reserve(&mut session, request, wanted, begun);
        match &reserved {
            Err(Failure::Refused(_)) => self.count(Command::Add, Outcome::Refused, begun),
            Err(Failure::Unwanted) => self.count(Command::Add, Outcome::Unwanted, begun),
            _ => {}
        }
        reserved.map_err(|failure| match failure {
            Failure::Refused(refusal) => ReserveError::Refused(refusal),
            Failure::Unwanted => ReserveError::Unwanted,
            Failure::Store(error) => ReserveError::Store(error),
            Failure::Sql(error) => ReserveError::Store(self.database.failed("write", error)),
        })
    }

    fn undo(&mut self, attachment: &Attachment, choices: &[Choice]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let Some(mut session) = self.database.open()? else { return Ok(()) };
        let undo = |session: &mut Session| -> rusqlite::Result<()> {
            let Some(row) = self.row(&session.connection)? else { return Ok(()) };
            let rows = Rows { connection: &session.connection, network: row.id };
            for choice in choices.iter().filter(|choice| !choice.held) {
                if rows.holder_of(choice.addr)?.is_some_and(|holder| holder.is(attachment)) {
                    rows.undo(choice.addr)?;
                }
            }
            rows.settle()?;
            session.commit()?;
            self.count(Command::Add, Outcome::Undone, begun);
            Ok(())
        };
        undo(&mut session).map_err(|error| self.database.failed("write", error))
    }

    fn release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        match self.try_release(attachment) {
            // What is freed now makes no room, but it must not leak.
            Err(StoreError::Database { full: true, .. }) if self.database.use_spare() => {
                self.try_release(attachment)
            }
            other => other,
        }
    }

    fn find(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        let opened = self.database.open_sound()?;
        let find = |rows: Rows<'_>, _: &NetworkRow| Ok(theirs(&rows.held(attachment)?));
        match self.ask(opened.as_ref(), find)? {
            Some(held) => Ok(held),
            None => self.not_imported().map_or(Ok(Vec::new()), |mut dir| dir.find(attachment)),
        }
    }

    fn list(&mut self) -> Result<Vec<Record>, StoreError> {
        let opened = self.database.open()?;
        match self.ask(opened.as_ref(), |rows, _| rows.list())? {
            Some(records) => Ok(records),
            None => self.not_imported().map_or(Ok(Vec::new()), |mut dir| dir.list()),
        }
    }

    fn retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, StoreError> {
        match self.try_retain(valid) {
            Err(StoreError::Database { full: true, .. }) if self.database.use_spare() => {
                self.try_retain(valid)
            }
            other => other,
        }
    }

    fn first_exhausted(
        &mut self,
        sets: &[RangeSet],
        cooldown: Duration,
    ) -> Result<Option<(usize, Option<Resting>)>, StoreError> {
        let opened = self.database.open_sound()?;
        check_writable(&self.database.path)?;
        let nothing_held = || {
            let empty = sets.iter().position(|set| set.search_order(None).is_empty());
            empty.map(|set| (set, None))
        };
        let now = (self.database.clock)();
        // Never committed: what an ADD would find.
        let look = |rows: Rows<'_>, row: &NetworkRow| {
            for _ in 0..WAKES {
                let more = wake(rows, row, cooldown, now)?;
                let mut seen = Seen::new(rows, now, cooldown);
                let exhausted = first_exhausted(sets, &mut seen)?;
                if exhausted.is_none() || !more {
                    return Ok(exhausted);
                }
            }
            Ok(None)
        };
        match self.ask(opened.as_ref(), look)? {
            Some(exhausted) => Ok(exhausted),
            None => match self.not_imported() {
                Some(mut dir) => dir.first_exhausted(sets, cooldown),
                None => Ok(nothing_held()),
            },
        }
    }

    fn pinned(&mut self) -> Result<Option<u32>, StoreError> {
        let opened = self.database.open()?;
        let pinned =
            |rows: Rows<'_>, row: &NetworkRow| Ok(if rows.is_empty()? { None } else { row.pin });
        match self.ask(opened.as_ref(), pinned)? {
            Some(pin) => Ok(pin),
            None => self.not_imported().map_or(Ok(None), |mut dir| dir.pinned()),
        }
    }
}
