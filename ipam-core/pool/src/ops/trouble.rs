//! Why an operation could not be done.

use ipam_core::addr::{Addr, Family};
use ipam_core::allocator::Refusal;

use crate::pool::Difference;
use crate::record::BadRecord;

/// Why an operation could not be done. Nothing was given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// etcd did not answer in time. Whether the request was carried out is not known.
    #[error("etcd did not answer in time")]
    Away,
    /// Nothing may be given out before etcd was reached once in this boot.
    #[error("etcd was not reached since this node's boot")]
    NoContact,
    /// etcd has been away for longer than the pool allows.
    #[error("etcd was last reached {age} s ago, and a node may go on without it for {limit} s")]
    Autonomy {
        /// For how long, in seconds.
        age: u64,
        /// For how long is allowed, in seconds.
        limit: u64,
    },
    /// An operator has removed this node.
    #[error("this node was removed from the cluster by {by}")]
    Tombstoned {
        /// When, in seconds since 1970.
        at: u64,
        /// Who did.
        by: String,
    },
    /// Another machine writes with this node's identity.
    #[error("another machine uses this node's identity (its boot ID is {boot})")]
    Copied {
        /// That machine's boot ID.
        boot: String,
    },
    /// An agent with this node's identity is alive, of another boot: the machine that this one is a copy of,
    /// or this one's own agent of before a restart, which is forgotten within a minute.
    #[error("an agent with this node's identity is alive (its boot ID is {boot})")]
    Alive {
        /// Its boot ID.
        boot: String,
    },
    /// A block was taken away from this node while it was in use.
    #[error("block {block} was taken away from this node")]
    Revoked {
        /// The block, as CIDR.
        block: String,
    },
    /// etcd holds older data than this node has seen.
    #[error("etcd holds older data (revision {now}) than this node has seen (revision {seen})")]
    Restored {
        /// The newest revision that this node has seen.
        seen: i64,
        /// The revision of now.
        now: i64,
    },
    /// This is not the etcd cluster that this node belongs to.
    #[error("this etcd cluster ({now:x}) is not the one that this node belongs to ({known:x})")]
    OtherCluster {
        /// The cluster that the node belongs to.
        known: u64,
        /// The one that has answered.
        now: u64,
    },
    /// What is in etcd was written by a later version.
    #[error("the data in etcd has schema {schema}, and this version knows {known}")]
    Newer {
        /// The oldest schema that may write it.
        schema: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// There is no such pool.
    #[error("there is no pool {name}{}", one_of(pools))]
    NoPool {
        /// The name.
        name: String,
        /// The pools that there are.
        pools: Vec<String>,
    },
    /// The pool is another one than the configuration says.
    #[error("pool {name} is not what the configuration says: {}", differing(differences))]
    PoolDiffers {
        /// The pool.
        name: String,
        /// In what; first the configuration's value.
        differences: Vec<Difference>,
    },
    /// The pool shares addresses with another one.
    #[error("pool {name} overlaps pool {other} in {shared}")]
    PoolOverlaps {
        /// The pool.
        name: String,
        /// The other one.
        other: String,
        /// The addresses, as text.
        shared: String,
    },
    /// The pool's own description is wrong.
    #[error("{0}")]
    BadPool(#[from] crate::pool::BadPool),
    /// The pool has no addresses of a family that is asked for.
    #[error("pool {name} has no {} addresses", family_name(*family))]
    NoFamily {
        /// The pool.
        name: String,
        /// The family.
        family: Family,
    },
    /// Every block of the pool is claimed, and no address can be borrowed.
    #[error("no block of pool {name} ({}) is free", family_name(*family))]
    PoolFull {
        /// The pool.
        name: String,
        /// The family.
        family: Family,
    },
    /// The node holds as many blocks as the pool allows.
    #[error("this node's {blocks} blocks of pool {name} ({}) are full, and it may not hold more", family_name(*family))]
    TooManyBlocks {
        /// The pool.
        name: String,
        /// The family.
        family: Family,
        /// How many it may hold.
        blocks: u32,
    },
    /// A requested address lies in a block of another node.
    #[error("{addr} lies in a block of node {node}")]
    Elsewhere {
        /// The address.
        addr: Addr,
        /// The node that holds the block.
        node: String,
    },
    /// A requested address is taken or reserved, according to etcd.
    #[error("{addr} is {by}")]
    TakenElsewhere {
        /// The address.
        addr: Addr,
        /// By whom or for what.
        by: String,
    },
    /// The allocator refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// Nobody waits for the answer any more.
    #[error("the caller is gone")]
    Unwanted,
    /// A record in etcd cannot be read.
    #[error(transparent)]
    BadRecord(#[from] BadRecord),
    /// Every index or name that was tried is taken by another node.
    #[error("{what} is taken by another node ({by})")]
    NameTaken {
        /// `the name vm-4` or `the index 4`.
        what: String,
        /// The other node.
        by: String,
    },
    /// Others changed the same records again and again.
    #[error("gave up after {tries} conflicts with other nodes")]
    Contended {
        /// How often.
        tries: u32,
    },
}

/// What there is instead.
pub(crate) fn one_of(names: &[String]) -> String {
    match names {
        [] => "; there are no pools".to_owned(),
        names => format!("; there is {}", names.join(", ")),
    }
}

fn differing(differences: &[Difference]) -> String {
    let texts: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is {} there and {} in etcd", d.key, d.one, d.two))
        .collect();
    texts.join(", ")
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

impl Trouble {
    /// Whether trying again later may help, with nothing changed by an operator.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Away
            | Self::NoContact
            | Self::Alive { .. }
            | Self::Autonomy { .. }
            | Self::PoolFull { .. }
            | Self::TooManyBlocks { .. }
            | Self::Contended { .. }
            | Self::TakenElsewhere { .. } => true,
            _ => false,
        }
    }

    /// Whether attachments that exist are affected, too: their addresses may be given to others.
    pub const fn affects_existing(&self) -> bool {
        matches!(
            self,
            Self::Tombstoned { .. }
                | Self::Copied { .. }
                | Self::Revoked { .. }
                | Self::Restored { .. }
        )
    }

    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Away => {
                "look at the etcd members and the way to them; `plat status --cluster` says which answer"
            }
            Self::NoContact => {
                "the first address after a boot needs etcd once: look at the etcd members and the way to them"
            }
            Self::Autonomy { .. } => {
                "bring etcd back, or give the pool a longer autonomy (a dead node's blocks then come back later)"
            }
            Self::Tombstoned { .. } => {
                "delete this node's pods; `plat node adopt --anew` on it then makes it a new node"
            }
            Self::Copied { .. } => {
                "its disk was copied with /var/lib/plat: remove that directory on the copy, which then is a new node"
            }
            Self::Alive { .. } => {
                "after a restart of this machine wait a minute; if its disk was copied, remove /var/lib/plat on the copy"
            }
            Self::Revoked { .. } => {
                "the block may be another node's by now: delete the pods that use it, then run `plat check --cluster --fix`"
            }
            Self::Restored { .. } => {
                "etcd was restored from an older snapshot: `plat check --cluster --fix` writes what this node holds anew"
            }
            Self::OtherCluster { .. } => {
                "correct the endpoints; a node that moves to another cluster deletes its pods and runs \
                 `plat node adopt --anew`"
            }
            Self::Newer { .. } => "install the version that wrote it, or a later one",
            Self::NoPool { .. } => "create it with `plat pool create`, or name another one",
            Self::PoolDiffers { .. } => {
                "change the configuration, or the pool with `plat pool edit`; or name the pool alone"
            }
            Self::PoolOverlaps { .. } => "give it other addresses, or another space",
            Self::BadPool(_) => "correct the pool's description",
            Self::NoFamily { .. } => "ask for the families that the pool has",
            Self::PoolFull { .. } => {
                "`plat block ls` says who holds what; make the pool larger, or its blocks smaller in a new pool"
            }
            Self::TooManyBlocks { .. } => "raise maxBlocks with `plat pool edit`, or delete pods",
            Self::Elsewhere { .. } => {
                "request an address of another block; only a pool of mode sync that is not strict lends addresses"
            }
            Self::TakenElsewhere { .. } => {
                "request another address, or wait until its holder is deleted"
            }
            Self::Refused(refusal) => refusal.advice(),
            Self::Unwanted => "the runtime has given up and will send a DEL",
            Self::BadRecord(_) => {
                "it was written by hand or by a later version: `plat check --cluster` says what it should be"
            }
            Self::NameTaken { .. } => {
                "a machine that was reinstalled takes over with `plat node adopt`; else give it another host name"
            }
            Self::Contended { .. } => "try again",
        }
    }
}
