//! Interfaces to the kernel: the newest message that VPP has.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::basic::gone;
use crate::client::{Batch, Client, Ticket};
use crate::error::Error;
use crate::msg;
use crate::retval::Retval;
use crate::types::{AfPacketFlags, AfPacketMode, IfIndex, Mac, WithLength};
use crate::wire::{Tail, Text};

/// An interface that was made, or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its number.
    pub sw_if_index: IfIndex,
    /// Whether it was there before. It may be dead: its device may have been deleted since, and made
    /// again under the same name.
    pub existed: bool,
}

/// An interface on a network device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfPacket {
    /// The device, in VPP's network namespace.
    pub device: String,
    /// VPP's Ethernet address.
    pub mac: Mac,
    /// Bytes of a frame: the MTU and 80 at least; frames of a block are a multiple of the page size.
    pub frame_size: u32,
    /// Frames of a block, in each direction.
    pub frames: u32,
    /// Options.
    pub flags: AfPacketFlags,
}

impl AfPacket {
    /// With the smallest rings that carry an MTU of up to 1968: about 1 MB of memory.
    pub fn small(device: &str, mac: Mac) -> Self {
        let flags = AfPacketFlags::VERSION_2;
        Self { device: device.to_owned(), mac, frame_size: 2048, frames: 256, flags }
    }
}

/// The claim to an answer, of the message that this VPP has.
enum AfPacketTicket {
    V3(Ticket<msg::AfPacketCreateV3>),
    V2(Ticket<msg::AfPacketCreateV2>),
}

impl AfPacket {
    fn ask(&self, batch: &mut Batch<'_>, newest: bool) -> Result<AfPacketTicket, Error> {
        let Self { device, mac, frame_size, frames, flags } = self;
        let host_if_name = Text::new(device)?;
        if newest {
            let request = msg::AfPacketCreateV3 {
                mode: AfPacketMode::ETHERNET,
                hw_addr: *mac,
                use_random_hw_addr: false,
                host_if_name,
                rx_frame_size: *frame_size,
                tx_frame_size: *frame_size,
                rx_frames_per_block: *frames,
                tx_frames_per_block: *frames,
                flags: *flags,
                num_rx_queues: 1,
                num_tx_queues: 1,
            };
            return batch.call(&request).map(AfPacketTicket::V3);
        }
        let request = msg::AfPacketCreateV2 {
            hw_addr: *mac,
            use_random_hw_addr: false,
            host_if_name,
            rx_frame_size: *frame_size,
            tx_frame_size: *frame_size,
            rx_frames_per_block: *frames,
            tx_frames_per_block: *frames,
            flags: *flags,
            num_rx_queues: 1,
        };
        batch.call(&request).map(AfPacketTicket::V2)
    }
}

/// Options of a tap (VPP: `tap_flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapFlags(pub u32);

impl TapFlags {
    /// Segmentation offload.
    pub const GSO: Self = Self(1);
    /// Checksum offload.
    pub const CSUM_OFFLOAD: Self = Self(2);
    /// The device survives VPP, with its addresses and routes.
    pub const PERSIST: Self = Self(4);
    /// A device of this name is taken over. It does not persist any more unless that is asked for again.
    pub const ATTACH: Self = Self(8);
    /// IP packets without Ethernet.
    pub const TUN: Self = Self(16);
    /// What arrives is joined; with [`TapFlags::GSO`].
    pub const GRO_COALESCE: Self = Self(32);
    /// Packed rings.
    pub const PACKED: Self = Self(64);
    /// In order.
    pub const IN_ORDER: Self = Self(128);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has all of another's.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An interface whose other end is a tap device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// VPP's Ethernet address.
    pub mac: Mac,
    /// The device's Ethernet address: always given, or it changes whenever VPP takes the device over.
    pub host_mac: Mac,
    /// The device's name.
    pub device: String,
    /// The device's network namespace, as VPP finds it; at most 63 bytes. None for VPP's own.
    pub namespace: Option<String>,
    /// The device's MTU in bytes.
    pub mtu: Option<u32>,
    /// Queues to receive from and to send to.
    pub queues: u8,
    /// Entries of a queue, a power of two; 0 for 256.
    pub ring: u16,
    /// Options.
    pub flags: TapFlags,
    /// The interface's tag.
    pub tag: String,
}

impl Client {
    /// Makes an interface on a network device, or finds the one that is there.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`Retval::INVALID_INTERFACE`] if there is no such device.
    pub fn create_af_packet(&mut self, wanted: &AfPacket) -> Result<Created, Error> {
        let mut made = self.create_af_packets(std::slice::from_ref(wanted))?;
        made.pop().unwrap_or(Err(Error::NotHere))
    }

    /// The same for several in one round trip: one verdict for each, in their order. VPP makes one after the
    /// other, so that the time for an answer is to be enough for all.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]: how many were made is not known then.
    pub fn create_af_packets(
        &mut self,
        wanted: &[AfPacket],
    ) -> Result<Vec<Result<Created, Error>>, Error> {
        let newest = self.has::<msg::AfPacketCreateV3>() || !self.has::<msg::AfPacketCreateV2>();
        let mut batch = self.batch();
        let mut tickets = Vec::with_capacity(wanted.len());
        for one in wanted {
            tickets.push(one.ask(&mut batch, newest)?);
        }
        let mut answers = batch.send()?;
        let mut all = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let answer = match ticket {
                AfPacketTicket::V3(ticket) => answers.try_reply(ticket),
                AfPacketTicket::V2(ticket) => answers.try_reply(ticket),
            };
            all.push(answer.and_then(|(retval, made)| match made {
                Some(made) if retval.is_ok() || retval == Retval::INTERFACE_EXISTS => {
                    Ok(Created { sw_if_index: made.sw_if_index, existed: !retval.is_ok() })
                }
                _ => Err(Error::Refused { message: "af_packet_create", retval }),
            }));
        }
        Ok(all)
    }

    /// Deletes the interface on a device; whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn delete_af_packet(&mut self, device: &str) -> Result<bool, Error> {
        let request = msg::AfPacketDelete { host_if_name: Text::new(device)? };
        gone(self.call(&request), Retval::SYSCALL_ERROR_1)
    }

    /// Makes a tap. That VPP has none on this device already is for the caller to see to.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`Retval::SYSCALL_ERROR_1`] without `/dev/vhost-net`,
    /// [`Retval::SYSCALL_ERROR_2`] without the namespace.
    pub fn create_tap(&mut self, wanted: &Tap) -> Result<IfIndex, Error> {
        let request = wanted.request()?;
        let made = if self.has::<msg::TapCreateV3>() || !self.has::<msg::TapCreateV2>() {
            self.call(&request)
        } else {
            self.call(&before_22_02(request, wanted.queues))
        };
        Ok(made?.sw_if_index)
    }

    /// Deletes a tap, and its device.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn delete_tap(&mut self, sw_if_index: IfIndex) -> Result<(), Error> {
        self.call(&msg::TapDeleteV2 { sw_if_index })
    }
}

impl Tap {
    fn request(&self) -> Result<msg::TapCreateV3, Error> {
        let namespace = self.namespace.as_deref();
        Ok(msg::TapCreateV3 {
            id: u32::MAX,
            use_random_mac: false,
            mac_address: self.mac,
            num_rx_queues: self.queues.into(),
            num_tx_queues: self.queues.into(),
            tx_ring_sz: self.ring,
            rx_ring_sz: self.ring,
            host_mtu_set: self.mtu.is_some(),
            host_mtu_size: self.mtu.unwrap_or(0),
            host_mac_addr_set: true,
            host_mac_addr: self.host_mac,
            host_ip4_prefix_set: false,
            host_ip4_prefix: WithLength { address: Ipv4Addr::UNSPECIFIED, len: 0 },
            host_ip6_prefix_set: false,
            host_ip6_prefix: WithLength { address: Ipv6Addr::UNSPECIFIED, len: 0 },
            host_ip4_gw_set: false,
            host_ip4_gw: Ipv4Addr::UNSPECIFIED,
            host_ip6_gw_set: false,
            host_ip6_gw: Ipv6Addr::UNSPECIFIED,
            tap_flags: self.flags.0,
            host_namespace_set: namespace.is_some(),
            host_namespace: Text::new(namespace.unwrap_or_default())?,
            host_if_name_set: true,
            host_if_name: Text::new(&self.device)?,
            host_bridge_set: false,
            host_bridge: Text::empty(),
            // A tag ends up in a field of 64 bytes, and is cut there without a word.
            tag: Tail(Text::<64>::new(&self.tag)?.as_text().into_owned()),
        })
    }
}

/// The same request as it was before 22.02.
fn before_22_02(request: msg::TapCreateV3, queues: u8) -> msg::TapCreateV2 {
    msg::TapCreateV2 {
        id: request.id,
        use_random_mac: request.use_random_mac,
        mac_address: request.mac_address,
        num_rx_queues: queues,
        tx_ring_sz: request.tx_ring_sz,
        rx_ring_sz: request.rx_ring_sz,
        host_mtu_set: request.host_mtu_set,
        host_mtu_size: request.host_mtu_size,
        host_mac_addr_set: request.host_mac_addr_set,
        host_mac_addr: request.host_mac_addr,
        host_ip4_prefix_set: request.host_ip4_prefix_set,
        host_ip4_prefix: request.host_ip4_prefix,
        host_ip6_prefix_set: request.host_ip6_prefix_set,
        host_ip6_prefix: request.host_ip6_prefix,
        host_ip4_gw_set: request.host_ip4_gw_set,
        host_ip4_gw: request.host_ip4_gw,
        host_ip6_gw_set: request.host_ip6_gw_set,
        host_ip6_gw: request.host_ip6_gw,
        tap_flags: request.tap_flags,
        host_namespace_set: request.host_namespace_set,
        host_namespace: request.host_namespace,
        host_if_name_set: request.host_if_name_set,
        host_if_name: request.host_if_name,
        host_bridge_set: request.host_bridge_set,
        host_bridge: request.host_bridge,
        tag: request.tag,
    }
}
