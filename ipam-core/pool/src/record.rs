/*!
The values in etcd: small JSON documents.

Keys are short because there may be half a million of them. What a later version adds is kept when a value is
written again (`rest`). Times are seconds since 1970, durations seconds.
*/

use ipam_core::addr::Addr;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::txn::Kv;

/// The schema that is written here.
pub const SCHEMA: u32 = 1;

/// Further fields, of a later version.
pub type Rest = Map<String, Value>;

/// `meta`: what wrote all this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The schema of what is there.
    pub schema: u32,
    /// The oldest schema that may read it.
    pub min_reader: u32,
    /// The oldest schema that may write it.
    pub min_writer: u32,
    /// A name for the data, made at random once.
    pub cluster: String,
    /// Counts how often the data was restored from a snapshot.
    #[serde(default)]
    pub epoch: u64,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A mode of a pool.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Addresses come from the node's own store; etcd learns of them afterwards.
    #[default]
    Local,
    /// etcd has the record before an ADD answers.
    Sync,
}

impl Mode {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Sync => "sync",
        }
    }
}

/// `b/…`: a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// The index of the node that holds it; none: it is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// The UUID of the node that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u: Option<String>,
    /// The prefix length.
    pub len: u8,
    /// The pool.
    pub p: String,
    /// How it is used.
    #[serde(default)]
    pub m: Mode,
    /// For how long its node may go on without etcd; 0: for ever.
    #[serde(default)]
    pub aut: u64,
    /// When it was claimed.
    #[serde(default)]
    pub t: u64,
    /// Names the claim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub x: String,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The name of the writes of an import.
pub const IMPORTED: &str = "imp";

/// What an address is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressState {
    /// An attachment has it.
    #[default]
    Used,
    /// It is kept for a pod's interface that is away.
    Park,
    /// An operator has reserved it.
    Resv,
}

/// `a/…`: an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The index of the node that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// The UUID of the node that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u: Option<String>,
    /// The boot of that node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub b: String,
    /// The container ID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub c: String,
    /// The interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub i: String,
    /// The CNI network.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub w: String,
    /// The pod, `namespace/name`; of a reservation, what it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub p: String,
    /// When it was written.
    #[serde(default)]
    pub t: u64,
    /// Names the write: made at random for each allocation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub x: String,
    /// What it is used for.
    #[serde(default)]
    pub st: AddressState,
    /// When a parked address may be taken by others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exp: u64,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

const fn is_no(value: &bool) -> bool {
    !*value
}

/// `x/…`: an address is used outside the node that holds its block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRecord {
    /// The index of the node that uses it.
    pub n: u32,
    /// The UUID of the node that uses it.
    #[serde(default)]
    pub u: String,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `k/…`: the addresses that a pod's interface had last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickyRecord {
    /// `namespace/name/interface`.
    pub key: String,
    /// The addresses.
    pub ips: Vec<String>,
    /// Until when they are kept.
    pub exp: u64,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `n/…`: a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its host name.
    pub name: String,
    /// Its index.
    pub idx: u32,
    /// The boot that writes for it.
    #[serde(default)]
    pub boot: String,
    /// Its IPv4 address for other nodes: the next hop to its blocks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub a4: String,
    /// Its IPv6 address for other nodes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub a6: String,
    /// The networks of its pods that are in no pool, for the routes of other nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
    /// The version of Plat that wrote this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub v: String,
    /// When this was written.
    #[serde(default)]
    pub t: u64,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `t/…`: a node was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The node's name, for people.
    #[serde(default)]
    pub name: String,
    /// When, by the remover's clock.
    pub at: u64,
    /// Who.
    pub by: String,
    /// For how long nothing of the node is given to others.
    pub hold: u64,
    /// The remover's boot, and how long it was up then, in seconds: durations need no wall clock.
    #[serde(default)]
    pub boot: String,
    /// See `boot`.
    #[serde(default)]
    pub up: u64,
    /// Whether the remover vouches that the node is switched off: it cannot give out anything.
    #[serde(default, skip_serializing_if = "is_no")]
    pub off: bool,
    /// Whether it has begun to give back what the node held: there is no way back.
    #[serde(default, skip_serializing_if = "is_no")]
    pub begun: bool,
    /// Whether its blocks were given back.
    #[serde(default)]
    pub done: bool,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `q/…`: a request to the node that holds a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Whether the address is to be reserved; else a reservation is to be ended.
    pub reserve: bool,
    /// What for.
    #[serde(default)]
    pub why: String,
    /// When it was asked.
    #[serde(default)]
    pub t: u64,
    /// The pool of a block that begins at the address and has become the node's by an import: the node is to take it
    /// over with what is in it. Empty: it is about a reservation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub take: String,
    /// Why the node could not do it; empty while it has not answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record {key} cannot be read: {why}")]
pub struct BadRecord {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads the value of a key.
///
/// # Errors
/// If it is no such document.
pub fn read<T: DeserializeOwned>(kv: &Kv) -> Result<T, BadRecord> {
    serde_json::from_slice(&kv.value).map_err(|error| BadRecord {
        key: String::from_utf8_lossy(&kv.key).into_owned(),
        why: error.to_string(),
    })
}

/// Writes a value.
pub fn write<T: Serialize>(record: &T) -> Vec<u8> {
    // These types are made of texts, numbers and lists: nothing that JSON cannot hold.
    serde_json::to_vec(record).unwrap_or_default()
}

/// Addresses as text in a document.
pub mod as_text {
    use super::Addr;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    /// Writes an address.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(addr: &Addr, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(addr)
    }

    /// Reads an address.
    ///
    /// # Errors
    /// If it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Addr, D::Error> {
        let text = String::deserialize(from)?;
        Addr::parse(&text).ok_or_else(|| de::Error::custom(format!("{text}: no address")))
    }
}
