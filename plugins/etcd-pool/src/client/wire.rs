//! Transactions in the client crate's types, and its answers in ours.

use etcd_client::{CompareOp, DeleteOptions, GetOptions, PutOptions, TxnOp, TxnOpResponse};
use ipam_pool::txn::{Answer, Compare, Kv, Op, Reply, Target, Txn};

/// A transaction as the client crate takes it.
pub(super) fn request(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<_> = txn.compares.iter().map(compare).collect();
    let then: Vec<_> = txn.then.iter().map(op).collect();
    let otherwise: Vec<_> = txn.otherwise.iter().map(op).collect();
    // The crate's builder panics when a part is given twice or out of order; this is its order.
    let mut request = etcd_client::Txn::new();
    if !compares.is_empty() {
        request = request.when(compares);
    }
    request.and_then(then).or_else(otherwise)
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let key = compare.key.clone();
    let equal = CompareOp::Equal;
    let made = match &compare.target {
        Target::Created(revision) => etcd_client::Compare::create_revision(key, equal, *revision),
        Target::Modified(revision) => etcd_client::Compare::mod_revision(key, equal, *revision),
        Target::Value(value) => etcd_client::Compare::value(key, equal, value.clone()),
    };
    match &compare.end {
        Some(end) => made.with_range(end.clone()),
        None => made,
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Get { key, end, keys_only, limit } => {
            let mut options = GetOptions::new().with_limit(*limit);
            if *keys_only {
                options = options.with_keys_only();
            }
            if let Some(end) = end {
                options = options.with_range(end.clone());
            }
            TxnOp::get(key.clone(), Some(options))
        }
        Op::Put { key, value, lease } => {
            let options = (*lease != 0).then(|| PutOptions::new().with_lease(*lease));
            TxnOp::put(key.clone(), value.clone(), options)
        }
        Op::Delete { key, end } => {
            let options = end.as_ref().map(|end| DeleteOptions::new().with_range(end.clone()));
            TxnOp::delete(key.clone(), options)
        }
    }
}

/// An answer to a transaction; `doubt`: another copy of it may be carried out even now.
pub(super) fn reply(response: &etcd_client::TxnResponse, doubt: bool) -> Reply {
    let header = response.header();
    let answers = response.op_responses().into_iter().map(|answer| match answer {
        TxnOpResponse::Put(_) => Answer::Put,
        TxnOpResponse::Get(mut got) => {
            let more = got.more();
            Answer::Got { kvs: got.take_kvs().into_iter().map(owned_kv).collect(), more }
        }
        TxnOpResponse::Delete(deleted) => Answer::Deleted(deleted.deleted()),
        // Never asked for.
        TxnOpResponse::Txn(_) => Answer::Put,
    });
    Reply {
        succeeded: response.succeeded(),
        revision: header.map_or(0, etcd_client::ResponseHeader::revision),
        cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
        answers: answers.collect(),
        doubt,
    }
}

fn owned_kv(kv: etcd_client::KeyValue) -> Kv {
    let (created, modified, lease) = (kv.create_revision(), kv.mod_revision(), kv.lease());
    let (key, value) = kv.into_key_value();
    Kv { key, value, created, modified, lease }
}

/// A key with its value.
pub(super) fn kv(kv: &etcd_client::KeyValue) -> Kv {
    owned_kv(kv.clone())
}
