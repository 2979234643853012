//! Where routes come from and where they go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use etcd_pool::client::Connection;
use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use ipam_core::node::NodeIdentity;
use ipnet::IpNet;

use super::forward::{self, Forward};
use super::peers::PeersSpec;
use super::{connection, interface, is_mapped, known, name, network, path};
use crate::desired::is_host;

/// The protocol number of this program's routes in the kernel. Nobody else is known to use it; below 16 are the
/// kernel's own, and those of daemons are listed in iproute2's rt_protos.
pub(super) const PROTOCOL: u8 = 205;
/// VPP's own socket.
pub(super) const VPP_SOCKET: &str = "/run/vpp/api.sock";
/// Where Calico keeps everything.
const CALICO_PREFIX: &str = "/calico";

/// A source as written.
#[derive(Clone, Debug)]
pub(super) enum SourceSpec {
    Pool(Vec<String>),
    Calico(CalicoSource),
    Peers(PeersSpec),
    File(FileSource),
}

/// Where routes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The nodes and blocks that etcd has for etcd-pool.
    Pool(PoolSource),
    /// The blocks and nodes of Calico in etcd.
    Calico(CalicoSource),
    /// Routes that are computed.
    Peers(Vec<PeerRoute>),
    /// A file.
    File(FileSource),
}

/// The registry of nodes, and blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSource {
    /// The address spaces whose blocks are routed to.
    pub spaces: Vec<String>,
}

/// Calico.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalicoSource {
    /// How its etcd is reached, if it is another one.
    pub etcd: Option<Connection>,
    /// Where it keeps everything.
    pub prefix: String,
    /// Addresses of nodes by their name, before those that Calico knows.
    pub nodes: BTreeMap<String, Vec<IpAddr>>,
    /// Whether addresses that are used outside their block's node get routes of their own.
    pub borrowed: bool,
}

/// The route to a node, computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRoute {
    /// The node's number.
    pub peer: u32,
    /// Its pods.
    pub subnet: IpNet,
    /// Its address.
    pub via: IpAddr,
    /// Whether it is this node.
    pub own: bool,
    /// Where the rule stands.
    pub rule: String,
}

/// A file with routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
}

/// Where routes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSpec {
    /// The kernel of the agent's network namespace.
    Kernel(KernelSink),
    /// VPP.
    Vpp(VppSink),
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSink {
    /// What tells this program's routes from others'.
    pub protocol: u8,
    /// The table.
    pub table: u32,
    /// The metric; 0 is the kernel's own choice.
    pub metric: u32,
    /// The interface to next hops that are in no network of this node's.
    pub interface: Option<String>,
    /// What becomes of next hops that are in no network of this node's.
    pub onlink: Onlink,
    /// What is done so that packets get through.
    pub forward: Forward,
}

/// What becomes of next hops that are in no network of this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onlink {
    /// They are taken to be on the link of `interface`, if there is one.
    Auto,
    /// Every next hop is taken to be on that link.
    Always,
    /// They are refused.
    Never,
}

/// VPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VppSink {
    /// Its socket.
    pub socket: PathBuf,
    /// The table.
    pub table: u32,
}

impl SourceSpec {
    /// What it means on a node.
    pub(super) fn on(
        &self,
        node: Option<&NodeIdentity>,
        space: &str,
    ) -> Result<Source, ConfigError> {
        Ok(match self {
            Self::Pool(spaces) if spaces.is_empty() => {
                Source::Pool(PoolSource { spaces: vec![space.to_owned()] })
            }
            Self::Pool(spaces) => Source::Pool(PoolSource { spaces: spaces.clone() }),
            Self::Calico(calico) => Source::Calico(calico.clone()),
            Self::File(file) => Source::File(file.clone()),
            Self::Peers(rule) => Source::Peers(rule.on(node)?),
        })
    }
}

impl SinkSpec {
    /// What it means on a node: with what stands elsewhere in the configuration.
    pub(super) fn on(&self, resync: Duration, uplink: Option<&str>, subnets: &[IpNet]) -> Self {
        match self {
            Self::Vpp(vpp) => Self::Vpp(vpp.clone()),
            Self::Kernel(kernel) => {
                let (uplink, subnets) = (uplink.map(str::to_owned), subnets.to_vec());
                let forward = Forward { resync, uplink, subnets, ..kernel.forward.clone() };
                Self::Kernel(KernelSink { forward, ..kernel.clone() })
            }
        }
    }
}

impl PeersSpec {
    fn on(&self, node: Option<&NodeIdentity>) -> Result<Vec<PeerRoute>, ConfigError> {
        let Some(node) = node else {
            return Err(ConfigError {
                message: format!("{}: which of its nodes this one is, is not known", self.path),
                path: self.path.clone(),
                found: "no index".to_owned(),
                expected: "\"index\", a host name that ends in its only number, or one of node-local's other \
                           sources"
                    .to_owned(),
            });
        };
        let route = |peer: u32| {
            let subnet = self.subnet.template.render(peer, "");
            let via = self.via.template.render(peer, "");
            let wrong = |text: &super::Written, rendered: &str, expected: &str| ConfigError {
                message: format!(
                    "{}: {:?} for node {peer} is not right (from {:?})",
                    text.path,
                    shown(rendered),
                    shown(&text.text)
                ),
                path: text.path.clone(),
                found: format!("{:?}", shown(rendered)),
                expected: expected.to_owned(),
            };
            let net = network(&subnet).ok_or_else(|| {
                wrong(&self.subnet, &subnet, "a network such as 10.1.{peer}.0/24")
            })?;
            let address: IpAddr = via
                .parse()
                .ok()
                .filter(|address| is_host(*address) && !is_mapped(*address))
                .ok_or_else(|| wrong(&self.via, &via, "an address such as 192.168.16.{peer}"))?;
            let rule = self.path.clone();
            Ok(PeerRoute { peer, subnet: net, via: address, own: peer == node.index, rule })
        };
        self.nodes.iter().map(route).collect()
    }
}

/// The list of sources.
pub(super) fn sources(at: &At<'_>) -> Result<Vec<SourceSpec>, ConfigError> {
    let Some(list) = at.get("sources")? else { return Ok(Vec::new()) };
    list.list()?.map(|element| source(&element)).collect()
}

fn kind<'a>(at: &'a At<'_>, kinds: &str) -> Result<&'a str, ConfigError> {
    let expected = format!("\"type\": one of {kinds}");
    match at.get("type")? {
        Some(value) => {
            // The text belongs to the document, not to the place.
            at.object()?;
            Ok(value.value().as_str().ok_or_else(|| value.mistyped("a string"))?)
        }
        None => Err(at.wrong(format!("{at}: type is missing"), expected)),
    }
}

fn source(at: &At<'_>) -> Result<SourceSpec, ConfigError> {
    const KINDS: &str = "pool, calico, peers or file";
    Ok(match kind(at, KINDS)? {
        "pool" => {
            known(at, &["type", "spaces"])?;
            SourceSpec::Pool(spaces(at)?)
        }
        "calico" => SourceSpec::Calico(calico(at)?),
        "peers" => SourceSpec::Peers(PeersSpec::parse(at)?),
        "file" => {
            known(at, &["type", "path"])?;
            let file = at.get("path")?.ok_or_else(|| {
                at.wrong(format!("{at}: path is missing"), "\"path\": \"/etc/plat/routes.json\"")
            })?;
            SourceSpec::File(FileSource { path: path(&file)? })
        }
        other => {
            return Err(
                at.wrong(format!("{at}.type: {:?} is no source of routes", shown(other)), KINDS)
            );
        }
    })
}

fn spaces(at: &At<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(list) = at.get("spaces")? else { return Ok(Vec::new()) };
    let mut spaces = Vec::new();
    for element in list.list()? {
        let text = element.string()?;
        if ipam_core::identity::Network::new(text).is_err() || spaces.iter().any(|s| s == text) {
            return Err(element.wrong(
                format!("{element}: {:?} is no address space, or is there twice", shown(text)),
                "letters, digits, '_', '.' and '-'",
            ));
        }
        spaces.push(text.to_owned());
    }
    Ok(spaces)
}

fn calico(at: &At<'_>) -> Result<CalicoSource, ConfigError> {
    known(at, &["type", "etcd", "prefix", "nodes", "borrowed"])?;
    let prefix = match at.get("prefix")? {
        None => CALICO_PREFIX.to_owned(),
        Some(value) => {
            let text = value.string()?.trim_end_matches('/');
            if !text.starts_with('/') || text.chars().any(char::is_control) {
                return Err(value.wrong(
                    format!("{value}: {:?} does not begin with a slash", shown(text)),
                    "\"/calico\", which is what it is when it is left out",
                ));
            }
            text.to_owned()
        }
    };
    let mut nodes = BTreeMap::new();
    if let Some(map) = at.get("nodes")? {
        for key in map.object()?.keys() {
            let Some(value) = map.get(key)? else { continue };
            nodes.insert(key.clone(), addresses(&value)?);
        }
    }
    Ok(CalicoSource {
        etcd: at.get("etcd")?.map(|at| connection(&at)).transpose()?,
        prefix,
        nodes,
        borrowed: at.get("borrowed")?.map(|at| at.boolean()).transpose()?.unwrap_or(true),
    })
}

/// An address, or a list of them.
fn addresses(at: &At<'_>) -> Result<Vec<IpAddr>, ConfigError> {
    let one = |at: &At<'_>| {
        let text = at.string()?;
        text.parse::<IpAddr>()
            .ok()
            .filter(|address| is_host(*address) && !is_mapped(*address))
            .ok_or_else(|| {
                at.wrong(
                    format!("{at}: {:?} is no node's address", shown(text)),
                    "such as \"192.168.16.2\"",
                )
            })
    };
    if at.value().is_string() {
        return Ok(vec![one(at)?]);
    }
    at.list()?.map(|element| one(&element)).collect()
}

/// The list of sinks.
pub(super) fn sinks(at: &At<'_>) -> Result<Vec<SinkSpec>, ConfigError> {
    let Some(list) = at.get("sinks")? else { return Ok(Vec::new()) };
    let mut sinks = Vec::new();
    for element in list.list()? {
        let sink = sink(&element)?;
        if sinks.iter().any(|other| same_place(other, &sink)) {
            return Err(
                element.wrong(format!("{element}: this sink is there twice"), "each table once")
            );
        }
        sinks.push(sink);
    }
    forward::appoint(&list, &mut sinks)?;
    Ok(sinks)
}

fn same_place(a: &SinkSpec, b: &SinkSpec) -> bool {
    match (a, b) {
        (SinkSpec::Kernel(a), SinkSpec::Kernel(b)) => a.table == b.table,
        (SinkSpec::Vpp(a), SinkSpec::Vpp(b)) => a.socket == b.socket && a.table == b.table,
        _ => false,
    }
}

fn number(
    at: &At<'_>,
    key: &str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<Option<u32>, ConfigError> {
    let Some(value) = at.get(key)? else { return Ok(None) };
    let number = value.integer()?;
    u32::try_from(number).ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        value.wrong(
            format!("{value}: {number} is not from {first} to {last}"),
            format!("{first} to {last}"),
        )
    })
}

fn sink(at: &At<'_>) -> Result<SinkSpec, ConfigError> {
    const KINDS: &str = "kernel or vpp";
    match kind(at, KINDS)? {
        "kernel" => {
            let own = ["type", "protocol", "table", "metric", "interface", "onlink"];
            known(at, &[&own[..], &forward::KEYS].concat())?;
            let protocol = number(at, "protocol", 5..=255)?.and_then(|n| u8::try_from(n).ok());
            let table = number(at, "table", 1..=u32::MAX)?.unwrap_or(kernel::MAIN_TABLE);
            if table == 255 {
                let message = format!("{at}.table: 255 is the kernel's table of its own addresses");
                return Err(at.wrong(
                    message,
                    "254, the main table, which is what it is when it is left out",
                ));
            }
            let onlink = match at.get("onlink")? {
                None => Onlink::Auto,
                Some(value) => match value.value().as_bool() {
                    Some(true) => Onlink::Always,
                    Some(false) => Onlink::Never,
                    None => return Err(value.mistyped("true or false")),
                },
            };
            let interface = interface(at)?;
            if onlink == Onlink::Always && interface.is_none() {
                let message = format!("{at}.onlink: on which link is not said");
                return Err(at.wrong(message, "\"interface\": the name of the uplink"));
            }
            Ok(SinkSpec::Kernel(KernelSink {
                protocol: protocol.unwrap_or(PROTOCOL),
                table,
                metric: number(at, "metric", 0..=u32::MAX)?.unwrap_or(0),
                interface,
                onlink,
                forward: Forward::parse(at)?,
            }))
        }
        "vpp" => {
            known(at, &["type", "socket", "table"])?;
            let socket = at.get("socket")?.map(|at| path(&at)).transpose()?;
            Ok(SinkSpec::Vpp(VppSink {
                socket: socket.unwrap_or_else(|| PathBuf::from(VPP_SOCKET)),
                table: number(at, "table", 0..=u32::MAX - 1)?.unwrap_or(0),
            }))
        }
        other => {
            Err(at.wrong(format!("{at}.type: {:?} is no sink for routes", shown(other)), KINDS))
        }
    }
}

/// The name of a file's node.
pub(crate) fn node_name(at: &At<'_>) -> Result<Option<String>, ConfigError> {
    name(at, "node")
}
