/*!
What is wrong with a file of network configurations, and where.

Ranges are validated by the very functions that the plugins use, so that the two never disagree; what
runtimes ask of names, types and versions follows libcni 1.3.0 and the CNI specification.
*/

mod looker;
mod suggest;

use std::collections::BTreeSet;

use ipam_core::addr::Interval;
use ipam_core::node::NodeIdentity;
use ipam_core::rules::Rules;
use ipam_core::template;
use node_local::{Problem, Surroundings};
use serde_json::{Value, json};

use crate::netconf::{self, Document, Form, Member};
use looker::Looker;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Probably not what was meant.
    Warning,
    /// Refused by a runtime or a plugin.
    Error,
}

impl Severity {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where in the file.
    pub(crate) offset: usize,
    /// The path of the value, where it is about one.
    pub(crate) path: String,
    /// One sentence.
    pub(crate) message: String,
    /// What would be right; may be empty.
    pub(crate) advice: String,
}

/// What a document is, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What it is: a configuration, a list, a template, each perhaps in a manifest.
    pub(crate) form: Form,
    /// Whether it stands in a NetworkAttachmentDefinition.
    pub(crate) in_manifest: bool,
    /// The network's name.
    pub(crate) network: String,
    /// The types of its plugins, each with that of its IPAM.
    pub(crate) plugins: Vec<(String, Option<String>)>,
}

/// The addresses that a network hands out here.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The network's name.
    pub(crate) network: String,
    /// A range.
    pub(crate) interval: Interval,
    /// Where in the file its ipam section stands.
    pub(crate) offset: usize,
}

/// What is known of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// What is wrong, in the order of the file.
    pub(crate) findings: Vec<Finding>,
    /// What is in it.
    pub(crate) summaries: Vec<Summary>,
    /// What it hands out.
    pub(crate) reaches: Vec<Reach>,
}

/// How to look.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What node-local sees of this node.
    pub(crate) around: Surroundings,
    /// The node to look as, where it is not this one: its name, or its index.
    pub(crate) node: Option<Asked>,
    /// Where templates lie, in place of what the configuration says.
    pub(crate) cfg_dir: Option<String>,
    /// What an administrator lets configurations say.
    pub(crate) rules: Option<Rules>,
}

/// A node that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By its host name.
    Name(String),
    /// By its index.
    Index(u32),
}

impl Asked {
    /// The identity that the node has for a configuration. Its index file and environment are on that node
    /// and unknown here: the index comes from the configuration, or from the host name.
    ///
    /// # Errors
    /// Why the index is not known.
    pub(crate) fn identity(&self, member: &Member) -> Result<NodeIdentity, Problem> {
        match self {
            Self::Index(index) => Ok(NodeIdentity {
                index: *index,
                name: format!("node-{index}"),
                source: "the command line".to_owned(),
            }),
            Self::Name(name) => {
                let nowhere = std::path::PathBuf::from("/dev/null");
                let elsewhere = Surroundings {
                    root: nowhere.clone(),
                    host_name: name.clone(),
                    environment: None,
                    state_dir: nowhere,
                };
                node_local::find(&without_dir(&member.net), &elsewhere)
            }
        }
    }
}

/// A configuration whose index file is where none is.
fn without_dir(net: &Value) -> Value {
    let mut net = net.clone();
    set_cfg_dir(&mut net, node_local::TEMPLATE_DIR);
    net
}

/// Names another folder of templates.
pub(crate) fn set_cfg_dir(net: &mut Value, dir: &str) {
    let Some(object) = net.as_object_mut() else { return };
    let ipam = object.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case("ipam"));
    if let Some(section) = ipam.and_then(|(_, value)| value.as_object_mut()) {
        template::remove(section, "cfgDir");
        section.insert("cfgDir".to_owned(), Value::from(dir));
    }
}

/// Looks at a file. `ending` is that of its name.
pub(crate) fn lint(file: &str, ending: &str, settings: &Settings) -> Report {
    let mut report = Report::default();
    for document in netconf::read(file) {
        match document {
            Ok(document) => {
                Looker { file, ending, document: &document, settings, report: &mut report }.look();
            }
            Err(broken) => report.findings.push(Finding {
                severity: Severity::Error,
                offset: broken.offset,
                path: String::new(),
                message: broken.message,
                advice: broken.advice,
            }),
        }
    }
    report.findings.sort_by(|a, b| (a.offset, b.severity).cmp(&(b.offset, a.severity)));
    report
}

/// A template as the configuration that takes its ranges from it.
pub(crate) fn template_member(document: &Document) -> Member {
    let own = json!({"type": "node-local"});
    let ipam = template::merge(&own, &document.value).unwrap_or(own);
    let net = json!({"cniVersion": "1.1.0", "name": "template", "ipam": ipam});
    Member { path: String::new(), net }
}

/// Two networks of different names that hand out one address: the positions of their reaches.
pub(crate) fn overlaps(reaches: &[Reach]) -> Vec<(usize, usize)> {
    let items: Vec<(Interval, usize)> =
        reaches.iter().enumerate().map(|(i, reach)| (reach.interval, i)).collect();
    let mut networks = std::collections::BTreeMap::new();
    let owner: Vec<usize> = reaches
        .iter()
        .map(|reach| {
            let next = networks.len();
            *networks.entry(reach.network.as_str()).or_insert(next)
        })
        .collect();
    let mut pairs = crate::overlap::find(&items, |i| owner.get(i).copied().unwrap_or_default());
    let mut seen = BTreeSet::new();
    let name = |i: usize| owner.get(i).copied().unwrap_or_default();
    pairs.retain(|(a, b)| seen.insert((name(*a).min(name(*b)), name(*a).max(name(*b)))));
    pairs
}

#[cfg(test)]
mod tests;
