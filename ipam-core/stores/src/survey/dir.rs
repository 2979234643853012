//! The part of a survey that looks into directories of the reference's format.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::Network;

use super::{Allocation, Fault, NetworkState, Place, Survey, Unseen};
use crate::dir::DirStore;
use crate::dir::seen::{Seen, see};
use crate::{StateDirs, StoreError};

/// Every network directory of a dataDir. Names that begin with a dot are no networks: directories that were
/// set aside have such names.
pub(super) fn networks(
    survey: &Survey,
    data_dir: &Path,
    networks: &mut Vec<NetworkState>,
    unseen: &mut Vec<Unseen>,
) {
    let data_dir = survey.at(data_dir);
    let mut failed = |path: PathBuf, call: &'static str, source: io::Error| {
        let error = StoreError::Io { call, path: path.clone(), source };
        unseen.push(Unseen { place: Place::Dir(path), error });
    };
    let entries = match fs::read_dir(&data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return failed(data_dir, "open", error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => {
                let hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
                // A network's directory may be a link to another disk.
                if !hidden && entry.path().is_dir() {
                    paths.push(entry.path());
                }
            }
            Err(error) => return failed(data_dir, "readdir", error),
        }
    }
    paths.sort_unstable();
    for path in paths {
        match see(&path, &survey.at(&survey.state.volatile)) {
            Ok(Some(seen)) => networks.push(state(path, seen)),
            Ok(None) => {}
            Err(error) => unseen.push(Unseen { place: Place::Dir(path), error }),
        }
    }
}

fn state(path: PathBuf, seen: Seen) -> NetworkState {
    let network =
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let layout = seen.layout;
    let allocations = seen
        .records
        .into_iter()
        .map(|record| Allocation {
            addr: record.addr,
            set: layout.as_ref().and_then(|layout| layout.set_of(record.addr)),
            holder: record.holder,
            owner: Owner::default(),
            since: Some(record.since),
            cni_network: None,
        })
        .collect();
    NetworkState {
        network,
        instance: None,
        place: Place::Dir(path),
        layout,
        marks: seen.marks,
        pin: seen.pin,
        allocations,
        cooling: Vec::new(),
        shared: seen.shared,
        faults: seen.faults,
    }
}

/// One network directory, whatever its dataDir; `None` if there is none.
pub(super) fn one(survey: &Survey, path: &Path) -> Result<Option<NetworkState>, StoreError> {
    let seen = see(path, &survey.at(&survey.state.volatile))?;
    Ok(seen.map(|seen| state(path.to_path_buf(), seen)))
}

/// The store of a network directory, root applied.
fn store(survey: &Survey, path: &Path, lock_timeout: Duration) -> Result<DirStore, StoreError> {
    let invalid = || StoreError::Io {
        call: "open",
        path: path.to_path_buf(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "its name is no network's"),
    };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(invalid)?;
    let network = Network::new(name).map_err(|_| invalid())?;
    let data_dir = path.parent().ok_or_else(invalid)?.to_path_buf();
    let known_as = match data_dir.strip_prefix(&survey.root) {
        Ok(below) => Path::new("/").join(below),
        Err(_) => data_dir.clone(),
    };
    let state = StateDirs {
        durable: survey.at(&survey.state.durable),
        volatile: survey.at(&survey.state.volatile),
    };
    Ok(DirStore::known_as(data_dir, &known_as, network, lock_timeout, state))
}

/// The store of a directory that was seen; one that is said to be shared is treated so, wherever it lies.
fn seen_store(
    survey: &Survey,
    network: &NetworkState,
    lock_timeout: Duration,
) -> Result<DirStore, StoreError> {
    let store = store(survey, network.place.path(), lock_timeout)?;
    Ok(if network.shared { store.shared() } else { store })
}

/// Frees what is still as it was seen.
pub(super) fn free(
    survey: &Survey,
    network: &NetworkState,
    allocations: &[Allocation],
    lock_timeout: Duration,
) -> Result<Vec<Addr>, StoreError> {
    seen_store(survey, network, lock_timeout)?.release_seen(allocations)
}

/// Puts away what is broken, where that loses nothing.
pub(super) fn repair(
    survey: &Survey,
    network: &NetworkState,
    faults: &[Fault],
    lock_timeout: Duration,
) -> Result<Vec<Fault>, StoreError> {
    seen_store(survey, network, lock_timeout)?.repair(faults)
}

/// Adds what a network holds to its directory.
pub(super) fn write(
    survey: &Survey,
    data_dir: &Path,
    network: &NetworkState,
    lock_timeout: Duration,
) -> Result<usize, StoreError> {
    let path = survey.at(data_dir).join(&network.network);
    store(survey, &path, lock_timeout)?.fill(network)
}

/// Sets a network directory aside once it has been taken over, and tells where it is now.
pub(super) fn take_over<E: From<StoreError>>(
    survey: &Survey,
    path: &Path,
    aside: &str,
    lock_timeout: Duration,
    copy: impl FnOnce(NetworkState) -> Result<(), E>,
) -> Result<Option<PathBuf>, E> {
    let mut store = store(survey, path, lock_timeout)?;
    let moved = store.set_aside(aside, || match one(survey, path)? {
        Some(state) => copy(state),
        None => Ok(()),
    })?;
    Ok(moved.then(|| path.with_file_name(aside)))
}

pub(super) fn set_pin(
    survey: &Survey,
    path: &Path,
    index: u32,
    lock_timeout: Duration,
) -> Result<(), StoreError> {
    crate::dir::set_pin(&survey.at(path), index, lock_timeout)
}

#[cfg(test)]
mod tests;
