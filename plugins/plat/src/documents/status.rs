//! `plat status`.

use serde::Serialize;

/// How full each network of a node is, and whether its state is sound.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Status {
    /// The exit status in a word: `fine`, `attention`, `critical` or `unknown`.
    pub(crate) status: &'static str,
    /// Every database that was looked for.
    pub(crate) databases: Vec<Database>,
    /// Every network, by name.
    pub(crate) networks: Vec<Network>,
    /// Places that could not be looked at.
    pub(crate) unseen: Vec<Unseen>,
    /// What the node knows of etcd; absent where it uses no cluster-wide pool, and when one network was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) etcd: Option<Etcd>,
}

/// A database.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Database {
    /// Its file.
    pub(crate) path: String,
    /// `fine`, `absent`, `former-boot`, `lost`, `restored`, `corrupt`, `newer`, `foreign`, or `unknown`.
    pub(crate) health: &'static str,
    /// The same in words.
    pub(crate) detail: String,
    /// What to do; empty if nothing.
    pub(crate) advice: String,
}

/// A network.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Network {
    /// Its name.
    pub(crate) network: String,
    /// The IPAM plugin whose it is; `null` in directories, which do not say.
    pub(crate) instance: Option<String>,
    /// What holds its state: `dir` or `sqlite`.
    pub(crate) store: &'static str,
    /// The network's directory, or the database.
    pub(crate) path: String,
    /// The node index that its ranges were made with; `null` if with none.
    pub(crate) node_index: Option<u32>,
    /// Whether other nodes use the place, too.
    pub(crate) shared: bool,
    /// `fine`, `attention` or `critical`: the worst of its health and of its sets.
    pub(crate) status: &'static str,
    /// `ok`, `attention` or `broken`.
    pub(crate) health: &'static str,
    /// What is wrong with its state.
    pub(crate) faults: Vec<Fault>,
    /// Whether its ranges are known.
    pub(crate) ranges_known: bool,
    /// The configuration that the ranges are from; `null` if the store keeps them, or they are not known.
    pub(crate) ranges_from: Option<String>,
    /// How addresses are chosen: `next`, `lowest` or `sticky`; `null` if it is not known.
    pub(crate) strategy: Option<&'static str>,
    /// How many addresses are held.
    pub(crate) held: usize,
    /// How many of those lie outside every range.
    pub(crate) outside: usize,
    /// When the oldest allocation was made, RFC 3339 in UTC; `null` if none is held, or no time is recorded.
    pub(crate) oldest: Option<String>,
    /// Its range sets; empty if its ranges are not known.
    pub(crate) sets: Vec<Set>,
}

/// Something that is wrong with a network's state.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Fault {
    /// `empty`, `unreadable`, `twice`, `foreign`, `mark`, `index`, `extents`, `other`.
    pub(crate) kind: &'static str,
    /// A sentence.
    pub(crate) what: String,
    /// The address that it is about; `null` if none.
    pub(crate) address: Option<String>,
}

/// A range set.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Set {
    /// Its ranges as text.
    pub(crate) ranges: String,
    /// `fine`, `attention` or `critical`.
    pub(crate) status: &'static str,
    /// How much of its size is used, in per cent: 0 to 100, in thousandths.
    pub(crate) percent: f64,
    /// How many addresses it could give out, at most 2^63 - 1.
    pub(crate) size: u64,
    /// How many of them are held.
    pub(crate) used: u64,
    /// How many can be given out now.
    pub(crate) free: u64,
    /// How many were released lately and rest.
    pub(crate) cooling: u64,
    /// How many are excluded; they are no part of the size.
    pub(crate) excluded: u64,
    /// How many of the excluded ones are held all the same; not counted as used.
    pub(crate) excluded_held: u64,
    /// When the oldest allocation was made, RFC 3339 in UTC; `null` if none is held, or no time is recorded.
    pub(crate) oldest: Option<String>,
    /// The address that comes next; `null` if none is free.
    pub(crate) next: Option<String>,
    /// In how many seconds the first resting address is free, if nothing else is; else `null`.
    pub(crate) next_in_seconds: Option<u64>,
}

/// A place that could not be looked at.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Unseen {
    /// Its path.
    pub(crate) path: String,
    /// `dir` or `sqlite`.
    pub(crate) store: &'static str,
    /// Why, in words.
    pub(crate) error: String,
}

/// What a node that uses cluster-wide pools knows of etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Etcd {
    /// The node's UUID.
    pub(crate) uuid: String,
    /// Its name.
    pub(crate) name: String,
    /// Its index; `null` as long as it has none.
    pub(crate) index: Option<u32>,
    /// How many blocks it holds.
    pub(crate) blocks: usize,
    /// When etcd was reached last in this boot, in seconds since 1970; `null` if it was not.
    pub(crate) reached: Option<u64>,
    /// For how long it goes on without etcd, in seconds; `null`: for ever, or it holds no blocks.
    pub(crate) autonomy: Option<u64>,
    /// How many records wait to be written to etcd.
    pub(crate) waiting: u64,
    /// Since when the oldest of them waits, in seconds since 1970; `null` if none does.
    pub(crate) waiting_since: Option<u64>,
    /// When the last attempt to write failed, in seconds since 1970; `null` if it did not.
    pub(crate) failed: Option<u64>,
    /// Why it failed; `null` if it did not.
    pub(crate) failure: Option<String>,
    /// Why nothing is given out any more; `null` if addresses are given out.
    pub(crate) refused: Option<String>,
}
