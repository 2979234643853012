//! `plat explain`.

use std::io::Write;

use clap::Args;
use ipam_core::addr::Addr;
use ipam_pool::view::{self, Explained, NextOwner, Scope, Snapshot, Standing};

use super::cluster::status::{life_word, pool_name};
use super::cluster::who;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::cluster::{ExceptionLine, ExplainedBlock, Explanation, NextLine};
use crate::output::{self, age, escape, instant};
use crate::reading;

/// Options of `plat explain`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 1 if it lies in no pool.")]
pub(crate) struct Explain {
    /// The address.
    #[arg(value_parser = address)]
    address: Addr,
}

fn address(text: &str) -> Result<Addr, String> {
    Addr::parse(text).ok_or_else(|| "an address is needed, such as 10.64.3.69".to_owned())
}

impl Command for Explain {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let space = cluster::space(context).to_owned();
        let scope = Scope::Address { space: space.clone(), addr: self.address };
        let snapshot = reading::read(context, &mut etcd, &keys, scope)?;
        let explained = view::explain(&snapshot, &space, self.address);
        if context.json {
            output::json(out, &document(&snapshot, &explained))?;
        } else {
            print(&snapshot, &explained, output::now(), out)?;
        }
        Ok(if explained.standing == Standing::NoPool { Exit::Warning } else { Exit::Fine })
    }
}

fn print(
    snapshot: &Snapshot,
    explained: &Explained<'_>,
    now: u64,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let addr = explained.addr;
    match explained.used {
        Some(used) => who::print(snapshot, explained.space, used, now, out)?,
        None => {
            let what = match explained.standing {
                Standing::Gateway => "is the gateway: it is never given out",
                Standing::Excluded => "is excluded: it is never given out",
                Standing::NetworkEnd => "is kept by its network: it is never given out",
                Standing::Free => "is free, as far as etcd knows",
                _ => "lies in no pool",
            };
            writeln!(out, "{addr} {what}")?;
            if let Some(pool) = explained.pool {
                let name = pool_name(explained.space, &pool.name);
                writeln!(out, "  {:<10} {}", "pool", escape(&name))?;
            }
        }
    }
    let mut line = |what: &str, text: &str| writeln!(out, "  {what:<10} {}", escape(text));
    if let Some((cidr, block)) = explained.block {
        let record = &block.record;
        let holder = record.u.as_deref().map_or("nobody", |uuid| snapshot.name_of(uuid));
        let life = match explained.owner_life.map(life_word) {
            None | Some("alive") => String::new(),
            Some("unknown") => " (no agent tells whether it runs)".to_owned(),
            Some(life) => format!(" ({life})"),
        };
        line("block", &format!("{cidr} of {holder}{life}"))?;
        line("claimed", &format!("{} ({} ago)", instant(record.t), age(now, record.t)))?;
        line("fence", &block.created.to_string())?;
        line("mode", record.m.as_str())?;
    } else if let Some(place) = explained.place {
        line("block", &format!("{place}, which nobody has claimed"))?;
    }
    if let Some(exception) = explained.exception {
        let node = snapshot.name_of(&exception.record.u);
        line("exception", &format!("traffic to it goes to {node}, index {}", exception.record.n))?;
    }
    if let Some(used) = explained.used {
        line("revision", &used.modified.to_string())?;
    }
    let what = if explained.used.is_some() { "after that" } else { "next" };
    match &explained.next {
        NextOwner::Holder { uuid, lends } => {
            let lends =
                if *lends { "; other nodes may borrow it when the pool is full" } else { "" };
            line(what, &format!("a pod on {}{lends}", snapshot.name_of(uuid)))?;
        }
        NextOwner::Claimer { nearest } if nearest.is_empty() => {
            line(what, "nobody: there is no node")?;
        }
        NextOwner::Claimer { nearest } => {
            let names: Vec<String> = nearest
                .iter()
                .map(|(uuid, passed)| {
                    format!(
                        "{} (passes {} blocks before)",
                        snapshot.name_of(uuid),
                        output::count(*passed)
                    )
                })
                .collect();
            line(
                what,
                &format!("the node that claims the block, most likely {}", names.join(", ")),
            )?;
        }
        NextOwner::Pod => line(what, "its pod, when it comes back; then as any free address")?,
        NextOwner::Nobody => line(what, "nobody, as things are")?,
    }
    Ok(())
}

fn document<'a>(snapshot: &'a Snapshot, explained: &'a Explained<'_>) -> Explanation<'a> {
    let block = explained.block.as_ref().map(|(cidr, block)| ExplainedBlock {
        cidr: cidr.to_string(),
        node: block.record.u.as_deref().map(|uuid| snapshot.name_of(uuid)),
        uuid: block.record.u.as_deref(),
        index: block.record.n,
        life: explained.owner_life.map(life_word),
        mode: block.record.m.as_str(),
        fence: block.created,
        since: block.record.t,
    });
    let next = match &explained.next {
        NextOwner::Holder { uuid, lends } => NextLine {
            kind: "holder",
            nodes: Some(vec![snapshot.name_of(uuid)]),
            lends: Some(*lends),
        },
        NextOwner::Claimer { nearest } => NextLine {
            kind: "claimer",
            nodes: Some(nearest.iter().map(|(uuid, _)| snapshot.name_of(uuid)).collect()),
            lends: None,
        },
        NextOwner::Pod => NextLine { kind: "pod", ..NextLine::default() },
        NextOwner::Nobody => NextLine { kind: "nobody", ..NextLine::default() },
    };
    let exception = explained.exception.map(|seen| &seen.record);
    Explanation {
        revision: snapshot.to,
        space: explained.space,
        address: explained.addr.to_string(),
        standing: explained.standing.as_str(),
        pool: explained.pool.map(|pool| pool.name.as_str()),
        place: explained.place.map(|place| place.to_string()),
        block,
        exception: exception.map(|record| ExceptionLine { index: record.n, uuid: &record.u }),
        record: explained.used.map(|used| who::document(snapshot, explained.space, used)),
        next,
    }
}
