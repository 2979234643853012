/*!
A network's state as one JSON document: what `plat export --to json` writes and `plat import --from json`
reads.
*/

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Instance, Network};
use ipam_core::layout::Layout;
use ipam_stores::survey::{Allocation, NetworkState, Place};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format.
const VERSION: u32 = 1;

/// A network's state, by `--to json`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// The version of the format: 1.
    version: u32,
    /// The network.
    network: String,
    /// The IPAM plugin whose it is; `null` of directories, which do not say.
    #[serde(default)]
    instance: Option<String>,
    /// The node index that the addresses were made with; `null` if with none.
    #[serde(default)]
    pin: Option<u32>,
    /// The last address of each range set that was given out, by the position of the set.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, String>"))]
    marks: BTreeMap<usize, String>,
    /// Range sets and policy of the last ADD, in a form of the stores; `null` if they are not known.
    #[serde(default)]
    layout: Option<Value>,
    /// The addresses that are held.
    allocations: Vec<Entry>,
}

/// An address that is held.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Entry {
    /// The address.
    address: String,
    /// The container ID; `null` if it is not recorded.
    #[serde(default)]
    container: Option<String>,
    /// Its interface; `null` if it is not recorded.
    #[serde(default)]
    ifname: Option<String>,
    /// The position of its range set, from 0; `null` if it is not recorded.
    #[serde(default)]
    set: Option<usize>,
    /// The pod; absent if it is not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Pod>,
    /// When it was given out, in seconds since 1970; `null` if it is not recorded.
    #[serde(default)]
    since: Option<u64>,
    /// The CNI network, if that is another, as several can use a pool; else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cni_network: Option<String>,
}

/// A pod.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Pod {
    /// Its namespace; `null` if it is not recorded.
    namespace: Option<String>,
    /// Its name; `null` if it is not recorded.
    name: Option<String>,
    /// Its UID; `null` if it is not recorded.
    uid: Option<String>,
}

impl Document {
    /// The document of a state.
    pub(crate) fn of(state: &NetworkState) -> Self {
        Self {
            version: VERSION,
            network: state.network.clone(),
            instance: state.instance.as_ref().map(ToString::to_string),
            pin: state.pin,
            marks: state.marks.iter().map(|(set, addr)| (*set, addr.to_string())).collect(),
            layout: state.layout.as_ref().map(Layout::to_json),
            allocations: state.allocations.iter().map(Entry::of).collect(),
        }
    }

    /// The state of a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn state(self) -> Result<NetworkState, String> {
        if self.version != VERSION {
            return Err(format!("has version {}, and {VERSION} is known here", self.version));
        }
        let network = Network::new(self.network.as_str())
            .map_err(|error| format!("has a network name {:?} that {error}", self.network))?;
        let instance = self.instance.map(|text| {
            Instance::new(text.as_str())
                .map_err(|error| format!("has an instance {text:?} that {error}"))
        });
        let addr =
            |text: &str| Addr::parse(text).ok_or_else(|| format!("has {text:?} for an address"));
        let marks: Result<BTreeMap<usize, Addr>, String> =
            self.marks.iter().map(|(set, text)| Ok((*set, addr(text)?))).collect();
        let allocations: Result<Vec<Allocation>, String> =
            self.allocations.into_iter().map(Entry::allocation).collect();
        Ok(NetworkState {
            network: network.as_str().to_owned(),
            instance: instance.transpose()?,
            place: Place::Dir(PathBuf::new()),
            layout: self.layout.as_ref().and_then(Layout::parse),
            marks: marks?,
            pin: self.pin,
            allocations: allocations?,
            cooling: Vec::new(),
            shared: false,
            faults: Vec::new(),
        })
    }
}

impl Entry {
    fn of(held: &Allocation) -> Self {
        let (container, ifname) = match &held.holder {
            Holder::Attachment(Attachment { container, ifname }) => {
                (Some(container.to_string()), Some(ifname.to_string()))
            }
            Holder::Container(id) => (Some(id.to_string()), None),
            Holder::Unknown => (None, None),
        };
        let Owner { namespace, name, uid } = held.owner.clone();
        let is_known = namespace.is_some() || name.is_some() || uid.is_some();
        Self {
            address: held.addr.to_string(),
            container,
            ifname,
            set: held.set,
            pod: is_known.then_some(Pod { namespace, name, uid }),
            since: held.since,
            cni_network: held.cni_network.as_ref().map(ToString::to_string),
        }
    }

    fn allocation(self) -> Result<Allocation, String> {
        let addr = Addr::parse(&self.address)
            .ok_or_else(|| format!("has {:?} for an address", self.address))?;
        let container = self.container.map(|id| {
            ContainerId::new(id.as_str())
                .map_err(|error| format!("{addr} has a container ID {id:?} that {error}"))
        });
        let ifname = self.ifname.map(|name| {
            IfName::new(name.as_str())
                .map_err(|error| format!("{addr} has an interface {name:?} that {error}"))
        });
        let holder = match (container.transpose()?, ifname.transpose()?) {
            (Some(container), Some(ifname)) => Holder::Attachment(Attachment { container, ifname }),
            (Some(container), None) => Holder::Container(container),
            (None, _) => Holder::Unknown,
        };
        let owner = self.pod.map_or_else(Owner::default, |pod| Owner {
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid,
        });
        let cni_network = self.cni_network.map(|name| {
            Network::new(name.as_str())
                .map_err(|error| format!("{addr} has a CNI network {name:?} that {error}"))
        });
        let cni_network = cni_network.transpose()?;
        Ok(Allocation { addr, holder, set: self.set, owner, since: self.since, cni_network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_state_is_read_as_written(
            held in proptest::collection::btree_map(any::<u32>(), (0..3_u8, "[a-z0-9]{1,20}", any::<u32>()), 0..20),
            pin in any::<Option<u32>>(),
        ) {
            let allocations = held
                .into_iter()
                .map(|(number, (kind, id, since))| {
                    let container = ContainerId::new(id).unwrap();
                    Allocation {
                        addr: Addr::new(ipam_core::addr::Family::V4, number.into()).unwrap(),
                        holder: match kind {
                            0 => Holder::Unknown,
                            1 => Holder::Container(container),
                            _ => Holder::Attachment(Attachment {
                                container,
                                ifname: IfName::new("eth0").unwrap(),
                            }),
                        },
                        set: Some(usize::from(kind)),
                        owner: Owner { name: Some("p".to_owned()), ..Owner::default() },
                        since: Some(since.into()),
                        cni_network: (kind == 2).then(|| Network::new("net").unwrap()),
                    }
                })
                .collect();
            let state = NetworkState {
                network: "n".to_owned(),
                instance: Some(Instance::new("node-local").unwrap()),
                place: Place::Dir(PathBuf::new()),
                layout: None,
                marks: [(1, Addr::parse("fd00::5").unwrap())].into(),
                pin,
                allocations,
                cooling: Vec::new(),
                shared: false,
                faults: Vec::new(),
            };
            let text = serde_json::to_string(&Document::of(&state)).unwrap();
            let read: Document = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.state().unwrap(), state);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            (r#"{"version":2,"network":"n","allocations":[]}"#, "version 2"),
            (r#"{"version":1,"network":"a b","allocations":[]}"#, "network name"),
            (r#"{"version":1,"network":"n","allocations":[{"address":"x"}]}"#, "\"x\""),
            (
                r#"{"version":1,"network":"n","allocations":[{"address":"10.0.0.1","container":"/"}]}"#,
                "container ID",
            ),
        ] {
            let document: Document = serde_json::from_str(text).unwrap();
            let error = document.state().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
