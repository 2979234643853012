//! The model of etcd in `ipam_pool::model` against a real one: the same transactions, the same replies.

use ipam_pool::model;
use ipam_pool::txn::{Answer, Compare, Kv, Op, Reply, Target, Txn};
use support::Random;
use support::etcd::{Etcd, available};

use super::{client, soon};

const ROUNDS: usize = 1500;

/// What both have come to, relative to the revision that each began with.
fn shifted(mut reply: Reply, base: i64) -> Reply {
    reply.cluster = 0;
    reply.doubt = false;
    reply.revision -= base;
    for answer in &mut reply.answers {
        if let Answer::Got { kvs, .. } = answer {
            for Kv { created, modified, .. } in kvs {
                *created -= base;
                *modified -= base;
            }
        }
    }
    reply
}

struct Maker(Random);

impl Maker {
    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.0.below(count as u64)).unwrap()
    }

    fn key(&mut self) -> Vec<u8> {
        format!("/x/{}", self.below(8)).into_bytes()
    }

    fn end(&mut self) -> Option<Vec<u8>> {
        match self.below(4) {
            0 | 1 => None,
            2 => Some(self.key()),
            _ => Some(b"/x0".to_vec()),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        format!("v{}", self.below(3)).into_bytes()
    }

    /// A revision: none, one that is likely to be there, or any.
    fn revision(&mut self, known: &[i64]) -> i64 {
        match self.below(3) {
            0 => 0,
            1 if !known.is_empty() => known[self.below(known.len())],
            _ => i64::try_from(self.below(50)).unwrap(),
        }
    }

    fn compare(&mut self, known: &[i64]) -> Compare {
        let target = match self.below(3) {
            0 => Target::Created(self.revision(known)),
            1 => Target::Modified(self.revision(known)),
            _ => Target::Value(self.value()),
        };
        Compare { key: self.key(), end: self.end(), target }
    }

    fn op(&mut self) -> Op {
        match self.below(5) {
            0 | 1 => Op::Put { key: self.key(), value: self.value(), lease: 0 },
            2 => Op::Delete { key: self.key(), end: self.end() },
            _ => Op::Get {
                key: self.key(),
                end: self.end(),
                keys_only: self.below(3) == 0,
                limit: i64::try_from(self.below(4)).unwrap(),
            },
        }
    }

    fn list<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn txn(&mut self, known: &[i64]) -> Txn {
        let mut txn = Txn {
            compares: self.list(2, |m| m.compare(known)),
            then: self.list(4, Self::op),
            otherwise: self.list(4, Self::op),
        };
        // Now and then a list is too long, or a key is none.
        match self.below(60) {
            0 => txn.then = (0..129).map(|n| Op::get(format!("/x/{n}"))).collect(),
            1 => txn.compares.push(Compare::absent("")),
            2 => txn.otherwise.push(Op::put("", "x")),
            3 => txn.then.push(Op::Put { key: b"/x/1".to_vec(), value: vec![], lease: 4711 }),
            _ => {}
        }
        txn
    }
}

#[test]
fn the_model_is_as_etcd_is() {
    if !available("the_model_is_as_etcd_is") {
        return;
    }
    let server = Etcd::single();
    let mut etcd = client(&server.connection());
    let seed = 0x5eed;
    let mut maker = Maker(Random::new(seed));
    let mut model = model::Etcd::default();
    let base = etcd.txn(&Txn::default(), soon()).unwrap().revision;
    let model_base = model.txn(&Txn::default()).unwrap().revision;
    assert_eq!(base, model_base, "revisions in compares are absolute");
    let (mut refused, mut same, mut held, mut failed) = (0, 0, 0, 0);
    let mut known: Vec<i64> = Vec::new();
    for round in 0..ROUNDS {
        let txn = maker.txn(&known);
        match (etcd.txn(&txn, soon()), model.txn(&txn)) {
            (Ok(real), Ok(ours)) => {
                *(if real.succeeded { &mut held } else { &mut failed }) += 1;
                let (real, ours) = (shifted(real, base), shifted(ours, model_base));
                assert_eq!(real, ours, "seed {seed:#x}, round {round}: {txn:#?}");
                known.push(real.revision + base);
                known.drain(..known.len().saturating_sub(20));
            }
            (Err(real), Err(ours)) => {
                refused += 1;
                // Which of two reasons is told is nobody's business.
                same += usize::from(real.message.contains(&ours.to_string()));
            }
            (real, ours) => panic!("round {round}: {real:?} / {ours:?}: {txn:#?}"),
        }
    }
    println!("{held} held, {failed} failed, {refused} refused, {same} of them with the same words");
    assert!(refused > 20 && held > 100 && failed > 100 && same * 2 > refused);
}
