/*!
One database file: locked, opened, looked at before it is trusted.

Every call takes the lock beside the database first, so that waiters sleep in the kernel's queue instead of
polling in SQLite. The file's header is read before SQLite sees it: a file of another program is left
alone, one of a later version is refused, one that is broken is set aside under another name. Nothing is
ever deleted.
*/

mod aside;
mod connection;
mod header;
mod make;
mod session;
mod spare;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::calls::{self, Command, Outcome};
use super::marker::Marker;
use super::rows::Rows;
use super::schema::{VERSION, signed};
use crate::boot::{Boot, Moment, boot_id};
use crate::error::{Context, StoreError};
use crate::files::{make_dir, state_file};
use crate::lock::Lock;
use crate::{StateDirs, network_fs};

use connection::{Meta, begin};
use session::identity;

pub(crate) use connection::{connect, is_corrupt, meta, reason};
pub(crate) use header::{Header, read_header};
pub(super) use session::{Parked, Session};

/// How often a call starts anew when the state directory is removed and made again under it.
const ATTEMPTS: usize = 5;

/// What tells the time.
pub type Clock = fn() -> Moment;

/// A database file of this node.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) path: PathBuf,
    /// The path that its node knows it by, where another root is looked at.
    name: PathBuf,
    pub(crate) state: StateDirs,
    pub(crate) lock_timeout: Duration,
    /// The kernel's boot ID.
    pub(crate) boot: String,
    pub(crate) clock: Clock,
}

/// What a locked file turned out to be.
enum Looked {
    Session(Box<Session>),
    /// There is none, and none is missed.
    Nothing,
    /// The lock was of a file that is not there any more.
    Again,
}

impl Database {
    /// A database file, `lock_timeout` for how long other calls are waited for. Nothing is opened yet.
    pub fn new(path: PathBuf, state: StateDirs, lock_timeout: Duration) -> Self {
        let name = path.clone();
        Self { path, name, state, lock_timeout, boot: boot_id(), clock: Moment::now }
    }

    /// The same, known to its node by another path: what its markers name.
    #[must_use]
    pub(crate) fn known_as(self, path: &Path) -> Self {
        Self { name: path.to_path_buf(), ..self }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    }

    /// Opens the database for an ADD, and makes it where none is missed.
    pub(super) fn open_or_make(&self) -> Result<Session, StoreError> {
        self.reopen_or_make(&mut None)
    }

    /// The same with the connection of this process's last transaction.
    pub(super) fn reopen_or_make(
        &self,
        parked: &mut Option<Parked>,
    ) -> Result<Session, StoreError> {
        for _ in 0..ATTEMPTS {
            match self.look(true, parked)? {
                Looked::Session(session) => return Ok(*session),
                Looked::Nothing | Looked::Again => {}
            }
        }
        Err(StoreError::Unstable { path: self.path.clone() })
    }

    /// Opens the database if it is there and of this boot. Makes nothing.
    pub(super) fn open(&self) -> Result<Option<Session>, StoreError> {
        self.reopen(&mut None)
    }

    /// The same with the connection of this process's last transaction.
    pub(super) fn reopen(
        &self,
        parked: &mut Option<Parked>,
    ) -> Result<Option<Session>, StoreError> {
        for _ in 0..ATTEMPTS {
            match fs::symlink_metadata(&self.path) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::InvalidFilename
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error).context("stat", &self.path),
                Ok(_) => {}
            }
            match self.look(false, parked)? {
                Looked::Session(session) => return Ok(Some(*session)),
                Looked::Nothing => return Ok(None),
                Looked::Again => {}
            }
        }
        Err(StoreError::Unstable { path: self.path.clone() })
    }

    /// Takes the lock and opens what is there.
    fn look(&self, make: bool, parked: &mut Option<Parked>) -> Result<Looked, StoreError> {
        let Some(lock) = self.lock(make)? else { return Ok(Looked::Again) };
        match read_header(&self.path).context("open", &self.path)? {
            Header::Missing => {
                if !make {
                    return Ok(Looked::Nothing);
                }
                self.make()?;
            }
            Header::Ours(schema) if schema > VERSION => {
                return Err(StoreError::Newer { path: self.path.clone(), schema, known: VERSION });
            }
            Header::Ours(_) => {}
            Header::Foreign => return Err(StoreError::NotOurs { path: self.path.clone() }),
            Header::Garbage => return self.broken(make, "it is no database", lock),
        }
        match self.connect(make, parked) {
            Ok((connection, meta)) => self.enter(make, connection, meta, lock),
            Err(error) if is_corrupt(&error) => self.broken(make, &reason(&error), lock),
            Err(error) => Err(self.failed("open", error)),
        }
    }

    fn enter(
        &self,
        make: bool,
        connection: Connection,
        meta: Meta,
        lock: Lock,
    ) -> Result<Looked, StoreError> {
        let file = identity(&fs::metadata(&self.path).context("stat", &self.path)?);
        let now = signed(file.1);
        if meta.boot != self.boot {
            if !make {
                return Ok(Looked::Nothing);
            }
            match self.begin_boot(&connection, now) {
                Ok(()) => {}
                Err(error) if is_corrupt(&error) => {
                    drop(connection);
                    return self.broken(make, &reason(&error), lock);
                }
                Err(error) => return Err(self.failed("write", error)),
            }
            return Ok(Looked::Session(Box::new(Session {
                connection,
                marked: false,
                restored: false,
                pool: None,
                file,
                _lock: lock,
            })));
        }
        let restored = meta.inode != now;
        if restored && make {
            return Err(StoreError::Restored { path: self.path.clone() });
        }
        let Meta { marked, pool, .. } = meta;
        let session = Session { connection, marked, restored, pool, file, _lock: lock };
        Ok(Looked::Session(Box::new(session)))
    }

    /// Takes the lock beside the database; `None` if it was removed while this call waited for it.
    fn lock(&self, make: bool) -> Result<Option<Lock>, StoreError> {
        let path = self.beside("-lock");
        let open = || state_file().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match open() {
            Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                let dir = self.path.parent().unwrap_or_else(|| Path::new("/"));
                make_dir(dir).context("mkdir", dir)?;
                open()
            }
            // What cannot be written can be read.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            other => other,
        };
        let file = file.context("open", &path)?;
        if let Some(kind) = network_fs(&file) {
            return Err(StoreError::NetworkFs { path: self.path.clone(), kind });
        }
        let ours = file.metadata().context("stat", &path)?;
        let lock = Lock::exclusive(file, &path, self.lock_timeout)?;
        let there = fs::metadata(&path).ok();
        Ok(there.filter(|there| identity(there) == identity(&ours)).map(|_| lock))
    }

    /// Where calls are counted.
    pub(crate) fn calls_dir(&self) -> PathBuf {
        self.beside("-calls")
    }

    /// Counts a call of a network, by its instance and name; the caller holds the lock.
    pub(super) fn count(&self, of: (&str, &str), what: (Command, Outcome), begun: Instant) {
        calls::count(&self.calls_dir(), of, what, begun);
    }

    /// Whether a database that is not there was there in this boot.
    pub(crate) fn is_missed(&self) -> bool {
        Marker::read(&self.state.durable, &self.name)
            .is_some_and(|marker| marker.misses(&Boot::current()))
    }

    /// Whether it was ever written to by Plat.
    pub(crate) fn has_marker(&self) -> bool {
        Marker::read(&self.state.durable, &self.name).is_some()
    }

    /// Takes the lock, and rolls back what a killed call has left.
    pub(crate) fn recover(&self) -> Result<(), StoreError> {
        let Some(_lock) = self.lock(false)? else { return Ok(()) };
        let recover = || connect(&self.path, false).and_then(|connection| meta(&connection));
        recover().map(|_| ()).map_err(|error| StoreError::Database {
            call: "read",
            path: self.path.clone(),
            reason: reason(&error),
            full: false,
        })
    }

    /// Runs one transaction, if there is a database of this boot.
    pub(crate) fn write<T: Default>(
        &self,
        work: impl FnOnce(&Connection, Moment) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let Some(mut session) = self.open()? else { return Ok(T::default()) };
        let now = (self.clock)();
        let run = || -> rusqlite::Result<T> {
            let done = work(&session.connection, now)?;
            session.commit()?;
            Ok(done)
        };
        run().map_err(|error| self.failed("write", error))
    }

    /// Runs one transaction in a database that is made if need be; an inner error undoes it.
    pub(crate) fn add<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<Result<T, E>, StoreError> {
        let mut session = self.open_or_make()?;
        self.mark(&mut session)?;
        let run = |session: &mut Session| -> rusqlite::Result<Result<T, E>> {
            let done = work(&session.connection)?;
            if done.is_ok() {
                session.commit()?;
            }
            Ok(done)
        };
        run(&mut session).map_err(|error| self.failed("write", error))
    }

    fn connect(
        &self,
        make: bool,
        parked: &mut Option<Parked>,
    ) -> rusqlite::Result<(Connection, Meta)> {
        // Of what is wrong with the file another connection tells as well.
        if let Some(connection) = parked.take().and_then(|parked| parked.at(&self.path))
            && let Ok(meta) = begin(&connection, make)
        {
            return Ok((connection, meta));
        }
        let connection = connect(&self.path, false)?;
        let meta = begin(&connection, make)?;
        Ok((connection, meta))
    }

    /// Drops what a former boot has left: its containers are gone.
    fn begin_boot(&self, connection: &Connection, inode: i64) -> rusqlite::Result<()> {
        let now = (self.clock)();
        let networks: Vec<i64> = connection
            .prepare("SELECT id FROM network")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for network in networks {
            Rows { connection, network }.end_former_boot(now)?;
        }
        connection
            .execute(
                "UPDATE meta SET boot = ?1, inode = ?2, marked = 0, pool = NULL",
                (&self.boot, inode),
            )
            .map(|_| ())
    }

    /// Opens the database for a question about what is held: one that is missed or was put back cannot answer.
    pub(super) fn open_sound(&self) -> Result<Option<Session>, StoreError> {
        self.reopen_sound(&mut None)
    }

    /// The same with the connection of this process's last transaction.
    pub(super) fn reopen_sound(
        &self,
        parked: &mut Option<Parked>,
    ) -> Result<Option<Session>, StoreError> {
        match self.reopen(parked)? {
            Some(session) if session.restored => {
                Err(StoreError::Restored { path: self.path.clone() })
            }
            None if self.is_missed() => Err(StoreError::Lost { path: self.path.clone() }),
            other => Ok(other),
        }
    }

    /// Writes the durable marker.
    pub(super) fn write_marker(&self) -> Result<(), StoreError> {
        Marker::write(&self.state.durable, &self.name, &Boot::current())
    }

    /// Writes the durable marker, if it is not written yet: before the first reservation of a boot.
    pub(super) fn mark(&self, session: &mut Session) -> Result<(), StoreError> {
        if session.marked {
            return Ok(());
        }
        self.write_marker()?;
        session
            .connection
            .execute("UPDATE meta SET marked = 1", [])
            .map_err(|error| self.failed("write", error))?;
        session.marked = true;
        Ok(())
    }
}
