//! `plat pool create` and `plat pool rm`, and what all changes of pools have in common.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, ValueEnum};
use etcd_pool::client::Etcd;
use etcd_pool::identity;
use ipam_core::addr::Family;
use ipam_pool::admin::{AdminError, Change, ChangePools, Changed};
use ipam_pool::key::Keys;
use ipam_pool::pool::{Pool, PoolSpec};
use ipam_pool::record::Mode;

use super::{autonomy, document, part};
use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::pool::{ChangedPool, PoolDifference};
use crate::output::{self, escape};
use crate::people;

/// A mode on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ModeName {
    /// Addresses come from the node's own store; etcd learns of them afterwards.
    Local,
    /// etcd has the record before a pod gets its address.
    Sync,
}

impl From<ModeName> for Mode {
    fn from(mode: ModeName) -> Self {
        match mode {
            ModeName::Local => Self::Local,
            ModeName::Sync => Self::Sync,
        }
    }
}

/// A duration in whole seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let duration = crate::cli::duration(text)?;
    if duration.subsec_nanos() > 0 {
        return Err("whole seconds are needed, such as 30s or 5m".to_owned());
    }
    Ok(duration.as_secs())
}

/// For how long a node may go on without etcd.
pub(super) fn without_etcd(text: &str) -> Result<u64, String> {
    if matches!(text, "unlimited" | "0") {
        return Ok(0);
    }
    match seconds(text) {
        Ok(0) | Err(_) => Err("a time is needed, such as 30m, 24h, or unlimited".to_owned()),
        Ok(seconds) => Ok(seconds),
    }
}

/// Options of `plat pool create`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first pool of all also gives the data in etcd a name. A pool that is there already, with \
                  the same description, is left as it is. Exit status: 0, 3 if the pool cannot be made."
)]
pub(crate) struct Create {
    /// The pool: letters, digits, '_', '.' and '-'.
    #[arg(value_name = "POOL")]
    name: String,
    /// Its IPv4 addresses, such as 10.64.0.0/12.
    #[arg(long, value_name = "NETWORK", required_unless_present = "cidr6")]
    cidr: Option<String>,
    /// Its IPv6 addresses, such as fd00:64::/96.
    #[arg(long, value_name = "NETWORK")]
    cidr6: Option<String>,
    /// The prefix length of IPv4 blocks [default: 26, or the pool's if that is longer].
    #[arg(long, value_name = "LENGTH")]
    block: Option<u8>,
    /// The prefix length of IPv6 blocks [default: 122, or the pool's if that is longer].
    #[arg(long, value_name = "LENGTH")]
    block6: Option<u8>,
    /// How addresses are given out.
    #[arg(long, value_name = "MODE", default_value = "local")]
    mode: ModeName,
    /// Never lends addresses of a node's block to another node.
    #[arg(long)]
    strict: bool,
    /// How many blocks of a family a node may hold [default: 20].
    #[arg(long, value_name = "N")]
    max_blocks: Option<u32>,
    /// For how long a freed address rests.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    cooldown: u64,
    /// none, first (of the pool), block (the first of each block), or an address for each family with a comma
    /// between them.
    #[arg(long, value_name = "RULE", default_value = "none")]
    gateway: String,
    /// Never gives out this address, network or FIRST-LAST; can be given several times.
    #[arg(long, value_name = "ADDRESSES")]
    exclude: Vec<String>,
    /// For how long a node may give out addresses of mode local without etcd, or unlimited [default: 24h].
    #[arg(long, value_name = "TIME", value_parser = without_etcd)]
    autonomy: Option<u64>,
}

impl Command for Create {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let spec = PoolSpec {
            name: self.name.clone(),
            cidr: self.cidr.clone(),
            cidr6: self.cidr6.clone(),
            block: self.block,
            block6: self.block6,
            mode: self.mode.into(),
            strict: self.strict,
            max_blocks: self.max_blocks,
            cooldown: self.cooldown,
            gateway: if self.gateway == "none" { String::new() } else { self.gateway.clone() },
            exclude: self.exclude.clone(),
            autonomy: self.autonomy,
            ..PoolSpec::default()
        };
        // What is wrong with it is told without etcd.
        let pool = Pool::try_from(&spec).map_err(AdminError::from)?;
        let (mut etcd, keys) = cluster::etcd(context)?;
        let change = Change::Create(spec);
        let changed = match changed(context, &mut etcd, &keys, change)? {
            Err(AdminError::InTheWay(way)) => {
                return administer::refuse(context, out, &mut etcd, &keys, &way);
            }
            ended => ended?,
        };
        if context.json {
            output::json(out, &told(context, &changed))?;
        } else if changed.changed {
            let space = cluster::space(context);
            let parts: Vec<String> = [Family::V4, Family::V6]
                .into_iter()
                .filter(|family| pool.part(*family).is_some())
                .map(|family| part(&pool, family))
                .collect();
            writeln!(
                out,
                "pool {} is made in space {}: {}, mode {}",
                escape(&pool.name),
                escape(space),
                parts.join(" and "),
                pool.mode.as_str()
            )?;
        } else {
            writeln!(out, "pool {} is there already, just so", escape(&pool.name))?;
        }
        note_autonomy(&changed);
        Ok(Exit::Fine)
    }
}

/// Options of `plat pool rm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Refused while a node holds a block of it, with a list of these nodes. Exit status: 0, 3 if it \
                  cannot be removed."
)]
pub(crate) struct Rm {
    /// The pool.
    #[arg(value_name = "POOL")]
    name: String,
    /// Removes its reservations with it, without asking.
    #[arg(long)]
    yes: bool,
}

impl Command for Rm {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let change = |reservations| Change::Remove { name: self.name.clone(), reservations };
        let mut ended = changed(context, &mut etcd, &keys, change(self.yes))?;
        if let Err(AdminError::HasReservations { reserved, .. }) = &ended {
            let list: Vec<String> = reserved.iter().take(10).map(ToString::to_string).collect();
            people::warn(&list);
            let question = format!(
                "Remove pool {} with {} that are reserved?",
                escape(&self.name),
                people::addresses(reserved.len())
            );
            if context.json || !people::confirm(&question)? {
                return Err(Failure::new("nothing was changed", "--yes does it without asking"));
            }
            ended = changed(context, &mut etcd, &keys, change(true))?;
        }
        let changed = match ended {
            Err(AdminError::InTheWay(way)) => {
                return administer::refuse(context, out, &mut etcd, &keys, &way);
            }
            ended => ended?,
        };
        if context.json {
            output::json(out, &told(context, &changed))?;
            return Ok(Exit::Fine);
        }
        write!(out, "pool {} is removed", escape(&self.name))?;
        match changed.ended {
            0 => writeln!(out)?,
            count => writeln!(out, ", and {} that were reserved", people::addresses(count))?,
        }
        Ok(Exit::Fine)
    }
}

/// Changes the pools of the space that is meant.
pub(super) fn changed(
    context: &Context,
    etcd: &mut Etcd,
    keys: &Keys,
    change: Change,
) -> Result<Result<Changed, AdminError>, Failure> {
    let name = identity::nonce()
        .map_err(|error| Failure::new(format!("cannot read /dev/urandom: {error}"), ""))?;
    let space = cluster::space(context).to_owned();
    administer::attempt(&mut ChangePools::new(keys.clone(), space, change, name), etcd)
}

/// A change, for programs.
pub(super) fn told<'a>(context: &'a Context, changed: &'a Changed) -> ChangedPool<'a> {
    // Nodes are told by their UUIDs here: their names would have to be read.
    const NAMES: &BTreeMap<String, String> = &BTreeMap::new();
    let space = cluster::space(context);
    let differences =
        differences(changed).into_iter().map(|(key, from, to)| PoolDifference { key, from, to });
    ChangedPool {
        changed: changed.changed,
        pool: changed.after.as_ref().map(|spec| document(space, spec)),
        differences: differences.collect(),
        late: changed.late.iter().map(|found| administer::block(found, NAMES)).collect(),
        ended: changed.ended,
    }
}

/// In what a pool has changed: the key, before, now.
pub(super) fn differences(changed: &Changed) -> Vec<(&'static str, String, String)> {
    let pool = |spec: &Option<PoolSpec>| spec.as_ref().and_then(|spec| Pool::try_from(spec).ok());
    let (Some(before), Some(after)) = (pool(&changed.before), pool(&changed.after)) else {
        return Vec::new();
    };
    before.differences(&after).into_iter().map(|d| (d.key, d.one, d.two)).collect()
}

/// Says what a pool means whose nodes may go on without etcd for ever.
pub(super) fn note_autonomy(changed: &Changed) {
    let pool = changed.after.as_ref().and_then(|spec| Pool::try_from(spec).ok());
    if let Some(pool) = pool.filter(|pool| pool.autonomy == 0 && changed.changed) {
        people::warn(&[format!(
            "nodes may use pool {} without etcd {}: what a dead node holds comes back only with \
             `plat node remove NODE --node-is-off`",
            pool.name,
            autonomy(0)
        )]);
    }
}
