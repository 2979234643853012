//! DEL: with whatever is left of configuration, namespace and VPP.

use std::path::{Path, PathBuf};

use cni::{Call, Error};
use host_local::call::attachment;
use kernel::Namespace;

use super::attachments::{close, detach, namespace_of};
use super::{Ipam, Site, admin, connect};
use crate::attach::remove::Going;
use crate::config::{Basics, DEFAULT_SOCKET};
use crate::errors::Problem;
use crate::names::host_device;
use crate::record::{Record, Records};
use crate::tag::Tag;

pub(super) fn del(call: &Call) -> Result<(), Error> {
    let mut basics = Basics::parse(&call.config);
    basics.socket = admin::socket(call, basics.socket);
    for warning in &basics.warnings {
        call.warn(warning);
    }
    let site = Site::new(&call.environment, basics.timeout);
    let attachment = attachment(call)?;
    let tag = Tag::of(&call.network, &attachment);
    let _lock = site
        .records
        .directory()
        .join(tag.network.to_string())
        .exists()
        .then(|| site.records.share(tag.network, site.deadline))
        .transpose()
        .map_err(Problem::from)?;
    let record = known(call, &site.records, tag);
    let socket = match (&record, &basics.socket) {
        (Some(record), _) => record.socket.clone(),
        (None, Some(socket)) => socket.clone(),
        (None, None) => PathBuf::from(DEFAULT_SOCKET),
    };
    let device = host_device(&call.network, &attachment);
    let going = Going {
        tag,
        device: record.as_ref().map_or(device.as_str(), |record| record.device.as_str()),
        record: record.as_ref(),
        is_pending: record.is_some() && !site.records.path(tag).exists(),
    };
    let mut vpp = connect(&socket, site.deadline);
    let vpp = match &mut vpp {
        Ok(vpp) => Ok(vpp),
        Err(_) => Err(vpp.err().unwrap_or_else(|| unreachable_connection(&socket))),
    };
    let netns = namespace(call, record.as_ref());
    let detached = detach(&site, vpp, going, netns.as_ref(), call.ifname());
    if let Some(away) = detached.vpp.as_ref().filter(|problem| problem.is_away()) {
        call.warn(&format!("{away}: what VPP has of {attachment} is removed when it is met again"));
    }
    let closed = close(&site.records, tag, &detached);
    let ipam = ipam(call, &basics, record.as_ref(), &site);
    // All of it was tried: the first reason is the answer, and the runtime comes again.
    if let Some(problem) = detached.reason() {
        return Err(problem.into());
    }
    closed?;
    ipam
}

fn unreachable_connection(socket: &Path) -> Problem {
    Problem::Vpp(vpp_api::Error::GivenUp { path: socket.to_owned() })
}

/// The record of an attachment, also one that was put aside.
fn known(call: &Call, records: &Records, tag: Tag) -> Option<Record> {
    let read = records.read(tag).transpose().or_else(|| records.read_pending(tag).transpose());
    match read? {
        Ok(record) => Some(record),
        // The tag finds what VPP has; an unreadable file must not keep the pod from ending.
        Err(error) => {
            call.warn(&error.to_string());
            None
        }
    }
}

/// The pod's namespace, if it is there.
fn namespace(call: &Call, record: Option<&Record>) -> Option<Namespace> {
    match call.environment.value("CNI_NETNS") {
        "" => namespace_of(record?),
        path => Namespace::open(Path::new(path)).ok(),
    }
}

/// Frees the addresses. Without a type in what is left of the configuration the recorded one is called.
fn ipam(call: &Call, basics: &Basics, record: Option<&Record>, site: &Site) -> Result<(), Error> {
    let recorded = record.and_then(|record| record.ipam.as_deref());
    let Some(name) = basics.ipam.as_deref().or(recorded) else { return Ok(()) };
    // However long VPP took: addresses must not stay with who is gone.
    Ipam::find(name, call)?.del(&site.for_undoing())
}
