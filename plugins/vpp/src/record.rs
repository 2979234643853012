/*!
What is remembered of each attachment: all that DEL needs without its configuration, and a replay without the pod.

`<run>/vpp/<8 hex of the network>/<16 hex of the attachment>.json`, written before anything of the attachment is
made in VPP and removed when nothing is left of it. If VPP is away at a DEL, the record moves to `<run>/vpp/pending/`:
whoever meets that VPP next removes what it still has. All of it is on tmpfs: after a reboot no pod lives.

Files are written whole or not at all (a temporary file that is renamed); records are 0600 in directories
of 0700. A directory is locked while records in it change: shared by calls of single attachments, exclusively by
a replay, which must not meet an ADD that is half done.
*/

mod store;

use std::net::IpAddr;
use std::path::PathBuf;

use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vpp_api::Mac;

use crate::config::{Kind, MemifConfig, RxMode, TapConfig};
use crate::tag::Tag;

pub use store::{Listed, Lock, RecordError, Records};

/// The version of the format. Another one is not read: a record lives as long as the boot.
const FORMAT: u32 = 1;

/// An address of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAddress {
    /// The address with the prefix length of its subnet, as the IPAM plugin gave it.
    #[serde(with = "crate::text")]
    pub address: IpNet,
    /// The next hop of everything.
    pub gateway: IpAddr,
}

/// A route in a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRoute {
    /// Where to, without host bits.
    #[serde(with = "crate::text")]
    pub destination: IpNet,
    /// The next hop.
    pub via: IpAddr,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The largest TCP segment that is announced, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Among routes to the same destination the lowest wins; 0: the kernel's choice.
    #[serde(default)]
    pub metric: u32,
    /// The routing table; none: the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope; none: as is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// A network namespace: where it was, and what tells it from another one at the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    /// CNI_NETNS.
    pub path: PathBuf,
    /// The device of its file.
    pub device: u64,
    /// The inode of its file.
    pub inode: u64,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    format: u32,
    /// The network's name.
    pub network: String,
    /// The container ID.
    pub container: String,
    /// The interface in the pod.
    pub ifname: String,
    /// The pod's namespace, as Kubernetes calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// The pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The pod's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's network namespace.
    pub netns: Netns,
    /// VPP's API socket.
    pub socket: PathBuf,
    /// How the pod is attached.
    pub kind: Kind,
    /// The host's end of a veth pair, which VPP has opened; empty for other kinds.
    pub device: String,
    /// The socket of a memif.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memif_socket: Option<PathBuf>,
    /// How VPP looks for what the pod sends; none: VPP's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_mode: Option<RxMode>,
    /// Options of taps.
    pub tap: TapConfig,
    /// Options of memifs.
    pub memif: MemifConfig,
    /// VPP's table.
    pub table: u32,
    /// The MTU in bytes.
    pub mtu: u32,
    /// The pod's Ethernet address.
    #[serde(with = "crate::text")]
    pub pod_mac: Mac,
    /// VPP's Ethernet address towards the pod.
    #[serde(with = "crate::text")]
    pub vpp_mac: Mac,
    /// The pod's addresses.
    pub addresses: Vec<PodAddress>,
    /// The pod's routes, but for those to its next hops.
    pub routes: Vec<PodRoute>,
    /// The IPAM plugin's type, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<String>,
    /// What the IPAM plugin answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub ipam_result: Value,
    /// The node's part of the configuration, as written.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub node: Value,
    /// The node's index, if the node's part needed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_index: Option<u32>,
    /// The node's name, as it was found with the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}

impl Record {
    /// The format that is written.
    pub const fn format() -> u32 {
        FORMAT
    }

    /// The attachment; `None` if the names in the file are none.
    pub fn attachment(&self) -> Option<Attachment> {
        Some(Attachment {
            container: ContainerId::new(self.container.as_str()).ok()?,
            ifname: IfName::new(self.ifname.as_str()).ok()?,
        })
    }

    /// The tag of its interface in VPP.
    pub fn tag(&self) -> Option<Tag> {
        Some(Tag::of(&self.network, &self.attachment()?))
    }

    /// Whether it knows what is attached: one without addresses was begun, and nothing of it was made yet.
    pub const fn is_complete(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// The pod as people call it: `namespace/name`, else the container ID.
    pub fn pod(&self) -> String {
        match (&self.pod_namespace, &self.pod_name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => self.container.clone(),
        }
    }

    /// Who it belongs to.
    pub fn set_owner(&mut self, owner: &Owner) {
        self.pod_namespace.clone_from(&owner.namespace);
        self.pod_name.clone_from(&owner.name);
        self.pod_uid.clone_from(&owner.uid);
    }

    /// The gateways of its addresses, each once.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let mut gateways: Vec<IpAddr> = Vec::new();
        for address in &self.addresses {
            if !gateways.contains(&address.gateway) {
                gateways.push(address.gateway);
            }
        }
        gateways
    }

    /// Who VPP is to the pod: the gateways, and other next hops of its routes, each once.
    pub fn next_hops(&self) -> Vec<IpAddr> {
        let mut all = self.gateways();
        for route in &self.routes {
            if !all.contains(&route.via) {
                all.push(route.via);
            }
        }
        all
    }

    /// Whether it has an address in a table of a VPP.
    pub fn holds(&self, socket: &std::path::Path, table: u32, address: IpAddr) -> bool {
        self.socket == socket
            && self.table == table
            && self.addresses.iter().any(|held| held.address.addr() == address)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What of it cannot be understood.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            return Err(format!("it has format {}, not {FORMAT}", record.format));
        }
        match record.attachment() {
            Some(_) => Ok(record),
            None => Err("it names no attachment".to_owned()),
        }
    }

    /// The record as text.
    pub fn render(&self) -> String {
        // No map with other keys than texts is in it, and nothing else can fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// What makes a record; the rest of its fields has values that stand for nothing yet.
#[derive(Clone, Debug)]
pub struct Beginning<'a> {
    /// The network's name.
    pub network: &'a str,
    /// The attachment.
    pub attachment: &'a Attachment,
    /// The pod's network namespace.
    pub netns: Netns,
    /// VPP's API socket.
    pub socket: PathBuf,
    /// How the pod is attached.
    pub kind: Kind,
    /// The pod's Ethernet address.
    pub pod_mac: Mac,
    /// VPP's Ethernet address towards the pod.
    pub vpp_mac: Mac,
}

impl Beginning<'_> {
    /// The record.
    pub fn record(self) -> Record {
        Record {
            format: FORMAT,
            network: self.network.to_owned(),
            container: self.attachment.container.as_str().to_owned(),
            ifname: self.attachment.ifname.as_str().to_owned(),
            pod_namespace: None,
            pod_name: None,
            pod_uid: None,
            netns: self.netns,
            socket: self.socket,
            kind: self.kind,
            device: String::new(),
            memif_socket: None,
            rx_mode: None,
            tap: TapConfig::default(),
            memif: MemifConfig::default(),
            table: 0,
            mtu: 1500,
            pod_mac: self.pod_mac,
            vpp_mac: self.vpp_mac,
            addresses: Vec::new(),
            routes: Vec::new(),
            ipam: None,
            ipam_result: Value::Null,
            node: Value::Null,
            node_index: None,
            node_name: None,
        }
    }
}

#[cfg(test)]
mod tests;
