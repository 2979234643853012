//! `plat release`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use clap::Args;
use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_stores::survey::{Allocation, NetworkState};
use serde::Serialize;

use crate::context::{Command, Context, Exit, Failure};
use crate::living::verdict::{Trusted, Verdict, verdict};
use crate::living::{Living, Sources, container_of, pod_text};
use crate::output;
use crate::people;
use crate::problems::{holder_text, plain};

/// Options of `plat release`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The address, such as 10.1.2.3.
    #[arg(value_name = "IP", value_parser = address, required_unless_present_any = ["container", "pod"],
          conflicts_with_all = ["container", "pod"])]
    ip: Option<Addr>,
    /// Everything that a container holds; the beginning of its ID is enough.
    #[arg(long, value_name = "ID", conflicts_with = "pod")]
    container: Option<String>,
    /// Everything that a pod holds.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pod: Option<(String, String)>,
    /// In this network only.
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Frees also what is in use, or may be in use by another node.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sources: Sources,
}

fn address(text: &str) -> Result<Addr, String> {
    Addr::parse(text).ok_or_else(|| "an address is needed, such as 10.1.2.3 or fd00::5".to_owned())
}

fn pod(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("a namespace and a name are needed, such as default/web-0".to_owned()),
    }
}

/// What was freed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document {
    /// The addresses that were freed.
    freed: Vec<Entry>,
    /// What was held when it was looked for, and has changed since: not freed.
    changed: Vec<Entry>,
}

/// An address.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Entry {
    /// The network.
    network: String,
    /// What holds it: `dir` or `sqlite`.
    store: &'static str,
    /// The network's directory, or the database.
    place: String,
    /// The address.
    address: String,
    /// The container ID; `null` if it is not recorded.
    container: Option<String>,
    /// The pod, `namespace/name`; `null` if it is not recorded.
    pod: Option<String>,
    #[serde(skip)]
    holder: String,
}

impl Command for Release {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut states, unseen) = context.survey.networks();
        if let Some(network) = &self.network {
            people::must_exist(network, &states, &unseen)?;
            states.retain(|state| state.network == *network);
        }
        let living = self.sources.gather(context)?;
        living.mark_shared(&mut states);
        let found = self.find(&states, &living)?;
        if found.is_empty() {
            let advice = match unseen.first() {
                Some(unseen) => unseen.error.to_string(),
                None => "`plat ls` shows who holds what".to_owned(),
            };
            return Err(Failure::new(
                format!("nothing is held by {}", self.whom()),
                plain(&advice),
            ));
        }
        let networks: BTreeSet<&str> =
            found.iter().map(|(state, _)| state.network.as_str()).collect();
        if self.ip.is_some() && networks.len() > 1 {
            let names: Vec<&str> = networks.into_iter().collect();
            return Err(Failure::new(
                format!("{} is held in several networks: {}", self.whom(), names.join(", ")),
                "name one by --network",
            ));
        }
        if !self.force {
            refuse_living(&found, &living)?;
        }
        let mut document = Document { freed: Vec::new(), changed: Vec::new() };
        for state in &states {
            let held: Vec<Allocation> = found
                .iter()
                .filter(|(of, _)| std::ptr::eq(*of, state))
                .map(|(_, held)| (*held).clone())
                .collect();
            if held.is_empty() {
                continue;
            }
            let freed = context.survey.free(state, &held, context.lock_timeout)?;
            for held in &held {
                let list = if freed.contains(&held.addr) {
                    &mut document.freed
                } else {
                    &mut document.changed
                };
                list.push(entry(state, held, &living));
            }
        }
        if context.json {
            output::json(out, &document)?;
        } else {
            for (verb, entries) in
                [("freed", &document.freed), ("not freed, it has changed:", &document.changed)]
            {
                for entry in entries {
                    let pod =
                        entry.pod.as_ref().map_or_else(String::new, |pod| format!(", pod {pod}"));
                    let line = format!(
                        "{verb} {} in {}, held by {}{pod}",
                        entry.address, entry.network, entry.holder
                    );
                    writeln!(out, "{}", plain(&line))?;
                }
            }
        }
        Ok(if document.changed.is_empty() { Exit::Fine } else { Exit::Failed })
    }
}

impl Release {
    fn whom(&self) -> String {
        let whom = match (&self.ip, &self.container, &self.pod) {
            (Some(ip), ..) => return ip.to_string(),
            (_, Some(container), _) => format!("container {container}"),
            (_, _, Some((namespace, name))) => format!("pod {namespace}/{name}"),
            (None, None, None) => String::new(),
        };
        plain(&whom)
    }

    fn find<'a>(
        &self,
        states: &'a [NetworkState],
        living: &Living,
    ) -> Result<Vec<(&'a NetworkState, &'a Allocation)>, Failure> {
        let is_meant = |state: &NetworkState, held: &Allocation| match (&self.ip, &self.container) {
            (Some(ip), _) => held.addr == *ip,
            (None, Some(container)) => container_of(&held.holder)
                .is_some_and(|id| id.as_str().starts_with(container.as_str())),
            (None, None) => {
                let Owner { namespace, name, .. } =
                    living.owner_of(held.network(&state.network), held);
                let of = namespace.zip(name);
                of.is_some() && of == self.pod
            }
        };
        let found: Vec<(&NetworkState, &Allocation)> = states
            .iter()
            .flat_map(|state| state.allocations.iter().map(move |held| (state, held)))
            .filter(|(state, held)| is_meant(state, held))
            .collect();
        let Some(container) = &self.container else { return Ok(found) };
        let mut ids: BTreeSet<&str> = found
            .iter()
            .filter_map(|(_, held)| Some(container_of(&held.holder)?.as_str()))
            .collect();
        if ids.remove(container.as_str()) {
            // The whole ID of one may be the beginning of another's.
            let is_it = |held: &Allocation| {
                container_of(&held.holder).is_some_and(|id| id.as_str() == container)
            };
            return Ok(found.into_iter().filter(|(_, held)| is_it(held)).collect());
        }
        if ids.len() > 1 {
            return Err(Failure::new(
                format!("{} containers have IDs that begin with {}", ids.len(), plain(container)),
                "write more of the ID",
            ));
        }
        Ok(found)
    }
}

/// Refuses if anything of it is in use, and says by whom.
fn refuse_living(found: &[(&NetworkState, &Allocation)], living: &Living) -> Result<(), Failure> {
    for (state, held) in found {
        let why = match verdict(&state.network, held, living, Trusted::default()) {
            Verdict::Lives(why) => why,
            _ if state.shared => "other nodes use this directory, too".to_owned(),
            Verdict::Gone(_) | Verdict::Unknown(_) => continue,
        };
        let holder = match container_of(&held.holder) {
            Some(id) => format!("container {id}"),
            None => "somebody unknown".to_owned(),
        };
        let pod = pod_text(&living.owner_of(held.network(&state.network), held));
        let pod = pod.map_or_else(String::new, |pod| format!(", pod {pod}"));
        let mut cached = living.cached_of(held.network(&state.network), &held.holder);
        let path = cached.find_map(|entry| entry.path.as_deref().map(Path::display));
        let path = path
            .map(|path| format!(", namespace {path}"))
            .filter(|path| !why.contains(path.trim_start_matches(", namespace ")))
            .unwrap_or_default();
        let text = format!("{} is held by {holder}{pod}{path}, and is in use: {why}", held.addr);
        return Err(Failure::new(
            plain(&text),
            "freed, it may be given to a second container; --force frees it all the same",
        ));
    }
    Ok(())
}

fn entry(state: &NetworkState, held: &Allocation, living: &Living) -> Entry {
    Entry {
        network: state.network.clone(),
        store: state.place.kind(),
        place: state.place.path().display().to_string(),
        address: held.addr.to_string(),
        container: container_of(&held.holder).map(ToString::to_string),
        pod: pod_text(&living.owner_of(held.network(&state.network), held)),
        holder: holder_text(&held.holder),
    }
}
