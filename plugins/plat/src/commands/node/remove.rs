//! `plat node remove`.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use etcd_pool::identity;
use ipam_pool::admin::{
    CancelRemoval, Cluster, LEASE, NodeEntry, Removal, RemovalState, RemoveNode, RemoveOptions,
    Wanted, hold_of,
};

use crate::administer;
use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::node::{KeptNode, RemovedNode};
use crate::output::{self, escape, instant, span};
use crate::people;

/// At most for so long it sleeps before it looks again.
const NAP: Duration = Duration::from_secs(30);

/// Options of `plat node remove`.
#[derive(Debug, Args)]
#[command(
    after_help = "The node gets nothing any more at once. What it holds comes back after the hold: as long as it \
                  may go on without etcd by itself, and some more; then run this again, or give --wait. Nothing \
                  stops the node's pods. It can be run again after any failure. Exit status: 0 the node is gone, \
                  1 the hold lasts, 3 it cannot be removed."
)]
pub(crate) struct Remove {
    /// The node: its name, index or UUID.
    #[arg(value_name = "NODE")]
    node: String,
    /// The machine is switched off: it gives out nothing. Shortens the hold to a minute.
    #[arg(long)]
    node_is_off: bool,
    /// Removes it though its agent answers.
    #[arg(long)]
    force: bool,
    /// Waits for the end of the hold and finishes.
    #[arg(long)]
    wait: bool,
    /// Keeps the node after all; as long as nothing was given back.
    #[arg(long, conflicts_with_all = ["node_is_off", "force", "wait"])]
    cancel: bool,
    /// Does it without asking.
    #[arg(long)]
    yes: bool,
}

impl Command for Remove {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        if self.cancel {
            let name =
                administer::run(&mut CancelRemoval::new(keys, self.node.clone()), &mut etcd)?;
            if context.json {
                output::json(out, &KeptNode { node: name, state: "kept" })?;
            } else {
                writeln!(out, "node {} stays; it goes on with its next contact", escape(&name))?;
            }
            return Ok(Exit::Fine);
        }
        let shared = administer::look(&mut etcd, &keys, Wanted::default())?;
        let mut what = self.node.clone();
        if let Ok(node) = shared.node(&self.node) {
            what.clone_from(&node.uuid);
            let begun = node.tombstone.as_ref();
            let shortened = begun.is_some_and(|(t, ..)| !t.off && !t.begun) && self.node_is_off;
            if (begun.is_none() || shortened) && !self.yes {
                self.ask(context, &shared, node)?;
            }
        }
        let options = RemoveOptions {
            node: what,
            force: self.force,
            off: self.node_is_off,
            by: by(),
            boot: identity::boot(),
        };
        let once = |etcd: &mut _| {
            administer::run(&mut RemoveNode::new(keys.clone(), options.clone()), etcd)
        };
        let mut removal = once(&mut etcd)?;
        if self.wait {
            let spinner = people::spinner(context, "waiting for the end of the hold");
            while let RemovalState::Holding { left, .. } = removal.state {
                let begun = Instant::now();
                spinner.set_message(format!(
                    "{} until its blocks come back",
                    span(Duration::from_secs(left))
                ));
                std::thread::sleep(Duration::from_secs(left).min(NAP));
                // A clock that does not go on must not make this spin.
                if begun.elapsed() < Duration::from_millis(100) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                removal = once(&mut etcd)?;
            }
            spinner.finish_and_clear();
        }
        let exit = match removal.state {
            RemovalState::Holding { .. } => Exit::Warning,
            RemovalState::Done | RemovalState::WasDone => Exit::Fine,
        };
        if context.json {
            output::json(out, &document(&removal))?;
        } else {
            self.tell(out, &removal)?;
        }
        Ok(exit)
    }
}

impl Remove {
    /// Says what will happen, and asks.
    fn ask(&self, context: &Context, shared: &Cluster, node: &NodeEntry) -> Result<(), Failure> {
        let name = escape(node.name());
        let blocks: Vec<_> = shared.blocks_of(&node.uuid).collect();
        let hold = hold_of(blocks.iter().map(|(_, block)| block.record.aut));
        let own = identity::host_name() == node.name();
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(
            stderr,
            "Node {name}{} holds {}.",
            node.index().map_or_else(String::new, |index| format!(" (index {index})")),
            counted(blocks.len(), "block"),
        );
        if own {
            let _ = writeln!(stderr, "It has the name of this machine.");
        }
        let _ = writeln!(
            stderr,
            "From now on it claims nothing, and nothing that it writes to etcd counts any more."
        );
        let _ = match (self.node_is_off, hold) {
            (true, _) => writeln!(
                stderr,
                "You say that it is switched off. What it held goes to other nodes from {} on (in {LEASE} s). If \
                 it still runs, two pods may get the same address.",
                instant(output::now().saturating_add(LEASE)),
            ),
            (false, Some(hold)) => writeln!(
                stderr,
                "It may give out addresses without etcd for some time: what it holds goes to other nodes from {} on \
                 (in {}).",
                instant(output::now().saturating_add(hold)),
                span(Duration::from_secs(hold)),
            ),
            (false, None) => writeln!(
                stderr,
                "It may give out addresses without etcd for ever: only --node-is-off gets back what it holds."
            ),
        };
        let _ = writeln!(
            stderr,
            "Its pods are not stopped, and keep their addresses: delete them, or switch it off, before that."
        );
        drop(stderr);
        let refused = || {
            Failure::new(
                "nothing was changed",
                "plat node remove NODE --yes does it without asking",
            )
        };
        if context.json {
            return Err(refused());
        }
        if people::confirm(&format!("Remove node {name}?"))? { Ok(()) } else { Err(refused()) }
    }

    fn tell(&self, out: &mut dyn Write, removal: &Removal) -> Result<(), Failure> {
        let name = escape(&removal.name);
        match removal.state {
            RemovalState::Holding { left, until } => {
                writeln!(
                    out,
                    "node {name} is being removed; its {} come back from {} on (in {})",
                    counted(removal.blocks, "block"),
                    instant(until),
                    span(Duration::from_secs(left)),
                )?;
                writeln!(out, "  its pods are not stopped, and keep their addresses until then")?;
                writeln!(
                    out,
                    "  run `plat node remove {name}` again then; --cancel keeps the node, --node-is-off \
                     shortens it if the machine is switched off"
                )?;
            }
            RemovalState::WasDone => writeln!(out, "node {name} is removed already")?,
            RemovalState::Done => {
                write!(
                    out,
                    "node {name} is removed: {} given back",
                    counted(removal.returned, "block"),
                )?;
                if removal.freed > 0 {
                    write!(out, ", {} freed besides", people::addresses(removal.freed))?;
                }
                writeln!(out)?;
                if removal.handed_over > 0 {
                    writeln!(
                        out,
                        "  {} nobody's: other nodes have addresses in it; the next removal clears it away when \
                         they are gone",
                        if removal.handed_over == 1 {
                            "1 block is".to_owned()
                        } else {
                            format!("{} blocks are", removal.handed_over)
                        },
                    )?;
                }
                writeln!(
                    out,
                    "  if the machine comes back it gets nothing; `plat node adopt --anew` there makes it a new node"
                )?;
            }
        }
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Who does this: the user, and the machine.
fn by() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| "operator".to_owned());
    format!("{user}@{}", identity::host_name())
}

/// A removal, for programs.
fn document(removal: &Removal) -> RemovedNode<'_> {
    let (state, left, until) = match removal.state {
        RemovalState::Holding { left, until } => ("holding", Some(left), Some(until)),
        RemovalState::Done => ("removed", None, None),
        RemovalState::WasDone => ("was removed", None, None),
    };
    RemovedNode {
        node: &removal.name,
        uuid: &removal.uuid,
        state,
        left,
        until,
        hold: removal.tombstone.hold,
        at: removal.tombstone.at,
        by: &removal.tombstone.by,
        blocks: removal.blocks,
        returned: removal.returned,
        handed_over: removal.handed_over,
        freed: removal.freed,
    }
}
