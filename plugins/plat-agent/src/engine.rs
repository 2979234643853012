/*!
One look at everything: what should be, what is there, what has to be done, and what became of it.
*/

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::desired::{Connected, Desired, Facts, desired};
use crate::diff::{Item, Present, Step, Wanted, diff};
use crate::forwarding::{Forwarded, Measure, Traffic};
use crate::replay::VppReport;
use crate::sinks::{Change, Sink};
use crate::sources::{Me, Sources};

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What has to be done is done.
    Apply,
    /// It is only told.
    Explain,
}

/// What was found and done.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Each place where routes are.
    pub sinks: Vec<SinkReport>,
    /// What sources tell and makes no route.
    pub refused: Vec<RefusedRow>,
    /// What is seen to besides routes, so that packets get through.
    pub forwarding: Vec<Measure>,
    /// What is wrong besides, a sentence each.
    pub notes: Vec<String>,
    /// What may be worth knowing, and is nothing to be woken for.
    pub hints: Vec<String>,
    /// Whether every source has told all it knows; if not, nothing is removed.
    pub complete: bool,
    /// The VPPs whose attachments are put back after a restart; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vpps: Vec<VppReport>,
}

/// A place where routes are.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SinkReport {
    /// How people know it.
    pub sink: String,
    /// Why nothing was done there; absent if nothing was in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The routes.
    pub routes: Vec<Row>,
}

/// One route.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    /// What is done.
    pub action: Action,
    /// The destination.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub destination: IpNet,
    /// What is there, or will be: `via 192.168.16.2`.
    pub route: String,
    /// The node that it leads to; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why.
    pub reason: String,
    /// Why it could not be done; absent if it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is done about a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Add,
    /// It is made to go another way.
    Replace,
    /// It is removed.
    Remove,
    /// It is as it should be.
    Keep,
    /// It stays, though nobody can say now whether it should be there.
    Hold,
    /// Somebody else has one: nothing is done.
    Foreign,
    /// There is no way to its next hop here.
    Unreachable,
}

/// What makes no route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusedRow {
    /// The destination.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub destination: IpNet,
    /// The node that it is said to be on.
    pub node: String,
    /// Where it comes from.
    pub origin: String,
    /// Why it is refused.
    pub reason: String,
}

fn as_text<S: Serializer>(net: &IpNet, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(net)
}

impl Report {
    /// How many routes there are with an action.
    #[must_use]
    pub fn count(&self, action: Action) -> usize {
        self.sinks.iter().flat_map(|sink| &sink.routes).filter(|row| row.action == action).count()
    }

    fn add(&mut self, found: Forwarded) {
        self.forwarding.extend(found.measures);
        self.notes.extend(found.notes);
        self.hints.extend(found.hints);
    }

    /// Whether all is as it should be.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        let fine = |row: &Row| {
            row.error.is_none() && !matches!(row.action, Action::Foreign | Action::Unreachable)
        };
        self.complete
            && self.refused.is_empty()
            && self.notes.is_empty()
            && self.forwarding.iter().all(|measure| measure.error.is_none())
            && self.sinks.iter().all(|sink| sink.trouble.is_none() && sink.routes.iter().all(fine))
            && self.vpps.iter().all(VppReport::is_fine)
    }
}

/// Looks at everything once.
pub fn look(sources: &Sources, me: &Me, sinks: &mut [Box<dyn Sink>], mode: Mode) -> Report {
    let told = sources.told(me);
    let mut notes = told.notes;
    let mut connected = crate::sinks::connected().unwrap_or_else(|error| {
        notes.push(error.to_string());
        Vec::new()
    });
    for address in &me.addresses {
        if !connected.iter().any(|net| net.address == *address) {
            let (network, link) = (IpNet::from(*address), "the uplink".to_owned());
            connected.push(Connected { network, address: *address, link });
        }
    }
    let facts = Facts { entries: told.entries, connected, complete: told.complete };
    let wanted = desired(&facts);
    let mut report = go(&wanted, sinks, mode);
    let traffic = traffic(&facts, &wanted, told.here, me);
    report.notes = notes;
    for sink in sinks.iter_mut() {
        report.add(sink.forward(&traffic, mode == Mode::Apply));
    }
    report
}

/// What goes through this node: of what was told, all that was not refused.
fn traffic(facts: &Facts, wanted: &Desired, here: Vec<IpNet>, me: &Me) -> Traffic {
    let own = facts.entries.iter().filter(|entry| entry.own).map(|entry| entry.prefix.trunc());
    let mut own: Vec<IpNet> = own.chain(here).filter(|net| net.prefix_len() > 0).collect();
    own.sort_unstable();
    own.dedup();
    let routes: BTreeMap<_, _> =
        wanted.routes.iter().map(|(prefix, route)| (*prefix, route.via)).collect();
    let vias = routes.values().chain(wanted.held.values().flatten()).copied();
    let mine = facts.connected.iter().map(|net| net.address);
    let mut nodes: Vec<_> = vias.chain(mine).collect();
    nodes.sort_unstable();
    nodes.dedup();
    Traffic {
        own,
        further: wanted.held.keys().copied().collect(),
        nodes,
        addresses: me.addresses.clone(),
        complete: wanted.complete,
        routes,
    }
}

/// Removes all that is ours.
pub fn cleanup(sinks: &mut [Box<dyn Sink>], mode: Mode) -> Report {
    let mut report = go(&Desired { complete: true, ..Desired::default() }, sinks, mode);
    for sink in sinks.iter_mut() {
        report.add(sink.forward_cleanup(mode == Mode::Apply));
    }
    for row in report.sinks.iter_mut().flat_map(|sink| &mut sink.routes) {
        "ours, and all of ours are to be removed".clone_into(&mut row.reason);
    }
    report
}

fn go(wanted: &Desired, sinks: &mut [Box<dyn Sink>], mode: Mode) -> Report {
    let refused = wanted.refused.iter().map(|refused| RefusedRow {
        destination: refused.prefix,
        node: refused.node.clone(),
        origin: refused.origin.clone(),
        reason: refused.reason.to_string(),
    });
    Report {
        sinks: sinks.iter_mut().map(|sink| at(wanted, sink.as_mut(), mode)).collect(),
        refused: refused.collect(),
        forwarding: Vec::new(),
        notes: Vec::new(),
        hints: Vec::new(),
        complete: wanted.complete,
        vpps: Vec::new(),
    }
}

/// What is done at one place.
fn at(desired: &Desired, sink: &mut dyn Sink, mode: Mode) -> SinkReport {
    let mut report = SinkReport { sink: sink.name(), ..SinkReport::default() };
    let present = match sink.list() {
        Ok(present) => present,
        Err(trouble) => {
            report.trouble = Some(trouble);
            return report;
        }
    };
    let (wanted, unreachable) = ways(desired, sink);
    let items = diff(&wanted, &present);
    let changes: Vec<Change> = items.iter().filter_map(change).collect();
    report.routes = items.iter().filter_map(|item| row(item, desired, &present)).collect();
    report.routes.extend(unreachable);
    if mode == Mode::Apply && !changes.is_empty() {
        match sink.apply(&changes) {
            Ok(results) => {
                // Rows of changes come in the order of the changes.
                let changed = |row: &&mut Row| {
                    matches!(row.action, Action::Add | Action::Replace | Action::Remove)
                };
                for (row, result) in report.routes.iter_mut().filter(changed).zip(results) {
                    row.error = result;
                }
            }
            Err(trouble) => report.trouble = Some(trouble),
        }
    }
    report
}

/// The ways of the routes at a place, and those that have none.
fn ways(desired: &Desired, sink: &dyn Sink) -> (Wanted, Vec<Row>) {
    let mut wanted =
        Wanted { routes: BTreeMap::new(), held: desired.held.clone(), complete: desired.complete };
    let mut unreachable = Vec::new();
    for (prefix, route) in &desired.routes {
        match sink.way(route.via) {
            Ok(way) => {
                wanted.routes.insert(*prefix, way);
            }
            Err(why) => {
                wanted.held.insert(*prefix, vec![route.via]);
                unreachable.push(Row {
                    action: Action::Unreachable,
                    destination: *prefix,
                    route: format!("via {}", route.via),
                    node: Some(route.node.clone()),
                    reason: route.origin.clone(),
                    error: Some(why),
                });
            }
        }
    }
    (wanted, unreachable)
}

const fn change(item: &Item) -> Option<Change> {
    match item.step {
        Step::Add(way) => Some(Change::Add(item.prefix, way)),
        Step::Replace(position, way) => Some(Change::Replace(position, item.prefix, way)),
        Step::Delete(position) => Some(Change::Delete(position, item.prefix)),
        Step::Keep(_) | Step::Hold(_) | Step::Foreign(_) => None,
    }
}

fn row(item: &Item, desired: &Desired, present: &[Present]) -> Option<Row> {
    let route = desired.routes.get(&item.prefix);
    let node = route.map(|route| route.node.clone());
    let origin = || route.map_or_else(String::new, |route| route.origin.clone());
    let there = |at: usize| present.get(at).map(|present| present.shown.clone());
    let (action, shown, reason) = match item.step {
        Step::Add(way) => (Action::Add, format!("via {}", way.via), origin()),
        Step::Replace(at, way) => {
            let reason = format!("{}; it is {} now", origin(), there(at)?);
            (Action::Replace, format!("via {}", way.via), reason)
        }
        Step::Delete(at) => {
            let reason = match route {
                Some(_) => "ours, beside another one for this destination".to_owned(),
                None => refusal(desired, item.prefix)
                    .unwrap_or_else(|| "ours, and no source tells of it any more".to_owned()),
            };
            (Action::Remove, there(at)?, reason)
        }
        Step::Keep(at) => (Action::Keep, there(at)?, origin()),
        Step::Hold(at) => {
            let reason = refusal(desired, item.prefix).unwrap_or_else(|| {
                if desired.complete {
                    "its next hop cannot be reached now".to_owned()
                } else {
                    "a source has not told all it knows: nothing is removed".to_owned()
                }
            });
            (Action::Hold, there(at)?, reason)
        }
        Step::Foreign(at) => {
            let reason =
                format!("not ours, and not touched; {} would be via {}", origin(), route?.via);
            (Action::Foreign, there(at)?, reason)
        }
    };
    Some(Row { action, destination: item.prefix, route: shown, node, reason, error: None })
}

/// Why what a source tells of a destination makes no route.
fn refusal(desired: &Desired, prefix: IpNet) -> Option<String> {
    let refused = desired.refused.iter().find(|refused| refused.prefix == prefix)?;
    Some(format!("refused: {}", refused.reason))
}
