//! Sets of bits and numbered choices. A number without a name is kept: a newer VPP may have more.

use crate::wire::{DecodeError, Field, Reader};

/// A number with names for some values.
macro_rules! numbered {
    ($(
        $(#[$doc:meta])*
        $name:ident($repr:ident) { $($(#[$value_doc:meta])* $value:ident = $number:literal,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$value_doc])* pub const $value: Self = Self($number);)*
        }

        impl Field for $name {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self($repr::read(from)?))
            }

            fn layout(name: &str, out: &mut Vec<String>) {
                $repr::layout(name, out);
            }
        }
    )*};
}

numbered! {
    /// The state of an interface (VPP: `if_status_flags`).
    InterfaceFlags(u32) {
        /// Neither up nor connected.
        DOWN = 0,
        /// It is administratively up.
        ADMIN_UP = 1,
        /// It has a link.
        LINK_UP = 2,
    }

    /// What happened in the batch of an interface event; not the state, which is to be dumped.
    EventFlags(u32) {
        /// An interface came, or went: `deleted` tells.
        NONE = 0,
        /// It was set up.
        ADMIN_UP = 1,
        /// The link came.
        LINK_UP = 2,
    }

    /// How an interface receives (VPP: `rx_mode`).
    RxMode(u32) {
        /// As the device likes it.
        DEFAULT = 4,
        /// By looking all the time.
        POLLING = 1,
        /// By interrupts; a DPDK port may not be able to: -9.
        INTERRUPT = 2,
        /// By either, as traffic demands.
        ADAPTIVE = 3,
    }

    /// What a neighbour is (VPP: `ip_neighbor_flags`, u8).
    NeighborFlags(u8) {
        /// Learned.
        NONE = 0,
        /// Set by somebody: not aged.
        STATIC = 1,
        /// Without the host route that a neighbour brings otherwise.
        NO_FIB_ENTRY = 2,
    }

    /// What an af_packet interface carries (VPP: `af_packet_mode`).
    AfPacketMode(u32) {
        /// Ethernet frames.
        ETHERNET = 1,
        /// IP packets.
        IP = 2,
    }

    /// Options of an af_packet interface (VPP: `af_packet_flags`).
    AfPacketFlags(u32) {
        /// None.
        NONE = 0,
        /// Past the kernel's queueing discipline.
        QDISC_BYPASS = 1,
        /// Checksums and segmentation are left to the other end; needs frames of 64 KiB.
        CKSUM_GSO = 2,
        /// TPACKET version 2: small rings take about 1 MB instead of 11 MB or more. Not part of
        /// the CRC: an older VPP ignores it.
        VERSION_2 = 8,
    }

    /// Which end of a memif this is (VPP: `memif_role`).
    MemifRole(u32) {
        /// Listens on the socket.
        MASTER = 0,
        /// Connects to it, and owns the memory.
        SLAVE = 1,
    }

    /// What a memif carries (VPP: `memif_mode`).
    MemifMode(u32) {
        /// Ethernet frames.
        ETHERNET = 0,
        /// IP packets.
        IP = 1,
        /// Packets into and out of the graph.
        PUNT_INJECT = 2,
    }
}

impl InterfaceFlags {
    /// Whether it is administratively up.
    pub const fn is_up(self) -> bool {
        self.0 & Self::ADMIN_UP.0 != 0
    }

    /// Whether it has a link.
    pub const fn has_link(self) -> bool {
        self.0 & Self::LINK_UP.0 != 0
    }
}

impl NeighborFlags {
    /// Whether somebody set it.
    pub const fn is_static(self) -> bool {
        self.0 & Self::STATIC.0 != 0
    }
}
