//! The one place where errors of the libraries become CNI errors.

use cni::{Code, Error};
use ipam_core::allocator::Refusal;
use ipam_core::config::ConfigError;
use ipam_core::ipam::NotReady;
use ipam_core::store::ReserveError;
use ipam_stores::StoreError;

/// A configuration that is wrong: code 7, with the path of the value, the value and what would be right.
pub fn config_error(error: &ConfigError) -> Error {
    let ConfigError { message, path, found, expected } = error;
    Error::new(Code::InvalidConfig, message.as_str())
        .with_details(format!("{path} is {found}; expected: {expected}"))
}

/// A store that failed.
pub(crate) fn store_error(error: &StoreError) -> Error {
    let code = if error.is_transient() {
        Code::TryAgainLater
    } else if error.is_misplaced() {
        Code::InvalidConfig
    } else {
        Code::Io
    };
    Error::new(code, error.to_string()).with_details(error.advice())
}

/// An ADD that got nothing.
pub(crate) fn reserve_error(error: &ReserveError<StoreError>) -> Error {
    match error {
        ReserveError::Refused(refusal) => refusal_error(refusal),
        ReserveError::Unwanted => {
            Error::new(Code::TryAgainLater, "the caller ended before an address was reserved")
                .with_details("nothing was reserved")
        }
        ReserveError::Store(error) => store_error(error),
    }
}

fn refusal_error(refusal: &Refusal) -> Error {
    let code = if refusal.is_transient() { Code::TryAgainLater } else { Code::InvalidConfig };
    Error::new(code, refusal.to_string()).with_details(refusal.advice())
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
