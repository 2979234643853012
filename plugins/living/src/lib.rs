/*!
Who lives on this node: evidence, each piece with its source; and what is freed that nobody lives for.

The edges ask (`cri`, `cache`, `spaces`, `valid`) and make one value, [`Living`]; what follows from it is
decided by [`verdict`], which asks nobody; [`gc`] frees. A source that could not be asked proves nothing: what is not known
is never taken for dead.
*/

pub mod cache;
pub mod cri;
pub mod encoded;
pub mod gc;
pub mod spaces;
pub mod valid;
pub mod verdict;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ipam_core::config::Owner;
use ipam_core::identity::{ContainerId, Holder};
use ipam_stores::survey::{Allocation, NetworkState, Place, Survey};

use cache::Cached;
use cri::CriSeen;
use spaces::{At, Number, Spaces};
use valid::ValidList;

/// Where libcni and its users keep the results of their calls: libcni since 0.8, libcni before, Multus.
const CACHES: [&str; 3] =
    ["/var/lib/cni/results", "/var/lib/cni/cache/results", "/var/lib/cni/multus/results"];

/// What could not be found out, or not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// One sentence.
    pub message: String,
    /// What to do, or the right form.
    pub advice: String,
}

impl Error {
    fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}

/// What is known of who lives.
#[derive(Debug, Default)]
pub struct Living {
    /// What the container runtime says, if it was asked.
    pub cri: Option<CriSeen>,
    /// The attachments that must stay, if a list was given.
    pub valid: Option<ValidList>,
    /// What runtimes have kept of the results of their ADDs.
    pub cached: Vec<Cached>,
    /// Positions in `cached`, by container ID.
    by_container: HashMap<ContainerId, Vec<usize>>,
    /// Positions in `cached`, by namespace.
    by_space: HashMap<Number, Vec<usize>>,
    /// The network namespaces.
    pub spaces: Spaces,
    /// Why a namespace that is not found may still exist, if so.
    pub blind: Option<String>,
    /// What could not be asked, a sentence each.
    pub notes: Vec<String>,
}

impl Living {
    /// Evidence as values.
    pub fn new(cached: Vec<Cached>, spaces: Spaces) -> Self {
        let mut by_container: HashMap<ContainerId, Vec<usize>> = HashMap::new();
        let mut by_space: HashMap<Number, Vec<usize>> = HashMap::new();
        for (position, entry) in cached.iter().enumerate() {
            by_container.entry(entry.attachment.container.clone()).or_default().push(position);
            if let At::Space(number) = entry.at {
                by_space.entry(number).or_default().push(position);
            }
        }
        Self { cached, by_container, by_space, spaces, ..Self::default() }
    }

    /// Asks every source; a container runtime only if its socket is given, and then it must answer. Results are
    /// looked for in `caches`, or if there is none in libcni's own places.
    ///
    /// # Errors
    /// If it does not.
    pub fn gather(survey: &Survey, cri: Option<&Path>, caches: &[PathBuf]) -> Result<Self, Error> {
        let cri = cri.map(cri::ask).transpose()?;
        let mut notes = Vec::new();
        let own = CACHES.map(PathBuf::from);
        let caches = if caches.is_empty() { &own[..] } else { caches };
        let caches: Vec<PathBuf> = caches.iter().map(|place| survey.at(place)).collect();
        let root = &survey.root;
        let cached = cache::read(root, &caches, &mut notes);
        let paths = cached.iter().filter_map(|entry| entry.path.clone());
        let spaces = spaces::look(root, paths, &mut notes);
        let blind = spaces::blind(root);
        notes.extend(blind.iter().map(|why| format!("who lives is not known for sure: {why}")));
        Ok(Self { cri, blind, notes, ..Self::new(cached, spaces) })
    }

    /// What a runtime has kept of this network and holder.
    pub fn cached_of<'a>(
        &'a self,
        network: &'a str,
        holder: &'a Holder,
    ) -> impl Iterator<Item = &'a Cached> {
        container_of(holder)
            .and_then(|id| self.by_container.get(id))
            .into_iter()
            .flatten()
            .filter_map(|position| self.cached.get(*position))
            .filter(move |entry| entry.network == network)
            .filter(move |entry| {
                holder.is(&entry.attachment) || holder.is_container_of(&entry.attachment)
            })
    }

    /// Notes which directories other nodes use, as configurations in the runtime's cache say: a file system
    /// does not tell it of each.
    pub fn mark_shared(&self, networks: &mut [NetworkState]) {
        let shared: HashSet<&str> = self
            .cached
            .iter()
            .filter(|entry| entry.ipams.iter().any(|ipam| ipam.shared))
            .map(|entry| entry.network.as_str())
            .collect();
        for state in networks.iter_mut().filter(|state| matches!(state.place, Place::Dir(_))) {
            state.shared |= shared.contains(state.network.as_str());
        }
    }

    /// What a runtime has kept of the attachments in a namespace.
    pub fn cached_in(&self, space: Number) -> impl Iterator<Item = &Cached> {
        let positions = self.by_space.get(&space).into_iter().flatten();
        positions.filter_map(|position| self.cached.get(*position))
    }

    /// The pod of an allocation, as far as anybody knows it.
    pub fn owner_of(&self, network: &str, allocation: &Allocation) -> Owner {
        if allocation.owner.name.is_some() {
            return allocation.owner.clone();
        }
        let told = container_of(&allocation.holder).and_then(|id| {
            self.cri.as_ref()?.containers.get(id.as_str()).map(|seen| seen.owner.clone())
        });
        told.or_else(|| {
            let mut cached = self.cached_of(network, &allocation.holder);
            cached.find(|entry| entry.owner.name.is_some()).map(|entry| entry.owner.clone())
        })
        .unwrap_or_default()
    }
}

/// The container that a holder names.
pub const fn container_of(holder: &Holder) -> Option<&ContainerId> {
    match holder {
        Holder::Attachment(attachment) => Some(&attachment.container),
        Holder::Container(id) => Some(id),
        Holder::Unknown => None,
    }
}

/// A pod as people write it, `namespace/name`.
pub fn pod_text(owner: &Owner) -> Option<String> {
    let name = owner.name.as_deref()?;
    Some(match owner.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}
