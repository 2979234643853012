/*!
Who owns what in a large network directory, without reading every file.

The reference's format has no owner index: "does this attachment hold anything?" means reading every
file, 27 ms at 4,000 reservations. This index answers it with one or two reads, as long as it
*provably* knows every reservation. It lies outside the network directory (the reference reads every
file in there), in the volatile state directory, one file for each directory, named by device and inode.

**Why it can be believed.** The reference may change the directory between two of our calls, and knows
nothing of the index. Creating or removing a name sets the directory's modification time to the
kernel's clock. So at the end of each call, under the lock, the directory's modification time is set
to a moment of the past that is different for each call (the *seal*), and noted in the index together
with the change time. A later call that finds both unchanged knows that no name was created or removed
in between: a change would have moved the modification time to the present. That does not depend on the
resolution of the kernel's clock, which on most kernels is a tick of milliseconds.

A crash at any point leaves a directory whose times are not the noted ones; a reboot leaves another boot
ID. Then the directory is listed once, compared by name and inode, and only what differs is read. File
systems on disk give a removed file's inode number to the next one at once, so there a file that was
changed after the seal counts as different, too.

Contents are not watched: the reference writes a reservation's content right after creating its name,
under the lock, and never again. An entry that the index names is verified by reading its file anyway.

**Format** (little endian): a header of 128 bytes, then `capacity` slots of 32 bytes, a hash table with
linear probing: hash of the owner (0: empty, 1: removed), address, inode. The family is the hash's
lowest bit but one.
*/

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipam_core::addr::{Addr, Family};
use ipam_core::identity::{Attachment, Holder};
use rustix::fs::{Stat, Timespec};

use super::record;
use crate::places::fnv1a;

const MAGIC: &[u8; 8] = b"PLATIDX1";
const HEADER: u64 = 128;
const SLOT: u64 = 32;
const EMPTY: u64 = 0;
const REMOVED: u64 = 1;
const V6: u64 = 2;
/// How many slots one read fetches: a probe is hardly ever longer.
const WINDOW: u64 = 32;
/// How many slots one read fetches when all are wanted.
const CHUNK: u64 = 4096;

/// What the index knows of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) addr: Addr,
    pub(super) inode: u64,
    /// Who owns it, hashed; see [`hash_of`].
    pub(super) owner: u64,
}

/// The moment at which an index was true of its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal {
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seal {
    /// The seal of a directory, if its modification time is the one that was set: a file system with a
    /// coarser clock, or a change in between, makes none.
    pub(super) fn of(stat: &Stat, set: Timespec) -> Option<Self> {
        let seal = Self::seen(stat);
        (seal.modified == (set.tv_sec, set.tv_nsec)).then_some(seal)
    }

    fn seen(stat: &Stat) -> Self {
        // Nanoseconds fit any integer.
        let nanoseconds = |n| i64::try_from(n).unwrap_or_default();
        Self {
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }
}

/// An index file.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    path: PathBuf,
    capacity: u64,
    /// Slots that are not empty, removed ones included.
    used: u64,
    seal: Seal,
    boot: u64,
}

/// The owner of a reservation as the index keeps it.
pub(super) fn hash_of(holder: &Holder) -> u64 {
    let hash = match holder {
        Holder::Attachment(attachment) => fnv1a(record::render(attachment).as_bytes()),
        Holder::Container(id) => fnv1a(id.as_str().as_bytes()),
        Holder::Unknown => 0,
    };
    // The two lowest bits are the family's and the one that keeps a hash apart from EMPTY and REMOVED.
    hash & !3 | 4
}

impl Index {
    /// The index of a directory, if there is one of this boot.
    pub(super) fn open(volatile: &Path, dir: &Stat) -> Option<Self> {
        let path = path_of(volatile, dir);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        Self::of(file, path)
    }

    /// The index of a directory, to be looked at only.
    pub(super) fn open_to_read(volatile: &Path, dir: &Stat) -> Option<Self> {
        let path = path_of(volatile, dir);
        Self::of(File::open(&path).ok()?, path)
    }

    fn of(file: File, path: PathBuf) -> Option<Self> {
        let mut header = [0_u8; HEADER as usize];
        file.read_exact_at(&mut header, 0).ok()?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let mut words = rest.chunks_exact(8).filter_map(|word| word.try_into().ok());
        let mut word = || words.next().map(u64::from_le_bytes);
        let (capacity, used, boot) = (word()?, word()?, word()?);
        let mut time = || word().map(u64::cast_signed);
        let seal = Seal { modified: (time()?, time()?), changed: (time()?, time()?) };
        let length = file.metadata().ok()?.len();
        let whole = capacity.checked_mul(SLOT)?.checked_add(HEADER)? == length;
        let sane = magic == MAGIC && whole && capacity.is_power_of_two() && used <= capacity;
        (sane && boot == boot_id()?).then_some(Self { file, path, capacity, used, seal, boot })
    }

    /// Makes the index anew. `None` where that cannot be: an index is a convenience.
    pub(super) fn build(volatile: &Path, dir: &Stat, slots: &[Slot]) -> Option<Self> {
        let path = path_of(volatile, dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
        let count = u64::try_from(slots.len()).ok()?;
        let capacity = count.checked_mul(2)?.max(1024).next_power_of_two();
        let boot = boot_id()?;
        let mut table = vec![[0_u8; SLOT as usize]; usize::try_from(capacity).ok()?];
        for slot in slots {
            let mut at = slot.owner.hash_index(capacity);
            loop {
                let entry = table.get_mut(usize::try_from(at).ok()?)?;
                if entry.iter().all(|byte| *byte == 0) {
                    *entry = slot.bytes();
                    break;
                }
                at = (at + 1) % capacity;
            }
        }
        let temporary = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .ok()?;
        let index = Self { file, path, capacity, used: count, seal: Seal::default(), boot };
        index.file.write_all_at(table.as_flattened(), HEADER).ok()?;
        index.write_header().ok()?;
        fs::rename(&temporary, &index.path).ok()?;
        Some(index)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the index file.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Whether no name has been created or removed in the directory since the index was sealed.
    pub(super) fn is_current(&self, dir: &Stat) -> bool {
        self.seal != Seal::default() && self.seal == Seal::seen(dir)
    }

    /// When the index was sealed, by the file system's clock; the beginning of time if it was not.
    pub(super) const fn sealed_at(&self) -> (i64, i64) {
        self.seal.changed
    }

    /// Notes that the index is true of the directory as it is now.
    pub(super) fn seal(&mut self, seal: Option<Seal>) {
        self.seal = seal.unwrap_or_default();
        if self.write_header().is_err() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// What the owner may hold, with the place of each slot. `None` if the index cannot be read.
    pub(super) fn find(&self, owner: u64) -> Option<Vec<(u64, Slot)>> {
        let mut found = Vec::new();
        let mut at = owner.hash_index(self.capacity);
        let mut seen = 0;
        loop {
            let count = WINDOW.min(self.capacity - at);
            for (place, bytes) in (at..).zip(self.slots(at, count)?) {
                match Slot::parse(&bytes) {
                    Parsed::Empty => return Some(found),
                    Parsed::Slot(slot) if slot.owner == owner => found.push((place, slot)),
                    Parsed::Slot(_) | Parsed::Removed => {}
                }
            }
            seen += count;
            if seen >= self.capacity {
                return Some(found);
            }
            at = (at + count) % self.capacity;
        }
    }

    /// Every reservation that the index knows, with the place of each slot.
    pub(super) fn all(&self) -> Option<Vec<(u64, Slot)>> {
        let mut all = Vec::with_capacity(usize::try_from(self.used).ok()?);
        let mut at = 0;
        while at < self.capacity {
            let count = CHUNK.min(self.capacity - at);
            for (i, bytes) in (at..).zip(self.slots(at, count)?) {
                if let Parsed::Slot(slot) = Slot::parse(&bytes) {
                    all.push((i, slot));
                }
            }
            at += count;
        }
        Some(all)
    }

    /// Adds a reservation. False if there is no room, or it cannot be written: the index must be made anew.
    pub(super) fn insert(&mut self, slot: Slot) -> bool {
        if self.used >= self.capacity / 4 * 3 {
            return false;
        }
        let mut at = slot.owner.hash_index(self.capacity);
        let mut seen = 0;
        // A call that was killed before it sealed the index has left a slot that is not counted.
        while seen < self.capacity {
            let Some(window) = self.slots(at, WINDOW.min(self.capacity - at)) else { return false };
            let count = window.len();
            if let Some(i) = window.iter().position(|bytes| Slot::parse(bytes).is_vacant()) {
                let (Ok(i), Some(vacant)) = (u64::try_from(i), window.get(i)) else { return false };
                if matches!(Slot::parse(vacant), Parsed::Empty) {
                    self.used += 1;
                }
                return self.write_slot(at + i, &slot.bytes());
            }
            let Ok(count) = u64::try_from(count) else { return false };
            seen += count;
            at = (at + count) % self.capacity;
        }
        false
    }

    /// Removes the slot at a place. False if it cannot be written.
    pub(super) fn remove(&self, place: u64) -> bool {
        let mut bytes = [0; SLOT as usize];
        bytes.iter_mut().zip(REMOVED.to_le_bytes()).for_each(|(to, from)| *to = from);
        self.write_slot(place, &bytes)
    }

    fn slots(&self, at: u64, count: u64) -> Option<Vec<[u8; SLOT as usize]>> {
        let mut slots = vec![[0_u8; SLOT as usize]; usize::try_from(count).ok()?];
        self.file.read_exact_at(slots.as_flattened_mut(), HEADER + at * SLOT).ok()?;
        Some(slots)
    }

    fn write_slot(&self, place: u64, bytes: &[u8]) -> bool {
        self.file.write_all_at(bytes, HEADER + place * SLOT).is_ok()
    }

    fn write_header(&self) -> std::io::Result<()> {
        let mut header = MAGIC.to_vec();
        let times =
            [self.seal.modified.0, self.seal.modified.1, self.seal.changed.0, self.seal.changed.1];
        for word in [self.capacity, self.used, self.boot] {
            header.extend(word.to_le_bytes());
        }
        for time in times {
            header.extend(time.to_le_bytes());
        }
        header.resize(HEADER as usize, 0);
        self.file.write_all_at(&header, 0)
    }
}

enum Parsed {
    Empty,
    Removed,
    Slot(Slot),
}

impl Parsed {
    const fn is_vacant(&self) -> bool {
        !matches!(self, Self::Slot(_))
    }
}

impl Slot {
    fn bytes(&self) -> [u8; SLOT as usize] {
        let family = match self.addr.family() {
            Family::V4 => 0,
            Family::V6 => V6,
        };
        let mut bytes = [0; SLOT as usize];
        let content = (self.owner | family)
            .to_le_bytes()
            .into_iter()
            .chain(self.addr.number().to_le_bytes())
            .chain(self.inode.to_le_bytes());
        bytes.iter_mut().zip(content).for_each(|(to, from)| *to = from);
        bytes
    }

    fn parse(bytes: &[u8; SLOT as usize]) -> Parsed {
        let (first, rest) = bytes.split_at(8);
        let (middle, last) = rest.split_at(16);
        let word = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let owner = word(first);
        if owner == EMPTY {
            return Parsed::Empty;
        }
        let family = if owner & V6 == 0 { Family::V4 } else { Family::V6 };
        let number = middle.try_into().map(u128::from_le_bytes).unwrap_or_default();
        match Addr::new(family, number) {
            Some(addr) if owner != REMOVED => {
                Parsed::Slot(Self { addr, inode: word(last), owner: owner & !V6 })
            }
            _ => Parsed::Removed,
        }
    }
}

/// Where the probe for a hash begins.
trait HashIndex {
    fn hash_index(self, capacity: u64) -> u64;
}

impl HashIndex for u64 {
    fn hash_index(self, capacity: u64) -> u64 {
        // FNV's low bits are weak in short texts, and two of them mean something else.
        (self ^ (self >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & (capacity - 1)
    }
}

/// The owners under which records of an attachment may stand: itself, and its container alone.
pub(super) fn owners_of(attachment: &Attachment) -> [u64; 2] {
    [
        hash_of(&Holder::Attachment(attachment.clone())),
        hash_of(&Holder::Container(attachment.container.clone())),
    ]
}

fn path_of(volatile: &Path, dir: &Stat) -> PathBuf {
    volatile.join("index").join(format!("{:x}-{:x}", dir.st_dev, dir.st_ino))
}

/// The kernel's boot ID, hashed.
fn boot_id() -> Option<u64> {
    fs::read("/proc/sys/kernel/random/boot_id").ok().map(|id| fnv1a(&id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn scratch(tag: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("plat-index-{tag}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn slot(n: u64) -> Slot {
        let text = if n.is_multiple_of(2) { "10.0.0.0" } else { "2001:db8::" };
        let addr = Addr::parse(text).unwrap().offset(n.into()).unwrap();
        // Few owners, so that some hold several addresses.
        let owner = hash_of(&Holder::Container(
            ipam_core::identity::ContainerId::new(format!("c{}", n % 50)).unwrap(),
        ));
        Slot { addr, inode: n, owner }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Against a set: whatever is added and removed, found is what is there.
        #[test]
        fn an_index_is_a_set(
            initial in proptest::collection::btree_set(0_u64..300, 0..100),
            steps in proptest::collection::vec((any::<bool>(), 0_u64..300), 0..300),
        ) {
            let dir = scratch("set");
            let stat = rustix::fs::stat(&dir).unwrap();
            let slots: Vec<Slot> = initial.iter().map(|n| slot(*n)).collect();
            let mut model: BTreeSet<u64> = initial;
            prop_assert!(Index::build(&dir, &stat, &slots).is_some());
            let mut index = Index::open(&dir, &stat).unwrap();
            for (add, n) in steps {
                let at = index.find(slot(n).owner).unwrap().into_iter().find(|(_, s)| *s == slot(n));
                prop_assert_eq!(at.is_some(), model.contains(&n));
                match (add, at) {
                    (true, None) if index.insert(slot(n)) => {
                        model.insert(n);
                    }
                    (false, Some((place, _))) => {
                        prop_assert!(index.remove(place));
                        model.remove(&n);
                    }
                    _ => {}
                }
            }
            let all: BTreeSet<Slot> = index.all().unwrap().into_iter().map(|(_, slot)| slot).collect();
            prop_assert_eq!(all, model.iter().map(|n| slot(*n)).collect::<BTreeSet<_>>());
            index.discard();
            fs::remove_dir_all(&dir).unwrap();
        }
    }

    #[test]
    fn a_broken_file_is_no_index() {
        let dir = scratch("broken");
        let stat = rustix::fs::stat(&dir).unwrap();
        let index = Index::build(&dir, &stat, &[slot(1)]).unwrap();
        let path = index.path;
        for (offset, bytes) in [(0, &b"X"[..]), (8, &[7]), (24, &[1, 2, 3, 4, 5, 6, 7, 8])] {
            let index = Index::build(&dir, &stat, &[slot(1)]).unwrap();
            assert!(Index::open(&dir, &stat).is_some());
            index.file.write_all_at(bytes, offset).unwrap();
            assert!(Index::open(&dir, &stat).is_none(), "offset {offset}");
        }
        fs::write(&path, b"").unwrap();
        assert!(Index::open(&dir, &stat).is_none());
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Calls that were killed before they sealed have left more slots than the header counts.
    #[test]
    fn a_full_index_that_says_that_it_is_not_takes_nothing() {
        let dir = scratch("full");
        let stat = rustix::fs::stat(&dir).unwrap();
        let mut index = Index::build(&dir, &stat, &[]).unwrap();
        for place in 0..index.capacity {
            assert!(index.write_slot(place, &slot(place).bytes()));
        }
        assert!(!index.insert(slot(7)));
        assert_eq!(
            index.find(slot(7).owner).unwrap().iter().filter(|(_, s)| *s == slot(7)).count(),
            1
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
