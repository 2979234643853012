//! host-local and node-local.

use super::{ADDRESS, Key, Kind, NAME, NETWORK, Others, PATH, Section, TIME, keys};

/// What is never given out.
const EXCLUDE: Kind = Kind::OneOrList(&Kind::Text("address, network, or `FIRST-LAST`"));
/// An address, with placeholders where node-local reads it.
const WRITTEN: Kind = ADDRESS;
/// A network, likewise.
const WRITTEN_NETWORK: Kind = NETWORK;

pub(super) const ROUTE: Section = Section {
    name: "route",
    about: "A route of the result, in the list `routes`; the main plugin sets it in the pod.",
    others: Others::Ignored,
    keys: &[
        Key { name: "dst", kind: NETWORK, default: "", what: "the destination; required" },
        Key { name: "gw", kind: ADDRESS, default: "the address's gateway", what: "the next hop" },
        Key { name: "mtu", kind: Kind::Number(0, u32::MAX as u64), default: "", what: "in bytes" },
        Key {
            name: "advmss",
            kind: Kind::Number(0, u32::MAX as u64),
            default: "",
            what: "the largest TCP segment to announce, in bytes",
        },
        Key {
            name: "priority",
            kind: Kind::Number(0, u32::MAX as u64),
            default: "",
            what: "lower goes first (metric)",
        },
        Key {
            name: "table",
            kind: Kind::Number(0, u32::MAX as u64),
            default: "",
            what: "the routing table's number",
        },
        Key {
            name: "scope",
            kind: Kind::Number(0, 255),
            default: "",
            what: "as in the kernel: 0 everywhere, 253 on the link, 254 on the host",
        },
    ],
};

macro_rules! range {
    ($name:literal, $subnet:literal, $end:literal $(, $own:expr)* $(,)?) => {
        Section {
            name: $name,
            about: "A range of a range set. A set is a list of them and gives one address.",
            others: Others::Ignored,
            keys: &[
                Key {
                    name: "subnet",
                    kind: WRITTEN_NETWORK,
                    default: "",
                    what: $subnet,
                },
                Key {
                    name: "rangeStart",
                    kind: WRITTEN,
                    default: "the first after the subnet's own",
                    what: "the first that is given out",
                },
                Key { name: "rangeEnd", kind: WRITTEN, default: $end, what: "the last that is given out" },
                Key {
                    name: "gateway",
                    kind: WRITTEN,
                    default: "the first after the subnet's own",
                    what: "in the result, and never given out",
                },
                Key { name: "exclude", kind: EXCLUDE, default: "", what: "never given out" },
                $($own,)*
            ],
        }
    };
}

const RANGE: Section = range!("range", "required", "the last but the broadcast address");

const NODE_RANGE: Section = range!(
    "node-local range",
    "required, or `carve`",
    "the last before the next node's range begins",
    Key {
        name: "carve",
        kind: Kind::Object(&CARVE),
        default: "",
        what: "the node's subnet of a pool, in place of `subnet`",
    },
);

const CARVE: Section = Section {
    name: "carve",
    about: "The subnet whose number is the node's index, of a pool that is cut into equal ones.",
    others: Others::Refused,
    keys: &[
        Key { name: "pool", kind: NETWORK, default: "", what: "required" },
        Key {
            name: "prefix",
            kind: Kind::Number(1, 128),
            default: "",
            what: "the prefix length of each node's subnet; required",
        },
    ],
};

const DNS: Section = Section {
    name: "dns",
    about: "What the result says of DNS.",
    others: Others::Ignored,
    keys: &[
        Key {
            name: "nameservers",
            kind: Kind::List(&ADDRESS),
            default: "",
            what: "servers, the first one first",
        },
        Key { name: "domain", kind: NAME, default: "", what: "the local domain" },
        Key { name: "search", kind: Kind::List(&NAME), default: "", what: "domains to search" },
        Key {
            name: "options",
            kind: Kind::List(&Kind::Text("option of resolv.conf")),
            default: "",
            what: "as in resolv.conf",
        },
    ],
};

macro_rules! shared {
    ($type:literal, $store:literal, $range:expr $(, $own:expr)* $(,)?) => {
        &[
            keys::plugin(&[$type]),
            Key {
                name: "ranges",
                kind: Kind::List(&Kind::List(&Kind::Object($range))),
                default: "",
                what: "range sets: each gives one address",
            },
            Key {
                name: "subnet",
                kind: NETWORK,
                default: "",
                what: "with the next three: one range, in front of `ranges`",
            },
            Key { name: "rangeStart", kind: WRITTEN, default: "as in a range", what: "see range" },
            Key { name: "rangeEnd", kind: WRITTEN, default: "as in a range", what: "see range" },
            Key { name: "gateway", kind: WRITTEN, default: "as in a range", what: "see range" },
            Key { name: "exclude", kind: EXCLUDE, default: "", what: "never given out, of all ranges" },
            keys::ROUTES,
            keys::RESOLV_CONF,
            Key {
                name: "dataDir",
                kind: PATH,
                default: "`/var/lib/cni/networks`",
                what: "where the store `dir` lies; the network's name is a directory in it",
            },
            Key { name: "store", kind: Kind::Words(&["dir", "sqlite"]), default: $store, what:
                "the reference's files, or a database of this node and boot" },
            keys::database("the store `sqlite`: its file, on a local file system"),
            keys::strategy("after the last one; the lowest; the pod's last one (sqlite)"),
            Key {
                name: "cooldown",
                kind: TIME,
                default: "none",
                what: "how long a freed address rests (sqlite)",
            },
            Key {
                name: "smallSubnets",
                kind: Kind::Bool,
                default: "`false`",
                what: "`true`: /31, /32, /127 and /128 may be used, with all their addresses",
            },
            Key {
                name: "shared",
                kind: Kind::Bool,
                default: "whether dataDir is on a network file system",
                what: "`true`: other nodes use the dataDir, too; GC frees nothing then",
            },
            keys::LOCK_TIMEOUT,
            keys::instance(
                "none; chain fills it in",
                "tells two IPAMs of one type apart that serve one attachment (sqlite)",
            ),
            $($own,)*
        ]
    };
}

pub(super) const HOST_LOCAL: Section = Section {
    name: "host-local",
    about: "The section `ipam` of a network configuration whose `ipam.type` is `host-local`.",
    others: Others::Ignored,
    keys: shared!("host-local", "`dir`", &RANGE),
};

pub(super) const NODE_LOCAL: Section = Section {
    name: "node-local",
    about: "The section `ipam` of a network configuration whose `ipam.type` is `node-local`, and, but for what \
            says where state lies, a template in `cfgDir`. `{i}` and the other placeholders are filled in.",
    others: Others::Ignored,
    keys: shared!(
        "node-local",
        "`sqlite`",
        &NODE_RANGE,
        Key {
            name: "carve",
            kind: Kind::OneOrList(&Kind::Object(&CARVE)),
            default: "",
            what: "a range set each: the node's subnet of a pool",
        },
        Key {
            name: "cfg",
            kind: Kind::Text("plain file name"),
            default: "`default`, if there are no ranges",
            what: "the template that supplies ranges",
        },
        keys::cfg_dir("where templates and the file `index` lie"),
        Key { default: "what the other sources say", ..keys::INDEX },
        keys::HOSTNAME,
        Key {
            name: "dns",
            kind: Kind::Object(&DNS),
            default: "",
            what: "what the result says of DNS",
        },
    ),
};
