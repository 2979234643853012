/*!
What has to be done so that VPP is as wanted: values in, values out.

Only what is wanted and not there becomes a step, and routes of ours that nobody wants any more. Addresses
that somebody else has put on the uplink stay: they are told. A destination that a better source has is
told, too, and not fought for.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use vpp_api::{Family, IfIndex, Prefix};

use super::seen::{POD_SOURCE, Part, SOURCE, Seen, Way};
use super::setup::{NodeSetup, covers};
use super::wishes::Others;

/// What a new interface takes, in bytes.
const USUAL_FRAME: u32 = 9000;

/// An interface of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum On {
    /// To other nodes; not ours.
    Uplink,
    /// The loopback that has the gateway addresses.
    Gateway,
    /// To the host.
    HostLink,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    AddTable(u32, Family),
    AddSource(&'static str),
    CreateGateway,
    /// Deletes VPP's end: its device is gone, or was another one.
    DeleteHostLink,
    /// Makes VPP's end.
    CreateHostLink,
    /// A loopback that an earlier call has made, and not marked.
    TagGateway,
    SetTable(On, Family, u32),
    /// The largest frame.
    SetFrame(On, u32),
    /// The largest packet.
    SetMtu(On, u32),
    SetUp(On),
    EnableIp6(On),
    SilenceRa(On),
    AddAddress(On, Prefix),
    SetRoute(Prefix, Hop),
    DeleteRoute(Prefix),
}

/// A next hop: on an interface of the node, or wherever the table finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) via: IpAddr,
    pub(super) on: Option<On>,
}

/// What a call wants of VPP.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) table: u32,
    /// Of the gateway loopback.
    pub(super) gateways: BTreeSet<Prefix>,
    pub(super) uplink: Option<PartWish>,
    pub(super) host_link: Option<PartWish>,
    pub(super) routes: BTreeMap<Prefix, Hop>,
}

/// What an interface is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartWish {
    pub(super) addresses: BTreeSet<Prefix>,
    pub(super) mtu: Option<u32>,
}

/// What has to be done, and what is odd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<String>,
}

/// Somebody else has it otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) what: String,
    pub(super) advice: &'static str,
}

impl Wish {
    /// What a setup means for a table.
    pub(super) fn of(
        setup: &NodeSetup,
        gateways: &[IpAddr],
        table: u32,
        host_mtu: Option<u32>,
    ) -> Self {
        let hop = |via: IpAddr| Hop { via, on: setup.is_on_uplink(via).then_some(On::Uplink) };
        let mut routes: BTreeMap<Prefix, Hop> =
            setup.routes.iter().map(|(prefix, via)| (*prefix, hop(*via))).collect();
        if let Some(link) = &setup.host_link {
            for address in &link.host_addresses {
                if let Some(via) = link.host_address(Family::of(*address)) {
                    routes.insert(Prefix::host(*address), Hop { via, on: Some(On::HostLink) });
                }
            }
        }
        Self {
            table,
            gateways: gateways.iter().map(|address| Prefix::host(*address)).collect(),
            uplink: setup.uplink.as_ref().map(|uplink| PartWish {
                addresses: uplink.addresses.iter().copied().collect(),
                mtu: uplink.mtu,
            }),
            host_link: setup.host_link.as_ref().map(|link| PartWish {
                addresses: link.vpp.iter().copied().collect(),
                mtu: host_mtu,
            }),
            routes,
        }
    }

    /// Wanted destinations that no route of ours has.
    pub(super) fn missing(&self, seen: &Seen) -> BTreeSet<Prefix> {
        self.routes.keys().filter(|prefix| !seen.routes.contains_key(*prefix)).copied().collect()
    }
}

/// What has to be done. The uplink, if it is wanted, has been seen.
pub(super) fn plan(wish: &Wish, seen: &Seen, others: &Others) -> Result<Plan, Conflict> {
    let mut plan = Plan::default();
    for family in Family::BOTH {
        if wish.table != 0 && !seen.tables.contains(&(wish.table, family)) {
            plan.steps.push(Step::AddTable(wish.table, family));
        }
    }
    for (name, number) in [(SOURCE, seen.source), (POD_SOURCE, seen.pod_source)] {
        if number.is_none() {
            plan.steps.push(Step::AddSource(name));
        }
    }
    match &seen.gateway {
        None => plan.steps.push(Step::CreateGateway),
        Some(gateway) if gateway.tag.is_empty() => plan.steps.push(Step::TagGateway),
        Some(_) => {}
    }
    if seen.stale.is_some() {
        plan.steps.push(Step::DeleteHostLink);
    }
    if wish.host_link.is_some() && seen.host_link.is_none() {
        plan.steps.push(Step::CreateHostLink);
    }
    let gateway = PartWish { addresses: wish.gateways.clone(), mtu: None };
    let parts = [
        (On::Uplink, wish.uplink.as_ref(), &seen.uplink),
        (On::Gateway, Some(&gateway), &seen.gateway),
        (On::HostLink, wish.host_link.as_ref(), &seen.host_link),
    ];
    for (on, wanted, part) in parts {
        if let Some(wanted) = wanted {
            plan.settle(on, wanted, part.as_ref(), wish.table)?;
        }
    }
    if let Some(uplink) = &seen.uplink {
        plan.look_at(uplink, wish);
    }
    plan.route(wish, seen, others)?;
    Ok(plan)
}

impl Plan {
    /// An interface: `seen` is none if it is made before.
    fn settle(
        &mut self,
        on: On,
        wanted: &PartWish,
        seen: Option<&Part>,
        table: u32,
    ) -> Result<(), Conflict> {
        for (family, now) in Family::BOTH.into_iter().zip(seen.map_or([0; 2], |it| it.tables)) {
            if now == table {
                continue;
            }
            let has = |part: &Part| part.addresses.iter().find(|it| it.family() == family).copied();
            if let Some((part, address)) = seen.and_then(|part| Some((part, has(part)?))) {
                return Err(Conflict {
                    what: format!(
                        "{} is in table {now} with {address}, not in table {table}",
                        part.name
                    ),
                    advice: "an interface is in one table: let the networks that share it have the \
                             same \"table\", or take its addresses away first",
                });
            }
            self.steps.push(Step::SetTable(on, family, table));
        }
        if let Some(mtu) = wanted.mtu {
            if seen.map_or(USUAL_FRAME, |part| part.link_mtu) < mtu {
                self.steps.push(Step::SetFrame(on, mtu));
            }
            if seen.is_none_or(|part| part.mtu != mtu) {
                self.steps.push(Step::SetMtu(on, mtu));
            }
        }
        if seen.is_none_or(|part| !part.up) {
            self.steps.push(Step::SetUp(on));
        }
        let missing = |address: &&Prefix| !seen.is_some_and(|it| it.addresses.contains(*address));
        let missing: Vec<Prefix> = wanted.addresses.iter().filter(missing).copied().collect();
        // Also a loopback without an address lends its IPv6 to the interfaces of pods.
        let is_new = seen.is_none() && on == On::Gateway;
        if is_new || missing.iter().any(|address| address.family() == Family::V6) {
            // Before the address: no router advertisement gets out in between.
            self.steps.extend([Step::EnableIp6(on), Step::SilenceRa(on)]);
        }
        self.steps.extend(missing.into_iter().map(|address| Step::AddAddress(on, address)));
        Ok(())
    }

    /// What is odd about the uplink, and not ours to change.
    fn look_at(&mut self, uplink: &Part, wish: &Wish) {
        let Some(wanted) = &wish.uplink else { return };
        let name = &uplink.name;
        for address in uplink.addresses.difference(&wanted.addresses) {
            self.notes
                .push(format!("{name} has {address} besides, which is not of this configuration"));
        }
        if uplink.up && !uplink.link {
            self.notes.push(format!("{name} is up and has no link: cable, switch or other end"));
        }
    }

    fn route(&mut self, wish: &Wish, seen: &Seen, others: &Others) -> Result<(), Conflict> {
        for (prefix, hop) in &wish.routes {
            if let Some((via, network)) = others.get(prefix).filter(|(via, _)| *via != hop.via) {
                return Err(Conflict {
                    what: format!(
                        "network {network} has {prefix} by {via}, and this one wants it by {}",
                        hop.via
                    ),
                    advice: "let the networks of a table agree, or give each a \"table\" of its own",
                });
            }
            if let Some(source) = seen.hidden.get(prefix) {
                self.notes.push(format!(
                    "{prefix} is already routed in VPP by {source}, and stays so: the route by {} \
                     is not made",
                    hop.via
                ));
            } else if !seen.routes.get(prefix).is_some_and(|way| seen.is_same(*way, hop)) {
                self.steps.push(Step::SetRoute(*prefix, *hop));
            }
        }
        for prefix in seen.routes.keys() {
            if !wish.routes.contains_key(prefix) && !others.contains_key(prefix) {
                self.steps.push(Step::DeleteRoute(*prefix));
            }
        }
        Ok(())
    }
}

impl Seen {
    fn is_same(&self, way: Way, hop: &Hop) -> bool {
        let index = hop.on.map_or(Some(IfIndex::NONE), |on| Some(self.part(on)?.index));
        index.is_some_and(|index| way == Way::Hop(hop.via, index))
    }

    /// An interface of the node.
    pub(super) const fn part(&self, on: On) -> Option<&Part> {
        match on {
            On::Uplink => self.uplink.as_ref(),
            On::Gateway => self.gateway.as_ref(),
            On::HostLink => self.host_link.as_ref(),
        }
    }

    /// What an interface of the node is called, for people.
    pub(super) fn called(&self, on: On) -> &str {
        match (self.part(on), on) {
            (Some(part), _) => &part.name,
            (None, On::Uplink) => "the uplink",
            (None, On::Gateway) => "the gateway loopback",
            (None, On::HostLink) => "the host link",
        }
    }

    /// What a step does, as in `cannot ...`.
    pub(super) fn doing(&self, step: &Step) -> String {
        let name = |on: &On| self.called(*on);
        match step {
            Step::AddTable(table, family) => format!("make table {table} for {}", ip(*family)),
            Step::AddSource(source) => format!("make the FIB source {source}"),
            Step::CreateGateway => "make a loopback for the gateway".to_owned(),
            Step::DeleteHostLink => "delete the old host link".to_owned(),
            Step::CreateHostLink => "make the host link".to_owned(),
            Step::TagGateway => format!("mark {}", name(&On::Gateway)),
            Step::SetTable(on, family, table) => {
                format!("put {} into table {table} of {}", name(on), ip(*family))
            }
            Step::SetFrame(on, mtu) => format!("have {} take frames for {mtu} bytes", name(on)),
            Step::SetMtu(on, mtu) => format!("set the MTU of {} to {mtu}", name(on)),
            Step::SetUp(on) => format!("set {} up", name(on)),
            Step::EnableIp6(on) => format!("turn on IPv6 on {}", name(on)),
            Step::SilenceRa(on) => format!("turn off router advertisements on {}", name(on)),
            Step::AddAddress(on, address) => format!("add {address} to {}", name(on)),
            Step::SetRoute(prefix, hop) => format!("route {prefix} by {}", self.hop(hop)),
            Step::DeleteRoute(prefix) => format!("delete the route to {prefix}"),
        }
    }

    fn hop(&self, hop: &Hop) -> String {
        match hop.on {
            Some(on) => format!("{} on {}", hop.via, self.called(on)),
            None => hop.via.to_string(),
        }
    }

    /// What is not as it should be where a step is needed, as in `... is down`. None of what goes without
    /// saying: a new interface has no address.
    pub(super) fn lacking(&self, step: &Step) -> Option<String> {
        let name = |on: &On| self.called(*on);
        let is_there = |on: &On| self.part(*on).is_some();
        Some(match step {
            Step::AddTable(table, family) => format!("table {table} of {} is missing", ip(*family)),
            Step::AddSource(source) => format!("FIB source {source} is missing"),
            Step::CreateGateway => "the gateway loopback is missing".to_owned(),
            Step::DeleteHostLink => "the host link in VPP has lost its device".to_owned(),
            Step::CreateHostLink => "the host link is missing in VPP".to_owned(),
            Step::TagGateway => format!("{} has no tag", name(&On::Gateway)),
            Step::SetTable(on, family, table) if is_there(on) => {
                format!("{} is not in table {table} of {}", name(on), ip(*family))
            }
            Step::SetFrame(on, mtu) => format!("{} does not take frames for {mtu} bytes", name(on)),
            Step::SetMtu(on, mtu) => match self.part(*on) {
                Some(part) => format!("the MTU of {} is {}, not {mtu}", part.name, part.mtu),
                None => return None,
            },
            Step::SetUp(on) if is_there(on) => format!("{} is down", name(on)),
            Step::AddAddress(on, address) => format!("{} has no address {address}", name(on)),
            Step::SetRoute(prefix, hop) => match self.routes.get(prefix) {
                None => format!("the route to {prefix} by {} is missing", self.hop(hop)),
                Some(Way::Hop(via, index)) if *via == hop.via => {
                    format!(
                        "the route to {prefix} by {via} leads through interface {index}, not {}",
                        hop.on.map_or("wherever it is found", |on| self.called(on))
                    )
                }
                Some(Way::Hop(via, _)) => {
                    format!("the route to {prefix} leads to {via}, not {}", hop.via)
                }
                Some(Way::Other) => format!("the route to {prefix} does not lead to {}", hop.via),
            },
            Step::DeleteRoute(prefix) => format!("the route to {prefix} is not wanted any more"),
            Step::SetTable(..) | Step::SetUp(_) | Step::EnableIp6(_) | Step::SilenceRa(_) => {
                return None;
            }
        })
    }
}

const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Which interface of VPP an address overlaps, for the error when VPP refuses it.
pub(super) fn overlap(address: Prefix, all: &[(String, Vec<Prefix>)]) -> Option<String> {
    all.iter().find_map(|(name, addresses)| {
        let there = addresses.iter().find(|it| covers(**it, address) || covers(address, **it))?;
        Some(format!("{name} has {there}"))
    })
}

#[cfg(test)]
mod tests;
