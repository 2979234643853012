//! `plat who`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use ipam_core::addr::{Addr, Cidr};
use ipam_core::identity::Holder;
use ipam_core::range::{Range, RangeSet};
use ipam_stores::survey::Allocation;

use super::cluster;
use super::ls::{is_container, is_pod};
use super::status::origin;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::addresses as documents;
use crate::output::{self, age, escape, instant, span};
use crate::shown::{Found, Shown};
use crate::usage::{Record, Standing, parts, pod, ranges_text, standing};

/// Options of `plat who`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 1 if one of them is not held or holds nothing.")]
pub(crate) struct Who {
    /// Addresses, pods (`NAMESPACE/NAME` or a name), container IDs or beginnings of one.
    #[arg(required = true, value_name = "ADDRESS|POD|CONTAINER")]
    whom: Vec<String>,
    /// Looks at the whole cluster, as etcd knows it.
    #[arg(long)]
    cluster: bool,
}

impl Command for Who {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if self.cluster {
            return cluster::who::run(context, &self.whom, out);
        }
        let found = Found::all(context);
        let incomplete = found.complain();
        let answers: Vec<Answer<'_>> = self
            .whom
            .iter()
            .map(|query| answer(query, &found.networks))
            .collect::<Result<_, _>>()?;
        if context.json {
            let list = answers.iter().map(Answer::document).collect();
            output::json(out, &documents::Answers { complete: !incomplete, answers: list })?;
        } else {
            let now = output::now();
            for (i, answer) in answers.iter().enumerate() {
                if i > 0 {
                    writeln!(out)?;
                }
                answer.print(now, out)?;
            }
        }
        Ok(if incomplete {
            Exit::Failed
        } else if answers.iter().any(|answer| answer.held.is_empty()) {
            Exit::Warning
        } else {
            Exit::Fine
        })
    }
}

/// What is known about one word of the command line.
#[derive(Debug)]
struct Answer<'a> {
    query: &'a str,
    addr: Option<Addr>,
    held: Vec<Held<'a>>,
    /// What an address that nobody holds is, and to whom.
    standing: Vec<(&'a Shown, Standing)>,
    /// Networks of which nobody knows the ranges.
    unknown: Vec<&'a Shown>,
}

#[derive(Debug)]
struct Held<'a> {
    shown: &'a Shown,
    allocation: &'a Allocation,
}

/// Looks a word up.
fn answer<'a>(query: &'a str, networks: &'a [Shown]) -> Result<Answer<'a>, Failure> {
    let select = |wanted: &dyn Fn(&Allocation) -> bool| -> Vec<Held<'a>> {
        networks
            .iter()
            .flat_map(|shown| {
                shown.state.allocations.iter().map(move |allocation| Held { shown, allocation })
            })
            .filter(|held| wanted(held.allocation))
            .collect()
    };
    let mut answer = Answer {
        query,
        addr: Addr::parse(query),
        held: Vec::new(),
        standing: Vec::new(),
        unknown: Vec::new(),
    };
    if query.is_empty() {
        return Err(Failure::new(
            "nothing was asked for",
            "an address, a pod or a container ID is needed",
        ));
    }
    if let Some(addr) = answer.addr {
        answer.held = select(&|allocation| allocation.addr == addr);
        if answer.held.is_empty() {
            answer.standing = networks
                .iter()
                .filter_map(|shown| {
                    Some((shown, standing(addr, &shown.state, shown.layout.as_ref())?))
                })
                .collect();
            answer.unknown = networks.iter().filter(|shown| shown.layout.is_none()).collect();
        }
        return Ok(answer);
    }
    if Cidr::parse(query).is_some() {
        return Err(Failure::new(
            format!("{} is a network", escape(query)),
            "write the address without its prefix length",
        ));
    }
    answer.held = select(&|allocation| is_pod(allocation, query));
    if answer.held.is_empty() {
        answer.held = select(&|allocation| parts(&allocation.holder).0 == Some(query));
    }
    if answer.held.is_empty() {
        answer.held = select(&|allocation| is_container(allocation, query));
        one_container(query, &answer.held)?;
    }
    Ok(answer)
}

/// Refuses a beginning that several IDs have.
fn one_container(query: &str, held: &[Held<'_>]) -> Result<(), Failure> {
    const SHOWN: usize = 5;
    let mut ids: Vec<&str> =
        held.iter().filter_map(|held| parts(&held.allocation.holder).0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 2 {
        return Ok(());
    }
    let some: Vec<_> = ids.iter().take(SHOWN).map(|id| escape(id)).collect();
    let more = if ids.len() > SHOWN { ", ..." } else { "" };
    Err(Failure::new(
        format!("{} containers have an ID that begins with {}", ids.len(), escape(query)),
        format!("give more of it: {}{more}", some.join(", ")),
    ))
}

impl Held<'_> {
    /// The set that the address belongs to now, whatever was recorded.
    fn set(&self) -> Option<(usize, &RangeSet)> {
        let layout = self.shown.layout.as_ref()?;
        let i = layout.set_of(self.allocation.addr)?;
        Some((i, layout.sets.get(i)?))
    }

    fn range(&self) -> Option<&Range> {
        self.set()?.1.range_of(self.allocation.addr)
    }

    /// What the same attachment holds besides, in this network.
    fn others(&self) -> Vec<String> {
        if self.allocation.holder == Holder::Unknown {
            return Vec::new();
        }
        let state = &self.shown.state;
        let same = state.allocations.iter().filter(|other| {
            other.holder == self.allocation.holder && other.addr != self.allocation.addr
        });
        same.map(|other| other.addr.to_string()).collect()
    }

    fn document(&self) -> documents::Held<'_> {
        documents::Held {
            record: Record::new(&self.shown.state, self.allocation),
            ranges: self.set().map(|(_, set)| ranges_text(set)),
            gateway: self.range().and_then(Range::gateway).map(|addr| addr.to_string()),
            others: self.others(),
        }
    }

    fn print(&self, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
        let allocation = self.allocation;
        let (container, interface) = parts(&allocation.holder);
        writeln!(out, "{} is held", allocation.addr)?;
        let mut line = |what: &str, text: &str| writeln!(out, "  {what:<10} {}", escape(text));
        line("network", &format!("{} {}", self.shown.state.network, origin(self.shown)))?;
        if let Some(network) = &self.allocation.cni_network {
            line("CNI name", network.as_str())?;
        }
        match self.set() {
            Some((_, set)) => line("ranges", &ranges_text(set))?,
            None if self.shown.layout.is_some() => line("ranges", "outside of all of them")?,
            None => line("ranges", "not known")?,
        }
        if let Some(gateway) = self.range().and_then(Range::gateway) {
            line("gateway", &gateway.to_string())?;
        }
        line("container", container.unwrap_or("the record names nobody"))?;
        if let Some(interface) = interface {
            line("interface", interface)?;
        }
        if let Some(pod) = pod(&allocation.owner) {
            line("pod", &pod)?;
        }
        if let Some(uid) = &allocation.owner.uid {
            line("pod UID", uid)?;
        }
        if let Some(since) = allocation.since {
            line("since", &format!("{} ({} ago)", instant(since), age(now, since)))?;
        }
        let others = self.others();
        if !others.is_empty() {
            line("also holds", &others.join(", "))?;
        }
        Ok(())
    }
}

impl Answer<'_> {
    fn document(&self) -> documents::Answer<'_> {
        let standing = self.standing.iter().map(|(s, what)| standing_document(s, *what));
        documents::Answer {
            query: self.query,
            held: self.held.iter().map(Held::document).collect(),
            standing: standing.collect(),
        }
    }

    fn print(&self, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
        for (i, held) in self.held.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            held.print(now, out)?;
        }
        if !self.held.is_empty() {
            return Ok(());
        }
        let Some(addr) = self.addr else {
            return writeln!(
                out,
                "no pod and no container is known here as {}, or it holds nothing",
                escape(self.query)
            );
        };
        for (shown, standing) in &self.standing {
            writeln!(out, "{addr} {}", standing_text(shown, *standing))?;
        }
        if self.standing.is_empty() {
            writeln!(out, "{addr} is in no range of any network here")?;
        }
        for shown in &self.unknown {
            writeln!(out, "  the ranges of {} are not known", escape(&shown.state.network))?;
        }
        Ok(())
    }
}

/// The set of a standing, where it is about one.
fn set_of(shown: &Shown, standing: Standing) -> Option<&RangeSet> {
    let sets = &shown.layout.as_ref()?.sets;
    match standing {
        Standing::Free(i)
        | Standing::Gateway(i)
        | Standing::Excluded(i)
        | Standing::OutOfBounds(i) => sets.get(i),
        Standing::Cooling(_) => None,
    }
}

fn standing_text(shown: &Shown, standing: Standing) -> String {
    let network = format!("{} {}", escape(&shown.state.network), origin(shown));
    let ranges = set_of(shown, standing).map(ranges_text).unwrap_or_default();
    match standing {
        Standing::Free(_) => format!("is free in {network}: {ranges}"),
        Standing::Cooling(remaining) => {
            format!("was freed in {network} and rests for {} more", span(remaining))
        }
        Standing::Gateway(_) => format!("is the gateway of {network}: {ranges}"),
        Standing::Excluded(_) => format!("is excluded in {network}: {ranges}"),
        Standing::OutOfBounds(_) => {
            format!("is in a subnet of {network}, but outside the range: {ranges}")
        }
    }
}

fn standing_document(shown: &Shown, standing: Standing) -> documents::Standing<'_> {
    let (what, remaining) = match standing {
        Standing::Free(_) => ("free", None),
        Standing::Cooling(remaining) => ("cooling", Some(remaining)),
        Standing::Gateway(_) => ("gateway", None),
        Standing::Excluded(_) => ("excluded", None),
        Standing::OutOfBounds(_) => ("outside", None),
    };
    documents::Standing {
        network: &shown.state.network,
        instance: shown.state.instance.as_ref().map(|instance| instance.as_str()),
        store: shown.state.place.kind(),
        path: shown.state.place.path().to_string_lossy().into_owned(),
        standing: what,
        ranges: set_of(shown, standing).map(ranges_text),
        seconds: remaining.map(|remaining: Duration| remaining.as_secs()),
    }
}

#[cfg(test)]
mod tests;
