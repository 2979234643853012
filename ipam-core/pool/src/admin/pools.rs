//! Creating, changing and removing pools.

use ipam_core::addr::{Addr, Interval};
use ipam_core::identity::Network;

use crate::admin::error::{AdminError, Holding, InTheWay, Use};
use crate::admin::patch::PoolPatch;
use crate::admin::plan::{self, Allowed, Demand, Why};
use crate::admin::scan::Scan;
use crate::admin::{Administer, TRIES, meta};
use crate::key::{Key, Keys, block_of};
use crate::op::{Now, Step};
use crate::pool::{Pool, PoolSpec, PoolsRecord};
use crate::record::{self, AddressRecord, AddressState, BlockRecord, Meta, Mode, SCHEMA};
use crate::txn::{Compare, Kv, Op, Reply, Txn};

/// How many blocks and addresses are listed that stand against a change.
const LISTED: usize = 1_000;

/// Around how many reservations a transaction can look.
const AROUND: usize = 90;

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new pool.
    Create(PoolSpec),
    /// Another description.
    Edit {
        /// The pool.
        name: String,
        /// What changes.
        patch: PoolPatch,
    },
    /// No pool any more.
    Remove {
        /// The pool.
        name: String,
        /// Whether its reservations go with it; else they stand against it.
        reservations: bool,
    },
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Create(spec) => &spec.name,
            Self::Edit { name, .. } | Self::Remove { name, .. } => name,
        }
    }
}

/// What a change has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The pool before; none: there was none, or it is not known any more.
    pub before: Option<PoolSpec>,
    /// The pool now.
    pub after: Option<PoolSpec>,
    /// Whether anything was changed; else all was as wanted before.
    pub changed: bool,
    /// Blocks of mode local that lie in what was excluded: their nodes learn of it with their next contact, and
    /// may give out such an address until then.
    pub late: Vec<Use>,
    /// Reservations that went with the pool.
    pub ended: usize,
}

/// Changes the pools of a space.
#[derive(Clone, Debug)]
pub struct ChangePools {
    keys: Keys,
    space: String,
    change: Change,
    /// Names the data where there are none yet: made at random.
    cluster: String,
    state: State,
    /// What is to be written, and what was found for it.
    planned: Option<Planned>,
    /// Whether a change was sent: what is found then may be its work.
    sent: bool,
    tries: u32,
}

#[derive(Clone, Debug)]
enum State {
    Begin,
    Reading,
    Gathering(Scan),
    Writing,
}

/// A change that follows from what was read.
#[derive(Clone, Debug)]
struct Planned {
    /// The revision of the pools' document; 0: there is none.
    revision: i64,
    /// Whether the data has no name yet.
    nameless: bool,
    document: PoolsRecord,
    result: Changed,
    demands: Vec<Demand>,
    /// Reservations in what is withheld from now on, by address.
    reserved: Vec<Addr>,
    /// The addresses of the pool that goes.
    cleared: Vec<Interval>,
}

impl ChangePools {
    /// The machine. `cluster`: a name for the data if there are none yet, made at random.
    pub const fn new(keys: Keys, space: String, change: Change, cluster: String) -> Self {
        Self {
            keys,
            space,
            change,
            cluster,
            state: State::Begin,
            planned: None,
            sent: false,
            tries: 0,
        }
    }

    fn read(&mut self) -> Step<Changed> {
        self.state = State::Reading;
        Step::Ask(Txn { then: self.both(), ..Txn::default() })
    }

    fn both(&self) -> Vec<Op> {
        vec![Op::get(self.keys.meta()), Op::get(self.keys.pools(&self.space))]
    }

    /// Decides what is to be written, from the cluster's and the pools' documents.
    fn decide(&mut self, reply: &Reply) -> Result<Step<Changed>, AdminError> {
        let nameless = meta(reply.one(0))?.is_none();
        let kv = reply.one(1);
        let mut document: PoolsRecord = kv.map(record::read).transpose()?.unwrap_or_default();
        let revision = kv.map_or(0, |kv| kv.modified);
        let name = self.change.name().to_owned();
        let at = document.pools.iter().position(|pool| pool.name == name);
        let before = at.and_then(|at| document.pools.get(at)).cloned();
        let no_pool = |document: &PoolsRecord| AdminError::NoPool {
            name: name.clone(),
            space: self.space.clone(),
            pools: document.pools.iter().map(|pool| pool.name.clone()).collect(),
        };
        let after = match (&self.change, &before) {
            (Change::Create(spec), None) => Some(spec.clone()),
            (Change::Create(spec), Some(there)) => {
                let wanted = Pool::try_from(spec)?;
                let there_pool = Pool::try_from(there)
                    .map_err(|problem| AdminError::BadNeighbour { name: name.clone(), problem })?;
                let differences = wanted.differences(&there_pool);
                if !differences.is_empty() {
                    return Err(AdminError::PoolExists { name, differences });
                }
                Some(there.clone())
            }
            (Change::Edit { patch, .. }, Some(there)) => Some(patch.apply(there)?),
            (Change::Remove { .. }, None) if self.sent => None,
            (Change::Edit { .. } | Change::Remove { .. }, None) => return Err(no_pool(&document)),
            (Change::Remove { .. }, Some(_)) => None,
        };
        let (mut was, mut is) = (None, None);
        if let Some(after) = &after {
            let pool = Pool::try_from(after)?;
            self.apart(&pool, &document)?;
            is = Some(pool);
        }
        let mut result =
            Changed { before: before.clone(), after: after.clone(), ..Changed::default() };
        if before == after {
            // It is as wanted. Who has sent the change and lost the answer may have made it so.
            result.changed = self.sent;
            return Ok(Step::Done(result));
        }
        if let Some(before) = &before {
            was = Some(
                Pool::try_from(before)
                    .map_err(|problem| AdminError::BadNeighbour { name: name.clone(), problem })?,
            );
        }
        result.changed = true;
        let demands = plan::demands(was.as_ref(), is.as_ref());
        document.generation = document.generation.saturating_add(1);
        match (at, after) {
            (Some(at), Some(after)) => {
                if let Some(pool) = document.pools.get_mut(at) {
                    *pool = after;
                }
            }
            (Some(at), None) => {
                document.pools.remove(at);
            }
            (None, Some(after)) => {
                document.pools.push(after);
                document.pools.sort_by(|one, two| one.name.cmp(&two.name));
            }
            (None, None) => {}
        }
        // The blocks of a pool that is changed begin where its blocks begin.
        let parts = was.as_ref().or(is.as_ref());
        let aligned = |interval: Interval| {
            let part = parts.and_then(|pool| pool.part(interval.family()));
            let first = part.and_then(|part| block_of(interval.first(), part.block));
            let first = first.map_or(interval.first(), |block| block.addr());
            Interval::new(first, interval.last()).unwrap_or(interval)
        };
        let mut scan = Scan::new();
        for demand in &demands {
            // One more of each than is listed tells that there are more.
            scan = scan.and(self.keys.blocks(&self.space, aligned(demand.interval)), LISTED + 1);
            let most = if demand.allowed == Allowed::Any { 0 } else { LISTED + 1 };
            scan = scan.and(self.keys.addresses(&self.space, demand.interval), most);
        }
        let cleared = match (&was, &is) {
            (Some(was), None) => was.intervals().collect(),
            _ => Vec::new(),
        };
        let next = scan.ask();
        self.planned = Some(Planned {
            revision,
            nameless,
            document,
            result,
            demands,
            reserved: Vec::new(),
            cleared,
        });
        match next {
            Some(txn) => {
                self.state = State::Gathering(scan);
                Ok(Step::Ask(txn))
            }
            None => self.write(),
        }
    }

    /// Refuses a pool that shares addresses with another one of the space.
    fn apart(&self, pool: &Pool, document: &PoolsRecord) -> Result<(), AdminError> {
        for spec in document.pools.iter().filter(|other| other.name != pool.name) {
            let other = Pool::try_from(spec)
                .map_err(|problem| AdminError::BadNeighbour { name: spec.name.clone(), problem })?;
            if let Some(shared) = plan::shared(pool, &other) {
                return Err(AdminError::Overlap {
                    name: pool.name.clone(),
                    other: other.name,
                    shared,
                });
            }
        }
        Ok(())
    }

    /// Looks at what was found where the change takes something away.
    fn judge(&mut self, now: Now, scan: &Scan) -> Result<(), AdminError> {
        let Some(planned) = &mut self.planned else { return Ok(()) };
        let mut way = InTheWay {
            pool: self.change.name().to_owned(),
            whys: Vec::new(),
            blocks: Vec::new(),
            addresses: Vec::new(),
            more: scan.more(),
        };
        let (mut reserved, mut over) = (Vec::new(), Vec::new());
        for (at, demand) in planned.demands.iter().enumerate() {
            let mut stands = false;
            for kv in scan.found(2 * at) {
                let found = block_use(&self.keys, kv)?;
                if demand.no_block {
                    stands = true;
                    if !way.blocks.contains(&found) {
                        way.blocks.push(found);
                    }
                } else if is_local(kv)? && !planned.result.late.contains(&found) {
                    planned.result.late.push(found);
                }
            }
            for kv in scan.found(2 * at + 1) {
                let Some(holding) = holding(&self.keys, kv)? else { continue };
                match (holding.record.st, demand.allowed) {
                    (AddressState::Resv, Allowed::Reserved) => reserved.push(holding),
                    // What was kept for a pod for a time that is over is nobody's.
                    (AddressState::Park, _) if holding.record.exp <= now.unix => {
                        over.push(holding.addr);
                    }
                    (_, Allowed::Any) => {}
                    _ => {
                        stands = true;
                        if !way.addresses.contains(&holding) {
                            way.addresses.push(holding);
                        }
                    }
                }
            }
            if stands && !way.whys.contains(&demand.why) {
                way.whys.push(demand.why);
            }
        }
        if !way.whys.is_empty() {
            way.blocks.sort_by_key(|found| found.block.addr());
            way.addresses.sort_by_key(|holding| holding.addr);
            return Err(AdminError::InTheWay(Box::new(way)));
        }
        scan.all()?;
        if let Change::Remove { reservations, name } = &self.change {
            if !reservations && !reserved.is_empty() {
                return Err(AdminError::HasReservations { name: name.clone(), reserved });
            }
            planned.result.ended = reserved.len();
            return Ok(());
        }
        planned.reserved = reserved.into_iter().map(|holding| holding.addr).chain(over).collect();
        if planned.reserved.len() > AROUND {
            return Err(AdminError::TooScattered { count: planned.reserved.len() });
        }
        Ok(())
    }

    fn write(&mut self) -> Result<Step<Changed>, AdminError> {
        let Some(planned) = &self.planned else { return Ok(self.read()) };
        let (keys, space) = (&self.keys, self.space.as_str());
        let mut txn = Txn {
            compares: vec![Compare::modified(keys.pools(space), planned.revision)],
            then: vec![Op::put(keys.pools(space), record::write(&planned.document))],
            otherwise: self.both(),
        };
        if planned.nameless {
            let meta = Meta {
                schema: SCHEMA,
                min_reader: SCHEMA,
                min_writer: SCHEMA,
                cluster: self.cluster.clone(),
                ..Meta::default()
            };
            txn.compares.push(Compare::absent(keys.meta()));
            txn.then.push(Op::put(keys.meta(), record::write(&meta)));
        }
        for demand in &planned.demands {
            if demand.no_block {
                txn.compares.push(Compare::empty(keys.blocks(space, demand.interval)));
            }
            // Without a block nothing is given out there. Else nobody may have got an address meanwhile.
            if demand.why != Why::Removed && demand.allowed != Allowed::Any {
                let among: Vec<Addr> = planned
                    .reserved
                    .iter()
                    .copied()
                    .filter(|addr| demand.interval.contains(*addr))
                    .collect();
                for part in plan::around(demand.interval, &among) {
                    txn.compares.push(Compare::empty(keys.addresses(space, part)));
                }
            }
        }
        for interval in &planned.cleared {
            let (key, end) = keys.addresses(space, *interval);
            txn.then.push(Op::Delete { key, end: Some(end) });
        }
        self.sent = true;
        self.state = State::Writing;
        Ok(Step::Ask(txn))
    }
}

impl Administer for ChangePools {
    type Output = Changed;

    fn advance(&mut self, now: Now, reply: Option<&Reply>) -> Result<Step<Changed>, AdminError> {
        match (&mut self.state, reply) {
            (State::Begin, _) | (_, None) => {
                Network::new(self.space.as_str())
                    .map_err(|error| AdminError::BadSpace(error.to_string()))?;
                Ok(self.read())
            }
            (State::Reading, Some(reply)) => self.decide(reply),
            (State::Gathering(scan), Some(reply)) => {
                if let Some(txn) = scan.take(reply) {
                    return Ok(Step::Ask(txn));
                }
                let scan = scan.clone();
                self.judge(now, &scan)?;
                self.write()
            }
            (State::Writing, Some(reply)) => {
                if reply.succeeded {
                    let result = self.planned.take().map(|planned| planned.result);
                    return Ok(Step::Done(result.unwrap_or_default()));
                }
                self.tries += 1;
                if self.tries >= TRIES {
                    return Err(AdminError::Contended { tries: self.tries });
                }
                self.decide(reply)
            }
        }
    }
}

/// A block's record, as somebody's use of it.
pub(crate) fn block_use(keys: &Keys, kv: &Kv) -> Result<Use, AdminError> {
    let found: BlockRecord = record::read(kv)?;
    let bad = || record::BadRecord {
        key: String::from_utf8_lossy(&kv.key).into_owned(),
        why: "no such block".to_owned(),
    };
    let Some(Key::Block { first, .. }) = keys.parse(&kv.key) else { return Err(bad().into()) };
    let block = block_of(first, found.len).ok_or_else(bad)?;
    Ok(Use { block, pool: found.p, index: found.n, uuid: found.u })
}

fn is_local(kv: &Kv) -> Result<bool, AdminError> {
    let found: BlockRecord = record::read(kv)?;
    Ok(found.m == Mode::Local && found.u.is_some())
}

/// An address's record.
pub(crate) fn holding(keys: &Keys, kv: &Kv) -> Result<Option<Holding>, AdminError> {
    let Some(Key::Address { addr, .. }) = keys.parse(&kv.key) else { return Ok(None) };
    let record: AddressRecord = record::read(kv)?;
    Ok(Some(Holding { addr, record }))
}

#[cfg(test)]
mod tests;
