//! `plat node`.

mod adopt;
mod ls;
mod remove;
mod shared;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ipam_core::node::{NodeIdentity, index_of_host_name, parse_index};
use ipam_stores::survey::{NetworkState, Place};
use node_local::{Surroundings, Wanted, find, read_index, registered_file};
use serde_json::{Value, json};

use crate::configured::{self, read_file, surroundings};
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::node::{ChangedPin, OwnNode, Pin, Repinned, Source};
use crate::netconf::{self, printable};
use crate::{output, people};

/// Commands of `plat node`.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Lists the nodes of the cluster.
    Ls(ls::Ls),
    /// Shows a node of the cluster; without one, which index this node has for node-local, and where it comes from.
    Show(Show),
    /// Removes a node from the cluster, and takes back what it holds.
    Remove(remove::Remove),
    /// Makes this installation the node that it was before it was installed anew, or a new one.
    Adopt(adopt::Adopt),
    /// Moves a network to another node index, though it holds addresses of the former one.
    Repin(Repin),
}

impl Command for Node {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Ls(command) => command.run(context, out),
            Self::Show(command) => command.run(context, out),
            Self::Remove(command) => command.run(context, out),
            Self::Adopt(command) => command.run(context, out),
            Self::Repin(command) => command.run(context, out),
        }
    }
}

/// Options of `plat node show`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 the index is known, 1 a network was made with another one, 2 it is not \
                  known; of a node of the cluster: 0, 1 if it was removed, 3 if etcd cannot be read."
)]
pub(crate) struct Show {
    /// A node of the cluster: its name, index or UUID.
    #[arg(value_name = "NODE", conflicts_with = "conf")]
    node: Option<String>,
    /// A configuration whose `index`, `hostname` and `cfgDir` count, too.
    #[arg(long, value_name = "CONF")]
    conf: Option<PathBuf>,
}

/// What a source says, before it is known whether it is asked.
type Said = Result<Option<String>, String>;

impl Command for Show {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if let Some(node) = &self.node {
            return shared::show(context, out, node);
        }
        let around = surroundings(context);
        let net = self.configuration(context)?;
        let wanted = node_local::wanted(&net).map_err(|problem| {
            Failure::new(printable(&problem.error.message), printable(&problem.error.details))
        })?;
        let found = find(&net, &around);
        let sources = sources(&wanted, &around);
        let (networks, _) = context.survey.networks();
        let index = found.as_ref().ok().map(|node| node.index);
        let other: Vec<&NetworkState> = networks
            .iter()
            .filter(|network| network.pin.is_some_and(|pin| Some(pin) != index))
            .collect();
        let exit = match (&found, other.is_empty()) {
            (Err(_), _) => Exit::Critical,
            (Ok(_), false) => Exit::Warning,
            (Ok(_), true) => Exit::Fine,
        };
        if context.json {
            let pins = networks.iter().filter_map(|network| {
                Some(Pin { network: &network.network, place: path(network), index: network.pin? })
            });
            let document = OwnNode {
                node: &around.host_name,
                index,
                source: found.as_ref().ok().map(|node| node.source.as_str()),
                error: found.as_ref().err().map(|problem| problem.error.message.as_str()),
                sources: &sources,
                pins: pins.collect(),
            };
            output::json(out, &document)?;
            return Ok(exit);
        }
        match &found {
            Ok(NodeIdentity { index, name, source }) => {
                writeln!(
                    out,
                    "node {} has index {index}, from {}",
                    printable(name),
                    printable(source)
                )?;
            }
            Err(problem) => {
                writeln!(out, "{}", printable(&problem.error.message))?;
                writeln!(out, "  {}", printable(&problem.error.details))?;
            }
        }
        writeln!(out)?;
        let mut table = output::table(&["", "source", "place", "says", "index", ""]);
        for source in &sources {
            table.add_row([
                if source.used { "*" } else { "" }.to_owned(),
                source.source.to_owned(),
                printable(&source.place),
                source.says.as_deref().map_or_else(|| "-".to_owned(), printable),
                source.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
                printable(&source.note),
            ]);
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        for network in other {
            let pin = network.pin.unwrap_or_default();
            let name = printable(&network.network);
            writeln!(
                out,
                "\nnetwork {name} holds addresses of index {pin}: plat node repin {name}"
            )?;
        }
        Ok(exit)
    }
}

impl Show {
    /// The configuration to look with: one of node-local that says nothing, unless one is given.
    fn configuration(&self, context: &Context) -> Result<Value, Failure> {
        let Some(path) = &self.conf else { return Ok(json!({"ipam": {"type": "node-local"}})) };
        let name = printable(&path.display().to_string());
        let advice = "a network configuration with an ipam section of type node-local";
        let text = read_file(&context.survey.at(path))
            .map_err(|error| Failure::new(format!("{name} {error}"), advice))?;
        let members = netconf::read(&text).into_iter().flatten().flat_map(|d| d.members());
        let mut members = members.filter(|member| member.ipam() == Some("node-local"));
        members.next().map(|member| member.net).ok_or_else(|| {
            Failure::new(
                format!("{name} has no ipam section of type node-local"),
                format!("plat conf validate {name} tells what is in it"),
            )
        })
    }
}

/// Every source in its order, with what it says, also where it is not asked.
fn sources(wanted: &Wanted, around: &Surroundings) -> Vec<Source> {
    let file = around.at(&wanted.file);
    let registered = around.at(&registered_file(around));
    let read = |path: &Path| -> Said {
        let text = read_index(path).map_err(|error| error.message)?;
        Ok(text.map(|(_, text)| text.trim().to_owned()))
    };
    let shown = |path: &Path| path.display().to_string();
    let host_rule = match &wanted.pattern {
        Some(pattern) => format!("pattern {pattern}"),
        None => "the only number, at the end".to_owned(),
    };
    let plain = |said: &str| parse_index("", said).map_err(|_| "is no index".to_owned());
    let by_name = |name: &str| {
        index_of_host_name(name, wanted.pattern.as_deref()).map_err(|error| error.to_string())
    };
    let all: [(&'static str, String, Said); 5] = [
        ("configuration", "ipam.index".to_owned(), Ok(wanted.index.clone())),
        ("file", shown(&file), read(&file)),
        ("environment", "NODE_INDEX".to_owned(), Ok(around.environment.clone())),
        ("host name", host_rule, Ok(Some(around.host_name.clone()))),
        ("registered", shown(&registered), read(&registered)),
    ];
    let mut decided: Option<&'static str> = None;
    let mut sources = Vec::with_capacity(all.len());
    for (source, place, said) in all {
        let index = match &said {
            Ok(Some(text)) if source == "host name" => by_name(text).map(Some),
            Ok(Some(text)) => plain(text).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error.clone()),
        };
        // A host name that tells nothing leaves it to the next source; anything else that is there counts.
        let passes = matches!(index, Ok(None)) || source == "host name" && index.is_err();
        let (used, note) = match (decided, &index) {
            (Some(first), Ok(Some(_))) => (false, format!("not asked: {first} comes first")),
            (_, Ok(None)) => (false, "says nothing".to_owned()),
            (None, Ok(Some(_))) => (true, String::new()),
            (_, Err(error)) => (false, error.clone()),
        };
        if decided.is_none() && !passes {
            decided = Some(source);
        }
        let index = index.ok().flatten();
        sources.push(Source { source, place, says: said.ok().flatten(), index, used, note });
    }
    if let Some(environment) = sources.iter_mut().find(|source| source.source == "environment")
        && environment.says.is_some()
    {
        environment.note.push_str(if environment.note.is_empty() { "" } else { "; " });
        environment.note.push_str("of this shell, the runtime's may be another");
    }
    sources
}

/// Options of `plat node repin`.
#[derive(Debug, Args)]
#[command(
    after_help = "The index is pinned while a network holds addresses, so that a node that is renamed does \
                  not hand out another node's. Those that are held stay as they are until their containers \
                  end; make sure that no other node has the former index, or hands them out again."
)]
pub(crate) struct Repin {
    /// The network.
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The index; without it, the one that this node has now.
    #[arg(long, value_name = "N")]
    index: Option<u32>,
    /// Does it without asking.
    #[arg(long)]
    yes: bool,
}

impl Command for Repin {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let name = printable(&self.network);
        let (networks, unseen) = context.survey.networks();
        let places: Vec<&NetworkState> = networks
            .iter()
            .filter(|network| network.network == self.network && network.pin.is_some())
            .collect();
        if places.is_empty() {
            let known = networks.iter().any(|network| network.network == self.network);
            let message = match (known, unseen.first()) {
                (true, _) => format!("network {name} is not pinned to an index"),
                (false, Some(unseen)) => format!("network {name} is not known: {}", unseen.error),
                (false, None) => format!("network {name} is not known"),
            };
            let advice = "plat status lists the networks; only those of node-local that hold addresses \
                          are pinned";
            return Err(Failure::new(printable(&message), advice));
        }
        let index = match self.index {
            Some(index) => index,
            None => self.own_index(context)?,
        };
        let stale: Vec<&NetworkState> =
            places.into_iter().filter(|network| network.pin != Some(index)).collect();
        if !stale.is_empty() && !self.yes {
            confirm(&stale, index, context)?;
        }
        for network in &stale {
            context.survey.set_pin(network, index, context.lock_timeout)?;
        }
        if context.json {
            let changed = stale.iter().map(|network| ChangedPin {
                place: path(network),
                from: network.pin,
                to: index,
            });
            let document = Repinned { network: &self.network, index, changed: changed.collect() };
            output::json(out, &document)?;
        } else if stale.is_empty() {
            writeln!(out, "network {name} is at index {index} already")?;
        }
        for network in stale.iter().filter(|_| !context.json) {
            let (from, held) = (network.pin.unwrap_or_default(), network.allocations.len());
            let place = shown_place(&network.place);
            writeln!(out, "network {name} in {place}: from index {from} to {index}")?;
            writeln!(
                out,
                "  {} of index {from}: held until the containers end",
                people::addresses(held)
            )?;
        }
        Ok(Exit::Fine)
    }
}

impl Repin {
    /// The index that this node has now, for the network's configuration where there is one.
    fn own_index(&self, context: &Context) -> Result<u32, Failure> {
        let around = surroundings(context);
        let net = configured::member(context, &self.network, "node-local")
            .map_or_else(|| json!({"ipam": {"type": "node-local"}}), |member| member.net);
        find(&net, &around).map(|node| node.index).map_err(|problem| {
            let advice = format!("give it by --index N; {}", problem.error.details);
            Failure::new(printable(&problem.error.message), printable(&advice))
        })
    }
}

/// Says what will happen and asks.
fn confirm(stale: &[&NetworkState], index: u32, context: &Context) -> Result<(), Failure> {
    let mut stderr = io::stderr().lock();
    for network in stale {
        let (from, held) = (network.pin.unwrap_or_default(), network.allocations.len());
        let name = printable(&network.network);
        let place = shown_place(&network.place);
        let _ = writeln!(
            stderr,
            "network {name} in {place} holds {} made with index {from}.\n\
             With index {index} new addresses come from other ranges; the old ones stay held until their \
             containers end,\nand no other node may have index {from} before that.",
            people::addresses(held)
        );
    }
    let refused = || {
        Failure::new("nothing was changed", "plat node repin NETWORK --yes does it without asking")
    };
    if context.json || !io::stdin().is_terminal() {
        return Err(refused());
    }
    let _ = write!(stderr, "Change the index? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if read.is_ok() && yes { Ok(()) } else { Err(refused()) }
}

/// Where a network's state is, for programs.
fn path(network: &NetworkState) -> String {
    network.place.path().to_string_lossy().into_owned()
}

fn shown_place(place: &Place) -> String {
    printable(&place.path().display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_that_says_something_is_used() {
        let nowhere = PathBuf::from("/nowhere");
        let wanted = |index: Option<&str>, pattern: Option<&str>| Wanted {
            index: index.map(str::to_owned),
            pattern: pattern.map(str::to_owned),
            file: nowhere.join("index"),
        };
        for (index, environment, host_name, pattern, used) in [
            (Some("4"), Some("5"), "vm-006", None, Some(("configuration", 4))),
            (None, Some("5"), "vm-006", None, Some(("environment", 5))),
            (None, None, "vm-006", None, Some(("host name", 6))),
            (None, None, "ip-10-0-0-7", Some("^ip-10-0-0-([0-9]+)$"), Some(("host name", 7))),
            (None, None, "ip-10-0-0-7", None, None),
            // What cannot be understood is no reason to go on to the next.
            (Some("x"), Some("5"), "vm-006", None, None),
        ] {
            let around = Surroundings {
                root: nowhere.clone(),
                host_name: host_name.to_owned(),
                environment: environment.map(str::to_owned),
                state_dir: nowhere.clone(),
            };
            let net = json!({"ipam": {"index": index, "hostname": pattern}});
            let all = sources(&wanted(index, pattern), &around);
            let of = all.iter().find(|source| source.used);
            assert_eq!(of.map(|s| (s.source, s.index.unwrap())), used, "{all:?}");
            assert_eq!(find(&net, &around).ok().map(|node| node.index), used.map(|u| u.1));
        }
    }
}
