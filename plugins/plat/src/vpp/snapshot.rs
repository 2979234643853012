//! What a running VPP has that matters to pods: interfaces, and routes of our sources. Two round trips.

use std::collections::BTreeMap;

use vpp_api::msg::{self, SwInterfaceDetails};
use vpp_api::types::RouteV2;
use vpp_api::{Client, Error, Family, FibPath, IfIndex, Mac, Prefix, Table};
use vpp_plugin::tag::Tag;

/// What the names of our FIB sources begin with.
const OURS: &str = "plat-";

/// An interface of VPP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interface {
    /// Its number.
    pub(crate) index: IfIndex,
    /// Its name.
    pub(crate) name: String,
    /// What kind of device it is, in VPP's words.
    pub(crate) device: String,
    /// What its owner wrote on it.
    pub(crate) tag: String,
    /// Its Ethernet address, if it has one.
    pub(crate) mac: Option<Mac>,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// Whether it has a link.
    pub(crate) link: bool,
    /// Its MTU in bytes.
    pub(crate) mtu: u32,
    /// Its own addresses; those of pods' interfaces are not asked for, which have none.
    pub(crate) addresses: Vec<Prefix>,
    /// Whose addresses it borrows.
    pub(crate) borrows: Option<IfIndex>,
}

/// A route of a source of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OurRoute {
    /// The table.
    pub(crate) table: u32,
    /// The destination.
    pub(crate) prefix: Prefix,
    /// The source.
    pub(crate) source: String,
    /// Where it leads, in words.
    pub(crate) ways: Vec<String>,
    /// The interfaces that it leads through.
    pub(crate) through: Vec<IfIndex>,
}

/// A VPP at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Its version.
    pub(crate) version: String,
    /// Its interfaces, by number.
    pub(crate) interfaces: Vec<Interface>,
    /// Routes of our sources.
    pub(crate) routes: Vec<OurRoute>,
}

impl Snapshot {
    /// Looks at a VPP.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) fn take(vpp: &mut Client) -> Result<Self, Error> {
        let mut batch = vpp.batch();
        let version = batch.call(&msg::ShowVersion {})?;
        let interfaces = batch.dump(&msg::SwInterfaceDump::all())?;
        let borrows = batch.dump(&msg::IpUnnumberedDump { sw_if_index: IfIndex::NONE })?;
        let sources = batch.dump(&msg::FibSourceDump {})?;
        let tables = batch.dump(&msg::IpTableDump {})?;
        let mut answers = batch.send()?;
        let version = answers.reply(version)?.version.to_string();
        let interfaces = answers.details(interfaces)?;
        let borrows: BTreeMap<IfIndex, IfIndex> = answers
            .details(borrows)?
            .into_iter()
            .map(|details| (details.sw_if_index, details.ip_sw_if_index))
            .collect();
        // Source 0 would be all of them.
        let sources: BTreeMap<u8, String> = answers
            .details(sources)?
            .into_iter()
            .map(|details| (details.src.id, details.src.name.to_string()))
            .filter(|(id, name)| *id != 0 && name.starts_with(OURS))
            .collect();
        let tables: Vec<Table> =
            answers.details(tables)?.into_iter().map(|details| details.table).collect();

        let mut batch = vpp.batch();
        let mut addresses = Vec::new();
        for interface in interfaces.iter().filter(|one| !is_of_pod(one)) {
            for family in Family::BOTH {
                let index = interface.sw_if_index;
                addresses.push((index, batch.dump(&msg::IpAddressDump::of(index, family))?));
            }
        }
        let mut routes = Vec::new();
        for src in sources.keys() {
            for table in &tables {
                routes.push(batch.dump(&msg::IpRouteV2Dump { src: *src, table: table.clone() })?);
            }
        }
        let mut answers = batch.send()?;
        let mut own: BTreeMap<IfIndex, Vec<Prefix>> = BTreeMap::new();
        for (index, ticket) in addresses {
            let prefixes = answers.details(ticket)?.into_iter().map(|details| details.prefix);
            own.entry(index).or_default().extend(prefixes);
        }
        let interfaces: Vec<Interface> =
            interfaces.into_iter().map(|details| interface(&details, &mut own, &borrows)).collect();
        let mut ours = Vec::new();
        for ticket in routes {
            for details in answers.details(ticket)? {
                let route = details.route;
                let Some(source) = sources.get(&route.src) else { continue };
                ours.push(our_route(&route, source, &interfaces));
            }
        }
        ours.sort();
        Ok(Self { version, interfaces, routes: ours })
    }

    /// The interface of a number.
    pub(crate) fn interface(&self, index: IfIndex) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }
}

fn is_of_pod(interface: &SwInterfaceDetails) -> bool {
    Tag::parse(&interface.tag.to_string()).is_some()
}

fn interface(
    details: &SwInterfaceDetails,
    own: &mut BTreeMap<IfIndex, Vec<Prefix>>,
    borrows: &BTreeMap<IfIndex, IfIndex>,
) -> Interface {
    let index = details.sw_if_index;
    let [mtu, ..] = details.mtu;
    Interface {
        index,
        name: details.interface_name.to_string(),
        device: details.interface_dev_type.to_string(),
        tag: details.tag.to_string(),
        mac: Some(details.l2_address).filter(|mac| *mac != Mac::default()),
        up: details.flags.is_up(),
        link: details.flags.has_link(),
        mtu,
        addresses: own.remove(&index).unwrap_or_default(),
        borrows: borrows.get(&index).copied(),
    }
}

fn our_route(route: &RouteV2, source: &str, interfaces: &[Interface]) -> OurRoute {
    OurRoute {
        table: route.table_id,
        prefix: route.prefix.masked(),
        source: source.to_owned(),
        ways: route.paths.iter().map(|path| way(path, interfaces)).collect(),
        through: route.paths.iter().map(|path| path.sw_if_index).filter(|i| i.is_some()).collect(),
    }
}

/// A path in words: `via 192.168.16.2 on GigabitEthernet0/4/0`.
pub(crate) fn way(path: &FibPath, interfaces: &[Interface]) -> String {
    match path.kind {
        FibPath::LOCAL => return "VPP itself".to_owned(),
        FibPath::DROP => return "dropped".to_owned(),
        FibPath::UNREACHABLE => return "unreachable".to_owned(),
        FibPath::PROHIBIT => return "prohibited".to_owned(),
        _ => {}
    }
    let on = path.sw_if_index.is_some().then(|| {
        let found = interfaces.iter().find(|interface| interface.index == path.sw_if_index);
        let name = |interface: &Interface| format!("on {}", interface.name);
        found.map_or_else(|| format!("on interface {}, which is gone", path.sw_if_index), name)
    });
    let via = path.next_hop().map(|next_hop| format!("via {next_hop}"));
    let parts: Vec<String> = via.into_iter().chain(on).collect();
    if parts.is_empty() { "elsewhere".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// An interface that is up.
    pub(crate) fn interface(index: u32, name: &str, device: &str, tag: &str) -> Interface {
        Interface {
            index: IfIndex(index),
            name: name.to_owned(),
            device: device.to_owned(),
            tag: tag.to_owned(),
            mac: Some(Mac([2, 0xfe, 0, 0, 0, u8::try_from(index).unwrap()])),
            up: true,
            link: true,
            mtu: 1500,
            addresses: Vec::new(),
            borrows: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_in_words() {
        let interfaces = [samples::interface(1, "GigabitEthernet0/4/0", "dpdk", "")];
        let hop: std::net::IpAddr = "192.168.16.2".parse().unwrap();
        for (path, text) in [
            (FibPath::via_on(hop, IfIndex(1)), "via 192.168.16.2 on GigabitEthernet0/4/0"),
            (FibPath::via_on(hop, IfIndex(7)), "via 192.168.16.2 on interface 7, which is gone"),
            (FibPath::via(hop, 0), "via 192.168.16.2"),
            (FibPath::through(IfIndex(1), Family::V6), "on GigabitEthernet0/4/0"),
            (FibPath::dropped(Family::V4), "dropped"),
        ] {
            assert_eq!(way(&path, &interfaces), text);
        }
    }
}
