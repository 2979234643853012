//! `plat pool`.

use serde::Serialize;

/// The pools of the cluster.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pools<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// The pools, by space and name.
    pub(crate) pools: Vec<ListedPool<'a>>,
}

/// A pool, and how much of it is claimed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedPool<'a> {
    #[serde(flatten)]
    pub(crate) pool: Pool<'a>,
    /// How many IPv4 blocks are claimed.
    pub(crate) claimed: u64,
    /// How many IPv6 blocks are claimed.
    pub(crate) claimed6: u64,
    /// How many nodes hold blocks of it.
    pub(crate) nodes: usize,
}

/// A pool: what holds, also where it is not written. One that cannot be understood has `space`, `name` and `problem` only.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pool<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    #[serde(flatten)]
    pub(crate) terms: Option<Terms<'a>>,
    /// Why it cannot be understood; absent if it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// How a pool gives out addresses.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Terms<'a> {
    /// Its IPv4 network; `null` if it has none.
    pub(crate) cidr: Option<String>,
    /// Its IPv6 network; `null` if it has none.
    pub(crate) cidr6: Option<String>,
    /// The prefix length of its IPv4 blocks; `null` if it has none.
    pub(crate) block: Option<u8>,
    /// The prefix length of its IPv6 blocks; `null` if it has none.
    pub(crate) block6: Option<u8>,
    /// `local` or `sync`.
    pub(crate) mode: &'static str,
    /// Whether nodes lend each other no address.
    pub(crate) strict: bool,
    /// How many blocks of a family a node may hold.
    pub(crate) max_blocks: u32,
    /// For how long an address rests after its release, in seconds.
    pub(crate) cooldown: u64,
    /// Which address is the gateway: `none`, `first`, or an address.
    pub(crate) gateway: String,
    /// What is never given out: addresses and networks.
    pub(crate) exclude: &'a [String],
    /// For how long nodes go on without etcd, in seconds; 0: for ever.
    pub(crate) autonomy: u64,
}

/// A pool, who has blocks of it, and what is reserved.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ShownPool<'a> {
    #[serde(flatten)]
    pub(crate) pool: Pool<'a>,
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// How many IPv4 blocks are claimed.
    pub(crate) claimed: usize,
    /// How many IPv6 blocks are claimed.
    pub(crate) claimed6: usize,
    /// How many addresses are in use.
    pub(crate) used: u64,
    /// How many are kept for pods that come back.
    pub(crate) parked: u64,
    /// How many are reserved.
    pub(crate) reserved: u64,
    /// Who has blocks of it.
    pub(crate) nodes: Vec<Share<'a>>,
    /// What is reserved; a thousand at most.
    pub(crate) reservations: Vec<Address<'a>>,
}

/// What a node has of a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Share<'a> {
    /// Its name; `null` if nobody has it, or the node is not known.
    pub(crate) node: Option<&'a str>,
    /// Its UUID; `null` if nobody has it.
    pub(crate) uuid: Option<&'a str>,
    /// How many blocks.
    pub(crate) blocks: u64,
    /// How many addresses these have, at most 2^63 - 1.
    pub(crate) size: u64,
}

/// What became of a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedPool<'a> {
    /// Whether anything was changed; `false` if all was so before.
    pub(crate) changed: bool,
    /// The pool as it is now; `null` if it was removed.
    pub(crate) pool: Option<Pool<'a>>,
    /// In what it has changed.
    pub(crate) differences: Vec<PoolDifference>,
    /// Blocks whose nodes still have to learn of it.
    pub(crate) late: Vec<HeldBlock<'a>>,
    /// How many reservations ended with it.
    pub(crate) ended: usize,
}

/// A key of a pool that has changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PoolDifference {
    /// The key.
    pub(crate) key: &'static str,
    /// Its value before, as text.
    pub(crate) from: String,
    /// Its value now, as text.
    pub(crate) to: String,
}

/// What stands against a change: nothing was changed, and the exit status is 3.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Refusal<'a> {
    /// The pool.
    pub(crate) pool: &'a str,
    /// `false`.
    pub(crate) changed: bool,
    /// Why, in a sentence.
    pub(crate) refused: String,
    /// Blocks that nodes hold.
    pub(crate) blocks: Vec<HeldBlock<'a>>,
    /// Addresses that are in the way; a thousand at most.
    pub(crate) addresses: Vec<Address<'a>>,
    /// Whether there are more than these.
    pub(crate) more: bool,
}

/// A block that a node holds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HeldBlock<'a> {
    /// Its addresses.
    pub(crate) block: String,
    /// The pool.
    pub(crate) pool: &'a str,
    /// The node's name; `null` if it is nobody's, or not known.
    pub(crate) node: Option<&'a str>,
    /// The node's UUID; `null` if it is nobody's.
    pub(crate) uuid: Option<&'a str>,
    /// The node's index; `null` if it is nobody's.
    pub(crate) index: Option<u32>,
}

/// An address that is used, kept or reserved.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Address<'a> {
    /// The address.
    pub(crate) address: String,
    /// `used`, `parked` (kept for its pod) or `reserved`.
    pub(crate) state: &'static str,
    /// The node's name; `null` if it is nobody's, or not known.
    pub(crate) node: Option<&'a str>,
    /// The node's UUID; `null` if it is nobody's.
    pub(crate) uuid: Option<&'a str>,
    /// The node's index; `null` if it is nobody's.
    pub(crate) index: Option<u32>,
    /// The CNI network; `null` if it is not recorded.
    pub(crate) network: Option<&'a str>,
    /// The container ID; `null` if it is not recorded.
    pub(crate) container: Option<&'a str>,
    /// Its interface; `null` if it is not recorded.
    pub(crate) ifname: Option<&'a str>,
    /// The pod, `namespace/name`; `null` if it is not recorded, or the address is reserved.
    pub(crate) pod: Option<&'a str>,
    /// What it is reserved for; `null` if nothing is said, or it is not reserved.
    #[serde(rename = "for")]
    pub(crate) reason: Option<&'a str>,
    /// When it was written first, in seconds since 1970.
    pub(crate) since: u64,
}

/// What became of a reservation.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation<'a> {
    /// The address.
    pub(crate) address: String,
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: String,
    /// Whether it is reserved now.
    pub(crate) reserved: bool,
    /// What for; `null` if it is not reserved, or a node is waited for.
    #[serde(rename = "for")]
    pub(crate) reason: Option<&'a str>,
    /// Whether anything was changed.
    pub(crate) changed: bool,
    /// The node that was asked and has not answered yet; `null` if it is done.
    pub(crate) waiting: Option<AskedNode<'a>>,
    /// Whether no node will take the block, which is of mode `local` and nobody's, as long as the address is reserved.
    pub(crate) keeps_block: bool,
    /// Whether the pool never gives the address out anyway.
    pub(crate) withheld: bool,
}

/// A node that was asked.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AskedNode<'a> {
    /// Its name; `null` if it is not known.
    pub(crate) node: Option<&'a str>,
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// Its index; `null` if it is not known.
    pub(crate) index: Option<u32>,
}
