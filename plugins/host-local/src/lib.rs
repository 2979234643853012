/*!
host-local: addresses from ranges that the configuration names, remembered in a directory of this node.

A drop-in for the reference plugin of the same name (1.9.1): same configuration, files, lock and answers.

The plugins of this family differ in one thing only: where their ranges come from. [`Ipam`] is what they
share, the CNI operations over a configuration and a store; a [`Source`] makes the configuration.
*/

pub mod admin;
pub mod call;
pub mod errors;
mod ipam;
mod paths;
pub mod resolv_conf;

pub use errors::config_error;
pub use ipam::Ipam;

use cni::{About, Call, Dns, Error};
use ipam_core::allocator::Repeat;
use ipam_core::config::{Config, StoreKind};

/// What a source makes of a call.
#[derive(Debug)]
pub struct Prepared {
    /// The validated configuration.
    pub config: Config,
    /// The node index that its ranges were made with.
    pub pin: Option<u32>,
    /// DNS settings that go with the ranges; those of `resolvConf` come before them.
    pub dns: Option<Dns>,
}

/// What a configuration is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To reserve addresses.
    Add,
    /// To tell whether an ADD could be served.
    Status,
}

/// Where an IPAM plugin's ranges come from.
pub trait Source {
    /// Who the plugin is.
    fn about(&self) -> About;

    /// What a second ADD of an attachment means.
    fn repeat(&self) -> Repeat;

    /// What remembers allocations, unless `store` says otherwise.
    fn store(&self) -> StoreKind;

    /// The configuration for an ADD or a STATUS.
    ///
    /// # Errors
    /// What is wrong with it.
    fn prepare(&self, call: &Call, purpose: Purpose) -> Result<Prepared, Error>;

    /// The same for a CHECK; `None` if the ranges cannot be known and need not be.
    ///
    /// # Errors
    /// What is wrong with it.
    fn prepare_check(&self, call: &Call) -> Result<Option<Prepared>, Error>;
}

/// The source of host-local: ranges as they are written.
#[derive(Clone, Copy, Debug)]
pub struct HostLocal;

impl Source for HostLocal {
    fn about(&self) -> About {
        About { name: "host-local", version: env!("CARGO_PKG_VERSION") }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Refuse
    }

    fn store(&self) -> StoreKind {
        StoreKind::Dir
    }

    fn prepare(&self, call: &Call, _: Purpose) -> Result<Prepared, Error> {
        let config = Config::parse(&call.config, call.args(), &[]).map_err(|e| config_error(&e))?;
        Ok(Prepared { config, pin: None, dns: None })
    }

    fn prepare_check(&self, call: &Call) -> Result<Option<Prepared>, Error> {
        self.prepare(call, Purpose::Add).map(Some)
    }
}
