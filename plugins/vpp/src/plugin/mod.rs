/*!
The CNI operations.

ADD asks the IPAM plugin, makes sure of the node's part of VPP, records the attachment, makes the interface and
configures both ends. What it has made it takes back if anything fails. DEL needs the names of network, container and
interface, nothing else; it succeeds with VPP away, whose part is then removed when VPP is met again. GC removes what
the runtime does not know, of its own network only. CHECK compares prevResult, the pod, VPP and what is recorded.
*/

mod add;
mod admin;
mod attachments;
mod check;
mod del;
mod delegate;
mod gc;
mod site;
mod status;
mod undo;

use cni::{About, Added, Call, Error, Plugin};

pub(crate) use attachments::{clean_pending, connect, dump, is_at, namespace_of};
pub(crate) use delegate::Ipam;
pub(crate) use site::Site;

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vpp;

impl Plugin for Vpp {
    fn about(&self) -> About {
        About { name: "vpp", version: env!("CARGO_PKG_VERSION") }
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        add::add(call)
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        del::del(call)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        check::check(call)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        gc::gc(call)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        status::status(call)
    }
}
