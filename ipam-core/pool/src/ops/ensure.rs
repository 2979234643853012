//! A pool that a configuration brings along.

use ipam_core::addr::Interval;

use crate::ledger::{Ledger, Tx};
use crate::op::{Event, Now, Operation, Step};
use crate::ops::claim::remember_pools;
use crate::ops::write::meet;
use crate::ops::{Context, Trouble};
use crate::pool::{Pool, PoolSpec, PoolsRecord};
use crate::record;
use crate::txn::{Compare, Kv, Op, Txn};

/// How often the pools of a space may change meanwhile.
const TRIES: u32 = 16;

/// Creates a pool, or compares it with the one that there is.
#[derive(Clone, Debug)]
pub struct Ensure {
    context: Context,
    space: String,
    spec: PoolSpec,
    tries: u32,
}

type Next = Step<Result<Pool, Trouble>>;

impl Ensure {
    /// The operation.
    pub const fn new(context: Context, space: String, spec: PoolSpec) -> Self {
        Self { context, space, spec, tries: 0 }
    }

    fn begin<L: Ledger>(&self, ledger: &mut L) -> Result<Next, L::Error> {
        let wanted = match Pool::try_from(&self.spec) {
            Ok(pool) => pool,
            Err(bad) => return Ok(Step::Done(Err(bad.into()))),
        };
        let known = ledger.transact(|tx| Ok(tx.node().spaces.get(&self.space).cloned()))?;
        let known = known.unwrap_or_default().pools;
        let same = known
            .iter()
            .find(|spec| spec.name == wanted.name)
            .and_then(|spec| Pool::try_from(spec).ok())
            .filter(|pool| wanted.differences(pool).is_empty());
        if let Some(pool) = same {
            return Ok(Step::Done(Ok(pool)));
        }
        let read = Op::get(self.context.keys.pools(&self.space));
        Ok(Step::Ask(Txn { then: vec![read], ..Txn::default() }))
    }

    /// What there is, or what to write.
    fn judge(&mut self, kv: Option<&Kv>) -> Result<Result<Pool, Txn>, Trouble> {
        let wanted = Pool::try_from(&self.spec)?;
        let mut pools: PoolsRecord = match kv {
            Some(kv) => record::read(kv)?,
            None => PoolsRecord::default(),
        };
        for spec in &pools.pools {
            let Ok(pool) = Pool::try_from(spec) else { continue };
            if pool.name == wanted.name {
                let differences = wanted.differences(&pool);
                if differences.is_empty() {
                    return Ok(Ok(pool));
                }
                return Err(Trouble::PoolDiffers { name: pool.name, differences });
            }
            if let Some(shared) = overlap(&wanted, &pool) {
                return Err(Trouble::PoolOverlaps {
                    name: wanted.name,
                    other: pool.name,
                    shared: format!("{}-{}", shared.first(), shared.last()),
                });
            }
        }
        self.tries += 1;
        if self.tries > TRIES {
            return Err(Trouble::Contended { tries: TRIES });
        }
        pools.generation = pools.generation.saturating_add(1);
        pools.pools.push(self.spec.clone());
        pools.pools.sort_by(|a, b| a.name.cmp(&b.name));
        let key = self.context.keys.pools(&self.space);
        let modified = kv.map_or(0, |kv| kv.modified);
        Ok(Err(Txn {
            compares: vec![Compare::modified(key.clone(), modified)],
            then: vec![Op::put(key.clone(), record::write(&pools)), Op::get(key.clone())],
            otherwise: vec![Op::get(key)],
        }))
    }
}

/// The first addresses that two pools share.
pub(crate) fn overlap(one: &Pool, two: &Pool) -> Option<Interval> {
    one.intervals().find_map(|a| {
        let b = two.intervals().find(|b| a.overlaps(*b))?;
        Interval::new(a.first().max(b.first()), a.last().min(b.last()))
    })
}

impl<L: Ledger> Operation<L> for Ensure {
    type Output = Result<Pool, Trouble>;

    fn step(&mut self, ledger: &mut L, _now: Now, event: Event) -> Result<Next, L::Error> {
        let reply = match event {
            Event::Begin => return self.begin(ledger),
            Event::Lost(_) => return Ok(Step::Done(Err(Trouble::Away))),
            Event::Reply(reply) => reply,
        };
        // After a write the document is the second answer.
        let kv = reply.one(0).or_else(|| reply.one(1));
        let judged = self.judge(kv);
        let recognised = ledger.transact(|tx| {
            if let Err(trouble) = meet(tx, &reply)? {
                return Ok(Err(trouble));
            }
            if matches!(judged, Ok(Ok(_))) {
                remember_pools(tx, &self.space, kv)?;
            }
            Ok(Ok(()))
        })?;
        Ok(match recognised.and(judged) {
            Err(trouble) => Step::Done(Err(trouble)),
            Ok(Ok(pool)) => Step::Done(Ok(pool)),
            Ok(Err(txn)) => Step::Ask(txn),
        })
    }
}
