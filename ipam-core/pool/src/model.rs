/*!
etcd's key-value store in memory: the model that tests run operations against.

It carries out the transactions of [`crate::txn`] as etcd does (`server/etcdserver/txn` and
`server/storage/mvcc` of etcd 3.4 to 3.6): what is compared, which revisions are given, what is refused.
There is no history: nothing here reads old revisions.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::txn::{Answer, Compare, Kv, MOST, Op, Reply, Target, Txn};

/// Decides which compares are taken as held, whatever is there: a negative control.
pub type Ignore = Arc<dyn Fn(&Compare) -> bool + Send + Sync>;

/// A cluster of etcd.
#[derive(Clone)]
pub struct Etcd {
    cluster: u64,
    revision: i64,
    kvs: BTreeMap<Vec<u8>, Kv>,
    leases: BTreeSet<i64>,
    ignore: Option<Ignore>,
}

/// Why a request is refused. Nothing of it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A list of the transaction is longer than [`MOST`].
    #[error("too many operations in txn request")]
    TooMany,
    /// A branch writes a key twice, or writes and deletes it.
    #[error("duplicate key given in txn request")]
    Duplicate,
    /// A key is empty.
    #[error("key is not provided")]
    EmptyKey,
    /// There is no such lease.
    #[error("requested lease not found")]
    NoLease,
}

impl Default for Etcd {
    fn default() -> Self {
        Self::new(0x00c1_0a7e)
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "revision {}", self.revision)?;
        self.kvs.values().try_for_each(|kv| {
            let (key, value) =
                (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
            writeln!(f, "{key} ({}, {}): {value}", kv.created, kv.modified)
        })
    }
}

impl Etcd {
    /// An empty cluster of this ID.
    pub const fn new(cluster: u64) -> Self {
        Self { cluster, revision: 1, kvs: BTreeMap::new(), leases: BTreeSet::new(), ignore: None }
    }

    /// Takes some compares as held from now on, or none.
    pub fn ignore(&mut self, ignore: Option<Ignore>) {
        self.ignore = ignore;
    }

    /// The revision of the last change.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// What is there under a key.
    pub fn get(&self, key: &[u8]) -> Option<&Kv> {
        self.kvs.get(key)
    }

    /// What is there in a range, ascending; `end` is exclusive.
    pub fn range<'a>(&'a self, (first, end): &(Vec<u8>, Vec<u8>)) -> impl Iterator<Item = &'a Kv> {
        self.select(first, Some(end)).into_iter()
    }

    /// Everything, ascending.
    pub fn all(&self) -> impl Iterator<Item = &Kv> {
        self.kvs.values()
    }

    /// Grants a lease, or keeps one alive.
    pub fn grant(&mut self, lease: i64) {
        self.leases.insert(lease);
    }

    /// Ends a lease: what is attached to it goes in one change.
    pub fn expire(&mut self, lease: i64) {
        if !self.leases.remove(&lease) {
            return;
        }
        let before = self.kvs.len();
        self.kvs.retain(|_, kv| kv.lease != lease);
        if self.kvs.len() < before {
            self.revision += 1;
        }
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    /// If etcd would refuse it.
    pub fn txn(&mut self, txn: &Txn) -> Result<Reply, Refused> {
        check(txn)?;
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        let lost = |op: &Op| match op {
            Op::Put { lease, .. } => *lease != 0 && !self.leases.contains(lease),
            _ => false,
        };
        if branch.iter().any(lost) {
            return Err(Refused::NoLease);
        }
        // All changes of a transaction have one revision; without a change there is no new one.
        let next = self.revision + 1;
        let mut changed = false;
        let mut answers = Vec::with_capacity(branch.len());
        for op in branch {
            answers.push(match op {
                Op::Get { key, end, keys_only, limit } => {
                    self.read(key, end.as_deref(), *keys_only, *limit)
                }
                Op::Put { key, value, lease } => {
                    changed = true;
                    self.put(next, key, value, *lease);
                    Answer::Put
                }
                Op::Delete { key, end } => {
                    let keys: Vec<Vec<u8>> = self
                        .select(key, end.as_deref())
                        .into_iter()
                        .map(|kv| kv.key.clone())
                        .collect();
                    changed |= !keys.is_empty();
                    for key in &keys {
                        self.kvs.remove(key);
                    }
                    Answer::Deleted(i64::try_from(keys.len()).unwrap_or(i64::MAX))
                }
            });
        }
        if changed {
            self.revision = next;
        }
        Ok(Reply {
            succeeded,
            revision: self.revision,
            cluster: self.cluster,
            answers,
            doubt: false,
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        if self.ignore.as_ref().is_some_and(|ignore| ignore(compare)) {
            return true;
        }
        let kvs = self.select(&compare.key, compare.end.as_deref());
        let one = |created: i64, modified: i64, value: Option<&[u8]>| match &compare.target {
            Target::Created(revision) => created == *revision,
            Target::Modified(revision) => modified == *revision,
            Target::Value(wanted) => value == Some(wanted.as_slice()),
        };
        if kvs.is_empty() {
            // As of a key that is not there: revision 0, and no value is equal to none.
            return one(0, 0, None);
        }
        kvs.into_iter().all(|kv| one(kv.created, kv.modified, Some(&kv.value)))
    }

    fn read(&self, key: &[u8], end: Option<&[u8]>, keys_only: bool, limit: i64) -> Answer {
        let kvs = self.select(key, end);
        let most = usize::try_from(limit).ok().filter(|most| *most > 0).unwrap_or(kvs.len());
        Answer::Got {
            more: kvs.len() > most,
            kvs: kvs
                .into_iter()
                .take(most)
                .map(|kv| Kv {
                    value: if keys_only { Vec::new() } else { kv.value.clone() },
                    ..kv.clone()
                })
                .collect(),
        }
    }

    fn put(&mut self, revision: i64, key: &[u8], value: &[u8], lease: i64) {
        let created = self.kvs.get(key).map_or(revision, |kv| kv.created);
        self.kvs.insert(
            key.to_vec(),
            Kv { key: key.to_vec(), value: value.to_vec(), created, modified: revision, lease },
        );
    }

    /// One key, or a range. An end of one zero byte stands for no end.
    fn select(&self, key: &[u8], end: Option<&[u8]>) -> Vec<&Kv> {
        match end {
            None => self.kvs.get(key).into_iter().collect(),
            Some([0]) => self
                .kvs
                .range::<[u8], _>((Bound::Included(key), Bound::Unbounded))
                .map(|(_, kv)| kv)
                .collect(),
            Some(end) if end <= key => Vec::new(),
            Some(end) => self
                .kvs
                .range::<[u8], _>((Bound::Included(key), Bound::Excluded(end)))
                .map(|(_, kv)| kv)
                .collect(),
        }
    }
}

/// What etcd refuses whatever is there.
fn check(txn: &Txn) -> Result<(), Refused> {
    if [txn.compares.len(), txn.then.len(), txn.otherwise.len()].iter().any(|len| *len > MOST) {
        return Err(Refused::TooMany);
    }
    if txn.compares.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refused::EmptyKey);
    }
    for branch in [&txn.then, &txn.otherwise] {
        let mut puts: BTreeSet<&[u8]> = BTreeSet::new();
        for op in branch {
            let (Op::Get { key, .. } | Op::Put { key, .. } | Op::Delete { key, .. }) = op;
            if key.is_empty() {
                return Err(Refused::EmptyKey);
            }
            if matches!(op, Op::Put { .. }) && !puts.insert(key) {
                return Err(Refused::Duplicate);
            }
        }
        let deleted = |put: &&[u8]| {
            branch.iter().any(|op| match op {
                Op::Delete { key, end: None } => key == put,
                Op::Delete { key, end: Some(end) } => {
                    key.as_slice() <= *put && (end.as_slice() == [0] || *put < end.as_slice())
                }
                _ => false,
            })
        };
        if puts.iter().any(deleted) {
            return Err(Refused::Duplicate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn then(ops: Vec<Op>) -> Txn {
        Txn { then: ops, ..Txn::default() }
    }

    fn put(etcd: &mut Etcd, key: &str, value: &str) -> i64 {
        etcd.txn(&then(vec![Op::put(key, value)])).unwrap().revision
    }

    fn holds(etcd: &mut Etcd, compare: Compare) -> bool {
        etcd.txn(&Txn { compares: vec![compare], ..Txn::default() }).unwrap().succeeded
    }

    fn range(first: &str, end: &str) -> (Vec<u8>, Vec<u8>) {
        (first.into(), end.into())
    }

    #[test]
    fn a_transaction_is_one_revision() {
        let mut etcd = Etcd::default();
        assert_eq!(etcd.revision(), 1);
        let reply = etcd.txn(&then(vec![Op::put("a", "1"), Op::put("b", "2")])).unwrap();
        assert_eq!((reply.succeeded, reply.revision), (true, 2));
        assert_eq!(put(&mut etcd, "a", "1"), 3, "also if nothing is different");
        let a = etcd.get(b"a").unwrap();
        assert_eq!((a.created, a.modified), (2, 3));
        let b = etcd.get(b"b").unwrap();
        assert_eq!((b.created, b.modified), (2, 2));
        for nothing in [
            then(vec![]),
            then(vec![Op::get("a")]),
            then(vec![Op::delete("nobody")]),
            Txn {
                compares: vec![Compare::absent("a")],
                then: vec![Op::put("a", "9")],
                otherwise: vec![],
            },
        ] {
            assert_eq!(etcd.txn(&nothing).unwrap().revision, 3);
        }
        let reply = etcd.txn(&then(vec![Op::delete("a"), Op::get("a"), Op::put("c", "")])).unwrap();
        assert_eq!(
            reply.answers,
            [Answer::Deleted(1), Answer::Got { kvs: vec![], more: false }, Answer::Put]
        );
        assert_eq!(put(&mut etcd, "a", "1"), 5);
        assert_eq!(etcd.get(b"a").unwrap().created, 5, "made again, it is another one");
    }

    #[test]
    fn compares_are_etcds() {
        let mut etcd = Etcd::default();
        let a = put(&mut etcd, "r/a", "one");
        let b = put(&mut etcd, "r/b", "two");
        let all = || range("r/", "r0");
        let of = |target| Compare { key: "r/".into(), end: Some("r0".into()), target };
        for (compare, expected) in [
            (Compare::absent("r/a"), false),
            (Compare::absent("r/c"), true),
            (Compare::created("r/a", a), true),
            (Compare::created("r/a", b), false),
            (Compare::created("r/c", a), false),
            (Compare::modified("r/b", b), true),
            (Compare::modified("r/c", 0), true),
            (Compare::value("r/a", "one"), true),
            (Compare::value("r/a", "two"), false),
            (Compare::value("r/c", ""), false),
            (Compare::empty(all()), false),
            (Compare::empty(range("r/a0", "r/b")), true),
            (Compare::empty(range("r/b", "r/a")), true),
            (of(Target::Created(a)), false),
            (Compare { end: Some("r/b".into()), ..of(Target::Created(a)) }, true),
            (Compare { key: "s".into(), end: Some("t".into()), target: Target::Created(a) }, false),
            (
                Compare { key: "s".into(), end: Some("t".into()), target: Target::Value(vec![]) },
                false,
            ),
        ] {
            assert_eq!(holds(&mut etcd, compare.clone()), expected, "{compare:?}");
        }
        etcd.ignore(Some(Arc::new(|compare| compare.end.is_some())));
        assert!(holds(&mut etcd, Compare::empty(all())));
        assert!(!holds(&mut etcd, Compare::absent("r/a")));
    }

    #[test]
    fn reads_are_limited() {
        let mut etcd = Etcd::default();
        for key in ["a", "b", "c"] {
            put(&mut etcd, key, "value");
        }
        for (op, keys, values, more) in [
            (Op::get("b"), "b", true, false),
            (Op::range(range("a", "c")), "ab", true, false),
            (Op::keys(range("a", "d"), 2), "ab", false, true),
            (Op::keys(range("a", "d"), 3), "abc", false, false),
            (Op::keys(range("b", "\0"), 0), "bc", false, false),
            (Op::get("d"), "", true, false),
        ] {
            let reply = etcd.txn(&then(vec![op])).unwrap();
            let read: String =
                reply.got(0).iter().map(|kv| std::str::from_utf8(&kv.key).unwrap()).collect();
            assert_eq!(read, keys);
            assert!(reply.got(0).iter().all(|kv| kv.value.is_empty() != values));
            assert!(matches!(reply.answers[0], Answer::Got { more: m, .. } if m == more));
        }
        let reply = etcd.txn(&then(vec![Op::Delete { key: "a".into(), end: Some("c".into()) }]));
        assert_eq!(reply.unwrap().answers, [Answer::Deleted(2)]);
        assert_eq!(etcd.all().count(), 1);
    }

    #[test]
    fn what_etcd_refuses_is_refused() {
        let mut etcd = Etcd::default();
        let puts = |count: usize| -> Vec<Op> {
            (0..count).map(|i| Op::put(format!("k{i}"), "")).collect()
        };
        let all = Op::Delete { key: "k".into(), end: Some("l".into()) };
        for (txn, why) in [
            (then(puts(129)), Refused::TooMany),
            (Txn { otherwise: puts(129), ..Txn::default() }, Refused::TooMany),
            (Txn { compares: vec![Compare::absent("k"); 129], ..Txn::default() }, Refused::TooMany),
            (then(vec![Op::put("k", "1"), Op::put("k", "2")]), Refused::Duplicate),
            (then(vec![all.clone(), Op::put("k", "2")]), Refused::Duplicate),
            (then(vec![Op::put("k", "2"), Op::delete("k")]), Refused::Duplicate),
            (then(vec![Op::put("", "2")]), Refused::EmptyKey),
            (then(vec![Op::Put { key: "k".into(), value: vec![], lease: 7 }]), Refused::NoLease),
        ] {
            assert_eq!(etcd.txn(&txn), Err(why));
        }
        assert_eq!(etcd.revision(), 1);
        let fits = Txn {
            compares: vec![Compare::absent("z"); 128],
            then: puts(128),
            otherwise: vec![all.clone(), all, Op::put("z", "")],
        };
        assert!(etcd.txn(&fits).unwrap().succeeded);
    }

    #[test]
    fn keys_die_with_their_lease() {
        let mut etcd = Etcd::default();
        etcd.grant(7);
        for key in ["a", "b"] {
            let put = Op::Put { key: key.into(), value: vec![], lease: 7 };
            etcd.txn(&then(vec![put])).unwrap();
        }
        put(&mut etcd, "b", "kept: written again without the lease");
        etcd.expire(7);
        assert_eq!(etcd.revision(), 5);
        assert!(etcd.get(b"a").is_none() && etcd.get(b"b").is_some());
        etcd.expire(7);
        assert_eq!(etcd.revision(), 5);
    }
}
