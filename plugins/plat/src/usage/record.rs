//! An allocation as the commands' documents tell it.

use ipam_core::config::Owner;
use ipam_core::identity::Holder;
use ipam_stores::survey::{Allocation, NetworkState};
use serde::Serialize;

use crate::output::instant;

/// An allocation, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    address: String,
    network: &'a str,
    /// The CNI network, where that is another: several can use a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    cni_network: Option<&'a str>,
    instance: Option<&'a str>,
    store: &'static str,
    path: String,
    container: Option<&'a str>,
    interface: Option<&'a str>,
    namespace: Option<&'a str>,
    pod: Option<&'a str>,
    uid: Option<&'a str>,
    set: Option<usize>,
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
