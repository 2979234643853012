//! When all is over, nothing is left.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ipam_pool::key::Key;
use ipam_pool::record::{self, BlockRecord};
use support::{InEtcd, wait_until};

use super::{NODES, Node, World, trouble};

/// A lost write may arrive late, and for so long its block is not compared with etcd; addresses rest, too.
/// All of that is over after so many seconds of the nodes' own clocks, which are set forward instead of
/// waiting: no process and no member is left that could still have a write.
const LATER: u64 = 100;
/// How long cleaning up may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// Deletes what is held, as runtimes do that are emptied.
pub(super) fn delete_everything(world: &World) {
    trouble::collect_all(world);
    std::thread::scope(|scope| {
        for node in 0..NODES {
            scope.spawn(move || {
                let all = world.nodes[node].held.write().unwrap_or_else(PoisonError::into_inner);
                for held in all.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                    world.history.end(&held.id);
                    let config = world.config(node, held.net);
                    let outcome = world.nodes[node].node.call("DEL", &held.id, &config).run();
                    if outcome.exit != Some(0) {
                        world.wrong(format!("last DEL of {}: {outcome:?}", held.id));
                    }
                }
            });
        }
    });
}

/// Lets every node do what it would do by and by, until nothing but pools, nodes and blocks is in etcd; each
/// block is known to its node, and no other.
pub(super) fn settle(world: &World) {
    let deadline = Instant::now() + DEADLINE;
    let mut etcd = InEtcd::new(&world.connection);
    for pass in 1.. {
        std::thread::scope(|scope| {
            for node in &world.nodes {
                scope.spawn(move || settle_node(world, node, pass * LATER));
            }
        });
        let left = left(world, &mut etcd);
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            left.into_iter().for_each(|what| world.wrong(format!("left after all: {what}")));
            break;
        }
    }
    for node in &world.nodes {
        wait_until("no flusher is left", || node.node.flushers().is_empty());
    }
}

/// What runtimes and flushers do on a node that nobody adds anything on. STATUS, which runtimes ask again and
/// again, is the first contact of a boot.
fn settle_node(world: &World, node: &Node, later: u64) {
    for net in 0..world.nets.len() {
        let config = world.nets[net].config(node.number, &world.connection);
        let outcome = node.node.call_later(later, "STATUS", "any", &config);
        if outcome.exit != Some(0) {
            // A full pool is one; what matters is seen in what is left.
            world.count("STATUS not ready");
        }
    }
    node.node.flush_later(later, &world.connection);
}

/// What should not be there any more.
fn left(world: &World, etcd: &mut InEtcd) -> Vec<String> {
    let mut left = Vec::new();
    let mut known = BTreeMap::new();
    for node in &world.nodes {
        let state = node.node.pool_json();
        let uuid = state["uuid"].as_str().unwrap_or_default().to_owned();
        for block in state["blocks"].as_array().into_iter().flatten() {
            let first = block["first"].as_str().unwrap_or_default().to_owned();
            known.insert((uuid.clone(), first), block["fence"].as_i64().unwrap_or_default());
        }
        for table in ["allocation", "outbox"] {
            let rows = node.node.rows(table);
            if rows > 0 {
                let why = node.node.flush_problem().unwrap_or_default();
                left.push(format!("{} has {rows} rows of {table}: {why}", node.node.name()));
            }
        }
    }
    for (key, kv) in etcd.all() {
        let text = String::from_utf8_lossy(&kv.value).into_owned();
        match &key {
            Key::Meta
            | Key::Pools { .. }
            | Key::Node { .. }
            | Key::Boot { .. }
            | Key::Name { .. }
            | Key::Index { .. } => {}
            Key::Block { first, .. } => {
                let block: BlockRecord = record::read(&kv).unwrap_or_default();
                let place = (block.u.unwrap_or_default(), first.to_string());
                if known.remove(&place) != Some(kv.created) {
                    left.push(format!("its node does not know {key:?} {text}"));
                }
            }
            _ => left.push(format!("{key:?} {text}")),
        }
    }
    left.extend(known.keys().map(|place| format!("etcd does not know {place:?}")));
    left
}
