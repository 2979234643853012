//! The keys of vpp beside the ipam section.

use ipam_core::config::json::At;
use serde_json::Value;
use vpp_plugin::config::Config;
use vpp_plugin::node::NodeSpec;

use super::keys::COMMON_KEYS;
use super::{Looker, join};
use crate::lint::Severity;
use crate::lint::suggest::suggest;
use crate::netconf::Member;
use crate::reference::{Kind, Section, root};

impl Looker<'_> {
    /// What the plugin itself would say of its configuration, and keys that are nearly one of its own: it passes over
    /// those that it does not know.
    pub(super) fn vpp(&mut self, member: &Member) {
        let judged = Config::parse(&member.net, "")
            .and_then(|_| NodeSpec::parse(&At::root(&member.net)).map(|_| ()));
        // The ipam section is looked at for every main plugin.
        let is_ipams = |path: &str| path == "ipam" || path.starts_with("ipam.");
        if let Err(error) = judged
            && !is_ipams(&error.path)
        {
            let at = join(&member.path, &error.path);
            // The plugin names a place within its own section.
            let named = !error.path.is_empty() && error.message.starts_with(&error.path);
            let message = if named { join(&member.path, &error.message) } else { error.message };
            self.add(Severity::Error, &at, message, error.expected);
        }
        if let Some(section) = root("vpp") {
            self.slips(section, COMMON_KEYS, &member.net, &member.path);
        }
    }

    /// Keys of a section, and of those within it, that are nearly one of its own; `others` are looked at elsewhere.
    fn slips(&mut self, section: &'static Section, others: &[&str], value: &Value, path: &str) {
        let Some(object) = value.as_object() else { return };
        for (name, value) in object {
            let at = join(path, name);
            let same = |known: &str| known.eq_ignore_ascii_case(name);
            let own = section.keys.iter().map(|key| key.name).filter(|key| !others.contains(key));
            if let Some(key) = section.keys.iter().find(|key| same(key.name)) {
                self.within(&key.kind, value, &at);
            } else if !others.iter().any(|other| same(other))
                && let Some(meant) = suggest(name, own)
            {
                let message = format!("{at}: unknown key, ignored");
                self.warn_key(&at, message, format!("did you mean {meant:?}?"));
            }
        }
    }

    fn within(&mut self, kind: &'static Kind, value: &Value, at: &str) {
        match kind {
            Kind::Object(section) => self.slips(section, &[], value, at),
            Kind::List(kind) | Kind::OneOrList(kind) => match value.as_array() {
                Some(all) => {
                    for (i, value) in all.iter().enumerate() {
                        self.within(kind, value, &format!("{at}[{i}]"));
                    }
                }
                None => self.within(kind, value, at),
            },
            Kind::Either(kinds) => kinds.iter().for_each(|kind| self.within(kind, value, at)),
            Kind::Named(_)
            | Kind::Text(_)
            | Kind::Words(_)
            | Kind::Bool
            | Kind::Number(..)
            | Kind::Any => {}
        }
    }
}
