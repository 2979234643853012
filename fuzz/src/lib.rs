/*!
What must hold whatever the input: one function for each fuzz target, which panics where it does not.

The targets in `fuzz_targets` search for inputs with libFuzzer; the suite replays the corpora through
the same functions with a stable compiler.
*/

#![forbid(unsafe_code)]

mod cni_args;
mod config;
mod host_name;
mod json;
mod policy;
mod pool;
mod ranges;
mod reservation;
mod template;
mod vpp_api;

pub use cni_args::cni_args;
pub use config::config;
pub use host_name::host_name;
pub use policy::policy;
pub use pool::pool;
pub use reservation::reservation;
pub use template::template;
pub use vpp_api::vpp_api;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// What must hold for each input; panics where it does not.
    pub check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "config", check: config },
    Target { name: "cni_args", check: cni_args },
    Target { name: "reservation", check: reservation },
    Target { name: "template", check: template },
    Target { name: "host_name", check: host_name },
    Target { name: "vpp_api", check: vpp_api },
    Target { name: "pool", check: pool },
    Target { name: "policy", check: policy },
];
