//! What happens to etcd and to nodes meanwhile.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Random;
use support::etcd::Etcd;

use super::{NODES, World};

/// How long a member is away.
const AWAY: Duration = Duration::from_millis(2200);
/// How long all is well between two troubles.
const WELL: Duration = Duration::from_millis(1200);

/// Makes trouble for etcd until the end, and then all whole again.
pub(super) fn of_etcd(world: &World, etcd: &mut Etcd, end: Instant) {
    let mut random = Random::new(world.seed);
    let members = etcd.len();
    for turn in 0_u64.. {
        if !wait(world, end, WELL) {
            break;
        }
        match turn % 4 {
            0 => {
                world.count("leader killed");
                let leader = etcd.leader();
                etcd.kill(leader);
                wait(world, end, AWAY);
                etcd.revive(leader);
            }
            1 => {
                world.count("member stopped");
                let member = below(&mut random, members);
                etcd.stop(member);
                wait(world, end, AWAY);
                etcd.cont(member);
            }
            2 => {
                world.count("two of three away");
                let one = below(&mut random, members);
                let other = (one + 1 + below(&mut random, members - 1)) % members;
                etcd.kill(one);
                etcd.stop(other);
                wait(world, end, AWAY);
                etcd.cont(other);
                etcd.revive(one);
            }
            _ => {
                world.count("leader stopped");
                let leader = etcd.leader();
                etcd.stop(leader);
                wait(world, end, AWAY);
                etcd.cont(leader);
            }
        }
    }
    for member in 0..members {
        etcd.wait_healthy(member);
    }
}

/// Makes trouble for nodes until the end.
pub(super) fn of_nodes(world: &World, end: Instant) {
    let mut random = Random::new(!world.seed);
    while wait(world, end, WELL) {
        collect(world, below(&mut random, NODES));
        reboot(world, below(&mut random, NODES));
        world.count("flusher killed");
        world.nodes[below(&mut random, NODES)].node.kill_flushers();
    }
}

/// Whether there is still time.
fn wait(world: &World, end: Instant, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && world.has_time(end) {
        std::thread::sleep(
            Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())),
        );
    }
    world.has_time(end)
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or_default()
}

/// A node goes down with all that runs on it, and comes back.
fn reboot(world: &World, node: usize) {
    let node = &world.nodes[node];
    let held = node.held.write().unwrap_or_else(PoisonError::into_inner);
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    world.count("reboot");
    for gone in held.drain(..) {
        world.history.lose(&gone.id);
    }
    // Nor does it know any more what it has freed a moment ago.
    let of_node = format!("n{}-", node.number + 1);
    world.history.forget_rests(|holder| holder.starts_with(&of_node));
    node.node.reboot();
}

/// The runtime of a node tells which attachments it knows, network by network; others are freed.
fn collect(world: &World, node: usize) {
    let all = world.nodes[node].held.write().unwrap_or_else(PoisonError::into_inner);
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    for held in all.iter().filter(|held| held.caller.is_none()) {
        world.history.end(&held.id);
    }
    all.retain(|held| held.caller.is_some());
    for net in 0..world.nets.len() {
        let of_net = all.iter().filter(|held| held.net == net);
        let valid: Vec<Value> =
            of_net.map(|held| json!({"containerID": held.id, "ifname": "eth0"})).collect();
        let mut config = world.config(node, net);
        config["cni.dev/valid-attachments"] = json!(valid);
        let call = world.nodes[node].node.call("GC", "", &config).without("CNI_CONTAINERID");
        let outcome = call.without("CNI_IFNAME").without("CNI_NETNS").run();
        world.count("GC");
        if outcome.exit != Some(0) {
            world.wrong(format!("GC on node {}: {outcome:?}", node + 1));
        }
    }
}

/// Garbage of every node, when nobody calls any more.
pub(super) fn collect_all(world: &World) {
    (0..NODES).for_each(|node| collect(world, node));
}
