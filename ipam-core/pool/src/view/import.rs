/*!
Taking over the addresses of another IPAM.

Addresses stay with their pods, and none can be given out twice:

* Where the other IPAM says on which node an address is (Calico), it becomes a `used` record of that node, and
  the block is claimed for the node. Records are written before their block, each only where there is none and
  while nobody has claimed the block, so that at each moment either the record or the block keeps others away. The
  records carry the nonce [`NONCE`]: a node that takes such a block over keeps them until their pod is gone. A
  request tells the node of the block.
* Where it does not (whereabouts), and for what is no registered node's, an address becomes a reservation
  that names the pod. A reservation keeps an address from every node, and in a pool of mode `local` its whole
  block from being claimed, until it is ended: by another import of a newer export that does not have the
  address any more ([`prune`]), or by an operator.

An import that was interrupted is run again: what is there already is left alone.
*/

use std::collections::{BTreeMap, BTreeSet};

use ipam_core::addr::{Addr, Cidr};

use super::snapshot::{Snapshot, Space, Used};
use crate::key::Keys;
use crate::pool::Pool;
use crate::record::{
    self, AddressRecord, AddressState, BlockRecord, ExceptionRecord, Mode, RequestRecord,
};
use crate::txn::{BATCH, Compare, MOST, Op, Txn};

/// Marks what an import has written.
pub const NONCE: &str = "imp";

/// An address that is in use elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The pod, `namespace/name`; what it is for, where it is of no pod.
    pub pod: String,
    /// The container ID; empty if it is not known.
    pub container: String,
    /// The interface; empty if it is not known.
    pub ifname: String,
    /// The CNI network.
    pub network: String,
    /// The node that it is on; `None` if it is not known.
    pub node: Option<String>,
}

/// Where addresses go, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The space.
    pub space: &'a str,
    /// The pool.
    pub pool: &'a str,
    /// What is in use.
    pub addresses: &'a BTreeMap<Addr, Foreign>,
}

/// What an import does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The records to write.
    pub records: BTreeMap<Addr, AddressRecord>,
    /// Those of them that are used outside the node that holds their block.
    pub exceptions: BTreeMap<Addr, ExceptionRecord>,
    /// The blocks to claim.
    pub blocks: BTreeMap<Addr, BlockRecord>,
    /// How many addresses are there already.
    pub present: usize,
    /// What an operator should know, by address: what cannot be taken over, and what can only be reserved.
    pub problems: Vec<Problem>,
}

/// Something that is not as wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The address.
    pub addr: Addr,
    /// Whether the address was not taken over at all.
    pub refused: bool,
    /// What is the matter, one sentence without a full stop.
    pub what: String,
}

/// One transaction of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What is asked.
    pub txn: Txn,
    /// How many addresses it writes.
    pub addresses: usize,
    /// How many blocks it claims.
    pub blocks: usize,
}

/// An address and what is known of its use.
type Taken<'a> = (Addr, &'a Foreign);

/// Makes a plan.
///
/// # Errors
/// If there is no such pool: the names of those that there are.
pub fn plan(snapshot: &Snapshot, wish: &Wish<'_>, now: u64) -> Result<Plan, Vec<String>> {
    let space = snapshot.spaces.get(wish.space);
    let names = || space.map_or_else(Vec::new, |space| space.pools.keys().cloned().collect());
    let found = space.and_then(|space| Some((space, space.pools.get(wish.pool)?)));
    let Some((space, pool)) = found else { return Err(names()) };
    let mut plan = Plan::default();
    let mut by_block: BTreeMap<Addr, (Cidr, Vec<Taken<'_>>)> = BTreeMap::new();
    for (addr, foreign) in wish.addresses {
        if let Some(used) = space.at(*addr) {
            if used.imported && *used.pod == *foreign.pod {
                plan.present += 1;
            } else {
                plan.refuse(*addr, format!("{addr} is in use already{}", whose(snapshot, used)));
            }
            // It still says whose its block should be.
            if !used.imported {
                continue;
            }
        }
        let place = space.place_of(*addr).filter(|(owner, _)| owner.name == pool.name);
        let Some((_, cidr)) = place else {
            plan.refuse(*addr, format!("{addr} is no address of pool {}", pool.name));
            continue;
        };
        by_block.entry(cidr.addr()).or_insert_with(|| (cidr, Vec::new())).1.push((*addr, foreign));
    }
    for (cidr, addresses) in by_block.into_values() {
        Planner { snapshot, space, pool, now, cidr }.block(&addresses, &mut plan);
    }
    plan.problems.sort_by_key(|problem| problem.addr);
    Ok(plan)
}

impl Plan {
    fn refuse(&mut self, addr: Addr, what: String) {
        self.problems.push(Problem { addr, refused: true, what });
    }

    fn note(&mut self, addr: Addr, what: String) {
        self.problems.push(Problem { addr, refused: false, what });
    }
}

fn whose(snapshot: &Snapshot, used: &Used) -> String {
    let node = if used.uuid.is_empty() {
        String::new()
    } else {
        format!(" on {}", snapshot.name_of(&used.uuid))
    };
    let by = if used.pod.is_empty() { &used.container } else { &used.pod };
    if by.is_empty() { node } else { format!(" by {by}{node}") }
}

/// Plans one block.
struct Planner<'a> {
    snapshot: &'a Snapshot,
    space: &'a Space,
    pool: &'a Pool,
    now: u64,
    cidr: Cidr,
}

impl Planner<'_> {
    fn block(&self, addresses: &[(Addr, &Foreign)], plan: &mut Plan) {
        let claimed = self.space.blocks.get(&self.cidr.addr());
        let overlapped = addresses
            .iter()
            .find_map(|(addr, _)| self.space.block_of(*addr))
            .filter(|(cidr, _)| *cidr != self.cidr);
        let new: Vec<&(Addr, &Foreign)> =
            addresses.iter().filter(|(addr, _)| self.space.at(*addr).is_none()).collect();
        if let Some((other, _)) = overlapped {
            for (addr, _) in new {
                plan.refuse(
                    *addr,
                    format!("{addr} lies in block {other}, which is of another size"),
                );
            }
            return;
        }
        let owner = match claimed {
            Some(block) => {
                let owner = block.record.u.as_deref();
                // Only its node writes in a local block.
                if block.record.m == Mode::Local && owner.is_some() {
                    for (addr, _) in new {
                        let name = owner.map_or("nobody", |uuid| self.snapshot.name_of(uuid));
                        plan.refuse(
                            *addr,
                            format!(
                                "{addr} lies in block {} of node {name}, which is in use",
                                self.cidr
                            ),
                        );
                    }
                    return;
                }
                owner
            }
            None => self.owner(addresses),
        };
        for (addr, foreign) in new {
            self.address(*addr, foreign, owner, plan);
        }
        let Some((uuid, node)) = owner.and_then(|uuid| self.snapshot.nodes.get_key_value(uuid))
        else {
            return;
        };
        if claimed.is_none() {
            plan.blocks.insert(
                self.cidr.addr(),
                BlockRecord {
                    n: Some(node.record.idx),
                    u: Some(uuid.clone()),
                    len: self.cidr.prefix(),
                    p: self.pool.name.clone(),
                    m: self.pool.mode,
                    aut: self.pool.autonomy,
                    t: self.now,
                    ..BlockRecord::default()
                },
            );
        }
    }

    /// The registered node that has the most of the addresses; of two the first by UUID.
    fn owner(&self, addresses: &[(Addr, &Foreign)]) -> Option<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, foreign) in addresses {
            if let Some(uuid) = self.node(foreign) {
                *counts.entry(uuid).or_default() += 1;
            }
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(uuid, _)| uuid)
    }

    /// The registered node of an address whose pod is known.
    fn node(&self, foreign: &Foreign) -> Option<&str> {
        if foreign.container.is_empty() {
            return None;
        }
        let uuid = self.snapshot.node_called(foreign.node.as_deref()?)?;
        (!self.snapshot.tombstones.contains_key(uuid)).then_some(uuid)
    }

    fn address(&self, addr: Addr, foreign: &Foreign, owner: Option<&str>, plan: &mut Plan) {
        let reservation = AddressRecord {
            p: foreign.pod.clone(),
            c: foreign.container.clone(),
            i: foreign.ifname.clone(),
            w: foreign.network.clone(),
            t: self.now,
            x: NONCE.to_owned(),
            st: AddressState::Resv,
            ..AddressRecord::default()
        };
        let node = self.node(foreign).and_then(|uuid| self.snapshot.nodes.get_key_value(uuid));
        let Some((uuid, node)) = node else {
            if let Some(name) = &foreign.node
                && !foreign.container.is_empty()
            {
                plan.note(
                    addr,
                    format!("{addr} is on {name}, which is no node here; it is reserved"),
                );
            }
            plan.records.insert(addr, reservation);
            return;
        };
        if owner != Some(uuid.as_str()) {
            if self.pool.mode == Mode::Local {
                let what = format!(
                    "{addr} is on {}, and its block {} becomes another node's; it is reserved",
                    node.record.name, self.cidr
                );
                plan.note(addr, what);
                plan.records.insert(addr, reservation);
                return;
            }
            let exception = ExceptionRecord {
                n: node.record.idx,
                u: uuid.clone(),
                ..ExceptionRecord::default()
            };
            plan.exceptions.insert(addr, exception);
        }
        let boot = self.snapshot.boots.get(uuid).map_or(&node.record.boot, |boot| &boot.record);
        let record = AddressRecord {
            n: Some(node.record.idx),
            u: Some(uuid.clone()),
            b: boot.clone(),
            st: AddressState::Used,
            ..reservation
        };
        plan.records.insert(addr, record);
    }
}

/// The transactions of a plan, in the order in which they must be carried out: addresses, then blocks.
pub fn batches(snapshot: &Snapshot, wish: &Wish<'_>, plan: &Plan) -> Vec<Batch> {
    let (keys, space) = (&snapshot.keys, snapshot.spaces.get(wish.space));
    let written = space.and_then(|space| space.record.as_ref()).map_or(0, |record| record.modified);
    let mut packer = Packer {
        always: Compare::modified(keys.pools(wish.space), written),
        current: Pending::default(),
        done: Vec::new(),
    };
    let node = |uuid: Option<&String>, compares: &mut Vec<Compare>| {
        if let Some((uuid, node)) = uuid.and_then(|uuid| snapshot.nodes.get_key_value(uuid)) {
            compares.push(Compare::modified(keys.node(uuid), node.modified));
            compares.push(Compare::absent(keys.tombstone(uuid)));
        }
    };
    for (addr, record) in &plan.records {
        let key = keys.address(wish.space, *addr);
        let mut compares = vec![Compare::absent(key.clone())];
        if let Some((_, place)) = space.and_then(|space| space.place_of(*addr)) {
            let block = keys.block(wish.space, place.addr());
            let fence = space
                .and_then(|space| space.blocks.get(&place.addr()))
                .map_or(0, |block| block.created);
            compares.push(Compare::created(block, fence));
        }
        node(record.u.as_ref(), &mut compares);
        let mut ops = vec![Op::put(key, record::write(record))];
        if let Some(exception) = plan.exceptions.get(addr) {
            let key = keys.exception(wish.space, *addr);
            compares.push(Compare::absent(key.clone()));
            ops.push(Op::put(key, record::write(exception)));
        }
        packer.add(compares, ops, 1, 0);
    }
    packer.close();
    for (first, record) in &plan.blocks {
        let key = keys.block(wish.space, *first);
        let mut compares = vec![Compare::absent(key.clone())];
        node(record.u.as_ref(), &mut compares);
        let mut ops = vec![Op::put(key, record::write(record))];
        if let Some(uuid) = &record.u {
            let request =
                RequestRecord { take: record.p.clone(), t: record.t, ..RequestRecord::default() };
            let key = keys.request(uuid, wish.space, *first);
            ops.push(Op::put(key, record::write(&request)));
        }
        packer.add(compares, ops, 0, 1);
    }
    packer.close();
    packer.done
}

/// What an import has reserved in the pool, and is in use no longer.
pub fn prunable<'a>(snapshot: &'a Snapshot, wish: &Wish<'_>) -> Vec<&'a Used> {
    let Some(space) = snapshot.spaces.get(wish.space) else { return Vec::new() };
    let Some(pool) = space.pools.get(wish.pool) else { return Vec::new() };
    pool.intervals()
        .flat_map(|interval| space.within(interval))
        .filter(|used| used.imported && used.state == AddressState::Resv)
        .filter(|used| !wish.addresses.contains_key(&used.addr))
        .collect()
}

/// The transactions that end those reservations, each as it was seen.
pub fn prune(keys: &Keys, space: &str, ended: &[&Used]) -> Vec<Batch> {
    ended
        .chunks(BATCH)
        .map(|chunk| {
            let mut txn = Txn::default();
            for used in chunk {
                let key = keys.address(space, used.addr);
                txn.compares.push(Compare::modified(key.clone(), used.modified));
                txn.then.push(Op::delete(key));
            }
            Batch { txn, addresses: chunk.len(), blocks: 0 }
        })
        .collect()
}

/// Fills transactions.
struct Packer {
    always: Compare,
    current: Pending,
    done: Vec<Batch>,
}

#[derive(Default)]
struct Pending {
    compares: Vec<Compare>,
    keys: BTreeSet<Vec<u8>>,
    ops: Vec<Op>,
    addresses: usize,
    blocks: usize,
}

impl Packer {
    fn add(&mut self, compares: Vec<Compare>, ops: Vec<Op>, addresses: usize, blocks: usize) {
        let fresh = compares.iter().filter(|c| !self.current.keys.contains(&c.key)).count();
        // One compare is in every transaction.
        if self.current.compares.len() + fresh + 1 > MOST
            || self.current.ops.len() + ops.len() > BATCH
        {
            self.close();
        }
        let current = &mut self.current;
        for compare in compares {
            if current.keys.insert(compare.key.clone()) {
                current.compares.push(compare);
            }
        }
        current.ops.extend(ops);
        current.addresses += addresses;
        current.blocks += blocks;
    }

    fn close(&mut self) {
        let Pending { mut compares, ops, addresses, blocks, .. } =
            std::mem::take(&mut self.current);
        if ops.is_empty() {
            return;
        }
        compares.push(self.always.clone());
        let txn = Txn { compares, then: ops, otherwise: Vec::new() };
        self.done.push(Batch { txn, addresses, blocks });
    }
}

#[cfg(test)]
mod tests;
