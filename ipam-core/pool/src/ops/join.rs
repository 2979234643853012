/*!
Contact with etcd: who this node is, and that it may give out addresses in this boot.

The first time, the node is registered: its UUID, its name, its index, each created only if it is not there.
At each boot it writes its boot ID, which every later write compares: of two machines with one identity only
the one that came last can write. Then it looks whether its blocks are still its own.
*/

use ipam_core::addr::Addr;

use crate::ledger::{Ledger, Tx};
use crate::node::{BlockState, BootState, Contact, Evicted, NodeState, PoolId, seen};
use crate::op::{Event, Now, Operation, Step};
use crate::ops::claim::remember_pools;
use crate::ops::upkeep::recover;
use crate::ops::write::{evict, recognise};
use crate::ops::{Context, Trouble};
use crate::record::{self, BlockRecord, Meta, NodeRecord, SCHEMA, Tombstone};
use crate::txn::{Compare, Kv, Op, Reply, Txn};

/// How often others may change what this node looks at.
const TRIES: u32 = 16;

/// How many blocks are looked at in one transaction.
const BLOCKS: usize = 100;

/// Among how many free indexes one is chosen after the lowest was lost to another node.
const NEAR: usize = 32;

/// What a node knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// A new UUID, made at random: for an installation that has none.
    pub uuid: String,
    /// What tells this machine from a copy of its disk; empty where nothing does.
    pub machine: String,
    /// Its host name.
    pub name: String,
    /// The index that it would like to have: that of its host name.
    pub index: Option<u32>,
    /// The version of Plat.
    pub version: String,
    /// Its IPv4 address for other nodes; empty if it is not known.
    pub a4: String,
    /// Its IPv6 address for other nodes; empty if it is not known.
    pub a6: String,
    /// How etcd is reached, for calls that have lost their configuration. No secrets.
    pub connection: serde_json::Value,
    /// A number made at random.
    pub random: u64,
}

/// Registers the node, begins its boot, reads the pools of a space, and notes the contact.
#[derive(Clone, Debug)]
pub struct Join {
    context: Context,
    facts: Facts,
    space: String,
    state: State,
    sent: Now,
    tries: u32,
    node: NodeState,
    /// The index to register with.
    index: Option<u32>,
    /// The newest revision of etcd that was seen before anything was sent, and the one of now.
    seen: i64,
    /// See `seen`.
    revision: i64,
    /// What may hold addresses that only etcd knows of, where the node's own table was lost in this boot.
    lost: Vec<(PoolId, Addr)>,
}

#[derive(Clone, Debug)]
enum State {
    /// What is there is read.
    Reading,
    /// The indexes in use are read.
    Indexes(Box<Reply>),
    /// The boot, and with it perhaps the node, is written.
    Writing,
    /// The fences of the node's blocks are read: of those from this position on.
    Fences(usize),
    /// The records of a block, or of a borrowed address, are read.
    Recovering(PoolId, Addr),
}

type Next = Step<Result<(), Trouble>>;

/// The positions of what [`Join::reads`] reads.
const META: usize = 0;
const NODE: usize = 1;
const BOOT: usize = 2;
const TOMBSTONE: usize = 3;
const LIVE: usize = 4;
const NAME: usize = 5;
const POOLS: usize = 6;
const INDEX: usize = 7;

impl Join {
    /// The operation.
    pub fn new(context: Context, facts: Facts, space: String) -> Self {
        let index = facts.index;
        Self {
            context,
            facts,
            space,
            state: State::Reading,
            sent: Now::default(),
            tries: 0,
            node: NodeState::default(),
            index,
            seen: 0,
            revision: 0,
            lost: Vec::new(),
        }
    }

    fn begin<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        let node = ledger.transact(|tx| {
            let mut node = tx.node().clone();
            let copied = !node.machine.is_empty()
                && !self.facts.machine.is_empty()
                && node.machine != self.facts.machine;
            if copied && holds_anything(tx)? {
                // A machine does not become another one while its containers run.
                return Ok(Err(Trouble::Copied { boot: self.context.boot.clone() }));
            }
            if node.uuid.is_empty() || copied {
                // What the disk was copied with is another node's.
                node = NodeState { uuid: self.facts.uuid.clone(), ..NodeState::default() };
                tx.set_boot(BootState::default())?;
            }
            node.machine.clone_from(&self.facts.machine);
            node.connection.clone_from(&self.facts.connection);
            if node != *tx.node() {
                tx.set_node(node.clone())?;
            }
            self.seen = seen(tx.node(), tx.boot());
            Ok(Ok(node))
        })?;
        match node {
            Err(trouble) => Ok(Step::Done(Err(trouble))),
            Ok(node) => {
                self.node = node;
                self.state = State::Reading;
                let then = self.reads();
                Ok(self.ask(now, Txn { then, ..Txn::default() }))
            }
        }
    }

    const fn ask(&mut self, now: Now, txn: Txn) -> Next {
        self.sent = now;
        Step::Ask(txn)
    }

    fn reads(&self) -> Vec<Op> {
        let (keys, uuid) = (&self.context.keys, self.node.uuid.as_str());
        let mut reads = vec![
            Op::get(keys.meta()),
            Op::get(keys.node(uuid)),
            Op::get(keys.boot(uuid)),
            Op::get(keys.tombstone(uuid)),
            Op::get(keys.live(uuid)),
            Op::get(keys.name(&self.facts.name)),
            Op::get(keys.pools(&self.space)),
        ];
        if let Some(index) = self.index {
            reads.push(Op::get(keys.index(index)));
        }
        reads
    }

    /// What is there, and what is to be written.
    fn judge<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
        indexes: Option<&[Kv]>,
    ) -> Result<Next, L::Error> {
        self.tries += 1;
        if self.tries > TRIES {
            return Ok(Step::Done(Err(Trouble::Contended { tries: TRIES })));
        }
        let meta = match self.meta(reply) {
            Ok(meta) => meta,
            Err(trouble) => return Ok(Step::Done(Err(trouble))),
        };
        if let Err(trouble) = recognise(&self.node, reply) {
            return Ok(Step::Done(Err(trouble)));
        }
        // What was seen before anything was sent.
        let (seen, now_at) = (self.seen, reply.revision);
        if now_at < seen {
            let evicted = Evicted::Restored { seen, now: now_at };
            ledger.transact(|tx| evict(tx, evicted.clone()))?;
            return Ok(Step::Done(Err(evicted.into())));
        }
        if let Some(kv) = reply.one(TOMBSTONE) {
            let stone: Tombstone = record::read(kv).unwrap_or_default();
            let evicted = Evicted::Tombstoned { at: stone.at, by: stone.by };
            ledger.transact(|tx| evict(tx, evicted.clone()))?;
            return Ok(Step::Done(Err(evicted.into())));
        }
        let written = reply.one(BOOT).map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        let ours = written.as_ref() == Some(&self.context.boot);
        if let Some(boot) = &written
            && !ours
            && !self.node.boots.contains(boot)
        {
            let evicted = Evicted::Copied { boot: boot.clone() };
            ledger.transact(|tx| evict(tx, evicted.clone()))?;
            return Ok(Step::Done(Err(evicted.into())));
        }
        if let Some(kv) = reply.one(LIVE)
            && !ours
            && kv.value != self.context.boot.as_bytes()
        {
            let boot = String::from_utf8_lossy(&kv.value).into_owned();
            return Ok(Step::Done(Err(Trouble::Alive { boot })));
        }
        if let Some(kv) = reply.one(NODE) {
            let record: NodeRecord = match record::read(kv) {
                Ok(record) => record,
                Err(bad) => return Ok(Step::Done(Err(bad.into()))),
            };
            self.node.name.clone_from(&record.name);
            self.node.index = Some(record.idx);
            if ours {
                return self.joined(ledger, now, reply, &meta);
            }
            return self.write(ledger, now, reply, record, &meta);
        }
        if let Some(kv) = reply.one(NAME)
            && kv.value != self.node.uuid.as_bytes()
        {
            let by = String::from_utf8_lossy(&kv.value).into_owned();
            let what = format!("the name {}", self.facts.name);
            return Ok(Step::Done(Err(Trouble::NameTaken { what, by })));
        }
        // A number that is free, or this node's own from an attempt of before.
        let free = self.index.is_some()
            && reply.one(INDEX).is_none_or(|kv| kv.value == self.node.uuid.as_bytes());
        if !free {
            let Some(indexes) = indexes else {
                let all = self.context.keys.all_indexes();
                self.state = State::Indexes(Box::new(reply.clone()));
                return Ok(self.ask(now, Txn { then: vec![Op::keys(all, 0)], ..Txn::default() }));
            };
            self.index = Some(self.gap(indexes));
        }
        let record = NodeRecord {
            name: self.facts.name.clone(),
            idx: self.index.unwrap_or_default(),
            ..NodeRecord::default()
        };
        self.write(ledger, now, reply, record, &meta)
    }

    /// What wrote the data; `None` if nothing did.
    fn meta(&self, reply: &Reply) -> Result<Option<Meta>, Trouble> {
        let Some(kv) = reply.one(META) else { return Ok(None) };
        let meta: Meta = record::read(kv)?;
        if meta.min_writer > SCHEMA || meta.min_reader > SCHEMA {
            let schema = meta.min_writer.max(meta.min_reader);
            return Err(Trouble::Newer { schema, known: SCHEMA });
        }
        Ok(Some(meta))
    }

    /// What the first node writes.
    fn first_meta(&self) -> Meta {
        Meta {
            schema: SCHEMA,
            min_reader: SCHEMA,
            min_writer: SCHEMA,
            cluster: format!("{:016x}", self.facts.random),
            ..Meta::default()
        }
    }

    /// A number that no node has: the lowest; after a conflict one of the next few.
    fn gap(&self, taken: &[Kv]) -> u32 {
        let taken: std::collections::BTreeSet<u32> = taken
            .iter()
            .filter_map(|kv| match self.context.keys.parse(&kv.key) {
                Some(crate::key::Key::Index { index }) => Some(index),
                _ => None,
            })
            .collect();
        let gaps: Vec<u32> = (1..u32::MAX).filter(|i| !taken.contains(i)).take(NEAR).collect();
        let pick =
            if self.tries <= 2 { 0 } else { self.facts.random.wrapping_add(u64::from(self.tries)) };
        let count = u64::try_from(gaps.len()).unwrap_or(1).max(1);
        let position = usize::try_from(pick % count).unwrap_or_default();
        gaps.get(position).copied().unwrap_or(1)
    }

    /// Writes the boot, and the node if it is new.
    fn write<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
        mut record: NodeRecord,
        meta: &Option<Meta>,
    ) -> Result<Next, L::Error> {
        let new = reply.one(NODE).is_none();
        // First here, then there: a boot that is in etcd and not here would be another machine's.
        let mut boots = vec![self.context.boot.clone()];
        boots.extend(reply.one(BOOT).map(|kv| String::from_utf8_lossy(&kv.value).into_owned()));
        // Of boots that ended while they wrote, the request may still arrive.
        for boot in &self.node.boots {
            if !boots.contains(boot) && boots.len() < 8 {
                boots.push(boot.clone());
            }
        }
        self.node.boots = boots;
        ledger.transact(|tx| {
            let mut node = tx.node().clone();
            node.boots.clone_from(&self.node.boots);
            tx.set_node(node)
        })?;
        record.boot.clone_from(&self.context.boot);
        record.v.clone_from(&self.facts.version);
        record.t = now.unix;
        for (field, fact) in [(&mut record.a4, &self.facts.a4), (&mut record.a6, &self.facts.a6)] {
            if !fact.is_empty() {
                field.clone_from(fact);
            }
        }
        let (keys, uuid) = (&self.context.keys, self.node.uuid.as_str());
        let modified = |position: usize| reply.one(position).map_or(0, |kv| kv.modified);
        let mut txn = Txn {
            compares: vec![
                Compare::absent(keys.tombstone(uuid)),
                Compare::modified(keys.boot(uuid), modified(BOOT)),
                Compare::modified(keys.node(uuid), modified(NODE)),
            ],
            then: vec![
                Op::put(keys.boot(uuid), self.context.boot.as_bytes()),
                Op::put(keys.node(uuid), record::write(&record)),
            ],
            otherwise: Vec::new(),
        };
        if new {
            let index = keys.index(record.idx);
            let name = keys.name(&record.name);
            let named = |position: usize| {
                if position == INDEX && self.index != self.facts.index {
                    0
                } else {
                    modified(position)
                }
            };
            txn.compares.push(Compare::modified(name.clone(), modified(NAME)));
            txn.compares.push(Compare::modified(index.clone(), named(INDEX)));
            txn.then.push(Op::put(name, uuid.as_bytes()));
            txn.then.push(Op::put(index, uuid.as_bytes()));
        }
        if meta.is_none() {
            let meta = self.first_meta();
            txn.compares.push(Compare::absent(keys.meta()));
            txn.then.push(Op::put(keys.meta(), record::write(&meta)));
        }
        // The same places in both branches.
        txn.otherwise = self.reads();
        let puts = txn.then.len();
        txn.then.splice(0..0, self.reads());
        debug_assert!(puts > 0, "a boot is written");
        self.node.index = Some(record.idx);
        self.node.name = record.name;
        self.state = State::Writing;
        Ok(self.ask(now, txn))
    }

    /// The boot is written: looks whether the blocks are still this node's.
    fn joined<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
        meta: &Option<Meta>,
    ) -> Result<Next, L::Error> {
        let fresh = ledger.transact(|tx| Ok(tx.boot().contact.is_none()))?;
        let known = reply.one(BOOT).is_some_and(|kv| kv.value == self.context.boot.as_bytes());
        let node = ledger.transact(|tx| {
            remember_pools(tx, &self.space, reply.one(POOLS))?;
            let mut node = tx.node().clone();
            node.name.clone_from(&self.node.name);
            node.index = self.node.index;
            node.boots = vec![self.context.boot.clone()];
            node.cluster = reply.cluster;
            node.revision = node.revision.max(reply.revision);
            if let Some(meta) = meta {
                node.data.clone_from(&meta.cluster);
                node.epoch = meta.epoch;
            }
            if node != *tx.node() {
                tx.set_node(node.clone())?;
            }
            Ok(node)
        })?;
        if fresh && known {
            // This boot was in contact before, and the table says that it was not.
            let blocks = node.blocks.iter().map(|block| (block.id.clone(), block.first));
            let borrowed = node.borrowed.iter().map(|b| (b.id.clone(), b.addr));
            self.lost = blocks.chain(borrowed).collect();
        }
        self.node = node;
        self.fences(ledger, now, 0)
    }

    fn fences<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        from: usize,
    ) -> Result<Next, L::Error> {
        let keys = &self.context.keys;
        let blocks = self.node.blocks.iter().skip(from).take(BLOCKS);
        let mut then: Vec<Op> =
            blocks.map(|block| Op::get(keys.block(&block.id.space, block.first))).collect();
        if then.is_empty() {
            return self.recover(ledger, now);
        }
        // Asked together: that it is still this boot that writes.
        then.push(Op::get(keys.boot(&self.node.uuid)));
        self.state = State::Fences(from);
        Ok(self.ask(now, Txn { then, ..Txn::default() }))
    }

    fn compared<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        from: usize,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let blocks: Vec<_> = self.node.blocks.iter().skip(from).take(BLOCKS).cloned().collect();
        let mut lost: Vec<(PoolId, Addr, i64)> = Vec::new();
        for (i, block) in blocks.iter().enumerate() {
            // A block that was handed over keeps its key, so that those who borrow of it may go on.
            let ours = |kv: &Kv| {
                let record: BlockRecord = record::read(kv).unwrap_or_default();
                kv.created == block.fence && record.u.as_deref() == Some(self.node.uuid.as_str())
            };
            if !reply.one(i).is_some_and(ours) {
                lost.push((block.id.clone(), block.first, block.fence));
            }
        }
        if reply.one(blocks.len()).is_none_or(|kv| kv.value != self.context.boot.as_bytes()) {
            // Somebody has come in between.
            return self.begin(ledger, now);
        }
        if !lost.is_empty() {
            ledger.transact(|tx| drop_blocks(tx, &lost))?;
        }
        self.fences(ledger, now, from + blocks.len())
    }

    /// Reads what the node holds out of etcd, where nothing else knows any more.
    fn recover<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        let Some((id, addr)) = self.lost.pop() else { return self.done(ledger) };
        let keys = &self.context.keys;
        let read = match self.node.block_of(&id.space, addr) {
            Some(block) => Op::range(keys.addresses(&id.space, block.interval())),
            None => Op::get(keys.address(&id.space, addr)),
        };
        self.state = State::Recovering(id, addr);
        Ok(self.ask(now, Txn { then: vec![read], ..Txn::default() }))
    }

    fn done<L: Ledger>(&self, ledger: &mut L) -> Result<Next, L::Error> {
        let contact =
            Contact { boot: self.sent.boot, unix: self.sent.unix, revision: self.revision };
        let evicted = ledger.transact(|tx| {
            let mut boot = tx.boot().clone();
            // A removal that was taken back, or a copy that is gone. What else evicts a node stays.
            if matches!(boot.evicted, Some(Evicted::Tombstoned { .. } | Evicted::Copied { .. })) {
                boot.evicted = None;
            }
            boot.contact = Some(contact);
            tx.set_boot(boot.clone())?;
            Ok(boot.evicted)
        })?;
        Ok(Step::Done(evicted.map_or(Ok(()), |evicted| Err(evicted.into()))))
    }
}

/// Whether an attachment holds anything out of a block of this node, or something waits to be written.
fn holds_anything<T: Tx>(tx: &mut T) -> Result<bool, T::Error> {
    if tx.backlog()?.count > 0 {
        return Ok(true);
    }
    for block in tx.node().blocks.clone() {
        if tx.usage(&block.id, block.interval())?.held > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Blocks that are not this node's any more. One that is in use is kept in mind and stops the node.
fn drop_blocks<T: Tx>(tx: &mut T, lost: &[(PoolId, Addr, i64)]) -> Result<(), T::Error> {
    let mut node = tx.node().clone();
    let mut evicted = None;
    for (id, first, fence) in lost {
        let same = |block: &crate::node::Block| {
            block.id == *id && block.first == *first && block.fence == *fence
        };
        let Some(block) = node.blocks.iter().find(|block| same(block)).cloned() else { continue };
        if tx.usage(id, block.interval())?.held == 0 {
            node.blocks.retain(|block| !same(block));
            continue;
        }
        for block in node.blocks.iter_mut().filter(|block| same(block)) {
            block.state = BlockState::Revoked;
        }
        let name = block.cidr().map_or_else(|| first.to_string(), |cidr| cidr.to_string());
        evicted = Some(Evicted::Revoked { block: name });
    }
    tx.set_node(node)?;
    evicted.map_or(Ok(()), |evicted| evict(tx, evicted))
}

impl<L: Ledger> Operation<L> for Join {
    type Output = Result<(), Trouble>;

    fn step(&mut self, ledger: &mut L, now: Now, event: Event) -> Result<Next, L::Error> {
        let reply = match event {
            Event::Begin => return self.begin(ledger, now),
            Event::Lost(_) => return Ok(Step::Done(Err(Trouble::Away))),
            Event::Reply(reply) => reply,
        };
        self.revision = self.revision.max(reply.revision);
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => self.judge(ledger, now, &reply, None),
            State::Indexes(first) => self.judge(ledger, now, &first, Some(reply.got(0))),
            State::Writing if reply.succeeded => {
                // What was read before it was written: nothing, where this node was the first.
                let meta = self.meta(&reply).ok().flatten().or_else(|| Some(self.first_meta()));
                if let Err(trouble) = recognise(&self.node, &reply) {
                    return Ok(Step::Done(Err(trouble)));
                }
                self.joined(ledger, now, &reply, &meta)
            }
            State::Writing => self.judge(ledger, now, &reply, None),
            State::Fences(from) => self.compared(ledger, now, from, &reply),
            State::Recovering(id, addr) => {
                ledger.transact(|tx| recover(tx, &self.context, (&id, addr), reply.got(0)))?;
                self.recover(ledger, now)
            }
        }
    }
}
