//! `plat uninstall`.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use ipam_stores::lock::Lock;
use serde::Serialize;

use crate::context::{Command, Context, Exit, Failure};
use crate::install::bin_dir::{BinDir, look};
use crate::install::decide::{Take, take};
use crate::install::files::{self, Files};
use crate::install::manifest::{Manifest, lock};
use crate::install::{Plugin, Target, failed, shown};
use crate::output;
use crate::people;
use crate::problems::plain;

/// Options of `plat uninstall`.
#[derive(Debug, Args)]
#[command(
    after_help = "What somebody else has put in the place of a plugin since is left, and told (exit status 1). The \
                  state stays without --purge, so that the plugins can come back. In no case the dataDirs of \
                  host-local are touched: the reference reads them."
)]
pub(crate) struct Uninstall {
    /// Where the plugins were put.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// These plugins only, with commas between them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "purge")]
    only: Vec<Plugin>,
    /// Removes also what Plat remembers on this node.
    #[arg(long)]
    purge: bool,
    /// Does so without a question while addresses are held.
    #[arg(long, requires = "purge")]
    yes: bool,
    /// Changes nothing, and tells what would be done.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// What was taken away.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// Whether nothing was to be changed.
    dry_run: bool,
    /// The directory.
    dir: String,
    /// The plugins.
    plugins: Vec<Row>,
    /// Other files, those of `plat install --files`.
    files: Vec<FileRow>,
    /// The state directories that were removed.
    purged: Vec<String>,
    /// What is worth knowing, a sentence each.
    notes: Vec<String>,
}

/// A plugin.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Row {
    /// Its name.
    name: &'static str,
    /// `removed`, `restored` (somebody else's is back), `not there` or `left` (it is somebody else's).
    action: &'static str,
}

/// Another file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileRow {
    /// Its path on the system.
    path: String,
    /// As that of a plugin.
    action: &'static str,
}

impl Command for Uninstall {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let target = Target::of(context, &self.bin_dir)?;
        let state = state_dirs(context)?;
        let living = living(context);
        if self.purge && !self.dry_run && !living.is_empty() && !self.yes {
            confirm(context, &living)?;
        }
        let lock = (!self.dry_run && target.state.exists())
            .then(|| lock(&target.state, context.lock_timeout))
            .transpose()?;
        let mut manifest = Manifest::read(&target.state)?;
        let steps = self.plan(&target, &manifest)?;
        let elsewhere = self.elsewhere(&target, &manifest);
        if let (true, Some(dir)) = (self.purge, elsewhere) {
            let message = format!("plugins of Plat are also in {dir}");
            return Err(Failure::new(message, format!("first: plat uninstall --bin-dir {dir}")));
        }
        let mut document = Document {
            dry_run: self.dry_run,
            dir: target.recorded.clone(),
            plugins: steps
                .iter()
                .map(|(p, take)| Row { name: p.name(), action: take.word() })
                .collect(),
            purged: Vec::new(),
            files: Vec::new(),
            notes: notes(&target, &steps),
        };
        let at = |path: &Path| context.survey.at(path);
        let recorded = manifest.files.clone();
        let files = Files { at: &at, recorded: &recorded };
        let taken = files.plan_taking(|_| self.only.is_empty())?;
        for (path, step) in &taken {
            document.files.push(FileRow { path: path.clone(), action: step.word() });
            if matches!(step, files::Step::Take(Take::Leave)) {
                let file = shown(&at(Path::new(path)));
                document
                    .notes
                    .push(format!("{file} is not the one that was installed, and was left"));
            }
        }
        if !self.purge {
            document.notes.extend(living);
        }
        if !self.dry_run {
            // First what names plugins, then the plugins.
            if taken.values().any(|step| !matches!(step, files::Step::Take(Take::Leave))) {
                files.carry_out(&taken, &context.conf_dir)?;
                manifest.files = files.after(&taken);
                manifest.write(&target.state)?;
            }
            carry_out(&target, &mut manifest, &steps)?;
        }
        if self.purge {
            for dir in state.iter().filter(|dir| dir.exists()) {
                if !self.dry_run {
                    purge(dir)?;
                }
                document.purged.push(shown(dir));
            }
        }
        drop(lock);
        if context.json {
            output::json(out, &document)?;
        } else {
            print(out, &document, &target)?;
            people::warn(&document.notes);
        }
        let left = steps.iter().any(|(_, take)| *take == Take::Leave)
            || taken.values().any(|step| matches!(step, files::Step::Take(Take::Leave)));
        Ok(if left { Exit::Warning } else { Exit::Fine })
    }
}

impl Uninstall {
    fn plan(&self, target: &Target, manifest: &Manifest) -> Result<Vec<(Plugin, Take)>, Failure> {
        let dir = BinDir::new(&target.path);
        let entries = manifest.of(&target.recorded);
        let mut steps = Vec::new();
        for plugin in Plugin::meant(&self.only) {
            let entry = entries.get(plugin.name());
            let known: Vec<&str> = entry.map(|entry| entry.digest.as_str()).into_iter().collect();
            let found = look(&dir.file(plugin), &known)?;
            steps.push((plugin, take(&found, entry, &look(&dir.aside(plugin), &[])?)));
        }
        Ok(steps)
    }

    /// Another directory that has plugins of ours.
    fn elsewhere(&self, target: &Target, manifest: &Manifest) -> Option<String> {
        manifest.dirs.keys().find(|dir| **dir != target.recorded).cloned()
    }
}

/// Does it. Killed at any point, it can be done again.
fn carry_out(
    target: &Target,
    manifest: &mut Manifest,
    steps: &[(Plugin, Take)],
) -> Result<(), Failure> {
    let dir = BinDir::new(&target.path);
    let mut entries = manifest.of(&target.recorded);
    if target.path.is_dir() {
        dir.sweep()?;
        for (plugin, take) in steps {
            match take {
                Take::Nothing => {}
                Take::Remove => BinDir::remove(&dir.file(*plugin))?,
                Take::Restore => dir.restore(*plugin)?,
                Take::Restored => BinDir::remove(&dir.aside(*plugin))?,
                Take::Leave => continue,
            }
            entries.remove(plugin.name());
        }
        dir.sync()?;
    } else {
        entries.clear();
    }
    if manifest.of(&target.recorded) == entries {
        return Ok(());
    }
    manifest.set(&target.recorded, entries);
    manifest.write(&target.state)
}

fn notes(target: &Target, steps: &[(Plugin, Take)]) -> Vec<String> {
    let dir = BinDir::new(&target.path);
    let mut notes = Vec::new();
    for (plugin, take) in steps {
        if *take == Take::Leave {
            let file = shown(&dir.file(*plugin));
            let aside = dir.aside(*plugin);
            let kept = if aside.exists() {
                format!("; what was there before Plat is {}", shown(&aside))
            } else {
                String::new()
            };
            notes.push(format!("{file} is no plugin of Plat any more, and was left{kept}"));
        }
    }
    notes
}

/// The state directories of the system that is looked at.
fn state_dirs(context: &Context) -> Result<[PathBuf; 2], Failure> {
    let state = &context.survey.state;
    let dirs = [&state.durable, &state.volatile];
    for dir in dirs {
        // Whoever moves them by the environment may have named anything.
        let depth = dir.components().filter(|part| matches!(part, Component::Normal(_))).count();
        let straight = dir.components().all(|part| part != Component::ParentDir);
        if !dir.is_absolute() || depth < 2 || !straight {
            let message = format!("{} is no state directory of Plat", shown(dir));
            return Err(Failure::new(message, "PLAT_STATE_DIR and PLAT_RUN_DIR name them"));
        }
    }
    Ok(dirs.map(|dir| context.survey.at(dir)))
}

/// What would be lost with the state, a sentence each.
fn living(context: &Context) -> Vec<String> {
    let (networks, unseen) = context.survey.networks();
    let mut sentences = Vec::new();
    for state in &networks {
        let held = state.allocations.len();
        if held > 0 && state.place.kind() == "sqlite" {
            let network = &state.network;
            sentences.push(format!("{network} holds {}", people::addresses(held)));
        }
    }
    for unseen in unseen {
        sentences.push(format!("not looked at: {}", unseen.error));
    }
    let at = |dir: &Path, name: &str| context.survey.at(&dir.join(name));
    let state = &context.survey.state;
    for (kind, dir) in
        [("vpp", at(&state.volatile, "vpp")), ("chain", at(&state.volatile, "chain"))]
    {
        let attachments = records(&dir);
        if attachments > 0 {
            sentences.push(format!("{kind} has records of {attachments} attachments"));
        }
    }
    let path = at(&state.volatile, "agent/lock");
    if fs::File::open(&path).is_ok_and(|file| matches!(Lock::try_exclusive(file, &path), Ok(None)))
    {
        sentences.push("plat-agent runs".to_owned());
    }
    if at(&state.durable, "pool.json").exists() {
        sentences.push(
            "the node may hold blocks of pools in etcd: `plat node remove` gives them back"
                .to_owned(),
        );
    }
    sentences
}

/// How many records lie in the directories of networks below `dir`.
fn records(dir: &Path) -> usize {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    entries(dir)
        .filter(|network| !matches!(network.file_name().to_str(), Some("node" | "pending")))
        .flat_map(|network| entries(&network.path()))
        .filter(|record| {
            !record.file_name().as_encoded_bytes().starts_with(b".")
                && record.file_name() != "lock"
                && record.file_type().is_ok_and(|kind| kind.is_file())
        })
        .count()
}

/// Asks before what lives loses its records.
fn confirm(context: &Context, living: &[String]) -> Result<(), Failure> {
    people::warn(living);
    let refused = || {
        Failure::new(
            "nothing was changed: what is held would not be known any more, and be given out again",
            "delete the pods first, or: plat uninstall --purge --yes",
        )
    };
    if context.json {
        return Err(refused());
    }
    if people::confirm("Remove the state all the same?")? { Ok(()) } else { Err(refused()) }
}

/// Removes a state directory; one that something is mounted on is emptied.
fn purge(dir: &Path) -> Result<(), Failure> {
    let cannot = |error: io::Error| failed("remove", dir, &error);
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &entry.path(), &error));
            }
            _ => {}
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::ResourceBusy => Err(cannot(error)),
        _ => Ok(()),
    }
}

fn print(out: &mut dyn Write, document: &Document, target: &Target) -> Result<(), Failure> {
    let dir = shown(&target.path);
    let mut table = output::table(&["plugin", "what"]);
    let mut any = false;
    for row in document.plugins.iter().filter(|row| row.action != Take::Nothing.word()) {
        table.add_row([row.name, row.action]);
        any = true;
    }
    if any {
        writeln!(out, "{table}")?;
    } else {
        writeln!(out, "No plugin of Plat is in {dir}.")?;
    }
    let files = document.files.iter().filter(|row| row.action != Take::Nothing.word());
    let mut table = output::table(&["file", "what"]);
    for row in files {
        table.add_row([plain(&row.path), row.action.to_owned()]);
    }
    if !table.is_empty() {
        writeln!(out, "\n{table}")?;
    }
    for purged in &document.purged {
        let verb = if document.dry_run { "would be removed" } else { "was removed" };
        writeln!(out, "{purged} {verb}.")?;
    }
    if document.dry_run {
        writeln!(out, "Nothing was changed.")?;
    }
    Ok(())
}
