/*!
Where routes go: the kernel, VPP. Each lists what is there, says which way a next hop is reached, and carries
out steps; what to do is decided by [`crate::diff`].
*/

mod kernel_sink;
mod vpp_sink;

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::config::SinkSpec;
use crate::desired::Connected;
use crate::diff::{Present, Way};
use crate::forwarding::{Forwarded, Traffic};

/// A change of a place where routes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A route that is not there.
    Add(IpNet, Way),
    /// A route of ours, by its position in the list, goes another way.
    Replace(usize, IpNet, Way),
    /// A route of ours, by its position in the list, goes.
    Delete(usize, IpNet),
}

impl Change {
    /// The destination.
    #[must_use]
    pub const fn prefix(&self) -> IpNet {
        match self {
            Self::Add(prefix, _) | Self::Replace(_, prefix, _) | Self::Delete(_, prefix) => *prefix,
        }
    }
}

/// A place where routes are.
pub trait Sink {
    /// How people know it: `kernel, table 254`.
    fn name(&self) -> String;

    /// What is there: all of ours, and others' routes for the same destinations. Positions stay valid until
    /// it is asked again.
    ///
    /// # Errors
    /// Why it cannot be known.
    fn list(&mut self) -> Result<Vec<Present>, String>;

    /// Which way packets leave for a next hop.
    ///
    /// # Errors
    /// Why there is none.
    fn way(&self, via: IpAddr) -> Result<Way, String>;

    /// Carries out changes, and tells for each why it failed, if it did. One that fails stops nothing.
    ///
    /// # Errors
    /// Why nothing is known of any of them.
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Option<String>>, String>;

    /// What keeps packets from being sent on; seen to where the configuration says so and `change` is set.
    fn forward(&mut self, _traffic: &Traffic, _change: bool) -> Forwarded {
        Forwarded::default()
    }

    /// Removes what [`Self::forward`] has made, if `change` is set.
    fn forward_cleanup(&mut self, _change: bool) -> Forwarded {
        Forwarded::default()
    }

    /// Looks whether the place is another one than before, such as a VPP that was started anew. Cheap.
    fn has_changed(&mut self) -> bool {
        false
    }
}

/// The sinks of a configuration; locks lie in `run_dir`.
#[must_use]
pub fn open(specs: &[SinkSpec], run_dir: &Path) -> Vec<Box<dyn Sink>> {
    let open = |spec: &SinkSpec| -> Box<dyn Sink> {
        match spec {
            SinkSpec::Kernel(spec) => Box::new(kernel_sink::KernelRoutes::new(spec.clone())),
            SinkSpec::Vpp(spec) => Box::new(vpp_sink::VppRoutes::new(spec.clone(), run_dir)),
        }
    };
    specs.iter().map(open).collect()
}

/// The networks that links of this namespace are in.
///
/// # Errors
/// What the kernel says.
pub fn connected() -> Result<Vec<Connected>, kernel::Error> {
    let mut netlink = kernel::Netlink::open()?;
    kernel_sink::connected(&mut netlink).map(|all| all.into_iter().map(|(net, _)| net).collect())
}
