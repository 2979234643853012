/*!
The operations.

What only changes the node's ledger is a function ([`release`], [`undo`], [`retain`], [`status`]); what
needs etcd is an [`Operation`](crate::op::Operation): [`Join`] before anything is given out in a boot,
[`Ensure`] for a pool that a configuration brings along, [`Add`], [`Flush`] for the outbox, [`Upkeep`]
for blocks, and [`Reassert`] after etcd has lost data.
*/

mod add;
mod claim;
mod ensure;
mod flush;
mod join;
mod local;
mod reassert;
mod trouble;
mod upkeep;
mod write;

pub use add::{Add, AddRequest, Added};
pub use claim::{spread, start};
pub use ensure::Ensure;
pub use flush::{Flush, Flushed};
pub use join::{Facts, Join};
pub use local::{NotReady, release, retain, status, undo};
pub use reassert::{Reassert, Reasserted};
pub use trouble::Trouble;
pub(crate) use trouble::one_of;
pub use upkeep::{Kept, Upkeep};

use crate::key::Keys;

/// What every operation of a process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where everything lies in etcd.
    pub keys: Keys,
    /// The kernel's boot ID, made unlike others by what is needed to tell restarts of a node in a container.
    pub boot: String,
}
