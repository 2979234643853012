/*!
Where Plat remembers allocations.

[`DirStore`] keeps the reference host-local's directory: one file per address, one mark per range set,
one lock. [`Places`] remembers which directories a network has used, so that a DEL finds them when its
configuration is lost. [`lock`] is the one place where a lock is taken.
*/

mod dir;
mod error;
pub mod lock;
mod places;

pub use dir::{DirStore, Location};
pub use error::StoreError;
pub use places::Places;

use std::path::PathBuf;

/// The magic numbers in statfs(2) of file systems that die with the boot: tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// The reference's default `dataDir`.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// Where Plat keeps state of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirs {
    /// What must survive a reboot; by default `/var/lib/plat`.
    pub durable: PathBuf,
    /// What is worth nothing after a reboot; by default `/run/plat`.
    pub volatile: PathBuf,
}

impl Default for StateDirs {
    fn default() -> Self {
        Self { durable: PathBuf::from("/var/lib/plat"), volatile: PathBuf::from("/run/plat") }
    }
}
