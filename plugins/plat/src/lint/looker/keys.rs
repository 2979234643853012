//! Keys and names that are known, and those that are nearly one of them.

use serde_json::Value;

use crate::lint::suggest::suggest;
use crate::netconf::text_of;

/// The keys of a list, by the specification.
pub(super) const LIST_KEYS: &[&str] = &[
    "cniVersion",
    "cniVersions",
    "name",
    "plugins",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
];

/// The keys that mean the same for every plugin. A plugin has more of its own, which nobody knows here.
pub(super) const COMMON_KEYS: &[&str] = &[
    "cniVersion",
    "name",
    "type",
    "ipam",
    "ipams",
    "dns",
    "args",
    "capabilities",
    "runtimeConfig",
    "prevResult",
];

/// The keys of ranges, routes and carves, for suggestions.
pub(super) const INNER_KEYS: &[&str] = &[
    "subnet",
    "rangeStart",
    "rangeEnd",
    "gateway",
    "exclude",
    "carve",
    "pool",
    "prefix",
    "dst",
    "gw",
    "mtu",
    "advmss",
    "priority",
    "table",
    "scope",
];

/// IPAM plugins whose names are not to be taken for a slip.
pub(super) const IPAM_TYPES: &[&str] =
    &["host-local", "node-local", "chain", "static", "dhcp", "whereabouts", "calico-ipam"];

pub(super) fn known(key: &str, lists: &[&[&str]]) -> bool {
    lists.iter().any(|keys| keys.iter().any(|known| known.eq_ignore_ascii_case(key)))
}

pub(super) fn meant(key: &str, known: &[&str]) -> Option<String> {
    suggest(key, known.iter().copied()).map(|meant| format!("did you mean {meant:?}?"))
}

/// An unknown key that stands where `wanted` is missing, and is nearly it.
pub(super) fn near_key(value: &Value, wanted: &str, keys: &[&str]) -> Option<String> {
    if text_of(value, wanted).is_some() {
        return None;
    }
    let mut object = value.as_object()?.keys().filter(|key| !known(key, &[keys]));
    object.find(|key| suggest(key, [wanted]).is_some()).cloned()
}
