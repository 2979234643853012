//! One attachment, compared with VPP and its pod, and repaired.

use kernel::{Link, Namespace, Netlink};
use vpp_api::Client;

use super::PodState;
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

/// One attachment, compared.
pub(super) struct One<'a> {
    /// What VPP has.
    pub(super) dumped: &'a Dumped,
    /// Its tag.
    pub(super) tag: Tag,
    /// Its record.
    pub(super) record: &'a Record,
    /// If it is to be repaired, with what.
    pub(super) ready: Option<&'a Ready>,
}

impl One<'_> {
    /// Compares it, and repairs it if it is to be.
    pub(super) fn compare(
        &self,
        vpp: &mut Client,
        namespace: Namespace,
    ) -> Result<PodState, Problem> {
        let mut pod = Pod::enter(namespace)?;
        let side = PodSide::of(self.record, self.tag);
        let in_pod = match self.record.kind {
            Kind::Memif => Vec::new(),
            _ => pod_differences(&mut pod, &side)?,
        };
        let is_whole = self.has_link(&mut pod)?;
        let socket = self.record.memif_socket.as_deref();
        let interfaces = &self.dumped.interfaces;
        let interface = find_or_ask(vpp, interfaces, self.tag, &self.record.device, socket)?;
        let mut found = Vec::new();
        if !is_whole {
            found.push("its interface in the pod is gone".to_owned());
        }
        match (interface, self.ready) {
            (None, _) => found.push("VPP has no interface for it".to_owned()),
            (Some(interface), ready) => {
                let gateway = match ready {
                    Some(ready) => Some(ready.gateway),
                    None => gateway(&self.dumped.interfaces, self.record.table),
                };
                let index = interface.sw_if_index;
                let seen = look(vpp, index, self.record)?;
                let differs = differences(self.record, self.tag, gateway, interface, &seen);
                if let (Some(ready), true) = (ready, is_whole) {
                    let around = around(ready);
                    let steps = repair(self.record, self.tag, around, &differs, &seen);
                    apply(vpp, index, &steps)?;
                }
                found.extend(differs.iter().map(ToString::to_string));
            }
        }
        let Some(ready) = self.ready else {
            found.extend(in_pod);
            return Ok(if found.is_empty() { PodState::Fine } else { PodState::Differs(found) });
        };
        if interface.is_none() || !is_whole {
            self.make(vpp, &mut pod, &side, ready, is_whole)?;
        }
        // What is wrong in a pod that has its interface is for whoever changed it.
        if is_whole && !in_pod.is_empty() {
            found.extend(in_pod);
            return Ok(PodState::Differs(found));
        }
        Ok(if found.is_empty() { PodState::Fine } else { PodState::Repaired(found) })
    }

    /// Whether the kernel's part is there.
    fn has_link(&self, pod: &mut Pod) -> Result<bool, Problem> {
        let in_pod = pod.netlink.link(&self.record.ifname)?;
        Ok(match self.record.kind {
            Kind::Memif => true,
            Kind::Tap => in_pod.as_ref().is_some_and(|link| self.is_tap(link)),
            Kind::Veth => {
                let on_host = Netlink::open()?.link(&self.record.device)?;
                on_host.zip(in_pod).is_some_and(|(host, pod)| are_a_pair(&host, &pod))
            }
        })
    }

    fn is_tap(&self, link: &Link) -> bool {
        let going = Going {
            tag: self.tag,
            device: &self.record.device,
            record: Some(self.record),
            is_pending: false,
        };
        link.kind.as_deref() == Some("tun") && is_ours(link, going)
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

fn around(ready: &Ready) -> Around {
    Around { gateway: ready.gateway, source: ready.pod_source }
}
