//! The invariants.

use std::collections::{BTreeMap, BTreeSet};

use ipam_core::addr::{Addr, Interval};
use ipam_pool::key::Key;
use ipam_pool::ops::{Added, Trouble};
use ipam_pool::pool::{Gateway, Pool};
use ipam_pool::record::{self, AddressRecord, AddressState, BlockRecord, ExceptionRecord};

use crate::job::{Wish, attachment, network};
use crate::setup::{self, SPACE};
use crate::world::{Checked, Pod, Rule, World};

impl World {
    /// The block in etcd that contains an address, with its fence.
    pub(crate) fn block_at(&self, addr: Addr) -> Option<(Interval, BlockRecord, i64)> {
        self.blocks().into_iter().find(|(interval, _, _)| interval.contains(addr))
    }

    /// The blocks in etcd.
    pub(crate) fn blocks(&self) -> Vec<(Interval, BlockRecord, i64)> {
        let range = self.keys.all_blocks(SPACE);
        self.etcd
            .range(&range)
            .map(|kv| {
                let Some(Key::Block { first, .. }) = self.keys.parse(&kv.key) else {
                    panic!("not a block: {kv:?}")
                };
                let block: BlockRecord = record::read(kv).unwrap();
                let cidr = ipam_core::addr::Cidr::new(first, block.len).unwrap();
                (cidr.network(), block, kv.created)
            })
            .collect()
    }

    /// The node that an address is lent to.
    pub(crate) fn exception_at(&self, addr: Addr) -> Option<ExceptionRecord> {
        self.etcd.get(&self.keys.exception(SPACE, addr)).map(|kv| record::read(kv).unwrap())
    }

    /// The records of addresses in etcd.
    pub(crate) fn records(&self) -> Vec<(Addr, AddressRecord)> {
        let range = self.keys.all_addresses(SPACE);
        self.etcd
            .range(&range)
            .map(|kv| match self.keys.parse(&kv.key) {
                Some(Key::Address { addr, .. }) => (addr, record::read(kv).unwrap()),
                _ => panic!("not an address: {kv:?}"),
            })
            .collect()
    }

    /// I2, I3 and I10: what holds in etcd after every change.
    pub(crate) fn check_etcd(&self) -> Checked {
        let blocks = self.blocks();
        for (one, two) in blocks.iter().zip(blocks.iter().skip(1)) {
            if one.0.overlaps(two.0) {
                self.violate(Rule::Blocks, format!("{one:?} and {two:?}"))?;
            }
        }
        for (addr, record) in self.records() {
            if record.st != AddressState::Used {
                continue;
            }
            let exception = self.exception_at(addr).map(|exception| exception.u);
            let block = blocks.iter().find(|(interval, ..)| interval.contains(addr));
            let owner = block.and_then(|(_, block, _)| block.u.clone());
            if exception.is_some() && exception == record.u
                || exception.is_none() && owner.is_some() && owner == record.u
            {
                continue;
            }
            let what = format!(
                "{addr} is used by {:?}; its block is {block:?}, its exception {exception:?}",
                record.u
            );
            self.violate(Rule::Ownership, what)?;
        }
        for kv in self.etcd.range(&self.keys.all_exceptions(SPACE)) {
            if let Some(Key::Exception { addr, .. }) = self.keys.parse(&kv.key)
                && self.etcd.get(&self.keys.address(SPACE, addr)).is_none()
            {
                self.violate(Rule::Leak, format!("an exception for {addr}, which nobody has"))?;
            }
        }
        Ok(())
    }

    /// What an ADD has given.
    pub(crate) fn check_added(&self, n: usize, wish: &Wish, added: &Added) -> Checked {
        let node = &self.nodes[n];
        let pool = Pool::try_from(&setup::pool(wish.pool)).unwrap();
        let addrs: Vec<Addr> = added.allocations.iter().map(|a| a.addr).collect();
        let families: Vec<_> = addrs.iter().map(|addr| addr.family()).collect();
        if families != pool.families().collect::<Vec<_>>() {
            self.violate(Rule::Half, format!("an ADD of {} has given {addrs:?}", wish.pool))?;
        }
        if let Pod::Live(before) = &node.pods[wish.pod]
            && *before != addrs
        {
            self.violate(Rule::Repeat, format!("first {before:?}, then {addrs:?}"))?;
        }
        for addr in &wish.requested {
            if !addrs.contains(addr) {
                self.violate(Rule::Repeat, format!("asked for {addr}, given {addrs:?}"))?;
            }
        }
        for addr in addrs {
            let me = |live: &crate::world::Live| {
                (live.node, live.pod, live.generation) == (n, wish.pod, wish.generation)
            };
            if let Some(live) = self.live.get(&addr).filter(|live| !me(live)) {
                let what = format!("{addr} is pod {}'s of node {n}, and {live:?}", wish.pod);
                self.violate(Rule::Duplicate, what)?;
            }
            self.check_owner(n, addr)?;
            self.check_rest(n, wish, addr, &pool, added.held)?;
            let withheld = pool.withheld().iter().any(|e| e.interval().contains(addr));
            let of_block = pool.gateway == Gateway::Block
                && pool.part(addr.family()).is_some_and(|part| {
                    let network = ipam_core::addr::Cidr::new(addr, part.block).unwrap().network();
                    addr == network.first()
                        || Some(addr) == network.first().next()
                        || addr == network.last()
                });
            if withheld || of_block {
                self.violate(Rule::Withheld, format!("{addr} of {} is given out", wish.pool))?;
            }
        }
        Ok(())
    }

    /// Whether the node may give out an address, according to etcd.
    fn check_owner(&self, n: usize, addr: Addr) -> Checked {
        let uuid = &self.nodes[n].ledger.node().uuid;
        let block = self.block_at(addr);
        let own = block.as_ref().is_some_and(|(_, block, _)| block.u.as_ref() == Some(uuid));
        let record = self.etcd.get(&self.keys.address(SPACE, addr));
        let record: Option<AddressRecord> = record.map(|kv| record::read(kv).unwrap());
        let mine = record.as_ref().is_some_and(|record| record.u.as_ref() == Some(uuid));
        let lent = mine && self.exception_at(addr).is_some_and(|exception| exception.u == *uuid);
        if !own && !lent || record.is_some() && !mine {
            let what =
                format!("node {n} gives out {addr}; its block is {block:?}, it is {record:?}");
            self.violate(Rule::Ownership, what)?;
        }
        Ok(())
    }

    /// Whether an address has rested for long enough. What rests on a node is forgotten when it boots.
    fn check_rest(&self, n: usize, wish: &Wish, addr: Addr, pool: &Pool, held: bool) -> Checked {
        let Some(freed) = self.freed.get(&addr).filter(|_| !held) else { return Ok(()) };
        let own = wish.sticky && (freed.node, freed.pod) == (n, wish.pod);
        let rest = u64::try_from(pool.cooldown.as_millis()).unwrap();
        let node = &self.nodes[freed.node];
        if own
            || n != freed.node
            || !node.on
            || node.boot != freed.boot
            || self.time >= freed.at + rest
        {
            return Ok(());
        }
        let what =
            format!("{addr} was freed at {} by node {}, given out by {n}", freed.at, freed.node);
        self.violate(Rule::Rest, what)
    }

    /// An ADD has failed: the attachment has nothing that it did not have before.
    pub(crate) fn failed(&mut self, n: usize, wish: &Wish, trouble: &Trouble) -> Checked {
        let held = self.held(n, wish.pod, wish.generation);
        if !held.is_empty() && held.iter().any(|a| a.nonce == wish.nonce) {
            self.violate(Rule::Half, format!("an ADD failed ({trouble}) and left {held:?}"))?;
        }
        self.troubled(n, trouble)
    }

    /// Whether a trouble is one that can be.
    pub(crate) fn troubled(&self, n: usize, trouble: &Trouble) -> Checked {
        let uuid = &self.nodes[n].ledger.node().uuid;
        let removed = self.stones.contains_key(uuid);
        let alarm = match trouble {
            Trouble::Tombstoned { .. } | Trouble::Revoked { .. } => !removed,
            Trouble::Copied { .. }
            | Trouble::Restored { .. }
            | Trouble::OtherCluster { .. }
            | Trouble::Newer { .. }
            | Trouble::BadPool(_)
            | Trouble::BadRecord(_)
            | Trouble::PoolDiffers { .. }
            | Trouble::PoolOverlaps { .. }
            | Trouble::NoPool { .. }
            | Trouble::NoFamily { .. } => true,
            _ => false,
        };
        if alarm && !removed {
            self.violate(Rule::Alarm, format!("node {n}: {trouble}"))
        } else {
            Ok(())
        }
    }

    /// I5: where nothing is left to do, etcd says what the node says.
    pub(crate) fn check_drift(&self, n: usize) -> Checked {
        let node = &self.nodes[n];
        let ledger = &node.ledger;
        let settled = node.on
            && !self.stones.contains_key(&ledger.node().uuid)
            && !self.overdue.contains(&ledger.node().uuid)
            && node.processes.is_empty()
            && ledger.outbox().next().is_none()
            && ledger.boot().is_some_and(|boot| {
                boot.cleaned && boot.sweeps.is_empty() && boot.evicted.is_none()
            })
            && !self.wire.iter().any(|packet| packet.uuid == ledger.node().uuid);
        if !settled {
            return Ok(());
        }
        let uuid = &ledger.node().uuid;
        let records: BTreeMap<Addr, (String, String, String)> = self
            .records()
            .into_iter()
            .filter(|(_, r)| r.u.as_ref() == Some(uuid) && r.st == AddressState::Used)
            .map(|(addr, r)| (addr, (r.w, r.c, r.x)))
            .collect();
        let table: BTreeMap<Addr, (String, String, String)> = ledger
            .allocations()
            .map(|a| {
                let container = a.attachment.container.as_str().to_owned();
                (a.addr, (a.network.as_str().to_owned(), container, a.nonce.clone()))
            })
            .collect();
        if records != table {
            let what = format!("node {n} holds {table:?}, etcd has {records:?}");
            self.violate(Rule::Drift, what)?;
        }
        Ok(())
    }

    /// What the runtimes of a node think is what it holds.
    pub(crate) fn check_table(&self, n: usize) -> Checked {
        let node = &self.nodes[n];
        let mut seen = BTreeSet::new();
        for allocation in node.ledger.allocations() {
            if !seen.insert(allocation.addr) {
                self.violate(Rule::Duplicate, format!("{} is twice on node {n}", allocation.addr))?;
            }
        }
        for (pod, state) in node.pods.iter().enumerate() {
            let Pod::Live(addrs) = state else { continue };
            let generation = node.generations[pod];
            let held: Vec<Addr> = self.held(n, pod, generation).iter().map(|a| a.addr).collect();
            if held != *addrs {
                let (net, it) = (network(pod), attachment(pod, generation));
                let what = format!("{net} {it} of node {n} was given {addrs:?} and holds {held:?}");
                self.violate(Rule::Repeat, what)?;
            }
        }
        Ok(())
    }
}
