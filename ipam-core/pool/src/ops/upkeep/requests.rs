//! What operators ask of the node that holds a block.

use ipam_core::addr::Addr;

use crate::key::Key;
use crate::ledger::Tx;
use crate::node::{Block, NodeState, PoolId};
use crate::op::Now;
use crate::ops::Context;
use crate::ops::write::{standing, standing_evidence};
use crate::record::{self, AddressRecord, AddressState, RequestRecord};
use crate::txn::{Compare, Kv, Op, Txn};

/// A request about an address of a block of this node.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: Vec<u8>,
    pub(super) modified: i64,
    pub(super) space: String,
    pub(super) addr: Addr,
    pub(super) request: RequestRecord,
    pub(super) block: Block,
    /// Why it cannot be done; empty if it can.
    pub(super) refused: String,
}

/// The requests that can be read and are about a block of this node.
pub(super) fn requests(node: &NodeState, context: &Context, kvs: &[Kv]) -> Vec<Asked> {
    let read = |kv: &Kv| {
        let Some(Key::Request { space, addr, .. }) = context.keys.parse(&kv.key) else {
            return None;
        };
        let request: RequestRecord = record::read(kv).ok()?;
        let block = node.block_of(&space, addr)?.clone();
        let key = kv.key.clone();
        let modified = kv.modified;
        let refused = String::new();
        let open = request.refused.is_empty() && request.take.is_empty();
        open.then_some(Asked { key, modified, space, addr, request, block, refused })
    };
    kvs.iter().filter_map(read).collect()
}

/// A block that an import has made this node's.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: Vec<u8>,
    pub(super) modified: i64,
    pub(super) id: PoolId,
    pub(super) first: Addr,
}

/// The requests to take over a block.
pub(super) fn given(context: &Context, kvs: &[Kv]) -> Vec<Given> {
    let read = |kv: &Kv| {
        let Some(Key::Request { space, addr, .. }) = context.keys.parse(&kv.key) else {
            return None;
        };
        let request: RequestRecord = record::read(kv).ok()?;
        let id = PoolId { space, pool: request.take };
        let (key, modified) = (kv.key.clone(), kv.modified);
        (!id.pool.is_empty()).then_some(Given { key, modified, id, first: addr })
    };
    kvs.iter().filter_map(read).collect()
}

/// The transaction that answers such a request: what there is to look at has been written down.
pub(super) fn taken(context: &Context, uuid: &str, given: &Given) -> Txn {
    let mut compares = standing(context, uuid).to_vec();
    compares.push(Compare::modified(given.key.clone(), given.modified));
    let otherwise = standing_evidence(context, uuid).to_vec();
    Txn { compares, then: vec![Op::delete(given.key.clone())], otherwise }
}

/// The transaction that answers a request. An address is taken here before it is there.
pub(super) fn answer<T: Tx>(
    tx: &mut T,
    context: &Context,
    now: Now,
    asked: &mut Asked,
) -> Result<Txn, T::Error> {
    let id = asked.block.id.clone();
    let addr = asked.addr;
    let uuid = tx.node().uuid.clone();
    let key = context.keys.address(&asked.space, addr);
    let mut txn = Txn {
        compares: standing(context, &uuid).to_vec(),
        then: Vec::new(),
        otherwise: standing_evidence(context, &uuid).to_vec(),
    };
    txn.compares.push(Compare::modified(asked.key.clone(), asked.modified));
    let block = context.keys.block(&asked.space, asked.block.first);
    txn.compares.push(Compare::created(block, asked.block.fence));
    if let Some(held) = tx.at(&id, addr)?.filter(|_| asked.request.reserve) {
        asked.refused = format!("in use by {}", held.attachment);
    } else if asked.request.reserve && tx.dirty(&id, addr)?.is_some() {
        asked.refused = "it was freed a moment ago: ask again".to_owned();
    }
    if !asked.refused.is_empty() {
        let refused = asked.refused.clone();
        let answer = RequestRecord { refused, ..asked.request.clone() };
        txn.then.push(Op::put(asked.key.clone(), record::write(&answer)));
        return Ok(txn);
    }
    if asked.request.reserve {
        tx.occupy(&id, addr)?;
        let reservation = AddressRecord {
            p: asked.request.why.clone(),
            t: now.unix,
            st: AddressState::Resv,
            ..AddressRecord::default()
        };
        txn.compares.push(Compare::absent(key.clone()));
        txn.then.push(Op::put(key, record::write(&reservation)));
    } else if tx.at(&id, addr)?.is_none() {
        txn.then.push(Op::delete(key));
    }
    txn.then.push(Op::delete(asked.key.clone()));
    Ok(txn)
}
