//! `plat gc`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipam_core::addr::Addr;
use ipam_stores::survey::{Allocation, NetworkState};
use serde::Serialize;

use crate::context::{Command, Context, Exit, Failure};
use crate::living::verdict::{Fate, Trusted, fate, trusted_for};
use crate::living::{Living, Sources, pod_text, valid};
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

/// The document of `plat gc --json`.
#[derive(Debug, Serialize)]
struct Document {
    dry_run: bool,
    freed: Vec<Entry>,
    kept: Vec<Entry>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    network: String,
    address: String,
    container: Option<String>,
    ifname: Option<String>,
    pod: Option<String>,
    why: String,
    #[serde(skip)]
    holder: String,
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
        let mut living = Living::gather(context, &self.sources)?;
        living.mark_shared(&mut states);
        if let Some(path) = &self.valid {
            living.valid = Some(valid::read(path)?);
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
        let mut document = Document { dry_run: self.dry_run, freed: vec![], kept: vec![], notes };
        let all: usize = states.iter().map(|state| state.allocations.len()).sum();
        let bar = people::bar(context, "freeing", all);
        let mut failure = None;
        for state in &states {
            let trusted = trusted_for(state, &living, named, asked);
            if trusted == Trusted::default() && !state.allocations.is_empty() {
                document.notes.push(format!(
                    "{}: left alone, because none of its {} allocations is known to what was asked; \
                     name the network to look at it all the same",
                    state.network,
                    state.allocations.len()
                ));
                continue;
            }
            if let Err(error) = self.of_network(
                context,
                state,
                &|allocation| fate(state, allocation, &living, trusted, now, self.grace),
                &living,
                &mut document,
            ) {
                document.notes.push(format!("{}: {error}", state.network));
                failure = Some(error);
            }
            bar.inc(u64::try_from(state.allocations.len()).unwrap_or_default());
        }
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
    fn of_network(
        &self,
        context: &Context,
        state: &NetworkState,
        fate: &dyn Fn(&Allocation) -> Fate,
        living: &Living,
        document: &mut Document,
    ) -> Result<(), Failure> {
        let entry = |held: &Allocation, why: String| Entry {
            network: state.network.clone(),
            address: held.addr.to_string(),
            container: crate::living::container_of(&held.holder).map(ToString::to_string),
            ifname: match &held.holder {
                ipam_core::identity::Holder::Attachment(attachment) => {
                    Some(attachment.ifname.to_string())
                }
                _ => None,
            },
            pod: pod_text(&living.owner_of(held.network(&state.network), held)),
            why,
            holder: holder_text(&held.holder),
        };
        let mut stale: Vec<(&Allocation, String)> = Vec::new();
        for held in &state.allocations {
            match fate(held) {
                Fate::Free(why) => stale.push((held, why)),
                Fate::Keep(why) => document.kept.push(entry(held, why)),
            }
        }
        if stale.is_empty() {
            return Ok(());
        }
        let freed: std::collections::HashSet<Addr> = if self.dry_run {
            stale.iter().map(|(held, _)| held.addr).collect()
        } else {
            let allocations: Vec<Allocation> =
                stale.iter().map(|(held, _)| (*held).clone()).collect();
            context.survey.free(state, &allocations, context.lock_timeout)?.into_iter().collect()
        };
        for (held, why) in stale {
            if freed.contains(&held.addr) {
                document.freed.push(entry(held, why));
            } else {
                document.kept.push(entry(held, "it has changed meanwhile".to_owned()));
            }
        }
        Ok(())
    }

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
                    plain(&entry.holder),
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
