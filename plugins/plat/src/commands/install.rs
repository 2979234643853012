//! `plat install`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::context::{Command, Context, Exit, Failure};
use crate::install::bin_dir::{BinDir, Change, Source, aside_name, look};
use crate::install::decide::{Found, Put, put};
use crate::install::files::{self, Files};
use crate::install::manifest::{Before, Entry, Manifest, lock};
use crate::install::{Plugin, Target, probe, shown};
use crate::output;
use crate::problems::plain;

/// Options of `plat install`.
#[derive(Debug, Args)]
#[command(
    after_help = "All of them or none: what fails is undone. A plugin of the same name that somebody else has put \
                  there, such as the reference's host-local, is kept beside as NAME.before-plat, and `plat \
                  uninstall` gives it back. Running plugins, and pods, are not disturbed."
)]
pub(crate) struct Install {
    /// Where the runtime looks for plugins.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// These plugins only, with commas between them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<Plugin>,
    /// Where the plugins are; without it they are looked for beside plat and in ../lib/plat.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Installs also the files below this directory, each at its path on the system: network
    /// configurations (etc/cni/net.d/...), certificates. Those of the last time that are not there any
    /// more are removed.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// Changes nothing, and tells what would be done.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Becomes this program afterwards, with the arguments that follow: for the entry point of an image.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, conflicts_with = "dry_run")]
    exec: Vec<OsString>,
}

/// What was put where.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// Whether nothing was to be changed.
    dry_run: bool,
    /// The directory.
    dir: String,
    /// The plugins.
    plugins: Vec<Row>,
    /// Other files, those of `--files`; none without it.
    files: Vec<FileRow>,
}

/// Another file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileRow {
    /// Its path on the system.
    path: String,
    /// As that of a plugin; or, for what an earlier install had put there, `removed`, `restored` (somebody else's is
    /// back), `not there` or `left` (it is somebody else's).
    action: &'static str,
    /// The second name of somebody else's file that was put aside; `null` if there was none.
    kept: Option<String>,
}

/// A plugin.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Row {
    /// Its name.
    name: &'static str,
    /// `installed`, `updated`, `replaced` (somebody else's), `unchanged` or `refused`.
    action: &'static str,
    /// What it says of its version; `null` if it was not asked.
    version: Option<String>,
    /// Its SHA-256 in hexadecimal.
    digest: String,
    /// The second name of somebody else's program that was put aside; `null` if there was none.
    kept: Option<String>,
}

/// One plugin of a run.
#[derive(Debug)]
struct Step {
    plugin: Plugin,
    source: Source,
    found: Found,
    put: Put,
    version: Option<String>,
}

impl Command for Install {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let target = Target::of(context, &self.bin_dir)?;
        let plugins = Plugin::meant(&self.only);
        let from = self.from.clone().map_or_else(|| beside(&plugins), Ok)?;
        let sources: Vec<(Plugin, Source)> = plugins
            .into_iter()
            .map(|plugin| Ok((plugin, Source::read(&from, plugin)?)))
            .collect::<Result<_, Failure>>()?;
        let tree = self.files.as_deref().map(files::read).transpose()?;
        let dir = BinDir::new(&target.path);
        let lock =
            (!self.dry_run).then(|| lock(&target.state, context.lock_timeout)).transpose()?;
        let manifest = Manifest::read(&target.state)?;
        if !self.dry_run {
            dir.make()?;
            dir.sweep()?;
        }
        let mut steps = plan(&dir, sources, &manifest.of(&target.recorded))?;
        let changes = steps.iter().any(|step| step.put != Put::Leave);
        if !self.dry_run && changes {
            carry_out(&dir, &target, &manifest, &mut steps)?;
        }
        let files = match tree {
            Some(tree) => self.lay_out(context, &target, tree)?,
            None => Vec::new(),
        };
        drop(lock);
        let document = self.document(&target, steps, files);
        if context.json {
            output::json(out, &document)?;
        } else {
            print(out, context, &document, &target)?;
        }
        self.go_on(out)
    }
}

impl Install {
    /// Becomes another program, if there is one to become.
    fn go_on(&self, out: &mut dyn Write) -> Result<Exit, Failure> {
        let Some((program, arguments)) = self.exec.split_first() else { return Ok(Exit::Fine) };
        out.flush()?;
        let error = std::process::Command::new(program).args(arguments).exec();
        let message = format!("cannot run {}: {error}", shown(Path::new(program)));
        Err(Failure::new(message, "the plugins are installed"))
    }

    /// Puts other files where they belong: after the plugins that they name.
    fn lay_out(
        &self,
        context: &Context,
        target: &Target,
        tree: BTreeMap<String, files::Source>,
    ) -> Result<Vec<FileRow>, Failure> {
        let mut manifest = Manifest::read(&target.state)?;
        let at = |path: &Path| context.survey.at(path);
        let recorded = manifest.files.clone();
        let files = Files { at: &at, recorded: &recorded };
        let steps = files.plan(tree)?;
        if !self.dry_run && steps.values().any(files::Step::changes) {
            manifest.files = files.after(&steps);
            manifest.write(&target.state)?;
            files.carry_out(&steps, &context.conf_dir).map_err(|mut failure| {
                failure.message.push_str("; the plugins are installed");
                failure
            })?;
        }
        let row = |(path, step): (String, files::Step)| FileRow {
            kept: step.kept(&path),
            action: step.word(),
            path,
        };
        Ok(steps.into_iter().map(row).collect())
    }

    fn document(&self, target: &Target, steps: Vec<Step>, files: Vec<FileRow>) -> Document {
        let rows = steps.into_iter().map(|step| Row {
            name: step.plugin.name(),
            action: step.put.word(),
            version: step.version,
            digest: step.source.digest,
            kept: (step.put == Put::Replace).then(|| aside_name(step.plugin)),
        });
        Document {
            dry_run: self.dry_run,
            dir: target.recorded.clone(),
            plugins: rows.collect(),
            files,
        }
    }
}

/// Where the plugins are that have come with this program.
fn beside(plugins: &[Plugin]) -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe().and_then(|exe| exe.canonicalize());
    let dir = exe.ok().and_then(|exe| exe.parent().map(Path::to_path_buf)).unwrap_or_default();
    let places = [dir.clone(), dir.join("../lib/plat")];
    let has = |dir: &&PathBuf| plugins.iter().any(|plugin| dir.join(plugin.name()).exists());
    places.iter().find(has).cloned().ok_or_else(|| {
        let message = format!("no plugins are in {}, nor in ../lib/plat from there", shown(&dir));
        Failure::new(message, "name the directory of the built plugins by --from")
    })
}

/// What is to be done.
fn plan(
    dir: &BinDir,
    sources: Vec<(Plugin, Source)>,
    recorded: &BTreeMap<String, Entry>,
) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::with_capacity(sources.len());
    for (plugin, source) in sources {
        let file = dir.file(plugin);
        let entry = recorded.get(plugin.name());
        let mut known = vec![source.digest.as_str()];
        known.extend(entry.map(|entry| entry.digest.as_str()));
        let found = look(&file, &known)?;
        let put = put(&found, &source.digest);
        if put == Put::Refuse {
            let message = format!("{} is no program, and is not replaced", shown(&file));
            return Err(Failure::new(message, "remove it, or leave the plugin out by --only"));
        }
        let version = entry
            .filter(|entry| put == Put::Leave && entry.digest == source.digest)
            .map(|entry| entry.version.clone());
        steps.push(Step { plugin, source, found, put, version });
    }
    Ok(steps)
}

/// Does it, or nothing.
fn carry_out(
    dir: &BinDir,
    target: &Target,
    manifest: &Manifest,
    steps: &mut [Step],
) -> Result<(), Failure> {
    let mut changes = Vec::new();
    let done = stage(dir, steps)
        .and_then(|()| recorded(target, manifest, steps).write(&target.state))
        .and_then(|()| change(dir, steps, &mut changes));
    let Err(mut failure) = done else { return dir.sweep() };
    let mut troubles = dir.undo(changes);
    if let Err(trouble) = manifest.write(&target.state) {
        troubles.push(trouble.message);
    }
    failure.message = if troubles.is_empty() {
        format!("{}; nothing was changed", failure.message)
    } else {
        format!("{}; and that could not be undone: {}", failure.message, troubles.join("; "))
    };
    Err(failure)
}

/// Copies what is to be installed, and makes sure that each is what it should be, before anything is replaced.
fn stage(dir: &BinDir, steps: &mut [Step]) -> Result<(), Failure> {
    let mut staged = Vec::new();
    for step in steps.iter_mut().filter(|step| step.put != Put::Leave) {
        dir.stage(step.plugin, &step.source, &staged)?;
        step.version = Some(probe::version(&dir.staged(step.plugin), step.plugin)?);
        staged.push((step.plugin, step.source.dev, step.source.ino));
    }
    Ok(())
}

/// Gives everything its name.
fn change(dir: &BinDir, steps: &[Step], changes: &mut Vec<Change>) -> Result<(), Failure> {
    for step in steps.iter().filter(|step| step.put != Put::Leave) {
        changes.push(dir.put(step.plugin, &step.found)?);
        probe::version(&dir.file(step.plugin), step.plugin)?;
    }
    dir.sync()
}

/// The manifest as it will be.
fn recorded(target: &Target, manifest: &Manifest, steps: &[Step]) -> Manifest {
    let mut entries = manifest.of(&target.recorded);
    for step in steps {
        let name = step.plugin.name();
        let old = entries.remove(name);
        let before = match &step.found {
            Found::Foreign(digest) => {
                Some(Before { file: aside_name(step.plugin), digest: digest.clone() })
            }
            _ => old.as_ref().and_then(|entry| entry.before.clone()),
        };
        let version = step.version.clone().or_else(|| old.map(|entry| entry.version));
        let entry = Entry {
            digest: step.source.digest.clone(),
            version: version.unwrap_or_default(),
            previous: None,
            before,
        };
        entries.insert(name.to_owned(), entry);
    }
    let mut manifest = manifest.clone();
    manifest.set(&target.recorded, entries);
    manifest
}

fn print(
    out: &mut dyn Write,
    context: &Context,
    document: &Document,
    target: &Target,
) -> Result<(), Failure> {
    let dir = shown(&target.path);
    let plugins = document.plugins.iter().map(|row| row.action);
    let mut actions = plugins.chain(document.files.iter().map(|row| row.action));
    if actions.all(|action| action == Put::Leave.word()) {
        let files = if document.files.is_empty() { "" } else { ", and the files in their places," };
        writeln!(out, "Everything is in {dir}{files} already.")?;
        return Ok(());
    }
    let mut table = output::table(&["plugin", "what", "version", "kept"]);
    for row in &document.plugins {
        table.add_row([
            row.name.to_owned(),
            row.action.to_owned(),
            plain(row.version.as_deref().unwrap_or("-")),
            row.kept.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    writeln!(out, "{table}")?;
    if !document.files.is_empty() {
        let mut table = output::table(&["file", "what", "kept"]);
        for row in &document.files {
            let kept = row.kept.clone().unwrap_or_else(|| "-".to_owned());
            table.add_row([plain(&row.path), row.action.to_owned(), plain(&kept)]);
        }
        writeln!(out, "\n{table}")?;
    }
    if document.dry_run {
        writeln!(out, "\nNothing was changed in {dir}.")?;
        return Ok(());
    }
    let configurations = shown(&context.conf_dir);
    writeln!(
        out,
        "\nThey are in {dir}. Next: name one in a network configuration in {configurations} (\"type\" of \
         its ipam section, or of a plugin for vpp and chain); `plat conf validate` checks it, `plat status` shows what is held."
    )?;
    Ok(())
}
