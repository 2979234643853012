/*!
What keeps this node from sending on its pods' packets, and what is done about it where that is asked for.

| what | without being asked | with a key of the sink |
|---|---|---|
| forwarding is off | told | `forwarding`: switched on |
| it would cost the default route | told | told, and not switched on |
| the strict filter of a link (`rp_filter`) drops what comes by another way than it goes | told | |
| a chain drops what is forwarded | told, with the cure | `forwardAccept`: rules for the pods' networks |
| packets that leave the cluster have pods' addresses | | `masquerade`: a table of our own |
| the uplink's MTU is smaller than the pods' | told | |

An accept in one base chain of nftables does not override a drop in another: the rules go into each chain that
drops, and are told from others' by their comment. Rules and table are looked at again with every
resync and whenever networks change, and made again if somebody has flushed them.

What was read becomes decisions in `accept`, `masquerade` and `parameters`, as values; `programs` runs nft
and iptables-legacy.
*/

mod accept;
mod firewall;
mod masquerade;
mod parameters;
mod programs;
mod spans;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use kernel::{Family, sysctl};
use serde::Serialize;

use accept::{Step, Wish};
use masquerade::Table;
pub(crate) use parameters::Paths;
use parameters::{Link, Parameters, Switch};
use programs::Firewall;

use crate::config::Forward;

/// What goes through this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The networks of this node's pods.
    pub own: Vec<IpNet>,
    /// The networks of other nodes' pods with their next hops.
    pub routes: BTreeMap<IpNet, IpAddr>,
    /// Networks of pods that have no route now.
    pub further: Vec<IpNet>,
    /// The addresses of nodes.
    pub nodes: Vec<IpAddr>,
    /// This node's addresses for others, where the configuration names them.
    pub addresses: Vec<IpAddr>,
    /// Whether every source has told all it knows.
    pub complete: bool,
}

impl Traffic {
    /// Whether there are routes of a family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.routes.keys().any(|net| family.has(net.addr()))
    }
}

/// What is done about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is made.
    Add,
    /// It is made anew.
    Replace,
    /// It is removed.
    Remove,
    /// It is as it should be.
    Keep,
}

impl Verb {
    /// As it is told.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Keep => "keep",
        }
    }
}

/// One thing that is seen to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measure {
    /// What is done.
    pub action: Verb,
    /// What it is.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Why it could not be done; absent if it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Measure {
    fn new(action: Verb, what: String, reason: &str) -> Self {
        Self { action, what, reason: reason.to_owned(), error: None }
    }
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// What is seen to.
    pub measures: Vec<Measure>,
    /// What is wrong, a sentence each.
    pub notes: Vec<String>,
    /// What may be worth knowing, and is nothing to be woken for.
    pub hints: Vec<String>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    firewall: Option<(Instant, Firewall)>,
    /// For which networks it was looked at.
    traffic: Option<Traffic>,
}

impl Forwarding {
    /// Looks at everything, and does what is asked for if `change` is set.
    pub(crate) fn look(
        &mut self,
        spec: &Forward,
        traffic: &Traffic,
        paths: &Paths,
        links: &[(String, u32)],
        advertised: &Advertised,
        change: bool,
    ) -> Forwarded {
        let mut found = Forwarded::default();
        let parameters = read_parameters(paths, links, advertised, &mut found.notes);
        for family in Family::BOTH.into_iter().filter(|family| traffic.has(*family)) {
            switch(&parameters, family, spec.forwarding && change, spec.forwarding, &mut found);
        }
        found.notes.extend(parameters.findings(paths));
        if traffic.has(Family::V6) && advertised.link.is_none() && !advertised.default_route {
            found.hints.extend(parameters.deaf(paths).map(|link| {
                format!(
                    "{link} takes no router's advertisement while IPv6 is forwarded (net.ipv6.conf.{link}.accept_ra is \
                     1), and there is no default route of IPv6: where it should come so, right is \
                     net.ipv6.conf.{link}.accept_ra=2"
                )
            }));
        }
        if spec.firewall {
            self.firewall(spec, traffic, change, &mut found);
        }
        found
    }

    /// Removes all that is ours from chains, and our table.
    pub(crate) fn cleanup(&mut self, change: bool) -> Forwarded {
        let mut found = Forwarded::default();
        let firewall = programs::read();
        found.hints.clone_from(&firewall.unseen);
        let wish = Wish { own: &[], accept: false, complete: true };
        let (steps, _) = accept::decide(&firewall.chains, wish);
        let table = masquerade::decide(&firewall.table, None, true);
        carry_out(&steps, table, change, &mut found);
        self.firewall = None;
        found
    }

    fn firewall(&mut self, spec: &Forward, traffic: &Traffic, change: bool, found: &mut Forwarded) {
        // Other programs are run for it: not for each event of the network.
        let fresh = |at: &Instant| at.elapsed() < spec.resync / 2;
        let known = self
            .firewall
            .take()
            .filter(|(at, _)| change && fresh(at) && self.traffic.as_ref() == Some(traffic));
        let (at, firewall) = known.unwrap_or_else(|| (Instant::now(), programs::read()));
        let asked = spec.accept || spec.masquerade.is_some();
        let unseen = if asked { &mut found.notes } else { &mut found.hints };
        unseen.extend(firewall.unseen.iter().cloned());
        let wish = Wish { own: &traffic.own, accept: spec.accept, complete: traffic.complete };
        let (steps, findings) = accept::decide(&firewall.chains, wish);
        found.notes.extend(findings);
        if asked && traffic.own.is_empty() && traffic.complete {
            found.notes.push(
                "which networks this node's pods are in is not known: none is accepted or masqueraded; name them \
                 with \"subnets\""
                    .to_owned(),
            );
        }
        let wanted = spec.masquerade.as_ref().map(|except| {
            let nets: Vec<IpNet> = traffic.routes.keys().chain(&traffic.further).copied().collect();
            Table::new(&traffic.own, &nets, &traffic.nodes, except)
        });
        let table = masquerade::decide(&firewall.table, wanted, traffic.complete);
        let keeps = |measure: &Measure| measure.action == Verb::Keep;
        let settled = steps.iter().all(|step| keeps(&step.measure()))
            && table.as_ref().is_none_or(|(measure, _)| keeps(measure));
        carry_out(&steps, table, change, found);
        // What was changed is looked at again the next time.
        if settled && firewall.unseen.is_empty() {
            self.firewall = Some((at, firewall));
            self.traffic = Some(traffic.clone());
        }
    }
}

/// Does what was decided, if `change` is set, and tells it.
fn carry_out(
    steps: &[Step],
    table: Option<(Measure, Vec<serde_json::Value>)>,
    change: bool,
    found: &mut Forwarded,
) {
    let mut commands: Vec<serde_json::Value> = steps.iter().filter_map(Step::command).collect();
    commands.extend(table.iter().flat_map(|(_, commands)| commands.iter().cloned()));
    let changed =
        if change && !commands.is_empty() { programs::change(&commands).err() } else { None };
    for step in steps {
        let mut measure = step.measure();
        if measure.action != Verb::Keep && change {
            measure.error = match step.command() {
                Some(_) => changed.clone(),
                None => programs::change_legacy(step).err(),
            };
        }
        found.measures.push(measure);
    }
    if let Some((mut measure, _)) = table {
        if measure.action != Verb::Keep {
            measure.error = changed;
        }
        found.measures.push(measure);
    }
}

/// Where the default route of IPv6 comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// The link, if a router's advertisement has made one.
    pub(crate) link: Option<String>,
    /// Whether there is any.
    pub(crate) default_route: bool,
}

fn read_parameters(
    paths: &Paths,
    links: &[(String, u32)],
    advertised: &Advertised,
    notes: &mut Vec<String>,
) -> Parameters {
    let mut read = |name: &str| match sysctl::get(name) {
        Ok(value) => value.map(|value| value.trim().to_owned()),
        Err(error) => {
            notes.push(error.to_string());
            None
        }
    };
    let mut off = |family: Family| read(Parameters::name(family)).as_deref() == Some("0");
    let (v4_off, v6_off) = (off(Family::V4), off(Family::V6));
    let mut number =
        |name: &str| read(name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let filter_all = number("net.ipv4.conf.all.rp_filter");
    let concerned = paths
        .pods
        .iter()
        .chain(&paths.uplinks)
        .chain(&paths.arrival)
        .chain(&advertised.link)
        .collect::<std::collections::BTreeSet<_>>();
    let mut all = BTreeMap::new();
    for name in concerned {
        let Some((_, mtu)) = links.iter().find(|(link, _)| link == name) else { continue };
        let link = Link {
            mtu: *mtu,
            filter: number(&sysctl::of_link("ipv4", name, "rp_filter")),
            accept_ra: number(&sysctl::of_link("ipv6", name, "accept_ra")),
            advertised: advertised.link.as_ref() == Some(name),
        };
        all.insert(name.clone(), link);
    }
    Parameters { v4_off, v6_off, filter_all, links: all }
}

/// Sees to it that packets of a family are forwarded, or tells that they are not.
fn switch(
    parameters: &Parameters,
    family: Family,
    change: bool,
    asked: bool,
    found: &mut Forwarded,
) {
    let name = Parameters::name(family);
    match parameters.switch(family) {
        Switch::On => {}
        Switch::Risky(link) => found.notes.push(format!(
            "{name} is 0, so packets between pods and other nodes are dropped; it is not switched on, because {link} \
             would lose the default route that a router advertises: right is net.ipv6.conf.{link}.accept_ra=2 first"
        )),
        Switch::Off if asked => {
            let mut measure =
                Measure::new(Verb::Replace, format!("{name}=1"), "it is 0, and \"forwarding\" is set");
            if change {
                measure.error = sysctl::set(name, "1").err().map(|error| error.to_string());
            }
            found.measures.push(measure);
        }
        Switch::Off => found.notes.push(format!(
            "{name} is 0, so packets between pods and other nodes are dropped; \"forwarding\": true in the sink sets it"
        )),
    }
}
