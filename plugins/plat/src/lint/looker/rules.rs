//! What the administrator's rules say of a configuration.

use host_local::admin::resolve;
use ipam_core::addr::Family;
use ipam_core::config::ConfigError;

use super::{Looker, join};
use crate::lint::Severity;
use crate::netconf::{Form, Member};

/// IPAM plugins that keep an administrator's rules.
const OUR_IPAMS: &[&str] = &["host-local", "node-local", "etcd-pool", "chain"];

/// An error about what a pool gives, at the key that says which one.
fn at_pool(error: ConfigError) -> ConfigError {
    ConfigError { path: "ipam.pool".to_owned(), ..error }
}

impl Looker<'_> {
    /// What the administrator's rules say of it, but for its ranges.
    pub(super) fn rules(&mut self, member: &Member) {
        let Some(rules) = &self.settings.rules else { return };
        let mut errors = Vec::new();
        let net = &member.net;
        if self.document.form == Form::Template {
            return;
        }
        if member.plugin() == "vpp" {
            errors.extend(rules.vpp(net, &resolve).err());
        }
        if member.ipam().is_some_and(|kind| OUR_IPAMS.contains(&kind)) {
            errors.extend(rules.ipam(net, &resolve).err());
        }
        if member.ipam() == Some("etcd-pool")
            && let Ok(config) = etcd_pool::config::Config::parse(net, "")
        {
            let (id, described) = (&config.id, &config.described);
            errors.extend(rules.pool(&id.space, &id.pool, described.is_some()).err());
            for family in [Family::V4, Family::V6] {
                if let Some(part) = described.as_ref().and_then(|(_, pool)| pool.part(family)) {
                    let judged = rules.subnet(part.cidr, || "ipam.pool".to_owned());
                    errors.extend(judged.err().map(at_pool));
                }
            }
            errors.extend(rules.requested(&config.requested).err().map(at_pool));
        }
        errors.dedup();
        for error in errors {
            self.denied(member, &error);
        }
    }

    /// Something that the administrator's rules do not allow.
    pub(super) fn denied(&mut self, member: &Member, error: &ConfigError) {
        let at = join(&member.path, &error.path);
        self.add(Severity::Error, &at, error.message.clone(), error.expected.clone());
    }
}
