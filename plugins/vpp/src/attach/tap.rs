/*!
A tap that VPP makes in the pod's namespace.

It persists: when VPP ends, the pod keeps its interface with addresses and routes, and the VPP that comes next
takes it over. The pod's Ethernet address is always given, or VPP would make up another one each time.
*/

use vpp_api::wire::TextError;
use vpp_api::{Client, IfIndex, Tap, TapFlags};

use crate::errors::Problem;
use crate::record::Record;
use crate::tag::Tag;

/// Makes VPP's interface and the tap, or takes over the tap that is there.
pub(super) fn create(
    vpp: &mut Client,
    record: &Record,
    tag: Tag,
    adopts: bool,
) -> Result<IfIndex, Problem> {
    let mut flags = TapFlags::PERSIST;
    if adopts {
        flags = flags.and(TapFlags::ATTACH);
    }
    if record.tap.gso {
        flags = flags.and(TapFlags::GSO).and(TapFlags::CSUM_OFFLOAD);
    }
    let wanted = Tap {
        device: record.ifname.clone(),
        host_mac: record.pod_mac,
        mac: record.vpp_mac,
        namespace: Some(record.netns.path.to_string_lossy().into_owned()),
        mtu: Some(record.mtu),
        queues: record.tap.queues,
        ring: record.tap.ring,
        flags,
        tag: tag.to_string(),
    };
    let made = vpp.create_tap(&wanted);
    made.map_err(|error| match error {
        vpp_api::Error::Text(TextError { .. }) => cni::Error::new(
            cni::Code::InvalidNamespace,
            format!(
                "the path of the network namespace is too long for VPP: {}",
                record.netns.path.display()
            ),
        )
        .with_details("VPP takes paths of at most 63 bytes; \"kind\": \"veth\" has no such limit")
        .into(),
        error => error.into(),
    })
}
