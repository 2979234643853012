/*!
What people do to a network directory: free what they saw, put away what is broken, fill it, set it
aside. Everything under the lock, and everything looked at again there.
*/

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::identity::{Holder, Network};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::files::Before;
use super::index::Index;
use super::known::Known;
use super::pending::{Journal, Planned};
use super::seen::{is_temporary, mark_of};
use super::{DirStore, Location, MARK, Open, PIN, record};
use crate::error::{Context, StoreError};
use crate::places::Places;
use crate::survey::{Allocation, Fault, FaultKind, NetworkState};
use crate::{DEFAULT_DATA_DIR, StateDirs};

impl DirStore {
    /// The store of a network in a dataDir that the plugins know by another path, because they run below
    /// another root directory.
    pub(crate) fn known_as(
        data_dir: PathBuf,
        known_as: &Path,
        network: Network,
        lock_timeout: Duration,
        state: StateDirs,
    ) -> Self {
        let elsewhere = known_as != Path::new(DEFAULT_DATA_DIR);
        let places = elsewhere.then(|| Places::new(&state.durable, &network));
        let location = Location { data_dir, network, shared: None, lock_timeout };
        let mut store = Self::new(location, state);
        store.places = places;
        known_as.clone_into(&mut store.known_as);
        store
    }

    /// The same store, on a directory that other nodes use, too.
    pub(crate) fn shared(mut self) -> Self {
        self.location.shared = Some(true);
        self
    }

    /// Frees those records that are still exactly as they were seen, and tells which.
    pub(crate) fn release_seen(&mut self, seen: &[Allocation]) -> Result<Vec<Addr>, StoreError> {
        let Some(open) = self.open(false)? else { return Ok(Vec::new()) };
        let mut known = self.know(&open)?;
        let mut wanted: HashMap<Addr, Vec<&Allocation>> = HashMap::new();
        for allocation in seen {
            wanted.entry(allocation.addr).or_default().push(allocation);
        }
        let mut buffer = Vec::new();
        let mut stale: Vec<(Addr, String)> = Vec::new();
        let addresses: HashSet<Addr> = wanted.keys().copied().collect();
        for (addr, name) in known.names_of(&addresses) {
            let now = still(&open, &name, &mut buffer);
            let is_seen = |allocation: &&Allocation| {
                now.as_ref().is_some_and(|(holder, since)| {
                    allocation.holder == *holder && allocation.since == Some(*since)
                })
            };
            if wanted.get(&addr).is_some_and(|seen| seen.iter().any(is_seen)) {
                stale.push((addr, name));
            }
        }
        stale.sort_unstable();
        let addresses: Vec<Addr> = stale.iter().map(|(addr, _)| *addr).collect();
        if stale.is_empty() {
            self.keep(&open, known);
            return Ok(addresses);
        }
        let noted = stale.len() > 1 && self.note_removal(&open, &addresses);
        let removed = known.remove_named(&open.files, &stale);
        self.removed(&open, known, noted, removed)?;
        Ok(addresses)
    }

    /// Puts away what is broken, where that loses nothing, and tells what was: empty reservations on a
    /// directory of this node alone, the rest of a crash, marks without sense or as they were seen, an index
    /// that is wrong. Nothing else is touched.
    pub(crate) fn repair(&mut self, faults: &[Fault]) -> Result<Vec<Fault>, StoreError> {
        // A mark alone is no use of the directory for a DEL, but may be broken all the same.
        let exists = self.path.is_dir();
        let Some(open) = self.open(exists)? else { return Ok(Vec::new()) };
        let mut buffer = vec![0; 256];
        let mut repaired = Vec::new();
        for fault in faults {
            let done = match fault.kind {
                FaultKind::Index => {
                    let stat = open.files.stat()?;
                    Index::open(&self.state.volatile, &stat).map(Index::discard).is_some()
                }
                FaultKind::Empty | FaultKind::Foreign | FaultKind::Mark
                    if !fault.what.contains('/') =>
                {
                    let Ok(name) = CString::new(fault.what.as_str()) else { continue };
                    let Ok(peek) = open.files.peek(&name, &mut buffer) else { continue };
                    let content = buffer.get(..peek.length).unwrap_or_default();
                    let is_still = peek.regular
                        && match fault.kind {
                            FaultKind::Empty => {
                                !open.shared
                                    && peek.length == 0
                                    && Addr::parse(&fault.what).is_some()
                            }
                            FaultKind::Foreign => is_temporary(&fault.what),
                            _ => {
                                let text = std::str::from_utf8(content).ok();
                                let now = text.and_then(|text| Addr::parse(text.trim()));
                                mark_of(&name).is_some() && now == fault.addr
                            }
                        };
                    if is_still {
                        open.files.remove(&fault.what)?;
                    }
                    is_still
                }
                _ => false,
            };
            if done {
                repaired.push(fault.clone());
            }
        }
        Ok(repaired)
    }

    /// Adds what a network holds, with its marks, all or nothing, also when killed; tells how many addresses
    /// that was.
    pub(crate) fn fill(&mut self, network: &NetworkState) -> Result<usize, StoreError> {
        let Some(open) = self.open(true)? else {
            return Err(StoreError::Unstable { path: self.path.clone() });
        };
        let known = Known::everything(&open.files, open.shared, &mut self.warnings)?;
        let records = known.records();
        let pinned = self.read_pin(&open.files)?.filter(|_| !records.is_empty());
        if let (Some(pinned), Some(pin)) = (pinned, network.pin)
            && pinned != pin
        {
            return Err(StoreError::OtherNode { path: self.path.clone(), pinned, pin });
        }
        let there: HashMap<Addr, &Holder> =
            records.iter().map(|record| (record.addr, &record.holder)).collect();
        let mut new: Vec<&Allocation> = Vec::new();
        let mut own: HashMap<Addr, &Holder> = HashMap::new();
        for allocation in &network.allocations {
            let other = there.get(&allocation.addr).or_else(|| own.get(&allocation.addr));
            match other {
                Some(holder) if **holder == allocation.holder => {}
                Some(holder) => {
                    return Err(StoreError::Held {
                        addr: allocation.addr,
                        holder: match holder {
                            Holder::Attachment(attachment) => attachment.to_string(),
                            Holder::Container(id) => id.to_string(),
                            Holder::Unknown => "somebody unknown".to_owned(),
                        },
                        path: self.path.clone(),
                    });
                }
                None => {
                    own.insert(allocation.addr, &allocation.holder);
                    new.push(allocation);
                }
            }
        }
        if let Some(places) = &self.places {
            places.remember(&self.remembered())?;
        }
        let mut made = Made::default();
        let result = self.fill_with(&open, &new, network, &mut made);
        if result.is_err() {
            for name in &made.linked {
                open.files.remove(name)?;
            }
            for (mark, before) in made.overwritten.iter().rev() {
                open.files.restore(mark, before);
            }
        }
        if made.noted {
            let cleared = open.pending.clear();
            result?;
            cleared?;
        } else {
            result?;
        }
        Ok(new.len())
    }

    fn fill_with(
        &self,
        open: &Open,
        new: &[&Allocation],
        network: &NetworkState,
        made: &mut Made,
    ) -> Result<(), StoreError> {
        let mut journal = open.pending.begin();
        made.noted = journal.is_some();
        for allocation in new {
            let content = match &allocation.holder {
                Holder::Attachment(attachment) => record::render(attachment),
                Holder::Container(id) => id.to_string(),
                Holder::Unknown => record::NOBODY.to_owned(),
            };
            let file = open.files.unnamed(&content, 0)?;
            let mut time = clock_gettime(ClockId::Realtime);
            if let Some(since) = allocation.since.and_then(|since| i64::try_from(since).ok()) {
                time = Timespec { tv_sec: since, tv_nsec: 0 };
            }
            let name = allocation.addr.to_string();
            let fingerprint = file.fingerprint(time);
            if let (Some(journal), Some(fingerprint)) = (&mut journal, fingerprint) {
                let planned = Planned { addr: allocation.addr, fingerprint };
                journal.add(&planned).context("write", &self.path)?;
            }
            let linked = open.files.link(&file, &name);
            open.files.settle(&file)?;
            if !linked? {
                return Err(Errno::EXIST).context("link", &open.files.at(&name));
            }
            made.linked.push(name);
        }
        drop::<Option<Journal>>(journal);
        let marks = network.marks.iter().map(|(set, addr)| (format!("{MARK}{set}"), *addr));
        for (mark, addr) in marks {
            let before = open.files.overwrite(&mark, addr.to_string().as_bytes())?;
            made.overwritten.push((mark, before));
        }
        if let Some(pin) = network.pin {
            let before = open.files.overwrite(PIN, pin.to_string().as_bytes())?;
            made.overwritten.push((PIN.to_owned(), before));
        }
        Ok(())
    }

    /// Gives the directory another name within its dataDir, once `copied` has taken over what is in it; the
    /// lock is held meanwhile. False, with nothing done, if there is no directory.
    pub(crate) fn set_aside<E: From<StoreError>>(
        &mut self,
        name: &str,
        copied: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(open) = self.open(false)? else { return Ok(false) };
        copied()?;
        let aside = self.location.data_dir.join(name);
        let renamed = rustix::fs::renameat_with(
            rustix::fs::CWD,
            &self.path,
            rustix::fs::CWD,
            &aside,
            rustix::fs::RenameFlags::NOREPLACE,
        );
        renamed.context("rename", &aside)?;
        if let Some(places) = &self.places {
            places.forget(&self.remembered());
        }
        drop(open);
        Ok(true)
    }
}

/// What a call has made so far.
#[derive(Debug, Default)]
struct Made {
    linked: Vec<String>,
    overwritten: Vec<(String, Before)>,
    noted: bool,
}

/// Who holds a reservation now, and since when.
fn still(open: &Open, name: &str, buffer: &mut Vec<u8>) -> Option<(Holder, u64)> {
    buffer.resize(usize::try_from(record::LARGEST).ok()?, 0);
    let name = CString::new(name).ok()?;
    let peek = open.files.peek(&name, buffer).ok()?;
    if !peek.regular {
        return Some((Holder::Unknown, peek.modified));
    }
    Some((record::parse(buffer.get(..peek.length)?)?, peek.modified))
}
