//! chain.

use super::ipam::{INDEX, PATTERN, PATTERN_WHAT};
use super::{Key, Kind, Others, PATH, Section};

/// Sections of other plugins.
const SECTIONS: Kind = Kind::List(&Kind::Any);
const SECTIONS_WHAT: &str = "from 1 to 16 ipam sections, each as it would stand alone";
const POLICY: Kind = Kind::Words(&["all", "first"]);
const POLICY_WHAT: &str = "each contributes, or the next one only when one is full or away";

pub(super) const IPAM: Section = Section {
    name: "chain",
    about: "The section `ipam` of a network configuration whose `ipam.type` is `chain`.",
    others: Others::Ignored,
    keys: &[
        Key {
            name: "type",
            kind: Kind::Words(&["chain"]),
            default: "",
            what: "which plugin; required",
        },
        Key { name: "ipams", kind: SECTIONS, default: "", what: SECTIONS_WHAT },
        Key { name: "policy", kind: POLICY, default: "`all`", what: POLICY_WHAT },
        Key { name: "ipam", kind: SECTIONS, default: "", what: "the same as `ipams`" },
        Key {
            name: "instance",
            kind: Kind::Text("text of at most 32 bytes"),
            default: "none; an outer chain fills it in",
            what: "tells two chains apart that serve one attachment",
        },
    ],
};

pub(super) const TOP: Section = Section {
    name: "chain-network",
    about: "A network configuration whose `type` is `chain`: IPAMs and a main plugin, with the node's placeholders \
            filled in. The runtime's keys (`cniVersion`, `name`, `runtimeConfig`, `args`, `prevResult`, \
            `capabilities` and others) are passed on.",
    others: Others::Ignored,
    keys: &[
        Key {
            name: "type",
            kind: Kind::Words(&["chain"]),
            default: "",
            what: "which plugin; required",
        },
        Key {
            name: "main",
            kind: Kind::Any,
            default: "",
            what: "the main plugin's configuration, with its `type`; required",
        },
        Key { name: "ipams", kind: SECTIONS, default: "", what: SECTIONS_WHAT },
        Key { name: "policy", kind: POLICY, default: "`all`", what: POLICY_WHAT },
        Key {
            name: "ipam",
            kind: Kind::Any,
            default: "",
            what: "in place of `ipams`: one ipam section",
        },
        Key {
            name: "index",
            kind: INDEX,
            default: "as node-local finds it",
            what: "which node this is",
        },
        Key {
            name: "hostname",
            kind: PATTERN,
            default: "the only number, at the end",
            what: PATTERN_WHAT,
        },
        Key {
            name: "cfgDir",
            kind: PATH,
            default: "`/etc/cni/node-local`",
            what: "where the file `index` lies",
        },
    ],
};
