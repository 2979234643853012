/*!
What the node's stores hold, read when it is asked for: without a lock, and changing nothing.
*/

use std::io::Read as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ipam_core::addr::{Addr, Family, Interval};
use ipam_pool::ledger::Backlog;
use ipam_pool::node::{Block, BlockState, NodeState};
use ipam_stores::survey::{Health, NetworkState, Survey};
use ipam_stores::{Moment, StateDirs};

use super::{
    ALLOCATIONS, BLOCKS, CALL_SECONDS, CALLS, ETCD_AGE, OUTBOX, OUTBOX_AGE, POOL_ALLOCATED,
    POOL_COOLING, POOL_FREE, POOL_SIZE, STORE_UP, Samples, count, number,
};

/// What survives a boot, in the durable state directory.
const POOLS: &str = "pool.json";
/// More than any node's has.
const LIMIT: u64 = 64 << 20;

/// Reads everything.
pub(crate) fn read(dirs: &StateDirs, samples: &mut Samples) {
    let survey = Survey::new(Path::new("/"), dirs.clone());
    for (path, health) in survey.health() {
        let up = matches!(health, Health::Fine | Health::Absent | Health::FormerBoot);
        samples.set(&STORE_UP, &[&path.to_string_lossy()], f64::from(u8::from(up)));
    }
    let (networks, unseen) = survey.networks();
    for unseen in unseen {
        samples.set(&STORE_UP, &[&unseen.place.path().to_string_lossy()], 0.0);
    }
    for network in &networks {
        usage(network, samples);
    }
    for calls in survey.calls() {
        let labels: [&str; 4] =
            [&calls.instance, &calls.network, calls.command.name(), calls.outcome.name()];
        samples.add(&CALLS, &labels, number(u128::from(calls.count)));
        samples.add(&CALL_SECONDS, &labels, calls.time.as_secs_f64());
    }
    let Some(node) = pools(&dirs.durable) else { return };
    blocks(&node, &networks, samples);
    let Some((boot, backlog)) = survey.contact().ok().flatten() else { return };
    let (records, waits) = outbox(backlog);
    samples.set(&OUTBOX, &[], number(u128::from(records)));
    samples.set(&OUTBOX_AGE, &[], number(u128::from(waits)));
    if let Some(contact) = boot.contact {
        let now = Moment::now().boot.as_millis();
        let age = now.saturating_sub(u128::from(contact.boot));
        samples.set(&ETCD_AGE, &[], number(age) / 1000.0);
    }
}

/// How many records wait, and for how many seconds the oldest does.
fn outbox(backlog: Backlog) -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let waits = if backlog.count == 0 { 0 } else { now.saturating_sub(backlog.oldest) };
    (backlog.count, waits)
}

/// What waits to be written to etcd: how many records, and for how many seconds the oldest does; none where
/// the node uses no pools.
pub(crate) fn waiting(dirs: &StateDirs) -> Option<(u64, u64)> {
    pools(&dirs.durable)?;
    let (_, backlog) = Survey::new(Path::new("/"), dirs.clone()).contact().ok().flatten()?;
    Some(outbox(backlog))
}

/// What the node remembers of its pools; none if it uses none.
fn pools(durable: &Path) -> Option<NodeState> {
    let mut text = String::new();
    std::fs::File::open(durable.join(POOLS)).ok()?.take(LIMIT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A network's addresses.
fn usage(state: &NetworkState, samples: &mut Samples) {
    let instance = state.instance.as_ref().map_or("", |instance| instance.as_str());
    let held: Vec<Addr> = sorted(state.allocations.iter().map(|allocation| allocation.addr));
    let cooling: Vec<Addr> = sorted(
        state
            .cooling
            .iter()
            .map(|cooling| cooling.addr)
            .filter(|addr| held.binary_search(addr).is_err()),
    );
    samples.add(&ALLOCATIONS, &[instance, &state.network], 0.0);
    for allocation in &state.allocations {
        let network = allocation.network(&state.network);
        samples.add(&ALLOCATIONS, &[instance, network], 1.0);
    }
    for set in state.layout.iter().flat_map(|layout| &layout.sets) {
        let within = set.search_order(None);
        let size: u128 = within.iter().map(|part| part.count()).fold(0, u128::saturating_add);
        let used: usize = within.iter().map(|part| between(&held, *part)).sum();
        let resting: usize = within.iter().map(|part| between(&cooling, *part)).sum();
        let free = size.saturating_sub(used as u128).saturating_sub(resting as u128);
        let ranges = set.to_string();
        let labels: [&str; 3] = [instance, &state.network, &ranges];
        for (metric, value) in [
            (&POOL_SIZE, number(size)),
            (&POOL_FREE, number(free)),
            (&POOL_ALLOCATED, count(used)),
            (&POOL_COOLING, count(resting)),
        ] {
            samples.set(metric, &labels, value);
        }
    }
}

fn sorted(addrs: impl Iterator<Item = Addr>) -> Vec<Addr> {
    let mut addrs: Vec<Addr> = addrs.collect();
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// How many of the sorted addresses lie in an interval.
fn between(addrs: &[Addr], interval: Interval) -> usize {
    let from = addrs.partition_point(|addr| *addr < interval.first());
    addrs.partition_point(|addr| *addr <= interval.last()).saturating_sub(from)
}

/// The blocks of this node. One that is empty was claimed ahead, or will be given back.
fn blocks(node: &NodeState, networks: &[NetworkState], samples: &mut Samples) {
    for block in &node.blocks {
        let state = match block.state {
            BlockState::Returning => "returning",
            BlockState::Revoked => "revoked",
            BlockState::Held if is_empty(block, networks) => "empty",
            BlockState::Held => "used",
        };
        let family = match block.family() {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let pool = block.id.to_string();
        for every in ["used", "empty", "returning", "revoked"] {
            samples.add(&BLOCKS, &[&pool, family, every], 0.0);
        }
        samples.add(&BLOCKS, &[&pool, family, state], 1.0);
    }
}

fn is_empty(block: &Block, networks: &[NetworkState]) -> bool {
    let (pool, interval) = (block.id.to_string(), block.interval());
    let of_pool = |network: &&NetworkState| {
        network.network == pool
            && network.instance.as_ref().is_some_and(|instance| instance.as_str() == "etcd-pool")
    };
    let mut held = networks.iter().filter(of_pool).flat_map(|network| &network.allocations);
    !held.any(|allocation| interval.contains(allocation.addr))
}
