//! Nodes, their names and indexes, what is asked of them.

use super::{Gravity, Report};
use crate::txn::Op;

/// For how long the tombstone of a removed node is kept, in seconds: 30 days.
const TOMBSTONE: u64 = 30 * 24 * 60 * 60;

/// How soon a request should be answered, in seconds: an agent looks every few seconds.
const PATIENCE: u64 = 600;

pub(super) fn check(report: &mut Report<'_>) {
    registered(report);
    names(report);
    indexes(report);
    boots(report);
    tombstones(report);
    requests(report);
}

/// What a registered node lacks.
fn registered(report: &mut Report<'_>) {
    let (snapshot, keys) = (report.snapshot, &report.snapshot.keys);
    for (uuid, node) in &snapshot.nodes {
        let record = &node.record;
        if !record.name.is_empty() && !snapshot.names.contains_key(&record.name) {
            let name = keys.name(&record.name);
            let what = format!("node {} ({uuid}) is not found by its name", record.name);
            let advice = "mending writes the name's key";
            report
                .add("name-missing", Gravity::Warning, name.clone(), what, advice)
                .while_absent(name.clone())
                .while_absent(keys.tombstone(uuid))
                .while_modified(keys.node(uuid), node.modified)
                .mended_by(Op::put(name, uuid.as_str()));
        }
        if !snapshot.indexes.contains_key(&record.idx) {
            let index = keys.index(record.idx);
            let what =
                format!("node {} ({uuid}) is not found by its index {}", record.name, record.idx);
            let advice = "mending writes the index's key";
            report
                .add("index-missing", Gravity::Warning, index.clone(), what, advice)
                .while_absent(index.clone())
                .while_absent(keys.tombstone(uuid))
                .while_modified(keys.node(uuid), node.modified)
                .mended_by(Op::put(index, uuid.as_str()));
        }
        if let Some(tomb) = snapshot.tombstones.get(uuid).filter(|tomb| tomb.record.done) {
            let what = format!("node {} ({uuid}) was removed and is still registered", record.name);
            report
                .add(
                    "removed-node-registered",
                    Gravity::Hint,
                    keys.node(uuid),
                    what,
                    "`plat node remove` ends what it began",
                )
                .while_modified(keys.node(uuid), node.modified)
                .while_modified(keys.tombstone(uuid), tomb.modified);
        }
    }
}

fn names(report: &mut Report<'_>) {
    let (snapshot, keys) = (report.snapshot, &report.snapshot.keys);
    for (name, target) in &snapshot.names {
        let key = keys.name(name);
        match snapshot.nodes.get(&target.record) {
            Some(node) if node.record.name == *name => {}
            Some(node) => {
                let what = format!(
                    "the name {name} points to node {}, which is called {}",
                    target.record, node.record.name
                );
                let advice = "`plat node adopt` on the machine that has the name sets it right";
                report
                    .add("name-elsewhere", Gravity::Broken, key.clone(), what, advice)
                    .while_modified(key, target.modified)
                    .while_modified(keys.node(&target.record), node.modified);
            }
            None if snapshot.tombstones.contains_key(&target.record) => {}
            None => {
                let what =
                    format!("the name {name} points to node {}, which there is not", target.record);
                let advice = "mending deletes the name's key, so that a node can have it";
                report
                    .add("name-dangling", Gravity::Warning, key.clone(), what, advice)
                    .while_modified(key.clone(), target.modified)
                    .while_absent(keys.node(&target.record))
                    .while_absent(keys.tombstone(&target.record))
                    .mended_by(Op::delete(key));
            }
        }
    }
}

fn indexes(report: &mut Report<'_>) {
    let (snapshot, keys) = (report.snapshot, &report.snapshot.keys);
    for (index, target) in &snapshot.indexes {
        let key = keys.index(*index);
        match snapshot.nodes.get(&target.record) {
            Some(node) if node.record.idx == *index => {}
            Some(node) => {
                let what = format!(
                    "the index {index} points to node {}, which has index {}",
                    target.record, node.record.idx
                );
                let advice = "`plat node adopt` on the machine that has the index sets it right";
                report
                    .add("index-elsewhere", Gravity::Broken, key.clone(), what, advice)
                    .while_modified(key, target.modified)
                    .while_modified(keys.node(&target.record), node.modified);
            }
            None if snapshot.tombstones.contains_key(&target.record) => {}
            None => {
                let what = format!(
                    "the index {index} points to node {}, which there is not",
                    target.record
                );
                // What the node still holds is told by its index: that must not become another's.
                let holds = snapshot.spaces.values().any(|space| {
                    space
                        .blocks
                        .values()
                        .any(|block| block.record.u.as_ref() == Some(&target.record))
                        || space.addresses.iter().any(|used| *used.uuid == *target.record)
                });
                let advice = if holds {
                    "remove what is left of the node with `plat node remove`"
                } else {
                    "mending deletes the index's key, so that a node can have it"
                };
                let fault = report
                    .add("index-dangling", Gravity::Warning, key.clone(), what, advice)
                    .while_modified(key.clone(), target.modified)
                    .while_absent(keys.node(&target.record))
                    .while_absent(keys.tombstone(&target.record));
                if !holds {
                    drop(fault.mended_by(Op::delete(key)));
                }
            }
        }
    }
}

fn boots(report: &mut Report<'_>) {
    let (snapshot, keys) = (report.snapshot, &report.snapshot.keys);
    for (uuid, boot) in &snapshot.boots {
        if snapshot.nodes.contains_key(uuid) || snapshot.tombstones.contains_key(uuid) {
            continue;
        }
        let key = keys.boot(uuid);
        let what = format!("a boot is noted for node {uuid}, which there is not");
        let advice = "mending deletes the key: a node that comes back registers anew";
        report
            .add("boot-dangling", Gravity::Hint, key.clone(), what, advice)
            .while_modified(key.clone(), boot.modified)
            .while_absent(keys.node(uuid))
            .mended_by(Op::delete(key));
    }
}

fn tombstones(report: &mut Report<'_>) {
    let (snapshot, keys, now) = (report.snapshot, &report.snapshot.keys, report.now);
    for (uuid, tomb) in &snapshot.tombstones {
        let (key, record) = (keys.tombstone(uuid), &tomb.record);
        let name = snapshot.name_of(uuid);
        if !record.done && record.at.saturating_add(record.hold) < now {
            let what = format!(
                "node {name} was removed, its time is over, and its blocks are still held back"
            );
            let advice = "`plat node remove` gives them back";
            report
                .add("removal-unfinished", Gravity::Warning, key.clone(), what, advice)
                .while_modified(key.clone(), tomb.modified);
        }
        let over = record.at.saturating_add(record.hold).saturating_add(TOMBSTONE) < now;
        if record.done && over && !snapshot.nodes.contains_key(uuid) {
            let what = format!("the tombstone of node {name} is older than 30 days");
            report
                .add("tombstone-old", Gravity::Hint, key.clone(), what, "mending deletes it")
                .while_modified(key.clone(), tomb.modified)
                .while_absent(keys.node(uuid))
                .mended_by(Op::delete(key));
        }
    }
}

fn requests(report: &mut Report<'_>) {
    let (snapshot, keys, now) = (report.snapshot, &report.snapshot.keys, report.now);
    for request in &snapshot.requests {
        let key = keys.request(&request.uuid, &request.space, request.addr);
        let name = snapshot.name_of(&request.uuid);
        let (record, modified) = (&request.asked.record, request.asked.modified);
        let wish = if record.reserve { "reserve" } else { "end the reservation of" };
        let asked = format!("node {name} was asked to {wish} {}", request.addr);
        if !snapshot.nodes.contains_key(&request.uuid) {
            let what = format!("{asked}, and is no longer there");
            report
                .add(
                    "request-to-nobody",
                    Gravity::Warning,
                    key.clone(),
                    what,
                    "mending withdraws it",
                )
                .while_modified(key.clone(), modified)
                .while_absent(keys.node(&request.uuid))
                .mended_by(Op::delete(key));
        } else if !record.refused.is_empty() {
            let what = format!("{asked}, and refused: {}", record.refused);
            let advice = "ask again when that has changed";
            report
                .add("request-refused", Gravity::Hint, key.clone(), what, advice)
                .while_modified(key, modified);
        } else if record.t.saturating_add(PATIENCE) < now {
            let minutes = now.saturating_sub(record.t) / 60;
            let what = format!("{asked} {minutes} minutes ago and has not answered");
            let advice =
                "a node answers when an agent runs there, or with its next call: look at that node";
            report
                .add("request-unanswered", Gravity::Warning, key.clone(), what, advice)
                .while_modified(key, modified);
        }
    }
}
