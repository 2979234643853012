//! chain.

use super::{Key, Kind, Others, Section, keys};

/// Sections of other plugins.
const SECTIONS: Kind = Kind::List(&Kind::Any);
const IPAMS: Key = Key {
    name: "ipams",
    kind: SECTIONS,
    default: "",
    what: "from 1 to 16 ipam sections, each as it would stand alone",
};
const POLICY: Key = Key {
    name: "policy",
    kind: Kind::Words(&["all", "first"]),
    default: "`all`",
    what: "each contributes, or the next one only when one is full or away",
};

pub(super) const IPAM: Section = Section {
    name: "chain",
    about: "The section `ipam` of a network configuration whose `ipam.type` is `chain`.",
    others: Others::Ignored,
    keys: &[
        keys::plugin(&["chain"]),
        IPAMS,
        POLICY,
        Key { name: "ipam", kind: SECTIONS, default: "", what: "the same as `ipams`" },
        keys::instance(
            "none; an outer chain fills it in",
            "tells two chains apart that serve one attachment",
        ),
    ],
};

pub(super) const TOP: Section = Section {
    name: "chain-network",
    about: "A network configuration whose `type` is `chain`: IPAMs and a main plugin, with the node's placeholders \
            filled in. The runtime's keys (`cniVersion`, `name`, `runtimeConfig`, `args`, `prevResult`, \
            `capabilities` and others) are passed on.",
    others: Others::Ignored,
    keys: &[
        keys::plugin(&["chain"]),
        Key {
            name: "main",
            kind: Kind::Any,
            default: "",
            what: "the main plugin's configuration, with its `type`; required",
        },
        IPAMS,
        POLICY,
        Key {
            name: "ipam",
            kind: Kind::Any,
            default: "",
            what: "in place of `ipams`: one ipam section",
        },
        keys::INDEX,
        keys::HOSTNAME,
        keys::CFG_DIR,
    ],
};
