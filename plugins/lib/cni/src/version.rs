//! Versions of the CNI specification.

use crate::error::{Code, Error};

/// Every version that the plugins speak.
pub const SUPPORTED: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A supported version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the versions")]
pub enum SpecVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl SpecVersion {
    /// The version of a configuration; nothing means 0.1.0.
    ///
    /// # Errors
    /// Code 1 for any other text than a supported version.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "" | "0.1.0" => Self::V0_1_0,
            "0.2.0" => Self::V0_2_0,
            "0.3.0" => Self::V0_3_0,
            "0.3.1" => Self::V0_3_1,
            "0.4.0" => Self::V0_4_0,
            "1.0.0" => Self::V1_0_0,
            "1.1.0" => Self::V1_1_0,
            _ => {
                let supported: Vec<String> = SUPPORTED.iter().map(|v| format!("{v:?}")).collect();
                return Err(Error::new(Code::IncompatibleVersion, "incompatible CNI versions")
                    .with_details(format!(
                        "config is {text:?}, plugin supports [{}]",
                        supported.join(" ")
                    )));
            }
        })
    }

    /// The version as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

/// Whether a configuration of version `text` may send a command that came with version `since`.
///
/// # Errors
/// Code 6 if the text is no version, 1 if it is too old or newer than every supported one.
pub(crate) fn allows(text: &str, since: SpecVersion, command: &str) -> Result<(), Error> {
    let config = numbers(if text.is_empty() { "0.1.0" } else { text })?;
    let refuse = |who: &str| {
        Err(Error::new(
            Code::IncompatibleVersion,
            format!("{who} version does not allow {command}"),
        ))
    };
    if config < numbers(since.as_str())? {
        return refuse("config");
    }
    if config > numbers(SpecVersion::V1_1_0.as_str())? {
        return refuse("plugin");
    }
    Ok(())
}

/// A version as numbers. Missing ones are 0.
fn numbers(text: &str) -> Result<[u64; 3], Error> {
    let mut numbers = [0; 3];
    let mut parts = text.split('.');
    for (number, name) in numbers.iter_mut().zip(["major", "minor", "micro"]) {
        let Some(part) = parts.next() else { break };
        *number = part.parse().map_err(|_| {
            Error::new(
                Code::Decode,
                format!(
                    "failed to convert {name} version part {part:?}: strconv.Atoi: parsing {part:?}: \
                     invalid syntax"
                ),
            )
            .with_details("cniVersion is three numbers with dots, such as 1.1.0")
        })?;
    }
    if parts.next().is_some() {
        return Err(Error::new(Code::Decode, format!("invalid version {text:?}: too many parts")));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_versions_are_supported() {
        for text in SUPPORTED {
            assert_eq!(SpecVersion::parse(text).unwrap().as_str(), *text);
        }
        assert_eq!(SpecVersion::parse("").unwrap(), SpecVersion::V0_1_0);
        for text in ["1.0", "v1.0.0", "2.0.0", "1.1.0 "] {
            assert_eq!(SpecVersion::parse(text).unwrap_err().code, Code::IncompatibleVersion);
        }
    }

    #[test]
    fn commands_came_with_versions() {
        let allowed = |text: &str, since| allows(text, since, "CHECK").map_err(|e| e.message);
        assert_eq!(allowed("0.4.0", SpecVersion::V0_4_0), Ok(()));
        assert_eq!(allowed("0.5.0", SpecVersion::V0_4_0), Ok(()));
        for (text, message) in [
            ("0.3.1", "config version does not allow CHECK"),
            ("", "config version does not allow CHECK"),
            ("1.2.0", "plugin version does not allow CHECK"),
            (
                "abc",
                "failed to convert major version part \"abc\": strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
        ] {
            assert_eq!(allowed(text, SpecVersion::V0_4_0), Err(message.to_owned()));
        }
        assert!(allowed("1.0.0.0", SpecVersion::V0_4_0).is_err());
    }
}
