//! `plat gc`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::context::{Command, Context, Exit, Failure};
use crate::living::gc::{self, Entry, Sweep};
use crate::living::verdict::Trusted;
use crate::living::{Sources, valid};
use crate::output;
use crate::people;
use crate::problems::{holder_text, plain};

/// Options of `plat gc`.
#[derive(Debug, Args)]
#[command(
    after_help = "One of --cri, --netns and --valid says what lives. Nothing is freed that is in use in a \
                  network namespace, that is younger than --grace, or that other nodes may hold."
)]
pub(crate) struct Gc {
    /// Looks at these networks only, even if the source knows none of their attachments.
    #[arg(value_name = "NETWORK")]
    networks: Vec<String>,
    /// Believes the runtime's result cache: what wrote down a network namespace that is gone, is gone.
    #[arg(long, help_heading = "Who lives")]
    netns: bool,
    /// Believes a list in FILE, or standard input for -: a JSON list as CNI's GC has it, or lines of
    /// CONTAINER [IFNAME].
    #[arg(long, value_name = "FILE", help_heading = "Who lives")]
    valid: Option<PathBuf>,
    /// Frees nothing that is younger.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::cli::duration)]
    grace: Duration,
    /// Changes nothing, and shows what would be freed and what not.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Shows what stays, too.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    sources: Sources,
}

/// What was freed, and what stays.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// Whether nothing was to be changed: then what would be freed.
    dry_run: bool,
    /// What was freed.
    freed: Vec<Entry>,
    /// What stays though nothing says that its holder lives.
    kept: Vec<Entry>,
    /// What could not be asked or done, a sentence each.
    notes: Vec<String>,
}

impl Command for Gc {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let asked = Trusted {
            cri: self.sources.cri.is_some(),
            silence: self.sources.cri.is_some(),
            spaces: self.netns,
            valid: self.valid.is_some(),
        };
        if asked == Trusted::default() {
            return Err(Failure::new(
                "nothing says what lives",
                "give --cri /run/containerd/containerd.sock, --netns, or --valid FILE",
            ));
        }
        let spinner = people::spinner(context, "looking at the stores");
        // Allocations first, the living second: whoever came in between lives, and holds nothing here.
        let (mut states, unseen) = context.survey.networks();
        let now = people::now();
        for network in &self.networks {
            people::must_exist(network, &states, &unseen)?;
        }
        let named = !self.networks.is_empty();
        states.retain(|state| !named || self.networks.contains(&state.network));
        let mut living = self.sources.gather(context)?;
        living.mark_shared(&mut states);
        if let Some(path) = &self.valid {
            let list = valid::read(path);
            living.valid = Some(list.map_err(|error| Failure::new(error.message, error.advice))?);
        }
        if let (true, Some(blind)) = (self.netns && asked == SPACES, &living.blind) {
            return Err(Failure::new(
                format!("--netns proves nothing here: {blind}"),
                "run it on the node itself as root, or give --cri or --valid",
            ));
        }
        spinner.finish_and_clear();

        let mut notes: Vec<String> =
            unseen.iter().map(|unseen| format!("not looked at: {}", unseen.error)).collect();
        notes.extend(living.notes.iter().cloned());
        let all: usize = states.iter().map(|state| state.allocations.len()).sum();
        let bar = people::bar(context, "freeing", all);
        let sweep = Sweep {
            asked,
            named,
            now,
            grace: self.grace,
            dry_run: self.dry_run,
            lock_timeout: context.lock_timeout,
        };
        let swept = gc::sweep(&context.survey, &states, &living, sweep, &mut |count| {
            bar.inc(u64::try_from(count).unwrap_or_default());
        });
        notes.extend(swept.notes);
        let document =
            Document { dry_run: self.dry_run, freed: swept.freed, kept: swept.kept, notes };
        let failure = swept.failure.map(Failure::from);
        bar.finish_and_clear();
        if context.json {
            output::json(out, &document)?;
        } else {
            self.print(out, &document)?;
            people::warn(&document.notes);
        }
        match failure {
            Some(failure) => Err(failure),
            None if unseen.is_empty() => Ok(Exit::Fine),
            None => Ok(Exit::Failed),
        }
    }
}

/// That namespaces alone are asked.
const SPACES: Trusted = Trusted { cri: false, silence: false, spaces: true, valid: false };

impl Gc {
    fn print(&self, out: &mut dyn Write, document: &Document) -> std::io::Result<()> {
        let rows = |title: &str, entries: &[Entry], out: &mut dyn Write| -> std::io::Result<()> {
            if entries.is_empty() {
                return Ok(());
            }
            let mut table = output::table(&[title, "network", "holder", "pod", "why"]);
            for entry in entries {
                table.add_row([
                    entry.address.clone(),
                    plain(&entry.network),
                    plain(&holder_text(&entry.holder)),
                    plain(entry.pod.as_deref().unwrap_or("-")),
                    plain(&entry.why),
                ]);
            }
            writeln!(out, "{table}")
        };
        let freed = if self.dry_run { "would free" } else { "freed" };
        rows(freed, &document.freed, out)?;
        if self.dry_run || self.verbose {
            rows("kept", &document.kept, out)?;
        }
        let (count, kept) = (document.freed.len(), document.kept.len());
        let verb = if self.dry_run { "would be freed" } else { "freed" };
        writeln!(out, "{} {verb}, {kept} kept.", people::addresses(count))
    }
}
