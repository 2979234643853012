//! An allocation as the commands' documents tell it.

use ipam_core::config::Owner;
use ipam_core::identity::Holder;
use ipam_stores::survey::{Allocation, NetworkState};
use serde::Serialize;

use crate::output::instant;

/// An address that is held.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Record<'a> {
    /// The address.
    address: String,
    /// The network.
    network: &'a str,
    /// The CNI network, if that is another, as several can use a pool; else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    cni_network: Option<&'a str>,
    /// The IPAM plugin whose it is; `null` in directories, which do not say.
    instance: Option<&'a str>,
    /// What holds it: `dir` or `sqlite`.
    store: &'static str,
    /// The network's directory, or the database.
    path: String,
    /// The container ID; `null` if it is not recorded.
    container: Option<&'a str>,
    /// Its interface; `null` if it is not recorded.
    interface: Option<&'a str>,
    /// The pod's namespace; `null` if it is not recorded.
    namespace: Option<&'a str>,
    /// The pod's name; `null` if it is not recorded.
    pod: Option<&'a str>,
    /// The pod's UID; `null` if it is not recorded.
    uid: Option<&'a str>,
    /// The position of its range set, from 0; `null` if it is not recorded.
    set: Option<usize>,
    /// When it was given out, RFC 3339 in UTC; `null` if it is not recorded.
    since: Option<String>,
}

impl<'a> Record<'a> {
    /// The record of an allocation of the network.
    pub(crate) fn new(state: &'a NetworkState, allocation: &'a Allocation) -> Self {
        let (container, interface) = parts(&allocation.holder);
        Self {
            address: allocation.addr.to_string(),
            network: &state.network,
            cni_network: allocation.cni_network.as_ref().map(|network| network.as_str()),
            instance: state.instance.as_ref().map(|instance| instance.as_str()),
            store: state.place.kind(),
            path: state.place.path().to_string_lossy().into_owned(),
            container,
            interface,
            namespace: allocation.owner.namespace.as_deref(),
            pod: allocation.owner.name.as_deref(),
            uid: allocation.owner.uid.as_deref(),
            set: allocation.set,
            since: allocation.since.map(instant),
        }
    }
}

/// The container and its interface, as far as the record names them.
pub(crate) fn parts(holder: &Holder) -> (Option<&str>, Option<&str>) {
    match holder {
        Holder::Attachment(attachment) => {
            (Some(attachment.container.as_str()), Some(attachment.ifname.as_str()))
        }
        Holder::Container(container) => (Some(container.as_str()), None),
        Holder::Unknown => (None, None),
    }
}

/// The pod as `namespace/name`, as far as it is known; not escaped.
pub(crate) fn pod(owner: &Owner) -> Option<String> {
    match (&owner.namespace, &owner.name) {
        (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
        (None, Some(name)) => Some(name.clone()),
        (Some(namespace), None) => Some(format!("{namespace}/?")),
        (None, None) => None,
    }
}
