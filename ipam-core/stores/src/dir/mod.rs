/*!
The directory of the reference host-local, shared with it.

`<dataDir>/<network>/` holds one file per reserved address (its name is the address, its content the
attachment), one mark per range set (`last_reserved_ip.<set>`) and the file `lock`, which is locked with
flock(2) by every call. Formats, modes and meaning are the reference's, so that both can work on one
directory, call by call.

What is different: a reservation appears complete or not at all (a file gets its content before its
name); an empty reservation, which is what a crash or a power loss of the reference leaves, is free;
small directories are read whole, large ones have an [`index`] outside; an ADD of several addresses is
all or nothing, also when killed ([`pending`]).
*/

mod files;
mod index;
mod known;
mod layouts;
mod pending;
mod pin;
mod record;
mod repair;
pub(crate) mod seen;

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::allocator::{self, Choice, Refusal, Request, Resting, Undecided, first_exhausted};
use ipam_core::identity::{Attachment, Holder, Network};
use ipam_core::range::RangeSet;
use ipam_core::store::{Record, ReserveError, Store, Valid, theirs};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

pub(crate) use pin::set_pin;

use crate::error::{Context, StoreError};
use crate::files::{check_writable, read_regular, replace_durably};
use crate::lock::Lock;
use crate::places::{Places, Remembered};
use crate::{DEFAULT_DATA_DIR, StateDirs};

use files::{Before, Files, Unnamed};
use index::{Seal, Slot, hash_of};
use known::Known;
use pending::{Pending, Planned};

/// How often a call starts anew when others change the directory without taking the lock.
const ATTEMPTS: usize = 5;

/// How far in the past seals lie: more than any clock tick, little enough not to surprise.
const SEAL_AGE_SECONDS: i64 = 10;

/// The file that keeps the node index.
const PIN: &str = "node-index";

/// The largest mark, in bytes: an address.
const MARK_LIMIT: u64 = 4096;

/// What the names of marks begin with; the set's position follows.
const MARK: &str = "last_reserved_ip.";

/// Which directory, and how to use it.
#[derive(Clone, Debug)]
pub struct Location {
    /// The dataDir, an absolute path.
    pub data_dir: PathBuf,
    /// The network.
    pub network: Network,
    /// Whether other nodes use the directory; `None`: on network file systems.
    pub shared: Option<bool>,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

/// The allocations of one network in one dataDir.
#[derive(Debug)]
pub struct DirStore {
    location: Location,
    path: PathBuf,
    /// The dataDir as the plugins call it.
    known_as: PathBuf,
    state: StateDirs,
    places: Option<Places>,
    warnings: Vec<String>,
}

/// A locked network directory.
#[derive(Debug)]
struct Open {
    files: Files,
    pending: Pending,
    shared: bool,
    _lock: Lock,
}

impl DirStore {
    /// The store of a network. Nothing is opened yet.
    pub fn new(location: Location, state: StateDirs) -> Self {
        let path = location.data_dir.join(location.network.as_str());
        let elsewhere = location.data_dir != Path::new(DEFAULT_DATA_DIR);
        let places = elsewhere.then(|| Places::new(&state.durable, &location.network));
        let known_as = location.data_dir.clone();
        Self { location, path, known_as, state, places, warnings: Vec::new() }
    }

    fn remembered(&self) -> Remembered {
        Remembered::DataDir(self.known_as.clone())
    }

    /// What was odd in the directory, a sentence each; emptied by the call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Opens and locks the directory; `None` if there is none and none is to be made.
    fn open(&mut self, make: bool) -> Result<Option<Open>, StoreError> {
        for _ in 0..ATTEMPTS {
            let files = match Files::open(&self.path) {
                Ok(Some(files)) => files,
                Ok(None) if make => {
                    self.make_dir()?;
                    continue;
                }
                Ok(None) => return Ok(None),
                // Where nothing can lie, nothing does.
                Err(error) if !make && error.is_impossible_path() => return Ok(None),
                Err(error) => return Err(error),
            };
            if !make && !files.is_used()? {
                return Ok(None);
            }
            let lock_file = match files.lock_file() {
                // Removed between the two calls.
                Err(StoreError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    continue;
                }
                other => other?,
            };
            let identity = lock_file.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
            let lock = Lock::exclusive(lock_file, &files.at("lock"), self.location.lock_timeout)?;
            // While this call waited, somebody may have removed the directory and made another.
            if !files.leads_to(identity) {
                continue;
            }
            let stat = files.stat()?;
            let shared = self.location.shared.unwrap_or_else(|| files.on_network());
            let pending = Pending::new(&self.state.volatile, &stat);
            if let Err(error) = pending.recover(&files) {
                // The names stay taken, and the note stays for a later call.
                self.warnings.push(format!("the rest of a killed call stays: {error}"));
            }
            return Ok(Some(Open { files, pending, shared, _lock: lock }));
        }
        Err(StoreError::Unstable { path: self.path.clone() })
    }

    /// Makes the directory and its parents, as the reference does.
    fn make_dir(&self) -> Result<(), StoreError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.path);
        let in_the_way = || {
            self.path.ancestors().find(|path| path.exists() && !path.is_dir()).map(|path| {
                StoreError::Io {
                    call: "mkdir",
                    path: path.to_path_buf(),
                    source: std::io::Error::from(Errno::NOTDIR),
                }
            })
        };
        made.context("mkdir", &self.path).map_err(|error| in_the_way().unwrap_or(error))
    }

    /// What is known of the directory's reservations, empty ones already put away.
    fn know(&mut self, open: &Open) -> Result<Known, StoreError> {
        Known::of(&open.files, &self.state.volatile, open.shared, &mut self.warnings)
    }

    /// The index of the node that made the allocations, if it is noted.
    fn read_pin(&mut self, files: &Files) -> Result<Option<u32>, StoreError> {
        let Some((content, _)) = files.read(PIN)? else { return Ok(None) };
        let pin = std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok());
        if pin.is_none() {
            self.warnings.push(format!("{}: no number, ignored", files.at(PIN).display()));
        }
        Ok(pin)
    }

    fn try_reserve(
        &mut self,
        open: &Open,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Choice>>, ReserveError<StoreError>> {
        let mut known = self.know(open).map_err(ReserveError::Store)?;
        let pinned = match request.pin {
            Some(_) => self.read_pin(&open.files).map_err(ReserveError::Store)?,
            None => None,
        };
        if let (Some(pinned), Some(now)) = (pinned, request.pin)
            && pinned != now
            && !known.is_empty()
        {
            self.keep(open, known);
            return Err(ReserveError::Refused(Refusal::Pinned { pinned, now }));
        }
        let choices = match allocator::decide(request, &mut known.view(&open.files)) {
            Ok(choices) => choices,
            Err(Undecided::Refused { refusal, passed }) => {
                let moved = self.move_marks(open, &passed);
                self.keep(open, known);
                moved.map_err(ReserveError::Store)?;
                return Err(ReserveError::Refused(refusal));
            }
            Err(Undecided::View(error)) => return Err(ReserveError::Store(error)),
        };
        if !wanted() {
            return Err(ReserveError::Unwanted);
        }
        let pin = request.pin.filter(|now| pinned != Some(*now));
        let made = self.commit(open, known, request.attachment, &choices, pin);
        let made = made.map_err(ReserveError::Store)?;
        if made && let Ok(stat) = open.files.stat() {
            layouts::keep(&self.state.volatile, &stat, request.sets, request.policy);
        }
        Ok(made.then_some(choices))
    }

    /// Makes the reservations; false, with nothing changed, if a name has appeared in the meantime.
    fn commit(
        &self,
        open: &Open,
        known: Known,
        attachment: &Attachment,
        choices: &[Choice],
        pin: Option<u32>,
    ) -> Result<bool, StoreError> {
        let new: Vec<&Choice> = choices.iter().filter(|choice| !choice.held).collect();
        if new.is_empty() {
            self.keep(open, known);
            return Ok(true);
        }
        if let Some(places) = &self.places {
            places.remember(&self.remembered())?;
        }
        if let Some(pin) = pin {
            open.files.overwrite(PIN, pin.to_string().as_bytes())?;
        }
        let content = record::render(attachment);
        let mut prepared = Vec::with_capacity(new.len());
        for (nth, choice) in new.iter().enumerate() {
            prepared.push((**choice, open.files.unnamed(&content, nth)?));
        }
        let result = self.publish(open, &prepared);
        for (_, file) in &prepared {
            open.files.settle(file)?;
        }
        if matches!(result, Ok(true)) {
            let owner = hash_of(&Holder::Attachment(attachment.clone()));
            let slots = prepared.iter().filter_map(|(choice, file)| {
                Some(Slot { addr: choice.addr, inode: file.inode()?, owner })
            });
            self.keep(open, known.with(slots));
        }
        result
    }

    /// Gives all files their names and moves the marks, or changes nothing.
    fn publish(&self, open: &Open, prepared: &[(Choice, Unnamed)]) -> Result<bool, StoreError> {
        let noted = prepared.len() > 1 && self.note(open, prepared);
        let mut linked = 0;
        let mut marks: Vec<(String, Before)> = Vec::new();
        let mut publish = || -> Result<bool, StoreError> {
            for (choice, file) in prepared {
                if !open.files.link(file, &choice.addr.to_string())? {
                    return Ok(false);
                }
                linked += 1;
            }
            for (choice, _) in prepared {
                let mark = format!("{MARK}{}", choice.set);
                let before = open.files.overwrite(&mark, choice.addr.to_string().as_bytes())?;
                marks.push((mark, before));
            }
            if noted { open.pending.clear().map(|()| true) } else { Ok(true) }
        };
        let result = publish();
        if !matches!(result, Ok(true)) {
            for (choice, _) in prepared.iter().take(linked) {
                open.files.remove(&choice.addr.to_string())?;
            }
            for (mark, before) in marks.iter().rev() {
                open.files.restore(mark, before);
            }
            if noted {
                // The next call would find nothing to take back.
                let _ = open.pending.clear();
            }
        }
        result
    }

    /// Moves marks for an ADD that is refused, as the reference does.
    fn move_marks(&self, open: &Open, passed: &[Choice]) -> Result<(), StoreError> {
        for choice in passed {
            let mark = format!("{MARK}{}", choice.set);
            open.files.overwrite(&mark, choice.addr.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Notes what is about to be made, so that the next call can take it back if this one is killed.
    fn note(&self, open: &Open, prepared: &[(Choice, Unnamed)]) -> bool {
        let now = clock_gettime(ClockId::Realtime);
        let planned: Option<Vec<Planned>> = prepared
            .iter()
            .map(|(choice, file)| {
                let fingerprint = file.fingerprint(now)?;
                Some(Planned { addr: choice.addr, fingerprint })
            })
            .collect();
        planned.is_some_and(|planned| open.pending.write(&planned))
    }

    /// Notes what is about to be removed.
    fn note_removal(&self, open: &Open, stale: &[Addr]) -> bool {
        let planned: Vec<Planned> = stale
            .iter()
            .filter_map(|addr| {
                let fingerprint = open.files.fingerprint(&addr.to_string())?;
                Some(Planned { addr: *addr, fingerprint })
            })
            .collect();
        open.pending.write(&planned)
    }

    /// Writes the index of a large directory, and seals it.
    fn keep(&self, open: &Open, known: Known) {
        let Some(mut index) = known.into_index(&open.files, &self.state.volatile) else { return };
        let mut time = clock_gettime(ClockId::Realtime);
        time.tv_sec -= SEAL_AGE_SECONDS;
        let seal = |time: Timespec| -> Option<Seal> {
            open.files.set_modified(time).ok()?;
            Seal::of(&open.files.stat().ok()?, time)
        };
        index.seal(seal(time));
    }

    /// Removes records, then what they leave behind: the index entries, and the memory of the place.
    fn remove(&self, open: &Open, mut known: Known, stale: &[Addr]) -> Result<(), StoreError> {
        // What belongs to one attachment goes together, too: a killed DEL is finished by the next call.
        let noted = stale.len() > 1 && self.note_removal(open, stale);
        let removed = known.remove(&open.files, stale);
        self.removed(open, known, noted, removed)
    }

    /// What follows a removal: its note goes, and what an empty directory leaves behind.
    fn removed(
        &self,
        open: &Open,
        known: Known,
        noted: bool,
        removed: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if noted {
            // Also after a failure: the runtime knows of that one, and will ask again.
            let cleared = open.pending.clear();
            removed?;
            cleared?;
        } else {
            removed?;
        }
        if known.is_empty() {
            open.files.remove(PIN)?;
            if let Some(places) = &self.places {
                places.forget(&self.remembered());
            }
        }
        self.keep(open, known);
        Ok(())
    }
}

/// Everything in a directory, which stays locked.
#[derive(Debug)]
pub(crate) struct Stock {
    /// The records, each with the time of its last change in seconds since 1970.
    pub(crate) records: Vec<(Record, u64)>,
    /// The marks.
    pub(crate) marks: Vec<(usize, Addr)>,
    /// The node index of the allocations.
    pub(crate) pin: Option<u32>,
    /// Whether other nodes use the directory, too.
    pub(crate) shared: bool,
    path: PathBuf,
    open: Open,
}

impl Stock {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory a name that no network can have, and notes in it where its records are now.
    pub(crate) fn move_aside(self, into: &Path, unix: u64) -> Result<PathBuf, StoreError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let aside = |n: u32| {
            let more = if n == 0 { String::new() } else { format!(".{n}") };
            self.path.with_file_name(format!(".{name}@imported-{unix}{more}"))
        };
        let to = (0..1000).map(aside).find(|to| !to.exists()).unwrap_or_else(|| aside(1000));
        std::fs::rename(&self.path, &to).context("rename", &self.path)?;
        let note = format!("The reservations in here were imported into {}.\n", into.display());
        // The name says it, too.
        let _ = replace_durably(&to.join("IMPORTED"), note.as_bytes());
        Ok(to)
    }
}

impl Stock {
    /// Removes the reservations of these addresses.
    pub(crate) fn remove(&self, addrs: &[Addr]) -> Result<(), StoreError> {
        addrs.iter().try_for_each(|addr| self.open.files.remove(&addr.to_string()))
    }
}

impl DirStore {
    /// Everything in the directory, for another store to take over; `None` if there is nothing.
    pub(crate) fn take_stock(&mut self) -> Result<Option<Stock>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(None) };
        let known = Known::everything(&open.files, open.shared, &mut self.warnings)?;
        let changed = |record: &Record| {
            // A name that cannot be looked at counts as new.
            let stat = rustix::fs::statat(
                open.files.dir(),
                record.addr.to_string(),
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            );
            stat.map_or(u64::MAX, |stat| {
                u64::try_from(stat.st_ctime.max(stat.st_mtime)).unwrap_or_default()
            })
        };
        let records: Vec<(Record, u64)> = known
            .records()
            .into_iter()
            .map(|record| {
                let changed = changed(&record);
                (record, changed)
            })
            .collect();
        let pin = self.read_pin(&open.files)?.filter(|_| !records.is_empty());
        let marks = read_marks(&self.path)?;
        let (shared, path) = (open.shared, self.path.clone());
        Ok(Some(Stock { records, marks, pin, shared, path, open }))
    }
}

/// The marks of a network directory that can be read.
pub(crate) fn read_marks(path: &Path) -> Result<Vec<(usize, Addr)>, StoreError> {
    let mut marks = Vec::new();
    for entry in std::fs::read_dir(path).context("open", path)? {
        let entry = entry.context("readdir", path)?;
        let name = entry.file_name();
        let set = name.to_str().and_then(|name| name.strip_prefix(MARK));
        if let Some(set) = set.and_then(|set| set.parse().ok())
            && let Ok(text) = read_regular(&entry.path(), MARK_LIMIT)
            && let Ok(text) = std::str::from_utf8(&text)
            && let Some(addr) = Addr::parse(text.trim())
        {
            marks.push((set, addr));
        }
    }
    marks.sort_unstable();
    Ok(marks)
}

impl Store for DirStore {
    type Error = StoreError;

    fn reserve(
        &mut self,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Choice>, ReserveError<StoreError>> {
        let open = self.open(true).map_err(ReserveError::Store)?;
        let Some(open) = open else {
            return Err(ReserveError::Store(StoreError::Unstable { path: self.path.clone() }));
        };
        for _ in 0..ATTEMPTS {
            if let Some(choices) = self.try_reserve(&open, request, wanted)? {
                return Ok(choices);
            }
        }
        Err(ReserveError::Store(StoreError::Unstable { path: self.path.clone() }))
    }

    fn undo(&mut self, attachment: &Attachment, choices: &[Choice]) -> Result<(), StoreError> {
        let Some(open) = self.open(false)? else { return Ok(()) };
        let mut known = self.know(&open)?;
        let held = known.held(&open.files, attachment)?;
        let ours = |addr| held.iter().any(|held| held.addr == addr && !held.by_container);
        let stale: Vec<Addr> = choices
            .iter()
            .filter(|choice| !choice.held && ours(choice.addr))
            .map(|choice| choice.addr)
            .collect();
        self.remove(&open, known, &stale)
    }

    fn release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        let Some(open) = self.open(false)? else {
            if let Some(places) = &self.places {
                places.forget_if_gone(&self.remembered(), &self.path);
            }
            return Ok(Vec::new());
        };
        let mut known = self.know(&open)?;
        let held = theirs(&known.held(&open.files, attachment)?);
        self.remove(&open, known, &held)?;
        Ok(held)
    }

    fn find(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(Vec::new()) };
        let mut known = self.know(&open)?;
        let held = theirs(&known.held(&open.files, attachment)?);
        self.keep(&open, known);
        Ok(held)
    }

    fn list(&mut self) -> Result<Vec<Record>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(Vec::new()) };
        let known = Known::everything(&open.files, open.shared, &mut self.warnings)?;
        Ok(known.records())
    }

    fn retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(Vec::new()) };
        if open.shared {
            self.warnings.push(format!(
                "{}: used by other nodes too, so GC frees nothing here",
                open.files.path().display()
            ));
            return Ok(Vec::new());
        }
        let known = Known::everything(&open.files, open.shared, &mut self.warnings)?;
        let valid = Valid::new(valid);
        let stale: Vec<Addr> = known
            .records()
            .into_iter()
            .filter(|record| !valid.keeps(&record.holder))
            .map(|record| record.addr)
            .collect();
        self.remove(&open, known, &stale)?;
        Ok(stale)
    }

    fn first_exhausted(
        &mut self,
        sets: &[RangeSet],
        _: Duration,
    ) -> Result<Option<(usize, Option<Resting>)>, StoreError> {
        check_writable(&self.path)?;
        let Some(open) = self.open(false)? else {
            // Nothing is held yet; a set may still have nothing to hand out.
            let empty = sets.iter().position(|set| set.search_order(None).is_empty());
            return Ok(empty.map(|set| (set, None)));
        };
        let mut known = self.know(&open)?;
        let exhausted = first_exhausted(sets, &mut known.view(&open.files))?;
        self.keep(&open, known);
        Ok(exhausted)
    }

    fn pinned(&mut self) -> Result<Option<u32>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(None) };
        let known = self.know(&open)?;
        let pin = self.read_pin(&open.files)?;
        Ok(pin.filter(|_| !known.is_empty()))
    }
}
