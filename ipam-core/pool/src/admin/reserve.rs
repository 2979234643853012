//! Reserving single addresses.

use ipam_core::addr::Addr;
use ipam_core::identity::Network;

use crate::admin::error::{AdminError, Holding};
use crate::admin::{Administer, TRIES, meta};
use crate::key::{Keys, block_of};
use crate::op::{Now, Step};
use crate::pool::{Pool, PoolsRecord};
use crate::record::{
    self, AddressRecord, AddressState, BlockRecord, Mode, RequestRecord, Tombstone,
};
use crate::txn::{Compare, Kv, Op, Reply, Txn};

/// What is to be done with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is not to be given out.
    Reserve {
        /// What for, for people.
        why: String,
    },
    /// It may be given out again.
    End,
}

/// What it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is as wanted.
    Done {
        /// Whether this has changed anything.
        changed: bool,
        /// The pool.
        pool: String,
        /// What is recorded now: of a reservation what it is for.
        record: Option<AddressRecord>,
        /// Whether the address lies in a block that no node holds, of a pool of mode local: as long as it is
        /// reserved no node takes that block.
        blocks_block: bool,
        /// Whether the pool never gives it out anyway.
        withheld: bool,
    },
    /// A node of mode local holds the block: it was asked, and has not answered.
    Waiting(Waiting),
}

/// A request that a node has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The node's UUID.
    pub uuid: String,
    /// Its index.
    pub index: Option<u32>,
    /// The pool.
    pub pool: String,
}

/// Reserves an address, or ends a reservation. Where a node of mode local holds the block the node itself must
/// do it, and is asked; whoever runs this again sees whether it has.
#[derive(Clone, Debug)]
pub struct Reserve {
    keys: Keys,
    space: String,
    addr: Addr,
    what: Reservation,
    /// Whether a former run of the same command has asked: then a refusal is the answer to it.
    asked: bool,
    state: State,
    place: Option<Place>,
    sent: bool,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    Pools,
    Records,
    Owner,
    /// The second: whether it is a request to a node.
    Writing(bool),
    /// A refusal is being taken away.
    Refusing,
}

/// Where the address lies.
#[derive(Clone, Debug)]
struct Place {
    pool: Pool,
    /// The revision of the pools' document.
    revision: i64,
    /// The first address of its block.
    block: Addr,
    /// The block's record, if it has one.
    held: Option<(BlockRecord, i64)>,
    /// The address's record, if it has one.
    record: Option<(AddressRecord, i64)>,
    refused: String,
}

impl Reserve {
    /// The machine.
    pub const fn new(keys: Keys, space: String, addr: Addr, what: Reservation) -> Self {
        Self {
            keys,
            space,
            addr,
            what,
            asked: false,
            state: State::Begin,
            place: None,
            sent: false,
            tries: 0,
        }
    }

    /// The same, for a request that was made before: what is refused there is refused.
    pub const fn asked(mut self) -> Self {
        self.asked = true;
        self
    }

    const fn reserves(&self) -> bool {
        matches!(self.what, Reservation::Reserve { .. })
    }

    fn begin(&mut self) -> Step<Reserved> {
        self.state = State::Pools;
        let then = vec![Op::get(self.keys.meta()), Op::get(self.keys.pools(&self.space))];
        Step::Ask(Txn { then, ..Txn::default() })
    }

    fn again(&mut self) -> Result<Step<Reserved>, AdminError> {
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(AdminError::Contended { tries: self.tries });
        }
        Ok(self.begin())
    }

    fn find(&mut self, reply: &Reply) -> Result<Step<Reserved>, AdminError> {
        meta(reply.one(0))?;
        let kv = reply.one(1);
        let document: PoolsRecord = kv.map(record::read).transpose()?.unwrap_or_default();
        for spec in &document.pools {
            let pool = Pool::try_from(spec)
                .map_err(|problem| AdminError::BadNeighbour { name: spec.name.clone(), problem })?;
            let Some(part) = pool.part(self.addr.family()) else { continue };
            if !part.cidr.network().contains(self.addr) {
                continue;
            }
            let Some(block) = block_of(self.addr, part.block) else { continue };
            let block = block.addr();
            let then = vec![
                Op::get(self.keys.block(&self.space, block)),
                Op::get(self.keys.address(&self.space, self.addr)),
            ];
            self.place = Some(Place {
                pool,
                revision: kv.map_or(0, |kv| kv.modified),
                block,
                held: None,
                record: None,
                refused: String::new(),
            });
            self.state = State::Records;
            return Ok(Step::Ask(Txn { then, ..Txn::default() }));
        }
        Err(AdminError::NotInAPool { addr: self.addr, space: self.space.clone() })
    }

    fn records(&mut self, now: Now, reply: &Reply) -> Result<Step<Reserved>, AdminError> {
        let Some(place) = &mut self.place else { return self.again() };
        place.held = read_with_revision(reply.one(0))?;
        place.record = read_with_revision(reply.one(1))?;
        let owner = place.held.as_ref().and_then(|(block, _)| block.u.clone());
        let Some(uuid) = owner else { return self.decide(now, None, None) };
        let then = vec![
            Op::get(self.keys.tombstone(&uuid)),
            Op::get(self.keys.request(&uuid, &self.space, self.addr)),
        ];
        self.state = State::Owner;
        Ok(Step::Ask(Txn { then, ..Txn::default() }))
    }

    fn done(&self, place: &Place, changed: bool, record: Option<AddressRecord>) -> Reserved {
        let withheld = place.pool.withheld();
        Reserved::Done {
            changed,
            pool: place.pool.name.clone(),
            blocks_block: record.is_some()
                && place.held.is_none()
                && place.pool.mode == Mode::Local,
            record,
            withheld: withheld.iter().any(|e| e.interval().contains(self.addr)),
        }
    }

    /// Decides what is to be written, from everything that was read.
    fn decide(
        &mut self,
        now: Now,
        tombstone: Option<&Kv>,
        request: Option<&Kv>,
    ) -> Result<Step<Reserved>, AdminError> {
        let Some(place) = self.place.take() else { return self.again() };
        let place = self.place.insert(place).clone();
        let found = place.record.as_ref().map(|(record, _)| record);
        let reserved = found.filter(|record| record.st == AddressState::Resv);
        let over =
            |record: &AddressRecord| record.st == AddressState::Park && record.exp <= now.unix;
        let key = self.keys.address(&self.space, self.addr);
        let at = place.record.as_ref().map_or(0, |(_, modified)| *modified);
        let mut txn = Txn {
            compares: vec![
                Compare::modified(key.clone(), at),
                Compare::modified(
                    self.keys.block(&self.space, place.block),
                    place.held.as_ref().map_or(0, |(_, modified)| *modified),
                ),
            ],
            ..Txn::default()
        };
        let owner = place.held.as_ref().and_then(|(block, _)| Some((block, block.u.clone()?)));
        let owner_is_local = owner.as_ref().is_some_and(|(block, _)| block.m == Mode::Local);
        if let Some((_, uuid)) = &owner {
            if let Some(kv) = tombstone {
                let node = record::read::<Tombstone>(kv)?.name;
                let node = if node.is_empty() { uuid.clone() } else { node };
                return Err(AdminError::OwnerRemoved { addr: self.addr, node });
            }
            txn.compares.push(Compare::absent(self.keys.tombstone(uuid)));
        } else {
            // A block that nobody holds is claimed with the pools as they are.
            txn.compares.push(Compare::modified(self.keys.pools(&self.space), place.revision));
        }
        let pending: Option<RequestRecord> = request.map(record::read).transpose()?;
        match (&self.what, found) {
            // What it is for may change; but a record in a block of mode local is its owner's to write.
            (Reservation::Reserve { why }, Some(record))
                if reserved.is_some() && (why.is_empty() || *why == record.p || owner_is_local) =>
            {
                let record = record.clone();
                return Ok(Step::Done(self.done(&place, self.sent, Some(record))));
            }
            (Reservation::Reserve { .. }, Some(record)) if reserved.is_none() && !over(record) => {
                let holding = Holding { addr: self.addr, record: record.clone() };
                return Err(AdminError::Taken(Box::new(holding)));
            }
            (Reservation::End, _) if reserved.is_none() => {
                let taken_back = pending.as_ref().is_some_and(|request| request.reserve);
                if let (Some(kv), true) = (request, taken_back) {
                    // It was asked for and not done yet: the request goes.
                    txn.compares.push(Compare::modified(kv.key.clone(), kv.modified));
                    txn.then.push(Op::delete(kv.key.clone()));
                    return Ok(self.write(txn, false));
                }
                if self.sent || self.asked {
                    return Ok(Step::Done(self.done(&place, true, None)));
                }
                return Err(AdminError::NotReserved(self.addr));
            }
            _ => {}
        }
        if let (Some((block, uuid)), true) = (owner, owner_is_local) {
            let waiting =
                Waiting { uuid: uuid.clone(), index: block.n, pool: place.pool.name.clone() };
            let key = self.keys.request(&uuid, &self.space, self.addr);
            let at = request.map_or(0, |kv| kv.modified);
            txn.compares.push(Compare::modified(key.clone(), at));
            if let Some(pending) = pending.filter(|pending| pending.reserve == self.reserves()) {
                if pending.refused.is_empty() {
                    return Ok(Step::Done(Reserved::Waiting(waiting)));
                }
                if self.asked {
                    if let Some(place) = &mut self.place {
                        place.refused = pending.refused;
                    }
                    self.state = State::Refusing;
                    let then = vec![Op::delete(key.clone())];
                    let compares = vec![Compare::modified(key, at)];
                    return Ok(Step::Ask(Txn { compares, then, otherwise: Vec::new() }));
                }
            }
            let why = match &self.what {
                Reservation::Reserve { why } => why.clone(),
                Reservation::End => String::new(),
            };
            let request = RequestRecord {
                reserve: self.reserves(),
                why,
                t: now.unix,
                ..RequestRecord::default()
            };
            txn.then.push(Op::put(key, record::write(&request)));
            return Ok(self.write(txn, true));
        }
        match &self.what {
            Reservation::Reserve { why } => {
                let record = AddressRecord {
                    p: why.clone(),
                    t: now.unix,
                    st: AddressState::Resv,
                    ..AddressRecord::default()
                };
                txn.then.push(Op::put(key, record::write(&record)));
            }
            Reservation::End => txn.then.push(Op::delete(key)),
        }
        Ok(self.write(txn, false))
    }

    fn write(&mut self, txn: Txn, request: bool) -> Step<Reserved> {
        self.sent |= !request;
        self.state = State::Writing(request);
        Step::Ask(txn)
    }
}

fn read_with_revision<T: serde::de::DeserializeOwned>(
    kv: Option<&Kv>,
) -> Result<Option<(T, i64)>, AdminError> {
    Ok(kv.map(|kv| record::read(kv).map(|value| (value, kv.modified))).transpose()?)
}

impl Administer for Reserve {
    type Output = Reserved;

    fn advance(&mut self, now: Now, reply: Option<&Reply>) -> Result<Step<Reserved>, AdminError> {
        let Some(reply) = reply else {
            Network::new(self.space.as_str())
                .map_err(|error| AdminError::BadSpace(error.to_string()))?;
            return Ok(self.begin());
        };
        match self.state {
            State::Begin => Ok(self.begin()),
            State::Pools => self.find(reply),
            State::Records => self.records(now, reply),
            State::Owner => self.decide(now, reply.one(0), reply.one(1)),
            State::Writing(true) if reply.succeeded => {
                let place = self.place.as_ref();
                let block = place.and_then(|place| place.held.as_ref());
                Ok(Step::Done(Reserved::Waiting(Waiting {
                    uuid: block.and_then(|(block, _)| block.u.clone()).unwrap_or_default(),
                    index: block.and_then(|(block, _)| block.n),
                    pool: place.map(|place| place.pool.name.clone()).unwrap_or_default(),
                })))
            }
            State::Writing(false) if reply.succeeded => {
                let record = match &self.what {
                    Reservation::Reserve { why } => Some(AddressRecord {
                        p: why.clone(),
                        t: now.unix,
                        st: AddressState::Resv,
                        ..AddressRecord::default()
                    }),
                    Reservation::End => None,
                };
                match &self.place {
                    Some(place) => Ok(Step::Done(self.done(place, true, record))),
                    None => self.again(),
                }
            }
            State::Writing(_) => self.again(),
            State::Refusing => {
                let refused = self.place.take().map(|place| place.refused).unwrap_or_default();
                Err(AdminError::Refused(refused))
            }
        }
    }
}

#[cfg(test)]
mod tests;
