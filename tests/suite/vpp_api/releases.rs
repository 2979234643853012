//! Releases of VPP, and VPPs that lack something.

use support::vpp::{Setup, Vpp};
use vpp_api::catalogue::known;
use vpp_api::msg::{self, Message as _};
use vpp_api::types::{MemifMode, MemifRole};
use vpp_api::{AfPacket, Memif, Tap, TapFlags};

use super::{Bench, connect, mac};

/// What a VPP lacks of everything that is known here.
fn lacks(setup: Setup) -> Vec<String> {
    let vpp = Vpp::start(setup);
    let names: Vec<_> = known().iter().map(|message| message.name).collect();
    connect(&vpp).lacks(&names).iter().map(ToString::to_string).collect()
}

#[test]
fn each_release_has_what_it_should() {
    assert_eq!(lacks(Setup::release("26.06")), [""; 0]);
    let newer = ["ip_table_add_del_v2", "ip_table_add_del_v2_reply"]
        .map(|message| format!("this VPP's core has no message {message}"));
    assert_eq!(lacks(Setup::release("24.06")), newer);
    let old = lacks(Setup::release("22.10"));
    assert_eq!(old.len(), 6, "{old:?}");
    assert!(old.contains(&"this VPP's memif has no message memif_create_v2".to_owned()));
}

#[test]
fn with_a_plugin_missing_its_messages_are_and_the_plugin_is_named() {
    let mut bench =
        Bench::with(Setup { without: vec!["af_packet", "tapv2", "memif"], ..Setup::default() });
    let client = &mut bench.client;
    let error = client.create_af_packet(&AfPacket::small("veth0", mac(1))).unwrap_err();
    let text = "plugin af_packet is not loaded in this VPP: it has no af_packet_create_v3";
    assert_eq!(error.to_string(), text);
    let tap = Tap {
        mac: mac(1),
        host_mac: mac(2),
        device: "eth0".to_owned(),
        namespace: None,
        mtu: None,
        queues: 1,
        ring: 0,
        flags: TapFlags(0),
        tag: String::new(),
    };
    let error = client.create_tap(&tap).unwrap_err();
    assert_eq!(error.to_string(), "plugin tap is not loaded in this VPP: it has no tap_create_v3");
    let memif = Memif {
        socket_id: 1,
        id: 0,
        role: MemifRole::MASTER,
        mode: MemifMode::ETHERNET,
        mac: mac(1),
        ring: 0,
        queues: 1,
    };
    let error = client.create_memif(&memif).unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin memif is not loaded in this VPP: it has no memif_create_v2"
    );
    assert!(!client.has::<msg::MemifDump>());
    client.ping().expect("nothing was sent");
}

#[test]
fn another_layout_is_refused_before_anything_is_sent() {
    let setup =
        Setup { strange: vec!["sw_interface_dump", "sw_interface_event"], ..Setup::default() };
    let mut bench = Bench::with(setup);
    bench.vpp.take_journal();
    let error = bench.client.interfaces().unwrap_err();
    let text = "this VPP's sw_interface_dump has another layout (CRC 0badc0de, not aa610c27)";
    assert_eq!(error.to_string(), text);
    assert!(bench.client.want_interface_events().is_err());
    assert_eq!(bench.vpp.take_journal(), [""; 0]);
    assert_eq!(bench.client.lacks(&[msg::SwInterfaceDump::NAME, msg::ShowVersion::NAME]).len(), 1);
}

/// Every message of every release: the client's table and the miniature's are of different origin.
#[test]
fn a_table_of_two_thousand_messages_is_read() {
    let setup = Setup { other_messages: 2000, ..Setup::default() };
    let mut bench = Bench::with(setup);
    assert!(bench.client.messages() > 2100);
    assert!(bench.client.has::<msg::MemifDump>());
}
