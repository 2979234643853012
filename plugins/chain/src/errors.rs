//! The one place where troubles become CNI errors.

use cni::{Code, Error};
use ipam_stores::StoreError;

pub(crate) use host_local::config_error;

/// A record of an attachment that cannot be kept.
pub(crate) fn record_error(error: &StoreError) -> Error {
    host_local::errors::store_error(error)
}

/// Several errors as one: the code of the first, and everything that was said.
pub(crate) fn all(errors: Vec<Error>) -> Result<(), Error> {
    let mut errors = errors.into_iter();
    let Some(mut first) = errors.next() else { return Ok(()) };
    for error in errors {
        first.message = format!("{}; {}", first.message, error.message);
        if !error.details.is_empty() && !first.details.contains(&error.details) {
            let separator = if first.details.is_empty() { "" } else { "; " };
            first.details = format!("{}{separator}{}", first.details, error.details);
        }
    }
    Err(first)
}

/// STATUS: several errors as one, 51 if existing attachments are affected.
pub(crate) fn unavailable(errors: Vec<Error>) -> Result<(), Error> {
    let limited = errors.iter().any(|error| error.code == Code::LimitedConnectivity);
    let code = if limited { Code::LimitedConnectivity } else { Code::NotAvailable };
    all(errors).map_err(|error| Error { code, ..error })
}

/// Whether a plugin does not know the command that it was given: one of before the command was specified.
pub(crate) fn is_unknown_command(error: &Error) -> bool {
    error.code == Code::InvalidEnvironment && error.message.contains("unknown CNI_COMMAND")
}

/// Whether another IPAM may do what this one could not: it is full, or not available now.
pub(crate) const fn is_passing(error: &Error) -> bool {
    matches!(error.code, Code::TryAgainLater | Code::NotAvailable)
}

/// A wrong value of the configuration.
pub(crate) fn wrong(message: impl Into<String>, advice: impl Into<String>) -> Error {
    Error::new(Code::InvalidConfig, message).with_details(advice)
}

/// Nobody waits any more.
pub(crate) fn unwanted() -> Error {
    Error::new(Code::TryAgainLater, "the caller ended before everything was there")
        .with_details("what was there was undone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_said_is_lost() {
        assert_eq!(all(Vec::new()), Ok(()));
        let error =
            |code, message: &str, details: &str| Error::new(code, message).with_details(details);
        let joined = all(vec![
            error(Code::Io, "a", ""),
            error(Code::TryAgainLater, "b", "later"),
            error(Code::Io, "c", "later"),
        ]);
        assert_eq!(joined, Err(error(Code::Io, "a; b; c", "later")));
        let status =
            unavailable(vec![error(Code::Io, "a", ""), error(Code::LimitedConnectivity, "b", "")]);
        assert_eq!(status.unwrap_err().code.number(), 51);
        assert_eq!(unavailable(vec![error(Code::Io, "a", "")]).unwrap_err().code.number(), 50);
    }
}
