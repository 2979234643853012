//! What becomes of one block of a node that is removed.

use ipam_core::addr::Interval;

use crate::admin::error::AdminError;
use crate::admin::remove::is_of;
use crate::key::Keys;
use crate::record::{self, AddressRecord, AddressState, BlockRecord};
use crate::txn::{BATCH, Compare, Kv, Op, Txn};

/// What a transaction about a block does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The block is free.
    Returned,
    /// It is nobody's: other nodes have addresses in it.
    HandedOver,
    /// So many of the node's addresses in it are free; more is to be done.
    Freed(usize),
}

/// What was read of a block.
pub(super) struct Found<'a> {
    /// Its record.
    pub(super) block: Option<&'a Kv>,
    /// The addresses in it.
    pub(super) addresses: &'a [Kv],
    /// Those that are used outside the node that holds it.
    pub(super) exceptions: &'a [Kv],
}

/// The next transaction about a block; `None` if the node does not hold it any more.
///
/// What others have in it stays: addresses that they have borrowed keep the block, as nobody's and under the
/// same fence, which they write with. What is reserved stays reserved; it needs no block.
pub(super) fn decide(
    keys: &Keys,
    space: &str,
    within: Interval,
    uuid: &str,
    tomb: Compare,
    found: &Found<'_>,
) -> Result<Option<(Txn, Effect)>, AdminError> {
    let Some(kv) = found.block else { return Ok(None) };
    let block: BlockRecord = record::read(kv)?;
    if block.u.as_deref() != Some(uuid) {
        return Ok(None);
    }
    // The node writes nothing any more, and nobody reserves anything in its blocks: all that may happen
    // beside this is that another node borrows an address, which makes an exception.
    let lonely = Compare::empty(keys.exceptions(space, within));
    let mut txn = Txn {
        compares: vec![tomb, Compare::modified(kv.key.clone(), kv.modified)],
        ..Txn::default()
    };
    let (mut own, mut reserved_only) = (Vec::new(), true);
    for kv in found.addresses {
        if is_of(kv, uuid)? {
            own.push(kv);
        } else {
            reserved_only &= record::read::<AddressRecord>(kv)?.st == AddressState::Resv;
        }
    }
    let alone = found.exceptions.is_empty();
    if alone && own.len() == found.addresses.len() {
        txn.compares.push(lonely);
        let (key, end) = keys.addresses(space, within);
        txn.then = vec![Op::Delete { key, end: Some(end) }, Op::delete(kv.key.clone())];
        return Ok(Some((txn, Effect::Returned)));
    }
    if !own.is_empty() {
        own.truncate(BATCH);
        for kv in &own {
            txn.compares.push(Compare::modified(kv.key.clone(), kv.modified));
            txn.then.push(Op::delete(kv.key.clone()));
        }
        return Ok(Some((txn, Effect::Freed(own.len()))));
    }
    if alone && reserved_only {
        txn.compares.push(lonely);
        txn.then = vec![Op::delete(kv.key.clone())];
        return Ok(Some((txn, Effect::Returned)));
    }
    let nobody = BlockRecord { n: None, u: None, ..block };
    txn.then = vec![Op::put(kv.key.clone(), record::write(&nobody))];
    Ok(Some((txn, Effect::HandedOver)))
}
