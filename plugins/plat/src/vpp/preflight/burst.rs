/*!
A fault of some releases of VPP that ends it where many pods are attached by veth.

`vlib_file_poll` of these releases looks for more descriptors for as long as it finds sixteen that are ready. An
interface on a veth pair stays ready until its packets are taken, and they are not taken meanwhile.
*/

use vpp_api::table::Component;

use super::super::running::{Running, Version};
use super::{Facts, Finding, Network};

/// The first and the last release that has it.
const RELEASES: [Version; 2] = [Version(25, 6), Version(26, 6)];
/// What would be without a configuration that says otherwise.
const DEFAULT_KIND: &str = "auto";

/// Whether a VPP of this version has the fault; `None` if the text tells no version.
fn has_fault(version: &str) -> Option<bool> {
    let [first, last] = RELEASES;
    Version::parse(version).map(|version| version >= first && version <= last)
}

pub(super) fn check(facts: &Facts<'_>, running: &Running) -> Finding {
    const CHECK: &str = "veth-burst";
    let says = &running.version;
    match has_fault(says) {
        None => return Finding::skipped(CHECK, "VPP tells no version"),
        Some(false) => return Finding::fine(CHECK, "any number of pods can be attached by veth"),
        Some(true) => {}
    }
    let lacks = |component| running.lacks.contains_key(&component);
    if lacks(Component::AfPacket) {
        return Finding::fine(CHECK, "this VPP attaches no pod by veth");
    }
    let auto_makes_taps = facts.machine.vhost_net && !lacks(Component::Tap);
    let is_veth = |kind: &str| match kind {
        DEFAULT_KIND => !auto_makes_taps,
        kind => kind == "veth",
    };
    let by_veth: Vec<&str> = facts
        .networks
        .iter()
        .filter(|network| is_veth(&network.kind))
        .map(|network| network.name.as_str())
        .collect();
    let who = match (by_veth.as_slice(), facts.networks) {
        ([], [_, ..]) => return Finding::fine(CHECK, "no network attaches pods by veth"),
        ([], []) if !is_veth(DEFAULT_KIND) => {
            return Finding::fine(CHECK, "\"kind\": \"auto\" attaches no pod by veth");
        }
        ([], []) => "\"kind\": \"auto\" attaches by veth here".to_owned(),
        ([one], _) => format!("network {one} attaches by veth"),
        (several, _) => format!("networks {} attach by veth", several.join(", ")),
    };
    let found = format!(
        "VPP {says} stops for good when sixteen veth ends have a packet at the same moment, from 16 pods on, or 15 \
         and a host link; {who}"
    );
    let advice = "at most 14 pods on this node; or \"kind\" tap or memif; or VPP 25.02 or older. \"rxMode\": \
                  \"polling\" makes it rarer only. See \"When VPP stops answering\" in docs/vpp.md";
    Finding::warning(CHECK, found, advice)
}

impl Network {
    /// One, by `kind` as it is written, if it is.
    pub(crate) fn new(name: &str, kind: Option<&str>) -> Self {
        Self { name: name.to_owned(), kind: kind.unwrap_or(DEFAULT_KIND).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_the_fault_are_known_by_what_they_say() {
        for (version, expected) in [
            ("21.06-release", Some(false)),
            ("24.10-release", Some(false)),
            ("25.02-release", Some(false)),
            ("25.02-rc2~3-g0123456", Some(false)),
            ("25.06-release", Some(true)),
            ("v25.06-rc0~112-g0123456", Some(true)),
            ("25.10-release", Some(true)),
            ("25.10.1-release", Some(true)),
            ("26.02-release", Some(true)),
            ("v26.02-release", Some(true)),
            ("26.06-rc0~7-g0123456~b5", Some(true)),
            ("26.06-release", Some(true)),
            ("26.10-rc0~1-g0123456", Some(false)),
            ("27.02-release", Some(false)),
            ("", None),
            ("unknown", None),
            ("26.", None),
        ] {
            assert_eq!(has_fault(version), expected, "{version}");
        }
    }
}
