//! Blocks: where they lie and whose they are.

use ipam_core::addr::{Addr, Cidr};

use super::{Gravity, Report};
use crate::record::{self, BlockRecord};
use crate::txn::Op;
use crate::view::snapshot::{Seen, Space};
use crate::view::usage::{Life, life};

pub(super) fn check(report: &mut Report<'_>) {
    let snapshot = report.snapshot;
    for (name, space) in &snapshot.spaces {
        // The block that ends last of those before: it is enough to find whether the next one overlaps.
        let mut before: Option<(Cidr, i64)> = None;
        for (first, block) in &space.blocks {
            let key = snapshot.keys.block(name, *first);
            let Some(cidr) = Cidr::new(*first, block.record.len) else { continue };
            if let Some((other, fence)) =
                before.filter(|(b, _)| b.network().overlaps(cidr.network()))
            {
                let what = format!("blocks {other} and {cidr} overlap");
                let advice = "addresses may be used twice: delete the pods of one of the two nodes, then \
                              return its block";
                report
                    .add("blocks-overlap", Gravity::Broken, key.clone(), what, advice)
                    .while_fenced(key.clone(), block.created)
                    .while_fenced(snapshot.keys.block(name, other.addr()), fence);
            }
            if before.is_none_or(|(other, _)| other.network().last() < cidr.network().last()) {
                before = Some((cidr, block.created));
            }
            place(report, name, space, *first, cidr, block);
            holder(report, name, *first, cidr, block);
        }
    }
}

/// Whether it is a block of its pool.
fn place(
    report: &mut Report<'_>,
    name: &str,
    space: &Space,
    first: Addr,
    cidr: Cidr,
    block: &Seen<BlockRecord>,
) {
    let key = report.snapshot.keys.block(name, first);
    let pools = report.snapshot.keys.pools(name);
    let written = space.record.as_ref().map_or(0, |record| record.modified);
    let pool = &block.record.p;
    if space.bad_pools.iter().any(|(bad, _)| bad == pool) {
        return;
    }
    let part = space.pools.get(pool).map(|pool| pool.part(first.family()));
    let what = match part {
        None => format!("block {cidr} is of pool {pool}, which there is not"),
        Some(None) => format!("block {cidr}: pool {pool} has no {} addresses", first.family()),
        Some(Some(part)) if !part.cidr.network().contains(first) => {
            format!("block {cidr} lies outside of its pool {pool}, {}", part.cidr)
        }
        // Blocks of another size are of a time when the pool had another one: they stay until they are empty.
        Some(Some(part)) if part.block < cidr.prefix() && part.cidr.network().contains(first) => {
            return;
        }
        Some(Some(part)) if cidr.prefix() < part.cidr.prefix() => {
            format!("block {cidr} is larger than its pool {pool}, {}", part.cidr)
        }
        Some(Some(_)) if cidr.network().first() != first => {
            format!("block {cidr} does not begin where a /{} does", cidr.prefix())
        }
        Some(Some(_)) => return,
    };
    let advice = "give the pool its addresses back with `plat pool edit`, or let its node return the block \
                  when its pods are gone";
    report
        .add("block-outside-pool", Gravity::Warning, key.clone(), what, advice)
        .while_fenced(key, block.created)
        .while_modified(pools, written);
}

/// Whether its node is there.
fn holder(report: &mut Report<'_>, name: &str, first: Addr, cidr: Cidr, block: &Seen<BlockRecord>) {
    let (snapshot, now) = (report.snapshot, report.now);
    let key = snapshot.keys.block(name, first);
    let Some(uuid) = &block.record.u else { return };
    let node = snapshot.keys.node(uuid);
    let tomb = snapshot.keys.tombstone(uuid);
    match life(snapshot, uuid) {
        Life::Missing => {
            let what = format!("block {cidr} is of node {uuid}, which is not registered");
            let advice = "the machine may be running: if it is certainly off, `plat node remove` takes the block back";
            report
                .add("block-of-nobody", Gravity::Warning, key.clone(), what, advice)
                .while_fenced(key, block.created)
                .while_absent(node)
                .while_absent(tomb);
        }
        Life::Removed | Life::Gone => {
            let Some(stone) = snapshot.tombstones.get(uuid) else { return };
            let over = stone.record.at.saturating_add(stone.record.hold) < now;
            if !over && !stone.record.done {
                return;
            }
            let what =
                format!("block {cidr} is of node {}, which was removed", snapshot.name_of(uuid));
            let advice = "`plat node remove` gives it back";
            report
                .add("block-of-removed", Gravity::Warning, key.clone(), what, advice)
                .while_fenced(key, block.created)
                .while_modified(tomb, stone.modified);
        }
        Life::Alive | Life::Unknown => {
            let Some(found) = snapshot.nodes.get(uuid) else { return };
            if block.record.n == Some(found.record.idx) {
                return;
            }
            let said = block.record.n.map_or_else(|| "none".to_owned(), |index| index.to_string());
            let what = format!(
                "block {cidr} says index {said}, and its node {} has index {}",
                found.record.name, found.record.idx
            );
            let right = BlockRecord { n: Some(found.record.idx), ..block.record.clone() };
            let advice = "traffic to it goes to another node; mending writes the node's index";
            report
                .add("block-index", Gravity::Broken, key.clone(), what, advice)
                .while_modified(key.clone(), block.modified)
                .while_modified(node, found.modified)
                .mended_by(Op::put(key, record::write(&right)));
        }
    }
}
