//! Addresses of interfaces (VPP: `ip.api`).

use super::messages;
use crate::types::{Family, IfIndex, Prefix};

messages! { Core, ADDRESS,
    /// Asks for an interface's own addresses of one family: what it borrows does not come.
    dump IpAddressDump = "ip_address_dump" 0x2d03_3de4 -> IpAddressDetails {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Which family.
        is_ipv6: bool,
    }

    /// An address.
    details IpAddressDetails = "ip_address_details" 0xee29_b797 {
        /// Its interface.
        sw_if_index: IfIndex,
        /// The address with its prefix length.
        prefix: Prefix,
    }

    /// Asks which interfaces borrow addresses.
    dump IpUnnumberedDump = "ip_unnumbered_dump" 0xf9e6_675e -> IpUnnumberedDetails {
        /// One of them, or all.
        sw_if_index: IfIndex,
    }

    /// An interface that borrows addresses.
    details IpUnnumberedDetails = "ip_unnumbered_details" 0xcc59_bd42 {
        /// The one that borrows.
        sw_if_index: IfIndex,
        /// The one that has them.
        ip_sw_if_index: IfIndex,
    }
}

impl IpAddressDump {
    /// For one family.
    pub const fn of(sw_if_index: IfIndex, family: Family) -> Self {
        Self { sw_if_index, is_ipv6: family.is_ipv6() }
    }
}
