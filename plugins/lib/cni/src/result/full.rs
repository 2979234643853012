//! The result of a main plugin: interfaces, and the addresses on them.

use serde::Serialize;

use super::{Dns, IpConfig, IpamResult, Route, pretty};
use crate::version::SpecVersion;

/// What a main plugin answers to ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FullResult {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The addresses.
    pub ips: Vec<InterfaceIp>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The DNS settings.
    pub dns: Dns,
}

/// An interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; may be empty.
    pub mac: String,
    /// The network namespace it is in, by path; empty on the host.
    pub sandbox: String,
    /// Its MTU in bytes; told from 1.1.0 on.
    pub mtu: Option<u32>,
    /// The socket of a userspace interface, by path; told from 1.1.0 on.
    pub socket_path: Option<String>,
    /// The PCI address of a device; told from 1.1.0 on.
    pub pci_id: Option<String>,
}

/// An address of a result, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceIp {
    /// The address.
    pub config: IpConfig,
    /// The position of its interface in the result.
    pub interface: Option<usize>,
}

impl From<IpConfig> for InterfaceIp {
    fn from(config: IpConfig) -> Self {
        Self { config, interface: None }
    }
}

impl From<IpamResult> for FullResult {
    fn from(IpamResult { ips, routes, dns }: IpamResult) -> Self {
        Self {
            interfaces: Vec::new(),
            ips: ips.into_iter().map(InterfaceIp::from).collect(),
            routes,
            dns,
        }
    }
}

impl From<FullResult> for IpamResult {
    fn from(FullResult { ips, routes, dns, .. }: FullResult) -> Self {
        Self { ips: ips.into_iter().map(|ip| ip.config).collect(), routes, dns }
    }
}

/// 0.3.0 to 0.4.0.
#[derive(Serialize)]
struct Middle<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<MiddleInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<MiddleIp>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
    dns: &'a Dns,
}

#[derive(Serialize)]
struct MiddleInterface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

#[derive(Serialize)]
struct MiddleIp {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<std::net::IpAddr>,
}

/// 1.0.0 and 1.1.0: the reference prints the keys of all objects but routes by the alphabet.
#[derive(Serialize)]
struct New<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<NewInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<NewIp>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
}

#[derive(Serialize)]
struct NewInterface<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    name: &'a str,
    #[serde(rename = "pciID", skip_serializing_if = "Option::is_none")]
    pci_id: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
    #[serde(rename = "socketPath", skip_serializing_if = "Option::is_none")]
    socket_path: Option<&'a str>,
}

#[derive(Serialize)]
struct NewIp {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
}

impl FullResult {
    /// The result as text in the form of a spec version. Versions before 0.3.0 know no interfaces and one address
    /// of each family: the first, as the reference's library converts.
    pub fn render(&self, spec: SpecVersion) -> String {
        let version = spec.as_str();
        if spec <= SpecVersion::V0_2_0 {
            return IpamResult::from(self.clone()).render(spec);
        }
        let (routes, dns) = (self.routes.as_slice(), &self.dns);
        if spec <= SpecVersion::V0_4_0 {
            let interfaces = self.interfaces.iter().map(|interface| MiddleInterface {
                name: &interface.name,
                mac: &interface.mac,
                sandbox: &interface.sandbox,
            });
            let ips = self.ips.iter().map(|ip| MiddleIp {
                version: if ip.config.address.is_ipv4() { "4" } else { "6" },
                interface: ip.interface,
                address: ip.config.cidr(),
                gateway: ip.config.gateway,
            });
            let (interfaces, ips) = (interfaces.collect(), ips.collect());
            return pretty(&Middle { version, interfaces, ips, routes, dns });
        }
        let all = spec >= SpecVersion::V1_1_0;
        let interfaces = self.interfaces.iter().map(|interface| NewInterface {
            mac: &interface.mac,
            mtu: interface.mtu.filter(|mtu| all && *mtu != 0),
            name: &interface.name,
            pci_id: interface.pci_id.as_deref().filter(|text| all && !text.is_empty()),
            sandbox: &interface.sandbox,
            socket_path: interface.socket_path.as_deref().filter(|text| all && !text.is_empty()),
        });
        let ips = self.ips.iter().map(|ip| NewIp {
            address: ip.config.cidr(),
            gateway: ip.config.gateway,
            interface: ip.interface,
        });
        let (interfaces, ips) = (interfaces.collect(), ips.collect());
        pretty(&New { version, dns, interfaces, ips, routes })
    }
}
