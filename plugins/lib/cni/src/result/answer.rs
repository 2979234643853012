//! What a plugin answers to ADD, whatever kind of plugin it is.

use serde_json::Value;

use super::{FullResult, IpamResult, pretty};
use crate::error::Error;
use crate::run::key;
use crate::version::SpecVersion;

/// The answer to an ADD.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An IPAM plugin's.
    Ipam(IpamResult),
    /// A main plugin's.
    Full(FullResult),
    /// A delegate's, passed on: as it came where it is of the caller's version, else converted.
    Raw(Value),
}

impl From<IpamResult> for Answer {
    fn from(result: IpamResult) -> Self {
        Self::Ipam(result)
    }
}

impl From<FullResult> for Answer {
    fn from(result: FullResult) -> Self {
        Self::Full(result)
    }
}

impl Answer {
    /// The answer as text in the form of a spec version.
    ///
    /// # Errors
    /// Code 6: a delegate's is of another version and cannot be read.
    pub fn render(&self, spec: SpecVersion) -> Result<String, Error> {
        match self {
            Self::Ipam(result) => Ok(result.render(spec)),
            Self::Full(result) => Ok(result.render(spec)),
            Self::Raw(value) => {
                let version = key(value, "cniVersion").and_then(Value::as_str);
                if version == Some(spec.as_str()) {
                    return Ok(pretty(value));
                }
                FullResult::parse(value).map(|result| result.render(spec))
            }
        }
    }
}
