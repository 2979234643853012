//! Interfaces whose other end is a tap device of the kernel (VPP: `tapv2.api`).
//!
//! VPP opens the network namespace itself, and needs `/dev/vhost-net`. -11 without that; -12 no such
//! namespace; -13 the name is taken by something else; -126 the kernel's vhost
//! cannot do what is needed; -145 netlink.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{InterfaceMade, messages};
use crate::types::{IfIndex, Mac, WithLength};
use crate::wire::{Tail, Text};

messages! { Tap, TAP,
    /// Makes an interface, from 22.02 on. A device of this name that VPP has already gets a second queue
    /// instead of an error: look with [`SwInterfaceTapV2Dump`] first.
    call TapCreateV3 = "tap_create_v3" 0x3f3f_d1df => InterfaceMade = 0x5383_d31f {
        /// The number in VPP's name for it; `u32::MAX` for the next one.
        id: u32,
        /// Whether VPP makes its own Ethernet address up.
        use_random_mac: bool,
        /// VPP's Ethernet address.
        mac_address: Mac,
        /// Queues to receive from, at least 1.
        num_rx_queues: u16,
        /// Queues to send to.
        num_tx_queues: u16,
        /// Entries of a queue to send to, a power of two; 0 for 256.
        tx_ring_sz: u16,
        /// Entries of a queue to receive from, a power of two; 0 for 256.
        rx_ring_sz: u16,
        /// Whether the device gets an MTU.
        host_mtu_set: bool,
        /// The device's MTU in bytes.
        host_mtu_size: u32,
        /// Whether the device gets an Ethernet address; else a new random one each time it is attached.
        host_mac_addr_set: bool,
        /// The device's Ethernet address.
        host_mac_addr: Mac,
        /// Whether the device gets an IPv4 address.
        host_ip4_prefix_set: bool,
        /// Which one.
        host_ip4_prefix: WithLength<Ipv4Addr>,
        /// Whether the device gets an IPv6 address.
        host_ip6_prefix_set: bool,
        /// Which one.
        host_ip6_prefix: WithLength<Ipv6Addr>,
        /// Whether the device's namespace gets an IPv4 default route.
        host_ip4_gw_set: bool,
        /// Via whom.
        host_ip4_gw: Ipv4Addr,
        /// Whether the device's namespace gets an IPv6 default route.
        host_ip6_gw_set: bool,
        /// Via whom.
        host_ip6_gw: Ipv6Addr,
        /// Options: [`crate::TapFlags`].
        tap_flags: u32,
        /// Whether a namespace is given.
        host_namespace_set: bool,
        /// The namespace: an absolute path, `pid:` and a number, or a name below /var/run/netns.
        host_namespace: Text<64>,
        /// Whether the device's name is given.
        host_if_name_set: bool,
        /// The device's name; 15 bytes can be used.
        host_if_name: Text<64>,
        /// Whether the device is put into a bridge.
        host_bridge_set: bool,
        /// Which one.
        host_bridge: Text<64>,
        /// The interface's tag.
        tag: Tail,
    }

    /// The same before 22.02, with one queue to send to for each thread.
    call TapCreateV2 = "tap_create_v2" 0x2d0d_6570 => InterfaceMade = 0x5383_d31f {
        /// As [`TapCreateV3::id`].
        id: u32,
        /// As [`TapCreateV3::use_random_mac`].
        use_random_mac: bool,
        /// As [`TapCreateV3::mac_address`].
        mac_address: Mac,
        /// Queues to receive from.
        num_rx_queues: u8,
        /// As [`TapCreateV3::tx_ring_sz`].
        tx_ring_sz: u16,
        /// As [`TapCreateV3::rx_ring_sz`].
        rx_ring_sz: u16,
        /// As [`TapCreateV3::host_mtu_set`].
        host_mtu_set: bool,
        /// As [`TapCreateV3::host_mtu_size`].
        host_mtu_size: u32,
        /// As [`TapCreateV3::host_mac_addr_set`].
        host_mac_addr_set: bool,
        /// As [`TapCreateV3::host_mac_addr`].
        host_mac_addr: Mac,
        /// As [`TapCreateV3::host_ip4_prefix_set`].
        host_ip4_prefix_set: bool,
        /// As [`TapCreateV3::host_ip4_prefix`].
        host_ip4_prefix: WithLength<Ipv4Addr>,
        /// As [`TapCreateV3::host_ip6_prefix_set`].
        host_ip6_prefix_set: bool,
        /// As [`TapCreateV3::host_ip6_prefix`].
        host_ip6_prefix: WithLength<Ipv6Addr>,
        /// As [`TapCreateV3::host_ip4_gw_set`].
        host_ip4_gw_set: bool,
        /// As [`TapCreateV3::host_ip4_gw`].
        host_ip4_gw: Ipv4Addr,
        /// As [`TapCreateV3::host_ip6_gw_set`].
        host_ip6_gw_set: bool,
        /// As [`TapCreateV3::host_ip6_gw`].
        host_ip6_gw: Ipv6Addr,
        /// As [`TapCreateV3::tap_flags`].
        tap_flags: u32,
        /// As [`TapCreateV3::host_namespace_set`].
        host_namespace_set: bool,
        /// As [`TapCreateV3::host_namespace`].
        host_namespace: Text<64>,
        /// As [`TapCreateV3::host_if_name_set`].
        host_if_name_set: bool,
        /// As [`TapCreateV3::host_if_name`].
        host_if_name: Text<64>,
        /// As [`TapCreateV3::host_bridge_set`].
        host_bridge_set: bool,
        /// As [`TapCreateV3::host_bridge`].
        host_bridge: Text<64>,
        /// As [`TapCreateV3::tag`].
        tag: Tail,
    }

    /// Deletes an interface, and its device also if it was to persist.
    call TapDeleteV2 = "tap_delete_v2" 0xf9e6_675e => () = 0xe8d4_e804 {
        /// Which one.
        sw_if_index: IfIndex,
    }

    /// Asks for interfaces of this kind.
    dump SwInterfaceTapV2Dump = "sw_interface_tap_v2_dump" 0xf9e6_675e -> SwInterfaceTapV2Details {
        /// One of them, or all.
        sw_if_index: IfIndex,
    }

    /// An interface of this kind.
    details SwInterfaceTapV2Details = "sw_interface_tap_v2_details" 0x1e2b_2a47 {
        /// Its number.
        sw_if_index: IfIndex,
        /// The number in VPP's name for it.
        id: u32,
        /// Entries of a queue to send to.
        tx_ring_sz: u16,
        /// Entries of a queue to receive from.
        rx_ring_sz: u16,
        /// The device's MTU in bytes.
        host_mtu_size: u32,
        /// The device's Ethernet address.
        host_mac_addr: Mac,
        /// The device's IPv4 address, if VPP has set one.
        host_ip4_prefix: WithLength<Ipv4Addr>,
        /// The device's IPv6 address, if VPP has set one.
        host_ip6_prefix: WithLength<Ipv6Addr>,
        /// Options.
        tap_flags: u32,
        /// VPP's name for it.
        dev_name: Text<64>,
        /// The device's name.
        host_if_name: Text<64>,
        /// Its namespace, as it was given.
        host_namespace: Text<64>,
        /// Its bridge.
        host_bridge: Text<64>,
    }
}
