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

pub use sources::{Surroundings, find, preferred, read_index, registered_file};
pub use templates::{Supplied, supply};

use cni::{About, Call, Code, Dns, Error};
use host_local::{Prepared, Purpose, Source, config_error};
use ipam_core::allocator::Repeat;
use ipam_core::config::json::At;
use ipam_core::config::{Config, ConfigError, StoreKind};
use ipam_core::node::NodeIdentity;
use ipam_core::template;
use serde_json::Value;

/// Where templates and the index file lie, unless `cfgDir` says otherwise.
pub const TEMPLATE_DIR: &str = "/etc/cni/node-local";

/// The keys of the ipam section that only node-local knows.
pub const OWN_KEYS: &[&str] = &["cfg", "cfgDir", "index", "hostname", "carve", "dns"];

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

    fn store(&self) -> StoreKind {
        StoreKind::Sqlite
    }

    fn prepare(&self, call: &Call, purpose: Purpose) -> Result<Prepared, Error> {
        // Why a node cannot serve an ADD at all is what STATUS is asked for.
        let unavailable = |problem: Problem| match purpose {
            Purpose::Add => problem.error,
            Purpose::Status => Error { code: Code::NotAvailable, ..problem.error },
        };
        let root = At::root(&call.config);
        if root.get("ipam").map_err(|e| config_error(&e))?.is_none() {
            // The error is host-local's.
            return plain(call);
        }
        let around = Surroundings::of(call);
        let supplied = supply(&call.config, &around).map_err(unavailable)?;
        let node = find(&call.config, &around).map_err(unavailable)?;
        let rendered = render(&call.config, call.args(), &supplied, &node).map_err(|p| p.error)?;
        Ok(Prepared { config: rendered.config, pin: Some(node.index), dns: Some(rendered.dns) })
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

/// Why a configuration cannot be used on a node: the error of the plugin, and the value that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What the plugin answers.
    pub error: Error,
    /// The value of the configuration that is wrong; nothing where it is the node that is not as it must
    /// be: its index is not known, a file is missing.
    pub value: Option<Box<ConfigError>>,
}

impl Problem {
    /// An error about a value of the configuration that has a text of its own.
    fn about(error: Error, path: &str, found: &str, expected: &str) -> Self {
        let value = ConfigError {
            message: error.message.clone(),
            path: path.to_owned(),
            found: format!("{found:?}"),
            expected: expected.to_owned(),
        };
        Self { error, value: Some(Box::new(value)) }
    }
}

impl From<ConfigError> for Problem {
    fn from(value: ConfigError) -> Self {
        Self { error: config_error(&value), value: Some(Box::new(value)) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, value: None }
    }
}

/// What a node makes of a configuration.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The ipam section as host-local understands it.
    pub ipam: Value,
    /// The configuration with this section, validated.
    pub config: Config,
    /// The DNS settings of the ipam section.
    pub dns: Dns,
}

/// The configuration with the node's index filled in. `args` are CNI_ARGS.
///
/// # Errors
/// What is wrong with the configuration, on this node.
pub fn render(
    net: &Value,
    args: &str,
    supplied: &Supplied,
    node: &NodeIdentity,
) -> Result<Rendered, Problem> {
    let explain = |error: ConfigError| {
        // The value in the error is what came out; where it comes from is on another node, or in a file.
        let mut explained = Problem::from(error);
        let origin = format!("{node}{}", supplied.origin());
        explained.error.message = format!("{} ({origin})", explained.error.message);
        explained
    };
    let (mut ipam, mut warnings) = template::render(&supplied.ipam, node).map_err(explain)?;
    let section = At::standing_at(&ipam, "ipam");
    let dns = dns(&section).map_err(explain)?;
    if let Ok(Some(at)) = section.get("dns") {
        warnings.extend(at.unknown_keys(&[&["nameservers", "domain", "search", "options"]]));
    }
    if let Some(section) = ipam.as_object_mut() {
        for key in OWN_KEYS {
            template::remove(section, key);
        }
    }
    let mut net = net.clone();
    if let Some(object) = net.as_object_mut() {
        template::remove(object, "ipam");
        object.insert("ipam".to_owned(), ipam.clone());
    }
    let mut config = Config::parse(&net, args, &[]).map_err(explain)?;
    warnings.append(&mut config.warnings);
    warnings.extend_from_slice(&supplied.warnings);
    config.warnings = warnings;
    Ok(Rendered { ipam, config, dns })
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

/// The ipam section of a configuration.
fn section<'a>(root: &'a At<'a>) -> Result<At<'a>, ConfigError> {
    const EXPECTED: &str = "an object with \"type\" and, for instance, \"carve\"";
    root.get("ipam")?.ok_or_else(|| root.wrong("IPAM config missing 'ipam' key", EXPECTED))
}

/// The folder of templates and of the index file, as the configuration names it.
fn template_dir(ipam: &At<'_>) -> Result<PathBuf, ConfigError> {
    let dir = text(ipam, "cfgDir")?.filter(|dir| !dir.is_empty());
    Ok(dir.map_or_else(|| PathBuf::from(TEMPLATE_DIR), PathBuf::from))
}

/// A text of the ipam section. None of them may contain NUL, which ends a path for the kernel.
fn text(ipam: &At<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(at) = ipam.get(key)? else { return Ok(None) };
    let text = at.string()?;
    if text.contains('\0') {
        return Err(at.wrong(format!("{at}: contains NUL"), "a text without control characters"));
    }
    Ok(Some(text.to_owned()))
}

/// The index of the ipam section: a number or a text.
fn index(ipam: &At<'_>) -> Result<Option<String>, ConfigError> {
    let Some(at) = ipam.get("index")? else { return Ok(None) };
    match at.value() {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(at.mistyped("a whole number from 0 to 4294967295")),
    }
}

/// What a configuration says about which node it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `index`, as written.
    pub index: Option<String>,
    /// `hostname`, the pattern.
    pub pattern: Option<String>,
    /// The administrator's file.
    pub file: PathBuf,
}

/// Reads what a configuration says about which node it is on.
///
/// # Errors
/// If it has no ipam section, or a value has another type.
pub fn wanted(net: &Value) -> Result<Wanted, Problem> {
    let root = At::root(net);
    let ipam = section(&root)?;
    Ok(Wanted {
        index: index(&ipam)?,
        pattern: text(&ipam, "hostname")?,
        file: template_dir(&ipam)?.join("index"),
    })
}
