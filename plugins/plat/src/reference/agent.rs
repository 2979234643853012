//! plat-agent.

use super::etcd_pool::CONNECTION;

use super::{ADDRESS, Key, Kind, NAME, NETWORK, Others, PATH, Section, TIME, keys};

const UPLINK: Section = Section {
    name: "agent uplink",
    about: "This node's addresses for other nodes.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "addresses",
            kind: Kind::OneOrList(&Kind::Text("address, such as `192.168.16.{i}`")),
            default: "those of the interface",
            what: "placeholders are filled in; a prefix length does not matter",
        },
        Key {
            name: "interface",
            kind: Kind::Text("device name"),
            default: "",
            what: "the interface to other nodes",
        },
    ],
};

const SOURCE: Section = Section {
    name: "source",
    about: "A source of routes. Which other keys there are depends on `type`.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "type",
            kind: Kind::Words(&["pool", "calico", "peers", "file"]),
            default: "",
            what: "required",
        },
        Key {
            name: "spaces",
            kind: Kind::List(&NAME),
            default: "the key `space`",
            what: "pool: the address spaces whose blocks are routed to",
        },
        Key {
            name: "etcd",
            kind: Kind::Object(&CONNECTION),
            default: "the key `etcd`",
            what: "calico: how its etcd is reached",
        },
        Key {
            name: "prefix",
            kind: Kind::Text("text"),
            default: "`/calico`",
            what: "calico: where it keeps everything",
        },
        Key {
            name: "nodes",
            kind: Kind::Either(&[
                Kind::Text("numbers and ranges, such as `1-64`"),
                Kind::Named(&Kind::OneOrList(&ADDRESS)),
            ]),
            default: "",
            what: "peers: the other nodes' numbers. calico: addresses of nodes by their names",
        },
        Key {
            name: "borrowed",
            kind: Kind::Bool,
            default: "`true`",
            what: "calico: routes to addresses that are used outside their block's node",
        },
        Key {
            name: "subnet",
            kind: Kind::Text("network, such as `10.1.{peer}.0/24`"),
            default: "",
            what: "peers: a node's pods",
        },
        Key {
            name: "via",
            kind: Kind::Text("address, such as `192.168.16.{peer}`"),
            default: "",
            what: "peers: a node's address",
        },
        Key { name: "path", kind: PATH, default: "", what: "file: a JSON document with routes" },
    ],
};

const SINK: Section = Section {
    name: "sink",
    about: "A place where routes are set. Which other keys there are depends on `type`.",
    others: Others::Refused,
    keys: &[
        Key { name: "type", kind: Kind::Words(&["kernel", "vpp"]), default: "", what: "required" },
        Key {
            name: "protocol",
            kind: Kind::Number(5, 255),
            default: "205",
            what: "kernel: what tells the agent's routes from others'",
        },
        Key {
            name: "table",
            kind: Kind::Number(0, u32::MAX as u64),
            default: "254, the main one; VPP: 0",
            what: "the routing table",
        },
        Key {
            name: "metric",
            kind: Kind::Number(0, u32::MAX as u64),
            default: "the kernel's choice",
            what: "kernel: of the routes",
        },
        Key {
            name: "interface",
            kind: Kind::Text("device name"),
            default: "",
            what: "kernel: where next hops are that are in no network of this node's",
        },
        Key {
            name: "onlink",
            kind: Kind::Bool,
            default: "where it is needed",
            what: "kernel: `true`: all next hops are on that interface; `false`: none",
        },
        Key {
            name: "forwarding",
            kind: Kind::Bool,
            default: "`false`: it is told",
            what: "kernel: `true`: IP forwarding is switched on where it is off",
        },
        Key {
            name: "forwardAccept",
            kind: Kind::Bool,
            default: "`false`: it is told",
            what: "kernel: `true`: chains that drop get rules that accept what comes from this node's pods or goes to \
                   them",
        },
        Key {
            name: "masquerade",
            kind: Kind::Either(&[Kind::Bool, Kind::Object(&MASQUERADE)]),
            default: "`false`",
            what: "kernel: what this node's pods send out of the cluster gets this node's address",
        },
        Key {
            name: "socket",
            kind: PATH,
            default: "`/run/vpp/api.sock`",
            what: "vpp: its API socket",
        },
    ],
};

const MASQUERADE: Section = Section {
    name: "masquerade",
    about: "What of this node's pods is masqueraded.",
    others: Others::Refused,
    keys: &[Key {
        name: "except",
        kind: Kind::List(&NETWORK),
        default: "none",
        what: "networks besides those of pods and nodes that see the pods' own addresses",
    }],
};

const GC: Section = Section {
    name: "gc",
    about: "How what no pod lives for any more is freed.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "runtime",
            kind: Kind::Text("socket, such as `unix:///run/containerd/containerd.sock`"),
            default: "",
            what: "required: the container runtime that knows who lives",
        },
        Key {
            name: "interval",
            kind: TIME,
            default: "only when it is asked for",
            what: "how often; 1s to 24h",
        },
        Key { name: "grace", kind: TIME, default: "`5m`", what: "what is younger stays" },
    ],
};

const VPP: Section = Section {
    name: "agent vpp",
    about: "A VPP whose pods are put back after a restart.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "socket",
            kind: PATH,
            default: "those of the sinks, else `/run/vpp/api.sock`",
            what: "its API socket",
        },
        Key {
            name: "replay",
            kind: Kind::Bool,
            default: "`true`",
            what: "`false`: pods are not put back, whatever the sinks are",
        },
    ],
};

const ROUTES: Section = Section {
    name: "agent routes",
    about: "Where routes come from and where they go.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "sources",
            kind: Kind::List(&Kind::Object(&SOURCE)),
            default: "none",
            what: "the first one counts where two contradict each other",
        },
        Key {
            name: "sinks",
            kind: Kind::List(&Kind::Object(&SINK)),
            default: "none",
            what: "each gets all routes",
        },
        Key {
            name: "resync",
            kind: TIME,
            default: "`30s`",
            what: "how often everything is looked at without a reason; 1s to 1h",
        },
    ],
};

pub(super) const AGENT: Section = Section {
    name: "plat-agent",
    about: "The file `/etc/plat/agent.json`, the same on every node.",
    others: Others::Refused,
    keys: &[
        keys::ETCD,
        Key {
            name: "space",
            kind: NAME,
            default: "`default`",
            what: "the address space of the node's pools",
        },
        Key {
            name: "register",
            kind: Kind::Bool,
            default: "whether there is `etcd`, or a source `pool`",
            what: "whether the node is registered, and its pools are seen to",
        },
        keys::INDEX,
        keys::HOSTNAME,
        keys::CFG_DIR,
        Key {
            name: "node",
            kind: NAME,
            default: "the host name",
            what: "the node's name; Calico's names are compared with it",
        },
        Key {
            name: "subnets",
            kind: Kind::OneOrList(&NETWORK),
            default: "none",
            what: "this node's pods that are in no pool, placeholders filled in; registered for the others",
        },
        Key {
            name: "uplink",
            kind: Kind::Object(&UPLINK),
            default: "the addresses that etcd is spoken to with",
            what: "this node's addresses for others",
        },
        Key {
            name: "routes",
            kind: Kind::Object(&ROUTES),
            default: "none",
            what: "where routes come from and where they go",
        },
        Key {
            name: "listen",
            kind: Kind::Text("loopback address with port, such as `127.0.0.1:9434`"),
            default: "on a Unix socket only",
            what: "where metrics, status and health are told",
        },
        Key {
            name: "log",
            kind: Kind::Words(&["error", "warn", "info", "debug"]),
            default: "`info`",
            what: "how much is logged",
        },
        Key {
            name: "gc",
            kind: Kind::Object(&GC),
            default: "nothing is freed",
            what: "frees what no pod lives for any more",
        },
        Key {
            name: "vpp",
            kind: Kind::Object(&VPP),
            default: "those of the sinks",
            what: "a VPP whose pods are put back after a restart; `{}` is enough",
        },
    ],
};
