//! What is wrong with the state by itself: records, marks, addresses and their ranges.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipam_core::addr::Addr;
use ipam_core::identity::Holder;
use ipam_core::layout::Layout;
use ipam_stores::survey::{Allocation, Fault, FaultKind, NetworkState};

use super::{Evidence, Fix, Problem, Severity, holder_text};

/// The problems of one network's state.
pub(super) fn of_one(state: &NetworkState, layout: Option<&Layout>) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        state.faults.iter().map(|fault| of_fault(state, fault)).collect();
    if let Some(layout) = layout {
        problems.extend(outside(state, layout));
        problems.extend(stray_marks(state, layout));
        problems.extend(two_of_a_set(state, layout));
    }
    problems
}

/// A problem of a network's state.
pub(super) fn problem(
    state: &NetworkState,
    severity: Severity,
    kind: &'static str,
    addr: Option<Addr>,
) -> Problem {
    Problem {
        severity,
        kind,
        network: Some(state.network.clone()),
        place: Some(state.place.clone()),
        addr,
        what: String::new(),
        why: String::new(),
        fix: Fix::None(String::new()),
    }
}

fn of_fault(state: &NetworkState, fault: &Fault) -> Problem {
    let (severity, kind, what, why) = match fault.kind {
        FaultKind::Empty => (
            Severity::Warning,
            "empty",
            format!("{} is empty", fault.what),
            "the rest of a crash; the reference takes its address for taken for ever",
        ),
        FaultKind::Unreadable => (
            Severity::Broken,
            "unreadable",
            format!("{} names nobody that can be understood", fault.what),
            "its address stays taken, and no DEL will free it",
        ),
        FaultKind::Twice => (
            Severity::Broken,
            "twice",
            format!("{} is a second record of its address", fault.what),
            "another spelling, or another directory; two may believe that it is theirs",
        ),
        FaultKind::Foreign => (
            Severity::Hint,
            "foreign",
            format!("{} is none of a store's files", fault.what),
            "nobody knows it; a crash leaves temporary files, everything else is of another hand",
        ),
        FaultKind::Mark => (
            Severity::Warning,
            "mark",
            format!("{} has no sense", fault.what),
            "the search for a free address starts at the beginning",
        ),
        FaultKind::Index => (
            Severity::Broken,
            "index",
            format!("{} does not say what the files say", fault.what),
            "a DEL may find nothing; the index is made anew when it is gone",
        ),
        _ => (
            Severity::Broken,
            "extents",
            format!("{}: allocations and free space do not add up", fault.what),
            "an address may be lost or given out twice",
        ),
    };
    let temporary = fault.kind == FaultKind::Foreign && fault.what.starts_with(".plat.tmp");
    let removable = match fault.kind {
        FaultKind::Empty => !state.shared,
        FaultKind::Mark => fault.what != "node-index",
        FaultKind::Index | FaultKind::Extents => true,
        FaultKind::Foreign => temporary,
        _ => false,
    };
    let fix = if removable {
        Fix::Remove(fault.clone())
    } else {
        Fix::None(match fault.kind {
            FaultKind::Empty => {
                "another node may be writing it at this moment; remove it by hand".to_owned()
            }
            FaultKind::Foreign => "look whose it is; it is in nobody's way".to_owned(),
            FaultKind::Mark => "the next ADD of node-local writes it anew".to_owned(),
            FaultKind::Twice => format!(
                "find out who uses the address, then remove {} or the other file by hand",
                fault.what
            ),
            _ => match fault.addr {
                Some(addr) => {
                    format!("find out who uses {addr}, then `plat release {addr} --force`")
                }
                None => String::new(),
            },
        })
    };
    Problem { what, why: why.to_owned(), fix, ..problem(state, severity, kind, fault.addr) }
}

/// Addresses that the ranges do not have, or that are a gateway.
fn outside<'a>(
    state: &'a NetworkState,
    layout: &'a Layout,
) -> impl Iterator<Item = Problem> + use<'a> {
    let broken: HashSet<Addr> = state.faults.iter().filter_map(|fault| fault.addr).collect();
    let gateways: HashSet<Addr> = layout
        .sets
        .iter()
        .flat_map(|set| set.ranges().iter().filter_map(ipam_core::range::Range::gateway))
        .collect();
    let held = state.allocations.iter().filter(move |held| !broken.contains(&held.addr));
    held.filter_map(move |held| {
        let holder = holder_text(&held.holder);
        if gateways.contains(&held.addr) {
            return Some(Problem {
                what: format!("{holder} holds {}, which is a gateway", held.addr),
                why: "its pod and the gateway answer for one address".to_owned(),
                fix: Fix::None("delete the pod, or name another gateway".to_owned()),
                ..problem(state, Severity::Warning, "gateway", Some(held.addr))
            });
        }
        layout.set_of(held.addr).is_none().then(|| Problem {
            what: format!("{holder} holds {}, which is outside of the ranges", held.addr),
            why: "the ranges were changed, or somebody else writes here; its DEL frees it"
                .to_owned(),
            fix: Fix::None("nothing needs to be done while its pod lives".to_owned()),
            ..problem(state, Severity::Warning, "outside", Some(held.addr))
        })
    })
}

/// Marks of sets that there are not, or outside of their set.
fn stray_marks<'a>(
    state: &'a NetworkState,
    layout: &'a Layout,
) -> impl Iterator<Item = Problem> + use<'a> {
    state.marks.iter().filter_map(move |(position, addr)| {
        let set = layout.sets.get(*position);
        let what = match set {
            None => format!("the mark {addr} is of range set {position}, which there is not"),
            Some(set) if set.range_of(*addr).is_none() => {
                format!("the mark {addr} of range set {position} is outside of it")
            }
            Some(_) => return None,
        };
        let fault = Fault {
            kind: FaultKind::Mark,
            what: format!("last_reserved_ip.{position}"),
            addr: Some(*addr),
        };
        let fix = match state.place {
            ipam_stores::survey::Place::Dir(_) => Fix::Remove(fault),
            ipam_stores::survey::Place::Database(_) => {
                Fix::None("the next ADD writes it anew".to_owned())
            }
        };
        let why = "the search for a free address starts at the beginning".to_owned();
        Some(Problem {
            what,
            why,
            fix,
            ..problem(state, Severity::Hint, "mark-outside", Some(*addr))
        })
    })
}

/// Attachments with several addresses of one set.
fn two_of_a_set<'a>(
    state: &'a NetworkState,
    layout: &'a Layout,
) -> impl Iterator<Item = Problem> + use<'a> {
    let mut held: BTreeMap<(&Holder, usize), BTreeSet<Addr>> = BTreeMap::new();
    for allocation in &state.allocations {
        let set = allocation.set.or_else(|| layout.set_of(allocation.addr));
        if let (Some(set), Holder::Attachment(_)) = (set, &allocation.holder) {
            held.entry((&allocation.holder, set)).or_default().insert(allocation.addr);
        }
    }
    held.into_iter().filter(|(_, addrs)| addrs.len() > 1).map(|((holder, set), addrs)| {
        let list: Vec<String> = addrs.iter().take(4).map(Addr::to_string).collect();
        Problem {
            what: format!(
                "{} holds {} addresses of range set {set}: {}",
                holder_text(holder),
                addrs.len(),
                list.join(", ")
            ),
            why: "an attachment has one of each set; the others are lost until its DEL".to_owned(),
            fix: Fix::None(
                "free those that its namespace does not have by `plat release`".to_owned(),
            ),
            ..problem(state, Severity::Warning, "surplus", addrs.first().copied())
        }
    })
}

/// Addresses that several stores of one network have.
pub(super) fn of_all(networks: &[NetworkState]) -> Vec<Problem> {
    let mut by_network: BTreeMap<&str, Vec<&NetworkState>> = BTreeMap::new();
    for state in networks {
        by_network.entry(&state.network).or_default().push(state);
    }
    let mut problems = Vec::new();
    for states in by_network.values().filter(|states| states.len() > 1) {
        let mut first: HashMap<Addr, (&NetworkState, &Allocation)> = HashMap::new();
        for state in states {
            for held in &state.allocations {
                let Some((other, before)) = first.get(&held.addr) else {
                    first.insert(held.addr, (state, held));
                    continue;
                };
                if std::ptr::eq(*other, *state) {
                    continue;
                }
                let place = other.place.path().display();
                let (severity, kind, what) = if before.holder == held.holder {
                    let holder = holder_text(&held.holder);
                    let what = format!("{holder} holds {} here and in {place}", held.addr);
                    (Severity::Warning, "copied", what)
                } else {
                    let what = format!(
                        "{} holds {}, and {} holds it in {place}",
                        holder_text(&held.holder),
                        held.addr,
                        holder_text(&before.holder)
                    );
                    (Severity::Broken, "duplicate", what)
                };
                problems.push(Problem {
                    what,
                    why: "a network has one store; a DEL frees an address in one of them"
                        .to_owned(),
                    fix: Fix::None(format!(
                        "find out which one is right, then `plat release {}` in the other",
                        held.addr
                    )),
                    ..problem(state, severity, kind, Some(held.addr))
                });
            }
        }
    }
    problems
}

/// State that no configuration is about, and configurations' places that are gone.
pub(super) fn without_network(evidence: &Evidence<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for (network, data_dir) in evidence.vanished {
        problems.push(Problem {
            severity: Severity::Hint,
            kind: "vanished",
            network: Some(network.as_str().to_owned()),
            place: None,
            addr: None,
            what: format!("{} is remembered and gone", data_dir.join(network.as_str()).display()),
            why: "every DEL without configuration looks there".to_owned(),
            fix: Fix::Forget(network.clone(), data_dir.clone()),
        });
    }
    if evidence.configured.is_empty() {
        return problems;
    }
    let configured: HashSet<&str> =
        evidence.configured.iter().map(|section| section.network.as_str()).collect();
    let states = evidence.networks.iter();
    for state in states.filter(|state| !configured.contains(state.network.as_str())) {
        problems.push(Problem {
            what: format!(
                "no configuration has this network; it holds {} addresses",
                state.allocations.len()
            ),
            why: "it was renamed or removed, or its configuration lies elsewhere, as Multus' do"
                .to_owned(),
            fix: Fix::None(format!(
                "if nobody uses it any more, remove it from {}",
                state.place.path().display()
            )),
            ..problem(state, Severity::Hint, "unconfigured", None)
        });
    }
    problems
}
