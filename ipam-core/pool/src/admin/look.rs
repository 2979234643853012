//! Looking at everything that is shared, but single addresses: nodes, pools, blocks.

use crate::admin::error::AdminError;
use crate::admin::scan::Scan;
use crate::admin::{Administer, meta};
use crate::key::{Key, Keys};
use crate::op::{Now, Step};
use crate::pool::{PoolSpec, PoolsRecord};
use crate::record::{
    self, BadRecord, BlockRecord, ExceptionRecord, Meta, NodeRecord, RequestRecord, Tombstone,
};
use crate::txn::{Kv, Op, Reply, Txn};

use ipam_core::addr::{Addr, Cidr};

/// How many keys of a kind are looked at.
const MOST: usize = 1_000_000;

/// How many spaces there may be.
const SPACES: usize = 1_000;

/// How much is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only this space; else all that there are.
    pub space: Option<String>,
    /// Whether pools are enough: no nodes, no blocks.
    pub pools_only: bool,
    /// Whether exceptions are looked at, too.
    pub exceptions: bool,
}

/// What is shared by all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The ID of the etcd cluster.
    pub id: u64,
    /// The revision that was seen last.
    pub revision: i64,
    /// What wrote the data; none: there are none.
    pub meta: Option<Meta>,
    /// The nodes that there are or were, by name.
    pub nodes: Vec<NodeEntry>,
    /// The spaces, by name.
    pub spaces: Vec<SpaceEntry>,
    /// Records that cannot be read.
    pub bad: Vec<BadRecord>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its UUID.
    pub uuid: String,
    /// Its registration, with the revision that changed it last; none: it is only known from a tombstone.
    pub record: Option<(NodeRecord, i64)>,
    /// The boot that writes for it.
    pub boot: Option<String>,
    /// Whether its agent runs.
    pub alive: bool,
    /// Its tombstone, with the revisions that created and changed it.
    pub tombstone: Option<(Tombstone, i64, i64)>,
    /// Requests that it has not done.
    pub requests: Vec<(String, Addr, RequestRecord)>,
}

/// A space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpaceEntry {
    /// Its name.
    pub name: String,
    /// The revision that changed its pools last; 0: it has none.
    pub revision: i64,
    /// How often they were changed.
    pub generation: u64,
    /// Its pools, by name.
    pub pools: Vec<PoolSpec>,
    /// Its blocks, by address.
    pub blocks: Vec<BlockEntry>,
    /// Addresses that are used outside the node that holds their block.
    pub exceptions: Vec<ExceptionEntry>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Its addresses.
    pub cidr: Cidr,
    /// Its record.
    pub record: BlockRecord,
    /// Its fence.
    pub created: i64,
    /// The revision that changed it last.
    pub modified: i64,
}

/// An address that is used outside the node that holds its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionEntry {
    /// The address.
    pub addr: Addr,
    /// Its record.
    pub record: ExceptionRecord,
    /// The revision that changed it last.
    pub modified: i64,
}

impl NodeEntry {
    /// Its name, as far as it is known.
    pub fn name(&self) -> &str {
        let registered = self.record.as_ref().map(|(record, _)| record.name.as_str());
        let removed = self.tombstone.as_ref().map(|(tombstone, ..)| tombstone.name.as_str());
        registered.or(removed).filter(|name| !name.is_empty()).unwrap_or(&self.uuid)
    }

    /// Its index.
    pub fn index(&self) -> Option<u32> {
        self.record.as_ref().map(|(record, _)| record.idx)
    }
}

impl Cluster {
    /// The node of a name, an index or a UUID; a node that is there goes before one that was removed.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn node(&self, what: &str) -> Result<&NodeEntry, AdminError> {
        if let Some(node) = self.nodes.iter().find(|node| node.uuid == what) {
            return Ok(node);
        }
        let named = |node: &&NodeEntry| node.name() == what;
        let here: Vec<&NodeEntry> =
            self.nodes.iter().filter(|node| node.record.is_some()).filter(named).collect();
        let numbered = || {
            let index: Option<u32> = what.parse().ok();
            self.nodes.iter().filter(move |node| index.is_some() && node.index() == index)
        };
        let gone = || self.nodes.iter().filter(|node| node.record.is_none()).filter(named);
        let unfinished = |node: &&NodeEntry| {
            node.tombstone.as_ref().is_some_and(|(tombstone, ..)| !tombstone.done)
        };
        let mut found = here;
        for others in
            [numbered().collect::<Vec<_>>(), gone().filter(unfinished).collect(), gone().collect()]
        {
            if found.is_empty() {
                found = others;
            }
        }
        match found.as_slice() {
            [] => Err(AdminError::NoNode(what.to_owned())),
            [node] => Ok(node),
            several => Err(AdminError::Ambiguous {
                what: what.to_owned(),
                uuids: several.iter().map(|node| node.uuid.clone()).collect(),
            }),
        }
    }

    /// The blocks of a node, with the names of their spaces.
    pub fn blocks_of<'a>(
        &'a self,
        uuid: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a BlockEntry)> {
        self.spaces.iter().flat_map(move |space| {
            let own = space.blocks.iter().filter(move |b| b.record.u.as_deref() == Some(uuid));
            own.map(|block| (space.name.as_str(), block))
        })
    }

    /// The addresses that a node uses out of blocks of others, with the names of their spaces.
    pub fn exceptions_of<'a>(
        &'a self,
        uuid: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a ExceptionEntry)> {
        self.spaces.iter().flat_map(move |space| {
            let own = space.exceptions.iter().filter(move |x| x.record.u == uuid);
            own.map(|exception| (space.name.as_str(), exception))
        })
    }
}

/// Reads what is shared.
#[derive(Clone, Debug)]
pub struct Look {
    keys: Keys,
    wanted: Wanted,
    state: State,
    cluster: Cluster,
}

#[derive(Clone, Debug)]
enum State {
    Begin,
    /// What there is once, and the first space.
    First,
    /// Which spaces there are, one after the other.
    Spaces,
    /// All of it.
    Reading(Scan),
}

impl Look {
    /// The machine.
    pub fn new(keys: Keys, wanted: Wanted) -> Self {
        Self { keys, wanted, state: State::Begin, cluster: Cluster::default() }
    }

    /// The first key of the spaces behind this one.
    fn after(&self, space: Option<&str>) -> Op {
        let (first, end) = self.keys.spaces();
        let key = space.map_or(first, |space| {
            // What begins with the space's name and a slash ends where the next character begins.
            let mut key = self.keys.pools(space);
            key.truncate(key.len().saturating_sub("/pools".len()));
            key.push(b'/' + 1);
            key
        });
        Op::Get { key, end: Some(end), keys_only: true, limit: 1 }
    }

    /// Takes the next space that was found; whether there was one.
    fn found_space(&mut self, kv: Option<&Kv>) -> bool {
        let Some(kv) = kv else { return false };
        let (prefix, _) = self.keys.spaces();
        let rest = kv.key.get(prefix.len()..).unwrap_or_default();
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        let Ok(name) = std::str::from_utf8(name) else { return false };
        self.cluster.spaces.push(SpaceEntry { name: name.to_owned(), ..SpaceEntry::default() });
        self.cluster.spaces.len() < SPACES
    }

    fn gather(&mut self) -> Result<Step<Cluster>, AdminError> {
        self.cluster.spaces.sort_by(|one, two| one.name.cmp(&two.name));
        let keys = &self.keys;
        let mut scan = Scan::new();
        let nodes = if self.wanted.pools_only { 0 } else { MOST };
        let boots = span_of(&keys.boot(""));
        let requests = span_of(format!("{}/q/", keys.prefix()).as_bytes());
        for range in [keys.all_nodes(), keys.all_tombstones(), boots, requests] {
            scan = scan.and(range, nodes);
        }
        scan = scan.keys(keys.all_live(), nodes);
        for space in &self.cluster.spaces {
            let pools = keys.pools(&space.name);
            let mut end = pools.clone();
            end.push(0);
            let exceptions = if self.wanted.exceptions { nodes } else { 0 };
            scan = scan
                .and((pools, end), 1)
                .and(keys.all_blocks(&space.name), nodes)
                .and(keys.all_exceptions(&space.name), exceptions);
        }
        match scan.ask() {
            Some(txn) => {
                self.state = State::Reading(scan);
                Ok(Step::Ask(txn))
            }
            None => Ok(Step::Done(std::mem::take(&mut self.cluster))),
        }
    }

    /// Makes sense of what was read.
    fn sort(&mut self, scan: &Scan) -> Result<Cluster, AdminError> {
        scan.all()?;
        let mut cluster = std::mem::take(&mut self.cluster);
        let mut bad = Vec::new();
        let mut nodes: std::collections::BTreeMap<String, NodeEntry> =
            std::collections::BTreeMap::new();
        for part in 0..5 {
            for kv in scan.found(part) {
                let Some(key) = self.keys.parse(&kv.key) else { continue };
                let (Key::Node { uuid }
                | Key::Tombstone { uuid }
                | Key::Boot { uuid }
                | Key::Live { uuid }
                | Key::Request { uuid, .. }) = &key
                else {
                    continue;
                };
                let node = nodes.entry(uuid.clone()).or_default();
                node.uuid.clone_from(uuid);
                match key {
                    Key::Node { .. } => {
                        node.record = keep(&mut bad, kv).map(|record| (record, kv.modified));
                    }
                    Key::Tombstone { .. } => {
                        node.tombstone = keep(&mut bad, kv).map(|t| (t, kv.created, kv.modified));
                    }
                    Key::Boot { .. } => {
                        node.boot = Some(String::from_utf8_lossy(&kv.value).into_owned());
                    }
                    Key::Live { .. } => node.alive = true,
                    Key::Request { space, addr, .. } => {
                        node.requests
                            .extend(keep(&mut bad, kv).map(|record| (space, addr, record)));
                    }
                    _ => {}
                }
            }
        }
        // A boot or a request alone is no node.
        cluster.nodes = nodes
            .into_values()
            .filter(|node| node.record.is_some() || node.tombstone.is_some())
            .collect();
        cluster.nodes.sort_by_key(|node| natural(node.name()));
        for (at, space) in cluster.spaces.iter_mut().enumerate() {
            let part = 5 + 3 * at;
            if let Some(kv) = scan.found(part).first()
                && let Some(document) = keep::<PoolsRecord>(&mut bad, kv)
            {
                space.revision = kv.modified;
                space.generation = document.generation;
                space.pools = document.pools;
                space.pools.sort_by(|one, two| one.name.cmp(&two.name));
            }
            for kv in scan.found(part + 1) {
                let Some(Key::Block { first, .. }) = self.keys.parse(&kv.key) else { continue };
                let Some(record) = keep::<BlockRecord>(&mut bad, kv) else { continue };
                let Some(cidr) = Cidr::new(first, record.len) else { continue };
                let (created, modified) = (kv.created, kv.modified);
                space.blocks.push(BlockEntry { cidr, record, created, modified });
            }
            for kv in scan.found(part + 2) {
                let Some(Key::Exception { addr, .. }) = self.keys.parse(&kv.key) else { continue };
                let Some(record) = keep::<ExceptionRecord>(&mut bad, kv) else { continue };
                space.exceptions.push(ExceptionEntry { addr, record, modified: kv.modified });
            }
        }
        cluster.bad = bad;
        Ok(cluster)
    }
}

fn keep<T: serde::de::DeserializeOwned>(bad: &mut Vec<BadRecord>, kv: &Kv) -> Option<T> {
    record::read(kv).map_err(|error| bad.push(error)).ok()
}

/// Everything that begins with a prefix that ends in a slash.
fn span_of(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    (prefix.to_vec(), end)
}

/// Orders `vm-9` before `vm-10`.
fn natural(name: &str) -> (String, u64, String) {
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(head.len()..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (head.to_owned(), number, name.to_owned())
}

impl Administer for Look {
    type Output = Cluster;

    fn advance(&mut self, _: Now, reply: Option<&Reply>) -> Result<Step<Cluster>, AdminError> {
        let Some(reply) = reply else {
            self.state = State::First;
            let mut then = vec![Op::get(self.keys.meta())];
            if self.wanted.space.is_none() {
                then.push(self.after(None));
            }
            return Ok(Step::Ask(Txn { then, ..Txn::default() }));
        };
        self.cluster.id = reply.cluster;
        self.cluster.revision = self.cluster.revision.max(reply.revision);
        let found = match &mut self.state {
            State::Begin | State::First => {
                self.cluster.meta = meta(reply.one(0))?;
                if let Some(name) = self.wanted.space.clone() {
                    self.cluster.spaces.push(SpaceEntry { name, ..SpaceEntry::default() });
                    return self.gather();
                }
                reply.one(1).cloned()
            }
            State::Spaces => reply.one(0).cloned(),
            State::Reading(scan) => {
                if let Some(txn) = scan.take(reply) {
                    return Ok(Step::Ask(txn));
                }
                let scan = std::mem::take(scan);
                return self.sort(&scan).map(Step::Done);
            }
        };
        if !self.found_space(found.as_ref()) {
            return self.gather();
        }
        self.state = State::Spaces;
        let last = self.cluster.spaces.last().map(|space| space.name.clone());
        Ok(Step::Ask(Txn { then: vec![self.after(last.as_deref())], ..Txn::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::run;
    use crate::model::Etcd;

    #[test]
    fn nodes_are_found_by_what_people_call_them() {
        let mut etcd = Etcd::default();
        let keys = Keys::default();
        let mut put = |key: Vec<u8>, value: &str| {
            etcd.txn(&Txn { then: vec![Op::put(key, value)], ..Txn::default() }).unwrap();
        };
        put(keys.node("u-a"), r#"{"name":"vm-10","idx":10}"#);
        put(keys.node("u-b"), r#"{"name":"vm-9","idx":9}"#);
        put(keys.node("u-c"), "no JSON");
        put(keys.tombstone("u-d"), r#"{"name":"vm-9","at":5,"by":"root","hold":60,"done":true}"#);
        put(keys.tombstone("u-e"), r#"{"name":"vm-3","at":5,"by":"root","hold":60,"done":true}"#);
        put(keys.tombstone("u-f"), r#"{"name":"vm-3","at":5,"by":"root","hold":60}"#);
        put(keys.live("u-b"), "");
        put(keys.boot("u-b"), "boot-1");
        for space in ["default", "default-2", "blue", "a.b"] {
            put(keys.pools(space), r#"{"gen":3,"pools":[{"name":"pods","cidr":"10.0.0.0/16"}]}"#);
        }
        put(
            keys.block("default", Addr::parse("10.0.1.0").unwrap()),
            r#"{"n":9,"u":"u-b","len":26,"p":"pods"}"#,
        );
        let look = |wanted| Look::new(Keys::default(), wanted);
        let all = run(look(Wanted::default()), &mut etcd, Now::default()).unwrap();
        let names: Vec<&str> = all.nodes.iter().map(NodeEntry::name).collect();
        assert_eq!(names, ["vm-3", "vm-3", "vm-9", "vm-9", "vm-10"]);
        let spaces: Vec<&str> = all.spaces.iter().map(|space| space.name.as_str()).collect();
        assert_eq!(spaces, ["a.b", "blue", "default", "default-2"]);
        assert_eq!(all.bad.len(), 1);
        for (what, uuid) in [
            ("vm-9", Some("u-b")),
            ("9", Some("u-b")),
            ("u-d", Some("u-d")),
            ("vm-3", Some("u-f")),
            ("vm-4", None),
            ("", None),
        ] {
            assert_eq!(all.node(what).ok().map(|node| node.uuid.as_str()), uuid, "{what}");
        }
        let node = all.node("vm-9").unwrap();
        assert!(node.alive && node.boot.as_deref() == Some("boot-1"));
        let blocks: Vec<String> =
            all.blocks_of("u-b").map(|(s, b)| format!("{s} {}", b.cidr)).collect();
        assert_eq!(blocks, ["default 10.0.1.0/26"]);
        let one = Wanted { space: Some("blue".to_owned()), pools_only: true, exceptions: false };
        let one = run(look(one), &mut etcd, Now::default()).unwrap();
        assert_eq!((one.spaces.len(), one.nodes.len(), one.spaces[0].generation), (1, 0, 3));
        // Nothing is there at all.
        let none = run(look(Wanted::default()), &mut Etcd::default(), Now::default()).unwrap();
        assert_eq!((none.meta, none.spaces, none.nodes), (None, Vec::new(), Vec::new()));
    }
}
