//! The IPAM plugin of a network.

use cni::{Call, Command, Delegate, Environment, Error, IpamResult};
use serde_json::Value;

use super::Site;

/// An IPAM plugin, found, and what it is called with.
#[derive(Clone, Debug)]
pub(crate) struct Ipam {
    delegate: Delegate,
    environment: Environment,
    config: Value,
}

impl Ipam {
    /// The IPAM plugin of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(name: &str, call: &Call) -> Result<Self, Error> {
        let delegate = Delegate::find(name, &call.environment)?;
        Ok(Self { delegate, environment: call.environment.clone(), config: call.config.clone() })
    }

    /// Asks for addresses. What it answered is returned, too, as it came.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn add(&self, site: &Site) -> Result<(IpamResult, Value), Error> {
        let answer = self.call(Command::Add, &self.config, site)?.unwrap_or_default();
        // Whoever has answered holds addresses, also if nobody can read which ones.
        match IpamResult::parse(&answer) {
            Ok(result) => Ok((result, answer)),
            Err(error) => {
                let _ = self.del(&site.for_undoing());
                Err(error)
            }
        }
    }

    /// Frees what the attachment holds.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn del(&self, site: &Site) -> Result<(), Error> {
        self.call(Command::Del, &self.config, site).map(|_| ())
    }

    /// Compares.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn check(&self, site: &Site) -> Result<(), Error> {
        self.call(Command::Check, &self.config, site).map(|_| ())
    }

    /// Whether the attachment holds what was answered before: an IPAM plugin that refuses a second ADD says so
    /// to CHECK.
    pub(crate) fn holds(&self, answer: &Value, site: &Site) -> bool {
        let mut config = self.config.clone();
        if let Some(config) = config.as_object_mut() {
            config.insert("prevResult".to_owned(), answer.clone());
        }
        self.call(Command::Check, &config, site).is_ok()
    }

    /// Frees what the runtime does not know.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn gc(&self, site: &Site) -> Result<(), Error> {
        self.call(Command::Gc, &self.config, site).map(|_| ())
    }

    /// Whether it could serve an ADD.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn status(&self, site: &Site) -> Result<(), Error> {
        self.call(Command::Status, &self.config, site).map(|_| ())
    }

    fn call(&self, command: Command, config: &Value, site: &Site) -> Result<Option<Value>, Error> {
        self.delegate.call(command, &self.environment, config, Some(site.left()))
    }
}
