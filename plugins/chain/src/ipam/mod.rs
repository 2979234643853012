//! The operations over a list of IPAM plugins.

mod add;

pub(crate) use add::add;

use std::time::Duration;

use cni::{Call, Code, Command, Delegate, Environment, Error, PATIENCE};
use host_local::admin;
use host_local::call::{attachment, previous_addresses, state_dirs, valid_attachments};
use ipam_core::addr::Addr;
use ipam_core::config::json::At;
use ipam_core::identity::Attachment;
use serde_json::Value;

use crate::apart::apart;
use crate::config::{Listing, Policy, Section, value};
use crate::errors::{all, config_error, is_unknown_command, unavailable};
use crate::record::{Part, Record, Records, State};
use crate::sections::with_ipam;

/// How long one IPAM plugin may take to undo what it gave.
pub(crate) const UNDOING: Duration = Duration::from_secs(30);

/// As deep as a document can be.
const DEEPEST: usize = 128;

/// The records of a call's network.
pub(crate) fn records(call: &Call) -> Records {
    Records::new(&state_dirs(&call.environment).volatile, &call.network)
}

/// Whether the administrator's rules allow what a chain itself reads: the network's name, and what says which node this
/// is. The plugins that it calls keep the rules about what is theirs.
pub(crate) fn allowed(call: &Call) -> Result<(), Error> {
    let Some(rules) = admin::rules(call)? else { return Ok(()) };
    let judge = || {
        rules.network(&call.config)?;
        let root = At::root(&call.config);
        rules.node(&root, &admin::resolve)?;
        let mut sections = vec![root];
        let mut depth = 0;
        // A chain may be in a chain; the reader of JSON bounds how deep.
        while !sections.is_empty() && depth < DEEPEST {
            depth += 1;
            let mut inner = Vec::new();
            for section in &sections {
                for key in ["ipam", "ipams"] {
                    match section.value().as_object().and_then(|object| value(object, key)) {
                        Some(Value::Array(list)) => inner.extend(list),
                        Some(one) => inner.push(one),
                        None => {}
                    }
                }
            }
            sections = inner.into_iter().map(|value| At::standing_at(value, "ipams")).collect();
            for section in sections.iter().filter(|section| section.value().is_object()) {
                rules.node(section, &admin::resolve)?;
            }
        }
        Ok(())
    };
    judge().map_err(|e| config_error(&e))
}

/// DEL under a main plugin.
pub(crate) fn del(call: &Call) -> Result<(), Error> {
    let listing = Listing::lenient(&call.config);
    let attachment = attachment(call)?;
    let configured = kept_apart(&listing);
    let record = records(call).find(&attachment, Part::Ipam(&listing.instance))?;
    all(free(call, &call.environment, &call.config, record, &configured))
}

/// CHECK under a main plugin.
pub(crate) fn check(call: &Call) -> Result<(), Error> {
    let listing = Listing::of_ipam(&call.config)?;
    let sections = apart(&listing.sections, &listing.instance)?;
    let attachment = attachment(call)?;
    let record = records(call).find(&attachment, Part::Ipam(&listing.instance))?;
    let given: Vec<(Value, Vec<String>)> =
        record.iter().flat_map(Record::entries).filter_map(held).collect();
    drop(record);
    let asked: Vec<&Section> = match listing.policy {
        Policy::First if !given.is_empty() => sections
            .iter()
            .filter(|section| given.iter().any(|(value, _)| *value == section.value))
            .collect(),
        _ => sections.iter().collect(),
    };
    let mut errors = missing(call, &given)?;
    let mut fine = 0;
    for section in asked {
        let config = with_ipam(&own_result(&call.config, &section.value, &given), &section.value);
        let checked = Delegate::find(&section.kind, &call.environment).and_then(|delegate| {
            delegate.call(Command::Check, &call.environment, &config, Some(PATIENCE))
        });
        match checked {
            Ok(_) => fine += 1,
            Err(error) => errors.push(named(section, error)),
        }
    }
    // Who has served is not known any more: one of them it was.
    if listing.policy == Policy::First && given.is_empty() && fine > 0 {
        return Ok(());
    }
    all(errors)
}

/// GC under a main plugin.
pub(crate) fn gc(call: &Call) -> Result<(), Error> {
    all(collect(call, &Listing::lenient(&call.config)))
}

/// STATUS under a main plugin.
pub(crate) fn status(call: &Call) -> Result<(), Error> {
    allowed(call).map_err(unable)?;
    let listing = Listing::of_ipam(&call.config).map_err(unable)?;
    let sections = apart(&listing.sections, &listing.instance).map_err(unable)?;
    unavailable(ready(call, listing.policy, &sections))
}

/// STATUS: what is wrong with the configuration is why an ADD could not be served.
pub(crate) fn unable(error: Error) -> Error {
    Error { code: Code::NotAvailable, ..error }
}

/// What is in the way of an ADD.
pub(crate) fn ready(call: &Call, policy: Policy, sections: &[Section]) -> Vec<Error> {
    let mut errors = Vec::new();
    for section in sections {
        let config = with_ipam(&call.config, &section.value);
        let status = Delegate::find(&section.kind, &call.environment).and_then(|delegate| {
            delegate.call(Command::Status, &call.environment, &config, Some(PATIENCE))
        });
        match status {
            Err(error) if !is_unknown_command(&error) => errors.push(named(section, error)),
            _ if policy == Policy::First => return Vec::new(),
            _ => {}
        }
    }
    errors
}

/// The sections of a list that may be wrong otherwise.
pub(crate) fn kept_apart(listing: &Listing) -> Vec<Section> {
    apart(&listing.sections, &listing.instance).unwrap_or_else(|_| listing.sections.clone())
}

/// Frees what an attachment holds: by its record, in reverse, and then of whoever else is configured. Goes on after
/// errors.
pub(crate) fn free(
    call: &Call,
    environment: &Environment,
    config: &Value,
    mut record: Option<Record>,
    configured: &[Section],
) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut targets: Vec<(Section, bool)> = Vec::new();
    if let Some(record) = &mut record {
        for warning in record.take_warnings() {
            call.warn(&warning);
        }
        let held = record.entries().iter().rev().filter(|entry| entry.state != State::Freed);
        targets.extend(held.filter_map(|entry| Some((Section::recorded(&entry.value)?, true))));
    }
    for section in configured.iter().rev() {
        if !targets.iter().any(|(target, _)| target.value == section.value) {
            targets.push((section.clone(), false));
        }
    }
    for (section, recorded) in targets {
        let delegate = match Delegate::find(&section.kind, environment) {
            Ok(delegate) => delegate,
            // It has never been asked for anything: that it is gone is no reason to keep a pod.
            Err(error) if !recorded => {
                call.warn(&named(&section, error).to_string());
                continue;
            }
            Err(error) => {
                errors.push(named(&section, error));
                continue;
            }
        };
        let config = with_ipam(config, &section.value);
        match delegate.call(Command::Del, environment, &config, Some(PATIENCE)) {
            Err(error) if error.code != Code::UnknownContainer => {
                errors.push(named(&section, error));
            }
            _ => {
                if let Some(record) = record.as_mut().filter(|_| recorded)
                    && let Err(error) = record.freed(&section.value)
                {
                    errors.push(error);
                }
            }
        }
    }
    if let Some(record) = &record
        && let Err(error) = record.remove_if_over()
    {
        errors.push(error);
    }
    errors
}

/// Frees what belongs to no valid attachment: forwards GC, and frees by their records what is left of the others.
pub(crate) fn collect(call: &Call, listing: &Listing) -> Vec<Error> {
    let mut errors = Vec::new();
    let valid = match valid_attachments(&call.config) {
        Ok(valid) => valid,
        Err(error) => return vec![error],
    };
    let (records, part) = (records(call), Part::Ipam(&listing.instance));
    let mut known = Vec::new();
    match records.all(part) {
        Ok(all) => known = all,
        Err(error) => errors.push(error),
    }
    let mut sections = kept_apart(listing);
    for attachment in &known {
        let stale = valid.as_ref().is_some_and(|valid| !valid.contains(attachment));
        match records.find(attachment, part) {
            Ok(Some(record)) if stale => {
                let environment = environment_of(call, attachment);
                let config = without_lists(&call.config);
                errors.extend(free(call, &environment, &config, Some(record), &[]));
            }
            Ok(Some(record)) if listing.sections.is_empty() => {
                // All that is known of the chain is what it has used.
                let used =
                    record.entries().iter().filter_map(|entry| Section::recorded(&entry.value));
                for section in used {
                    if !sections.iter().any(|other| other.value == section.value) {
                        sections.push(section);
                    }
                }
            }
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    for section in &sections {
        let config = with_ipam(&call.config, &section.value);
        let collected = Delegate::find(&section.kind, &call.environment).and_then(|delegate| {
            delegate.call(Command::Gc, &call.environment, &config, Some(PATIENCE))
        });
        match collected {
            Err(error) if !is_unknown_command(&error) => errors.push(named(section, error)),
            _ => {}
        }
    }
    errors
}

/// The environment of a call about another attachment, whose namespace is gone.
pub(crate) fn environment_of(call: &Call, attachment: &Attachment) -> Environment {
    call.environment
        .clone()
        .with("CNI_CONTAINERID", attachment.container.as_str())
        .with("CNI_IFNAME", attachment.ifname.as_str())
        .with("CNI_NETNS", "")
        .with("CNI_ARGS", "")
}

/// A configuration without what is about other attachments.
pub(crate) fn without_lists(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, _| {
            !key.starts_with("cni.dev/") && !key.eq_ignore_ascii_case("prevResult")
        });
    }
    config
}

/// An error with the place of the section that it is about.
fn named(section: &Section, error: Error) -> Error {
    let message = match error.message.strip_prefix(&format!("{}: ", section.kind)) {
        Some(rest) => format!("{}: {rest}", section.name),
        None => format!("{}: {}", section.name, error.message),
    };
    Error { message, ..error }
}

/// What an entry of a record holds.
fn held(entry: &crate::record::Entry) -> Option<(Value, Vec<String>)> {
    match &entry.state {
        State::Has(ips) => Some((entry.value.clone(), ips.clone())),
        State::May | State::Freed => None,
    }
}

/// CHECK: what was given and is not in prevResult.
fn missing(call: &Call, given: &[(Value, Vec<String>)]) -> Result<Vec<Error>, Error> {
    let expected = previous_addresses(&call.config)?;
    if expected.is_empty() {
        return Ok(Vec::new());
    }
    let mut errors = Vec::new();
    for (section, ips) in given {
        let lost: Vec<&str> = ips
            .iter()
            .filter(|ip| Addr::parse(ip).is_some_and(|addr| !expected.contains(&addr)))
            .map(String::as_str)
            .collect();
        if !lost.is_empty() {
            let kind = Section::recorded(section).map(|section| section.kind).unwrap_or_default();
            errors.push(
                Error::new(
                    Code::Inconsistent,
                    format!("{kind} has given {}, which prevResult does not have", lost.join(" ")),
                )
                .with_details("what is recorded is not what the runtime believes"),
            );
        }
    }
    Ok(errors)
}

/// The configuration with a prevResult that has nothing of the other sections': a plugin must not take their
/// addresses for its own that are lost.
fn own_result(config: &Value, own: &Value, given: &[(Value, Vec<String>)]) -> Value {
    let others: Vec<Addr> = given
        .iter()
        .filter(|(value, _)| value != own)
        .flat_map(|(_, ips)| ips.iter().filter_map(|ip| Addr::parse(ip)))
        .collect();
    let mut config = config.clone();
    let Some(root) = config.as_object_mut() else { return config };
    let ips = root
        .iter_mut()
        .find(|(key, _)| key.eq_ignore_ascii_case("prevResult"))
        .and_then(|(_, result)| result.as_object_mut())
        .and_then(|result| result.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case("ips")))
        .and_then(|(_, ips)| ips.as_array_mut());
    if let Some(ips) = ips {
        ips.retain(|ip| {
            let text = ip.get("address").and_then(Value::as_str).unwrap_or_default();
            let addr = text.split('/').next().and_then(Addr::parse);
            addr.is_none_or(|addr| !others.contains(&addr))
        });
    }
    config
}
