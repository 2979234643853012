/*!
What VPP is to have for an attachment, and what is to be done where it has something else. Values only.

On VPP's side an attachment is: an interface with the attachment's tag, in its table, with its MTU, up, borrowing
the addresses of the table's gateway loopback, silent about routers; and for each address of the pod a
static neighbour (without a host route of its own) and a host route.

The host routes belong to the attachment, not to the node: they are of the FIB source `plat-pod`, so that whoever
compares the node's routes (`plat-conf`, `plat-agent`) with what they should be never meets them, and nobody's
API call without a source changes them. VPP keeps routes when their interface is deleted, and gives the
interface's number to the next one: so they are deleted before it.
*/

use std::fmt;

use vpp_api::msg::SwInterfaceDetails;
use vpp_api::{Family, IfIndex, Mac};

use super::seen::Seen;
use super::step::Step;
use crate::config::Kind;
use crate::record::Record;
use crate::tag::Tag;

/// What VPP calls a tap: up to 25.10 it shares the class of virtio devices, from 26.02 on it has one of its own.
pub(crate) const TAP_DEVICES: &[&str] = &["virtio", "tap"];

/// What an attachment finds in VPP: the node's part is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    /// The interface that owns the gateways' addresses.
    pub(crate) gateway: IfIndex,
    /// The FIB source of pods' routes.
    pub(crate) source: u8,
}

/// Steps that make an interface what it is to be, from the beginning. Each may be done again.
pub(crate) fn finish(record: &Record, tag: Tag, around: Around) -> Vec<Step> {
    let mut steps = vec![Step::Tag(tag)];
    if record.table != 0 {
        steps.extend(Family::BOTH.map(|family| Step::Table(family, record.table)));
    }
    steps.push(Step::Mtu(record.mtu));
    steps.push(Step::Borrow(around.gateway));
    if has_ipv6(record) {
        steps.extend([Step::Ip6, Step::SilenceRa]);
    }
    steps.extend(record.rx_mode.map(Step::RxMode));
    steps.push(Step::Up);
    steps.extend(reach(record, around.source));
    steps
}

/// Steps that lead the pod's addresses to the interface. A memif that carries packets has no neighbours.
fn reach(record: &Record, source: u8) -> Vec<Step> {
    let mut steps = Vec::new();
    for address in &record.addresses {
        let address = address.address.addr();
        if has_ethernet(record) {
            steps.push(Step::Neighbor(address, record.pod_mac));
        }
        steps.push(Step::Route { source, table: record.table, address });
    }
    steps
}

/// Whether Ethernet frames come from the pod.
pub(crate) fn has_ethernet(record: &Record) -> bool {
    record.kind != Kind::Memif || record.memif.mode == crate::config::Mode::Ethernet
}

fn has_ipv6(record: &Record) -> bool {
    record.addresses.iter().any(|address| address.address.addr().is_ipv6())
}

/// Something in VPP that is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It has no tag of ours: whoever made it stopped then.
    NoTag,
    /// Another Ethernet address.
    Mac { found: Mac, wanted: Mac },
    /// Another table.
    Table { family: Family, found: u32, wanted: u32 },
    /// Another MTU.
    Mtu { found: u32, wanted: u32 },
    /// Down.
    Down,
    /// It does not borrow the gateway's addresses.
    NotBorrowing,
    /// The neighbour is not there, is another one, or was learned.
    Neighbor(std::net::IpAddr),
    /// The host route is not there, or leads elsewhere.
    Route(std::net::IpAddr),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTag => f.write_str("VPP's interface has no tag"),
            Self::Mac { found, wanted } => {
                write!(f, "VPP's interface has Ethernet address {found}, not {wanted}")
            }
            Self::Table { family, found, wanted } => {
                let family = if family.is_ipv6() { "IPv6" } else { "IPv4" };
                write!(f, "VPP's interface is in {family} table {found}, not {wanted}")
            }
            Self::Mtu { found, wanted } => {
                write!(f, "VPP's interface has MTU {found}, not {wanted}")
            }
            Self::Down => f.write_str("VPP's interface is down"),
            Self::NotBorrowing => {
                f.write_str("VPP's interface does not borrow the gateway's address")
            }
            Self::Neighbor(address) => write!(f, "VPP has no static neighbour for {address}"),
            Self::Route(address) => write!(f, "VPP has no route to {address} by its interface"),
        }
    }
}

/// What is not as it is to be. `gateway` is the interface that owns the gateways' addresses, if there is one.
pub(crate) fn differences(
    record: &Record,
    tag: Tag,
    gateway: Option<IfIndex>,
    interface: &SwInterfaceDetails,
    seen: &Seen,
) -> Vec<Difference> {
    let mut found = Vec::new();
    if Tag::parse(&interface.tag.to_string()) != Some(tag) {
        found.push(Difference::NoTag);
    }
    let mac = interface.l2_address;
    if has_ethernet(record) && mac != record.vpp_mac {
        found.push(Difference::Mac { found: mac, wanted: record.vpp_mac });
    }
    for (family, table) in Family::BOTH.into_iter().zip(seen.tables) {
        if table != record.table {
            found.push(Difference::Table { family, found: table, wanted: record.table });
        }
    }
    let [mtu, ..] = interface.mtu;
    if mtu != record.mtu {
        found.push(Difference::Mtu { found: mtu, wanted: record.mtu });
    }
    if !interface.flags.is_up() {
        found.push(Difference::Down);
    }
    if gateway.is_none() || seen.borrows_from != gateway {
        found.push(Difference::NotBorrowing);
    }
    for address in record.addresses.iter().map(|address| address.address.addr()) {
        if has_ethernet(record) && !seen.neighbors.contains(&(address, record.pod_mac)) {
            found.push(Difference::Neighbor(address));
        }
        if !seen.reached.contains(&address) {
            found.push(Difference::Route(address));
        }
    }
    found
}

/// Steps that repair an interface that is there. The table can be changed while it borrows nothing only.
pub(crate) fn repair(
    record: &Record,
    tag: Tag,
    around: Around,
    differences: &[Difference],
    seen: &Seen,
) -> Vec<Step> {
    if differences.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    let mut tables = false;
    for difference in differences {
        match difference {
            Difference::Mac { wanted, .. } => steps.push(Step::Mac(*wanted)),
            Difference::Table { .. } => tables = true,
            _ => {}
        }
    }
    let finish = finish(record, tag, around);
    if tables {
        steps.extend(seen.borrows_from.map(Step::BorrowNoMore));
        steps.extend(Family::BOTH.map(|family| Step::Table(family, record.table)));
    }
    steps.extend(finish.into_iter().filter(|step| !matches!(step, Step::Table(..))));
    steps
}

/// Steps that remove an interface, its routes first. `routes`: whether those of its addresses are its own.
/// `gateway`: whose addresses it borrows, as far as that is known.
pub(crate) fn remove(
    interface: &SwInterfaceDetails,
    routes: impl IntoIterator<Item = Step>,
    gateway: Option<IfIndex>,
) -> Vec<Step> {
    let mut steps: Vec<Step> = routes.into_iter().collect();
    steps.extend(gateway.map(Step::BorrowNoMore));
    let device = interface.interface_dev_type.to_string();
    let name = interface.interface_name.to_string();
    steps.push(match device.as_str() {
        tap if TAP_DEVICES.contains(&tap) => Step::DeleteTap,
        "memif" => Step::DeleteMemif,
        _ => Step::DeleteAfPacket(name.strip_prefix("host-").unwrap_or(&name).to_owned()),
    });
    steps
}

/// Steps that take away the routes of an attachment.
pub(crate) fn no_routes(record: &Record, source: u8) -> impl Iterator<Item = Step> {
    let addresses = record.addresses.iter().map(|address| address.address.addr());
    let table = record.table;
    addresses.map(move |address| Step::NoRoute { source, table, address })
}

#[cfg(test)]
mod tests;
