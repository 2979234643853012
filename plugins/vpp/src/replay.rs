/*!
Attachments compared with VPP, and put back after VPP was restarted.

VPP forgets everything when it ends; pods do not notice. Their namespaces keep interface, addresses, routes and
neighbours, and Ethernet addresses are recorded: so VPP's side is made again as it was, and the pods are not touched.
A veth pair gets a new interface of VPP on the host's end, a tap is taken over, a memif is made again.

Only an interface that is no longer in the pod is made again there, too.
*/

mod one;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use kernel::Netlink;
use vpp_api::{Client, IfIndex};

use crate::attach::remove::{Going, from_vpp};
use crate::attach::seen::find;
use crate::errors::Problem;
use crate::node::{self, Dumped, NodeSpec, Ready};
use crate::plugin::{clean_pending, dump, namespace_of};
use crate::record::{Listed, Record, Records};
use crate::tag::Tag;
use one::One;

/// Where things are, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The attachments of this node.
    pub records: &'a Records,
    /// Absolute paths of the system are below it; `/`.
    pub root: &'a Path,
    /// When it has to be over.
    pub deadline: Instant,
}

/// What was found, and done.
#[derive(Debug, Default)]
pub struct Report {
    /// The attachments that are recorded for this VPP.
    pub pods: Vec<PerPod>,
    /// Interfaces that look like an attachment's, and are not recorded.
    pub strays: Vec<Stray>,
    /// What else went wrong: one sentence each.
    pub problems: Vec<String>,
}

/// An attachment.
#[derive(Debug)]
pub struct PerPod {
    /// The file of its record.
    pub path: PathBuf,
    /// Its tag.
    pub tag: Tag,
    /// Its record, if that can be read.
    pub record: Option<Record>,
    /// VPP's number and name of its interface, as it was found.
    pub interface: Option<(IfIndex, String)>,
    /// How it is.
    pub state: PodState,
}

/// How an attachment is. Texts are one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// As it should be.
    Fine,
    /// Not as it should be.
    Differs(Vec<String>),
    /// It was not as it should be, and is now.
    Repaired(Vec<String>),
    /// The pod's namespace is gone: its DEL is still to come.
    NamespaceGone,
    /// It cannot be looked at, or repaired.
    Failed(String),
}

/// An interface that carries the tag of an attachment that is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// VPP's number.
    pub interface: IfIndex,
    /// VPP's name.
    pub name: String,
    /// Its tag.
    pub tag: Tag,
    /// Whether it was removed: it is, where its device is gone. What may carry a pod is left to GC.
    pub removed: bool,
}

/// Looks only: every attachment that is recorded for this VPP, compared with VPP and the pod.
///
/// # Errors
/// If VPP is away, or the records cannot be listed.
pub fn inspect(vpp: &mut Client, place: &Place<'_>) -> Result<Report, Problem> {
    Replay { place, fix: false }.run(vpp)
}

/// The same, and puts VPP's side right.
///
/// # Errors
/// As [`inspect`].
pub fn replay(vpp: &mut Client, place: &Place<'_>) -> Result<Report, Problem> {
    Replay { place, fix: true }.run(vpp)
}

/// The node's part of VPP as an attachment's configuration has it, as text: what attachments share.
type NodeKey = (String, String, u32);

struct Replay<'a> {
    place: &'a Place<'a>,
    fix: bool,
}

impl Replay<'_> {
    fn run(&self, vpp: &mut Client) -> Result<Report, Problem> {
        let mut report = Report::default();
        // Interfaces first: whatever is among them was recorded before it was made.
        let mut dumped = dump(vpp)?;
        let listed = self.place.records.all()?;
        let pending = self.place.records.pending()?;
        if self.fix {
            for problem in clean_pending(vpp, &dumped, self.place.records) {
                report.problems.push(problem.to_string());
            }
            dumped = dump(vpp)?;
        }
        self.strays(vpp, &dumped, &listed, &pending, &mut report);
        let is_of = |listed: &Listed| {
            listed
                .record
                .as_ref()
                .map_or(true, |record| record.socket == vpp.path() && record.is_complete())
        };
        let ours: Vec<Listed> = listed.into_iter().filter(is_of).collect();
        let nodes = self.nodes(vpp, &ours, &dumped);
        if self.fix {
            // The node's part may just have been made.
            dumped = dump(vpp)?;
        }
        for listed in ours {
            report.pods.push(self.pod(vpp, &dumped, &nodes, listed));
        }
        Ok(report)
    }

    /// Makes sure of the node's part for each configuration that attachments have, once.
    fn nodes(
        &self,
        vpp: &mut Client,
        listed: &[Listed],
        dumped: &Dumped,
    ) -> BTreeMap<NodeKey, Result<Ready, String>> {
        let mut gateways: BTreeMap<NodeKey, (&Record, Vec<IpAddr>)> = BTreeMap::new();
        for record in listed.iter().filter_map(|listed| listed.record.as_ref().ok()) {
            let (_, all) = gateways.entry(node_key(record)).or_insert((record, Vec::new()));
            all.extend(record.gateways());
            all.sort();
            all.dedup();
        }
        let mut nodes = BTreeMap::new();
        if !self.fix {
            return nodes;
        }
        for (key, (record, gateways)) in gateways {
            let ready = self.node(vpp, record, &gateways, dumped);
            nodes.insert(key, ready.map_err(|problem| problem.to_string()));
        }
        nodes
    }

    fn node(
        &self,
        vpp: &mut Client,
        record: &Record,
        gateways: &[IpAddr],
        dumped: &Dumped,
    ) -> Result<Ready, Problem> {
        let spec = NodeSpec::parse(&At::root(&record.node))?;
        let identity = record.node_index.map(|index| NodeIdentity {
            index,
            name: record.node_name.clone().unwrap_or_default(),
            source: "the record of an attachment".to_owned(),
        });
        let setup = spec.render(identity.as_ref())?;
        let wanted =
            node::Wanted { setup: &setup, network: &record.network, table: record.table, gateways };
        let place = node::Place {
            run_dir: self.place.records.directory(),
            root: self.place.root,
            deadline: self.place.deadline,
        };
        // Of several networks each may have changed something.
        let fresh = if record.node.is_null() { Some(dumped.clone()) } else { None };
        Ok(node::ensure(vpp, &wanted, &place, fresh)?)
    }

    fn pod(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        nodes: &BTreeMap<NodeKey, Result<Ready, String>>,
        listed: Listed,
    ) -> PerPod {
        let Listed { path, tag, record } = listed;
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let state = PodState::Failed(error.to_string());
                return PerPod { path, tag, record: None, interface: None, state };
            }
        };
        let interface = find(&dumped.interfaces, tag, &record.device);
        let interface =
            interface.map(|found| (found.sw_if_index, found.interface_name.to_string()));
        let ready = nodes.get(&node_key(&record));
        let state = match ready {
            Some(Err(text)) => PodState::Failed(text.clone()),
            Some(Ok(ready)) => self.locked(vpp, dumped, tag, &record, Some(ready)),
            None => self.locked(vpp, dumped, tag, &record, None),
        };
        PerPod { path, tag, record: Some(record), interface, state }
    }

    /// Looks at an attachment while nobody adds or deletes one of its network.
    fn locked(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        tag: Tag,
        record: &Record,
        ready: Option<&Ready>,
    ) -> PodState {
        let records = self.place.records;
        let mut look = || -> Result<PodState, Problem> {
            let _lock = match ready {
                Some(_) => Some(records.lock(tag.network, self.place.deadline)?),
                None => None,
            };
            // Its DEL may have come meanwhile.
            match records.read(tag)? {
                Some(now) if now == *record => {}
                _ => return Ok(PodState::Fine),
            }
            let Some(namespace) = namespace_of(record) else {
                return Ok(PodState::NamespaceGone);
            };
            One { dumped, tag, record, ready }.compare(vpp, namespace)
        };
        look().unwrap_or_else(|problem| PodState::Failed(problem.to_string()))
    }

    /// Interfaces that carry the tag of an attachment that is not recorded.
    fn strays(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        listed: &[Listed],
        pending: &[Listed],
        report: &mut Report,
    ) {
        let known = |tag: Tag| listed.iter().chain(pending).any(|listed| listed.tag == tag);
        for interface in &dumped.interfaces {
            let Some(tag) = Tag::parse(&interface.tag.to_string()) else { continue };
            if known(tag) {
                continue;
            }
            let name = interface.interface_name.to_string();
            let mut stray = Stray { interface: interface.sw_if_index, name, tag, removed: false };
            if self.fix && is_dead(&stray.name) {
                let going = Going { tag, device: "", record: None, is_pending: false };
                match from_vpp(vpp, dumped, going, self.place.records) {
                    Ok(()) => stray.removed = true,
                    Err(problem) => report.problems.push(problem.to_string()),
                }
            }
            report.strays.push(stray);
        }
    }
}

/// Whether an interface was on a device that is gone.
fn is_dead(name: &str) -> bool {
    let Some(device) = name.strip_prefix("host-") else { return false };
    let link = Netlink::open().and_then(|mut host| host.link(device));
    matches!(link, Ok(None))
}

/// What attachments share.
fn node_key(record: &Record) -> NodeKey {
    let index = record.node_index.map_or_else(String::new, |index| index.to_string());
    (record.network.clone(), format!("{index} {}", record.node), record.table)
}
