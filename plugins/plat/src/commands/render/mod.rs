//! `plat render`.

mod nodes;
mod one;

#[cfg(test)]
pub(crate) use one::OneJson;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use indicatif::ProgressBar;
use ipam_core::config::json::shown;
use ipam_core::node::{NodeIdentity, parse_index};
use node_local::Problem;
use serde::Serialize;
use serde_json::Value;

use crate::cli::absolute;
use crate::configured::{PLUGINS, read_file, read_text, surroundings};
use crate::context::{Command, Context, Exit, Failure};
use crate::lint::{Asked, set_cfg_dir, template_member};
use crate::netconf::{self, Form, Member, Spot, printable, spot};
use crate::output;
use nodes::{Clash, Ready, Row, Wanted, clashes, row, shared_subnets};
use one::one;

/// Options of `plat render`.
#[derive(Debug, Args)]
#[command(
    after_help = "One node: prints its ipam section. Several: a table, and where they would hand out the \
                  same addresses. Exit status: 0 fine, 1 a node cannot be rendered, 2 nodes overlap, 3 the \
                  configuration cannot be read."
)]
pub(crate) struct Render {
    /// A configuration, a list, a NetworkAttachmentDefinition, or a template of node-local; - is standard
    /// input.
    #[arg(value_name = "CONF")]
    conf: PathBuf,
    /// As the node of this host name; several, with commas, as a table.
    #[arg(long, value_name = "NAME", value_delimiter = ',', group = "which")]
    node: Vec<String>,
    /// As the node of this index.
    #[arg(long, value_name = "N", group = "which")]
    index: Option<u32>,
    /// As each node of these indexes, such as 1-64.
    #[arg(long, value_name = "FIRST-LAST", value_parser = indexes, group = "which")]
    all: Option<Indexes>,
    /// Takes node-local's templates from DIR.
    #[arg(long, value_name = "DIR")]
    cfg_dir: Option<PathBuf>,
    /// Shows only those nodes in the table that cannot be rendered or overlap.
    #[arg(long)]
    problems: bool,
}

/// Indexes from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Indexes {
    first: u32,
    last: u32,
}

/// The most nodes of one table.
const MOST: u32 = 1 << 20;

fn indexes(text: &str) -> Result<Indexes, String> {
    let number = |text: &str| parse_index("", text).ok();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && last - first < MOST => {
            Ok(Indexes { first, last })
        }
        (Some(first), Some(last)) if first <= last => {
            Err(format!("these are more than {MOST} nodes"))
        }
        _ => Err("two indexes are needed, such as 1-64".to_owned()),
    }
}

impl Command for Render {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let around = surroundings(context);
        let members = self.members(context)?;
        if self.all.is_none() && self.node.len() < 2 {
            let asked = match (self.index, self.node.first()) {
                (Some(index), _) => Some(Asked::Index(index)),
                (None, Some(name)) => Some(Asked::Name(name.clone())),
                (None, None) => None,
            };
            return one(&members, &around, asked.as_ref(), context, out);
        }
        let all: Vec<Ready> = members
            .into_iter()
            .map(|member| {
                let supplied = (member.ipam() == Some("node-local"))
                    .then(|| node_local::supply(&member.net, &around))
                    .transpose()?;
                Ok(Ready { member, supplied })
            })
            .collect::<Result<_, Problem>>()
            .map_err(failure)?;
        let rows = rows(self.wanted(&all)?, &all, context.progress);
        self.table(&rows, &all, context, out)
    }
}

impl Render {
    /// The plugins of the file whose ranges are understood.
    fn members(&self, context: &Context) -> Result<Vec<Member>, Failure> {
        let name = printable(&self.conf.display().to_string());
        let text = if self.conf == Path::new("-") {
            read_text(io::stdin().lock())
        } else {
            read_file(&context.survey.at(&self.conf))
        };
        let text = text.map_err(|error| {
            Failure::new(format!("{name} {error}"), "a network configuration that uses node-local")
        })?;
        let mut members = Vec::new();
        for document in netconf::read(&text) {
            let document = document.map_err(|broken| {
                let Spot { line, column } = spot(&text, broken.offset);
                let message = printable(&broken.message);
                Failure::new(
                    format!("{name}:{line}:{column}: {message}"),
                    printable(&broken.advice),
                )
            })?;
            match document.form {
                Form::Template => members.push(template_member(&document)),
                _ => members.extend(document.members()),
            }
        }
        members.retain(|member| member.ipam().is_some_and(|ipam| PLUGINS.contains(&ipam)));
        if members.is_empty() {
            return Err(Failure::new(
                format!("{name} has no ipam section of type node-local or host-local"),
                format!("plat conf validate {name} tells what is in it"),
            ));
        }
        if let Some(dir) = &self.cfg_dir {
            let dir = absolute(dir);
            for member in &mut members {
                set_cfg_dir(&mut member.net, &dir.to_string_lossy());
            }
        }
        Ok(members)
    }

    /// The nodes of the table.
    fn wanted(&self, all: &[Ready]) -> Result<Vec<Wanted>, Failure> {
        let member = all.iter().find(|ready| ready.supplied.is_some()).map(|ready| &ready.member);
        let Some(Indexes { first, last }) = self.all else {
            let identity = |name: &String| match member {
                Some(member) => Asked::Name(name.clone()).identity(member),
                // host-local does not ask.
                None => Asked::Index(0).identity(&Member { path: String::new(), net: Value::Null }),
            };
            return Ok(self.node.iter().map(|name| (name.clone(), identity(name))).collect());
        };
        // An index in the configuration is that of every node.
        let fixed = match member {
            Some(member) => node_local::wanted(&member.net).map_err(failure)?.index,
            None => None,
        };
        let fixed = fixed
            .map(|text| parse_index("ipam.index", &text))
            .transpose()
            .map_err(|error| Failure::new(error.to_string(), error.advice()))?;
        let source = if fixed.is_some() { "the configuration" } else { "the command line" };
        let identity = |i: u32| {
            let name = format!("node-{i}");
            let index = fixed.unwrap_or(i);
            (name.clone(), Ok(NodeIdentity { index, name, source: source.to_owned() }))
        };
        Ok((first..=last).map(identity).collect())
    }

    fn table(
        &self,
        rows: &[Row],
        all: &[Ready],
        context: &Context,
        out: &mut dyn Write,
    ) -> Result<Exit, Failure> {
        let found = clashes(rows);
        let shared = shared_subnets(rows);
        let failed = rows.iter().filter(|row| row.problem.is_some()).count();
        if context.json {
            output::json(out, &self.document(rows, &found, &shared))?;
        } else {
            let fixed = all.iter().all(|ready| ready.supplied.is_none());
            self.print(rows, &found, out)?;
            notes(rows, &found, if found.is_empty() { &shared } else { &[] }, fixed, out)?;
        }
        Ok(match (found.is_empty(), failed) {
            (false, _) => Exit::Critical,
            (true, 0) => Exit::Fine,
            (true, _) => Exit::Warning,
        })
    }

    /// The positions of the rows to show.
    fn shown(&self, rows: &[Row], found: &[Clash]) -> Vec<usize> {
        let mut odd = vec![!self.problems; rows.len()];
        for clash in found {
            for i in [clash.rows.0, clash.rows.1] {
                if let Some(odd) = odd.get_mut(i) {
                    *odd = true;
                }
            }
        }
        let is_odd = |(i, row): &(usize, &Row)| {
            row.problem.is_some() || odd.get(*i).copied().unwrap_or_default()
        };
        rows.iter().enumerate().filter(is_odd).map(|(i, _)| i).collect()
    }

    fn print(&self, rows: &[Row], found: &[Clash], out: &mut dyn Write) -> io::Result<()> {
        let shown = self.shown(rows, found);
        if shown.is_empty() {
            return Ok(());
        }
        let sets = rows.iter().flat_map(|row| &row.ranges).map(|range| range.set + 1).max();
        let titles: Vec<String> = (0..sets.unwrap_or(1)).map(|i| format!("set {i}")).collect();
        let mut header = vec!["node", "index"];
        header.extend(titles.iter().map(String::as_str));
        let mut table = output::table(&header);
        for row in shown.into_iter().filter_map(|i| rows.get(i)) {
            let mut cells = vec![
                printable(&row.node),
                row.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
            ];
            match &row.problem {
                Some((message, _)) => cells.push(printable(&shown_short(message))),
                None => cells.extend((0..titles.len()).map(|set| {
                    let ranges = row.ranges.iter().filter(|range| range.set == set);
                    ranges.map(|range| range.interval.to_string()).collect::<Vec<_>>().join(",")
                })),
            }
            table.add_row(cells);
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn document<'a>(
        &self,
        rows: &'a [Row],
        found: &[Clash],
        shared: &[(ipam_core::addr::Cidr, usize)],
    ) -> TableJson<'a> {
        let node = |row: &'a Row| NodeJson {
            node: &row.node,
            index: row.index,
            ranges: row
                .ranges
                .iter()
                .map(|range| RangeJson {
                    set: range.set,
                    subnet: range.subnet.to_string(),
                    first: range.interval.first().to_string(),
                    last: range.interval.last().to_string(),
                })
                .collect(),
            error: row.problem.as_ref().map(|(message, _)| message.as_str()),
            advice: row.problem.as_ref().map(|(_, advice)| advice.as_str()),
        };
        let name = |i: usize| rows.get(i).map_or("", |row| row.node.as_str());
        let clash = |clash: &Clash| ClashJson {
            nodes: [name(clash.rows.0), name(clash.rows.1)],
            ranges: [clash.intervals.0.to_string(), clash.intervals.1.to_string()],
        };
        let subnet = |(subnet, nodes): &(ipam_core::addr::Cidr, usize)| SharedJson {
            subnet: subnet.to_string(),
            nodes: *nodes,
        };
        let shown = self.shown(rows, found);
        TableJson {
            nodes: shown.into_iter().filter_map(|i| rows.get(i)).map(node).collect(),
            overlaps: found.iter().map(clash).collect(),
            shared_subnets: shared.iter().map(subnet).collect(),
        }
    }
}

/// An error within a table: its first part.
fn shown_short(message: &str) -> String {
    let message = message.split(" (node ").next().unwrap_or(message);
    format!("cannot be rendered: {}", shown(message))
}

fn failure(problem: Problem) -> Failure {
    Failure::new(printable(&problem.error.message), printable(&problem.error.details))
}

/// Renders every node, on all processors.
fn rows(wanted: Vec<Wanted>, all: &[Ready], progress: bool) -> Vec<Row> {
    /// Fewer are done before a bar could be seen.
    const MANY: usize = 4096;
    let total = u64::try_from(wanted.len()).unwrap_or_default();
    let bar = if progress && wanted.len() >= MANY {
        ProgressBar::new(total)
    } else {
        ProgressBar::hidden()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let each = wanted.len().div_ceil(threads).max(MANY);
    let mut wanted = wanted.into_iter();
    let rows = thread::scope(|scope| {
        let mut parts = Vec::new();
        loop {
            let part: Vec<Wanted> = wanted.by_ref().take(each).collect();
            if part.is_empty() {
                break;
            }
            let bar = &bar;
            parts.push(scope.spawn(move || {
                let mut rows = Vec::with_capacity(part.len());
                for (i, node) in part.into_iter().enumerate() {
                    rows.push(row(node, all));
                    if i % 256 == 255 {
                        bar.inc(256);
                    }
                }
                rows
            }));
        }
        parts.into_iter().filter_map(|part| part.join().ok()).flatten().collect()
    });
    bar.finish_and_clear();
    rows
}

/// What is to be said below a table.
fn notes(
    rows: &[Row],
    found: &[Clash],
    shared: &[(ipam_core::addr::Cidr, usize)],
    fixed: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    /// How many lines of one kind.
    const LINES: usize = 20;
    let name = |i: usize| rows.get(i).map_or_else(String::new, |row| printable(&row.node));
    let failed: Vec<&Row> = rows.iter().filter(|row| row.problem.is_some()).collect();
    writeln!(out)?;
    if fixed && rows.len() > 1 {
        writeln!(out, "host-local gives the same addresses to every node: use node-local")?;
    }
    for clash in found.iter().take(LINES) {
        let (a, b) = (name(clash.rows.0), name(clash.rows.1));
        writeln!(out, "{a} and {b} overlap: {} and {}", clash.intervals.0, clash.intervals.1)?;
    }
    if let Some(more) = found.len().checked_sub(LINES).filter(|more| *more > 0) {
        writeln!(out, "... and {more} more nodes overlap")?;
    }
    for (subnet, nodes) in shared.iter().take(LINES) {
        writeln!(out, "{nodes} nodes share {subnet}, each with a part of its own: one LAN")?;
    }
    if let Some(more) = shared.len().checked_sub(LINES).filter(|more| *more > 0) {
        writeln!(out, "... and {more} more subnets are shared")?;
    }
    if let Some((_, advice)) = failed.first().and_then(|row| row.problem.as_ref()) {
        let (n, of) = (failed.len(), rows.len());
        writeln!(out, "{n} of {of} nodes cannot be rendered; expected: {}", expected(advice))?;
    } else if found.is_empty() {
        writeln!(out, "{} nodes, no overlap", rows.len())?;
    }
    Ok(())
}

fn expected(advice: &str) -> String {
    let advice = advice.rsplit_once("; expected: ").map_or(advice, |(_, expected)| expected);
    printable(advice)
}

/// What node-local makes of a configuration on several nodes.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TableJson<'a> {
    /// The nodes.
    nodes: Vec<NodeJson<'a>>,
    /// Nodes that would give out the same addresses.
    overlaps: Vec<ClashJson<'a>>,
    /// Subnets that several nodes have, which is right on one LAN.
    shared_subnets: Vec<SharedJson>,
}

/// A node.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NodeJson<'a> {
    /// Its name.
    node: &'a str,
    /// Its index; `null` if it is not known.
    index: Option<u32>,
    /// Its ranges; empty if it cannot use the configuration.
    ranges: Vec<RangeJson>,
    /// Why it cannot use the configuration; `null` if it can.
    error: Option<&'a str>,
    /// What would be right; `null` if it can use the configuration.
    advice: Option<&'a str>,
}

/// A range.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RangeJson {
    /// The position of its range set, from 0.
    set: usize,
    /// Its subnet.
    subnet: String,
    /// Its first address.
    first: String,
    /// Its last address.
    last: String,
}

/// Two nodes that overlap.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ClashJson<'a> {
    /// Their names.
    nodes: [&'a str; 2],
    /// Their ranges, `FIRST-LAST`.
    ranges: [String; 2],
}

/// A subnet that several nodes have.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SharedJson {
    /// The subnet.
    subnet: String,
    /// How many nodes have it.
    nodes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_two_numbers() {
        assert_eq!(indexes("1-64"), Ok(Indexes { first: 1, last: 64 }));
        assert_eq!(indexes("7"), Ok(Indexes { first: 7, last: 7 }));
        for text in ["", "-", "1-", "-1", "a-b", "9-1", "0-4294967295", "1-2-3"] {
            assert!(indexes(text).is_err(), "{text}");
        }
    }
}
