//! Neighbours: which Ethernet address an IP address has (VPP: `ip_neighbor.api`).

use std::net::IpAddr;

use super::messages;
use crate::msg::RouteMade;
use crate::types::{Family, IfIndex, Mac, NeighborFlags};

messages! { Core, NEIGHBOR,
    /// Adds or deletes a neighbour. Adding again is no error, nor with another Ethernet address; a learned
    /// one does not replace a static one (-2); -6 if it is not there to be deleted.
    call IpNeighborAddDel = "ip_neighbor_add_del" 0x0607_c257 => RouteMade = 0x1992_deab {
        /// Whether to add it.
        is_add: bool,
        /// The neighbour.
        neighbor: Neighbor,
    }

    /// Asks for neighbours of one family.
    dump IpNeighborDump = "ip_neighbor_dump" 0xd817_a484 -> IpNeighborDetails {
        /// On which interface, or on all.
        sw_if_index: IfIndex,
        /// Which family.
        af: Family,
    }

    /// A neighbour.
    details IpNeighborDetails = "ip_neighbor_details" 0xe29d_79f0 {
        /// Seconds since it was heard of.
        age: f64,
        /// The neighbour.
        neighbor: Neighbor,
    }
}

super::fields! {
    /// A neighbour. It goes with its interface.
    #[derive(Copy, Eq)]
    Neighbor {
        /// On which interface.
        sw_if_index: IfIndex,
        /// Whether somebody set it, and whether it brings a host route.
        flags: NeighborFlags,
        /// Its Ethernet address.
        mac_address: Mac,
        /// Its IP address.
        ip_address: IpAddr,
    }
}

impl IpNeighborAddDel {
    /// Sets a neighbour.
    pub const fn set(sw_if_index: IfIndex, ip_address: IpAddr, mac_address: Mac) -> Self {
        let flags = NeighborFlags::STATIC;
        Self { is_add: true, neighbor: Neighbor { sw_if_index, flags, mac_address, ip_address } }
    }
}
