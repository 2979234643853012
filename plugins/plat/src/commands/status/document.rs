//! The document of `plat status --json`.

use ipam_stores::survey::FaultKind;
use serde_json::{Value, json};

use super::{NetworkReport, Pools, Report};
use crate::context::Exit;
use crate::output::{instant, scaled, whole};
use crate::shown::{about, health_word};
use crate::usage::{Next, SetUsage};

/// The document; its fields are described in docs/plat.md.
pub(super) fn document(report: &Report<'_>) -> Value {
    let databases: Vec<Value> = report
        .found
        .databases
        .iter()
        .map(|(path, health)| {
            let (what, advice) = about(health);
            json!({
                "path": path.to_string_lossy(),
                "health": health_word(health),
                "detail": what,
                "advice": advice,
            })
        })
        .collect();
    let unseen: Vec<Value> = report
        .found
        .unseen
        .iter()
        .map(|unseen| {
            json!({
                "path": unseen.place.path().to_string_lossy(),
                "store": unseen.place.kind(),
                "error": unseen.error.to_string(),
            })
        })
        .collect();
    json!({
        "status": status_word(report.exit()),
        "databases": databases,
        "networks": report.networks.iter().map(network).collect::<Vec<Value>>(),
        "unseen": unseen,
    })
}

/// The same with what the node knows of etcd.
pub(super) fn with_pools(mut document: Value, pools: Option<&Pools>, exit: Exit) -> Value {
    if let (Some(object), Some(pools)) = (document.as_object_mut(), pools) {
        object.insert("status".to_owned(), status_word(exit).into());
        object.insert("etcd".to_owned(), pools.document());
    }
    document
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

fn network(network: &NetworkReport<'_>) -> Value {
    let state = &network.shown.state;
    let faults: Vec<Value> = state
        .faults
        .iter()
        .map(|fault| {
            json!({
                "kind": fault_word(fault.kind),
                "what": fault.what,
                "address": fault.addr.map(|addr| addr.to_string()),
            })
        })
        .collect();
    let sets: Vec<Value> = network
        .usage
        .sets
        .iter()
        .zip(&network.levels)
        .map(|(usage, level)| set(usage, *level))
        .collect();
    json!({
        "network": state.network,
        "instance": state.instance.as_ref().map(|instance| instance.as_str()),
        "store": state.place.kind(),
        "path": state.place.path().to_string_lossy(),
        "node_index": state.pin,
        "shared": state.shared,
        "status": status_word(network.level()),
        "health": match network.health() {
            Exit::Fine => "ok",
            Exit::Warning => "attention",
            _ => "broken",
        },
        "faults": faults,
        "ranges_known": network.shown.layout.is_some(),
        "ranges_from": network.shown.file.as_ref().map(|file| file.to_string_lossy()),
        "strategy": network.shown.layout.as_ref().map(|layout| layout.policy.strategy.as_str()),
        "held": network.usage.held,
        "outside": network.usage.outside,
        "oldest": network.usage.oldest.map(instant),
        "sets": sets,
    })
}

fn set(set: &SetUsage, level: Exit) -> Value {
    let (next, wait) = match set.next {
        Next::Address(addr) => (Some(addr.to_string()), None),
        Next::After(remaining) => (None, Some(remaining.as_secs())),
        Next::Full => (None, None),
    };
    // A thousandth of a per cent is enough for every purpose and has room in every number.
    let percent =
        u32::try_from(scaled(set.used, set.size, 100_000)).map_or(100.0, f64::from) / 1000.0;
    json!({
        "ranges": set.ranges,
        "status": status_word(level),
        "percent": percent,
        "size": whole(set.size),
        "used": whole(set.used),
        "free": whole(set.free),
        "cooling": whole(set.cooling),
        "excluded": whole(set.excluded),
        "excluded_held": whole(set.misplaced),
        "oldest": set.oldest.map(instant),
        "next": next,
        "next_in_seconds": wait,
    })
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
