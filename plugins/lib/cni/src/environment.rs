//! The CNI_* variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::error::{Code, Error, cut};

/// What a runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Compare with what was answered.
    Check,
    /// Free what is no longer valid.
    Gc,
    /// Tell whether an ADD could be served.
    Status,
    /// Tell the supported versions.
    Version,
}

impl Command {
    /// The word in CNI_COMMAND.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }

    /// Whether the command needs a variable. CNI_PATH is optional by the specification but for GC; an IPAM
    /// plugin that starts nothing needs it for nothing, and the reference asks for it at ADD, DEL and CHECK.
    fn needs(self, variable: &str) -> bool {
        match variable {
            "CNI_CONTAINERID" | "CNI_IFNAME" => {
                matches!(self, Self::Add | Self::Del | Self::Check)
            }
            "CNI_NETNS" => matches!(self, Self::Add | Self::Check),
            "CNI_PATH" => matches!(self, Self::Add | Self::Check | Self::Del | Self::Gc),
            _ => false,
        }
    }
}

/// The environment of a call, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The first CNI_* variable whose value is no UTF-8.
    unreadable: Option<String>,
}

impl Environment {
    /// From pairs of name and value.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self { variables: BTreeMap::new(), unreadable: None };
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) if name.starts_with("CNI_") => {
                    environment.unreadable.get_or_insert(name);
                }
                Err(_) => {}
            }
        }
        environment
    }

    /// The same with another value of a variable: what a delegate is to see.
    #[must_use]
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.insert(variable.to_owned(), value.into());
        self
    }

    /// The CNI_* variables.
    pub(crate) fn cni_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| name.starts_with("CNI_"))
    }

    /// The value of a variable; empty where it is not set.
    pub fn value(&self, variable: &str) -> &str {
        self.variables.get(variable).map_or("", String::as_str)
    }

    /// Checks the variables for the command that they name; `None` if they name no command at all.
    ///
    /// # Errors
    /// Code 4: the first invalid value, else all missing variables together. A command that is unknown
    /// is no error here: that comes after the configuration was read.
    pub(crate) fn command(&self) -> Result<Option<Result<Command, String>>, Error> {
        if let Some(variable) = &self.unreadable {
            // What CNI_ARGS hold is the configuration of a call.
            let args = variable == "CNI_ARGS";
            let code = if args { Code::InvalidConfig } else { Code::InvalidEnvironment };
            return Err(Error::new(code, format!("{variable} is no UTF-8")));
        }
        let name = self.value("CNI_COMMAND");
        if name.is_empty() {
            return Ok(None);
        }
        let Some(command) = Command::parse(name) else { return Ok(Some(Err(name.to_owned()))) };
        let mut missing = Vec::new();
        for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
            if !command.needs(variable) {
                continue;
            }
            match (variable, self.value(variable)) {
                (_, "") => missing.push(variable),
                ("CNI_CONTAINERID", id) => check_container_id(id)?,
                ("CNI_IFNAME", ifname) => check_ifname(ifname)?,
                _ => {}
            }
        }
        if missing.is_empty() {
            return Ok(Some(Ok(command)));
        }
        Err(Error::new(
            Code::InvalidEnvironment,
            format!("required env variables [{}] missing", missing.join(",")),
        ))
    }

    /// Whether CNI_NETNS may be the plugin's own namespace.
    pub(crate) fn namespace_override(&self) -> bool {
        matches!(self.value("CNI_NETNS_OVERRIDE").to_ascii_lowercase().as_str(), "1" | "true")
    }
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, for container IDs and network names.
pub(crate) fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn check_container_id(id: &str) -> Result<(), Error> {
    if is_plain(id) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidEnvironment, "invalid characters in containerID")
        .with_details(cut(id)))
}

fn check_ifname(ifname: &str) -> Result<(), Error> {
    let wrong = |message: &str| Err(Error::new(Code::InvalidEnvironment, message));
    if ifname.len() > 15 {
        return wrong("interface name is too long").map_err(|e: Error| {
            e.with_details("interface name should be less than 16 characters")
        });
    }
    if ifname == "." || ifname == ".." {
        return wrong("interface name is . or ..");
    }
    if ifname.chars().any(|c| c == '/' || c == ':' || c.is_whitespace()) {
        return wrong("interface name contains / or : or whitespace characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(pairs: &[(&str, &str)]) -> Result<Option<Result<Command, String>>, String> {
        let own = |(k, v): &(&str, &str)| (OsString::from(k), OsString::from(v));
        Environment::new(pairs.iter().map(own)).command().map_err(|e| e.message)
    }

    #[test]
    fn missing_variables_are_named_together_after_invalid_ones() {
        assert_eq!(command(&[]), Ok(None));
        assert_eq!(command(&[("CNI_COMMAND", "VERSION")]), Ok(Some(Ok(Command::Version))));
        assert_eq!(command(&[("CNI_COMMAND", "STATUS")]), Ok(Some(Ok(Command::Status))));
        assert_eq!(command(&[("CNI_COMMAND", "add")]), Ok(Some(Err("add".to_owned()))));
        for (pairs, message) in [
            (
                &[("CNI_COMMAND", "ADD")][..],
                "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing",
            ),
            (
                &[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c1"), ("CNI_PATH", "/x")],
                "required env variables [CNI_IFNAME] missing",
            ),
            (
                &[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "a/b")],
                "interface name contains / or : or whitespace characters",
            ),
            (
                &[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a/../b")],
                "invalid characters in containerID",
            ),
            (
                &[("CNI_COMMAND", "DEL"), ("CNI_IFNAME", "sixteen_bytes_xx")],
                "interface name is too long",
            ),
            (&[("CNI_COMMAND", "GC")], "required env variables [CNI_PATH] missing"),
        ] {
            assert_eq!(command(pairs), Err(message.to_owned()), "{pairs:?}");
        }
    }
}
