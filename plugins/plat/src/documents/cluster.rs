//! What is known in etcd: `--cluster`, `plat explain`, `plat block`, `plat watch`.

use serde::Serialize;

/// The cluster's pools, its nodes, and the members of etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterStatus<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// Whether everything is of that one revision.
    pub(crate) consistent: bool,
    /// How many keys were read.
    pub(crate) keys: usize,
    /// What the data says of itself; `null` before the first node.
    pub(crate) data: Option<Meta<'a>>,
    /// The endpoints of etcd.
    pub(crate) members: Vec<Member<'a>>,
    /// The nodes.
    pub(crate) nodes: Vec<NodeLine<'a>>,
    /// The pools, one entry for each family of a pool.
    pub(crate) pools: Vec<PoolLine<'a>>,
    /// Pools that cannot be understood.
    pub(crate) bad_pools: Vec<BadPool<'a>>,
    /// How many keys cannot be understood.
    pub(crate) unreadable: usize,
}

/// What the data in etcd says of itself.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Meta<'a> {
    /// The cluster's name.
    pub(crate) name: &'a str,
    /// The version of the format.
    pub(crate) schema: u32,
    /// How often the data was put back from a snapshot.
    pub(crate) epoch: u64,
}

/// An endpoint of etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Member<'a> {
    /// Its address.
    pub(crate) endpoint: &'a str,
    /// Why it could not be asked; `null` if it could.
    pub(crate) problem: Option<&'a str>,
    /// Its version; empty if it could not be asked.
    pub(crate) version: &'a str,
    /// The size of its database in bytes; 0 if it could not be asked.
    pub(crate) size: i64,
    /// Whether it leads.
    pub(crate) leader: bool,
    /// Its alarms, such as `NOSPACE`.
    pub(crate) alarms: &'a [String],
}

/// A node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NodeLine<'a> {
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// Its name; the UUID if it has none.
    pub(crate) name: &'a str,
    /// Its index; `null` if it has none.
    pub(crate) index: Option<u32>,
    /// `alive`, `unknown` (no agent tells), `removed` (and held back), `gone` or `missing`.
    pub(crate) life: &'static str,
    /// How many blocks it holds.
    pub(crate) blocks: u64,
    /// How many addresses it uses.
    pub(crate) used: u64,
}

/// A pool's addresses of one family.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PoolLine<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// Its network.
    pub(crate) cidr: String,
    /// `local` or `sync`.
    pub(crate) mode: &'static str,
    /// 0: fine, 1: needs attention, 2: full, or nearly.
    pub(crate) level: u8,
    /// Its addresses.
    pub(crate) addresses: PoolAddresses,
    /// Its blocks.
    pub(crate) blocks: PoolBlocks,
    /// Its first address.
    pub(crate) first: String,
    /// Its last address.
    pub(crate) last: String,
}

/// A pool's addresses, as numbers of at most 2^63 - 1.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PoolAddresses {
    /// How many could ever be given out.
    pub(crate) size: u64,
    /// How many are in use.
    pub(crate) used: u64,
    /// How many are kept for pods that come back.
    pub(crate) parked: u64,
    /// How many are reserved.
    pub(crate) reserved: u64,
    /// How many are left.
    pub(crate) free: u64,
    /// How many are never given out: excluded, gateways, ends of networks.
    pub(crate) withheld: u64,
}

/// A pool's blocks, as numbers of at most 2^63 - 1.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PoolBlocks {
    /// Their prefix length.
    pub(crate) prefix: u8,
    /// How many there are.
    pub(crate) all: u64,
    /// How many nodes have claimed.
    pub(crate) claimed: u64,
    /// How many nobody has claimed.
    pub(crate) free: u64,
}

/// A pool that cannot be understood.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct BadPool<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// Why.
    pub(crate) problem: &'a str,
}

/// What was found for each word of the command line.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterAnswers<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// One for each word, in its order.
    pub(crate) answers: Vec<ClusterAnswer<'a>>,
}

/// What is known about an address, a pod or a container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterAnswer<'a> {
    /// The word of the command line.
    pub(crate) query: &'a str,
    /// What etcd has of it; empty if nothing.
    pub(crate) held: Vec<AddressRecord<'a>>,
}

/// An address that etcd has a record of.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AddressRecord<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool; `null` if it lies in none any more.
    pub(crate) pool: Option<&'a str>,
    /// The address.
    pub(crate) address: String,
    /// `used`, `parked` (kept for its pod) or `reserved`.
    pub(crate) state: &'static str,
    /// The node's name; `null` if it is nobody's.
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
    pub(crate) interface: Option<&'a str>,
    /// The pod, `namespace/name`; of a reservation, what it is for; `null` if it is not recorded.
    pub(crate) pod: Option<&'a str>,
    /// When it was written first, in seconds since 1970.
    pub(crate) since: u64,
    /// When it is kept no longer, in seconds since 1970; `null` if it has no end.
    pub(crate) expires: Option<u64>,
    /// Whether it was taken over from another IPAM.
    pub(crate) imported: bool,
    /// The revision of etcd that wrote it last.
    pub(crate) revision: i64,
}

/// What an address is, and who would get it next.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Explanation<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// The address space.
    pub(crate) space: &'a str,
    /// The address.
    pub(crate) address: String,
    /// `used`, `parked`, `reserved`, `gateway`, `excluded`, `network-end`, `free` or `no-pool`.
    pub(crate) standing: &'static str,
    /// The pool; `null` if it lies in none.
    pub(crate) pool: Option<&'a str>,
    /// The block that it lies in, or would lie in; `null` if it lies in no pool.
    pub(crate) place: Option<String>,
    /// The block; `null` if nobody has claimed it.
    pub(crate) block: Option<ExplainedBlock<'a>>,
    /// The node that uses it outside its block; `null` if none does.
    pub(crate) exception: Option<ExceptionLine<'a>>,
    /// Its record; `null` if there is none.
    pub(crate) record: Option<AddressRecord<'a>>,
    /// Who would get it next.
    pub(crate) next: NextLine<'a>,
}

/// The block of an address.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ExplainedBlock<'a> {
    /// Its addresses.
    pub(crate) cidr: String,
    /// The name of the node that holds it; `null` if nobody does.
    pub(crate) node: Option<&'a str>,
    /// That node's UUID; `null` if nobody holds it.
    pub(crate) uuid: Option<&'a str>,
    /// That node's index; `null` if nobody holds it.
    pub(crate) index: Option<u32>,
    /// `alive`, `unknown` (no agent tells), `removed` (and held back), `gone` or `missing`; `null` if nobody holds it.
    pub(crate) life: Option<&'static str>,
    /// `local` or `sync`.
    pub(crate) mode: &'static str,
    /// The revision that claimed it: every write of its node is compared with it.
    pub(crate) fence: i64,
    /// When it was claimed, in seconds since 1970.
    pub(crate) since: u64,
}

/// A node that uses an address outside its block.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ExceptionLine<'a> {
    /// Its index.
    pub(crate) index: u32,
    /// Its UUID.
    pub(crate) uuid: &'a str,
}

/// Who would get an address next.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NextLine<'a> {
    /// `holder`: a pod of the node that holds the block; `claimer`: the node that claims it; `pod`: the pod that it is
    /// kept for; `nobody`.
    pub(crate) kind: &'static str,
    /// The names of the nodes, the most likely first; absent if the kind is `pod` or `nobody`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes: Option<Vec<&'a str>>,
    /// Whether other nodes may borrow it when the pool is full; absent if the kind is not `holder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lends: Option<bool>,
}

/// The blocks of pools.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Blocks<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// The blocks, by address.
    pub(crate) blocks: Vec<Block<'a>>,
}

/// A block.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Block<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// Its addresses.
    pub(crate) cidr: String,
    /// The name of the node that holds it; `null` if nobody does.
    pub(crate) node: Option<&'a str>,
    /// That node's UUID; `null` if nobody holds it.
    pub(crate) uuid: Option<&'a str>,
    /// That node's index; `null` if nobody holds it.
    pub(crate) index: Option<u32>,
    /// `local` or `sync`.
    pub(crate) mode: &'static str,
    /// The revision that claimed it: every write of its node is compared with it.
    pub(crate) fence: i64,
    /// When it was claimed, in seconds since 1970.
    pub(crate) since: u64,
    /// How many addresses it has, at most 2^63 - 1.
    pub(crate) size: u64,
    /// How many of them are in use.
    pub(crate) used: u64,
    /// How many are kept for pods that come back.
    pub(crate) parked: u64,
    /// How many are reserved.
    pub(crate) reserved: u64,
    /// How many other nodes use.
    pub(crate) lent: u64,
}

/// The blocks of a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterMap<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// The pool.
    pub(crate) pool: &'a str,
    /// One for each family.
    pub(crate) parts: Vec<ClusterPart<'a>>,
}

/// A pool's addresses of one family.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterPart<'a> {
    /// Its title: the pool and its network.
    pub(crate) part: &'a str,
    /// Its network.
    pub(crate) cidr: String,
    /// The prefix length of its blocks.
    pub(crate) prefix: u8,
    /// The blocks that were claimed.
    pub(crate) blocks: Vec<Block<'a>>,
}

/// A change, one document in each line.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Change<'a> {
    /// When it was told here, in seconds since 1970.
    pub(crate) time: u64,
    /// The revision of etcd.
    pub(crate) revision: i64,
    /// What has changed: `address`, `block`, `node`, `agent`, `pools`, `exception`, `request`, `sticky`, `boot`, `name`,
    /// `index`, `cluster`, `key`.
    pub(crate) object: &'a str,
    /// What happened: of an address `used`, `parked`, `reserved`, `freed`; of a block `claimed`, `changed`, `returned`.
    pub(crate) action: &'a str,
    /// The address space; `null` if it is about none.
    pub(crate) space: Option<&'a str>,
    /// Which one.
    pub(crate) subject: &'a str,
    /// The node's name; `null` if it is about none, or not known.
    pub(crate) node: Option<&'a str>,
    /// The rest, for people; may be empty.
    pub(crate) text: &'a str,
}
