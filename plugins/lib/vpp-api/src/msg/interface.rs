//! Interfaces (VPP: `interface.api`).

use super::messages;
use crate::types::{EventFlags, IfIndex, InterfaceFlags, Mac, Prefix, RxMode};
use crate::wire::{Tail, Text};

messages! { Core, INTERFACE,
    /// Asks for one interface, or all. VPP takes index 0 (`local0`) for all of them, too.
    dump SwInterfaceDump = "sw_interface_dump" 0xaa61_0c27 -> SwInterfaceDetails {
        /// Which one; of an index that is not there nothing comes.
        sw_if_index: IfIndex,
        /// Whether the filter counts; the index does not count then.
        name_filter_valid: bool,
        /// Part of a name, in small or capital letters.
        name_filter: Tail,
    }

    /// An interface.
    details SwInterfaceDetails = "sw_interface_details" 0x6c22_1fc7 {
        /// Its number.
        sw_if_index: IfIndex,
        /// The interface that it is a part of, or itself.
        sup_sw_if_index: IfIndex,
        /// Its Ethernet address; zero if it has none.
        l2_address: Mac,
        /// Whether it is up, and connected.
        flags: InterfaceFlags,
        /// 0 hardware, 1 subinterface, 2 point to point, 3 pipe.
        r#type: u32,
        /// 1 half, 2 full.
        link_duplex: u32,
        /// In kbit/s.
        link_speed: u32,
        /// The largest frame of the hardware, in bytes.
        link_mtu: u16,
        /// The largest packet, in bytes: of layer 3, of IPv4, of IPv6, of MPLS; 0 of a family: as layer 3.
        mtu: [u32; 4],
        /// The number of a subinterface.
        sub_id: u32,
        /// VLAN tags of a subinterface.
        sub_number_of_tags: u8,
        /// The outer one.
        sub_outer_vlan_id: u16,
        /// The inner one.
        sub_inner_vlan_id: u16,
        /// What else a subinterface matches.
        sub_if_flags: u32,
        /// How VLAN tags are rewritten.
        vtr_op: u32,
        /// With which EtherType.
        vtr_push_dot1q: u32,
        /// The first tag.
        vtr_tag1: u32,
        /// The second tag.
        vtr_tag2: u32,
        /// Of provider bridging.
        outer_tag: u16,
        /// Of provider bridging.
        b_dmac: Mac,
        /// Of provider bridging.
        b_smac: Mac,
        /// Of provider bridging.
        b_vlanid: u16,
        /// Of provider bridging.
        i_sid: u32,
        /// Its name.
        interface_name: Text<64>,
        /// What kind of device it is: `dpdk`, `af-packet`, `virtio`, `Loopback`, ...
        interface_dev_type: Text<64>,
        /// What its owner has written on it.
        tag: Text<64>,
    }

    /// Subscribes to interface events, or ends that. -31 if this connection has subscribed already.
    call WantInterfaceEvents = "want_interface_events" 0x476f_5a08 => () = 0xe8d4_e804 {
        /// 1 to subscribe, 0 to end it.
        enable_disable: u32,
        /// The subscriber's process; comes back in events.
        pid: u32,
    }

    /// Something happened to an interface. It tells what, not the state after it.
    event SwInterfaceEvent = "sw_interface_event" 0x2d3d_95a7 {
        /// That of the subscription.
        pid: u32,
        /// The interface.
        sw_if_index: IfIndex,
        /// What happened to its state.
        flags: EventFlags,
        /// Whether it is gone.
        deleted: bool,
    }

    /// Sets an interface up or down. A new one is down.
    call SwInterfaceSetFlags = "sw_interface_set_flags" 0xf5ae_c1b8 => () = 0xe8d4_e804 {
        /// Which one.
        sw_if_index: IfIndex,
        /// [`InterfaceFlags::ADMIN_UP`] or [`InterfaceFlags::DOWN`].
        flags: InterfaceFlags,
    }

    /// Adds or deletes an address. Not idempotent: an address that is there is -105 (IPv4) or -127 (IPv6),
    /// one that is not there -60. -105 is also a subnet that overlaps another interface's in the same table.
    call SwInterfaceAddDelAddress = "sw_interface_add_del_address" 0x5463_d73b => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Whether to add it.
        is_add: bool,
        /// Whether to delete all of them.
        del_all: bool,
        /// The address, and its subnet.
        prefix: Prefix,
    }

    /// Sets the largest packet that leaves an interface unfragmented.
    call SwInterfaceSetMtu = "sw_interface_set_mtu" 0x5cbe_85e5 => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// In bytes: of layer 3, of IPv4, of IPv6, of MPLS; 0 of a family: as layer 3.
        mtu: [u32; 4],
    }

    /// Sets the largest frame of the hardware. -126 on a loopback; a DPDK port is stopped and started.
    call HwInterfaceSetMtu = "hw_interface_set_mtu" 0xe674_6899 => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// In bytes.
        mtu: u16,
    }

    /// Lets an interface use another's addresses, or ends that. Idempotent.
    call SwInterfaceSetUnnumbered = "sw_interface_set_unnumbered" 0x154a_6439 => () = 0xe8d4_e804 {
        /// The interface that HAS the addresses.
        sw_if_index: IfIndex,
        /// The one that borrows them.
        unnumbered_sw_if_index: IfIndex,
        /// Whether it borrows from now on.
        is_add: bool,
    }

    /// Puts an interface into a table. Before it has addresses or borrows them, -114 otherwise; -3 if
    /// there is no such table.
    call SwInterfaceSetTable = "sw_interface_set_table" 0xdf42_a577 => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// For which family.
        is_ipv6: bool,
        /// Which table.
        vrf_id: u32,
    }

    /// Asks which table an interface is in.
    call SwInterfaceGetTable = "sw_interface_get_table" 0x2d03_3de4 => InterfaceTable = 0xa6eb_0109 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// For which family.
        is_ipv6: bool,
    }

    /// Writes a tag on an interface, or wipes it off. The only mark of an owner that VPP has; it lasts as
    /// long as the interface. -7 if it is empty.
    call SwInterfaceTagAddDel = "sw_interface_tag_add_del" 0x426f_8bc1 => () = 0xe8d4_e804 {
        /// Whether to write it.
        is_add: bool,
        /// On which interface.
        sw_if_index: IfIndex,
        /// The tag.
        tag: Text<64>,
    }

    /// Gives an interface an Ethernet address. -9 if the device cannot.
    call SwInterfaceSetMacAddress = "sw_interface_set_mac_address" 0xc536_e7eb => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// The address.
        mac_address: Mac,
    }

    /// Sets how an interface receives. -9 if the device cannot.
    call SwInterfaceSetRxMode = "sw_interface_set_rx_mode" 0xb04d_1cfe => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Whether it is for one queue only.
        queue_id_valid: bool,
        /// Which queue.
        queue_id: u32,
        /// How.
        mode: RxMode,
    }

    /// Gives an interface another name.
    call SwInterfaceSetInterfaceName = "sw_interface_set_interface_name" 0x45a1_d548 => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// The name.
        name: Text<64>,
    }

    /// Makes a loopback interface with the next free name, `loop0`, `loop1`, ...
    call CreateLoopback = "create_loopback" 0x42bb_5d22 => InterfaceMade = 0x5383_d31f {
        /// Its Ethernet address; zero: VPP makes one up.
        mac_address: Mac,
    }

    /// Makes a loopback interface of a certain name. -31 if it is taken.
    call CreateLoopbackInstance = "create_loopback_instance" 0xd36a_3ee2 => InterfaceMade = 0x5383_d31f {
        /// Its Ethernet address; zero: VPP makes one up.
        mac_address: Mac,
        /// Whether the number counts.
        is_specified: bool,
        /// The number in its name.
        user_instance: u32,
    }

    /// Deletes a loopback interface.
    call DeleteLoopback = "delete_loopback" 0xf9e6_675e => () = 0xe8d4_e804 {
        /// Which one.
        sw_if_index: IfIndex,
    }
}

super::fields! {
    /// An interface was made.
    InterfaceMade {
        /// Its number. If VPP refused, it is the one that is in the way (-79), or means nothing.
        sw_if_index: IfIndex,
    }

    /// An interface's table.
    InterfaceTable {
        /// Its number.
        vrf_id: u32,
    }
}

impl SwInterfaceDump {
    /// For all interfaces.
    pub const fn all() -> Self {
        Self {
            sw_if_index: IfIndex::NONE,
            name_filter_valid: false,
            name_filter: Tail(String::new()),
        }
    }

    /// For interfaces that have `part` in their names, as VPP compares: whoever wants one name has to look
    /// at the names that come.
    pub fn named_like(part: &str) -> Self {
        Self {
            sw_if_index: IfIndex::NONE,
            name_filter_valid: true,
            name_filter: Tail(part.to_owned()),
        }
    }
}
