//! Tables of right and wrong configurations.

use super::*;
use ipam_pool::record::Mode;
use serde_json::json;

fn parse(ipam: Value) -> Result<Config, ConfigError> {
    Config::parse(&json!({"cniVersion": "1.1.0", "name": "net", "ipam": ipam}), "")
}

#[test]
fn the_least_is_a_name() {
    let config = parse(json!({"type": "etcd-pool", "pool": "pods"})).unwrap();
    assert_eq!(config.id.to_string(), "default/pods");
    assert_eq!((config.described, config.etcd, config.flush), (None, None, true));
    assert!(config.families.is_empty() && config.warnings.is_empty());
    assert_eq!(config.strategy, Strategy::Next);
}

#[test]
fn a_pool_may_be_described() {
    let config = parse(json!({
        "pool": {
            "name": "pods", "cidr": "10.64.0.0/12", "cidr6": "fd00:64::/96", "block": 27, "blk6": 123,
            "mode": "sync", "strict": true, "maxBlocks": 3, "cooldown": "30s", "gateway": "first",
            "exclude": ["10.64.0.0/24"], "autonomy": "2h",
        },
        "space": "blue", "families": ["ipv6", "ipv4"], "flush": false, "strategy": "sticky",
        "etcd": {"endpoints": ["https://etcd:2379"], "caCert": "/ca"},
    }))
    .unwrap();
    let (spec, pool) = config.described.unwrap();
    assert_eq!((spec.cooldown, spec.autonomy), (30, Some(7200)));
    assert_eq!((spec.block, spec.block6), (Some(27), Some(123)));
    assert_eq!((pool.mode, pool.strict, pool.max_blocks), (Mode::Sync, true, 3));
    assert_eq!(config.id.to_string(), "blue/pods");
    assert_eq!(config.families, [Family::V6, Family::V4]);
    assert!(!config.flush && config.warnings.is_empty());
    assert_eq!(config.etcd.unwrap().endpoints, ["https://etcd:2379"]);
    for seconds in [json!(90), json!("90s")] {
        let pool = json!({"name": "p", "cidr": "10.0.0.0/8", "cool": seconds, "autonomy": 0});
        let (spec, _) = parse(json!({"pool": pool})).unwrap().described.unwrap();
        assert_eq!((spec.cooldown, spec.autonomy), (90, Some(0)));
    }
}

/// Each wrong value with its place and a piece of the sentence.
#[test]
fn what_is_wrong_is_told_with_its_place() {
    let pool = |key: &str, value: Value| {
        let mut pool = json!({"name": "p", "cidr": "10.0.0.0/8"});
        pool[key] = value;
        json!({"pool": pool})
    };
    let with = |key: &str, value: Value| {
        let mut ipam = json!({"pool": "p"});
        ipam[key] = value;
        ipam
    };
    for (ipam, path, said) in [
        (json!({}), "ipam.pool", "no pool is named"),
        (json!({"pool": null}), "ipam.pool", "no pool is named"),
        (json!({"pool": ""}), "ipam.pool", "is empty"),
        (json!({"pool": "a/b"}), "ipam.pool", "\"a/b\" is no pool's name"),
        (json!({"pool": 5}), "ipam.pool", "found 5"),
        (json!({"pool": ["p"]}), "ipam.pool", "found [\"p\"]"),
        (json!({"pool": {"cidr": "10.0.0.0/8"}}), "ipam.pool.name", "name is empty"),
        (json!({"pool": {"name": "p"}}), "ipam.pool.cidr", "has no addresses"),
        (pool("name", json!(5)), "ipam.pool.name", "expected a string, found 5"),
        (pool("cidr", json!("10.0.0.0/33")), "ipam.pool.cidr", "is no such network"),
        (pool("cidr", json!("10.0.0.1/8")), "ipam.pool.cidr", "host bits"),
        (pool("cidr6", json!("10.0.0.0/8")), "ipam.pool.cidr6", "is no such network"),
        (pool("block", json!(4)), "ipam.pool.blk", "do not fit"),
        (pool("blk", json!(256)), "ipam.pool.blk", "out of range"),
        (pool("blk", json!("26")), "ipam.pool.blk", "a prefix length"),
        (pool("mode", json!("async")), "ipam.pool.mode", "\"async\" is no mode"),
        (pool("strict", json!(1)), "ipam.pool.strict", "true or false"),
        (pool("maxBlocks", json!(0)), "ipam.pool.maxBlocks", "no node may hold"),
        (pool("maxBlocks", json!(-1)), "ipam.pool.maxBlocks", "out of range"),
        (pool("cool", json!("300ms")), "ipam.pool.cool", "no number of seconds"),
        (pool("cooldown", json!(-1)), "ipam.pool.cooldown", "expected whole seconds"),
        (pool("autonomy", json!("1d")), "ipam.pool.autonomy", "no number of seconds"),
        (pool("gw", json!("11.0.0.1")), "ipam.pool.gw", "no address of the pool"),
        (pool("exclude", json!("10.0.0.1")), "ipam.pool.exclude", "expected a list"),
        (pool("exclude", json!(["x"])), "ipam.pool.exclude", "cannot exclude"),
        (with("space", json!("a b")), "ipam.space", "characters"),
        (with("space", json!("")), "ipam.space", "is empty"),
        (with("families", json!("ipv4")), "ipam.families", "expected a list"),
        (with("families", json!([])), "ipam.families", "no family"),
        (with("families", json!(["ipv5"])), "ipam.families[0]", "\"ipv5\" is no family"),
        (with("families", json!(["ipv4", "ipv4"])), "ipam.families[1]", "twice"),
        (with("flush", json!("no")), "ipam.flush", "true or false"),
        (with("store", json!("dir")), "ipam.store", "cannot hold a pool's addresses"),
        (with("store", json!("x")), "ipam.store", "is no store"),
        (with("shared", json!(true)), "ipam.shared", "belongs to one node"),
        (with("database", json!("run/x.db")), "ipam.database", "absolute path"),
        (with("lockTimeout", json!("soon")), "ipam.lockTimeout", "no duration"),
        (with("strategy", json!("first")), "ipam.strategy", "is no strategy"),
        (with("resolvConf", json!("/a\0")), "ipam.resolvConf", "NUL"),
        (with("routes", json!([{"dst": "x"}])), "ipam.routes[0].dst", "invalid CIDR address"),
        (with("subnet", json!("10.0.0.0/8")), "ipam.subnet", "come from the pool"),
        (with("ranges", json!([])), "ipam.ranges", "come from the pool"),
        (with("exclude", json!("10.0.0.1")), "ipam.exclude", "come from the pool"),
        (with("carve", json!({})), "ipam.carve", "come from the pool"),
        (with("cooldown", json!("5s")), "ipam.cooldown", "come from the pool"),
        (with("etcd", json!([])), "ipam.etcd", "must be an object"),
        (with("etcd", json!({})), "ipam.etcd", "endpoints is missing"),
        (with("etcd", json!({"endpoints": ["a:1"]})), "ipam.etcd", "http://"),
    ] {
        let error = parse(ipam.clone()).map(|config| format!("{config:?}")).unwrap_err();
        assert_eq!(error.path, path, "{ipam}: {error}");
        assert!(error.message.contains(said), "{ipam}: {error}");
        assert!(!error.expected.is_empty() && !error.found.is_empty(), "{ipam}");
    }
}

#[test]
fn two_names_of_a_key_are_one() {
    let pool = json!({"name": "p", "cidr": "10.0.0.0/8", "blk": 26, "block": 26});
    let error = parse(json!({"pool": pool})).unwrap_err();
    assert_eq!(error.message, "ipam.pool.blk and ipam.pool.block are the same");
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    let secret = "hunter2";
    for etcd in [
        json!({"endpoints": ["http://a:1"], "password": secret}),
        json!({"endpoints": [format!("http://root:{secret}@a:1")]}),
        json!({"endpoints": ["https://a:1"], "caCert": "/ca", "key": format!("-----BEGIN {secret}\n")}),
        json!({"endpoints": ["https://a:1"], "caCert": {"x": secret}}),
    ] {
        let error = parse(json!({"pool": "p", "etcd": etcd})).unwrap_err();
        let text = format!("{error:?}");
        assert!(!text.contains(secret), "{text}");
        assert_eq!(error.path, "ipam.etcd");
    }
}

#[test]
fn odd_keys_are_told() {
    let config = parse(json!({
        "pool": {"name": "p", "cidr": "10.0.0.0/8", "cdir6": "fd00::/64"},
        "dataDir": "/x", "famlies": ["ipv4"], "routes": [{"dst": "0.0.0.0/0", "via": "10.0.0.1"}],
    }))
    .unwrap();
    let keys = ["ipam.dataDir", "ipam.famlies", "ipam.pool.cdir6", "ipam.routes[0].via"];
    assert_eq!(config.warnings, keys.map(|key| format!("{key}: unknown key, ignored")));
}

#[test]
fn addresses_are_asked_for_as_elsewhere() {
    let net = json!({
        "name": "n", "ipam": {"pool": "p"}, "args": {"cni": {"ips": ["10.0.0.5/8"]}},
        "runtimeConfig": {"ips": ["10.0.0.5", "fd00::5"]},
    });
    let config = Config::parse(&net, "IP=10.0.0.4;IgnoreUnknown=1;K8S_POD_NAME=web").unwrap();
    let requested: Vec<String> = config.requested.iter().map(ToString::to_string).collect();
    assert_eq!(requested, ["10.0.0.4", "10.0.0.5", "fd00::5"]);
    assert_eq!(config.owner.name.as_deref(), Some("web"));
    let error = Config::parse(&json!({"name": "n"}), "").unwrap_err();
    assert_eq!(error.message, "IPAM config missing 'ipam' key");
    let net = json!({"name": "n", "ipam": {"pool": "p"}, "runtimeConfig": {"ipRanges": []}});
    assert_eq!(Config::parse(&net, "").unwrap_err().path, "runtimeConfig.ipRanges");
}

#[test]
fn the_environment_names_the_file() {
    assert_eq!(etcd_file(""), PathBuf::from("/etc/plat/etcd.json"));
    assert_eq!(etcd_file("/x/y"), PathBuf::from("/x/y"));
}
