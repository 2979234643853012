/*!
Names and Ethernet addresses that follow from an attachment, so that each step of ADD, DEL and a replay finds
what another one has made.

The hash is FNV-1a with a finalizer, which spreads what differs in the last characters only over all
bits. It need not withstand somebody who looks for collisions: whoever frees something by a hash looks at
the record with the whole names first.
*/

use std::fmt;

use ipam_core::identity::Attachment;
use vpp_api::Mac;

/// FNV-1a (64 bit) over the parts with a separator that none of them contains, then a finalizer.
pub fn hash64(parts: &[&str]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let separated = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = separated.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The finalizer of MurmurHash3: one to one, and each bit depends on all.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The hash of a network's name: 8 hexadecimal digits in tags and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkHash(pub u32);

impl NetworkHash {
    /// That of a network.
    pub fn of(network: &str) -> Self {
        let [a, b, c, d, ..] = hash64(&[network]).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for NetworkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The hash of container ID and interface name: 16 hexadecimal digits in tags and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentHash(pub u64);

impl AttachmentHash {
    /// That of an attachment.
    pub fn of(attachment: &Attachment) -> Self {
        Self(hash64(&[attachment.container.as_str(), attachment.ifname.as_str()]))
    }
}

impl fmt::Display for AttachmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What VPP's end of a veth pair is called on the host: `vpp` and 11 hexadecimal digits, which is all that a
/// device's name can hold.
pub fn host_device(network: &str, attachment: &Attachment) -> String {
    let parts = [network, attachment.container.as_str(), attachment.ifname.as_str()];
    format!("vpp{:011x}", hash64(&parts) >> 20)
}

/// Whether a device's name is one of [`host_device`].
pub fn is_host_device(name: &str) -> bool {
    name.strip_prefix("vpp").is_some_and(|hash| {
        hash.len() == 11 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The Ethernet addresses of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    /// The pod's.
    pub pod: Mac,
    /// VPP's: what the pod takes the gateway's to be.
    pub vpp: Mac,
    /// That of the host's end of a veth pair. It is another than VPP's: the host's own network stack drops
    /// what is for VPP then, and does not forward it a second time.
    pub host: Mac,
}

impl Macs {
    /// Those of an attachment.
    pub fn of(attachment: &Attachment) -> Self {
        let of = |end| mac(&[end, attachment.container.as_str(), attachment.ifname.as_str()]);
        Self { pod: of("pod"), vpp: of("vpp"), host: of("host") }
    }
}

/// The Ethernet address of the gateway loopback of a table. It is the same on every node, which does no harm:
/// no frame leaves a loopback.
pub fn gateway_mac(table: u32) -> Mac {
    mac(&["gateway", &table.to_string()])
}

/// A local unicast address, as VPP makes them up: 02:fe and four bytes.
fn mac(parts: &[&str]) -> Mac {
    let [a, b, c, d, ..] = hash64(parts).to_be_bytes();
    Mac([0x02, 0xfe, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipam_core::identity::{ContainerId, IfName};

    use super::*;

    fn attachment(container: &str, ifname: &str) -> Attachment {
        Attachment {
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        }
    }

    /// They are in the records and interfaces of running nodes.
    #[test]
    fn names_stay_what_they_are() {
        let c1 = attachment("c1", "eth0");
        assert_eq!(NetworkHash::of("pods").to_string(), "657185fb");
        assert_eq!(AttachmentHash::of(&c1).to_string(), "851192bd17070fb7");
        assert_eq!(host_device("pods", &c1), "vpp158b2fe981a");
        assert_eq!(Macs::of(&c1).pod.to_string(), "02:fe:24:7b:76:21");
        assert_eq!(gateway_mac(0).to_string(), "02:fe:53:79:24:fb");
    }

    #[test]
    fn names_differ_where_attachments_do() {
        let mut names = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for n in 0..2000 {
            for ifname in ["eth0", "net1"] {
                let attachment = attachment(&format!("container{n}"), ifname);
                let device = host_device("pods", &attachment);
                assert!(is_host_device(&device) && device.len() < 16, "{device}");
                names.insert(device);
                let Macs { pod, vpp, host } = Macs::of(&attachment);
                macs.extend([pod, vpp, host]);
            }
        }
        assert_eq!(names.len(), 4000);
        assert_eq!(macs.len(), 12000);
        assert_ne!(hash64(&["a", "b"]), hash64(&["ab", ""]));
        assert_ne!(
            host_device("a", &attachment("c", "e")),
            host_device("b", &attachment("c", "e"))
        );
    }

    #[test]
    fn only_our_devices_look_like_ours() {
        for name in ["vpp0123456789a", "vppffffffffff"] {
            assert_eq!(is_host_device(name), name.len() == 14, "{name}");
        }
        for name in ["", "vpp", "vpp1", "vpp0123456789A", "vppg123456789a", "eth0123456789a"] {
            assert!(!is_host_device(name), "{name}");
        }
    }
}
