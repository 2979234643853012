/*!
What `--json` prints: a type for each document. Its doc comments are the descriptions in its schema.

Programs read these documents: within a major version a field is never renamed or removed, nor given another type or
meaning; new ones may be added. `published` says which command prints which.
*/

pub(crate) mod addresses;
pub(crate) mod cluster;
pub(crate) mod mending;
pub(crate) mod node;
pub(crate) mod pool;
mod published;
pub(crate) mod status;
pub(crate) mod vpp;

pub(crate) use published::{DOCUMENTS, Published, markdown, named};
