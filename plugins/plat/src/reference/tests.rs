use std::collections::BTreeSet;

use ipam_core::config::{KNOWN_KEYS, ROUTE_KEYS};

use super::*;

fn names(section: &Section) -> BTreeSet<&'static str> {
    section.keys.iter().map(|key| key.name).collect()
}

fn set(lists: &[&[&'static str]]) -> BTreeSet<&'static str> {
    lists.iter().flat_map(|list| list.iter().copied()).collect()
}

#[test]
fn the_keys_are_those_of_the_plugins() {
    let node_local = set(&[KNOWN_KEYS, node_local::OWN_KEYS]);
    for (section, known) in [
        (&ipam::HOST_LOCAL, set(&[KNOWN_KEYS])),
        (&ipam::NODE_LOCAL, node_local),
        (&ipam::ROUTE, set(&[ROUTE_KEYS])),
        (&etcd_pool::ETCD_POOL, set(&[etcd_pool_keys()])),
    ] {
        assert_eq!(names(section), known, "{}", section.name);
    }
    let of_node = set(&[vpp_plugin::node::KEYS]);
    assert!(names(&vpp::VPP).is_superset(&of_node), "{of_node:?}");
}

fn etcd_pool_keys() -> &'static [&'static str] {
    ::etcd_pool::config::KEYS
}

#[test]
fn the_policy_is_what_is_read() {
    let known = ipam_core::rules::Rules::parse("f", br#"{"?": 1}"#).unwrap_err().message;
    let (_, list) = known.split_once("expected one of ").unwrap();
    let known: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(names(&policy::POLICY), known);
}

#[test]
fn every_section_and_key_is_told_once() {
    let mut all: Vec<&Section> = Vec::new();
    for root in ROOTS {
        for section in within(root) {
            match all.iter().find(|known| known.name == section.name) {
                None => all.push(section),
                // One name, one section.
                Some(known) => assert_eq!(known.about, section.about),
            }
            assert_eq!(names(section).len(), section.keys.len(), "{}", section.name);
            for key in section.keys {
                assert!(!key.what.is_empty(), "{}.{}", section.name, key.name);
            }
        }
    }
    let markdown = write_markdown(ROOTS);
    let plain = write_plain(ROOTS);
    for section in &all {
        let heading = format!("# {}\n", section.name);
        assert_eq!(markdown.matches(&heading).count(), 1, "{heading}");
        assert!(plain.contains(&format!("{}: ", section.name)), "{}", section.name);
    }
    // Nothing breaks a table.
    for row in markdown.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
    }
}

#[test]
fn references_lead_somewhere() {
    for root in ROOTS {
        let document = schema(root);
        let text = document.to_string();
        let definitions = document.get("$defs").and_then(serde_json::Value::as_object);
        for part in text.split("\"#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(definitions.is_some_and(|all| all.contains_key(name)), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name}");
        }
    }
}
