//! The keys of a configuration, and what each of them must not have.

use serde_json::{Value, json};
use support::Plugin;

use super::PLUGINS;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Boolean,
    /// A whole number.
    Number,
    List,
    Object,
    /// A text or a list.
    Texts,
    /// A number or a text.
    Index,
    /// An object or a list.
    Carve,
}

impl Kind {
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_i64(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Texts => value.is_string() || value.is_array(),
            Self::Index => value.is_string() || value.is_i64(),
            Self::Carve => value.is_object() || value.is_array(),
        }
    }
}

/// A value of each JSON type, and some that are a burden.
pub(super) fn samples() -> Vec<Value> {
    let mut deep = json!([]);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(5),
        json!(-7.25),
        json!(1e300),
        json!(true),
        json!("text"),
        json!(["text"]),
        json!([]),
        json!({}),
        json!({"a": {"b": [null]}}),
        json!(vec![0; 20_000]),
        json!("x".repeat(100_000)),
        deep,
    ]
}

/// Texts that are no address.
fn no_addresses() -> Vec<Value> {
    let texts = [
        "x",
        "10.1.2",
        "10.1.2.256",
        "10.1.2.3/24",
        "010.1.2.3",
        " 10.1.2.3",
        "10.1.2.3 ",
        "1.2.3.4.5",
        "10.1.2.-3",
        "10,1,2,3",
        "::g",
        "fd00:::1",
        "[::1]",
        "localhost",
        "167838211",
        "0x0a010203",
        "１0.1.2.3",
        "10.1.2.3\n",
        "10.1.2.3\0",
        "\u{1b}[31m10.1.2.3",
        "\u{202e}3.2.1.01",
        "\"",
        "\\",
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.push(json!("1".repeat(100_000)));
    values.push(json!("\n".repeat(100)));
    values
}

/// Texts that are no CIDR.
fn no_cidrs() -> Vec<Value> {
    let texts = [
        "",
        "x",
        "10.1.2.0",
        "10.1.2.0/",
        "/24",
        "10.1.2.0/33",
        "10.1.2.0/-1",
        "10.1.2.0/+24",
        "10.1.2.0/24/24",
        "10.1.2/24",
        "fd00::/129",
        "10.1.2.0/ 24",
        "10.1.2.0 /24",
        "10.1.2.0/2４",
        "010.1.2.0/24",
        "10.1.2.0\\24",
        "10.1.2.0/255.255.255.0",
        "10.1.2.0/24\n",
        "\0",
        "10.1.2.0/99999999999999999999",
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.push(json!(format!("10.1.2.0/{}", "2".repeat(100_000))));
    values
}

/// Numbers that no attribute of a route may have.
fn no_attributes() -> Vec<Value> {
    vec![
        json!(-1),
        json!(4_294_967_296_i64),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(1e30),
        json!("1500"),
        json!("main"),
    ]
}

/// Texts that are no duration.
fn no_durations() -> Vec<Value> {
    let texts = [
        "",
        "30",
        "s",
        "1.5s",
        "-1s",
        "+1s",
        "30 s",
        "1d",
        "1h30m",
        "forever",
        "٣s",
        "99999999999999999999s",
        "9999999999999999999h",
        "3s\n",
    ];
    texts.iter().map(|text| json!(text)).collect()
}

/// A key: a JSON pointer, what it takes, and values of the right type that are wrong nevertheless.
pub(super) struct Key {
    pub(super) pointer: &'static str,
    pub(super) kind: Kind,
    pub(super) wrong: Vec<Value>,
    pub(super) plugins: &'static [Plugin],
    /// What the configuration must have, or not have, for the key to matter.
    pub(super) with: Vec<(&'static str, Value)>,
}

fn key(pointer: &'static str, kind: Kind, wrong: Vec<Value>) -> Key {
    Key { pointer, kind, wrong, plugins: &PLUGINS, with: Vec::new() }
}

impl Key {
    fn of_node_local(mut self) -> Self {
        self.plugins = &[Plugin::NodeLocal];
        self
    }

    fn with(mut self, pointer: &'static str, value: Value) -> Self {
        self.with.push((pointer, value));
        self
    }
}

pub(super) fn keys() -> Vec<Key> {
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect::<Vec<Value>>();
    let mut keys = vec![
        key("/ipam", Kind::Object, vec![]),
        key("/ipam/type", Kind::Text, vec![]),
        key("/ipam/subnet", Kind::Text, no_cidrs()),
        key("/ipam/rangeStart", Kind::Text, no_addresses()),
        key("/ipam/rangeEnd", Kind::Text, no_addresses()),
        key("/ipam/gateway", Kind::Text, no_addresses()),
        key("/ipam/ranges", Kind::List, vec![]),
        key("/ipam/ranges/0", Kind::List, vec![json!([])]),
        key("/ipam/ranges/1", Kind::List, vec![json!([])]),
        key("/ipam/ranges/0/0", Kind::Object, vec![]),
        key("/ipam/ranges/0/1", Kind::Object, vec![]),
        key("/ipam/ranges/0/0/subnet", Kind::Text, no_cidrs()),
        key("/ipam/ranges/0/0/rangeStart", Kind::Text, no_addresses()),
        key("/ipam/ranges/0/0/rangeEnd", Kind::Text, no_addresses()),
        key("/ipam/ranges/0/0/gateway", Kind::Text, no_addresses()),
        key("/ipam/routes", Kind::List, vec![]),
        key("/ipam/routes/0", Kind::Object, vec![json!({}), json!({"gw": "10.1.2.1"})]),
        key("/ipam/routes/0/dst", Kind::Text, no_cidrs()),
        key("/ipam/routes/0/gw", Kind::Text, no_addresses())
            .with("/ipam/routes/0/dst", json!("0.0.0.0/0")),
        key("/ipam/dataDir", Kind::Text, texts(&["/tmp/\0", "\0"])),
        key("/ipam/resolvConf", Kind::Text, texts(&["/etc/\0"])),
        key("/ipam/smallSubnets", Kind::Boolean, vec![]),
        key("/ipam/shared", Kind::Boolean, vec![]),
        key(
            "/ipam/store",
            Kind::Text,
            texts(&["SQLITE", "sqlite3", "memory", "DIR", "dir ", "\n", "../dir"]),
        ),
        key(
            "/ipam/database",
            Kind::Text,
            texts(&[
                "plat.db",
                "./plat.db",
                "/run/../plat.db",
                "/run/..",
                "/",
                "/run/plat/",
                "/\0",
            ]),
        ),
        key("/ipam/strategy", Kind::Text, texts(&["", "NEXT", "next ", "random", "sticky\n"])),
        key("/ipam/cooldown", Kind::Text, no_durations()),
        key("/ipam/lockTimeout", Kind::Text, no_durations()),
        key("/args", Kind::Object, vec![]),
        key("/args/cni", Kind::Object, vec![]),
        key("/args/cni/ips", Kind::List, vec![]),
        key("/args/cni/ips/0", Kind::Text, no_requests()),
        key("/args/cni/ips/1", Kind::Text, no_requests())
            .with("/args/cni/ips/0", json!("10.1.2.7")),
        key("/runtimeConfig", Kind::Object, vec![]),
        key("/runtimeConfig/ips", Kind::List, vec![]),
        key("/runtimeConfig/ips/0", Kind::Text, no_requests()),
        key("/runtimeConfig/ipRanges", Kind::List, vec![]),
        key("/runtimeConfig/ipRanges/0", Kind::List, vec![json!([])]),
        key("/runtimeConfig/ipRanges/0/0", Kind::Object, vec![]),
        key("/runtimeConfig/ipRanges/0/0/subnet", Kind::Text, no_cidrs()),
        key("/runtimeConfig/ipRanges/0/0/rangeStart", Kind::Text, no_addresses()),
        key("/runtimeConfig/ipRanges/0/0/rangeEnd", Kind::Text, no_addresses()),
        key("/runtimeConfig/ipRanges/0/0/gateway", Kind::Text, no_addresses()),
        key("/runtimeConfig/ipRanges/0/0/exclude", Kind::Texts, no_exclusions()),
    ];
    for pointer in ["/ipam/exclude", "/ipam/ranges/0/0/exclude"] {
        keys.push(key(pointer, Kind::Texts, no_exclusions()));
    }
    for pointer in ["/ipam/exclude/0", "/ipam/ranges/0/0/exclude/0", "/ipam/exclude/1"] {
        let with = ("/ipam/exclude/0", json!("10.1.2.9"));
        let key = key(pointer, Kind::Text, no_exclusions());
        keys.push(if pointer.ends_with('1') { key.with(with.0, with.1) } else { key });
    }
    for attribute in ["mtu", "advmss", "priority", "table", "scope"] {
        let pointer: &'static str = match attribute {
            "mtu" => "/ipam/routes/0/mtu",
            "advmss" => "/ipam/routes/0/advmss",
            "priority" => "/ipam/routes/0/priority",
            "table" => "/ipam/routes/0/table",
            _ => "/ipam/routes/0/scope",
        };
        keys.push(
            key(pointer, Kind::Number, no_attributes())
                .with("/ipam/routes/0/dst", json!("0.0.0.0/0")),
        );
    }
    keys.extend(keys_of_node_local());
    keys
}

/// Texts that cannot be requested.
fn no_requests() -> Vec<Value> {
    let mut values = no_addresses();
    // With a prefix length an address is fine.
    values.retain(|value| value != "10.1.2.3/24");
    values.extend(
        ["", "10.1.2.3/33", "10.1.2.3/", "10.1.2.3-10.1.2.4", "10.1.2.3,10.1.2.4"]
            .map(|text| json!(text)),
    );
    values
}

/// Texts that exclude nothing.
fn no_exclusions() -> Vec<Value> {
    let texts = [
        "",
        "x",
        "10.1.2",
        "10.1.2.0/33",
        "10.1.2.3-",
        "-10.1.2.3",
        "-",
        "10.1.2.9-10.1.2.3",
        "10.1.2.3-fd00::1",
        "10.1.2.3-10.1.2.4-10.1.2.5",
        "10.1.2.0/24-10.1.3.0/24",
        "10.1.2.3,10.1.2.4",
        "10.1.2.3\n",
        "\0",
        "::ffff:10.1.2.0/120",
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.push(json!("-".repeat(100_000)));
    values
}

fn keys_of_node_local() -> Vec<Key> {
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect::<Vec<Value>>();
    let names = texts(&[
        "",
        ".",
        "..",
        ".hidden",
        "../evil",
        "a/b",
        "/etc/passwd",
        "index",
        "a b",
        "a\0",
        "a\n",
        "ä",
        "*",
        "~",
        "$HOME",
        "{i}",
    ]);
    let indexes = vec![
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!(4_294_967_296_i64),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("-1"),
        json!("+1"),
        json!("1.0"),
        json!("0x10"),
        json!("1 2"),
        json!("4294967296"),
        json!("٤"),
        json!("1\n2"),
        json!("\0"),
    ];
    let carves = vec![
        json!({}),
        json!({"prefix": 24}),
        json!({"pool": "10.1.0.0/16"}),
        json!({"pool": "10.1.0.0/16", "prefix": 24, "size": 24}),
        json!({"pool": "10.1.0.0/29", "prefix": 30}),
    ];
    let prefixes = vec![
        json!(-1),
        json!(0),
        json!(15),
        json!(33),
        json!(256),
        json!(280),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(24.5),
        json!("24"),
    ];
    let pools = {
        let mut pools = no_cidrs();
        pools.extend(texts(&["10.1.2.0/16", "::ffff:10.1.0.0/112"]));
        pools
    };
    let carved = |key: Key| key.with("/ipam/ranges", Value::Null).of_node_local();
    let mut keys = vec![
        carved(key("/ipam/cfg", Kind::Text, names)),
        key("/ipam/cfgDir", Kind::Text, texts(&["/etc/\0"]))
            .with("/ipam/ranges", Value::Null)
            .of_node_local(),
        key("/ipam/index", Kind::Index, indexes).of_node_local(),
        carved(key("/ipam/carve", Kind::Carve, carves.clone())),
        carved(key("/ipam/carve/0", Kind::Object, carves.clone())),
        carved(key("/ipam/carve/pool", Kind::Text, pools)).with("/ipam/carve/prefix", json!(24)),
        carved(key("/ipam/carve/prefix", Kind::Number, prefixes))
            .with("/ipam/carve/pool", json!("10.1.0.0/16")),
        key("/ipam/dns", Kind::Object, vec![]).of_node_local(),
        key("/ipam/dns/nameservers", Kind::List, vec![]).of_node_local(),
        key("/ipam/dns/nameservers/0", Kind::Text, vec![]).of_node_local(),
        key("/ipam/dns/domain", Kind::Text, vec![]).of_node_local(),
        key("/ipam/dns/search", Kind::List, vec![]).of_node_local(),
        key("/ipam/dns/search/0", Kind::Text, vec![]).of_node_local(),
        key("/ipam/dns/options", Kind::List, vec![]).of_node_local(),
        key("/ipam/dns/options/0", Kind::Text, vec![]).of_node_local(),
    ];
    keys.push(
        key("/ipam/ranges/0/0/carve", Kind::Object, carves)
            .with("/ipam/ranges", Value::Null)
            .of_node_local(),
    );
    keys
}

/// The pattern for host names, which counts where no better source tells the index.
pub(super) fn host_name_pattern() -> Key {
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect::<Vec<Value>>();
    let patterns =
        texts(&["", "x", "([0-9]+", "[0-9]+", "(a)(b)", "*", "(?P<", "\\", "(\0", "(\n"]);
    key("/ipam/hostname", Kind::Text, patterns).of_node_local()
}
