/*!
What a call knows of a directory's reservations.

A small directory is read whole: a handful of short files costs less than keeping an index, and is
right whatever anybody did to them. For a large one the index answers, brought up to date where it is
not provably so.
*/

use std::collections::HashSet;
use std::path::Path;

use ipam_core::addr::{Addr, Interval};
use ipam_core::allocator::{Held, Occupancy, View};
use ipam_core::identity::{Attachment, Holder};
use ipam_core::store::Record;

use super::files::{Entry, Files, Look, Names};
use super::index::{Index, Slot, hash_of, owners_of};
use super::record;
use crate::error::StoreError;

/// How many names are tried one by one before the whole directory is listed.
const PROBES: u32 = 64;

/// Reservations of a directory.
#[derive(Debug)]
pub(super) struct Known {
    knowledge: Knowledge,
    /// Names that appeared in this call.
    new: Vec<Slot>,
}

#[derive(Debug)]
enum Knowledge {
    /// Every file was read.
    Read {
        /// By address.
        found: Vec<Found>,
        /// Whether the directory is so large that an index should be kept, and simple enough for one.
        indexable: bool,
    },
    /// An index knows.
    Indexed(Index),
}

/// A reservation that was read.
#[derive(Clone, Debug)]
struct Found {
    addr: Addr,
    /// Relative to the network directory; other than the address only for foreign files.
    name: String,
    inode: u64,
    holder: Holder,
    /// In a sub-directory: no reservation of this network's pool, but DEL frees it, as the reference does.
    below: bool,
}

impl Known {
    /// Reads a small directory, or opens the index of a large one.
    pub(super) fn of(
        files: &Files,
        volatile: &Path,
        shared: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let names = files.names(Look::First)?;
        if names.complete {
            return Self::read(files, names, shared, false, warnings);
        }
        if shared {
            // The times of a directory that other machines change prove nothing.
            return Self::everything(files, shared, warnings);
        }
        let stat = files.stat()?;
        match Index::open(volatile, &stat) {
            Some(index) if index.is_current(&stat) => {
                Ok(Self { knowledge: Knowledge::Indexed(index), new: Vec::new() })
            }
            Some(index) => Self::catch_up(files, index, warnings),
            None => Self::everything(files, shared, warnings),
        }
    }

    /// Reads every file.
    pub(super) fn everything(
        files: &Files,
        shared: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let names = files.names(Look::All)?;
        let large = !shared && !files.names(Look::First)?.complete;
        Self::read(files, names, shared, large, warnings)
    }

    fn read(
        files: &Files,
        names: Names,
        shared: bool,
        large: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let plain = names.subdirectories.is_empty() && names.entries.iter().all(Entry::is_plain);
        let mut found = Vec::with_capacity(names.entries.len());
        for entry in names.entries {
            found.extend(read_entry(files, entry, shared, warnings)?);
        }
        for name in names.subdirectories {
            read_below(&files.at(&name), &name, &mut found);
        }
        found.sort_by(|a, b| (a.addr, &a.name).cmp(&(b.addr, &b.name)));
        let knowledge = Knowledge::Read { found, indexable: large && plain };
        Ok(Self { knowledge, new: Vec::new() })
    }

    /// Brings an index up to date: lists the directory and reads what differs by name or inode.
    fn catch_up(
        files: &Files,
        mut index: Index,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let in_memory = files.in_memory();
        let names = files.names(if in_memory { Look::All } else { Look::Times })?;
        let plain = names.subdirectories.is_empty() && names.entries.iter().all(Entry::is_plain);
        let Some(slots) = index.all().filter(|_| plain) else {
            index.discard();
            return Self::read(files, names, false, true, warnings);
        };
        let mut old = slots;
        old.sort_unstable_by_key(|(_, slot)| (slot.addr, slot.inode));
        let mut entries = names.entries;
        entries.sort_unstable_by_key(|entry| (entry.addr, entry.inode));
        let since = earlier(index.sealed_at());
        let is_older =
            |entry: &Entry| in_memory || entry.changed.is_some_and(|changed| changed < since);
        let mut usable = true;
        let mut old = old.into_iter().peekable();
        for entry in entries {
            let key = (entry.addr, entry.inode);
            // What the index has and the directory has not, is gone.
            while let Some((place, _)) = old.next_if(|(_, slot)| (slot.addr, slot.inode) < key) {
                usable &= index.remove(place);
            }
            let known = old.next_if(|(_, slot)| (slot.addr, slot.inode) == key);
            if known.is_some() && is_older(&entry) {
                continue;
            }
            if let Some((place, _)) = known {
                usable &= index.remove(place);
            }
            if let Some(found) = read_entry(files, entry, false, warnings)? {
                usable = usable && index.insert(found.slot());
            }
        }
        for (place, _) in old {
            usable &= index.remove(place);
        }
        if usable {
            return Ok(Self { knowledge: Knowledge::Indexed(index), new: Vec::new() });
        }
        index.discard();
        Self::everything(files, false, warnings)
    }

    /// Whether there is no reservation.
    pub(super) fn is_empty(&self) -> bool {
        match &self.knowledge {
            Knowledge::Read { found, .. } => found.iter().all(|found| found.below),
            // Only large directories have one.
            Knowledge::Indexed(_) => false,
        }
    }

    /// Every reservation that was read.
    pub(super) fn records(&self) -> Vec<Record> {
        match &self.knowledge {
            Knowledge::Read { found, .. } => found
                .iter()
                .filter(|found| !found.below)
                .map(|found| Record { addr: found.addr, holder: found.holder.clone() })
                .collect(),
            Knowledge::Indexed(_) => Vec::new(),
        }
    }

    /// What the records say that this attachment, or its container, holds.
    pub(super) fn held(
        &mut self,
        files: &Files,
        attachment: &Attachment,
    ) -> Result<Vec<Held>, StoreError> {
        let index = match &mut self.knowledge {
            Knowledge::Read { found, .. } => {
                let held = found.iter().filter_map(|found| {
                    held_by(&found.holder, attachment)
                        .map(|by_container| Held { addr: found.addr, by_container })
                });
                return Ok(held.collect());
            }
            Knowledge::Indexed(index) => index,
        };
        let mut held = Vec::new();
        for owner in owners_of(attachment) {
            let Some(slots) = index.find(owner) else {
                // The index cannot be read any more.
                *self = Self::everything(files, false, &mut Vec::new())?;
                return self.held(files, attachment);
            };
            for (_, slot) in slots {
                let record = files.read(&slot.addr.to_string())?;
                let holder = record.and_then(|(content, _)| record::parse(&content));
                if let Some(by_container) = holder.and_then(|holder| held_by(&holder, attachment)) {
                    held.push(Held { addr: slot.addr, by_container });
                }
            }
        }
        held.sort_unstable();
        held.dedup();
        Ok(held)
    }

    /// Removes the reservations of these addresses.
    pub(super) fn remove(&mut self, files: &Files, stale: &[Addr]) -> Result<(), StoreError> {
        let index = match &mut self.knowledge {
            Knowledge::Read { found, .. } => {
                let stale: HashSet<Addr> = stale.iter().copied().collect();
                for found in found.iter().filter(|found| stale.contains(&found.addr)) {
                    files.remove(&found.name)?;
                }
                found.retain(|found| !stale.contains(&found.addr));
                return Ok(());
            }
            Knowledge::Indexed(index) => index,
        };
        for addr in stale {
            let name = addr.to_string();
            let record = files.read(&name)?;
            let holder = record.and_then(|(content, _)| record::parse(&content));
            files.remove(&name)?;
            let slots = holder.and_then(|holder| index.find(hash_of(&holder))).unwrap_or_default();
            for (place, _) in slots.into_iter().filter(|(_, slot)| slot.addr == *addr) {
                index.remove(place);
            }
        }
        Ok(())
    }

    /// The names under which these addresses are reserved, as far as they are.
    pub(super) fn names_of(&self, addresses: &HashSet<Addr>) -> Vec<(Addr, String)> {
        match &self.knowledge {
            Knowledge::Read { found, .. } => found
                .iter()
                .filter(|found| !found.below && addresses.contains(&found.addr))
                .map(|found| (found.addr, found.name.clone()))
                .collect(),
            // A directory with other spellings has no index.
            Knowledge::Indexed(_) => {
                addresses.iter().map(|addr| (*addr, addr.to_string())).collect()
            }
        }
    }

    /// Removes these names, and no other spelling of their addresses.
    pub(super) fn remove_named(
        &mut self,
        files: &Files,
        stale: &[(Addr, String)],
    ) -> Result<(), StoreError> {
        if let Knowledge::Read { found, .. } = &mut self.knowledge {
            let names: HashSet<&str> = stale.iter().map(|(_, name)| name.as_str()).collect();
            for (_, name) in stale {
                files.remove(name)?;
            }
            found.retain(|found| !names.contains(found.name.as_str()));
            return Ok(());
        }
        let addresses: Vec<Addr> = stale.iter().map(|(addr, _)| *addr).collect();
        self.remove(files, &addresses)
    }

    /// With reservations that this call has made.
    pub(super) fn with(mut self, new: impl Iterator<Item = Slot>) -> Self {
        self.new.extend(new);
        self
    }

    /// The index to be kept, if this directory has one.
    pub(super) fn into_index(self, files: &Files, volatile: &Path) -> Option<Index> {
        match self.knowledge {
            Knowledge::Read { found, indexable } => {
                if !indexable {
                    return None;
                }
                let slots: Vec<Slot> = found.iter().map(Found::slot).chain(self.new).collect();
                Index::build(volatile, &files.stat().ok()?, &slots)
            }
            Knowledge::Indexed(mut index) => {
                if self.new.iter().all(|slot| index.insert(*slot)) {
                    return Some(index);
                }
                let slots: Option<Vec<Slot>> = index.all().map(|all| {
                    let mut slots: Vec<Slot> =
                        all.into_iter().map(|(_, slot)| slot).chain(self.new).collect();
                    slots.sort_unstable();
                    slots.dedup();
                    slots
                });
                index.discard();
                Index::build(volatile, &files.stat().ok()?, &slots?)
            }
        }
    }

    /// The allocator's view.
    pub(super) const fn view<'a>(&'a mut self, files: &'a Files) -> KnownView<'a> {
        KnownView { known: self, files, listed: None, probes: 0 }
    }
}

impl Found {
    fn slot(&self) -> Slot {
        Slot { addr: self.addr, inode: self.inode, owner: hash_of(&self.holder) }
    }
}

/// A moment that is certainly before `time`, whatever the resolution of the kernel's clock: a tick is
/// 10 ms at most.
const fn earlier((seconds, nanoseconds): (i64, i64)) -> (i64, i64) {
    const SLACK: i64 = 20_000_000;
    if nanoseconds >= SLACK {
        (seconds, nanoseconds - SLACK)
    } else {
        (seconds - 1, nanoseconds + 1_000_000_000 - SLACK)
    }
}

/// Whether a record belongs to an attachment, and if so, whether it names the container only.
fn held_by(holder: &Holder, attachment: &Attachment) -> Option<bool> {
    if holder.is(attachment) {
        return Some(false);
    }
    holder.is_container_of(attachment).then_some(true)
}

/// Reads one reservation. An empty one is the rest of a crash or a power loss: under the lock, on a
/// directory of this node alone, it is put away and its address is free.
fn read_entry(
    files: &Files,
    entry: Entry,
    shared: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Found>, StoreError> {
    let name = entry.name();
    let mut odd = |what: &str| {
        warnings.push(format!("{}: {what}", files.at(&name).display()));
        Holder::Unknown
    };
    let holder = if entry.regular {
        match files.read(&name) {
            Ok(None) => return Ok(None),
            Ok(Some((content, _))) => match record::parse(&content) {
                Some(Holder::Unknown) => odd("names no attachment, treated as taken"),
                Some(holder) => holder,
                None if shared => {
                    odd("empty; perhaps another node is writing it, treated as taken")
                }
                None => {
                    odd("empty, the rest of a crash; its address is free again");
                    files.remove(&name)?;
                    return Ok(None);
                }
            },
            Err(error) => odd(&format!("cannot be read ({error}), treated as taken")),
        }
    } else {
        odd("no regular file, treated as taken")
    };
    Ok(Some(Found { addr: entry.addr, name, inode: entry.inode, holder, below: false }))
}

/// Reservations in sub-directories; what cannot be read is left alone.
fn read_below(dir: &Path, name: &str, found: &mut Vec<Found>) {
    let Ok(Some(files)) = Files::open(dir) else { return };
    let Ok(names) = files.names(Look::All) else { return };
    for entry in names.entries.into_iter().filter(|entry| entry.regular) {
        let own_name = entry.name();
        if let Ok(Some((content, _))) = files.read(&own_name)
            && let Some(holder) = record::parse(&content)
        {
            let name = format!("{name}/{own_name}");
            found.push(Found { addr: entry.addr, name, inode: entry.inode, holder, below: true });
        }
    }
    for below in names.subdirectories {
        read_below(&dir.join(&below), &format!("{name}/{below}"), found);
    }
}

/// The allocator's view of a directory.
pub(super) struct KnownView<'a> {
    known: &'a mut Known,
    files: &'a Files,
    /// Every taken address, ascending, once the directory was listed.
    listed: Option<Vec<Addr>>,
    probes: u32,
}

impl View for KnownView<'_> {
    type Error = StoreError;

    fn held(&mut self, attachment: &Attachment) -> Result<Vec<Held>, StoreError> {
        let mut held = self.known.held(self.files, attachment)?;
        held.sort_unstable();
        Ok(held)
    }

    fn occupancy(&mut self, addr: Addr) -> Result<Occupancy, StoreError> {
        let held = self.files.exists(&addr.to_string())?
            || match &self.known.knowledge {
                // A foreign spelling of the address counts, too.
                Knowledge::Read { found, .. } => {
                    found.iter().any(|found| found.addr == addr && !found.below)
                }
                Knowledge::Indexed(_) => false,
            };
        Ok(if held { Occupancy::Held } else { Occupancy::Free })
    }

    fn first_free(&mut self, interval: Interval) -> Result<Option<Addr>, StoreError> {
        if let Knowledge::Read { found, .. } = &self.known.knowledge {
            let taken = found.iter().filter(|found| !found.below).map(|found| found.addr);
            return Ok(gap(interval, taken));
        }
        // One after the other is fastest where the directory is not nearly full.
        let mut candidate = Some(interval.first());
        while self.listed.is_none() && self.probes < PROBES {
            let Some(addr) = candidate else { return Ok(None) };
            if !self.files.exists(&addr.to_string())? {
                return Ok(Some(addr));
            }
            self.probes += 1;
            candidate = addr.next().filter(|next| interval.contains(*next));
        }
        if self.listed.is_none() {
            let mut taken: Vec<Addr> =
                self.files.names(Look::All)?.entries.into_iter().map(|entry| entry.addr).collect();
            taken.sort_unstable();
            self.listed = Some(taken);
        }
        let taken = self.listed.iter().flatten().copied();
        Ok(candidate.and_then(|first| interval.from(first)).and_then(|rest| gap(rest, taken)))
    }

    fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, StoreError> {
        let Ok(Some((content, _))) = self.files.read(&format!("last_reserved_ip.{set}")) else {
            return Ok(None);
        };
        Ok(std::str::from_utf8(&content).ok().and_then(|text| Addr::parse(text.trim())))
    }
}

/// The lowest address of an interval that is not among these ascending ones.
fn gap(interval: Interval, taken: impl Iterator<Item = Addr>) -> Option<Addr> {
    let mut candidate = interval.first();
    for addr in taken.skip_while(|addr| *addr < interval.first()) {
        if addr > candidate {
            break;
        }
        if addr == candidate {
            candidate = addr.next().filter(|next| interval.contains(*next))?;
        }
    }
    Some(candidate)
}
