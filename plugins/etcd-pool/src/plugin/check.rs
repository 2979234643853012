//! CHECK: the runtime's addresses against the node's ledger, and in mode `sync` against etcd.

use std::time::Duration;

use cni::{Call, Code, Error};
use host_local::call::{attachment, database_path, network, previous_addresses};
use host_local::errors::{check_result, store_error};
use ipam_core::addr::Addr;
use ipam_core::ipam;
use ipam_pool::ledger::{Allocation, Ledger as _, Tx as _};
use ipam_pool::node::{BlockState, NodeState, PoolId};
use ipam_pool::ops::Trouble;
use ipam_pool::pool::Pool;
use ipam_pool::record::{self, AddressRecord, Mode};
use ipam_pool::txn::{Op, Reply, Txn};
use ipam_stores::{PoolLedger, StoreError};

use super::{connection, warn_all};
use crate::config::Config;
use crate::home;
use crate::reach::Reach;

/// For how long etcd is waited for.
const BUDGET: Duration = Duration::from_secs(1);

/// What the node knows of an attachment.
#[derive(Debug, Default)]
struct Known {
    held: Vec<Allocation>,
    pool: Option<Pool>,
    uuid: String,
    /// Addresses whose record is behind.
    behind: Vec<Addr>,
    /// Why the addresses may be another node's.
    lost: Option<Trouble>,
}

pub(super) fn check(name: &str, call: &Call, config: &Config) -> Result<(), Error> {
    let expected = previous_addresses(&call.config)?;
    let attachment = attachment(call)?;
    let database = database_path(call, &config.place);
    let mut ledger = home::ledger(call, &database, config.place.lock_timeout);
    let network = network(call)?;
    let known = ledger.visit(|tx| {
        let held = tx.held(Some(&config.id), &network, &attachment)?;
        let mut behind = Vec::new();
        for allocation in &held {
            if tx.dirty(&config.id, allocation.addr)?.is_some() {
                behind.push(allocation.addr);
            }
        }
        let node = tx.node();
        let evicted = tx.boot().evicted.clone().map(Trouble::from);
        Ok(Known {
            pool: pool(node, &config.id),
            uuid: node.uuid.clone(),
            lost: evicted.or_else(|| revoked(node, &held)),
            held,
            behind,
        })
    });
    warn_all(call, &mut ledger);
    let known = known.map_err(|e| store_error(&e))?.unwrap_or_default();
    let held: Vec<Addr> = known.held.iter().map(|allocation| allocation.addr).collect();
    let pool = known.pool.as_ref().or(config.described.as_ref().map(|(_, pool)| pool));
    let ours = |addr: Addr| {
        pool.is_some_and(|pool| pool.intervals().any(|interval| interval.contains(addr)))
    };
    let ours: Option<&dyn Fn(Addr) -> bool> = if pool.is_some() { Some(&ours) } else { None };
    check_result(name, &attachment, &ipam::compare(&held, ours, &expected))?;
    if let Some(trouble) = &known.lost {
        return Err(Error::new(Code::Inconsistent, format!("{name}: {attachment}: {trouble}"))
            .with_details(trouble.advice()));
    }
    if pool.is_some_and(|pool| pool.mode == Mode::Sync) {
        let differences = records(call, config, &mut ledger, &known)?;
        if !differences.is_empty() {
            return Err(Error::new(
                Code::Inconsistent,
                format!("{name}: {attachment}: {}", differences.join(", ")),
            )
            .with_details("`plat check --cluster` compares all of the node's records"));
        }
    }
    Ok(())
}

/// The pool as it was when etcd was read last.
pub(super) fn pool(node: &NodeState, id: &PoolId) -> Option<Pool> {
    let spec = node.spaces.get(&id.space)?.pools.iter().find(|spec| spec.name == id.pool)?;
    Pool::try_from(spec).ok()
}

/// A block that was taken away, with an address of these.
fn revoked(node: &NodeState, held: &[Allocation]) -> Option<Trouble> {
    let mut blocks = held
        .iter()
        .filter(|allocation| !allocation.borrowed)
        .filter_map(|allocation| node.block_of(&allocation.id.space, allocation.addr));
    let block = blocks.find(|block| block.state == BlockState::Revoked)?;
    Some(Trouble::Revoked { block: block.cidr().map(|c| c.to_string()).unwrap_or_default() })
}

/// What is wrong with the records in etcd; nothing if etcd does not answer.
fn records(
    call: &Call,
    config: &Config,
    ledger: &mut PoolLedger,
    known: &Known,
) -> Result<Vec<String>, Error> {
    let written: Vec<&Allocation> =
        known.held.iter().filter(|held| !known.behind.contains(&held.addr)).collect();
    if written.is_empty() {
        return Ok(Vec::new());
    }
    if !host_local::admin::may_follow(call) {
        call.warn("the records in etcd were not looked at: the policy file does not allow it");
        return Ok(Vec::new());
    }
    let connection = match connection(call, config) {
        Ok(connection) => connection,
        Err(error) => {
            call.warn(&format!("the records in etcd were not looked at: {}", error.message));
            return Ok(Vec::new());
        }
    };
    let keys = home::context(&connection).keys;
    let then =
        written.iter().map(|held| Op::get(keys.address(&held.id.space, held.addr))).collect();
    let mut reach = Reach::new(connection, BUDGET);
    let asked: Result<Option<Reply>, StoreError> =
        reach.ask(ledger, &Txn { then, ..Txn::default() });
    let Some(reply) = asked.map_err(|e| store_error(&e))? else {
        let why = reach.trouble().map_or("no answer", |trouble| trouble.message.as_str());
        call.warn(&format!("the records in etcd were not looked at: {why}"));
        return Ok(Vec::new());
    };
    let differences = written.iter().enumerate().filter_map(|(position, held)| {
        let Some(kv) = reply.one(position) else {
            return Some(format!("{} has no record in etcd", held.addr));
        };
        match record::read::<AddressRecord>(kv) {
            Ok(record) if is_of(&record, held, &known.uuid) => None,
            Ok(record) => Some(format!(
                "{} is recorded in etcd for {:?} {:?} of another attachment",
                held.addr, record.c, record.i
            )),
            Err(error) => Some(error.to_string()),
        }
    });
    Ok(differences.collect())
}

/// Whether a record is of an allocation of this node.
fn is_of(record: &AddressRecord, held: &Allocation, uuid: &str) -> bool {
    record.u.as_deref() == Some(uuid)
        && record.c == held.attachment.container.as_str()
        && record.i == held.attachment.ifname.as_str()
        && record.w == held.network.as_str()
}
