use std::net::IpAddr;

use ipam_core::identity::{Attachment, ContainerId, IfName};
use vpp_api::types::InterfaceFlags;
use vpp_api::wire::Text;

use super::*;
use crate::config::{Mode, RxMode};
use crate::names::Macs;
use crate::record::{Beginning, Netns, PodAddress};

const GATEWAY: IfIndex = IfIndex(1);
const AROUND: Around = Around { gateway: GATEWAY, source: 24 };

fn attachment() -> Attachment {
    Attachment { container: ContainerId::new("c1").unwrap(), ifname: IfName::new("eth0").unwrap() }
}

fn record(kind: Kind, table: u32, addresses: &[&str]) -> (Record, Tag) {
    let attachment = attachment();
    let Macs { pod, vpp, .. } = Macs::of(&attachment);
    let mut record = Beginning {
        network: "pods",
        attachment: &attachment,
        netns: Netns { path: "/run/netns/x".into(), device: 4, inode: 5 },
        socket: "/run/vpp/api.sock".into(),
        kind,
        pod_mac: pod,
        vpp_mac: vpp,
    }
    .record();
    record.table = table;
    for address in addresses {
        let gateway = if address.contains(':') { "fd00::1" } else { "10.1.1.1" };
        let (address, gateway) = (address.parse().unwrap(), gateway.parse().unwrap());
        record.addresses.push(PodAddress { address, gateway });
    }
    let tag = record.tag().unwrap();
    (record, tag)
}

/// An interface as it is to be.
fn interface(record: &Record, tag: Tag, name: &str, device: &str) -> SwInterfaceDetails {
    SwInterfaceDetails {
        sw_if_index: IfIndex(5),
        sup_sw_if_index: IfIndex(5),
        l2_address: record.vpp_mac,
        flags: InterfaceFlags::ADMIN_UP,
        r#type: 0,
        link_duplex: 0,
        link_speed: 0,
        link_mtu: 9000,
        mtu: [record.mtu, 0, 0, 0],
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
        b_dmac: Mac::default(),
        b_smac: Mac::default(),
        b_vlanid: 0,
        i_sid: 0,
        interface_name: Text::new(name).unwrap(),
        interface_dev_type: Text::new(device).unwrap(),
        tag: Text::new(&tag.to_string()).unwrap(),
    }
}

/// What belongs to an interface as it is to be.
fn seen(record: &Record) -> Seen {
    let addresses: Vec<IpAddr> = record.addresses.iter().map(|it| it.address.addr()).collect();
    Seen {
        tables: [record.table; 2],
        borrows_from: Some(GATEWAY),
        neighbors: addresses.iter().map(|address| (*address, record.pod_mac)).collect(),
        reached: addresses,
    }
}

fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_to_be_there_follows_from_the_record() {
    let (v4, tag) = record(Kind::Veth, 0, &["10.1.1.5/24"]);
    assert_eq!(
        texts(&finish(&v4, tag, AROUND)),
        [
            "write the tag plat/657185fb/851192bd17070fb7",
            "set MTU 1500",
            "borrow the gateway's addresses (interface 1)",
            "set it up",
            "set the neighbour 10.1.1.5 to 02:fe:24:7b:76:21",
            "route 10.1.1.5 to it in table 0",
        ]
    );
    let (dual, tag) = record(Kind::Tap, 7, &["10.1.1.5/24", "fd00::5/64"]);
    assert_eq!(
        texts(&finish(&dual, tag, AROUND)),
        [
            "write the tag plat/657185fb/851192bd17070fb7",
            "choose IPv4 table 7",
            "choose IPv6 table 7",
            "set MTU 1500",
            "borrow the gateway's addresses (interface 1)",
            "turn IPv6 on",
            "silence router advertisements",
            "set it up",
            "set the neighbour 10.1.1.5 to 02:fe:24:7b:76:21",
            "route 10.1.1.5 to it in table 7",
            "set the neighbour fd00::5 to 02:fe:24:7b:76:21",
            "route fd00::5 to it in table 7",
        ]
    );
    // Packets have no Ethernet address.
    let (mut packets, tag) = record(Kind::Memif, 0, &["10.1.1.5/24"]);
    packets.memif.mode = Mode::Ip;
    assert!(!texts(&finish(&packets, tag, AROUND)).iter().any(|it| it.contains("neighbour")));
}

/// The mode is one more request of the same batch, before the interface is up.
#[test]
fn a_mode_is_set_where_one_is_recorded() {
    let (mut record, tag) = record(Kind::Veth, 0, &["10.1.1.5/24"]);
    let without = finish(&record, tag, AROUND);
    for mode in [RxMode::Polling, RxMode::Interrupt, RxMode::Adaptive] {
        record.rx_mode = Some(mode);
        let mut with = finish(&record, tag, AROUND);
        let up = with.iter().position(|step| *step == Step::Up).unwrap();
        assert_eq!(with.remove(up - 1), Step::RxMode(mode));
        assert_eq!(with, without);
        assert_eq!(Step::RxMode(mode).to_string(), format!("set rx-mode {}", mode.as_str()));
        // What is repaired gets it, too; alone it is no difference, for VPP's dump does not tell it.
        let mut interface = interface(&record, tag, "x", "y");
        interface.flags = InterfaceFlags::DOWN;
        let seen = seen(&record);
        let found = differences(&record, tag, Some(GATEWAY), &interface, &seen);
        assert!(repair(&record, tag, AROUND, &found, &seen).contains(&Step::RxMode(mode)));
    }
}

#[test]
fn nothing_is_repaired_where_nothing_differs() {
    for kind in [Kind::Veth, Kind::Tap, Kind::Memif] {
        for (table, addresses) in [(0, &["10.1.1.5/24"][..]), (7, &["10.1.1.5/24", "fd00::5/64"])] {
            let (record, tag) = record(kind, table, addresses);
            let interface = interface(&record, tag, "x", "y");
            let seen = seen(&record);
            let found = differences(&record, tag, Some(GATEWAY), &interface, &seen);
            assert_eq!(found, [], "{kind:?}");
            assert_eq!(repair(&record, tag, AROUND, &found, &seen), []);
        }
    }
}

#[test]
fn each_difference_is_found() {
    let (record, tag) = record(Kind::Veth, 7, &["10.1.1.5/24", "fd00::5/64"]);
    type Change = fn(&mut SwInterfaceDetails, &mut Seen);
    let changes: &[(Change, &str)] = &[
        (|it, _| it.tag = Text::empty(), "VPP's interface has no tag"),
        (
            |it, _| it.l2_address = Mac([2, 0, 0, 0, 0, 1]),
            "VPP's interface has Ethernet address 02:00:00:00:00:01, not 02:fe:e6:57:35:21",
        ),
        (|_, seen| seen.tables[0] = 0, "VPP's interface is in IPv4 table 0, not 7"),
        (|_, seen| seen.tables[1] = 8, "VPP's interface is in IPv6 table 8, not 7"),
        (|it, _| it.mtu[0] = 9000, "VPP's interface has MTU 9000, not 1500"),
        (|it, _| it.flags = InterfaceFlags::DOWN, "VPP's interface is down"),
        (
            |_, seen| seen.borrows_from = None,
            "VPP's interface does not borrow the gateway's address",
        ),
        (
            |_, seen| seen.borrows_from = Some(IfIndex(9)),
            "VPP's interface does not borrow the gateway's address",
        ),
        (
            |_, seen| seen.neighbors[0].1 = Mac([2, 0, 0, 0, 0, 1]),
            "VPP has no static neighbour for 10.1.1.5",
        ),
        (
            |_, seen| {
                seen.reached.pop();
            },
            "VPP has no route to fd00::5 by its interface",
        ),
    ];
    for (change, text) in changes {
        let (mut interface, mut seen) = (interface(&record, tag, "x", "y"), seen(&record));
        change(&mut interface, &mut seen);
        let found = differences(&record, tag, Some(GATEWAY), &interface, &seen);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [*text]);
        let steps = repair(&record, tag, AROUND, &found, &seen);
        assert!(steps.contains(&Step::Up) && steps.contains(&Step::Borrow(GATEWAY)), "{text}");
    }
    let (interface, seen) = (interface(&record, tag, "x", "y"), seen(&record));
    assert_eq!(differences(&record, tag, None, &interface, &seen), [Difference::NotBorrowing]);
}

/// VPP refuses another table while the interface borrows addresses.
#[test]
fn the_table_is_changed_while_nothing_is_borrowed() {
    let (record, tag) = record(Kind::Veth, 0, &["10.1.1.5/24"]);
    let interface = interface(&record, tag, "x", "y");
    let seen = Seen { tables: [7, 0], ..seen(&record) };
    let found = differences(&record, tag, Some(GATEWAY), &interface, &seen);
    let steps = repair(&record, tag, AROUND, &found, &seen);
    let place = |wanted: &Step| steps.iter().position(|step| step == wanted).unwrap();
    let table = place(&Step::Table(Family::V4, 0));
    assert!(place(&Step::BorrowNoMore(GATEWAY)) < table);
    assert!(table < place(&Step::Borrow(GATEWAY)));
}

/// VPP keeps routes, and gives the number to the next interface.
#[test]
fn routes_go_before_their_interface() {
    let (record, tag) = record(Kind::Veth, 7, &["10.1.1.5/24", "fd00::5/64"]);
    for (name, device, last) in [
        ("host-vpp0123456789a", "af-packet", "delete the interface on vpp0123456789a"),
        ("tap3", "virtio", "delete the tap"),
        ("tap3", "tap", "delete the tap"),
        ("memif1/0", "memif", "delete the memif"),
    ] {
        let interface = interface(&record, tag, name, device);
        let steps = remove(&interface, no_routes(&record, 24), Some(GATEWAY));
        assert_eq!(
            texts(&steps),
            [
                "delete the route to 10.1.1.5 in table 7",
                "delete the route to fd00::5 in table 7",
                "stop borrowing addresses (interface 1)",
                last,
            ]
        );
    }
}
