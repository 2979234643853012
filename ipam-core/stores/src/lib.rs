/*!
Where Plat remembers allocations.

[`DirStore`] keeps the reference host-local's directory: one file per address, one mark per range set,
one lock. [`SqliteStore`] keeps all networks of a node in a database, and [`PoolLedger`] in the same one what
the node has out of cluster-wide pools. [`Places`] remembers which directories a network has used, so that a DEL
finds them when its configuration is lost. [`lock`] is the one place where a lock is taken, and [`survey`] is what
all of a node's stores hold, for people.

```
use std::time::Duration;

use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
use ipam_core::store::Store as _;
use ipam_stores::{DirStore, Location, StateDirs};

let scratch = std::env::temp_dir().join(format!("ipam-stores-{}", std::process::id()));
let location = Location {
    data_dir: scratch.join("networks"),
    network: Network::new("pods").expect("a name"),
    shared: None,
    lock_timeout: Duration::from_secs(30),
};
let state = StateDirs { durable: scratch.join("state"), volatile: scratch.join("run") };
let mut store = DirStore::new(location, state);
let attachment = Attachment {
    container: ContainerId::new("c1").expect("a container ID"),
    ifname: IfName::new("eth0").expect("a name"),
};
// Nothing is made by a question.
assert_eq!(store.find(&attachment).expect("no directory is no error"), []);
assert!(!scratch.exists());
```
*/

mod any;
mod boot;
mod dir;
mod error;
mod files;
pub mod lock;
mod places;
mod private;
mod sqlite;
pub mod survey;

pub use any::AnyStore;
pub use boot::{Boot, Moment};
pub use dir::{DirStore, Location};
pub use error::StoreError;
pub use files::{open_regular, read_regular, state_file};
pub use places::{Places, Remembered};
pub use private::check_private;
pub use sqlite::{
    Calls, Clock, Command, Database, Outcome, PoolLedger, PoolTx, SqliteLocation, SqliteStore,
};

use std::os::fd::AsFd;
use std::path::PathBuf;

/// The magic numbers in statfs(2) of file systems that die with the boot: tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// The magic numbers in statfs(2) of file systems that other machines may change behind this kernel's back.
/// What FUSE serves cannot be told; much of it is remote.
const ON_NETWORK: [(i64, &str); 12] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x00c3_6400, "Ceph"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// The network file system that an open file lies on, if it is one.
fn network_fs(file: impl AsFd) -> Option<&'static str> {
    let kind = rustix::fs::fstatfs(file).ok()?.f_type;
    ON_NETWORK.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

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
