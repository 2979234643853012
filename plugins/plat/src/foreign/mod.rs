/*!
What other IPAMs hold, as the documents say that their own tools print.

Each parser takes one document and gives what is in it as the state of networks, so that `plat import` can
restore it. A record that cannot be understood is skipped with a sentence; an address whose holder cannot
be understood is kept, held by nobody known: it must not be given out again.
*/

mod calico;
mod whereabouts;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipam_core::addr::{Addr, Cidr};
use ipam_core::config::Owner;
use ipam_core::identity::Holder;
use ipam_stores::survey::{Allocation, NetworkState, Place};
use serde_json::Value;

use crate::context::Failure;
use crate::netconf::{entry, text_of};

/// Another IPAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// IPPool resources of whereabouts (`whereabouts.cni.cncf.io/v1alpha1`).
    Whereabouts,
    /// IPAM blocks of Calico: IPAMBlock resources, or the keys of its etcd.
    Calico,
}

impl Foreign {
    /// The command that prints the document.
    const fn command(self) -> &'static str {
        match self {
            Self::Whereabouts => "kubectl get ippools.whereabouts.cni.cncf.io -A -o json",
            Self::Calico => {
                "kubectl get ipamblocks.crd.projectcalico.org -o json, or etcdctl get --prefix \
                 /calico/ipam/v2/assignment/ -w json"
            }
        }
    }
}

/// What a document holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The networks, by name. Their place is the kind of their origin, and no place on this node.
    pub(crate) networks: Vec<NetworkState>,
    /// On which node an address is, as far as the document tells.
    pub(crate) nodes: BTreeMap<Addr, String>,
    /// What an address is for that no pod has.
    pub(crate) uses: BTreeMap<Addr, String>,
    /// Addresses that are reserved besides those of the networks: of whereabouts, for all of its pools.
    pub(crate) reserved: BTreeMap<Addr, Allocation>,
    /// What was skipped or is odd, a sentence each.
    pub(crate) skipped: Vec<String>,
}

/// Reads a document of another IPAM. With `node`, only what belongs to this node, as far as the document
/// tells: Calico's blocks do, whereabouts' pools only where each node has slices of its own.
///
/// # Errors
/// If it is not what the other IPAM's tools print.
pub(crate) fn read(kind: Foreign, text: &str, node: Option<&str>) -> Result<Found, Failure> {
    let advice = format!("what this prints: {}", kind.command());
    let values = if text.lines().any(|line| line.starts_with("apiVersion:")) {
        yaml::read(text).map_err(|(line, why)| {
            let message = format!("line {line} of the document: {why}");
            Failure::new(message, format!("with -o json it is read whatever it holds; {advice}"))
        })?
    } else {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect::<Result<Vec<Value>, serde_json::Error>>()
            .map_err(|error| {
                Failure::new(format!("the document is no JSON: {error}"), advice.clone())
            })?
    };
    let mut items = Vec::new();
    for value in values {
        spread(value, &mut items);
    }
    let mut gathered = Gathered::default();
    let known = match kind {
        Foreign::Whereabouts => whereabouts::read(&items, node, &mut gathered),
        Foreign::Calico => calico::read(&items, node, &mut gathered),
    };
    // An empty list is an answer; something else is not.
    if known == 0 && !items.is_empty() {
        let name = match kind {
            Foreign::Whereabouts => "IPPool of whereabouts",
            Foreign::Calico => "IPAM block of Calico",
        };
        return Err(Failure::new(format!("there is no {name} in the document"), advice));
    }
    Ok(gathered.finish(kind))
}

/// The items of a list, or of what etcdctl prints; anything else as it is.
fn spread(value: Value, items: &mut Vec<Value>) {
    match value {
        Value::Array(values) => items.extend(values),
        Value::Object(mut object) => {
            for key in ["items", "kvs"] {
                if let Some(Value::Array(values)) = object.get_mut(key).map(Value::take) {
                    items.extend(values);
                    return;
                }
            }
            // An etcd without such keys answers with a header alone.
            if !(object.contains_key("header") && object.len() <= 2) {
                items.push(Value::Object(object));
            }
        }
        other => items.push(other),
    }
}

/// Allocations by network and address.
#[derive(Debug, Default)]
struct Gathered {
    networks: BTreeMap<String, BTreeMap<Addr, Allocation>>,
    nodes: BTreeMap<Addr, String>,
    uses: BTreeMap<Addr, String>,
    reserved: BTreeMap<Addr, Allocation>,
    skipped: Vec<String>,
}

/// The most sentences that are kept; a document that is something else has one for each record.
const SENTENCES: usize = 1000;

impl Gathered {
    fn skip(&mut self, sentence: String) {
        if self.skipped.len() < SENTENCES {
            self.skipped.push(sentence);
        }
    }

    fn network(&mut self, name: &str) {
        self.networks.entry(name.to_owned()).or_default();
    }

    fn add(&mut self, network: &str, allocation: Allocation) {
        let addr = allocation.addr;
        let held = self.networks.entry(network.to_owned()).or_default();
        if let Some(other) = held.get(&addr) {
            if *other != allocation {
                self.skip(format!(
                    "{addr} of network {network:?} is in two records; one is skipped"
                ));
            }
            return;
        }
        held.insert(addr, allocation);
    }

    fn finish(self, kind: Foreign) -> Found {
        let origin = match kind {
            Foreign::Whereabouts => "whereabouts",
            Foreign::Calico => "calico",
        };
        let networks = self.networks.into_iter().map(|(network, allocations)| NetworkState {
            network,
            instance: None,
            place: Place::Dir(PathBuf::from(origin)),
            layout: None,
            marks: BTreeMap::new(),
            pin: None,
            allocations: allocations.into_values().collect(),
            cooling: Vec::new(),
            shared: false,
            faults: Vec::new(),
        });
        Found {
            networks: networks.collect(),
            nodes: self.nodes,
            uses: self.uses,
            reserved: self.reserved,
            skipped: self.skipped,
        }
    }
}

/// An address that is held by nobody known.
fn unknown(addr: Addr) -> Allocation {
    Allocation {
        addr,
        holder: Holder::Unknown,
        set: None,
        owner: Owner::default(),
        since: None,
        cni_network: None,
    }
}

/// A network and its nth address, counted from the address as written.
fn nth(cidr: Cidr, n: u128) -> Option<Addr> {
    cidr.addr().offset(n).filter(|addr| cidr.network().contains(*addr))
}

/// A text that says something.
fn filled(value: &Value, key: &str) -> Option<String> {
    text_of(value, key).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The name of a resource.
fn name_of(item: &Value) -> &str {
    entry(item, "metadata").and_then(|meta| text_of(meta, "name")).unwrap_or("without name")
}

#[cfg(test)]
mod tests;
