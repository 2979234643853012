/*!
Where routes come from: what each source has told so far, as entries.

What comes from etcd is told key by key, so that a change costs what it changes; nothing in here asks
anything, but for the file, which is read when it is needed.
*/

mod calico;
mod file;
mod pool;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam_core::addr::Cidr;
use ipam_pool::key::KeyRange;
use ipnet::IpNet;

use crate::config::{CalicoSource, Config, FileSource, PeerRoute, Source};
use crate::desired::Entry;

/// Who this node is, for telling its own networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Me {
    /// The installation's UUID, as etcd-pool has it; none if it has never met etcd.
    pub uuid: Option<String>,
    /// The node's name.
    pub name: String,
    /// Its addresses for other nodes that the configuration names: VPP may have them, and not the kernel.
    pub addresses: Vec<IpAddr>,
}

/// What a source of etcd's makes of keys.
pub(crate) trait Reader {
    /// What is made of a key.
    type Item: PartialEq;

    /// The ranges that are read.
    fn ranges(&self) -> Vec<KeyRange>;

    /// Reads a key; `None` if it says nothing about routes.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, key: &[u8], value: &[u8]) -> Result<Option<Self::Item>, String>;
}

/// What is known of the ranges of a source.
#[derive(Debug)]
pub(crate) struct Tree<R: Reader> {
    reader: R,
    ranges: Vec<KeyRange>,
    /// Whether each range was read whole.
    known: Vec<bool>,
    items: BTreeMap<Vec<u8>, R::Item>,
    /// What cannot be read, by key.
    bad: BTreeMap<Vec<u8>, String>,
}

impl<R: Reader> Tree<R> {
    fn new(reader: R) -> Self {
        let ranges = reader.ranges();
        let known = vec![false; ranges.len()];
        Self { reader, ranges, known, items: BTreeMap::new(), bad: BTreeMap::new() }
    }

    fn set(&mut self, key: Vec<u8>, value: &[u8]) -> bool {
        match self.reader.read(&key, value) {
            Ok(Some(item)) => {
                let was_bad = self.bad.remove(&key).is_some();
                let changed = self.items.get(&key) != Some(&item);
                if changed {
                    self.items.insert(key, item);
                }
                changed || was_bad
            }
            Ok(None) => self.unset(&key),
            Err(why) => {
                // What it said before stays true: a record that nobody can read takes nothing away.
                let changed = self.bad.get(&key) != Some(&why);
                self.bad.insert(key, why);
                changed
            }
        }
    }

    fn unset(&mut self, key: &[u8]) -> bool {
        let was_bad = self.bad.remove(key).is_some();
        self.items.remove(key).is_some() || was_bad
    }

    /// A range as it is now, whole.
    fn reset(&mut self, range: usize, kvs: &[(Vec<u8>, Vec<u8>)]) -> bool {
        let Some((first, end)) = self.ranges.get(range).cloned() else { return false };
        let there: std::collections::BTreeSet<&[u8]> =
            kvs.iter().map(|(key, _)| key.as_slice()).collect();
        let within =
            |key: &&Vec<u8>| **key >= first && **key < end && !there.contains(key.as_slice());
        let gone: Vec<Vec<u8>> =
            self.items.keys().chain(self.bad.keys()).filter(within).cloned().collect();
        let mut changed = false;
        for key in gone {
            changed |= self.unset(&key);
        }
        for (key, value) in kvs {
            changed |= self.set(key.clone(), value);
        }
        if let Some(known) = self.known.get_mut(range) {
            changed |= !*known;
            *known = true;
        }
        changed
    }

    fn is_known(&self) -> bool {
        self.known.iter().all(|known| *known)
    }
}

/// A source and what it has told.
#[derive(Debug)]
enum State {
    Pool(Box<Tree<pool::Pool>>),
    Calico(Box<Tree<calico::Calico>>, Box<CalicoSource>),
    Peers(Vec<PeerRoute>),
    File(FileSource),
}

/// All sources.
#[derive(Debug)]
pub struct Sources {
    states: Vec<State>,
}

/// A change of what etcd has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A whole range: keys and values.
    Range(Vec<(Vec<u8>, Vec<u8>)>),
    /// A key was written.
    Put(Vec<u8>, Vec<u8>),
    /// A key was deleted.
    Gone(Vec<u8>),
}

/// What sources tell together.
#[derive(Debug, Default)]
pub struct Told {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Addresses of other nodes' networks that are used here.
    pub here: Vec<IpNet>,
    /// What is wrong, a sentence each.
    pub notes: Vec<String>,
    /// Whether every source has told all.
    pub complete: bool,
}

impl Sources {
    /// The sources of a configuration; `prefix` is where Plat keeps everything in etcd.
    #[must_use]
    pub fn new(config: &Config, prefix: &str) -> Self {
        let state = |source: &Source| match source {
            Source::Pool(pool) => {
                State::Pool(Box::new(Tree::new(pool::Pool::new(prefix, &pool.spaces))))
            }
            Source::Calico(calico) => {
                let reader = calico::Calico::new(&calico.prefix, calico.borrowed);
                State::Calico(Box::new(Tree::new(reader)), Box::new(calico.clone()))
            }
            Source::Peers(routes) => State::Peers(routes.clone()),
            Source::File(file) => State::File(file.clone()),
        };
        Self { states: config.sources.iter().map(state).collect() }
    }

    /// What is to be read and watched: the position of the source, and its ranges.
    #[must_use]
    pub fn ranges(&self) -> Vec<(usize, Vec<KeyRange>)> {
        let ranges = self.states.iter().enumerate().filter_map(|(position, state)| match state {
            State::Pool(tree) => Some((position, tree.ranges.clone())),
            State::Calico(tree, _) => Some((position, tree.ranges.clone())),
            State::Peers(_) | State::File(_) => None,
        });
        ranges.collect()
    }

    /// Takes in a change of a range of a source; whether it can make a difference to routes.
    pub fn update(&mut self, source: usize, range: usize, update: Update) -> bool {
        fn apply<R: Reader>(tree: &mut Tree<R>, range: usize, update: Update) -> bool {
            match update {
                Update::Range(kvs) => tree.reset(range, &kvs),
                Update::Put(key, value) => tree.set(key, &value),
                Update::Gone(key) => tree.unset(&key),
            }
        }
        match self.states.get_mut(source) {
            Some(State::Pool(tree)) => apply(tree, range, update),
            Some(State::Calico(tree, _)) => apply(tree, range, update),
            _ => false,
        }
    }

    /// What all of them tell.
    #[must_use]
    pub fn told(&self, me: &Me) -> Told {
        let mut told = Told { complete: true, ..Told::default() };
        // A node that is registered is where the registry says, whoever else speaks of it.
        let registered: BTreeMap<&str, &pool::Node> = self
            .states
            .iter()
            .filter_map(|state| if let State::Pool(tree) = state { Some(tree) } else { None })
            .flat_map(|tree| pool::nodes(tree))
            .map(|node| (node.name.as_str(), node))
            .collect();
        for (position, state) in self.states.iter().enumerate() {
            match state {
                State::Pool(tree) => {
                    told.complete &= tree.is_known();
                    told.notes.extend(tree.bad.values().cloned());
                    pool::tell(tree, position, me, &mut told);
                }
                State::Calico(tree, source) => {
                    told.complete &= tree.is_known();
                    told.notes.extend(tree.bad.values().cloned());
                    let address = |name: &str, v4: bool| -> Option<IpAddr> {
                        let configured = || {
                            let all = source.nodes.get(name)?;
                            all.iter().find(|address| address.is_ipv4() == v4).copied()
                        };
                        registered.get(name).and_then(|node| node.address(v4)).or_else(configured)
                    };
                    calico::tell(tree, position, me, &address, &mut told);
                }
                State::Peers(routes) => {
                    told.entries.extend(routes.iter().map(|r| peer(r, position)));
                }
                State::File(file) => file::tell(file, position, me, &mut told),
            }
        }
        told
    }
}

fn peer(route: &PeerRoute, source: usize) -> Entry {
    Entry {
        prefix: route.subnet,
        node: route.peer.to_string(),
        via: Some(route.via),
        own: route.own,
        borrowed: false,
        source,
        origin: format!("computed by {}", route.rule),
    }
}

/// A network of etcd's keys as one of routes.
fn net_of(cidr: Cidr) -> Option<IpNet> {
    IpNet::new(IpAddr::from(cidr.addr()), cidr.prefix()).ok().map(|net| net.trunc())
}

/// The keys that begin with a text that ends in no byte of 255.
pub(crate) fn below(prefix: String) -> KeyRange {
    let first = prefix.into_bytes();
    let mut end = first.clone();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    (first, end)
}

#[cfg(test)]
mod tests;
