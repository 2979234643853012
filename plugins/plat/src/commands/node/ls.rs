//! `plat node ls`.

use std::io::Write;

use clap::Args;
use ipam_pool::admin::{NodeEntry, Wanted};

use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::node::{ListedNode, Node as NodeDocument, Nodes, Removal};
use crate::output::{self, Align, Colour, Columns, escape, instant};
use crate::people;

/// Options of `plat node ls`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0, 1 if a node is being removed or a record cannot be understood, 3 if etcd cannot \
                  be read."
)]
pub(crate) struct Ls {
    /// Shows also nodes that were removed within the last 30 days.
    #[arg(long)]
    removed: bool,
}

/// How a node stands.
pub(super) fn state(node: &NodeEntry) -> (&'static str, Option<Colour>) {
    match &node.tombstone {
        Some((tombstone, ..)) if tombstone.done => ("removed", Some(Colour::Grey)),
        Some((tombstone, ..)) if tombstone.begun => ("being given back", Some(Colour::Yellow)),
        Some(_) => ("being removed", Some(Colour::Yellow)),
        None if node.alive => ("alive", Some(Colour::Green)),
        // Without an agent nobody says that a node lives: that is no fault.
        None => ("registered", None),
    }
}

/// A node, for programs.
pub(super) fn document(node: &NodeEntry) -> NodeDocument<'_> {
    let record = node.record.as_ref().map(|(record, _)| record);
    NodeDocument {
        name: node.name(),
        index: node.index(),
        uuid: &node.uuid,
        state: state(node).0,
        boot: node.boot.as_deref(),
        address: record.map(|record| record.a4.as_str()).filter(|text| !text.is_empty()),
        address6: record.map(|record| record.a6.as_str()).filter(|text| !text.is_empty()),
        version: record.map(|record| record.v.as_str()).filter(|text| !text.is_empty()),
        written: record.map(|record| record.t),
        removal: node.tombstone.as_ref().map(|(tombstone, ..)| Removal {
            at: tombstone.at,
            by: &tombstone.by,
            hold: tombstone.hold,
            off: tombstone.off,
            begun: tombstone.begun,
            done: tombstone.done,
        }),
    }
}

impl Command for Ls {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let wanted = Wanted { space: context.space.clone(), exceptions: true, ..Wanted::default() };
        let shared = administer::look(&mut etcd, &keys, wanted)?;
        people::warn(&shared.bad.iter().map(ToString::to_string).collect::<Vec<_>>());
        let gone = |node: &&NodeEntry| {
            node.record.is_none() && node.tombstone.as_ref().is_some_and(|(t, ..)| t.done)
        };
        let nodes: Vec<&NodeEntry> =
            shared.nodes.iter().filter(|node| self.removed || !gone(node)).collect();
        let leaving = nodes
            .iter()
            .any(|node| node.tombstone.as_ref().is_some_and(|(tombstone, ..)| !tombstone.done));
        let exit = if leaving || !shared.bad.is_empty() { Exit::Warning } else { Exit::Fine };
        if context.json {
            let list = nodes.iter().map(|node| ListedNode {
                node: document(node),
                blocks: shared.blocks_of(&node.uuid).count(),
                borrowed: shared.exceptions_of(&node.uuid).count(),
                requests: node.requests.len(),
            });
            output::json(out, &Nodes { revision: shared.revision, nodes: list.collect() })?;
            return Ok(exit);
        }
        if nodes.is_empty() {
            writeln!(out, "there is no node")?;
            return Ok(exit);
        }
        let mut columns = Columns::new(
            &[
                ("node", Align::Left),
                ("index", Align::Right),
                ("state", Align::Left),
                ("blocks", Align::Right),
                ("borrowed", Align::Right),
                ("address", Align::Left),
                ("since", Align::Left),
                ("uuid", Align::Left),
            ],
            0,
        );
        for node in &nodes {
            let (state, colour) = state(node);
            let record = node.record.as_ref().map(|(record, _)| record);
            let address = record.map(|record| match (record.a4.as_str(), record.a6.as_str()) {
                ("", a6) => a6.to_owned(),
                (a4, "") => a4.to_owned(),
                (a4, a6) => format!("{a4} {a6}"),
            });
            let since = match (&node.tombstone, record) {
                (Some((tombstone, ..)), _) => instant(tombstone.at),
                (None, Some(record)) => instant(record.t),
                (None, None) => String::new(),
            };
            let number = |count: usize| count.to_string();
            columns.coloured_row([
                (escape(node.name()).into_owned(), None),
                (node.index().map_or_else(|| "-".to_owned(), |index| index.to_string()), None),
                (state.to_owned(), colour),
                (number(shared.blocks_of(&node.uuid).count()), None),
                (number(shared.exceptions_of(&node.uuid).count()), None),
                (escape(address.as_deref().unwrap_or("-")).into_owned(), None),
                (since, None),
                (escape(&node.uuid).into_owned(), None),
            ]);
        }
        columns.print(out, context.colour)?;
        Ok(exit)
    }
}
