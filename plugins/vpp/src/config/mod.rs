/*!
The network configuration of the plugin: whole for ADD, CHECK and STATUS, and the little that DEL and GC need.

Keys that are not known are somebody else's (a runtime, a chained plugin); a known key with a wrong value is an
error that names it. Keys match without regard to case, as the reference plugins decode them.
*/

mod args;
mod memif;
mod rx_mode;
mod tap;

use std::path::PathBuf;
use std::time::Duration;

use ipam_core::config::json::At;
use ipam_core::config::{ConfigError, Owner, parse_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vpp_api::Mac;

pub use memif::{MemifConfig, Mode, Role};
pub use rx_mode::RxMode;
pub use tap::TapConfig;

/// Where VPP listens unless `socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vpp/api.sock";
/// How long a call may take unless `timeout` says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest and the longest `timeout`: below it an interface could not be made, above it every runtime
/// has given up.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(600)];
/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;
/// What an IPv4 host must be able to take (RFC 791).
const SMALLEST_MTU: i64 = 68;
/// The most that an IP packet can have.
const LARGEST_MTU: i64 = 65535;

/// How a pod is attached, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindSpec {
    /// Tap where VPP can have it, else veth.
    Auto,
    /// This one.
    Fixed(Kind),
}

/// How a pod is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A tap that VPP makes in the pod's namespace; needs `/dev/vhost-net`.
    Tap,
    /// A veth pair, VPP on the host's end by af_packet.
    Veth,
    /// Shared memory, for an application in the pod that speaks memif.
    Memif,
}

impl Kind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::Veth => "veth",
            Self::Memif => "memif",
        }
    }
}

/// What an attachment needs, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// VPP's API socket.
    pub socket: PathBuf,
    /// How pods are attached.
    pub kind: KindSpec,
    /// How VPP looks for what pods send; `None`: VPP's own choice.
    pub rx_mode: Option<RxMode>,
    /// The MTU in bytes; `None`: that of the uplink.
    pub mtu: Option<u32>,
    /// VPP's table (VRF) of both families.
    pub table: u32,
    /// How long a call may take, the IPAM plugin included.
    pub timeout: Duration,
    /// Whether pods get a default route; `None`: where the IPAM plugin names no route of the family and the
    /// pod has no default route yet.
    pub default_route: Option<bool>,
    /// Options of taps.
    pub tap: TapConfig,
    /// Options of memifs.
    pub memif: MemifConfig,
    /// The pod's Ethernet address, if somebody asks for one.
    pub mac: Option<Mac>,
    /// Who is attached, for people.
    pub owner: Owner,
    /// The IPAM plugin, if there is one.
    pub ipam: Option<String>,
    /// The keys of the node's part, as written.
    pub node: Value,
}

impl Config {
    /// Reads the whole network configuration, and CNI_ARGS.
    ///
    /// # Errors
    /// The first value that is wrong.
    pub fn parse(config: &Value, args: &str) -> Result<Self, ConfigError> {
        let root = At::root(config);
        let timeout = root.get("timeout")?.map(|at| timeout(&at)).transpose()?;
        let tap = root.get("tap")?.map(|at| TapConfig::parse(&at)).transpose()?;
        let memif = root.get("memif")?.map(|at| MemifConfig::parse(&at)).transpose()?;
        let socket = root.get("socket")?.map(|at| socket(&at)).transpose()?;
        let kind = root.get("kind")?.map_or(Ok(KindSpec::Auto), |at| kind(&at))?;
        Ok(Self {
            socket: socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
            kind,
            rx_mode: root.get("rxMode")?.map(|at| RxMode::parse(&at, kind)).transpose()?,
            mtu: root.get("mtu")?.map(|at| mtu(&at)).transpose()?.flatten(),
            table: root.get("table")?.map_or(Ok(0), |at| table(&at))?,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            default_route: root.get("defaultRoute")?.map(|at| at.boolean()).transpose()?,
            tap: tap.unwrap_or_default(),
            memif: memif.unwrap_or_default(),
            mac: args::mac(&root, args)?,
            owner: args::owner(args),
            ipam: ipam(&root)?,
            node: node_part(config),
        })
    }
}

/// The little that DEL and GC need: whatever is left of a configuration must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basics {
    /// VPP's API socket, if the configuration names one.
    pub socket: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
    /// The IPAM plugin, if it is named.
    pub ipam: Option<String>,
    /// What could not be read, for people.
    pub warnings: Vec<String>,
}

impl Basics {
    /// Reads what can be read.
    pub fn parse(config: &Value) -> Self {
        let root = At::root(config);
        let mut warnings = Vec::new();
        let mut note = |error: ConfigError| warnings.push(error.to_string());
        let socket = read(&root, "socket", socket).unwrap_or_else(|error| {
            note(error);
            None
        });
        let timeout = read(&root, "timeout", timeout).unwrap_or_else(|error| {
            note(error);
            None
        });
        let ipam = ipam(&root).unwrap_or_else(|error| {
            note(error);
            None
        });
        Self { socket, timeout: timeout.unwrap_or(DEFAULT_TIMEOUT), ipam, warnings }
    }
}

fn read<T>(
    root: &At<'_>,
    key: &str,
    parse: impl FnOnce(&At<'_>) -> Result<T, ConfigError>,
) -> Result<Option<T>, ConfigError> {
    root.get(key)?.map(|at| parse(&at)).transpose()
}

/// The keys of the node's part alone.
fn node_part(config: &Value) -> Value {
    let is_of = |key: &str| crate::node::KEYS.iter().any(|known| known.eq_ignore_ascii_case(key));
    let all = config.as_object().into_iter().flatten();
    let part: Map<String, Value> = all
        .filter(|(key, value)| is_of(key) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(part)
}

fn ipam(root: &At<'_>) -> Result<Option<String>, ConfigError> {
    let Some(ipam) = root.get("ipam")? else { return Ok(None) };
    let Some(kind) = ipam.get("type")? else { return Ok(None) };
    let name = kind.string()?;
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

/// An absolute path that a socket's address can hold.
fn path(at: &At<'_>) -> Result<PathBuf, ConfigError> {
    let text = at.string()?;
    if !text.starts_with('/') || text.contains(char::is_control) {
        return Err(at.wrong(format!("{at}: no absolute path"), "an absolute path"));
    }
    if text.len() > LONGEST_SOCKET {
        let message = format!("{at}: the path is longer than {LONGEST_SOCKET} bytes");
        return Err(at.wrong(message, "a path that a Unix socket can have"));
    }
    Ok(PathBuf::from(text))
}

fn socket(at: &At<'_>) -> Result<PathBuf, ConfigError> {
    path(at)
}

fn timeout(at: &At<'_>) -> Result<Duration, ConfigError> {
    const EXPECTED: &str = "a time from 1s to 10m";
    let duration = parse_duration(at.string()?)
        .ok_or_else(|| at.wrong(format!("{at}: no time"), "a time such as 30s or 500ms"))?;
    let [shortest, longest] = TIMEOUTS;
    if duration < shortest || duration > longest {
        return Err(at.wrong(format!("{at}: {duration:?} is out of range"), EXPECTED));
    }
    Ok(duration)
}

fn kind(at: &At<'_>) -> Result<KindSpec, ConfigError> {
    Ok(match at.string()? {
        "auto" => KindSpec::Auto,
        "tap" => KindSpec::Fixed(Kind::Tap),
        "veth" => KindSpec::Fixed(Kind::Veth),
        "memif" => KindSpec::Fixed(Kind::Memif),
        _ => {
            let message = format!("{at}: there is no such kind of interface");
            return Err(at.wrong(message, "auto, tap, veth or memif"));
        }
    })
}

/// 0 means as without the key, as in the reference plugins.
fn mtu(at: &At<'_>) -> Result<Option<u32>, ConfigError> {
    match at.integer()? {
        0 => Ok(None),
        SMALLEST_MTU..=LARGEST_MTU => Ok(u32::try_from(at.integer()?).ok()),
        other => Err(at.wrong(
            format!("{at}: {other} bytes cannot be an MTU"),
            format!("bytes from {SMALLEST_MTU} to {LARGEST_MTU}"),
        )),
    }
}

fn table(at: &At<'_>) -> Result<u32, ConfigError> {
    // The last number stands for none.
    match u32::try_from(at.integer()?) {
        Ok(table) if table != u32::MAX => Ok(table),
        _ => {
            let expected = format!("a number from 0 to {}", u32::MAX - 1);
            Err(at.wrong(format!("{at}: no number of a table"), expected))
        }
    }
}

/// A number within bounds.
fn number(at: &At<'_>, least: i64, most: i64) -> Result<u32, ConfigError> {
    let number = at.integer()?;
    if number < least || number > most {
        let message = format!("{at}: {number} is out of range");
        return Err(at.wrong(message, format!("a number from {least} to {most}")));
    }
    u32::try_from(number).map_err(|_| at.mistyped("a whole number"))
}

/// Entries of a ring: a power of two, or 0 for what VPP takes itself.
fn ring(at: &At<'_>, most: i64) -> Result<u32, ConfigError> {
    let entries = number(at, 0, most)?;
    if entries != 0 && (!entries.is_power_of_two() || entries < 64) {
        let message = format!("{at}: {entries} entries cannot be a ring");
        return Err(at.wrong(message, format!("a power of two from 64 to {most}, or 0")));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
