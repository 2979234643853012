//! `plat pool reserve` and `plat pool unreserve`.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use ipam_core::addr::Addr;
use ipam_pool::admin::{Reservation, Reserve as Machine, Reserved};

use crate::administer;
use crate::cli::duration;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::pool::{AskedNode, Reservation as Told};
use crate::output::{self, escape};
use crate::people;

/// How often a node is looked at that was asked.
const POLL: Duration = Duration::from_millis(300);

/// Options of `plat pool reserve`.
#[derive(Debug, Args)]
#[command(
    after_help = "In a block of mode local the node that holds it does it; it is asked and waited for. Exit \
                  status: 0, 1 if it has not answered in time (it will do it later; run this again to see), 3 if \
                  it cannot be reserved."
)]
pub(crate) struct Reserve {
    /// The address.
    #[arg(value_name = "IP", value_parser = address)]
    ip: Addr,
    /// What for.
    #[arg(long = "for", value_name = "TEXT", default_value = "", hide_default_value = true)]
    why: String,
    /// For how long to wait for the node that holds the block.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

/// Options of `plat pool unreserve`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: as plat pool reserve.")]
pub(crate) struct Unreserve {
    /// The address.
    #[arg(value_name = "IP", value_parser = address)]
    ip: Addr,
    /// For how long to wait for the node that holds the block.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

fn address(text: &str) -> Result<Addr, String> {
    Addr::parse(text).ok_or_else(|| "an address is needed, such as 10.1.2.3 or fd00::5".to_owned())
}

impl Command for Reserve {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let what = Reservation::Reserve { why: self.why.clone() };
        run(context, out, self.ip, &what, self.timeout)
    }
}

impl Command for Unreserve {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        run(context, out, self.ip, &Reservation::End, self.timeout)
    }
}

fn run(
    context: &Context,
    out: &mut dyn Write,
    ip: Addr,
    what: &Reservation,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let space = cluster::space(context);
    let machine = || Machine::new(keys.clone(), space.to_owned(), ip, what.clone());
    let until = Instant::now() + timeout;
    let mut ended = administer::run(&mut machine(), &mut etcd)?;
    let asked = matches!(ended, Reserved::Waiting(_));
    if asked {
        let spinner = people::spinner(context, "waiting for the node that holds the block");
        while matches!(ended, Reserved::Waiting(_)) && Instant::now() < until {
            std::thread::sleep(POLL.min(timeout));
            ended = administer::run(&mut machine().asked(), &mut etcd)?;
        }
        spinner.finish_and_clear();
    }
    let reserves = matches!(what, Reservation::Reserve { .. });
    let state = if reserves { "reserved" } else { "free to be given out" };
    match ended {
        Reserved::Done { changed, pool, record, blocks_block, withheld } => {
            let changed = changed || asked;
            if context.json {
                output::json(
                    out,
                    &Told {
                        address: ip.to_string(),
                        space,
                        pool,
                        reserved: record.is_some(),
                        reason: record.as_ref().map(|record| record.p.as_str()),
                        changed,
                        waiting: None,
                        keeps_block: blocks_block,
                        withheld,
                    },
                )?;
                return Ok(Exit::Fine);
            }
            let already = if changed { "" } else { "already " };
            let why = record.as_ref().map(|record| record.p.as_str()).unwrap_or_default();
            let why = if why.is_empty() { String::new() } else { format!(" for {}", escape(why)) };
            writeln!(out, "{ip} of pool {} is {already}{state}{why}", escape(&pool))?;
            if blocks_block {
                writeln!(
                    out,
                    "  no node holds its block; of a pool of mode local none will, as long as it is reserved"
                )?;
            }
            if withheld && reserves {
                writeln!(out, "  the pool never gives it out anyway")?;
            }
            Ok(Exit::Fine)
        }
        Reserved::Waiting(waiting) => {
            let names = administer::names(&mut etcd, &keys).unwrap_or_default();
            let node = administer::name_of(&names, Some(&waiting.uuid));
            if context.json {
                output::json(
                    out,
                    &Told {
                        address: ip.to_string(),
                        space,
                        pool: waiting.pool,
                        reserved: !reserves,
                        reason: None,
                        changed: false,
                        waiting: Some(AskedNode {
                            node: names.get(&waiting.uuid).map(String::as_str),
                            uuid: &waiting.uuid,
                            index: waiting.index,
                        }),
                        keeps_block: false,
                        withheld: false,
                    },
                )?;
                return Ok(Exit::Warning);
            }
            writeln!(
                out,
                "{ip} lies in a block of node {node}, which was asked and has not answered yet; it does when a \
                 pod is started or stopped there, or its agent runs"
            )?;
            writeln!(
                out,
                "  run this again to see whether it has, or take it back with `plat pool {}`",
                if reserves { "unreserve" } else { "reserve" }
            )?;
            Ok(Exit::Warning)
        }
    }
}
