//! What every plugin of this family reads from a call, and how it answers.

use std::path::{Path, PathBuf};

use cni::{Call, Code, Dns, Environment, Error, IpConfig, IpamResult};
use ipam_core::addr::{Addr, Cidr};
use ipam_core::config::json::{At, shown};
use ipam_core::config::{ConfigError, Place, Route};
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
use ipam_stores::{DEFAULT_DATA_DIR, StateDirs};
use serde_json::Value;

use crate::errors::config_error;
use crate::paths::absolute;

/// The database of this node and boot.
pub fn default_database(call: &Call) -> PathBuf {
    state_dirs(&call.environment).volatile.join("plat.db")
}

/// The database that a configuration names, else that of this node and boot.
pub fn database_path(call: &Call, place: &Place) -> PathBuf {
    let path = place.database.as_deref().map(|path| absolute(path, Path::new("/")));
    path.unwrap_or_else(|| default_database(call))
}

/// The state directories: an operator may move them by the environment of the runtime.
pub fn state_dirs(environment: &Environment) -> StateDirs {
    let StateDirs { durable, volatile } = StateDirs::default();
    let place = |variable: &str, default: PathBuf| match environment.value(variable) {
        "" => default,
        path => PathBuf::from(path),
    };
    StateDirs {
        durable: place("PLAT_STATE_DIR", durable),
        volatile: place("PLAT_RUN_DIR", volatile),
    }
}

/// The directory that a configuration names, else the reference's.
pub fn data_dir(call: &Call, place: &Place) -> PathBuf {
    let Some(path) = &place.data_dir else { return PathBuf::from(DEFAULT_DATA_DIR) };
    let working_dir = std::env::current_dir().unwrap_or_else(|error| {
        call.warn(&format!("the working directory is unknown ({error}), / is taken"));
        PathBuf::from("/")
    });
    absolute(path, &working_dir)
}

/// The network of a call.
///
/// # Errors
/// If its name is none.
pub fn network(call: &Call) -> Result<Network, Error> {
    Network::new(call.network.as_str())
        .map_err(|e| Error::new(Code::InvalidConfig, format!("the network name {e}")))
}

/// The attachment of a call.
///
/// # Errors
/// If its names are none.
pub fn attachment(call: &Call) -> Result<Attachment, Error> {
    let wrong = |what: &str, e: &dyn std::fmt::Display| {
        Error::new(Code::InvalidEnvironment, format!("{what} {e}"))
    };
    Ok(Attachment {
        container: ContainerId::new(call.container_id())
            .map_err(|e| wrong("CNI_CONTAINERID", &e))?,
        ifname: IfName::new(call.ifname()).map_err(|e| wrong("CNI_IFNAME", &e))?,
    })
}

/// The addresses of prevResult, of any form from 0.3.0 on; none where there is no prevResult.
///
/// # Errors
/// If something in it is no address.
pub fn previous_addresses(config: &Value) -> Result<Vec<Addr>, Error> {
    let root = At::root(config);
    let read = || {
        let Some(previous) = root.get("prevResult")? else { return Ok(Vec::new()) };
        let Some(ips) = previous.get("ips")? else { return Ok(Vec::new()) };
        let mut addresses = Vec::new();
        for ip in ips.list()? {
            let Some(address) = ip.get("address")? else { continue };
            let text = address.string()?;
            let cidr = Cidr::parse(text).ok_or_else(|| {
                address.wrong(format!("invalid CIDR address: {}", shown(text)), "ADDRESS/PREFIX")
            })?;
            addresses.push(cidr.addr());
        }
        Ok(addresses)
    };
    read().map_err(|e| config_error(&e))
}

/// The attachments that the runtime knows; `None` if it did not say, which frees nothing.
///
/// # Errors
/// If something in the list is no attachment.
pub fn valid_attachments(config: &Value) -> Result<Option<Vec<Attachment>>, Error> {
    let root = At::root(config);
    let read = || {
        // libcni sends the list under its first, mistaken name too.
        let list = match root.get("cni.dev/valid-attachments")? {
            None => root.get("cni.dev/attachments")?,
            some => some,
        };
        let Some(list) = list else { return Ok(None) };
        let mut valid = Vec::new();
        for entry in list.list()? {
            let wrong = || {
                entry.wrong(
                    format!("{entry}: no attachment"),
                    "an object with \"containerID\" and \"ifname\"",
                )
            };
            let text = |key: &str| -> Result<String, ConfigError> {
                Ok(entry.get(key)?.ok_or_else(wrong)?.string()?.to_owned())
            };
            valid.push(Attachment {
                container: ContainerId::new(text("containerID")?).map_err(|_| wrong())?,
                ifname: IfName::new(text("ifname")?).map_err(|_| wrong())?,
            });
        }
        Ok(Some(valid))
    };
    read().map_err(|e| config_error(&e))
}

/// The result of an ADD: addresses with the prefix length of their subnet and their gateway.
pub fn result(
    addresses: impl Iterator<Item = (Cidr, Option<Addr>)>,
    routes: &[Route],
    dns: Dns,
) -> IpamResult {
    let ips = addresses.map(|(address, gateway)| IpConfig {
        address: address.addr().into(),
        prefix: address.prefix(),
        gateway: gateway.map(Into::into),
    });
    let routes = routes.iter().map(|route| cni::Route {
        dst: route.dst.to_string(),
        gw: route.gw.map(Into::into),
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    });
    IpamResult { ips: ips.collect(), routes: routes.collect(), dns }
}
