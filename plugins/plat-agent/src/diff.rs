/*!
What has to be done to one place where routes are, so that it has those that should be there.

Only what differs is changed, only what is this program's is touched. A route of somebody else for the same
destination is reported, and neither replaced nor outdone by one beside it.
*/

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// How packets leave for a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The next hop.
    pub via: IpAddr,
    /// The link's index, where the place knows links.
    pub device: Option<u32>,
    /// The next hop is taken to be on the link, whatever addresses the link has.
    pub onlink: bool,
}

/// A route that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its destination, without host bits.
    pub prefix: IpNet,
    /// Its way; none if it is one that this program would not set.
    pub way: Option<Way>,
    /// Whether this program has set it.
    pub ours: bool,
    /// How people know it.
    pub shown: String,
}

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The routes.
    pub routes: BTreeMap<IpNet, Way>,
    /// Destinations that stay as they are, if their next hop is one of these.
    pub held: BTreeMap<IpNet, Vec<IpAddr>>,
    /// Whether what is not wanted is removed.
    pub complete: bool,
}

/// What to do about one route. Positions are those of the list of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not there.
    Add(Way),
    /// It is there and goes another way.
    Replace(usize, Way),
    /// It is there and should not be.
    Delete(usize),
    /// It is there as it should be.
    Keep(usize),
    /// It stays, because it is not known whether it should be there.
    Hold(usize),
    /// Somebody else has one for the destination: nothing is done.
    Foreign(usize),
}

/// A step, and which destination it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The destination.
    pub prefix: IpNet,
    /// What to do.
    pub step: Step,
}

/// The steps, in the order of destinations; what is deleted comes first among those of one destination.
#[must_use]
pub fn diff(wanted: &Wanted, present: &[Present]) -> Vec<Item> {
    let mut there: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
    for (position, route) in present.iter().enumerate() {
        let relevant = route.ours || wanted.routes.contains_key(&route.prefix);
        if relevant {
            there.entry(route.prefix).or_default().push(position);
        }
    }
    for prefix in wanted.routes.keys() {
        there.entry(*prefix).or_default();
    }
    let mut items = Vec::new();
    for (prefix, positions) in there {
        let steps = match wanted.routes.get(&prefix) {
            Some(way) => wanted_steps(*way, &positions, present),
            None => unwanted_steps(wanted, prefix, &positions, present),
        };
        items.extend(steps.into_iter().map(|step| Item { prefix, step }));
    }
    items
}

fn wanted_steps(way: Way, positions: &[usize], present: &[Present]) -> Vec<Step> {
    let is_ours = |position: &&usize| present.get(**position).is_some_and(|route| route.ours);
    let (mut ours, foreign): (Vec<usize>, Vec<usize>) = positions.iter().partition(is_ours);
    let right = ours
        .iter()
        .position(|at| present.get(*at).is_some_and(|route| route.way == Some(way)))
        .map(|at| ours.remove(at));
    let mut steps = Vec::new();
    let last = match (right, foreign.first()) {
        (Some(right), _) => Some(Step::Keep(right)),
        // To replace ours could hit the other's: both may have the same key.
        (None, Some(_)) => None,
        (None, None) => Some(ours.pop().map_or(Step::Add(way), |at| Step::Replace(at, way))),
    };
    steps.extend(ours.into_iter().map(Step::Delete));
    steps.extend(last);
    steps.extend(foreign.into_iter().map(Step::Foreign));
    steps
}

fn unwanted_steps(
    wanted: &Wanted,
    prefix: IpNet,
    positions: &[usize],
    present: &[Present],
) -> Vec<Step> {
    let held = wanted.held.get(&prefix);
    let ours = positions.iter().filter_map(|at| Some((*at, present.get(*at)?)));
    ours.filter(|(_, route)| route.ours)
        .map(|(at, route)| {
            let claimed = |way: Way| held.is_some_and(|claims| claims.contains(&way.via));
            if !wanted.complete || route.way.is_some_and(claimed) {
                Step::Hold(at)
            } else {
                Step::Delete(at)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
