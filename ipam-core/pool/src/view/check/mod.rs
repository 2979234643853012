/*!
What is wrong in etcd, and how it is mended.

The invariants that are looked for are those that records can show: one holder for an address, blocks that
do not overlap and lie in their pool, no address without a block or an exception, names and indexes that
point to one node, nothing left of what is over. Nothing here frees an address that a living node may be
using: what is mended is what nobody can hold, and what only points the wrong way.
*/

mod addresses;
mod blocks;
mod nodes;
#[cfg(test)]
mod tests;

use ipam_core::addr::Addr;

use super::snapshot::Snapshot;
use crate::key::Key;
use crate::record::SCHEMA;
use crate::txn::{Compare, Op, Txn};

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gravity {
    /// Nothing is at stake but tidiness, or it may be intended.
    Hint,
    /// Something does not work as it should, or will not.
    Warning,
    /// An address may be used twice, or is not reached.
    Broken,
}

impl Gravity {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is called, one word for programs.
    pub kind: &'static str,
    /// How bad it is.
    pub gravity: Gravity,
    /// The space, where it is about one.
    pub space: Option<String>,
    /// The address or the first one of a block, where it is about one.
    pub addr: Option<Addr>,
    /// The key that it is about.
    pub key: Vec<u8>,
    /// What is wrong, one sentence without a full stop.
    pub what: String,
    /// What mending does, or what a person can do.
    pub advice: &'static str,
    /// What is as it was while the fault is there.
    evidence: Vec<Compare>,
    /// What mends it; nothing if that is for a person to decide.
    remedy: Vec<Op>,
}

impl Fault {
    /// Whether it can be mended without a doubt.
    pub const fn is_mendable(&self) -> bool {
        !self.remedy.is_empty()
    }
}

/// A transaction that succeeds if the fault is still there, and was there at one moment: the parts of a large
/// snapshot are read at different ones.
pub fn confirm(fault: &Fault) -> Txn {
    Txn { compares: fault.evidence.clone(), ..Txn::default() }
}

/// A transaction that mends the fault, if everything that it is about is as it was seen; `None` if a person has
/// to decide.
pub fn mend(fault: &Fault) -> Option<Txn> {
    fault.is_mendable().then(|| Txn {
        compares: fault.evidence.clone(),
        then: fault.remedy.clone(),
        otherwise: Vec::new(),
    })
}

/// Looks for what is wrong at `now`, in seconds since 1970; by space and kind, the worst first.
pub fn check(snapshot: &Snapshot, now: u64) -> Vec<Fault> {
    let mut report = Report { snapshot, now, faults: Vec::new() };
    report.records();
    nodes::check(&mut report);
    blocks::check(&mut report);
    addresses::check(&mut report);
    let mut faults = report.faults;
    faults.sort_by(|a, b| {
        (b.gravity, &a.space, a.kind, &a.key).cmp(&(a.gravity, &b.space, b.kind, &b.key))
    });
    faults
}

/// Faults in the making.
struct Report<'a> {
    snapshot: &'a Snapshot,
    now: u64,
    faults: Vec<Fault>,
}

impl Report<'_> {
    /// Adds a fault; what follows is added to it.
    fn add(
        &mut self,
        kind: &'static str,
        gravity: Gravity,
        key: Vec<u8>,
        what: String,
        advice: &'static str,
    ) -> New<'_> {
        let (space, addr) = match self.snapshot.keys.parse(&key) {
            Some(
                Key::Block { space, first: addr }
                | Key::Address { space, addr }
                | Key::Exception { space, addr }
                | Key::Request { space, addr, .. },
            ) => (Some(space), Some(addr)),
            Some(Key::Pools { space } | Key::Sticky { space, .. }) => (Some(space), None),
            _ => (None, None),
        };
        let fault = Fault {
            kind,
            gravity,
            space,
            addr,
            key,
            what,
            advice,
            evidence: Vec::new(),
            remedy: Vec::new(),
        };
        New { faults: &mut self.faults, fault }
    }

    /// What cannot be read at all.
    fn records(&mut self) {
        let snapshot = self.snapshot;
        for bad in &snapshot.unreadable {
            let (kind, gravity, advice) = if snapshot.keys.parse(&bad.key).is_none() {
                (
                    "unknown-key",
                    Gravity::Hint,
                    "a later version wrote it, or somebody by hand: nothing here looks at it",
                )
            } else {
                (
                    "unreadable",
                    Gravity::Broken,
                    "a later version wrote it, or somebody by hand: correct it with etcdctl, or delete it \
                     if it is known that nobody uses what it stands for",
                )
            };
            let what = format!("{}: {}", String::from_utf8_lossy(&bad.key), bad.why);
            self.add(kind, gravity, bad.key.clone(), what, advice)
                .while_modified(bad.key.clone(), bad.modified);
        }
        if let Some(meta) = &snapshot.meta
            && meta.record.min_reader > SCHEMA
        {
            let what = format!(
                "the data has schema {}, which this version does not know (it knows {SCHEMA})",
                meta.record.schema
            );
            let key = snapshot.keys.meta();
            self.add(
                "newer-schema",
                Gravity::Broken,
                key.clone(),
                what,
                "install the version that wrote it, or a later one",
            )
            .while_modified(key, meta.modified);
        }
        for (name, space) in &snapshot.spaces {
            let key = snapshot.keys.pools(name);
            let modified = space.record.as_ref().map_or(0, |record| record.modified);
            for (pool, why) in &space.bad_pools {
                let what = format!("pool {pool}: {why}");
                let advice = "correct it with `plat pool edit`; no node uses it as it is";
                self.add("bad-pool", Gravity::Broken, key.clone(), what, advice)
                    .while_modified(key.clone(), modified);
            }
            let pools: Vec<_> = space.pools.values().collect();
            for (position, pool) in pools.iter().enumerate() {
                for other in pools.iter().skip(position + 1) {
                    let shared =
                        pool.intervals().find(|one| other.intervals().any(|two| one.overlaps(two)));
                    let Some(shared) = shared else { continue };
                    let what = format!(
                        "pools {} and {} share addresses of {shared}",
                        pool.name, other.name
                    );
                    let advice = "make one of them smaller, or move it to another space";
                    self.add("pools-overlap", Gravity::Broken, key.clone(), what, advice)
                        .while_modified(key.clone(), modified);
                }
            }
        }
    }
}

/// A fault that is being described; it is added when this ends.
struct New<'a> {
    faults: &'a mut Vec<Fault>,
    fault: Fault,
}

impl New<'_> {
    /// It is there as long as this key has this revision; 0: is not there.
    fn while_modified(mut self, key: Vec<u8>, modified: i64) -> Self {
        self.fault.evidence.push(Compare::modified(key, modified));
        self
    }

    /// It is there as long as this key is not.
    fn while_absent(self, key: Vec<u8>) -> Self {
        self.while_modified(key, 0)
    }

    /// It is there as long as this block is held under this fence.
    fn while_fenced(mut self, key: Vec<u8>, fence: i64) -> Self {
        self.fault.evidence.push(Compare::created(key, fence));
        self
    }

    /// It is mended so.
    fn mended_by(mut self, op: Op) -> Self {
        self.fault.remedy.push(op);
        self
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        let empty = Fault {
            kind: "",
            gravity: Gravity::Hint,
            space: None,
            addr: None,
            key: Vec::new(),
            what: String::new(),
            advice: "",
            evidence: Vec::new(),
            remedy: Vec::new(),
        };
        self.faults.push(std::mem::replace(&mut self.fault, empty));
    }
}
