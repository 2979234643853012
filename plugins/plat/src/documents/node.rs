//! `plat node`.

use serde::Serialize;

/// Which index this node has for node-local, and where it comes from.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OwnNode<'a> {
    /// The host name.
    pub(crate) node: &'a str,
    /// The index; `null` if it is not known.
    pub(crate) index: Option<u32>,
    /// The source that counts; `null` if the index is not known.
    pub(crate) source: Option<&'a str>,
    /// Why the index is not known; `null` if it is.
    pub(crate) error: Option<&'a str>,
    /// Every source, in the order in which they are asked.
    pub(crate) sources: &'a [Source],
    /// The networks that are pinned to an index.
    pub(crate) pins: Vec<Pin<'a>>,
}

/// A source of the index.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Source {
    /// `configuration`, `file`, `environment`, `host name` or `registered`.
    pub(crate) source: &'static str,
    /// The key, the file, the variable or the rule.
    pub(crate) place: String,
    /// What it says; `null` if nothing.
    pub(crate) says: Option<String>,
    /// The index that follows from it; `null` if none does.
    pub(crate) index: Option<u32>,
    /// Whether it is the one that counts.
    pub(crate) used: bool,
    /// Why it does not count; may be empty.
    pub(crate) note: String,
}

/// A network that holds addresses of an index.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pin<'a> {
    /// The network.
    pub(crate) network: &'a str,
    /// Its directory, or the database.
    pub(crate) place: String,
    /// The index that its addresses were made with.
    pub(crate) index: u32,
}

/// What became of the index of a network.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Repinned<'a> {
    /// The network.
    pub(crate) network: &'a str,
    /// Its index now.
    pub(crate) index: u32,
    /// Where it was another one.
    pub(crate) changed: Vec<ChangedPin>,
}

/// A place where a network had another index.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedPin {
    /// The network's directory, or the database.
    pub(crate) place: String,
    /// The former index.
    pub(crate) from: Option<u32>,
    /// The index now.
    pub(crate) to: u32,
}

/// The nodes of the cluster.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Nodes<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// The nodes, by name.
    pub(crate) nodes: Vec<ListedNode<'a>>,
}

/// A node of the cluster.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Node<'a> {
    /// Its name; the UUID if it has none.
    pub(crate) name: &'a str,
    /// Its index; `null` if it has none.
    pub(crate) index: Option<u32>,
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// `alive`, `registered` (no agent tells), `being removed`, `being given back` or `removed`.
    pub(crate) state: &'static str,
    /// The boot that writes for it; `null` if none does.
    pub(crate) boot: Option<&'a str>,
    /// Its IPv4 address; `null` if it has told none.
    pub(crate) address: Option<&'a str>,
    /// Its IPv6 address; `null` if it has told none.
    pub(crate) address6: Option<&'a str>,
    /// Its version of these programs; `null` if it has told none.
    pub(crate) version: Option<&'a str>,
    /// When it wrote this of itself, in seconds since 1970; `null` if it never has.
    pub(crate) written: Option<u64>,
    /// Its removal; `null` if nobody removes it.
    pub(crate) removal: Option<Removal<'a>>,
}

/// The removal of a node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Removal<'a> {
    /// When it was asked for, in seconds since 1970.
    pub(crate) at: u64,
    /// Who has asked: `user@machine`.
    pub(crate) by: &'a str,
    /// For how long it holds back what the node has, in seconds.
    pub(crate) hold: u64,
    /// Whether somebody has said that the node is off.
    pub(crate) off: bool,
    /// Whether the node's blocks are being given back.
    pub(crate) begun: bool,
    /// Whether it is finished.
    pub(crate) done: bool,
}

/// A node of the cluster, with what it has as numbers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedNode<'a> {
    #[serde(flatten)]
    pub(crate) node: Node<'a>,
    /// How many blocks it holds.
    pub(crate) blocks: usize,
    /// How many addresses it uses of other nodes' blocks.
    pub(crate) borrowed: usize,
    /// How many requests of operators it has not answered yet.
    pub(crate) requests: usize,
}

/// A node of the cluster, with what it has as lists.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ShownNode<'a> {
    #[serde(flatten)]
    pub(crate) node: Node<'a>,
    /// The blocks that it holds.
    pub(crate) blocks: Vec<OwnBlock<'a>>,
    /// The addresses that it uses of other nodes' blocks.
    pub(crate) borrowed: Vec<Borrowed<'a>>,
    /// Requests of operators that it has not answered yet, or has refused.
    pub(crate) requests: Vec<Request<'a>>,
}

/// A block that a node holds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OwnBlock<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// Its addresses.
    pub(crate) block: String,
    /// `local` or `sync`.
    pub(crate) mode: &'static str,
    /// The revision that claimed it: every write of its node is compared with it.
    pub(crate) fence: i64,
    /// For how long the node goes on without etcd, in seconds; 0: for ever.
    pub(crate) autonomy: u64,
    /// When it was claimed, in seconds since 1970.
    pub(crate) since: u64,
}

/// An address of another node's block.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Borrowed<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The address.
    pub(crate) address: String,
}

/// A request of an operator.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Request<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The address.
    pub(crate) address: String,
    /// Whether it is to be reserved; else it is to be given out again.
    pub(crate) reserve: bool,
    /// The pool of which the node is to take the block first; `null` if it has it.
    pub(crate) take: Option<&'a str>,
    /// What for; may be empty.
    #[serde(rename = "for")]
    pub(crate) reason: &'a str,
    /// When it was asked, in seconds since 1970.
    pub(crate) since: u64,
    /// Why the node has refused; `null` if it has not.
    pub(crate) refused: Option<&'a str>,
}

/// What became of a node's removal.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemovedNode<'a> {
    /// The node's name.
    pub(crate) node: &'a str,
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// `holding`, `removed` or `was removed`.
    pub(crate) state: &'static str,
    /// For how many seconds it is held back still; `null` unless it is.
    pub(crate) left: Option<u64>,
    /// Until when it is held back, in seconds since 1970; `null` unless it is.
    pub(crate) until: Option<u64>,
    /// For how long it is held back, in seconds.
    pub(crate) hold: u64,
    /// When the removal was asked for, in seconds since 1970.
    pub(crate) at: u64,
    /// Who has asked: `user@machine`.
    pub(crate) by: &'a str,
    /// How many blocks it held when this run began.
    pub(crate) blocks: usize,
    /// How many blocks were returned.
    pub(crate) returned: usize,
    /// How many blocks other nodes use addresses of, and nobody holds now.
    pub(crate) handed_over: usize,
    /// How many addresses were freed.
    pub(crate) freed: usize,
}

/// A node that stays, by `--cancel`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct KeptNode {
    /// Its name.
    pub(crate) node: String,
    /// `kept`.
    pub(crate) state: &'static str,
}

/// The node that this installation is now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Adopted<'a> {
    /// Its name.
    pub(crate) node: &'a str,
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// Its index.
    pub(crate) index: u32,
    /// How many blocks it holds.
    pub(crate) blocks: usize,
    /// The UUID of the node that this installation was before; `null` if it was none.
    pub(crate) left: Option<&'a str>,
}

/// A new node, by `--anew`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Anew<'a> {
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// The node that it was before.
    pub(crate) former: Former<'a>,
    /// Whether the removal of the former node has finished, and its name is free.
    pub(crate) removal_finished: bool,
}

/// A former node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Former<'a> {
    /// Its UUID.
    pub(crate) uuid: &'a str,
    /// Its name.
    pub(crate) node: &'a str,
}
