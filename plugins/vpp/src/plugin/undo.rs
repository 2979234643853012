//! Taking an ADD back.

use vpp_api::Client;

use super::attachments::{close, detach};
use super::{Ipam, Site};
use crate::attach::remove::Going;
use crate::make::Made;
use crate::pod::Pod;
use crate::record::Record;
use crate::tag::Tag;

/// What an ADD has made, to be taken back.
pub(super) struct Undo {
    pub(super) site: Site,
    pub(super) tag: Tag,
    pub(super) device: String,
    pub(super) ifname: String,
    pub(super) ipam: Option<Ipam>,
    pub(super) had_record: bool,
    pub(super) record: Option<Record>,
    pub(super) made: Made,
    pub(super) vpp: Client,
    pub(super) pod: Pod,
}

impl Undo {
    /// Takes it back. What fails is left to the DEL that the runtime sends after a failed ADD.
    pub(super) fn run(mut self) {
        let site = self.site.for_undoing();
        self.vpp.set_until(Some(site.deadline));
        if self.made.any() {
            let going = Going {
                tag: self.tag,
                device: self.record.as_ref().map_or(&self.device, |record| &record.device),
                record: self.record.as_ref(),
                is_pending: false,
            };
            let netns = Some(&self.pod.namespace);
            let detached = detach(&site, Ok(&mut self.vpp), going, netns, &self.ifname);
            if !self.had_record {
                let _ = close(&site.records, self.tag, &detached);
            }
        } else if !self.had_record {
            let _ = site.records.remove(self.tag);
        }
        if let Some(ipam) = &self.ipam {
            let _ = ipam.del(&site);
        }
    }
}
