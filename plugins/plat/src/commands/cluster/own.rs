//! What this node's own store says of the cluster's pools, beside etcd.

use std::time::{Duration, Instant};

use etcd_pool::client::{self, Etcd};
use ipam_pool::key::Keys;
use ipam_pool::ledger::{Ledger as _, Tx as _};
use ipam_pool::node::{Evicted, Sweep};
use ipam_pool::op::Operation;
use ipam_pool::ops::{self as pools, Flush, Reassert, Reasserted, Trouble, Upkeep};
use ipam_pool::view::{self, Difference, Own, Snapshot};
use ipam_stores::{Database, PoolLedger, StoreError};

use crate::context::{Context, Failure};
use crate::people;
use crate::problems::plain;

/// For how long etcd is waited for, for each thing that is done.
const BUDGET: Duration = Duration::from_secs(10);

/// What this node holds; `None` if it uses no pool, or another system's files are looked at. A store that cannot
/// be read is told on standard error: etcd is what was asked for.
pub(crate) fn read(context: &Context) -> Option<Own> {
    match view::own(&mut ledger(context)) {
        Ok(own) => own.filter(|own| !own.node.uuid.is_empty()),
        Err(error) => {
            people::warn(&[format!("this node's own store is not compared: {error}")]);
            None
        }
    }
}

/// How it differs from etcd.
pub(crate) fn differences(own: Option<&Own>, snapshot: &Snapshot) -> Vec<Difference> {
    own.map_or_else(Vec::new, |own| view::compare(&own.node, &own.held, &own.outbox, snapshot))
}

/// What was done for this node.
#[derive(Debug, Default)]
pub(crate) struct Mended {
    /// Records that were put into the outbox to be written anew.
    pub(crate) records: usize,
    /// Whether they were written.
    pub(crate) flushed: bool,
    /// What came of writing the node's blocks anew, where etcd had lost data.
    pub(crate) reasserted: Option<Reasserted>,
}

/// Has what differs written anew, and blocks that were lost or found taken care of.
///
/// # Errors
/// If the store cannot be written, or etcd refuses.
pub(crate) fn mend(
    context: &Context,
    etcd: &mut Etcd,
    keys: &Keys,
    own: &Own,
    (found, snapshot): (&[Difference], &Snapshot),
) -> Result<Mended, Failure> {
    let mut ledger = ledger(context);
    let failed = |error: StoreError| stored(&error);
    let operation = pools::Context { keys: keys.clone(), boot: etcd_pool::identity::boot() };
    let mut mended = Mended::default();
    if has_lost(own, snapshot) || found.iter().any(|difference| difference.kind == "block-lost") {
        let reasserted = administer(etcd, &mut ledger, &mut Reassert::new(operation.clone()))?;
        let reasserted = reasserted.map_err(|trouble| told(&trouble))?;
        mended.reasserted = Some(reasserted);
    }
    let unknown: Vec<Sweep> = found
        .iter()
        .filter(|difference| difference.kind == "block-unknown")
        .map(|difference| Sweep {
            id: difference.id.clone(),
            addr: difference.addr,
            due: 0,
            token: 0,
        })
        .collect();
    ledger
        .visit(|tx| {
            let mut boot = tx.boot().clone();
            boot.sweeps.extend(unknown);
            if boot == *tx.boot() { Ok(()) } else { tx.set_boot(boot) }
        })
        .map_err(failed)?;
    mended.records = view::rewrite(&mut ledger, found).map_err(failed)?;
    mended.flushed = catch_up(etcd, &mut ledger, &operation)?;
    Ok(mended)
}

fn stored(error: &StoreError) -> Failure {
    Failure::new(plain(&error.to_string()), plain(&error.advice()))
}

/// Whether etcd has lost data that this node relies on: it was restored, or blocks are gone. Another cluster ID
/// with the same data is a snapshot that was restored as a new cluster.
fn has_lost(own: &Own, snapshot: &Snapshot) -> bool {
    let lost = matches!(own.boot.evicted, Some(Evicted::Restored { .. } | Evicted::Revoked { .. }));
    let data = snapshot.meta.as_ref().map(|meta| meta.record.cluster.as_str());
    let moved = own.node.cluster != snapshot.cluster && data == Some(own.node.data.as_str());
    lost || (own.node.cluster != 0 && moved)
}

/// Does what was planned at once: the operator looks at the outcome. False where the node was not in contact in
/// this boot: it does so after its first.
fn catch_up(
    etcd: &mut Etcd,
    ledger: &mut PoolLedger,
    operation: &pools::Context,
) -> Result<bool, Failure> {
    let steps = [
        administer(etcd, ledger, &mut Flush::new(operation.clone()))?.map(|_| ()),
        administer(etcd, ledger, &mut Upkeep::new(operation.clone()))?.map(|_| ()),
        administer(etcd, ledger, &mut Flush::new(operation.clone()))?.map(|_| ()),
    ];
    match steps.into_iter().find_map(Result::err) {
        None => Ok(true),
        Some(Trouble::NoContact) => Ok(false),
        Some(trouble) => Err(told(&trouble)),
    }
}

/// Runs an operation; that etcd cannot be asked is a failure of the command.
fn administer<T>(
    etcd: &mut Etcd,
    ledger: &mut PoolLedger,
    operation: &mut impl Operation<PoolLedger, Output = Result<T, Trouble>>,
) -> Result<Result<T, Trouble>, Failure> {
    let deadline = Instant::now() + BUDGET;
    let (output, trouble) =
        client::run(operation, ledger, etcd, etcd_pool::identity::now, deadline)
            .map_err(|error| stored(&error))?;
    match (output, trouble) {
        (Err(Trouble::Away), Some(trouble)) => Err(Failure::from(trouble)),
        (output, _) => Ok(output),
    }
}

fn told(trouble: &Trouble) -> Failure {
    Failure::new(plain(&trouble.to_string()), plain(trouble.advice()))
}

fn ledger(context: &Context) -> PoolLedger {
    let survey = &context.survey;
    let mut state = survey.state.clone();
    state.durable = survey.at(&state.durable);
    state.volatile = survey.at(&state.volatile);
    let usual = state.volatile.join("plat.db");
    let path = context.databases.first().map_or_else(|| usual.clone(), |path| survey.at(path));
    let elsewhere = path != usual;
    PoolLedger::new(Database::new(path, state, context.lock_timeout), elsewhere)
}
