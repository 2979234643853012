//! Interfaces on a network device of the kernel, such as one end of a veth pair (VPP: `af_packet.api`).
//!
//! The device is opened in VPP's own network namespace. The interface is named `host-` and the device's
//! name. When the device is deleted the interface stays, dead, and has to be deleted, too.

use super::{InterfaceMade, messages};
use crate::types::{AfPacketFlags, AfPacketMode, IfIndex, Mac};
use crate::wire::Text;

messages! { AfPacket, AF_PACKET,
    /// Makes an interface, from 22.06 on. -71 if there is no such device; -79 if there is such an interface,
    /// with its number in the reply. Takes 30 to 60 ms.
    call AfPacketCreateV3 = "af_packet_create_v3" 0xb3a8_09d4 => InterfaceMade = 0x5383_d31f {
        /// What it carries.
        mode: AfPacketMode,
        /// VPP's Ethernet address.
        hw_addr: Mac,
        /// Whether VPP makes that up: 02:fe and four random bytes.
        use_random_hw_addr: bool,
        /// The device; 15 bytes can be used.
        host_if_name: Text<64>,
        /// Bytes of a frame that is received; 0: VPP chooses. At least the MTU and 80 bytes; frames of a
        /// block are a multiple of the page size.
        rx_frame_size: u32,
        /// The same of a frame that is sent.
        tx_frame_size: u32,
        /// Frames of a block; 0 for what makes 78 MB.
        rx_frames_per_block: u32,
        /// The same for frames that are sent.
        tx_frames_per_block: u32,
        /// Options.
        flags: AfPacketFlags,
        /// Queues to receive from, at least 1.
        num_rx_queues: u16,
        /// Queues to send to, at least 1.
        num_tx_queues: u16,
    }

    /// The same from 22.02 on.
    call AfPacketCreateV2 = "af_packet_create_v2" 0x4aff_0436 => InterfaceMade = 0x5383_d31f {
        /// VPP's Ethernet address.
        hw_addr: Mac,
        /// Whether VPP makes that up.
        use_random_hw_addr: bool,
        /// The device.
        host_if_name: Text<64>,
        /// Bytes of a frame that is received.
        rx_frame_size: u32,
        /// Bytes of a frame that is sent.
        tx_frame_size: u32,
        /// Frames of a block.
        rx_frames_per_block: u32,
        /// The same for frames that are sent.
        tx_frames_per_block: u32,
        /// Options.
        flags: AfPacketFlags,
        /// Queues to receive from.
        num_rx_queues: u16,
    }

    /// Deletes an interface by its device. -11 if there is none.
    call AfPacketDelete = "af_packet_delete" 0x863f_a648 => () = 0xe8d4_e804 {
        /// The device.
        host_if_name: Text<64>,
    }

    /// Asks for all interfaces of this kind.
    dump AfPacketDump = "af_packet_dump" 0x5107_7d14 -> AfPacketDetails {}

    /// An interface of this kind.
    details AfPacketDetails = "af_packet_details" 0x58c7_c042 {
        /// Its number.
        sw_if_index: IfIndex,
        /// The device.
        host_if_name: Text<64>,
    }
}
