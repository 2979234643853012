/*!
What the tests share: where the built binaries are, how a plugin is called, scratch places, and how a
test says that it is skipped.

Plugins are called as a runtime calls them: a process of their own, with a whole environment and a
configuration on standard input. State goes to a scratch place that a test owns
(`PLAT_STATE_DIR`, `PLAT_RUN_DIR`), so that a test leaves nothing behind.
*/

mod answer;
mod call;
mod case;
pub mod cluster_node;
mod container_image;
mod documents;
pub mod etcd;
mod history;
mod holdings;
mod in_etcd;
mod killing;
mod main_plugin;
mod mount_namespace;
mod network_dir;
mod node;
mod pattern;
mod pod_namespace;
mod pool_node;
mod process;
mod program;
mod random;
pub mod schema;
mod scratch;
mod site;
mod skip;
mod small_disk;
mod snapshot;
mod timing;
pub mod traffic;
pub mod vpp;
mod vpp_node;
mod vpp_pair;
mod vpp_process;
mod wait;
mod workbench;

pub use answer::Answer;
pub use call::{Call, Outcome, binary, reference, repository};
pub use case::{Case, Failure, Runner};
pub use cluster_node::ClusterNode;
pub use container_image::{make_image, make_root};
pub use documents::documented;
pub use history::{History, Holding};
pub use holdings::Holdings;
pub use in_etcd::InEtcd;
pub use killing::Killer;
pub use main_plugin::{Handed, MainPlugin};
pub use mount_namespace::MountNamespace;
pub use network_dir::{NetworkDir, above, filler, reservation};
pub use node::{Node, finish};
pub use pod_namespace::PodNamespace;
pub use pool_node::PoolNode;
pub use process::{
    Orphan, Owned, Stopped, Stopper, child_of, children_of, has_open, is_over, parent_of,
};
pub use program::{install_copy, install_script, install_unprivileged, program};
pub use random::Random;
pub use scratch::Scratch;
pub use site::{Plugin, Site, Store};
pub use skip::{have, is_root, skip_unless};
pub use small_disk::{Shortage, SmallDisk};
pub use snapshot::Snapshot;
pub use timing::{Timed, TimedCall, time_of_children};
pub use vpp_node::{VppNode, VppPod};
pub use vpp_pair::{PairPod, VppPair, VppPairNode};
pub use vpp_process::{VppProcess, VppProgram};
pub use wait::wait_until;
pub use workbench::Workbench;
