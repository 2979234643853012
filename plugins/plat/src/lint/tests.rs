//! Tables of files and what is found in them.

use super::*;
use crate::netconf::{Spot, spot};
use proptest::prelude::*;
use std::path::PathBuf;

fn settings() -> Settings {
    let nowhere = PathBuf::from("/nowhere");
    let around = Surroundings {
        root: nowhere.clone(),
        host_name: "vm-004".to_owned(),
        environment: None,
        state_dir: nowhere,
    };
    Settings { around, node: None, cfg_dir: None, rules: None }
}

fn found(file: &str) -> Vec<String> {
    let report = lint(file, "conflist", &settings());
    let line = |finding: &Finding| {
        let Spot { line, column } = spot(file, finding.offset);
        format!("{line}:{column} {} {}", finding.severity.as_str(), finding.message)
    };
    report.findings.iter().map(line).collect()
}

fn list(ipam: &str) -> String {
    format!(
        "{{\n\"cniVersion\": \"1.0.0\",\n\"name\": \"n\",\n\"plugins\": [{{\"type\": \"bridge\",\n\"ipam\": {ipam}}}]}}"
    )
}

#[test]
fn what_is_right_is_fine() {
    for ipam in [
        r#"{"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}"#,
        r#"{"type": "node-local", "carve": {"pool": "10.1.0.0/16", "prefix": 24}}"#,
        r#"{"type": "static"}"#,
        "{}",
    ] {
        assert_eq!(found(&list(ipam)), Vec::<String>::new(), "{ipam}");
    }
    let passed = r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge",
        "capabilities": {"ipRanges": true}, "ipam": {"type": "host-local"}}"#;
    assert_eq!(found(passed), Vec::<String>::new());
}

#[test]
fn vpps_own_keys_are_looked_at() {
    for (keys, expected) in [
        ("", ""),
        (r#","uplink": {"name": "eth1", "address": "198.18.0.{i}/24"}, "somebodysElse": 1"#, ""),
        (r#","rxMode": ¶"fast""#, "error plugins[0].rxMode: "),
        (r#","table": ¶-1"#, "error plugins[0].table: "),
        (r#","uplink": {"name": "eth1", "mtu": ¶5}"#, "error plugins[0].uplink.mtu: "),
        (r#",¶"sokcet": "/x""#, "warning plugins[0].sokcet: unknown key, ignored"),
        (r#","tap": {¶"queue": 2}"#, "warning plugins[0].tap.queue: unknown key, ignored"),
        (r#","uplink": {"name": "e", ¶"adress": "198.18.0.1/24"}"#, "plugins[0].uplink.adress: "),
    ] {
        let ipam = r#"{"type": "host-local", "subnet": "10.1.0.0/24"}"#;
        let marked = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [\n{{\"type\": \"vpp\", \"ipam\": {ipam}{keys}}}]}}"
        );
        let file = marked.replace('¶', "");
        let told = found(&file);
        if expected.is_empty() {
            assert_eq!(told, Vec::<String>::new(), "{keys}");
            continue;
        }
        let at = spot(&marked, marked.find('¶').expect("a mark"));
        let place = format!("{}:{} ", at.line, at.column);
        let right = |line: &String| line.starts_with(&place) && line.contains(expected);
        assert!(told.iter().any(right), "{keys}: {place}{expected} in {told:?}");
    }
    // What is common to all plugins is told once.
    for wrong in
        [r#""ipma": {}"#, r#""ipam": 5"#, r#""ipam": {"type": 5}"#, r#""ipam": {}, "agrs": 1"#]
    {
        let file = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{{\"type\": \"vpp\", {wrong}}}]}}"
        );
        let told = found(&file);
        assert!(told.len() <= 1, "{wrong}: {told:?}");
    }
}

#[test]
fn sections_are_placed() {
    for (ipam, expected) in [
        (
            r#"{"type": "host-local", "ranges": [[{"subnet": ¶"10.1.0.5/24"}]]}"#,
            "error plugins[0].ipam.ranges[0][0].subnet: invalid range set 0: Network has host bits",
        ),
        (r#"{"type": "host-local", "subnet": ¶5}"#, "error plugins[0].ipam.subnet: "),
        (r#"{"type": "host-local"}"#, "error plugins[0].ipam.ranges: no IP ranges specified"),
        (
            r#"{"type": "host-local", "subnet": "10.1.0.0/24", ¶"rangestrat": "x"}"#,
            "warning plugins[0].ipam.rangestrat: unknown key, ignored",
        ),
        (
            r#"{"type": "node-local", "ranges": [[{"subnet": ¶"10.1.{j}.0/24"}]]}"#,
            "error plugins[0].ipam.ranges[0][0].subnet: unknown placeholder {j}",
        ),
        (
            r#"{"type": "node-local", "carve": ¶{"pool": "10.1.0.0/30", "prefix": 31}}"#,
            "error plugins[0].ipam.carve: index 4 does not fit",
        ),
        (
            r#"{"type": "node-local", "subnet": "10.1.0.0/24"}"#,
            "warning plugins[0].ipam: does not depend on the node's index",
        ),
        (
            r#"{"type": "node-local", "cfg": ¶"../x"}"#,
            "error plugins[0].ipam.cfg: \"../x\" is no name of a template",
        ),
        (
            r#"{"type": "node-local"}"#,
            "warning on this node: the template /nowhere/etc/cni/node-local/default",
        ),
        (
            r#"{"type": "node-local", "index": ¶"x", "carve": {"pool": "10.1.0.0/16", "prefix": 24}}"#,
            "error plugins[0].ipam.index: \"x\" is no node index",
        ),
        (r#"{"subnet": "10.1.0.0/24"}"#, "error plugins[0].ipam: type is missing"),
        (r#"{"type": ¶"host_local"}"#, "warning plugins[0].ipam.type: \"host_local\" is not known"),
        ("5", "error plugins[0].ipam: expected an object, found 5"),
        (
            r#"{"type": "host-local", "subnet": "10.1.0.0/24", ¶"subnet": "10.2.0.0/24"}"#,
            "warning the key \"subnet\" stands in this object twice, first on line 5",
        ),
    ] {
        let marked = list(ipam);
        let place = spot(&marked, marked.find('¶').or(marked.find(ipam)).unwrap());
        let expected = format!("{}:{} {expected}", place.line, place.column);
        let found = found(&marked.replace('¶', ""));
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with(&expected)),
            "{ipam}: {found:?}"
        );
    }
}

#[test]
fn the_frame_is_looked_at() {
    for (file, expected) in [
        ("{", "1:2 error no JSON: EOF"),
        (r#"{"cniVersion": "1.0.0", "type": "x"}"#, "1:1 error the network has no name"),
        (r#"{"cniVersion": "1.0.0", "name": "a/b", "type": "x"}"#, "1:33 error name: \"a/b\""),
        (r#"{"cniVersion": "9", "name": "n", "type": "x"}"#, "1:16 error cniVersion: \"9\""),
        (r#"{"name": "n", "type": "x"}"#, "1:1 warning cniVersion is missing"),
        (
            r#"{"cniVersion": "1.0.0", "name": "n"}"#,
            "1:1 error the configuration: the plugin's type",
        ),
        (r#"{"cniVersion": "1.0.0", "name": "n", "type": "a/b"}"#, "1:46 error type: \"a/b\""),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge"}"#,
            "1:1 warning the configuration: a bridge",
        ),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipma": {}}"#,
            "1:56 warning ipma: unknown key",
        ),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "plugins": []}"#,
            "1:49 error the list has no plugins",
        ),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [5]}"#,
            "1:50 error plugins[0]: expected an object",
        ),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "plugins": {}}"#,
            "1:49 error plugins: expected a list",
        ),
        (
            r#"{"cniVersion": "1.0.0", "name": "n", "disablecheckk": 1, "plugins": [{"type": "x"}]}"#,
            "1:38 warning \"disablecheckk\": no key of a list",
        ),
        (r#"{"subnet": "10.1.{i}.0/24", "rutes": []}"#, "1:29 warning rutes: no key of a template"),
        (
            r#"{"ranges": [[{"subnet": "10.1.{i.0/24"}]]}"#,
            "1:25 error ranges[0][0].subnet: a brace is not closed",
        ),
    ] {
        let found = found(file);
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with(expected)),
            "{file}: {found:?}"
        );
    }
}

#[test]
fn networks_that_overlap_are_found() {
    let reach = |network: &str, subnet: &str| Reach {
        network: network.to_owned(),
        interval: ipam_core::addr::Cidr::parse(subnet).unwrap().network(),
        offset: 0,
    };
    let reaches = [
        reach("a", "10.0.0.0/8"),
        reach("a", "10.0.0.0/16"),
        reach("b", "10.5.0.0/16"),
        reach("b", "10.6.0.0/16"),
        reach("c", "fd00::/64"),
    ];
    assert_eq!(overlaps(&reaches), [(0, 2)]);
}

proptest! {
    #[test]
    fn no_file_is_too_much(file in "(\\{|\\}|\\[|\\]|\"|:|,|plugins|ipam|type|\"type\": \"node-local\"|\"ipam\":|\"ranges\":|\"subnet\": \"10.\\{i\\}\"|\n|é){0,40}") {
        let _ = lint(&file, "conf", &settings());
    }
}
