//! Which interface of VPP is the uplink.

use std::path::Path;

use vpp_api::IfIndex;
use vpp_api::msg::SwInterfaceDetails;

use super::error::NodeError;
use super::pci::Fit;
use super::seen::Dumped;
use super::spec::Selector;
use super::why::why;

/// Finds it. `root`: where the system tells of devices that VPP does not have.
pub(super) fn find(
    selector: &Selector,
    dumped: &Dumped,
    root: &Path,
) -> Result<IfIndex, NodeError> {
    let found = candidates(selector, &dumped.interfaces);
    match found.as_slice() {
        [one] => Ok(one.sw_if_index),
        [] => Err(NodeError::NoUplink {
            wanted: selector.to_string(),
            why: Box::new(why(selector, dumped, root)),
        }),
        several => Err(NodeError::Ambiguous {
            wanted: selector.to_string(),
            found: several.iter().map(|interface| interface.interface_name.to_string()).collect(),
        }),
    }
}

fn candidates<'i>(
    selector: &Selector,
    interfaces: &'i [SwInterfaceDetails],
) -> Vec<&'i SwInterfaceDetails> {
    let all = interfaces.iter().filter(|interface| interface.interface_name != "local0");
    match selector {
        Selector::Name(name) => all.filter(|it| it.interface_name == name.as_str()).collect(),
        Selector::Tag(tag) => all.filter(|it| it.tag == tag.as_str()).collect(),
        // A subinterface has the address of the whole one.
        Selector::Mac(mac) => all
            .filter(|it| it.l2_address == *mac && it.sup_sw_if_index == it.sw_if_index)
            .filter(|it| !it.tag.to_string().starts_with("plat/"))
            .collect(),
        Selector::Pci(address) => {
            let fitting: Vec<(Fit, &SwInterfaceDetails)> = all
                .filter_map(|it| Some((address.fits(&it.interface_name.to_string())?, it)))
                .collect();
            let best = fitting.iter().map(|(fit, _)| *fit).max();
            let of_best = fitting.iter().filter(|(fit, _)| Some(*fit) == best);
            of_best.map(|(_, interface)| *interface).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vpp_api::Mac;
    use vpp_api::types::InterfaceFlags;
    use vpp_api::wire::Text;

    fn interface(index: u32, name: &str, mac: u8, tag: &str) -> SwInterfaceDetails {
        let mac = Mac([2, 0, 0, 0, 0, mac]);
        SwInterfaceDetails {
            sw_if_index: IfIndex(index),
            sup_sw_if_index: IfIndex(if name.contains('.') { 1 } else { index }),
            l2_address: mac,
            flags: InterfaceFlags::DOWN,
            r#type: 0,
            link_duplex: 0,
            link_speed: 0,
            link_mtu: 9000,
            mtu: [9000, 0, 0, 0],
            sub_id: 0,
            sub_number_of_tags: 0,
            sub_outer_vlan_id: 0,
            sub_inner_vlan_id: 0,
            sub_if_flags: 0,
            vtr_op: 0,
            vtr_push_dot1q: 0,
            vtr_tag1: 0,
            vtr_tag2: 0,
            outer_tag: 0,
            b_dmac: mac,
            b_smac: mac,
            b_vlanid: 0,
            i_sid: 0,
            interface_name: Text::new(name).unwrap(),
            interface_dev_type: Text::new("dpdk").unwrap(),
            tag: Text::new(tag).unwrap(),
        }
    }

    #[test]
    fn one_interface_is_found() {
        let interfaces = [
            interface(0, "local0", 0, ""),
            interface(1, "GigabitEthernet0/4/0", 1, ""),
            interface(2, "GigabitEthernet0/4/0.100", 1, ""),
            interface(3, "TenGigabitEthernet-10000/0/4/0", 3, "main"),
            interface(4, "Ethernet0", 4, "main"),
            interface(5, "loop0", 4, "plat/gateway/0"),
            interface(6, "TenGigabitEthernet129/16/0", 6, "one"),
        ];
        let pci = |text: &str| Selector::Pci(text.parse().unwrap());
        let mac = |last| Selector::Mac(Mac([2, 0, 0, 0, 0, last]));
        for (selector, expected) in [
            (pci("0000:00:04.0"), &[1][..]),
            (pci("10000:00:04.0"), &[3]),
            (pci("20000:00:04.0"), &[1]),
            (pci("0000:81:10.0"), &[6]),
            (pci("0000:00:05.0"), &[]),
            (Selector::Name("Ethernet0".to_owned()), &[4]),
            (Selector::Name("Ethernet".to_owned()), &[]),
            (Selector::Name("local0".to_owned()), &[]),
            (Selector::Tag("one".to_owned()), &[6]),
            (Selector::Tag("main".to_owned()), &[3, 4]),
            (mac(1), &[1]),
            (mac(4), &[4]),
            (mac(0), &[]),
        ] {
            let found = candidates(&selector, &interfaces);
            let found: Vec<u32> = found.iter().map(|interface| interface.sw_if_index.0).collect();
            assert_eq!(found, expected, "{selector}");
        }
    }
}
