/*!
What a network directory holds, read without its lock and without changing anything.

For people and their programs: everything is looked at, what is broken is told beside what is not. A
call that works at the same moment may be seen half done; whoever frees anything looks again, under the
lock.
*/

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, CString};
use std::num::NonZero;
use std::path::Path;
use std::thread;

use ipam_core::addr::Addr;
use ipam_core::identity::Holder;
use ipam_core::layout::Layout;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::files::{Files, Peek, TEMPORARY};
use super::index::{Index, Slot, hash_of};
use super::layouts;
use super::record::{self, LARGEST};
use super::{MARK, PIN};
use crate::error::{Context, StoreError};
use crate::survey::{Fault, FaultKind};

/// How deep sub-directories are looked into: nobody makes any.
const DEEPEST: usize = 8;

/// How many faults of one directory are told.
const MOST_FAULTS: usize = 100_000;

/// A network directory as it was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By address.
    pub(crate) records: Vec<SeenRecord>,
    /// The last address of each set.
    pub(crate) marks: BTreeMap<usize, Addr>,
    /// The node index.
    pub(crate) pin: Option<u32>,
    /// Whether the directory lies on a network file system.
    pub(crate) shared: bool,
    /// What the last ADD chose from, where a store has noted it.
    pub(crate) layout: Option<Layout>,
    /// What is broken.
    pub(crate) faults: Vec<Fault>,
}

/// A reservation as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenRecord {
    pub(crate) addr: Addr,
    pub(crate) holder: Holder,
    /// The modification time in seconds since 1970.
    pub(crate) since: u64,
    inode: u64,
    name: CString,
}

/// Looks at a directory; `None` if there is none, or if no IPAM plugin has ever used it: no lock, mark or
/// reservation is in it.
pub(crate) fn see(path: &Path, volatile: &Path) -> Result<Option<Seen>, StoreError> {
    let Some(files) = Files::open(path)? else { return Ok(None) };
    let before = files.stat()?;
    let index = Index::open_to_read(volatile, &before).filter(|index| index.is_current(&before));
    let mut walk = Walk::new(&files);
    let used = walk.everything()?;
    if !used {
        return Ok(None);
    }
    let mut seen = walk.end();
    seen.shared = files.on_network();
    seen.layout = layouts::read(volatile, &before);
    // Only where nothing has changed while it was read.
    if let Some(index) = index
        && index.is_current(&files.stat()?)
        && !agrees(&index, &seen)
    {
        let what = index.path().display().to_string();
        seen.faults.push(Fault { kind: FaultKind::Index, what, addr: None });
    }
    Ok(Some(seen))
}

/// Whether an index says what the files say, but for those that are broken themselves.
fn agrees(index: &Index, seen: &Seen) -> bool {
    // One that cannot be read is made anew by the next call.
    let Some(all) = index.all() else { return true };
    let broken: HashSet<Addr> = seen.faults.iter().filter_map(|fault| fault.addr).collect();
    let indexed: BTreeSet<Slot> =
        all.into_iter().map(|(_, slot)| slot).filter(|slot| !broken.contains(&slot.addr)).collect();
    let filed: BTreeSet<Slot> = seen
        .records
        .iter()
        .filter(|record| !broken.contains(&record.addr))
        .map(|record| Slot {
            addr: record.addr,
            inode: record.inode,
            owner: hash_of(&record.holder),
        })
        .collect();
    indexed == filed
}

/// One look at every entry.
struct Walk<'a> {
    files: &'a Files,
    seen: Seen,
    buffer: Vec<u8>,
    /// What was without sense, and may only have been half written.
    doubtful: Vec<CString>,
    /// Addresses of records in sub-directories.
    below: Vec<(Addr, String)>,
}

impl<'a> Walk<'a> {
    fn new(files: &'a Files) -> Self {
        let buffer = vec![0; usize::try_from(LARGEST).unwrap_or(usize::MAX)];
        Self { files, seen: Seen::default(), buffer, doubtful: Vec::new(), below: Vec::new() }
    }

    /// Reads the whole directory; false if it is none of a network.
    fn everything(&mut self) -> Result<bool, StoreError> {
        let mut others: Vec<(CString, FileType)> = Vec::new();
        let mut addresses: Vec<(Addr, CString)> = Vec::new();
        self.files.each(&mut |name, kind| match name.to_str().ok().and_then(Addr::parse) {
            Some(addr) => addresses.push((addr, name.to_owned())),
            None => others.push((name.to_owned(), kind)),
        })?;
        let is_ours = |name: &CStr| name == c"lock" || mark_of(name).is_some();
        if addresses.is_empty() && !others.iter().any(|(name, _)| is_ours(name)) {
            return Ok(false);
        }
        self.seen.records.reserve(addresses.len());
        let found = reservations(self.files, &addresses)?;
        for ((addr, name), found) in addresses.into_iter().zip(found) {
            self.take(addr, name, found, true);
        }
        for (name, kind) in others {
            self.other(&name, kind)?;
        }
        for name in std::mem::take(&mut self.doubtful) {
            // The reference makes a file first and writes it then: the second look finds it whole.
            match name.to_str().ok().and_then(Addr::parse) {
                Some(addr) => {
                    let found = reservation(self.files, addr, &name, &mut self.buffer)?;
                    self.take(addr, name, found, false);
                }
                None => self.mark(&name, false)?,
            }
        }
        Ok(true)
    }

    fn fault(&mut self, kind: FaultKind, name: &CStr, addr: Option<Addr>) {
        self.fault_at(kind, name.to_string_lossy().into_owned(), addr);
    }

    fn fault_at(&mut self, kind: FaultKind, what: String, addr: Option<Addr>) {
        if self.seen.faults.len() < MOST_FAULTS {
            self.seen.faults.push(Fault { kind, what, addr });
        }
    }

    fn peek(&mut self, name: &CStr) -> Result<Option<Result<Peek, Errno>>, StoreError> {
        peek(self.files, name, &mut self.buffer)
    }

    /// Takes over what a reservation's file was found to be.
    fn take(&mut self, addr: Addr, name: CString, found: Found, first: bool) {
        match found {
            Found::Record(record) => {
                if record.holder == Holder::Unknown {
                    self.fault(FaultKind::Unreadable, &name, Some(addr));
                }
                self.seen.records.push(record);
            }
            Found::Empty if first => self.doubtful.push(name),
            Found::Empty => self.fault(FaultKind::Empty, &name, Some(addr)),
            Found::Nothing => {}
        }
    }

    fn other(&mut self, name: &CStr, kind: FileType) -> Result<(), StoreError> {
        // The mark of before 2017 is nobody's any more, and in nobody's way.
        if name == c"lock" || name == c"last_reserved_ip" {
            return Ok(());
        }
        if mark_of(name).is_some() {
            return self.mark(name, true);
        }
        if name.to_bytes() == PIN.as_bytes() {
            return self.pin(name);
        }
        self.fault(FaultKind::Foreign, name, None);
        if kind.is_dir() {
            let text = name.to_string_lossy().into_owned();
            self.below(&text, DEEPEST);
        }
        Ok(())
    }

    fn mark(&mut self, name: &CStr, first: bool) -> Result<(), StoreError> {
        let (Some(set), Some(peek)) = (mark_of(name), self.peek(name)?) else { return Ok(()) };
        let content = peek.ok().filter(|peek| peek.regular).and_then(|peek| {
            let text = std::str::from_utf8(self.buffer.get(..peek.length)?).ok()?;
            Addr::parse(text.trim())
        });
        match content {
            Some(addr) => {
                self.seen.marks.insert(set, addr);
            }
            None if first => self.doubtful.push(name.to_owned()),
            None => self.fault(FaultKind::Mark, name, None),
        }
        Ok(())
    }

    fn pin(&mut self, name: &CStr) -> Result<(), StoreError> {
        let Some(peek) = self.peek(name)? else { return Ok(()) };
        let pin = peek.ok().and_then(|peek| {
            std::str::from_utf8(self.buffer.get(..peek.length)?).ok()?.trim().parse().ok()
        });
        match pin {
            Some(pin) => self.seen.pin = Some(pin),
            None => self.fault(FaultKind::Mark, name, None),
        }
        Ok(())
    }

    /// What lies in a sub-directory is no reservation, but a DEL finds it there.
    fn below(&mut self, directory: &str, deepest: usize) {
        let Some(deeper) = deepest.checked_sub(1) else { return };
        let Ok(Some(files)) = Files::open(&self.files.at(directory)) else { return };
        let mut directories = Vec::new();
        let below = &mut self.below;
        let _ = files.each(&mut |name, kind| {
            let Ok(text) = name.to_str() else { return };
            if kind.is_dir() {
                directories.push(format!("{directory}/{text}"));
            } else if let Some(addr) = Addr::parse(text) {
                below.push((addr, format!("{directory}/{text}")));
            }
        });
        for directory in directories {
            self.below(&directory, deeper);
        }
    }

    fn end(mut self) -> Seen {
        self.seen.records.sort_unstable_by(|a, b| (a.addr, &a.name).cmp(&(b.addr, &b.name)));
        let mut twice = Vec::new();
        let pairs = self.seen.records.iter().zip(self.seen.records.iter().skip(1));
        for (one, other) in pairs.filter(|(one, other)| one.addr == other.addr) {
            // The spelling that no store uses is the odd one; of several odd ones, the later.
            let usual = one.addr.to_string();
            let odd = if other.name.to_bytes() == usual.as_bytes() { one } else { other };
            twice.push((odd.addr, odd.name.to_string_lossy().into_owned()));
        }
        let held = |addr: Addr| {
            self.seen.records.binary_search_by_key(&addr, |record| record.addr).is_ok()
        };
        twice.extend(self.below.iter().filter(|(addr, _)| held(*addr)).cloned());
        for (addr, what) in twice {
            self.fault_at(FaultKind::Twice, what, Some(addr));
        }
        self.seen.faults.sort_by(|a, b| (a.kind, a.addr, &a.what).cmp(&(b.kind, b.addr, &b.what)));
        self.seen
    }
}

/// What a file whose name is an address is.
#[derive(Debug)]
enum Found {
    Record(SeenRecord),
    Empty,
    Nothing,
}

/// From how many files on several threads read them: each costs four system calls.
const MANY: usize = 4096;

/// The most threads.
const THREADS: usize = 8;

/// Reads reservations, in their order.
fn reservations(files: &Files, names: &[(Addr, CString)]) -> Result<Vec<Found>, StoreError> {
    let read = |names: &[(Addr, CString)]| -> Result<Vec<Found>, StoreError> {
        let mut buffer = vec![0; usize::try_from(LARGEST).unwrap_or(usize::MAX)];
        names.iter().map(|(addr, name)| reservation(files, *addr, name, &mut buffer)).collect()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    if names.len() < MANY || threads == 1 {
        return read(names);
    }
    let parts: Vec<&[(Addr, CString)]> = names.chunks(names.len().div_ceil(threads)).collect();
    thread::scope(|scope| {
        let readers: Vec<_> = parts
            .iter()
            .map(|part| thread::Builder::new().spawn_scoped(scope, || read(part)).ok())
            .collect();
        let mut all = Vec::with_capacity(names.len());
        for (part, reader) in parts.iter().zip(readers) {
            // Where no thread can be started, this one reads.
            let found = reader.and_then(|reader| reader.join().ok());
            all.extend(found.unwrap_or_else(|| read(part))?);
        }
        Ok(all)
    })
}

fn reservation(
    files: &Files,
    addr: Addr,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<Found, StoreError> {
    let Some(peek) = peek(files, name, buffer)? else { return Ok(Found::Nothing) };
    let (holder, since, inode) = match peek {
        Ok(peek) if peek.regular => {
            let content = buffer.get(..peek.length).unwrap_or_default();
            let Some(holder) = record::parse(content) else { return Ok(Found::Empty) };
            (holder, peek.modified, peek.inode)
        }
        Ok(peek) => (Holder::Unknown, peek.modified, peek.inode),
        Err(_) => (Holder::Unknown, 0, 0),
    };
    Ok(Found::Record(SeenRecord { addr, holder, since, inode, name: name.to_owned() }))
}

/// A file, read into the buffer. `None` if it is gone. A file that this user may not read is an error:
/// nothing could be said of the network then.
fn peek(
    files: &Files,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<Option<Result<Peek, Errno>>, StoreError> {
    match files.peek(name, buffer) {
        Ok(peek) => Ok(Some(Ok(peek))),
        Err(Errno::NOENT) => Ok(None),
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::MFILE | Errno::NFILE)) => {
            Err(error).context("open", &files.at(&name.to_string_lossy()))
        }
        Err(error) => Ok(Some(Err(error))),
    }
}

/// The set of a mark's file name.
pub(super) fn mark_of(name: &CStr) -> Option<usize> {
    let set = name.to_str().ok()?.strip_prefix(MARK)?;
    // Not `+1` and not `01`: no store writes that.
    let number: usize = set.parse().ok()?;
    (number.to_string() == set).then_some(number)
}

/// Whether a file name is one of those that a crash leaves on file systems without unnamed files.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|nth| !nth.is_empty() && nth.bytes().all(|byte| byte.is_ascii_digit()))
}
