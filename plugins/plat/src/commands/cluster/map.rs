//! `plat map --cluster`.

use std::io::Write;
use std::path::Path;

use ipam_pool::view::{self, Scope};

use super::status::pool_name;
use crate::cluster;
use crate::commands::block;
use crate::context::{Context, Exit, Failure};
use crate::documents::cluster::{ClusterMap, ClusterPart};
use crate::output::{self, escape};
use crate::picture::{self, Territory};
use crate::reading;

/// Runs it.
///
/// # Errors
/// If etcd cannot be read, or there is no such pool.
pub(crate) fn run(
    context: &Context,
    pool: &str,
    svg: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
    let space = context.space.as_deref();
    let all = view::blocks(&snapshot);
    let territories: Vec<Territory<'_>> = view::pools(&snapshot)
        .into_iter()
        .filter(|view| view.pool.name == pool && space.is_none_or(|space| view.space == space))
        .map(|view| {
            let network = view.part.cidr.network();
            let blocks = all
                .iter()
                .filter(|block| block.space == view.space && network.contains(block.cidr.addr()));
            let name = pool_name(view.space, pool);
            Territory::new(format!("{name} {}", view.part.cidr), view.part, blocks.collect())
        })
        .collect();
    if territories.is_empty() {
        let names: Vec<&str> = snapshot
            .spaces
            .values()
            .flat_map(|space| space.pools.keys().map(String::as_str))
            .collect();
        return Err(Failure::new(
            format!("there is no pool {}", escape(pool)),
            format!("there are: {}", escape(&names.join(", "))),
        ));
    }
    reading::warn_torn(&snapshot);
    if let Some(file) = svg {
        let picture = picture::cluster_svg(&territories, output::now());
        picture::write(file, &picture, out)?;
    } else if context.json {
        let parts = territories.iter().map(|territory| ClusterPart {
            part: &territory.title,
            cidr: territory.part.cidr.to_string(),
            prefix: territory.part.block,
            blocks: territory.blocks.iter().map(|one| block::document(one)).collect(),
        });
        output::json(out, &ClusterMap { revision: snapshot.to, pool, parts: parts.collect() })?;
    } else {
        for (position, territory) in territories.iter().enumerate() {
            if position > 0 {
                writeln!(out)?;
            }
            picture::print_cluster(territory, context.width, context.colour, out)?;
        }
    }
    Ok(Exit::Fine)
}
