//! What the state says, compared with who lives.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ipam_core::addr::Addr;
use ipam_core::identity::Holder;
use ipam_stores::DEFAULT_DATA_DIR;
use ipam_stores::survey::{Allocation, Health, NetworkState, Place};

use super::records::problem;
use super::{Evidence, Fix, Problem, Severity, holder_text};
use crate::living::cache::{Cached, IpamSection};
use crate::living::spaces::At;
use crate::living::verdict::{Trusted, Verdict, trusted_for, verdict};
use crate::living::{Living, container_of, pod_text};

/// Whose word `plat check` takes for a death. That the runtime does not have a container means something only
/// where what other runtimes have is seen, too.
fn trusted(living: &Living) -> Trusted {
    Trusted { cri: true, silence: living.blind.is_none(), spaces: true, valid: false }
}

/// Allocations whose holder is gone, and, as hints, those of which nobody knows.
pub(super) fn leaks(evidence: &Evidence<'_>, state: &NetworkState) -> Vec<Problem> {
    let living = evidence.living;
    let trusted = trusted_for(state, living, false, trusted(living));
    let mut problems = Vec::new();
    for held in &state.allocations {
        let (severity, kind, gone, why) = match verdict(&state.network, held, living, trusted) {
            Verdict::Lives(why) => {
                problems.extend(doubtful(evidence, state, held, &why));
                continue;
            }
            Verdict::Gone(why) => (Severity::Warning, "leaked", true, why),
            // A record without sense is a fault already.
            Verdict::Unknown(_) if held.holder == Holder::Unknown => continue,
            Verdict::Unknown(why) => (Severity::Hint, "unknown", false, why),
        };
        let young = held
            .since
            .is_none_or(|since| since.saturating_add(evidence.grace.as_secs()) > evidence.now);
        let fix = match (gone, state.shared, young) {
            (false, ..) => Fix::None("ask the container runtime by --cri".to_owned()),
            (true, true, _) => Fix::None(
                "other nodes use this directory, too, and it may be theirs; `plat release` frees it"
                    .to_owned(),
            ),
            (true, false, true) => Fix::None(format!(
                "it is younger than {} s, and nothing that young is freed",
                evidence.grace.as_secs()
            )),
            (true, false, false) => Fix::Free(held.clone()),
        };
        let pod = pod_text(&living.owner_of(held.network(&state.network), held));
        let pod = pod.map_or_else(String::new, |pod| format!(", pod {pod}"));
        let what = if gone {
            format!("{}{pod} holds {} and is gone", holder_text(&held.holder), held.addr)
        } else {
            format!(
                "{}{pod} holds {}; whether it lives is not known",
                holder_text(&held.holder),
                held.addr
            )
        };
        problems.push(Problem {
            what,
            why,
            fix,
            ..problem(state, severity, kind, Some(held.addr))
        });
    }
    problems
}

/// An allocation whose own namespace is gone, but whose address somebody has.
fn doubtful(
    evidence: &Evidence<'_>,
    state: &NetworkState,
    held: &Allocation,
    why: &str,
) -> Option<Problem> {
    let living = evidence.living;
    let space = living.spaces.using(held.addr).first()?;
    let mut cached = living.cached_of(held.network(&state.network), &held.holder).peekable();
    cached.peek()?;
    let told =
        container_of(&held.holder).and_then(|id| living.cri.as_ref()?.containers.get(id.as_str()));
    let gone = cached.all(|entry| entry.at == At::Nothing) && !told.is_some_and(|seen| seen.lives);
    // Where it is known who has it, that is told as a conflict.
    let known = living.cached_in(*space).any(|entry| entry.addrs.contains(&held.addr));
    (gone && !known).then(|| Problem {
        what: format!(
            "{} holds {} and its namespace is gone, but somebody has the address",
            holder_text(&held.holder),
            held.addr
        ),
        why: why.to_owned(),
        fix: Fix::None("find out whose namespace that is; nothing in use is freed".to_owned()),
        ..problem(state, Severity::Warning, "doubtful", Some(held.addr))
    })
}

/// Addresses that are in use, by an attachment that the runtime has made, and that no store has for it.
pub(super) fn unrecorded(evidence: &Evidence<'_>) -> Vec<Problem> {
    let mut held: HashMap<(&str, Addr), Vec<&Holder>> = HashMap::new();
    for state in evidence.networks {
        for allocation in &state.allocations {
            let network = allocation.network(&state.network);
            held.entry((network, allocation.addr)).or_default().push(&allocation.holder);
        }
    }
    let databases = Databases::new(evidence);
    let mut problems = Vec::new();
    for entry in &evidence.living.cached {
        let At::Space(number) = entry.at else { continue };
        // A database that is made anew gets what it should hold by that.
        let made_anew = |path: &Path| {
            evidence.health.iter().any(|(of, health)| {
                of == path && matches!(health, Health::Lost | Health::Restored | Health::Corrupt(_))
            })
        };
        if databases.of(entry).is_some_and(|(_, path)| made_anew(&path)) {
            continue;
        }
        let configured =
            evidence.living.spaces.all.get(&number).and_then(|space| space.addrs.as_ref());
        let in_use = entry.addrs.iter().filter(|addr| {
            is_ours(entry) && configured.is_some_and(|configured| configured.contains(addr))
        });
        for addr in in_use {
            let holders = held.get(&(entry.network.as_str(), *addr)).map_or(&[][..], Vec::as_slice);
            let is_its = |holder: &&Holder| {
                holder.is(&entry.attachment) || holder.is_container_of(&entry.attachment)
            };
            if holders.iter().any(is_its) {
                continue;
            }
            let other = holders.first().copied();
            problems.push(of_entry(evidence, &databases, entry, *addr, other));
        }
    }
    problems
}

/// Whether an entry's addresses come from an IPAM plugin whose stores these are.
fn is_ours(entry: &Cached) -> bool {
    entry.ipams.iter().any(|ipam| matches!(ipam.plugin.as_str(), "host-local" | "node-local"))
}

fn of_entry(
    evidence: &Evidence<'_>,
    databases: &Databases<'_>,
    entry: &Cached,
    addr: Addr,
    other: Option<&Holder>,
) -> Problem {
    let holder = Holder::Attachment(entry.attachment.clone());
    let path = entry.path.as_deref().unwrap_or_else(|| "".as_ref()).display();
    let what = match other {
        Some(other) => format!(
            "{} uses {addr}, which is recorded for {}",
            holder_text(&holder),
            holder_text(other)
        ),
        None => format!("{} uses {addr}, and no store has a record of it", holder_text(&holder)),
    };
    let place = place_of(evidence, databases, entry);
    let fix = match (other, &place) {
        (Some(_), _) => Fix::None("delete one of the two pods".to_owned()),
        (None, None) => Fix::None("the next ADD may give it out again; delete the pod".to_owned()),
        (None, Some(_)) => Fix::Record(Allocation {
            addr,
            holder,
            set: None,
            owner: entry.owner.clone(),
            since: Some(evidence.now),
            cni_network: None,
        }),
    };
    Problem {
        severity: Severity::Broken,
        kind: if other.is_some() { "conflict" } else { "unrecorded" },
        network: Some(entry.network.clone()),
        place,
        addr: Some(addr),
        what,
        why: format!("it is configured in its namespace {path}"),
        fix,
    }
}

/// The store that an attachment's record belongs into, if that is beyond doubt.
fn place_of(evidence: &Evidence<'_>, databases: &Databases<'_>, entry: &Cached) -> Option<Place> {
    let in_database = databases.of(entry);
    let is_its = |state: &&NetworkState| {
        state.network == entry.network
            && !state.shared
            && match (&state.place, &in_database) {
                (Place::Database(path), Some((plugin, database))) => {
                    path == database
                        && state.instance.as_ref().is_some_and(|one| one.as_str() == *plugin)
                }
                (Place::Dir(_), None) => true,
                _ => false,
            }
    };
    let mut states = evidence.networks.iter().filter(is_its);
    if let Some(first) = states.next() {
        return states.next().is_none().then(|| first.place.clone());
    }
    let mut ours = entry.ipams.iter().filter(|ipam| default_store(&ipam.plugin).is_some());
    let (Some(ipam), None, None) = (ours.next(), ours.next(), in_database) else { return None };
    let data_dir = ipam.data_dir.as_deref().unwrap_or_else(|| DEFAULT_DATA_DIR.as_ref());
    Some(Place::Dir(data_dir.join(&entry.network)))
}

/// Which networks are in which database. An attachment that was made before its network was moved into one
/// has a configuration that says otherwise.
#[derive(Debug)]
pub(super) struct Databases<'a> {
    of_network: HashMap<&'a str, PathBuf>,
    default: &'a Path,
}

impl<'a> Databases<'a> {
    pub(super) fn new(evidence: &'a Evidence<'_>) -> Self {
        let default = evidence.default_database.as_path();
        let mut of_network: HashMap<&str, PathBuf> = HashMap::new();
        // One that has a directory again was moved back.
        let back = |network: &str| {
            evidence.networks.iter().any(|state| {
                state.network == network
                    && matches!(state.place, Place::Dir(_))
                    && !state.allocations.is_empty()
            })
        };
        for network in evidence.moved.iter().filter(|network| !back(network)) {
            of_network.insert(network, default.to_path_buf());
        }
        for entry in &evidence.living.cached {
            if let Some((_, path)) = entry.ipams.iter().find_map(|ipam| in_database(ipam, default))
            {
                of_network.insert(&entry.network, path);
            }
        }
        for state in evidence.networks {
            if let Place::Database(path) = &state.place {
                of_network.insert(&state.network, path.clone());
            }
        }
        Self { of_network, default }
    }

    /// The IPAM plugin and the database whose rows an attachment's addresses are, if they are any.
    pub(super) fn of<'b>(&self, entry: &'b Cached) -> Option<(&'b str, PathBuf)> {
        entry.ipams.iter().find_map(|ipam| {
            in_database(ipam, self.default).or_else(|| {
                default_store(&ipam.plugin)?;
                let path = self.of_network.get(entry.network.as_str())?;
                Some((ipam.plugin.as_str(), path.clone()))
            })
        })
    }
}

/// The database of an IPAM section, if it says so itself.
fn in_database<'b>(ipam: &'b IpamSection, default: &Path) -> Option<(&'b str, PathBuf)> {
    let store = ipam.store.as_deref().or_else(|| default_store(&ipam.plugin))?;
    let path = ipam.database.as_deref().unwrap_or(default);
    (store == "sqlite").then(|| (ipam.plugin.as_str(), path.to_path_buf()))
}

/// The store of an IPAM plugin where its configuration names none.
fn default_store(plugin: &str) -> Option<&'static str> {
    match plugin {
        "host-local" => Some("dir"),
        "node-local" | "etcd-pool" => Some("sqlite"),
        _ => None,
    }
}
