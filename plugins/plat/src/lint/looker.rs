//! What is looked at in a document, from the outside in.

mod ipam;
mod keys;
mod rules;
mod vpp;

use cni::{SUPPORTED, SpecVersion};
use ipam_core::identity::Network as NetworkName;
use ipam_core::template;
use serde_json::Value;

use super::suggest::suggest;
use super::{Finding, Report, Settings, Severity, Summary, template_member};
use crate::configured;
use crate::netconf::{Document, Form, Member, entry, spot};

use keys::{COMMON_KEYS, IPAM_TYPES, LIST_KEYS, known, meant, near_key};

/// Main plugins that give an interface no address without an ipam section.
const NEED_IPAM: &[&str] = &["bridge", "ipvlan", "macvlan", "ptp", "vlan", "host-device"];

/// How many findings a file has room for; errors are always told.
const MOST: usize = 100;

/// One look at one document.
pub(super) struct Looker<'a> {
    pub(super) file: &'a str,
    pub(super) ending: &'a str,
    pub(super) document: &'a Document,
    pub(super) settings: &'a Settings,
    pub(super) report: &'a mut Report,
}

impl Looker<'_> {
    fn add(
        &mut self,
        severity: Severity,
        path: &str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        if severity == Severity::Warning && self.is_full() {
            return;
        }
        self.report.findings.push(Finding {
            severity,
            offset: self.document.value_at(path),
            path: path.to_owned(),
            message: message.into(),
            advice: advice.into(),
        });
    }

    /// Whether there are as many findings as anybody reads.
    const fn is_full(&self) -> bool {
        self.report.findings.len() >= MOST
    }

    /// As [`Self::add`], at the key.
    fn warn_key(&mut self, path: &str, message: impl Into<String>, advice: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let offset = self.document.key_at(path);
        self.add(Severity::Warning, path, message, advice);
        if let (Some(offset), Some(last)) = (offset, self.report.findings.last_mut()) {
            last.offset = offset;
        }
    }

    /// Adds everything to the report.
    pub(super) fn look(mut self) {
        self.duplicates();
        let members = match self.document.form {
            Form::Template => vec![self.template()],
            form => {
                self.name();
                self.version();
                if form == Form::List {
                    self.list();
                }
                self.document.members()
            }
        };
        for member in &members {
            self.member(member);
            self.rules(member);
        }
        let template = self.document.form == Form::Template;
        self.report.summaries.push(Summary {
            form: self.document.form,
            in_manifest: self.document.in_manifest,
            network: self.document.network().unwrap_or_default().to_owned(),
            plugins: members
                .iter()
                .filter(|_| !template)
                .map(|member| (member.plugin().to_owned(), member.ipam().map(str::to_owned)))
                .collect(),
        });
    }

    fn duplicates(&mut self) {
        for (offset, later, former, at) in self.document.duplicates().into_iter().take(MOST) {
            let line = spot(self.file, at).line;
            let (message, advice) = if later == former {
                (
                    format!("the key {later:?} stands in this object twice, first on line {line}"),
                    "only the last one counts",
                )
            } else {
                (
                    format!("the keys {former:?} (line {line}) and {later:?} mean the same"),
                    "which one counts depends on the plugin; keep one",
                )
            };
            self.report.findings.push(Finding {
                severity: Severity::Warning,
                offset,
                path: String::new(),
                message,
                advice: advice.to_owned(),
            });
        }
    }

    fn name(&mut self) {
        const EXPECTED: &str =
            "letters, digits, '_', '.' and '-', beginning with a letter or a digit";
        let value = &self.document.value;
        if entry(value, "name").is_some_and(|name| !name.is_string()) {
            return self.add(Severity::Error, "name", "name: expected a string", EXPECTED);
        }
        let Some(name) = self.document.network() else {
            let advice = match near_key(value, "name", LIST_KEYS) {
                Some(key) => format!("did you mean \"name\" where {key:?} stands?"),
                None => EXPECTED.to_owned(),
            };
            return self.add(Severity::Error, "", "the network has no name", advice);
        };
        if let Err(error) = NetworkName::new(name) {
            let message = format!("name: {:?} {error}: no runtime accepts it", cut(name));
            self.add(Severity::Error, "name", message, EXPECTED);
        }
    }

    fn version(&mut self) {
        match entry(&self.document.value, "cniVersion") {
            None => self.warn_or_near(),
            Some(Value::String(text)) => {
                if let Err(error) = SpecVersion::parse(text) {
                    let message = format!("cniVersion: {:?}: {}", cut(text), error.message);
                    let advice = format!("one of {}", SUPPORTED.join(", "));
                    self.add(Severity::Error, "cniVersion", message, advice);
                }
            }
            Some(_) => {
                self.add(
                    Severity::Error,
                    "cniVersion",
                    "cniVersion: expected a string",
                    "\"1.0.0\"",
                );
            }
        }
    }

    fn warn_or_near(&mut self) {
        let advice = "\"cniVersion\": \"1.0.0\"; without it, runtimes take 0.1.0, which has no CHECK and one \
                      address for each family";
        self.add(Severity::Warning, "", "cniVersion is missing", advice);
    }

    fn list(&mut self) {
        if matches!(self.ending, "conf" | "json") && !self.document.in_manifest {
            let message =
                format!("a list of plugins in a file whose name ends in .{}", self.ending);
            self.add(Severity::Warning, "plugins", message, "runtimes read lists from *.conflist");
        }
        let keys = self.document.value.as_object().into_iter().flat_map(serde_json::Map::keys);
        let unknown: Vec<&String> = keys.filter(|key| !known(key, &[LIST_KEYS])).collect();
        for key in unknown.into_iter().take(MOST) {
            let advice = meant(key, LIST_KEYS).unwrap_or_else(|| {
                "keys of a plugin belong into its object within \"plugins\"".to_owned()
            });
            self.warn_key(key, format!("{:?}: no key of a list, ignored", cut(key)), advice);
        }
        let Some(plugins) = entry(&self.document.value, "plugins") else { return };
        let Some(plugins) = plugins.as_array() else {
            return self.add(
                Severity::Error,
                "plugins",
                "plugins: expected a list",
                "[{\"type\": ...}]",
            );
        };
        if plugins.is_empty() {
            self.add(Severity::Error, "plugins", "the list has no plugins", "[{\"type\": ...}]");
        }
        for (i, plugin) in plugins.iter().enumerate().filter(|(_, plugin)| !plugin.is_object()) {
            let path = format!("plugins[{i}]");
            let message = format!("{path}: expected an object, found {}", cut(&plugin.to_string()));
            self.add(Severity::Error, &path, message, "{\"type\": ...}");
        }
    }

    /// The keys of a template, and the configuration that takes its ranges from it.
    fn template(&mut self) -> Member {
        for warning in template::unused_keys(&self.document.value).into_iter().take(MOST) {
            let path =
                warning.strip_suffix(UNKNOWN).and_then(|text| text.strip_prefix("template."));
            let path = path.unwrap_or_default().to_owned();
            let key = path.rsplit('.').next().unwrap_or_default();
            let advice = meant(key, template::TEMPLATE_KEYS).unwrap_or_else(|| {
                "a template supplies nothing else than ranges, routes and dns".to_owned()
            });
            self.warn_key(&path, format!("{path}: no key of a template, ignored"), advice);
        }
        template_member(self.document)
    }

    fn member(&mut self, member: &Member) {
        if self.document.form != Form::Template {
            self.plugin(member);
            if member.plugin() == "vpp" {
                self.vpp(member);
            }
        }
        let Some(ipam) = entry(&member.net, "ipam") else { return };
        let at = join(&member.path, "ipam");
        if ipam.as_object().is_some_and(serde_json::Map::is_empty) {
            return;
        }
        let Some(kind) = member.ipam().filter(|kind| !kind.is_empty()) else {
            if !ipam.is_object() {
                let message = format!("{at}: expected an object, found {}", cut(&ipam.to_string()));
                self.add(Severity::Error, &at, message, "{\"type\": \"host-local\", ...}");
            } else if entry(ipam, "type").is_some_and(|kind| !kind.is_string()) {
                let at = format!("{at}.type");
                self.add(
                    Severity::Error,
                    &at,
                    format!("{at}: expected a string"),
                    "\"host-local\"",
                );
            } else {
                let advice = "\"type\": \"host-local\" or \"node-local\"; an empty object is \"no addresses\"";
                self.add(Severity::Error, &at, format!("{at}: type is missing"), advice);
            }
            return;
        };
        if !configured::PLUGINS.contains(&kind) {
            if let Some(meant) =
                suggest(kind, IPAM_TYPES.iter().copied()).filter(|meant| *meant != kind)
            {
                let message = format!("{at}.type: {:?} is not known here", cut(kind));
                self.add(
                    Severity::Warning,
                    &format!("{at}.type"),
                    message,
                    format!("did you mean {meant:?}?"),
                );
            }
            return;
        }
        // A chain fills the node's number into all sections but node-local's before a plugin sees them.
        if member.plugin() == "chain" && kind != "node-local" {
            return;
        }
        self.ranges(member, kind == "node-local");
    }

    /// The plugin around an ipam section.
    fn plugin(&mut self, member: &Member) {
        let at = |key: &str| join(&member.path, key);
        match entry(&member.net, "type") {
            Some(Value::String(text)) if !text.is_empty() => {
                if text.contains('/') {
                    let message = format!("{}: {:?} contains a /", at("type"), cut(text));
                    let advice =
                        "the name of a program in the runtime's plugin directory, without a path";
                    self.add(Severity::Error, &at("type"), message, advice);
                }
            }
            Some(Value::String(_)) | None => {
                let message = format!("{}: the plugin's type is missing", shown_path(&member.path));
                let advice = match near_key(&member.net, "type", COMMON_KEYS) {
                    Some(key) => format!("did you mean \"type\" where {key:?} stands?"),
                    None => {
                        "\"type\": the name of a plugin's program, such as \"bridge\"".to_owned()
                    }
                };
                self.add(Severity::Error, &member.path, message, advice);
            }
            Some(_) => {
                let message = format!("{}: expected a string", at("type"));
                self.add(Severity::Error, &at("type"), message, "\"bridge\"");
            }
        }
        let without = entry(&member.net, "ipam").is_none();
        if without && let Some(key) = near_key(&member.net, "ipam", COMMON_KEYS) {
            let message = format!("{}: unknown key", at(&key));
            self.warn_key(&at(&key), message, "did you mean \"ipam\"?");
        } else if without && NEED_IPAM.contains(&member.plugin()) {
            let message =
                format!("{}: a {} without ipam", shown_path(&member.path), member.plugin());
            let advice = "its interfaces get no address; \"ipam\": {} says that this is meant";
            self.add(Severity::Warning, &member.path, message, advice);
        }
    }
}

/// How the configuration's warnings about unknown keys end.
const UNKNOWN: &str = ": unknown key, ignored";

fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

fn shown_path(path: &str) -> &str {
    if path.is_empty() { "the configuration" } else { path }
}

fn cut(text: &str) -> String {
    ipam_core::config::json::shown(text)
}
