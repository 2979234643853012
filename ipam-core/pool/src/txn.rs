/*!
Transactions of etcd, as values.

All that is ever asked of etcd is one of these: compares, what to do if all of them hold, and what to
read if one does not, so that a failure brings the evidence for the next step. The same values are carried
out by a client and by a model in tests.
*/

/// How many compares, and how many operations in each branch, etcd accepts in one transaction.
pub const MOST: usize = 128;

/// How many addresses are written in one transaction: each needs a compare, and fences need some, too.
pub const BATCH: usize = 120;

/// One transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is done if all of it holds.
    pub then: Vec<Op>,
    /// What is done if not.
    pub otherwise: Vec<Op>,
}

/// Something that must hold of a key, or of every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key, or where the range begins.
    pub key: Vec<u8>,
    /// Where the range ends, exclusive.
    pub end: Option<Vec<u8>>,
    /// What must hold. For a key that is not there both revisions are 0 and there is no value.
    pub target: Target,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The revision that created the key; 0: there is none.
    Created(i64),
    /// The revision that changed the key last; 0: there is none.
    Modified(i64),
    /// The value.
    Value(Vec<u8>),
}

impl Compare {
    /// The key is not there.
    pub fn absent(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), end: None, target: Target::Created(0) }
    }

    /// No key of the range is there.
    pub fn empty((key, end): (Vec<u8>, Vec<u8>)) -> Self {
        Self { key, end: Some(end), target: Target::Created(0) }
    }

    /// The key was created by this revision.
    pub fn created(key: impl Into<Vec<u8>>, revision: i64) -> Self {
        Self { key: key.into(), end: None, target: Target::Created(revision) }
    }

    /// The key was changed last by this revision; 0: it is not there.
    pub fn modified(key: impl Into<Vec<u8>>, revision: i64) -> Self {
        Self { key: key.into(), end: None, target: Target::Modified(revision) }
    }

    /// The key is there with this value.
    pub fn value(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), end: None, target: Target::Value(value.into()) }
    }
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a key, or a range in ascending order.
    Get {
        /// The key, or where the range begins.
        key: Vec<u8>,
        /// Where the range ends, exclusive.
        end: Option<Vec<u8>>,
        /// Whether values are left out.
        keys_only: bool,
        /// How many keys at most; 0: all.
        limit: i64,
    },
    /// Writes a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The lease that it dies with; 0: none.
        lease: i64,
    },
    /// Deletes a key or a range.
    Delete {
        /// The key, or where the range begins.
        key: Vec<u8>,
        /// Where the range ends, exclusive.
        end: Option<Vec<u8>>,
    },
}

impl Op {
    /// Reads one key.
    pub fn get(key: impl Into<Vec<u8>>) -> Self {
        Self::Get { key: key.into(), end: None, keys_only: false, limit: 0 }
    }

    /// Reads a range.
    pub fn range((key, end): (Vec<u8>, Vec<u8>)) -> Self {
        Self::Get { key, end: Some(end), keys_only: false, limit: 0 }
    }

    /// Reads the keys of a range, at most so many.
    pub fn keys((key, end): (Vec<u8>, Vec<u8>), limit: i64) -> Self {
        Self::Get { key, end: Some(end), keys_only: true, limit }
    }

    /// Writes a key.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: 0 }
    }

    /// Deletes a key.
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self::Delete { key: key.into(), end: None }
    }
}

/// What etcd answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether all compares held.
    pub succeeded: bool,
    /// The store's revision after the transaction.
    pub revision: i64,
    /// The ID of the cluster that answered.
    pub cluster: u64,
    /// An answer for each operation of the branch that was taken.
    pub answers: Vec<Answer>,
    /// Whether another copy of the request was sent, and nobody knows whether it will still arrive.
    pub doubt: bool,
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was read.
    Got {
        /// The keys, ascending.
        kvs: Vec<Kv>,
        /// Whether there are more than the limit.
        more: bool,
    },
    /// It was written.
    Put,
    /// So many keys were deleted.
    Deleted(i64),
}

/// A key with its value and revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kv {
    /// The key.
    pub key: Vec<u8>,
    /// The value; empty where only keys were asked for.
    pub value: Vec<u8>,
    /// The revision that created it.
    pub created: i64,
    /// The revision that changed it last.
    pub modified: i64,
    /// The lease that it dies with; 0: none.
    pub lease: i64,
}

impl Reply {
    /// What the operation at this position has read; nothing where it was no read.
    pub fn got(&self, position: usize) -> &[Kv] {
        match self.answers.get(position) {
            Some(Answer::Got { kvs, .. }) => kvs,
            _ => &[],
        }
    }

    /// The one key that the operation at this position has read.
    pub fn one(&self, position: usize) -> Option<&Kv> {
        self.got(position).first()
    }
}
