//! The places of a scenario, and a kill in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use support::{Holdings, Killer, Scratch, Site, Store, reference, reservation};

use super::aftermath::Aftermath;
use super::{LIVE, Place, Scenario, Start, Tally, VICTIMS, Verb, gc, holdings};

/// The places of a scenario, made anew for each kill.
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    base: Scratch,
    boot: Scratch,
    killer: Killer,
}

/// What was there before the kill.
pub(super) struct Before {
    pub(super) site: Site,
    pub(super) live: BTreeMap<IpAddr, String>,
    /// What ADD answered to the first that lives.
    result: serde_json::Value,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let base = match scenario.place {
            Place::Disk => Scratch::below(Path::new("/var/tmp"), "crash"),
            Place::Tmpfs => Scratch::on_tmpfs("crash"),
        };
        let boot = Scratch::on_tmpfs("crash-boot");
        let binary = if scenario.reference {
            reference("host-local").expect("the caller has looked")
        } else {
            support::binary(scenario.plugin.name())
        };
        let killer = Killer::new(&binary, &boot.path().join("killer"));
        Self { scenario, base, boot, killer }
    }

    fn site(&self) -> Site {
        Site::new(self.scenario.plugin, self.base.path(), &self.boot.path().join("run"))
            .dual_stack(self.scenario.dual)
            .in_store(self.scenario.store)
            .with_policy(self.scenario.policy)
    }

    /// Everything up to the call that is to be killed.
    fn prepare(&self) -> Before {
        let site = self.site();
        for place in [site.data(), site.state(), site.run()] {
            let _ = fs::remove_dir_all(place);
        }
        if self.scenario.held > 0 {
            for first in site.first_addresses() {
                site.directory().fill(first, self.scenario.held);
            }
        }
        let first = match self.scenario.start {
            Start::Directory => site.clone().in_store(Store::Dir),
            Start::Used | Start::Nothing => site.clone(),
        };
        let ids = self.scenario.live();
        let mut result = serde_json::Value::Null;
        for id in ids {
            let added = first.call("ADD", id).run();
            assert_eq!(added.addresses().len(), site.families());
            if result.is_null() {
                result = added.json();
            }
        }
        let live = holdings(&site).reservations();
        assert_eq!(live.len(), (self.scenario.held as usize + ids.len()) * site.families());
        if self.scenario.verb != Verb::Add {
            for id in VICTIMS {
                first.call("ADD", id).run().ok();
            }
        }
        Before { site, live, result }
    }

    fn the_call(&self, before: &Before, program: &Path) -> support::Call {
        let site = before.site.clone().with_binary(program.to_path_buf());
        let mut config = site.config();
        match self.scenario.verb {
            Verb::Add => site.call("ADD", VICTIMS[0]),
            Verb::Del => site.call("DEL", VICTIMS[0]),
            Verb::Gc => gc(&site, &[], self.scenario.held),
            Verb::Check => {
                config["prevResult"] = before.result.clone();
                site.call_with("CHECK", LIVE[0], &config)
            }
            Verb::Status => {
                config["cniVersion"] = serde_json::json!("1.1.0");
                site.call_with("STATUS", "", &config)
            }
        }
    }

    pub(super) fn system_calls(&self) -> BTreeMap<String, usize> {
        let before = self.prepare();
        self.killer.system_calls(|program| self.the_call(&before, program))
    }

    /// One kill, and everything after it.
    pub(super) fn point(&self, name: &str, nth: usize, tally: &mut Tally) {
        let before = self.prepare();
        let held_before = victims(&holdings(&before.site));
        let killed = self.killer.kill_at(name, nth, |program| self.the_call(&before, program));
        match killed.exit {
            None => tally.points += 1,
            // One call fewer than in the trace, as a program with threads may have.
            Some(0) => return,
            Some(_) => {
                let failed = "the call fails, but is not killed".to_owned();
                tally.problems.entry(failed).or_default().push(format!("{name} #{nth}"));
            }
        }
        let held = victims(&holdings(&before.site));
        let all = VICTIMS.len().min(match self.scenario.verb {
            Verb::Gc => 2,
            Verb::Add | Verb::Del | Verb::Check | Verb::Status => 1,
        }) * before.site.families();
        let complete = |n: usize| match self.scenario.verb {
            Verb::Add => n == all,
            Verb::Del | Verb::Gc => held_before.len() - n == all,
            Verb::Check | Verb::Status => false,
        };
        if held == held_before {
            tally.before += 1;
        } else if complete(held.len()) {
            tally.after += 1;
        }
        let mut aftermath = Aftermath {
            scenario: self.scenario,
            before: &before,
            unanswered: self.scenario.verb == Verb::Add && killed.stdout.is_empty(),
            problems: Vec::new(),
        };
        aftermath.next();
        aftermath.everything_else();
        for problem in aftermath.problems {
            tally.problems.entry(problem).or_default().push(format!("{name} #{nth}"));
        }
    }
}

/// Whose reservations these are, incomplete ones included: all that is there and not live.
fn victims(holdings: &Holdings) -> BTreeSet<IpAddr> {
    let whole = VICTIMS.map(|id| reservation(id, "eth0"));
    holdings
        .reservations()
        .into_iter()
        .filter(|(_, content)| whole.contains(content))
        .map(|(address, _)| address)
        .collect()
}
