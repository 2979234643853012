//! States made by hand, for tests.

use ipam_core::addr::Addr;
use ipam_core::config::{Config, Owner};
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Instance};
use ipam_core::layout::Layout;
use ipam_core::policy::Policy;
use ipam_stores::survey::{Allocation, NetworkState, Place};
use serde_json::{Value, json};

use crate::shown::Shown;

/// An address.
pub(crate) fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

/// A network without anything, in a database.
pub(crate) fn state(network: &str) -> NetworkState {
    NetworkState {
        network: network.to_owned(),
        instance: Some(Instance::new("node-local").unwrap()),
        place: Place::Database("/run/plat/plat.db".into()),
        layout: None,
        marks: std::collections::BTreeMap::new(),
        pin: None,
        allocations: Vec::new(),
        cooling: Vec::new(),
        shared: false,
        faults: Vec::new(),
    }
}

/// The layout of an `ipam` section.
pub(crate) fn layout(ipam: &str, policy: Policy) -> Layout {
    let ipam: Value = serde_json::from_str(ipam).unwrap();
    let net = json!({"cniVersion": "1.0.0", "name": "n", "ipam": ipam});
    Layout { sets: Config::parse(&net, "", &[]).unwrap().sets, policy }
}

/// An address of the `n`-th container, whose pod is `shop/web-n`.
pub(crate) fn allocation(text: &str, n: u64, since: u64) -> Allocation {
    let container = format!("{n:04x}").repeat(16);
    Allocation {
        addr: addr(text),
        holder: Holder::Attachment(Attachment {
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }),
        set: None,
        owner: Owner {
            namespace: Some("shop".to_owned()),
            name: Some(format!("web-{n}")),
            uid: None,
        },
        since: Some(since),
        cni_network: None,
    }
}

/// A network with its layout.
pub(crate) fn shown(state: NetworkState, layout: Layout) -> Shown {
    Shown { state, layout: Some(layout), file: None }
}
