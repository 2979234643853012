//! `plat import`.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ipam_core::addr::Addr;
use ipam_core::identity::{Holder, Instance};
use ipam_stores::DEFAULT_DATA_DIR;
use ipam_stores::survey::{FaultKind, NetworkState, Place};
use serde::Serialize;

use super::cluster;
use crate::configured;
use crate::context::{Command, Context, Exit, Failure};
use crate::foreign::{self, Foreign};
use crate::output;
use crate::people;
use crate::portable::Document as Portable;
use crate::problems::plain;

/// Options of `plat import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The network; with --to-pool all networks of the document, unless one is named.
    #[arg(required_unless_present = "to_pool", default_value = "", hide_default_value = true)]
    network: String,
    /// Whose state is taken over.
    #[arg(long, value_name = "KIND")]
    from: Origin,
    /// Where the state is, if not in the usual place: the network's directory, or the file.
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Which store takes it: the database of --database, or the directory of --data-dir.
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    into: Target,
    /// The IPAM instance that the addresses belong to in a database: the plugin's type.
    #[arg(long, value_name = "INSTANCE", value_parser = instance)]
    instance: Option<Instance>,
    /// Takes over what belongs to this node only, as far as the document tells.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Takes the addresses over into this cluster-wide pool instead.
    #[arg(long, value_name = "POOL", conflicts_with_all = ["into", "instance", "node"])]
    to_pool: Option<String>,
    /// Ends reservations of an earlier import that the document does not have any more.
    #[arg(long, requires = "to_pool")]
    prune: bool,
    /// Changes nothing, and tells what would be taken over.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Where state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// A directory of host-local, the reference's or ours.
    HostLocal,
    /// What `plat export --to json` wrote.
    Json,
    /// Reservations of whereabouts.
    Whereabouts,
    /// Blocks of Calico.
    Calico,
}

/// Where state goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A database.
    Sqlite,
    /// A directory in the reference's format.
    Dir,
}

fn instance(text: &str) -> Result<Instance, String> {
    Instance::new(text)
        .map_err(|error| format!("an IPAM plugin's type is needed, and this {error}"))
}

/// What was taken over.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// The network.
    network: String,
    /// How many addresses were added; those that were there already are not counted.
    added: usize,
    /// Where they are now.
    place: String,
    /// Where the directory is now that they came from; `null` if it was left alone, or there is none.
    aside: Option<String>,
    /// Whether nothing was to be changed: then what would be added.
    dry_run: bool,
}

impl Command for Import {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if let Some(pool) = &self.to_pool {
            let path = self.file()?;
            let kind = match self.from {
                Origin::Whereabouts => Foreign::Whereabouts,
                Origin::Calico => Foreign::Calico,
                Origin::HostLocal | Origin::Json => {
                    return Err(Failure::new(
                        "only whereabouts and Calico have addresses of a whole cluster",
                        "leave --to-pool away to take them over on this node",
                    ));
                }
            };
            let network = Some(self.network.as_str()).filter(|network| !network.is_empty());
            let wish = cluster::import::Wish {
                kind,
                path,
                pool,
                network,
                dry_run: self.dry_run,
                prune: self.prune,
            };
            return cluster::import::run(context, &wish, out);
        }
        let document = if self.from == Origin::HostLocal {
            self.take_over(context)?
        } else {
            let state = self.read(context)?;
            let added =
                if self.dry_run { state.allocations.len() } else { self.write(context, state)? };
            self.document(context, added, None)
        };
        if context.json {
            output::json(out, &document)?;
            return Ok(Exit::Fine);
        }
        let verb = if document.dry_run { "would be added" } else { "added" };
        let line = format!(
            "{} of {} {verb} to {}",
            people::addresses(document.added),
            document.network,
            document.place
        );
        writeln!(out, "{}", plain(&line))?;
        if let Some(aside) = &document.aside {
            writeln!(out, "the directory is now {}; nobody looks at it any more", plain(aside))?;
            writeln!(
                out,
                "the configuration of {} needs \"store\": \"sqlite\" in its ipam section from now on",
                plain(&self.network)
            )?;
        }
        Ok(Exit::Fine)
    }
}

impl Import {
    /// The file that the command line names.
    fn file(&self) -> Result<&Path, Failure> {
        self.path.as_deref().ok_or_else(|| {
            Failure::new("nothing says where the state is", "give its file by --path FILE")
        })
    }

    /// State of others.
    fn read(&self, context: &Context) -> Result<NetworkState, Failure> {
        let path = self.file()?;
        let mut state = match self.from {
            Origin::Json => read_json(path)?,
            Origin::Whereabouts => self.read_foreign(Foreign::Whereabouts, path)?,
            Origin::Calico => self.read_foreign(Foreign::Calico, path)?,
            Origin::HostLocal => {
                return Err(Failure::new("host-local's state is a directory", ""));
            }
        };
        if state.network != self.network {
            return Err(Failure::new(
                format!(
                    "{} has the state of {}, not of {}",
                    path.display(),
                    plain(&state.network),
                    plain(&self.network)
                ),
                "name that network",
            ));
        }
        state.instance = Some(self.instance_of(context, &state)?);
        Ok(state)
    }

    /// The network's state in a document of another IPAM.
    fn read_foreign(&self, kind: Foreign, path: &Path) -> Result<NetworkState, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(format!("{} cannot be read: {error}", path.display()), "")
        })?;
        let mut found = foreign::read(kind, &text, self.node.as_deref())?;
        people::warn(&found.skipped);
        let position = found.networks.iter().position(|state| state.network == self.network);
        if let Some(position) = position {
            return Ok(found.networks.swap_remove(position));
        }
        let names: Vec<&str> = found.networks.iter().map(|state| state.network.as_str()).collect();
        let advice = match names.as_slice() {
            [] => "it holds no address".to_owned(),
            names => format!("it has {}", plain(&names.join(", "))),
        };
        let message = format!("{} does not have {}", path.display(), plain(&self.network));
        Err(Failure::new(message, advice))
    }

    /// Adds a state to its store.
    fn write(&self, context: &Context, state: NetworkState) -> Result<usize, Failure> {
        let place = self.place(context);
        Ok(match self.into {
            Target::Sqlite => {
                context.survey.write_database(&place, &[state], context.lock_timeout)?
            }
            Target::Dir => context.survey.write_dir(&place, &state, context.lock_timeout)?,
        })
    }

    /// Moves a directory's state into a database, under the directory's lock.
    fn take_over(&self, context: &Context) -> Result<Document, Failure> {
        if self.into == Target::Dir {
            return Err(Failure::new(
                "a directory of host-local is a directory already",
                "leave --into away to move it into a database",
            ));
        }
        let path = self.directory(context)?;
        let state = context.survey.directory(&path)?.ok_or_else(|| {
            Failure::new(
                format!("{} is no network's directory", path.display()),
                "it has neither lock nor mark nor reservation",
            )
        })?;
        refuse_doubtful(&state)?;
        if self.dry_run {
            return Ok(self.document(context, state.allocations.len(), None));
        }
        let aside = format!(".{}@imported-{}", self.network, people::now());
        let bar = people::spinner(context, "moving addresses");
        let mut added = 0;
        let moved = context.survey.take_over(&path, &aside, context.lock_timeout, |state| {
            refuse_doubtful(&state)?;
            let instance = Some(self.instance_of(context, &state)?);
            let state = NetworkState { network: self.network.clone(), instance, ..state };
            added = self.write(context, state.clone())?;
            self.verify(context, &state)
        })?;
        bar.finish_and_clear();
        Ok(self.document(context, added, moved))
    }

    /// Looks whether everything has arrived, before the directory goes.
    fn verify(&self, context: &Context, state: &NetworkState) -> Result<(), Failure> {
        let place = self.place(context);
        let mut survey = context.survey.clone();
        survey.data_dirs.clear();
        survey.databases = vec![place.clone()];
        let (networks, _) = survey.networks();
        let arrived: HashSet<(Addr, &Holder)> = networks
            .iter()
            .filter(|there| there.network == state.network && there.instance == state.instance)
            .flat_map(|there| there.allocations.iter().map(|held| (held.addr, &held.holder)))
            .collect();
        let mut missing =
            state.allocations.iter().filter(|held| !arrived.contains(&(held.addr, &held.holder)));
        missing.next().map_or(Ok(()), |held| {
            Err(Failure::new(
                format!("{} has not arrived in {}", held.addr, place.display()),
                "the directory is as it was",
            ))
        })
    }

    /// The directory of the network, root applied.
    fn directory(&self, context: &Context) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.path {
            return Ok(context.survey.at(&crate::cli::absolute(path)));
        }
        let (networks, unseen) = context.survey.networks();
        let within: Vec<PathBuf> =
            context.data_dirs.iter().map(|dir| context.survey.at(dir)).collect();
        let mut paths: Vec<&Path> = networks
            .iter()
            .filter(|state| state.network == self.network)
            .filter_map(|state| match &state.place {
                Place::Dir(path) => Some(path.as_path()),
                Place::Database(_) => None,
            })
            .filter(|path| {
                within.is_empty()
                    || path.parent().is_some_and(|dir| within.iter().any(|named| named == dir))
            })
            .collect();
        match (paths.pop(), paths.as_slice()) {
            (Some(path), []) => Ok(path.to_path_buf()),
            (Some(path), [other, ..]) => Err(Failure::new(
                format!(
                    "{} has several directories: {} and {}",
                    plain(&self.network),
                    other.display(),
                    path.display()
                ),
                "name one by --path, or its dataDir by --data-dir",
            )),
            (None, _) => {
                people::must_exist(&self.network, &networks, &unseen)?;
                Err(Failure::new(
                    format!("{} has no directory", plain(&self.network)),
                    "it is in a database already, as `plat status` shows",
                ))
            }
        }
    }

    /// The instance that the addresses belong to: as it was given, as the state says, as the one
    /// configuration of that name says, else by what only node-local leaves.
    fn instance_of(&self, context: &Context, state: &NetworkState) -> Result<Instance, Failure> {
        if let Some(instance) = self.instance.clone().or_else(|| state.instance.clone()) {
            return Ok(instance);
        }
        let (configured, _) = configured::all(context);
        let mut types: Vec<&str> = configured
            .iter()
            .filter(|section| section.network == self.network)
            .map(|section| section.plugin.as_str())
            .collect();
        types.dedup();
        let plugin = match types.as_slice() {
            [one] => one,
            [] if state.pin.is_some() => "node-local",
            [] => "host-local",
            [_, _, ..] => {
                return Err(Failure::new(
                    format!(
                        "{} is configured for several plugins: {}",
                        plain(&self.network),
                        plain(&types.join(", "))
                    ),
                    "name the one whose addresses these are by --instance",
                ));
            }
        };
        Instance::new(plugin).map_err(|error| {
            Failure::new(format!("the plugin {} {error}", plain(plugin)), "give --instance")
        })
    }

    /// The store that takes the state, before the root is applied.
    fn place(&self, context: &Context) -> PathBuf {
        match self.into {
            Target::Sqlite => context
                .databases
                .first()
                .cloned()
                .unwrap_or_else(|| context.survey.state.volatile.join("plat.db")),
            Target::Dir => {
                context.data_dirs.first().cloned().unwrap_or_else(|| DEFAULT_DATA_DIR.into())
            }
        }
    }

    fn document(&self, context: &Context, added: usize, aside: Option<PathBuf>) -> Document {
        Document {
            network: self.network.clone(),
            added,
            place: self.place(context).display().to_string(),
            aside: aside.map(|path| path.display().to_string()),
            dry_run: self.dry_run,
        }
    }
}

fn read_json(path: &Path) -> Result<NetworkState, Failure> {
    let wrong = |what: String| {
        Failure::new(
            format!("{} {}", path.display(), plain(&what)),
            "a file is needed that `plat export --to json` wrote",
        )
    };
    let text =
        std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let document: Portable =
        serde_json::from_str(&text).map_err(|error| wrong(format!("is no export: {error}")))?;
    document.state().map_err(wrong)
}

/// Refuses a directory in which it is not clear who holds what, or that other nodes use.
fn refuse_doubtful(state: &NetworkState) -> Result<(), Failure> {
    if state.shared {
        return Err(Failure::new(
            format!("{} lies on a network file system", state.place.path().display()),
            "a database is of one node; other nodes may hold addresses here",
        ));
    }
    let doubtful = state
        .faults
        .iter()
        .find(|fault| matches!(fault.kind, FaultKind::Unreadable | FaultKind::Twice));
    doubtful.map_or(Ok(()), |fault| {
        Err(Failure::new(
            format!(
                "{}: {} does not say clearly who holds its address",
                state.place.path().display(),
                plain(&fault.what)
            ),
            "`plat check` tells what is wrong; nothing was changed",
        ))
    })
}
