/*!
What the node's stores hold, read when it is asked for: without a lock, and changing nothing.
*/

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ipam_core::addr::{Addr, Family, Interval};
use ipam_core::layout::Layout;
use ipam_pool::ledger::Backlog;
use ipam_pool::node::{Block, BlockState, Evicted, NodeState};
use ipam_stores::survey::{Health, NetworkState, Survey, Unseen};
use ipam_stores::{Moment, StateDirs};

use super::{
    ALLOCATIONS, AUTONOMY, BLOCKS, CALL_SECONDS, CALLS, ETCD_AGE, OUTBOX, OUTBOX_AGE,
    POOL_ALLOCATED, POOL_COOLING, POOL_FREE, POOL_REFUSED, POOL_SIZE, STORE_FAULTS, STORE_UP,
    Samples, count, number,
};

/// What survives a boot, in the durable state directory.
const POOLS: &str = "pool.json";
/// More than any node's has.
const LIMIT: u64 = 64 << 20;

/// Reads everything.
pub(crate) fn read(dirs: &StateDirs, samples: &mut Samples) {
    let survey = Survey::new(Path::new("/"), dirs.clone());
    let (networks, unseen) = survey.networks();
    let networks: Vec<_> = networks.iter().map(|state| (state, state.layout.as_ref())).collect();
    let stores = Stores { health: &survey.health(), networks: &networks, unseen: &unseen };
    *samples = stores.samples(&survey);
}

/// What was found in a node's stores.
#[derive(Clone, Copy, Debug)]
pub struct Stores<'a> {
    /// Every database.
    pub health: &'a [(PathBuf, Health)],
    /// Every network, with the ranges that are known for it.
    pub networks: &'a [(&'a NetworkState, Option<&'a Layout>)],
    /// What could not be looked at.
    pub unseen: &'a [Unseen],
}

impl Stores<'_> {
    /// It as metrics; the rest is read where the survey looks.
    #[must_use]
    pub fn samples(self, survey: &Survey) -> Samples {
        let mut samples = Samples::default();
        for (path, health) in self.health {
            let up = matches!(health, Health::Fine | Health::Absent | Health::FormerBoot);
            samples.set(&STORE_UP, &[&path.to_string_lossy()], f64::from(u8::from(up)));
        }
        for unseen in self.unseen {
            samples.set(&STORE_UP, &[&unseen.place.path().to_string_lossy()], 0.0);
        }
        for (network, layout) in self.networks {
            usage(network, *layout, &mut samples);
        }
        rest(survey, self.networks, &mut samples);
        samples
    }
}

/// Calls and pools.
fn rest(survey: &Survey, networks: &[(&NetworkState, Option<&Layout>)], samples: &mut Samples) {
    for calls in survey.calls() {
        let labels: [&str; 4] =
            [&calls.instance, &calls.network, calls.command.name(), calls.outcome.name()];
        samples.add(&CALLS, &labels, number(u128::from(calls.count)));
        // A counter that begins with its first refusal shows no increase.
        samples.add(&CALLS, &[labels[0], labels[1], "ADD", "refused"], 0.0);
        samples.add(&CALL_SECONDS, &labels, calls.time.as_secs_f64());
    }
    let Some(node) = pools(&survey.at(&survey.state.durable)) else { return };
    blocks(&node, networks, samples);
    let limits = node.blocks.iter().map(|block| block.autonomy).filter(|limit| *limit != 0);
    if let Some(limit) = limits.min() {
        samples.set(&AUTONOMY, &[], number(u128::from(limit)));
    }
    let Some((boot, backlog)) = survey.contact().ok().flatten() else { return };
    let (records, waits) = outbox(backlog);
    samples.set(&OUTBOX, &[], number(u128::from(records)));
    samples.set(&OUTBOX_AGE, &[], number(u128::from(waits)));
    let reason = boot.evicted.as_ref().map(reason);
    for word in REASONS {
        samples.set(&POOL_REFUSED, &[word], f64::from(u8::from(reason == Some(word))));
    }
    if let Some(contact) = boot.contact {
        let now = Moment::now().boot.as_millis();
        let age = now.saturating_sub(u128::from(contact.boot));
        samples.set(&ETCD_AGE, &[], number(age) / 1000.0);
    }
}

/// Why a node may give out nothing of its pools.
const REASONS: [&str; 4] = ["removed", "copied", "revoked", "restored"];

const fn reason(evicted: &Evicted) -> &'static str {
    match evicted {
        Evicted::Tombstoned { .. } => "removed",
        Evicted::Copied { .. } => "copied",
        Evicted::Revoked { .. } => "revoked",
        Evicted::Restored { .. } => "restored",
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
fn usage(state: &NetworkState, layout: Option<&Layout>, samples: &mut Samples) {
    let ipam = state.instance.as_ref().map_or("", |instance| instance.as_str());
    let held: Vec<Addr> = sorted(state.allocations.iter().map(|allocation| allocation.addr));
    let cooling: Vec<Addr> = sorted(
        state
            .cooling
            .iter()
            .map(|cooling| cooling.addr)
            .filter(|addr| held.binary_search(addr).is_err()),
    );
    samples.add(&ALLOCATIONS, &[ipam, &state.network], 0.0);
    samples.add(&STORE_FAULTS, &[ipam, &state.network], count(state.faults.len()));
    for allocation in &state.allocations {
        let network = allocation.network(&state.network);
        samples.add(&ALLOCATIONS, &[ipam, network], 1.0);
    }
    for set in layout.into_iter().flat_map(|layout| &layout.sets) {
        let within = set.search_order(None);
        let size: u128 = within.iter().map(|part| part.count()).fold(0, u128::saturating_add);
        let used: usize = within.iter().map(|part| between(&held, *part)).sum();
        let resting: usize = within.iter().map(|part| between(&cooling, *part)).sum();
        let free = size.saturating_sub(used as u128).saturating_sub(resting as u128);
        let ranges = set.to_string();
        let labels: [&str; 3] = [ipam, &state.network, &ranges];
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
fn blocks(node: &NodeState, networks: &[(&NetworkState, Option<&Layout>)], samples: &mut Samples) {
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

fn is_empty(block: &Block, networks: &[(&NetworkState, Option<&Layout>)]) -> bool {
    let (pool, interval) = (block.id.to_string(), block.interval());
    let of_pool = |(network, _): &&(&NetworkState, Option<&Layout>)| {
        network.network == pool
            && network.instance.as_ref().is_some_and(|instance| instance.as_str() == "etcd-pool")
    };
    let mut held = networks.iter().filter(of_pool).flat_map(|(network, _)| &network.allocations);
    !held.any(|allocation| interval.contains(allocation.addr))
}
