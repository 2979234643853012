//! Interfaces in memory that is shared with an application (VPP: `memif.api`).
//!
//! The two ends meet at a socket, which VPP knows by a number. -73 no such socket, or a ring whose size is
//! no power of two; -68 master and slave on one socket; -14 the socket's directory is missing.

use super::{InterfaceMade, messages};
use crate::types::{IfIndex, InterfaceFlags, Mac, MemifMode, MemifRole};
use crate::wire::{Tail, Text};

messages! { Memif, MEMIF,
    /// Makes a socket known, from 23.06 on, or forgets it. The same path twice gives two numbers: look with
    /// [`MemifSocketFilenameDump`] first.
    call MemifSocketFilenameAddDelV2 = "memif_socket_filename_add_del_v2" 0x3422_3bdf => SocketMade = 0x9f29_bdb9 {
        /// Whether to make it known.
        is_add: bool,
        /// Its number; `u32::MAX`: VPP chooses one at random. 0 is VPP's own and cannot be changed.
        socket_id: u32,
        /// Its path; from VPP's runtime directory if it is not absolute.
        socket_filename: Tail,
    }

    /// The same before 23.06.
    call MemifSocketFilenameAddDel = "memif_socket_filename_add_del" 0xa2ce_1a10 => () = 0xe8d4_e804 {
        /// Whether to make it known.
        is_add: bool,
        /// Its number, which must be given.
        socket_id: u32,
        /// Its path.
        socket_filename: Text<108>,
    }

    /// Asks for all sockets.
    dump MemifSocketFilenameDump = "memif_socket_filename_dump" 0x5107_7d14 -> MemifSocketFilenameDetails {}

    /// A socket.
    details MemifSocketFilenameDetails = "memif_socket_filename_details" 0x7ff3_26f7 {
        /// Its number.
        socket_id: u32,
        /// Its path.
        socket_filename: Text<108>,
    }

    /// Makes an interface, from 23.06 on.
    call MemifCreateV2 = "memif_create_v2" 0x8c7d_e5f7 => InterfaceMade = 0x5383_d31f {
        /// Which end this is.
        role: MemifRole,
        /// What it carries.
        mode: MemifMode,
        /// Queues to receive from; 0 for 1.
        rx_queues: u8,
        /// Queues to send to; 0 for 1.
        tx_queues: u8,
        /// Its number on the socket: both ends have the same.
        id: u32,
        /// The socket's number.
        socket_id: u32,
        /// Entries of a ring, a power of two; 0 for 1024.
        ring_size: u32,
        /// Bytes of a buffer; 0 for 2048.
        buffer_size: u16,
        /// Whether packets are always copied.
        no_zero_copy: bool,
        /// Whether an engine of the machine copies them.
        use_dma: bool,
        /// VPP's Ethernet address; zero: VPP makes one up.
        hw_addr: Mac,
        /// What both ends must know.
        secret: Text<24>,
    }

    /// The same before 23.06.
    call MemifCreate = "memif_create" 0xb1b2_5061 => InterfaceMade = 0x5383_d31f {
        /// As [`MemifCreateV2::role`].
        role: MemifRole,
        /// As [`MemifCreateV2::mode`].
        mode: MemifMode,
        /// As [`MemifCreateV2::rx_queues`].
        rx_queues: u8,
        /// As [`MemifCreateV2::tx_queues`].
        tx_queues: u8,
        /// As [`MemifCreateV2::id`].
        id: u32,
        /// As [`MemifCreateV2::socket_id`].
        socket_id: u32,
        /// As [`MemifCreateV2::ring_size`].
        ring_size: u32,
        /// As [`MemifCreateV2::buffer_size`].
        buffer_size: u16,
        /// As [`MemifCreateV2::no_zero_copy`].
        no_zero_copy: bool,
        /// As [`MemifCreateV2::hw_addr`].
        hw_addr: Mac,
        /// As [`MemifCreateV2::secret`].
        secret: Text<24>,
    }

    /// Deletes an interface.
    call MemifDelete = "memif_delete" 0xf9e6_675e => () = 0xe8d4_e804 {
        /// Which one.
        sw_if_index: IfIndex,
    }

    /// Asks for all interfaces of this kind.
    dump MemifDump = "memif_dump" 0x5107_7d14 -> MemifDetails {}

    /// An interface of this kind.
    details MemifDetails = "memif_details" 0xda34_feb9 {
        /// Its number.
        sw_if_index: IfIndex,
        /// VPP's Ethernet address.
        hw_addr: Mac,
        /// Its number on the socket.
        id: u32,
        /// Which end this is.
        role: MemifRole,
        /// What it carries.
        mode: MemifMode,
        /// Whether packets need not be copied.
        zero_copy: bool,
        /// The socket's number.
        socket_id: u32,
        /// Entries of a ring.
        ring_size: u32,
        /// Bytes of a buffer.
        buffer_size: u16,
        /// Whether it is up, and connected.
        flags: InterfaceFlags,
        /// Its name.
        if_name: Text<64>,
    }
}

super::fields! {
    /// A socket was made known.
    SocketMade {
        /// Its number.
        socket_id: u32,
    }
}
