//! A real VPP, where there is one: what reads.

use std::io::Write as _;
use std::path::PathBuf;

use vpp_api::catalogue::known;
use vpp_api::msg::{self, FibSource};
use vpp_api::types::Prefix;
use vpp_api::{Client, Family, IfIndex, Table};

use super::options;

/// The socket of a real VPP; a test that has none says so.
pub(super) fn socket(test: &str) -> Option<PathBuf> {
    let socket = std::env::var_os("VPP_API_SOCK").map(PathBuf::from);
    if socket.is_none() {
        // Not by `skip_unless`: where nothing may be skipped there is no VPP either.
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "SKIPPED vpp_api::{test}: needs a VPP, and VPP_API_SOCK");
    }
    socket
}

/// Run it with `VPP_API_SOCK=/run/vpp/api.sock`.
#[test]
fn what_a_real_vpp_tells_can_be_read() {
    let Some(socket) = socket("real::what_a_real_vpp_tells_can_be_read") else { return };
    let mut client = Client::connect(&socket, &options()).unwrap();
    let version = client.version().unwrap();
    let names: Vec<_> = known().iter().map(|message| message.name).collect();
    let lacks: Vec<String> = client.lacks(&names).iter().map(ToString::to_string).collect();
    println!(
        "VPP {version} at {}: {} messages, lacks {lacks:?}",
        socket.display(),
        client.messages()
    );
    assert!(lacks.iter().all(|lack| !lack.contains("another layout")), "{lacks:?}");
    assert_eq!(client.ping().unwrap(), client.ping().unwrap());
    assert!(client.call(&msg::ShowVpeSystemTime {}).unwrap().vpe_system_time > 1e9);
    // That it can be read: the list of VPP 26.02 is empty.
    client.call(&msg::ApiVersions {}).unwrap();

    let before = client.round_trips();
    let mut batch = client.batch();
    let interfaces = batch.dump(&msg::SwInterfaceDump::all()).unwrap();
    let borrowers = batch.dump(&msg::IpUnnumberedDump { sw_if_index: IfIndex::NONE }).unwrap();
    let tables = batch.dump(&msg::IpTableDump {}).unwrap();
    let sources = batch.dump(&msg::FibSourceDump {}).unwrap();
    let routes = Family::BOTH.map(|family| {
        batch.dump(&msg::IpRouteV2Dump { src: 0, table: Table::new(0, family) }).unwrap()
    });
    let neighbors = Family::BOTH
        .map(|af| batch.dump(&msg::IpNeighborDump { sw_if_index: IfIndex::NONE, af }).unwrap());
    let lookup = msg::IpRouteLookup {
        table_id: 0,
        exact: 0,
        prefix: Prefix::new("192.0.2.1".parse().unwrap(), 32).unwrap(),
    };
    let looked = batch.call(&lookup).unwrap();
    let mut answers = batch.send().unwrap();
    assert_eq!(client.round_trips(), before + 1);
    let interfaces = answers.details(interfaces).unwrap();
    assert!(interfaces.iter().any(|it| it.interface_name == "local0"), "{interfaces:?}");
    answers.details(borrowers).unwrap();
    assert!(answers.details(tables).unwrap().len() >= 2);
    let sources = answers.details(sources).unwrap();
    for (id, name) in [(FibSource::INTERFACE, "interface"), (FibSource::API, "API")] {
        let found = sources.iter().find(|it| it.src.id == id);
        let found = found.unwrap_or_else(|| panic!("no source {id}: {sources:?}"));
        assert!(found.src.name.to_string().eq_ignore_ascii_case(name), "{found:?}");
    }
    for routes in routes {
        assert!(!answers.details(routes).unwrap().is_empty());
    }
    for neighbors in neighbors {
        answers.details(neighbors).unwrap();
    }
    assert_eq!(answers.reply(looked).unwrap().route.table_id, 0);
    for interface in &interfaces {
        client.addresses(interface.sw_if_index).unwrap();
        let (sw_if_index, is_ipv6) = (interface.sw_if_index, false);
        client.call(&msg::SwInterfaceGetTable { sw_if_index, is_ipv6 }).unwrap();
    }
    plugins(&mut client);
}

fn plugins(client: &mut Client) {
    if client.has::<msg::AfPacketDump>() {
        client.dump(&msg::AfPacketDump {}).unwrap();
    }
    if client.has::<msg::SwInterfaceTapV2Dump>() {
        client.dump(&msg::SwInterfaceTapV2Dump { sw_if_index: IfIndex::NONE }).unwrap();
    }
    if client.has::<msg::MemifDump>() {
        client.dump(&msg::MemifDump {}).unwrap();
        assert!(!client.dump(&msg::MemifSocketFilenameDump {}).unwrap().is_empty());
    }
}
