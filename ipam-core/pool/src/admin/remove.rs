//! Removing a node: a tombstone, the time that it may go on without etcd, and then what it held.

mod block;
mod cancel;

pub use cancel::CancelRemoval;

use std::sync::Arc;

use ipam_core::addr::Addr;

use crate::admin::error::AdminError;
use crate::admin::hold::{LEASE, hold_of, left};
use crate::admin::look::{BlockEntry, Cluster, Look, NodeEntry, Wanted};
use crate::admin::scan::Scan;
use crate::admin::{Administer, TRIES};
use crate::key::Keys;
use crate::op::{Now, Step};
use crate::record::{self, AddressRecord, AddressState, ExceptionRecord, Tombstone};
use crate::txn::{Compare, Kv, Op, Reply, Txn};

/// How many borrowed addresses are removed in one transaction: each is two keys, and both are compared.
const PAIRS: usize = 50;

/// For how long a tombstone stays when all is given back, in seconds: 30 days.
const TOMBSTONE: u64 = 30 * 24 * 60 * 60;

/// How many old tombstones and blocks of nobody are cleared away in passing.
const SWEPT: usize = 100;

/// How a node is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Its name, index or UUID.
    pub node: String,
    /// Whether it is removed though its agent answers.
    pub force: bool,
    /// Whether the operator vouches that the machine is switched off: then it gives out nothing, and when it is
    /// switched on it needs etcd first, and learns there that it was removed.
    pub off: bool,
    /// Who removes it, for people.
    pub by: String,
    /// The boot ID of the machine that this runs on.
    pub boot: String,
}

/// How far a removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalState {
    /// Nothing is given back yet.
    Holding {
        /// For how long, in seconds.
        left: u64,
        /// Until when, in seconds since 1970.
        until: u64,
    },
    /// All was given back.
    Done,
    /// That was so before.
    WasDone,
}

/// What a removal has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The node's UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its tombstone.
    pub tombstone: Tombstone,
    /// Whether this run has made the tombstone.
    pub begun_here: bool,
    /// How far it has come.
    pub state: RemovalState,
    /// How many blocks it still holds, or held when this run began.
    pub blocks: usize,
    /// How many blocks this run has given back.
    pub returned: usize,
    /// How many blocks became nobody's, because addresses of other nodes are in them.
    pub handed_over: usize,
    /// How many addresses this run has freed, beside those that went with a block.
    pub freed: usize,
}

/// Removes a node. It may be run any number of times: each run does what is left, as far as the time allows.
#[derive(Clone, Debug)]
pub struct RemoveNode {
    keys: Keys,
    options: RemoveOptions,
    state: State,
    cluster: Arc<Cluster>,
    /// What it comes to, once the node is known.
    result: Option<Removal>,
    /// The revisions that created and changed the tombstone.
    tomb: (i64, i64),
    /// What is left to do.
    borrowed: Vec<(String, Addr)>,
    blocks: Vec<(String, BlockEntry)>,
    sweeps: Vec<Txn>,
    tries: u32,
}

#[derive(Clone, Debug)]
enum State {
    Begin,
    Looking(Box<Look>),
    Entombing(Tombstone),
    Beginning(Tombstone),
    ReadingBorrowed(Vec<(String, Addr)>),
    FreeingBorrowed(usize),
    ReadingBlock(Box<(String, BlockEntry)>, Scan),
    WritingBlock(Box<(String, BlockEntry)>, block::Effect),
    ReadingNames,
    Finishing(Tombstone),
    Sweeping,
}

impl RemoveNode {
    /// The machine.
    pub fn new(keys: Keys, options: RemoveOptions) -> Self {
        Self {
            keys,
            options,
            state: State::Begin,
            cluster: Arc::default(),
            result: None,
            tomb: (0, 0),
            borrowed: Vec::new(),
            blocks: Vec::new(),
            sweeps: Vec::new(),
            tries: 0,
        }
    }

    fn look(&mut self, now: Now) -> Result<Step<Removal>, AdminError> {
        let mut look =
            Look::new(self.keys.clone(), Wanted { exceptions: true, ..Wanted::default() });
        let step = look.advance(now, None)?;
        self.state = State::Looking(Box::new(look));
        match step {
            Step::Ask(txn) => Ok(Step::Ask(txn)),
            Step::Done(cluster) => self.choose(now, cluster),
        }
    }

    /// Somebody was faster: looks anew.
    fn again(&mut self, now: Now) -> Result<Step<Removal>, AdminError> {
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(AdminError::Contended { tries: self.tries });
        }
        self.look(now)
    }

    /// Finds the node, and what there is to do with it.
    fn choose(&mut self, now: Now, cluster: Cluster) -> Result<Step<Removal>, AdminError> {
        self.cluster = Arc::new(cluster);
        let cluster = Arc::clone(&self.cluster);
        let what = self.options.node.as_str();
        // A block may name a node of which nothing else is left.
        let orphan = NodeEntry { uuid: what.to_owned(), ..NodeEntry::default() };
        let node = match cluster.node(what) {
            Err(AdminError::NoNode(_)) if cluster.blocks_of(what).next().is_some() => &orphan,
            found => found?,
        };
        let (uuid, name) = (node.uuid.clone(), node.name().to_owned());
        let autonomy = cluster.blocks_of(&uuid).map(|(_, block)| block.record.aut);
        let hold = if self.options.off { Some(LEASE) } else { hold_of(autonomy) };
        let for_ever = || {
            let block = cluster.blocks_of(&uuid).find(|(_, block)| block.record.aut == 0);
            let block = block.map_or_else(String::new, |(_, block)| block.cidr.to_string());
            AdminError::ForEver { name: name.clone(), block }
        };
        let blocks = cluster.blocks_of(&uuid).count();
        let result = |tombstone: &Tombstone, state| Removal {
            uuid: uuid.clone(),
            name: name.clone(),
            tombstone: tombstone.clone(),
            begun_here: false,
            state,
            blocks,
            returned: 0,
            handed_over: 0,
            freed: 0,
        };
        let fresh = |hold| Tombstone {
            name: name.clone(),
            at: now.unix,
            by: self.options.by.clone(),
            hold,
            boot: self.options.boot.clone(),
            up: now.boot.div_ceil(1000),
            off: self.options.off,
            ..Tombstone::default()
        };
        let Some((tombstone, created, modified)) = &node.tombstone else {
            if node.alive && !self.options.force {
                return Err(AdminError::Alive { name });
            }
            let tombstone = fresh(hold.ok_or_else(for_ever)?);
            self.tomb = (0, 0);
            let registered = node.record.as_ref().map_or(0, |(_, modified)| *modified);
            let mut txn = Txn {
                compares: vec![
                    Compare::absent(self.keys.tombstone(&uuid)),
                    Compare::modified(self.keys.node(&uuid), registered),
                ],
                then: vec![Op::put(self.keys.tombstone(&uuid), record::write(&tombstone))],
                otherwise: Vec::new(),
            };
            if !self.options.force {
                txn.compares.push(Compare::absent(self.keys.live(&uuid)));
            }
            self.result = Some(result(&tombstone, RemovalState::WasDone));
            self.state = State::Entombing(tombstone);
            return Ok(Step::Ask(txn));
        };
        self.tomb = (*created, *modified);
        if tombstone.done && blocks == 0 && node.record.is_none() {
            return Ok(Step::Done(result(tombstone, RemovalState::WasDone)));
        }
        if self.options.off && !tombstone.off && !tombstone.begun {
            // It is known only now that the node is off. What it has sent may still arrive.
            let tombstone = Tombstone { rest: tombstone.rest.clone(), ..fresh(LEASE) };
            let txn = self.put_tombstone(&uuid, &tombstone);
            self.result = Some(result(&tombstone, RemovalState::WasDone));
            self.state = State::Entombing(tombstone);
            return Ok(Step::Ask(txn));
        }
        // Blocks that were claimed just before the tombstone count, too.
        let hold = if tombstone.off || tombstone.begun {
            tombstone.hold
        } else {
            hold.ok_or_else(for_ever)?.max(tombstone.hold)
        };
        let result = result(tombstone, RemovalState::WasDone);
        let tombstone = tombstone.clone();
        self.result = Some(result);
        self.hold_then_begin(now, tombstone, hold)
    }

    fn put_tombstone(&self, uuid: &str, tombstone: &Tombstone) -> Txn {
        let key = self.keys.tombstone(uuid);
        Txn {
            compares: vec![Compare::modified(key.clone(), self.tomb.1)],
            then: vec![Op::put(key, record::write(tombstone))],
            otherwise: Vec::new(),
        }
    }

    /// Waits for the end of the hold; then says in the tombstone that there is no way back.
    fn hold_then_begin(
        &mut self,
        now: Now,
        mut tombstone: Tombstone,
        hold: u64,
    ) -> Result<Step<Removal>, AdminError> {
        let left =
            if tombstone.begun { 0 } else { left(&tombstone, hold, &self.options.boot, now)? };
        tombstone.hold = hold;
        let Some(result) = &mut self.result else { return self.again(now) };
        result.tombstone = tombstone.clone();
        if left > 0 {
            result.state = RemovalState::Holding { left, until: now.unix.saturating_add(left) };
            return Ok(Step::Done(result.clone()));
        }
        if tombstone.begun {
            return self.work(now);
        }
        let uuid = result.uuid.clone();
        tombstone.begun = true;
        let txn = self.put_tombstone(&uuid, &tombstone);
        self.state = State::Beginning(tombstone);
        Ok(Step::Ask(txn))
    }

    /// Lists what there is to do, and begins.
    fn work(&mut self, now: Now) -> Result<Step<Removal>, AdminError> {
        let Some(result) = &self.result else { return self.again(now) };
        let uuid = result.uuid.clone();
        let own = |space: &str| space.to_owned();
        self.borrowed = self.cluster.exceptions_of(&uuid).map(|(s, x)| (own(s), x.addr)).collect();
        self.blocks = self.cluster.blocks_of(&uuid).map(|(s, b)| (own(s), b.clone())).collect();
        self.next(now)
    }

    /// What is next: addresses of others' blocks, then blocks, then the node itself.
    fn next(&mut self, now: Now) -> Result<Step<Removal>, AdminError> {
        if !self.borrowed.is_empty() {
            let some: Vec<_> = self.borrowed.drain(..self.borrowed.len().min(PAIRS)).collect();
            let then = some
                .iter()
                .flat_map(|(space, addr)| {
                    [
                        Op::get(self.keys.exception(space, *addr)),
                        Op::get(self.keys.address(space, *addr)),
                    ]
                })
                .collect();
            self.state = State::ReadingBorrowed(some);
            return Ok(Step::Ask(Txn { then, ..Txn::default() }));
        }
        if let Some((space, entry)) = self.blocks.pop() {
            return self.read_block(now, space, entry);
        }
        let Some(result) = &self.result else { return self.again(now) };
        let mut then = vec![Op::get(self.keys.node(&result.uuid))];
        if let Ok(node) = self.cluster.node(&result.uuid)
            && let Some((record, _)) = &node.record
        {
            then.push(Op::get(self.keys.name(&record.name)));
            then.push(Op::get(self.keys.index(record.idx)));
        }
        self.state = State::ReadingNames;
        Ok(Step::Ask(Txn { then, ..Txn::default() }))
    }

    fn read_block(
        &mut self,
        now: Now,
        space: String,
        entry: BlockEntry,
    ) -> Result<Step<Removal>, AdminError> {
        let within = entry.cidr.network();
        let block = self.keys.block(&space, within.first());
        let mut end = block.clone();
        end.push(0);
        let mut scan = Scan::new()
            .and((block, end), 1)
            .and(self.keys.addresses(&space, within), usize::MAX)
            .and(self.keys.exceptions(&space, within), usize::MAX);
        let Some(txn) = scan.ask() else { return self.again(now) };
        self.state = State::ReadingBlock(Box::new((space, entry)), scan);
        Ok(Step::Ask(txn))
    }

    /// Decides what is done with a block that was read.
    fn decide_block(
        &mut self,
        now: Now,
        space: String,
        entry: BlockEntry,
        scan: &Scan,
    ) -> Result<Step<Removal>, AdminError> {
        let Some(result) = &self.result else { return self.again(now) };
        let tomb = Compare::created(self.keys.tombstone(&result.uuid), self.tomb.0);
        let found = block::Found {
            block: scan.found(0).first(),
            addresses: scan.found(1),
            exceptions: scan.found(2),
        };
        let within = entry.cidr.network();
        match block::decide(&self.keys, &space, within, &result.uuid, tomb, &found)? {
            // Somebody else has done it.
            None => self.next(now),
            Some((txn, effect)) => {
                self.state = State::WritingBlock(Box::new((space, entry)), effect);
                Ok(Step::Ask(txn))
            }
        }
    }

    /// Removes what the node has out of blocks of others, as it was read.
    fn free_borrowed(
        &mut self,
        now: Now,
        some: Vec<(String, Addr)>,
        reply: &Reply,
    ) -> Result<Step<Removal>, AdminError> {
        let Some(result) = &self.result else { return self.again(now) };
        let mut txn = Txn {
            compares: vec![Compare::created(self.keys.tombstone(&result.uuid), self.tomb.0)],
            ..Txn::default()
        };
        let mut freed = 0;
        for (at, (space, addr)) in some.iter().enumerate() {
            let Some(exception) = reply.one(2 * at) else { continue };
            if record::read::<ExceptionRecord>(exception)?.u != result.uuid {
                continue;
            }
            let address = reply.one(2 * at + 1);
            let key = self.keys.address(space, *addr);
            txn.compares.push(Compare::modified(exception.key.clone(), exception.modified));
            txn.compares.push(Compare::modified(key.clone(), address.map_or(0, |kv| kv.modified)));
            txn.then.push(Op::delete(exception.key.clone()));
            if let Some(kv) = address
                && is_of(kv, &result.uuid)?
            {
                txn.then.push(Op::delete(key));
                freed += 1;
            }
        }
        if txn.then.is_empty() {
            return self.next(now);
        }
        self.state = State::FreeingBorrowed(freed);
        Ok(Step::Ask(txn))
    }

    /// Takes the node's registration away.
    fn finish(&mut self, now: Now, reply: &Reply) -> Result<Step<Removal>, AdminError> {
        let Some(result) = &self.result else { return self.again(now) };
        let uuid = result.uuid.as_str();
        let tombstone = Tombstone { begun: true, done: true, ..result.tombstone.clone() };
        let keys = &self.keys;
        let tomb = keys.tombstone(uuid);
        let (key, end) = keys.requests(uuid);
        let mut txn = Txn {
            compares: vec![
                Compare::created(tomb.clone(), self.tomb.0),
                Compare::modified(keys.node(uuid), reply.one(0).map_or(0, |kv| kv.modified)),
            ],
            then: vec![
                Op::put(tomb, record::write(&tombstone)),
                Op::delete(keys.node(uuid)),
                Op::delete(keys.boot(uuid)),
                Op::delete(keys.live(uuid)),
                Op::Delete { key, end: Some(end) },
            ],
            otherwise: Vec::new(),
        };
        for kv in [reply.one(1), reply.one(2)].into_iter().flatten() {
            if kv.value == uuid.as_bytes() {
                txn.compares.push(Compare::modified(kv.key.clone(), kv.modified));
                txn.then.push(Op::delete(kv.key.clone()));
            }
        }
        self.state = State::Finishing(tombstone);
        Ok(Step::Ask(txn))
    }

    /// What can be cleared away in passing: tombstones of long ago, blocks of nobody that have become empty.
    fn list_sweeps(&mut self, now: Now) {
        let keys = &self.keys;
        let old = self.cluster.nodes.iter().filter_map(|node| {
            let (tombstone, _, modified) = node.tombstone.as_ref()?;
            let over = tombstone.done && tombstone.at.saturating_add(TOMBSTONE) < now.unix;
            let key = keys.tombstone(&node.uuid);
            (over && node.record.is_none()).then(|| Txn {
                compares: vec![Compare::modified(key.clone(), *modified)],
                then: vec![Op::delete(key)],
                otherwise: Vec::new(),
            })
        });
        let nobody = self.cluster.spaces.iter().flat_map(|space| {
            let blocks = space.blocks.iter().filter(|block| block.record.u.is_none());
            blocks.map(move |block| {
                let within = block.cidr.network();
                let key = keys.block(&space.name, within.first());
                Txn {
                    compares: vec![
                        Compare::modified(key.clone(), block.modified),
                        Compare::empty(keys.addresses(&space.name, within)),
                        Compare::empty(keys.exceptions(&space.name, within)),
                    ],
                    then: vec![Op::delete(key)],
                    otherwise: Vec::new(),
                }
            })
        });
        self.sweeps = old.chain(nobody).take(SWEPT).collect();
    }

    fn sweep(&mut self, now: Now) -> Result<Step<Removal>, AdminError> {
        self.state = State::Sweeping;
        match (self.sweeps.pop(), &self.result) {
            (Some(txn), _) => Ok(Step::Ask(txn)),
            (None, Some(result)) => Ok(Step::Done(result.clone())),
            (None, None) => self.again(now),
        }
    }
}

/// Whether the node has the address; a reservation is nobody's.
fn is_of(kv: &Kv, uuid: &str) -> Result<bool, AdminError> {
    let found: AddressRecord = record::read(kv)?;
    Ok(found.u.as_deref() == Some(uuid) && found.st != AddressState::Resv)
}

impl Administer for RemoveNode {
    type Output = Removal;

    fn advance(&mut self, now: Now, reply: Option<&Reply>) -> Result<Step<Removal>, AdminError> {
        let state = std::mem::replace(&mut self.state, State::Begin);
        let Some(reply) = reply else { return self.look(now) };
        match state {
            State::Begin => self.look(now),
            State::Looking(mut look) => match look.advance(now, Some(reply))? {
                Step::Ask(txn) => {
                    self.state = State::Looking(look);
                    Ok(Step::Ask(txn))
                }
                Step::Done(cluster) => self.choose(now, cluster),
            },
            State::Entombing(tombstone) if reply.succeeded => {
                let created = if self.tomb.0 == 0 { reply.revision } else { self.tomb.0 };
                self.tomb = (created, reply.revision);
                if let Some(result) = &mut self.result {
                    result.begun_here = true;
                }
                let hold = tombstone.hold;
                self.hold_then_begin(now, tombstone, hold)
            }
            State::Beginning(tombstone) if reply.succeeded => {
                self.tomb.1 = reply.revision;
                if let Some(result) = &mut self.result {
                    result.tombstone = tombstone;
                }
                self.work(now)
            }
            State::ReadingBorrowed(some) => self.free_borrowed(now, some, reply),
            State::FreeingBorrowed(freed) if reply.succeeded => {
                if let Some(result) = &mut self.result {
                    result.freed += freed;
                }
                self.next(now)
            }
            State::ReadingBlock(block, mut scan) => {
                if let Some(txn) = scan.take(reply) {
                    self.state = State::ReadingBlock(block, scan);
                    return Ok(Step::Ask(txn));
                }
                self.decide_block(now, block.0, block.1, &scan)
            }
            State::WritingBlock(block, effect) if reply.succeeded => {
                let Some(result) = &mut self.result else { return self.again(now) };
                match effect {
                    block::Effect::Returned => result.returned += 1,
                    block::Effect::HandedOver => result.handed_over += 1,
                    block::Effect::Freed(count) => {
                        result.freed += count;
                        return self.read_block(now, block.0, block.1);
                    }
                }
                self.next(now)
            }
            State::ReadingNames => self.finish(now, reply),
            State::Finishing(tombstone) if reply.succeeded => {
                if let Some(result) = &mut self.result {
                    result.tombstone = tombstone;
                    result.state = RemovalState::Done;
                }
                self.list_sweeps(now);
                self.sweep(now)
            }
            // Whether there was something to sweep does not matter.
            State::Sweeping => self.sweep(now),
            State::Entombing(_)
            | State::Beginning(_)
            | State::FreeingBorrowed(..)
            | State::WritingBlock(..)
            | State::Finishing(_) => self.again(now),
        }
    }
}

#[cfg(test)]
mod tests;
