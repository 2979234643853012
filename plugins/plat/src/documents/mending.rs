//! `plat check --cluster` and `plat import --to-pool`.

use serde::Serialize;

/// What is wrong in etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterCheck<'a> {
    /// The revision of etcd that was read.
    pub(crate) revision: i64,
    /// Whether everything is of that one revision.
    pub(crate) consistent: bool,
    /// How many keys were read.
    pub(crate) keys: usize,
    /// What is wrong, the worst first.
    pub(crate) faults: Vec<ClusterFault<'a>>,
    /// How many more there are with `--verbose`.
    pub(crate) hidden: usize,
    /// How this node's own store differs.
    pub(crate) own: Vec<OwnDifference<'a>>,
}

/// Something that is wrong in etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterFault<'a> {
    /// `hint`, `warning` or `broken`.
    pub(crate) severity: &'static str,
    /// What it is called, one word.
    pub(crate) kind: &'a str,
    /// The address space; `null` if it is about none.
    pub(crate) space: Option<&'a str>,
    /// The address, of a block its first one; `null` if it is about none.
    pub(crate) address: Option<String>,
    /// The key in etcd.
    pub(crate) key: String,
    /// A sentence.
    pub(crate) what: &'a str,
    /// What to do.
    pub(crate) advice: &'a str,
    /// Whether `--fix` can mend it.
    pub(crate) mendable: bool,
    /// `fixed`, `changed` (something else is there now, nothing was done), `failed`; `null` if nothing was tried.
    pub(crate) outcome: Option<&'static str>,
    /// Why it failed; `null` if it did not.
    pub(crate) error: Option<&'a str>,
}

/// A difference between this node's store and etcd.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OwnDifference<'a> {
    /// `block-lost`, `block-unknown`, `record-missing`, `record-differs`, `record-foreign`, `record-left`.
    pub(crate) kind: &'static str,
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// The address, of a block its first one.
    pub(crate) address: String,
    /// A sentence.
    pub(crate) what: &'a str,
    /// Whether `--fix` can mend it.
    pub(crate) mendable: bool,
}

/// What was taken over into a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClusterImport<'a> {
    /// The address space.
    pub(crate) space: &'a str,
    /// The pool.
    pub(crate) pool: &'a str,
    /// Whether nothing was to be changed.
    pub(crate) dry_run: bool,
    /// What was to be done.
    pub(crate) planned: ImportPlan,
    /// What was done.
    pub(crate) written: ImportDone,
    /// How many are left because others changed the same: run it again.
    pub(crate) left: usize,
    /// What is in the way.
    pub(crate) problems: Vec<ImportProblem<'a>>,
}

/// What was to be done, in numbers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImportPlan {
    /// Addresses in use that were to be written.
    pub(crate) used: usize,
    /// Reservations that were to be written.
    pub(crate) reserved: usize,
    /// Blocks that were to be claimed.
    pub(crate) blocks: usize,
    /// Addresses that were there already.
    pub(crate) present: usize,
    /// Reservations that were to end.
    pub(crate) ended: usize,
}

/// What was done, in numbers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImportDone {
    /// Addresses that were written.
    pub(crate) addresses: usize,
    /// Blocks that were claimed.
    pub(crate) blocks: usize,
    /// Reservations that were ended.
    pub(crate) ended: usize,
}

/// An address that is in the way, or worth a look.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImportProblem<'a> {
    /// The address.
    pub(crate) address: String,
    /// Whether it was not taken over.
    pub(crate) refused: bool,
    /// A sentence.
    pub(crate) what: &'a str,
}
