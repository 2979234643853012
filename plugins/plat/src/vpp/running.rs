//! What a running VPP says of itself: reached by its socket, asked for what the plugin needs.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use vpp_api::catalogue::known;
use vpp_api::msg::Kind;
use vpp_api::table::{Component, Name};
use vpp_api::{Client, Error, Missing, Options};

use crate::context::Failure;

/// Where VPP has its socket unless it is told otherwise.
pub(crate) const SOCKET: &str = "/run/vpp/api.sock";

/// Who may use the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Permission bits.
    pub(crate) mode: u32,
    /// The owner's number.
    pub(crate) owner: u32,
    /// The group's number.
    pub(crate) group: u32,
}

/// Reads who may use a socket.
///
/// # Errors
/// The kind of error if there is no such file; `InvalidInput` if it is no socket.
pub(crate) fn access(path: &Path) -> Result<Access, std::io::Error> {
    let found = std::fs::metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    Ok(Access { mode: found.mode() & 0o7777, owner: found.uid(), group: found.gid() })
}

/// A version of VPP: year and month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u16, pub(crate) u16);

impl Version {
    /// Of `26.06-release`, `v25.10-rc0~12-gabc` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self(year.parse().ok()?, rest.get(..end)?.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}.{:02}", self.0, self.1)
    }
}

/// What a VPP has, and lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its version as it says it.
    pub(crate) version: String,
    /// How many messages it understands.
    pub(crate) messages: usize,
    /// What it lacks of what is needed, by what of VPP would have it. A message of which it has another
    /// version is not lacking.
    pub(crate) lacks: BTreeMap<Component, Vec<Missing>>,
    /// Names of its interfaces.
    pub(crate) interfaces: Vec<String>,
}

/// Requests that are the same but for their version: `tap_create_v2` and `tap_create_v3`.
fn groups() -> BTreeMap<(Component, &'static str), Vec<Name>> {
    let mut groups: BTreeMap<(Component, &str), Vec<Name>> = BTreeMap::new();
    for request in known().into_iter().filter(|known| known.kind == Kind::Request) {
        let Name { name, component, .. } = request.name;
        groups.entry((component, subject(component, name))).or_default().push(request.name);
    }
    groups
}

/// What a message is for: the name without a version where either version does, as for what makes interfaces.
fn subject(component: Component, name: &str) -> &str {
    let either = component != Component::Core || name.starts_with("ip_table_add_del");
    match name.rsplit_once("_v") {
        Some((stem, version)) if either && version.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    }
}

/// What a VPP lacks: a message of which it has no version.
pub(crate) fn lacks(vpp: &mut Client) -> BTreeMap<Component, Vec<Missing>> {
    let mut lacks: BTreeMap<Component, Vec<Missing>> = BTreeMap::new();
    for ((component, _), names) in groups() {
        let mut missing = vpp.lacks(&names);
        if missing.len() == names.len()
            && let Some(last) = missing.pop()
        {
            lacks.entry(component).or_default().push(last);
        }
    }
    lacks
}

/// For how long a command waits for each answer of VPP, whose main thread may be busy for a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to a VPP for a command.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) fn connect(path: &Path) -> Result<Client, Error> {
    Client::connect(path, &Options { timeout: PATIENCE, ..Options::new("plat") })
}

/// Asks a VPP what it is.
///
/// # Errors
/// As [`Client::call`].
pub(crate) fn ask(vpp: &mut Client) -> Result<Running, Error> {
    let interfaces = vpp.interfaces()?;
    Ok(Running {
        version: vpp.version()?,
        messages: vpp.messages(),
        lacks: lacks(vpp),
        interfaces: interfaces.iter().map(|one| one.interface_name.to_string()).collect(),
    })
}

/// Why a command cannot talk to VPP, and what to do.
pub(crate) fn failure(error: &Error) -> Failure {
    let advice = match error {
        Error::Connect { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound => {
                "VPP does not run, or its socket is elsewhere: --socket"
            }
            std::io::ErrorKind::PermissionDenied => {
                "root may, and the group that the socket belongs to"
            }
            std::io::ErrorKind::ConnectionRefused => {
                "nobody is behind the socket: VPP has ended, or is starting"
            }
            _ => "plat vpp preflight tells more",
        },
        Error::Timeout { .. } => "VPP is busy or hangs; a stalled main thread answers nobody",
        _ => "plat vpp preflight tells more",
    };
    Failure::new(crate::output::escape(&error.to_string()).into_owned(), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            ("26.06-release", Some(Version(26, 6))),
            ("v21.06", Some(Version(21, 6))),
            ("25.10-rc0~12-gabc", Some(Version(25, 10))),
            ("unknown", None),
            ("", None),
            ("26.", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert_eq!(Version(21, 6).to_string(), "21.06");
        assert!(Version(20, 9) < Version(21, 6));
    }

    #[test]
    fn one_version_of_a_message_is_enough() {
        let groups = groups();
        let names = |component, stem| groups[&(component, stem)].len();
        assert_eq!(names(Component::Tap, "tap_create"), 2);
        assert_eq!(names(Component::Memif, "memif_create"), 2);
        assert_eq!(names(Component::Core, "show_version"), 1);
        assert_eq!(names(Component::Core, "ip_table_add_del"), 2);
        assert_eq!(
            names(Component::Core, "ip_route_add_del_v2"),
            1,
            "the first version has no source"
        );
        assert!(groups.keys().all(|(_, subject)| !subject.ends_with("_details")));
    }
}
