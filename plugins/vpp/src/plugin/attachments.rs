//! What several operations do with attachments.

use std::path::Path;
use std::time::{Duration, Instant};

use kernel::Namespace;
use vpp_api::{Client, Options};

use super::Site;
use crate::attach::remove::{Going, from_kernel, from_vpp, memif_directory};
use crate::errors::Problem;
use crate::node::Dumped;
use crate::record::{Record, Records};
use crate::tag::Tag;

/// How long VPP may take for an answer. Making an interface takes it 60 ms, more where the kernel is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to VPP. No call waits beyond the deadline.
///
/// # Errors
/// If nobody answers.
pub(crate) fn connect(socket: &Path, deadline: Instant) -> Result<Client, Problem> {
    // A VPP that hangs leaves time for the rest of a call. Who gives a call long gives VPP longer, too.
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PATIENCE.max(left / 6).min(left / 3);
    let options = Options { timeout, until: Some(deadline), ..Options::new("plat-vpp") };
    Ok(Client::connect(socket, &options)?)
}

/// What VPP has; one round trip.
///
/// # Errors
/// If VPP is away.
pub(crate) fn dump(vpp: &mut Client) -> Result<Dumped, Problem> {
    let mut batch = vpp.batch();
    let asked = Dumped::ask(&mut batch)?;
    Ok(asked.read(&mut batch.send()?)?)
}

/// What became of an attachment that was to go.
#[derive(Debug)]
pub(crate) struct Detached {
    /// Why VPP's part is still there.
    pub(crate) vpp: Option<Problem>,
    /// Why the kernel's part is.
    pub(crate) kernel: Option<Problem>,
}

impl Detached {
    /// The first reason why something is left.
    pub(crate) fn reason(self) -> Option<Problem> {
        self.vpp.filter(|problem| !problem.is_away()).or(self.kernel)
    }
}

/// Removes an attachment from VPP and the kernel, and then its record. With VPP away the record is put aside: whoever
/// meets that VPP next removes what it has. Never stops at the first failure.
///
/// `vpp`: a connection, if there is one that may be used.
pub(crate) fn detach(
    site: &Site,
    vpp: Result<&mut Client, Problem>,
    going: Going<'_>,
    netns: Option<&Namespace>,
    ifname: &str,
) -> Detached {
    let removed = vpp.and_then(|vpp| {
        if !vpp.is_connected() {
            vpp.reconnect()?;
        }
        let dumped = dump(vpp)?;
        from_vpp(vpp, &dumped, going, &site.records)
    });
    let mut kernel = from_kernel(going, netns, ifname).err();
    if let Some(socket) = going.record.and_then(|record| record.memif_socket.as_deref())
        && let Err(error) = memif_directory(socket)
    {
        kernel.get_or_insert(error.into());
    }
    Detached { vpp: removed.err(), kernel }
}

/// The record of an attachment that has gone: removed, or put aside. One that is pending for another VPP, where
/// the attachment was before, stays.
///
/// # Errors
/// If that fails.
pub(crate) fn close(records: &Records, tag: Tag, detached: &Detached) -> Result<(), Problem> {
    if detached.kernel.is_some() {
        return Ok(());
    }
    match &detached.vpp {
        None => {
            let live = records.read(tag).ok().flatten();
            let pending = records.read_pending(tag).ok().flatten();
            records.remove(tag)?;
            let is_elsewhere =
                live.zip(pending).is_some_and(|(live, pending)| !is_at(&pending, &live.socket));
            if !is_elsewhere {
                records.remove_pending(tag)?;
            }
        }
        Some(problem) if problem.is_away() => records.put_aside(tag)?,
        Some(_) => {}
    }
    Ok(())
}

/// Whether an attachment is one of the VPP at this socket, whichever way leads there.
pub(crate) fn is_at(record: &Record, socket: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    record.socket == socket || real(&record.socket).is_some_and(|it| Some(it) == real(socket))
}

/// The namespace of a record, if it is still the same one.
pub(crate) fn namespace_of(record: &Record) -> Option<Namespace> {
    let namespace = Namespace::open(&record.netns.path).ok()?;
    (namespace.identity() == (record.netns.device, record.netns.inode)).then_some(namespace)
}

/// Removes an attachment from the VPP that it was attached to before it was asked for at another one. If that is away
/// it is removed when it is met again; the answer says why, then.
///
/// # Errors
/// If the VPP refuses, or the record cannot be written.
pub(crate) fn leave(site: &Site, tag: Tag, earlier: &Record) -> Result<Option<Problem>, Problem> {
    let going = Going { tag, device: &earlier.device, record: Some(earlier), is_pending: false };
    let left = connect(&earlier.socket, site.deadline).and_then(|mut vpp| {
        let dumped = dump(&mut vpp)?;
        from_vpp(&mut vpp, &dumped, going, &site.records)
    });
    match left {
        Ok(()) => Ok(None),
        Err(problem) if problem.is_away() => {
            site.records.write_pending(tag, earlier)?;
            Ok(Some(problem))
        }
        Err(problem) => Err(problem),
    }
}

/// Removes what this VPP still has of attachments that went while it was away; what fails is tried again the next
/// time. Their routes may be others' by now.
pub(crate) fn clean_pending(vpp: &mut Client, dumped: &Dumped, records: &Records) -> Vec<Problem> {
    let pending = match records.pending() {
        Ok(pending) => pending,
        Err(error) => return vec![error.into()],
    };
    let mut problems = Vec::new();
    for listed in pending {
        let record = match listed.record {
            Ok(record) => record,
            Err(error) => {
                problems.push(error.into());
                continue;
            }
        };
        // The same attachment may have come again, and to the same VPP.
        let is_live = match records.read(listed.tag) {
            Ok(now) => now.is_some_and(|now| is_at(&now, &record.socket)),
            Err(_) => true,
        };
        if !is_at(&record, vpp.path()) || is_live {
            continue;
        }
        let going = Going {
            tag: listed.tag,
            device: &record.device,
            record: Some(&record),
            is_pending: true,
        };
        let done = from_vpp(vpp, dumped, going, records)
            .and_then(|()| Ok(records.remove_pending(listed.tag)?));
        problems.extend(done.err());
    }
    problems
}
