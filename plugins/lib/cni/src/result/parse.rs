/*!
Results of other plugins, of any spec version.

The form is told by what is there, not by `cniVersion`: plugins are known to leave it out. Keys are read without
regard to case and `null` is as absent, as the reference's library decodes them.
*/

use std::net::IpAddr;

use serde_json::Value;

use super::{Dns, FullResult, Interface, InterfaceIp, IpConfig, IpamResult, Route};
use crate::error::{Code, Error, cut};
use crate::run::key;

impl FullResult {
    /// Reads a result of any version from 0.1.0 to 1.1.0.
    ///
    /// # Errors
    /// Code 6: something in it is not what it must be.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        if !value.is_object() {
            return Err(wrong("", value, "an object"));
        }
        let mut result = Self { dns: dns(value)?, ..Self::default() };
        for (name, v6) in [("ip4", false), ("ip6", true)] {
            let Some(old) = key(value, name) else { continue };
            let at = format!("{name}.ip");
            let config = ip_config(old, "ip", &at)?;
            if config.address.is_ipv6() != v6 {
                return Err(wrong(&at, old, "an address of this family"));
            }
            result.ips.push(config.into());
            result.routes.extend(routes(old, &format!("{name}.routes"))?);
        }
        for (i, interface) in list(value, "interfaces", "interfaces")?.iter().enumerate() {
            result.interfaces.push(read_interface(interface, &format!("interfaces[{i}]"))?);
        }
        for (i, ip) in list(value, "ips", "ips")?.iter().enumerate() {
            let at = format!("ips[{i}]");
            let config = ip_config(ip, "address", &format!("{at}.address"))?;
            let interface = match key(ip, "interface") {
                None => None,
                Some(position) => {
                    let wrong = || wrong(&format!("{at}.interface"), position, "a whole number");
                    // The reference's library takes a negative one for none.
                    usize::try_from(position.as_i64().ok_or_else(wrong)?).ok()
                }
            };
            result.ips.push(InterfaceIp { config, interface });
        }
        result.routes.extend(routes(value, "routes")?);
        Ok(result)
    }
}

impl IpamResult {
    /// Reads a result of any version from 0.1.0 to 1.1.0; interfaces in it are left out.
    ///
    /// # Errors
    /// As [`FullResult::parse`].
    pub fn parse(value: &Value) -> Result<Self, Error> {
        FullResult::parse(value).map(Self::from)
    }
}

fn wrong(at: &str, found: &Value, expected: &str) -> Error {
    let at = if at.is_empty() { "the result" } else { at };
    Error::new(Code::Decode, format!("invalid CNI result: {at} is not {expected}"))
        .with_details(format!("found {}", cut(&found.to_string())))
}

fn list<'a>(object: &'a Value, name: &str, at: &str) -> Result<&'a [Value], Error> {
    match key(object, name) {
        None => Ok(&[]),
        Some(Value::Array(elements)) => Ok(elements),
        Some(other) => Err(wrong(at, other, "a list")),
    }
}

/// A text; empty where there is none.
fn text(object: &Value, name: &str, at: &str) -> Result<String, Error> {
    match key(object, name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(&format!("{at}.{name}"), other, "a text")),
    }
}

fn optional(object: &Value, name: &str, at: &str) -> Result<Option<String>, Error> {
    Ok(Some(text(object, name, at)?).filter(|text| !text.is_empty()))
}

fn ip_config(object: &Value, name: &str, at: &str) -> Result<IpConfig, Error> {
    let written = key(object, name).unwrap_or(&Value::Null);
    let cidr = written.as_str().and_then(parse_cidr);
    let (address, prefix) = cidr.ok_or_else(|| wrong(at, written, "ADDRESS/PREFIX"))?;
    Ok(IpConfig { address, prefix, gateway: gateway(object, "gateway", at)? })
}

fn gateway(object: &Value, name: &str, at: &str) -> Result<Option<IpAddr>, Error> {
    match key(object, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value) => {
            let address = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
            let wrong = || wrong(&format!("{at}: {name}"), value, "an address");
            Ok(Some(address.ok_or_else(wrong)?.to_canonical()))
        }
    }
}

/// An address with its prefix length; an IPv4 address in an IPv6 one is an IPv4 address, as in Go.
fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    if prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    match (address, address.to_canonical()) {
        _ if prefix > bits => None,
        (IpAddr::V6(_), short @ IpAddr::V4(_)) => Some((short, prefix.checked_sub(96)?)),
        _ => Some((address, prefix)),
    }
}

fn routes(object: &Value, at: &str) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    for (i, route) in list(object, "routes", at)?.iter().enumerate() {
        let at = format!("{at}[{i}]");
        let number = |name: &str| -> Result<Option<i64>, Error> {
            let Some(value) = key(route, name) else { return Ok(None) };
            let wrong = || wrong(&format!("{at}.{name}"), value, "a whole number");
            value.as_i64().map(Some).ok_or_else(wrong)
        };
        let written = key(route, "dst").unwrap_or(&Value::Null);
        let dst = written
            .as_str()
            .filter(|text| parse_cidr(text).is_some())
            .ok_or_else(|| wrong(&format!("{at}.dst"), written, "ADDRESS/PREFIX"))?;
        routes.push(Route {
            dst: dst.to_owned(),
            gw: gateway(route, "gw", &at)?,
            mtu: number("mtu")?.unwrap_or_default(),
            advmss: number("advmss")?.unwrap_or_default(),
            priority: number("priority")?.unwrap_or_default(),
            table: number("table")?,
            scope: number("scope")?,
        });
    }
    Ok(routes)
}

fn dns(value: &Value) -> Result<Dns, Error> {
    let Some(dns) = key(value, "dns") else { return Ok(Dns::default()) };
    if !dns.is_object() {
        return Err(wrong("dns", dns, "an object"));
    }
    let texts = |name: &str| -> Result<Vec<String>, Error> {
        let at = format!("dns.{name}");
        let elements = list(dns, name, &at)?.iter();
        elements
            .map(|element| {
                element
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| wrong(&at, element, "a list of texts"))
            })
            .collect()
    };
    Ok(Dns {
        nameservers: texts("nameservers")?,
        domain: text(dns, "domain", "dns")?,
        search: texts("search")?,
        options: texts("options")?,
    })
}

fn read_interface(value: &Value, at: &str) -> Result<Interface, Error> {
    if !value.is_object() {
        return Err(wrong(at, value, "an object"));
    }
    let mtu = match key(value, "mtu") {
        None => None,
        Some(mtu) => {
            let bytes = mtu.as_u64().and_then(|mtu| u32::try_from(mtu).ok());
            Some(bytes.ok_or_else(|| wrong(&format!("{at}.mtu"), mtu, "a number of bytes"))?)
        }
    };
    Ok(Interface {
        name: text(value, "name", at)?,
        mac: text(value, "mac", at)?,
        sandbox: text(value, "sandbox", at)?,
        mtu: mtu.filter(|mtu| *mtu != 0),
        socket_path: optional(value, "socketPath", at)?,
        pci_id: optional(value, "pciID", at)?,
    })
}
