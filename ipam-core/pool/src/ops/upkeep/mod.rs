/*!
What is done behind the calls: blocks claimed ahead and given back, what was left behind cleaned up.

Each task is small, is decided anew from what the ledger says, and may be left at any point: what was not
finished is found again.
*/

mod compare;
mod give_back;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ipam_core::addr::Family;

use crate::ledger::{Ledger, Tx};
use crate::node::{Block, BlockState, BootState, PoolId, Sweep};
use crate::op::{Event, Loss, Now, Operation, Step};
use crate::ops::claim::{Claim, Claimed, remember_pools};
use crate::ops::local::{Room, free};
use crate::ops::write::{LATE, evict, fallen, meet, plan_sweeps, pool_of, touch};
use crate::ops::{Context, Trouble};
use crate::txn::{Op, Reply, Txn};

pub(super) use compare::recover;

use compare::compared;
use give_back::{give_back, given_back, single};
use requests::{Asked, Given, answer, given, requests, taken};

/// How often etcd is asked what operators want, in milliseconds.
const ASK: u64 = 15_000;

/// How many tasks one run does: more than a node has blocks.
const TASKS: usize = 4096;

/// Removes the records of former boots, compares blocks with etcd whose last write is in doubt, answers
/// requests of operators, claims a block ahead, gives back what is empty.
#[derive(Clone, Debug)]
pub struct Upkeep {
    context: Context,
    tasks: Vec<Task>,
    running: Option<Task>,
    sent: Now,
    kept: Kept,
    steps: usize,
    planned: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Records that were found to be nobody's; the next flush removes them.
    pub removed: usize,
    /// Blocks that were claimed ahead.
    pub claimed: usize,
    /// Blocks that were given back.
    pub returned: usize,
    /// Requests that were answered.
    pub answered: usize,
}

#[derive(Clone, Debug)]
enum Task {
    /// Compares a block, or an address that is in none of ours, with etcd. `all`: not only what is of this
    /// boot.
    Compare(Sweep),
    /// All of former boots is found: notes that.
    Cleaned,
    /// Reads what operators ask, and the pools as they are now.
    Requests,
    /// Answers a request.
    Answer(Box<Asked>),
    /// Answers the request to take over a block.
    Taken(Given),
    /// Claims a block if there is little room.
    Ahead(PoolId, Family, Option<Box<Claim>>),
    /// Gives back a block if it is empty.
    Return(Block),
}

type Next = Step<Result<Kept, Trouble>>;

impl Upkeep {
    /// The operation, for all pools that the node uses.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            tasks: Vec::new(),
            running: None,
            sent: Now::default(),
            kept: Kept::default(),
            steps: 0,
            planned: false,
        }
    }

    /// What there is to do; the last is done first.
    fn plan<T: Tx>(&mut self, tx: &mut T, now: Now) -> Result<Result<(), Trouble>, T::Error> {
        if let Some(evicted) = tx.boot().evicted.clone() {
            return Ok(Err(evicted.into()));
        }
        if tx.boot().contact.is_none() {
            return Ok(Err(Trouble::NoContact));
        }
        let (node, boot) = (tx.node().clone(), tx.boot().clone());
        let live = |block: &&Block| block.state != BlockState::Revoked;
        let returns = node.blocks.iter().filter(live).cloned().map(Task::Return);
        self.tasks = returns.collect();
        let mut pools: BTreeSet<(PoolId, Family)> = BTreeSet::new();
        for block in node.blocks.iter().filter(live) {
            pools.insert((block.id.clone(), block.family()));
        }
        self.tasks.extend(pools.into_iter().map(|(id, family)| Task::Ahead(id, family, None)));
        if boot.asked == 0 || boot.asked.saturating_add(ASK) <= now.boot {
            self.tasks.push(Task::Requests);
        }
        let due = boot.sweeps.iter().filter(|sweep| sweep.due <= now.boot);
        self.tasks.extend(due.cloned().map(Task::Compare));
        if !boot.cleaned {
            self.tasks.push(Task::Cleaned);
            let blocks = node.blocks.iter().filter(live);
            let places = blocks
                .map(|block| (block.id.clone(), block.first))
                .chain(node.borrowed.iter().map(|b| (b.id.clone(), b.addr)))
                .chain(node.claiming.iter().map(|c| (c.id.clone(), c.addr)));
            let sweep = |(id, addr)| Task::Compare(Sweep { id, addr, due: 0, token: 0 });
            let sweeps = places.map(sweep);
            self.tasks.extend(sweeps);
        }
        Ok(Ok(()))
    }

    fn next<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        if !self.planned {
            self.planned = true;
            let planned = ledger.visit(|tx| self.plan(tx, now))?;
            match planned {
                None => return Ok(Step::Done(Ok(self.kept))),
                Some(Err(trouble)) => return Ok(Step::Done(Err(trouble))),
                Some(Ok(())) => {}
            }
        }
        while let Some(mut task) = self.tasks.pop() {
            self.steps += 1;
            if self.steps > TASKS {
                break;
            }
            let txn = self.start(ledger, now, &mut task)?;
            if let Some(txn) = txn {
                self.running = Some(task);
                self.sent = now;
                return Ok(Step::Ask(txn));
            }
        }
        Ok(Step::Done(Ok(self.kept)))
    }

    /// The transaction of a task, if there is anything to do.
    fn start<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        task: &mut Task,
    ) -> Result<Option<Txn>, L::Error> {
        let keys = &self.context.keys;
        match task {
            Task::Compare(sweep) => {
                let node = ledger.transact(|tx| Ok(tx.node().clone()))?;
                let space = &sweep.id.space;
                let mut then = vec![Op::get(keys.boot(&node.uuid))];
                match node.block_of(space, sweep.addr) {
                    Some(block) => {
                        then.push(Op::get(keys.block(space, block.first)));
                        then.push(Op::range(keys.addresses(space, block.interval())));
                    }
                    None => {
                        then.push(Op::get(keys.block(space, sweep.addr)));
                        then.push(Op::get(keys.address(space, sweep.addr)));
                    }
                }
                Ok(Some(Txn { then, ..Txn::default() }))
            }
            Task::Cleaned => {
                ledger.transact(|tx| {
                    let mut boot = tx.boot().clone();
                    boot.cleaned = true;
                    tx.set_boot(boot)
                })?;
                Ok(None)
            }
            Task::Requests => {
                let node = ledger.transact(|tx| Ok(tx.node().clone()))?;
                let mut then = vec![Op::range(keys.requests(&node.uuid))];
                then.extend(node.spaces.keys().map(|space| Op::get(keys.pools(space))));
                Ok(Some(Txn { then, ..Txn::default() }))
            }
            Task::Answer(asked) => {
                let context = &self.context;
                ledger.transact(|tx| answer(tx, context, now, asked)).map(Some)
            }
            Task::Taken(given) => {
                let uuid = ledger.transact(|tx| Ok(tx.node().uuid.clone()))?;
                Ok(Some(taken(&self.context, &uuid, given)))
            }
            Task::Ahead(id, family, claim) => {
                let little = ledger.transact(|tx| {
                    let Some(pool) = pool_of(tx.node(), id) else { return Ok(false) };
                    let room = free(tx, id, &pool, *family)?;
                    Ok(single(&pool, *family).is_some_and(|single| !single) && is_little(room))
                })?;
                if !little {
                    return Ok(None);
                }
                let mut ahead = Claim::new(id.clone(), *family, None);
                let next = ahead.begin(ledger, &self.context, now)?;
                *claim = Some(Box::new(ahead));
                Ok(match next {
                    Claimed::Ask(txn) => Some(txn),
                    Claimed::Done | Claimed::Failed(_) => None,
                })
            }
            Task::Return(block) => {
                let context = &self.context;
                ledger.transact(|tx| give_back(tx, context, now, block))
            }
        }
    }

    fn reply<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let Some(task) = self.running.take() else { return self.next(ledger, now) };
        let recognised = ledger.transact(|tx| meet(tx, reply))?;
        if let Err(trouble) = recognised {
            return Ok(Step::Done(Err(trouble)));
        }
        let context = self.context.clone();
        match task {
            Task::Compare(sweep) => {
                let found = ledger.transact(|tx| compared(tx, &context, now, &sweep, reply))?;
                match found {
                    Some(found) => {
                        self.kept.removed += found.removed;
                        // Of a block that was not known, one address was read.
                        if found.adopted {
                            self.tasks.push(Task::Compare(sweep));
                        }
                    }
                    // Another boot writes for this node by now.
                    None => return Ok(Step::Done(Err(Trouble::NoContact))),
                }
            }
            Task::Requests => {
                let sent = self.sent;
                let all = given(&context, reply.got(0));
                let asked = ledger.transact(|tx| {
                    let boot = BootState { asked: sent.boot.max(1), ..tx.boot().clone() };
                    tx.set_boot(boot)?;
                    let spaces: Vec<String> = tx.node().spaces.keys().cloned().collect();
                    for (i, space) in spaces.iter().enumerate() {
                        remember_pools(tx, space, reply.one(1 + i))?;
                    }
                    // Written down before the request is gone; without one there is nothing to write.
                    if !all.is_empty() {
                        let at_once = Now { boot: now.boot.saturating_sub(LATE), ..now };
                        let places = all.iter().map(|given| (given.id.clone(), given.first));
                        plan_sweeps(tx, at_once, places)?;
                    }
                    Ok(requests(tx.node(), &context, reply.got(0)))
                })?;
                self.tasks.extend(asked.into_iter().map(|asked| Task::Answer(Box::new(asked))));
                for given in all {
                    let sweep = Sweep { id: given.id.clone(), addr: given.first, due: 0, token: 0 };
                    self.tasks.extend([Task::Taken(given), Task::Compare(sweep)]);
                }
            }
            Task::Taken(_) => {
                let fallen = self.stands(ledger, reply)?;
                if let Some(trouble) = fallen {
                    return Ok(Step::Done(Err(trouble)));
                }
                self.kept.answered += usize::from(reply.succeeded);
            }
            Task::Answer(asked) => {
                let fallen = self.stands(ledger, reply)?;
                if let Some(trouble) = fallen {
                    return Ok(Step::Done(Err(trouble)));
                }
                if reply.succeeded {
                    self.kept.answered += 1;
                    if !asked.request.reserve {
                        let id = asked.block.id.clone();
                        ledger.transact(|tx| tx.vacate(&id, asked.addr))?;
                    }
                }
            }
            Task::Ahead(id, family, Some(mut claim)) => {
                match claim.reply(ledger, &context, now, reply)? {
                    Claimed::Ask(txn) => {
                        self.running = Some(Task::Ahead(id, family, Some(claim)));
                        self.sent = now;
                        return Ok(Step::Ask(txn));
                    }
                    Claimed::Done => self.kept.claimed += 1,
                    Claimed::Failed(trouble) if trouble.affects_existing() => {
                        return Ok(Step::Done(Err(trouble)));
                    }
                    // That no block is free is for the ADD to say that needs one.
                    Claimed::Failed(_) => {}
                }
            }
            Task::Return(block) => {
                let fallen = self.stands(ledger, reply)?;
                if let Some(trouble) = fallen {
                    return Ok(Step::Done(Err(trouble)));
                }
                let gone = ledger.transact(|tx| given_back(tx, now, &block, reply))?;
                self.kept.returned += usize::from(gone);
            }
            Task::Cleaned | Task::Ahead(_, _, None) => {}
        }
        self.next(ledger, now)
    }

    /// Notes the contact, or why the node may not write; the evidence is the last two reads of a failure.
    fn stands<L: Ledger>(
        &self,
        ledger: &mut L,
        reply: &Reply,
    ) -> Result<Option<Trouble>, L::Error> {
        let sent = self.sent;
        ledger.transact(|tx| {
            if !reply.succeeded
                && let Some(evicted) = fallen(&self.context, reply.one(0), reply.one(1))
            {
                evict(tx, evicted.clone())?;
                return Ok(Some(evicted.into()));
            }
            touch(tx, sent, reply.revision)?;
            Ok(None)
        })
    }

    fn lost<L: Ledger>(&mut self, ledger: &mut L, now: Now, loss: Loss) -> Result<Next, L::Error> {
        match self.running.take() {
            Some(Task::Ahead(_, _, Some(claim))) => claim.lost(ledger, now, loss)?,
            // A late request may still write the reservation of a request that was taken back.
            Some(Task::Answer(asked)) if loss == Loss::Unknown => {
                let place = (asked.block.id.clone(), asked.addr);
                ledger.transact(|tx| plan_sweeps(tx, now, std::iter::once(place)))?;
            }
            _ => {}
        }
        Ok(Step::Done(Err(Trouble::Away)))
    }
}

/// Whether another block should be claimed before this one is full.
const fn is_little(room: Room) -> bool {
    room.free.saturating_mul(4) < room.all
}

impl<L: Ledger> Operation<L> for Upkeep {
    type Output = Result<Kept, Trouble>;

    fn step(&mut self, ledger: &mut L, now: Now, event: Event) -> Result<Next, L::Error> {
        match event {
            Event::Begin => self.next(ledger, now),
            Event::Reply(reply) => self.reply(ledger, now, &reply),
            Event::Lost(loss) => self.lost(ledger, now, loss),
        }
    }
}
