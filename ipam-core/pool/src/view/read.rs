/*!
Reading a snapshot in pages.

A transaction can hold everything only while it is small, so that pages are read at different revisions. A
small picture that changed meanwhile is read again; a large one is accepted as it is and says so
([`Snapshot::is_torn`]). What is found in it is then to be confirmed by a transaction that compares every
key it is about ([`super::confirm`]): a fault that is confirmed was there at one moment, whatever the pages
were read at; a fault that came and went between two pages may be missed.
*/

use ipam_core::addr::Addr;

use super::snapshot::Snapshot;
use crate::key::{KeyRange, Keys};
use crate::txn::{Answer, Op, Reply, Txn};

/// How many keys a page has: of records of 200 bytes far below the 4 MiB that gRPC clients accept.
const PAGE: i64 = 2048;

/// A picture of up to so many keys is read again if it changed meanwhile.
const SMALL: usize = 20_000;

/// How often at most.
const TRIES: u32 = 3;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything below the prefix.
    All,
    /// Nodes only.
    Nodes,
    /// What one address is about, in a space: all blocks of the space, and the records of the address. In one
    /// transaction where the blocks are fewer than a page.
    Address {
        /// The space.
        space: String,
        /// The address.
        addr: Addr,
    },
}

/// Reads a snapshot.
#[derive(Clone, Debug)]
pub struct Reader {
    keys: Keys,
    scope: Scope,
    /// What is still to be read.
    left: Vec<KeyRange>,
    snapshot: Snapshot,
    tries: u32,
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new(keys: Keys, scope: Scope) -> Self {
        let left = ranges(&keys, &scope);
        Self { snapshot: Snapshot::new(keys.clone()), keys, scope, left, tries: 0 }
    }

    /// What is to be asked next; `None` if all is read.
    pub fn ask(&self) -> Option<Txn> {
        let then: Vec<Op> = self
            .left
            .iter()
            .map(|(key, end)| Op::Get {
                key: key.clone(),
                end: Some(end.clone()),
                keys_only: false,
                limit: PAGE,
            })
            .collect();
        (!then.is_empty()).then(|| Txn { then, ..Txn::default() })
    }

    /// Takes the answer to what was asked.
    pub fn take(&mut self, reply: Reply) {
        let snapshot = &mut self.snapshot;
        if snapshot.from == 0 {
            snapshot.from = reply.revision;
        }
        snapshot.from = snapshot.from.min(reply.revision);
        snapshot.to = snapshot.to.max(reply.revision);
        snapshot.cluster = reply.cluster;
        let mut left = Vec::new();
        for ((_, end), answer) in std::mem::take(&mut self.left).into_iter().zip(reply.answers) {
            let Answer::Got { kvs, more } = answer else { continue };
            // A page that says that there is more has a last key.
            if let (true, Some(last)) = (more, kvs.last()) {
                let mut next = last.key.clone();
                next.push(0);
                left.push((next, end));
            }
            for kv in kvs {
                snapshot.add(kv);
            }
        }
        self.left = left;
        if self.left.is_empty()
            && self.snapshot.is_torn()
            && self.snapshot.count <= SMALL
            && self.tries < TRIES
        {
            self.tries += 1;
            self.left = ranges(&self.keys, &self.scope);
            self.snapshot = Snapshot::new(self.keys.clone());
        }
    }

    /// How many keys were read so far.
    pub const fn count(&self) -> usize {
        self.snapshot.count
    }

    /// What was read.
    pub fn finish(self) -> Snapshot {
        self.snapshot
    }
}

fn ranges(keys: &Keys, scope: &Scope) -> Vec<KeyRange> {
    let one = |key: Vec<u8>| {
        let mut end = key.clone();
        end.push(0);
        (key, end)
    };
    let nodes = || vec![one(keys.meta()), keys.all_nodes(), keys.all_tombstones(), keys.all_live()];
    match scope {
        Scope::All => vec![keys.all()],
        Scope::Nodes => nodes(),
        Scope::Address { space, addr } => {
            let mut all = nodes();
            all.push(one(keys.pools(space)));
            all.push(keys.all_blocks(space));
            all.push(one(keys.address(space, *addr)));
            all.push(one(keys.exception(space, *addr)));
            all
        }
    }
}
