//! The reference's host-local takes over a directory of node-local's, and gives it back.

use std::collections::BTreeMap;

use serde_json::json;
use support::{Workbench, reference, skip_unless};

#[test]
fn the_reference_takes_over() {
    let Some(reference) = reference("host-local") else {
        let _ = skip_unless("the_reference_takes_over", &[(false, "containernetworking-plugins")]);
        return;
    };
    let bench = Workbench::on_node(4, "follow");
    let version = json!({"cniVersion": "1.0.0", "name": Workbench::NETWORK, "type": "bridge"});
    let ours = bench.in_network(
        &version,
        json!({"store": "dir", "carve": [
            {"pool": "10.1.0.0/16", "prefix": 24},
            {"pool": "fd00:10:1::/48", "prefix": 64},
        ]}),
    );
    let theirs = json!({"cniVersion": "1.0.0", "name": Workbench::NETWORK, "type": "bridge", "ipam": {
        "type": "host-local",
        "dataDir": bench.data(),
        "ranges": [[{"subnet": "10.1.4.0/24"}], [{"subnet": "fd00:10:1:4::/64"}]],
    }});
    let mut given = BTreeMap::new();
    for n in 0..6 {
        let id = format!("c{n}");
        let call = match n % 2 {
            0 => bench.call("ADD", &ours),
            _ => bench.call_of(&reference, "ADD", &theirs),
        };
        let addresses = call.id(&id).run().addresses();
        let host = n + 2;
        assert_eq!(addresses, [format!("10.1.4.{host}"), format!("fd00:10:1:4::{host}")]);
        given.insert(id, addresses);
    }
    // Each deletes what the other has made.
    for (n, id) in given.keys().enumerate() {
        match n % 2 {
            0 => bench.call_of(&reference, "DEL", &theirs).id(id).run().ok(),
            _ => bench.call("DEL", &ours).id(id).run().ok(),
        };
        assert!(bench.network().held_by(id, "eth0").is_empty(), "{id}");
    }
    assert_eq!(bench.network().reservations().len(), 0);
}
