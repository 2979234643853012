/*!
A veth pair, VPP on the host's end by af_packet.

The pair is made with one end in the pod's namespace at once, under the name that the runtime wants. What
arrives at the host's end is VPP's; the host's own network stack must not answer or forward it a second time. So
the end has another Ethernet address than VPP, no IPv6, forwards nothing, answers no ARP, and has a strict reverse
path filter, which nothing passes because no route leads there.
*/

use kernel::{Link, LinkChange, Namespace, Netlink, VethEnd, sysctl};
use vpp_api::types::AfPacketFlags;
use vpp_api::{AfPacket, Client, Created, IfIndex};

use crate::errors::Problem;
use crate::names::Macs;
use crate::record::Record;
use crate::tag::Tag;

/// Bytes of a ring in each direction: with TPACKET version 2 an interface takes about 1 MB of memory, instead of
/// the 78 MB and more of VPP's default rings.
const RING: u32 = 512 * 1024;
/// What a frame needs beside the packet: the kernel's header and Ethernet's.
const FRAME_HEAD: u32 = 80;
/// The smallest frame that is used.
const FRAME: u32 = 2048;

/// What keeps the host's network stack from what arrives at the host's end. Of the reverse path filter the host
/// may have a looser setting for all links, which counts then: so it forwards nothing from here either, and
/// answers no ARP.
const SEALED: [(&str, &str, &str); 4] = [
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "arp_ignore", "8"),
];

/// Makes the pair, and sets the host's end up; the pod's end is down.
///
/// # Errors
/// If a name is taken, or the kernel refuses.
pub(crate) fn make_pair(
    host: &mut Netlink,
    pod: &Namespace,
    record: &Record,
    tag: Tag,
    macs: &Macs,
) -> Result<(), Problem> {
    let alias = tag.to_string();
    let end = VethEnd {
        name: &record.device,
        mac: Some(kernel::Mac(macs.host.0)),
        mtu: Some(record.mtu),
        namespace: None,
        alias: Some(&alias),
        queues: None,
    };
    let peer = VethEnd {
        name: &record.ifname,
        mac: Some(kernel::Mac(record.pod_mac.0)),
        mtu: Some(record.mtu),
        namespace: Some(pod),
        alias: Some(&alias),
        queues: None,
    };
    host.create_veth(&end, &peer)?;
    for (family, key, value) in SEALED {
        match sysctl::set(&sysctl::of_link(family, &record.device, key), value) {
            // A kernel without IPv6.
            Err(error) if error.is_not_found() => {}
            result => result?,
        }
    }
    let index = host.link(&record.device)?.map(|link| link.index);
    if let Some(index) = index {
        let up = LinkChange {
            up: Some(true),
            no_address_generation: Some(true),
            ..LinkChange::default()
        };
        host.change_link(index, &up)?;
    }
    Ok(())
}

/// Whether two links are the two ends of one pair.
pub(crate) fn are_a_pair(host: &Link, pod: &Link) -> bool {
    let is_veth = |link: &Link| link.kind.as_deref() == Some("veth");
    is_veth(host) && is_veth(pod) && host.peer == Some(pod.index) && pod.peer == Some(host.index)
}

/// Rings for an MTU: frames that hold it, in as many as fit.
fn rings(mtu: u32) -> (u32, u32) {
    let frame = (mtu.saturating_add(FRAME_HEAD)).next_power_of_two().max(FRAME);
    (frame, (RING / frame).max(1))
}

fn wanted(record: &Record) -> AfPacket {
    let (frame_size, frames) = rings(record.mtu);
    AfPacket {
        device: record.device.clone(),
        mac: record.vpp_mac,
        frame_size,
        frames,
        flags: AfPacketFlags::VERSION_2,
    }
}

/// Makes VPP's interfaces on the hosts' ends of several pairs in one round trip; one verdict for each, in their
/// order. What existed may be dead.
///
/// # Errors
/// What can become of the connection: how many were made is not known then.
pub(crate) fn create_all<'r>(
    vpp: &mut Client,
    records: impl Iterator<Item = &'r Record>,
) -> Result<Vec<Result<Created, Problem>>, Problem> {
    let all: Vec<AfPacket> = records.map(wanted).collect();
    let made = vpp.create_af_packets(&all)?;
    Ok(made.into_iter().map(|made| made.map_err(Problem::from)).collect())
}

/// Makes VPP's interface on the host's end.
pub(super) fn create(vpp: &mut Client, record: &Record) -> Result<IfIndex, Problem> {
    let wanted = wanted(record);
    let made = vpp.create_af_packet(&wanted)?;
    if !made.existed {
        return Ok(made.sw_if_index);
    }
    // Nobody knew of it a moment ago. It may be dead: on a device of this name that was deleted since.
    vpp.delete_af_packet(&record.device)?;
    Ok(vpp.create_af_packet(&wanted)?.sw_if_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_hold_the_mtu_and_are_whole_pages() {
        for (mtu, expected) in [
            (68, (2048, 256)),
            (1500, (2048, 256)),
            (1968, (2048, 256)),
            (1969, (4096, 128)),
            (9000, (16384, 32)),
            (65535, (131_072, 4)),
        ] {
            let (frame, frames) = rings(mtu);
            assert_eq!((frame, frames), expected, "{mtu}");
            assert!(frame >= mtu + FRAME_HEAD && (frame * frames).is_multiple_of(4096));
        }
    }
}
