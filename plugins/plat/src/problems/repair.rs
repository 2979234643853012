//! Does what fixes say, store by store.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_stores::StoreError;
use ipam_stores::survey::{Allocation, Fault, NetworkState, Place, Survey};

use super::{Fix, Problem};

/// What became of a fix.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// What was to be repaired has changed meanwhile; nothing was done.
    Changed,
    /// It failed, and why.
    Failed(String),
    /// There was nothing that the program could do.
    None,
}

/// Repairs problems and tells what became of each, in their order.
pub(crate) fn all(
    survey: &Survey,
    networks: &[NetworkState],
    problems: &[Problem],
    lock_timeout: Duration,
    done_one: &mut dyn FnMut(usize),
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = problems.iter().map(|_| Outcome::None).collect();
    let mut set = |position: usize, outcome: Outcome| {
        if let Some(place) = outcomes.get_mut(position) {
            *place = outcome;
        }
    };
    let mut by_network: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut others = Vec::new();
    for (position, problem) in problems.iter().enumerate() {
        let state = networks.iter().position(|state| {
            Some(&state.place) == problem.place.as_ref()
                && Some(&state.network) == problem.network.as_ref()
                && has(state, problem)
        });
        match (&problem.fix, state) {
            (Fix::Remove(_) | Fix::Free(_), Some(state)) => {
                by_network.entry(state).or_default().push(position);
            }
            _ => others.push((position, problem, state.and_then(|state| networks.get(state)))),
        }
    }
    for (state, positions) in by_network {
        let Some(state) = networks.get(state) else { continue };
        for (position, outcome) in in_network(survey, state, problems, &positions, lock_timeout) {
            set(position, outcome);
        }
        done_one(positions.len());
    }
    for (position, problem, state) in others {
        match &problem.fix {
            Fix::Record(allocation) => {
                set(position, record(survey, problem, state, allocation, lock_timeout));
                done_one(1);
            }
            Fix::Forget(network, data_dir) => {
                survey.forget_place(network, data_dir);
                set(position, Outcome::Done);
                done_one(1);
            }
            Fix::Rebuild(path, networks) => {
                let rebuilt = survey.rebuild(path, networks, lock_timeout);
                set(position, rebuilt.map_or_else(failed, |_| Outcome::Done));
                done_one(1);
            }
            Fix::None(_) | Fix::Remove(_) | Fix::Free(_) => {}
        }
    }
    outcomes
}

/// Whether a problem is about this state, of several instances in one place.
fn has(state: &NetworkState, problem: &Problem) -> bool {
    match &problem.fix {
        Fix::Free(allocation) => state.allocations.contains(allocation),
        _ => true,
    }
}

fn in_network(
    survey: &Survey,
    state: &NetworkState,
    problems: &[Problem],
    positions: &[usize],
    lock_timeout: Duration,
) -> Vec<(usize, Outcome)> {
    let fixes =
        || positions.iter().filter_map(|position| Some((*position, &problems.get(*position)?.fix)));
    let mut outcomes = Vec::new();
    let faults: Vec<Fault> = fixes()
        .filter_map(|(_, fix)| match fix {
            Fix::Remove(fault) => Some(fault.clone()),
            _ => None,
        })
        .collect();
    let stale: Vec<Allocation> = fixes()
        .filter_map(|(_, fix)| match fix {
            Fix::Free(allocation) => Some(allocation.clone()),
            _ => None,
        })
        .collect();
    // Any call puts empty reservations away: what was broken is looked at first.
    let repaired = if faults.is_empty() {
        Ok(Vec::new())
    } else {
        survey.repair(state, &faults, lock_timeout)
    };
    let freed: Result<HashSet<Addr>, StoreError> = if stale.is_empty() {
        Ok(HashSet::new())
    } else {
        survey.free(state, &stale, lock_timeout).map(HashSet::from_iter)
    };
    let changed = |done: bool| if done { Outcome::Done } else { Outcome::Changed };
    for (position, fix) in fixes() {
        let outcome = match fix {
            Fix::Free(allocation) => match &freed {
                Ok(freed) => changed(freed.contains(&allocation.addr)),
                Err(error) => failed(error),
            },
            Fix::Remove(fault) => match &repaired {
                Ok(repaired) => changed(repaired.contains(fault)),
                Err(error) => failed(error),
            },
            _ => continue,
        };
        outcomes.push((position, outcome));
    }
    outcomes
}

fn record(
    survey: &Survey,
    problem: &Problem,
    state: Option<&NetworkState>,
    allocation: &Allocation,
    lock_timeout: Duration,
) -> Outcome {
    let (Some(place), Some(network)) = (&problem.place, &problem.network) else {
        return Outcome::None;
    };
    let new = NetworkState {
        network: network.clone(),
        instance: state.and_then(|state| state.instance.clone()),
        place: place.clone(),
        layout: None,
        marks: BTreeMap::new(),
        pin: None,
        allocations: vec![allocation.clone()],
        cooling: Vec::new(),
        shared: false,
        faults: Vec::new(),
    };
    let written = match place {
        Place::Dir(path) => {
            let data_dir = path.parent().unwrap_or(Path::new("/"));
            survey.write_dir(&without_root(survey, data_dir), &new, lock_timeout)
        }
        Place::Database(path) => {
            survey.write_database(&without_root(survey, path), &[new], lock_timeout)
        }
    };
    match written {
        Ok(0) => Outcome::Changed,
        Ok(_) => Outcome::Done,
        Err(error) => failed(error),
    }
}

fn failed(error: impl std::borrow::Borrow<StoreError>) -> Outcome {
    Outcome::Failed(error.borrow().to_string())
}

/// A path as the plugins call it.
pub(crate) fn without_root(survey: &Survey, path: &Path) -> PathBuf {
    path.strip_prefix(&survey.root)
        .map_or_else(|_| path.to_path_buf(), |below| Path::new("/").join(below))
}
