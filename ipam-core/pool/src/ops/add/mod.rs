/*!
An ADD: addresses out of the node's blocks, or out of blocks that it claims, or borrowed.

In mode `local` a call whose blocks have room asks nothing of etcd. In mode `sync` the same local commit
comes first, so that no two calls of a node choose the same address, and the answer waits until etcd has
the records.
*/

mod lend;
mod recall;

use std::collections::BTreeMap;
use std::fmt;

use ipam_core::addr::{Addr, Family};
use ipam_core::allocator::{Choice, Refusal, Repeat, Request};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, Network, PodInterface};
use ipam_core::policy::{Policy, Strategy};
use ipam_core::range::RangeSet;

use crate::ledger::{Allocation, Ledger, Tx};
use crate::node::{Block, Borrowed, PoolId};
use crate::op::{Event, Loss, Now, Operation, Step};
use crate::ops::claim::{Claim, Claimed};
use crate::ops::local::{gate, limit, take_back};
use crate::ops::write::{Batch, Settled, changes_of, soil};
use crate::ops::{Context, Trouble};
use crate::pool::Pool;
use crate::record::Mode;
use crate::txn::{Reply, Txn};

/// How many blocks one ADD may claim, and how often it may meet another's record.
const TRIES: u32 = 64;

/// What an ADD asks for.
pub struct AddRequest {
    /// The pool.
    pub id: PoolId,
    /// The CNI network.
    pub network: Network,
    /// For whom.
    pub attachment: Attachment,
    /// The pod, where the runtime told it.
    pub owner: Owner,
    /// Addresses wanted.
    pub requested: Vec<Addr>,
    /// One address of each; empty: of each family of the pool.
    pub families: Vec<Family>,
    /// How addresses are chosen.
    pub strategy: Strategy,
    /// Names the allocation: made at random.
    pub nonce: String,
    /// Asked before anything is changed: whether somebody still waits for the answer.
    pub wanted: Box<dyn FnMut() -> bool>,
}

impl fmt::Debug for AddRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddRequest({} {} {})", self.id, self.network, self.attachment)
    }
}

/// What an ADD gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The addresses, in the order of the families.
    pub allocations: Vec<Allocation>,
    /// The pool.
    pub pool: Pool,
    /// Whether the attachment held all of it before.
    pub held: bool,
}

/// Gives addresses to an attachment. The node must have been joined in this boot: else
/// [`Trouble::NoContact`], and nothing is asked of etcd.
#[derive(Debug)]
pub struct Add {
    context: Context,
    request: AddRequest,
    state: State,
    sent: Now,
    tries: u32,
    /// Addresses found in blocks of others, with the fences of those.
    lent: BTreeMap<Family, (Addr, i64)>,
    /// What the pod's interface had last, anywhere in the cluster; once etcd was asked.
    recalled: Option<Vec<Addr>>,
    /// Whether what is being written is an earlier call's, which has not answered.
    held: bool,
}

#[derive(Debug)]
enum State {
    Start,
    /// What the pod's interface had last is read.
    Recalling,
    Claiming(Box<Claim>, Need),
    /// Blocks of others are read.
    Looking(Probe),
    /// A block of another is read.
    Probing(Probe, Block),
    Writing(Batch, Pool, Vec<Allocation>),
}

/// What no block of this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    family: Family,
    /// This address.
    addr: Option<Addr>,
    /// Why the node's own blocks could not give one.
    refusal: Option<Refusal>,
}

/// A search in blocks of others.
#[derive(Clone, Debug)]
struct Probe {
    need: Need,
    pool: Pool,
    /// Why no block could be claimed.
    trouble: Trouble,
    probes: u32,
}

/// What the node's own ledger says.
enum Decided {
    Have(Pool, Vec<Allocation>, bool),
    Need(Need),
    /// What the pod's interface had last must be known.
    Recall(PodInterface),
    Trouble(Trouble),
}

type Next = Step<Result<Added, Trouble>>;

impl Add {
    /// The operation.
    pub const fn new(context: Context, request: AddRequest) -> Self {
        Self {
            context,
            request,
            state: State::Start,
            sent: Now { boot: 0, unix: 0 },
            tries: 0,
            lent: BTreeMap::new(),
            recalled: None,
            held: false,
        }
    }

    /// Decides, and either answers or says what to ask for.
    fn decide<L: Ledger>(&mut self, ledger: &mut L, now: Now) -> Result<Next, L::Error> {
        self.tries += 1;
        if self.tries > TRIES {
            return Ok(Step::Done(Err(Trouble::Contended { tries: TRIES })));
        }
        let (decided, batch) = ledger.transact(|tx| {
            let decided = self.try_decide(tx, now)?;
            let batch = match &decided {
                Decided::Have(pool, allocations, _) if pool.mode == Mode::Sync => {
                    // What has a record was answered before.
                    let new = allocations.iter().filter(|held| held.revision == 0);
                    let changes = changes_of(tx, new)?;
                    Batch::collect(tx, now, changes)?
                }
                _ => Batch::default(),
            };
            Ok((decided, batch))
        })?;
        match decided {
            Decided::Trouble(trouble) => self.refuse(ledger, now, trouble),
            Decided::Recall(pod) => {
                self.state = State::Recalling;
                let txn = self.recall(&pod);
                Ok(self.ask(now, txn))
            }
            Decided::Have(pool, allocations, held) if batch.rows.is_empty() => {
                Ok(Step::Done(Ok(Added { allocations, pool, held })))
            }
            Decided::Have(pool, allocations, held) => {
                self.held = held;
                let txn = self.write(&batch, &allocations, now);
                self.state = State::Writing(batch, pool, allocations);
                Ok(self.ask(now, txn))
            }
            Decided::Need(need) => {
                let mut claim = Claim::new(self.request.id.clone(), need.family, need.addr);
                let next = claim.begin(ledger, &self.context, now)?;
                self.state = State::Claiming(Box::new(claim), need);
                self.claimed(ledger, now, next)
            }
        }
    }

    const fn ask(&mut self, now: Now, txn: Txn) -> Next {
        self.sent = now;
        Step::Ask(txn)
    }

    fn try_decide<T: Tx>(&mut self, tx: &mut T, now: Now) -> Result<Decided, T::Error> {
        let AddRequest { id, network, attachment, .. } = &self.request;
        let pool = match gate(tx, id)? {
            Ok(pool) => pool,
            Err(trouble) => return Ok(Decided::Trouble(trouble)),
        };
        let families: Vec<Family> = if self.request.families.is_empty() {
            pool.families().collect()
        } else {
            self.request.families.clone()
        };
        if let Some(family) = families.iter().find(|family| pool.part(**family).is_none()) {
            return Ok(Decided::Trouble(Trouble::NoFamily { name: pool.name, family: *family }));
        }
        let held = tx.held(Some(id), network, attachment)?;
        // What is held, too, may have been given to others when that time is over. In mode sync a write finds out.
        if (pool.mode == Mode::Local || !held.is_empty())
            && let Some(limit) = limit(tx.node(), id)
        {
            let age = tx.boot().contact.map_or(0, |contact| contact.age(now).as_secs());
            if age > limit {
                return Ok(Decided::Trouble(Trouble::Autonomy { age, limit }));
            }
        }
        if !held.is_empty() {
            return Ok(self.repeated(pool, &families, held));
        }
        if let Some(pod) = self.forgotten(&pool) {
            return Ok(Decided::Recall(pod));
        }
        let mut requested = Vec::new();
        for addr in self.wanted_addrs(&pool, &families) {
            let family = addr.family();
            let inside = pool.part(family).is_some_and(|part| part.cidr.network().contains(addr));
            if !inside || !families.contains(&family) {
                return Ok(Decided::Trouble(Trouble::Refused(Refusal::Unused(vec![addr]))));
            }
            if tx.node().usable(id, family).any(|block| block.interval().contains(addr)) {
                requested.push(addr);
            } else if self.lent.get(&family).is_none_or(|(lent, _)| *lent != addr) {
                return Ok(Decided::Need(Need { family, addr: Some(addr), refusal: None }));
            }
        }
        let own: Vec<Family> =
            families.iter().copied().filter(|family| !self.lent.contains_key(family)).collect();
        let mut sets: Vec<RangeSet> = Vec::with_capacity(own.len());
        for family in &own {
            let blocks: Vec<Block> = tx.node().usable(id, *family).cloned().collect();
            match pool.range_set(blocks.iter()) {
                Some(set) => sets.push(set),
                None => {
                    return Ok(Decided::Need(Need { family: *family, addr: None, refusal: None }));
                }
            }
        }
        let mut choices = Vec::new();
        if !sets.is_empty() {
            let request = Request {
                attachment,
                sets: &sets,
                requested: &requested,
                repeat: Repeat::Return,
                pin: None,
                policy: Policy { strategy: self.request.strategy, cooldown: pool.cooldown },
                owner: &self.request.owner,
            };
            choices = match tx.decide(id, network, &request)? {
                Ok(choices) => choices,
                Err(refusal) => {
                    let set = match &refusal {
                        Refusal::Exhausted { set, .. } => own.get(*set).copied(),
                        _ => None,
                    };
                    return Ok(match set {
                        Some(family) => {
                            Decided::Need(Need { family, addr: None, refusal: Some(refusal) })
                        }
                        None => Decided::Trouble(Trouble::Refused(refusal)),
                    });
                }
            };
        }
        if !(self.request.wanted)() {
            return Ok(Decided::Trouble(Trouble::Unwanted));
        }
        self.record(tx, now, pool, &families, &own, &choices)
    }

    /// Writes a decision down.
    fn record<T: Tx>(
        &mut self,
        tx: &mut T,
        now: Now,
        pool: Pool,
        families: &[Family],
        own: &[Family],
        choices: &[Choice],
    ) -> Result<Decided, T::Error> {
        let AddRequest { id, .. } = &self.request;
        let mut chosen = Vec::with_capacity(families.len());
        for family in families {
            if let Some((addr, fence)) = self.lent.get(family).copied() {
                if tx.at(id, addr)?.is_some() {
                    // Another call of this node was faster.
                    self.lent.remove(family);
                    let need = Need { family: *family, addr: None, refusal: None };
                    return Ok(Decided::Need(need));
                }
                chosen.push((addr, fence, true));
                continue;
            }
            let choice = choices.iter().find(|choice| own.get(choice.set) == Some(family));
            let Some(addr) = choice.map(|choice| choice.addr) else { continue };
            let fence = tx.node().block_of(&id.space, addr).map_or(0, |block| block.fence);
            chosen.push((addr, fence, false));
        }
        let mut allocations = Vec::with_capacity(chosen.len());
        for (set, (addr, fence, borrowed)) in chosen.into_iter().enumerate() {
            if borrowed {
                // Before its record is: what a crash leaves must be found after a reboot.
                let mut node = tx.node().clone();
                let entry = Borrowed { id: id.clone(), addr };
                if !node.borrowed.contains(&entry) {
                    node.borrowed.push(entry);
                    tx.set_node(node)?;
                }
            }
            let allocation = Allocation {
                id: id.clone(),
                addr,
                network: self.request.network.clone(),
                attachment: self.request.attachment.clone(),
                owner: self.request.owner.clone(),
                nonce: self.request.nonce.clone(),
                since: now.unix,
                revision: 0,
                fence,
                borrowed,
            };
            tx.insert(&allocation, set)?;
            soil(tx, now, &allocation, 0)?;
            allocations.push(allocation);
        }
        Ok(Decided::Have(pool, allocations, false))
    }

    /// The attachment has been added before: a runtime repeats an ADD whose answer it has not seen.
    fn repeated(&self, pool: Pool, families: &[Family], mut held: Vec<Allocation>) -> Decided {
        let place = |addr: Addr| families.iter().position(|family| *family == addr.family());
        let same = held.len() == families.len()
            && families.iter().all(|f| held.iter().any(|held| held.addr.family() == *f))
            && self.request.requested.iter().all(|r| held.iter().any(|held| held.addr == *r));
        if !same {
            let addrs = held.iter().map(|held| held.addr).collect();
            let wanted: Vec<String> = if self.request.requested.is_empty() {
                families.iter().map(|family| format!("one {family:?} address")).collect()
            } else {
                self.request.requested.iter().map(ToString::to_string).collect()
            };
            let refusal = Refusal::Differs { held: addrs, wanted: wanted.join(" and ") };
            return Decided::Trouble(Trouble::Refused(refusal));
        }
        held.sort_by_key(|held| place(held.addr));
        Decided::Have(pool, held, true)
    }

    fn claimed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        next: Claimed,
    ) -> Result<Next, L::Error> {
        match next {
            Claimed::Ask(txn) => Ok(self.ask(now, txn)),
            Claimed::Done => {
                self.state = State::Start;
                self.decide(ledger, now)
            }
            Claimed::Failed(trouble) => self.unclaimed(ledger, now, trouble),
        }
    }

    /// No block could be claimed: an address of another's block may do.
    fn unclaimed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        trouble: Trouble,
    ) -> Result<Next, L::Error> {
        let State::Claiming(_, need) = std::mem::replace(&mut self.state, State::Start) else {
            return Ok(Step::Done(Err(trouble)));
        };
        let may = matches!(
            trouble,
            Trouble::PoolFull { .. } | Trouble::TooManyBlocks { .. } | Trouble::Elsewhere { .. }
        );
        let pool = ledger.transact(|tx| gate(tx, &self.request.id))?;
        match pool {
            Ok(pool) if may && pool.mode == Mode::Sync && !pool.strict => {
                let probe = Probe { need, pool, trouble, probes: 0 };
                Ok(self.look(now, probe))
            }
            _ => self.refuse(ledger, now, unserved(need, trouble)),
        }
    }

    fn or_another<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        next: Next,
    ) -> Result<Next, L::Error> {
        match next {
            Step::Done(Err(trouble)) => self.refuse(ledger, now, trouble),
            next => Ok(next),
        }
    }

    /// Gives up, unless what is in the way is only what the pod had last.
    fn refuse<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        trouble: Trouble,
    ) -> Result<Next, L::Error> {
        if self.recalled.as_ref().is_some_and(|recalled| !recalled.is_empty())
            && is_about_one(&trouble)
        {
            self.recalled = Some(Vec::new());
            self.lent.clear();
            return self.decide(ledger, now);
        }
        Ok(Step::Done(Err(trouble)))
    }

    /// What the answer to the write means.
    fn written<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        (mut batch, pool, allocations): (Batch, Pool, Vec<Allocation>),
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let AddRequest { id, network, attachment, .. } = &self.request;
        let nonce = allocations.first().map_or(String::new(), |first| first.nonce.clone());
        let (settled, held) = ledger.transact(|tx| {
            let settled = batch.settle(tx, &self.context, (self.sent, now), reply)?;
            match &settled {
                Err(_) => take_back(tx, now, &nonce, network, attachment)?,
                Ok(Settled::Taken(taken)) => {
                    take_back(tx, now, &nonce, network, attachment)?;
                    for taken in taken {
                        let addr = taken.allocation.addr;
                        tx.clear_dirty(id, addr)?;
                        tx.occupy(id, addr)?;
                    }
                }
                Ok(_) => {}
            }
            let held = tx.held(Some(id), network, attachment)?;
            Ok((settled, held.iter().filter(|held| held.nonce == nonce).count()))
        })?;
        match settled {
            Err(trouble) => Ok(Step::Done(Err(trouble))),
            Ok(Settled::Written) if held == allocations.len() => {
                Ok(Step::Done(Ok(Added { allocations, pool, held: self.held })))
            }
            // A DEL has come meanwhile.
            Ok(Settled::Written | Settled::Again) if held != allocations.len() => {
                Ok(Step::Done(Err(Trouble::Unwanted)))
            }
            Ok(Settled::Again) if self.tries < TRIES => {
                self.tries += 1;
                let txn = self.write(&batch, &allocations, now);
                self.state = State::Writing(batch, pool, allocations);
                Ok(self.ask(now, txn))
            }
            Ok(Settled::Taken(taken)) => {
                for taken in &taken {
                    let addr = taken.allocation.addr;
                    if self.request.requested.contains(&addr) {
                        let by = taken.by.clone();
                        return Ok(Step::Done(Err(Trouble::TakenElsewhere { addr, by })));
                    }
                }
                self.lent.clear();
                self.recalled = self.recalled.take().map(|_| Vec::new());
                self.decide(ledger, now)
            }
            Ok(_) => {
                ledger.transact(|tx| take_back(tx, now, &nonce, network, attachment))?;
                Ok(Step::Done(Err(Trouble::Contended { tries: self.tries })))
            }
        }
    }

    /// No answer came.
    fn lost<L: Ledger>(&mut self, ledger: &mut L, now: Now, loss: Loss) -> Result<Next, L::Error> {
        let AddRequest { network, attachment, .. } = &self.request;
        match &self.state {
            State::Writing(batch, _, allocations) => {
                let nonce = allocations.first().map_or("", |first| first.nonce.as_str());
                ledger.transact(|tx| {
                    batch.lost(tx, now, loss)?;
                    take_back(tx, now, nonce, network, attachment)
                })?;
            }
            State::Claiming(claim, _) => claim.lost(ledger, now, loss)?,
            _ => {}
        }
        Ok(Step::Done(Err(Trouble::Away)))
    }
}

/// Whether the trouble is with an address that was asked for, and another one may do.
const fn is_about_one(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Elsewhere { .. }
            | Trouble::TakenElsewhere { .. }
            | Trouble::PoolFull { .. }
            | Trouble::TooManyBlocks { .. }
            | Trouble::Refused(
                Refusal::Taken { .. }
                    | Refusal::Cooling { .. }
                    | Refusal::Excluded { .. }
                    | Refusal::Gateway { .. }
                    | Refusal::Unused(_)
            )
    )
}

/// What is told where neither the node's own blocks nor others could give an address.
fn unserved(need: Need, trouble: Trouble) -> Trouble {
    match (need.refusal, trouble) {
        // There is something to wait for.
        (
            Some(refusal @ Refusal::Exhausted { resting: Some(_), .. }),
            Trouble::PoolFull { .. } | Trouble::TooManyBlocks { .. },
        ) => Trouble::Refused(refusal),
        (_, trouble) => trouble,
    }
}

impl<L: Ledger> Operation<L> for Add {
    type Output = Result<Added, Trouble>;

    fn step(
        &mut self,
        ledger: &mut L,
        now: Now,
        event: Event,
    ) -> Result<Step<Self::Output>, L::Error> {
        let reply = match event {
            Event::Begin => return self.decide(ledger, now),
            Event::Lost(loss) => return self.lost(ledger, now, loss),
            Event::Reply(reply) => reply,
        };
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start => self.decide(ledger, now),
            State::Recalling => self.recalled(ledger, now, &reply),
            State::Claiming(mut claim, need) => {
                let next = claim.reply(ledger, &self.context, now, &reply)?;
                self.state = State::Claiming(claim, need);
                self.claimed(ledger, now, next)
            }
            State::Looking(probe) => {
                let next = self.looked(ledger, now, probe, &reply)?;
                self.or_another(ledger, now, next)
            }
            State::Probing(probe, block) => {
                let next = self.probed(ledger, now, (probe, block), &reply)?;
                self.or_another(ledger, now, next)
            }
            State::Writing(batch, pool, allocations) => {
                self.written(ledger, now, (batch, pool, allocations), &reply)
            }
        }
    }
}
