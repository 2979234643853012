/*!
What has happened to VPP's interfaces between two looks.

VPP's events tell that something has happened, not what is so: whoever hears one asks for all interfaces. Pods come
and go all the time, and their calls see to themselves; of the others, the uplink above all, the routes depend.
*/

use std::collections::BTreeMap;

use vpp_api::msg::SwInterfaceDetails;
use vpp_api::{IfIndex, Mac};
use vpp_plugin::names::is_host_device;
use vpp_plugin::tag::Tag;

/// What matters of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its name.
    pub(super) name: String,
    /// Its tag.
    pub(super) tag: String,
    /// Its Ethernet address.
    pub(super) mac: Mac,
    /// Whether somebody has set it up.
    pub(super) up: bool,
    /// Whether it has a link.
    pub(super) link: bool,
}

/// All interfaces, by their numbers.
pub(super) type All = BTreeMap<IfIndex, Seen>;

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Something of a pod.
    pub(super) pods: bool,
    /// Everything else, a sentence each.
    pub(super) node: Vec<String>,
}

/// What VPP has.
pub(super) fn seen(interfaces: &[SwInterfaceDetails]) -> All {
    let one = |it: &SwInterfaceDetails| {
        let seen = Seen {
            name: it.interface_name.to_string(),
            tag: it.tag.to_string(),
            mac: it.l2_address,
            up: it.flags.is_up(),
            link: it.flags.has_link(),
        };
        (it.sw_if_index, seen)
    };
    interfaces.iter().map(one).collect()
}

impl Seen {
    /// Whether it is of an attachment, also before it has its tag.
    fn is_of_pod(&self) -> bool {
        let on_device = self.name.strip_prefix("host-").is_some_and(is_host_device);
        let unmarked = self.tag.is_empty() && (on_device || self.name.starts_with("memif"));
        unmarked || Tag::parse(&self.tag).is_some()
    }
}

/// What is different.
pub(super) fn changes(before: &All, now: &All) -> Changes {
    let mut changes = Changes::default();
    let mut note = |of: &Seen, text: String| {
        if of.is_of_pod() {
            changes.pods = true;
        } else {
            changes.node.push(text);
        }
    };
    for (index, was) in before {
        match now.get(index) {
            // Its number may be another's by now.
            Some(is) if is.name == was.name => {}
            _ => note(was, format!("{} is gone", was.name)),
        }
    }
    for (index, is) in now {
        let Some(was) = before.get(index).filter(|was| was.name == is.name) else {
            note(is, format!("{} is new", is.name));
            continue;
        };
        let name = &is.name;
        if was.up != is.up {
            note(is, format!("{name} was set {}", if is.up { "up" } else { "down" }));
        } else if was.link != is.link {
            note(is, format!("{name} has {} link", if is.link { "a" } else { "no" }));
        } else if was != is {
            note(is, format!("{name} was changed"));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, tag: &str) -> Seen {
        let (name, tag) = (name.to_owned(), tag.to_owned());
        Seen { name, tag, mac: Mac([0; 6]), up: true, link: true }
    }

    fn all(interfaces: &[(u32, Seen)]) -> All {
        interfaces.iter().map(|(index, seen)| (IfIndex(*index), seen.clone())).collect()
    }

    #[test]
    fn what_has_happened() {
        const POD: &str = "plat/657185fb/851192bd17070fb7";
        let uplink = seen("Ethernet0", "");
        let pod = seen("host-vpp158b2fe981a", POD);
        let fresh = seen("host-vpp158b2fe981a", "");
        let gateway = seen("loop0", "plat/gateway/0");
        let with = |change: fn(&mut Seen), of: &Seen| {
            let mut of = of.clone();
            change(&mut of);
            of
        };
        let no_link = with(|it| it.link = false, &uplink);
        let down = with(|it| (it.up, it.link) = (false, false), &uplink);
        let other_mac = with(|it| it.mac = Mac([2; 6]), &uplink);
        let pod_down = with(|it| it.up = false, &pod);
        for (before, now, pods, node) in [
            (vec![], vec![], false, vec![]),
            (vec![(1, uplink.clone())], vec![(1, uplink.clone())], false, vec![]),
            (vec![(1, uplink.clone())], vec![(1, no_link)], false, vec!["Ethernet0 has no link"]),
            (vec![(1, down)], vec![(1, uplink.clone())], false, vec!["Ethernet0 was set up"]),
            (vec![(1, uplink.clone())], vec![(1, other_mac)], false, vec!["Ethernet0 was changed"]),
            (vec![(1, uplink.clone())], vec![], false, vec!["Ethernet0 is gone"]),
            (vec![], vec![(2, fresh.clone())], true, vec![]),
            (vec![(2, fresh)], vec![(2, pod.clone())], true, vec![]),
            (vec![(2, pod.clone())], vec![(2, pod_down)], true, vec![]),
            (vec![(2, pod.clone())], vec![], true, vec![]),
            // A number that was given to another one.
            (vec![(2, pod)], vec![(2, gateway.clone())], true, vec!["loop0 is new"]),
            (
                vec![(3, gateway)],
                vec![(3, uplink)],
                false,
                vec!["loop0 is gone", "Ethernet0 is new"],
            ),
        ] {
            let changes = changes(&all(&before), &all(&now));
            assert_eq!(
                (changes.pods, changes.node),
                (pods, node.iter().map(ToString::to_string).collect())
            );
        }
    }
}
