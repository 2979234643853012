/*!
Whether what holds an address still lives: evidence in, a verdict out.

Any sign of life counts, from whatever source. Death is believed of those sources only that were asked
for it, and of them only where they are complete. Everything else is not known, and nothing is done about
what is not known.
*/

use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_stores::survey::{Allocation, NetworkState};

use crate::spaces::{At, Number};
use crate::{Living, container_of, pod_text};

/// What became of a holder, and by what evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It lives, or something has its address.
    Lives(String),
    /// It is gone.
    Gone(String),
    /// Nobody knows.
    Unknown(String),
}

/// Whose word is taken for a death.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The container runtime's: that a container is dead.
    pub cri: bool,
    /// The container runtime's silence: that it does not have a container at all. Another runtime may.
    pub silence: bool,
    /// That of the namespaces: that one which the runtime wrote down is gone.
    pub spaces: bool,
    /// The list's: that somebody is not in it.
    pub valid: bool,
}

/// Which sources speak for a network: those that know one of its attachments at least, or all where the
/// operator has named it.
pub fn trusted_for(state: &NetworkState, living: &Living, named: bool, asked: Trusted) -> Trusted {
    let knows = |knows: &dyn Fn(&Allocation) -> bool| named || state.allocations.iter().any(knows);
    let listed = living.valid.as_ref().is_some_and(|list| match &list.network {
        // A configuration speaks for its own network and for no other.
        Some(network) => {
            *network == state.network
                || state.allocations.iter().any(|held| held.network("") == network)
        }
        None => knows(&|allocation| {
            container_of(&allocation.holder).is_some() && list.has(&allocation.holder)
        }),
    });
    let served = living.cri.as_ref().is_some_and(|cri| {
        knows(&|allocation| {
            container_of(&allocation.holder)
                .is_some_and(|id| cri.containers.contains_key(id.as_str()))
        })
    });
    Trusted {
        cri: asked.cri && served,
        silence: asked.silence && served,
        spaces: asked.spaces && living.blind.is_none(),
        valid: asked.valid && listed,
    }
}

/// The verdict on an allocation.
pub fn verdict(
    network: &str,
    allocation: &Allocation,
    living: &Living,
    trusted: Trusted,
) -> Verdict {
    let network = allocation.network(network);
    let container = container_of(&allocation.holder);
    let told = container.and_then(|id| living.cri.as_ref()?.containers.get(id.as_str()));
    let pod = told.and_then(|seen| pod_text(&seen.owner));
    if told.is_some_and(|seen| seen.lives) {
        return Verdict::Lives(match &pod {
            Some(pod) => format!("the container runtime has it, pod {pod}"),
            None => "the container runtime has it".to_owned(),
        });
    }
    if container.is_some() && living.valid.as_ref().is_some_and(|list| list.has(&allocation.holder))
    {
        return Verdict::Lives("it is in the list".to_owned());
    }
    if let Some(space) = user_of(network, allocation.addr, living) {
        return Verdict::Lives(format!("{} has the address", living.spaces.name(space)));
    }
    if container.is_none() {
        return Verdict::Unknown("its record names nobody".to_owned());
    }

    let mut gone = None;
    let mut unclear = None;
    for entry in living.cached_of(network, &allocation.holder) {
        let path = entry.path.as_deref().unwrap_or_else(|| "".as_ref()).display();
        match entry.at {
            At::Space(number) => {
                // A dead pod's namespace may stay for a while; without the address it is in nobody's way.
                let empty = living.spaces.all.get(&number).and_then(|space| space.addrs.as_ref());
                if !(trusted.cri && empty.is_some()) {
                    return Verdict::Lives(format!("its namespace {path} exists"));
                }
            }
            At::Nothing => gone = Some(format!("its namespace {path} is gone")),
            At::Unclear => unclear = Some(format!("what is at {path} is not clear")),
            At::Untold => unclear = Some("the runtime's cache does not name its namespace".into()),
        }
    }
    // Of what several networks share, a list speaks for its own part.
    let speaks = allocation.cni_network.is_none()
        || living.valid.as_ref().is_some_and(|list| list.network.as_deref() == Some(network));
    if trusted.valid && speaks {
        return Verdict::Gone("it is not in the list".to_owned());
    }
    match (told, pod) {
        (Some(_), Some(pod)) if trusted.cri => {
            return Verdict::Gone(format!("pod {pod} is dead, says the container runtime"));
        }
        (Some(_), None) if trusted.cri => {
            return Verdict::Gone("it is dead, says the container runtime".to_owned());
        }
        (None, _) if trusted.silence => {
            return Verdict::Gone("the container runtime does not have it".to_owned());
        }
        _ => {}
    }
    match (gone, unclear) {
        (_, Some(unclear)) => Verdict::Unknown(unclear),
        (Some(gone), None) if trusted.spaces => Verdict::Gone(gone),
        (Some(gone), None) => Verdict::Unknown(match &living.blind {
            Some(blind) => format!("{gone}, but {blind}"),
            None => gone,
        }),
        (None, None) => {
            Verdict::Unknown("no runtime has kept a result of it, and none was asked".to_owned())
        }
    }
}

/// A namespace in which the address is configured, but for those that have it from another network.
fn user_of(network: &str, addr: Addr, living: &Living) -> Option<Number> {
    living.spaces.using(addr).iter().copied().find(|space| {
        let mut told = living.cached_in(*space).filter(|entry| entry.addrs.contains(&addr));
        let mut elsewhere = false;
        let here = told.any(|entry| {
            elsewhere = true;
            entry.network == network
        });
        here || !elsewhere
    })
}

/// What is done about an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is freed, and why.
    Free(String),
    /// It stays, and why.
    Keep(String),
}

/// What is done about an allocation: freed if its holder is gone, it is older than `grace`, and no other
/// node uses its place. `now` is in seconds since 1970.
pub fn fate(
    state: &NetworkState,
    allocation: &Allocation,
    living: &Living,
    trusted: Trusted,
    now: u64,
    grace: Duration,
) -> Fate {
    let gone = match verdict(&state.network, allocation, living, trusted) {
        Verdict::Gone(why) => why,
        Verdict::Lives(why) | Verdict::Unknown(why) => return Fate::Keep(why),
    };
    if state.shared {
        return Fate::Keep(format!("{gone}, but other nodes use this directory, too"));
    }
    let Some(since) = allocation.since else {
        return Fate::Keep(format!("{gone}, but since when it is held is not known"));
    };
    if since.saturating_add(grace.as_secs()) > now {
        let age = now.saturating_sub(since);
        return Fate::Keep(format!("{gone}, but it is {age} s old, too young to be sure"));
    }
    Fate::Free(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cached;
    use crate::cri::{CriContainer, CriSeen};
    use crate::spaces::{Space, Spaces};
    use crate::valid::ValidList;
    use ipam_core::config::Owner;
    use ipam_core::identity::{Attachment, ContainerId, Holder, IfName};
    use ipam_stores::survey::Place;
    use std::collections::BTreeMap;

    fn attachment(id: &str) -> Attachment {
        Attachment {
            container: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    fn allocation(id: &str, addr: &str) -> Allocation {
        Allocation {
            addr: Addr::parse(addr).unwrap(),
            holder: Holder::Attachment(attachment(id)),
            set: None,
            owner: Owner::default(),
            since: Some(1000),
            cni_network: None,
        }
    }

    fn state(allocations: Vec<Allocation>) -> NetworkState {
        NetworkState {
            network: "n".to_owned(),
            instance: None,
            place: Place::Dir("/d/n".into()),
            layout: None,
            marks: BTreeMap::new(),
            pin: None,
            allocations,
            cooling: Vec::new(),
            shared: false,
            faults: Vec::new(),
        }
    }

    fn cached(network: &str, id: &str, addr: &str, at: At) -> Cached {
        Cached {
            network: network.to_owned(),
            attachment: attachment(id),
            path: Some("/run/netns/x".into()),
            at,
            addrs: vec![Addr::parse(addr).unwrap()],
            owner: Owner::default(),
            ipams: Vec::new(),
        }
    }

    fn spaces(all: &[(Number, Option<&str>)]) -> Spaces {
        Spaces::new(
            all.iter()
                .map(|(number, addr)| {
                    let addrs = addr.map(|addr| Addr::parse(addr).into_iter().collect());
                    let addrs = addrs.or(Some(Default::default()));
                    (*number, Space { name: format!("space {number}"), addrs })
                })
                .collect(),
        )
    }

    const ALL: Trusted = Trusted { cri: true, silence: true, spaces: true, valid: true };
    const SPACES: Trusted = Trusted { cri: false, silence: false, spaces: true, valid: false };
    const CRI: Trusted = Trusted { cri: true, silence: true, spaces: false, valid: false };

    fn cri(living: Living, containers: &[(&str, bool)]) -> Living {
        let containers = containers
            .iter()
            .map(|(id, lives)| {
                ((*id).to_owned(), CriContainer { lives: *lives, owner: Owner::default() })
            })
            .collect();
        Living { cri: Some(CriSeen { containers }), ..living }
    }

    /// `L`, `G` or `U`: lives, gone, unknown.
    fn judge(living: &Living, trusted: Trusted) -> char {
        match verdict("n", &allocation("c", "10.0.0.5"), living, trusted) {
            Verdict::Lives(_) => 'L',
            Verdict::Gone(_) => 'G',
            Verdict::Unknown(_) => 'U',
        }
    }

    #[test]
    fn only_complete_evidence_says_gone() {
        let none = || spaces(&[]);
        let entry = |at| cached("n", "c", "10.0.0.5", at);
        for (what, living, trusted, expected) in [
            ("nothing is known", Living::new(vec![], none()), SPACES, 'U'),
            ("its path is gone", Living::new(vec![entry(At::Nothing)], none()), SPACES, 'G'),
            (
                "its path is gone, and nobody asked for that",
                Living::new(vec![entry(At::Nothing)], none()),
                Trusted::default(),
                'U',
            ),
            ("its namespace is there", Living::new(vec![entry(At::Space(7))], none()), SPACES, 'L'),
            ("its path is unclear", Living::new(vec![entry(At::Unclear)], none()), SPACES, 'U'),
            (
                "one of two paths is unclear",
                Living::new(vec![entry(At::Nothing), entry(At::Unclear)], none()),
                SPACES,
                'U',
            ),
            (
                "one of two is there",
                Living::new(vec![entry(At::Nothing), entry(At::Space(7))], none()),
                SPACES,
                'L',
            ),
            (
                "another network's path is gone",
                Living::new(vec![cached("m", "c", "10.0.0.5", At::Nothing)], none()),
                SPACES,
                'U',
            ),
            (
                "its path is gone, and a namespace has the address",
                Living::new(vec![entry(At::Nothing)], spaces(&[(7, Some("10.0.0.5"))])),
                ALL,
                'L',
            ),
            (
                "a namespace has the address from another network",
                Living::new(
                    vec![entry(At::Nothing), cached("m", "d", "10.0.0.5", At::Space(7))],
                    spaces(&[(7, Some("10.0.0.5"))]),
                ),
                SPACES,
                'G',
            ),
            (
                "a namespace of this network has the address",
                Living::new(
                    vec![entry(At::Nothing), cached("n", "d", "10.0.0.5", At::Space(7))],
                    spaces(&[(7, Some("10.0.0.5"))]),
                ),
                SPACES,
                'L',
            ),
            (
                "the runtime has it, whatever its path",
                cri(Living::new(vec![entry(At::Nothing)], none()), &[("c", true)]),
                ALL,
                'L',
            ),
            (
                "the runtime knows it dead",
                cri(Living::new(vec![], none()), &[("c", false)]),
                CRI,
                'G',
            ),
            ("the runtime has it not", cri(Living::new(vec![], none()), &[("d", true)]), CRI, 'G'),
            (
                "the runtime has it not, and others may",
                cri(Living::new(vec![], none()), &[("d", true)]),
                Trusted { silence: false, ..CRI },
                'U',
            ),
            (
                "dead, but its namespace cannot be read",
                cri(Living::new(vec![entry(At::Space(7))], none()), &[("c", false)]),
                CRI,
                'L',
            ),
            (
                "dead, and its namespace has no address any more",
                cri(Living::new(vec![entry(At::Space(7))], spaces(&[(7, None)])), &[("c", false)]),
                CRI,
                'G',
            ),
            (
                "in the list",
                Living {
                    valid: Some(ValidList::parse("c eth0").unwrap()),
                    ..Living::new(vec![entry(At::Nothing)], none())
                },
                ALL,
                'L',
            ),
            (
                "not in the list",
                Living {
                    valid: Some(ValidList::parse("c eth1").unwrap()),
                    ..Living::new(vec![], none())
                },
                ALL,
                'G',
            ),
        ] {
            assert_eq!(judge(&living, trusted), expected, "{what}");
        }
    }

    #[test]
    fn a_source_speaks_for_the_networks_that_it_knows() {
        let state = state(vec![allocation("c", "10.0.0.5"), allocation("d", "10.0.0.6")]);
        let knows = cri(Living::default(), &[("d", false)]);
        let other = cri(Living::default(), &[("x", true)]);
        assert!(trusted_for(&state, &knows, false, ALL).cri);
        assert!(!trusted_for(&state, &other, false, ALL).cri);
        assert!(trusted_for(&state, &other, true, ALL).cri);
        assert!(!trusted_for(&state, &Living::default(), true, ALL).cri);
        let list = |text: &str| Living {
            valid: Some(ValidList::parse(text).unwrap()),
            ..Living::default()
        };
        assert!(trusted_for(&state, &list("d"), false, ALL).valid);
        assert!(!trusted_for(&state, &list("[]"), false, ALL).valid);
        assert!(trusted_for(&state, &list("[]"), true, ALL).valid);
        let of =
            |name: &str| list(&format!(r#"{{"name":"{name}","cni.dev/valid-attachments":[]}}"#));
        assert!(trusted_for(&state, &of("n"), false, ALL).valid);
        assert!(!trusted_for(&state, &of("m"), true, ALL).valid);
        let blind = Living { blind: Some("why".to_owned()), ..Living::default() };
        assert!(!trusted_for(&state, &blind, true, ALL).spaces);
    }

    #[test]
    fn what_is_young_or_shared_stays() {
        let living = cri(Living::default(), &[("x", true)]);
        let grace = Duration::from_secs(300);
        let of = |state: &NetworkState, since: Option<u64>, now: u64| {
            let allocation = Allocation { since, ..allocation("c", "10.0.0.5") };
            matches!(fate(state, &allocation, &living, CRI, now, grace), Fate::Free(_))
        };
        let own = state(vec![]);
        assert!(of(&own, Some(1000), 1300));
        assert!(!of(&own, Some(1000), 1299));
        assert!(!of(&own, Some(1000), 0), "a clock that was set back proves nothing");
        assert!(!of(&own, None, u64::MAX));
        assert!(!of(&NetworkState { shared: true, ..state(vec![]) }, Some(1000), 9999));
    }
}
