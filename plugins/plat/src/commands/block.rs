//! `plat block`.

use std::io::Write;

use clap::{Args, Subcommand};
use ipam_pool::view::{self, BlockView, Scope};

use super::cluster::status::pool_name;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::cluster::{Block as BlockLine, Blocks};
use crate::output::{self, Align, Colour, Columns, age, bar, count, escape};
use crate::reading;

/// Commands of `plat block`.
#[derive(Debug, Subcommand)]
pub(crate) enum Block {
    /// Lists the blocks, who holds them and how full they are.
    Ls(Ls),
}

/// Options of `plat block ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only those of this node: a name or a UUID.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only those of this pool.
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
}

impl Command for Block {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Ls(ls) => ls.run(context, out),
        }
    }
}

impl Ls {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
        let blocks: Vec<BlockView<'_>> = view::blocks(&snapshot)
            .into_iter()
            .filter(|block| context.space.as_deref().is_none_or(|space| block.space == space))
            .filter(|block| self.pool.as_deref().is_none_or(|pool| block.pool == pool))
            .filter(|block| {
                self.node
                    .as_deref()
                    .is_none_or(|node| block.node == Some(node) || block.uuid == Some(node))
            })
            .collect();
        reading::warn_torn(&snapshot);
        if context.json {
            let list = blocks.iter().map(document).collect();
            output::json(out, &Blocks { revision: snapshot.to, blocks: list })?;
            return Ok(Exit::Fine);
        }
        if blocks.is_empty() {
            writeln!(out, "there is no such block")?;
            return Ok(Exit::Fine);
        }
        let mut columns = Columns::new(
            &[
                ("block", Align::Left),
                ("pool", Align::Left),
                ("node", Align::Left),
                ("index", Align::Right),
                ("mode", Align::Left),
                ("", Align::Left),
                ("used", Align::Right),
                ("size", Align::Right),
                ("reserved", Align::Right),
                ("lent", Align::Right),
                ("fence", Align::Right),
                ("claimed", Align::Right),
            ],
            0,
        );
        let now = output::now();
        for block in &blocks {
            columns.coloured_row(cells(block, now));
        }
        columns.print(out, context.colour)?;
        Ok(Exit::Fine)
    }
}

fn cells(block: &BlockView<'_>, now: u64) -> [(String, Option<Colour>); 12] {
    let size = block.cidr.network().count();
    let kept = block.counts.parked.saturating_add(block.counts.reserved);
    let number = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
    [
        (block.cidr.to_string(), None),
        (escape(&pool_name(block.space, block.pool)).into_owned(), None),
        (escape(block.node.unwrap_or("nobody")).into_owned(), None),
        (block.index.map_or_else(|| "-".to_owned(), |index| index.to_string()), None),
        (block.mode.as_str().to_owned(), None),
        (bar(u128::from(block.counts.all()), size, 8), Some(Colour::Blue)),
        (block.counts.used.to_string(), None),
        (count(size), None),
        (number(kept), None),
        (number(block.lent), None),
        (block.fence.to_string(), None),
        (age(now, block.since), None),
    ]
}

/// A block, for programs.
pub(crate) fn document<'a>(block: &BlockView<'a>) -> BlockLine<'a> {
    BlockLine {
        space: block.space,
        pool: block.pool,
        cidr: block.cidr.to_string(),
        node: block.node,
        uuid: block.uuid,
        index: block.index,
        mode: block.mode.as_str(),
        fence: block.fence,
        since: block.since,
        size: output::whole(block.cidr.network().count()),
        used: block.counts.used,
        parked: block.counts.parked,
        reserved: block.counts.reserved,
        lent: block.lent,
    }
}
