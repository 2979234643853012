use serde_json::{Value, json};

use super::*;
use crate::config::ConfigSpec;
use ipam_core::node::NodeIdentity;

fn sources(list: Value) -> Sources {
    let spec = ConfigSpec::parse(&json!({"routes": {"sources": list}})).unwrap();
    let node = NodeIdentity { index: 1, name: "a".to_owned(), source: String::new() };
    Sources::new(&spec.on(Some(&node), "a").unwrap(), "/plat/v1")
}

fn me() -> Me {
    Me { uuid: Some("ua".to_owned()), name: "a".to_owned(), ..Me::default() }
}

/// Each range with those of the keys that lie in it.
fn fill(sources: &mut Sources, kvs: &[(&str, Value)]) {
    for (source, ranges) in sources.ranges() {
        for (position, (first, end)) in ranges.iter().enumerate() {
            let here = kvs.iter().filter_map(|(key, value)| {
                let key = key.as_bytes().to_vec();
                let text =
                    if value.is_null() { Vec::new() } else { value.to_string().into_bytes() };
                (key >= *first && key < *end).then_some((key, text))
            });
            sources.update(source, position, Update::Range(here.collect()));
        }
    }
}

fn shown(told: &Told) -> Vec<String> {
    let entry = |entry: &Entry| {
        let via = entry.via.map_or_else(|| "?".to_owned(), |via| via.to_string());
        let kind = match (entry.own, entry.borrowed) {
            (true, _) => " own",
            (_, true) => " borrowed",
            _ => "",
        };
        format!("{} {} {via}{kind}", entry.prefix, entry.node)
    };
    let mut all: Vec<String> = told.entries.iter().map(entry).collect();
    all.sort();
    all
}

#[test]
fn the_registry_and_blocks() {
    let mut sources = sources(json!([{"type": "pool"}]));
    assert!(!sources.told(&me()).complete);
    let kvs = [
        ("/plat/v1/n/ua", json!({"name": "a", "idx": 1, "a4": "192.168.16.1"})),
        (
            "/plat/v1/n/ub",
            json!({"name": "b", "idx": 2, "a4": "192.168.16.2", "a6": "fd16::2", "nets": ["10.7.2.0/24"]}),
        ),
        ("/plat/v1/ni/0000000002", json!("ub")),
        ("/plat/v1/s/default/b/4/0a400000", json!({"u": "ua", "n": 1, "len": 26, "p": "pods"})),
        ("/plat/v1/s/default/b/4/0a400040", json!({"u": "ub", "n": 2, "len": 26, "p": "pods"})),
        ("/plat/v1/s/default/b/4/0a400080", json!({"len": 26, "p": "pods"})),
        ("/plat/v1/s/default/b/4/0a4000c0", json!({"u": "uc", "n": 3, "len": 26, "p": "pods"})),
        (
            "/plat/v1/s/default/b/6/fd100000000000000000000000000000",
            json!({"u": "ub", "n": 2, "len": 122, "p": "pods"}),
        ),
        ("/plat/v1/s/default/x/4/0a400003", json!({"u": "ub", "n": 2})),
        ("/plat/v1/s/default/x/4/0a400044", json!({"u": "ua", "n": 1})),
        ("/plat/v1/s/default/a/4/0a400044", json!({"u": "ua"})),
    ];
    fill(&mut sources, &kvs);
    let told = sources.told(&me());
    assert!(told.complete && told.notes.is_empty(), "{:?}", told.notes);
    assert_eq!(
        shown(&told),
        [
            "10.64.0.0/26 a 192.168.16.1 own",
            "10.64.0.192/26 uc (not registered) ?",
            "10.64.0.3/32 b 192.168.16.2 borrowed",
            "10.64.0.64/26 b 192.168.16.2",
            "10.7.2.0/24 b 192.168.16.2",
            "fd10::/122 b fd16::2",
        ]
    );
    // A block that moves, and one that goes.
    let key = b"/plat/v1/s/default/b/4/0a400040".to_vec();
    let moved = br#"{"u":"ua","n":1,"len":26,"p":"pods"}"#.to_vec();
    assert!(sources.update(0, 1, Update::Put(key.clone(), moved.clone())));
    assert!(!sources.update(0, 1, Update::Put(key.clone(), moved)), "nothing new");
    assert!(shown(&sources.told(&me())).contains(&"10.64.0.64/26 a 192.168.16.1 own".to_owned()));
    assert!(sources.update(0, 1, Update::Gone(key)));
    // What cannot be read is told, and takes nothing away.
    let b = b"/plat/v1/n/ub".to_vec();
    assert!(sources.update(0, 0, Update::Put(b, b"{".to_vec())));
    let told = sources.told(&me());
    assert!(told.notes[0].contains("/plat/v1/n/ub cannot be read"), "{:?}", told.notes);
    assert!(shown(&told).contains(&"10.7.2.0/24 b 192.168.16.2".to_owned()));
}

#[test]
fn calico_in_etcd() {
    let source = json!([{"type": "calico", "nodes": {"d": ["192.168.16.4", "fd16::4"]}}]);
    let mut sources = sources(source);
    let at = |node: &str, block: &str| format!("/calico/ipam/v2/host/{node}/ipv4/block/{block}");
    let block = |cidr: &str, host: &str, user: &str| {
        let affinity = if host.is_empty() { Value::Null } else { json!(format!("host:{host}")) };
        json!({
            "cidr": cidr, "affinity": affinity, "deleted": false, "unallocated": [3],
            "allocations": [0, 1, null, 7],
            "attributes": [{"handle_id": "h", "secondary": {"node": host}}, {"secondary": {"node": user}}],
        })
    };
    let keys = [
        (at("a", "10.244.0.0-26"), json!({"state": "confirmed", "deleted": false})),
        (at("b", "10.244.0.64-26"), json!({"state": "confirmed"})),
        (at("b", "10.244.0.128-26"), json!({"state": "pending"})),
        (at("c", "10.244.0.192-26"), Value::Null),
        (at("b", "10.244.1.0-26"), json!({"state": "pendingDeletion"})),
        (at("b", "10.244.1.64-26"), json!({"state": "confirmed", "deleted": true})),
        (at("d", "10.244.2.0-26"), json!({})),
        ("/calico/ipam/v2/host/d/ipv6/block/fd44--40-122".to_owned(), json!({"state": ""})),
        (
            "/calico/ipam/v2/virtual/lb/ipv4/block/10.244.9.0-26".to_owned(),
            json!({"state": "confirmed"}),
        ),
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.244.0.0-26".to_owned(),
            block("10.244.0.0/26", "a", "b"),
        ),
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.244.0.64-26".to_owned(),
            block("10.244.0.64/26", "b", "a"),
        ),
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.244.3.0-26".to_owned(),
            block("10.244.3.0/26", "c", "c"),
        ),
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.244.4.0-26".to_owned(),
            block("10.244.4.0/26", "", "b"),
        ),
        (
            "/calico/resources/v3/projectcalico.org/nodes/b".to_owned(),
            json!({"kind": "Node", "spec": {"bgp": {"ipv4Address": "192.168.16.2/24"}}}),
        ),
        (
            "/calico/resources/v3/projectcalico.org/nodes/c".to_owned(),
            json!({"spec": {"addresses": [{"address": "1.2.3.4", "type": "ExternalIP"}, {"address": "192.168.16.3", "type": "InternalIP"}]}}),
        ),
        (
            "/calico/resources/v3/projectcalico.org/nodes/d".to_owned(),
            json!({"spec": {"bgp": {"ipv4Address": "9.9.9.9/24"}}}),
        ),
    ];
    let kvs: Vec<(&str, Value)> =
        keys.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    fill(&mut sources, &kvs);
    let told = sources.told(&me());
    assert!(told.complete && told.notes.is_empty(), "{:?}", told.notes);
    assert_eq!(
        shown(&told),
        [
            "10.244.0.0/26 a ? own",
            "10.244.0.1/32 b 192.168.16.2 borrowed",
            "10.244.0.192/26 c 192.168.16.3",
            "10.244.0.64/26 b 192.168.16.2",
            "10.244.2.0/26 d 192.168.16.4",
            "10.244.3.0/26 c 192.168.16.3",
            "10.244.4.1/32 b 192.168.16.2 borrowed",
            "fd44::40/122 d fd16::4",
        ]
    );
}

#[test]
fn the_registry_knows_better_than_calico() {
    let mut sources =
        sources(json!([{"type": "calico", "nodes": {"b": "192.168.16.9"}}, {"type": "pool"}]));
    fill(
        &mut sources,
        &[
            ("/plat/v1/n/ub", json!({"name": "b", "idx": 2, "a4": "192.168.16.2"})),
            ("/calico/ipam/v2/host/b/ipv4/block/10.244.0.64-26", json!({"state": "confirmed"})),
        ],
    );
    assert_eq!(shown(&sources.told(&me())), ["10.244.0.64/26 b 192.168.16.2"]);
}

#[test]
fn peers_are_computed() {
    let rule = json!([{"type": "peers", "nodes": "1-3", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"}]);
    let told = sources(rule).told(&me());
    assert!(told.complete);
    assert_eq!(
        shown(&told),
        [
            "10.1.1.0/24 1 192.168.16.1 own",
            "10.1.2.0/24 2 192.168.16.2",
            "10.1.3.0/24 3 192.168.16.3"
        ]
    );
}

#[test]
fn a_file_of_routes() {
    let document = json!({"routes": [
        {"dst": "10.1.2.0/24", "gw": "192.168.16.2", "node": "b"},
        {"dst": "10.1.1.0/24", "gw": "192.168.16.1", "node": "a"},
        {"dst": "10.1.3.1/24", "gw": "192.168.16.3"},
        {"dst": "10.1.4.0/24", "gw": "x"},
        {"dst": "10.1.4.0/24", "gw": "192.168.16.4", "metric": 5},
    ]});
    let (entries, notes) = file::parse(&document, 0, &me(), "f").unwrap();
    let told = Told { entries, ..Told::default() };
    assert_eq!(shown(&told), ["10.1.1.0/24 a 192.168.16.1 own", "10.1.2.0/24 b 192.168.16.2"]);
    assert_eq!(
        notes,
        [
            "routes[2].dst: 10.1.3.1/24 has host bits set; 10.1.3.0/24 would be right",
            "routes[3].gw: \"x\" is no address",
            "routes[4]: unknown key \"metric\"",
        ]
    );
    let told = sources(json!([{"type": "file", "path": "/nonexistent/routes.json"}])).told(&me());
    assert!(!told.complete && told.notes[0].starts_with("/nonexistent/routes.json cannot be read"));
}
