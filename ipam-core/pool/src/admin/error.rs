//! Why an operator's change is refused.

use std::fmt;

use ipam_core::addr::{Addr, Cidr};

use crate::admin::plan::Why;
use crate::ops::one_of;
use crate::pool::{BadPool, Difference};
use crate::record::{AddressRecord, AddressState, BadRecord};

/// Why something could not be done. Nothing was changed, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// etcd did not answer in time.
    #[error("etcd did not answer in time{}", if *doubtful { ", and whether it did what was asked is not known" } else { "" })]
    Away {
        /// Whether the last request may have been, or may still be, carried out.
        doubtful: bool,
    },
    /// The data was written by a later version.
    #[error("the data in etcd has schema {schema}, and this version knows {known}")]
    Newer {
        /// The oldest schema that may write it.
        schema: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// A record cannot be read.
    #[error(transparent)]
    BadRecord(#[from] BadRecord),
    /// Others changed the same records again and again.
    #[error("gave up after {tries} conflicts with others who change the same")]
    Contended {
        /// How often.
        tries: u32,
    },
    /// A pool's description is wrong.
    #[error("{0}")]
    BadPool(#[from] BadPool),
    /// Another pool's description in etcd is wrong: whether pools overlap cannot be known.
    #[error("pool {name} in etcd cannot be understood: {problem}")]
    BadNeighbour {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: BadPool,
    },
    /// A name of a space cannot be part of a key.
    #[error("the space's name {0}")]
    BadSpace(String),
    /// There is no such pool.
    #[error("there is no pool {name} in space {space}{}", one_of(pools))]
    NoPool {
        /// The name.
        name: String,
        /// The space.
        space: String,
        /// The pools that there are.
        pools: Vec<String>,
    },
    /// There is such a pool, and it is another one.
    #[error("there is a pool {name} already, and it is another one: {}", differing(differences))]
    PoolExists {
        /// The name.
        name: String,
        /// In what they differ: first what is wanted, then what is there.
        differences: Vec<Difference>,
    },
    /// The pool shares addresses with another one of the space.
    #[error("pool {name} would overlap pool {other} in {shared}")]
    Overlap {
        /// The pool.
        name: String,
        /// The other one.
        other: String,
        /// The addresses that both would have, as CIDR.
        shared: Cidr,
    },
    /// Something is in use that the change would take away.
    #[error("{0}")]
    InTheWay(Box<InTheWay>),
    /// So many reservations lie in what is to be excluded that one transaction cannot look around them.
    #[error("{count} reservations lie in what is to be excluded, more than one change can look at")]
    TooScattered {
        /// How many.
        count: usize,
    },
    /// The pool has reservations, which would go with it.
    #[error("pool {name} has {} reserved addresses, which would go with it", reserved.len())]
    HasReservations {
        /// The pool.
        name: String,
        /// They.
        reserved: Vec<Holding>,
    },
    /// There is no such node.
    #[error("there is no node {0}")]
    NoNode(String),
    /// Several nodes are called so: by name, index or UUID.
    #[error("{what} is the name or index of {} nodes", uuids.len())]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// They.
        uuids: Vec<String>,
    },
    /// The node's agent runs.
    #[error("node {name} is alive: its agent answers")]
    Alive {
        /// The node's name.
        name: String,
    },
    /// The node may go on without etcd for ever.
    #[error("node {name} may give out addresses without etcd for ever (its block {block} says so)")]
    ForEver {
        /// The node's name.
        name: String,
        /// The block.
        block: String,
    },
    /// The clock of the machine that removes a node is behind.
    #[error("this machine's clock ({now}) is behind the removal of the node ({at})")]
    ClockBehind {
        /// When it was removed, in seconds since 1970.
        at: u64,
        /// The time of now.
        now: u64,
    },
    /// The node is not being removed.
    #[error("node {0} is not being removed")]
    NotRemoved(String),
    /// The removal has gone too far.
    #[error("blocks of node {0} were given back already")]
    GivenBack(String),
    /// The node was removed: nobody can go on as it.
    #[error("node {name} was removed by {by}")]
    Removed {
        /// The node's name.
        name: String,
        /// Who did.
        by: String,
    },
    /// This installation holds addresses.
    #[error("this installation holds {held} addresses")]
    Holds {
        /// How many.
        held: u64,
    },
    /// This installation is a node that nobody has removed.
    #[error("this installation is node {name}, which was not removed")]
    StillNode {
        /// Its name.
        name: String,
    },
    /// This installation is that node already.
    #[error("this installation is node {0} already")]
    IsNode(String),
    /// The node was started elsewhere meanwhile.
    #[error("node {name} runs elsewhere: its boot ID has become {boot}")]
    Runs {
        /// The node's name.
        name: String,
        /// The boot that writes for it now.
        boot: String,
    },
    /// The cluster is another one than the one that the node belongs to.
    #[error("this etcd cluster ({now:x}) is not the one that this node belongs to ({known:x})")]
    OtherCluster {
        /// The cluster that the node belongs to.
        known: u64,
        /// The one that has answered.
        now: u64,
    },
    /// No pool of the space has the address.
    #[error("{addr} is in no pool of space {space}")]
    NotInAPool {
        /// The address.
        addr: Addr,
        /// The space.
        space: String,
    },
    /// The address is used.
    #[error("{0}")]
    Taken(Box<Holding>),
    /// The address is not reserved.
    #[error("{0} is not reserved")]
    NotReserved(Addr),
    /// The node that holds the address's block is being removed.
    #[error("{addr} lies in a block of node {node}, which is being removed")]
    OwnerRemoved {
        /// The address.
        addr: Addr,
        /// The node's UUID.
        node: String,
    },
    /// The node that holds the address's block could not do it.
    #[error("the node that holds its block refuses: {0}")]
    Refused(String),
    /// There are more keys than this can look at.
    #[error("there are more than {0} records to look at")]
    TooMany(usize),
}

/// Who has an address, according to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The address.
    pub addr: Addr,
    /// Who.
    pub record: AddressRecord,
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.record;
        write!(f, "{} is ", self.addr)?;
        match r.st {
            AddressState::Resv if r.p.is_empty() => return f.write_str("reserved"),
            AddressState::Resv => return write!(f, "reserved for {}", r.p),
            AddressState::Park => f.write_str("kept for")?,
            AddressState::Used => f.write_str("held by")?,
        }
        if !r.p.is_empty() {
            write!(f, " pod {}", r.p)?;
        } else if !r.c.is_empty() {
            write!(f, " container {}", r.c)?;
        } else {
            f.write_str(" somebody")?;
        }
        if !r.i.is_empty() {
            write!(f, " {}", r.i)?;
        }
        match r.n {
            Some(index) => write!(f, " on node {index}"),
            None => Ok(()),
        }
    }
}

/// A block that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The block.
    pub block: Cidr,
    /// The pool that its record names.
    pub pool: String,
    /// The index of the node; none: it is nobody's.
    pub index: Option<u32>,
    /// The UUID of the node.
    pub uuid: Option<String>,
}

/// What is in use that a change would take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// The pool.
    pub pool: String,
    /// What about it cannot be changed.
    pub whys: Vec<Why>,
    /// The blocks that stand against it, by address.
    pub blocks: Vec<Use>,
    /// The addresses that stand against it.
    pub addresses: Vec<Holding>,
    /// Whether there are more of them than are listed.
    pub more: bool,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count if self.more => format!("at least {count} {what}s"),
            count => format!("{count} {what}s"),
        };
        let mut used = Vec::new();
        if !self.blocks.is_empty() {
            used.push(many(self.blocks.len(), "block"));
        }
        if !self.addresses.is_empty() {
            used.push(match self.addresses.len() {
                1 => "1 address".to_owned(),
                count if self.more => format!("at least {count} addresses"),
                count => format!("{count} addresses"),
            });
        }
        let whys: Vec<String> = self.whys.iter().map(ToString::to_string).collect();
        let verb = if self.blocks.len() + self.addresses.len() == 1 { "is" } else { "are" };
        write!(
            f,
            "pool {}: {} while {} {verb} in use",
            self.pool,
            whys.join(", and "),
            used.join(" and ")
        )
    }
}

fn differing(differences: &[Difference]) -> String {
    let texts: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is {} there and to be {}", d.key, d.two, d.one))
        .collect();
    texts.join(", ")
}

impl AdminError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Away { doubtful: true } => {
                "run it again: it looks at what is there, and does what is missing"
            }
            Self::Away { doubtful: false } => {
                "nothing was changed by the last request; look at the etcd members and the way to them"
            }
            Self::Newer { .. } => "install the version that wrote it, or a later one",
            Self::BadRecord(_) => {
                "it was written by hand or by a later version: `plat check --cluster` says what it should be"
            }
            Self::Contended { .. } => "try again",
            Self::BadPool(problem) => return format!("right would be {}", problem.expected),
            Self::BadNeighbour { .. } => "correct or remove that pool first",
            Self::BadSpace(_) => "letters, digits, '_', '.' and '-' are right",
            Self::NoPool { .. } => "`plat pool ls` shows them; --space names another space",
            Self::PoolExists { .. } => "`plat pool edit` changes it",
            Self::Overlap { .. } => {
                "give it other addresses; addresses that exist twice belong into another --space"
            }
            Self::InTheWay(way) => return way.advice(),
            Self::TooScattered { .. } => {
                "exclude less at once; what is reserved is not given out anyway"
            }
            Self::HasReservations { .. } => {
                "--yes removes them with the pool; `plat pool unreserve IP` ends one"
            }
            Self::NoNode(_) | Self::Ambiguous { .. } => {
                "`plat node ls` shows their names, indexes and UUIDs"
            }
            Self::Alive { .. } => {
                "stop it first; --force removes it all the same, and its pods keep running with addresses \
                 that others get"
            }
            Self::ForEver { .. } => {
                "switch the machine off, and give --node-is-off: from then on it needs etcd before it gives \
                 out anything, and learns there that it was removed"
            }
            Self::ClockBehind { .. } => {
                "set this machine's clock, or run it where the removal was begun"
            }
            Self::NotRemoved(_) => "`plat node ls` shows which nodes are",
            Self::GivenBack(_) => {
                "finish the removal with `plat node remove`; the machine then goes on as a new node with \
                 `plat node adopt --anew`"
            }
            Self::Removed { .. } => {
                "`plat node adopt --anew` makes this installation a new node, once the removal is finished"
            }
            Self::Holds { .. } => {
                "delete this node's pods first; `plat ls` shows what is held, `plat gc` frees what does not \
                 live any more"
            }
            Self::StillNode { .. } => {
                "remove it first: `plat node remove` takes back what it holds"
            }
            Self::IsNode(_) => "there is nothing to adopt",
            Self::Runs { .. } => "two machines cannot be one node: stop the other one, then try again",
            Self::OtherCluster { .. } => {
                "correct the endpoints; a node that moves to another cluster deletes its pods and runs \
                 `plat node adopt --anew`"
            }
            Self::NotInAPool { .. } => "`plat pool ls` shows the pools; --space names another space",
            Self::Taken(_) => "reserve it when its holder is deleted, or reserve another one",
            Self::NotReserved(_) => "`plat pool show POOL` lists what is reserved",
            Self::OwnerRemoved { .. } => {
                "finish the removal with `plat node remove`; then it can be reserved"
            }
            Self::Refused(_) => "`plat ls` on that node shows who has it",
            Self::TooMany(_) => "look at one space or one pool",
        }
        .to_owned()
    }
}

impl InTheWay {
    /// What to do about it.
    pub fn advice(&self) -> String {
        let blocks = self.whys.iter().any(Why::is_about_blocks);
        if blocks && !self.blocks.is_empty() {
            "it can be changed when no node holds a block of the pool: make a new pool of the wanted kind, \
             move the networks to it, and remove this one when its pods are gone"
        } else if self.blocks.is_empty() {
            "delete the pods first, end reservations with `plat pool unreserve`"
        } else {
            "delete the pods of these nodes that use the pool; a node gives back a block when it is empty, \
             and `plat node remove` takes them from a node that is gone"
        }
        .to_owned()
    }
}
