//! Rules for routes to other nodes.

use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use ipam_core::peers::{Nodes, Variable};

use super::{Written, known};

/// A route to each other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeersSpec {
    /// Where the rule stands.
    pub(crate) path: String,
    pub(crate) nodes: Nodes,
    /// A node's pods.
    pub(crate) subnet: Written,
    /// A node's address on the uplink.
    pub(crate) via: Written,
}

impl PeersSpec {
    pub(crate) fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const RIGHT: &str = "{\"nodes\": \"1-64\", \"subnet\": \"10.1.{peer}.0/24\", \
                             \"via\": \"192.168.16.{peer}\"}";
        known(at, &["type", "nodes", "subnet", "via"])?;
        let missing = |key: &str| at.wrong(format!("{at}: {key} is missing"), RIGHT);
        let nodes = at.get("nodes")?.ok_or_else(|| missing("nodes"))?;
        let template = |key: &'static str| -> Result<Written, ConfigError> {
            let value = at.get(key)?.ok_or_else(|| missing(key))?;
            let text = Written::parse(&value, Variable::Peer)?;
            if text.template.depends() {
                return Ok(text);
            }
            Err(value.wrong(
                format!(
                    "{value}: {:?} has no {{peer}}, so it is the same for every node",
                    shown(&text.text)
                ),
                RIGHT,
            ))
        };
        Ok(Self {
            path: at.to_string(),
            nodes: Nodes::parse(&nodes)?,
            subnet: template("subnet")?,
            via: template("via")?,
        })
    }
}
