/*!
Claiming a block.

A claim is one transaction: nobody has a block there, the pools are as this node knows them, the node stands.
Where to begin is a hash of the node and the pool, so that nodes do not meet; a claim that fails brings the
blocks that follow, and the first gap among them is tried next.
*/

use ipam_core::addr::{Addr, Family};

use crate::key::Key;
use crate::ledger::{Ledger, Tx};
use crate::node::{Block, BlockState, Claiming, NodeState, PoolId, seen};
use crate::op::{Loss, Now};
use crate::ops::write::{
    LATE, block_record, evict, fallen, forget_sweeps, hold_sweeps, meet, next_seq, plan_sweeps,
    pool_of, restored, standing, standing_evidence, touch,
};
use crate::ops::{Context, Trouble};
use crate::pool::{Part, Pool, PoolsRecord};
use crate::record::{self, BlockRecord, Mode};
use crate::txn::{Compare, Kv, Op, Reply, Txn};

/// How many keys of blocks a failed claim brings.
const PAGE: i64 = 256;

/// How often a claim is tried.
const TRIES: u32 = 512;

/// How many blocks in a row are passed over because they are of no use.
const PASSES: usize = 65_536;

/// A claim that is under way.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    id: PoolId,
    family: Family,
    /// The block of this address and no other.
    target: Option<Addr>,
    /// Where the search began, and what is tried now; once the plan is made.
    search: Option<Search>,
    tries: u32,
    /// Names the claim: of several that this node makes at once, each knows its own.
    nonce: String,
    /// The first address of the block that was asked for last.
    asked: Option<Addr>,
    /// The sweep that is planned for the case that no answer comes.
    token: u64,
    /// The newest revision of etcd that was seen before this was sent.
    seen: i64,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    start: u128,
    position: u128,
    wrapped: bool,
    blocks: u128,
    sent: Now,
}

/// What a claim wants next.
#[derive(Clone, Debug)]
pub(super) enum Claimed {
    Ask(Txn),
    /// The node holds another block.
    Done,
    Failed(Trouble),
}

impl Claim {
    pub(super) const fn new(id: PoolId, family: Family, target: Option<Addr>) -> Self {
        Self {
            id,
            family,
            target,
            search: None,
            tries: 0,
            nonce: String::new(),
            asked: None,
            token: 0,
            seen: 0,
        }
    }

    /// Where it begins.
    pub(super) fn begin<L: Ledger>(
        &mut self,
        ledger: &mut L,
        context: &Context,
        now: Now,
    ) -> Result<Claimed, L::Error> {
        ledger.transact(|tx| {
            let seq = next_seq(tx)?;
            self.nonce = format!("{}-{seq}", context.boot);
            self.plan(tx, context, now)
        })
    }

    fn plan<T: Tx>(
        &mut self,
        tx: &mut T,
        context: &Context,
        now: Now,
    ) -> Result<Claimed, T::Error> {
        let node = tx.node().clone();
        let Some((pool, part)) = self.pool(&node) else {
            return Ok(Claimed::Failed(self.no_pool(&node)));
        };
        let own = |block: &&Block| block.id == self.id && block.family() == self.family;
        let held = node.blocks.iter().filter(own).count();
        if u32::try_from(held).unwrap_or(u32::MAX) >= pool.max_blocks {
            return Ok(Claimed::Failed(Trouble::TooManyBlocks {
                name: pool.name,
                family: self.family,
                blocks: pool.max_blocks,
            }));
        }
        let start = match self.target {
            None => start(&node.uuid, &self.id, self.family, held, part),
            Some(addr) => match part.position_of(addr) {
                Some(position) => position,
                None => {
                    let trouble = Trouble::NoFamily { name: pool.name, family: self.family };
                    return Ok(Claimed::Failed(trouble));
                }
            },
        };
        let blocks = part.blocks();
        self.search = Some(Search { start, position: start, wrapped: false, blocks, sent: now });
        self.pass(&node, &pool, part);
        self.ask(tx, context, &pool, part, now)
    }

    fn pool(&self, node: &NodeState) -> Option<(Pool, Part)> {
        let pool = pool_of(node, &self.id)?;
        let part = pool.part(self.family)?;
        Some((pool, part))
    }

    fn no_pool(&self, node: &NodeState) -> Trouble {
        match pool_of(node, &self.id) {
            Some(pool) => Trouble::NoFamily { name: pool.name, family: self.family },
            None => Trouble::NoPool {
                name: self.id.pool.clone(),
                pools: node.spaces.get(&self.id.space).map_or_else(Vec::new, |known| {
                    known.pools.iter().map(|spec| spec.name.clone()).collect()
                }),
            },
        }
    }

    fn full(&self) -> Claimed {
        Claimed::Failed(Trouble::PoolFull { name: self.id.pool.clone(), family: self.family })
    }

    /// Passes over blocks that this node has already, and those that nothing may be given out of.
    fn pass(&mut self, node: &NodeState, pool: &Pool, part: Part) {
        for _ in 0..PASSES {
            let Some(search) = self.search else { return };
            let Some(cidr) = part.block_at(search.position) else { return };
            let own = |block: &Block| {
                block.id.space == self.id.space && block.first == cidr.network().first()
            };
            if self.target.is_some() || (!node.blocks.iter().any(own) && pool.gives(cidr)) {
                return;
            }
            self.advance(search.position.saturating_add(1));
            if self.over() {
                return;
            }
        }
    }

    /// Goes on at a position; past the end, from the beginning. The search is over where it began.
    fn advance(&mut self, position: u128) {
        let Some(search) = &mut self.search else { return };
        search.position = position;
        if search.position >= search.blocks && !search.wrapped {
            search.wrapped = true;
            search.position = 0;
        }
    }

    fn over(&self) -> bool {
        self.search.is_none_or(|search| {
            (search.wrapped && search.position >= search.start) || search.position >= search.blocks
        })
    }

    fn ask<T: Tx>(
        &mut self,
        tx: &mut T,
        context: &Context,
        pool: &Pool,
        part: Part,
        now: Now,
    ) -> Result<Claimed, T::Error> {
        self.tries += 1;
        if self.tries > TRIES {
            return Ok(Claimed::Failed(Trouble::Contended { tries: TRIES }));
        }
        if self.over() {
            return Ok(self.full());
        }
        let Some(search) = &mut self.search else { return Ok(self.full()) };
        search.sent = now;
        let Some(cidr) = part.block_at(search.position) else { return Ok(self.full()) };
        // Before it is sent, and durably: a claim that nobody heard of must be found after a kill or a reboot.
        let first = cidr.network().first();
        self.token = plan_sweeps(tx, now, std::iter::once((self.id.clone(), first)))?;
        self.seen = seen(tx.node(), tx.boot());
        self.asked = Some(first);
        let mut node = tx.node().clone();
        let name = self.nonce.clone();
        node.claiming.push(Claiming { id: self.id.clone(), addr: first, name });
        tx.set_node(node.clone())?;
        let keys = &context.keys;
        let (space, block) = (&self.id.space, cidr.network());
        let known = node.spaces.get(space).map_or(0, |known| known.revision);
        let mut compares = standing(context, &node.uuid).to_vec();
        compares.push(Compare::modified(keys.pools(space), known));
        // No block begins in there: neither this one nor a smaller one.
        compares.push(Compare::empty(keys.blocks(space, block)));
        if pool.mode == Mode::Local {
            // Nobody else will ever look at a record in there.
            compares.push(Compare::empty(keys.addresses(space, block)));
        }
        let key = keys.block(space, cidr.addr());
        let rest = part
            .cidr
            .network()
            .from(cidr.addr())
            .map_or_else(|| keys.blocks(space, block), |rest| keys.blocks(space, rest));
        let mut otherwise = standing_evidence(context, &node.uuid).to_vec();
        otherwise.extend([Op::get(keys.pools(space)), Op::get(key.clone()), Op::keys(rest, PAGE)]);
        let mut value = block_record(&node, pool, part.block, now);
        value.x.clone_from(&self.nonce);
        let then = vec![Op::put(key, record::write(&value))];
        Ok(Claimed::Ask(Txn { compares, then, otherwise }))
    }

    /// What an answer means.
    pub(super) fn reply<L: Ledger>(
        &mut self,
        ledger: &mut L,
        context: &Context,
        now: Now,
        reply: &Reply,
    ) -> Result<Claimed, L::Error> {
        ledger.transact(|tx| self.judge(tx, context, now, reply))
    }

    /// No answer came.
    pub(super) fn lost<L: Ledger>(
        &self,
        ledger: &mut L,
        now: Now,
        loss: Loss,
    ) -> Result<(), L::Error> {
        ledger.transact(|tx| match loss {
            Loss::Unknown => hold_sweeps(tx, now, self.token),
            Loss::Unsent => self.answered(tx),
        })
    }

    /// The last request is answered: nothing of it is under way any more.
    fn answered<T: Tx>(&self, tx: &mut T) -> Result<(), T::Error> {
        forget_sweeps(tx, self.token)?;
        let mut node = tx.node().clone();
        self.forget(&mut node);
        if node == *tx.node() { Ok(()) } else { tx.set_node(node) }
    }

    /// Forgets the note of the last request, and of no other: a copy of an earlier one may still arrive.
    fn forget(&self, node: &mut NodeState) {
        let this = |claim: &Claiming| {
            claim.id == self.id && claim.name == self.nonce && Some(claim.addr) == self.asked
        };
        if let Some(at) = node.claiming.iter().rposition(this) {
            node.claiming.remove(at);
        }
    }

    fn judge<T: Tx>(
        &mut self,
        tx: &mut T,
        context: &Context,
        now: Now,
        reply: &Reply,
    ) -> Result<Claimed, T::Error> {
        if reply.doubt {
            hold_sweeps(tx, now, self.token)?;
        } else if !reply.succeeded {
            self.answered(tx)?;
        }
        let node = tx.node().clone();
        if let Err(trouble) = meet(tx, reply)? {
            return Ok(Claimed::Failed(trouble));
        }
        if let Some(trouble) = restored(tx, self.seen, reply)? {
            return Ok(Claimed::Failed(trouble));
        }
        let Some((search, (pool, part))) = self.search.zip(self.pool(&node)) else {
            return Ok(Claimed::Failed(self.no_pool(&node)));
        };
        let Some(cidr) = part.block_at(search.position) else { return Ok(self.full()) };
        let first = cidr.network().first();
        if reply.succeeded {
            if now.boot.saturating_sub(search.sent.boot) > LATE / 2 {
                // This call was asleep. Another one may have found the block and given it back.
                hold_sweeps(tx, now, self.token)?;
                return Ok(Claimed::Failed(Trouble::Away));
            }
            touch(tx, search.sent, reply.revision)?;
            let terms = (reply.revision, pool.mode, pool.autonomy);
            self.take(tx, first, part.block, terms, reply)?;
            return Ok(Claimed::Done);
        }
        if let Some(evicted) = fallen(context, reply.one(0), reply.one(1)) {
            evict(tx, evicted.clone())?;
            return Ok(Claimed::Failed(evicted.into()));
        }
        touch(tx, search.sent, reply.revision)?;
        let known = node.spaces.get(&self.id.space).map_or(0, |known| known.revision);
        if reply.one(2).map_or(0, |kv| kv.modified) != known {
            remember_pools(tx, &self.id.space, reply.one(2))?;
            return self.plan(tx, context, now);
        }
        if let Some(kv) = reply.one(3) {
            let record: BlockRecord = record::read(kv).unwrap_or_default();
            let ours = record.u.as_deref() == Some(node.uuid.as_str());
            if ours && record.x == self.nonce && node.block_of(&self.id.space, first).is_none() {
                // An earlier copy of the request was carried out. Nobody else has the name.
                let terms = (kv.created, record.m, record.aut);
                self.take(tx, first, record.len, terms, reply)?;
                return Ok(Claimed::Done);
            }
            if let Some(addr) = self.target {
                let node = record.n.map_or_else(|| "nobody".to_owned(), |n| n.to_string());
                return Ok(Claimed::Failed(Trouble::Elsewhere { addr, node }));
            }
        } else if let Some(addr) = self.target {
            // Smaller blocks, or records of others that a block of this mode must not have.
            let by = "in a part of the pool that was left with records in it".to_owned();
            return Ok(Claimed::Failed(Trouble::TakenElsewhere { addr, by }));
        }
        self.advance(gap(context, part, search.position, reply.got(4)));
        self.pass(&node, &pool, part);
        self.ask(tx, context, &pool, part, now)
    }

    /// Writes down that a block is held.
    fn take<T: Tx>(
        &self,
        tx: &mut T,
        first: Addr,
        prefix: u8,
        (fence, mode, autonomy): (i64, Mode, u64),
        reply: &Reply,
    ) -> Result<(), T::Error> {
        let mut node = tx.node().clone();
        node.revision = node.revision.max(reply.revision);
        if !reply.doubt {
            forget_sweeps(tx, self.token)?;
            self.forget(&mut node);
        }
        let block = Block {
            id: self.id.clone(),
            first,
            prefix,
            fence,
            mode,
            autonomy,
            state: BlockState::Held,
        };
        match node.blocks.iter_mut().find(|held| held.id == block.id && held.first == first) {
            Some(held) => *held = block,
            None => node.blocks.push(block),
        }
        tx.set_node(node)
    }
}

/// The first position behind this one that no block is at, as far as a page of blocks tells.
fn gap(context: &Context, part: Part, position: u128, blocks: &[Kv]) -> u128 {
    let mut next = position.saturating_add(1);
    for kv in blocks {
        let Some(Key::Block { first, .. }) = context.keys.parse(&kv.key) else { continue };
        match part.position_of(first) {
            Some(taken) if taken < next => {}
            Some(taken) if taken == next => next = taken.saturating_add(1),
            _ => break,
        }
    }
    next
}

/// Notes the pools of a space as etcd has them.
pub(super) fn remember_pools<T: Tx>(
    tx: &mut T,
    space: &str,
    kv: Option<&Kv>,
) -> Result<(), T::Error> {
    let pools: PoolsRecord = kv.and_then(|kv| record::read(kv).ok()).unwrap_or_default();
    let revision = kv.map_or(0, |kv| kv.modified);
    let mut node = tx.node().clone();
    let new = !node.spaces.contains_key(space);
    let known = node.spaces.entry(space.to_owned()).or_default();
    // What was read earlier may be told later.
    let same = known.revision == revision && known.pools == pools.pools;
    if !new && (revision < known.revision || same) {
        return Ok(());
    }
    known.revision = revision;
    known.pools = pools.pools;
    tx.set_node(node)
}

/// The position where a node that holds so many blocks of a pool and family begins to look for another one.
pub fn start(uuid: &str, id: &PoolId, family: Family, held: usize, part: Part) -> u128 {
    spread(&format!("{uuid}/{id}/{family:?}/{held}")) % part.blocks().max(1)
}

/// A number for a text, spread evenly (FNV-1a with a final mix), the same on every machine.
pub fn spread(text: &str) -> u128 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // Short texts that differ in their end differ in few bits: the mix of MurmurHash3.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    u128::from(hash ^ (hash >> 33))
}
