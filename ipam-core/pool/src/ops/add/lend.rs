//! An address out of a block of another node, in a pool that lends.

use std::collections::BTreeSet;

use ipam_core::addr::Addr;
use ipam_core::allocator::Refusal;
use ipam_core::range::Range;

use super::{Add, Next, Probe, State, unserved};
use crate::key::{Key, block_of};
use crate::ledger::{Ledger, Tx};
use crate::node::{Block, BlockState};
use crate::op::{Now, Step};
use crate::ops::Trouble;
use crate::ops::claim::spread;
use crate::ops::write::meet;
use crate::record::{self, BlockRecord, Mode};
use crate::txn::{Op, Reply, Txn};

/// In how many blocks of others an address is looked for.
const PROBES: u32 = 8;

/// How many keys of a block are read to find a free address in it.
const KEYS: i64 = 4096;

impl Add {
    /// Reads blocks of others, from a place on that differs from call to call; or the one of an address.
    pub(super) fn look(&mut self, now: Now, mut probe: Probe) -> Next {
        probe.probes += 1;
        let Some(part) = probe.pool.part(probe.need.family) else {
            return Step::Done(Err(unserved(probe.need, probe.trouble)));
        };
        let all = part.cidr.network();
        let from = match probe.need.addr {
            Some(addr) => block_of(addr, part.block).map(|cidr| cidr.network()),
            None => {
                let seed = format!("{}/{}", self.request.nonce, probe.probes);
                let first = part.block_at(spread(&seed) % part.blocks().max(1)).map(|c| c.addr());
                // Every other time from the beginning, so that a single block at the end is found, too.
                let first = first.filter(|_| probe.probes % 2 == 1);
                all.from(first.unwrap_or(all.first()))
            }
        };
        let range = self.context.keys.blocks(&self.request.id.space, from.unwrap_or(all));
        let limit = if probe.need.addr.is_some() { 1 } else { i64::from(PROBES) };
        self.state = State::Looking(probe);
        let read = Op::Get { key: range.0, end: Some(range.1), keys_only: false, limit };
        self.ask(now, Txn { then: vec![read], ..Txn::default() })
    }

    /// Chooses a block to look into.
    pub(super) fn looked<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        probe: Probe,
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let node = ledger.transact(|tx| Ok(tx.node().clone()))?;
        if let Err(trouble) = ledger.transact(|tx| meet(tx, reply))? {
            return Ok(Step::Done(Err(trouble)));
        }
        let mut lenders = Vec::new();
        for kv in reply.got(0) {
            let Some(Key::Block { first, .. }) = self.context.keys.parse(&kv.key) else { continue };
            let record: BlockRecord = record::read(kv).unwrap_or_default();
            if record.m != Mode::Sync || record.u.as_deref() == Some(node.uuid.as_str()) {
                continue;
            }
            lenders.push(Block {
                id: self.request.id.clone(),
                first,
                prefix: record.len,
                fence: kv.created,
                mode: record.m,
                autonomy: record.aut,
                state: BlockState::Held,
            });
        }
        let pick = spread(&format!("{}/{}/pick", self.request.nonce, probe.probes));
        let count = u128::try_from(lenders.len()).unwrap_or_default();
        let index = usize::try_from(pick % count.max(1)).unwrap_or_default();
        let Some(block) = lenders.into_iter().nth(index) else {
            return Ok(self.look_again(now, probe));
        };
        let addresses = self.context.keys.addresses(&self.request.id.space, block.interval());
        self.state = State::Probing(probe, block);
        Ok(self.ask(now, Txn { then: vec![Op::keys(addresses, KEYS)], ..Txn::default() }))
    }

    pub(super) fn look_again(&mut self, now: Now, probe: Probe) -> Next {
        if probe.probes >= PROBES || probe.need.addr.is_some() {
            return Step::Done(Err(unserved(probe.need, probe.trouble)));
        }
        self.look(now, probe)
    }

    /// Chooses a free address of another's block.
    pub(super) fn probed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now: Now,
        (probe, block): (Probe, Block),
        reply: &Reply,
    ) -> Result<Next, L::Error> {
        let taken: BTreeSet<Addr> = reply
            .got(0)
            .iter()
            .filter_map(|kv| match self.context.keys.parse(&kv.key) {
                Some(Key::Address { addr, .. }) => Some(addr),
                _ => None,
            })
            .collect();
        let Some(set) = probe.pool.range_set(std::iter::once(&block)) else {
            return Ok(self.look_again(now, probe));
        };
        let id = self.request.id.clone();
        let free = ledger.transact(|tx| {
            let known = tx.occupied(&id, block.interval())?;
            let mut seen = 0_i64;
            for interval in set.ranges().iter().flat_map(Range::usable) {
                let mut next = Some(interval.first());
                while let Some(addr) = next.filter(|addr| interval.contains(*addr)) {
                    seen += 1;
                    let wanted = probe.need.addr.is_none_or(|wanted| wanted == addr);
                    if wanted && !taken.contains(&addr) {
                        // One that waits to be given back, or was another's a moment ago, is not asked for.
                        let waits = tx.dirty(&id, addr)?.is_some() || tx.at(&id, addr)?.is_some();
                        if !waits && (!known.contains(&addr) || probe.need.addr.is_some()) {
                            return Ok(Some(addr));
                        }
                    }
                    if seen > KEYS {
                        return Ok(None);
                    }
                    next = addr.next();
                }
            }
            Ok(None)
        })?;
        let Some(addr) = free else {
            return Ok(match probe.need.addr {
                Some(addr) if taken.contains(&addr) => {
                    let by = "in use or reserved".to_owned();
                    Step::Done(Err(Trouble::TakenElsewhere { addr, by }))
                }
                Some(addr) => Step::Done(Err(Trouble::Refused(Refusal::Unused(vec![addr])))),
                None => self.look_again(now, probe),
            });
        };
        self.lent.insert(probe.need.family, (addr, block.fence));
        self.decide(ledger, now)
    }
}
