//! What a process does.

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
use ipam_core::policy::Strategy;
use ipam_pool::memory::{MemoryError, MemoryLedger};
use ipam_pool::node::PoolId;
use ipam_pool::op::{Event, Now, Operation, Step};
use ipam_pool::ops::{Add, AddRequest, Added, Context, Facts, Flush, Join, Trouble, Upkeep};
use ipam_pool::txn::Txn;

use crate::setup::SPACE;

/// What a process does.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Join,
    Add(Wish),
    Flush,
    Upkeep,
}

/// What an ADD asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The position of the pod on its node.
    pub(crate) pod: usize,
    /// How many pods there were in this place before.
    pub(crate) generation: u32,
    pub(crate) pool: &'static str,
    pub(crate) requested: Vec<Addr>,
    pub(crate) sticky: bool,
    pub(crate) nonce: String,
    /// Whether nobody takes the answer: then it is taken back.
    pub(crate) unheard: bool,
    /// Whether the node was joined for it already.
    pub(crate) joined: bool,
}

/// An operation.
#[derive(Debug)]
pub(crate) enum Running {
    Join(Box<Join>),
    Add(Box<Add>),
    Flush(Flush),
    Upkeep(Upkeep),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Asks(Txn),
    Joined(Result<(), Trouble>),
    Added(Result<Added, Trouble>),
    /// What a flush or an upkeep came to.
    Other(Result<(), Trouble>),
}

pub(crate) fn pool_id(pool: &str) -> PoolId {
    PoolId { space: SPACE.to_owned(), pool: pool.to_owned() }
}

/// The CNI network of a pod: two of them share each pool.
pub(crate) fn network(pod: usize) -> Network {
    Network::new(format!("net{}", pod % 2)).unwrap()
}

/// The container of a pod of this generation; the same in both networks.
pub(crate) fn attachment(pod: usize, generation: u32) -> Attachment {
    Attachment {
        container: ContainerId::new(format!("c{}-{generation}", pod / 2)).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

impl Wish {
    fn request(&self) -> AddRequest {
        AddRequest {
            id: pool_id(self.pool),
            network: network(self.pod),
            attachment: attachment(self.pod, self.generation),
            owner: Owner {
                namespace: Some("ns".to_owned()),
                name: Some(format!("pod-{}", self.pod)),
                uid: None,
            },
            requested: self.requested.clone(),
            families: Vec::new(),
            strategy: if self.sticky { Strategy::Sticky } else { Strategy::Next },
            nonce: self.nonce.clone(),
            wanted: Box::new(|| true),
        }
    }
}

impl Running {
    pub(crate) fn new(job: &Job, context: Context, facts: Facts) -> Self {
        match job {
            Job::Join => Self::Join(Box::new(Join::new(context, facts, SPACE.to_owned()))),
            Job::Add(wish) => Self::Add(Box::new(Add::new(context, wish.request()))),
            Job::Flush => Self::Flush(Flush::new(context)),
            Job::Upkeep => Self::Upkeep(Upkeep::new(context)),
        }
    }

    pub(crate) fn step(
        &mut self,
        ledger: &mut MemoryLedger,
        now: Now,
        event: Event,
    ) -> Result<Outcome, MemoryError> {
        Ok(match self {
            Self::Join(join) => match join.step(ledger, now, event)? {
                Step::Ask(txn) => Outcome::Asks(txn),
                Step::Done(done) => Outcome::Joined(done),
            },
            Self::Add(add) => match add.step(ledger, now, event)? {
                Step::Ask(txn) => Outcome::Asks(txn),
                Step::Done(done) => Outcome::Added(done),
            },
            Self::Flush(flush) => match flush.step(ledger, now, event)? {
                Step::Ask(txn) => Outcome::Asks(txn),
                Step::Done(done) => Outcome::Other(done.map(|_| ())),
            },
            Self::Upkeep(upkeep) => match upkeep.step(ledger, now, event)? {
                Step::Ask(txn) => Outcome::Asks(txn),
                Step::Done(done) => Outcome::Other(done.map(|_| ())),
            },
        })
    }
}
