//! Addresses: whose they are, where they lie, and what is over.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use ipam_core::addr::{Addr, Cidr, Family, Interval};

use super::{Gravity, Report};
use crate::pool::Pool;
use crate::record::{self, AddressState, BlockRecord, ExceptionRecord, Mode};
use crate::txn::Op;
use crate::view::snapshot::{Seen, Space, Used};
use crate::view::usage::{Life, is_block_end, life, withheld};

pub(super) fn check(report: &mut Report<'_>) {
    let snapshot = report.snapshot;
    for (name, space) in &snapshot.spaces {
        each(report, name, space);
        exceptions(report, name, space);
        attachments(report, name, space);
        former_boots(report, name, space);
        sticky(report, name, space);
    }
}

/// Who uses an address, for people.
fn user(used: &Used) -> String {
    match (used.pod.is_empty(), used.container.is_empty()) {
        (false, _) => format!(" ({})", used.pod),
        (true, false) => format!(" ({} {})", used.container, used.ifname),
        (true, true) => String::new(),
    }
}

fn each(report: &mut Report<'_>, name: &str, space: &Space) {
    let kept: Vec<(&Pool, Vec<Interval>)> = space
        .pools
        .values()
        .map(|pool| {
            let all = [Family::V4, Family::V6].into_iter().flat_map(|f| withheld(pool, f));
            (pool, all.collect())
        })
        .collect();
    let mut blocks = space.blocks.iter().peekable();
    let mut current: Option<(Cidr, &Seen<BlockRecord>)> = None;
    for used in &space.addresses {
        while let Some((first, block)) = blocks.next_if(|(first, _)| **first <= used.addr) {
            current = Cidr::new(*first, block.record.len).map(|cidr| (cidr, block));
        }
        let block = current.filter(|(cidr, _)| cidr.network().contains(used.addr));
        one(report, name, space, used, block);
        if used.state == AddressState::Used {
            reserved(report, name, &kept, used);
        }
        if used.state == AddressState::Park && used.expires < report.now {
            parked(report, name, used, block);
        }
    }
}

/// Whether its user may have it.
fn one(
    report: &mut Report<'_>,
    name: &str,
    space: &Space,
    used: &Used,
    block: Option<(Cidr, &Seen<BlockRecord>)>,
) {
    let snapshot = report.snapshot;
    let keys = &snapshot.keys;
    let key = keys.address(name, used.addr);
    let exception = space.exceptions.get(&used.addr);
    if space.pool_of(used.addr).is_none() && space.bad_pools.is_empty() {
        let what = format!("{}{} lies in no pool", used.addr, user(used));
        let advice = "give the pool its addresses back with `plat pool edit`, or delete the pod";
        let written = space.record.as_ref().map_or(0, |record| record.modified);
        report
            .add("address-outside-pool", Gravity::Warning, key.clone(), what, advice)
            .while_modified(key.clone(), used.modified)
            .while_modified(keys.pools(name), written);
    }
    if used.state != AddressState::Used {
        return;
    }
    let alive = life(snapshot, &used.uuid);
    let who = snapshot.name_of(&used.uuid);
    match block {
        None if exception.is_none() => {
            let what = format!("{}{} is used by node {who} without a block", used.addr, user(used));
            let place = space.place_of(used.addr).map(|(_, cidr)| keys.block(name, cidr.addr()));
            let safe = alive == Life::Gone && place.is_some();
            let advice = if safe {
                "its node was removed and its time is over: mending deletes the record"
            } else if used.imported {
                "an import was interrupted: run it again"
            } else {
                "its pod may be running: delete it; if the node is certainly off, `plat node remove` frees it"
            };
            let mut fault = report
                .add("address-without-block", Gravity::Warning, key.clone(), what, advice)
                .while_modified(key.clone(), used.modified)
                .while_absent(keys.exception(name, used.addr));
            if let Some(place) = place {
                fault = fault.while_absent(place);
            }
            if let (true, Some(tomb)) = (safe, snapshot.tombstones.get(&*used.uuid)) {
                drop(
                    fault
                        .while_modified(keys.tombstone(&used.uuid), tomb.modified)
                        .mended_by(Op::delete(key)),
                );
            }
        }
        Some((cidr, held)) if held.record.u.as_deref() != Some(&*used.uuid) => {
            if exception.is_some() {
                return;
            }
            let owner = held.record.u.as_deref().map_or("nobody", |uuid| snapshot.name_of(uuid));
            let what = format!(
                "{}{} is used by node {who} and lies in block {cidr} of {owner}",
                used.addr,
                user(used)
            );
            let local = held.record.m == Mode::Local && held.record.u.is_some();
            let node = snapshot.nodes.get(&*used.uuid);
            let (gravity, advice) = match (local, node) {
                (true, _) => (
                    Gravity::Broken,
                    "the block's node may give the address to a pod of its own: delete this pod",
                ),
                (false, Some(_)) => (
                    Gravity::Warning,
                    "it is not reached from other nodes; mending writes the exception",
                ),
                (false, None) => (Gravity::Warning, "its node is not registered: delete its pod"),
            };
            let fault = report
                .add("address-in-foreign-block", gravity, key.clone(), what, advice)
                .while_modified(key, used.modified)
                .while_modified(keys.block(name, cidr.addr()), held.modified)
                .while_absent(keys.exception(name, used.addr));
            if let (false, Some(node)) = (local, node) {
                let right = ExceptionRecord {
                    n: node.record.idx,
                    u: used.uuid.to_string(),
                    ..ExceptionRecord::default()
                };
                let put = Op::put(keys.exception(name, used.addr), record::write(&right));
                drop(fault.while_modified(keys.node(&used.uuid), node.modified).mended_by(put));
            }
        }
        _ => {}
    }
}

/// Whether it is one that is never given out.
fn reserved(report: &mut Report<'_>, name: &str, kept: &[(&Pool, Vec<Interval>)], used: &Used) {
    let family = used.addr.family();
    let of_pool = kept.iter().find(|(pool, _)| {
        pool.part(family).is_some_and(|part| part.cidr.network().contains(used.addr))
    });
    let Some((pool, kept)) = of_pool else { return };
    let end = pool.part(family).is_some_and(|part| is_block_end(pool, part, used.addr));
    if !end && !contains(kept, used.addr) {
        return;
    }
    let key = report.snapshot.keys.address(name, used.addr);
    let what =
        format!("{}{} is used, and pool {} never gives it out", used.addr, user(used), pool.name);
    let advice = "it was given out before that was so, or by hand: delete the pod";
    report
        .add("withheld-in-use", Gravity::Warning, key.clone(), what, advice)
        .while_modified(key, used.modified);
}

fn contains(intervals: &[Interval], addr: Addr) -> bool {
    let position = intervals.partition_point(|interval| interval.last() < addr);
    intervals.get(position).is_some_and(|interval| interval.contains(addr))
}

fn parked(
    report: &mut Report<'_>,
    name: &str,
    used: &Used,
    block: Option<(Cidr, &Seen<BlockRecord>)>,
) {
    let keys = &report.snapshot.keys;
    let key = keys.address(name, used.addr);
    let what = format!("{} is kept for {} for longer than it should be", used.addr, used.pod);
    // In a local block only its node writes.
    let local = block.filter(|(_, held)| held.record.m == Mode::Local && held.record.u.is_some());
    let advice =
        if local.is_some() { "the node that holds the block frees it" } else { "mending frees it" };
    let fault = report
        .add("parked-too-long", Gravity::Hint, key.clone(), what, advice)
        .while_modified(key.clone(), used.modified);
    match (local, block) {
        (Some(_), _) => {}
        (None, Some((cidr, held))) => drop(
            fault
                .while_modified(keys.block(name, cidr.addr()), held.modified)
                .mended_by(Op::delete(key)),
        ),
        (None, None) => drop(fault.mended_by(Op::delete(key))),
    }
}

fn exceptions(report: &mut Report<'_>, name: &str, space: &Space) {
    let snapshot = report.snapshot;
    let keys = &snapshot.keys;
    for (addr, exception) in &space.exceptions {
        let (key, address) = (keys.exception(name, *addr), keys.address(name, *addr));
        let Some(used) = space.at(*addr) else {
            let what = format!("{addr} is marked as used outside its block, and nobody uses it");
            report
                .add(
                    "exception-dangling",
                    Gravity::Warning,
                    key.clone(),
                    what,
                    "mending deletes the mark",
                )
                .while_modified(key.clone(), exception.modified)
                .while_absent(address)
                .mended_by(Op::delete(key));
            continue;
        };
        if used.state != AddressState::Used {
            continue;
        }
        let block = space.block_of(*addr);
        if let Some((cidr, held)) = block
            && held.record.u.as_deref() == Some(&*used.uuid)
        {
            let what = format!(
                "{addr} is marked as used outside its block {cidr}, and is used by its node"
            );
            report
                .add(
                    "exception-needless",
                    Gravity::Hint,
                    key.clone(),
                    what,
                    "mending deletes the mark",
                )
                .while_modified(key.clone(), exception.modified)
                .while_modified(address, used.modified)
                .while_modified(keys.block(name, cidr.addr()), held.modified)
                .mended_by(Op::delete(key));
            continue;
        }
        let Some(node) = snapshot.nodes.get(&*used.uuid) else { continue };
        if exception.record.n != node.record.idx {
            let what = format!(
                "{addr} is marked as used on the node of index {}, and is used on {}, index {}",
                exception.record.n, node.record.name, node.record.idx
            );
            let right = ExceptionRecord {
                n: node.record.idx,
                u: used.uuid.to_string(),
                rest: exception.record.rest.clone(),
            };
            let advice = "traffic to it goes to another node; mending writes the right one";
            report
                .add("exception-wrong", Gravity::Broken, key.clone(), what, advice)
                .while_modified(key.clone(), exception.modified)
                .while_modified(address, used.modified)
                .while_modified(keys.node(&used.uuid), node.modified)
                .mended_by(Op::put(key, record::write(&right)));
        }
    }
}

/// Attachments that have too much or too little: of a pool an attachment has one address of each family.
fn attachments(report: &mut Report<'_>, name: &str, space: &Space) {
    // By a hash of 64 bits, because there may be half a million: what two that share one would hide is a hint.
    let mut found: HashMap<u64, [u32; 2]> = HashMap::with_capacity(space.addresses.len());
    for (position, used) in space.addresses.iter().enumerate() {
        if used.state != AddressState::Used || used.container.is_empty() {
            continue;
        }
        let Some(pool) = space.pool_of(used.addr) else { continue };
        let mut hasher = DefaultHasher::new();
        (&pool.name, &used.uuid, &used.network, &used.container, &used.ifname).hash(&mut hasher);
        let own = u32::try_from(position + 1).unwrap_or(u32::MAX);
        let families = found.entry(hasher.finish()).or_default();
        let [four, six] = families;
        let family = if used.addr.family() == Family::V4 { four } else { six };
        let other = std::mem::replace(family, own);
        if let Some(other) = record_at(space, other)
            && other.container == used.container
            && other.ifname == used.ifname
        {
            let keys = &report.snapshot.keys;
            let (key, second) = (keys.address(name, used.addr), keys.address(name, other.addr));
            let what = format!(
                "{} and {} are both held by one attachment{}",
                other.addr,
                used.addr,
                user(used)
            );
            let advice = "one of them is not in use: the node's next clean-up frees it, or the end of the pod";
            report
                .add("attachment-twice", Gravity::Warning, key.clone(), what, advice)
                .while_modified(key, used.modified)
                .while_modified(second, other.modified);
        }
    }
    let mut halves: Vec<(u32, Family)> = found
        .into_values()
        .filter_map(|families| match families {
            [four, 0] => Some((four, Family::V6)),
            [0, six] => Some((six, Family::V4)),
            _ => None,
        })
        .collect();
    halves.sort_unstable();
    for (position, missing) in halves {
        let Some(used) = record_at(space, position) else { continue };
        let Some(pool) = space.pool_of(used.addr).filter(|pool| pool.part(missing).is_some())
        else {
            continue;
        };
        let key = report.snapshot.keys.address(name, used.addr);
        let what = format!(
            "{}{} has no {missing} address beside it, and pool {} has both",
            used.addr,
            user(used),
            pool.name
        );
        let advice = "that is right if one family was asked for; else the other's record is still on its way";
        report
            .add("one-family", Gravity::Hint, key.clone(), what, advice)
            .while_modified(key, used.modified);
    }
}

/// The record that was noted as its position and one; 0: none.
fn record_at(space: &Space, noted: u32) -> Option<&Used> {
    space.addresses.get(usize::try_from(noted.checked_sub(1)?).ok()?)
}

/// Records of boots that are over; one fault for each node.
fn former_boots(report: &mut Report<'_>, name: &str, space: &Space) {
    let snapshot = report.snapshot;
    let mut found: BTreeMap<&str, (usize, &Used)> = BTreeMap::new();
    for used in &space.addresses {
        let now = snapshot.boots.get(&*used.uuid);
        if used.state == AddressState::Used
            && now.is_some_and(|boot| *boot.record != *used.boot)
            && snapshot.nodes.contains_key(&*used.uuid)
        {
            found.entry(&used.uuid).or_insert((0, used)).0 += 1;
        }
    }
    for (uuid, (count, first)) in found {
        let Some(boot) = snapshot.boots.get(uuid) else { continue };
        let gravity = if snapshot.live.contains(uuid) { Gravity::Warning } else { Gravity::Hint };
        let what = format!(
            "{count} {} of node {} of a former boot, such as {}{}",
            if count == 1 { "record is" } else { "records are" },
            snapshot.name_of(uuid),
            first.addr,
            user(first)
        );
        let key = snapshot.keys.address(name, first.addr);
        let advice = "the node removes them with the next call or look of its agent";
        report
            .add("former-boot", gravity, key.clone(), what, advice)
            .while_modified(key, first.modified)
            .while_modified(snapshot.keys.boot(uuid), boot.modified);
    }
}

fn sticky(report: &mut Report<'_>, name: &str, space: &Space) {
    for (hash, sticky) in &space.sticky {
        if sticky.record.exp >= report.now {
            continue;
        }
        let key = report.snapshot.keys.sticky(name, hash);
        let what = format!(
            "what {} had last is remembered for longer than it should be",
            sticky.record.key
        );
        report
            .add("sticky-old", Gravity::Hint, key.clone(), what, "mending forgets it")
            .while_modified(key.clone(), sticky.modified)
            .mended_by(Op::delete(key));
    }
}
