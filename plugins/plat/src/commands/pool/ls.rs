//! `plat pool ls`.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use ipam_core::addr::Family;
use ipam_pool::admin::{SpaceEntry, Wanted};
use ipam_pool::pool::{Pool, PoolSpec};

use super::{autonomy, document, part};
use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::pool::{ListedPool, Pools};
use crate::output::{self, Align, Columns, count, escape};
use crate::people;

/// Options of `plat pool ls`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --space the pools of all address spaces. Exit status: 0, 1 if a pool's description \
                  or a record cannot be understood, 3 if etcd cannot be read."
)]
pub(crate) struct Ls {}

/// The blocks of a pool that are claimed: of each family, and by how many nodes.
pub(super) fn claimed(space: &SpaceEntry, pool: &str) -> (u64, u64, usize) {
    let (mut v4, mut v6, mut nodes) = (0, 0, BTreeSet::new());
    for block in space.blocks.iter().filter(|block| block.record.p == pool) {
        match block.cidr.addr().family() {
            Family::V4 => v4 += 1,
            Family::V6 => v6 += 1,
        }
        nodes.extend(block.record.u.as_deref());
    }
    (v4, v6, nodes.len())
}

impl Command for Ls {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let wanted = Wanted { space: context.space.clone(), ..Wanted::default() };
        let shared = administer::look(&mut etcd, &keys, wanted)?;
        people::warn(&shared.bad.iter().map(ToString::to_string).collect::<Vec<_>>());
        let pools: Vec<(&SpaceEntry, &PoolSpec)> = shared
            .spaces
            .iter()
            .flat_map(|space| space.pools.iter().map(move |pool| (space, pool)))
            .collect();
        let broken = pools.iter().any(|(_, spec)| Pool::try_from(*spec).is_err());
        let exit = if broken || !shared.bad.is_empty() { Exit::Warning } else { Exit::Fine };
        if context.json {
            let list = pools.iter().map(|(space, spec)| {
                let (claimed, claimed6, nodes) = claimed(space, &spec.name);
                ListedPool { pool: document(&space.name, spec), claimed, claimed6, nodes }
            });
            let document = Pools { revision: shared.revision, pools: list.collect() };
            output::json(out, &document)?;
            return Ok(exit);
        }
        if pools.is_empty() {
            writeln!(out, "there is no pool; `plat pool create NAME --cidr NETWORK` makes one")?;
            return Ok(exit);
        }
        let mut columns = Columns::new(
            &[
                ("pool", Align::Left),
                ("space", Align::Left),
                ("ipv4", Align::Left),
                ("ipv6", Align::Left),
                ("mode", Align::Left),
                ("blocks", Align::Right),
                ("of", Align::Right),
                ("nodes", Align::Right),
                ("without etcd", Align::Right),
            ],
            0,
        );
        for (space, spec) in &pools {
            let name = escape(&spec.name).into_owned();
            let space_name = escape(&space.name).into_owned();
            let Ok(pool) = Pool::try_from(*spec) else {
                columns.row([&name, &space_name, "cannot be understood"].map(str::to_owned));
                continue;
            };
            let (v4, v6, nodes) = claimed(space, &pool.name);
            let of: u128 = [pool.v4, pool.v6]
                .into_iter()
                .flatten()
                .map(|part| part.blocks())
                .fold(0, u128::saturating_add);
            columns.row([
                name,
                space_name,
                part(&pool, Family::V4),
                part(&pool, Family::V6),
                format!("{}{}", pool.mode.as_str(), if pool.strict { ", strict" } else { "" }),
                (v4 + v6).to_string(),
                count(of),
                nodes.to_string(),
                autonomy(pool.autonomy),
            ]);
        }
        columns.print(out, context.colour)?;
        Ok(exit)
    }
}
