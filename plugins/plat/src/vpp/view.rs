//! Attachments, as records tell of them, beside the interfaces that VPP has: what belongs to whom.

use std::path::Path;

use serde_json::Value;
use vpp_plugin::names::is_host_device;
use vpp_plugin::record::Record;
use vpp_plugin::tag::Tag;

use super::pci::PciAddress;
use super::snapshot::{Interface, Snapshot};

/// How an attachment's interface is, seen from VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Up, with a link.
    Up,
    /// Up, but nobody is on the other end: the pod's interface is down or gone, or no application has connected.
    NoLink,
    /// Down.
    Down,
    /// There, but not finished: it has no tag yet.
    HalfMade,
    /// VPP has none.
    Missing,
    /// VPP does not answer.
    Unknown,
}

impl State {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoLink => "no link",
            Self::Down => "down",
            Self::HalfMade => "half made",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// What an interface of VPP is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The link to other nodes.
    Uplink,
    /// It owns the addresses of pods' gateways, in a table.
    Gateway(String),
    /// The link to the host.
    HostLink,
    /// Somebody else's.
    Other,
}

impl Role {
    /// The word.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Gateway(_) => "gateway",
            Self::HostLink => "host link",
            Self::Other => "",
        }
    }
}

/// An attachment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attached<'a> {
    /// What is remembered of it.
    pub(crate) record: &'a Record,
    /// Its interface in VPP.
    pub(crate) interface: Option<&'a Interface>,
    /// How that is.
    pub(crate) state: State,
}

/// Everything of one VPP, told apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View<'a> {
    /// Attachments, by pod.
    pub(crate) pods: Vec<Attached<'a>>,
    /// Interfaces that are no pod's, and no mere beginning (`local0`).
    pub(crate) node: Vec<(Role, &'a Interface)>,
    /// Interfaces of ours that no attachment owns.
    pub(crate) orphans: Vec<&'a Interface>,
}

/// Tells everything apart. Without a snapshot VPP does not answer.
pub(crate) fn view<'a>(
    socket: &Path,
    records: &'a [Record],
    snapshot: Option<&'a Snapshot>,
) -> View<'a> {
    let mine = || records.iter().filter(|record| record.socket == socket);
    let mut pods: Vec<Attached<'_>> = mine()
        .map(|record| {
            let interface = snapshot.and_then(|snapshot| find(record, &snapshot.interfaces));
            let state = match (snapshot, interface) {
                (None, _) => State::Unknown,
                (_, None) => State::Missing,
                (_, Some(interface)) if interface.tag.is_empty() => State::HalfMade,
                (_, Some(interface)) if !interface.up => State::Down,
                (_, Some(interface)) if !interface.link => State::NoLink,
                _ => State::Up,
            };
            Attached { record, interface, state }
        })
        .collect();
    pods.sort_by_key(|attached| {
        let record = attached.record;
        (record.pod(), record.network.clone(), record.ifname.clone())
    });
    let owned: Vec<_> =
        pods.iter().filter_map(|attached| Some(attached.interface?.index)).collect();
    let uplinks: Vec<&Value> = mine().filter_map(|record| record.node.get("uplink")).collect();
    let mut node = Vec::new();
    let mut orphans = Vec::new();
    let others = snapshot.into_iter().flat_map(|snapshot| &snapshot.interfaces);
    for interface in others.filter(|interface| !owned.contains(&interface.index)) {
        if is_ours(interface) {
            orphans.push(interface);
        } else if interface.name != "local0" {
            node.push((role(interface, &uplinks), interface));
        }
    }
    node.sort_by_key(|(role, interface)| {
        let order = match role {
            Role::Uplink => 0,
            Role::Gateway(_) => 1,
            Role::HostLink => 2,
            Role::Other => 3,
        };
        (order, interface.index)
    });
    View { pods, node, orphans }
}

/// The interface of an attachment: by its tag, or by its device where no tag has been written yet.
fn find<'i>(record: &Record, interfaces: &'i [Interface]) -> Option<&'i Interface> {
    let tag = record.tag()?.to_string();
    let on_device = |interface: &&Interface| {
        interface.tag.is_empty() && device(interface).is_some_and(|name| name == record.device)
    };
    let tagged = interfaces.iter().find(|interface| interface.tag == tag);
    tagged.or_else(|| interfaces.iter().find(on_device))
}

/// The network device that an interface by af_packet is on.
fn device(interface: &Interface) -> Option<&str> {
    interface.name.strip_prefix("host-")
}

/// Whether an attachment made it.
fn is_ours(interface: &Interface) -> bool {
    Tag::parse(&interface.tag).is_some()
        || (interface.tag.is_empty() && device(interface).is_some_and(is_host_device))
}

fn role(interface: &Interface, uplinks: &[&Value]) -> Role {
    match interface.tag.strip_prefix("plat/").and_then(|tag| tag.split_once('/')) {
        Some(("gateway", table)) => return Role::Gateway(table.to_owned()),
        Some(("host", _)) => return Role::HostLink,
        _ => {}
    }
    if uplinks.iter().any(|uplink| is_uplink(interface, uplink)) {
        Role::Uplink
    } else {
        Role::Other
    }
}

/// Whether a configuration's `uplink` means this interface.
fn is_uplink(interface: &Interface, uplink: &Value) -> bool {
    let says = |key: &str| uplink.get(key).and_then(Value::as_str);
    says("name").is_some_and(|name| name == interface.name)
        || says("tag").is_some_and(|tag| tag == interface.tag)
        || says("mac").is_some_and(|text| text.parse().is_ok_and(|mac| Some(mac) == interface.mac))
        || says("pci")
            .and_then(|text| text.parse::<PciAddress>().ok())
            .is_some_and(|address| address.is_named(&interface.name))
}

/// Attachments that a text means: a pod's name, `namespace/name`, or the beginning of a container ID.
pub(crate) fn meant<'a>(
    records: &'a [Record],
    text: &str,
    ifname: Option<&str>,
) -> Vec<&'a Record> {
    let is_pod = |record: &Record| match text.split_once('/') {
        Some((namespace, name)) => {
            record.pod_namespace.as_deref() == Some(namespace)
                && record.pod_name.as_deref() == Some(name)
        }
        None => record.pod_name.as_deref() == Some(text),
    };
    let is_wanted = |record: &&Record| ifname.is_none_or(|ifname| record.ifname == ifname);
    let pods: Vec<&Record> = records.iter().filter(is_wanted).filter(|r| is_pod(r)).collect();
    if !pods.is_empty() || text.is_empty() {
        return pods;
    }
    let begins = |record: &&Record| record.container.starts_with(text);
    records.iter().filter(is_wanted).filter(begins).collect()
}

#[cfg(test)]
pub(crate) mod samples {
    use ipam_core::identity::{Attachment, ContainerId, IfName};
    use serde_json::json;
    use vpp_plugin::config::Kind;
    use vpp_plugin::record::{Beginning, Netns, PodAddress};

    use super::*;

    /// A record of a pod attached by veth to the network `pods`, of the VPP at its usual socket.
    pub(crate) fn record(container: &str, pod: &str, address: &str) -> Record {
        let attachment = Attachment {
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let path = format!("/run/netns/{container}").into();
        let beginning = Beginning {
            network: "pods",
            attachment: &attachment,
            netns: Netns { path, device: 4, inode: 1 },
            socket: "/run/vpp/api.sock".into(),
            kind: Kind::Veth,
            pod_mac: "02:fe:00:00:00:aa".parse().unwrap(),
            vpp_mac: "02:fe:00:00:00:bb".parse().unwrap(),
        };
        let mut record = beginning.record();
        record.pod_namespace = Some("shop".to_owned());
        record.pod_name = Some(pod.to_owned());
        record.device = format!("vpp{container:0>11}");
        record.addresses = vec![PodAddress {
            address: format!("{address}/24").parse().unwrap(),
            gateway: "10.1.1.1".parse().unwrap(),
        }];
        record.node = json!({"uplink": {"pci": "0000:00:04.0", "address": "192.168.16.1/24"}});
        record
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::samples::interface;
    use super::samples::record;
    use super::*;

    #[test]
    fn interfaces_belong_to_pods_to_the_node_or_to_nobody() {
        let records = [
            record("1", "web-1", "10.1.1.7"),
            record("2", "web-2", "10.1.1.8"),
            record("3", "a", "10.1.1.9"),
        ];
        let tag = |n: usize| records[n].tag().unwrap().to_string();
        let mut quiet = interface(3, "host-vpp00000000001", "af-packet", &tag(0));
        quiet.link = false;
        let snapshot = Snapshot {
            version: "26.06".to_owned(),
            interfaces: vec![
                interface(0, "local0", "local", ""),
                interface(1, "GigabitEthernet0/4/0", "dpdk", ""),
                interface(2, "loop0", "Loopback", "plat/gateway/0"),
                quiet,
                interface(4, "host-vpp00000000002", "af-packet", ""),
                interface(5, "host-vpp00000000009", "af-packet", ""),
                interface(6, "tap7", "virtio", "plat/00000000/0000000000000001"),
                interface(7, "tap0", "virtio", "plat/host/0"),
                interface(8, "memif0/0", "memif", "somebody's"),
                interface(9, "host-eth1", "af-packet", ""),
            ],
            routes: Vec::new(),
        };
        let view = view(Path::new("/run/vpp/api.sock"), &records, Some(&snapshot));
        let pods: Vec<(String, State)> =
            view.pods.iter().map(|pod| (pod.record.pod(), pod.state)).collect();
        assert_eq!(
            pods,
            [
                ("shop/a".to_owned(), State::Missing),
                ("shop/web-1".to_owned(), State::NoLink),
                ("shop/web-2".to_owned(), State::HalfMade),
            ]
        );
        let names: Vec<(&str, &str)> =
            view.node.iter().map(|(role, one)| (role.as_str(), one.name.as_str())).collect();
        assert_eq!(
            names,
            [
                ("uplink", "GigabitEthernet0/4/0"),
                ("gateway", "loop0"),
                ("host link", "tap0"),
                ("", "memif0/0"),
                ("", "host-eth1"),
            ]
        );
        let orphans: Vec<&str> = view.orphans.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(orphans, ["host-vpp00000000009", "tap7"]);
        let away = super::view(Path::new("/run/vpp/api.sock"), &records, None);
        assert!(away.pods.iter().all(|pod| pod.state == State::Unknown));
        assert!(super::view(Path::new("/elsewhere"), &records, None).pods.is_empty());
    }

    #[test]
    fn pods_are_found_by_what_people_call_them() {
        let records = [record("abc1", "web-1", "10.1.1.7"), record("abd2", "web-2", "10.1.1.8")];
        for (text, ifname, n) in [
            ("web-1", None, 1),
            ("shop/web-1", None, 1),
            ("other/web-1", None, 0),
            ("ab", None, 2),
            ("abd2", Some("eth0"), 1),
            ("abd2", Some("net1"), 0),
            ("", None, 0),
        ] {
            assert_eq!(meant(&records, text, ifname).len(), n, "{text}");
        }
    }
}
