//! `plat pool show`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use ipam_core::addr::Family;
use ipam_pool::admin::{CountPool, Wanted};
use ipam_pool::pool::Pool;

use super::{autonomy, document, part};
use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::pool::{Share as ShareLine, ShownPool};
use crate::output::{self, Align, Columns, age, bar, count, escape, per_cent, span};
use crate::people;

/// How many reservations are shown to people.
const SHOWN: usize = 20;

/// Options of `plat pool show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The pool.
    #[arg(value_name = "POOL")]
    name: String,
}

/// What a node has of a pool.
#[derive(Debug, Default)]
struct Share {
    blocks: u64,
    addresses: u128,
}

impl Command for Show {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let name = cluster::space(context);
        let wanted = Wanted { space: Some(name.to_owned()), ..Wanted::default() };
        let shared = administer::look(&mut etcd, &keys, wanted)?;
        people::warn(&shared.bad.iter().map(ToString::to_string).collect::<Vec<_>>());
        let space = shared.spaces.first();
        let spec = space.and_then(|s| s.pools.iter().find(|pool| pool.name == self.name));
        let (Some(space), Some(spec)) = (space, spec) else {
            let there = space.map(|s| s.pools.iter().map(|pool| pool.name.clone()).collect());
            return Err(ipam_pool::admin::AdminError::NoPool {
                name: self.name.clone(),
                space: name.to_owned(),
                pools: there.unwrap_or_default(),
            }
            .into());
        };
        let pool = Pool::try_from(spec)
            .map_err(|problem| Failure::new(problem.message, problem.expected))?;
        let spinner = people::spinner(context, "counting addresses");
        let counted = CountPool::new(keys.clone(), name.to_owned(), &pool);
        let usage = administer::run(&mut { counted }, &mut etcd)?;
        spinner.finish_and_clear();
        let names: BTreeMap<String, String> =
            shared.nodes.iter().map(|n| (n.uuid.clone(), n.name().to_owned())).collect();
        let mut shares: BTreeMap<Option<&str>, Share> = BTreeMap::new();
        for block in space.blocks.iter().filter(|block| block.record.p == pool.name) {
            let share = shares.entry(block.record.u.as_deref()).or_default();
            share.blocks += 1;
            share.addresses = share.addresses.saturating_add(block.cidr.network().count());
        }
        let claimed = |family: Family| {
            let own = space.blocks.iter().filter(|block| block.record.p == pool.name);
            own.filter(|block| block.cidr.addr().family() == family).count()
        };
        if context.json {
            let nodes = shares.iter().map(|(uuid, share)| ShareLine {
                node: uuid.and_then(|uuid| names.get(uuid)).map(String::as_str),
                uuid: *uuid,
                blocks: share.blocks,
                size: output::whole(share.addresses),
            });
            let reserved = usage.reservations.iter();
            let document = ShownPool {
                pool: document(name, spec),
                revision: shared.revision,
                claimed: claimed(Family::V4),
                claimed6: claimed(Family::V6),
                used: usage.used,
                parked: usage.parked,
                reserved: usage.reserved,
                nodes: nodes.collect(),
                reservations: reserved.map(|it| administer::address(it, &names)).collect(),
            };
            output::json(out, &document)?;
            return Ok(Exit::Fine);
        }
        writeln!(out, "pool {} in space {}", escape(&pool.name), escape(name))?;
        let mut line = |what: &str, text: String| writeln!(out, "  {what:<12} {text}");
        for (what, family) in [("IPv4", Family::V4), ("IPv6", Family::V6)] {
            let Some(of) = pool.part(family) else { continue };
            let claimed = claimed(family);
            line(
                what,
                format!(
                    "{}: {} of {} blocks claimed",
                    part(&pool, family),
                    count(claimed as u128),
                    count(of.blocks())
                ),
            )?;
        }
        let lends = match (pool.mode.as_str(), pool.strict) {
            ("sync", false) => ", addresses are lent to other nodes",
            ("sync", true) => ", strict: addresses are not lent",
            _ => "",
        };
        line("mode", format!("{}{lends}", pool.mode.as_str()))?;
        line("without etcd", autonomy(pool.autonomy))?;
        line("max. blocks", format!("{} of a family for each node", pool.max_blocks))?;
        line("gateway", escape(&pool.gateway.to_string()).into_owned())?;
        let cooldown = match pool.cooldown.as_secs() {
            0 => "none".to_owned(),
            _ => span(pool.cooldown),
        };
        line("cool-down", cooldown)?;
        let exclude =
            if spec.exclude.is_empty() { "nothing".to_owned() } else { spec.exclude.join(", ") };
        line("excluded", escape(&exclude).into_owned())?;
        let size: u128 =
            pool.intervals().map(|interval| interval.count()).fold(0, u128::saturating_add);
        line(
            "addresses",
            format!(
                "{} used, {} kept, {} reserved of {}  {} {}",
                count(u128::from(usage.used)),
                count(u128::from(usage.parked)),
                count(u128::from(usage.reserved)),
                count(size),
                bar(u128::from(usage.used), size, 20),
                per_cent(u128::from(usage.used), size),
            ),
        )?;
        if !shares.is_empty() {
            writeln!(out)?;
            let mut columns = Columns::new(
                &[("node", Align::Left), ("blocks", Align::Right), ("addresses", Align::Right)],
                0,
            );
            let mut rows: Vec<(String, &Share)> = shares
                .iter()
                .map(|(uuid, share)| (administer::name_of(&names, *uuid), share))
                .collect();
            rows.sort_by(|one, two| one.0.cmp(&two.0));
            for (node, share) in rows {
                columns.row([node, share.blocks.to_string(), count(share.addresses)]);
            }
            columns.print(out, context.colour)?;
        }
        if !usage.reservations.is_empty() {
            writeln!(out)?;
            let mut columns = Columns::new(
                &[("reserved", Align::Left), ("for", Align::Left), ("since", Align::Right)],
                0,
            );
            let now = output::now();
            for holding in usage.reservations.iter().take(SHOWN) {
                columns.row([
                    holding.addr.to_string(),
                    escape(&holding.record.p).into_owned(),
                    age(now, holding.record.t),
                ]);
            }
            columns.print(out, context.colour)?;
            let more = usage.reserved.saturating_sub(SHOWN as u64);
            if more > 0 {
                writeln!(out, "and {more} more; --json lists a thousand")?;
            }
        }
        Ok(Exit::Fine)
    }
}
