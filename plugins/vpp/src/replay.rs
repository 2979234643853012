/*!
Attachments compared with VPP, and put back after VPP was restarted.

VPP forgets everything when it ends; pods do not notice. Their namespaces keep interface, addresses, routes and
neighbours, and Ethernet addresses are recorded: so VPP's side is made again as it was, and the pods are not touched.
A veth pair gets a new interface of VPP on the host's end, a tap is taken over, a memif is made again.

Only an interface that is no longer in the pod is made again there, too.

An attachment that is as it should be is only looked at, and takes no lock. VPP works on one request after the
other, and takes 45 ms to open a veth pair's end: so many ends are asked for in one go, while another thread
looks at the next pods.
*/

mod many;
mod one;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use kernel::Netlink;
use vpp_api::{Client, IfIndex};

use crate::attach::remove::{Going, from_vpp};
use crate::attach::seen::find;
use crate::errors::Problem;
use crate::names::NetworkHash;
use crate::node::{self, Dumped, NodeErrorKind, NodeSpec, Ready};
use crate::plugin::{clean_pending, dump, is_at, namespace_of};
use crate::record::{Listed, Lock, Record, RecordError, Records};
use crate::tag::Tag;
use one::{Compared, Failed, One};

/// How long a network is waited for in which calls are under way: one that hangs must not keep the others' pods
/// without VPP. What was not done is done the next time.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

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
    /// What kind of trouble it is, if it has failed.
    pub cause: Option<Cause>,
}

/// What kind of trouble keeps an attachment from being looked at or repaired, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// VPP went away, or did not answer in time.
    Away,
    /// VPP refuses.
    Refused,
    /// VPP has no uplink, or has it otherwise.
    Node,
    /// The kernel refuses.
    Kernel,
    /// This is not the network namespace in which the pod's link was made.
    Namespace,
    /// Calls of the network were under way all the time, or there was no time left.
    Busy,
    /// A record cannot be read, or what is in it.
    Record,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Away,
        Self::Refused,
        Self::Node,
        Self::Kernel,
        Self::Namespace,
        Self::Busy,
        Self::Record,
    ];

    /// A word for it, in lower case.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Refused => "refused",
            Self::Node => "node",
            Self::Kernel => "kernel",
            Self::Namespace => "namespace",
            Self::Busy => "busy",
            Self::Record => "record",
        }
    }

    fn of(problem: &Problem) -> Self {
        match problem {
            problem if problem.is_away() => Self::Away,
            Problem::Vpp(_) | Problem::Step(_) => Self::Refused,
            Problem::Node(error) => match error.kind() {
                NodeErrorKind::Busy => Self::Busy,
                NodeErrorKind::Io => Self::Record,
                _ => Self::Node,
            },
            Problem::Kernel(_) | Problem::Answer(_) => Self::Kernel,
            Problem::Record(RecordError::Busy { .. }) => Self::Busy,
            Problem::Record(_) | Problem::Config(_) => Self::Record,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
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

/// The node's part as it became, or why it did not, for each configuration.
type Nodes = BTreeMap<NodeKey, Result<Ready, (Cause, String)>>;

impl Replay<'_> {
    fn run(&self, vpp: &mut Client) -> Result<Report, Problem> {
        let mut report = Report::default();
        // Interfaces first: whatever is among them was recorded before it was made.
        let mut dumped = dump(vpp)?;
        let listed = self.place.records.all()?;
        let pending = self.place.records.pending()?;
        let known: BTreeSet<Tag> = listed.iter().chain(&pending).map(|listed| listed.tag).collect();
        let before = dumped.clone();
        if self.fix {
            for problem in clean_pending(vpp, &dumped, self.place.records) {
                report.problems.push(problem.to_string());
            }
            dumped = dump(vpp)?;
        }
        let is_of = |listed: &Listed| {
            listed
                .record
                .as_ref()
                .map_or(true, |record| is_at(record, vpp.path()) && record.is_complete())
        };
        let ours: Vec<Listed> = listed.into_iter().filter(is_of).collect();
        let nodes = self.nodes(vpp, &ours, &dumped);
        if self.fix {
            // The node's part may just have been made.
            dumped = dump(vpp)?;
        }
        report.pods = self.pods(vpp, &dumped, &nodes, ours);
        self.strays(vpp, &before, &known, &mut report);
        Ok(report)
    }

    fn pods(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        nodes: &Nodes,
        ours: Vec<Listed>,
    ) -> Vec<PerPod> {
        let mut busy = BTreeSet::new();
        let mut made = if self.fix {
            self.many(vpp, dumped, nodes, &ours, &mut busy)
        } else {
            BTreeMap::new()
        };
        let pod = |listed: Listed| match made.remove(&listed.tag) {
            Some(state) => per_pod(dumped, listed, state),
            None => self.pod(vpp, dumped, nodes, listed, &mut busy),
        };
        ours.into_iter().map(pod).collect()
    }

    /// Makes sure of the node's part for each configuration that attachments have, once.
    fn nodes(&self, vpp: &mut Client, listed: &[Listed], dumped: &Dumped) -> Nodes {
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
            let failed = |problem: Problem| (Cause::of(&problem), problem.to_string());
            nodes.insert(key, ready.map_err(failed));
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
        nodes: &Nodes,
        listed: Listed,
        busy: &mut BTreeSet<NetworkHash>,
    ) -> PerPod {
        let state = match &listed.record {
            Err(error) => Err(Failed { cause: Cause::Record, text: error.to_string() }),
            Ok(record) => match nodes.get(&node_key(record)) {
                Some(Err((cause, text))) => Err(Failed { cause: *cause, text: text.clone() }),
                Some(Ok(ready)) => self.one(vpp, dumped, listed.tag, record, Some(ready), busy),
                None => self.one(vpp, dumped, listed.tag, record, None, busy),
            },
        };
        per_pod(dumped, listed, state)
    }

    /// Looks at an attachment, and repairs it while nobody adds or deletes one of its network.
    fn one(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        tag: Tag,
        record: &Record,
        ready: Option<&Ready>,
        busy: &mut BTreeSet<NetworkHash>,
    ) -> Result<PodState, Failed> {
        if Instant::now() >= self.place.deadline {
            return Err(Failed::late());
        }
        let look = |vpp: &mut Client, dumped: &Dumped, repairs| -> Result<Compared, Failed> {
            // Its DEL may have come meanwhile.
            match self.place.records.read(tag).map_err(Problem::from)? {
                Some(now) if now == *record => {}
                _ => return Ok(Compared::nothing(PodState::Fine)),
            }
            let Some(namespace) = namespace_of(record) else {
                return Ok(Compared::nothing(PodState::NamespaceGone));
            };
            One { dumped, tag, record, ready, repairs }.compare(vpp, namespace)
        };
        let Compared { state, can_be_repaired } = look(vpp, dumped, false)?;
        if ready.is_none() || !can_be_repaired {
            return Ok(state);
        }
        // What is half made by a call that is under way is whole when nobody is at it: VPP is asked once more.
        let _lock = self.lock(tag.network, busy)?;
        let dumped = dump(vpp)?;
        look(vpp, &dumped, true).map(|compared| compared.state)
    }

    /// Locks a network; one that was busy once is not waited for again.
    fn lock(&self, network: NetworkHash, busy: &mut BTreeSet<NetworkHash>) -> Result<Lock, Failed> {
        let now = Instant::now();
        let patience = if busy.contains(&network) { Duration::ZERO } else { LOCK_PATIENCE };
        let deadline = now.checked_add(patience).unwrap_or(now).min(self.place.deadline);
        let lock = self.place.records.lock(network, deadline);
        if matches!(lock, Err(RecordError::Busy { .. })) {
            busy.insert(network);
        }
        Ok(lock.map_err(Problem::from)?)
    }

    /// Interfaces that carry the tag of an attachment that is not recorded.
    fn strays(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        known: &BTreeSet<Tag>,
        report: &mut Report,
    ) {
        // From another network namespace every device seems to be gone.
        let sees_devices = !report.pods.iter().any(|pod| pod.cause == Some(Cause::Namespace));
        for interface in &dumped.interfaces {
            let Some(tag) = Tag::parse(&interface.tag.to_string()) else { continue };
            if known.contains(&tag) {
                continue;
            }
            let name = interface.interface_name.to_string();
            let mut stray = Stray { interface: interface.sw_if_index, name, tag, removed: false };
            if self.fix && sees_devices && is_dead(&stray.name) {
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

/// An attachment as it was found, and what became of it.
fn per_pod(dumped: &Dumped, listed: Listed, state: Result<PodState, Failed>) -> PerPod {
    let Listed { path, tag, record } = listed;
    let record = record.ok();
    let found = record.as_ref().and_then(|it| find(&dumped.interfaces, tag, &it.device));
    let interface = found.map(|found| (found.sw_if_index, found.interface_name.to_string()));
    let (state, cause) = match state {
        Ok(state) => (state, None),
        Err(Failed { cause, text }) => (PodState::Failed(text), Some(cause)),
    };
    PerPod { path, tag, record, interface, state, cause }
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
