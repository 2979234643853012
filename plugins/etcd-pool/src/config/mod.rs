/*!
What a configuration says.

The addresses come from a pool, so the keys of ranges are refused here: who writes `exclude` beside `pool`
must not get an address that he excluded. What only says where state lies is told to be unknown.
*/

mod pool;

use std::path::PathBuf;

use ipam_core::addr::{Addr, Family};
use ipam_core::config::json::{At, shown};
use ipam_core::config::{
    ConfigError, Owner, Place, ROUTE_KEYS, Route, StoreKind, path, requested, routes, strategy,
};
use ipam_core::identity::Network;
use ipam_core::policy::Strategy;
use ipam_pool::node::PoolId;
use ipam_pool::pool::{Pool, PoolSpec};
use serde_json::Value;

use crate::client::Connection;

/// The address space of pools that name none.
pub const DEFAULT_SPACE: &str = "default";

/// The keys of the ipam section.
pub const KEYS: &[&str] = &[
    "type",
    "pool",
    "space",
    "families",
    "etcd",
    "routes",
    "resolvConf",
    "strategy",
    "store",
    "database",
    "shared",
    "lockTimeout",
    "index",
    "hostname",
    "flush",
];

/// Keys of other IPAMs that choose addresses.
const RANGE_KEYS: &[&str] = &[
    "ranges",
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "exclude",
    "carve",
    "smallSubnets",
    "cooldown",
];

/// A validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The pool.
    pub id: PoolId,
    /// The pool as the configuration describes it, and the same checked; none if it is only named.
    pub described: Option<(PoolSpec, Pool)>,
    /// One address of each; empty: of each family of the pool.
    pub families: Vec<Family>,
    /// Where etcd is; none if the configuration does not say.
    pub etcd: Option<Connection>,
    /// Routes of the result.
    pub routes: Vec<Route>,
    /// The file to read DNS settings from.
    pub resolv_conf: Option<String>,
    /// How addresses are chosen.
    pub strategy: Strategy,
    /// Where state lies and how it is locked.
    pub place: Place,
    /// Addresses asked for, each once.
    pub requested: Vec<Addr>,
    /// The pod, for people.
    pub owner: Owner,
    /// Whether a process of its own writes to etcd what a call leaves behind.
    pub flush: bool,
    /// What is odd but not wrong, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Validates a network configuration and CNI_ARGS.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(net: &Value, args: &str) -> Result<Self, ConfigError> {
        let root = At::root(net);
        let Some(ipam) = root.get("ipam")? else {
            return Err(ConfigError {
                message: "IPAM config missing 'ipam' key".to_owned(),
                path: "ipam".to_owned(),
                found: "nothing".to_owned(),
                expected: "an object with \"type\" and \"pool\"".to_owned(),
            });
        };
        ipam.get("type")?.map(|at| at.string()).transpose()?;
        refuse_ranges(&root, &ipam)?;
        let space = space(&ipam)?;
        let mut warnings = ipam.unknown_keys(&[KEYS]);
        let (name, described) = pool::read(&ipam, &mut warnings)?;
        let families = families(&ipam)?;
        let etcd = match ipam.get("etcd")? {
            None => None,
            Some(at) => Some(connection(&at)?),
        };
        let place = place(&ipam)?;
        let flush = ipam.get("flush")?.map(|at| at.boolean()).transpose()?.unwrap_or(true);
        let (requested, owner) = requested(&root, args)?;
        let routes_at = ipam.get("routes")?;
        let routes = routes(&ipam)?;
        if let Some(at) = &routes_at {
            for route in at.list()? {
                warnings.extend(route.unknown_keys(&[ROUTE_KEYS]));
            }
        }
        Ok(Self {
            id: PoolId { space, pool: name },
            described,
            families,
            etcd,
            routes,
            resolv_conf: path(&ipam, "resolvConf")?,
            strategy: strategy(&ipam)?,
            place,
            requested,
            owner,
            flush,
            warnings,
        })
    }
}

/// The file that says where etcd is, unless the environment names another one.
const ETCD_FILE: &str = "/etc/plat/etcd.json";

/// The environment variable that names it.
pub const ETCD_VARIABLE: &str = "PLAT_ETCD_CONFIG";

/// The file that a value of that variable means; empty is as not set.
pub fn etcd_file(variable: &str) -> PathBuf {
    PathBuf::from(if variable.is_empty() { ETCD_FILE } else { variable })
}

/// How etcd is reached, as the key at this place says.
///
/// # Errors
/// What is wrong with it; nothing of its value is repeated.
pub fn connection(at: &At<'_>) -> Result<Connection, ConfigError> {
    Connection::parse(at.value()).map_err(|error| ConfigError {
        message: format!("{at}: {}", error.message),
        path: at.to_string(),
        // What stands in a wrong place may be a password, or a key in place of its path.
        found: "not repeated here".to_owned(),
        expected: error.advice.to_owned(),
    })
}

fn refuse_ranges(root: &At<'_>, ipam: &At<'_>) -> Result<(), ConfigError> {
    const EXPECTED: &str =
        "\"pool\": a name, or an object with \"name\" and \"cidr\" that describes it";
    for key in RANGE_KEYS {
        if let Some(at) = ipam.get(key)? {
            return Err(at.wrong(format!("{at}: addresses come from the pool"), EXPECTED));
        }
    }
    if let Some(runtime) = root.get("runtimeConfig")?
        && let Some(at) = runtime.get("ipRanges")?
    {
        return Err(at.wrong(
            format!("{at}: addresses come from the pool"),
            "no \"ipRanges\" in the network's \"capabilities\"",
        ));
    }
    Ok(())
}

fn space(ipam: &At<'_>) -> Result<String, ConfigError> {
    let Some(at) = ipam.get("space")? else { return Ok(DEFAULT_SPACE.to_owned()) };
    let text = at.string()?;
    if let Err(why) = Network::new(text) {
        return Err(
            at.wrong(format!("{at}: {:?} {why}", shown(text)), "letters, digits, '_', '.' and '-'")
        );
    }
    Ok(text.to_owned())
}

fn families(ipam: &At<'_>) -> Result<Vec<Family>, ConfigError> {
    const EXPECTED: &str = "a list of \"ipv4\", \"ipv6\", or both";
    let Some(at) = ipam.get("families")? else { return Ok(Vec::new()) };
    let mut families = Vec::new();
    for element in at.list()? {
        let family = match element.string()? {
            "ipv4" => Family::V4,
            "ipv6" => Family::V6,
            text => {
                let message = format!("{element}: {:?} is no family", shown(text));
                return Err(element.wrong(message, EXPECTED));
            }
        };
        if families.contains(&family) {
            return Err(element.wrong(format!("{element}: this family is there twice"), EXPECTED));
        }
        families.push(family);
    }
    if families.is_empty() {
        return Err(at.wrong(format!("{at}: no family is asked for"), EXPECTED));
    }
    Ok(families)
}

fn place(ipam: &At<'_>) -> Result<Place, ConfigError> {
    let place = Place::read(ipam)?;
    if let Some(at) = ipam.get("store")?.filter(|_| place.store == Some(StoreKind::Dir)) {
        return Err(at.wrong(
            format!("{at}: a directory of the reference's cannot hold a pool's addresses"),
            "\"sqlite\", or no \"store\"",
        ));
    }
    if let Some(at) = ipam.get("shared")?.filter(|_| place.shared == Some(true)) {
        return Err(at.wrong(
            format!("{at}: the store belongs to one node; the pool is what nodes share"),
            "no \"shared\"",
        ));
    }
    Ok(place)
}

#[cfg(test)]
mod tests;
