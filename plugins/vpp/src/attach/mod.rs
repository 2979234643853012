/*!
VPP's side of an attachment: making an interface of each kind, finding one that is there, and removing all of it.
*/

mod memif;
pub(crate) mod plan;
pub(crate) mod remove;
pub(crate) mod seen;
pub(crate) mod step;
mod tap;
pub(crate) mod veth;

use vpp_api::msg::Message as _;
use vpp_api::table::Name;
use vpp_api::{Client, IfIndex, msg};

use crate::config::Kind;
use crate::errors::Problem;
use crate::record::Record;
use crate::tag::Tag;

pub use step::StepError;

pub(crate) use memif::socket as memif_socket;

/// Makes the interface of an attachment in VPP: down, in table 0, with its Ethernet addresses.
///
/// `adopts`: whether a tap that is in the pod already is taken over.
///
/// # Errors
/// What VPP refuses.
pub(crate) fn create(
    vpp: &mut Client,
    record: &Record,
    tag: Tag,
    adopts: bool,
) -> Result<IfIndex, Problem> {
    match record.kind {
        Kind::Veth => veth::create(vpp, record),
        Kind::Tap => tap::create(vpp, record, tag, adopts),
        Kind::Memif => memif::create(vpp, record),
    }
}

/// The messages that every kind needs.
const COMMON: &[Name] = &[
    msg::SwInterfaceDump::NAME,
    msg::SwInterfaceTagAddDel::NAME,
    msg::SwInterfaceSetFlags::NAME,
    msg::SwInterfaceSetMtu::NAME,
    msg::SwInterfaceSetTable::NAME,
    msg::SwInterfaceGetTable::NAME,
    msg::SwInterfaceSetUnnumbered::NAME,
    msg::SwInterfaceAddDelAddress::NAME,
    msg::SwInterfaceIp6EnableDisable::NAME,
    msg::SwInterfaceIp6ndRaConfig::NAME,
    msg::CreateLoopbackInstance::NAME,
    msg::IpAddressDump::NAME,
    msg::IpUnnumberedDump::NAME,
    msg::IpNeighborAddDel::NAME,
    msg::IpNeighborDump::NAME,
    msg::IpRouteAddDelV2::NAME,
    msg::IpRouteV2Dump::NAME,
    msg::IpRouteLookup::NAME,
    msg::FibSourceAdd::NAME,
    msg::FibSourceDump::NAME,
    msg::IpTableAddDel::NAME,
    msg::IpTableDump::NAME,
];

/// What a VPP lacks for attachments of a kind. Of messages that came in several versions the oldest that is used
/// is named where none is there.
pub(crate) fn lacks(vpp: &mut Client, kind: Kind) -> Vec<vpp_api::Missing> {
    let mut missing = vpp.lacks(COMMON);
    let has_one = match kind {
        Kind::Veth => vpp.has::<msg::AfPacketCreateV3>() || vpp.has::<msg::AfPacketCreateV2>(),
        Kind::Tap => vpp.has::<msg::TapCreateV3>() || vpp.has::<msg::TapCreateV2>(),
        Kind::Memif => vpp.has::<msg::MemifCreateV2>() || vpp.has::<msg::MemifCreate>(),
    };
    if !has_one {
        let newest = match kind {
            Kind::Veth => msg::AfPacketCreateV3::NAME,
            Kind::Tap => msg::TapCreateV3::NAME,
            Kind::Memif => msg::MemifCreateV2::NAME,
        };
        missing.extend(vpp.lacks(&[newest]));
    }
    missing
}
