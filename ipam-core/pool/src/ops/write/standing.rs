//! Whether a node may write at all.

use crate::ledger::Tx;
use crate::node::{BootState, Contact, Evicted, NodeState};
use crate::op::Now;
use crate::ops::{Context, Trouble};
use crate::record::{self, Tombstone};
use crate::txn::{Compare, Kv, Op, Reply};

/// What every write of a node compares: it was not removed, and it is this boot that writes.
pub(in crate::ops) fn standing(context: &Context, uuid: &str) -> [Compare; 2] {
    [
        Compare::absent(context.keys.tombstone(uuid)),
        Compare::value(context.keys.boot(uuid), context.boot.as_bytes()),
    ]
}

/// What is read where [`standing`] may not hold.
pub(in crate::ops) fn standing_evidence(context: &Context, uuid: &str) -> [Op; 2] {
    [Op::get(context.keys.tombstone(uuid)), Op::get(context.keys.boot(uuid))]
}

/// What those two reads tell: `None` if the node stands.
pub(in crate::ops) fn fallen(
    context: &Context,
    tombstone: Option<&Kv>,
    boot: Option<&Kv>,
) -> Option<Evicted> {
    if let Some(kv) = tombstone {
        let stone: Tombstone = record::read(kv).unwrap_or_default();
        return Some(Evicted::Tombstoned { at: stone.at, by: stone.by });
    }
    let written = boot.map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
    match written {
        Some(written) if written == context.boot => None,
        Some(written) => Some(Evicted::Copied { boot: written }),
        // The registration is gone, and the mark of its removal, too.
        None => Some(Evicted::Tombstoned { at: 0, by: "an operator".to_owned() }),
    }
}

impl From<Evicted> for Trouble {
    fn from(evicted: Evicted) -> Self {
        match evicted {
            Evicted::Tombstoned { at, by } => Self::Tombstoned { at, by },
            Evicted::Copied { boot } => Self::Copied { boot },
            Evicted::Revoked { block } => Self::Revoked { block },
            Evicted::Restored { seen, now } => Self::Restored { seen, now },
        }
    }
}

/// Whether the answer is from the node's own cluster.
pub(in crate::ops) const fn recognise(node: &NodeState, reply: &Reply) -> Result<(), Trouble> {
    if node.cluster != 0 && reply.cluster != node.cluster {
        return Err(Trouble::OtherCluster { known: node.cluster, now: reply.cluster });
    }
    Ok(())
}

/// The same, where it is noted: the node may have been forgotten there, and its blocks given to others, so
/// nothing is given out before its own cluster is met again.
pub(in crate::ops) fn meet<T: Tx>(
    tx: &mut T,
    reply: &Reply,
) -> Result<Result<(), Trouble>, T::Error> {
    let recognised = recognise(tx.node(), reply);
    if recognised.is_err() && tx.boot().contact.is_some() {
        let boot = BootState { contact: None, ..tx.boot().clone() };
        tx.set_boot(boot)?;
    }
    Ok(recognised)
}

/// Notes that nothing may be given out any more.
pub(in crate::ops) fn evict<T: Tx>(tx: &mut T, evicted: Evicted) -> Result<(), T::Error> {
    let mut boot = tx.boot().clone();
    boot.evicted = Some(evicted);
    tx.set_boot(boot)
}

/// Notes a contact: a request that was sent then was answered, and the node stands.
pub(in crate::ops) fn touch<T: Tx>(tx: &mut T, sent: Now, revision: i64) -> Result<(), T::Error> {
    let last = tx.boot().contact.unwrap_or_default();
    // A second more or less is not worth a write; a revision is.
    let recent = last.boot.saturating_add(1000) > sent.boot && last.unix <= sent.unix;
    if tx.boot().contact.is_some() && recent && revision <= last.revision {
        return Ok(());
    }
    let mut boot = tx.boot().clone();
    boot.contact =
        Some(Contact { boot: sent.boot, unix: sent.unix, revision: revision.max(last.revision) });
    tx.set_boot(boot)
}

/// Whether etcd is older than what was seen before it was asked: then it was restored, and what was written since
/// is lost.
pub(in crate::ops) fn restored<T: Tx>(
    tx: &mut T,
    seen: i64,
    reply: &Reply,
) -> Result<Option<Trouble>, T::Error> {
    if reply.revision >= seen {
        return Ok(None);
    }
    let evicted = Evicted::Restored { seen, now: reply.revision };
    evict(tx, evicted.clone())?;
    Ok(Some(evicted.into()))
}
