/*!
What an operator sees of the cluster.

[`Reader`] reads what is in etcd into a [`Snapshot`]. Everything else is a function over one: how full pools
are ([`pools`], [`blocks`], [`nodes`]), what is wrong ([`check`]) and how it is mended ([`mend`]), what an
address is and who would get it ([`explain`]), how a node's own store differs ([`compare`]), and what an import
of another IPAM's addresses writes ([`import`]).
*/

mod change;
mod check;
mod explain;
pub mod import;
#[cfg(test)]
mod model;
mod own;
mod read;
mod snapshot;
#[cfg(test)]
mod tests;
mod usage;

pub use change::{Event, Names, event};
pub use check::{Fault, Gravity, check, confirm, mend};
pub use explain::{Explained, NextOwner, Standing, explain};
pub use own::{Difference, Own, compare, own, rewrite};
pub use read::{Reader, Scope};
pub use snapshot::{Request, Seen, Snapshot, Space, Unreadable, Used};
pub use usage::{BlockView, Counts, Life, NodeView, PoolView, blocks, nodes, pools};
