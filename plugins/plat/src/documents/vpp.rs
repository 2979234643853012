//! `plat vpp`.

use serde::Serialize;

/// What each VPP has of pods.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Shown {
    /// The VPPs.
    pub(crate) vpps: Vec<ShownVpp>,
    /// Records that cannot be read, a sentence each.
    pub(crate) unread: Vec<String>,
}

/// A VPP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ShownVpp {
    /// Its API socket.
    pub(crate) socket: String,
    /// Its version; `null` if it does not answer.
    pub(crate) version: Option<String>,
    /// Why it cannot be asked; `null` if it can.
    pub(crate) problem: Option<String>,
    /// The node's interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// The pods' attachments.
    pub(crate) pods: Vec<Attachment>,
    /// The routes of all tables that pods are in.
    pub(crate) routes: Vec<Route>,
    /// Interfaces of pods that no record is of.
    pub(crate) orphans: Vec<Interface>,
}

/// An interface of VPP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Interface {
    /// Its name in VPP.
    pub(crate) name: String,
    /// Its index in VPP.
    pub(crate) index: u32,
    /// `uplink`, `gateway` or `host link`; `null` if it is none of these.
    pub(crate) role: Option<&'static str>,
    /// The type of device, as VPP calls it.
    #[serde(rename = "type")]
    pub(crate) device: String,
    /// Its tag; may be empty.
    pub(crate) tag: String,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Whether it has a link.
    pub(crate) link: bool,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    /// Its Ethernet address; `null` if it has none.
    pub(crate) mac: Option<String>,
    /// Its addresses with prefix lengths.
    pub(crate) addresses: Vec<String>,
}

/// A pod's attachment.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Attachment {
    /// The pod's namespace; `null` if it is not recorded.
    pub(crate) namespace: Option<String>,
    /// The pod's name; `null` if it is not recorded.
    pub(crate) pod: Option<String>,
    /// The container ID.
    pub(crate) container: String,
    /// The interface in the pod.
    pub(crate) interface: String,
    /// The CNI network.
    pub(crate) network: String,
    /// `tap`, `memif` or `veth`.
    pub(crate) kind: &'static str,
    /// How it is, in a word or two: `up`, `no link`, `down`, `missing`, ...
    pub(crate) state: &'static str,
    /// The interface in VPP; `null` if there is none.
    pub(crate) vpp_interface: Option<String>,
    /// That interface's tag; `null` if it has none.
    pub(crate) tag: Option<String>,
    /// The pod's addresses.
    pub(crate) addresses: Vec<String>,
    /// Its gateways.
    pub(crate) gateways: Vec<String>,
    /// The table in VPP that it is in.
    pub(crate) table: u32,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    /// The path of its network namespace.
    pub(crate) netns: String,
    /// The host's end of a veth pair; empty for other kinds.
    pub(crate) device: String,
    /// Its memif socket; `null` if it has none.
    pub(crate) memif_socket: Option<String>,
}

/// A route of VPP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Route {
    /// The destination.
    pub(crate) destination: String,
    /// The table.
    pub(crate) table: u32,
    /// Who has made it, as VPP calls it.
    pub(crate) source: String,
    /// Where it leads.
    pub(crate) leads: Vec<String>,
}

/// Whether each VPP has what the pods need.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Checked {
    /// The VPPs.
    pub(crate) vpps: Vec<CheckedVpp>,
    /// Records that cannot be read, a sentence each.
    pub(crate) unread: Vec<String>,
}

/// A VPP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckedVpp {
    /// Its API socket.
    pub(crate) socket: String,
    /// Why it cannot be asked; `null` if it can.
    pub(crate) problem: Option<String>,
    /// What is wrong, or was, with the node's part: uplink, routes, gateway, host link.
    pub(crate) node: Vec<NodeFault>,
    /// The pods' attachments.
    pub(crate) pods: Vec<CheckedPod>,
    /// Interfaces with our tags that belong to nobody.
    pub(crate) strays: Vec<Stray>,
    /// What is wrong besides, a sentence each.
    pub(crate) problems: Vec<String>,
}

/// Something wrong with the node's part.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NodeFault {
    /// The network.
    pub(crate) network: String,
    /// A sentence.
    pub(crate) text: String,
    /// What to do; may be empty.
    pub(crate) advice: String,
    /// `broken`, `note` or `repaired`.
    pub(crate) severity: &'static str,
}

/// A pod's attachment.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckedPod {
    /// The pod's namespace; `null` if it is not recorded, or the record cannot be read.
    pub(crate) namespace: Option<String>,
    /// The pod's name; `null` if it is not recorded, or the record cannot be read.
    pub(crate) pod: Option<String>,
    /// The container ID; `null` if the record cannot be read.
    pub(crate) container: Option<String>,
    /// The interface in the pod; `null` if the record cannot be read.
    pub(crate) interface: Option<String>,
    /// The CNI network; `null` if the record cannot be read.
    pub(crate) network: Option<String>,
    /// The tag of its interface in VPP.
    pub(crate) tag: String,
    /// The interface in VPP; `null` if there is none.
    pub(crate) vpp_interface: Option<String>,
    /// The file of its record.
    pub(crate) record: String,
    /// `fine`, `differs`, `repaired`, `namespace gone` or `failed`.
    pub(crate) state: &'static str,
    /// What is not as it should be, or was not, a sentence each.
    pub(crate) what: Vec<String>,
}

/// An interface that belongs to nobody.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Stray {
    /// Its name in VPP.
    pub(crate) interface: String,
    /// Its tag.
    pub(crate) tag: String,
    /// Whether it was removed.
    pub(crate) removed: bool,
}

/// The network devices of a node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Nics {
    /// Those with hardware; with `--all` also those without.
    pub(crate) nics: Vec<NicLine>,
}

/// A network device.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NicLine {
    /// Its PCI address; `null` if it has none.
    pub(crate) pci: Option<String>,
    /// Its name; `null` if a program has it and the kernel does not.
    pub(crate) name: Option<String>,
    /// Its driver; `null` if it is not known.
    pub(crate) driver: Option<String>,
    /// The driver of its PCI device; `null` if it has none.
    pub(crate) pci_driver: Option<String>,
    /// Whether a program may have it: its driver is one for programs.
    pub(crate) handed_over: bool,
    /// Whether there is no hardware behind it.
    #[serde(rename = "virtual")]
    pub(crate) is_virtual: bool,
    /// Whether it is up.
    pub(crate) up: bool,
    /// Its operational state, as the kernel calls it; `null` if it has no name.
    pub(crate) state: Option<String>,
    /// Its Ethernet address; `null` if it is not known.
    pub(crate) mac: Option<String>,
    /// Its speed in Mbit/s; `null` if it is not known.
    pub(crate) speed: Option<u32>,
    /// The largest packet, in bytes; `null` if it is not known.
    pub(crate) mtu: Option<u32>,
    /// The bond or bridge that it belongs to; `null` if none.
    pub(crate) controller: Option<String>,
    /// The devices that stand on it, such as VLANs.
    pub(crate) upper: Vec<String>,
    /// Whether default routes lead through it.
    pub(crate) default_route: DefaultRoute,
    /// Its IOMMU group; `null` if it has none.
    pub(crate) iommu_group: Option<u32>,
    /// Vendor and device, as four hexadecimal digits each; `null` if they are not known.
    pub(crate) id: Option<String>,
    /// What it is, where the node has `pci.ids`; else `null`.
    pub(crate) product: Option<String>,
}

/// Which default routes lead through a device.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DefaultRoute {
    /// That of IPv4.
    pub(crate) ipv4: bool,
    /// That of IPv6.
    pub(crate) ipv6: bool,
    /// The bridge, bond or VLAN on it that has them; `null` if it has them itself, or has none.
    pub(crate) by: Option<String>,
}

/// Whether a node is ready for VPP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Preflight {
    /// How many checks found what will not work.
    pub(crate) failures: usize,
    /// How many found what may not work.
    pub(crate) warnings: usize,
    /// How many could not be made.
    pub(crate) skipped: usize,
    /// The checks.
    pub(crate) checks: Vec<CheckLine>,
}

/// A check.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckLine {
    /// Its name.
    pub(crate) check: &'static str,
    /// `ok`, `warn`, `fail` or `skipped`.
    pub(crate) verdict: &'static str,
    /// What was found, a sentence.
    pub(crate) found: String,
    /// What to do; may be empty.
    pub(crate) advice: String,
}

/// The configuration that VPP is started with.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StartupConf {
    /// Its text.
    pub(crate) text: String,
    /// The file that it is in; `null` if it was only printed.
    pub(crate) file: Option<String>,
    /// The file that has what was there before; `null` if nothing was, or nothing was changed.
    pub(crate) backup: Option<String>,
    /// Whether the file was changed; absent if it was only printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<bool>,
    /// What speaks against its devices.
    pub(crate) against: Vec<CheckLine>,
}

/// The way that a pod's packets should go, and the packets that were seen.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Trace {
    /// The pod's namespace; `null` if it is not recorded.
    pub(crate) namespace: Option<String>,
    /// The pod's name; `null` if it is not recorded.
    pub(crate) pod: Option<String>,
    /// The container ID.
    pub(crate) container: String,
    /// The interface in the pod.
    pub(crate) interface: String,
    /// The CNI network.
    pub(crate) network: String,
    /// The interface in VPP; `null` if there is none.
    pub(crate) vpp_interface: Option<String>,
    /// What is as it should be, a sentence each.
    pub(crate) fine: Vec<String>,
    /// What VPP lacks, a sentence each.
    pub(crate) missing: Vec<String>,
    /// The packets that were seen.
    pub(crate) packets: Vec<PacketLine>,
}

/// A packet.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PacketLine {
    /// The thread of VPP that saw it, as VPP calls it.
    pub(crate) thread: String,
    /// What it is, in a line.
    pub(crate) packet: String,
    /// The nodes of VPP's graph that it went through.
    pub(crate) nodes: Vec<StepLine>,
    /// What became of it, in a sentence.
    pub(crate) end: String,
    /// Whether it was dropped.
    pub(crate) dropped: bool,
}

/// A node of VPP's graph.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StepLine {
    /// When, in VPP's own time, as VPP writes it.
    pub(crate) time: String,
    /// The node's name.
    pub(crate) node: String,
    /// What it says of the packet, line by line.
    pub(crate) says: Vec<String>,
}
