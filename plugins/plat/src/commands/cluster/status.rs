//! `plat status --cluster`.

use std::io::Write;
use std::time::Duration;

use etcd_pool::client::Member;
use ipam_pool::record::SCHEMA;
use ipam_pool::view::{self, Life, NodeView, PoolView, Scope, Snapshot};
use plat_agent::metrics::Samples;

use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::cluster::{
    BadPool, ClusterStatus, Member as MemberLine, Meta, NodeLine, PoolAddresses, PoolBlocks,
    PoolLine,
};
use crate::exposition;
use crate::output::{self, Align, Colour, Columns, bar, count, escape, paint, per_cent, whole};
use crate::reading;

/// For how long a member is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs it.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn run(
    context: &Context,
    pool: Option<&str>,
    limits: (u8, u8),
    prometheus: bool,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let members = etcd.members(PATIENCE);
    let snapshot = match reading::read(context, &mut etcd, &keys, Scope::All) {
        Ok(snapshot) => snapshot,
        Err(failure) => {
            // The members are the answer to the question that follows.
            if prometheus {
                let samples = exposition::members(&members, Exit::Failed);
                out.write_all(samples.plain_text().as_bytes())?;
            } else if !context.json {
                print_members(&members, context.colour, out)?;
                out.flush()?;
            }
            return Err(failure);
        }
    };
    let report = Report::new(&snapshot, &members, pool, context.space.as_deref(), limits);
    if let (Some(pool), true) = (pool, report.pools.is_empty()) {
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
    if prometheus {
        out.write_all(report.metrics().plain_text().as_bytes())?;
    } else if context.json {
        output::json(out, &report.document())?;
    } else {
        report.print(context.colour, out)?;
    }
    Ok(report.exit())
}

/// What is told.
struct Report<'a> {
    snapshot: &'a Snapshot,
    members: &'a [Member],
    pools: Vec<(PoolView<'a>, Exit)>,
    nodes: Vec<NodeView<'a>>,
}

impl<'a> Report<'a> {
    fn new(
        snapshot: &'a Snapshot,
        members: &'a [Member],
        pool: Option<&str>,
        space: Option<&str>,
        limits: (u8, u8),
    ) -> Self {
        let mut pools: Vec<(PoolView<'a>, Exit)> = view::pools(snapshot)
            .into_iter()
            .filter(|view| pool.is_none_or(|name| view.pool.name == name))
            .filter(|view| space.is_none_or(|name| view.space == name))
            .map(|view| {
                let level = level(&view, limits);
                (view, level)
            })
            .collect();
        pools.sort_by_key(|(view, _)| (view.space, &view.pool.name));
        Self { snapshot, members, pools, nodes: view::nodes(snapshot) }
    }

    fn is_newer(&self) -> bool {
        self.snapshot.meta.as_ref().is_some_and(|meta| meta.record.min_reader > SCHEMA)
    }

    fn lives(&self, life: Life) -> usize {
        self.nodes.iter().filter(|node| node.life == life).count()
    }

    fn exit(&self) -> Exit {
        let pools = self.pools.iter().map(|(_, level)| *level).max().unwrap_or(Exit::Fine);
        let members = self.members.iter().map(member_level).max().unwrap_or(Exit::Fine);
        let broken = self.is_newer()
            || self.snapshot.spaces.values().any(|space| !space.bad_pools.is_empty());
        let odd = !self.snapshot.unreadable.is_empty() || self.lives(Life::Missing) > 0;
        let rest = if broken {
            Exit::Critical
        } else if odd {
            Exit::Warning
        } else {
            Exit::Fine
        };
        pools.max(members).max(rest)
    }

    fn print(&self, colours: bool, out: &mut dyn Write) -> Result<(), Failure> {
        print_members(self.members, colours, out)?;
        if let Some(meta) = &self.snapshot.meta {
            let record = &meta.record;
            let line = format!(
                "data {} (schema {}, restored {} times), {} keys at revision {}",
                escape(&record.cluster),
                record.schema,
                record.epoch,
                self.snapshot.count,
                self.snapshot.to
            );
            writeln!(out, "{line}")?;
        }
        if self.is_newer() {
            let line = "its data is of a later version: what follows may be wrong";
            writeln!(out, "{}", paint(line, Colour::Red, colours))?;
        }
        let mut nodes = vec![format!("{} alive", self.lives(Life::Alive))];
        nodes.push(format!("{} without an agent that tells", self.lives(Life::Unknown)));
        for (life, what) in
            [(Life::Removed, "removed and held back"), (Life::Missing, "named but not registered")]
        {
            if self.lives(life) > 0 {
                nodes.push(format!("{} {what}", self.lives(life)));
            }
        }
        let registered = self.snapshot.nodes.len();
        writeln!(
            out,
            "{registered} {}: {}",
            if registered == 1 { "node" } else { "nodes" },
            nodes.join(", ")
        )?;
        if !self.snapshot.unreadable.is_empty() {
            let line = format!(
                "{} keys cannot be read: `plat check --cluster` tells which",
                self.snapshot.unreadable.len()
            );
            writeln!(out, "{}", paint(&line, Colour::Yellow, colours))?;
        }
        writeln!(out)?;
        for (name, space) in &self.snapshot.spaces {
            for (pool, why) in &space.bad_pools {
                let line =
                    format!("pool {}/{} is wrong: {}", escape(name), escape(pool), escape(why));
                writeln!(out, "{}", paint(&line, Colour::Red, colours))?;
            }
        }
        if self.pools.is_empty() {
            writeln!(out, "there are no pools; `plat pool create` makes one")?;
            return Ok(());
        }
        let right = |title| (title, Align::Right);
        let mut columns = Columns::new(
            &[
                ("pool", Align::Left),
                ("addresses", Align::Left),
                ("mode", Align::Left),
                ("", Align::Left),
                right("used"),
                right(""),
                right("free"),
                right("parked"),
                right("reserved"),
                right("withheld"),
                right("blocks"),
                right("claimed"),
                right("free"),
            ],
            0,
        );
        for (view, level) in &self.pools {
            columns.coloured_row(cells(view, *level));
        }
        columns.print(out, colours)?;
        Ok(())
    }

    fn metrics(&self) -> Samples {
        let mut samples = exposition::members(self.members, self.exit());
        for (view, _) in &self.pools {
            let pool = format!("{}/{}", view.space, view.pool.name);
            let counts = [
                ("used", u128::from(view.counts.used)),
                ("parked", u128::from(view.counts.parked)),
                ("reserved", u128::from(view.counts.reserved)),
                ("withheld", view.withheld),
                ("free", view.free),
            ];
            let claimed = u128::from(view.claimed);
            let free = view.part.blocks().saturating_sub(claimed);
            let blocks = [("claimed", claimed), ("free", free)];
            let cidr = view.part.cidr.to_string();
            exposition::pool(&mut samples, (&pool, &cidr), &counts, &blocks);
        }
        let lives = [Life::Alive, Life::Unknown, Life::Removed, Life::Gone, Life::Missing];
        for life in lives {
            exposition::nodes(&mut samples, life_word(life), self.lives(life));
        }
        samples
    }

    fn document(&self) -> ClusterStatus<'_> {
        let snapshot = self.snapshot;
        let nodes = self.nodes.iter().map(|node| NodeLine {
            uuid: node.uuid,
            name: node.name,
            index: node.index,
            life: life_word(node.life),
            blocks: node.blocks,
            used: node.used,
        });
        let bad = snapshot.spaces.iter().flat_map(|(name, space)| {
            space.bad_pools.iter().map(move |(pool, why)| BadPool {
                space: name,
                pool,
                problem: why,
            })
        });
        ClusterStatus {
            revision: snapshot.to,
            consistent: !snapshot.is_torn(),
            keys: snapshot.count,
            data: snapshot.meta.as_ref().map(|meta| Meta {
                name: &meta.record.cluster,
                schema: meta.record.schema,
                epoch: meta.record.epoch,
            }),
            members: self.members.iter().map(member).collect(),
            nodes: nodes.collect(),
            pools: self.pools.iter().map(|(view, level)| pool(view, *level)).collect(),
            bad_pools: bad.collect(),
            unreadable: snapshot.unreadable.len(),
        }
    }
}

/// The word for a node's life.
pub(crate) const fn life_word(life: Life) -> &'static str {
    match life {
        Life::Alive => "alive",
        Life::Unknown => "unknown",
        Life::Removed => "removed",
        Life::Gone => "gone",
        Life::Missing => "missing",
    }
}

/// How many of its addresses could ever be given out.
fn size(view: &PoolView<'_>) -> u128 {
    view.part.cidr.network().count().saturating_sub(view.withheld)
}

fn taken(view: &PoolView<'_>) -> u128 {
    size(view).saturating_sub(view.free)
}

fn level(view: &PoolView<'_>, (warn, critical): (u8, u8)) -> Exit {
    let (taken, size) = (taken(view), size(view));
    let above = |limit: u8| {
        output::scaled(taken, size, 1_000_000) > u128::from(limit).saturating_mul(10_000)
    };
    if view.free == 0 || above(critical) {
        Exit::Critical
    } else if above(warn) || u128::from(view.claimed) >= view.part.blocks() {
        Exit::Warning
    } else {
        Exit::Fine
    }
}

/// The space before the name, where it is not the usual one.
pub(crate) fn pool_name(space: &str, pool: &str) -> String {
    if space == cluster::DEFAULT_SPACE { pool.to_owned() } else { format!("{space}/{pool}") }
}

fn cells(view: &PoolView<'_>, level: Exit) -> [(String, Option<Colour>); 13] {
    let colour = match level {
        Exit::Fine => Colour::Green,
        Exit::Warning => Colour::Yellow,
        _ => Colour::Red,
    };
    let (taken, size) = (taken(view), size(view));
    let small = |number: u64| count(u128::from(number));
    [
        (escape(&pool_name(view.space, &view.pool.name)).into_owned(), None),
        (view.part.cidr.to_string(), None),
        (view.pool.mode.as_str().to_owned(), None),
        (bar(taken, size, 10), Some(colour)),
        (small(view.counts.used), None),
        (per_cent(taken, size), Some(colour)),
        (count(view.free), None),
        (small(view.counts.parked), None),
        (small(view.counts.reserved), None),
        (count(view.withheld), None),
        (format!("{} of /{}", count(view.part.blocks()), view.part.block), None),
        (small(view.claimed), None),
        (count(view.part.blocks().saturating_sub(u128::from(view.claimed))), None),
    ]
}

fn pool<'a>(view: &'a PoolView<'_>, level: Exit) -> PoolLine<'a> {
    PoolLine {
        space: view.space,
        pool: &view.pool.name,
        cidr: view.part.cidr.to_string(),
        mode: view.pool.mode.as_str(),
        level: level.status(),
        addresses: PoolAddresses {
            size: whole(size(view)),
            used: view.counts.used,
            parked: view.counts.parked,
            reserved: view.counts.reserved,
            free: whole(view.free),
            withheld: whole(view.withheld),
        },
        blocks: PoolBlocks {
            prefix: view.part.block,
            all: whole(view.part.blocks()),
            claimed: view.claimed,
            free: whole(view.part.blocks().saturating_sub(u128::from(view.claimed))),
        },
        first: view.part.cidr.network().first().to_string(),
        last: view.part.cidr.network().last().to_string(),
    }
}

fn member_level(member: &Member) -> Exit {
    if member.alarms.iter().any(|alarm| alarm == "NOSPACE" || alarm == "CORRUPT") {
        Exit::Critical
    } else if member.problem.is_some() || !member.alarms.is_empty() {
        Exit::Warning
    } else {
        Exit::Fine
    }
}

fn member(member: &Member) -> MemberLine<'_> {
    MemberLine {
        endpoint: &member.endpoint,
        problem: member.problem.as_deref(),
        version: &member.version,
        size: member.size,
        leader: member.leader,
        alarms: &member.alarms,
    }
}

fn print_members(members: &[Member], colours: bool, out: &mut dyn Write) -> std::io::Result<()> {
    for member in members {
        let mut text = format!("etcd {}  ", escape(&member.endpoint));
        let colour = match &member.problem {
            Some(problem) => {
                text.push_str(&escape(problem));
                Some(Colour::Red)
            }
            None => {
                text.push_str(&format!("{}, {}", escape(&member.version), bytes(member.size)));
                if member.leader {
                    text.push_str(", leader");
                }
                None
            }
        };
        match colour {
            Some(colour) => write!(out, "{}", paint(&text, colour, colours))?,
            None => write!(out, "{text}")?,
        }
        for alarm in &member.alarms {
            write!(out, ", {}", paint(&escape(alarm), Colour::Red, colours))?;
            if alarm == "NOSPACE" {
                write!(
                    out,
                    " (nothing can be written: compact, defragment, `etcdctl alarm disarm`)"
                )?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn bytes(size: i64) -> String {
    let size = u64::try_from(size).unwrap_or_default();
    match size {
        0..10_000 => format!("{size} B"),
        10_000..10_000_000 => format!("{} kB", size / 1000),
        _ => format!("{} MB", size / 1_000_000),
    }
}
