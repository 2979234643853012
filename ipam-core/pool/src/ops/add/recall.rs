/*!
The address that a pod's interface had last, anywhere in the cluster.

In mode `sync` a pod that moves to another node may keep its address: it is remembered in etcd beside the
record, and asked for before anything else is chosen. In mode `local` the node's own memory serves, because
the blocks of other nodes are out of reach.
*/

use ipam_core::addr::{Addr, Family};
use ipam_core::identity::PodInterface;
use ipam_core::policy::Strategy;

use super::{Add, Next};
use crate::ledger::{Allocation, Ledger};
use crate::op::Now;
use crate::ops::claim::spread;
use crate::ops::write::Batch;
use crate::pool::Pool;
use crate::record::{self, Mode, StickyRecord};
use crate::txn::{Op, Reply, Txn};

/// For how long an address is remembered after it was given out, in seconds.
const REMEMBERED: u64 = 30 * 24 * 60 * 60;

/// What names a pod's interface in etcd.
fn name(pod: &PodInterface) -> String {
    format!("{}/{}/{}", pod.namespace, pod.name, pod.ifname)
}

impl Add {
    fn pod(&self) -> Option<PodInterface> {
        PodInterface::of(&self.request.owner, &self.request.attachment.ifname)
            .filter(|_| self.request.strategy == Strategy::Sticky)
    }

    fn key(&self, pod: &PodInterface) -> Vec<u8> {
        let hash = format!("{:016x}", spread(&name(pod)));
        self.context.keys.sticky(&self.request.id.space, &hash)
    }

    /// The pod, where etcd must be asked what it had last.
    pub(super) fn forgotten(&self, pool: &Pool) -> Option<PodInterface> {
        let ask =
            pool.mode == Mode::Sync && self.recalled.is_none() && self.request.requested.is_empty();
        self.pod().filter(|_| ask)
    }

    pub(super) fn recall(&self, pod: &PodInterface) -> Txn {
        Txn { then: vec![Op::get(self.key(pod))], ..Txn::default() }
    }

    pub(super) fn recalled<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let record: StickyRecord =
            reply.one(0).and_then(|kv| record::read(kv).ok()).unwrap_or_default();
        let theirs = self.pod().is_some_and(|pod| name(&pod) == record.key);
        let valid = theirs && record.exp > now.unix;
        let addrs = record.ips.iter().filter(|_| valid).filter_map(|ip| Addr::parse(ip));
        self.recalled = Some(addrs.collect());
        self.decide(ledger, now)
    }

    /// The addresses to try: those that were asked for, or what the pod had last where that is of use still.
    pub(super) fn wanted_addrs(&self, pool: &Pool, families: &[Family]) -> Vec<Addr> {
        if !self.request.requested.is_empty() {
            return self.request.requested.clone();
        }
        let mut wanted: Vec<Addr> = Vec::new();
        for addr in self.recalled.iter().flatten() {
            let inside =
                pool.part(addr.family()).is_some_and(|part| part.cidr.network().contains(*addr));
            let first = wanted.iter().all(|other| other.family() != addr.family());
            if inside && first && families.contains(&addr.family()) {
                wanted.push(*addr);
            }
        }
        wanted
    }

    /// The transaction that writes the records, and what the pod has now.
    pub(super) fn write(&self, batch: &Batch, allocations: &[Allocation], now: Now) -> Txn {
        let mut txn = batch.txn(&self.context);
        if let Some(pod) = self.pod() {
            let record = StickyRecord {
                key: name(&pod),
                ips: allocations.iter().map(|held| held.addr.to_string()).collect(),
                exp: now.unix.saturating_add(REMEMBERED),
                ..StickyRecord::default()
            };
            txn.then.push(Op::put(self.key(&pod), record::write(&record)));
        }
        txn
    }
}
