//! The routes of the result, passed through as written.

use super::ConfigError;
use super::json::At;
use super::sets::{cidr, ip};
use crate::addr::{Addr, Cidr};

/// A route of the result. Attributes that CNI 1.1.0 knows are kept, others are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination, with host bits as written.
    pub dst: Cidr,
    /// The next hop; the address's gateway where there is none.
    pub gw: Option<Addr>,
    /// The route's MTU in bytes; 0 is none.
    pub mtu: i64,
    /// The advertised TCP segment size in bytes; 0 is none.
    pub advmss: i64,
    /// The metric; 0 is none.
    pub priority: i64,
    /// The routing table.
    pub table: Option<i64>,
    /// The scope, as in rtnetlink(7).
    pub scope: Option<i64>,
}

/// Reads the key `routes` of the ipam section.
///
/// # Errors
/// What is wrong with one of them.
pub fn read(ipam: &At<'_>) -> Result<Vec<Route>, ConfigError> {
    let Some(routes) = ipam.get("routes")? else { return Ok(Vec::new()) };
    routes.list()?.map(|route| one(&route)).collect()
}

fn one(route: &At<'_>) -> Result<Route, ConfigError> {
    let Some(dst) = route.get_or_null("dst")? else {
        return Err(route
            .wrong(format!("{route}: a route needs dst"), "\"dst\": a CIDR, such as 0.0.0.0/0"));
    };
    let attribute = |key: &str| -> Result<Option<i64>, ConfigError> {
        let Some(at) = route.get(key)? else { return Ok(None) };
        let value = at.integer()?;
        if !(0..=i64::from(u32::MAX)).contains(&value) {
            return Err(at.wrong(
                format!("{at}: {value} is out of range"),
                "a whole number from 0 to 4294967295",
            ));
        }
        Ok(Some(value))
    };
    let written = cidr(&dst)?;
    // The reference prints the IPv4 network that such a text means.
    let network = written.unmapped().ok_or_else(|| {
        dst.wrong(format!("invalid CIDR address: {written}"), "an IPv4 network written as IPv4")
    })?;
    Ok(Route {
        dst: network,
        gw: ip(route, "gw")?,
        mtu: attribute("mtu")?.unwrap_or_default(),
        advmss: attribute("advmss")?.unwrap_or_default(),
        priority: attribute("priority")?.unwrap_or_default(),
        table: attribute("table")?,
        scope: attribute("scope")?,
    })
}
