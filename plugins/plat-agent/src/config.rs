/*!
The configuration: one JSON file, with the terms of the CNI configurations beside it.

It is read in two layers: `…Spec` is what a user wrote with all of it checked by itself, [`Config`] is what it
means on this node, with the node's index filled in.
*/

mod forward;
mod peers;
mod routes;
mod vpp;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_pool::client::Connection;
use etcd_pool::config::connection;
use ipam_core::config::json::{At, shown};
use ipam_core::config::{ConfigError, parse_duration};
use ipam_core::node::NodeIdentity;
use ipam_core::peers::{Template, Variable};
use ipnet::IpNet;
use serde_json::Value;

pub use crate::gc::Gc;
use crate::log::Verbosity;
pub use forward::Forward;
use routes::SourceSpec;
pub(crate) use routes::node_name;
pub use routes::{
    CalicoSource, FileSource, KernelSink, Onlink, PeerRoute, PoolSource, SinkSpec, Source, VppSink,
};

/// Where the file is, unless told otherwise.
pub const CONFIG_FILE: &str = "/etc/plat/agent.json";

const KEYS: &[&str] = &[
    "etcd", "space", "register", "index", "hostname", "cfgDir", "node", "subnets", "uplink",
    "routes", "listen", "log", "gc", "vpp",
];
/// The largest file, in bytes.
const LIMIT: u64 = 4 << 20;
/// The keys that say which node this is, as in node-local's `ipam` section.
const IDENTITY_KEYS: &[&str] = &["index", "hostname", "cfgDir"];
/// How often everything is looked at without a reason.
const RESYNC: Duration = Duration::from_secs(30);

/// What a file says.
#[derive(Clone, Debug)]
pub struct ConfigSpec {
    etcd: Option<Connection>,
    space: String,
    register: Option<bool>,
    identity: Value,
    node: Option<String>,
    subnets: Vec<Written>,
    uplink: UplinkSpec,
    sources: Vec<SourceSpec>,
    sinks: Vec<SinkSpec>,
    resync: Duration,
    listen: Option<SocketAddr>,
    gc: Option<Gc>,
    log: Option<Verbosity>,
    vpp: vpp::VppSpec,
}

#[derive(Clone, Debug, Default)]
struct UplinkSpec {
    addresses: Vec<Written>,
    interface: Option<String>,
}

/// What it means on this node.
#[derive(Clone, Debug)]
pub struct Config {
    /// How etcd is reached, if the file says so.
    pub etcd: Option<Connection>,
    /// The address space of the node's pools.
    pub space: String,
    /// Whether the node is registered in etcd, and what its pools need is done.
    pub register: bool,
    /// The node's name.
    pub node: String,
    /// Its index, where it is known.
    pub index: Option<u32>,
    /// The networks of its pods that no pool knows of.
    pub subnets: Vec<IpNet>,
    /// Its addresses for other nodes; empty: as `interface` has them, or as etcd is spoken to with.
    pub addresses: Vec<IpAddr>,
    /// The interface to other nodes.
    pub interface: Option<String>,
    /// Where routes come from.
    pub sources: Vec<Source>,
    /// Where they go.
    pub sinks: Vec<SinkSpec>,
    /// How often everything is looked at without a reason.
    pub resync: Duration,
    /// Where metrics and health are told.
    pub listen: Option<SocketAddr>,
    /// How what no pod lives for any more is freed, if it is.
    pub gc: Option<Gc>,
    /// How much is told in the log, if the file says so.
    pub log: Option<Verbosity>,
    /// The sockets of the VPPs whose attachments are put back after a restart.
    pub vpps: Vec<PathBuf>,
}

/// A text with places to fill in, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    path: String,
    text: String,
    template: Template,
}

impl ConfigSpec {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence that names the file and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |message: String, expected: &str| ConfigError {
            message,
            path: String::new(),
            found: "nothing".to_owned(),
            expected: expected.to_owned(),
        };
        let shown_path = path.display();
        let text = ipam_stores::read_regular(path, LIMIT).map_err(|error| {
            wrong(
                format!("{shown_path} cannot be read: {error}"),
                "a file with one JSON object; --config names another one",
            )
        })?;
        let value: Value = serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            wrong(
                format!("{shown_path} is not JSON: line {line}, column {column}"),
                "one JSON object",
            )
        })?;
        Self::parse(&value).map_err(|error| ConfigError {
            message: format!("{shown_path}: {}", error.message),
            ..error
        })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(value: &Value) -> Result<Self, ConfigError> {
        let root = At::root(value);
        known(&root, KEYS)?;
        let etcd = root.get("etcd")?.map(|at| connection(&at)).transpose()?;
        let (sources, sinks, resync) = match root.get("routes")? {
            None => (Vec::new(), Vec::new(), RESYNC),
            Some(at) => {
                known(&at, &["sources", "sinks", "resync"])?;
                let resync = at.get("resync")?.map(|at| duration(&at)).transpose()?;
                (routes::sources(&at)?, routes::sinks(&at)?, resync.unwrap_or(RESYNC))
            }
        };
        Ok(Self {
            etcd,
            space: name(&root, "space")?
                .unwrap_or_else(|| etcd_pool::config::DEFAULT_SPACE.to_owned()),
            register: root.get("register")?.map(|at| at.boolean()).transpose()?,
            identity: identity(&root)?,
            node: name(&root, "node")?,
            subnets: written_list(&root, "subnets")?,
            uplink: uplink(&root)?,
            sources,
            sinks,
            resync,
            listen: root.get("listen")?.map(|at| listen(&at)).transpose()?,
            gc: root.get("gc")?.map(|at| Gc::parse(&at)).transpose()?,
            log: root.get("log")?.map(|at| verbosity(&at)).transpose()?,
            vpp: vpp::VppSpec::parse(&root)?,
        })
    }

    /// A configuration that has what node-local needs to find out which node this is.
    pub const fn identity(&self) -> &Value {
        &self.identity
    }

    /// What it means on a node; `host_name` is taken where nothing else says its name.
    ///
    /// # Errors
    /// A value that depends on the node's index where that is not known, or is wrong with it.
    pub fn on(&self, node: Option<&NodeIdentity>, host_name: &str) -> Result<Config, ConfigError> {
        let subnets = self.subnets.iter().map(|text| {
            let rendered = text.on(node)?;
            network(&rendered)
                .ok_or_else(|| text.wrong(&rendered, "a network such as 10.1.{i}.0/24"))
        });
        let addresses = self.uplink.addresses.iter().map(|text| {
            let rendered = text.on(node)?;
            // With or without a prefix length: it is the plugin's `address`, too.
            let plain = rendered.split_once('/').map_or(rendered.as_str(), |(address, _)| address);
            let with_length = !rendered.contains('/') || rendered.parse::<IpNet>().is_ok();
            let address = plain.parse::<IpAddr>().ok().filter(|_| with_length);
            address
                .filter(|address| crate::desired::is_host(*address))
                .ok_or_else(|| text.wrong(&rendered, "an address such as 192.168.16.{i}"))
        });
        let subnets: Vec<IpNet> = subnets.collect::<Result<_, _>>()?;
        let interface = self.uplink.interface.clone();
        let sink = |sink: &SinkSpec| sink.on(self.resync, interface.as_deref(), &subnets);
        let sinks = self.sinks.iter().map(sink).collect();
        let wants_pool = self.sources.iter().any(|source| matches!(source, SourceSpec::Pool(_)));
        Ok(Config {
            etcd: self.etcd.clone(),
            space: self.space.clone(),
            register: self.register.unwrap_or(self.etcd.is_some() || wants_pool),
            node: self.node.clone().unwrap_or_else(|| host_name.to_owned()),
            index: node.map(|node| node.index),
            subnets,
            addresses: addresses.collect::<Result<_, _>>()?,
            interface,
            sources: self
                .sources
                .iter()
                .map(|s| s.on(node, &self.space))
                .collect::<Result<_, _>>()?,
            sinks,
            resync: self.resync,
            listen: self.listen,
            gc: self.gc.clone(),
            log: self.log,
            vpps: self.vpp.sockets(&self.sinks),
        })
    }
}

impl Config {
    /// Whether anything needs the etcd of the file, or of the node.
    pub fn needs_etcd(&self) -> bool {
        self.register
            || self.sources.iter().any(|source| match source {
                Source::Pool(_) => true,
                Source::Calico(calico) => calico.etcd.is_none(),
                Source::Peers(_) | Source::File(_) => false,
            })
    }
}

impl Written {
    fn parse(at: &At<'_>, variable: Variable) -> Result<Self, ConfigError> {
        let text = at.string()?;
        let template = Template::parse(text, variable)
            .map_err(|error| at.wrong(format!("{at}: {error}"), variable.known()))?;
        Ok(Self { path: at.to_string(), text: text.to_owned(), template })
    }

    fn on(&self, node: Option<&NodeIdentity>) -> Result<String, ConfigError> {
        match node {
            Some(node) => Ok(self.template.render(node.index, &node.name)),
            None if !self.template.depends() => Ok(self.text.clone()),
            None => Err(ConfigError {
                message: format!(
                    "{}: {:?} needs the node's index, which is not known",
                    self.path,
                    shown(&self.text)
                ),
                path: self.path.clone(),
                found: format!("{:?}", shown(&self.text)),
                expected: "\"index\", a host name that ends in its only number, or one of node-local's other \
                           sources"
                    .to_owned(),
            }),
        }
    }

    fn wrong(&self, rendered: &str, expected: &str) -> ConfigError {
        let from = if self.template.depends() {
            format!(" (from {:?})", shown(&self.text))
        } else {
            String::new()
        };
        ConfigError {
            message: format!("{}: {:?} is not right{from}", self.path, shown(rendered)),
            path: self.path.clone(),
            found: format!("{:?}", shown(rendered)),
            expected: expected.to_owned(),
        }
    }
}

/// A network without host bits set; IPv4-mapped IPv6 is none.
fn network(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok()?;
    (net == net.trunc() && !is_mapped(net.addr())).then_some(net)
}

const fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn identity(root: &At<'_>) -> Result<Value, ConfigError> {
    let mut ipam = serde_json::Map::new();
    for key in IDENTITY_KEYS {
        if let Some(at) = root.get(key)? {
            ipam.insert((*key).to_owned(), at.value().clone());
        }
    }
    Ok(serde_json::json!({ "ipam": ipam }))
}

fn uplink(root: &At<'_>) -> Result<UplinkSpec, ConfigError> {
    let Some(at) = root.get("uplink")? else { return Ok(UplinkSpec::default()) };
    known(&at, &["addresses", "interface"])?;
    let uplink =
        UplinkSpec { addresses: written_list(&at, "addresses")?, interface: interface(&at)? };
    if uplink.addresses.is_empty() && uplink.interface.is_none() {
        return Err(
            at.wrong(format!("{at}: says nothing"), "\"addresses\", \"interface\", or both")
        );
    }
    Ok(uplink)
}

/// The name of an interface, under `interface`.
fn interface(at: &At<'_>) -> Result<Option<String>, ConfigError> {
    let Some(value) = at.get("interface")? else { return Ok(None) };
    let text = value.string()?;
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    if text.is_empty() || text.len() > 15 || text.contains(wrong) {
        return Err(value.wrong(
            format!("{value}: {:?} is no interface's name", shown(text)),
            "at most 15 characters, such as \"eth1\"",
        ));
    }
    Ok(Some(text.to_owned()))
}

fn name(at: &At<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(value) = at.get(key)? else { return Ok(None) };
    let text = value.string()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 253 || !text.chars().all(plain) {
        return Err(value.wrong(
            format!("{value}: {:?} is no name", shown(text)),
            "letters, digits, '-', '_' and '.'",
        ));
    }
    Ok(Some(text.to_owned()))
}

fn written_list(at: &At<'_>, key: &str) -> Result<Vec<Written>, ConfigError> {
    let Some(value) = at.get(key)? else { return Ok(Vec::new()) };
    if value.value().is_string() {
        return Ok(vec![Written::parse(&value, Variable::Node)?]);
    }
    value.list()?.map(|element| Written::parse(&element, Variable::Node)).collect()
}

/// An address and port that only this machine reaches: what is told there names nodes and addresses.
fn listen(at: &At<'_>) -> Result<SocketAddr, ConfigError> {
    let text = at.string()?;
    text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback()).ok_or_else(|| {
        at.wrong(
            format!("{at}: {:?} is no loopback address with a port", shown(text)),
            "such as \"127.0.0.1:9434\"",
        )
    })
}

fn verbosity(at: &At<'_>) -> Result<Verbosity, ConfigError> {
    let text = at.string()?;
    let known = Verbosity::WORDS.iter().find(|(word, _)| *word == text);
    known.map(|(_, verbosity)| *verbosity).ok_or_else(|| {
        let words = Verbosity::WORDS.map(|(word, _)| word).join(", ");
        at.wrong(format!("{at}: {:?} is no level", shown(text)), format!("one of {words}"))
    })
}

fn duration(at: &At<'_>) -> Result<Duration, ConfigError> {
    let text = at.string()?;
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    parse_duration(text).filter(|time| range.contains(time)).ok_or_else(|| {
        at.wrong(format!("{at}: {:?} is no time from 1s to 1h", shown(text)), "such as \"30s\"")
    })
}

fn path(at: &At<'_>) -> Result<PathBuf, ConfigError> {
    let text = at.string()?;
    if text.is_empty() || text.contains('\0') || !text.starts_with('/') {
        return Err(
            at.wrong(format!("{at}: {:?} is no absolute path", shown(text)), "a path from / on")
        );
    }
    Ok(PathBuf::from(text))
}

/// Refuses keys that mean nothing.
pub(crate) fn known(at: &At<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    let is_known = |key: &&String| keys.iter().any(|known| known.eq_ignore_ascii_case(key));
    match at.object()?.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => {
            let place = at.to_string();
            let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
            Err(at.wrong(
                format!("{place}unknown key {:?}", shown(key)),
                format!("one of {}", keys.join(", ")),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
