/*!
One result of several.

Addresses and routes are put together in the order of the list. What a pod could not use, or what would depend on who
came first, is an error that names both sides: an address given twice, two default routes, one destination by two next
hops, and gateways that contradict each other.
*/

use std::net::IpAddr;

use cni::{Dns, Error, IpConfig, IpamResult, Route, SpecVersion};
use ipam_core::addr::Cidr;

use crate::errors::wrong;

/// Puts results together; each comes with the name of its IPAM.
///
/// # Errors
/// Code 7: they contradict each other, or the version of the specification cannot tell all of it.
pub(crate) fn merge(
    parts: &[(&str, IpamResult)],
    version: SpecVersion,
) -> Result<IpamResult, Error> {
    let mut merged = IpamResult::default();
    let mut addresses: Vec<(&str, IpConfig)> = Vec::new();
    let mut routes: Vec<(&str, Route)> = Vec::new();
    for (name, part) in parts {
        for ip in &part.ips {
            for (other, earlier) in addresses.iter().filter(|(other, _)| other != name) {
                agree((other, earlier), (name, ip))?;
            }
            addresses.push((name, ip.clone()));
        }
        for route in &part.routes {
            match clash(&routes, name, route) {
                None => routes.push((name, route.clone())),
                Some((other, earlier)) if is_default(route) => {
                    return Err(wrong(
                        format!(
                            "default routes of both {other} ({}) and {name} ({})",
                            told(earlier),
                            told(route)
                        ),
                        "leave \"routes\" out of one of them, or give them different priorities",
                    ));
                }
                Some((_, earlier)) if earlier == route => {}
                Some((other, earlier)) => {
                    return Err(wrong(
                        format!(
                            "{other} and {name} contradict each other: {} and {}",
                            told(earlier),
                            told(route)
                        ),
                        "one route for each destination, or different priorities",
                    ));
                }
            }
        }
        add_dns(&mut merged.dns, &part.dns);
    }
    merged.ips = addresses.into_iter().map(|(_, ip)| ip).collect();
    merged.routes = routes.into_iter().map(|(_, route)| route).collect();
    if version < SpecVersion::V0_3_0 {
        for v6 in [false, true] {
            if merged.ips.iter().filter(|ip| ip.address.is_ipv6() == v6).count() > 1 {
                return Err(wrong(
                    format!(
                        "CNI version {} does not support more than 1 address per family",
                        version.as_str()
                    ),
                    "\"cniVersion\": \"0.3.1\" or later",
                ));
            }
        }
    }
    Ok(merged)
}

/// Whether the addresses of two IPAMs can be on one interface.
fn agree((one, a): (&str, &IpConfig), (other, b): (&str, &IpConfig)) -> Result<(), Error> {
    if a.address == b.address {
        return Err(wrong(
            format!("{one} and {other} both give {}", a.address),
            "IPAMs of one chain must have ranges of their own",
        ));
    }
    for ((giver, ip), (taker, at)) in [((one, a), (other, b)), ((other, b), (one, a))] {
        if at.gateway == Some(ip.address) {
            return Err(wrong(
                format!("{giver} gives {}, which is the gateway of {taker}", ip.address),
                "exclude the gateway from the ranges",
            ));
        }
    }
    let subnet = |ip: &IpConfig| Cidr::new(ip.address.into(), ip.prefix).map(|cidr| cidr.network());
    match (a.gateway, b.gateway) {
        (Some(first), Some(second)) if first != second && subnet(a) == subnet(b) => Err(wrong(
            format!(
                "{one} and {other} name different gateways for one subnet: {first} for {}/{} and {second} for {}/{}",
                a.address, a.prefix, b.address, b.prefix
            ),
            "the same \"gateway\" in both",
        )),
        _ => Ok(()),
    }
}

/// The route of another IPAM that stands in the way: one to the same destination in the same table with the same
/// priority.
fn clash<'a>(
    routes: &'a [(&'a str, Route)],
    name: &str,
    route: &Route,
) -> Option<(&'a str, &'a Route)> {
    let same = |other: &Route| {
        destination(other) == destination(route)
            && other.table == route.table
            && other.priority == route.priority
    };
    let found = routes.iter().find(|(other, earlier)| *other != name && same(earlier));
    found.map(|(other, earlier)| (*other, earlier))
}

/// The destination, however it is written.
fn destination(route: &Route) -> (Option<IpAddr>, u8) {
    match Cidr::parse(&route.dst) {
        Some(cidr) => (Some(cidr.network().first().into()), cidr.prefix()),
        None => (None, 0),
    }
}

fn is_default(route: &Route) -> bool {
    matches!(destination(route), (Some(_), 0))
}

fn told(route: &Route) -> String {
    match route.gw {
        Some(gateway) => format!("{} via {gateway}", route.dst),
        None => route.dst.clone(),
    }
}

fn add_dns(merged: &mut Dns, part: &Dns) {
    let add = |all: &mut Vec<String>, more: &[String]| {
        for text in more {
            if !all.contains(text) {
                all.push(text.clone());
            }
        }
    };
    add(&mut merged.nameservers, &part.nameservers);
    add(&mut merged.search, &part.search);
    add(&mut merged.options, &part.options);
    if merged.domain.is_empty() {
        merged.domain.clone_from(&part.domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn merged(parts: &[Value]) -> Result<IpamResult, String> {
        let names = ["a", "b", "c"];
        let parts: Vec<(&str, IpamResult)> = names
            .into_iter()
            .zip(parts.iter().map(|part| IpamResult::parse(part).unwrap()))
            .collect();
        merge(&parts, SpecVersion::V1_0_0).map_err(|error| {
            assert_eq!(error.code.number(), 7);
            error.message
        })
    }

    fn ip(address: &str, gateway: Option<&str>) -> Value {
        json!({"ips": [{"address": address, "gateway": gateway}]})
    }

    fn route(dst: &str, gw: Option<&str>, priority: i64) -> Value {
        json!({"routes": [{"dst": dst, "gw": gw, "priority": priority}]})
    }

    #[test]
    fn everything_is_there_in_order() {
        let v4 = json!({
            "ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1"}, {"address": "10.2.2.2/24", "gateway": "10.2.2.1"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.9"}],
            "dns": {"nameservers": ["10.0.0.1"], "domain": "a.example", "search": ["x"]},
        });
        let v6 = json!({
            "ips": [{"address": "fd00::2/64"}],
            "routes": [{"dst": "::/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.9"}],
            "dns": {"nameservers": ["10.0.0.1", "fd00::1"], "domain": "b.example", "search": ["x", "y"]},
        });
        assert_eq!(
            merged(&[v4, v6]).unwrap(),
            IpamResult::parse(&json!({
                "ips": [
                    {"address": "10.1.2.2/24", "gateway": "10.1.2.1"},
                    {"address": "10.2.2.2/24", "gateway": "10.2.2.1"},
                    {"address": "fd00::2/64"},
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.9"}, {"dst": "::/0"}],
                "dns": {"nameservers": ["10.0.0.1", "fd00::1"], "domain": "a.example", "search": ["x", "y"]},
            }))
            .unwrap()
        );
    }

    #[test]
    fn contradictions_name_both_sides() {
        for (one, other, message) in [
            (ip("10.1.2.2/24", None), ip("10.1.2.2/16", None), "a and b both give 10.1.2.2"),
            (
                ip("10.1.2.2/24", Some("10.1.2.1")),
                ip("10.1.2.3/24", Some("10.1.2.254")),
                "a and b name different gateways for one subnet: 10.1.2.1 for 10.1.2.2/24 and 10.1.2.254 for 10.1.2.3/24",
            ),
            (
                ip("10.1.2.2/24", Some("10.1.2.1")),
                ip("10.1.2.1/24", None),
                "b gives 10.1.2.1, which is the gateway of a",
            ),
            (
                route("0.0.0.0/0", None, 0),
                route("0.0.0.0/0", Some("10.1.2.1"), 0),
                "default routes of both a (0.0.0.0/0) and b (0.0.0.0/0 via 10.1.2.1)",
            ),
            (
                route("::/0", None, 0),
                route("0::/0", None, 0),
                "default routes of both a (::/0) and b (0::/0)",
            ),
            (
                route("10.0.0.0/8", Some("10.1.2.1"), 0),
                route("10.0.0.0/8", Some("10.1.2.9"), 0),
                "a and b contradict each other: 10.0.0.0/8 via 10.1.2.1 and 10.0.0.0/8 via 10.1.2.9",
            ),
        ] {
            assert_eq!(merged(&[one, other]).unwrap_err(), message);
        }
        for (one, other) in [
            (ip("10.1.2.2/24", Some("10.1.2.1")), ip("10.1.3.2/24", Some("10.1.3.1"))),
            (ip("10.1.2.2/24", Some("10.1.2.1")), ip("10.1.2.3/24", None)),
            (ip("10.1.2.2/24", Some("10.1.2.1")), ip("10.1.2.3/24", Some("10.1.2.1"))),
            (route("0.0.0.0/0", None, 0), route("0.0.0.0/0", None, 100)),
            (route("0.0.0.0/0", None, 0), route("::/0", None, 0)),
        ] {
            assert!(merged(&[one.clone(), other]).is_ok(), "{one}");
        }
    }

    #[test]
    fn old_versions_know_one_address_of_a_family() {
        let part = |address: &str| IpamResult::parse(&ip(address, None)).unwrap();
        let merge = |other: &str| {
            merge(&[("a", part("10.1.2.2/24")), ("b", part(other))], SpecVersion::V0_2_0)
        };
        assert!(merge("fd00::2/64").is_ok());
        assert!(merge("10.1.3.2/24").unwrap_err().message.contains("0.2.0"));
    }
}
