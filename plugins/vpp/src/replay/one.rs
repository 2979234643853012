//! One attachment, compared with VPP and its pod, and repaired.

use kernel::{Namespace, Netlink};
use vpp_api::Client;

use super::{Cause, PodState};
use crate::attach::plan::{Around, differences, repair};
use crate::attach::remove::{Going, is_ours};
use crate::attach::seen::{find_or_ask, gateway, look};
use crate::attach::step::apply;
use crate::attach::veth::are_a_pair;
use crate::config::Kind;
use crate::errors::Problem;
use crate::make::{Ends, Made, make, new_interface};
use crate::names::Macs;
use crate::node::{Dumped, Ready};
use crate::pod::plan::PodSide;
use crate::pod::{Pod, differences as pod_differences};
use crate::record::Record;
use crate::tag::Tag;

/// Why an attachment could not be looked at or repaired.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// What kind of trouble it is.
    pub(super) cause: Cause,
    /// A sentence.
    pub(super) text: String,
}

impl Failed {
    /// There was no time left for it.
    pub(super) fn late() -> Self {
        let text = "there was no time left for it; it is done the next time".to_owned();
        Self { cause: Cause::Busy, text }
    }
}

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Self {
        let problem = error.into();
        Self { cause: Cause::of(&problem), text: problem.to_string() }
    }
}

/// One attachment, compared.
pub(super) struct One<'a> {
    /// What VPP has.
    pub(super) dumped: &'a Dumped,
    /// Its tag.
    pub(super) tag: Tag,
    /// Its record.
    pub(super) record: &'a Record,
    /// What the node's part became, where that was made sure of.
    pub(super) ready: Option<&'a Ready>,
    /// Whether it is repaired; `ready` is there then.
    pub(super) repairs: bool,
}

/// An attachment as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// How it is.
    pub(super) state: PodState,
    /// Whether a repair would change anything.
    pub(super) can_be_repaired: bool,
}

impl Compared {
    /// One of which nothing is to be repaired.
    pub(super) const fn nothing(state: PodState) -> Self {
        Self { state, can_be_repaired: false }
    }
}

/// What is in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InPod {
    /// Whether the kernel's part is there: with a tap the tap, with a veth pair both ends.
    pub(super) is_whole: bool,
    /// What is not as it was answered.
    pub(super) differs: Vec<String>,
}

impl One<'_> {
    /// Compares it, and repairs it if it is to be.
    pub(super) fn compare(
        &self,
        vpp: &mut Client,
        namespace: Namespace,
    ) -> Result<Compared, Failed> {
        let mut pod = Pod::enter(namespace)?;
        let side = PodSide::of(self.record, self.tag);
        let InPod { is_whole, differs: in_pod } = look_into(&mut pod, self.record, self.tag)?;
        let socket = self.record.memif_socket.as_deref();
        let interfaces = &self.dumped.interfaces;
        let interface = find_or_ask(vpp, interfaces, self.tag, &self.record.device, socket)?;
        let repairs = self.ready.filter(|_| self.repairs);
        let mut found = Vec::new();
        if !is_whole {
            found.push("its interface in the pod is gone".to_owned());
        }
        match interface {
            None => found.push("VPP has no interface for it".to_owned()),
            Some(interface) => {
                let gateway = match self.ready {
                    Some(ready) => Some(ready.gateway),
                    None => gateway(&self.dumped.interfaces, self.record.table),
                };
                let index = interface.sw_if_index;
                let seen = look(vpp, index, self.record)?;
                let differs = differences(self.record, self.tag, gateway, interface, &seen);
                if let (Some(ready), true) = (repairs, is_whole) {
                    let around = around(ready);
                    let steps = repair(self.record, self.tag, around, &differs, &seen);
                    apply(vpp, index, &steps)?;
                }
                found.extend(differs.iter().map(ToString::to_string));
            }
        }
        let can_be_repaired = !found.is_empty();
        if let Some(ready) = repairs
            && (interface.is_none() || !is_whole)
        {
            self.make(vpp, &mut pod, &side, ready, is_whole)?;
        }
        // What is wrong in a pod that has its interface is for whoever changed it.
        let state = match repairs {
            Some(_) if !is_whole || in_pod.is_empty() => fine_or(found, PodState::Repaired),
            _ => {
                found.extend(in_pod);
                fine_or(found, PodState::Differs)
            }
        };
        Ok(Compared { state, can_be_repaired })
    }

    fn make(
        &self,
        vpp: &mut Client,
        pod: &mut Pod,
        side: &PodSide,
        ready: &Ready,
        is_whole: bool,
    ) -> Result<(), Problem> {
        let Some(attachment) = self.record.attachment() else { return Ok(()) };
        let ends = Ends {
            tag: self.tag,
            macs: Macs::of(&attachment),
            ready,
            side,
            earlier: Some(self.record),
        };
        if is_whole {
            return new_interface(vpp, self.record, &ends, self.record.kind == Kind::Tap);
        }
        make(vpp, pod, self.record, self.dumped, &ends, &mut Made::default())
    }
}

/// How an attachment is with these differences.
pub(super) fn fine_or(found: Vec<String>, state: fn(Vec<String>) -> PodState) -> PodState {
    if found.is_empty() { PodState::Fine } else { state(found) }
}

pub(super) fn around(ready: &Ready) -> Around {
    Around { gateway: ready.gateway, source: ready.pod_source }
}

/// Looks at a pod, and at the host's end of its link.
///
/// # Errors
/// What the kernel refuses; if the pod has its end of a veth pair whose other end is not in this namespace, for
/// then this is not where its link was made, and everything here would be made a second time.
pub(super) fn look_into(pod: &mut Pod, record: &Record, tag: Tag) -> Result<InPod, Failed> {
    if record.kind == Kind::Memif {
        return Ok(InPod { is_whole: true, differs: Vec::new() });
    }
    let differs = pod_differences(pod, &PodSide::of(record, tag))?;
    let in_pod = pod.netlink.link(&record.ifname)?;
    let going = Going { tag, device: &record.device, record: Some(record), is_pending: false };
    let is_whole = match record.kind {
        Kind::Memif => true,
        Kind::Tap => {
            in_pod.is_some_and(|link| link.kind.as_deref() == Some("tun") && is_ours(&link, going))
        }
        Kind::Veth => match (Netlink::open()?.link(&record.device)?, in_pod) {
            (Some(host), Some(pod)) => are_a_pair(&host, &pod),
            (None, Some(pod)) if pod.kind.as_deref() == Some("veth") && is_ours(&pod, going) => {
                let text = format!(
                    "{}, the other end of its link, is not in this network namespace: this has to run in the \
                     namespace of the host in which the pod was attached",
                    record.device
                );
                return Err(Failed { cause: Cause::Namespace, text });
            }
            _ => false,
        },
    };
    Ok(InPod { is_whole, differs })
}
