//! What the health of a database means, and what it is made anew from.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use ipam_core::addr::Addr;
use ipam_core::config::{Owner, StoreKind};
use ipam_core::identity::{Holder, Instance, Network};
use ipam_stores::survey::{Allocation, Health, NetworkState, Place};

use super::living::Databases;
use super::{Evidence, Fix, Problem, Severity};
use crate::living::cache::Cached;
use crate::living::verdict::{Trusted, Verdict, verdict};

/// The plugin whose rows are filed under pools.
const POOLS: &str = "etcd-pool";

/// The problems of the databases.
pub(super) fn of(evidence: &Evidence<'_>) -> Vec<Problem> {
    evidence.health.iter().filter_map(|(path, health)| of_one(evidence, path, health)).collect()
}

fn of_one(evidence: &Evidence<'_>, path: &Path, health: &Health) -> Option<Problem> {
    let rebuild = || Fix::Rebuild(path.to_path_buf(), content(evidence, path));
    let (kind, what, why, fix) = match health {
        Health::Fine | Health::Absent | Health::FormerBoot => return None,
        Health::Lost => (
            "lost",
            "there was a database in this boot, and it is gone".to_owned(),
            "every ADD is refused, so that no address of a living pod is given out again",
            rebuild(),
        ),
        Health::Restored => (
            "restored",
            "it is another file than the one that was written in this boot".to_owned(),
            "a copy was put back, and does not know what happened since; every ADD is refused",
            rebuild(),
        ),
        Health::Corrupt(why) => {
            ("corrupt", format!("it cannot be used: {why}"), "every ADD is refused", rebuild())
        }
        Health::Newer(schema, known) => (
            "newer",
            format!("it has schema {schema}, and {known} is the newest one that is known here"),
            "a later version has written it",
            Fix::None("use that version, here and for the plugins".to_owned()),
        ),
        Health::Foreign => (
            "foreign-database",
            "it is a database of another program".to_owned(),
            "nothing is written into it",
            Fix::None("name another file by `database`".to_owned()),
        ),
        _ => ("unknown-health", format!("{health:?}"), "", Fix::None(String::new())),
    };
    Some(Problem {
        severity: Severity::Broken,
        kind,
        network: None,
        place: Some(Place::Database(path.to_path_buf())),
        addr: None,
        what,
        why: why.to_owned(),
        fix,
    })
}

/// What a database should hold: what is left of it, what the runtime's cache says that was kept there, and what
/// living namespaces have; without what is known to be gone, and what a directory has.
fn content(evidence: &Evidence<'_>, path: &Path) -> Vec<NetworkState> {
    let in_directories: HashSet<(&str, Addr)> = evidence
        .networks
        .iter()
        .filter(|state| matches!(state.place, Place::Dir(_)))
        .flat_map(|state| state.allocations.iter().map(|held| (state.network.as_str(), held.addr)))
        .collect();
    let trusted = Trusted { spaces: evidence.living.blind.is_none(), ..Trusted::default() };
    let databases = Databases::new(evidence);
    let mut networks: BTreeMap<(String, Instance), BTreeMap<Addr, Allocation>> = BTreeMap::new();
    // A copy that was put back is old, but what it says and nobody contradicts may still be so.
    for state in evidence.networks.iter().filter(|state| state.place.path() == path) {
        let Some(instance) = &state.instance else { continue };
        let held = networks.entry((state.network.clone(), instance.clone())).or_default();
        for allocation in &state.allocations {
            let gone = verdict(&state.network, allocation, evidence.living, trusted);
            if !matches!(gone, Verdict::Gone(_)) {
                held.insert(allocation.addr, allocation.clone());
            }
        }
    }
    for entry in &evidence.living.cached {
        let Some((plugin, _)) = databases.of(entry).filter(|(_, its)| its == path) else {
            continue;
        };
        let Ok(instance) = Instance::new(plugin) else { continue };
        // Rows of pools are filed under the pool, and name the CNI network.
        let pool = entry.ipams.iter().find(|ipam| ipam.plugin == plugin);
        let pool = pool.filter(|ipam| ipam.plugin == POOLS).and_then(|ipam| ipam.pool.clone());
        let cni_network = pool.as_ref().and_then(|_| Network::new(entry.network.as_str()).ok());
        let network = pool.unwrap_or_else(|| entry.network.clone());
        for addr in &entry.addrs {
            let allocation = Allocation {
                addr: *addr,
                holder: Holder::Attachment(entry.attachment.clone()),
                set: None,
                owner: entry.owner.clone(),
                since: Some(evidence.now),
                cni_network: cni_network.clone(),
            };
            let gone = verdict(&entry.network, &allocation, evidence.living, trusted);
            let elsewhere = in_directories.contains(&(entry.network.as_str(), *addr));
            if elsewhere || matches!(gone, Verdict::Gone(_)) {
                continue;
            }
            let held = networks.entry((network.clone(), instance.clone())).or_default();
            // Of two that claim one address, the one whose namespace has it.
            let known = held.get(addr).map(|known| &known.holder);
            if known.is_none()
                || known != Some(&allocation.holder) && is_in_use(evidence, entry, *addr)
            {
                held.insert(*addr, allocation);
            }
        }
    }
    for (key, addr) in in_use(evidence, path) {
        let elsewhere = in_directories.contains(&(key.0.as_str(), addr));
        let held = networks.entry(key).or_default();
        if !elsewhere && !held.contains_key(&addr) {
            let (holder, since) = (Holder::Unknown, Some(evidence.now));
            let allocation = Allocation {
                addr,
                holder,
                set: None,
                owner: Owner::default(),
                since,
                cni_network: None,
            };
            held.insert(addr, allocation);
        }
    }
    networks
        .into_iter()
        .filter(|(_, held)| !held.is_empty())
        .map(|((network, instance), held)| {
            let place = Place::Database(path.to_path_buf());
            let copy = evidence.networks.iter().find(|state| {
                state.place == place
                    && state.network == network
                    && state.instance.as_ref() == Some(&instance)
            });
            NetworkState {
                network,
                instance: Some(instance),
                layout: copy.and_then(|state| state.layout.clone()),
                marks: copy.map(|state| state.marks.clone()).unwrap_or_default(),
                pin: copy.and_then(|state| state.pin),
                allocations: held.into_values().collect(),
                ..NetworkState::empty(place)
            }
        })
        .collect()
}

/// Addresses of configured networks of this database that a living namespace has. Whoever has them, nobody
/// else may get them: those that the runtime's cache does not explain are recorded as somebody's.
fn in_use(evidence: &Evidence<'_>, path: &Path) -> Vec<((String, Instance), Addr)> {
    let mut found = Vec::new();
    for configured in evidence.configured {
        let database = configured.database.as_deref().unwrap_or(&evidence.default_database);
        let Ok(instance) = Instance::new(configured.plugin.as_str()) else { continue };
        if configured.store != StoreKind::Sqlite || database != path {
            continue;
        }
        let addrs = evidence.living.spaces.all.values().filter_map(|space| space.addrs.as_ref());
        for addr in addrs.flatten().filter(|addr| configured.layout.set_of(**addr).is_some()) {
            found.push(((configured.network.clone(), instance.clone()), *addr));
        }
    }
    found
}

fn is_in_use(evidence: &Evidence<'_>, entry: &Cached, addr: Addr) -> bool {
    let spaces = &evidence.living.spaces;
    spaces.using(addr).iter().any(|number| entry.at == crate::living::spaces::At::Space(*number))
}
