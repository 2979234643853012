//! What an address is, and who would get it.

use ipam_core::addr::{Addr, Cidr};

use super::snapshot::{Seen, Snapshot, Space, Used};
use super::usage::{Life, life};
use crate::node::PoolId;
use crate::ops::start;
use crate::pool::{Gateway, Pool};
use crate::record::{AddressState, BlockRecord, ExceptionRecord, Mode};

/// How many nodes are named that would come first.
const NEAREST: usize = 3;

/// What is known about an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained<'a> {
    /// The space.
    pub space: &'a str,
    /// The address.
    pub addr: Addr,
    /// The pool that it lies in.
    pub pool: Option<&'a Pool>,
    /// The block that it lies in, if one is claimed.
    pub block: Option<(Cidr, &'a Seen<BlockRecord>)>,
    /// The block that it would lie in, if none is claimed.
    pub place: Option<Cidr>,
    /// What is known of the life of the node that holds the block.
    pub owner_life: Option<Life>,
    /// Its record.
    pub used: Option<&'a Used>,
    /// The mark that it is used outside the node that holds its block.
    pub exception: Option<&'a Seen<ExceptionRecord>>,
    /// What it is.
    pub standing: Standing,
    /// Who would get it, were it asked for now or when it is free.
    pub next: NextOwner<'a>,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// An attachment has it.
    Used,
    /// It is kept for a pod that is away.
    Parked,
    /// An operator has reserved it.
    Reserved,
    /// It is a gateway.
    Gateway,
    /// It is excluded.
    Excluded,
    /// It is the first or last address of its network, which is never given out.
    NetworkEnd,
    /// Nobody has it according to etcd.
    Free,
    /// It lies in no pool.
    NoPool,
}

impl Standing {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Parked => "parked",
            Self::Reserved => "reserved",
            Self::Gateway => "gateway",
            Self::Excluded => "excluded",
            Self::NetworkEnd => "network-end",
            Self::Free => "free",
            Self::NoPool => "no-pool",
        }
    }
}

/// Who would get an address next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextOwner<'a> {
    /// The node that holds its block, for its next pods.
    Holder {
        /// Its UUID.
        uuid: &'a str,
        /// Whether other nodes may borrow it, too.
        lends: bool,
    },
    /// Whoever claims the block: these nodes' search begins nearest before it.
    Claimer {
        /// UUIDs, and how many blocks they pass before.
        nearest: Vec<(&'a str, u128)>,
    },
    /// A pod that comes back.
    Pod,
    /// Nobody, as things are.
    Nobody,
}

/// Tells what an address is.
pub fn explain<'a>(snapshot: &'a Snapshot, space_name: &'a str, addr: Addr) -> Explained<'a> {
    let mut explained = Explained {
        space: space_name,
        addr,
        pool: None,
        block: None,
        place: None,
        owner_life: None,
        used: None,
        exception: None,
        standing: Standing::NoPool,
        next: NextOwner::Nobody,
    };
    let Some(space) = snapshot.spaces.get(space_name) else { return explained };
    explained.pool = space.pool_of(addr);
    explained.block = space.block_of(addr);
    explained.place = space.place_of(addr).map(|(_, cidr)| cidr);
    explained.used = space.at(addr);
    explained.exception = space.exceptions.get(&addr);
    explained.owner_life = explained
        .block
        .and_then(|(_, block)| block.record.u.as_deref())
        .map(|uuid| life(snapshot, uuid));
    explained.standing = standing(space, addr);
    explained.next = match explained.standing {
        Standing::Used | Standing::Free => next(snapshot, &explained, space_name),
        Standing::Parked => NextOwner::Pod,
        _ => NextOwner::Nobody,
    };
    explained
}

fn standing(space: &Space, addr: Addr) -> Standing {
    match space.at(addr).map(|used| used.state) {
        Some(AddressState::Used) => return Standing::Used,
        Some(AddressState::Park) => return Standing::Parked,
        Some(AddressState::Resv) => return Standing::Reserved,
        None => {}
    }
    let Some((pool, place)) = space.place_of(addr) else { return Standing::NoPool };
    if pool.answer(addr).and_then(|(_, gateway)| gateway) == Some(addr) {
        return Standing::Gateway;
    }
    if pool.exclude.iter().map(|exclude| exclude.interval()).any(|interval| interval.contains(addr))
    {
        return Standing::Excluded;
    }
    let withheld = pool.withheld().iter().any(|exclude| exclude.interval().contains(addr));
    let network = place.network();
    let end = pool.gateway == Gateway::Block
        && (addr == network.first()
            || (addr == network.last() && addr.family() == ipam_core::addr::Family::V4));
    if withheld || end { Standing::NetworkEnd } else { Standing::Free }
}

fn next<'a>(snapshot: &'a Snapshot, explained: &Explained<'a>, space: &str) -> NextOwner<'a> {
    let Some(pool) = explained.pool else { return NextOwner::Nobody };
    if let Some((_, block)) = explained.block {
        return match block.record.u.as_deref() {
            Some(uuid) if matches!(explained.owner_life, Some(Life::Alive | Life::Unknown)) => {
                let lends = block.record.m == Mode::Sync && !pool.strict;
                NextOwner::Holder { uuid, lends }
            }
            _ => NextOwner::Nobody,
        };
    }
    let family = explained.addr.family();
    let Some(part) = pool.part(family) else { return NextOwner::Nobody };
    let id = PoolId { space: space.to_owned(), pool: pool.name.clone() };
    let held = |uuid: &str| {
        let blocks = snapshot.spaces.get(space).into_iter().flat_map(|space| &space.blocks);
        let theirs = blocks.filter(|(first, block)| {
            first.family() == family
                && block.record.p == pool.name
                && block.record.u.as_deref() == Some(uuid)
        });
        theirs.count()
    };
    let (Some(position), blocks) = (part.position_of(explained.addr), part.blocks()) else {
        return NextOwner::Nobody;
    };
    let mut nearest: Vec<(&str, u128)> = snapshot
        .nodes
        .keys()
        .filter(|uuid| matches!(life(snapshot, uuid), Life::Alive | Life::Unknown))
        .map(|uuid| {
            let begins = start(uuid, &id, family, held(uuid), part);
            let distance = if begins <= position {
                position - begins
            } else {
                blocks.saturating_sub(begins).saturating_add(position)
            };
            (uuid.as_str(), distance)
        })
        .collect();
    nearest.sort_by_key(|(uuid, distance)| (*distance, *uuid));
    nearest.truncate(NEAREST);
    NextOwner::Claimer { nearest }
}
