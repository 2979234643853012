//! What an IPAM plugin would say of its section.

use std::collections::BTreeSet;

use ipam_core::config::{ConfigError, KNOWN_KEYS, StoreKind};
use ipam_core::node::NodeIdentity;
use node_local::{OWN_KEYS, Problem};
use serde_json::Value;

use super::keys::{INNER_KEYS, known, meant};
use super::{Looker, UNKNOWN, join};
use crate::configured;
use crate::lint::{Reach, Severity, set_cfg_dir};
use crate::netconf::{Form, Member, entry};

impl Looker<'_> {
    /// What the IPAM plugin says.
    pub(super) fn ranges(&mut self, member: &Member, node_local: bool) {
        let mut member = member.clone();
        if let (true, Some(dir)) = (node_local, &self.settings.cfg_dir) {
            set_cfg_dir(&mut member.net, dir);
        }
        let mut node = None;
        if node_local {
            let found = match &self.settings.node {
                Some(asked) => asked.identity(&member),
                None => node_local::find(&member.net, &self.settings.around),
            };
            node = Some(found.unwrap_or_else(|problem| {
                self.problem(&member, &problem);
                // The rest can be looked at for some node.
                let (index, name) = (1, "node-1".to_owned());
                NodeIdentity { index, name, source: "a guess".to_owned() }
            }));
        }
        let rendered = match configured::rendered(&member, &self.settings.around, node.as_ref()) {
            Ok((rendered, _)) => rendered,
            Err(problem) => return self.problem(&member, &problem),
        };
        let place = &rendered.config.place;
        let default = if node_local { StoreKind::Sqlite } else { StoreKind::Dir };
        if let Err(error) = place.allows(place.store.unwrap_or(default), rendered.config.policy) {
            self.problem(&member, &Problem::from(error));
        }
        if let Some(rules) = &self.settings.rules {
            let judged =
                [rules.ranges(&rendered.config.sets), rules.requested(&rendered.config.requested)];
            for mut error in judged.into_iter().filter_map(Result::err) {
                error.path = "ipam".to_owned();
                self.denied(&member, &error);
            }
        }
        let mut seen = BTreeSet::new();
        for warning in &rendered.config.warnings {
            if self.is_full() {
                break;
            }
            if seen.insert(warning) {
                self.warning(&member, warning, node_local);
            }
        }
        let offset = self.document.value_at(&join(&member.path, "ipam"));
        let network = match self.document.form {
            Form::Template => return,
            _ => member.network(),
        };
        for range in rendered.config.sets.iter().flat_map(|set| set.ranges()) {
            let (network, interval) = (network.to_owned(), range.interval());
            self.report.reaches.push(Reach { network, interval, offset });
        }
    }

    /// An error of the plugin.
    fn problem(&mut self, member: &Member, problem: &Problem) {
        let Some(value) = problem.value.as_deref() else {
            // It is the node that is not as it must be; another node may be.
            let asked = self.settings.node.is_some() || self.settings.cfg_dir.is_some();
            let severity = if asked { Severity::Error } else { Severity::Warning };
            let message = format!("on this node: {}", problem.error.message);
            let message = if asked { problem.error.message.clone() } else { message };
            return self.add(
                severity,
                &join(&member.path, "ipam"),
                message,
                problem.error.details.clone(),
            );
        };
        let ConfigError { path, found, expected, .. } = value;
        if path == "ipam.ranges" && found == "nothing" && passes_ranges(member) {
            return;
        }
        let at = self.locate(member, path);
        let message = match problem.error.message.strip_prefix(path.as_str()) {
            _ if path.is_empty() => problem.error.message.clone(),
            Some(rest) => format!("{at}{rest}"),
            None => format!("{at}: {}", problem.error.message),
        };
        let found = if found.is_empty() || problem.error.message.contains(found.as_str()) {
            String::new()
        } else {
            format!("found {found}; ")
        };
        self.add(Severity::Error, &at, message, format!("{found}expected: {expected}"));
    }

    /// A warning of the plugin.
    fn warning(&mut self, member: &Member, warning: &str, node_local: bool) {
        if let Some(path) = warning.strip_suffix(UNKNOWN) {
            let key = path.rsplit('.').next().unwrap_or_default();
            let inner = path.matches('.').count() > 1;
            let advice = if inner {
                meant(key, INNER_KEYS)
            } else if !node_local && known(key, &[OWN_KEYS]) {
                Some(
                    "node-local knows this key, host-local does not: \"type\": \"node-local\""
                        .to_owned(),
                )
            } else {
                let keys: Vec<&str> = if node_local {
                    KNOWN_KEYS.iter().chain(OWN_KEYS).copied().collect()
                } else {
                    KNOWN_KEYS.to_vec()
                };
                meant(key, &keys)
            };
            let at = self.locate(member, path);
            return self.warn_key(
                &at,
                format!("{at}: unknown key, ignored"),
                advice.unwrap_or_default(),
            );
        }
        match warning.split_once(": ") {
            Some((path, _)) if path.starts_with("ipam") => {
                let at = self.locate(member, path);
                let message = warning.strip_prefix(path).unwrap_or_default();
                self.add(Severity::Warning, &at, format!("{at}{message}"), "");
            }
            _ => self.add(Severity::Warning, &join(&member.path, "ipam"), warning, ""),
        }
    }

    /// The path in the document of a path that a plugin names.
    fn locate(&self, member: &Member, path: &str) -> String {
        // The list gives these to each plugin.
        let outer = matches!(path, "cniVersion" | "name");
        if self.document.form == Form::Template && entry(&self.document.value, "ipam").is_none() {
            return path.strip_prefix("ipam.").unwrap_or_default().to_owned();
        }
        if outer { path.to_owned() } else { join(&member.path, path) }
    }
}

/// Whether the runtime gives the plugin ranges.
fn passes_ranges(member: &Member) -> bool {
    entry(&member.net, "capabilities")
        .and_then(|capabilities| entry(capabilities, "ipRanges"))
        .is_some_and(|passes| passes == &Value::Bool(true))
}
