//! `plat ls`, `plat who`, `plat history` and `plat map`.

use serde::Serialize;

use crate::usage::Record;

/// The addresses that are held, and by whom.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Allocations<'a> {
    /// Whether everything could be looked at.
    pub(crate) complete: bool,
    /// By network and number.
    pub(crate) allocations: Vec<Record<'a>>,
}

/// What was found for each word of the command line.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Answers<'a> {
    /// Whether everything could be looked at.
    pub(crate) complete: bool,
    /// One for each word, in its order.
    pub(crate) answers: Vec<Answer<'a>>,
}

/// What is known about an address, a pod or a container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Answer<'a> {
    /// The word of the command line.
    pub(crate) query: &'a str,
    /// What is held; empty if nothing is.
    pub(crate) held: Vec<Held<'a>>,
    /// What an address that nobody holds is, to each network that has it in a range; else empty.
    pub(crate) standing: Vec<Standing<'a>>,
}

/// An allocation with its range set.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Held<'a> {
    #[serde(flatten)]
    pub(crate) record: Record<'a>,
    /// The ranges of the set that it belongs to, as text; `null` if it lies in none, or none is known.
    pub(crate) ranges: Option<String>,
    /// The gateway of its range; `null` if there is none.
    pub(crate) gateway: Option<String>,
    /// Which addresses the same attachment holds besides in the network.
    pub(crate) others: Vec<String>,
}

/// What an address that nobody holds is to a network.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Standing<'a> {
    /// The network.
    pub(crate) network: &'a str,
    /// The IPAM plugin whose it is; `null` in directories, which do not say.
    pub(crate) instance: Option<&'a str>,
    /// What holds its state: `dir` or `sqlite`.
    pub(crate) store: &'static str,
    /// The network's directory, or the database.
    pub(crate) path: String,
    /// `free`, `cooling`, `gateway`, `excluded`, or `outside`: in the subnet, but not between the bounds.
    pub(crate) standing: &'static str,
    /// The ranges of its set as text; `null` while it rests.
    pub(crate) ranges: Option<String>,
    /// For how many seconds it rests still; `null` if it does not rest.
    pub(crate) seconds: Option<u64>,
}

/// Who held an address, and who holds it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct History<'a> {
    /// The address.
    pub(crate) address: String,
    /// Whether everything could be looked at.
    pub(crate) complete: bool,
    /// The latest last.
    pub(crate) history: Vec<Time<'a>>,
}

/// A time for which an address was held.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Time<'a> {
    /// The network.
    pub(crate) network: &'a str,
    /// The IPAM plugin whose it is; `null` in directories, which do not say.
    pub(crate) instance: Option<&'a str>,
    /// What holds its state: `dir` or `sqlite`.
    pub(crate) store: &'static str,
    /// The network's directory, or the database.
    pub(crate) path: String,
    /// The container ID; `null` if it is not recorded.
    pub(crate) container: Option<&'a str>,
    /// Its interface; `null` if it is not recorded.
    pub(crate) interface: Option<&'a str>,
    /// The pod's namespace; `null` if it is not recorded.
    pub(crate) namespace: Option<&'a str>,
    /// The pod's name; `null` if it is not recorded.
    pub(crate) pod: Option<&'a str>,
    /// The pod's UID; `null` if it is not recorded.
    pub(crate) uid: Option<&'a str>,
    /// When it was given out, RFC 3339 in UTC; `null` if it is not recorded.
    pub(crate) since: Option<String>,
    /// When it ended, RFC 3339 in UTC; `null` while it is held.
    pub(crate) until: Option<String>,
    /// How it ended: `released` by a DEL, `collected` by a GC or by hand, by a `reboot`; `null` while it is held.
    pub(crate) ended: Option<&'static str>,
}

/// The addresses of a network in runs of one kind.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Map<'a> {
    /// Whether everything could be looked at.
    pub(crate) complete: bool,
    /// Each place that has a network of this name.
    pub(crate) networks: Vec<MappedNetwork<'a>>,
}

/// A network.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MappedNetwork<'a> {
    /// Its name.
    pub(crate) network: &'a str,
    /// The IPAM plugin whose it is; `null` in directories, which do not say.
    pub(crate) instance: Option<&'a str>,
    /// What holds its state: `dir` or `sqlite`.
    pub(crate) store: &'static str,
    /// The network's directory, or the database.
    pub(crate) path: String,
    /// Whether its ranges are known.
    pub(crate) ranges_known: bool,
    /// How many held addresses lie outside every range.
    pub(crate) outside: usize,
    /// Its ranges; empty if they are not known.
    pub(crate) ranges: Vec<MappedRange<'a>>,
}

/// A range.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MappedRange<'a> {
    /// As text.
    pub(crate) range: String,
    /// Its first address.
    pub(crate) first: String,
    /// Its last address.
    pub(crate) last: String,
    /// Its gateway; `null` if it has none.
    pub(crate) gateway: Option<String>,
    /// The address that comes next, if it lies in this range; else `null`.
    pub(crate) next: Option<String>,
    /// Together they are the whole range.
    pub(crate) runs: Vec<MappedRun<'a>>,
}

/// Addresses of one kind, one after the other.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MappedRun<'a> {
    /// The first one.
    pub(crate) first: String,
    /// The last one.
    pub(crate) last: String,
    /// How many they are, at most 2^63 - 1.
    pub(crate) count: u64,
    /// `used`, which is a single address, `cooling`, `gateway`, `excluded` or `free`.
    pub(crate) kind: &'static str,
    #[serde(flatten)]
    pub(crate) holder: Option<MappedHolder<'a>>,
}

/// Who holds an address.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MappedHolder<'a> {
    /// The container ID; `null` if it is not recorded. Absent if the kind is not `used`.
    pub(crate) container: Option<&'a str>,
    /// Its interface; `null` if it is not recorded. Absent if the kind is not `used`.
    pub(crate) interface: Option<&'a str>,
    /// The pod's namespace; `null` if it is not recorded. Absent if the kind is not `used`.
    pub(crate) namespace: Option<&'a str>,
    /// The pod's name; `null` if it is not recorded. Absent if the kind is not `used`.
    pub(crate) pod: Option<&'a str>,
}
