//! Routes in VPP, in miniature: a source of their own, and back after a restart.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::json;
use support::vpp::{Paths, Setup, Vpp};
use support::wait_until;

use super::cluster::{Cluster, available};

/// How many routes there are of the agent's source.
fn ours(vpp: &Vpp) -> usize {
    vpp.look(|state| {
        let source = state.sources.iter().find(|(_, _, name)| name == "plat-agent");
        let of_ours = |id: u8| state.routes.values().filter(|of| of.contains_key(&id)).count();
        source.map_or(0, |(id, ..)| of_ours(*id))
    })
}

/// The routes of the agent's source, as `10.1.2.0/24 via 192.168.16.2`.
pub(super) fn routes_in(vpp: &Vpp) -> BTreeSet<String> {
    vpp.look(|state| {
        let source = state.sources.iter().find(|(_, _, name)| name == "plat-agent");
        let Some((id, ..)) = source else { return BTreeSet::new() };
        let shown = |paths: &Paths| {
            let hops = paths.paths.iter().map(|path| {
                let bytes = path.bytes("nh.address");
                let v4 = Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).expect("four bytes"));
                let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("sixteen bytes"));
                if paths.written.is_v6() { v6.to_string() } else { v4.to_string() }
            });
            let hops: Vec<String> = hops.collect();
            format!("{} via {}", paths.written, hops.join(", "))
        };
        state.routes.values().filter_map(|of| of.get(id)).map(shown).collect()
    })
}

/// VPP may not notice that a connection has ended: the agent takes leave, as a daemon also.
#[test]
fn the_agent_takes_leave_of_vpp() {
    if !available("the_agent_takes_leave_of_vpp") {
        return;
    }
    let vpp = Vpp::start(Setup::default());
    let cluster = Cluster::new();
    let mut node = cluster.node(1);
    let routes = json!({"routes": [{"dst": "10.1.2.0/24", "gw": "192.168.16.2", "node": "b"}]});
    let file = node.scratch.write("routes.json", routes.to_string());
    node.configure(&json!({
        "node": "vm-001",
        "routes": {
            "sources": [{"type": "file", "path": file}],
            "sinks": [{"type": "vpp", "socket": vpp.path()}],
        },
        "vpp": {"socket": vpp.path()},
    }));
    for arguments in [&["--dry-run"][..], &["--once"], &["--cleanup"]] {
        let (exit, said) = node.agent(arguments);
        assert_eq!(exit, Some(0), "{said}");
    }
    let all_have_left = || {
        vpp.settle();
        assert_eq!(vpp.silent_ends(), 0);
        assert_eq!(vpp.complaints(), [""; 0]);
    };
    all_have_left();
    node.start();
    wait_until("the route is there", || ours(&vpp) == 1);
    wait_until("what is attached is looked at", || node.log().contains(" attachments"));
    node.end();
    all_have_left();
    // One that is killed cannot; the next one makes VPP notice that.
    node.start();
    wait_until("it is connected", || vpp.clients() == 2);
    node.kill();
    wait_until("it is gone", || vpp.clients() == 0);
    node.start();
    wait_until("it is connected", || vpp.clients() == 2);
    wait_until("VPP has noticed", || vpp.silent_ends() == 0);
    node.end();
    all_have_left();
}

#[test]
fn routes_are_in_vpp_and_come_back() {
    if !available("routes_are_in_vpp_and_come_back") {
        return;
    }
    let mut vpp = Vpp::start(Setup::default());
    let cluster = Cluster::new();
    let mut node = cluster.node(1);
    let file = node.scratch.write(
        "routes.json",
        json!({"routes": [
            {"dst": "10.1.2.0/24", "gw": "192.168.16.2", "node": "vm-002"},
            {"dst": "fd10:2::/64", "gw": "fd16::2", "node": "vm-002"},
        ]})
        .to_string(),
    );
    node.configure(&json!({
        "node": "vm-001",
        "routes": {
            "sources": [{"type": "file", "path": file}],
            "sinks": [{"type": "vpp", "socket": vpp.path()}, {"type": "kernel"}],
            "resync": "1s",
        },
    }));
    // To look changes nothing in VPP, nor does it to remove what is not there.
    let sources = || vpp.look(|state| state.sources.len());
    let before = sources();
    for arguments in [&["--dry-run"][..], &["--cleanup"]] {
        let (_, said) = node.agent(arguments);
        assert!(said.contains("kept"), "{said}");
        assert_eq!(sources(), before, "{arguments:?}: {said}");
    }
    let (exit, said) = node.agent(&["--once"]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("4 added, 0 removed, 0 kept"), "{said}");
    assert_eq!(sources(), before + 1);
    assert_eq!(vpp.complaints(), [""; 0]);
    let (exit, said) = node.agent(&["--once"]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("0 added, 0 removed, 4 kept"), "{said}");

    assert_eq!(ours(&vpp), 2);

    // VPP is started anew, and has nothing.
    node.start();
    vpp.restart();
    wait_until("the routes are back", || ours(&vpp) == 2);
    // A route goes from the file.
    node.scratch.write("routes.json", json!({"routes": []}).to_string());
    wait_until("the routes are removed", || ours(&vpp) == 0);
    node.waits_for_no_route("10.1.2.0/24");
    node.end();
    let (exit, said) = node.agent(&["--cleanup"]);
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(vpp.complaints(), [""; 0]);
}
