//! `plat import --to-pool`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use etcd_pool::client::Etcd;
use ipam_core::addr::Addr;
use ipam_core::identity::Holder;
use ipam_pool::key::Keys;
use ipam_pool::view::import::{self, Batch, Plan, Problem};
use ipam_pool::view::{Scope, Snapshot};
use ipam_stores::survey::Allocation;

use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::mending::{ClusterImport, ImportDone, ImportPlan, ImportProblem};
use crate::foreign::{self, Foreign, Found};
use crate::output::{self, escape};
use crate::people;
use crate::reading;
use crate::usage::{parts, pod};

/// How often a plan is made anew because something came in between.
const TRIES: usize = 4;

/// How many problems are shown.
const SHOWN: usize = 50;

/// What is wished.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    /// Whose document it is.
    pub(crate) kind: Foreign,
    /// Where it is.
    pub(crate) path: &'a Path,
    /// The pool that takes the addresses.
    pub(crate) pool: &'a str,
    /// Only this network of the document.
    pub(crate) network: Option<&'a str>,
    /// Whether nothing is changed.
    pub(crate) dry_run: bool,
    /// Whether reservations of earlier imports end that the document does not have.
    pub(crate) prune: bool,
}

/// What was done.
#[derive(Debug, Default)]
struct Done {
    addresses: usize,
    blocks: usize,
    pruned: usize,
}

/// Runs it.
///
/// # Errors
/// If the document or etcd cannot be read, or etcd not be written.
pub(crate) fn run(
    context: &Context,
    wish: &Wish<'_>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(wish.path).map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", wish.path.display()), "")
    })?;
    let found = foreign::read(wish.kind, &text, None)?;
    people::warn(&found.skipped);
    let addresses = addresses(wish, &found)?;
    let (mut etcd, keys) = cluster::etcd(context)?;
    let space = cluster::space(context);
    let target = import::Wish { space, pool: wish.pool, addresses: &addresses };

    let mut snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
    let mut plan = plan(&snapshot, &target)?;
    let first = Summary::new(&plan);
    let notes: Vec<Problem> =
        plan.problems.iter().filter(|problem| !problem.refused).cloned().collect();
    let mut done = Done::default();
    if !wish.dry_run {
        for _ in 0..TRIES {
            let batches = import::batches(&snapshot, &target, &plan);
            if batches.is_empty() {
                break;
            }
            write(context, &mut etcd, &batches, &mut done)?;
            snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
            plan = self::plan(&snapshot, &target)?;
        }
    }
    let ended = if wish.prune { import::prunable(&snapshot, &target) } else { Vec::new() };
    let prunable = ended.len();
    if !wish.dry_run {
        prune(&mut etcd, &keys, space, &ended, &mut done)?;
    }
    let left = plan.records.len() + plan.blocks.len();
    // What was noted when a record was planned is not noted again when it is there.
    plan.problems.retain(|problem| problem.refused);
    plan.problems.extend(notes);
    plan.problems.sort_by_key(|problem| problem.addr);
    let report = Report { wish, first, plan: &plan, done, prunable, left, space };
    if context.json {
        output::json(out, &report.document())?;
    } else {
        report.print(out)?;
    }
    let refused = plan.problems.iter().any(|problem| problem.refused);
    Ok(if refused || (left > 0 && !wish.dry_run) { Exit::Warning } else { Exit::Fine })
}

fn plan(snapshot: &Snapshot, target: &import::Wish<'_>) -> Result<Plan, Failure> {
    import::plan(snapshot, target, people::now()).map_err(|names| {
        let advice = if names.is_empty() {
            "create it with `plat pool create`; its addresses must be those of the other IPAM"
                .to_owned()
        } else {
            format!("there are: {}", escape(&names.join(", ")))
        };
        Failure::new(format!("there is no pool {}", escape(target.pool)), advice)
    })
}

/// Carries batches out. One that does not fit any more is left to the next plan.
fn write(
    context: &Context,
    etcd: &mut Etcd,
    batches: &[Batch],
    done: &mut Done,
) -> Result<(), Failure> {
    let bar = people::bar(context, "writing", batches.len());
    for batch in batches {
        if reading::txn(etcd, &batch.txn)?.succeeded {
            done.addresses += batch.addresses;
            done.blocks += batch.blocks;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn prune(
    etcd: &mut Etcd,
    keys: &Keys,
    space: &str,
    ended: &[&ipam_pool::view::Used],
    done: &mut Done,
) -> Result<(), Failure> {
    for batch in import::prune(keys, space, ended) {
        if reading::txn(etcd, &batch.txn)?.succeeded {
            done.pruned += batch.addresses;
        }
    }
    Ok(())
}

/// What the document holds, by address.
fn addresses(wish: &Wish<'_>, found: &Found) -> Result<BTreeMap<Addr, import::Foreign>, Failure> {
    let wanted = |network: &str| wish.network.is_none_or(|name| name == network);
    if let Some(name) = wish.network
        && !found.networks.iter().any(|state| state.network == name)
    {
        let names: Vec<&str> = found.networks.iter().map(|state| state.network.as_str()).collect();
        return Err(Failure::new(
            format!("{} does not have {}", wish.path.display(), escape(name)),
            format!("it has {}", escape(&names.join(", "))),
        ));
    }
    let mut addresses = BTreeMap::new();
    if wish.network.is_none() {
        for allocation in found.reserved.values() {
            addresses.insert(allocation.addr, one(wish.kind, "", allocation, found));
        }
    }
    for state in found.networks.iter().filter(|state| wanted(&state.network)) {
        for allocation in &state.allocations {
            addresses.insert(allocation.addr, one(wish.kind, &state.network, allocation, found));
        }
    }
    Ok(addresses)
}

fn one(kind: Foreign, network: &str, allocation: &Allocation, found: &Found) -> import::Foreign {
    let (container, ifname) = parts(&allocation.holder);
    let use_ = found.uses.get(&allocation.addr).cloned();
    let ifname = match (kind, ifname) {
        (_, Some(ifname)) => ifname.to_owned(),
        // Calico's handles name no interface; a pod's network has the first one.
        (Foreign::Calico, None) if allocation.holder != Holder::Unknown => "eth0".to_owned(),
        _ => String::new(),
    };
    import::Foreign {
        pod: pod(&allocation.owner).or(use_).unwrap_or_default(),
        container: container.unwrap_or_default().to_owned(),
        ifname,
        network: network.to_owned(),
        node: found.nodes.get(&allocation.addr).cloned(),
    }
}

/// A plan in numbers.
#[derive(Debug)]
struct Summary {
    used: usize,
    reserved: usize,
    blocks: usize,
    present: usize,
}

impl Summary {
    fn new(plan: &Plan) -> Self {
        let used = plan.records.values().filter(|record| record.u.is_some()).count();
        Self {
            used,
            reserved: plan.records.len() - used,
            blocks: plan.blocks.len(),
            present: plan.present,
        }
    }
}

struct Report<'a> {
    wish: &'a Wish<'a>,
    first: Summary,
    plan: &'a Plan,
    done: Done,
    prunable: usize,
    left: usize,
    space: &'a str,
}

impl Report<'_> {
    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let pool = super::status::pool_name(self.space, self.wish.pool);
        let pool = escape(&pool);
        let Summary { used, reserved, blocks, present } = self.first;
        let verb = if self.wish.dry_run { "would be" } else { "were to be" };
        writeln!(
            out,
            "{used} addresses in use and {reserved} reservations {verb} written to pool {pool}, and {blocks} \
             blocks claimed; {present} were there already"
        )?;
        if !self.wish.dry_run {
            writeln!(
                out,
                "{} addresses written, {} blocks claimed, {} reservations ended",
                self.done.addresses, self.done.blocks, self.done.pruned
            )?;
        } else if self.prunable > 0 {
            writeln!(out, "{} reservations would end", self.prunable)?;
        }
        for problem in self.plan.problems.iter().take(SHOWN) {
            let word = if problem.refused { "refused " } else { "note    " };
            writeln!(out, "{word} {}", escape(&problem.what))?;
        }
        if self.plan.problems.len() > SHOWN {
            writeln!(
                out,
                "         and {} more; --json tells all",
                self.plan.problems.len() - SHOWN
            )?;
        }
        if self.left > 0 && !self.wish.dry_run {
            writeln!(out, "{} are left, because others changed the same: run it again", self.left)?;
        }
        Ok(())
    }

    fn document(&self) -> ClusterImport<'_> {
        let problems = self.plan.problems.iter().map(|problem| ImportProblem {
            address: problem.addr.to_string(),
            refused: problem.refused,
            what: &problem.what,
        });
        ClusterImport {
            space: self.space,
            pool: self.wish.pool,
            dry_run: self.wish.dry_run,
            planned: ImportPlan {
                used: self.first.used,
                reserved: self.first.reserved,
                blocks: self.first.blocks,
                present: self.first.present,
                ended: self.prunable,
            },
            written: ImportDone {
                addresses: self.done.addresses,
                blocks: self.done.blocks,
                ended: self.done.pruned,
            },
            left: self.left,
            problems: problems.collect(),
        }
    }
}
