//! `plat check`.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipam_core::identity::Network;
use ipam_stores::survey::NetworkState;
use serde::Serialize;

use super::cluster;
use crate::configured;
use crate::context::{Command, Context, Exit, Failure};
use crate::exposition;
use crate::living::Sources;
use crate::output;
use crate::people;
use crate::problems::repair::{self, Outcome};
use crate::problems::{Evidence, Fix, Problem, Severity, find, plain};

/// Options of `plat check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 nothing is wrong, 1 hints and warnings, 2 something is \
                        broken, 3 it could not be looked at or repaired.")]
pub(crate) struct Check {
    /// Looks at this network only.
    network: Option<String>,
    /// Looks at the cluster-wide pools in etcd instead; with a name, at that space only.
    #[arg(long)]
    cluster: bool,
    /// Repairs what can be repaired without a doubt, after a question.
    #[arg(long)]
    fix: bool,
    /// Repairs without a question.
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Shows what nobody knows, too: whether each attachment lives.
    #[arg(long, short)]
    verbose: bool,
    /// Frees nothing that is younger.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::cli::duration)]
    grace: Duration,
    /// Prints metrics in Prometheus' text format, for the textfile collector of node_exporter.
    #[arg(long, conflicts_with_all = ["json", "fix", "network"])]
    prometheus: bool,
    #[command(flatten)]
    sources: Sources,
}

/// For how long something must be in use without a record before one is written.
const SETTLE: Duration = Duration::from_secs(1);

/// What is wrong with a node's state.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document<'a> {
    /// The worst first.
    problems: Vec<Entry<'a>>,
    /// How many more there are with `--verbose`.
    hidden: usize,
    /// What could not be asked, a sentence each.
    notes: &'a [String],
}

/// A problem.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Entry<'a> {
    /// `hint`, `warning` or `broken`.
    severity: &'static str,
    /// What it is called, one word.
    kind: &'static str,
    /// The network; `null` for a database or a place as a whole.
    network: Option<&'a str>,
    /// `dir` or `sqlite`; `null` where there is none.
    store: Option<&'static str>,
    /// The store's path; `null` where there is none.
    place: Option<String>,
    /// The address; `null` where it is about none.
    address: Option<String>,
    /// A sentence.
    what: &'a str,
    /// Why it matters, or how it comes about, a sentence.
    why: &'a str,
    /// What `--fix` does; `null` if it can do nothing.
    fix: Option<String>,
    /// What a person can do where `--fix` can do nothing; else `null`.
    advice: Option<String>,
    /// `fixed`, `changed` (something else is there now, nothing was done), `failed`; `null` if nothing was tried.
    outcome: Option<&'static str>,
    /// Why it failed; `null` if it did not.
    error: Option<&'a str>,
}

/// What was seen in one look.
struct Look {
    networks: Vec<NetworkState>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Command for Check {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if self.cluster {
            let ask = (self.fix && !self.yes, self.fix);
            let space = self.network.as_deref().or(context.space.as_deref());
            return if self.prometheus {
                cluster::check::metrics(context, out)
            } else {
                cluster::check::run(context, space, ask, self.verbose, out)
            };
        }
        let spinner = people::spinner(context, "looking at the stores");
        let Look { networks, mut problems, notes } = self.look(context)?;
        spinner.finish_and_clear();
        let all = problems.len();
        problems.retain(|problem| self.verbose || problem.kind != "unknown");
        let hidden = all - problems.len();
        if self.prometheus {
            let exit = exit(problems.iter());
            let found = problems.iter().map(|problem| (problem.severity.word(), problem.kind));
            out.write_all(exposition::check(found, exit).as_bytes())?;
            people::warn(&notes);
            return Ok(exit);
        }

        let outcomes = if self.fix {
            let outcomes = self.fix(context, out, &networks, &mut problems, hidden)?;
            let Some(outcomes) = outcomes else { return Ok(exit(problems.iter())) };
            outcomes
        } else {
            Vec::new()
        };
        if context.json {
            let entries = entries(&problems, &outcomes);
            output::json(out, &Document { problems: entries, hidden, notes: &notes })?;
        } else {
            if outcomes.is_empty() {
                print(out, &problems, &outcomes, hidden)?;
            } else {
                print_outcomes(out, &problems, &outcomes)?;
            }
            people::warn(&notes);
        }
        let failed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
        let left = problems
            .iter()
            .enumerate()
            .filter(|(position, _)| !matches!(outcomes.get(*position), Some(Outcome::Done)));
        Ok(if failed { Exit::Failed } else { exit(left.map(|(_, problem)| problem)) })
    }
}

impl Check {
    /// Looks at everything.
    fn look(&self, context: &Context) -> Result<Look, Failure> {
        // Allocations first, the living second: whoever came in between lives, and holds nothing here.
        let (mut networks, unseen) = context.survey.networks();
        let health = context.survey.examine();
        let living = self.sources.gather(context)?;
        living.mark_shared(&mut networks);
        let (configured, unread) = configured::all(context);
        let vanished = vanished(context);
        let mut problems = find(&Evidence {
            networks: &networks,
            unseen: &unseen,
            health: &health,
            vanished: &vanished,
            moved: &moved(context),
            living: &living,
            configured: &configured,
            default_database: context.survey.state.volatile.join("plat.db"),
            now: people::now(),
            grace: self.grace,
        });
        if let Some(network) = &self.network {
            let known = networks.iter().any(|state| state.network == *network)
                || living.cached.iter().any(|entry| entry.network == *network)
                || configured.iter().any(|section| section.network == *network);
            if !known {
                return Err(people::no_network(network, &networks, &unseen));
            }
            problems.retain(|problem| problem.network.as_ref().is_none_or(|name| name == network));
        }
        let mut notes = living.notes;
        notes.extend(unread);
        Ok(Look { networks, problems, notes })
    }

    /// Leaves out what is in use without a record for a moment only: a DEL frees the address before the
    /// interface goes.
    fn settle(&self, context: &Context, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let passing = |problem: &Problem| matches!(problem.fix, Fix::Record(_));
        if !problems.iter().any(passing) {
            return Ok(());
        }
        std::thread::sleep(SETTLE);
        let again = self.look(context)?.problems;
        let is_still = |problem: &Problem| {
            again.iter().any(|later| {
                passing(later) && later.network == problem.network && later.what == problem.what
            })
        };
        problems.retain(|problem| !passing(problem) || is_still(problem));
        Ok(())
    }

    /// Repairs, once that was agreed to; `None` if it was not.
    fn fix(
        &self,
        context: &Context,
        out: &mut dyn Write,
        networks: &[NetworkState],
        problems: &mut Vec<Problem>,
        hidden: usize,
    ) -> Result<Option<Vec<Outcome>>, Failure> {
        let possible = problems.iter().filter(|problem| problem.fix.is_possible()).count();
        if possible == 0 {
            return Ok(Some(Vec::new()));
        }
        if !self.yes {
            if !context.json {
                print(out, problems, &[], hidden)?;
                out.flush()?;
            }
            if !people::confirm(&format!("Repair {possible} of {}?", count(problems.len())))? {
                return Ok(None);
            }
        }
        self.settle(context, problems)?;
        let bar = people::bar(context, "repairing", possible);
        let outcomes =
            repair::all(&context.survey, networks, problems, context.lock_timeout, &mut |done| {
                bar.inc(u64::try_from(done).unwrap_or_default());
            });
        bar.finish_and_clear();
        Ok(Some(outcomes))
    }
}

/// The networks of which a directory was set aside: `.NAME@imported-TIME` in a dataDir.
fn moved(context: &Context) -> HashSet<String> {
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let (network, _) = name.strip_prefix('.')?.rsplit_once("@imported-")?;
        Some(network.to_owned())
    };
    context
        .survey
        .data_dirs
        .iter()
        .filter_map(|dir| std::fs::read_dir(context.survey.at(dir)).ok())
        .flat_map(|entries| entries.flatten().filter_map(name))
        .collect()
}

/// The remembered places in which there is no directory of their network.
fn vanished(context: &Context) -> Vec<(Network, PathBuf)> {
    let is_gone = |network: &Network, data_dir: &PathBuf| {
        let path = context.survey.at(data_dir).join(network.as_str());
        std::fs::symlink_metadata(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let mut places = context.survey.places();
    places.retain(|(network, data_dir)| is_gone(network, data_dir));
    places
}

fn exit<'a>(problems: impl Iterator<Item = &'a Problem>) -> Exit {
    match problems.filter(|problem| problem.kind != "unknown").map(|problem| problem.severity).max()
    {
        None => Exit::Fine,
        Some(Severity::Hint | Severity::Warning) => Exit::Warning,
        Some(Severity::Broken) => Exit::Critical,
    }
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

fn entries<'a>(problems: &'a [Problem], outcomes: &'a [Outcome]) -> Vec<Entry<'a>> {
    let entry = |(position, problem): (usize, &'a Problem)| {
        let outcome = outcomes.get(position);
        let text = Some(problem.fix.text()).filter(|text| !text.is_empty());
        let (fix, advice) = if problem.fix.is_possible() { (text, None) } else { (None, text) };
        Entry {
            severity: problem.severity.word(),
            kind: problem.kind,
            network: problem.network.as_deref(),
            store: problem.place.as_ref().map(ipam_stores::survey::Place::kind),
            place: problem.place.as_ref().map(|place| place.path().display().to_string()),
            address: problem.addr.map(|addr| addr.to_string()),
            what: &problem.what,
            why: &problem.why,
            fix,
            advice,
            outcome: match outcome {
                Some(Outcome::Done) => Some("fixed"),
                Some(Outcome::Changed) => Some("changed"),
                Some(Outcome::Failed(_)) => Some("failed"),
                Some(Outcome::None) | None => None,
            },
            error: match outcome {
                Some(Outcome::Failed(error)) => Some(error),
                _ => None,
            },
        }
    };
    problems.iter().enumerate().map(entry).collect()
}

/// Where a problem is: the network, else the place.
fn where_it_is(problem: &Problem) -> String {
    match (&problem.network, &problem.place) {
        (Some(network), _) => network.clone(),
        (None, Some(place)) => place.path().display().to_string(),
        (None, None) => String::new(),
    }
}

fn print(
    out: &mut dyn Write,
    problems: &[Problem],
    outcomes: &[Outcome],
    hidden: usize,
) -> std::io::Result<()> {
    let mut place = None;
    for (position, problem) in problems.iter().enumerate() {
        if outcomes.get(position).is_some() {
            continue;
        }
        writeln!(
            out,
            "{:<8} {}: {}",
            problem.severity.word(),
            plain(&where_it_is(problem)),
            plain(&problem.what)
        )?;
        if problem.network.is_some() && problem.place != place {
            place.clone_from(&problem.place);
            if let Some(place) = &place {
                writeln!(out, "         in    {}", plain(&place.path().display().to_string()))?;
            }
        }
        if !problem.why.is_empty() {
            writeln!(out, "         why   {}", plain(&problem.why))?;
        }
        let fix = problem.fix.text();
        match (problem.fix.is_possible(), fix.as_str()) {
            (true, fix) => writeln!(out, "         --fix {}", plain(fix))?,
            (false, "") => {}
            (false, advice) => writeln!(out, "         to do {}", plain(advice))?,
        }
    }
    summary(out, problems, hidden)
}

fn summary(out: &mut dyn Write, problems: &[Problem], hidden: usize) -> std::io::Result<()> {
    if problems.is_empty() {
        write!(out, "Nothing is wrong.")?;
    } else {
        let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        let words: Vec<String> = [Severity::Broken, Severity::Warning, Severity::Hint]
            .into_iter()
            .map(|severity| (of(severity), severity.word()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| match word {
                "broken" => format!("{count} broken"),
                word if count == 1 => format!("1 {word}"),
                word => format!("{count} {word}s"),
            })
            .collect();
        let possible = problems.iter().filter(|problem| problem.fix.is_possible()).count();
        write!(out, "{}: {}.", count(problems.len()), words.join(", "))?;
        match possible {
            0 => write!(out, " --fix can repair none of them.")?,
            possible if possible == problems.len() => write!(out, " --fix can repair all.")?,
            possible => write!(out, " --fix can repair {possible}.")?,
        }
    }
    if hidden > 0 {
        write!(out, " Of {hidden} attachments nobody knows whether they live (--verbose).")?;
    }
    writeln!(out)
}

fn print_outcomes(
    out: &mut dyn Write,
    problems: &[Problem],
    outcomes: &[Outcome],
) -> std::io::Result<()> {
    for (problem, outcome) in problems.iter().zip(outcomes) {
        let place = plain(&where_it_is(problem));
        let fix = plain(&problem.fix.text());
        match outcome {
            Outcome::Done => {
                let done = plain(&problem.fix.done_text());
                writeln!(out, "fixed    {place}: {}: {done}", plain(&problem.what))?;
            }
            Outcome::Changed => {
                writeln!(out, "changed  {place}: {}; nothing was done", plain(&problem.what))?;
            }
            Outcome::Failed(error) => {
                writeln!(out, "failed   {place}: {fix}: {}", plain(error))?;
            }
            Outcome::None => {
                writeln!(out, "left     {place}: {}", plain(&problem.what))?;
                if !fix.is_empty() {
                    writeln!(out, "         to do {fix}")?;
                }
            }
        }
    }
    Ok(())
}
