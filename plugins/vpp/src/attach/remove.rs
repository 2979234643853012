/*!
Removing all that VPP and the kernel have of an attachment, however much of it was made.

Nothing is known by VPP's number: the interface is found by its tag, so that another pod's, which has got the
number since, is never touched. Routes outlive interfaces, and an address may have been given to somebody else
since: without the interface they are removed only if no other attachment has the address.
*/

use std::path::{Path, PathBuf};

use kernel::{Link, Namespace, Netlink};
use vpp_api::msg::{self, FibSource};
use vpp_api::types::RouteV2;
use vpp_api::{Client, Family, IfIndex, Table};

use super::plan::{no_routes, remove as remove_interface};
use super::seen::{find_or_ask, gateway};
use super::step::{Step, apply};
use crate::errors::Problem;
use crate::names::is_host_device;
use crate::node::{Dumped, POD_SOURCE};
use crate::record::{Record, RecordError, Records};
use crate::tag::Tag;

/// The number of the FIB source of pods' routes, if this VPP has it.
pub(crate) fn pod_source(sources: &[FibSource]) -> Option<u8> {
    // The first, should there be two: whoever asks gets the same.
    let named = sources.iter().filter(|source| source.name == POD_SOURCE);
    named.map(|source| source.id).min()
}

/// An attachment that is to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Going<'a> {
    /// Its tag.
    pub(crate) tag: Tag,
    /// The host's end of its veth pair, should it be one.
    pub(crate) device: &'a str,
    /// Its record, if there is one.
    pub(crate) record: Option<&'a Record>,
    /// Whether it was removed before, and VPP was away then: its addresses may be somebody else's.
    pub(crate) is_pending: bool,
}

/// Removes what VPP has of an attachment. `others` are the attachments that may have its addresses by now.
///
/// # Errors
/// If VPP is away or refuses.
pub(crate) fn from_vpp(
    vpp: &mut Client,
    dumped: &Dumped,
    going: Going<'_>,
    others: &Records,
) -> Result<(), Problem> {
    let source = pod_source(&dumped.sources);
    let socket = going.record.and_then(|record| record.memif_socket.as_deref());
    let interface = find_or_ask(vpp, &dumped.interfaces, going.tag, going.device, socket)?;
    let (index, steps) = match interface {
        Some(interface) => {
            let routes = match (source, going.record) {
                (None, _) => Vec::new(),
                (Some(source), Some(record)) if !going.is_pending => {
                    no_routes(record, source).collect()
                }
                (Some(source), _) => routes_by(vpp, interface.sw_if_index, source)?,
            };
            let owner = going.record.and_then(|record| gateway(&dumped.interfaces, record.table));
            (interface.sw_if_index, remove_interface(interface, routes, owner))
        }
        None => match source.zip(going.record) {
            Some((source, record)) => {
                (IfIndex::NONE, unowned_routes(record, going.tag, source, others)?)
            }
            None => (IfIndex::NONE, Vec::new()),
        },
    };
    apply(vpp, index, &steps)?;
    let is_memif = interface.is_some_and(|interface| interface.interface_dev_type == "memif");
    if is_memif || socket.is_some() {
        forget_socket(vpp, going.tag)?;
    }
    Ok(())
}

/// The routes of a source that lead to an interface, in its tables.
fn routes_by(vpp: &mut Client, index: IfIndex, source: u8) -> Result<Vec<Step>, Problem> {
    let mut batch = vpp.batch();
    let mut ask = |is_ipv6| batch.call(&msg::SwInterfaceGetTable { sw_if_index: index, is_ipv6 });
    let tickets = [ask(false)?, ask(true)?];
    let mut answers = batch.send()?;
    let mut tables = Vec::with_capacity(2);
    for (family, ticket) in Family::BOTH.into_iter().zip(tickets) {
        tables.push(Table::new(answers.reply(ticket)?.vrf_id, family));
    }
    let mut batch = vpp.batch();
    let mut tickets = Vec::with_capacity(2);
    for table in tables {
        tickets.push(batch.dump(&msg::IpRouteV2Dump { src: source, table })?);
    }
    let mut answers = batch.send()?;
    let mut steps = Vec::new();
    for ticket in tickets {
        for details in answers.details(ticket)? {
            let RouteV2 { table_id: table, prefix, paths, .. } = details.route;
            if paths.iter().any(|path| path.sw_if_index == index) {
                let address = prefix.address();
                steps.push(Step::NoRoute { source, table, address });
            }
        }
    }
    Ok(steps)
}

/// The routes to addresses of an attachment that no other one has.
fn unowned_routes(
    record: &Record,
    tag: Tag,
    source: u8,
    others: &Records,
) -> Result<Vec<Step>, Problem> {
    let all = others.all()?;
    let live: Vec<&Record> = all
        .iter()
        .filter(|listed| listed.tag != tag)
        .filter_map(|listed| listed.record.as_ref().ok())
        .collect();
    let is_free = |step: &Step| match step {
        Step::NoRoute { table, address, .. } => {
            !live.iter().any(|other| other.holds(&record.socket, *table, *address))
        }
        _ => true,
    };
    Ok(no_routes(record, source).filter(is_free).collect())
}

/// Makes VPP forget the socket that was made for an attachment, and removes its directory.
fn forget_socket(vpp: &mut Client, tag: Tag) -> Result<(), Problem> {
    if !vpp.has::<msg::MemifSocketFilenameDump>() {
        return Ok(());
    }
    let directory = tag.attachment.to_string();
    for socket in vpp.dump(&msg::MemifSocketFilenameDump {})? {
        let path = PathBuf::from(socket.socket_filename.to_string());
        if path.parent().and_then(Path::file_name).is_some_and(|name| *name == *directory) {
            vpp.forget_memif_socket(socket.socket_id)?;
            memif_directory(&path)?;
        }
    }
    Ok(())
}

/// Removes what the kernel has: the veth pair by its host's end, else what is left in the pod.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn from_kernel(
    going: Going<'_>,
    netns: Option<&Namespace>,
    ifname: &str,
) -> Result<(), Problem> {
    // Whatever a record says: a device of the host that is none of ours stays.
    if is_host_device(going.device) {
        let mut host = Netlink::open()?;
        if let Some(link) = host.link(going.device)?
            && host.delete_link(link.index)?
        {
            return Ok(());
        }
    }
    let Some(netns) = netns else { return Ok(()) };
    let mut pod = Netlink::open_in(netns)?;
    if let Some(link) = pod.link(ifname)?
        && is_ours(&link, going)
    {
        pod.delete_link(link.index)?;
    }
    Ok(())
}

/// Whether a link in the pod is the attachment's: by what is written on it, or by its Ethernet address where
/// nothing is, as on a tap that VPP has just made.
pub(crate) fn is_ours(link: &Link, going: Going<'_>) -> bool {
    match &link.alias {
        Some(alias) if !alias.is_empty() => *alias == going.tag.to_string(),
        _ => {
            let mac = going.record.map(|record| kernel::Mac(record.pod_mac.0));
            link.mac.is_some() && link.mac == mac
        }
    }
}

/// Removes the directory of a memif's socket, with the socket.
///
/// # Errors
/// If that fails.
pub(crate) fn memif_directory(socket: &Path) -> Result<(), RecordError> {
    let missing_is_fine = |what, path: PathBuf, result: std::io::Result<()>| match result {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RecordError::Io { what, path, source })
        }
        _ => Ok(()),
    };
    missing_is_fine("remove", socket.to_owned(), std::fs::remove_file(socket))?;
    let Some(directory) = socket.parent() else { return Ok(()) };
    match std::fs::remove_dir(directory) {
        // The application has put something there.
        Err(source) if source.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => missing_is_fine("remove", directory.to_owned(), result),
    }
}
