//! vpp.

use super::{Key, Kind, Others, PATH, Section, TIME, keys};

const SOCKET: &str = "`/run/vpp/api.sock`";
const TABLE: Kind = Kind::Number(0, u32::MAX as u64 - 1);
/// An MTU of an interface of VPP's.
const MTU: Kind = Kind::Number(576, 65_535);
/// Addresses with a prefix length.
const ADDRESSES: Kind =
    Kind::OneOrList(&Kind::Text("address with prefix length, placeholders filled in"));

const TAP: Section = Section {
    name: "tap",
    about: "Options of taps.",
    others: Others::Passed,
    keys: &[
        Key {
            name: "gso",
            kind: Kind::Bool,
            default: "`false`",
            what: "pods may send segments larger than the MTU",
        },
        Key { name: "queues", kind: Kind::Number(1, 64), default: "1", what: "in each direction" },
        Key {
            name: "ring",
            kind: Kind::Number(0, 32_768),
            default: "VPP's, 256",
            what: "entries of a queue: a power of two from 64 on",
        },
    ],
};

const MEMIF: Section = Section {
    name: "memif",
    about: "Options of memifs.",
    others: Others::Passed,
    keys: &[
        Key {
            name: "directory",
            kind: PATH,
            default: "`/run/plat/memif`",
            what: "below it each attachment has a directory with its socket",
        },
        Key {
            name: "role",
            kind: Kind::Words(&["server", "client", "master", "slave"]),
            default: "`server`",
            what: "whether VPP listens on the socket, or connects",
        },
        Key {
            name: "mode",
            kind: Kind::Words(&["ethernet", "ip"]),
            default: "`ethernet`",
            what: "what is carried",
        },
        Key {
            name: "ring",
            kind: Kind::Number(0, 16_384),
            default: "VPP's, 1024",
            what: "entries: a power of two from 64 on",
        },
        Key { name: "queues", kind: Kind::Number(1, 64), default: "1", what: "in each direction" },
    ],
};

const UPLINK: Section = Section {
    name: "uplink",
    about: "VPP's interface to other nodes, named by exactly one of the first four.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "pci",
            kind: Kind::Text("PCI address, such as `0000:00:04.0`"),
            default: "",
            what: "its device",
        },
        Key {
            name: "name",
            kind: Kind::Text("text of at most 63 bytes"),
            default: "",
            what: "VPP's name for it",
        },
        Key {
            name: "tag",
            kind: Kind::Text("text of at most 63 bytes"),
            default: "",
            what: "the tag in VPP's startup configuration",
        },
        Key {
            name: "mac",
            kind: Kind::Text("Ethernet address"),
            default: "",
            what: "its Ethernet address",
        },
        Key { name: "address", kind: ADDRESSES, default: "none", what: "the node's addresses" },
        Key {
            name: "mtu",
            kind: MTU,
            default: "VPP's own, at most 1500 for pods",
            what: "in bytes",
        },
        Key {
            name: "gateway",
            kind: Kind::OneOrList(&Kind::Text("address, placeholders filled in")),
            default: "none",
            what: "the next hop for everything else, one of each family at most",
        },
    ],
};

const ROUTE: Section = Section {
    name: "vpp route",
    about: "A route of VPP's, or a rule for several under `peers`.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "dst",
            kind: Kind::Text("network, placeholders filled in"),
            default: "",
            what: "the destination",
        },
        Key {
            name: "gw",
            kind: Kind::Text("address, placeholders filled in"),
            default: "",
            what: "the next hop",
        },
        Key {
            name: "peers",
            kind: Kind::OneOrList(&Kind::Object(&PEERS)),
            default: "",
            what: "in place of both",
        },
    ],
};

const PEERS: Section = Section {
    name: "peers",
    about: "A route to each other node, computed; the own one is left out. `{peer}` and its formulas stand for the \
            other node's number.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "nodes",
            kind: Kind::Text("numbers and ranges, such as `1-64` or `1-3,7`"),
            default: "",
            what: "required",
        },
        Key {
            name: "subnet",
            kind: Kind::Text("network, such as `10.1.{peer}.0/24`"),
            default: "",
            what: "that node's pods; required",
        },
        Key {
            name: "via",
            kind: Kind::Text("address, such as `192.168.16.{peer}`"),
            default: "",
            what: "its address on the uplink; required",
        },
    ],
};

const HOST_LINK: Section = Section {
    name: "hostLink",
    about: "A link between VPP and the host, so that the host reaches pods and pods the host.",
    others: Others::Refused,
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Words(&["veth", "tap"]),
            default: "`veth`",
            what: "what it is made of",
        },
        Key { name: "vpp", kind: ADDRESSES, default: "", what: "VPP's end; required" },
        Key {
            name: "host",
            kind: ADDRESSES,
            default: "",
            what: "the host's end, in the same subnet; required",
        },
        Key {
            name: "routes",
            kind: Kind::OneOrList(&Kind::Text("network, placeholders filled in")),
            default: "the pods' subnets of `peers`",
            what: "what the host reaches through VPP",
        },
        Key {
            name: "hostAddresses",
            kind: Kind::OneOrList(&Kind::Text("address, placeholders filled in")),
            default: "none",
            what: "further addresses of the host that pods reach through the link",
        },
        Key {
            name: "name",
            kind: Kind::Text("device name"),
            default: "`vpp-h<table>`",
            what: "what the host's end is called",
        },
        Key {
            name: "vppName",
            kind: Kind::Text("device name"),
            default: "`vpp-v<table>`",
            what: "what VPP's end is called on the host",
        },
        Key { name: "mtu", kind: MTU, default: "the uplink's", what: "in bytes" },
    ],
};

pub(super) const VPP: Section = Section {
    name: "vpp",
    about: "A network configuration whose `type` is `vpp`.",
    others: Others::Passed,
    keys: &[
        keys::plugin(&["vpp"]),
        Key {
            name: "ipam",
            kind: Kind::Any,
            default: "",
            what: "the IPAM's section; required for ADD",
        },
        Key {
            name: "kind",
            kind: Kind::Words(&["auto", "tap", "veth", "memif"]),
            default: "`auto`",
            what: "how pods are attached",
        },
        Key {
            name: "rxMode",
            kind: Kind::Words(&["polling", "interrupt", "adaptive"]),
            default: "VPP's own: veth by interrupt, tap by polling",
            what: "how VPP looks for what pods send; `adaptive` with kind `tap` only, none with `memif`",
        },
        Key { name: "socket", kind: PATH, default: SOCKET, what: "VPP's API socket" },
        Key {
            name: "mtu",
            kind: Kind::Number(0, 65_535),
            default: "the uplink's, else 1500",
            what: "of the pod's interface, in bytes, from 68 on; 0 is as without",
        },
        Key { name: "table", kind: TABLE, default: "0", what: "VPP's table (VRF), both families" },
        Key {
            name: "defaultRoute",
            kind: Kind::Bool,
            default: "where the IPAM names no route of the family and the pod has none",
            what: "whether pods get a default route",
        },
        Key {
            name: "timeout",
            kind: TIME,
            default: "`30s`",
            what: "for a whole call, the IPAM included; 1s to 10m",
        },
        Key { name: "tap", kind: Kind::Object(&TAP), default: "", what: "options of taps" },
        Key { name: "memif", kind: Kind::Object(&MEMIF), default: "", what: "options of memifs" },
        Key {
            name: "uplink",
            kind: Kind::Object(&UPLINK),
            default: "none",
            what: "VPP's interface to other nodes",
        },
        Key {
            name: "routes",
            kind: Kind::Either(&[Kind::List(&Kind::Object(&ROUTE)), Kind::Object(&RULES)]),
            default: "none",
            what: "VPP's routes",
        },
        Key {
            name: "peers",
            kind: Kind::OneOrList(&Kind::Object(&PEERS)),
            default: "none",
            what: "routes to the other nodes, computed",
        },
        Key {
            name: "hostLink",
            kind: Kind::Object(&HOST_LINK),
            default: "none",
            what: "a link between VPP and the host",
        },
    ],
};

const RULES: Section = Section {
    name: "rules",
    about: "Routes as rules alone.",
    others: Others::Refused,
    keys: &[Key {
        name: "peers",
        kind: Kind::OneOrList(&Kind::Object(&PEERS)),
        default: "none",
        what: "routes to the other nodes, computed",
    }],
};
