//! GC: what the runtime does not know goes, of this network only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cni::{Call, Error};
use host_local::call::valid_attachments;
use kernel::Netlink;
use vpp_api::Client;

use super::attachments::{clean_pending, close, detach, dump, namespace_of};
use super::{Ipam, Site, admin, connect};
use crate::attach::remove::{Going, from_vpp};
use crate::config::{Basics, DEFAULT_SOCKET};
use crate::errors::Problem;
use crate::names::{NetworkHash, is_host_device};
use crate::record::Record;
use crate::tag::Tag;

pub(super) fn gc(call: &Call) -> Result<(), Error> {
    let mut basics = Basics::parse(&call.config);
    basics.socket = admin::socket(call, basics.socket);
    for warning in &basics.warnings {
        call.warn(warning);
    }
    let Some(valid) = valid_attachments(&call.config)? else { return Ok(()) };
    let site = Site::new(&call.environment, basics.timeout);
    let valid: BTreeSet<Tag> =
        valid.iter().map(|attachment| Tag::of(&call.network, attachment)).collect();
    let mut problems = collect(call, &site, &basics, &valid);
    let ipam = basics.ipam.as_deref().map_or(Ok(()), |name| Ipam::find(name, call)?.gc(&site));
    if problems.is_empty() {
        return ipam;
    }
    let first = problems.swap_remove(0);
    for problem in &problems {
        call.warn(&problem.to_string());
    }
    ipam.and(Err(first.into()))
}

/// Removes attachments of the network that are not valid: those recorded, those that VPP has, and what of
/// them the kernel has.
fn collect(call: &Call, site: &Site, basics: &Basics, valid: &BTreeSet<Tag>) -> Vec<Problem> {
    let network = NetworkHash::of(&call.network);
    let mut problems: Vec<Problem> = Vec::new();
    let listed = match site.records.list(network) {
        Ok(listed) => listed,
        Err(error) => return vec![error.into()],
    };
    // Two networks may have one hash: the record has the name.
    let mut foreign = BTreeSet::new();
    let mut sockets: BTreeSet<PathBuf> = BTreeSet::new();
    sockets.insert(basics.socket.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)));
    let mut leaving: Vec<(Tag, Record)> = Vec::new();
    let mut unreadable: Vec<Tag> = Vec::new();
    for listed in listed {
        match listed.record {
            Ok(record) if record.network != call.network => {
                foreign.insert(listed.tag);
            }
            Ok(record) => {
                sockets.insert(record.socket.clone());
                if !valid.contains(&listed.tag) {
                    leaving.push((listed.tag, record));
                }
            }
            Err(error) => {
                call.warn(&error.to_string());
                if !valid.contains(&listed.tag) {
                    unreadable.push(listed.tag);
                }
            }
        }
    }
    let is_stray =
        |tag: Tag| tag.network == network && !valid.contains(&tag) && !foreign.contains(&tag);
    for socket in &sockets {
        let mut vpp = connect(socket, site.deadline);
        for (tag, record) in leaving.iter().filter(|(_, record)| record.socket == *socket) {
            problems.extend(remove(site, vpp.as_mut().ok(), *tag, record));
        }
        match &mut vpp {
            Ok(vpp) => problems.extend(strays(site, vpp, &is_stray)),
            Err(_) => problems.extend(vpp.err()),
        }
    }
    problems.extend(devices(&is_stray).err());
    // What they stood for has been found by its tag.
    if problems.is_empty() {
        for tag in unreadable {
            problems.extend(site.records.remove(tag).err().map(Problem::from));
        }
    }
    problems
}

fn remove(site: &Site, vpp: Option<&mut Client>, tag: Tag, record: &Record) -> Option<Problem> {
    let going = Going { tag, device: &record.device, record: Some(record), is_pending: false };
    let away = || Problem::Vpp(vpp_api::Error::GivenUp { path: record.socket.clone() });
    let netns = namespace_of(record);
    let detached = detach(site, vpp.ok_or_else(away), going, netns.as_ref(), &record.ifname);
    let closed = close(&site.records, tag, &detached);
    detached.reason().or(closed.err())
}

/// Removes interfaces of the network that nobody has a record of, and what is left of attachments that went while
/// VPP was away.
fn strays(site: &Site, vpp: &mut Client, is_stray: &impl Fn(Tag) -> bool) -> Vec<Problem> {
    let dumped = match dump(vpp) {
        Ok(dumped) => dumped,
        Err(problem) => return vec![problem],
    };
    let mut problems = clean_pending(vpp, &dumped, &site.records);
    // Numbers may have changed hands meanwhile.
    let dumped = match dump(vpp) {
        Ok(dumped) => dumped,
        Err(problem) => return vec![problem],
    };
    for interface in &dumped.interfaces {
        let Some(tag) = Tag::parse(&interface.tag.to_string()) else { continue };
        if is_stray(tag) {
            let going = Going { tag, device: "", record: None, is_pending: false };
            problems.extend(from_vpp(vpp, &dumped, going, &site.records).err());
        }
    }
    problems
}

/// Deletes hosts' ends of veth pairs of the network, by what is written on them.
fn devices(is_stray: &impl Fn(Tag) -> bool) -> Result<(), Problem> {
    let mut host = Netlink::open()?;
    for link in host.links()? {
        let tag = link.alias.as_deref().and_then(Tag::parse);
        if is_host_device(&link.name) && tag.is_some_and(is_stray) {
            host.delete_link(link.index)?;
        }
    }
    Ok(())
}
