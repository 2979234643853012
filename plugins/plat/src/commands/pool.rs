//! `plat pool`.

mod change;
mod edit;
mod ls;
mod reserve;
mod show;

use std::io::Write;

use clap::Subcommand;
use ipam_core::addr::Family;
use ipam_pool::pool::{Pool as Checked, PoolSpec};

use crate::context::{Command, Context, Exit, Failure};
use crate::documents::pool::{Pool as PoolDocument, Terms};
use crate::output::span;

/// Commands of `plat pool`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pool {
    /// Lists the pools.
    Ls(ls::Ls),
    /// Shows a pool: how it gives out addresses, who has blocks of it, what is reserved.
    Show(show::Show),
    /// Makes a pool.
    Create(change::Create),
    /// Changes a pool: only what is given.
    Edit(edit::Edit),
    /// Removes a pool of which no node holds a block.
    Rm(change::Rm),
    /// Keeps an address from being given out.
    Reserve(reserve::Reserve),
    /// Lets an address be given out again that was reserved.
    Unreserve(reserve::Unreserve),
}

impl Command for Pool {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Ls(command) => command.run(context, out),
            Self::Show(command) => command.run(context, out),
            Self::Create(command) => command.run(context, out),
            Self::Edit(command) => command.run(context, out),
            Self::Rm(command) => command.run(context, out),
            Self::Reserve(command) => command.run(context, out),
            Self::Unreserve(command) => command.run(context, out),
        }
    }
}

/// For how long a node may go on without etcd, for people.
fn autonomy(seconds: u64) -> String {
    match seconds {
        0 => "for ever".to_owned(),
        seconds => span(std::time::Duration::from_secs(seconds)),
    }
}

/// The addresses of a family with the prefix length of their blocks.
fn part(pool: &Checked, family: Family) -> String {
    pool.part(family)
        .map_or_else(|| "-".to_owned(), |part| format!("{} in /{}", part.cidr, part.block))
}

/// A pool, for programs: what holds, also where it is not written.
fn document<'a>(space: &'a str, spec: &'a PoolSpec) -> PoolDocument<'a> {
    let (terms, problem) = match Checked::try_from(spec) {
        Ok(pool) => (Some(terms(&pool, spec)), None),
        Err(problem) => (None, Some(problem.message)),
    };
    PoolDocument { space, name: &spec.name, terms, problem }
}

fn terms<'a>(pool: &Checked, spec: &'a PoolSpec) -> Terms<'a> {
    let cidr = |family| pool.part(family).map(|part| part.cidr.to_string());
    let block = |family| pool.part(family).map(|part| part.block);
    Terms {
        cidr: cidr(Family::V4),
        cidr6: cidr(Family::V6),
        block: block(Family::V4),
        block6: block(Family::V6),
        mode: pool.mode.as_str(),
        strict: pool.strict,
        max_blocks: pool.max_blocks,
        cooldown: pool.cooldown.as_secs(),
        gateway: pool.gateway.to_string(),
        exclude: &spec.exclude,
        autonomy: pool.autonomy,
    }
}
