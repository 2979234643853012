//! The document of `plat status --json`.

use ipam_stores::survey::FaultKind;

use super::{NetworkReport, Pools, Report};
use crate::context::Exit;
use crate::documents::status::{Database, Fault, Network, Set, Status, Unseen};
use crate::output::{instant, scaled, whole};
use crate::shown::{about, health_word};
use crate::usage::{Next, SetUsage};

/// The document.
pub(super) fn document(report: &Report<'_>) -> Status {
    let found = report.found;
    let databases = found.databases.iter().map(|(path, health)| {
        let (detail, advice) = about(health);
        Database {
            path: path.to_string_lossy().into_owned(),
            health: health_word(health),
            detail,
            advice: advice.to_owned(),
        }
    });
    let unseen = found.unseen.iter().map(|unseen| Unseen {
        path: unseen.place.path().to_string_lossy().into_owned(),
        store: unseen.place.kind(),
        error: unseen.error.to_string(),
    });
    Status {
        status: status_word(report.exit()),
        databases: databases.collect(),
        networks: report.networks.iter().map(network).collect(),
        unseen: unseen.collect(),
        etcd: None,
    }
}

/// The same with what the node knows of etcd.
pub(super) fn with_pools(document: Status, pools: Option<&Pools>, exit: Exit) -> Status {
    match pools {
        Some(pools) => {
            Status { status: status_word(exit), etcd: Some(pools.document()), ..document }
        }
        None => document,
    }
}

/// The word for an exit status.
const fn status_word(exit: Exit) -> &'static str {
    match exit {
        Exit::Fine => "fine",
        Exit::Warning => "attention",
        Exit::Critical => "critical",
        Exit::Failed => "unknown",
    }
}

fn network(network: &NetworkReport<'_>) -> Network {
    let state = &network.shown.state;
    let faults = state.faults.iter().map(|fault| Fault {
        kind: fault_word(fault.kind),
        what: fault.what.to_string(),
        address: fault.addr.map(|addr| addr.to_string()),
    });
    let sets = network.usage.sets.iter().zip(&network.levels);
    let layout = network.shown.layout.as_ref();
    Network {
        network: state.network.clone(),
        instance: state.instance.as_ref().map(ToString::to_string),
        store: state.place.kind(),
        path: state.place.path().to_string_lossy().into_owned(),
        node_index: state.pin,
        shared: state.shared,
        status: status_word(network.level()),
        health: match network.health() {
            Exit::Fine => "ok",
            Exit::Warning => "attention",
            _ => "broken",
        },
        faults: faults.collect(),
        ranges_known: layout.is_some(),
        ranges_from: network.shown.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
        strategy: layout.map(|layout| layout.policy.strategy.as_str()),
        held: network.usage.held,
        outside: network.usage.outside,
        oldest: network.usage.oldest.map(instant),
        sets: sets.map(|(usage, level)| set(usage, *level)).collect(),
    }
}

fn set(set: &SetUsage, level: Exit) -> Set {
    let (next, wait) = match set.next {
        Next::Address(addr) => (Some(addr.to_string()), None),
        Next::After(remaining) => (None, Some(remaining.as_secs())),
        Next::Full => (None, None),
    };
    // A thousandth of a per cent is enough for every purpose and has room in every number.
    let percent =
        u32::try_from(scaled(set.used, set.size, 100_000)).map_or(100.0, f64::from) / 1000.0;
    Set {
        ranges: set.ranges.clone(),
        status: status_word(level),
        percent,
        size: whole(set.size),
        used: whole(set.used),
        free: whole(set.free),
        cooling: whole(set.cooling),
        excluded: whole(set.excluded),
        excluded_held: whole(set.misplaced),
        oldest: set.oldest.map(instant),
        next,
        next_in_seconds: wait,
    }
}

/// The word for a kind of fault.
const fn fault_word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Empty => "empty",
        FaultKind::Unreadable => "unreadable",
        FaultKind::Twice => "twice",
        FaultKind::Foreign => "foreign",
        FaultKind::Mark => "mark",
        FaultKind::Index => "index",
        FaultKind::Extents => "extents",
        _ => "other",
    }
}
