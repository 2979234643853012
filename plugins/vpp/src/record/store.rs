//! Records in files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipam_stores::state_file;

use super::Record;
use crate::names::{AttachmentHash, NetworkHash};
use crate::tag::Tag;

/// The largest record that is read; a real one has some kilobytes, most of them the node's routes.
const LIMIT: u64 = 4 << 20;
/// How often a lock is tried again.
const AGAIN: Duration = Duration::from_millis(2);
/// What a temporary file's name begins with; who lists records leaves it alone.
const TEMPORARY: &str = ".new.";
/// The file in a network's directory that whoever wants its lock goes through, one after the other.
const GATE: &str = ".gate";
/// Where records are whose interface is still to be removed from a VPP that was away.
const PENDING: &str = "pending";

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in a file is no record.
    #[error("{} is no record of an attachment: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Somebody holds the lock for too long.
    #[error("{} is locked by another call, a replay perhaps", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Io { what, path, source }
}

/// A lock on a network's records, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

/// A record in a list, or why it is none.
#[derive(Debug)]
pub struct Listed {
    /// Its file.
    pub path: PathBuf,
    /// The tag that the file's place stands for.
    pub tag: Tag,
    /// The record.
    pub record: Result<Record, RecordError>,
}

/// All records of a node.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    /// Those below a directory, `/run/plat/vpp` on a node. It need not exist.
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn of_network(&self, network: NetworkHash) -> PathBuf {
        self.directory.join(network.to_string())
    }

    /// The file of an attachment's record.
    pub fn path(&self, tag: Tag) -> PathBuf {
        self.of_network(tag.network).join(format!("{}.json", tag.attachment))
    }

    /// The same of one that is pending.
    fn pending_path(&self, tag: Tag) -> PathBuf {
        self.directory.join(PENDING).join(format!("{}-{}.json", tag.network, tag.attachment))
    }

    /// Locks a network's records, together with others who share it, and makes their directory.
    ///
    /// # Errors
    /// If it cannot be made or locked by the deadline.
    pub fn share(&self, network: NetworkHash, deadline: Instant) -> Result<Lock, RecordError> {
        let directory = self.of_network(network);
        make_directory(&directory)?;
        lock(&directory, fs2::FileExt::try_lock_shared, deadline)
    }

    /// Locks a network's records for nobody else; their directory is not made.
    ///
    /// # Errors
    /// If it cannot be locked by the deadline.
    pub fn lock(&self, network: NetworkHash, deadline: Instant) -> Result<Lock, RecordError> {
        lock(&self.of_network(network), fs2::FileExt::try_lock_exclusive, deadline)
    }

    /// The record of an attachment, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, tag: Tag) -> Result<Option<Record>, RecordError> {
        read(&self.path(tag))
    }

    /// The same of one that is pending.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_pending(&self, tag: Tag) -> Result<Option<Record>, RecordError> {
        read(&self.pending_path(tag))
    }

    /// Writes a record in the place of what was there.
    ///
    /// # Errors
    /// If that fails; what was there is whole then.
    pub fn write(&self, tag: Tag, record: &Record) -> Result<(), RecordError> {
        make_directory(&self.of_network(tag.network))?;
        write(&self.path(tag), tag, record)
    }

    /// Writes a record among those that are pending.
    ///
    /// # Errors
    /// As [`Records::write`].
    pub fn write_pending(&self, tag: Tag, record: &Record) -> Result<(), RecordError> {
        make_directory(&self.directory.join(PENDING))?;
        write(&self.pending_path(tag), tag, record)
    }

    /// Removes a record; that it is not there is no error.
    ///
    /// # Errors
    /// If that fails.
    pub fn remove(&self, tag: Tag) -> Result<(), RecordError> {
        remove(&self.path(tag))
    }

    /// Puts a record aside until its VPP is met again.
    ///
    /// # Errors
    /// If that fails.
    pub fn put_aside(&self, tag: Tag) -> Result<(), RecordError> {
        make_directory(&self.directory.join(PENDING))?;
        let path = self.path(tag);
        match fs::rename(&path, self.pending_path(tag)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(io_error("move", &path)),
        }
    }

    /// Removes a record that is pending.
    ///
    /// # Errors
    /// If that fails.
    pub fn remove_pending(&self, tag: Tag) -> Result<(), RecordError> {
        remove(&self.pending_path(tag))
    }

    /// The attachments of a network.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn list(&self, network: NetworkHash) -> Result<Vec<Listed>, RecordError> {
        let directory = self.of_network(network);
        let files = entries(&directory)?;
        let listed = files.into_iter().filter_map(|name| {
            let tag = Tag::parse(&format!("plat/{network}/{}", name.strip_suffix(".json")?))?;
            listed(directory.join(&name), tag)
        });
        Ok(listed.collect())
    }

    /// Those that are pending.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn pending(&self) -> Result<Vec<Listed>, RecordError> {
        let directory = self.directory.join(PENDING);
        let files = entries(&directory)?;
        let listed = files.into_iter().filter_map(|name| {
            let (network, attachment) = name.strip_suffix(".json")?.split_once('-')?;
            let tag = Tag::parse(&format!("plat/{network}/{attachment}"))?;
            listed(directory.join(&name), tag)
        });
        Ok(listed.collect())
    }

    /// The networks that have, or had, attachments.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn networks(&self) -> Result<Vec<NetworkHash>, RecordError> {
        let names = entries(&self.directory)?;
        let hash = |name: &String| {
            let tag = Tag::parse(&format!("plat/{name}/{}", AttachmentHash(0)))?;
            Some(tag.network)
        };
        Ok(names.iter().filter_map(hash).collect())
    }

    /// The attachments of all networks.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn all(&self) -> Result<Vec<Listed>, RecordError> {
        let mut all = Vec::new();
        for network in self.networks()? {
            all.extend(self.list(network)?);
        }
        Ok(all)
    }
}

fn write(path: &Path, tag: Tag, record: &Record) -> Result<(), RecordError> {
    let temporary = path.with_file_name(format!("{TEMPORARY}{}", tag.attachment));
    let write = || {
        let mut file = state_file().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all(record.render().as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        io_error("write", path)(error)
    })
}

/// Removes a record; that it is not there is no error.
fn remove(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(io_error("remove", path)),
    }
}

/// Nothing if it has gone since it was listed.
fn listed(path: PathBuf, tag: Tag) -> Option<Listed> {
    let record = read(&path).transpose()?;
    Some(Listed { path, tag, record })
}

fn read(path: &Path) -> Result<Option<Record>, RecordError> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    }
    let unreadable = |reason| RecordError::Unreadable { path: path.to_owned(), reason };
    Record::parse(&text).map(Some).map_err(unreadable)
}

/// The names in a directory, in order; none if it is not there.
fn entries(directory: &Path) -> Result<Vec<String>, RecordError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", directory))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn make_directory(path: &Path) -> Result<(), RecordError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("make", path))
}

/// Locks a directory, behind those who came before: everybody goes through the gate first, and who waits in it
/// for the others to go lets nobody past. So a replay gets its turn however many calls follow one another.
fn lock(
    directory: &Path,
    try_lock: fn(&File) -> io::Result<()>,
    deadline: Instant,
) -> Result<Lock, RecordError> {
    let file = File::open(directory).map_err(io_error("open", directory))?;
    let path = directory.join(GATE);
    let gate = state_file().append(true).create(true).open(&path);
    let gate = gate.map_err(io_error("open", &path))?;
    wait_for(directory, &gate, try_lock, deadline)?;
    wait_for(directory, &file, try_lock, deadline)?;
    Ok(Lock { _directory: file })
}

/// Waits for a lock. flock itself knows no deadline, and a call that waits here waits for a replay: rarely.
fn wait_for(
    directory: &Path,
    file: &File,
    try_lock: fn(&File) -> io::Result<()>,
    deadline: Instant,
) -> Result<(), RecordError> {
    loop {
        match try_lock(file) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {}
            Err(error) => return Err(io_error("lock", directory)(error)),
        }
        if Instant::now() >= deadline {
            return Err(RecordError::Busy { path: directory.to_owned() });
        }
        std::thread::sleep(AGAIN);
    }
}
