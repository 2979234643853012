//! How much of a pool is used.

use ipam_core::addr::Interval;

use crate::admin::Administer;
use crate::admin::error::{AdminError, Holding};
use crate::admin::pools::holding;
use crate::admin::scan::Scan;
use crate::key::Keys;
use crate::op::{Now, Step};
use crate::pool::Pool;
use crate::record::AddressState;
use crate::txn::Reply;

/// How many reservations are listed.
const LISTED: usize = 1_000;

/// How many addresses of a pool are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Held by attachments.
    pub used: u64,
    /// Kept for interfaces of pods that are away.
    pub parked: u64,
    /// Reserved by operators.
    pub reserved: u64,
    /// The reservations, by address, the first thousand of them.
    pub reservations: Vec<Holding>,
}

/// Counts the records of a pool's addresses, page by page.
#[derive(Clone, Debug)]
pub struct CountPool {
    keys: Keys,
    space: String,
    intervals: Vec<Interval>,
    page: Option<Scan>,
    usage: PoolUsage,
}

impl CountPool {
    /// The machine.
    pub fn new(keys: Keys, space: String, pool: &Pool) -> Self {
        let mut intervals: Vec<Interval> = pool.intervals().collect();
        intervals.reverse();
        Self { keys, space, intervals, page: None, usage: PoolUsage::default() }
    }

    fn next(&mut self) -> Step<PoolUsage> {
        let Some(interval) = self.intervals.pop() else {
            return Step::Done(std::mem::take(&mut self.usage));
        };
        // One page each: what was counted need not be kept.
        let mut page =
            Scan::new().and(self.keys.addresses(&self.space, interval), crate::admin::scan::PAGE);
        let txn = page.ask().unwrap_or_default();
        self.page = Some(page);
        self.intervals.push(interval);
        Step::Ask(txn)
    }
}

impl Administer for CountPool {
    type Output = PoolUsage;

    fn advance(&mut self, _: Now, reply: Option<&Reply>) -> Result<Step<PoolUsage>, AdminError> {
        let (Some(mut page), Some(reply)) = (self.page.take(), reply) else {
            return Ok(self.next());
        };
        let _ = page.take(reply);
        let mut last = None;
        for kv in page.found(0) {
            let Some(holding) = holding(&self.keys, kv)? else { continue };
            last = Some(holding.addr);
            match holding.record.st {
                AddressState::Used => self.usage.used += 1,
                AddressState::Park => self.usage.parked += 1,
                AddressState::Resv => {
                    self.usage.reserved += 1;
                    if self.usage.reservations.len() < LISTED {
                        self.usage.reservations.push(holding);
                    }
                }
            }
        }
        if let Some(interval) = self.intervals.pop()
            && page.more()
        {
            let rest = last.and_then(|last| last.next()).and_then(|next| interval.from(next));
            self.intervals.extend(rest);
        }
        Ok(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::scan::PAGE;
    use crate::admin::tests::run;
    use crate::model::Etcd;
    use crate::pool::PoolSpec;
    use crate::txn::{Op, Txn};
    use ipam_core::addr::{Addr, Family};

    #[test]
    fn every_address_counts_once() {
        let mut etcd = Etcd::default();
        let keys = Keys::default();
        let base = Addr::parse("10.0.0.0").unwrap();
        for n in 0..(2 * PAGE as u128 + 7) {
            let st = if n % 1000 == 5 { "resv" } else { "used" };
            let key = keys.address("s", base.offset(n).unwrap());
            let then = vec![Op::put(key, format!(r#"{{"st":"{st}"}}"#))];
            etcd.txn(&Txn { then, ..Txn::default() }).unwrap();
        }
        for outside in ["9.255.255.255", "10.1.0.0"] {
            let key = keys.address("s", Addr::parse(outside).unwrap());
            let then = vec![Op::put(key, "{}")];
            etcd.txn(&Txn { then, ..Txn::default() }).unwrap();
        }
        let key = keys.address("s", Addr::new(Family::V6, 5).unwrap());
        etcd.txn(&Txn { then: vec![Op::put(key, r#"{"st":"park"}"#)], ..Txn::default() }).unwrap();
        let spec: PoolSpec =
            serde_json::from_str(r#"{"name":"p","cidr":"10.0.0.0/16","cidr6":"::/96"}"#).unwrap();
        let pool = Pool::try_from(&spec).unwrap();
        let usage =
            run(CountPool::new(keys, "s".to_owned(), &pool), &mut etcd, Now::default()).unwrap();
        assert_eq!((usage.used, usage.parked, usage.reserved), (2 * PAGE as u64 + 2, 1, 5));
        assert_eq!(usage.reservations.len(), 5);
    }
}
