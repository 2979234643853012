//! What of a VPP is ours: for people.

use vpp_api::types::{FibPath, RouteV2};
use vpp_api::{Client, Error, Family, IfIndex, Mac, Prefix, msg};

use super::seen::{Dumped, POD_SOURCE, SOURCE};

/// The beginning of every mark of ours.
const PREFIX: &str = "plat/";

/// What of a VPP is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Interfaces with a mark of ours, in the order of their numbers.
    pub interfaces: Vec<OurInterface>,
    /// Routes of our sources in all tables.
    pub routes: Vec<OurRoute>,
}

/// An interface with a mark of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurInterface {
    /// Its number.
    pub index: IfIndex,
    /// Its name.
    pub name: String,
    /// What it is, as VPP calls it.
    pub kind: String,
    /// The mark: `plat/gateway/…`, `plat/host/…`, or an attachment's.
    pub tag: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Whether it is up.
    pub up: bool,
    /// Whether it has a link.
    pub link: bool,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Its own addresses.
    pub addresses: Vec<Prefix>,
}

/// A route of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurRoute {
    /// Our source that it belongs to.
    pub source: &'static str,
    /// Its table.
    pub table: u32,
    /// Its destination, without host bits.
    pub destination: Prefix,
    /// Its paths in words, as in `192.168.16.2 GigabitEthernet0/4/0`.
    pub paths: Vec<String>,
}

/// Looks, in two rounds.
///
/// # Errors
/// As [`Client::dump`].
pub fn ours(vpp: &mut Client) -> Result<Ours, Error> {
    let dumped = Dumped::now(vpp)?;
    let mut batch = vpp.batch();
    let mut interfaces = Vec::new();
    let marked = |tag: &str| tag.starts_with(PREFIX);
    for interface in dumped.interfaces.iter().filter(|it| marked(&it.tag.to_string())) {
        let index = interface.sw_if_index;
        let mut addresses = Vec::new();
        for family in Family::BOTH {
            addresses.push(batch.dump(&msg::IpAddressDump::of(index, family))?);
        }
        interfaces.push((interface, addresses));
    }
    let mut routes = Vec::new();
    for source in [SOURCE, POD_SOURCE] {
        let Some(src) = dumped.source(source) else { continue };
        for table in &dumped.tables {
            let table = table.clone();
            routes.push((source, batch.dump(&msg::IpRouteV2Dump { src, table })?));
        }
    }
    let mut answers = batch.send()?;
    let mut ours = Ours::default();
    for (interface, tickets) in interfaces {
        let mut addresses = Vec::new();
        for ticket in tickets {
            addresses.extend(answers.details(ticket)?.into_iter().map(|details| details.prefix));
        }
        let [mtu, ..] = interface.mtu;
        ours.interfaces.push(OurInterface {
            index: interface.sw_if_index,
            name: interface.interface_name.to_string(),
            kind: interface.interface_dev_type.to_string(),
            tag: interface.tag.to_string(),
            mac: interface.l2_address,
            up: interface.flags.is_up(),
            link: interface.flags.has_link(),
            mtu,
            addresses,
        });
    }
    for (source, ticket) in routes {
        for details in answers.details(ticket)? {
            ours.routes.push(OurRoute::of(source, &details.route, &dumped));
        }
    }
    ours.interfaces.sort_by_key(|interface| interface.index);
    ours.routes.sort_by_key(|route| (route.table, route.destination));
    Ok(ours)
}

impl OurRoute {
    fn of(source: &'static str, route: &RouteV2, dumped: &Dumped) -> Self {
        let paths = route.paths.iter().map(|path| {
            let hop = path.next_hop().map(|address| address.to_string());
            let through = path.sw_if_index.is_some().then(|| dumped.name(path.sw_if_index));
            let what = match path.kind {
                FibPath::NORMAL => None,
                FibPath::DROP => Some("dropped".to_owned()),
                kind => Some(format!("kind {kind}")),
            };
            [what, hop, through].into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        Self {
            source,
            table: route.table_id,
            destination: route.prefix.masked(),
            paths: paths.collect(),
        }
    }
}
