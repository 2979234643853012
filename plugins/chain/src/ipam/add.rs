//! ADD: everything or nothing.

use std::time::Instant;

use cni::{Added, Call, Code, Command, Delegate, Environment, Error, IpamResult, PATIENCE};
use host_local::call::attachment;
use ipam_core::addr::Addr;
use ipam_core::identity::Attachment;
use node_local::Surroundings;
use serde_json::Value;

use super::{UNDOING, named, records};
use crate::apart::apart;
use crate::config::{Listing, Policy, Section};
use crate::errors::{all, is_passing, unwanted};
use crate::merge::merge;
use crate::record::{Part, Record, State};
use crate::request::{self, Shares};
use crate::sections::{gives, with_ipam};

/// ADD under a main plugin.
pub(crate) fn add(call: &Call) -> Result<Added, Error> {
    super::allowed(call)?;
    let listing = Listing::of_ipam(&call.config)?;
    for warning in &listing.warnings {
        call.warn(warning);
    }
    let sections = apart(&listing.sections, &listing.instance)?;
    let mut adding = Adding::new(call, listing.policy, sections)?;
    adding.begin(&listing.instance)?;
    match adding.run() {
        Ok(result) => Ok(Added { result: result.into(), undo: Box::new(adding.into_undo()) }),
        Err(error) => {
            adding.undo();
            Err(error)
        }
    }
}

/// An ADD at work.
struct Adding<'a> {
    call: &'a Call,
    policy: Policy,
    sections: Vec<Section>,
    delegates: Vec<Delegate>,
    shares: Option<Shares>,
    steps: Steps,
    end: Instant,
}

/// What an ADD has done, and how to undo it.
struct Steps {
    environment: Environment,
    config: Value,
    attachment: Attachment,
    record: Option<Record>,
    /// Whether the attachment held something before: then nothing is undone, for it may live with that.
    repeated: bool,
    /// Those that were never going to be asked before.
    fresh: Vec<Value>,
    /// Who was asked, in order.
    asked: Vec<(Section, Delegate)>,
}

impl<'a> Adding<'a> {
    /// Finds everything that is needed, and asks nobody yet.
    fn new(call: &'a Call, policy: Policy, sections: Vec<Section>) -> Result<Self, Error> {
        let delegates = sections
            .iter()
            .map(|section| {
                Delegate::find(&section.kind, &call.environment).map_err(|e| named(section, e))
            })
            .collect::<Result<_, _>>()?;
        let asked = request::asked(&call.config, call.args());
        let shares = if asked.is_empty() {
            None
        } else {
            let around = Surroundings::of(call);
            // What is asked for is no part of what a section may give.
            let config = request::config(&call.config, &[]);
            let gives = |section: &Section, addr| gives(&config, section, &around, addr);
            Some(request::shares(policy, &sections, &asked, &gives)?)
        };
        let steps = Steps {
            environment: call.environment.clone(),
            config: call.config.clone(),
            attachment: attachment(call)?,
            record: None,
            repeated: false,
            fresh: Vec::new(),
            asked: Vec::new(),
        };
        Ok(Self {
            call,
            policy,
            sections,
            delegates,
            shares,
            steps,
            end: Instant::now() + PATIENCE,
        })
    }

    /// Writes down who is going to be asked.
    fn begin(&mut self, instance: &str) -> Result<(), Error> {
        let mut record = records(self.call).make(&self.steps.attachment, Part::Ipam(instance))?;
        for warning in record.take_warnings() {
            self.call.warn(&warning);
        }
        if !self.call.caller.is_waiting() {
            // A DEL may have come and gone meanwhile.
            record.remove_if_over()?;
            return Err(unwanted());
        }
        self.steps.repeated = record.holds();
        let values: Vec<Value> = self.sections.iter().map(|s| s.value.clone()).collect();
        self.steps.fresh =
            values.iter().filter(|value| record.position(value).is_none()).cloned().collect();
        record.may(&self.steps.attachment, &values)?;
        self.steps.record = Some(record);
        Ok(())
    }

    fn run(&mut self) -> Result<IpamResult, Error> {
        let mut parts: Vec<(String, IpamResult)> = Vec::new();
        let mut refused = Vec::new();
        for position in self.order() {
            let (Some(section), Some(delegate)) =
                (self.sections.get(position).cloned(), self.delegates.get(position).cloned())
            else {
                continue;
            };
            let share = self.shares.as_ref().and_then(|shares| shares.get(position));
            if share.is_some_and(Option::is_none) {
                continue;
            }
            if !self.call.caller.is_waiting() {
                return Err(unwanted());
            }
            let share = share.and_then(|share| share.as_deref()).map(<[Addr]>::to_vec);
            self.steps.asked.push((section.clone(), delegate.clone()));
            match self.ask(&section, &delegate, share.as_deref()) {
                Ok(result) => parts.push((section.name.clone(), result)),
                Err(error) if self.policy == Policy::First && is_passing(&error) => {
                    self.steps.undo_last();
                    refused.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            if self.policy == Policy::First {
                break;
            }
        }
        if parts.is_empty() {
            all(refused)?;
        }
        let parts: Vec<(&str, IpamResult)> =
            parts.iter().map(|(name, result)| (name.as_str(), result.clone())).collect();
        merge(&parts, self.call.version)
    }

    /// Who is asked when. Where one is to serve, the one that serves the attachment already comes first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sections.len()).collect();
        if self.policy == Policy::First
            && let Some(record) = &self.steps.record
        {
            order.sort_by_key(|position| {
                let value = self.sections.get(*position).map(|section| &section.value);
                !record.entries().iter().any(|entry| {
                    Some(&entry.value) == value && matches!(entry.state, State::Has(_))
                })
            });
        }
        order
    }

    fn ask(
        &mut self,
        section: &Section,
        delegate: &Delegate,
        share: Option<&[Addr]>,
    ) -> Result<IpamResult, Error> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(named(
                section,
                Error::new(Code::TryAgainLater, "no time is left to ask it"),
            ));
        }
        let mut config = with_ipam(&self.call.config, &section.value);
        let mut environment = self.call.environment.clone();
        if let Some(share) = share {
            config = request::config(&config, share);
            environment = environment.with("CNI_ARGS", request::args(self.call.args(), share));
        }
        let answer = delegate
            .call(Command::Add, &environment, &config, Some(left))
            .and_then(|answer| IpamResult::parse(&answer.unwrap_or_default()))
            .map_err(|e| named(section, e))?;
        if let Some(record) = &mut self.steps.record {
            let ips = answer.ips.iter().map(|ip| ip.address.to_string()).collect();
            record.has(&section.value, ips)?;
        }
        Ok(answer)
    }

    fn undo(self) {
        self.steps.undo();
    }

    fn into_undo(self) -> impl FnOnce() + 'static {
        let steps = self.steps;
        move || steps.undo()
    }
}

impl Steps {
    /// Undoes in reverse what was done. What cannot be undone stays in the record for the DEL that follows.
    fn undo(mut self) {
        if self.repeated {
            return;
        }
        let asked: Vec<Value> =
            self.asked.iter().map(|(section, _)| section.value.clone()).collect();
        while !self.asked.is_empty() {
            self.undo_last();
        }
        if let Some(record) = &mut self.record {
            // Those that were not asked hold nothing, unless an earlier call that was killed had asked them.
            for value in self.fresh.iter().filter(|value| !asked.contains(value)) {
                let _ = record.freed(value);
            }
            let _ = record.remove_if_over();
        }
    }

    fn undo_last(&mut self) {
        let Some((section, delegate)) = self.asked.pop() else { return };
        if self.repeated {
            return;
        }
        let config = with_ipam(&self.config, &section.value);
        let undone = delegate.call(Command::Del, &self.environment, &config, Some(UNDOING));
        let nothing = undone.map_or_else(|error| error.code == Code::UnknownContainer, |_| true);
        if let Some(record) = self.record.as_mut().filter(|_| nothing) {
            let _ = record.freed(&section.value);
        }
    }
}
