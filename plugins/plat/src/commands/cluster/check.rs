//! `plat check --cluster`.

use std::collections::BTreeMap;
use std::io::Write;

use etcd_pool::client::Etcd;
use ipam_pool::view::{self, Difference, Fault, Gravity, Scope, Snapshot};

use super::own::{self, Mended};
use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::mending::{ClusterCheck, ClusterFault, OwnDifference};
use crate::exposition;
use crate::output::{self, Colour, escape, paint};
use crate::people;
use crate::reading;

/// How many of a kind are shown without `--verbose`.
const SHOWN: usize = 10;

/// What came of mending a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was mended.
    Fixed,
    /// What it is about has changed meanwhile: nothing was done.
    Changed,
    /// etcd refused, or did not answer.
    Failed(String),
}

/// Runs it; `fix`: whether to ask, and whether to mend at all.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn run(
    context: &Context,
    space: Option<&str>,
    (ask, fix): (bool, bool),
    verbose: bool,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    // The node first: what it writes meanwhile is in etcd then.
    let own = own::read(context);
    let snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
    let mut faults = view::check(&snapshot, people::now());
    faults.retain(|fault| space.is_none_or(|space| fault.space.as_deref() == Some(space)));
    // Attachments of one family are usual where one was asked for.
    let all = faults.len();
    faults.retain(|fault| verbose || fault.kind != "one-family");
    let hidden = all - faults.len();
    if snapshot.is_torn() {
        confirm(&mut etcd, &mut faults)?;
    }
    let differences = own::differences(own.as_ref(), &snapshot);
    let mut outcomes = BTreeMap::new();
    let possible = faults.iter().filter(|fault| fault.is_mendable()).count();
    if fix && possible > 0 {
        if ask {
            if !context.json {
                print(&snapshot, &faults, &outcomes, (verbose, context.colour), hidden, out)?;
                out.flush()?;
            }
            if !people::confirm(&format!("Mend {possible} of {}?", faults.len()))? {
                return Ok(exit(faults.iter()));
            }
        }
        outcomes = mend(context, &mut etcd, &faults);
    }
    let mended = match &own {
        Some(own) if fix => {
            Some(own::mend(context, &mut etcd, &keys, own, (&differences, &snapshot))?)
        }
        _ => None,
    };
    if context.json {
        output::json(out, &document(&snapshot, &faults, &outcomes, (hidden, &differences)))?;
    } else {
        print(&snapshot, &faults, &outcomes, (verbose, context.colour), hidden, out)?;
    }
    if !context.json {
        print_own(&differences, mended.as_ref(), context.colour, out)?;
    }
    let failed = outcomes.values().any(|outcome| matches!(outcome, Outcome::Failed(_)));
    let left = faults
        .iter()
        .enumerate()
        .filter(|(position, _)| outcomes.get(position) != Some(&Outcome::Fixed));
    let own = if differences.is_empty() { Exit::Fine } else { Exit::Warning };
    Ok(if failed { Exit::Failed } else { exit(left.map(|(_, fault)| fault)).max(own) })
}

/// Tells what is wrong in etcd as metrics.
///
/// # Errors
/// If etcd cannot be read.
pub(crate) fn metrics(context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (mut etcd, keys) = cluster::etcd(context)?;
    let snapshot = reading::read(context, &mut etcd, &keys, Scope::All)?;
    let mut faults = view::check(&snapshot, people::now());
    faults.retain(|fault| fault.kind != "one-family");
    if snapshot.is_torn() {
        confirm(&mut etcd, &mut faults)?;
    }
    let exit = exit(faults.iter());
    let found = faults.iter().map(|fault| (fault.gravity.as_str(), fault.kind));
    out.write_all(exposition::cluster_check(found, exit).as_bytes())?;
    Ok(exit)
}

/// How this node's own store differs.
fn print_own(
    differences: &[Difference],
    mended: Option<&Mended>,
    colours: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if let Some(reasserted) = mended.and_then(|mended| mended.reasserted.as_ref()) {
        writeln!(
            out,
            "\nwhat this node holds was written anew: {} blocks claimed again, {} still its own, {} records",
            reasserted.claimed, reasserted.kept, reasserted.records
        )?;
        for (block, node) in &reasserted.lost {
            let who = node.map_or_else(|| "nobody".to_owned(), |index| format!("node {index}"));
            writeln!(
                out,
                "{} block {block} is {who}'s by now: delete the pods of this node that use it",
                paint("lost    ", Colour::Red, colours)
            )?;
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nthis node's own store and etcd:")?;
    for difference in differences {
        let word = paint("differs ", Colour::Yellow, colours);
        writeln!(out, "{word} {}", escape(&difference.what))?;
    }
    match mended {
        Some(Mended { records, flushed: true, .. }) => {
            writeln!(out, "{records} of its records were written anew")
        }
        Some(Mended { records, .. }) => {
            writeln!(out, "{records} of its records are written anew with its next flush")
        }
        None => {
            writeln!(out, "--fix has this node's own records written anew; blocks are its upkeep's")
        }
    }
}

/// Keeps what is still so, all at one moment.
fn confirm(etcd: &mut Etcd, faults: &mut Vec<Fault>) -> Result<(), Failure> {
    let mut kept = Vec::with_capacity(faults.len());
    for fault in std::mem::take(faults) {
        if reading::txn(etcd, &view::confirm(&fault))?.succeeded {
            kept.push(fault);
        }
    }
    *faults = kept;
    Ok(())
}

fn mend(context: &Context, etcd: &mut Etcd, faults: &[Fault]) -> BTreeMap<usize, Outcome> {
    let bar = people::bar(context, "mending", faults.len());
    let mut outcomes = BTreeMap::new();
    for (position, fault) in faults.iter().enumerate() {
        bar.inc(1);
        let Some(txn) = view::mend(fault) else { continue };
        let outcome = match reading::txn(etcd, &txn) {
            Ok(reply) if reply.succeeded => Outcome::Fixed,
            Ok(_) => Outcome::Changed,
            Err(failure) => Outcome::Failed(failure.message),
        };
        outcomes.insert(position, outcome);
    }
    bar.finish_and_clear();
    outcomes
}

fn exit<'a>(faults: impl Iterator<Item = &'a Fault>) -> Exit {
    match faults.map(|fault| fault.gravity).max() {
        None => Exit::Fine,
        Some(Gravity::Hint | Gravity::Warning) => Exit::Warning,
        Some(Gravity::Broken) => Exit::Critical,
    }
}

fn print(
    snapshot: &Snapshot,
    faults: &[Fault],
    outcomes: &BTreeMap<usize, Outcome>,
    (verbose, colours): (bool, bool),
    hidden: usize,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if faults.is_empty() {
        if hidden > 0 {
            writeln!(
                out,
                "{hidden} attachments have one family of a pool that has both; --verbose shows them"
            )?;
        }
        return writeln!(
            out,
            "nothing is wrong in etcd: {} keys at revision {}",
            output::count(snapshot.count as u128),
            snapshot.to
        );
    }
    let mut of_kind: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in faults {
        *of_kind.entry(fault.kind).or_default() += 1;
    }
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, fault) in faults.iter().enumerate() {
        let count = shown.entry(fault.kind).or_default();
        *count += 1;
        if *count > SHOWN && !verbose {
            if *count == SHOWN + 1 {
                let more = of_kind.get(fault.kind).map_or(0, |all| all - SHOWN);
                writeln!(out, "         and {more} more of this kind; --verbose shows them")?;
            }
            continue;
        }
        let colour = match fault.gravity {
            Gravity::Hint => Colour::Grey,
            Gravity::Warning => Colour::Yellow,
            Gravity::Broken => Colour::Red,
        };
        let word = format!("{:<8}", fault.gravity.as_str());
        writeln!(out, "{} {}", paint(&word, colour, colours), escape(&fault.what))?;
        match outcomes.get(&position) {
            None if *count == 1 || verbose => writeln!(out, "         {}", fault.advice)?,
            None => {}
            Some(Outcome::Fixed) => writeln!(out, "         mended")?,
            Some(Outcome::Changed) => {
                writeln!(out, "         it has changed meanwhile: left alone")?;
            }
            Some(Outcome::Failed(why)) => writeln!(out, "         not mended: {}", escape(why))?,
        }
    }
    let possible = faults.iter().filter(|fault| fault.is_mendable()).count();
    if possible > 0 && outcomes.is_empty() {
        writeln!(out, "\n`plat check --cluster --fix` mends {possible} of {}", faults.len())?;
    }
    Ok(())
}

fn document<'a>(
    snapshot: &Snapshot,
    faults: &'a [Fault],
    outcomes: &'a BTreeMap<usize, Outcome>,
    (hidden, differences): (usize, &'a [Difference]),
) -> ClusterCheck<'a> {
    let faults = faults.iter().enumerate().map(|(position, fault)| {
        let (outcome, error) = match outcomes.get(&position) {
            None => (None, None),
            Some(Outcome::Fixed) => (Some("fixed"), None),
            Some(Outcome::Changed) => (Some("changed"), None),
            Some(Outcome::Failed(why)) => (Some("failed"), Some(why.as_str())),
        };
        ClusterFault {
            severity: fault.gravity.as_str(),
            kind: fault.kind,
            space: fault.space.as_deref(),
            address: fault.addr.map(|addr| addr.to_string()),
            key: String::from_utf8_lossy(&fault.key).into_owned(),
            what: &fault.what,
            advice: fault.advice,
            mendable: fault.is_mendable(),
            outcome,
            error,
        }
    });
    let own = differences.iter().map(|one| OwnDifference {
        kind: one.kind,
        space: &one.id.space,
        pool: &one.id.pool,
        address: one.addr.to_string(),
        what: &one.what,
        mendable: one.mend.is_some(),
    });
    ClusterCheck {
        revision: snapshot.to,
        consistent: !snapshot.is_torn(),
        keys: snapshot.count,
        faults: faults.collect(),
        hidden,
        own: own.collect(),
    }
}
