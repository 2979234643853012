//! `plat map`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use ipam_stores::survey::NetworkState;

use super::cluster;
use super::status::origin;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::addresses::{
    Map as MapDocument, MappedHolder, MappedNetwork, MappedRange, MappedRun,
};
use crate::output::{self, whole};
use crate::picture::{self, Order};
use crate::shown::{Found, Shown};
use crate::usage::{Kind, NetworkUsage, Next, Run, parts, range_text, runs};

/// Options of `plat map`.
#[derive(Debug, Args)]
pub(crate) struct Map {
    /// The network; with --cluster the pool.
    network: String,
    /// Draws the blocks of a pool of the whole cluster, each in the colour of its node.
    #[arg(long, conflicts_with = "hilbert")]
    cluster: bool,
    /// Draws into this file instead; `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    svg: Option<PathBuf>,
    /// Puts the addresses along a Hilbert curve, so that each subnet is a square.
    #[arg(long, requires = "svg")]
    hilbert: bool,
}

impl Command for Map {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if self.cluster {
            return cluster::map::run(context, &self.network, self.svg.as_deref(), out);
        }
        let found = Found::of(context, Some(&self.network))?;
        let incomplete = found.complain();
        if let Some(file) = &self.svg {
            let order = if self.hilbert { Order::Hilbert } else { Order::Rows };
            let svg = picture::map_svg(&found.networks, &origin, order, output::now());
            picture::write(file, &svg, out)?;
        } else if context.json {
            let networks = found.networks.iter().map(document).collect();
            output::json(out, &MapDocument { complete: !incomplete, networks })?;
        } else {
            for (i, shown) in found.networks.iter().enumerate() {
                if i > 0 {
                    writeln!(out)?;
                }
                picture::print_map(shown, &origin(shown), context.width, context.colour, out)?;
            }
        }
        Ok(if incomplete { Exit::Failed } else { Exit::Fine })
    }
}

/// A network's ranges in runs of one kind.
fn document(shown: &Shown) -> MappedNetwork<'_> {
    let usage = NetworkUsage::new(&shown.state, shown.layout.as_ref());
    let sets = shown.layout.as_ref().map_or(&[][..], |layout| &layout.sets);
    let mut ranges = Vec::new();
    for (set, counts) in sets.iter().zip(&usage.sets) {
        let next = match counts.next {
            Next::Address(addr) => Some(addr),
            _ => None,
        };
        for range in set.ranges() {
            let bounds = range.interval();
            ranges.push(MappedRange {
                range: range_text(range),
                first: bounds.first().to_string(),
                last: bounds.last().to_string(),
                gateway: range.gateway().map(|addr| addr.to_string()),
                next: next.filter(|next| bounds.contains(*next)).map(|next| next.to_string()),
                runs: runs(range, &shown.state).iter().map(|r| run(r, &shown.state)).collect(),
            });
        }
    }
    MappedNetwork {
        network: &shown.state.network,
        instance: shown.state.instance.as_ref().map(|instance| instance.as_str()),
        store: shown.state.place.kind(),
        path: shown.state.place.path().to_string_lossy().into_owned(),
        ranges_known: shown.layout.is_some(),
        outside: usage.outside,
        ranges,
    }
}

fn run<'a>(run: &Run, state: &'a NetworkState) -> MappedRun<'a> {
    let held = match run.kind {
        Kind::Used(i) => state.allocations.get(i),
        _ => None,
    };
    MappedRun {
        first: run.interval.first().to_string(),
        last: run.interval.last().to_string(),
        count: whole(run.interval.count()),
        kind: match run.kind {
            Kind::Used(_) => "used",
            Kind::Cooling => "cooling",
            Kind::Gateway => "gateway",
            Kind::Excluded => "excluded",
            Kind::Free => "free",
        },
        holder: held.map(|allocation| MappedHolder {
            container: parts(&allocation.holder).0,
            interface: parts(&allocation.holder).1,
            namespace: allocation.owner.namespace.as_deref(),
            pod: allocation.owner.name.as_deref(),
        }),
    }
}
