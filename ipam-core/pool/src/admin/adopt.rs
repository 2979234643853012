//! Who this installation is: the node that it was before it was installed anew, or a new one.

use std::collections::BTreeSet;

use ipam_core::addr::{Family, Interval};

use crate::admin::Administer as _;
use crate::admin::error::AdminError;
use crate::admin::look::{Cluster, Look, Wanted};
use crate::ledger::{Ledger, Tx};
use crate::node::{Block, BlockState, BootState, Borrowed, KnownPools, NodeState, PoolId};
use crate::op::{Event, Loss, Now, Operation, Step};
use crate::ops::{Context, Facts};
use crate::pool::Pool;
use crate::record::{self, NodeRecord, Tombstone};
use crate::txn::{Compare, Op, Reply, Txn};

/// How many rows of the outbox are dropped at once, and how often.
const DROPPED: usize = 1_000;

/// Takes over a node that is gone: its UUID, name, index and blocks. For a machine that was installed anew. The
/// former installation must not run any more.
///
/// The ledger is changed first, durably: with the boot that writes for the node now and the one that is to. Then
/// etcd is told, if nobody was faster. Nothing is given out before the next contact, which sees whether etcd
/// agrees: so a crash in between does no harm.
#[derive(Clone, Debug)]
pub struct Adopt {
    context: Context,
    facts: Facts,
    node: String,
    force: bool,
    state: State,
    /// What this installation was, and what it becomes.
    before: NodeState,
    after: NodeState,
    record: Option<NodeRecord>,
}

#[derive(Clone, Debug)]
enum State {
    Begin,
    Looking(Box<Look>),
    Claiming,
}

/// What was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The node's UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// How many blocks it holds.
    pub blocks: usize,
    /// The node that this installation was registered as before, and is no longer.
    pub left: Option<String>,
}

impl Adopt {
    /// The operation; `node` is a name, an index or a UUID. `force`: though its agent answers. Of the facts only
    /// `machine` and `connection` are used.
    pub fn new(context: Context, facts: Facts, node: String, force: bool) -> Self {
        Self {
            context,
            facts,
            node,
            force,
            state: State::Begin,
            before: NodeState::default(),
            after: NodeState::default(),
            record: None,
        }
    }

    /// What this installation becomes, and the request that says so.
    fn plan(&mut self, now: Now, cluster: &Cluster) -> Result<Txn, AdminError> {
        let node = cluster.node(&self.node)?;
        let name = node.name().to_owned();
        if let Some((tombstone, ..)) = &node.tombstone {
            return Err(AdminError::Removed { name, by: tombstone.by.clone() });
        }
        let Some((record, modified)) = &node.record else {
            return Err(AdminError::NoNode(self.node.clone()));
        };
        if node.uuid == self.before.uuid {
            return Err(AdminError::IsNode(name));
        }
        if node.alive && !self.force {
            return Err(AdminError::Alive { name });
        }
        if !self.before.blocks.is_empty() {
            return Err(AdminError::StillNode { name: self.before.name.clone() });
        }
        let id =
            |space: &str, pool: &str| PoolId { space: space.to_owned(), pool: pool.to_owned() };
        let mut after = NodeState {
            uuid: node.uuid.clone(),
            machine: self.facts.machine.clone(),
            name,
            index: Some(record.idx),
            boots: node.boot.iter().cloned().chain([self.context.boot.clone()]).collect(),
            cluster: cluster.id,
            data: cluster.meta.as_ref().map(|meta| meta.cluster.clone()).unwrap_or_default(),
            epoch: cluster.meta.as_ref().map_or(0, |meta| meta.epoch),
            revision: cluster.revision,
            connection: self.facts.connection.clone(),
            ..NodeState::default()
        };
        for space in &cluster.spaces {
            let pools = space.pools.clone();
            let known = KnownPools { revision: space.revision, pools };
            after.spaces.insert(space.name.clone(), known);
        }
        for (space, block) in cluster.blocks_of(&node.uuid) {
            after.blocks.push(Block {
                id: id(space, &block.record.p),
                first: block.cidr.addr(),
                prefix: block.cidr.prefix(),
                fence: block.created,
                mode: block.record.m,
                autonomy: block.record.aut,
                state: BlockState::Held,
            });
        }
        for (space, exception) in cluster.exceptions_of(&node.uuid) {
            let pools = cluster.spaces.iter().filter(|s| s.name == space).flat_map(|s| &s.pools);
            let pool = pools
                .filter_map(|spec| Pool::try_from(spec).ok())
                .find(|pool| pool.intervals().any(|interval| interval.contains(exception.addr)));
            let pool = pool.map(|pool| pool.name).unwrap_or_default();
            after.borrowed.push(Borrowed { id: id(space, &pool), addr: exception.addr });
        }
        let keys = &self.context.keys;
        let boot = keys.boot(&node.uuid);
        let record = NodeRecord { boot: self.context.boot.clone(), t: now.unix, ..record.clone() };
        let txn = Txn {
            compares: vec![
                match &node.boot {
                    Some(former) => Compare::value(boot.clone(), former.as_bytes()),
                    None => Compare::absent(boot.clone()),
                },
                Compare::modified(keys.node(&node.uuid), *modified),
                Compare::absent(keys.tombstone(&node.uuid)),
            ],
            then: vec![
                Op::put(boot.clone(), self.context.boot.as_bytes()),
                Op::put(keys.node(&node.uuid), record::write(&record)),
            ],
            otherwise: vec![Op::get(boot), Op::get(keys.tombstone(&node.uuid))],
        };
        self.after = after;
        self.record = Some(record);
        Ok(txn)
    }

    fn claimed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        reply: &Reply,
    ) -> Result<Result<Adopted, AdminError>, L::Error> {
        // A request that was sent twice: its first copy has done it.
        let mine = reply.one(0).is_some_and(|kv| kv.value == self.context.boot.as_bytes());
        if reply.succeeded || mine {
            self.after.boots = vec![self.context.boot.clone()];
            self.after.revision = self.after.revision.max(reply.revision);
            let after = self.after.clone();
            ledger.transact(|tx| tx.set_node(after))?;
            return Ok(Ok(Adopted {
                uuid: self.after.uuid.clone(),
                name: self.after.name.clone(),
                index: self.after.index.unwrap_or_default(),
                blocks: self.after.blocks.len(),
                left: Some(self.before.name.clone()).filter(|name| !name.is_empty()),
            }));
        }
        let before = self.before.clone();
        ledger.transact(|tx| tx.set_node(before))?;
        let name = self.after.name.clone();
        let removed = reply.one(1).and_then(|kv| record::read::<Tombstone>(kv).ok());
        Ok(Err(match (removed, reply.one(0)) {
            (Some(tombstone), _) => AdminError::Removed { name, by: tombstone.by },
            (None, Some(kv)) => {
                AdminError::Runs { name, boot: String::from_utf8_lossy(&kv.value).into_owned() }
            }
            (None, None) => AdminError::Contended { tries: 1 },
        }))
    }
}

impl<L: Ledger> Operation<L> for Adopt {
    type Output = Result<Adopted, AdminError>;

    fn step(
        &mut self,
        ledger: &mut L,
        now: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error> {
        let reply = match event {
            Event::Begin => None,
            Event::Reply(reply) => Some(reply),
            Event::Lost(loss) => return Ok(Step::Done(Err(away(loss)))),
        };
        let (mut look, first) = match (std::mem::replace(&mut self.state, State::Begin), reply) {
            (State::Claiming, Some(reply)) => {
                return Ok(Step::Done(self.claimed(ledger, &reply)?));
            }
            (State::Looking(look), reply) => (look, reply),
            (State::Begin | State::Claiming, _) => {
                let (before, held) = ledger.transact(|tx| Ok((tx.node().clone(), held(tx)?)))?;
                if held > 0 {
                    return Ok(Step::Done(Err(AdminError::Holds { held })));
                }
                self.before = before;
                let wanted = Wanted { exceptions: true, ..Wanted::default() };
                (Box::new(Look::new(self.context.keys.clone(), wanted)), None)
            }
        };
        let cluster = match look.advance(now, first.as_ref()) {
            Err(error) => return Ok(Step::Done(Err(error))),
            Ok(Step::Ask(txn)) => {
                self.state = State::Looking(look);
                return Ok(Step::Ask(txn));
            }
            Ok(Step::Done(cluster)) => cluster,
        };
        let txn = match self.plan(now, &cluster) {
            Ok(txn) => txn,
            Err(error) => return Ok(Step::Done(Err(error))),
        };
        if let Err(error) = become_node(ledger, self.after.clone())? {
            return Ok(Step::Done(Err(error)));
        }
        self.state = State::Claiming;
        Ok(Step::Ask(txn))
    }
}

const fn away(loss: Loss) -> AdminError {
    AdminError::Away { doubtful: matches!(loss, Loss::Unknown) }
}

/// How many addresses the installation holds.
fn held<T: Tx>(tx: &mut T) -> Result<u64, T::Error> {
    let node = tx.node();
    let of_spaces = node.spaces.iter().flat_map(|(space, known)| {
        known.pools.iter().map(|pool| PoolId { space: space.clone(), pool: pool.name.clone() })
    });
    let ids: BTreeSet<PoolId> = of_spaces
        .chain(node.blocks.iter().map(|block| block.id.clone()))
        .chain(node.borrowed.iter().map(|borrowed| borrowed.id.clone()))
        .collect();
    let mut held = 0;
    for id in &ids {
        for family in [Family::V4, Family::V6] {
            held += tx.usage(id, family.whole())?.held;
        }
    }
    Ok(held)
}

/// Lets the installation be another node: forgets the contact with etcd and what was to be written as the
/// former one, then says durably which node it is. Refused if it has got addresses meanwhile.
fn become_node<L: Ledger>(
    ledger: &mut L,
    after: NodeState,
) -> Result<Result<(), AdminError>, L::Error> {
    // In a transaction of its own: what is durable stays also if the rest fails.
    let holds = ledger.transact(|tx| {
        let held = held(tx)?;
        if held > 0 {
            return Ok(held);
        }
        let blocks: Vec<(PoolId, Interval)> =
            tx.node().blocks.iter().map(|block| (block.id.clone(), block.interval())).collect();
        for (id, interval) in &blocks {
            for addr in tx.occupied(id, *interval)? {
                tx.vacate(id, addr)?;
            }
        }
        for _ in 0..DROPPED {
            let rows = tx.outbox(i64::MAX.unsigned_abs(), DROPPED)?;
            for row in &rows {
                tx.clear_dirty(&row.id, row.addr)?;
            }
            if rows.len() < DROPPED {
                break;
            }
        }
        let boot =
            BootState { endpoint: tx.boot().endpoint, seq: tx.boot().seq, ..BootState::default() };
        tx.set_boot(boot)?;
        Ok(0)
    })?;
    if holds > 0 {
        return Ok(Err(AdminError::Holds { held: holds }));
    }
    // Nothing is given out between the two: that needs a contact.
    ledger.transact(|tx| {
        let held = held(tx)?;
        if held > 0 {
            return Ok(Err(AdminError::Holds { held }));
        }
        tx.set_node(after)?;
        let boot =
            BootState { endpoint: tx.boot().endpoint, seq: tx.boot().seq, ..BootState::default() };
        tx.set_boot(boot)?;
        Ok(Ok(()))
    })
}

/// Makes this installation a new node, after it was removed as the one that it was, or for another cluster.
#[derive(Clone, Debug)]
pub struct Anew {
    context: Context,
    facts: Facts,
    before: NodeState,
}

/// A node that has begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnewNode {
    /// The UUID that it had.
    pub former: String,
    /// The name that it had; empty if it was not registered.
    pub name: String,
    /// The UUID that it has.
    pub uuid: String,
    /// Whether its removal is finished: until then its name is not free.
    pub finished: bool,
}

impl Anew {
    /// The operation. Of the facts `uuid` (a new one), `machine` and `connection` are used.
    pub fn new(context: Context, facts: Facts) -> Self {
        Self { context, facts, before: NodeState::default() }
    }
}

impl<L: Ledger> Operation<L> for Anew {
    type Output = Result<AnewNode, AdminError>;

    fn step(
        &mut self,
        ledger: &mut L,
        _: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error> {
        let reply = match event {
            Event::Lost(loss) => return Ok(Step::Done(Err(away(loss)))),
            Event::Begin => {
                let (before, held) = ledger.transact(|tx| Ok((tx.node().clone(), held(tx)?)))?;
                if held > 0 {
                    return Ok(Step::Done(Err(AdminError::Holds { held })));
                }
                self.before = before;
                let keys = &self.context.keys;
                let then = vec![
                    Op::get(keys.node(&self.before.uuid)),
                    Op::get(keys.tombstone(&self.before.uuid)),
                ];
                return Ok(Step::Ask(Txn { then, ..Txn::default() }));
            }
            Event::Reply(reply) => reply,
        };
        // In another cluster this installation is nobody.
        let here = self.before.cluster == 0 || self.before.cluster == reply.cluster;
        let registered = here && !self.before.uuid.is_empty() && reply.one(0).is_some();
        let removed = here && reply.one(1).is_some();
        if registered && !removed {
            let name = self.before.name.clone();
            return Ok(Step::Done(Err(AdminError::StillNode { name })));
        }
        let after = NodeState {
            uuid: self.facts.uuid.clone(),
            machine: self.facts.machine.clone(),
            connection: self.facts.connection.clone(),
            ..NodeState::default()
        };
        if let Err(error) = become_node(ledger, after)? {
            return Ok(Step::Done(Err(error)));
        }
        Ok(Step::Done(Ok(AnewNode {
            former: self.before.uuid.clone(),
            name: self.before.name.clone(),
            uuid: self.facts.uuid.clone(),
            finished: !registered,
        })))
    }
}

#[cfg(test)]
mod tests;
