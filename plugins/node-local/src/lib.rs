/*!
node-local: one configuration for all nodes of a cluster.

With host-local one network definition gives the same addresses on every node. node-local fills the
node's own index into the ranges first (vm-004 is 4, so `10.1.{i}.0/24` is 10.1.4.0/24), and is
host-local from there on: same store, same answers, but a second ADD of an attachment returns what it
holds.

Ranges stand in the configuration itself, or in a file of the node that `cfg` names. Identity and
rendering are pure (`ipam_core::node`, `ipam_core::template`); this crate reads what they need.
*/

mod sources;
mod templates;

use std::path::PathBuf;

use cni::{About, Call, Code, Dns, Error};
use host_local::{Prepared, Purpose, Source, config_error};
use ipam_core::allocator::Repeat;
use ipam_core::config::json::At;
use ipam_core::config::{Config, ConfigError};
use ipam_core::node::NodeIdentity;
use ipam_core::template;
use serde_json::Value;

/// Where templates and the index file lie, unless `cfgDir` says otherwise.
pub const TEMPLATE_DIR: &str = "/etc/cni/node-local";

/// The keys of the ipam section that only node-local knows.
const OWN_KEYS: &[&str] = &["cfg", "cfgDir", "index", "hostname", "carve", "dns"];

/// The source of node-local: ranges made from a template and the node's index.
#[derive(Clone, Copy, Debug)]
pub struct NodeLocal;

impl Source for NodeLocal {
    fn about(&self) -> About {
        About { name: "node-local", version: env!("CARGO_PKG_VERSION") }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Return
    }

    fn prepare(&self, call: &Call, purpose: Purpose) -> Result<Prepared, Error> {
        // Why a node cannot serve an ADD at all is what STATUS is asked for.
        let unavailable = |error: Error| match purpose {
            Purpose::Add => error,
            Purpose::Status => Error { code: Code::NotAvailable, ..error },
        };
        let root = At::root(&call.config);
        let ipam = root.get("ipam").map_err(|e| config_error(&e))?;
        let Some(ipam) = ipam else {
            // The error is host-local's.
            return plain(call);
        };
        let supplied = templates::supply(&ipam, call).map_err(unavailable)?;
        let node = sources::find(&ipam, call).map_err(unavailable)?;
        render(call, &supplied, &node)
    }

    fn prepare_check(&self, call: &Call) -> Result<Option<Prepared>, Error> {
        // What is recorded decides; without ranges every address of prevResult may be another plugin's.
        Ok(self.prepare(call, Purpose::Add).ok())
    }
}

fn plain(call: &Call) -> Result<Prepared, Error> {
    let config =
        Config::parse(&call.config, call.args(), OWN_KEYS).map_err(|e| config_error(&e))?;
    Ok(Prepared { config, pin: None, dns: None })
}

/// The configuration with the node's index filled in.
fn render(
    call: &Call,
    supplied: &templates::Supplied,
    node: &NodeIdentity,
) -> Result<Prepared, Error> {
    let explain = |error: &ConfigError| {
        // The value in the error is what came out; where it comes from is on another node, or in a file.
        let mut explained = config_error(error);
        let origin = format!("{node}{}", supplied.origin());
        explained.message = format!("{} ({origin})", explained.message);
        explained
    };
    let (mut ipam, mut warnings) =
        template::render(&supplied.ipam, node).map_err(|e| explain(&e))?;
    let section = At::standing_at(&ipam, "ipam");
    let dns = dns(&section).map_err(|e| explain(&e))?;
    if let Ok(Some(at)) = section.get("dns") {
        warnings.extend(at.unknown_keys(&[&["nameservers", "domain", "search", "options"]]));
    }
    if let Some(section) = ipam.as_object_mut() {
        for key in OWN_KEYS {
            template::remove(section, key);
        }
    }
    let mut net = call.config.clone();
    if let Some(object) = net.as_object_mut() {
        template::remove(object, "ipam");
        object.insert("ipam".to_owned(), ipam);
    }
    let mut config = Config::parse(&net, call.args(), &[]).map_err(|e| explain(&e))?;
    warnings.append(&mut config.warnings);
    warnings.extend_from_slice(&supplied.warnings);
    config.warnings = warnings;
    Ok(Prepared { config, pin: Some(node.index), dns: Some(dns) })
}

/// The DNS settings of the ipam section, in the form of a CNI result's.
fn dns(ipam: &At<'_>) -> Result<Dns, ConfigError> {
    let Some(dns) = ipam.get("dns")? else { return Ok(Dns::default()) };
    let list = |key: &str| -> Result<Vec<String>, ConfigError> {
        let Some(list) = dns.get(key)? else { return Ok(Vec::new()) };
        list.list()?.map(|at| at.string().map(str::to_owned)).collect()
    };
    let domain = dns.get("domain")?.map(|at| at.string().map(str::to_owned)).transpose()?;
    Ok(Dns {
        nameservers: list("nameservers")?,
        domain: domain.unwrap_or_default(),
        search: list("search")?,
        options: list("options")?,
    })
}

/// The folder of templates and of the index file.
fn template_dir(ipam: &At<'_>) -> Result<PathBuf, Error> {
    let dir = text(ipam, "cfgDir")?.filter(|dir| !dir.is_empty());
    Ok(dir.map_or_else(|| PathBuf::from(TEMPLATE_DIR), PathBuf::from))
}

/// A text of the ipam section. None of them may contain NUL, which ends a path for the kernel.
fn text(ipam: &At<'_>, key: &str) -> Result<Option<String>, Error> {
    let read = || -> Result<Option<String>, ConfigError> {
        let Some(at) = ipam.get(key)? else { return Ok(None) };
        let text = at.string()?;
        if text.contains('\0') {
            return Err(
                at.wrong(format!("{at}: contains NUL"), "a text without control characters")
            );
        }
        Ok(Some(text.to_owned()))
    };
    read().map_err(|e| config_error(&e))
}

/// The index of the ipam section: a number or a text.
fn index(ipam: &At<'_>) -> Result<Option<String>, Error> {
    let read = || -> Result<Option<String>, ConfigError> {
        let Some(at) = ipam.get("index")? else { return Ok(None) };
        match at.value() {
            Value::String(text) => Ok(Some(text.clone())),
            Value::Number(number) => Ok(Some(number.to_string())),
            _ => Err(at.mistyped("a whole number from 0 to 4294967295")),
        }
    };
    read().map_err(|e| config_error(&e))
}
