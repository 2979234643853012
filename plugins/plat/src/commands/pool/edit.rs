//! `plat pool edit`.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use ipam_pool::admin::{AdminError, Change, PoolPatch};

use super::change::{ModeName, changed, differences, note_autonomy, seconds, told, without_etcd};
use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::output::{self, escape};
use crate::people;

/// Options of `plat pool edit`.
#[derive(Debug, Args)]
#[command(
    after_help = "`none` and `default` take a value away. What is in use is not taken away: addresses that are \
                  held, blocks that nodes have; such a change is refused with a list. The mode, and the prefix \
                  length of blocks, can be changed while no node holds a block of the pool. Exit status: 0, 1 if \
                  nodes still have to learn of it, 3 if it cannot be changed."
)]
pub(crate) struct Edit {
    /// The pool.
    #[arg(value_name = "POOL")]
    name: String,
    /// Its IPv4 addresses, or none.
    #[arg(long, value_name = "NETWORK", value_parser = or_none)]
    cidr: Option<Taken<String>>,
    /// Its IPv6 addresses, or none.
    #[arg(long, value_name = "NETWORK", value_parser = or_none)]
    cidr6: Option<Taken<String>>,
    /// The prefix length of IPv4 blocks, or default.
    #[arg(long, value_name = "LENGTH", value_parser = or_default::<u8>)]
    block: Option<Taken<u8>>,
    /// The prefix length of IPv6 blocks, or default.
    #[arg(long, value_name = "LENGTH", value_parser = or_default::<u8>)]
    block6: Option<Taken<u8>>,
    /// How addresses are given out.
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeName>,
    /// Whether addresses of a node's block are never lent to another node.
    #[arg(long, value_name = "BOOL")]
    strict: Option<bool>,
    /// How many blocks of a family a node may hold, or default.
    #[arg(long, value_name = "N", value_parser = or_default::<u32>)]
    max_blocks: Option<Taken<u32>>,
    /// For how long a freed address rests.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    cooldown: Option<u64>,
    /// none, first, block, or an address for each family with a comma between them.
    #[arg(long, value_name = "RULE")]
    gateway: Option<String>,
    /// For how long a node may give out addresses of mode local without etcd, unlimited or default. Blocks that
    /// are held already keep the time that they were claimed with.
    #[arg(long, value_name = "TIME", value_parser = autonomy_or_default)]
    autonomy: Option<Taken<u64>>,
    /// Never gives out this address, network or FIRST-LAST any more; can be given several times.
    #[arg(long, value_name = "ADDRESSES")]
    exclude: Vec<String>,
    /// Ends an exclude; can be given several times.
    #[arg(long, value_name = "ADDRESSES")]
    no_exclude: Vec<String>,
}

/// A value, or none.
#[derive(Clone, Debug)]
struct Taken<T>(Option<T>);

fn or_none(text: &str) -> Result<Taken<String>, String> {
    Ok(Taken(Some(text.to_owned()).filter(|text| text != "none")))
}

fn or_default<T: std::str::FromStr>(text: &str) -> Result<Taken<T>, String> {
    if text == "default" {
        return Ok(Taken(None));
    }
    let number = text.parse().map_err(|_| "a number is needed, or default".to_owned())?;
    Ok(Taken(Some(number)))
}

fn autonomy_or_default(text: &str) -> Result<Taken<u64>, String> {
    if text == "default" { Ok(Taken(None)) } else { without_etcd(text).map(|s| Taken(Some(s))) }
}

impl Command for Edit {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        fn inner<T: Clone>(value: &Option<Taken<T>>) -> Option<Option<T>> {
            value.as_ref().map(|taken| taken.0.clone())
        }
        let patch = PoolPatch {
            cidr: inner(&self.cidr),
            cidr6: inner(&self.cidr6),
            block: inner(&self.block),
            block6: inner(&self.block6),
            mode: self.mode.map(Into::into),
            strict: self.strict,
            max_blocks: inner(&self.max_blocks),
            cooldown: self.cooldown,
            gateway: self
                .gateway
                .clone()
                .map(|rule| if rule == "none" { String::new() } else { rule }),
            autonomy: inner(&self.autonomy),
            exclude: self.exclude.clone(),
            include: self.no_exclude.clone(),
        };
        let name = escape(&self.name);
        if patch.is_empty() {
            return Err(Failure::new(
                format!("nothing is to be changed of pool {name}"),
                "give what is to be another one, such as --max-blocks 10; plat pool edit --help",
            ));
        }
        let (mut etcd, keys) = cluster::etcd(context)?;
        let change = Change::Edit { name: self.name.clone(), patch };
        let changed = match changed(context, &mut etcd, &keys, change)? {
            Err(AdminError::InTheWay(way)) => {
                return administer::refuse(context, out, &mut etcd, &keys, &way);
            }
            ended => ended?,
        };
        let exit = if changed.late.is_empty() { Exit::Fine } else { Exit::Warning };
        if context.json {
            output::json(out, &told(context, &changed))?;
            return Ok(exit);
        }
        if !changed.changed {
            writeln!(out, "pool {name} is so already")?;
            return Ok(exit);
        }
        writeln!(out, "pool {name} is changed")?;
        for (key, from, to) in differences(&changed) {
            writeln!(out, "  {key:<10} {} -> {}", escape(&from), escape(&to))?;
        }
        if !changed.late.is_empty() {
            let names = administer::names(&mut etcd, &keys).unwrap_or_default();
            let nodes: BTreeSet<String> = changed
                .late
                .iter()
                .map(|found| administer::name_of(&names, found.uuid.as_deref()))
                .collect();
            let shown: Vec<&str> = nodes.iter().take(10).map(String::as_str).collect();
            let more = if nodes.len() > 10 { ", ..." } else { "" };
            writeln!(
                out,
                "{} of mode local in what is excluded: {}{more} may give out such addresses until the next contact with etcd; \
                 a pod that has one by then keeps it",
                if changed.late.len() == 1 {
                    "1 block".to_owned()
                } else {
                    format!("{} blocks", changed.late.len())
                },
                shown.join(", "),
            )?;
        }
        note_autonomy(&changed);
        if self.autonomy.is_some() {
            people::warn(&[
                "blocks that nodes hold keep the time without etcd that they were claimed with"
                    .to_owned(),
            ]);
        }
        Ok(exit)
    }
}
