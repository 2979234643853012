use super::*;
use crate::config::Config;
use crate::range::RangeSet;
use proptest::prelude::*;

fn node(index: u32) -> NodeIdentity {
    NodeIdentity { index, name: format!("vm-{index:03}"), source: "a test".to_owned() }
}

fn rendered(ipam: &Value, index: u32) -> Result<Value, String> {
    render(ipam, &node(index)).map(|(value, _)| value).map_err(|e| e.to_string())
}

fn sets(ipam: &Value, index: u32) -> Result<Vec<RangeSet>, String> {
    let (ipam, _) = render(ipam, &node(index)).map_err(|e| e.to_string())?;
    let net = json!({"cniVersion": "1.0.0", "name": "n", "ipam": ipam});
    Config::parse(&net, "", &[]).map(|config| config.sets).map_err(|e| e.to_string())
}

fn text(ipam: &Value, index: u32) -> String {
    match sets(ipam, index) {
        Ok(sets) => sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn placeholders_are_filled_in_everywhere_in_texts() {
    for (template, index, expected) in [
        ("11.0.{i}.0/24", 4, "11.0.4.0/24"),
        ("11.{i/256}.{i%256}.0/24", 300, "11.1.44.0/24"),
        ("fd00:{i:x}::/64", 300, "fd00:12c::/64"),
        ("fd00:{i:04x}::/64", 10, "fd00:000a::/64"),
        ("a-{node}-{i}-{i}", 7, "a-vm-007-7-7"),
    ] {
        let value = rendered(&json!({"resolvConf": template}), index).unwrap();
        assert_eq!(value["resolvConf"], expected);
    }
    // The marks of old count in address fields only.
    let value = rendered(&json!({"resolvConf": "/etc/%.x", "gateway": "1.x.%.x"}), 4).unwrap();
    assert_eq!(value, json!({"resolvConf": "/etc/%.x", "gateway": "1.4.4.4"}));
    for (template, error) in [
        ("{j}", "ipam.resolvConf: unknown placeholder {j}"),
        ("{}", "ipam.resolvConf: unknown placeholder {}"),
        ("{peer}", "ipam.resolvConf: unknown placeholder {peer}"),
        ("{i:9x}", "ipam.resolvConf: unknown placeholder {i:9x}"),
        ("{i:099x}", "ipam.resolvConf: unknown placeholder {i:099x}"),
        ("{i", "ipam.resolvConf: a brace is not closed"),
    ] {
        assert_eq!(rendered(&json!({"resolvConf": template}), 4).unwrap_err(), error);
    }
    for key in ["dataDir", "database"] {
        assert_eq!(
            rendered(&json!({key: "/var/{node}"}), 4).unwrap_err(),
            format!("ipam.{key}: placeholders are not filled in here")
        );
    }
}

#[test]
fn subnets_are_carved() {
    let carve = |pool: &str, prefix: i64| json!({"carve": {"pool": pool, "prefix": prefix}});
    assert_eq!(text(&carve("10.1.0.0/16", 24), 4), "10.1.4.1-10.1.4.254");
    assert_eq!(text(&carve("10.0.0.0/8", 24), 300), "10.1.44.1-10.1.44.254");
    assert_eq!(
        text(&carve("fd00:1::/48", 64), 65_535),
        "fd00:1:0:ffff::1-fd00:1:0:ffff:ffff:ffff:ffff:ffff"
    );
    assert_eq!(text(&carve("::/0", 32), u32::MAX).split('-').next(), Some("ffff:ffff::1"));
    for (carve, index, error) in [
        (
            carve("10.1.0.0/16", 24),
            256,
            "ipam.carve: index 256 does not fit: 10.1.0.0/16 has 256 subnets of /24",
        ),
        (carve("10.1.0.0/16", 8), 0, "ipam.carve.prefix: 8 is no prefix length within 10.1.0.0/16"),
        (
            carve("10.1.0.0/16", 33),
            0,
            "ipam.carve.prefix: 33 is no prefix length within 10.1.0.0/16",
        ),
        (carve("10.1.0.1/16", 24), 0, "ipam.carve.pool: \"10.1.0.1/16\" is no network"),
        (carve("x", 24), 0, "ipam.carve.pool: \"x\" is no network"),
        (json!({"carve": {"pool": "10.0.0.0/8"}}), 0, "ipam.carve: prefix is missing"),
        (json!({"carve": {"pol": 1}}), 0, "ipam.carve: unknown key \"pol\""),
        (json!({"carve": 5}), 0, "ipam.carve: expected an object, found 5"),
        (
            json!({"ranges": [[{"subnet": "10.1.0.0/24", "carve": {}}]]}),
            0,
            "ipam.ranges[0][0].carve: the range has a subnet already",
        ),
    ] {
        assert_eq!(rendered(&carve, index).unwrap_err(), error);
    }
    let both = json!({
        "ranges": [[{"carve": {"pool": "10.1.0.0/16", "prefix": 24}, "rangeStart": "10.1.{i}.10"}]],
        "carve": [{"pool": "fd00:1::/48", "prefix": 64}],
    });
    assert_eq!(text(&both, 4), "10.1.4.10-10.1.4.254 fd00:1:0:4::1-fd00:1:0:4:ffff:ffff:ffff:ffff");
}

#[test]
fn a_range_ends_before_the_next_nodes() {
    let range = |subnet: &str, start: &str| json!({"ranges": [[{"subnet": subnet, "rangeStart": start, "gateway": "15.0.0.0"}]]});
    for (ipam, index, expected) in [
        (range("15.0.0.0/16", "15.0.%.0"), 1, "15.0.1.0-15.0.1.255"),
        (range("15.0.0.0/16", "15.0.{i}.0"), 0, "15.0.0.0-15.0.0.255"),
        (
            json!({"ranges": [[{"subnet": "15.0.0.0/16", "rangeStart": "15.0.{i}.0", "rangeEnd": ""}]]}),
            4,
            "15.0.4.0-15.0.4.255",
        ),
        // The last index has no next one: as large as the one before, and within the subnet.
        (range("15.0.0.0/16", "15.0.%.0"), 255, "15.0.255.0-15.0.255.254"),
        (range("15.0.0.0/8", "15.{i/256}.{i%256}.0"), 255, "15.0.255.0-15.0.255.255"),
        (range("15.0.0.0/16", "15.0.{i%256}.0"), 255, "15.0.255.0-15.0.255.254"),
        (range("11.0.%.0/24", "11.0.%.10"), 4, "11.0.4.10-11.0.4.254"),
        (range("15.0.0.0/16", "15.0.7.0"), 4, "15.0.7.0-15.0.255.254"),
    ] {
        assert_eq!(text(&ipam, index), expected, "{ipam} {index}");
    }
    let old_style = json!({"subnet": "15.0.0.0/16", "rangeStart": "15.0.%.0"});
    assert_eq!(text(&old_style, 4), "15.0.4.0-15.0.4.255");
    let v6 =
        json!({"ranges": [[{"subnet": "4000::16.0.0.0/112", "rangeStart": "4000::16.0.%.0"}]]});
    assert_eq!(text(&v6, 4), "4000::1000:400-4000::1000:4ff");
    let explicit = json!({"ranges": [[{"subnet": "15.0.0.0/16", "rangeStart": "15.0.%.0", "rangeEnd": "15.0.%.9"}]]});
    assert_eq!(text(&explicit, 4), "15.0.4.0-15.0.4.9");
}

#[test]
fn an_index_that_comes_round_is_refused() {
    for range in [
        json!({"subnet": "11.0.{i%256}.0/24"}),
        json!({"subnet": "15.0.0.0/16", "rangeStart": "15.0.{i%256}.0"}),
    ] {
        let ipam = json!({"ranges": [[range]]});
        assert!(sets(&ipam, 4).is_ok());
        assert_eq!(
            text(&ipam, 260),
            "error: ipam.ranges[0][0]: index 260 gives the range of index 4"
        );
    }
    assert!(sets(&json!({"subnet": "11.{i/256}.{i%256}.0/24"}), 260).is_ok());
    assert!(sets(&json!({"subnet": "11.0.0.0/24"}), 260).is_ok());
    assert!(sets(&json!({"carve": {"pool": "10.0.0.0/8", "prefix": 24}}), 260).is_ok());
}

#[test]
fn errors_show_what_came_out() {
    let ipam = json!({"ranges": [[{"subnet": "11.0.%.0/24"}]]});
    assert_eq!(text(&ipam, 256), "error: invalid CIDR address: 11.0.256.0/24");
}

#[test]
fn a_range_that_is_the_same_on_all_nodes_is_told() {
    let warnings = |ipam: Value| render(&ipam, &node(4)).unwrap().1.len();
    assert_eq!(warnings(json!({"ranges": [[{"subnet": "10.1.0.0/24"}]]})), 1);
    assert_eq!(warnings(json!({"subnet": "10.1.0.0/24"})), 1);
    assert_eq!(warnings(json!({"ranges": [[{"subnet": "10.{i}.0.0/24"}]]})), 0);
    assert_eq!(
        warnings(json!({"ranges": [[{"subnet": "10.0.0.0/8", "rangeStart": "10.%.0.1"}]]})),
        0
    );
    assert_eq!(warnings(json!({"carve": {"pool": "10.0.0.0/8", "prefix": 24}})), 0);
}

#[test]
fn a_template_supplies_what_the_section_does_not_say() {
    let template = json!({
        "cniVersion": "0.4.0", "name": "default", "dns": {"nameservers": ["192.0.2.1"]},
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "11.0.%.0/24"}]],
                 "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/elsewhere"},
    });
    let own = json!({"type": "node-local", "cfg": "default", "dataDir": "/here", "routes": [{"dst": "::/0"}]});
    let merged = merge(&own, &template).unwrap();
    assert_eq!(merged["ranges"], template["ipam"]["ranges"]);
    assert_eq!(merged["routes"], own["routes"]);
    assert_eq!(merged["dns"], template["dns"]);
    assert_eq!(merged["dataDir"], "/here");
    assert_eq!(merged["type"], "node-local");
    assert_eq!(unused_keys(&template), ["template.ipam.dataDir: unknown key, ignored"]);
    assert!(unused_keys(&json!({"name": "n", "ranges": []})).is_empty());
    let outer_dns = json!({"dns": {"domain": "a"}, "ipam": {"dns": null, "subnet": "10.0.0.0/8"}});
    assert_eq!(merge(&own, &outer_dns).unwrap()["dns"], outer_dns["dns"]);
    let bare = json!({"carve": {"pool": "10.0.0.0/8", "prefix": 24}});
    assert_eq!(merge(&own, &bare).unwrap()["carve"], bare["carve"]);
    assert!(merge(&own, &json!([])).is_err());
    assert!(has_ranges(&json!({"Ranges": []})) && !has_ranges(&json!({"ranges": null})));
}

proptest! {
    /// Every index that fits gets a subnet of its own, within the pool.
    #[test]
    fn carved_subnets_are_disjoint(pool_prefix in 8_u8..=24, room in 0_u8..=6, a in any::<u32>(), b in any::<u32>()) {
        let prefix = pool_prefix + room;
        let pool = Cidr::new(Addr::parse("10.0.0.0").unwrap(), pool_prefix).unwrap();
        let ipam = json!({"carve": {"pool": pool.to_string(), "prefix": prefix}});
        let count = 1_u32 << room;
        let subnet = |index: u32| sets(&ipam, index % count).unwrap()[0].ranges()[0].subnet().network();
        let (first, second) = (subnet(a), subnet(b));
        prop_assert!(pool.network().contains(first.first()) && pool.network().contains(first.last()));
        prop_assert_eq!(first == second, a % count == b % count);
        prop_assert_eq!(first.overlaps(second), a % count == b % count);
        prop_assert!(sets(&ipam, count).is_err());
    }

    /// With rangeStart alone no two nodes share an address, whatever the index.
    #[test]
    fn started_ranges_are_disjoint(a in 0_u32..256, b in 0_u32..256, style in 0_usize..3) {
        let start = ["15.0.%.0", "15.0.{i}.16", "15.0.x.200"][style];
        let ipam = json!({"ranges": [[{"subnet": "15.0.0.0/16", "rangeStart": start}]]});
        let range = |index: u32| sets(&ipam, index).unwrap()[0].ranges()[0].interval();
        prop_assert_eq!(range(a).overlaps(range(b)), a == b);
    }

    #[test]
    fn no_template_is_too_much(text in "[{}i:x/%0-9a-z.]{0,40}", index in any::<u32>()) {
        let _ = rendered(&json!({"ranges": [[{"subnet": text, "rangeStart": text, "carve": {"pool": text}}]], "carve": text}), index);
    }
}

#[test]
fn only_known_placeholders_are_filled_in_elsewhere() {
    let node = |index| NodeIdentity { index, name: "vm-4".to_owned(), source: "x".to_owned() };
    let value = json!({
        "{i}": ["192.168.16.{i}/24", {"a": "{i:04x}.{i/256}.{i%256}"}, 5, null, true],
        "peer": "10.1.{peer}.0/24 % .x {i{i}} {} {i {node} }",
    });
    assert!(has_known(&value));
    assert_eq!(
        fill_known(&value, &node(300)),
        json!({
            "{i}": ["192.168.16.300/24", {"a": "012c.1.44"}, 5, null, true],
            "peer": "10.1.{peer}.0/24 % .x {i300} {} {i vm-4 }",
        })
    );
    let none = json!({"a": ["{peer}", "{I}", "%", "{i", "i}", "{i:y}"], "{i}": 1});
    assert!(!has_known(&none));
    assert_eq!(fill_known(&none, &node(4)), none);
}
