//! `plat status`.

mod document;
mod pools;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use ipam_stores::survey::{Fault, FaultKind, Health};

use self::pools::Pools;
use super::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::exposition;
use crate::output::{self, Align, Colour, Columns, age, bar, count, escape, per_cent, span};
use crate::picture;
use crate::shown::{Found, Shown, about, is_broken};
use crate::usage::{NetworkUsage, Next, SetUsage, gravity};

/// Options of `plat status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 1 if a range set is used above --warn or a file is out of place, 2 if one is \
                  used above --critical or has no free address, or if state is broken, 3 if something could \
                  not be looked at."
)]
pub(crate) struct Status {
    /// Only this network.
    network: Option<String>,
    /// Shows the pools of the whole cluster, its nodes, and the members of etcd; with a name, that pool only.
    #[arg(long, conflicts_with = "svg")]
    cluster: bool,
    /// Attention above this use, in per cent [default: 80].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    warn: Option<u8>,
    /// Critical above this use, in per cent [default: 95].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    critical: Option<u8>,
    /// Draws a picture into this file instead; `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    svg: Option<PathBuf>,
    /// Prints metrics in Prometheus' text format, for the textfile collector of node_exporter.
    #[arg(long, conflicts_with_all = ["json", "svg", "network"])]
    prometheus: bool,
}

impl Command for Status {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (warn, critical) = limits(self.warn, self.critical)?;
        if self.cluster {
            let (pool, prometheus) = (self.network.as_deref(), self.prometheus);
            return cluster::status::run(context, pool, (warn, critical), prometheus, out);
        }
        let found = Found::of(context, self.network.as_deref())?;
        let report = Report::new(&found, warn, critical);
        let pools = if self.network.is_none() { Pools::of(context)? } else { None };
        let exit = report.exit().max(pools.as_ref().map_or(Exit::Fine, Pools::level));
        if self.prometheus {
            out.write_all(exposition::status(&context.survey, &found, exit).as_bytes())?;
        } else if let Some(file) = &self.svg {
            let svg = picture::status_svg(&report.pictured(), &found.gaps(), output::now());
            picture::write(file, &svg, out)?;
        } else if context.json {
            let document = document::document(&report);
            output::json(out, &document::with_pools(document, pools.as_ref(), exit))?;
        } else {
            report.print(out, output::now(), context.colour)?;
            if let Some(pools) = &pools {
                pools.print(out, context.colour)?;
            }
        }
        Ok(exit)
    }
}

/// The limits for attention and for critical. One that is given moves the default of the other along.
fn limits(warn: Option<u8>, critical: Option<u8>) -> Result<(u8, u8), Failure> {
    match (warn, critical) {
        (Some(warn), Some(critical)) if warn > critical => Err(Failure::new(
            format!("--warn {warn} is above --critical {critical}"),
            "attention comes first: give --warn the lower number, such as --warn 80 --critical 95",
        )),
        (Some(warn), critical) => Ok((warn, critical.unwrap_or(warn.max(95)))),
        (None, Some(critical)) => Ok((critical.min(80), critical)),
        (None, None) => Ok((80, 95)),
    }
}

/// What `plat status` says.
#[derive(Debug)]
struct Report<'a> {
    found: &'a Found,
    networks: Vec<NetworkReport<'a>>,
}

#[derive(Debug)]
struct NetworkReport<'a> {
    shown: &'a Shown,
    usage: NetworkUsage,
    levels: Vec<Exit>,
}

impl NetworkReport<'_> {
    /// How the network's state is, however full it is.
    fn health(&self) -> Exit {
        let faults = self.shown.state.faults.iter().map(|fault| gravity(fault.kind));
        faults.max().unwrap_or(Exit::Fine)
    }

    fn level(&self) -> Exit {
        self.levels.iter().copied().max().unwrap_or(Exit::Fine).max(self.health())
    }
}

impl<'a> Report<'a> {
    fn new(found: &'a Found, warn: u8, critical: u8) -> Self {
        let networks = found.networks.iter().map(|shown| {
            let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
            let levels = usage.sets.iter().map(|set| set.level(warn, critical)).collect();
            NetworkReport { shown, usage, levels }
        });
        Self { found, networks: networks.collect() }
    }

    fn exit(&self) -> Exit {
        let networks = self.networks.iter().map(NetworkReport::level).max();
        let broken = self.found.databases.iter().any(|(_, health)| is_broken(health));
        match networks.unwrap_or(Exit::Fine).max(if broken { Exit::Critical } else { Exit::Fine }) {
            Exit::Critical => Exit::Critical,
            // Unknown is worse than attention, and must not hide what is known to be critical.
            _ if !self.found.unseen.is_empty() => Exit::Failed,
            exit => exit,
        }
    }

    fn pictured(&self) -> Vec<picture::Pictured<'_>> {
        self.networks
            .iter()
            .map(|network| picture::Pictured {
                shown: network.shown,
                usage: &network.usage,
                levels: &network.levels,
                health: network.health(),
            })
            .collect()
    }

    fn print(&self, out: &mut dyn Write, now: u64, colours: bool) -> std::io::Result<()> {
        let mut any = false;
        for (path, health) in &self.found.databases {
            let (what, advice) = about(health);
            if is_broken(health) || *health == Health::FormerBoot {
                let line = format!("{}: {what}", escape(&path.to_string_lossy()));
                let colour = if is_broken(health) { Colour::Red } else { Colour::Grey };
                writeln!(out, "{}", output::paint(&line, colour, colours))?;
                if !advice.is_empty() {
                    writeln!(out, "  {advice}")?;
                }
                any = true;
            }
        }
        for gap in self.found.unseen_lines() {
            writeln!(out, "{}", output::paint(&gap, Colour::Red, colours))?;
            any = true;
        }
        if any {
            writeln!(out)?;
        }
        if self.networks.is_empty() {
            return writeln!(out, "no network has state on this node");
        }
        let mut columns = Columns::new(
            &[
                ("ranges", Align::Left),
                ("", Align::Left),
                ("used", Align::Right),
                ("", Align::Right),
                ("size", Align::Right),
                ("free", Align::Right),
                ("cooling", Align::Right),
                ("excluded", Align::Right),
                ("oldest", Align::Right),
                ("next", Align::Left),
            ],
            2,
        );
        for (i, network) in self.networks.iter().enumerate() {
            if i > 0 {
                columns.text(String::new());
            }
            network.lines(&mut columns, now, colours);
        }
        columns.print(out, colours)?;
        if self.networks.iter().any(|network| network.shown.layout.is_none()) {
            for note in &self.found.notes {
                writeln!(out, "{}", escape(note))?;
            }
        }
        Ok(())
    }
}

impl NetworkReport<'_> {
    fn lines(&self, columns: &mut Columns<'_>, now: u64, colours: bool) {
        let state = &self.shown.state;
        let health = match self.health() {
            Exit::Fine => output::paint("ok", Colour::Green, colours),
            Exit::Warning => output::paint("needs a look", Colour::Yellow, colours),
            _ => output::paint("broken", Colour::Red, colours),
        };
        columns.text(format!(
            "{}  {}  {health}",
            output::paint(&escape(&state.network), Colour::Bold, colours),
            origin(self.shown)
        ));
        for (set, level) in self.usage.sets.iter().zip(&self.levels) {
            columns.coloured_row(set_cells(set, *level, now));
        }
        let note = |columns: &mut Columns<'_>, what: &str, n: u128| {
            columns.row([what.to_owned(), String::new(), count(n)]);
        };
        if self.shown.layout.is_none() {
            let oldest = self.usage.oldest.map_or_else(String::new, |since| age(now, since));
            let held = count(self.usage.held as u128);
            columns.row(
                ["ranges not known", "", &held, "", "?", "?", "", "", &oldest, ""]
                    .map(str::to_owned),
            );
            columns.text(
                "  its ranges are in no configuration here; see --conf-dir and --data-dir"
                    .to_owned(),
            );
        }
        let misplaced: u128 = self.usage.sets.iter().map(|set| set.misplaced).sum();
        if misplaced > 0 {
            note(columns, "excluded, yet held", misplaced);
        }
        if self.usage.outside > 0 {
            note(columns, "outside the ranges", self.usage.outside as u128);
        }
        for line in fault_lines(&state.faults) {
            columns.text(format!("  {line}"));
        }
    }
}

/// Whose a network is and where it lies, in words.
pub(crate) fn origin(shown: &Shown) -> String {
    let state = &shown.state;
    let mut text = String::from("(");
    if let Some(instance) = &state.instance {
        text.push_str(&format!("{instance}, "));
    }
    let path = state.place.path().to_string_lossy();
    text.push_str(&format!("{} {}", state.place.kind(), escape(&path)));
    if let Some(pin) = state.pin {
        text.push_str(&format!(", node index {pin}"));
    }
    if state.shared {
        text.push_str(", shared with other nodes");
    }
    if let Some(file) = &shown.file {
        text.push_str(&format!(", ranges from {}", escape(&file.to_string_lossy())));
    }
    text.push(')');
    text
}

fn set_cells(set: &SetUsage, level: Exit, now: u64) -> [(String, Option<Colour>); 10] {
    let colour = match level {
        Exit::Fine => Colour::Green,
        Exit::Warning => Colour::Yellow,
        _ => Colour::Red,
    };
    let next = match set.next {
        Next::Address(addr) => addr.to_string(),
        Next::After(remaining) => format!("none for {}", span(remaining)),
        Next::Full => "none".to_owned(),
    };
    [
        (set.ranges.clone(), None),
        (bar(set.used, set.size, 10), Some(colour)),
        (count(set.used), None),
        (per_cent(set.used, set.size), Some(colour)),
        (count(set.size), None),
        (count(set.free), None),
        (count(set.cooling), None),
        (count(set.excluded), None),
        (set.oldest.map_or_else(|| "-".to_owned(), |since| age(now, since)), None),
        (next, None),
    ]
}

/// What a kind of fault is called, for people.
pub(crate) const fn fault_text(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Empty => "empty reservation",
        FaultKind::Unreadable => "reservation that names nobody",
        FaultKind::Twice => "address in two records",
        FaultKind::Foreign => "file that does not belong here",
        FaultKind::Mark => "mark that is no address",
        FaultKind::Index => "index that is not what the files say",
        FaultKind::Extents => "free space that does not add up",
        _ => "fault",
    }
}

/// A line for each kind of fault, with one example, and what to do.
fn fault_lines(faults: &[Fault]) -> Vec<String> {
    let mut kinds: Vec<FaultKind> = faults.iter().map(|fault| fault.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut lines: Vec<String> = kinds
        .into_iter()
        .filter_map(|kind| {
            let mut of_kind = faults.iter().filter(|fault| fault.kind == kind);
            let first = of_kind.next()?;
            let what = format!("{}: {}", fault_text(kind), escape(&first.what));
            Some(match of_kind.count() {
                0 => what,
                more => format!("{what} and {more} more"),
            })
        })
        .collect();
    if !lines.is_empty() {
        lines.push("`plat check` tells all of it, `plat check --fix` repairs it".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests;
