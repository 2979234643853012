//! `plat node show NODE`: what the cluster knows of a node.

use std::io::Write;
use std::time::Duration;

use ipam_pool::admin::Wanted;

use super::ls::{document, state};
use crate::administer;
use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::node::{Borrowed, OwnBlock, Request, ShownNode};
use crate::output::{self, Align, Columns, age, escape, instant, paint, span};

/// How many borrowed addresses are shown to people.
const SHOWN: usize = 10;

/// Shows a node of the cluster.
///
/// # Errors
/// If there is no such node, or etcd cannot be read.
pub(super) fn show(context: &Context, out: &mut dyn Write, what: &str) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let wanted = Wanted { space: context.space.clone(), exceptions: true, ..Wanted::default() };
    let shared = administer::look(&mut etcd, &keys, wanted)?;
    let node = shared.node(what)?;
    let exit = if node.tombstone.is_some() { Exit::Warning } else { Exit::Fine };
    if context.json {
        let blocks = shared.blocks_of(&node.uuid).map(|(space, block)| OwnBlock {
            space,
            pool: &block.record.p,
            block: block.cidr.to_string(),
            mode: block.record.m.as_str(),
            fence: block.created,
            autonomy: block.record.aut,
            since: block.record.t,
        });
        let borrowed = shared
            .exceptions_of(&node.uuid)
            .map(|(space, x)| Borrowed { space, address: x.addr.to_string() });
        let requests = node.requests.iter().map(|(space, addr, request)| Request {
            space,
            address: addr.to_string(),
            reserve: request.reserve,
            take: Some(request.take.as_str()).filter(|pool| !pool.is_empty()),
            reason: &request.why,
            since: request.t,
            refused: Some(request.refused.as_str()).filter(|text| !text.is_empty()),
        });
        let document = ShownNode {
            node: document(node),
            blocks: blocks.collect(),
            borrowed: borrowed.collect(),
            requests: requests.collect(),
        };
        output::json(out, &document)?;
        return Ok(exit);
    }
    let now = output::now();
    let (how, colour) = state(node);
    let how = colour.map_or_else(|| how.into(), |colour| paint(how, colour, context.colour));
    let index = node.index().map_or_else(String::new, |index| format!(", index {index}"));
    writeln!(out, "node {}{index}: {how}", escape(node.name()))?;
    let mut line = |what: &str, text: &str| match text {
        "" => Ok(()),
        text => writeln!(out, "  {what:<10} {}", escape(text)),
    };
    line("uuid", &node.uuid)?;
    line("boot", node.boot.as_deref().unwrap_or_default())?;
    if let Some((record, _)) = &node.record {
        line("address", format!("{} {}", record.a4, record.a6).trim())?;
        line("version", &record.v)?;
        line("boot since", &instant(record.t))?;
    }
    if let Some((tombstone, ..)) = &node.tombstone {
        let hold = span(Duration::from_secs(tombstone.hold));
        let off = if tombstone.off { ", switched off" } else { "" };
        let text = format!("{} by {}, hold {hold}{off}", instant(tombstone.at), tombstone.by);
        line("removed", &text)?;
    }
    let mut columns = Columns::new(
        &[
            ("block", Align::Left),
            ("pool", Align::Left),
            ("mode", Align::Left),
            ("without etcd", Align::Right),
            ("fence", Align::Right),
            ("claimed", Align::Right),
        ],
        0,
    );
    let mut any = false;
    for (space, block) in shared.blocks_of(&node.uuid) {
        any = true;
        columns.row([
            block.cidr.to_string(),
            escape(&format!("{space}/{}", block.record.p)).into_owned(),
            block.record.m.as_str().to_owned(),
            match block.record.aut {
                0 => "for ever".to_owned(),
                seconds => span(Duration::from_secs(seconds)),
            },
            block.created.to_string(),
            age(now, block.record.t),
        ]);
    }
    if any {
        writeln!(out)?;
        columns.print(out, context.colour)?;
    }
    let borrowed: Vec<String> =
        shared.exceptions_of(&node.uuid).map(|(_, x)| x.addr.to_string()).collect();
    if !borrowed.is_empty() {
        let shown: Vec<&str> = borrowed.iter().take(SHOWN).map(String::as_str).collect();
        let more = if borrowed.len() > SHOWN { ", ..." } else { "" };
        writeln!(
            out,
            "\n{} out of blocks of other nodes: {}{more}",
            crate::people::addresses(borrowed.len()),
            shown.join(", ")
        )?;
    }
    for (_, addr, request) in &node.requests {
        let what = match (request.take.is_empty(), request.reserve) {
            (false, _) => "to take over the block at",
            (true, true) => "to reserve",
            (true, false) => "to end the reservation of",
        };
        let ago = age(now, request.t);
        let end = if request.refused.is_empty() {
            "not answered".to_owned()
        } else {
            format!("refused: {}", request.refused)
        };
        writeln!(out, "asked {ago} ago {what} {addr}: {}", escape(&end))?;
    }
    Ok(exit)
}
