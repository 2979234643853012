//! A change of a key, as an event that people understand.

use std::collections::BTreeMap;

use crate::key::{Key, Keys, block_of};
use crate::record::{
    self, AddressRecord, AddressState, BlockRecord, ExceptionRecord, NodeRecord, RequestRecord,
    Tombstone,
};
use crate::txn::Kv;

/// The names of nodes by UUID, and where the addresses and blocks that were seen belong: a deletion does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    nodes: BTreeMap<String, String>,
    /// What was said last about an address or a block; the oldest are forgotten.
    said: BTreeMap<Vec<u8>, Said>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    node: Option<String>,
    text: String,
}

/// What is remembered at most: a watch may run for years.
const MOST: usize = 100_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision.
    pub revision: i64,
    /// What is changed: `address`, `block`, `node` and so on.
    pub object: &'static str,
    /// What happened to it.
    pub action: &'static str,
    /// The space, where there is one.
    pub space: Option<String>,
    /// The address, the block as CIDR, the node.
    pub subject: String,
    /// The node that it belongs to, by name; `None` if nobody knows.
    pub node: Option<String>,
    /// The rest, for people; may be empty.
    pub text: String,
}

impl Names {
    /// Knows the nodes of a snapshot.
    pub fn new(snapshot: &super::Snapshot) -> Self {
        let nodes = snapshot
            .nodes
            .iter()
            .map(|(uuid, node)| (uuid.clone(), node.record.name.clone()))
            .collect();
        Self { nodes, said: BTreeMap::new() }
    }

    fn name(&self, uuid: Option<&str>) -> Option<String> {
        let uuid = uuid.filter(|uuid| !uuid.is_empty())?;
        Some(self.nodes.get(uuid).cloned().unwrap_or_else(|| uuid.to_owned()))
    }

    fn remember(&mut self, key: &[u8], event: &Event) {
        if self.said.len() >= MOST {
            self.said.pop_first();
        }
        let said = Said { node: event.node.clone(), text: event.text.clone() };
        self.said.insert(key.to_vec(), said);
    }
}

/// What a change means: `put` is what was written, `None` if the key was deleted.
pub fn event(keys: &Keys, names: &mut Names, key: &[u8], put: Option<&Kv>, revision: i64) -> Event {
    let mut event = Event {
        revision,
        object: "key",
        action: if put.is_some() { "written" } else { "deleted" },
        space: None,
        subject: String::from_utf8_lossy(key).into_owned(),
        node: None,
        text: String::new(),
    };
    let Some(parsed) = keys.parse(key) else { return event };
    let fresh = put.is_some_and(|kv| kv.created == kv.modified);
    match parsed {
        Key::Meta => (event.object, event.subject) = ("cluster", "meta".to_owned()),
        Key::Pools { space } => {
            event.object = "pools";
            event.subject.clone_from(&space);
            event.space = Some(space);
        }
        Key::Block { space, first } => {
            event.object = "block";
            event.subject = first.to_string();
            event.action = if put.is_none() {
                "returned"
            } else if fresh {
                "claimed"
            } else {
                "changed"
            };
            event.space = Some(space);
            if let Some(block) = put.and_then(|kv| record::read::<BlockRecord>(kv).ok()) {
                event.node = names.name(block.u.as_deref());
                event.text = format!("pool {}, {}", block.p, block.m.as_str());
                if let Some(cidr) = block_of(first, block.len) {
                    event.subject = cidr.to_string();
                }
            }
        }
        Key::Address { space, addr } => {
            event.object = "address";
            event.subject = addr.to_string();
            event.action = "freed";
            event.space = Some(space);
            if let Some(address) = put.and_then(|kv| record::read::<AddressRecord>(kv).ok()) {
                event.node = names.name(address.u.as_deref());
                event.action = match address.st {
                    AddressState::Used => "used",
                    AddressState::Park => "parked",
                    AddressState::Resv => "reserved",
                };
                event.text = if address.p.is_empty() { address.c } else { address.p };
                if !address.i.is_empty() {
                    event.text = format!("{} {}", event.text, address.i);
                }
            }
        }
        Key::Exception { space, addr } => {
            event.object = "exception";
            event.subject = addr.to_string();
            event.space = Some(space);
            if let Some(exception) = put.and_then(|kv| record::read::<ExceptionRecord>(kv).ok()) {
                event.node = names.name(Some(&exception.u));
                event.text = "is used outside its block".to_owned();
            }
        }
        Key::Sticky { space, hash } => {
            (event.object, event.subject, event.space) = ("sticky", hash, Some(space));
        }
        Key::Node { uuid } => {
            event.object = "node";
            event.action = if put.is_none() {
                "gone"
            } else if fresh {
                "registered"
            } else {
                "changed"
            };
            if let Some(node) = put.and_then(|kv| record::read::<NodeRecord>(kv).ok()) {
                event.text = format!("index {}", node.idx);
                names.nodes.insert(uuid.clone(), node.name);
            }
            event.node = names.name(Some(&uuid));
            event.subject = uuid;
        }
        Key::Boot { uuid } => {
            (event.object, event.node) = ("boot", names.name(Some(&uuid)));
            event.subject = uuid;
        }
        Key::Name { name } => (event.object, event.subject) = ("name", name),
        Key::Index { index } => (event.object, event.subject) = ("index", index.to_string()),
        Key::Live { uuid } => {
            event.object = "agent";
            event.action = if put.is_some() { "alive" } else { "silent" };
            event.node = names.name(Some(&uuid));
            event.subject = uuid;
        }
        Key::Tombstone { uuid } => {
            event.object = "node";
            event.action = if put.is_some() { "removed" } else { "forgotten" };
            event.node = names.name(Some(&uuid));
            event.subject = uuid;
            if let Some(tomb) = put.and_then(|kv| record::read::<Tombstone>(kv).ok()) {
                event.action = if tomb.done { "taken apart" } else { "removed" };
                event.text = format!("by {}, held back for {} s", tomb.by, tomb.hold);
            }
        }
        Key::Request { uuid, space, addr } => {
            event.object = "request";
            event.action = if put.is_none() { "answered" } else { "asked" };
            event.subject = addr.to_string();
            event.node = names.name(Some(&uuid));
            event.space = Some(space);
            if let Some(request) = put.and_then(|kv| record::read::<RequestRecord>(kv).ok()) {
                event.text = match (request.take.is_empty(), request.reserve) {
                    (false, _) => "to take over the block that begins there",
                    (true, true) => "to reserve it",
                    (true, false) => "to end its reservation",
                }
                .to_owned();
                if !request.refused.is_empty() {
                    event.action = "refused";
                    event.text = request.refused;
                }
            }
        }
    }
    if put.is_some() {
        if matches!(event.object, "address" | "block" | "exception") {
            names.remember(key, &event);
        }
    } else if let Some(said) = names.said.remove(key) {
        event.node = event.node.or(said.node);
        event.text = said.text;
    }
    event
}
