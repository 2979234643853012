use serde_json::json;

use super::*;
use crate::config::Config;

const FILE: &str = "/etc/plat/policy.json";

fn rules(value: &Value) -> Rules {
    Rules::parse(FILE, value.to_string().as_bytes()).unwrap()
}

/// No links anywhere, but for `/link`, which leads to `/etc`, and what is below `/nowhere`.
fn resolve(path: &Path) -> Option<PathBuf> {
    if path.starts_with("/nowhere") {
        return None;
    }
    Some(
        path.strip_prefix("/link")
            .map_or_else(|_| path.into(), |rest| Path::new("/etc").join(rest)),
    )
}

fn judge(rules: &Rules, ipam: Value) -> Result<(), ConfigError> {
    rules.ipam(&json!({"name": "n", "ipam": ipam}), &resolve)
}

#[test]
fn a_file_without_rules_forbids_nothing() {
    let everything = json!({
        "dataDir": "/etc", "database": "/etc/x", "resolvConf": "../x", "cfgDir": "/", "cfg": "x", "index": 5,
        "hostname": "(.)", "etcd": {"endpoints": ["http://evil:1"], "caCert": "/x"}
    });
    for rules in [Rules::default(), rules(&json!({})), rules(&json!({"dataDir": null}))] {
        judge(&rules, everything.clone()).unwrap();
        rules.pool("a", "b", true).unwrap();
        rules.requested(&[Addr::parse("10.0.0.1").unwrap()]).unwrap();
        rules.vpp(&json!({"socket": "/x", "uplink": {}, "table": 9}), &resolve).unwrap();
    }
}

#[test]
fn paths_lead_into_allowed_places_or_are_refused() {
    for (rule, key) in [
        ("dataDir", "dataDir"),
        ("database", "database"),
        ("resolvConf", "resolvConf"),
        ("cfgDir", "cfgDir"),
    ] {
        let some = rules(&json!({rule: ["/data/a", "/data/b/"]}));
        let none = rules(&json!({rule: []}));
        for (path, fine) in [
            ("/data/a", true),
            ("/data/a/", true),
            ("/data/a/x", true),
            ("/data//a/./x", true),
            ("/data/b/c/d", true),
            ("", true),
            ("/data/ab", false),
            ("/data", false),
            ("/", false),
            ("/etc", false),
            ("/data/a/../../etc", false),
            ("/data/a/..", false),
            ("data/a", false),
            ("/link", false),
            ("/nowhere", false),
            ("/DATA/a", false),
        ] {
            let judged = judge(&some, json!({key: path}));
            assert_eq!(judged.is_ok(), fine, "{rule} {path}: {judged:?}");
            assert_eq!(judge(&none, json!({key: path})).is_ok(), path.is_empty());
            if let Err(error) = judged {
                assert_eq!(error.path, format!("ipam.{key}"));
                assert_eq!(
                    error.message,
                    format!("ipam.{key}: {path:?} is not allowed by the rule {rule:?} of {FILE}")
                );
                assert_eq!(error.expected, "a path without .. at or below /data/a, /data/b/");
            }
            // However the key's letters are cased, as the plugins read it.
            assert_eq!(judge(&some, json!({key.to_uppercase(): path})).is_ok(), fine);
        }
        judge(&some, json!({})).unwrap();
        judge(&none, json!({key: null})).unwrap();
        assert!(judge(&some, json!({key: 5})).is_err());
    }
    let linked = rules(&json!({"dataDir": ["/link/plat"]}));
    judge(&linked, json!({"dataDir": "/etc/plat/x"})).unwrap();
    judge(&rules(&json!({"dataDir": ["/"]})), json!({"dataDir": "/etc"})).unwrap();
}

#[test]
fn names_are_judged_as_written() {
    let some = rules(&json!({"networks": ["cbr0", "tenant-*"], "cfg": ["default", "pods-*"]}));
    for (name, fine) in
        [("cbr0", true), ("tenant-", true), ("tenant-a", true), ("cbr", false), ("Tenant-a", false)]
    {
        assert_eq!(some.network(&json!({"name": name})).is_ok(), fine, "{name}");
    }
    for (cfg, fine) in [("default", true), ("pods-4", true), ("pod", false), ("", false)] {
        let error = judge(&some, json!({"cfg": cfg})).unwrap_err();
        assert!(error.message.contains("\"networks\""), "the network n is none of them: {error}");
        let only = rules(&json!({"cfg": ["default", "pods-*"]}));
        assert_eq!(judge(&only, json!({"cfg": cfg})).is_ok(), fine, "{cfg}");
    }
    assert_eq!(
        rules(&json!({"networks": []})).network(&json!({"name": "n"})).unwrap_err().expected,
        "none at all"
    );
    rules(&json!({"networks": ["*"]})).network(&json!({"name": "n"})).unwrap();
}

#[test]
fn a_node_says_itself_which_one_it_is() {
    let own = rules(&json!({"nodeIndex": false}));
    judge(&own, json!({"cfg": "x"})).unwrap();
    for (key, value) in [("index", json!(7)), ("index", json!("7")), ("hostname", json!("(.)"))] {
        let error = judge(&own, json!({key: value})).unwrap_err();
        assert!(error.message.contains("\"nodeIndex\""), "{error}");
        judge(&rules(&json!({"nodeIndex": true})), json!({key: value})).unwrap();
    }
}

#[test]
fn subnets_lie_in_allowed_ones() {
    let some = rules(&json!({"subnets": ["10.1.0.0/16", "fd00::/8"]}));
    for (ranges, fine) in [
        (json!([[{"subnet": "10.1.2.0/24"}]]), true),
        (json!([[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:1::/64"}]]), true),
        (json!([[{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}]]), false),
        (
            json!([[{"subnet": "10.0.0.0/8", "rangeStart": "10.1.2.1", "rangeEnd": "10.1.2.9"}]]),
            false,
        ),
        (json!([[{"subnet": "::/0"}]]), false),
        (json!([[{"subnet": "fc00::/7"}]]), false),
    ] {
        let net = json!({"name": "n", "cniVersion": "1.0.0", "ipam": {"ranges": ranges}});
        let config = Config::parse(&net, "", &[]).unwrap();
        let judged = some.ranges(&config.sets);
        assert_eq!(judged.is_ok(), fine, "{ranges}: {judged:?}");
    }
    let error = some.subnet(Cidr::parse("10.2.2.0/24").unwrap(), || "x".to_owned()).unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.expected.as_str()),
        (
            "x: the subnet 10.2.2.0/24 is not allowed by the rule \"subnets\" of /etc/plat/policy.json",
            "a subnet in 10.1.0.0/16, fd00::/8"
        )
    );
}

#[test]
fn addresses_pools_and_etcd() {
    let some = rules(&json!({
        "requestedAddresses": false, "pools": ["pods", "tenants/*"], "poolDescriptions": false,
        "etcdEndpoints": ["https://etcd:2379/"], "etcdFiles": ["/etc/plat/pki"]
    }));
    some.requested(&[]).unwrap();
    assert!(some.requested(&[Addr::parse("10.0.0.1").unwrap()]).is_err());
    for (space, pool, described, fine) in [
        ("default", "pods", false, true),
        ("tenants", "a", false, true),
        ("default", "pods", true, false),
        ("default", "other", false, false),
        ("pods", "pods", false, false),
    ] {
        assert_eq!(some.pool(space, pool, described).is_ok(), fine, "{space}/{pool}");
    }
    rules(&json!({"pools": ["*"]})).pool("a", "b", true).unwrap();
    for (etcd, fine) in [
        (json!(null), true),
        (json!({"endpoints": ["https://etcd:2379"], "caCert": "/etc/plat/pki/ca.pem"}), true),
        (json!({"endpoints": ["https://etcd:2379"], "key": "/etc/shadow"}), false),
        (json!({"endpoints": ["https://etcd:2379", "https://evil:1"]}), false),
        (json!({"caCert": "/etc/plat/pki/ca.pem"}), false),
        (json!(5), false),
    ] {
        assert_eq!(judge(&some, json!({"etcd": etcd})).is_ok(), fine, "{etcd}");
    }
    let none = rules(&json!({"etcdEndpoints": []}));
    let error = judge(&none, json!({"etcd": {"endpoints": ["http://a:1"]}})).unwrap_err();
    assert_eq!(error.expected, "no \"etcd\": the node's file says where it is");
}

#[test]
fn vpps_keys() {
    let some = rules(&json!({
        "socket": ["/run/vpp"], "memifDirectory": ["/run/plat/memif"], "tables": [0, 7], "nodeSettings": false,
        "nodeIndex": false
    }));
    for (net, fine) in [
        (json!({}), true),
        (
            json!({"socket": "/run/vpp/api.sock", "memif": {"directory": "/run/plat/memif"}, "table": 7}),
            true,
        ),
        (json!({"socket": "/tmp/api.sock"}), false),
        (json!({"memif": {"directory": "/etc"}}), false),
        (json!({"table": 8}), false),
        (json!({"table": -1}), false),
        (json!({"uplink": {"interface": "eth1"}}), false),
        (json!({"peers": null}), true),
        (json!({"Routes": []}), false),
        (json!({"ipam": {"type": "node-local", "index": 5}}), false),
        (json!({"ipam": {"type": "node-local"}}), true),
    ] {
        let judged = some.vpp(&net, &resolve);
        assert_eq!(judged.is_ok(), fine, "{net}: {judged:?}");
    }
}

#[test]
fn a_file_that_cannot_be_meant_so_is_told_with_its_place() {
    for (text, message) in [
        ("", "EOF while parsing"),
        ("[]", "it is no JSON object"),
        (" [[\"n\"]]", "it is no JSON object"),
        ("5", "it is no JSON object"),
        ("{\"dataDir\": [\"/a\"], \"dataDir\": []}", "duplicate field `dataDir`"),
        ("{\"dataDirs\": []}", "unknown field `dataDirs`, expected one of `networks`"),
        ("{\"dataDir\": \"/a\"}", "expected a sequence"),
        ("{\"dataDir\": [\"a\"]}", ": dataDir[0]: \"a\" is none"),
        ("{\"socket\": [\"/a\", \"/a/../b\"]}", ": socket[1]: \"/a/../b\" is none"),
        ("{\"subnets\": [\"10.1.2.3/24\"]}", ": subnets[0]: \"10.1.2.3/24\" is none"),
        ("{\"networks\": [\"a*b\"]}", ": networks[0]: \"a*b\" is none"),
        ("{\"networks\": [\"a/b\"]}", ": networks[0]: \"a/b\" is none"),
        ("{\"networks\": [\"\"]}", ": networks[0]: \"\" is none"),
        ("{\"pools\": [\"a/b/c\"]}", ": pools[0]: \"a/b/c\" is none"),
        ("{\"etcdEndpoints\": [\"etcd:2379\"]}", ": etcdEndpoints[0]: \"etcd:2379\" is none"),
        ("{\"tables\": [-1]}", "invalid value"),
        ("{} x", "trailing characters"),
    ] {
        let error = Rules::parse(FILE, text.as_bytes()).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.message.starts_with("the policy file /etc/plat/policy.json"), "{error}");
        assert!(!error.expected.is_empty());
    }
    assert!(Rules::parse(FILE, b"\xff{}").is_err());
    assert!(Rules::parse(FILE, "[".repeat(100_000).as_bytes()).is_err());
}
