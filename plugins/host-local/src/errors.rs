//! The one place where errors of the libraries become CNI errors.

use cni::{Code, Error};
use ipam_core::addr::Addr;
use ipam_core::allocator::Refusal;
use ipam_core::config::ConfigError;
use ipam_core::identity::Attachment;
use ipam_core::ipam::{Checked, NotReady};
use ipam_core::store::ReserveError;
use ipam_stores::StoreError;

/// A configuration that is wrong: code 7, with the path of the value, the value and what would be right.
pub fn config_error(error: &ConfigError) -> Error {
    let ConfigError { message, path, found, expected } = error;
    Error::new(Code::InvalidConfig, message.as_str())
        .with_details(format!("{path} is {found}; expected: {expected}"))
}

/// A store that failed.
pub fn store_error(error: &StoreError) -> Error {
    let code = if error.is_transient() {
        Code::TryAgainLater
    } else if error.is_misplaced() {
        Code::InvalidConfig
    } else {
        Code::Io
    };
    Error::new(code, error.to_string()).with_details(error.advice())
}

/// STATUS: a store that failed.
pub fn unavailable_store(error: &StoreError) -> Error {
    let affected = error.affects_existing();
    let code = if affected { Code::LimitedConnectivity } else { Code::NotAvailable };
    Error { code, ..store_error(error) }
}

/// Nobody waits for the answer any more.
pub fn unwanted() -> Error {
    Error::new(Code::TryAgainLater, "the caller ended before an address was reserved")
        .with_details("nothing was reserved")
}

/// An ADD that got nothing.
pub(crate) fn reserve_error(error: &ReserveError<StoreError>) -> Error {
    match error {
        ReserveError::Refused(refusal) => refusal_error(refusal),
        ReserveError::Unwanted => unwanted(),
        ReserveError::Store(error) => store_error(error),
    }
}

/// A request that the allocator refuses.
pub fn refusal_error(refusal: &Refusal) -> Error {
    let code = if refusal.is_transient() { Code::TryAgainLater } else { Code::InvalidConfig };
    Error::new(code, refusal.to_string()).with_details(refusal.advice())
}

/// CHECK: what is not as it was answered. `name` is the plugin's.
///
/// # Errors
/// The difference.
pub fn check_result(name: &str, attachment: &Attachment, checked: &Checked) -> Result<(), Error> {
    let list = |addrs: &[Addr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match checked {
        Checked::Fine => Ok(()),
        Checked::Nothing => Err(Error::new(
            Code::UnknownContainer,
            format!("{name}: Failed to find address added by container {}", attachment.container),
        )
        .with_details(format!("nothing is reserved for interface {}", attachment.ifname))),
        Checked::Differs { missing, unknown } => {
            let mut differences = Vec::new();
            if !missing.is_empty() {
                differences.push(format!("{} not reserved", list(missing)));
            }
            if !unknown.is_empty() {
                differences.push(format!("{} reserved but not in prevResult", list(unknown)));
            }
            Err(Error::new(
                Code::Inconsistent,
                format!("{name}: {attachment}: {}", differences.join(", ")),
            )
            .with_details("what is recorded is not what the runtime believes"))
        }
    }
}

/// STATUS: why an ADD could not be served.
pub(crate) fn not_ready(reason: NotReady) -> Error {
    let (message, details) = match reason {
        NotReady::Exhausted { set, ranges, resting } => (
            format!(
                "no IP addresses available in range set {set}: {ranges}{}",
                resting.map_or_else(String::new, |resting| format!(" ({resting})"))
            ),
            Refusal::Exhausted { set, ranges, resting }.advice(),
        ),
        NotReady::Pinned { pinned, now } => {
            let refusal = Refusal::Pinned { pinned, now };
            (refusal.to_string(), refusal.advice())
        }
    };
    Error::new(Code::NotAvailable, message).with_details(details)
}
