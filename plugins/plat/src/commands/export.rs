//! `plat export`.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ipam_core::addr::Addr;
use ipam_stores::DEFAULT_DATA_DIR;
use ipam_stores::survey::{Allocation, NetworkState, Place};
use serde::Serialize;

use crate::configured;
use crate::context::{Command, Context, Exit, Failure};
use crate::output;
use crate::people;
use crate::portable::Document as Portable;
use crate::problems::plain;

/// Options of `plat export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The network.
    network: String,
    /// What is written: a directory in host-local's format, within --data-dir, or a JSON document.
    #[arg(long, value_name = "FORM")]
    to: Form,
    /// The file for --to json, instead of standard output.
    file: Option<PathBuf>,
    /// Takes the addresses out of the database: the way back to a directory.
    #[arg(long = "move")]
    moves: bool,
    /// Of this IPAM instance, where a database has several of one network.
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A directory in host-local's format.
    Dir,
    /// A JSON document.
    Json,
}

/// What was written, by `--to dir`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// The network.
    network: String,
    /// How many addresses were written; those that were there already are not counted.
    written: usize,
    /// The directory.
    place: String,
    /// How many were taken out of the database.
    moved: usize,
}

impl Command for Export {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self.to {
            Form::Json => self.to_json(context, out),
            Form::Dir => self.to_dir(context, out),
        }
    }
}

impl Export {
    /// The network's state; directories only where they may be what is exported.
    fn state(&self, context: &Context, with_directories: bool) -> Result<NetworkState, Failure> {
        let (networks, unseen) = context.survey.networks();
        people::must_exist(&self.network, &networks, &unseen)?;
        let is_meant = |state: &NetworkState| {
            let instance = state.instance.as_ref().map(ToString::to_string);
            state.network == self.network
                && (with_directories || matches!(state.place, Place::Database(_)))
                && (self.instance.is_none() || instance == self.instance)
        };
        let mut meant: Vec<NetworkState> = networks.into_iter().filter(is_meant).collect();
        let first = meant.pop().ok_or_else(|| match &self.instance {
            Some(instance) => Failure::new(
                format!("{} has no instance {}", plain(&self.network), plain(instance)),
                "`plat status` shows which there are",
            ),
            None => Failure::new(
                format!("{} is in no database", plain(&self.network)),
                "only what is in a database can be exported to a directory",
            ),
        })?;
        if meant.is_empty() {
            return Ok(first);
        }
        let others: Vec<String> = meant
            .iter()
            .chain([&first])
            .map(|state| {
                let instance =
                    state.instance.as_ref().map_or_else(String::new, |one| format!(" ({one})"));
                format!("{}{instance}", state.place.path().display())
            })
            .collect();
        Err(Failure::new(
            format!("{} has state in several places: {}", plain(&self.network), others.join(", ")),
            "name the instance by --instance; `plat check` shows what is in two places",
        ))
    }

    fn to_json(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if self.moves {
            return Err(Failure::new(
                "--move is for --to dir only",
                "a file keeps no address from being given out again",
            ));
        }
        let document = Portable::of(&self.state(context, true)?);
        let Some(path) = &self.file else {
            output::json(out, &document)?;
            return Ok(Exit::Fine);
        };
        let mut text = serde_json::to_vec_pretty(&document).map_err(std::io::Error::from)?;
        text.push(b'\n');
        std::fs::write(path, text).map_err(|error| {
            Failure::new(format!("{} cannot be written: {error}", path.display()), "")
        })?;
        Ok(Exit::Fine)
    }

    fn to_dir(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if self.file.is_some() {
            return Err(Failure::new(
                "--to dir needs no file",
                "name the dataDir by --data-dir; the network's directory is made in it",
            ));
        }
        let state = self.state(context, false)?;
        let data_dir =
            context.data_dirs.first().cloned().unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        if !self.moves && self.is_used(context, &data_dir) {
            return Err(Failure::new(
                format!(
                    "{} is a dataDir in use, and an address must not be in two stores",
                    data_dir.display()
                ),
                "give --move to take the addresses out of the database, or another --data-dir for a copy",
            ));
        }
        let spinner = people::spinner(context, "writing addresses");
        let written = context.survey.write_dir(&data_dir, &state, context.lock_timeout)?;
        let mut document = Document {
            network: self.network.clone(),
            written,
            place: data_dir.join(&self.network).display().to_string(),
            moved: 0,
        };
        let changed =
            if self.moves { self.take_out(context, &state, &data_dir, &mut document)? } else { 0 };
        spinner.finish_and_clear();
        if context.json {
            output::json(out, &document)?;
        } else {
            let line = format!(
                "{} of {} written to {}",
                people::addresses(written),
                self.network,
                document.place
            );
            writeln!(out, "{}", plain(&line))?;
            if self.moves {
                writeln!(out, "{} taken out of {}", document.moved, state.place.path().display())?;
            }
        }
        if changed > 0 {
            return Err(Failure::new(
                format!(
                    "{} changed in the database meanwhile, and stay there",
                    people::addresses(changed)
                ),
                "run it again",
            ));
        }
        Ok(Exit::Fine)
    }

    /// Takes what was written out of the database. What has changed there meanwhile is taken out of the
    /// directory again: it is never in neither.
    fn take_out(
        &self,
        context: &Context,
        state: &NetworkState,
        data_dir: &Path,
        document: &mut Document,
    ) -> Result<usize, Failure> {
        let freed = context.survey.free(state, &state.allocations, context.lock_timeout)?;
        document.moved = freed.len();
        let freed: HashSet<Addr> = freed.into_iter().collect();
        let changed: HashSet<Addr> = state
            .allocations
            .iter()
            .map(|held| held.addr)
            .filter(|addr| !freed.contains(addr))
            .collect();
        if changed.is_empty() {
            return Ok(0);
        }
        let path = context.survey.at(data_dir).join(&self.network);
        if let Some(written) = context.survey.directory(&path)? {
            let stale: Vec<Allocation> = written
                .allocations
                .iter()
                .filter(|held| changed.contains(&held.addr))
                .cloned()
                .collect();
            context.survey.free(&written, &stale, context.lock_timeout)?;
        }
        Ok(changed.len())
    }

    /// Whether an IPAM plugin may look into a dataDir for this network: it is the default one, remembered, or
    /// configured.
    fn is_used(&self, context: &Context, data_dir: &Path) -> bool {
        data_dir == Path::new(DEFAULT_DATA_DIR)
            || context.survey.places().iter().any(|(_, place)| place == data_dir)
            || configured::all(context)
                .0
                .iter()
                .any(|section| section.data_dir.as_deref() == Some(data_dir))
    }
}
