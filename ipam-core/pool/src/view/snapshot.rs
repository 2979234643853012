//! Everything below the prefix, parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use ipam_core::addr::{Addr, Cidr, Interval};
use serde::de::DeserializeOwned;

use crate::key::{Key, Keys, block_of};
use crate::pool::{Pool, PoolsRecord};
use crate::record::{
    self, AddressRecord, AddressState, BlockRecord, ExceptionRecord, Meta, NodeRecord,
    RequestRecord, StickyRecord, Tombstone,
};
use crate::txn::Kv;

/// A record with the revisions of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen<T> {
    /// What it says.
    pub record: T,
    /// The revision that created the key.
    pub created: i64,
    /// The revision that changed the key last.
    pub modified: i64,
}

/// An address in use: its record without what nobody looks at, because there may be half a million. Texts that
/// many records have are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The address.
    pub addr: Addr,
    /// The index of the node that uses it.
    pub n: Option<u32>,
    /// The UUID of that node; empty if the record names none.
    pub uuid: Arc<str>,
    /// That node's boot.
    pub boot: Arc<str>,
    /// The CNI network.
    pub network: Arc<str>,
    /// The interface.
    pub ifname: Arc<str>,
    /// The container ID.
    pub container: Box<str>,
    /// The pod; of a reservation, what it is for.
    pub pod: Box<str>,
    /// When it was written, in seconds since 1970.
    pub since: u64,
    /// When a parked address may be taken by others.
    pub expires: u64,
    /// What it is used for.
    pub state: AddressState,
    /// Whether an import wrote it.
    pub imported: bool,
    /// The revision that changed the record last.
    pub modified: i64,
}

/// A request to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The node's UUID.
    pub uuid: String,
    /// The space.
    pub space: String,
    /// The address.
    pub addr: Addr,
    /// What is asked.
    pub asked: Seen<RequestRecord>,
}

/// A key that is none of ours, or whose record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The key.
    pub key: Vec<u8>,
    /// What is wrong.
    pub why: String,
    /// The revision that changed it last.
    pub modified: i64,
}

/// An address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The pools as written.
    pub record: Option<Seen<PoolsRecord>>,
    /// The pools that are sound, by name.
    pub pools: BTreeMap<String, Pool>,
    /// The pools that are not, and what is wrong.
    pub bad_pools: Vec<(String, String)>,
    /// The blocks by first address.
    pub blocks: BTreeMap<Addr, Seen<BlockRecord>>,
    /// The addresses, ascending.
    pub addresses: Vec<Used>,
    /// What is used outside the node that holds its block.
    pub exceptions: BTreeMap<Addr, Seen<ExceptionRecord>>,
    /// What pods' interfaces had last, by hash.
    pub sticky: BTreeMap<String, Seen<StickyRecord>>,
}

/// What is in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where everything lies.
    pub keys: Keys,
    /// The revision of the oldest part.
    pub from: i64,
    /// The revision of the newest part; the picture is of one moment if it is the same.
    pub to: i64,
    /// The ID of the cluster that answered.
    pub cluster: u64,
    /// How many keys were read.
    pub count: usize,
    /// What wrote all this.
    pub meta: Option<Seen<Meta>>,
    /// The spaces by name.
    pub spaces: BTreeMap<String, Space>,
    /// The nodes by UUID.
    pub nodes: BTreeMap<String, Seen<NodeRecord>>,
    /// The boots that write for them.
    pub boots: BTreeMap<String, Seen<String>>,
    /// The UUIDs by name.
    pub names: BTreeMap<String, Seen<String>>,
    /// The UUIDs by index.
    pub indexes: BTreeMap<u32, Seen<String>>,
    /// The nodes whose agent runs.
    pub live: BTreeSet<String>,
    /// The removed nodes.
    pub tombstones: BTreeMap<String, Seen<Tombstone>>,
    /// What nodes are asked.
    pub requests: Vec<Request>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Texts that many records share.
    shared: BTreeSet<Arc<str>>,
}

impl Snapshot {
    /// An empty one.
    pub fn new(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Whether parts of it were read at different revisions.
    pub const fn is_torn(&self) -> bool {
        self.from != self.to
    }

    /// The name of a node, or what is left of it: its UUID.
    pub fn name_of<'a>(&'a self, uuid: &'a str) -> &'a str {
        self.nodes
            .get(uuid)
            .map(|node| node.record.name.as_str())
            .or_else(|| self.tombstones.get(uuid).map(|tomb| tomb.record.name.as_str()))
            .filter(|name| !name.is_empty())
            .unwrap_or(uuid)
    }

    /// The node of a name or UUID.
    pub(crate) fn node_called(&self, text: &str) -> Option<&str> {
        self.nodes
            .iter()
            .find(|(uuid, node)| *uuid == text || node.record.name == text)
            .map(|(uuid, _)| uuid.as_str())
    }

    /// Adds a key. Keys of addresses must come in ascending order within their space.
    pub fn add(&mut self, kv: Kv) {
        self.count = self.count.saturating_add(1);
        let Some(key) = self.keys.parse(&kv.key) else {
            let why = "no key of Plat".to_owned();
            self.unreadable.push(Unreadable { why, modified: kv.modified, key: kv.key });
            return;
        };
        if let Err(why) = self.add_known(key, &kv) {
            self.unreadable.push(Unreadable { why, modified: kv.modified, key: kv.key });
        }
    }

    fn add_known(&mut self, key: Key, kv: &Kv) -> Result<(), String> {
        match key {
            Key::Meta => self.meta = Some(seen(kv)?),
            Key::Pools { space } => {
                let found: Seen<PoolsRecord> = seen(kv)?;
                let space = self.spaces.entry(space).or_default();
                for spec in &found.record.pools {
                    match Pool::try_from(spec) {
                        Ok(pool) => drop(space.pools.insert(pool.name.clone(), pool)),
                        Err(error) => space.bad_pools.push((spec.name.clone(), error.message)),
                    }
                }
                space.record = Some(found);
            }
            Key::Block { space, first } => {
                let found: Seen<BlockRecord> = seen(kv)?;
                let family = first.family();
                if found.record.len > family.bits() {
                    return Err(format!("{family} has no prefix length {}", found.record.len));
                }
                self.spaces.entry(space).or_default().blocks.insert(first, found);
            }
            Key::Address { space, addr } => {
                let found: AddressRecord = record::read(kv).map_err(|error| error.why)?;
                let used = self.used(addr, found, kv.modified);
                let addresses = &mut self.spaces.entry(space).or_default().addresses;
                match addresses.last() {
                    Some(last) if last.addr >= addr => {
                        return Err("the key is out of order".to_owned());
                    }
                    _ => addresses.push(used),
                }
            }
            Key::Exception { space, addr } => {
                let found = seen(kv)?;
                self.spaces.entry(space).or_default().exceptions.insert(addr, found);
            }
            Key::Sticky { space, hash } => {
                let found = seen(kv)?;
                self.spaces.entry(space).or_default().sticky.insert(hash, found);
            }
            Key::Node { uuid } => drop(self.nodes.insert(uuid, seen(kv)?)),
            Key::Boot { uuid } => drop(self.boots.insert(uuid, seen_text(kv)?)),
            Key::Name { name } => drop(self.names.insert(name, seen_text(kv)?)),
            Key::Index { index } => drop(self.indexes.insert(index, seen_text(kv)?)),
            Key::Live { uuid } => drop(self.live.insert(uuid)),
            Key::Tombstone { uuid } => drop(self.tombstones.insert(uuid, seen(kv)?)),
            Key::Request { uuid, space, addr } => {
                self.requests.push(Request { uuid, space, addr, asked: seen(kv)? });
            }
        }
        Ok(())
    }

    fn used(&mut self, addr: Addr, found: AddressRecord, modified: i64) -> Used {
        Used {
            addr,
            n: found.n,
            uuid: self.share(found.u.as_deref().unwrap_or_default()),
            boot: self.share(&found.b),
            network: self.share(&found.w),
            ifname: self.share(&found.i),
            container: found.c.into_boxed_str(),
            pod: found.p.into_boxed_str(),
            since: found.t,
            expires: found.exp,
            state: found.st,
            imported: found.x == super::import::NONCE,
            modified,
        }
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.shared.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.shared.insert(Arc::clone(&shared));
        shared
    }
}

impl Space {
    /// The pool and its part that an address lies in.
    pub fn pool_of(&self, addr: Addr) -> Option<&Pool> {
        self.pools.values().find(|pool| pool.intervals().any(|interval| interval.contains(addr)))
    }

    /// The block that an address lies in. Of blocks that overlap, the one that begins last.
    pub fn block_of(&self, addr: Addr) -> Option<(Cidr, &Seen<BlockRecord>)> {
        // Blocks that overlap are a fault; a few steps back find those that begin earlier and are larger.
        self.blocks
            .range((Bound::Unbounded, Bound::Included(addr)))
            .rev()
            .take(8)
            .filter_map(|(first, block)| Some((Cidr::new(*first, block.record.len)?, block)))
            .find(|(cidr, _)| cidr.network().contains(addr))
    }

    /// The record of an address.
    pub fn at(&self, addr: Addr) -> Option<&Used> {
        let position = self.addresses.binary_search_by(|used| used.addr.cmp(&addr)).ok()?;
        self.addresses.get(position)
    }

    /// The records of an interval.
    pub fn within(&self, interval: Interval) -> &[Used] {
        let from = self.addresses.partition_point(|used| used.addr < interval.first());
        let to = self.addresses.partition_point(|used| used.addr <= interval.last());
        self.addresses.get(from..to).unwrap_or_default()
    }

    /// Where the block of an address would be, by its pool: first address and prefix length.
    pub fn place_of(&self, addr: Addr) -> Option<(&Pool, Cidr)> {
        let pool = self.pool_of(addr)?;
        Some((pool, block_of(addr, pool.part(addr.family())?.block)?))
    }
}

fn seen<T: DeserializeOwned>(kv: &Kv) -> Result<Seen<T>, String> {
    let record = record::read(kv).map_err(|error| error.why)?;
    Ok(Seen { record, created: kv.created, modified: kv.modified })
}

fn seen_text(kv: &Kv) -> Result<Seen<String>, String> {
    let text = std::str::from_utf8(&kv.value).map_err(|_| "it is no text".to_owned())?;
    let record = text.trim_matches('"').to_owned();
    Ok(Seen { record, created: kv.created, modified: kv.modified })
}
