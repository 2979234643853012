//! What is in etcd, read for a command.

use std::time::{Duration, Instant};

use etcd_pool::client::Etcd;
use ipam_pool::key::Keys;
use ipam_pool::txn::{Reply, Txn};
use ipam_pool::view::{Reader, Scope, Snapshot};

use crate::context::{Context, Failure};
use crate::people;

/// For how long one request is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// One transaction.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn txn(etcd: &mut Etcd, txn: &Txn) -> Result<Reply, Failure> {
    Ok(etcd.txn(txn, Instant::now() + PATIENCE)?)
}

/// Reads a snapshot.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn read(
    context: &Context,
    etcd: &mut Etcd,
    keys: &Keys,
    scope: Scope,
) -> Result<Snapshot, Failure> {
    let spinner = people::spinner(context, "reading etcd");
    let mut reader = Reader::new(keys.clone(), scope);
    while let Some(page) = reader.ask() {
        reader.take(txn(etcd, &page)?);
        spinner.set_message(format!("reading etcd: {} keys", reader.count()));
    }
    spinner.finish_and_clear();
    Ok(reader.finish())
}

/// Says on standard error that a picture is of several moments.
pub(crate) fn warn_torn(snapshot: &Snapshot) {
    if snapshot.is_torn() {
        people::warn(&[format!(
            "etcd changed while it was read (revisions {} to {}): the numbers are of several moments",
            snapshot.from, snapshot.to
        )]);
    }
}
