/*!
From what a runtime sends to one validated configuration.

[`Config::parse`] reads the whole network configuration and CNI_ARGS for ADD, CHECK and STATUS, and
refuses anything that is wrong before a file is touched. [`Place::parse`] reads the little that DEL
and GC need and is content with whatever is left: an address must not leak because a range is wrong.

Keys, order of checks and error texts are those of the reference host-local 1.9.1.
*/

mod args;
mod duration;
mod exclude;
pub mod json;
mod routes;
mod sets;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use crate::addr::Addr;
use crate::identity::Network;
use crate::policy::{Policy, Strategy};
use crate::range::RangeSet;

pub use args::{Args, Owner};
pub use duration::parse_duration;
pub use routes::{Route, read as routes};

use json::At;

/// How long a call waits for another one's lock, unless `lockTimeout` says otherwise.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest `instance`, in bytes.
const INSTANCE_LENGTH: usize = 32;

/// The keys of the ipam section that every IPAM of this family knows.
pub const KNOWN_KEYS: &[&str] = &[
    "type",
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "ranges",
    "routes",
    "dataDir",
    "resolvConf",
    "exclude",
    "smallSubnets",
    "shared",
    "store",
    "database",
    "strategy",
    "cooldown",
    "lockTimeout",
    "instance",
];

/// The keys of a range.
const RANGE_KEYS: &[&str] = &["subnet", "rangeStart", "rangeEnd", "gateway", "exclude"];

/// The keys of a route.
pub const ROUTE_KEYS: &[&str] = &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"];

/// What is wrong with a configuration: where, what was found, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// One sentence; the reference's text where it has one.
    pub message: String,
    /// The path of the value, such as `ipam.ranges[0][1].subnet`.
    pub path: String,
    /// The value, shortened.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

/// A validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One set for each address of an attachment: runtimeConfig's first, then the old-style range, then
    /// `ranges`. The position is the index of the set's mark. Never empty, no two overlap.
    pub sets: Vec<RangeSet>,
    /// Addresses asked for, each once: from CNI_ARGS, `args.cni.ips` and `runtimeConfig.ips` together.
    pub requested: Vec<Addr>,
    /// Routes of the result.
    pub routes: Vec<Route>,
    /// The file to read DNS settings from.
    pub resolv_conf: Option<String>,
    /// How addresses are chosen.
    pub policy: Policy,
    /// Where state lies and how it is locked.
    pub place: Place,
    /// The pod, for people.
    pub owner: Owner,
    /// What is odd but not wrong, a sentence each.
    pub warnings: Vec<String>,
}

/// What remembers allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// The directory format of the reference.
    Dir,
    /// A database of this node and boot.
    Sqlite,
}

impl StoreKind {
    /// The word in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Where a network's state lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What remembers; `None`: what the plugin uses by default.
    pub store: Option<StoreKind>,
    /// The database, if given; an absolute path.
    pub database: Option<String>,
    /// `dataDir`, if given.
    pub data_dir: Option<String>,
    /// Whether other nodes use the directory, too; `None` if the configuration does not say.
    pub shared: Option<bool>,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
    /// What tells this IPAM from others of its type that serve the same attachment, if given: its position in a
    /// chain, or a name. Rows of a database belong to it; a directory knows no such thing.
    pub instance: Option<String>,
}

impl Config {
    /// Validates a network configuration and CNI_ARGS. `also_known` are further keys of the ipam section
    /// that are no reason for a warning.
    ///
    /// # Errors
    /// The first thing that is wrong, in the reference's order.
    pub fn parse(net: &Value, args: &str, also_known: &[&str]) -> Result<Self, ConfigError> {
        let root = At::root(net);
        let ipam = root.get("ipam")?;
        let specs = sets::Specs::read(&root, ipam.as_ref())?;
        let routes = match &ipam {
            Some(ipam) => routes::read(ipam)?,
            None => Vec::new(),
        };
        let place = match &ipam {
            Some(ipam) => Place::read(ipam)?,
            None => Place::default(),
        };
        let policy = match &ipam {
            Some(ipam) => policy(ipam)?,
            None => Policy::default(),
        };
        let resolv_conf = match &ipam {
            Some(ipam) => {
                ipam.get("type")?.map(|at| at.string()).transpose()?;
                path(ipam, "resolvConf")?
            }
            None => None,
        };
        let asked = requested_in(&root)?;
        let Some(ipam) = ipam else {
            return Err(ConfigError {
                message: "IPAM config missing 'ipam' key".to_owned(),
                path: "ipam".to_owned(),
                found: "nothing".to_owned(),
                expected: "an object with \"type\" and \"ranges\"".to_owned(),
            });
        };
        let args = Args::parse(args)?;
        let requested = all_requested(args.ips, asked)?;
        let old_version = root
            .get("cniVersion")?
            .map(|at| at.string())
            .transpose()?
            .map(str::to_owned)
            .unwrap_or_default();
        let sets = specs.into_sets(&old_version)?;
        Ok(Self {
            sets,
            requested,
            routes,
            resolv_conf,
            policy,
            place,
            owner: args.owner,
            warnings: unknown_keys(&root, &ipam, also_known),
        })
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            store: None,
            database: None,
            data_dir: None,
            shared: None,
            lock_timeout: LOCK_TIMEOUT,
            instance: None,
        }
    }
}

impl Place {
    /// Reads what DEL and GC need; what cannot be read is as absent, and said in a sentence.
    pub fn parse(net: &Value) -> (Self, Vec<String>) {
        let root = At::root(net);
        let Ok(Some(ipam)) = root.get("ipam") else { return (Self::default(), Vec::new()) };
        if let Err(error) = ipam.object() {
            return (Self::default(), vec![format!("ignored: {error}")]);
        }
        let mut warnings = Vec::new();
        let mut ignore = |error: ConfigError| warnings.push(format!("ignored: {error}"));
        let place = Self {
            store: store(&ipam).map_err(&mut ignore).unwrap_or_default(),
            database: database(&ipam).map_err(&mut ignore).unwrap_or_default(),
            data_dir: path(&ipam, "dataDir").map_err(&mut ignore).unwrap_or_default(),
            shared: shared(&ipam).map_err(&mut ignore).unwrap_or_default(),
            lock_timeout: lock_timeout(&ipam).map_err(&mut ignore).unwrap_or(LOCK_TIMEOUT),
            instance: instance(&ipam).map_err(&mut ignore).unwrap_or_default(),
        };
        (place, warnings)
    }

    /// Reads what an ADD needs.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(ipam: &At<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            store: store(ipam)?,
            database: database(ipam)?,
            data_dir: path(ipam, "dataDir")?,
            shared: shared(ipam)?,
            lock_timeout: lock_timeout(ipam)?,
            instance: instance(ipam)?,
        })
    }

    /// Whether a store of this kind can do what is asked of it.
    ///
    /// # Errors
    /// What it cannot do.
    pub fn allows(&self, kind: StoreKind, policy: Policy) -> Result<(), ConfigError> {
        let cannot = |key: &str, found: String, why: &str, expected: &str| {
            Err(ConfigError {
                message: format!("ipam.{key}: the store {:?} {why}", kind.as_str()),
                path: format!("ipam.{key}"),
                found,
                expected: expected.to_owned(),
            })
        };
        match kind {
            StoreKind::Dir if policy.strategy == Strategy::Sticky => cannot(
                "strategy",
                "\"sticky\"".to_owned(),
                "keeps the reference's files, which do not remember pods",
                "\"next\", \"lowest\", or \"store\": \"sqlite\"",
            ),
            StoreKind::Dir if !policy.cooldown.is_zero() => cannot(
                "cooldown",
                format!("{} ms", policy.cooldown.as_millis()),
                "keeps the reference's files, which do not remember when an address was freed",
                "\"0s\", or \"store\": \"sqlite\"",
            ),
            StoreKind::Dir if self.database.is_some() => cannot(
                "database",
                format!("{:?}", self.database.as_deref().unwrap_or_default()),
                "has no database",
                "\"store\": \"sqlite\" beside it, or dataDir in its place",
            ),
            StoreKind::Dir if self.instance.is_some() => cannot(
                "instance",
                format!("{:?}", self.instance.as_deref().unwrap_or_default()),
                "keeps the reference's files, which do not know whose they are",
                "\"store\": \"sqlite\", or a dataDir of its own in its place",
            ),
            StoreKind::Sqlite if self.shared == Some(true) => cannot(
                "shared",
                "true".to_owned(),
                "belongs to one node",
                "\"store\": \"dir\" for a dataDir that several nodes use",
            ),
            StoreKind::Dir | StoreKind::Sqlite => Ok(()),
        }
    }
}

fn store(ipam: &At<'_>) -> Result<Option<StoreKind>, ConfigError> {
    let Some(at) = ipam.get("store")? else { return Ok(None) };
    match at.string()? {
        "" => Ok(None),
        "dir" => Ok(Some(StoreKind::Dir)),
        "sqlite" => Ok(Some(StoreKind::Sqlite)),
        _ => Err(at.wrong(
            format!("{at}: {} is no store", json::shown(&at.value().to_string())),
            "\"dir\", the directory format of the reference, or \"sqlite\", a database of this node",
        )),
    }
}

fn database(ipam: &At<'_>) -> Result<Option<String>, ConfigError> {
    let Some(text) = path(ipam, "database")? else { return Ok(None) };
    let Some(at) = ipam.get("database")? else { return Ok(None) };
    let climbs = text.split('/').any(|part| part == "..");
    if !text.starts_with('/') || text.ends_with('/') || climbs {
        return Err(at.wrong(
            format!("{at}: {:?} is not the absolute path of a file", json::shown(&text)),
            "an absolute path without .., such as \"/run/plat/plat.db\"",
        ));
    }
    Ok(Some(text))
}

/// The key `strategy` of the ipam section.
///
/// # Errors
/// If it is none.
pub fn strategy(ipam: &At<'_>) -> Result<Strategy, ConfigError> {
    let Some(at) = ipam.get("strategy")? else { return Ok(Strategy::default()) };
    Strategy::parse(at.string()?).ok_or_else(|| {
        at.wrong(
            format!("{at}: {} is no strategy", json::shown(&at.value().to_string())),
            "\"next\", \"lowest\" or \"sticky\"",
        )
    })
}

fn policy(ipam: &At<'_>) -> Result<Policy, ConfigError> {
    let strategy = strategy(ipam)?;
    let cooldown = duration_at(ipam, "cooldown")?.unwrap_or_default();
    Ok(Policy { strategy, cooldown })
}

/// A path; the empty text is as absent.
///
/// # Errors
/// If it is no text, or contains NUL.
pub fn path(ipam: &At<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(at) = ipam.get(key)? else { return Ok(None) };
    let text = at.string()?;
    if text.contains('\0') {
        return Err(at.wrong(format!("{at}: a path cannot contain NUL"), "the path of a file"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn shared(ipam: &At<'_>) -> Result<Option<bool>, ConfigError> {
    ipam.get("shared")?.map(|at| at.boolean()).transpose()
}

fn lock_timeout(ipam: &At<'_>) -> Result<Duration, ConfigError> {
    Ok(duration_at(ipam, "lockTimeout")?.unwrap_or(LOCK_TIMEOUT))
}

/// The key `instance` of the ipam section; the empty text is as absent.
///
/// # Errors
/// If it is none.
pub fn instance(ipam: &At<'_>) -> Result<Option<String>, ConfigError> {
    let Some(at) = ipam.get("instance")? else { return Ok(None) };
    let text = at.string()?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > INSTANCE_LENGTH || Network::new(text).is_err() {
        return Err(at.wrong(
            format!("{at}: {:?} is no instance", json::shown(text)),
            "up to 32 letters, digits, '_', '.' and '-', the first a letter or a digit",
        ));
    }
    Ok(Some(text.to_owned()))
}

fn duration_at(ipam: &At<'_>, key: &str) -> Result<Option<Duration>, ConfigError> {
    let Some(at) = ipam.get(key)? else { return Ok(None) };
    let text = at.string()?;
    parse_duration(text).map(Some).ok_or_else(|| {
        at.wrong(
            format!("{at}: {:?} is no duration", json::shown(text)),
            "a number with a unit, such as \"300ms\", \"30s\" or \"5m\"",
        )
    })
}

/// `args.cni.ips` and `runtimeConfig.ips`; `None` for an empty text, which is an error only later.
fn requested_in(root: &At<'_>) -> Result<Vec<(Option<Addr>, String)>, ConfigError> {
    let mut requested = Vec::new();
    let mut read = |at: &At<'_>| -> Result<(), ConfigError> {
        for element in at.list()? {
            if element.value().is_null() {
                return Err(element.wrong(
                    format!("{element}: null is no IP address"),
                    "ADDRESS or ADDRESS/PREFIX",
                ));
            }
            let text = element.string()?;
            let ip = args::address(text);
            if ip.is_none() && !text.is_empty() {
                return Err(element.wrong(
                    format!("invalid IP address {}", json::shown(text)),
                    "ADDRESS or ADDRESS/PREFIX",
                ));
            }
            requested.push((ip, element.to_string()));
        }
        Ok(())
    };
    if let Some(args) = root.get("args")?
        && let Some(cni) = args.get("cni")?
        && let Some(ips) = cni.get("ips")?
    {
        read(&ips)?;
    }
    if let Some(runtime) = root.get("runtimeConfig")?
        && let Some(ips) = runtime.get("ips")?
    {
        read(&ips)?;
    }
    Ok(requested)
}

/// All addresses that are asked for, each once.
fn all_requested(
    mut requested: Vec<Addr>,
    asked: Vec<(Option<Addr>, String)>,
) -> Result<Vec<Addr>, ConfigError> {
    for (ip, at) in asked {
        let ip = ip
            .ok_or_else(|| wrong_at(&at, "cannot understand ip: IP <nil> not v4 nor v6", "\"\""))?;
        requested.push(ip);
    }
    let mut seen = HashSet::with_capacity(requested.len());
    requested.retain(|ip| seen.insert(*ip));
    Ok(requested)
}

/// Addresses asked for, each once, from CNI_ARGS, `args.cni.ips` and `runtimeConfig.ips` together, and the
/// pod, for plugins whose ranges are none of the configuration's.
///
/// # Errors
/// What is wrong with CNI_ARGS or these lists.
pub fn requested(root: &At<'_>, args: &str) -> Result<(Vec<Addr>, Owner), ConfigError> {
    let asked = requested_in(root)?;
    let args = Args::parse(args)?;
    Ok((all_requested(args.ips, asked)?, args.owner))
}

fn wrong_at(path: &str, message: &str, found: &str) -> ConfigError {
    ConfigError {
        message: message.to_owned(),
        path: path.to_owned(),
        found: found.to_owned(),
        expected: "ADDRESS or ADDRESS/PREFIX".to_owned(),
    }
}

/// A sentence for each key that nobody reads, in what was read without an error before.
fn unknown_keys(root: &At<'_>, ipam: &At<'_>, also_known: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(ipam.unknown_keys(&[KNOWN_KEYS, also_known]));
    let mut ranges_of = |sets: Option<At<'_>>| {
        for set in elements(sets.as_ref()) {
            for range in elements(Some(&set)) {
                warnings.extend(range.unknown_keys(&[RANGE_KEYS]));
            }
        }
    };
    ranges_of(ipam.get("ranges").ok().flatten());
    if let Ok(Some(runtime)) = root.get("runtimeConfig") {
        ranges_of(runtime.get("ipRanges").ok().flatten());
    }
    for route in elements(ipam.get("routes").ok().flatten().as_ref()) {
        warnings.extend(route.unknown_keys(&[ROUTE_KEYS]));
    }
    warnings
}

/// The elements of a list; none of what is no list.
fn elements<'a>(at: Option<&'a At<'a>>) -> Vec<At<'a>> {
    at.and_then(|at| at.list().ok()).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
