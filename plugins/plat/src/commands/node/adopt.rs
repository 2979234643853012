//! `plat node adopt`.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use etcd_pool::client::{Connection, Etcd, run};
use etcd_pool::identity;
use ipam_pool::admin::{AdminError, Adopt as Machine, Anew, Wanted};
use ipam_pool::key::Keys;
use ipam_pool::op::Operation;
use ipam_pool::ops;
use ipam_stores::{Database, PoolLedger, StateDirs};

use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::node::{Adopted, Anew as NewNode, Former};
use crate::output::{self, escape};
use crate::people;
use crate::problems::plain;

/// For how long etcd is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// The database that pools use, unless another one is named.
const DATABASE: &str = "plat.db";

/// Options of `plat node adopt`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run on the machine that is to be the node. Refused while this installation holds addresses. \
                  Exit status: 0, 3 if it cannot be adopted."
)]
pub(crate) struct Adopt {
    /// The node to go on as: its name, index or UUID; without it, the one of this host name.
    #[arg(value_name = "NODE", conflicts_with = "anew")]
    node: Option<String>,
    /// Makes this installation a new node instead: after it was removed, or for another cluster.
    #[arg(long)]
    anew: bool,
    /// Adopts it though its agent answers.
    #[arg(long)]
    force: bool,
    /// Does it without asking.
    #[arg(long)]
    yes: bool,
}

impl Command for Adopt {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let connection = cluster::connection(context)?;
        let keys = Keys::new(&connection.prefix);
        let mut etcd = Etcd::new(&connection)?;
        let facts = identity::facts(None, &connection)
            .map_err(|error| Failure::new(format!("cannot read /dev/urandom: {error}"), ""))?;
        let here = ops::Context { keys: keys.clone(), boot: identity::boot() };
        let mut ledger = ledger(context)?;
        if self.anew {
            let mut anew = Anew::new(here, facts);
            let node = done(&mut anew, &mut ledger, &mut etcd)?;
            if context.json {
                output::json(
                    out,
                    &NewNode {
                        uuid: &node.uuid,
                        former: Former { uuid: &node.former, node: &node.name },
                        removal_finished: node.finished,
                    },
                )?;
                return Ok(Exit::Fine);
            }
            writeln!(out, "this installation is a new node with its next contact: {}", node.uuid)?;
            if !node.finished {
                writeln!(
                    out,
                    "  the name {} is free for it when `plat node remove {}` has finished",
                    escape(&node.name),
                    escape(&node.name)
                )?;
            }
            return Ok(Exit::Fine);
        }
        let what = self.node.clone().unwrap_or_else(identity::host_name);
        if !self.yes {
            self.ask(context, &mut etcd, &keys, &what, &connection)?;
        }
        let mut adopt = Machine::new(here, facts, what, self.force);
        let adopted = done(&mut adopt, &mut ledger, &mut etcd)?;
        if context.json {
            output::json(
                out,
                &Adopted {
                    node: &adopted.name,
                    uuid: &adopted.uuid,
                    index: adopted.index,
                    blocks: adopted.blocks,
                    left: adopted.left.as_deref(),
                },
            )?;
            return Ok(Exit::Fine);
        }
        writeln!(
            out,
            "this installation is node {} (index {}) with its {} {}",
            escape(&adopted.name),
            adopted.index,
            adopted.blocks,
            if adopted.blocks == 1 { "block" } else { "blocks" },
        )?;
        writeln!(out, "  what the former installation gave out is freed with the next contact")?;
        if let Some(left) = &adopted.left {
            let left = escape(left);
            writeln!(
                out,
                "  it was node {left} before: `plat node remove {left}` removes that one"
            )?;
        }
        Ok(Exit::Fine)
    }
}

impl Adopt {
    /// Says what it means, and asks.
    fn ask(
        &self,
        context: &Context,
        etcd: &mut Etcd,
        keys: &Keys,
        what: &str,
        connection: &Connection,
    ) -> Result<(), Failure> {
        let shared = administer::look(etcd, keys, Wanted::default())?;
        let node = shared.node(what)?;
        let name = escape(node.name());
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(
            stderr,
            "This installation ({}) goes on as node {name}, with its name, index and {} blocks, in the cluster \
             at {}.",
            escape(&identity::host_name()),
            shared.blocks_of(&node.uuid).count(),
            escape(&connection.endpoints.join(", ")),
        );
        let _ = writeln!(
            stderr,
            "The former installation of that node must not run any more, nor any of its pods: if it does, two pods \
             may get the same address."
        );
        drop(stderr);
        let refused = || {
            Failure::new("nothing was changed", "plat node adopt NODE --yes does it without asking")
        };
        if context.json {
            return Err(refused());
        }
        if people::confirm(&format!("Go on as node {name}?"))? { Ok(()) } else { Err(refused()) }
    }
}

/// The ledger of this node.
fn ledger(context: &Context) -> Result<PoolLedger, Failure> {
    let survey = &context.survey;
    let state = StateDirs {
        durable: survey.at(&survey.state.durable),
        volatile: survey.at(&survey.state.volatile),
    };
    let usual = state.volatile.join(DATABASE);
    let path: PathBuf = match context.databases.as_slice() {
        [] => usual.clone(),
        [path] => survey.at(path),
        _ => return Err(Failure::new("several databases are named", "give one --database")),
    };
    let elsewhere = path != usual;
    Ok(PoolLedger::new(Database::new(path, state, context.lock_timeout), elsewhere))
}

/// Runs an operation on this node's ledger.
fn done<T, O>(operation: &mut O, ledger: &mut PoolLedger, etcd: &mut Etcd) -> Result<T, Failure>
where
    O: Operation<PoolLedger, Output = Result<T, AdminError>>,
{
    let until = Instant::now() + PATIENCE;
    let (ended, trouble) = run(operation, ledger, etcd, identity::now, until)?;
    match (ended, trouble) {
        (Err(AdminError::Away { .. }), Some(trouble)) => Err(Failure::new(
            plain(&trouble.message),
            "run it again; until then this node gives out nothing",
        )),
        (ended, _) => Ok(ended?),
    }
}
