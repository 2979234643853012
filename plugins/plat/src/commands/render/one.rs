//! One node: its ipam section.

use std::io::{self, Write};

use node_local::{Problem, Surroundings};
use serde::Serialize;
use serde_json::Value;

use crate::configured::rendered;
use crate::context::{Context, Exit, Failure};
use crate::lint::Asked;
use crate::netconf::{Member, printable, with_dns};
use crate::output;

/// Prints what one node makes of the configuration.
pub(super) fn one(
    members: &[Member],
    around: &Surroundings,
    asked: Option<&Asked>,
    context: &Context,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let mut identity = None;
    let mut sections = Vec::new();
    for member in members {
        let node_local = member.ipam() == Some("node-local");
        let node = match asked {
            Some(asked) if node_local => match asked.identity(member) {
                Ok(node) => Some(node),
                Err(problem) => return refused(&problem, context, out),
            },
            _ => None,
        };
        let (made, node) = match rendered(member, around, node.as_ref()) {
            Ok(made) => made,
            Err(problem) => return refused(&problem, context, out),
        };
        identity = node.or(identity);
        let path = if member.path.is_empty() { "" } else { ": " };
        for warning in &made.config.warnings {
            if !context.json {
                let warning = printable(warning);
                let _ = writeln!(io::stderr(), "plat: {}{path}{warning}", member.path);
            }
        }
        sections.push((member, with_dns(made.ipam, &made.dns), made.config.warnings));
    }
    if context.json {
        let networks = sections.iter().map(|(member, ipam, warnings)| NetworkJson {
            network: member.network(),
            plugin: member.plugin(),
            ipam,
            warnings,
        });
        let document = OneJson {
            node: identity.as_ref().map(|node| node.name.as_str()),
            index: identity.as_ref().map(|node| node.index),
            source: identity.as_ref().map(|node| node.source.as_str()),
            networks: networks.collect(),
            error: None,
            advice: None,
        };
        output::json(out, &document)?;
    } else if let [(_, ipam, _)] = sections.as_slice() {
        output::json(out, ipam)?;
    } else {
        output::json(out, &sections.iter().map(|(_, ipam, _)| ipam).collect::<Vec<_>>())?;
    }
    Ok(Exit::Fine)
}

/// The node cannot use the configuration: an answer, not a failure.
fn refused(problem: &Problem, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
    if context.json {
        let document = OneJson {
            node: None,
            index: None,
            source: None,
            networks: Vec::new(),
            error: Some(&problem.error.message),
            advice: Some(&problem.error.details),
        };
        output::json(out, &document)?;
    } else {
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "plat: {}", printable(&problem.error.message));
        let _ = writeln!(stderr, "      {}", printable(&problem.error.details));
    }
    Ok(Exit::Warning)
}

/// What node-local makes of a configuration on one node.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OneJson<'a> {
    /// The node's name; `null` for host-local, and if the node cannot use the configuration.
    node: Option<&'a str>,
    /// Its index; likewise.
    index: Option<u32>,
    /// Where the index comes from; likewise.
    source: Option<&'a str>,
    /// The networks of the configuration.
    networks: Vec<NetworkJson<'a>>,
    /// Why the node cannot use the configuration; `null` if it can.
    error: Option<&'a str>,
    /// What would be right; `null` if it can use the configuration.
    advice: Option<&'a str>,
}

/// A network.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NetworkJson<'a> {
    /// Its name.
    network: &'a str,
    /// The plugin whose IPAM it is.
    plugin: &'a str,
    /// The section `ipam` as host-local would be given it.
    ipam: &'a Value,
    /// A sentence each.
    warnings: &'a [String],
}
