/*!
What `plat vpp` works with: a node's network devices and what VPP needs of it, as values, and what follows
from them.

`host` reads files below a root directory; everything else takes values and returns values.
*/

pub(crate) mod host;
pub(crate) mod names;
pub(crate) mod nic;
pub(crate) mod pci;
pub(crate) mod preflight;
pub(crate) mod routes;
pub(crate) mod running;
pub(crate) mod snapshot;
pub(crate) mod startup;
pub(crate) mod trace;
pub(crate) mod view;
