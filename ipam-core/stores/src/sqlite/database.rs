/*!
One database file: locked, opened, looked at before it is trusted.

Every call takes the lock beside the database first, so that waiters sleep in the kernel's queue instead of
polling in SQLite. The file's header is read before SQLite sees it: a file of another program is left
alone, one of a later version is refused, one that is broken is set aside under another name. Nothing is
ever deleted.
*/

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::calls::{self, Command, Outcome};
use super::marker::Marker;
use super::rows::Rows;
use super::schema::{self, APPLICATION_ID, VERSION, signed};
use crate::boot::{Boot, Moment, boot_id};
use crate::error::{Context, StoreError};
use crate::files::{make_dir, open_regular, state_file};
use crate::lock::Lock;
use crate::{StateDirs, network_fs};

/// How often a call starts anew when the state directory is removed and made again under it.
const ATTEMPTS: usize = 5;

/// Space that is kept for a DEL on a full file system, in bytes: its journal and a few new pages.
const SPARE: u64 = 256 * 1024;

/// For how long SQLite waits for a program that reads without our lock.
const READERS: Duration = Duration::from_secs(5);

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

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// No file.
    Missing,
    /// Ours, with this schema.
    Ours(u32),
    /// A database of another program.
    Foreign,
    /// No database.
    Garbage,
}

/// An open, locked database of this boot, within a transaction that writes. What is not committed did not
/// happen: also when the connection is closed or the process killed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Whether the durable marker of this boot is written.
    pub(super) marked: bool,
    /// Whether the file is another one than the boot's: a copy.
    pub(super) restored: bool,
    /// What the node knows of etcd in this boot, as `ipam_pool` writes it; none yet: nothing.
    pub(super) pool: Option<String>,
    file: Identity,
    _lock: Lock,
}

/// Device and inode.
type Identity = (u64, u64);

/// A connection that this process keeps from one transaction to its next, without any lock. Whoever takes it up
/// again takes the lock, looks at the file as ever, and reads anew what it has found in there: all that is
/// saved is to open the file and to parse its tables.
#[derive(Debug)]
pub(super) struct Parked {
    connection: Connection,
    /// The file that it has open. As long as it does, no other one has this inode.
    file: Identity,
}

impl Parked {
    /// The connection, if its file is the one that is at this path.
    fn at(self, path: &Path) -> Option<Connection> {
        let there = fs::metadata(path).ok()?;
        (identity(&there) == self.file).then_some(self.connection)
    }
}

impl Session {
    /// Ends the transaction; what follows is another one.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("COMMIT")
    }

    /// Lets the lock go and keeps the connection; what is not committed did not happen.
    pub(super) fn park(self) -> Option<Parked> {
        // Of a copy nothing is kept. SQLite gives its own locks up with the transaction.
        let quiet =
            self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        (quiet && !self.restored).then_some(Parked { connection: self.connection, file: self.file })
    }

    /// Begins the next transaction.
    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }
}

/// The row of the whole database.
struct Meta {
    boot: String,
    inode: i64,
    marked: bool,
    pool: Option<String>,
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

    /// Makes an empty database, whole or not at all, unless one is missed.
    fn make(&self) -> Result<(), StoreError> {
        if self.is_missed() {
            return Err(StoreError::Lost { path: self.path.clone() });
        }
        let new = self.make_new()?;
        // The journal of a database that is gone would be rolled back into the new one.
        remove_if_there(&self.beside("-journal"))?;
        fs::rename(&new, &self.path).context("rename", &self.path)
    }

    /// An empty database of this boot under a temporary name.
    pub(super) fn make_new(&self) -> Result<PathBuf, StoreError> {
        let new = self.beside(".new");
        remove_if_there(&new)?;
        remove_if_there(&self.beside(".new-journal"))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let inode = file.and_then(|file| file.metadata()).context("open", &new)?.ino();
        let create = || schema::create(&connect(&new, false)?, &self.boot, inode);
        create().map_err(|error| self.failed("make", error))?;
        Ok(new)
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

    /// Keeps space for later DELs: an ADD that cannot must not take what is left.
    pub(super) fn keep_spare(&self) -> Result<(), StoreError> {
        let path = self.beside("-spare");
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == SPARE) {
            return Ok(());
        }
        let make = || -> io::Result<()> {
            let file = state_file().write(true).create(true).truncate(true).open(&path)?;
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SPARE) {
                // Where space cannot be reserved, it is used.
                Err(Errno::OPNOTSUPP) => {
                    io::copy(&mut io::repeat(0).take(SPARE), &mut &file).map(|_| ())
                }
                other => Ok(other?),
            }
        };
        make().or_else(|error| {
            let _ = fs::remove_file(&path);
            Err(error).context("write", &path)
        })
    }

    /// Gives up the kept space, so that something can be freed; false if there was none.
    pub(super) fn use_spare(&self) -> bool {
        fs::remove_file(self.beside("-spare")).is_ok()
    }

    /// Gives the kept space up where there is hardly any other: what is freed then makes no room at once, but
    /// must not leak.
    pub(super) fn make_room(&self) {
        let dir = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let free = rustix::fs::statvfs(dir).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if free.is_ok_and(|free| free < SPARE) {
            self.use_spare();
        }
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

    /// Makes a new database and fills it, then puts it in the place of the old one, which is set aside; an
    /// inner error leaves everything as it was. Tells where the old one is.
    pub(crate) fn replace<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<(Result<T, E>, Option<PathBuf>), StoreError> {
        let lock = self.lock(true)?;
        let Some(_lock) = lock else {
            return Err(StoreError::Unstable { path: self.path.clone() });
        };
        let new = self.make_new()?;
        let fill = || -> rusqlite::Result<Result<T, E>> {
            let connection = connect(&new, false)?;
            connection.execute_batch("BEGIN; UPDATE meta SET marked = 1")?;
            let done = work(&connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(done)
        };
        let filled = fill().map_err(|error| StoreError::Database {
            call: "make",
            path: self.path.clone(),
            reason: reason(&error),
            full: matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull)),
        })?;
        if filled.is_err() {
            remove_if_there(&new)?;
            return Ok((filled, None));
        }
        self.write_marker()?;
        let aside = if self.path.exists() { Some(self.set_aside("replaced")?) } else { None };
        remove_if_there(&self.beside("-journal"))?;
        fs::rename(&new, &self.path).context("rename", &self.path)?;
        remove_if_there(&self.beside(".new-journal"))?;
        Ok((filled, aside))
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

    /// A file in our place that is no database, or a broken one. If it was ours in this boot, or may have been,
    /// it is put under another name, and missed from then on.
    fn broken(&self, make: bool, reason: &str, lock: Lock) -> Result<Looked, StoreError> {
        let marker = Marker::read(&self.state.durable, &self.name);
        let Some(marker) = marker else {
            return Err(StoreError::NotOurs { path: self.path.clone() });
        };
        let aside = self.set_aside("corrupt")?;
        drop(lock);
        if !marker.misses(&Boot::current()) {
            // Whatever it held died with its boot.
            return Ok(if make { Looked::Again } else { Looked::Nothing });
        }
        Err(StoreError::Corrupt { path: self.path.clone(), reason: reason.to_owned(), aside })
    }

    /// Gives the database another name, its journal, too; tells which. The caller holds the lock.
    pub(super) fn set_aside(&self, why: &str) -> Result<PathBuf, StoreError> {
        let unix = (self.clock)().unix;
        let name = |n: u32| match n {
            0 => self.beside(&format!(".{why}-{unix}")),
            n => self.beside(&format!(".{why}-{unix}.{n}")),
        };
        let aside = (0..1000).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(1000));
        let mut journal = aside.clone().into_os_string();
        journal.push("-journal");
        // Without its journal a database may be half a transaction: first the journal, so that a crash in
        // between leaves nothing that would be rolled back into another file.
        match fs::rename(self.beside("-journal"), &journal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("rename", &self.path);
            }
            _ => {}
        }
        fs::rename(&self.path, &aside).context("rename", &self.path)?;
        Ok(aside)
    }

    /// An error of SQLite as ours. One that says that the file is broken sets it aside: the caller holds the
    /// lock and uses the connection no more.
    pub(super) fn failed(&self, what: &'static str, error: rusqlite::Error) -> StoreError {
        if is_corrupt(&error) && self.path.exists() {
            let reason = reason(&error);
            return match Marker::read(&self.state.durable, &self.name) {
                None => StoreError::NotOurs { path: self.path.clone() },
                Some(_) => match self.set_aside("corrupt") {
                    Ok(aside) => StoreError::Corrupt { path: self.path.clone(), reason, aside },
                    Err(error) => error,
                },
            };
        }
        let full = matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
        StoreError::Database { call: what, path: self.path.clone(), reason: reason(&error), full }
    }
}

fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

/// Begins a transaction, and reads what is known of the whole database.
fn begin(connection: &Connection, make: bool) -> rusqlite::Result<Meta> {
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

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("unlink", path),
        _ => Ok(()),
    }
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

fn is_read_only(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ReadOnly)
}

/// The boot that the rows are of, the inode that the file had in it, and whether its marker is written.
pub(crate) fn meta(connection: &Connection) -> rusqlite::Result<(String, i64, bool)> {
    connection.query_row("SELECT boot, inode, marked FROM meta", [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

/// Reads the header: magic, user_version at 60, application_id at 68, big-endian (SQLite's file format,
/// section 1.3).
pub(crate) fn read_header(path: &Path) -> io::Result<Header> {
    let mut header = Vec::with_capacity(100);
    match open_regular(path) {
        Ok(file) => file.take(100).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Header::Missing),
        // A FIFO, a device.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Header::Foreign),
        Err(error) => return Err(error),
    };
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(header.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Ok(Header::Garbage);
    }
    Ok(match (number(60), number(68)) {
        (Some(schema), Some(APPLICATION_ID)) => Header::Ours(schema),
        (Some(_), Some(_)) => Header::Foreign,
        _ => Header::Garbage,
    })
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
