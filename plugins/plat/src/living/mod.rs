/*!
Who lives on this node: evidence, each piece with its source.

The edges ask (`cri`, `cache`, `spaces`, `valid`) and make one value, [`Living`]; what follows from it is
decided by [`verdict`], which asks nobody. A source that could not be asked proves nothing: what is not known
is never taken for dead.
*/

pub(crate) mod cache;
pub(crate) mod cri;
pub(crate) mod spaces;
pub(crate) mod valid;
pub(crate) mod verdict;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;
use ipam_core::config::Owner;
use ipam_core::identity::{ContainerId, Holder};
use ipam_stores::survey::{Allocation, NetworkState, Place};

use crate::context::{Context, Failure};

use cache::Cached;
use cri::CriSeen;
use spaces::{At, Number, Spaces};
use valid::ValidList;

/// Where libcni and its users keep the results of their calls: libcni since 0.8, libcni before, Multus.
const CACHES: [&str; 3] =
    ["/var/lib/cni/results", "/var/lib/cni/cache/results", "/var/lib/cni/multus/results"];

/// Options that say where evidence is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who lives")]
pub(crate) struct Sources {
    /// Asks the container runtime at this socket, such as /run/containerd/containerd.sock.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) cri: Option<PathBuf>,
    /// Where the runtime keeps the results of its CNI calls, instead of libcni's own places; can be given
    /// several times.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Vec<PathBuf>,
}

/// What is known of who lives.
#[derive(Debug, Default)]
pub(crate) struct Living {
    /// What the container runtime says, if it was asked.
    pub(crate) cri: Option<CriSeen>,
    /// The attachments that must stay, if a list was given.
    pub(crate) valid: Option<ValidList>,
    /// What runtimes have kept of the results of their ADDs.
    pub(crate) cached: Vec<Cached>,
    /// Positions in `cached`, by container ID.
    by_container: HashMap<ContainerId, Vec<usize>>,
    /// Positions in `cached`, by namespace.
    by_space: HashMap<Number, Vec<usize>>,
    /// The network namespaces.
    pub(crate) spaces: Spaces,
    /// Why a namespace that is not found may still exist, if so.
    pub(crate) blind: Option<String>,
    /// What could not be asked, a sentence each.
    pub(crate) notes: Vec<String>,
}

impl Living {
    /// Evidence as values.
    pub(crate) fn new(cached: Vec<Cached>, spaces: Spaces) -> Self {
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

    /// Asks every source. The container runtime must answer where it is asked.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn gather(context: &Context, sources: &Sources) -> Result<Self, Failure> {
        let cri = sources.cri.as_deref().map(cri::ask).transpose()?;
        let mut notes = Vec::new();
        let caches: Vec<PathBuf> = if sources.cache.is_empty() {
            CACHES.iter().map(|place| context.survey.at(Path::new(place))).collect()
        } else {
            let at = |dir: &PathBuf| context.survey.at(&crate::cli::absolute(dir));
            sources.cache.iter().map(at).collect()
        };
        let root = &context.survey.root;
        let cached = cache::read(root, &caches, &mut notes);
        let paths = cached.iter().filter_map(|entry| entry.path.clone());
        let spaces = spaces::look(root, paths, &mut notes);
        let blind = spaces::blind(root);
        notes.extend(blind.iter().map(|why| format!("who lives is not known for sure: {why}")));
        Ok(Self { cri, blind, notes, ..Self::new(cached, spaces) })
    }

    /// What a runtime has kept of this network and holder.
    pub(crate) fn cached_of<'a>(
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
    pub(crate) fn mark_shared(&self, networks: &mut [NetworkState]) {
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
    pub(crate) fn cached_in(&self, space: Number) -> impl Iterator<Item = &Cached> {
        let positions = self.by_space.get(&space).into_iter().flatten();
        positions.filter_map(|position| self.cached.get(*position))
    }

    /// The pod of an allocation, as far as anybody knows it.
    pub(crate) fn owner_of(&self, network: &str, allocation: &Allocation) -> Owner {
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
pub(crate) const fn container_of(holder: &Holder) -> Option<&ContainerId> {
    match holder {
        Holder::Attachment(attachment) => Some(&attachment.container),
        Holder::Container(id) => Some(id),
        Holder::Unknown => None,
    }
}

/// A pod as people write it, `namespace/name`.
pub(crate) fn pod_text(owner: &Owner) -> Option<String> {
    let name = owner.name.as_deref()?;
    Some(match owner.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}
