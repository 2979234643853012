use super::*;
use crate::addr::Cidr;
use crate::range::Range;
use proptest::prelude::*;
use serde_json::json;

fn parse(net: &Value) -> Result<Config, ConfigError> {
    Config::parse(net, "", &[])
}

fn with_ipam(ipam: &Value) -> Result<Config, ConfigError> {
    parse(&json!({"cniVersion": "1.0.0", "name": "n", "ipam": ipam}))
}

fn sets(config: &Config) -> Vec<String> {
    config.sets.iter().map(ToString::to_string).collect()
}

#[test]
fn sets_come_from_three_places_in_order() {
    let config = parse(&json!({
        "runtimeConfig": {"ipRanges": [[{"subnet": "10.3.0.0/24"}]]},
        "cniVersion": "1.0.0",
        "IPAM": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.9",
                 "Ranges": [[{"subnet": "10.2.0.0/24"}, {"subnet": "10.4.0.0/24"}]]},
    }))
    .unwrap();
    assert_eq!(
        sets(&config),
        ["10.3.0.1-10.3.0.254", "10.1.0.1-10.1.0.254", "10.2.0.1-10.2.0.254,10.4.0.1-10.4.0.254"]
    );
    assert_eq!(config.sets[1].ranges()[0].gateway(), Addr::parse("10.1.0.9"));
}

#[test]
fn errors_have_the_references_texts_and_name_the_place() {
    for (ipam, message, path) in [
        (json!({}), "no IP ranges specified", "ipam.ranges"),
        (json!({"ranges": []}), "no IP ranges specified", "ipam.ranges"),
        (json!({"ranges": [[]]}), "invalid range set 0: empty range set", "ipam.ranges[0]"),
        (json!({"ranges": [null]}), "invalid range set 0: empty range set", "ipam.ranges[0]"),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{}]]}),
            "invalid range set 1: IP <nil> not v4 nor v6",
            "ipam.ranges[1][0].subnet",
        ),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.2.128/25"}]]}),
            "invalid range set 0: subnets 10.1.2.1-10.1.2.254 and 10.1.2.129-10.1.2.254 overlap",
            "ipam.ranges[0][1].subnet",
        ),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.1.0.0/16"}]]}),
            "range set 0 overlaps with 1",
            "ipam.ranges[1]",
        ),
        (
            json!({"ranges": [[{"subnet": "x"}]]}),
            "invalid CIDR address: x",
            "ipam.ranges[0][0].subnet",
        ),
        (
            json!({"ranges": [[{"subnet": null}]]}),
            "invalid CIDR address: ",
            "ipam.ranges[0][0].subnet",
        ),
        (
            json!({"ranges": [[{"subnet": "10.1.2.0/24", "rangeEnd": "10.1.3.9"}]]}),
            "invalid range set 0: RangeEnd 10.1.3.9 not in network 10.1.2.0/24",
            "ipam.ranges[0][0].rangeEnd",
        ),
        (json!({"subnet": "10.1.2.0/24", "gateway": "y"}), "invalid IP address: y", "ipam.gateway"),
        (
            json!({"subnet": "10.1.2.0/24", "routes": [{"gw": "10.1.2.1"}]}),
            "ipam.routes[0]: a route needs dst",
            "ipam.routes[0]",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "routes": [{"dst": "::/0", "mtu": -1}]}),
            "ipam.routes[0].mtu: -1 is out of range",
            "ipam.routes[0].mtu",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "exclude": ["10.1.2.9", "z"]}),
            "ipam.exclude[1]: \"z\" is no address, CIDR or range of addresses",
            "ipam.exclude[1]",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "lockTimeout": "soon"}),
            "ipam.lockTimeout: \"soon\" is no duration",
            "ipam.lockTimeout",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "store": "redb"}),
            "ipam.store: \"redb\" is no store",
            "ipam.store",
        ),
        (
            json!({"subnet": "10.1.2.0/24", "dataDir": 5}),
            "ipam.dataDir: expected a string, found 5",
            "ipam.dataDir",
        ),
    ] {
        let error = with_ipam(&ipam).unwrap_err();
        assert_eq!((error.message.as_str(), error.path.as_str()), (message, path), "{ipam}");
        assert!(!error.expected.is_empty() && !error.found.is_empty());
    }
    assert_eq!(parse(&json!({"name": "n"})).unwrap_err().message, "IPAM config missing 'ipam' key");
    let two = json!({"cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}});
    assert_eq!(
        parse(&two).unwrap_err().message,
        "CNI version 0.2.0 does not support more than 1 address per family"
    );
}

#[test]
fn requests_are_joined() {
    let net = json!({
        "cniVersion": "1.0.0",
        "ipam": {"subnet": "10.1.2.0/24"},
        "args": {"cni": {"ips": ["10.1.2.5/24", "10.1.2.6"]}},
        "runtimeConfig": {"ips": ["10.1.2.6", "2001:DB8::7"]},
    });
    let config = Config::parse(&net, "IP=10.1.2.4,10.1.2.5;IgnoreUnknown=1;A=b", &[]).unwrap();
    let requested: Vec<String> = config.requested.iter().map(ToString::to_string).collect();
    assert_eq!(requested, ["10.1.2.4", "10.1.2.5", "10.1.2.6", "2001:db8::7"]);
    for (ips, message) in [
        (json!(["nope"]), "invalid IP address nope"),
        (json!([" 10.1.2.5"]), "invalid IP address  10.1.2.5"),
        (json!([""]), "cannot understand ip: IP <nil> not v4 nor v6"),
        (json!([null]), "args.cni.ips[0]: null is no IP address"),
        (json!([5]), "args.cni.ips[0]: expected a string, found 5"),
        (json!("10.1.2.5"), "args.cni.ips: expected a list, found \"10.1.2.5\""),
    ] {
        let net = json!({"ipam": {"subnet": "10.1.2.0/24"}, "args": {"cni": {"ips": ips}}});
        assert_eq!(parse(&net).unwrap_err().message, message);
    }
}

#[test]
fn a_del_is_content_with_what_is_left() {
    for net in [json!({}), json!({"ipam": null}), json!({"ipam": {"ranges": "x", "routes": 7}})] {
        assert_eq!(Place::parse(&net), (Place::default(), vec![]), "{net}");
    }
    let (place, warnings) = Place::parse(&json!({
        "ipam": {"dataDir": "/x", "shared": "yes", "lockTimeout": "5s", "ranges": 5},
    }));
    assert_eq!(place.data_dir.as_deref(), Some("/x"));
    assert_eq!((place.shared, place.lock_timeout), (None, Duration::from_secs(5)));
    assert_eq!(Place::parse(&json!({"ipam": 5})).1, ["ignored: ipam: expected an object, found 5"]);
    assert_eq!(warnings, ["ignored: ipam.shared: expected true or false, found \"yes\""]);
}

#[test]
fn keys_that_nobody_reads_are_told() {
    let config = with_ipam(&json!({
        "type": "host-local", "rangestart": null, "range": "10.9.9.0/24", "cfg": "x",
        "ranges": [[{"subnet": "10.1.2.0/24", "excludes": []}]],
    }))
    .unwrap();
    assert_eq!(
        config.warnings,
        [
            "ipam.cfg: unknown key, ignored",
            "ipam.range: unknown key, ignored",
            "ipam.ranges[0][0].excludes: unknown key, ignored",
        ]
    );
}

/// A configuration that says what was parsed.
fn print(config: &Config) -> Value {
    let range = |range: &Range| {
        let mut printed = json!({
            "subnet": range.subnet().to_string(),
            "rangeStart": range.interval().first().to_string(),
            "rangeEnd": range.interval().last().to_string(),
        });
        if let (Some(gateway), Some(object)) = (range.gateway(), printed.as_object_mut()) {
            object.insert("gateway".to_owned(), json!(gateway.to_string()));
        }
        printed
    };
    let sets: Vec<Vec<Value>> =
        config.sets.iter().map(|set| set.ranges().iter().map(range).collect()).collect();
    let routes: Vec<Value> = config
        .routes
        .iter()
        .map(|route| {
            json!({"dst": route.dst.to_string(), "gw": route.gw.map(|gw| gw.to_string()),
                   "mtu": route.mtu, "table": route.table})
        })
        .collect();
    json!({"cniVersion": "1.0.0", "ipam": {
        "ranges": sets, "routes": routes, "smallSubnets": true,
        "dataDir": config.place.data_dir, "resolvConf": config.resolv_conf,
    }})
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(
        ranges in proptest::collection::vec((0_u8..=255, 20_u8..=32, any::<bool>(), any::<u8>()), 1..5),
        mtu in 0_i64..9000,
        table in proptest::option::of(0_i64..1000),
    ) {
        let ranges: Vec<Value> = ranges
            .iter()
            .enumerate()
            .map(|(i, (a, prefix, v6, gateway))| {
                let text = if *v6 { format!("2001:db8:{i}:{a}::/{}", 60 + prefix) } else { format!("10.{i}.{a}.0/{prefix}") };
                let subnet = Cidr::parse(&text).unwrap();
                let first = subnet.network().first();
                let gateway = if *gateway < 100 { Value::Null } else { json!(first.to_string()) };
                json!([{"subnet": Cidr::new(first, subnet.prefix()).unwrap().to_string(), "gateway": gateway}])
            })
            .collect();
        let net = json!({"cniVersion": "1.0.0", "ipam": {"ranges": ranges, "smallSubnets": true,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": mtu, "table": table}], "dataDir": "/x"}});
        let config = parse(&net).unwrap();
        let again = parse(&print(&config)).unwrap();
        prop_assert_eq!(again, config);
    }

    #[test]
    fn no_json_is_too_much(text in "\\PC{0,60}", number in any::<i64>(), depth in 0_usize..5) {
        let mut value = json!([text.clone(), number, {"subnet": text, "dst": number}]);
        for _ in 0..depth {
            value = json!([value]);
        }
        for key in KNOWN_KEYS {
            let net = json!({"ipam": {*key: value}, "args": {"cni": {"ips": value}}, "runtimeConfig": value});
            let _ = Config::parse(&net, &text, &[]);
            let _ = Place::parse(&net);
        }
    }
}

#[test]
fn an_instance_is_a_plain_name() {
    let place = |text: Value| Place::read(&At::standing_at(&json!({"instance": text}), "ipam"));
    for text in ["1", "c0.1", "v6", "x".repeat(32).as_str()] {
        assert_eq!(place(json!(text)).unwrap().instance.as_deref(), Some(text));
    }
    assert_eq!(place(json!("")).unwrap().instance, None);
    for text in ["a/b", "a@b", ".1", "a b", "ä", "x".repeat(33).as_str()] {
        assert!(place(json!(text)).unwrap_err().message.contains("is no instance"), "{text}");
    }
    let named = place(json!("v6")).unwrap();
    assert!(named.allows(StoreKind::Sqlite, Policy::default()).is_ok());
    let refused = named.allows(StoreKind::Dir, Policy::default()).unwrap_err();
    assert!(refused.message.contains("do not know whose they are"), "{refused}");
}
