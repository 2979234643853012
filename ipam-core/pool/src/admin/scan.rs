//! Reading ranges of keys page by page.

use crate::admin::AdminError;
use crate::key::KeyRange;
use crate::txn::{Answer, Kv, Op, Reply, Txn};

/// How many keys are read at once: with their values that is less than a megabyte.
pub(crate) const PAGE: usize = 2_000;

/// Reads ranges of keys one after the other, each to its end or to a bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    parts: Vec<Part>,
    at: usize,
}

#[derive(Clone, Debug)]
struct Part {
    range: KeyRange,
    keys_only: bool,
    /// How many at most; more than that are not read.
    most: usize,
    found: Vec<Kv>,
    more: bool,
}

impl Scan {
    /// Reads nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Reads this range, too, at most so many keys of it.
    pub(crate) fn and(mut self, range: KeyRange, most: usize) -> Self {
        self.parts.push(Part { range, keys_only: false, most, found: Vec::new(), more: false });
        self
    }

    /// Counts the keys of this range, too: their values are not read.
    pub(crate) fn keys(mut self, range: KeyRange, most: usize) -> Self {
        self.parts.push(Part { range, keys_only: true, most, found: Vec::new(), more: false });
        self
    }

    /// The next request; `None` when all is read. Of a range of which no key is wanted nothing is read.
    pub(crate) fn ask(&mut self) -> Option<Txn> {
        while self.parts.get(self.at).is_some_and(|part| part.most == 0) {
            self.at += 1;
        }
        let part = self.parts.get(self.at)?;
        // After the last key that was read.
        let from = part.found.last().map_or_else(
            || part.range.0.clone(),
            |kv| {
                let mut key = kv.key.clone();
                key.push(0);
                key
            },
        );
        let left = part.most.saturating_sub(part.found.len()).min(PAGE);
        Some(Txn {
            then: vec![Op::Get {
                key: from,
                end: Some(part.range.1.clone()),
                keys_only: part.keys_only,
                // Never 0, which would mean all.
                limit: i64::try_from(left.max(1)).unwrap_or(1),
            }],
            ..Txn::default()
        })
    }

    /// Takes the answer to the last request, and says what is next.
    pub(crate) fn take(&mut self, reply: &Reply) -> Option<Txn> {
        if let Some(part) = self.parts.get_mut(self.at) {
            let (kvs, more) = match reply.answers.first() {
                Some(Answer::Got { kvs, more }) => (kvs.as_slice(), *more),
                _ => (&[][..], false),
            };
            part.found.extend_from_slice(kvs);
            let full = part.found.len() >= part.most;
            // An answer with nothing in it ends a range, whatever it says.
            if full || !more || kvs.is_empty() {
                part.more = more;
                self.at += 1;
            }
        }
        self.ask()
    }

    /// What was read of the range at this position.
    pub(crate) fn found(&self, position: usize) -> &[Kv] {
        self.parts.get(position).map_or(&[], |part| &part.found)
    }

    /// Whether a range had more keys than were to be read.
    pub(crate) fn more(&self) -> bool {
        self.parts.iter().any(|part| part.more)
    }

    /// Refuses if a range had more keys than were to be read.
    ///
    /// # Errors
    /// If so.
    pub(crate) fn all(&self) -> Result<(), AdminError> {
        match self.parts.iter().find(|part| part.more) {
            Some(part) => Err(AdminError::TooMany(part.most)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Etcd;

    #[test]
    fn all_pages_are_read() {
        let mut etcd = Etcd::default();
        for n in 0..(2 * PAGE + 1) {
            let then = vec![Op::put(format!("a/{n:06}"), "")];
            etcd.txn(&Txn { then, ..Txn::default() }).unwrap();
        }
        let range = || (b"a/".to_vec(), b"a0".to_vec());
        for (most, found, more) in [
            (usize::MAX, 2 * PAGE + 1, false),
            (5, 5, true),
            (PAGE + 1, PAGE + 1, true),
            (1, 1, true),
        ] {
            let mut scan = Scan::new().and((b"b".to_vec(), b"c".to_vec()), 9).and(range(), most);
            let mut next = scan.ask();
            let mut asked = 0;
            while let Some(txn) = next {
                next = scan.take(&etcd.txn(&txn).unwrap());
                asked += 1;
                assert!(asked < 10);
            }
            assert_eq!((scan.found(0).len(), scan.found(1).len()), (0, found));
            assert_eq!(scan.more(), more);
            assert_eq!(scan.all().is_err(), more);
            assert!(scan.found(1).windows(2).all(|pair| pair[0].key < pair[1].key));
        }
    }
}
