/*!
What a node remembers of its pools.

[`NodeState`] survives a boot and is written durably: who the node is, which blocks it holds and under which
fence. [`BootState`] dies with the containers, beside the allocations.
*/

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipam_core::addr::{Addr, Cidr, Family, Interval};
use serde::{Deserialize, Serialize};

use crate::pool::PoolSpec;
use crate::record::{Mode, as_text};

/// A pool of an address space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId {
    /// The space.
    pub space: String,
    /// The pool.
    pub pool: String,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.space, self.pool)
    }
}

/// What survives a boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeState {
    /// The installation, made at random once.
    pub uuid: String,
    /// What tells this machine from a copy of its disk, where anything does.
    pub machine: String,
    /// The name that it is registered with; empty before that.
    pub name: String,
    /// The index that it is registered with.
    pub index: Option<u32>,
    /// The boots that this installation may have registered last: the one that it has, and the one that it
    /// was about to. Any other one in etcd is of another machine.
    pub boots: Vec<String>,
    /// The ID of the etcd cluster; 0 before the first contact. The same installation never uses another.
    pub cluster: u64,
    /// The name and the epoch of the data, from `meta`.
    pub data: String,
    /// See `data`.
    pub epoch: u64,
    /// The newest revision of etcd that was seen, at a claim or at the first contact of a boot.
    pub revision: i64,
    /// How etcd is reached: for calls that have lost their configuration. Paths, never secrets.
    pub connection: serde_json::Value,
    /// The pools of each space that was used, as they were when etcd was read last.
    pub spaces: BTreeMap<String, KnownPools>,
    /// The blocks that are held.
    pub blocks: Vec<Block>,
    /// Addresses that are used out of blocks of others, or were until a moment ago.
    pub borrowed: Vec<Borrowed>,
    /// Claims that were sent and whose answer is not known.
    pub claiming: Vec<Claiming>,
}

/// The pools of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownPools {
    /// The revision that wrote them.
    pub revision: i64,
    /// They.
    pub pools: Vec<PoolSpec>,
}

/// What may be done with a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockState {
    /// Addresses may be given out of it.
    #[default]
    Held,
    /// It is being given back: nothing is given out any more.
    Returning,
    /// It was taken away: nothing is given out or written any more.
    Revoked,
}

/// A block of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its pool.
    #[serde(flatten)]
    pub id: PoolId,
    /// Its first address.
    #[serde(with = "as_text")]
    pub first: Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// The revision that created its key: what every write is fenced with.
    pub fence: i64,
    /// How it is used.
    pub mode: Mode,
    /// For how long it may be used without etcd, in seconds; 0: for ever.
    pub autonomy: u64,
    /// What may be done with it.
    #[serde(default)]
    pub state: BlockState,
}

impl Block {
    /// Its addresses.
    pub fn interval(&self) -> Interval {
        self.cidr().map_or_else(|| Interval::single(self.first), Cidr::network)
    }

    /// As a CIDR; `None` only for a prefix length that its family does not have.
    pub const fn cidr(&self) -> Option<Cidr> {
        Cidr::new(self.first, self.prefix)
    }

    /// Its family.
    pub const fn family(&self) -> Family {
        self.first.family()
    }
}

/// An address that is used out of a block of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrowed {
    /// Its pool.
    #[serde(flatten)]
    pub id: PoolId,
    /// The address.
    #[serde(with = "as_text")]
    pub addr: Addr,
}

/// A claim that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claiming {
    /// Its pool.
    #[serde(flatten)]
    pub id: PoolId,
    /// The first address of the block.
    #[serde(with = "as_text")]
    pub addr: Addr,
    /// The claim's name, unlike that of any other boot.
    pub name: String,
}

/// What dies with the boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BootState {
    /// The last contact with etcd. Without one in this boot nothing is given out.
    pub contact: Option<Contact>,
    /// Whether the records of former boots were removed.
    pub cleaned: bool,
    /// Why nothing may be given out any more.
    pub evicted: Option<Evicted>,
    /// Blocks to compare with etcd, because a write into them is under way or its outcome is not known.
    pub sweeps: Vec<Sweep>,
    /// Counts changes of the outbox.
    pub seq: u64,
    /// The position of the endpoint that answered last.
    pub endpoint: usize,
    /// When etcd was asked last what operators want, in milliseconds since boot; 0: never.
    pub asked: u64,
}

/// A contact with etcd: when the request was sent that was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Milliseconds since boot.
    pub boot: u64,
    /// Seconds since 1970.
    pub unix: u64,
    /// The newest revision that etcd was seen at.
    #[serde(default)]
    pub revision: i64,
}

/// Why a node may not give out addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Evicted {
    /// An operator has removed it.
    Tombstoned {
        /// When, in seconds since 1970.
        at: u64,
        /// Who did.
        by: String,
    },
    /// Another machine writes with this node's identity.
    Copied {
        /// That machine's boot ID.
        boot: String,
    },
    /// A block was taken away while it was used.
    Revoked {
        /// The block, as CIDR.
        block: String,
    },
    /// etcd holds older data than this node has seen.
    Restored {
        /// The newest revision that this node has seen.
        seen: i64,
        /// The revision of now.
        now: i64,
    },
}

/// A block to compare with etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Its pool.
    #[serde(flatten)]
    pub id: PoolId,
    /// An address of it.
    #[serde(with = "as_text")]
    pub addr: Addr,
    /// From when on, in milliseconds since boot: a write that was lost may still arrive.
    pub due: u64,
    /// The write that it was planned for; 0: none.
    #[serde(default)]
    pub token: u64,
}

impl NodeState {
    /// The block of this node that contains the address.
    pub fn block_of(&self, space: &str, addr: Addr) -> Option<&Block> {
        self.blocks.iter().find(|block| block.id.space == space && block.interval().contains(addr))
    }

    /// The blocks of a pool and family that addresses may be given out of.
    pub fn usable(&self, id: &PoolId, family: Family) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| {
            block.id == *id && block.family() == family && block.state == BlockState::Held
        })
    }
}

/// The newest revision of etcd that a node has seen. Its data is never older than that, unless a snapshot was
/// restored.
pub(crate) fn seen(node: &NodeState, boot: &BootState) -> i64 {
    node.revision.max(boot.contact.map_or(0, |contact| contact.revision))
}

impl Contact {
    /// How long ago it was, by the clock that says more: a paused machine's own clock stands still.
    pub const fn age(self, now: crate::op::Now) -> Duration {
        let boot = Duration::from_millis(now.boot.saturating_sub(self.boot));
        let unix = Duration::from_secs(now.unix.saturating_sub(self.unix));
        // A second of the wall clock is not more than one.
        let unix = unix.saturating_sub(Duration::from_secs(1));
        if unix.as_millis() > boot.as_millis() { unix } else { boot }
    }
}
