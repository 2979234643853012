/*!
The node's part of VPP: uplink, routes to other nodes, gateway, host link; as the configuration wants it, and
kept so.

```text
 configuration ──NodeSpec::parse──► as written ──render(node)──► NodeSetup ──┐
                                                                            ├─ plan ─► steps ─► VPP, host
 VPP ──a round of dumps──► interfaces, sources, tables ──a round──► Seen ───┘
```

Every ADD looks, and nearly every one finds all as it should be: two rounds of dumps, of which the first is
the caller's anyway. Only who finds something different takes the lock, looks again, and changes it.

| room | what is in it |
|---|---|
| `spec`, `pci` | the configuration as written: pure |
| `setup` | the same for one node: pure |
| `plan` | what is to be done about a difference: pure |
| `seen`, `apply` | dumps, and changes |
| `host_link` | the host's side of the host link |
| `wishes`, `lock` | what networks that share a VPP want, and one at a time |
| `why` | why a device is not in VPP |
*/

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use kernel::Netlink;
use vpp_api::{Client, IfIndex, Mac};

mod apply;
mod error;
mod host_link;
mod lock;
mod pci;
mod plan;
mod seen;
mod setup;
mod show;
mod spec;
mod uplink;
mod why;
mod wishes;

pub use error::{NodeError, NodeErrorKind};
pub use host_link::PROTOCOL;
pub use pci::{PciAddress, PciError};
pub use seen::{Dumped, DumpedTickets, POD_SOURCE, PRIORITY, SOURCE};
pub use setup::{HostLink, NodeSetup, Uplink};
pub use show::{OurInterface, OurRoute, Ours, ours};
pub use spec::{HostLinkKind, KEYS, NodeSpec, Selector};
pub use why::Why;

use apply::{Work, gateway_tag};
use host_link::{Ends, HostSide, HostStep};
use lock::Lock;
use plan::{Conflict, Plan, Wish, plan};
use seen::{Indices, Seen, Stale};
use wishes::Others;

use crate::names::gateway_mac;

/// The MTU of a network of which nothing is known, in bytes.
const USUAL_MTU: u32 = 1500;

/// What a call wants of a VPP.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The configuration's part for this node.
    pub setup: &'w NodeSetup,
    /// The network's name: what a network has made, it takes away again.
    pub network: &'w str,
    /// The table that its pods are in.
    pub table: u32,
    /// Gateways of pods: the loopback of the table gets these addresses, and keeps them.
    pub gateways: &'w [IpAddr],
}

/// Where a call may look and write, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// The plugin's directory for what lasts as long as the boot: locks, and who wants what.
    pub run_dir: &'p Path,
    /// Where `/sys`, `/proc` and `/etc` are.
    pub root: &'p Path,
    /// When another call's lock is waited for no more.
    pub deadline: Instant,
}

/// What a pod's attachment needs to know about the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The loopback that has the gateway addresses of the table.
    pub gateway: IfIndex,
    /// Its Ethernet address.
    pub gateway_mac: Mac,
    /// The largest packet that goes to other nodes, in bytes, if there is an uplink. Where the configuration
    /// does not say it, VPP's own but not more than 1500: VPP takes 9000 for granted, which says
    /// nothing of the network.
    pub mtu: Option<u32>,
    /// The interface to other nodes, if one is wanted.
    pub uplink: Option<IfIndex>,
    /// The interface to the host, if one is wanted.
    pub host_link: Option<IfIndex>,
    /// The number of [`SOURCE`] in this VPP.
    pub source: u8,
    /// The number of [`POD_SOURCE`] in this VPP.
    pub pod_source: u8,
    /// What is odd, and was left alone; a sentence each.
    pub notes: Vec<String>,
}

/// Something that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    text: String,
    is_note: bool,
}

impl Difference {
    /// Whether it is odd only, and nothing that [`ensure`] would change.
    pub const fn is_note(&self) -> bool {
        self.is_note
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The right to make what VPP does not look for before it makes it, such as a FIB source: one at a time for each
/// VPP, among all who ask here. It ends when it is dropped.
#[derive(Debug)]
pub struct Alone {
    _lock: Lock,
}

/// Takes that right for the VPP at a socket.
///
/// # Errors
/// [`NodeError::Busy`] at the deadline of the place, [`NodeError::Io`].
pub fn alone(socket: &Path, place: &Place<'_>) -> Result<Alone, NodeError> {
    let directory = lock::directory(place.run_dir, socket);
    Ok(Alone { _lock: Lock::take(&directory, place.deadline)? })
}

/// Makes the node's part of VPP as wanted. Where all is well that is one round of dumps, and one more if
/// `dumped` is not given.
///
/// # Errors
/// [`NodeError`]; what was done before it stays, and the next call goes on from there.
pub fn ensure(
    vpp: &mut Client,
    wanted: &Wanted<'_>,
    place: &Place<'_>,
    dumped: Option<Dumped>,
) -> Result<Ready, NodeError> {
    let view = View::of(vpp, wanted, place, dumped)?;
    if view.is_settled() {
        return Ok(view.ready(wanted, None));
    }
    let directory = lock::directory(place.run_dir, vpp.path());
    let _lock = Lock::take(&directory, place.deadline)?;
    // Somebody else may have done it meanwhile.
    let view = View::of(vpp, wanted, place, None)?;
    if view.is_settled() {
        return Ok(view.ready(wanted, None));
    }
    // Before it is made: so nobody takes it for something that nobody wants.
    let hops = view.wish.routes.iter().map(|(prefix, hop)| (*prefix, hop.via));
    wishes::write(&directory, wanted.network, wanted.table, hops)?;
    view.settle(vpp, wanted)
}

/// What is not as wanted: nothing is changed.
///
/// # Errors
/// [`NodeError`]: also what is so wrong that no plan can be made.
pub fn differences(
    vpp: &mut Client,
    wanted: &Wanted<'_>,
    place: &Place<'_>,
    dumped: Option<Dumped>,
) -> Result<Vec<Difference>, NodeError> {
    let view = View::of(vpp, wanted, place, dumped)?;
    let lacking = view.plan.steps.iter().filter_map(|step| view.seen.lacking(step));
    let of_host = view.host.iter().flat_map(|host| {
        host.steps.iter().filter_map(|step| host_link::describe(step, &host.ends))
    });
    let real = lacking.chain(of_host).map(|text| Difference { text, is_note: false });
    let notes = view.plan.notes.iter().cloned().map(|text| Difference { text, is_note: true });
    Ok(real.chain(notes).collect())
}

/// What is wanted, what is there, and what has to be done about it.
struct View {
    wish: Wish,
    dumped: Dumped,
    seen: Seen,
    plan: Plan,
    host: Option<HostView>,
    mtu: Option<u32>,
}

/// The host's side of the host link.
struct HostView {
    netlink: Netlink,
    ends: Ends,
    steps: Vec<HostStep>,
}

impl View {
    fn of(
        vpp: &mut Client,
        wanted: &Wanted<'_>,
        place: &Place<'_>,
        dumped: Option<Dumped>,
    ) -> Result<Self, NodeError> {
        let dumped = match dumped {
            Some(dumped) => dumped,
            None => Dumped::now(vpp)?,
        };
        let Wanted { setup, network, table, gateways } = *wanted;
        let uplink = match &setup.uplink {
            Some(uplink) => Some(uplink::find(&uplink.selector, &dumped, place.root)?),
            None => None,
        };
        let mtu = setup.uplink.as_ref().and_then(|it| it.mtu).or_else(|| {
            let [mtu, ..] = dumped.interface(uplink?)?.mtu;
            Some(mtu.clamp(1, USUAL_MTU))
        });
        let mut indices = Indices { uplink, gateway: gateway(&dumped, table), host_link: None };
        let mut host = None;
        let mut stale = None;
        if let Some(link) = &setup.host_link {
            let mut netlink = Netlink::open()?;
            let ends = Ends::of(link, table, mtu);
            let side = HostSide::look(&mut netlink, &ends)?;
            let steps = side.plan(link, &ends)?;
            (indices.host_link, stale) = vpp_end(&dumped, &ends, side.is_whole(&ends));
            host = Some(HostView { netlink, ends, steps });
        }
        let host_mtu = host.as_ref().map(|host| host.ends.mtu);
        let wish = Wish::of(setup, gateways, table, host_mtu);
        let mut seen = Seen::look(vpp, &dumped, indices, table)?;
        seen.stale = stale;
        let missing = wish.missing(&seen);
        if !missing.is_empty() {
            seen.look_for_hidden(vpp, &dumped, &missing, table)?;
        }
        let mut plan = plan(&wish, &seen, &Others::new())?;
        if !plan.steps.is_empty() {
            // Perhaps it is other networks that want what seems too much here.
            let directory = lock::directory(place.run_dir, vpp.path());
            let others = wishes::of_others(&directory, network, table)?;
            if !others.is_empty() {
                plan = plan::plan(&wish, &seen, &others)?;
            }
        }
        Ok(Self { wish, dumped, seen, plan, host, mtu })
    }

    fn is_settled(&self) -> bool {
        self.plan.steps.is_empty() && self.host.as_ref().is_none_or(|host| host.steps.is_empty())
    }

    /// Does what has to be done. The lock is held.
    fn settle(mut self, vpp: &mut Client, wanted: &Wanted<'_>) -> Result<Ready, NodeError> {
        // A veth pair is there before VPP's end of it, a tap's device behind.
        if let Some(host) = self.host.as_mut().filter(|host| host.ends.vpp.is_some()) {
            host_link::apply(&mut host.netlink, &host.ends, &host.steps)?;
        }
        let work = Work {
            vpp,
            seen: &self.seen,
            dumped: &self.dumped,
            table: wanted.table,
            ends: self.host.as_ref().map(|host| &host.ends),
        };
        let numbers = work.run(&self.plan.steps)?;
        if let (Some(host), Some(link)) = (self.host.as_mut(), &wanted.setup.host_link)
            && host.ends.vpp.is_none()
        {
            let side = HostSide::look(&mut host.netlink, &host.ends)?;
            let steps = side.plan(link, &host.ends)?;
            host_link::apply(&mut host.netlink, &host.ends, &steps)?;
        }
        Ok(self.ready(wanted, Some(numbers)))
    }

    fn ready(self, wanted: &Wanted<'_>, numbers: Option<apply::Numbers>) -> Ready {
        let index = |on| self.seen.part(on).map(|part| part.index);
        let numbers = numbers.unwrap_or_else(|| apply::Numbers {
            indices: Indices {
                uplink: index(plan::On::Uplink),
                gateway: index(plan::On::Gateway),
                host_link: index(plan::On::HostLink),
            },
            source: self.seen.source,
            pod_source: self.seen.pod_source,
        });
        let mac = self.seen.gateway.as_ref().map(|gateway| gateway.mac);
        Ready {
            gateway: numbers.indices.gateway.unwrap_or(IfIndex::NONE),
            gateway_mac: mac.unwrap_or_else(|| gateway_mac(wanted.table)),
            mtu: self.mtu,
            uplink: numbers.indices.uplink,
            host_link: numbers.indices.host_link,
            source: numbers.source.unwrap_or_default(),
            pod_source: numbers.pod_source.unwrap_or_default(),
            notes: self.plan.notes,
        }
    }
}

/// The gateway loopback of a table: by its mark, or one that was made and not marked.
fn gateway(dumped: &Dumped, table: u32) -> Option<IfIndex> {
    let (tag, mac) = (gateway_tag(table), gateway_mac(table));
    let loopbacks = || dumped.interfaces.iter().filter(|it| it.interface_dev_type == "Loopback");
    let marked = loopbacks().filter(|it| it.tag == tag.as_str()).map(|it| it.sw_if_index).min();
    let is_ours =
        |it: &&vpp_api::msg::SwInterfaceDetails| it.l2_address == mac && it.tag.is_empty();
    marked.or_else(|| loopbacks().filter(is_ours).map(|it| it.sw_if_index).min())
}

/// VPP's end of the host link: as it is to be used, or of no use. `whole`: the host has its devices.
fn vpp_end(dumped: &Dumped, ends: &Ends, whole: bool) -> (Option<IfIndex>, Option<Stale>) {
    let on_device = ends.vpp.as_ref().map(|device| format!("host-{device}"));
    let is_ours = |it: &&vpp_api::msg::SwInterfaceDetails| {
        // One that was made and not marked has its name.
        it.tag == ends.alias.as_str()
            || (it.tag.is_empty()
                && on_device.as_deref().is_some_and(|name| it.interface_name == name))
    };
    let Some(found) = dumped.interfaces.iter().filter(is_ours).min_by_key(|it| it.sw_if_index)
    else {
        return (None, None);
    };
    let name = found.interface_name.to_string();
    let is_af_packet = found.interface_dev_type == "af-packet";
    let fits = match &on_device {
        Some(wanted) => is_af_packet && name == *wanted && found.tag == ends.alias.as_str(),
        None => !is_af_packet,
    };
    if fits && whole {
        return (Some(found.sw_if_index), None);
    }
    let device = is_af_packet.then(|| name.strip_prefix("host-").unwrap_or(&name).to_owned());
    (None, Some(Stale { index: found.sw_if_index, device }))
}

impl From<Conflict> for NodeError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict { what: conflict.what, advice: conflict.advice.to_owned() }
    }
}

impl From<vpp_api::wire::TextError> for NodeError {
    fn from(error: vpp_api::wire::TextError) -> Self {
        Self::Vpp(error.into())
    }
}
