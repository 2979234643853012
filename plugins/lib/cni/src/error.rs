//! Errors as a runtime sees them.

use std::fmt;

/// The error codes of the specification, and the ones of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// 1: the configuration's CNI version is not supported.
    IncompatibleVersion,
    /// 3: the container is unknown; there is nothing to clean up.
    UnknownContainer,
    /// 4: CNI_* variables are missing or invalid.
    InvalidEnvironment,
    /// 5: reading or writing failed.
    Io,
    /// 6: what was sent cannot be decoded.
    Decode,
    /// 7: the configuration or CNI_ARGS are wrong.
    InvalidConfig,
    /// 8: the network namespace is wrong (the reference's; not in the specification).
    InvalidNamespace,
    /// 11: trying again later may help.
    TryAgainLater,
    /// 50: STATUS: an ADD could not be served now.
    NotAvailable,
    /// 51: STATUS: the same, and existing attachments are affected.
    LimitedConnectivity,
    /// 100: CHECK: what is recorded is not what the runtime believes.
    Inconsistent,
    /// 999: a defect of the plugin.
    Internal,
    /// Any other number: that of another plugin.
    Other(u32),
}

impl Code {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::InvalidNamespace => 8,
            Self::TryAgainLater => 11,
            Self::NotAvailable => 50,
            Self::LimitedConnectivity => 51,
            Self::Inconsistent => 100,
            Self::Internal => 999,
            Self::Other(number) => number,
        }
    }

    /// The code of a number: what another plugin answered.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::IncompatibleVersion,
            3 => Self::UnknownContainer,
            4 => Self::InvalidEnvironment,
            5 => Self::Io,
            6 => Self::Decode,
            7 => Self::InvalidConfig,
            8 => Self::InvalidNamespace,
            11 => Self::TryAgainLater,
            50 => Self::NotAvailable,
            51 => Self::LimitedConnectivity,
            100 => Self::Inconsistent,
            999 => Self::Internal,
            _ => Self::Other(number),
        }
    }
}

/// What a plugin answers when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// One sentence that names what and where.
    pub message: String,
    /// What to do about it, or further facts; may be empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// With details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }
}

/// The longest message and the longest details that are sent. They end up in events and logs.
const LONGEST: usize = 4096;
/// The longest piece of a wrong value that is repeated.
const SHOWN: usize = 100;

/// A wrong value, cut to a length that fits an error.
pub(crate) fn cut(text: &str) -> String {
    shorten(text, SHOWN)
}

fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A text as it may be shown to people: what a tenant writes into a configuration must not be able to end
/// the line, or to move the cursor, of whoever reads a log.
pub(crate) fn printable(text: &str) -> String {
    let text = shorten(text, LONGEST);
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
        printable
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.details.is_empty() {
            write!(f, " ({})", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_code_and_back() {
        for number in 0..1100 {
            assert_eq!(Code::from_number(number).number(), number);
        }
        assert_eq!(Code::from_number(11), Code::TryAgainLater);
    }

    #[test]
    fn texts_stay_on_their_line() {
        assert_eq!(printable("invalid IP address: ä"), "invalid IP address: ä");
        assert_eq!(
            printable("a\nhost-local: fine\u{1b}[2J\0"),
            "a\\nhost-local: fine\\u{1b}[2J\\u{0}"
        );
        assert_eq!(printable(&"x".repeat(5000)).len(), LONGEST + 3);
        assert_eq!(cut(&"ä".repeat(300)).chars().count(), SHOWN + 3);
    }
}
