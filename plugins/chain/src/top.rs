/*!
A whole network by one configuration: `"type": "chain"`, with the main plugin's configuration under `main`.

The main plugin gets an ipam section as any other configuration would have it: the one IPAM plugin that is listed, or a
chain. So it calls its IPAM when it is right for it, in ADD, DEL and CHECK, and nothing is asked of it that main
plugins do not do. What they leave out is done here: GC and STATUS of the IPAM plugins, which reference plugins do not
forward, and a DEL of them after a main plugin that had nothing to delete.
*/

use std::time::Instant;

use cni::{
    Added, Answer, Call, Code, Command, Delegate, Environment, Error, FullResult, PATIENCE,
    SpecVersion,
};
use host_local::call::{attachment, valid_attachments};
use ipam_core::config::json::At;
use ipam_core::identity::Attachment;
use serde_json::{Value, json};

use crate::NAME;
use crate::config::{Listing, Policy, Section, value};
use crate::errors::{all, config_error, is_unknown_command, unavailable, unwanted, wrong};
use crate::ipam::{self, UNDOING, environment_of, records, unable, without_lists};
use crate::place::{Template, runtime_keys, unknown_keys};
use crate::record::{Part, Record, State};

/// A configuration, as this node understands it.
struct Network {
    /// What the main plugin gets, but for what is the runtime's.
    main: Value,
    /// What the IPAM plugins are to each other.
    policy: Policy,
    /// The IPAM plugins.
    sections: Vec<Section>,
}

impl Network {
    /// Reads and fills in a configuration.
    fn read(call: &Call) -> Result<Self, Error> {
        let (template, policy) = template(call)?;
        Self::of(template.render(call)?, policy)
    }

    fn of(template: Template, policy: Policy) -> Result<Self, Error> {
        let Template { mut main, sections } = template;
        let sections = crate::apart::apart(&sections, "")?;
        if let Some(object) = main.as_object_mut()
            && let Some(ipam) = ipam_section(policy, &sections)
        {
            object.insert("ipam".to_owned(), ipam);
        }
        Ok(Self { main, policy, sections })
    }

    /// The configuration for a DEL: as this node understands it, else as it is written. A name that is not filled in
    /// is in nobody's way then, and an index that is not known must keep no pod.
    fn lenient(call: &Call) -> Option<Self> {
        let (template, policy) = template(call).ok()?;
        let rendered = template.render(call).unwrap_or_else(|error| {
            call.warn(&format!("placeholders are not filled in: {}", error.message));
            template.clone()
        });
        Self::of(rendered, policy).or_else(|_| Self::of(template, policy)).ok()
    }
}

/// The ipam section that makes a main plugin call these: the only one itself, else a chain.
fn ipam_section(policy: Policy, sections: &[Section]) -> Option<Value> {
    match sections {
        [] => None,
        [only] => Some(only.value.clone()),
        several => {
            let ipams: Vec<&Value> = several.iter().map(|section| &section.value).collect();
            Some(json!({"type": NAME, "policy": policy.as_str(), "ipams": ipams}))
        }
    }
}

/// The configuration before anything is filled in.
fn template(call: &Call) -> Result<(Template, Policy), Error> {
    const EXPECTED: &str = "\"main\": {\"type\": \"bridge\", ..}: the main plugin's configuration";
    let root = At::root(&call.config);
    let main = root
        .get("main")
        .map_err(|e| config_error(&e))?
        .ok_or_else(|| wrong("main is missing", EXPECTED))?;
    let object = main.object().map_err(|e| config_error(&e))?;
    match main.get("type").map_err(|e| config_error(&e))?.map(|at| at.string()) {
        Some(Ok(NAME)) => return Err(wrong("main.type is chain itself", EXPECTED)),
        Some(Ok(kind)) if !kind.is_empty() => {}
        Some(Err(error)) => return Err(config_error(&error)),
        _ => return Err(wrong("main.type is missing", EXPECTED)),
    }
    if value(object, "ipam").is_some() {
        return Err(wrong(
            "main.ipam: the main plugin gets its ipam section from the chain",
            "put it beside \"main\": as \"ipam\", or into the list \"ipams\"",
        ));
    }
    let listing = Listing::of_top(&call.config)?.unwrap_or_default();
    for warning in &listing.warnings {
        call.warn(warning);
    }
    Ok((Template { main: main.value().clone(), sections: listing.sections }, listing.policy))
}

/// The main plugin of a configuration, and its version of the specification: the call's, unless `main` has its own,
/// for plugins that do not know the newest.
fn main_plugin(
    call: &Call,
    main: &Value,
    environment: &Environment,
) -> Result<(Delegate, SpecVersion), Error> {
    let object = main.as_object();
    let text = |key: &str| {
        object.and_then(|object| value(object, key)).and_then(Value::as_str).unwrap_or_default()
    };
    let delegate = Delegate::find(text("type"), environment)
        .map_err(|e| Error { message: format!("main: {}", e.message), ..e })?;
    let version = match text("cniVersion") {
        "" => call.version,
        version => SpecVersion::parse(version)?,
    };
    Ok((delegate, version))
}

/// What the main plugin gets: its own configuration, and what is the runtime's.
fn config_for(main: &Value, runtime: &Value, version: SpecVersion) -> Result<Value, Error> {
    let mut config = main.clone();
    let Some(object) = config.as_object_mut() else { return Ok(config) };
    for (key, value) in runtime_keys(runtime) {
        if key.eq_ignore_ascii_case("cniVersion") {
            continue;
        }
        let other = key.eq_ignore_ascii_case("prevResult")
            && value.get("cniVersion").and_then(Value::as_str) != Some(version.as_str());
        let value = if other {
            let result = FullResult::parse(&value)
                .map_err(|e| Error { message: format!("prevResult: {}", e.message), ..e })?;
            serde_json::from_str(&result.render(version)).unwrap_or(value)
        } else {
            value
        };
        ipam_core::template::remove(object, &key);
        object.insert(key, value);
    }
    ipam_core::template::remove(object, "cniVersion");
    // 0.1.0 may have come as nothing.
    object.insert("cniVersion".to_owned(), json!(version.as_str()));
    Ok(config)
}

/// ADD.
pub(crate) fn add(call: &Call) -> Result<Added, Error> {
    ipam::allowed(call)?;
    for warning in unknown_keys(&call.config) {
        call.warn(&warning);
    }
    let network = Network::read(call)?;
    let (delegate, version) = main_plugin(call, &network.main, &call.environment)?;
    let config = config_for(&network.main, &call.config, version)?;
    for section in &network.sections {
        Delegate::find(&section.kind, &call.environment)
            .map_err(|e| Error { message: format!("{}: {}", section.name, e.message), ..e })?;
    }
    let attachment = attachment(call)?;
    let end = Instant::now() + PATIENCE;
    let mut record = records(call).make(&attachment, Part::Main)?;
    if !call.caller.is_waiting() {
        record.remove_if_over()?;
        return Err(unwanted());
    }
    let repeated = record.holds();
    record.may(&attachment, std::slice::from_ref(&network.main))?;
    let left = end.saturating_duration_since(Instant::now());
    let answer =
        delegate.call(Command::Add, &call.environment, &config, Some(left)).and_then(|answer| {
            let answer = answer.unwrap_or_default();
            let ips = FullResult::parse(&answer)?.ips;
            record
                .has(&network.main, ips.iter().map(|ip| ip.config.address.to_string()).collect())?;
            Ok(answer)
        });
    // A main plugin that says why it failed has put away what it made, and a DEL of ours could take away what was
    // there before: the interface that it failed on. One that was killed has said nothing.
    let failed = answer.is_err() && Instant::now() < end;
    if failed && !repeated {
        for error in free_ipam(call, &call.environment, &call.config, &attachment, &network.main) {
            call.warn(&error.to_string());
        }
    }
    let environment = call.environment.clone();
    let mut undo = move || {
        // The attachment may live with what it got from an earlier ADD.
        if repeated || failed {
            return;
        }
        let undone = delegate.call(Command::Del, &environment, &config, Some(UNDOING));
        if undone.is_ok() {
            let _ = record.freed(&network.main);
            let _ = record.remove_if_over();
        }
    };
    match answer {
        Ok(answer) => Ok(Added { result: Answer::Raw(answer), undo: Box::new(undo) }),
        Err(error) => {
            undo();
            Err(error)
        }
    }
}

/// DEL.
pub(crate) fn del(call: &Call) -> Result<(), Error> {
    let attachment = attachment(call)?;
    let record = records(call).find(&attachment, Part::Main)?;
    let configured = Network::lenient(call);
    all(detach(call, &call.environment, &call.config, &attachment, record, configured.as_ref()))
}

/// Deletes an attachment as its record says, else as the configuration does.
fn detach(
    call: &Call,
    environment: &Environment,
    runtime: &Value,
    attachment: &Attachment,
    mut record: Option<Record>,
    configured: Option<&Network>,
) -> Vec<Error> {
    let mut mains: Vec<(Value, bool)> = Vec::new();
    if let Some(record) = &mut record {
        for warning in record.take_warnings() {
            call.warn(&warning);
        }
        let held = record.entries().iter().rev().filter(|entry| entry.state != State::Freed);
        mains.extend(held.map(|entry| (entry.value.clone(), true)));
    }
    if mains.is_empty() {
        mains.extend(configured.map(|network| (network.main.clone(), false)));
    }
    let mut errors = Vec::new();
    for (main, recorded) in mains {
        let deleted = main_plugin(call, &main, environment).and_then(|(delegate, version)| {
            let config = config_for(&main, runtime, version).or_else(|error| {
                // A result that cannot be read must not keep a pod.
                call.warn(&error.to_string());
                config_for(&main, &without_lists(runtime), version)
            })?;
            delegate.call(Command::Del, environment, &config, Some(PATIENCE))
        });
        match deleted {
            Err(error) if error.code != Code::UnknownContainer => {
                errors.push(error);
                continue;
            }
            _ => {}
        }
        // Some main plugins that find no namespace do not go on to their IPAM.
        let freed = free_ipam(call, environment, runtime, attachment, &main);
        if freed.is_empty()
            && let Some(record) = record.as_mut().filter(|_| recorded)
            && let Err(error) = record.freed(&main)
        {
            errors.push(error);
        }
        errors.extend(freed);
    }
    if let Some(record) = &record
        && let Err(error) = record.remove_if_over()
    {
        errors.push(error);
    }
    errors
}

/// Frees what the IPAM plugins of a main plugin's configuration still hold.
fn free_ipam(
    call: &Call,
    environment: &Environment,
    runtime: &Value,
    attachment: &Attachment,
    main: &Value,
) -> Vec<Error> {
    let runtime = without_lists(runtime);
    let config = config_for(main, &runtime, call.version).unwrap_or(runtime);
    let listing = Listing::lenient(&config);
    let chained =
        main.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str) == Some(NAME);
    let record = match records(call).find(attachment, Part::Ipam("")) {
        Ok(record) => record,
        Err(error) => return vec![error],
    };
    // A chain that has no record has freed all, or was never asked.
    if chained && record.is_none() {
        return Vec::new();
    }
    ipam::free(call, environment, &config, record, &ipam::kept_apart(&listing))
}

/// CHECK.
pub(crate) fn check(call: &Call) -> Result<(), Error> {
    let attachment = attachment(call)?;
    let record = records(call).find(&attachment, Part::Main)?;
    let used = record.as_ref().and_then(|record| {
        let held = record.entries().iter().rev().find(|entry| matches!(entry.state, State::Has(_)));
        held.map(|entry| entry.value.clone())
    });
    drop(record);
    let main = match used {
        Some(main) => main,
        None => Network::read(call)?.main,
    };
    let (delegate, version) = main_plugin(call, &main, &call.environment)?;
    if version < SpecVersion::V0_4_0 {
        return Ok(());
    }
    let config = config_for(&main, &call.config, version)?;
    delegate.call(Command::Check, &call.environment, &config, Some(PATIENCE)).map(|_| ())
}

/// GC.
pub(crate) fn gc(call: &Call) -> Result<(), Error> {
    let mut errors = Vec::new();
    let network = Network::lenient(call);
    if let Some(network) = &network {
        let collected =
            main_plugin(call, &network.main, &call.environment).and_then(|(delegate, version)| {
                if version < SpecVersion::V1_1_0 {
                    return Ok(None);
                }
                let config = config_for(&network.main, &call.config, version)?;
                delegate.call(Command::Gc, &call.environment, &config, Some(PATIENCE))
            });
        match collected {
            Err(error) if !is_unknown_command(&error) => errors.push(error),
            _ => {}
        }
    }
    errors.extend(leftovers(call));
    let listing = network.map(|network| Listing {
        policy: network.policy,
        sections: network.sections,
        ..Listing::default()
    });
    errors.extend(ipam::collect(call, &listing.unwrap_or_else(|| used(call))));
    all(errors)
}

/// The IPAM plugins that one of the attachments was made with, where the configuration does not tell them any more.
fn used(call: &Call) -> Listing {
    let records = records(call);
    let known = records.all(Part::Main).unwrap_or_default();
    let record = known.iter().find_map(|attachment| records.find(attachment, Part::Main).ok()?);
    let main = record.as_ref().and_then(|record| record.entries().last());
    main.map(|entry| Listing::lenient(&entry.value)).unwrap_or_default()
}

/// Deletes the attachments that have a record and are not valid any more.
fn leftovers(call: &Call) -> Vec<Error> {
    let valid = match valid_attachments(&call.config) {
        Ok(Some(valid)) => valid,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let records = records(call);
    let known = match records.all(Part::Main) {
        Ok(known) => known,
        Err(error) => return vec![error],
    };
    let runtime = without_lists(&call.config);
    let mut errors = Vec::new();
    for attachment in known.iter().filter(|attachment| !valid.contains(attachment)) {
        match records.find(attachment, Part::Main) {
            Ok(None) => {}
            Ok(record) => {
                let environment = environment_of(call, attachment);
                errors.extend(detach(call, &environment, &runtime, attachment, record, None));
            }
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// STATUS.
pub(crate) fn status(call: &Call) -> Result<(), Error> {
    ipam::allowed(call).map_err(unable)?;
    let network = Network::read(call).map_err(unable)?;
    let (delegate, version) =
        main_plugin(call, &network.main, &call.environment).map_err(unable)?;
    let mut errors = Vec::new();
    if version >= SpecVersion::V1_1_0 {
        let config = config_for(&network.main, &call.config, version).map_err(unable)?;
        match delegate.call(Command::Status, &call.environment, &config, Some(PATIENCE)) {
            Err(error) if !is_unknown_command(&error) => errors.push(error),
            _ => {}
        }
    }
    errors.extend(ipam::ready(call, network.policy, &network.sections));
    unavailable(errors)
}
