//! What the commands that change the cluster have in common.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use etcd_pool::administer::administer;
use etcd_pool::client::Etcd;
use etcd_pool::identity;
use ipam_pool::admin::{AdminError, Administer, Cluster, Holding, InTheWay, Look, Use, Wanted};
use ipam_pool::key::Keys;
use ipam_pool::record::AddressState;

use crate::context::{Context, Exit, Failure};
use crate::documents::pool::{Address, HeldBlock, Refusal};
use crate::output;
use crate::problems::plain;

/// For how long etcd is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many lines of a list are shown to people.
const SHOWN: usize = 20;

/// Runs a machine. The outer error is etcd's.
///
/// # Errors
/// If etcd cannot be asked.
pub(crate) fn attempt<A: Administer>(
    machine: &mut A,
    etcd: &mut Etcd,
) -> Result<Result<A::Output, AdminError>, Failure> {
    let (ended, trouble) = administer(machine, etcd, identity::now, Instant::now() + PATIENCE);
    match (ended, trouble) {
        (Err(AdminError::Away { doubtful }), Some(trouble)) => {
            let away = AdminError::Away { doubtful };
            let advice = if doubtful { away.advice() } else { trouble.advice.to_owned() };
            Err(Failure::new(plain(&trouble.message), plain(&advice)))
        }
        (ended, _) => Ok(ended),
    }
}

/// Runs a machine.
///
/// # Errors
/// If etcd cannot be asked, or what is wanted cannot be done.
pub(crate) fn run<A: Administer>(machine: &mut A, etcd: &mut Etcd) -> Result<A::Output, Failure> {
    Ok(attempt(machine, etcd)??)
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::new(plain(&error.to_string()), plain(&error.advice()))
    }
}

/// Reads what is shared.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn look(etcd: &mut Etcd, keys: &Keys, wanted: Wanted) -> Result<Cluster, Failure> {
    run(&mut Look::new(keys.clone(), wanted), etcd)
}

/// The names of all nodes, by UUID.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn names(etcd: &mut Etcd, keys: &Keys) -> Result<BTreeMap<String, String>, Failure> {
    // Nobody has a space of this name: no blocks are read.
    let wanted = Wanted { space: Some("-".to_owned()), ..Wanted::default() };
    let cluster = look(etcd, keys, wanted)?;
    Ok(cluster.nodes.iter().map(|node| (node.uuid.clone(), node.name().to_owned())).collect())
}

/// A node as people know it: by its name, else by its UUID.
pub(crate) fn name_of(names: &BTreeMap<String, String>, uuid: Option<&str>) -> String {
    let Some(uuid) = uuid else { return "nobody".to_owned() };
    plain(names.get(uuid).map_or(uuid, String::as_str))
}

/// Shows what stands against a change: on standard error for people, as a document for programs.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn refuse(
    context: &Context,
    out: &mut dyn Write,
    etcd: &mut Etcd,
    keys: &Keys,
    way: &InTheWay,
) -> Result<Exit, Failure> {
    let names = names(etcd, keys).unwrap_or_default();
    if context.json {
        output::json(
            out,
            &Refusal {
                pool: &way.pool,
                changed: false,
                refused: way.to_string(),
                blocks: way.blocks.iter().map(|found| block(found, &names)).collect(),
                addresses: way.addresses.iter().map(|it| address(it, &names)).collect(),
                more: way.more,
            },
        )?;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "plat: {}", plain(&way.to_string()));
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in &way.blocks {
        let node = name_of(&names, found.uuid.as_deref());
        nodes.entry(node).or_default().push(found.block.to_string());
    }
    for (node, blocks) in nodes.iter().take(SHOWN) {
        let shown: Vec<&str> = blocks.iter().take(5).map(String::as_str).collect();
        let more = if blocks.len() > 5 {
            format!(" and {} more", blocks.len() - 5)
        } else {
            String::new()
        };
        let _ = writeln!(stderr, "      {node} holds {}{more}", shown.join(", "));
    }
    if nodes.len() > SHOWN {
        let _ = writeln!(stderr, "      and {} more nodes hold blocks", nodes.len() - SHOWN);
    }
    for holding in way.addresses.iter().take(SHOWN) {
        let node = holding.record.u.as_deref();
        let on =
            node.map_or_else(String::new, |uuid| format!(" ({})", name_of(&names, Some(uuid))));
        let _ = writeln!(stderr, "      {}{on}", plain(&holding.to_string()));
    }
    if way.addresses.len() > SHOWN {
        let more = way.addresses.len() - SHOWN;
        let _ = writeln!(stderr, "      and {more} more addresses; --json lists a thousand");
    }
    let _ = writeln!(stderr, "      {}", plain(&way.advice()));
    Ok(Exit::Failed)
}

/// A block, for programs.
pub(crate) fn block<'a>(found: &'a Use, names: &'a BTreeMap<String, String>) -> HeldBlock<'a> {
    let name = found.uuid.as_ref().and_then(|uuid| names.get(uuid));
    HeldBlock {
        block: found.block.to_string(),
        pool: &found.pool,
        node: name.map(String::as_str),
        uuid: found.uuid.as_deref(),
        index: found.index,
    }
}

/// An address, for programs.
pub(crate) fn address<'a>(
    holding: &'a Holding,
    names: &'a BTreeMap<String, String>,
) -> Address<'a> {
    let record = &holding.record;
    let text = |text: &'a str| (!text.is_empty()).then_some(text);
    let is_reserved = record.st == AddressState::Resv;
    let state = match record.st {
        AddressState::Used => "used",
        AddressState::Park => "parked",
        AddressState::Resv => "reserved",
    };
    Address {
        address: holding.addr.to_string(),
        state,
        node: record.u.as_ref().and_then(|uuid| names.get(uuid)).map(String::as_str),
        uuid: record.u.as_deref(),
        index: record.n,
        network: text(&record.w),
        container: text(&record.c),
        ifname: text(&record.i),
        pod: text(&record.p).filter(|_| !is_reserved),
        reason: text(&record.p).filter(|_| is_reserved),
        since: record.t,
    }
}
