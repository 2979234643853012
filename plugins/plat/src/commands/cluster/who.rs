//! `plat who --cluster`.

use std::io::Write;

use ipam_core::addr::Addr;
use ipam_pool::record::AddressState;
use ipam_pool::view::{Scope, Snapshot, Used};

use super::status::pool_name;
use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::cluster::{AddressRecord, ClusterAnswer, ClusterAnswers};
use crate::output::{self, age, escape, instant};
use crate::reading;

/// Runs it.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn run(
    context: &Context,
    whom: &[String],
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let space = cluster::space(context);
    // One address of one space is a small question, everything else needs all.
    let scope = match whom {
        [one] => Addr::parse(one)
            .map_or(Scope::All, |addr| Scope::Address { space: space.to_owned(), addr }),
        _ => Scope::All,
    };
    let narrow = scope != Scope::All;
    let snapshot = reading::read(context, &mut etcd, &keys, scope)?;
    let answers: Vec<(&str, Vec<(&str, &Used)>)> = whom
        .iter()
        .map(|query| (query.as_str(), find(&snapshot, context.space.as_deref(), query)))
        .collect();
    if !narrow {
        reading::warn_torn(&snapshot);
    }
    if context.json {
        let list = answers.iter().map(|(query, found)| ClusterAnswer {
            query,
            held: found.iter().map(|(space, used)| document(&snapshot, space, used)).collect(),
        });
        let document = ClusterAnswers { revision: snapshot.to, answers: list.collect() };
        output::json(out, &document)?;
    } else {
        let now = output::now();
        for (position, (query, found)) in answers.iter().enumerate() {
            if position > 0 {
                writeln!(out)?;
            }
            if found.is_empty() {
                let query = escape(query);
                writeln!(out, "nobody in the cluster has {query}, as far as etcd knows")?;
                if Addr::parse(&query).is_some() {
                    writeln!(out, "  `plat explain {query}` tells what it is")?;
                }
            }
            for (space, used) in found {
                print(&snapshot, space, used, now, out)?;
            }
        }
    }
    let missing = answers.iter().any(|(_, found)| found.is_empty());
    Ok(if missing { Exit::Warning } else { Exit::Fine })
}

fn find<'a>(snapshot: &'a Snapshot, space: Option<&str>, query: &str) -> Vec<(&'a str, &'a Used)> {
    let all = || {
        snapshot
            .spaces
            .iter()
            .filter(|(name, _)| space.is_none_or(|space| *name == space))
            .flat_map(|(name, space)| space.addresses.iter().map(move |used| (name.as_str(), used)))
    };
    if let Some(addr) = Addr::parse(query) {
        return all().filter(|(_, used)| used.addr == addr).collect();
    }
    let is_pod =
        |pod: &str| pod == query || pod.rsplit_once('/').is_some_and(|(_, name)| name == query);
    let pods: Vec<_> = all().filter(|(_, used)| is_pod(&used.pod)).collect();
    if !pods.is_empty() || query.is_empty() {
        return pods;
    }
    all()
        .filter(|(_, used)| !used.container.is_empty() && used.container.starts_with(query))
        .collect()
}

/// The word for what an address is used for.
pub(crate) const fn state_word(state: AddressState) -> &'static str {
    match state {
        AddressState::Used => "used",
        AddressState::Park => "parked",
        AddressState::Resv => "reserved",
    }
}

/// A record, for programs.
pub(crate) fn document<'a>(
    snapshot: &'a Snapshot,
    space: &'a str,
    used: &'a Used,
) -> AddressRecord<'a> {
    let text = |text: &'a str| (!text.is_empty()).then_some(text);
    let pool = snapshot.spaces.get(space).and_then(|found| found.pool_of(used.addr));
    AddressRecord {
        space,
        pool: pool.map(|pool| pool.name.as_str()),
        address: used.addr.to_string(),
        state: state_word(used.state),
        node: text(&used.uuid).map(|uuid| snapshot.name_of(uuid)),
        uuid: text(&used.uuid),
        index: used.n,
        network: text(&used.network),
        container: text(&used.container),
        interface: text(&used.ifname),
        pod: text(&used.pod),
        since: used.since,
        expires: (used.expires > 0).then_some(used.expires),
        imported: used.imported,
        revision: used.modified,
    }
}

/// A record, for people.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn print(
    snapshot: &Snapshot,
    space: &str,
    used: &Used,
    now: u64,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    writeln!(out, "{} is {}", used.addr, state_word(used.state))?;
    let mut line = |what: &str, text: &str| {
        if text.is_empty() { Ok(()) } else { writeln!(out, "  {what:<10} {}", escape(text)) }
    };
    let pool = snapshot.spaces.get(space).and_then(|found| found.pool_of(used.addr));
    line("pool", &pool_name(space, pool.map_or("none", |pool| &pool.name)))?;
    if !used.uuid.is_empty() {
        let index = used.n.map_or_else(String::new, |index| format!(", index {index}"));
        line("node", &format!("{}{index}", snapshot.name_of(&used.uuid)))?;
    }
    line("network", &used.network)?;
    line("container", &used.container)?;
    line("interface", &used.ifname)?;
    line(if used.state == AddressState::Resv { "for" } else { "pod" }, &used.pod)?;
    line("since", &format!("{} ({} ago)", instant(used.since), age(now, used.since)))?;
    if used.expires > 0 {
        line("kept until", &instant(used.expires))?;
    }
    if used.imported {
        line("from", "an import")?;
    }
    Ok(())
}
