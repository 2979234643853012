//! What an administrator lets configurations say.

use super::{Key, Kind, NETWORK, Others, PATH, Section};

const PATHS: Kind = Kind::List(&PATH);
const PATTERNS: Kind =
    Kind::List(&Kind::Text("name, or the beginning of names with `*` at its end"));
/// What a rule is that is not there.
const ALL: &str = "all are allowed";

pub(super) const POLICY: Section = Section {
    name: "policy",
    about: "The file `/etc/plat/policy.json` (or the one that `PLAT_POLICY` in the runtime's environment names): what \
            network configurations may name on this node. Without the file nothing is forbidden. An empty list allows only what \
            a configuration says by leaving the key out.",
    others: Others::Refused,
    keys: &[
        Key { name: "networks", kind: PATTERNS, default: ALL, what: "the networks' names" },
        Key {
            name: "dataDir",
            kind: PATHS,
            default: ALL,
            what: "what `ipam.dataDir` must lie at or below, after links are followed",
        },
        Key {
            name: "database",
            kind: PATHS,
            default: ALL,
            what: "what `ipam.database` must lie at or below, likewise",
        },
        Key {
            name: "resolvConf",
            kind: PATHS,
            default: ALL,
            what: "what `ipam.resolvConf` must lie at or below, likewise",
        },
        Key {
            name: "cfgDir",
            kind: PATHS,
            default: ALL,
            what: "what `cfgDir` of node-local and chain must lie at or below, likewise",
        },
        Key {
            name: "cfg",
            kind: PATTERNS,
            default: ALL,
            what: "the templates of node-local, by their names",
        },
        Key {
            name: "nodeIndex",
            kind: Kind::Bool,
            default: "`true`",
            what: "whether a configuration may have `index` or `hostname`; else the node says itself which one it is",
        },
        Key {
            name: "subnets",
            kind: Kind::List(&NETWORK),
            default: ALL,
            what: "what the subnets of all ranges, as they are on this node, and of described pools must lie within",
        },
        Key {
            name: "requestedAddresses",
            kind: Kind::Bool,
            default: "`true`",
            what: "whether addresses may be asked for: `CNI_ARGS`, `args.cni.ips`, `runtimeConfig.ips`",
        },
        Key {
            name: "pools",
            kind: Kind::List(&Kind::Text(
                "`NAME` in the space `default`, or `SPACE/NAME`; `*` at the end stands for anything",
            )),
            default: ALL,
            what: "the pools of etcd-pool",
        },
        Key {
            name: "poolDescriptions",
            kind: Kind::Bool,
            default: "`true`",
            what: "whether `pool` of etcd-pool may be a description, by which it would be made",
        },
        Key {
            name: "etcdEndpoints",
            kind: Kind::List(&Kind::Text("URL, such as `https://etcd-1.example:2379`")),
            default: ALL,
            what: "the endpoints of `ipam.etcd`; with `[]` the node's own file alone says where etcd is",
        },
        Key {
            name: "etcdFiles",
            kind: PATHS,
            default: ALL,
            what: "what `caCert`, `cert` and `key` of `ipam.etcd` must lie at or below, as above",
        },
        Key {
            name: "socket",
            kind: PATHS,
            default: ALL,
            what: "what `socket` of vpp must lie at or below, as above",
        },
        Key {
            name: "memifDirectory",
            kind: PATHS,
            default: ALL,
            what: "what `memif.directory` of vpp must lie at or below, as above",
        },
        Key {
            name: "tables",
            kind: Kind::List(&Kind::Number(0, 4_294_967_295)),
            default: ALL,
            what: "the tables of vpp",
        },
        Key {
            name: "nodeSettings",
            kind: Kind::Bool,
            default: "`true`",
            what: "whether vpp may be told `uplink`, `routes`, `peers` or `hostLink`",
        },
    ],
};
