//! What an interface does besides forwarding (VPP: `ip.api`, `ip6_nd.api`, `arp.api`, `feature.api`, `gso.api`).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::messages;
use crate::types::IfIndex;
use crate::wire::Text;

messages! { Core, FEATURE,
    /// Turns IPv6 on or off without an address: it gets a link-local one.
    call SwInterfaceIp6EnableDisable = "sw_interface_ip6_enable_disable" 0xae6c_fcfb => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Whether to turn it on.
        enable: bool,
    }

    /// Sets how router advertisements are sent. Only those things change whose field is not 0.
    call SwInterfaceIp6ndRaConfig = "sw_interface_ip6nd_ra_config" 0x3eb0_0b1c => () = 0xe8d4_e804 {
        /// Which interface, with IPv6 turned on.
        sw_if_index: IfIndex,
        /// 1: send none.
        suppress: u8,
        /// 1: addresses come from DHCP.
        managed: u8,
        /// 1: other things come from DHCP.
        other: u8,
        /// 1: without the Ethernet address.
        ll_option: u8,
        /// 1: answer who asked, not all.
        send_unicast: u8,
        /// 1: say that this is no router any more.
        cease: u8,
        /// Whether all of this is to be taken back.
        is_no: bool,
        /// 1: not as a default router.
        default_router: u8,
        /// Seconds between two, at most.
        max_interval: u32,
        /// Seconds between two, at least.
        min_interval: u32,
        /// Seconds that a default route is good.
        lifetime: u32,
        /// How many come at first.
        initial_count: u32,
        /// Seconds between the first.
        initial_interval: u32,
    }

    /// Answers neighbour solicitations for an address that is elsewhere.
    call Ip6ndProxyAddDel = "ip6nd_proxy_add_del" 0xc2e4_a686 => () = 0xe8d4_e804 {
        /// On which interface.
        sw_if_index: IfIndex,
        /// Whether to begin.
        is_add: bool,
        /// For which address.
        ip: Ipv6Addr,
    }

    /// Answers ARP for addresses that are elsewhere, where proxy ARP is on.
    call ProxyArpAddDel = "proxy_arp_add_del" 0x1823_c3e7 => () = 0xe8d4_e804 {
        /// Whether to begin.
        is_add: bool,
        /// For which ones.
        proxy: ProxyArp,
    }

    /// Turns proxy ARP on or off.
    call ProxyArpIntfcEnableDisable = "proxy_arp_intfc_enable_disable" 0xae6c_fcfb => () = 0xe8d4_e804 {
        /// On which interface.
        sw_if_index: IfIndex,
        /// Whether to turn it on.
        enable: bool,
    }

    /// Puts a node of VPP's graph into an interface's path, or takes it out.
    call FeatureEnableDisable = "feature_enable_disable" 0x7531_c862 => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Whether to put it there.
        enable: bool,
        /// Where, as in `ip4-unicast`.
        arc_name: Text<64>,
        /// What.
        feature_name: Text<64>,
    }

    /// Lets VPP cut what is too large for an interface that cannot do so itself, as taps with GSO send it.
    call FeatureGsoEnableDisable = "feature_gso_enable_disable" 0x5501_adee => () = 0xe8d4_e804 {
        /// Which interface.
        sw_if_index: IfIndex,
        /// Whether to do so.
        enable_disable: bool,
    }
}

super::fields! {
    /// Addresses that ARP is answered for.
    #[derive(Copy, Eq)]
    ProxyArp {
        /// In which table.
        table_id: u32,
        /// From this address,
        low: Ipv4Addr,
        /// up to this one.
        hi: Ipv4Addr,
    }
}

impl SwInterfaceIp6ndRaConfig {
    /// Sends no router advertisements.
    pub const fn silent(sw_if_index: IfIndex) -> Self {
        Self {
            sw_if_index,
            suppress: 1,
            managed: 0,
            other: 0,
            ll_option: 0,
            send_unicast: 0,
            cease: 0,
            is_no: false,
            default_router: 0,
            max_interval: 0,
            min_interval: 0,
            lifetime: 0,
            initial_count: 0,
            initial_interval: 0,
        }
    }
}
