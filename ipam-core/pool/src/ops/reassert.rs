/*!
Writing anew what this node holds, after etcd was restored from an older snapshot or has lost records.

Blocks that nobody has are claimed again, with new fences; the records of their addresses follow by the outbox.
A block that another node holds by now stays revoked: its addresses may be given twice, and only the pods that
use them can be deleted. An operator asks for this; nothing does by itself.
*/

use ipam_core::addr::Addr;

use crate::ledger::{Allocation, Ledger, Tx};
use crate::node::{Block, BlockState, Contact, Evicted, NodeState, PoolId};
use crate::op::{Event, Now, Operation, Step};
use crate::ops::claim::remember_pools;
use crate::ops::write::{
    LATE, evict, fallen, plan_sweeps, pool_of, soil, standing, standing_evidence,
};
use crate::ops::{Context, Trouble};
use crate::record::{self, BlockRecord, Meta, NodeRecord, Tombstone};
use crate::txn::{Compare, Op, Reply, Txn};

/// How often others may change what this node looks at.
const TRIES: u32 = 16;

/// What was written anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasserted {
    /// Blocks that were still this node's.
    pub kept: usize,
    /// Blocks that were claimed again.
    pub claimed: usize,
    /// Blocks that another node holds by now, as CIDR, with that node's index.
    pub lost: Vec<(String, Option<u32>)>,
    /// Records that wait to be written.
    pub records: usize,
}

/// Writes anew what this node holds.
#[derive(Clone, Debug)]
pub struct Reassert {
    context: Context,
    state: State,
    sent: Now,
    tries: u32,
    blocks: Vec<Block>,
    /// The revision of etcd now.
    revision: i64,
    done: Reasserted,
}

#[derive(Clone, Debug)]
enum State {
    Reading,
    Writing,
    Block(Box<Block>),
}

type Next = Step<Result<Reasserted, Trouble>>;

impl Reassert {
    /// The operation.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            state: State::Reading,
            sent: Now::default(),
            tries: 0,
            blocks: Vec::new(),
            revision: 0,
            done: Reasserted::default(),
        }
    }

    fn begin<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        let node = ledger.transact(|tx| Ok(tx.node().clone()))?;
        if node.index.is_none() {
            // It was never registered: there is nothing to write anew.
            return Ok(Step::Done(Err(Trouble::NoContact)));
        }
        self.blocks.clone_from(&node.blocks);
        self.state = State::Reading;
        Ok(self.ask(now, Txn { then: self.reads(&node), ..Txn::default() }))
    }

    const fn ask(&mut self, now: Now, txn: Txn) -> Next {
        self.sent = now;
        Step::Ask(txn)
    }

    fn reads(&self, node: &NodeState) -> Vec<Op> {
        let keys = &self.context.keys;
        let mut reads = vec![
            Op::get(keys.tombstone(&node.uuid)),
            Op::get(keys.boot(&node.uuid)),
            Op::get(keys.node(&node.uuid)),
            Op::get(keys.name(&node.name)),
            Op::get(keys.index(node.index.unwrap_or_default())),
            Op::get(keys.meta()),
        ];
        reads.extend(node.spaces.keys().map(|space| Op::get(keys.pools(space))));
        reads
    }

    /// Registers the node as it was, if nobody has taken its place.
    fn register<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        self.tries += 1;
        if self.tries > TRIES {
            return Ok(Step::Done(Err(Trouble::Contended { tries: TRIES })));
        }
        let node = ledger.transact(|tx| {
            let spaces: Vec<String> = tx.node().spaces.keys().cloned().collect();
            let mut node = tx.node().clone();
            // The revisions of now may be older than those that were seen.
            node.revision = reply.revision;
            node.cluster = reply.cluster;
            for known in node.spaces.values_mut() {
                known.revision = 0;
            }
            if let Some(meta) = reply.one(5).and_then(|kv| record::read::<Meta>(kv).ok()) {
                node.data = meta.cluster;
                node.epoch = meta.epoch;
            }
            tx.set_node(node)?;
            for (i, space) in spaces.iter().enumerate() {
                remember_pools(tx, space, reply.one(6 + i))?;
            }
            Ok(tx.node().clone())
        })?;
        if let Some(kv) = reply.one(0) {
            let stone: Tombstone = record::read(kv).unwrap_or_default();
            return Ok(Step::Done(Err(Trouble::Tombstoned { at: stone.at, by: stone.by })));
        }
        let index = node.index.unwrap_or_default();
        for (position, what) in
            [(3, format!("the name {}", node.name)), (4, format!("the index {index}"))]
        {
            if let Some(kv) = reply.one(position)
                && kv.value != node.uuid.as_bytes()
            {
                let by = String::from_utf8_lossy(&kv.value).into_owned();
                return Ok(Step::Done(Err(Trouble::NameTaken { what, by })));
            }
        }
        let keys = &self.context.keys;
        let mut record: NodeRecord = match reply.one(2) {
            Some(kv) => record::read(kv).unwrap_or_default(),
            None => NodeRecord::default(),
        };
        record.name.clone_from(&node.name);
        record.idx = index;
        record.boot.clone_from(&self.context.boot);
        record.t = now.unix;
        let modified = |position: usize| reply.one(position).map_or(0, |kv| kv.modified);
        let uuid = node.uuid.as_str();
        let named = [
            (1, keys.boot(uuid), self.context.boot.clone().into_bytes()),
            (2, keys.node(uuid), record::write(&record)),
            (3, keys.name(&node.name), uuid.as_bytes().to_vec()),
            (4, keys.index(index), uuid.as_bytes().to_vec()),
        ];
        let mut txn = Txn {
            compares: vec![Compare::absent(keys.tombstone(uuid))],
            then: Vec::new(),
            otherwise: self.reads(&node),
        };
        for (position, key, value) in named {
            txn.compares.push(Compare::modified(key.clone(), modified(position)));
            txn.then.push(Op::put(key, value));
        }
        self.state = State::Writing;
        Ok(self.ask(now, txn))
    }

    /// The next block, if there is one.
    fn next_block<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        let Some(block) = self.blocks.pop() else { return self.finish(ledger, now) };
        let node = ledger.transact(|tx| Ok(tx.node().clone()))?;
        let keys = &self.context.keys;
        let space = &block.id.space;
        let key = keys.block(space, block.first);
        let mut compares = standing(&self.context, &node.uuid).to_vec();
        compares.push(Compare::empty(keys.blocks(space, block.interval())));
        let mut otherwise = standing_evidence(&self.context, &node.uuid).to_vec();
        otherwise.push(Op::get(key.clone()));
        let value = BlockRecord {
            n: node.index,
            u: Some(node.uuid),
            len: block.prefix,
            p: block.id.pool.clone(),
            m: block.mode,
            aut: block.autonomy,
            t: now.unix,
            ..BlockRecord::default()
        };
        self.state = State::Block(Box::new(block));
        let then = vec![Op::put(key, record::write(&value))];
        Ok(self.ask(now, Txn { compares, then, otherwise }))
    }

    fn block<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        block: &Block,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let context = self.context.clone();
        let outcome = ledger.transact(|tx| {
            if !reply.succeeded
                && let Some(evicted) = fallen(&context, reply.one(0), reply.one(1))
            {
                evict(tx, evicted.clone())?;
                return Ok(Err(Trouble::from(evicted)));
            }
            let there = reply.one(2);
            let holder: Option<BlockRecord> = there.and_then(|kv| record::read(kv).ok());
            let ours =
                holder.as_ref().is_some_and(|record| record.u.as_deref() == Some(&tx.node().uuid));
            let fence = match (reply.succeeded, there) {
                (true, _) => reply.revision,
                (false, Some(kv)) if ours => kv.created,
                _ => return Ok(Ok(Err(holder.and_then(|record| record.n)))),
            };
            renew(tx, now, block, fence).map(|records| Ok(Ok(records)))
        })?;
        match outcome {
            Err(trouble) => return Ok(Step::Done(Err(trouble))),
            Ok(Ok(records)) => {
                self.done.records += records;
                self.done.claimed += usize::from(reply.succeeded);
                self.done.kept += usize::from(!reply.succeeded);
            }
            Ok(Err(node)) => {
                let name =
                    block.cidr().map_or_else(|| block.first.to_string(), |cidr| cidr.to_string());
                ledger.transact(|tx| revoke(tx, block))?;
                self.done.lost.push((name, node));
            }
        }
        self.next_block(ledger, now)
    }

    fn finish<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        let lost = self.done.lost.first().map(|(block, _)| block.clone());
        let contact =
            Contact { boot: self.sent.boot, unix: self.sent.unix, revision: self.revision };
        ledger.transact(|tx| {
            let mut boot = tx.boot().clone();
            boot.evicted = lost.map(|block| Evicted::Revoked { block });
            boot.contact = Some(contact);
            tx.set_boot(boot)?;
            let due = Now { boot: now.boot.saturating_sub(LATE), ..now };
            let blocks = tx.node().blocks.clone();
            let places: Vec<(PoolId, Addr)> = blocks
                .into_iter()
                .filter(|block| block.state != BlockState::Revoked)
                .map(|block| (block.id, block.first))
                .collect();
            plan_sweeps(tx, due, places.into_iter()).map(|_| ())
        })?;
        Ok(Step::Done(Ok(self.done.clone())))
    }
}

/// A block with a new fence: its addresses are written under that one.
fn renew<T: Tx>(tx: &mut T, now: Now, block: &Block, fence: i64) -> Result<usize, T::Error> {
    let mut node = tx.node().clone();
    for held in
        node.blocks.iter_mut().filter(|held| held.id == block.id && held.first == block.first)
    {
        held.fence = fence;
        held.state = BlockState::Held;
    }
    tx.set_node(node)?;
    if pool_of(tx.node(), &block.id).is_none() {
        return Ok(0);
    }
    let allocations = tx.within(&block.id, block.interval())?;
    for allocation in &allocations {
        soil(tx, now, &Allocation { fence, ..allocation.clone() }, 0)?;
    }
    Ok(allocations.len())
}

fn revoke<T: Tx>(tx: &mut T, block: &Block) -> Result<(), T::Error> {
    let mut node = tx.node().clone();
    if tx.usage(&block.id, block.interval())?.held == 0 {
        node.blocks.retain(|held| held.id != block.id || held.first != block.first);
    }
    for held in
        node.blocks.iter_mut().filter(|held| held.id == block.id && held.first == block.first)
    {
        held.state = BlockState::Revoked;
    }
    tx.set_node(node)
}

impl<L: Ledger> Operation<L> for Reassert {
    type Output = Result<Reasserted, Trouble>;

    fn step(&mut self, ledger: &mut L, now: Now, event: Event) -> Result<Next, L::Error> {
        let reply = match event {
            Event::Begin => return self.begin(ledger, now),
            Event::Lost(_) => return Ok(Step::Done(Err(Trouble::Away))),
            Event::Reply(reply) => reply,
        };
        self.revision = self.revision.max(reply.revision);
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading => self.register(ledger, now, &reply),
            State::Writing if reply.succeeded => self.next_block(ledger, now),
            State::Writing => self.register(ledger, now, &reply),
            State::Block(block) => self.block(ledger, now, &block, &reply),
        }
    }
}
