/*!
What of VPP concerns the node, as it was seen.

Two rounds of dumps: interfaces, FIB sources and tables, which tell numbers; and by these addresses, tables
and routes. The first is often part of a round that somebody sends anyway.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vpp_api::msg::{self, FibSource, SwInterfaceDetails};
use vpp_api::types::RouteV2;
use vpp_api::{Answers, Batch, Client, DumpTicket, Error, Family, FibPath, IfIndex, Mac, Prefix};

/// The source of the plugin's routes: of the configuration.
pub const SOURCE: &str = "plat-conf";
/// The source of the routes to pods.
pub const POD_SOURCE: &str = "plat-pod";
/// What these sources have: behind VPP's API and debug commands (0x80), so that a person wins.
pub const PRIORITY: u8 = 0x90;

/// What was dumped before: interfaces, FIB sources, tables.
#[derive(Clone, Debug)]
pub struct Dumped {
    /// All interfaces.
    pub interfaces: Vec<SwInterfaceDetails>,
    /// All FIB sources.
    pub sources: Vec<FibSource>,
    /// All tables.
    pub tables: Vec<vpp_api::Table>,
}

/// The claim to a [`Dumped`] in a batch.
#[derive(Debug)]
#[must_use]
pub struct DumpedTickets {
    interfaces: DumpTicket<msg::SwInterfaceDump>,
    sources: DumpTicket<msg::FibSourceDump>,
    tables: DumpTicket<msg::IpTableDump>,
}

impl Dumped {
    /// Adds the dumps to a batch.
    ///
    /// # Errors
    /// As [`Batch::dump`].
    pub fn ask(batch: &mut Batch<'_>) -> Result<DumpedTickets, Error> {
        Ok(DumpedTickets {
            interfaces: batch.dump(&msg::SwInterfaceDump::all())?,
            sources: batch.dump(&msg::FibSourceDump {})?,
            tables: batch.dump(&msg::IpTableDump {})?,
        })
    }

    /// Dumps, in a round of its own.
    ///
    /// # Errors
    /// As [`Client::dump`].
    pub fn now(vpp: &mut Client) -> Result<Self, Error> {
        let mut batch = vpp.batch();
        let tickets = Self::ask(&mut batch)?;
        tickets.read(&mut batch.send()?)
    }

    /// The number of a source; the first, should there be two.
    pub(super) fn source(&self, name: &str) -> Option<u8> {
        let named = self.sources.iter().filter(|source| source.name == name);
        named.map(|source| source.id).min()
    }

    /// The interface of a number.
    pub(super) fn interface(&self, index: IfIndex) -> Option<&SwInterfaceDetails> {
        self.interfaces.iter().find(|interface| interface.sw_if_index == index)
    }

    /// The name of an interface, for people.
    pub(super) fn name(&self, index: IfIndex) -> String {
        self.interface(index)
            .map_or_else(|| format!("interface {index}"), |it| it.interface_name.to_string())
    }
}

impl DumpedTickets {
    /// Takes what came.
    ///
    /// # Errors
    /// As [`Answers::details`].
    pub fn read(self, answers: &mut Answers) -> Result<Dumped, Error> {
        let sources = answers.details(self.sources)?;
        let tables = answers.details(self.tables)?;
        Ok(Dumped {
            interfaces: answers.details(self.interfaces)?,
            sources: sources.into_iter().map(|details| details.src).collect(),
            tables: tables.into_iter().map(|details| details.table).collect(),
        })
    }
}

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) index: IfIndex,
    pub(super) name: String,
    pub(super) mac: Mac,
    pub(super) tag: String,
    pub(super) up: bool,
    pub(super) link: bool,
    /// The largest packet, in bytes.
    pub(super) mtu: u32,
    /// The largest frame of the hardware, in bytes.
    pub(super) link_mtu: u32,
    /// Of IPv4 and of IPv6.
    pub(super) tables: [u32; 2],
    pub(super) addresses: BTreeSet<Prefix>,
}

/// Where a route of ours leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To a next hop on an interface, or wherever it is found.
    Hop(IpAddr, IfIndex),
    /// Somewhere that is never wanted.
    Other,
}

/// What of VPP concerns the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Tables that are there: number and family.
    pub(super) tables: BTreeSet<(u32, Family)>,
    /// The numbers of [`SOURCE`] and [`POD_SOURCE`].
    pub(super) source: Option<u8>,
    pub(super) pod_source: Option<u8>,
    pub(super) uplink: Option<Part>,
    pub(super) gateway: Option<Part>,
    pub(super) host_link: Option<Part>,
    /// VPP's end of a host link that is of no use any more.
    pub(super) stale: Option<Stale>,
    /// Routes of [`SOURCE`] in the table that VPP uses.
    pub(super) routes: BTreeMap<Prefix, Way>,
    /// Wanted destinations that a better source has: its name.
    pub(super) hidden: BTreeMap<Prefix, String>,
}

/// VPP's end of a host link that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    pub(super) index: IfIndex,
    /// The device of an af_packet interface; none of a tap.
    pub(super) device: Option<String>,
}

/// Which interfaces are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Indices {
    pub(super) uplink: Option<IfIndex>,
    pub(super) gateway: Option<IfIndex>,
    pub(super) host_link: Option<IfIndex>,
}

/// What is asked about one interface.
struct PartTickets {
    index: IfIndex,
    addresses: [DumpTicket<msg::IpAddressDump>; 2],
    tables: [vpp_api::Ticket<msg::SwInterfaceGetTable>; 2],
}

impl PartTickets {
    fn ask(batch: &mut Batch<'_>, index: IfIndex) -> Result<Self, Error> {
        let mut dump = |family| batch.dump(&msg::IpAddressDump::of(index, family));
        let addresses = [dump(Family::V4)?, dump(Family::V6)?];
        let mut table =
            |is_ipv6| batch.call(&msg::SwInterfaceGetTable { sw_if_index: index, is_ipv6 });
        Ok(Self { index, addresses, tables: [table(false)?, table(true)?] })
    }

    /// None if the interface has gone in between.
    fn read(self, answers: &mut Answers, dumped: &Dumped) -> Result<Option<Part>, Error> {
        let Some(interface) = dumped.interface(self.index) else { return Ok(None) };
        let mut addresses = BTreeSet::new();
        for ticket in self.addresses {
            addresses.extend(answers.details(ticket)?.into_iter().map(|details| details.prefix));
        }
        let [v4, v6] = self.tables;
        let (v4, v6) = (answers.try_reply(v4)?.1, answers.try_reply(v6)?.1);
        let (Some(v4), Some(v6)) = (v4, v6) else { return Ok(None) };
        let [mtu, ..] = interface.mtu;
        Ok(Some(Part {
            index: self.index,
            name: interface.interface_name.to_string(),
            mac: interface.l2_address,
            tag: interface.tag.to_string(),
            up: interface.flags.is_up(),
            link: interface.flags.has_link(),
            mtu,
            link_mtu: interface.link_mtu.into(),
            tables: [v4.vrf_id, v6.vrf_id],
            addresses,
        }))
    }
}

impl Seen {
    /// Looks at what concerns the node, in one round.
    pub(super) fn look(
        vpp: &mut Client,
        dumped: &Dumped,
        indices: Indices,
        table: u32,
    ) -> Result<Self, Error> {
        let source = dumped.source(SOURCE);
        let mut batch = vpp.batch();
        let mut ask = |index: Option<IfIndex>| -> Result<Option<PartTickets>, Error> {
            index.map(|index| PartTickets::ask(&mut batch, index)).transpose()
        };
        let parts = [ask(indices.uplink)?, ask(indices.gateway)?, ask(indices.host_link)?];
        let mut routes = Vec::new();
        for family in Family::BOTH {
            // 0 would be all sources.
            if let Some(src) = source.filter(|source| *source != 0) {
                let table = vpp_api::Table::new(table, family);
                routes.push(batch.dump(&msg::IpRouteV2Dump { src, table })?);
            }
        }
        let mut answers = batch.send()?;
        let mut read = |tickets: Option<PartTickets>| -> Result<Option<Part>, Error> {
            match tickets {
                Some(tickets) => tickets.read(&mut answers, dumped),
                None => Ok(None),
            }
        };
        let [uplink, gateway, host_link] = parts;
        let (uplink, gateway, host_link) = (read(uplink)?, read(gateway)?, read(host_link)?);
        let mut seen = Self {
            tables: dumped
                .tables
                .iter()
                .map(|it| (it.table_id, if it.is_ip6 { Family::V6 } else { Family::V4 }))
                .collect(),
            source,
            pod_source: dumped.source(POD_SOURCE),
            uplink,
            gateway,
            host_link,
            ..Self::default()
        };
        for ticket in routes {
            for details in answers.details(ticket)? {
                let route = details.route;
                seen.routes.insert(route.prefix.masked(), Way::of(&route));
            }
        }
        Ok(seen)
    }

    /// Which of some destinations a better source has. Asked only where a route of ours is not seen: VPP shows
    /// a destination with its best source only.
    pub(super) fn look_for_hidden(
        &mut self,
        vpp: &mut Client,
        dumped: &Dumped,
        missing: &BTreeSet<Prefix>,
        table: u32,
    ) -> Result<(), Error> {
        let mut batch = vpp.batch();
        let mut tickets = Vec::new();
        for prefix in missing {
            let exact = msg::IpRouteLookup { table_id: table, exact: 1, prefix: *prefix };
            tickets.push((*prefix, batch.call(&exact)?));
        }
        let mut answers = batch.send()?;
        let mut there = BTreeSet::new();
        for (prefix, ticket) in tickets {
            let (retval, _) = answers.try_reply(ticket)?;
            if retval.is_ok() {
                there.insert(prefix);
            }
        }
        if there.is_empty() {
            return Ok(());
        }
        // Something has them, perhaps only a source behind ours. Who it is only a dump tells.
        let mut batch = vpp.batch();
        let mut dumps = Vec::new();
        for family in Family::BOTH {
            if there.iter().any(|prefix| prefix.family() == family) {
                let table = vpp_api::Table::new(table, family);
                dumps.push(batch.dump(&msg::IpRouteV2Dump { src: 0, table })?);
            }
        }
        let mut answers = batch.send()?;
        for ticket in dumps {
            for details in answers.details(ticket)? {
                let RouteV2 { prefix, src, .. } = details.route;
                if !there.contains(&prefix.masked()) || Some(src) == self.source {
                    continue;
                }
                let source = dumped.sources.iter().find(|source| source.id == src);
                // A source without a name here is VPP's own business, and ours is tried.
                if let Some(source) = source.filter(|source| source.priority <= PRIORITY) {
                    self.hidden.insert(prefix.masked(), source.name.to_string());
                }
            }
        }
        Ok(())
    }
}

impl Way {
    fn of(route: &RouteV2) -> Self {
        match route.paths.as_slice() {
            [path] if path.kind == FibPath::NORMAL => match path.next_hop() {
                Some(next_hop) => Self::Hop(next_hop, path.sw_if_index),
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
