//! How full pools and blocks are, and which nodes there are.

use std::collections::BTreeMap;

use ipam_core::addr::{Addr, Cidr, Family, Interval};

use super::snapshot::{Snapshot, Space, Used};
use crate::pool::{Gateway, Part, Pool};
use crate::record::{AddressState, Mode};

/// Addresses by what they are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held by attachments.
    pub used: u64,
    /// Kept for pods that are away.
    pub parked: u64,
    /// Reserved by an operator.
    pub reserved: u64,
}

impl Counts {
    /// All of them.
    pub const fn all(self) -> u64 {
        self.used.saturating_add(self.parked).saturating_add(self.reserved)
    }

    fn add(&mut self, state: AddressState) {
        let count = match state {
            AddressState::Used => &mut self.used,
            AddressState::Park => &mut self.parked,
            AddressState::Resv => &mut self.reserved,
        };
        *count = count.saturating_add(1);
    }

    fn of(records: &[Used]) -> Self {
        let mut counts = Self::default();
        records.iter().for_each(|used| counts.add(used.state));
        counts
    }
}

/// One family of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView<'a> {
    /// The space.
    pub space: &'a str,
    /// The pool.
    pub pool: &'a Pool,
    /// Its addresses of the family.
    pub part: Part,
    /// How many blocks of it are claimed.
    pub claimed: u64,
    /// What its addresses are used for.
    pub counts: Counts,
    /// How many addresses are never given out: excluded, network, broadcast, gateway.
    pub withheld: u128,
    /// How many addresses could be given out and are not in use, whoever holds their block.
    pub free: u128,
}

/// The pools of every space, a line for each family.
pub fn pools(snapshot: &Snapshot) -> Vec<PoolView<'_>> {
    let mut views = Vec::new();
    for (name, space) in &snapshot.spaces {
        for pool in space.pools.values() {
            for part in [pool.v4, pool.v6].into_iter().flatten() {
                views.push(view(name, space, pool, part));
            }
        }
    }
    views
}

fn view<'a>(name: &'a str, space: &Space, pool: &'a Pool, part: Part) -> PoolView<'a> {
    let network = part.cidr.network();
    let records = space.within(network);
    let withheld = withheld(pool, network.family());
    let kept = |addr: Addr| {
        withheld
            .binary_search_by(|interval| {
                if interval.last() < addr {
                    std::cmp::Ordering::Less
                } else if interval.first() > addr {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok()
    };
    let mut blocks_kept = 0_u128;
    let mut taken = 0_u128;
    for used in records {
        // A block's own first and last address are withheld with a gateway for each block.
        if !kept(used.addr) && !is_block_end(pool, part, used.addr) {
            taken = taken.saturating_add(1);
        }
    }
    let whole: u128 = withheld.iter().map(|interval| interval.count()).sum();
    if pool.gateway == Gateway::Block {
        let each: u128 = if network.family() == Family::V4 { 3 } else { 2 };
        // Blocks within excluded addresses count twice here; a display may be that wrong.
        blocks_kept = part.blocks().saturating_mul(each);
    }
    let withheld = whole.saturating_add(blocks_kept).min(network.count());
    PoolView {
        space: name,
        pool,
        part,
        claimed: space.blocks.range(network.first()..=network.last()).count() as u64,
        counts: Counts::of(records),
        withheld,
        free: network.count().saturating_sub(withheld).saturating_sub(taken),
    }
}

/// What a pool never gives out of a family, ascending, without overlaps, within its addresses.
pub(super) fn withheld(pool: &Pool, family: Family) -> Vec<Interval> {
    let Some(part) = pool.part(family) else { return Vec::new() };
    let network = part.cidr.network();
    let mut all: Vec<Interval> = pool
        .withheld()
        .iter()
        .map(|exclude| exclude.interval())
        .filter(|interval| interval.family() == family && interval.overlaps(network))
        .filter_map(|interval| {
            let first = interval.first().max(network.first());
            Interval::new(first, interval.last().min(network.last()))
        })
        .collect();
    all.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(all.len());
    for interval in all {
        match merged.last_mut() {
            Some(last) if interval.first() <= last.last() => {
                if let Some(joined) = Interval::new(last.first(), last.last().max(interval.last()))
                {
                    *last = joined;
                }
            }
            _ => merged.push(interval),
        }
    }
    merged
}

/// Whether an address is kept by its block: its first, the gateway, of IPv4 its last.
pub(super) fn is_block_end(pool: &Pool, part: Part, addr: Addr) -> bool {
    if pool.gateway != Gateway::Block {
        return false;
    }
    let Some(network) = Cidr::new(addr, part.block).map(Cidr::network) else { return false };
    addr == network.first()
        || network.first().next() == Some(addr)
        || (addr.family() == Family::V4 && addr == network.last())
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockView<'a> {
    /// The space.
    pub space: &'a str,
    /// The pool that its record names.
    pub pool: &'a str,
    /// Its addresses.
    pub cidr: Cidr,
    /// The UUID of the node that holds it; `None`: it is nobody's.
    pub uuid: Option<&'a str>,
    /// That node's name, or its UUID.
    pub node: Option<&'a str>,
    /// That node's index.
    pub index: Option<u32>,
    /// How it is used.
    pub mode: Mode,
    /// The revision that created it.
    pub fence: i64,
    /// When it was claimed.
    pub since: u64,
    /// What its addresses are used for.
    pub counts: Counts,
    /// How many of them are used by other nodes than its own.
    pub lent: u64,
}

/// Every block, by space and address.
pub fn blocks(snapshot: &Snapshot) -> Vec<BlockView<'_>> {
    let mut views = Vec::new();
    for (name, space) in &snapshot.spaces {
        for (first, block) in &space.blocks {
            let Some(cidr) = Cidr::new(*first, block.record.len) else { continue };
            let records = space.within(cidr.network());
            let uuid = block.record.u.as_deref();
            let lent = records
                .iter()
                .filter(|used| used.state == AddressState::Used && Some(&*used.uuid) != uuid);
            views.push(BlockView {
                space: name,
                pool: &block.record.p,
                cidr,
                uuid,
                node: uuid.map(|uuid| snapshot.name_of(uuid)),
                index: block.record.n,
                mode: block.record.m,
                fence: block.created,
                since: block.record.t,
                counts: Counts::of(records),
                lent: lent.count() as u64,
            });
        }
    }
    views
}

/// What is known of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// Its agent runs.
    Alive,
    /// No agent of it tells.
    Unknown,
    /// It was removed, and its blocks are still held back.
    Removed,
    /// It was removed, and its blocks are others'.
    Gone,
    /// There is no such node, and yet something names it.
    Missing,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// Its UUID.
    pub uuid: &'a str,
    /// Its name, or its UUID.
    pub name: &'a str,
    /// Its index.
    pub index: Option<u32>,
    /// What is known of its life.
    pub life: Life,
    /// How many blocks it holds, in all spaces.
    pub blocks: u64,
    /// How many addresses it uses.
    pub used: u64,
}

/// The life of a node.
pub(super) fn life(snapshot: &Snapshot, uuid: &str) -> Life {
    match snapshot.tombstones.get(uuid) {
        Some(tomb) if tomb.record.done => Life::Gone,
        Some(_) => Life::Removed,
        None if snapshot.live.contains(uuid) => Life::Alive,
        None if snapshot.nodes.contains_key(uuid) => Life::Unknown,
        None => Life::Missing,
    }
}

/// Every node that is registered, removed, or named by a block or an address.
pub fn nodes(snapshot: &Snapshot) -> Vec<NodeView<'_>> {
    let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for uuid in snapshot.nodes.keys().chain(snapshot.tombstones.keys()) {
        found.entry(uuid).or_default();
    }
    for space in snapshot.spaces.values() {
        for block in space.blocks.values() {
            if let Some(uuid) = &block.record.u {
                found.entry(uuid).or_default().0 += 1;
            }
        }
        for run in space.addresses.chunk_by(|a, b| a.uuid == b.uuid) {
            let Some(first) = run.first().filter(|first| !first.uuid.is_empty()) else { continue };
            let held = run.iter().filter(|used| used.state == AddressState::Used).count();
            found.entry(&first.uuid).or_default().1 += held as u64;
        }
    }
    let mut views: Vec<NodeView<'_>> = found
        .into_iter()
        .map(|(uuid, (blocks, used))| NodeView {
            uuid,
            name: snapshot.name_of(uuid),
            index: snapshot.nodes.get(uuid).map(|node| node.record.idx),
            life: life(snapshot, uuid),
            blocks,
            used,
        })
        .collect();
    views.sort_by_key(|view| (view.index.is_none(), view.index, view.name));
    views
}
