//! What the runtime does after a kill, and what must be true then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipam_stores::survey::Health;
use support::{Outcome, Plugin, Site, Store, filler, reservation};

use super::world::Before;
use super::{LIVE, Next, Scenario, Start, VICTIMS, Verb, gc, holdings};

/// The calls after the kill, and what is wrong with them.
pub(super) struct Aftermath<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) before: &'a Before,
    /// Whether the killed call was an ADD that has not answered: nobody knows of its addresses.
    pub(super) unanswered: bool,
    pub(super) problems: Vec<String>,
}

impl Aftermath<'_> {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(what());
        }
    }

    /// A call that must succeed.
    fn succeeds(&mut self, what: &str, outcome: &Outcome) -> bool {
        self.expect(outcome.exit == Some(0), || format!("{what} fails: {}", said(outcome)));
        outcome.exit == Some(0)
    }

    /// An ADD that must give whole and new addresses: none that is held already.
    fn add_anew(&mut self, id: &str) -> Vec<IpAddr> {
        let site = &self.before.site;
        let held: BTreeSet<IpAddr> = holdings(site)
            .reservations()
            .into_iter()
            .filter(|(_, content)| {
                let forgotten = self.unanswered && *content == reservation(VICTIMS[0], "eth0");
                !content.is_empty() && !forgotten
            })
            .map(|(address, _)| address)
            .collect();
        let outcome = site.call("ADD", id).run();
        if !self.succeeds(&format!("ADD {id}"), &outcome) {
            return Vec::new();
        }
        let got = addresses(&outcome);
        self.expect(got.len() == site.families(), || format!("ADD {id} gives {got:?} only"));
        let twice: Vec<_> = got.iter().filter(|address| held.contains(address)).collect();
        self.expect(twice.is_empty(), || format!("ADD {id} gives {twice:?}, which are held"));
        self.holds(id, &got);
        got
    }

    /// What an attachment must have on disk.
    fn holds(&mut self, id: &str, addresses: &[IpAddr]) {
        let mut held = holdings(&self.before.site).held_by(id, "eth0");
        held.sort_unstable();
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        self.expect(held == wanted, || format!("{id} holds {held:?}, not {wanted:?}"));
    }

    fn del(&mut self, id: &str, stripped: bool) {
        let site = &self.before.site;
        let config = if stripped { site.stripped_config() } else { site.config() };
        let outcome = site.call_with("DEL", id, &config).run();
        self.succeeds(&format!("DEL {id} (stripped: {stripped})"), &outcome);
    }

    /// Nothing but what lived before, and `others`.
    fn only_the_living(&mut self, others: &[(&str, Vec<IpAddr>)]) {
        let mut wanted = self.before.live.clone();
        for (id, addresses) in others {
            wanted.extend(addresses.iter().map(|address| (*address, reservation(id, "eth0"))));
        }
        let held = holdings(&self.before.site).reservations();
        for (address, content) in &held {
            if !wanted.contains_key(address) {
                self.problems.push(format!("leak: {address} {content:?}"));
            }
        }
        for (address, content) in &wanted {
            let now = held.get(address);
            let same = now == Some(content);
            self.expect(same, || format!("lost: {address} {content:?}, now {now:?}"));
        }
        let mut strangers = self.before.site.directory().strangers();
        if self.before.site.plugin() == Plugin::NodeLocal {
            // The index by which its ranges were rendered.
            strangers.retain(|name| name != "node-index");
        }
        self.expect(strangers.is_empty(), || format!("in the network's directory: {strangers:?}"));
    }

    /// What the runtime does first.
    pub(super) fn next(&mut self) {
        let site = &self.before.site;
        let stripped = self.scenario.next == Next::StrippedDel;
        let mut others = Vec::new();
        match (self.scenario.next, self.scenario.verb) {
            (Next::Del | Next::StrippedDel, _) => {}
            (Next::OtherAdd, verb) => {
                let victims = holdings(site).held_by(VICTIMS[0], "eth0");
                let got = self.add_anew("other");
                if verb == Verb::Add && !self.unanswered {
                    self.holds(VICTIMS[0], &victims);
                }
                if verb == Verb::Gc {
                    let outcome = gc(&self.before.site, &["other"], self.scenario.held).run();
                    self.succeeds("GC once more", &outcome);
                    self.only_the_living(&[("other", got.clone())]);
                }
                others.push(("other", got));
            }
            (Next::Retry, Verb::Gc) => {
                let outcome = gc(&self.before.site, &[], self.scenario.held).run();
                self.succeeds("GC once more", &outcome);
                self.only_the_living(&[]);
            }
            (Next::Retry, Verb::Add | Verb::Del) => self.retry(),
            (Next::Retry, Verb::Check | Verb::Status) => {}
        }
        for id in VICTIMS {
            self.del(id, stripped);
        }
        self.only_the_living(&others);
        if !others.is_empty() {
            self.del("other", stripped);
            self.only_the_living(&[]);
        }
    }

    /// The same attachment's ADD, as a runtime retries it.
    fn retry(&mut self) {
        let site = &self.before.site;
        let outcome = site.call("ADD", VICTIMS[0]).run();
        let duplicate = outcome.exit == Some(1) && outcome.stdout.contains("duplicate allocation");
        if site.plugin() == Plugin::HostLocal && duplicate {
            return;
        }
        if self.succeeds("ADD of the same attachment", &outcome) {
            let got = addresses(&outcome);
            self.expect(got.len() == site.families(), || format!("the retry gives {got:?} only"));
            let live: Vec<_> = got.iter().filter(|a| self.before.live.contains_key(a)).collect();
            self.expect(live.is_empty(), || format!("the retry gives {live:?}, which are held"));
            self.holds(VICTIMS[0], &got);
        }
    }

    /// What must be true of a database after all that.
    fn sound(&mut self, site: &Site) {
        let faults = site.holdings().faults();
        self.expect(faults.is_empty(), || format!("faults: {faults:?}"));
        let health = site.holdings().health();
        self.expect(health == Health::Fine, || format!("health: {health:?}"));
        if self.scenario.start == Start::Directory {
            let directory = site.directory();
            self.expect(!directory.path().exists(), || "the directory is still there".to_owned());
            let names = fs::read_dir(site.data()).into_iter().flatten().flatten();
            let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
            self.expect(names.len() == 1, || format!("moved aside more than once: {names:?}"));
        }
    }

    fn duplicate(&mut self, site: &Site) {
        let again = site.call("ADD", LIVE[0]).run();
        match site.plugin() {
            Plugin::HostLocal => self.expect(
                again.exit == Some(1) && again.stdout.contains("duplicate allocation"),
                || format!("a duplicate ADD: {}", said(&again)),
            ),
            Plugin::NodeLocal => {
                if self.succeeds("ADD of what lives", &again) {
                    self.holds(LIVE[0], &addresses(&again));
                }
            }
        }
    }

    /// Whatever the kill left outside the directory, no later call may be wrong by it.
    pub(super) fn everything_else(&mut self) {
        let site = self.before.site.clone();
        let new = self.add_anew("new");
        self.only_the_living(&[("new", new)]);

        // A duplicate is seen.
        if !self.scenario.live().is_empty() {
            self.duplicate(&site);
        }

        // Everything can be freed, with as little as a runtime may send.
        self.del("new", false);
        self.del(LIVE[0], true);
        self.del(LIVE[1], false);
        if self.scenario.held > 0 {
            self.del(&filler(0), true);
            self.del(&filler(self.scenario.held - 1), false);
        }
        let left = holdings(&site).reservations();
        let wanted = self.before.live.iter().filter(|(_, content)| {
            !LIVE.iter().any(|id| **content == reservation(id, "eth0"))
                && ![0, self.scenario.held.saturating_sub(1)]
                    .iter()
                    .any(|n| **content == reservation(&filler(*n), "eth0"))
        });
        let wanted: BTreeMap<_, _> = wanted.map(|(a, c)| (*a, c.clone())).collect();
        self.expect(left == wanted, || format!("after all DELs: {left:?}"));

        // With nothing allocated, the node may get another index.
        if self.scenario.held == 0 {
            let moved = site.clone().with_index(8);
            let outcome = moved.call("ADD", "moved").run();
            if self.succeeds("ADD with another node index", &outcome) {
                let outcome = moved.call("DEL", "moved").run();
                self.succeeds("its DEL", &outcome);
            }
        }
        if site.store() == Store::Sqlite {
            self.sound(&site);
        }
        let lasting = unfinished(&[site.data(), site.state()]);
        self.expect(lasting.is_empty(), || format!("litter: {lasting:?}"));
        // For a boot, one half-written index under a name that the next one uses again.
        let volatile = unfinished(&[site.run()]);
        self.expect(volatile.len() <= 1, || format!("litter: {volatile:?}"));
    }
}

/// Files with the look of something unfinished.
fn unfinished(places: &[&Path]) -> Vec<PathBuf> {
    let looks_unfinished = |name: &&Path| {
        let name = name.to_string_lossy();
        // A note for people in a directory that was moved aside.
        let note = name.ends_with("IMPORTED.new");
        !note && ["tmp", "temp", ".new"].iter().any(|mark| name.contains(mark))
    };
    places
        .iter()
        .flat_map(|place| {
            let files = support::Snapshot::of(place);
            let names = files.files().into_iter().filter(looks_unfinished);
            names.map(|name| place.join(name)).collect::<Vec<_>>()
        })
        .collect()
}

/// What a call answered, without what differs each time.
fn said(outcome: &Outcome) -> String {
    format!("exit {:?}, {:?}, {:?}", outcome.exit, outcome.stdout, outcome.stderr)
}

fn addresses(outcome: &Outcome) -> Vec<IpAddr> {
    outcome.addresses().iter().filter_map(|address| address.parse().ok()).collect()
}
