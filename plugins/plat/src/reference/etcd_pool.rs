//! etcd-pool, and how etcd is reached.

use super::{Key, Kind, NAME, NETWORK, Others, PATH, Section, TIME, keys};

/// Seconds, or a time as elsewhere.
const SECONDS: Kind = Kind::Either(&[Kind::Number(0, u32::MAX as u64), TIME]);

pub(super) const CONNECTION: Section = Section {
    name: "etcd",
    about: "How etcd is reached: the file `/etc/plat/etcd.json` (or the one that `PLAT_ETCD_CONFIG` names), or the \
            key `etcd` of a configuration.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "endpoints",
            kind: Kind::List(&Kind::Text("URL, such as `https://etcd-1.example:2379`")),
            default: "",
            what: "each member once; required",
        },
        Key {
            name: "caCert",
            kind: PATH,
            default: "",
            what: "who signed the members' certificates, PEM; required with `https://`",
        },
        Key { name: "cert", kind: PATH, default: "", what: "the client's certificate, PEM" },
        Key {
            name: "key",
            kind: PATH,
            default: "",
            what: "the client's key, PEM, without a password, readable by its owner only",
        },
        Key {
            name: "serverName",
            kind: NAME,
            default: "the endpoint's host",
            what: "the name in the members' certificates",
        },
        Key {
            name: "prefix",
            kind: Kind::Text("text"),
            default: "`/plat/v1`",
            what: "where everything lies in etcd",
        },
        Key {
            name: "timeout",
            kind: TIME,
            default: "what a call can wait: 5 s for ADD",
            what: "how long a call waits for etcd; 1s to 10m",
        },
    ],
};

const POOL: Section = Section {
    name: "pool",
    about: "A pool, described where it is used: it is made when it is first used, and compared when it is there.",
    others: Others::Ignored,
    keys: &[
        Key { name: "name", kind: NAME, default: "", what: "required" },
        Key { name: "cidr", kind: NETWORK, default: "", what: "its IPv4 addresses" },
        Key { name: "cidr6", kind: NETWORK, default: "", what: "its IPv6 addresses" },
        Key {
            name: "blk",
            kind: Kind::Number(0, 32),
            default: "26, or the pool's if that is longer",
            what: "the prefix length of an IPv4 block",
        },
        Key { name: "block", kind: Kind::Number(0, 32), default: "", what: "the same as `blk`" },
        Key {
            name: "blk6",
            kind: Kind::Number(0, 128),
            default: "122, or the pool's if that is longer",
            what: "the prefix length of an IPv6 block",
        },
        Key { name: "block6", kind: Kind::Number(0, 128), default: "", what: "the same as `blk6`" },
        Key {
            name: "mode",
            kind: Kind::Words(&["local", "sync"]),
            default: "`local`",
            what: "whether etcd is written to behind an ADD, or before it answers",
        },
        Key {
            name: "strict",
            kind: Kind::Bool,
            default: "`false`",
            what: "mode `sync`: no node borrows out of another's block",
        },
        Key {
            name: "maxBlocks",
            kind: Kind::Number(1, u32::MAX as u64),
            default: "20",
            what: "blocks of a family that a node may hold",
        },
        Key { name: "cool", kind: SECONDS, default: "0", what: "how long a freed address rests" },
        Key { name: "cooldown", kind: SECONDS, default: "", what: "the same as `cool`" },
        Key {
            name: "gw",
            kind: Kind::Text("`none`, `first`, `block`, or one address of each family"),
            default: "`none`",
            what: "the gateway of the result, never given out",
        },
        Key { name: "gateway", kind: Kind::Text("as `gw`"), default: "", what: "the same as `gw`" },
        Key {
            name: "exclude",
            kind: Kind::List(&Kind::Text("address, network, or `FIRST-LAST`")),
            default: "",
            what: "never given out",
        },
        Key {
            name: "autonomy",
            kind: SECONDS,
            default: "24 h",
            what: "for how long a node goes on without etcd; 0: for ever",
        },
    ],
};

pub(super) const ETCD_POOL: Section = Section {
    name: "etcd-pool",
    about: "The section `ipam` of a network configuration whose `ipam.type` is `etcd-pool`. Keys of ranges are \
            refused: addresses come from the pool.",
    others: Others::Ignored,
    keys: &[
        keys::plugin(&["etcd-pool"]),
        Key {
            name: "pool",
            kind: Kind::Either(&[NAME, Kind::Object(&POOL)]),
            default: "",
            what: "a pool that is there, or one that is described; required",
        },
        Key {
            name: "space",
            kind: NAME,
            default: "`default`",
            what: "the address space: pools of one never overlap",
        },
        Key {
            name: "families",
            kind: Kind::List(&Kind::Words(&["ipv4", "ipv6"])),
            default: "those of the pool",
            what: "one address of each, both or none",
        },
        keys::ETCD,
        keys::ROUTES,
        keys::RESOLV_CONF,
        keys::strategy("after the last one; the lowest; the pod's last one"),
        Key { what: "the index that the node would like to have", ..keys::INDEX },
        keys::HOSTNAME,
        Key {
            name: "flush",
            kind: Kind::Bool,
            default: "`true`",
            what: "`false`: no process of its own writes to etcd behind a call; plat-agent must",
        },
        Key {
            name: "store",
            kind: Kind::Words(&["sqlite"]),
            default: "`sqlite`",
            what: "nothing else can hold a pool's addresses",
        },
        keys::database("the node's database, one for all its pools"),
        Key {
            name: "shared",
            kind: Kind::Bool,
            default: "`false`",
            what: "`true` is refused: the store belongs to one node",
        },
        keys::LOCK_TIMEOUT,
    ],
};
