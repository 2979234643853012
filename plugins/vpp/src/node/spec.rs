/*!
The node's part of a network configuration, as written.

What can be seen without knowing the node is refused here; what depends on its number, in `setup`. An
unknown key is refused, too: here it is a misspelt one, and half a configuration is worse than none.
*/

use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use ipam_core::peers::{Template, Variable};
use vpp_api::Mac;

use super::pci::PciAddress;

mod peers;

pub(super) use peers::PeersSpec;

/// The keys of a network configuration that are read here.
pub const KEYS: &[&str] = &["uplink", "routes", "peers", "hostLink"];

/// MTUs that an interface may be given, in bytes: from the least that every IPv4 host takes on.
const MTU: std::ops::RangeInclusive<i64> = 576..=65_535;

/// The node's part of VPP, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSpec {
    pub(super) uplink: Option<UplinkSpec>,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) peers: Vec<PeersSpec>,
    pub(super) host_link: Option<HostLinkSpec>,
}

/// The interface to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UplinkSpec {
    pub(super) selector: Selector,
    pub(super) addresses: Vec<Written>,
    pub(super) mtu: Option<u32>,
    pub(super) gateways: Vec<Written>,
}

/// How an interface of VPP is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By the PCI address of its device.
    Pci(PciAddress),
    /// By VPP's name for it.
    Name(String),
    /// By the tag that VPP's startup configuration gives it.
    Tag(String),
    /// By its Ethernet address.
    Mac(Mac),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteSpec {
    pub(super) dst: Written,
    pub(super) gw: Written,
}

/// A link between VPP and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostLinkSpec {
    pub(super) kind: HostLinkKind,
    pub(super) vpp: Vec<Written>,
    pub(super) host: Vec<Written>,
    pub(super) routes: Option<Vec<Written>>,
    pub(super) host_addresses: Vec<Written>,
    pub(super) name: Option<String>,
    pub(super) vpp_name: Option<String>,
    pub(super) mtu: Option<u32>,
}

/// What a host link is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLinkKind {
    /// A veth pair; VPP has one end by af_packet.
    Veth,
    /// A tap; needs `/dev/vhost-net`.
    Tap,
}

/// A text with placeholders, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) template: Template,
}

impl NodeSpec {
    /// Reads [`KEYS`] of a network configuration; without any of them there is nothing to do.
    ///
    /// # Errors
    /// The first thing that cannot be meant so.
    pub fn parse(root: &At<'_>) -> Result<Self, ConfigError> {
        let mut spec = Self::default();
        if let Some(uplink) = root.get("uplink")? {
            spec.uplink = Some(UplinkSpec::parse(&uplink)?);
        }
        if let Some(routes) = root.get("routes")? {
            spec.read_routes(&routes)?;
        }
        if let Some(peers) = root.get("peers")? {
            spec.read_peers(&peers)?;
        }
        if let Some(link) = root.get("hostLink")? {
            spec.host_link = Some(HostLinkSpec::parse(&link)?);
        }
        Ok(spec)
    }

    /// A list of routes and of rules for peers, or an object with the latter.
    fn read_routes(&mut self, routes: &At<'_>) -> Result<(), ConfigError> {
        if routes.value().is_object() {
            known(routes, &["peers"])?;
            return match routes.get("peers")? {
                Some(peers) => self.read_peers(&peers),
                None => Ok(()),
            };
        }
        for route in routes.list()? {
            if let Some(peers) = route.get("peers")? {
                known(&route, &["peers"])?;
                self.read_peers(&peers)?;
            } else {
                self.routes.push(RouteSpec::parse(&route)?);
            }
        }
        Ok(())
    }

    /// One rule, or a list of them.
    fn read_peers(&mut self, peers: &At<'_>) -> Result<(), ConfigError> {
        if !peers.value().is_array() {
            self.peers.push(PeersSpec::parse(peers)?);
            return Ok(());
        }
        for rule in peers.list()? {
            self.peers.push(PeersSpec::parse(&rule)?);
        }
        Ok(())
    }

    /// Whether the node has to be known: peers leave it out, and placeholders stand for it.
    pub fn needs_identity(&self) -> bool {
        let depends = |all: &[Written]| all.iter().any(|written| written.template.depends());
        !self.peers.is_empty()
            || self
                .uplink
                .as_ref()
                .is_some_and(|it| depends(&it.addresses) || depends(&it.gateways))
            || self.routes.iter().any(|it| it.dst.template.depends() || it.gw.template.depends())
            || self.host_link.as_ref().is_some_and(|it| {
                let lists = [&it.vpp, &it.host, &it.host_addresses];
                lists.iter().any(|list| depends(list)) || it.routes.as_deref().is_some_and(depends)
            })
    }
}

impl UplinkSpec {
    fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const HOW: &str = "exactly one of \"pci\", \"name\", \"tag\" and \"mac\"";
        known(at, &["pci", "name", "tag", "mac", "address", "mtu", "gateway"])?;
        let mut selectors = Vec::new();
        for key in ["pci", "name", "tag", "mac"] {
            if let Some(value) = at.get(key)? {
                selectors.push(Selector::parse(key, &value)?);
            }
        }
        let selector = match selectors.pop() {
            Some(selector) if selectors.is_empty() => selector,
            Some(_) => {
                return Err(at.wrong(format!("{at}: the interface is named more than once"), HOW));
            }
            None => return Err(at.wrong(format!("{at}: which interface is not said"), HOW)),
        };
        let gateways = written_list(at, "gateway")?;
        let addresses = written_list(at, "address")?;
        Ok(Self { selector, addresses, mtu: mtu(at)?, gateways })
    }
}

impl Selector {
    fn parse(key: &str, at: &At<'_>) -> Result<Self, ConfigError> {
        let text = at.string()?;
        let wrong = |what: &str, right: &str| {
            at.wrong(format!("{at}: {:?} is no {what}", shown(text)), right)
        };
        Ok(match key {
            "pci" => {
                let right = "an address as lspci -D writes it, such as 0000:00:04.0";
                Self::Pci(text.parse().map_err(|_| wrong("PCI address", right))?)
            }
            "mac" => {
                let right = "six pairs of hexadecimal digits, such as 02:00:00:00:04:00";
                Self::Mac(text.parse().map_err(|_| wrong("Ethernet address", right))?)
            }
            _ => {
                let fits =
                    (1..64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
                let right = "1 to 63 visible ASCII characters";
                match (fits, key) {
                    (false, "name") => return Err(wrong("interface name", right)),
                    (false, _) => return Err(wrong("tag", right)),
                    (true, "name") => Self::Name(text.to_owned()),
                    (true, _) => Self::Tag(text.to_owned()),
                }
            }
        })
    }
}

/// As in `the uplink (PCI address 0000:00:04.0)`.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pci(address) => write!(f, "PCI address {address}"),
            Self::Name(name) => write!(f, "name {name}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Mac(mac) => write!(f, "Ethernet address {mac}"),
        }
    }
}

impl RouteSpec {
    fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const RIGHT: &str = "{\"dst\": \"10.9.0.0/16\", \"gw\": \"192.168.16.254\"}";
        known(at, &["dst", "gw"])?;
        let get = |key: &'static str| -> Result<Written, ConfigError> {
            match at.get(key)? {
                Some(value) => written(&value, Variable::Node),
                None => Err(at.wrong(format!("{at}: {key} is missing"), RIGHT)),
            }
        };
        Ok(Self { dst: get("dst")?, gw: get("gw")? })
    }
}

impl HostLinkSpec {
    fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const KEYS: [&str; 8] =
            ["kind", "vpp", "host", "routes", "hostAddresses", "name", "vppName", "mtu"];
        known(at, &KEYS)?;
        let kind = match at.get("kind")? {
            None => HostLinkKind::Veth,
            Some(kind) => match kind.string()? {
                "veth" => HostLinkKind::Veth,
                "tap" => HostLinkKind::Tap,
                other => {
                    let text = format!("{kind}: {:?} is no kind of host link", shown(other));
                    return Err(kind.wrong(text, "\"veth\" or \"tap\""));
                }
            },
        };
        let routes = match at.get("routes")? {
            Some(_) => Some(written_list(at, "routes")?),
            None => None,
        };
        let link = Self {
            kind,
            vpp: written_list(at, "vpp")?,
            host: written_list(at, "host")?,
            routes,
            host_addresses: written_list(at, "hostAddresses")?,
            name: device(at, "name")?,
            vpp_name: device(at, "vppName")?,
            mtu: mtu(at)?,
        };
        if link.vpp.is_empty() || link.host.is_empty() {
            let missing = if link.vpp.is_empty() { "vpp" } else { "host" };
            return Err(at.wrong(
                format!("{at}: {missing} is missing: each end of the link needs an address"),
                "\"vpp\": \"172.30.{i}.1/30\", \"host\": \"172.30.{i}.2/30\"",
            ));
        }
        Ok(link)
    }
}

/// The name of a network device.
fn device(at: &At<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(value) = at.get(key)? else { return Ok(None) };
    let name = value.string()?;
    let is_part = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    if (1..16).contains(&name.len()) && name.bytes().all(is_part) && name != "." && name != ".." {
        return Ok(Some(name.to_owned()));
    }
    Err(value.wrong(
        format!("{value}: {:?} is no name of a network device", shown(name)),
        "1 to 15 visible ASCII characters, without / : %",
    ))
}

fn mtu(at: &At<'_>) -> Result<Option<u32>, ConfigError> {
    let Some(value) = at.get("mtu")? else { return Ok(None) };
    let bytes = value.integer()?;
    match u32::try_from(bytes) {
        Ok(mtu) if MTU.contains(&bytes) => Ok(Some(mtu)),
        _ => Err(value.wrong(
            format!("{value}: {bytes} is no MTU"),
            format!("a whole number of bytes from {} to {}", MTU.start(), MTU.end()),
        )),
    }
}

/// The texts of a key: one, or a list.
fn written_list(at: &At<'_>, key: &str) -> Result<Vec<Written>, ConfigError> {
    let Some(value) = at.get(key)? else { return Ok(Vec::new()) };
    if value.value().is_string() {
        return Ok(vec![written(&value, Variable::Node)?]);
    }
    value.list()?.map(|element| written(&element, Variable::Node)).collect()
}

fn written(at: &At<'_>, variable: Variable) -> Result<Written, ConfigError> {
    let text = at.string()?;
    let wrong = |error| at.wrong(format!("{at}: {error}"), variable.known());
    let template = Template::parse(text, variable).map_err(wrong)?;
    Ok(Written { path: at.to_string(), text: text.to_owned(), template })
}

/// Refuses keys that mean nothing.
fn known(at: &At<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    let is_known = |key: &&String| keys.iter().any(|known| known.eq_ignore_ascii_case(key));
    match at.object()?.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => Err(at.wrong(
            format!("{at}: unknown key {:?}", shown(key)),
            format!("one of {}", keys.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests;
