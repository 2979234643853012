//! STATUS: whether an ADD could be served.

use std::time::Duration;

use cni::{Call, Code, Error};
use host_local::call::database_path;
use host_local::errors::unavailable_store;
use host_local::resolv_conf;
use ipam_core::addr::Family;
use ipam_core::range::Range;
use ipam_pool::ledger::{Ledger as _, Tx as _};
use ipam_pool::node::{BlockState, NodeState};
use ipam_pool::ops::{self, Join, NotReady, Trouble};
use ipam_pool::pool::Pool;
use ipam_pool::record::Mode;
use ipam_pool::txn::{Op, Txn};
use ipam_stores::PoolLedger;
use node_local::Surroundings;

use super::check::pool;
use super::{connection, warn_all};
use crate::config::Config;
use crate::errors::{etcd_error, not_ready, unavailable};
use crate::home;
use crate::identity::{facts, now};
use crate::reach::Reach;

/// For how long the members are asked for alarms.
const ALARMS: Duration = Duration::from_millis(500);

/// How many blocks of a pool are counted at most.
const COUNTED: i64 = 100_000;

/// For how long etcd is waited for.
const BUDGET: Duration = Duration::from_secs(3);

pub(super) fn status(call: &Call, config: &Config) -> Result<(), Error> {
    let refused = |e: Error| Error { code: Code::NotAvailable, ..e };
    if let Some(path) = &config.resolv_conf {
        resolv_conf::read(path).map_err(refused)?;
    }
    let connection = connection(call, config).map_err(refused)?;
    let database = database_path(call, &config.place);
    let mut ledger = home::ledger(call, &database, config.place.lock_timeout);
    let context = home::context(&connection);
    let ready = ops::status(&mut ledger, now(), &config.id);
    warn_all(call, &mut ledger);
    let ready = ready.map_err(|e| unavailable_store(&e))?;
    let reason = match ready {
        None => return served(&mut ledger, config, Reach::new(connection, BUDGET)),
        // Nothing of what etcd says would change it.
        Some(NotReady::Trouble(trouble)) if trouble.affects_existing() => {
            return Err(unavailable(&trouble, None));
        }
        Some(reason) => reason,
    };
    let mut reach = Reach::new(connection, BUDGET);
    let node = node_local::preferred(&call.config, &Surroundings::of(call))
        .map_err(|problem| refused(problem.error))?;
    let facts = facts(node.map(|node| node.index), reach.connection())
        .map_err(|error| Error::new(Code::NotAvailable, format!("/dev/urandom: {error}")))?;
    let mut join = Join::new(context, facts, config.id.space.clone());
    match reach.run(&mut join, &mut ledger).map_err(|e| unavailable_store(&e))? {
        Err(Trouble::Away) => return Err(not_ready(&reason, reach.trouble())),
        Err(trouble) => return Err(unavailable(&trouble, reach.trouble())),
        Ok(()) => {}
    }
    match ops::status(&mut ledger, now(), &config.id).map_err(|e| unavailable_store(&e))? {
        None => Ok(()),
        // etcd is there: an ADD would claim a block, if there is one.
        Some(NotReady::NeedsBlock) => match no_block(&mut ledger, config, &mut reach)? {
            None => Ok(()),
            Some(trouble) => Err(unavailable(&trouble, None)),
        },
        Some(NotReady::Trouble(Trouble::NoPool { .. })) if config.described.is_some() => Ok(()),
        Some(reason) => Err(not_ready(&reason, None)),
    }
}

/// Nothing is in the way of an ADD by the node's own ledger; is the rest fine?
fn served(ledger: &mut PoolLedger, config: &Config, mut reach: Reach) -> Result<(), Error> {
    let seen = ledger.visit(|tx| {
        let pool = pool(tx.node(), &config.id);
        Ok((pool, shortest(tx.node()), tx.backlog()?))
    });
    let Some((pool, limit, backlog)) = seen.map_err(|e| unavailable_store(&e))? else {
        return Ok(());
    };
    let age = now().unix.saturating_sub(backlog.oldest);
    if let Some(limit) = limit
        && backlog.count > 0
        && age > limit / 2
    {
        return Err(Error::new(
            Code::NotAvailable,
            format!(
                "{} records wait to be written to etcd, the oldest for {age} s; \
                 this node may go on alone for {limit} s",
                backlog.count
            ),
        )
        .with_details(Trouble::Away.advice()));
    }
    if pool.is_some_and(|pool| pool.mode == Mode::Sync) {
        let keys = home::context(reach.connection()).keys;
        let ping = Txn { then: vec![Op::get(keys.meta())], ..Txn::default() };
        if reach.ask(ledger, &ping).map_err(|e| unavailable_store(&e))?.is_none() {
            let error = reach.trouble().map_or_else(
                || unavailable(&Trouble::Away, None),
                |trouble| Error { code: Code::NotAvailable, ..etcd_error(trouble) },
            );
            return Err(error);
        }
        // A full etcd answers questions, and refuses what an ADD must write.
        if reach.members(ALARMS).iter().any(|member| member.alarms.iter().any(|a| a == "NOSPACE")) {
            return Err(Error::new(
                Code::NotAvailable,
                "etcd's database is full (alarm NOSPACE): it takes no new records",
            )
            .with_details(
                "compact and defragment etcd or raise its quota, then disarm the alarm",
            ));
        }
    }
    Ok(())
}

/// Why the node could not claim the block that its next ADD needs; `None` if it could, or may borrow.
fn no_block(
    ledger: &mut PoolLedger,
    config: &Config,
    reach: &mut Reach,
) -> Result<Option<Trouble>, Error> {
    let seen = ledger.visit(|tx| Ok(tx.node().clone())).map_err(|e| unavailable_store(&e))?;
    let Some((node, pool)) = seen.and_then(|node| {
        let pool = pool(&node, &config.id)?;
        Some((node, pool))
    }) else {
        return Ok(None);
    };
    let keys = home::context(reach.connection()).keys;
    for family in pool.families() {
        let Some(part) = pool.part(family) else { continue };
        let lends = pool.mode == Mode::Sync && !pool.strict;
        let held = node.usable(&config.id, family).count();
        let name = pool.name.clone();
        if u32::try_from(held).is_ok_and(|held| held >= pool.max_blocks) && !lends {
            let blocks = pool.max_blocks;
            return Ok(Some(Trouble::TooManyBlocks { name, family, blocks }));
        }
        // More than this are not all claimed, or it takes longer to count them than to say so.
        let Ok(all) = i64::try_from(part.blocks()) else { continue };
        if all > COUNTED || held > 0 && lends {
            continue;
        }
        let blocks = keys.blocks(&config.id.space, part.cidr.network());
        let count = Txn { then: vec![Op::keys(blocks, all)], ..Txn::default() };
        let Some(reply) = reach.ask(ledger, &count).map_err(|e| unavailable_store(&e))? else {
            return Ok(Some(Trouble::Away));
        };
        let free = usize::try_from(all).is_ok_and(|all| reply.got(0).len() < all);
        let own = node.blocks.iter().any(|block| {
            block.id == config.id && block.family() == family && block.state == BlockState::Held
        });
        if !free && !lends && (!own || is_full(ledger, config, &pool, family)?) {
            return Ok(Some(Trouble::PoolFull { name, family }));
        }
    }
    Ok(None)
}

/// Whether the node's own blocks of a family have no free address.
fn is_full(
    ledger: &mut PoolLedger,
    config: &Config,
    pool: &Pool,
    family: Family,
) -> Result<bool, Error> {
    let full = ledger.visit(|tx| {
        let blocks: Vec<_> = tx.node().usable(&config.id, family).cloned().collect();
        let Some(set) = pool.range_set(blocks.iter()) else { return Ok(true) };
        for interval in set.ranges().iter().flat_map(Range::usable) {
            let used = tx.usage(&config.id, interval)?;
            let taken = u128::from(used.held + used.resting + used.occupied);
            if interval.count() > taken {
                return Ok(false);
            }
        }
        Ok(true)
    });
    Ok(full.map_err(|e| unavailable_store(&e))?.unwrap_or(false))
}

/// The shortest time for which a block of this node may be used without etcd, in seconds.
fn shortest(node: &NodeState) -> Option<u64> {
    node.blocks.iter().map(|block| block.autonomy).filter(|limit| *limit != 0).min()
}
