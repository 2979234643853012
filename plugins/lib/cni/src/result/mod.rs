/*!
Results, in the form of each spec version.

Order of keys and absence of empty ones are the reference's: results are compared as text by people and
by tests.
*/

mod answer;
mod full;
mod parse;

pub use answer::Answer;
pub use full::{FullResult, Interface, InterfaceIp};

use std::net::IpAddr;

use serde::Serialize;

use crate::version::SpecVersion;

/// What an IPAM plugin answers to ADD: no interfaces, no indexes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamResult {
    /// The addresses.
    pub ips: Vec<IpConfig>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The DNS settings.
    pub dns: Dns,
}

/// An address of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The address.
    pub address: IpAddr,
    /// The prefix length of its subnet.
    pub prefix: u8,
    /// The gateway.
    pub gateway: Option<IpAddr>,
}

/// A route of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The destination, `ADDRESS/PREFIX`.
    pub dst: String,
    /// The next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The MTU in bytes; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtu: i64,
    /// The advertised TCP segment size in bytes; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub advmss: i64,
    /// The metric; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// The routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<i64>,
    /// The scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The DNS settings of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.nameservers.is_empty()
            && self.domain.is_empty()
            && self.search.is_empty()
            && self.options.is_empty()
    }
}

/// 0.1.0 and 0.2.0: one address of each family.
#[derive(Serialize)]
struct Old<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp<'a>>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct OldIp<'a> {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<OldRoute<'a>>,
}

#[derive(Serialize)]
struct OldRoute<'a> {
    dst: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

/// 0.3.0 to 0.4.0.
#[derive(Serialize)]
struct Middle<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    ips: Vec<MiddleIp>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
    dns: &'a Dns,
}

#[derive(Serialize)]
struct MiddleIp {
    version: &'static str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

/// 1.0.0 and 1.1.0.
#[derive(Serialize)]
struct New<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
    ips: Vec<NewIp>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
}

#[derive(Serialize)]
struct NewIp {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl IpamResult {
    /// The result as text in the form of a spec version.
    pub fn render(&self, spec: SpecVersion) -> String {
        let version = spec.as_str();
        if spec <= SpecVersion::V0_2_0 {
            let (ip4, ip6) = (self.old_ip(false), self.old_ip(true));
            return pretty(&Old { version, ip4, ip6, dns: &self.dns });
        }
        let (routes, dns) = (self.routes.as_slice(), &self.dns);
        if spec <= SpecVersion::V0_4_0 {
            let ips = self.ips.iter().map(|ip| MiddleIp {
                version: if ip.address.is_ipv4() { "4" } else { "6" },
                address: ip.cidr(),
                gateway: ip.gateway,
            });
            return pretty(&Middle { version, ips: ips.collect(), routes, dns });
        }
        let ips = self.ips.iter().map(|ip| NewIp { address: ip.cidr(), gateway: ip.gateway });
        pretty(&New { version, dns, ips: ips.collect(), routes })
    }

    fn old_ip(&self, v6: bool) -> Option<OldIp<'_>> {
        let ip = self.ips.iter().find(|ip| ip.address.is_ipv6() == v6)?;
        let routes = self
            .routes
            .iter()
            .filter(|route| route.dst.contains(':') == v6)
            .map(|route| OldRoute { dst: &route.dst, gw: route.gw })
            .collect();
        Some(OldIp { ip: ip.cidr(), gateway: ip.gateway, routes })
    }
}

impl IpConfig {
    fn cidr(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

/// JSON as the reference prints it: indented by four spaces, no final newline.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(512);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // Plain structures of texts and numbers into memory: there is nothing that could fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
