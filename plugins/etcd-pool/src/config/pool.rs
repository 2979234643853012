//! The pool of a configuration: its name, or all of it.

use ipam_core::config::json::{At, shown};
use ipam_core::config::{ConfigError, parse_duration};
use ipam_core::identity::Network;
use ipam_pool::pool::{Pool, PoolSpec};
use ipam_pool::record::Mode;

/// The keys of a pool's description.
const KEYS: &[&str] = &[
    "name",
    "cidr",
    "cidr6",
    "blk",
    "block",
    "blk6",
    "block6",
    "mode",
    "strict",
    "maxBlocks",
    "cool",
    "cooldown",
    "gw",
    "gateway",
    "exclude",
    "autonomy",
];

/// What the key `pool` of the ipam section may be.
const EXPECTED: &str =
    "the name of a pool, or an object such as {\"name\": \"pods\", \"cidr\": \"10.64.0.0/12\"}";

/// The name of the pool, and its description where there is one. Keys that nobody reads are told in
/// `warnings`.
pub(super) fn read(
    ipam: &At<'_>,
    warnings: &mut Vec<String>,
) -> Result<(String, Option<(PoolSpec, Pool)>), ConfigError> {
    let Some(at) = ipam.get("pool")? else {
        return Err(ConfigError {
            message: format!("{ipam}.pool: no pool is named"),
            path: format!("{ipam}.pool"),
            found: "nothing".to_owned(),
            expected: EXPECTED.to_owned(),
        });
    };
    if let Some(name) = at.value().as_str() {
        if let Err(why) = Network::new(name) {
            let message = format!("{at}: {:?} is no pool's name: it {why}", shown(name));
            return Err(at.wrong(message, EXPECTED));
        }
        return Ok((name.to_owned(), None));
    }
    if !at.value().is_object() {
        return Err(at.mistyped(EXPECTED));
    }
    let spec = spec(&at)?;
    warnings.extend(at.unknown_keys(&[KEYS]));
    let pool = Pool::try_from(&spec).map_err(|bad| {
        let found = at.get(bad.key).ok().flatten();
        ConfigError {
            message: format!("{at}: {}", bad.message),
            path: format!("{at}.{}", bad.key),
            found: found.map_or_else(|| "nothing".to_owned(), |at| shown(&at.value().to_string())),
            expected: bad.expected.to_owned(),
        }
    })?;
    Ok((spec.name.clone(), Some((spec, pool))))
}

fn spec(at: &At<'_>) -> Result<PoolSpec, ConfigError> {
    Ok(PoolSpec {
        name: text(at, "name")?.unwrap_or_default(),
        cidr: text(at, "cidr")?,
        cidr6: text(at, "cidr6")?,
        block: prefix(at, "blk", "block")?,
        block6: prefix(at, "blk6", "block6")?,
        mode: mode(at)?,
        strict: at.get("strict")?.map(|at| at.boolean()).transpose()?.unwrap_or_default(),
        max_blocks: match at.get("maxBlocks")? {
            None => None,
            Some(at) => Some(number(&at, "a whole number from 1 to 4294967295")?),
        },
        cooldown: seconds(either(at, "cool", "cooldown")?.as_ref())?.unwrap_or_default(),
        gateway: match either(at, "gw", "gateway")? {
            None => String::new(),
            Some(at) => at.string()?.to_owned(),
        },
        exclude: match at.get("exclude")? {
            None => Vec::new(),
            Some(at) => {
                at.list()?.map(|at| at.string().map(str::to_owned)).collect::<Result<_, _>>()?
            }
        },
        autonomy: seconds(at.get("autonomy")?.as_ref())?,
        ..PoolSpec::default()
    })
}

/// The value of a key that has two names: the one in etcd, and one for people.
fn either<'a>(
    at: &'a At<'a>,
    short: &'a str,
    long: &'a str,
) -> Result<Option<At<'a>>, ConfigError> {
    match (at.get(short)?, at.get(long)?) {
        (Some(at), Some(other)) => Err(at.wrong(
            format!("{at} and {other} are the same"),
            format!("one of {short:?} and {long:?}"),
        )),
        (one, other) => Ok(one.or(other)),
    }
}

fn text(at: &At<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let text = at.get(key)?.map(|at| at.string().map(str::to_owned)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn prefix(at: &At<'_>, short: &str, long: &str) -> Result<Option<u8>, ConfigError> {
    match either(at, short, long)? {
        None => Ok(None),
        Some(at) => Ok(Some(number(&at, "a prefix length, such as 26")?)),
    }
}

fn number<T: TryFrom<i64>>(at: &At<'_>, expected: &str) -> Result<T, ConfigError> {
    let number = at.value().as_i64().ok_or_else(|| at.mistyped(expected))?;
    T::try_from(number).map_err(|_| at.wrong(format!("{at}: {number} is out of range"), expected))
}

fn mode(at: &At<'_>) -> Result<Mode, ConfigError> {
    let Some(at) = at.get("mode")? else { return Ok(Mode::default()) };
    match at.string()? {
        "local" => Ok(Mode::Local),
        "sync" => Ok(Mode::Sync),
        text => Err(at.wrong(
            format!("{at}: {:?} is no mode", shown(text)),
            "\"local\", records are written behind, or \"sync\", before an ADD answers",
        )),
    }
}

/// A number of seconds, as it is in etcd, or a duration with a unit.
fn seconds(at: Option<&At<'_>>) -> Result<Option<u64>, ConfigError> {
    const EXPECTED: &str =
        "whole seconds: a number, or a text with a unit such as \"30s\" or \"24h\"";
    let Some(at) = at else { return Ok(None) };
    if let Some(seconds) = at.value().as_u64() {
        return Ok(Some(seconds));
    }
    let Some(text) = at.value().as_str() else { return Err(at.mistyped(EXPECTED)) };
    let duration = parse_duration(text).filter(|duration| duration.subsec_millis() == 0);
    duration.map(|duration| Some(duration.as_secs())).ok_or_else(|| {
        at.wrong(format!("{at}: {:?} is no number of seconds", shown(text)), EXPECTED)
    })
}
