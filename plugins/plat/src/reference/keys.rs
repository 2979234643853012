//! Keys that several configurations have.

use super::etcd_pool::CONNECTION;
use super::ipam::ROUTE;
use super::{Key, Kind, PATH, TIME};

/// A node's index.
pub(super) const NUMBER: Kind =
    Kind::Either(&[Kind::Number(0, u32::MAX as u64), Kind::Text("number as text")]);

/// Which plugin a configuration is for.
pub(super) const fn plugin(names: &'static [&'static str]) -> Key {
    Key { name: "type", kind: Kind::Words(names), default: "", what: "which plugin; required" }
}

pub(super) const INDEX: Key = Key {
    name: "index",
    kind: NUMBER,
    default: "as node-local finds it",
    what: "which node this is",
};

pub(super) const HOSTNAME: Key = Key {
    name: "hostname",
    kind: Kind::Text("pattern with one group, such as `rack-(\\d+)-.*`"),
    default: "the only number, at the end",
    what: "where the index stands in the host name",
};

/// Where node-local's files are; `what` of them is of interest.
pub(super) const fn cfg_dir(what: &'static str) -> Key {
    Key { name: "cfgDir", kind: PATH, default: "`/etc/cni/node-local`", what }
}

/// Where to find what others say of the node's index.
pub(super) const CFG_DIR: Key = cfg_dir("where the file `index` lies");

pub(super) const ETCD: Key = Key {
    name: "etcd",
    kind: Kind::Object(&CONNECTION),
    default: "`/etc/plat/etcd.json`",
    what: "how etcd is reached",
};

pub(super) const ROUTES: Key = Key {
    name: "routes",
    kind: Kind::List(&Kind::Object(&ROUTE)),
    default: "",
    what: "copied to the result",
};

pub(super) const RESOLV_CONF: Key = Key {
    name: "resolvConf",
    kind: PATH,
    default: "",
    what: "a file of the host for the result's `dns`",
};

/// Which address is next; `what` explains the three words.
pub(super) const fn strategy(what: &'static str) -> Key {
    Key {
        name: "strategy",
        kind: Kind::Words(&["next", "lowest", "sticky"]),
        default: "`next`",
        what,
    }
}

/// The node's database; `what` says what of.
pub(super) const fn database(what: &'static str) -> Key {
    Key { name: "database", kind: PATH, default: "`/run/plat/plat.db`", what }
}

/// What tells plugins apart that serve one attachment; `default` says who fills it in.
pub(super) const fn instance(default: &'static str, what: &'static str) -> Key {
    Key { name: "instance", kind: Kind::Text("text of at most 32 bytes"), default, what }
}

pub(super) const LOCK_TIMEOUT: Key = Key {
    name: "lockTimeout",
    kind: TIME,
    default: "`30s`",
    what: "how long to wait for another call's lock",
};
