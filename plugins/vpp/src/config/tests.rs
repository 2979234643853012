use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(config: &Value) -> Result<Config, ConfigError> {
    Config::parse(config, "")
}

#[test]
fn nothing_means_defaults() {
    let config = parse(&json!({"name": "pods", "type": "vpp"})).unwrap();
    assert_eq!(config.socket, PathBuf::from(DEFAULT_SOCKET));
    assert_eq!((config.kind, config.rx_mode), (KindSpec::Auto, None));
    assert_eq!((config.mtu, config.table, config.timeout), (None, 0, DEFAULT_TIMEOUT));
    assert_eq!((config.default_route, config.mac, config.ipam), (None, None, None));
    assert_eq!((config.tap, config.memif), (TapConfig::default(), MemifConfig::default()));
    assert_eq!((config.owner, config.node), (Owner::default(), json!({})));
}

#[test]
fn every_key_is_read() {
    let config = json!({
        "socket": "/run/other/api.sock", "Kind": "memif", "mtu": 1450, "table": 7, "timeout": "5s",
        "defaultRoute": false, "tap": {"gso": true, "queues": 4, "ring": 1024},
        "memif": {"directory": "/run/m", "role": "slave", "mode": "ip", "ring": 2048, "queues": 2},
        "uplink": {"pci": "0000:00:04.0"}, "routes": [], "hostLink": null, "dns": {},
        "runtimeConfig": {"mac": "02:00:00:00:00:09"}, "args": {"cni": {"mac": "02:00:00:00:00:08"}},
        "ipam": {"type": "host-local", "ranges": 5},
    });
    let args = "MAC=02:00:00:00:00:07;K8S_POD_NAME=a;K8S_POD_NAME=b;x;K8S_POD_UID=";
    let config = Config::parse(&config, args).unwrap();
    assert_eq!(config.socket, PathBuf::from("/run/other/api.sock"));
    assert_eq!(config.kind, KindSpec::Fixed(Kind::Memif));
    assert_eq!((config.mtu, config.table, config.timeout.as_secs()), (Some(1450), 7, 5));
    assert_eq!((config.default_route, config.ipam.as_deref()), (Some(false), Some("host-local")));
    assert_eq!(config.tap, TapConfig { gso: true, queues: 4, ring: 1024 });
    assert_eq!(config.memif.directory, PathBuf::from("/run/m"));
    let memif = &config.memif;
    assert_eq!(
        (memif.role, memif.mode, memif.ring, memif.queues),
        (Role::Client, Mode::Ip, 2048, 2)
    );
    assert_eq!(config.mac.unwrap().to_string(), "02:00:00:00:00:09");
    assert_eq!((config.owner.name.as_deref(), config.owner.uid), (Some("b"), None));
    assert_eq!(config.node, json!({"uplink": {"pci": "0000:00:04.0"}, "routes": []}));
}

#[test]
fn modes_are_read_where_a_kind_has_them() {
    for (kind, mode, expected) in [
        (None, "polling", RxMode::Polling),
        (Some("auto"), "interrupt", RxMode::Interrupt),
        (Some("veth"), "polling", RxMode::Polling),
        (Some("veth"), "interrupt", RxMode::Interrupt),
        (Some("tap"), "polling", RxMode::Polling),
        (Some("tap"), "interrupt", RxMode::Interrupt),
        (Some("tap"), "adaptive", RxMode::Adaptive),
    ] {
        let config = parse(&json!({"kind": kind, "rxMode": mode})).unwrap();
        assert_eq!((config.rx_mode, expected.as_str()), (Some(expected), mode), "{kind:?}");
    }
    assert_eq!(parse(&json!({"rxMode": null, "kind": "memif"})).unwrap().rx_mode, None);
}

#[test]
fn the_mac_comes_from_the_best_source() {
    let args = "MAC=02:00:00:00:00:07";
    for (config, mac) in [
        (json!({"args": {"cni": {"mac": "02:00:00:00:00:08"}}}), "02:00:00:00:00:08"),
        (json!({"args": {"cni": {}}}), "02:00:00:00:00:07"),
        (json!({"runtimeConfig": {}}), "02:00:00:00:00:07"),
    ] {
        assert_eq!(Config::parse(&config, args).unwrap().mac.unwrap().to_string(), mac);
    }
    for args in ["MAC=01:00:00:00:00:07", "MAC=00:00:00:00:00:00", "MAC=x"] {
        assert!(Config::parse(&json!({}), args).is_err(), "{args}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (config, message) in [
        (json!({"socket": "api.sock"}), "socket: no absolute path"),
        (json!({"socket": 5}), "socket: expected a string, found 5"),
        (
            json!({"socket": format!("/{}", "x".repeat(107))}),
            "socket: the path is longer than 107 bytes",
        ),
        (json!({"kind": "bridge"}), "kind: there is no such kind of interface"),
        (json!({"rxMode": "fast"}), "rxMode: there is no such mode"),
        (json!({"rxMode": true}), "rxMode: expected a string, found true"),
        (
            json!({"rxMode": "adaptive"}),
            "rxMode: VPP has no adaptive mode for veth pairs, which kind auto may make",
        ),
        (
            json!({"rxMode": "adaptive", "kind": "veth"}),
            "rxMode: VPP has no adaptive mode for veth pairs",
        ),
        (
            json!({"rxMode": "polling", "kind": "memif"}),
            "rxMode: VPP polls a memif whenever an application connects",
        ),
        (json!({"mtu": 67}), "mtu: 67 bytes cannot be an MTU"),
        (json!({"mtu": 65536}), "mtu: 65536 bytes cannot be an MTU"),
        (json!({"mtu": "1500"}), "mtu: expected a whole number, found \"1500\""),
        (json!({"table": -1}), "table: no number of a table"),
        (json!({"table": u32::MAX}), "table: no number of a table"),
        (json!({"timeout": "30"}), "timeout: no time"),
        (json!({"timeout": "999ms"}), "timeout: 999ms is out of range"),
        (json!({"timeout": "11m"}), "timeout: 660s is out of range"),
        (json!({"defaultRoute": "yes"}), "defaultRoute: expected true or false, found \"yes\""),
        (json!({"tap": {"queues": 0}}), "tap.queues: 0 is out of range"),
        (json!({"tap": {"ring": 100}}), "tap.ring: 100 entries cannot be a ring"),
        (json!({"tap": []}), "tap: expected an object, found []"),
        (json!({"memif": {"role": "both"}}), "memif.role: there is no such role"),
        (json!({"memif": {"mode": "punt"}}), "memif.mode: there is no such mode"),
        (
            json!({"memif": {"directory": format!("/{}", "x".repeat(79))}}),
            "memif.directory: the path is too long for sockets below it",
        ),
        (json!({"ipam": {"type": 5}}), "ipam.type: expected a string, found 5"),
        (json!({"ipam": "host-local"}), "ipam: expected an object, found \"host-local\""),
        (
            json!({"runtimeConfig": {"mac": "zz"}}),
            "runtimeConfig.mac: no Ethernet address of an interface",
        ),
    ] {
        assert_eq!(parse(&config).unwrap_err().to_string(), message);
    }
}

#[test]
fn basics_are_read_from_what_is_left() {
    let config = json!({"socket": 5, "timeout": {}, "ipam": {"type": "host-local"}, "kind": 7});
    let basics = Basics::parse(&config);
    assert_eq!((basics.socket, basics.timeout), (None, DEFAULT_TIMEOUT));
    assert_eq!((basics.ipam.as_deref(), basics.warnings.len()), (Some("host-local"), 2));
    assert_eq!(Basics::parse(&json!({})).warnings, [""; 0]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9/:.]{0,12}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "socket",
        "kind",
        "mtu",
        "table",
        "timeout",
        "tap",
        "memif",
        "ring",
        "queues",
        "mac",
        "runtimeConfig",
        "args",
        "cni",
        "ipam",
        "type",
        "directory",
        "role",
        "mode",
        "rxMode",
        "uplink",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| {
            Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        })
    })
}

proptest! {
    #[test]
    fn no_configuration_is_too_much(config in any_json(), args in ".{0,40}") {
        let _ = Config::parse(&config, &args);
        let _ = Basics::parse(&config);
    }
}
