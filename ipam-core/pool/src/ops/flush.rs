//! Writing the outbox to etcd.

use crate::ledger::{Allocation, Ledger, Tx};
use crate::node::BlockState;
use crate::op::{Event, Now, Operation, Step};
use crate::ops::write::{Batch, Settled};
use crate::ops::{Context, Trouble};
use crate::record::Mode;
use crate::txn::{BATCH, Reply};

/// How many transactions one flush may take: more than a full outbox of a large node.
const TRIES: usize = 4096;

/// How many rows of the outbox are looked at for one transaction.
const LOOK: usize = 1024;

/// Writes what is due of the outbox, at most [`BATCH`] addresses in a transaction. What is changed meanwhile is for
/// the next flush: a few changes at a time would be a request for each few.
#[derive(Clone, Debug)]
pub struct Flush {
    context: Context,
    batch: Batch,
    /// The last change that there was when it began.
    last: Option<u64>,
    sent: Now,
    flushed: Flushed,
}

/// What a flush has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// How many records were written or deleted.
    pub written: usize,
    /// How many transactions that took.
    pub transactions: usize,
}

impl Flush {
    /// The operation.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            batch: Batch::default(),
            last: None,
            sent: Now::default(),
            flushed: Flushed::default(),
        }
    }

    /// The next transaction, if anything is due.
    fn next<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
    ) -> Result<Step<Result<Flushed, Trouble>>, L::Error> {
        let collected = ledger.visit(|tx| {
            if let Some(evicted) = tx.boot().evicted.clone() {
                return Ok(Err(evicted.into()));
            }
            if tx.boot().contact.is_none() {
                return Ok(Err(Trouble::NoContact));
            }
            let last = *self.last.get_or_insert(tx.boot().seq);
            let (mut gone, mut held) = (Vec::new(), Vec::new());
            for dirty in tx.outbox(now.boot, LOOK)?.into_iter().filter(|dirty| dirty.seq <= last) {
                match tx.at(&dirty.id, dirty.addr)? {
                    None if gone.len() < BATCH => gone.push(dirty),
                    Some(_) if held.len() < BATCH => held.push(dirty),
                    _ => {}
                }
            }
            // Deletions by themselves and first: an etcd that is full refuses whatever may write.
            Batch::collect(tx, now, if gone.is_empty() { held } else { gone }).map(Ok)
        })?;
        match collected {
            None => Ok(Step::Done(Ok(self.flushed))),
            Some(Err(trouble)) => Ok(Step::Done(Err(trouble))),
            Some(Ok(batch)) if batch.rows.is_empty() => Ok(Step::Done(Ok(self.flushed))),
            Some(Ok(batch)) => {
                self.batch = batch;
                Ok(self.ask(now))
            }
        }
    }

    fn ask(&mut self, now: Now) -> Step<Result<Flushed, Trouble>> {
        self.sent = now;
        self.flushed.transactions += 1;
        Step::Ask(self.batch.txn(&self.context))
    }

    fn reply<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
    ) -> Result<Step<Result<Flushed, Trouble>>, L::Error> {
        let rows = self.batch.rows.len();
        let settled = ledger.transact(|tx| {
            let settled = self.batch.settle(tx, &self.context, (self.sent, now), reply)?;
            if let Ok(Settled::Taken(taken)) = &settled {
                for taken in taken {
                    give_up(tx, &taken.allocation)?;
                }
            }
            Ok(settled)
        })?;
        match settled {
            Err(trouble) => return Ok(Step::Done(Err(trouble))),
            Ok(Settled::Written) => self.flushed.written += rows,
            Ok(Settled::Taken(_)) => {}
            Ok(Settled::Again) => {
                if self.flushed.transactions < TRIES {
                    return Ok(self.ask(now));
                }
            }
        }
        if self.flushed.transactions >= TRIES {
            let tries = u32::try_from(self.flushed.transactions).unwrap_or(u32::MAX);
            return Ok(Step::Done(Err(Trouble::Contended { tries })));
        }
        self.next(ledger, now)
    }
}

/// An allocation whose address turned out to be another's, long after it was decided here.
fn give_up<T: Tx>(tx: &mut T, allocation: &Allocation) -> Result<(), T::Error> {
    let (id, addr) = (&allocation.id, allocation.addr);
    let mode = tx.node().block_of(&id.space, addr).map(|block| block.mode);
    tx.clear_dirty(id, addr)?;
    // In mode sync an ADD that has answered is written.
    if mode != Some(Mode::Local) && allocation.revision == 0 {
        if tx.at(id, addr)?.is_some_and(|held| held.nonce == allocation.nonce) {
            tx.free(id, addr, true)?;
            tx.occupy(id, addr)?;
        }
        return Ok(());
    }
    // Nobody else may write there. Whoever did has to be found by an operator; the pod keeps its address, and
    // no other one is given out of the block.
    let mut node = tx.node().clone();
    for block in &mut node.blocks {
        if block.id == *id && block.interval().contains(addr) {
            block.state = BlockState::Revoked;
        }
    }
    tx.set_node(node)
}

impl<L: Ledger> Operation<L> for Flush {
    type Output = Result<Flushed, Trouble>;

    fn step(
        &mut self,
        ledger: &mut L,
        now: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error> {
        match event {
            Event::Begin => self.next(ledger, now),
            Event::Reply(reply) => self.reply(ledger, now, &reply),
            Event::Lost(loss) => {
                ledger.transact(|tx| self.batch.lost(tx, now, loss))?;
                Ok(Step::Done(Err(Trouble::Away)))
            }
        }
    }
}
