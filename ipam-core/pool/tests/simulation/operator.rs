//! An operator who removes nodes: the transactions of the design, each by itself.

use ipam_pool::record::{self, BlockRecord, Tombstone};
use ipam_pool::txn::{Compare, Op, Txn};

use crate::setup::{AUTONOMY, SPACE};
use crate::world::{Checked, Packet, World};

/// For how long after the tombstone nothing of a node is given to others, in milliseconds.
pub(crate) const HOLD: u64 = AUTONOMY * 1050 + 60_000;

impl World {
    /// Marks a node as removed.
    pub(crate) fn entomb(&mut self, n: usize) -> Checked {
        let uuid = self.nodes[n].ledger.node().uuid.clone();
        if uuid.is_empty() || self.stones.contains_key(&uuid) {
            return Ok(());
        }
        self.say(format!("node {n} is removed"));
        let stone = Tombstone {
            at: self.time / 1000,
            by: "admin".to_owned(),
            hold: HOLD / 1000,
            ..Tombstone::default()
        };
        let key = self.keys.tombstone(&uuid);
        self.stones.insert(uuid, (self.time, n));
        self.admin(Txn {
            compares: vec![Compare::absent(key.clone())],
            then: vec![Op::put(key, record::write(&stone))],
            otherwise: Vec::new(),
        })
    }

    /// Takes one block of a removed node whose time is over, or its registration.
    pub(crate) fn reclaim(&mut self) -> Checked {
        let time = self.time;
        let due: Vec<(String, usize)> = self
            .stones
            .iter()
            .filter(|(_, (at, _))| at + HOLD < time)
            .map(|(uuid, (_, n))| (uuid.clone(), *n))
            .collect();
        for (uuid, n) in due {
            let stone = self.keys.tombstone(&uuid);
            let created = self.etcd.get(&stone).map_or(0, |kv| kv.created);
            let standing = Compare::created(stone, created);
            let block = self.blocks().into_iter().find(|(_, b, _)| b.u.as_ref() == Some(&uuid));
            if let Some((interval, block, fence)) = block {
                self.say(format!("the block at {} is taken from node {n}", interval.first()));
                // Its pods there are off, or nobody looks at them any more.
                self.live.retain(|addr, live| live.node != n || !interval.contains(*addr));
                return self.take_block(&uuid, standing, interval, &block, fence);
            }
            let lent: Vec<_> = self
                .records()
                .into_iter()
                .filter(|(_, r)| r.u.as_ref() == Some(&uuid))
                .map(|(addr, _)| addr)
                .collect();
            if let Some(addr) = lent.first().copied() {
                self.say(format!("{addr} is taken from node {n}"));
                self.live.retain(|of, live| live.node != n || *of != addr);
                let then = vec![
                    Op::delete(self.keys.address(SPACE, addr)),
                    Op::delete(self.keys.exception(SPACE, addr)),
                ];
                return self.admin(Txn { compares: vec![standing], then, otherwise: Vec::new() });
            }
            let registered = self.keys.node(&uuid);
            let Some(kv) = self.etcd.get(&registered) else { continue };
            let node: record::NodeRecord = record::read(kv).unwrap();
            self.say(format!("node {n} is forgotten"));
            let then = vec![
                Op::delete(registered),
                Op::delete(self.keys.boot(&uuid)),
                Op::delete(self.keys.name(&node.name)),
                Op::delete(self.keys.index(node.idx)),
            ];
            return self.admin(Txn { compares: vec![standing], then, otherwise: Vec::new() });
        }
        Ok(())
    }

    fn take_block(
        &mut self,
        uuid: &str,
        standing: Compare,
        interval: ipam_core::addr::Interval,
        block: &BlockRecord,
        fence: i64,
    ) -> Checked {
        let key = self.keys.block(SPACE, interval.first());
        let mut compares = vec![standing, Compare::created(key.clone(), fence)];
        let lent = self.etcd.range(&self.keys.exceptions(SPACE, interval)).next().is_some();
        if !lent {
            compares.push(Compare::empty(self.keys.exceptions(SPACE, interval)));
            let (first, end) = self.keys.addresses(SPACE, interval);
            let then = vec![Op::Delete { key: first, end: Some(end) }, Op::delete(key)];
            return self.admin(Txn { compares, then, otherwise: Vec::new() });
        }
        // Others use addresses of it: the block is nobody's then.
        let mut then =
            vec![Op::put(key, record::write(&BlockRecord { n: None, u: None, ..block.clone() }))];
        for (addr, record) in self.records() {
            if interval.contains(addr) && record.u.as_deref() == Some(uuid) {
                then.push(Op::delete(self.keys.address(SPACE, addr)));
            }
        }
        self.admin(Txn { compares, then, otherwise: Vec::new() })
    }

    fn admin(&mut self, txn: Txn) -> Checked {
        let packet = Packet { txn, uuid: "admin".to_owned(), sent: self.time };
        self.carry_out(&packet).map(|_| ())
    }
}
