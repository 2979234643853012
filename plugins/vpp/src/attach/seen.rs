//! What VPP has of an attachment beside the interface itself: one batch of requests.

use std::net::IpAddr;
use std::path::Path;

use vpp_api::msg::{self, InterfaceTable, SwInterfaceDetails};
use vpp_api::{Answers, Batch, Client, DumpTicket, Error, Family, IfIndex, Mac, Prefix, Ticket};

use crate::names::is_host_device;
use crate::record::Record;
use crate::tag::Tag;

/// What belongs to an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its tables, of IPv4 and IPv6.
    pub(crate) tables: [u32; 2],
    /// Whose addresses it borrows.
    pub(crate) borrows_from: Option<IfIndex>,
    /// Static neighbours behind it.
    pub(crate) neighbors: Vec<(IpAddr, Mac)>,
    /// Addresses of the attachment whose host route leads to it.
    pub(crate) reached: Vec<IpAddr>,
}

/// What was asked about one interface.
pub(crate) struct Asked {
    index: IfIndex,
    tables: [Ticket<msg::SwInterfaceGetTable>; 2],
    borrows: DumpTicket<msg::IpUnnumberedDump>,
    neighbors: [DumpTicket<msg::IpNeighborDump>; 2],
    routes: Vec<(IpAddr, Ticket<msg::IpRouteLookup>)>,
}

impl Asked {
    /// Asks for what belongs to an attachment's interface.
    pub(crate) fn about(
        batch: &mut Batch<'_>,
        index: IfIndex,
        record: &Record,
    ) -> Result<Self, Error> {
        let mut table = |family: Family| {
            let is_ipv6 = family.is_ipv6();
            batch.call(&msg::SwInterfaceGetTable { sw_if_index: index, is_ipv6 })
        };
        let tables = [table(Family::V4)?, table(Family::V6)?];
        let mut neighbors = |af| batch.dump(&msg::IpNeighborDump { sw_if_index: index, af });
        let neighbors = [neighbors(Family::V4)?, neighbors(Family::V6)?];
        let mut routes = Vec::with_capacity(record.addresses.len());
        for address in &record.addresses {
            let address = address.address.addr();
            let prefix = Prefix::host(address);
            let request = msg::IpRouteLookup { table_id: record.table, exact: 1, prefix };
            routes.push((address, batch.call(&request)?));
        }
        let borrows = batch.dump(&msg::IpUnnumberedDump { sw_if_index: index })?;
        Ok(Self { index, tables, borrows, neighbors, routes })
    }

    /// What VPP answered.
    pub(crate) fn read(self, answers: &mut Answers) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        for (table, ticket) in seen.tables.iter_mut().zip(self.tables) {
            let InterfaceTable { vrf_id } = answers.reply(ticket)?;
            *table = vrf_id;
        }
        for ticket in self.neighbors {
            let neighbors = answers.details(ticket)?.into_iter().map(|details| details.neighbor);
            let set = neighbors.filter(|neighbor| neighbor.flags.is_static());
            seen.neighbors.extend(set.map(|neighbor| (neighbor.ip_address, neighbor.mac_address)));
        }
        let borrows = answers.details(self.borrows)?;
        let own = borrows.into_iter().find(|borrows| borrows.sw_if_index == self.index);
        seen.borrows_from = own.map(|borrows| borrows.ip_sw_if_index);
        for (address, ticket) in self.routes {
            // A prefix that is not there is refused.
            let (_, found) = answers.try_reply(ticket)?;
            let Some(found) = found else { continue };
            let is_host = found.route.prefix == Prefix::host(address);
            if is_host && found.route.paths.iter().any(|path| path.sw_if_index == self.index) {
                seen.reached.push(address);
            }
        }
        Ok(seen)
    }
}

/// Looks at one interface; one round trip.
pub(crate) fn look(vpp: &mut Client, index: IfIndex, record: &Record) -> Result<Seen, Error> {
    let mut batch = vpp.batch();
    let asked = Asked::about(&mut batch, index, record)?;
    asked.read(&mut batch.send()?)
}

/// The attachment's interface among all: by its tag, or by the device that nobody else's is on where somebody
/// stopped before the tag was written.
pub(crate) fn find<'i>(
    interfaces: &'i [SwInterfaceDetails],
    tag: Tag,
    device: &str,
) -> Option<&'i SwInterfaceDetails> {
    let tag = tag.to_string();
    let tagged = interfaces.iter().find(|interface| interface.tag == tag.as_str());
    let is_on = |interface: &&SwInterfaceDetails| {
        interface.tag.is_empty()
            && interface.interface_name.to_string().strip_prefix("host-") == Some(device)
    };
    tagged.or_else(|| interfaces.iter().find(is_on).filter(|_| is_host_device(device)))
}

/// The same, and a memif by its socket, which nobody else's is on either; two round trips more if there is a
/// socket, and no tag.
pub(crate) fn find_or_ask<'i>(
    vpp: &mut Client,
    interfaces: &'i [SwInterfaceDetails],
    tag: Tag,
    device: &str,
    socket: Option<&Path>,
) -> Result<Option<&'i SwInterfaceDetails>, Error> {
    let found = find(interfaces, tag, device);
    let Some(socket) = socket.filter(|_| found.is_none()) else { return Ok(found) };
    if !vpp.has::<msg::MemifDump>() {
        return Ok(None);
    }
    let mut batch = vpp.batch();
    let sockets = batch.dump(&msg::MemifSocketFilenameDump {})?;
    let memifs = batch.dump(&msg::MemifDump {})?;
    let mut answers = batch.send()?;
    let path = socket.to_string_lossy();
    let sockets = answers.details(sockets)?;
    let on_it = |memif: &msg::MemifDetails| {
        sockets
            .iter()
            .any(|socket| socket.socket_id == memif.socket_id && socket.socket_filename == *path)
    };
    let index = answers.details(memifs)?.into_iter().find(on_it).map(|memif| memif.sw_if_index);
    Ok(interfaces.iter().find(|interface| Some(interface.sw_if_index) == index))
}

/// The interface that owns the gateways' addresses of a table.
pub(crate) fn gateway(interfaces: &[SwInterfaceDetails], table: u32) -> Option<IfIndex> {
    let tag = format!("plat/gateway/{table}");
    let found = interfaces.iter().find(|interface| interface.tag == tag.as_str());
    found.map(|interface| interface.sw_if_index)
}
