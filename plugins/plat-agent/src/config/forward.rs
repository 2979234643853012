//! What a kernel sink does besides routes, so that packets get through.

use std::time::Duration;

use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use ipnet::IpNet;

use super::{SinkSpec, network};

/// The keys of a kernel sink that are about it.
pub(super) const KEYS: [&str; 3] = ["forwarding", "forwardAccept", "masquerade"];

/// What is done so that packets get through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Whether forwarding is switched on where it is off; else that is only told.
    pub forwarding: bool,
    /// Whether chains that drop get rules that accept what comes from this node's pods or goes to them.
    pub accept: bool,
    /// Whether what leaves the cluster does so in the name of this node, but for these destinations.
    pub masquerade: Option<Vec<IpNet>>,
    /// Whether firewalls are this sink's to look at: one of several sees to it.
    pub firewall: bool,
    /// How often rules are looked at.
    pub resync: Duration,
    /// The interface to other nodes, where the configuration names it.
    pub uplink: Option<String>,
    /// The networks of this node's pods that the configuration names.
    pub subnets: Vec<IpNet>,
}

impl Forward {
    /// Reads the keys of a sink.
    pub(super) fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        let flag = |key: &str| -> Result<bool, ConfigError> {
            let value = at.get(key)?;
            Ok(value.map(|at| at.boolean()).transpose()?.unwrap_or(false))
        };
        Ok(Self {
            forwarding: flag("forwarding")?,
            accept: flag("forwardAccept")?,
            masquerade: at.get("masquerade")?.map(|at| masquerade(&at)).transpose()?.flatten(),
            ..Self::default()
        })
    }

    const fn changes_firewalls(&self) -> bool {
        self.accept || self.masquerade.is_some()
    }
}

fn masquerade(at: &At<'_>) -> Result<Option<Vec<IpNet>>, ConfigError> {
    const RIGHT: &str = "true, or {\"except\": [\"172.16.0.0/12\"]}";
    if let Some(flag) = at.value().as_bool() {
        return Ok(flag.then(Vec::new));
    }
    if !at.value().is_object() {
        return Err(at.mistyped("true, false or an object"));
    }
    super::known(at, &["except"])?;
    let Some(list) = at.get("except")? else { return Ok(Some(Vec::new())) };
    let mut except = Vec::new();
    for element in list.list()? {
        let text = element.string()?;
        let net = network(text).filter(|net| net.prefix_len() > 0).ok_or_else(|| {
            let what = format!("{element}: {:?} is no network without host bits", shown(text));
            element.wrong(what, RIGHT)
        })?;
        except.push(net);
    }
    Ok(Some(except))
}

/// Decides which of the kernel sinks sees to firewalls: the one that changes them, else the first. There is one
/// set of rules, whatever tables routes are in.
pub(super) fn appoint(at: &At<'_>, sinks: &mut [SinkSpec]) -> Result<(), ConfigError> {
    let mut kernels: Vec<&mut Forward> = sinks
        .iter_mut()
        .filter_map(|sink| match sink {
            SinkSpec::Kernel(kernel) => Some(&mut kernel.forward),
            SinkSpec::Vpp(_) => None,
        })
        .collect();
    let asked: Vec<usize> = kernels
        .iter()
        .enumerate()
        .filter_map(|(position, forward)| forward.changes_firewalls().then_some(position))
        .collect();
    if asked.len() > 1 {
        return Err(at.wrong(
            format!("{at}: several kernel sinks have \"forwardAccept\" or \"masquerade\""),
            "one of them, whatever tables they have: its rules count for all",
        ));
    }
    let position = asked.first().copied().unwrap_or(0);
    if let Some(forward) = kernels.get_mut(position) {
        forward.firewall = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(sinks: Value) -> Result<Vec<Forward>, String> {
        let value = json!({ "sinks": sinks });
        let read = super::super::routes::sinks(&At::root(&value));
        let forward = |sink: SinkSpec| match sink {
            SinkSpec::Kernel(kernel) => Some(kernel.forward),
            SinkSpec::Vpp(_) => None,
        };
        read.map(|sinks| sinks.into_iter().filter_map(forward).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_of_a_sink() {
        let all = parsed(json!([{
            "type": "kernel", "forwarding": true, "forwardAccept": true,
            "masquerade": {"except": ["172.16.0.0/12", "fd00::/8"]},
        }]))
        .unwrap();
        assert!(all[0].forwarding && all[0].accept && all[0].firewall);
        assert_eq!(all[0].masquerade.as_ref().map(Vec::len), Some(2));
        let none = parsed(json!([{"type": "kernel", "masquerade": false}])).unwrap();
        assert_eq!(none[0], Forward { firewall: true, ..Forward::default() });
        let two = parsed(
            json!([{"type": "kernel"}, {"type": "vpp"}, {"type": "kernel", "table": 7, "masquerade": true}]),
        );
        let firewalls: Vec<bool> = two.unwrap().iter().map(|forward| forward.firewall).collect();
        assert_eq!(firewalls, [false, true]);
        for (sink, wrong) in [
            (json!({"masquerade": 1}), "sinks[0].masquerade: expected true, false or an object"),
            (json!({"masquerade": {"but": []}}), "sinks[0].masquerade: unknown key \"but\""),
            (
                json!({"masquerade": {"except": ["10.0.0.1/8"]}}),
                "sinks[0].masquerade.except[0]: \"10.0.0.1/8\" is no network without host bits",
            ),
            (
                json!({"masquerade": {"except": ["0.0.0.0/0"]}}),
                "sinks[0].masquerade.except[0]: \"0.0.0.0/0\" is no network without host bits",
            ),
            (json!({"forwardAccept": "yes"}), "sinks[0].forwardAccept: expected true or false"),
        ] {
            let mut sink = sink;
            sink["type"] = "kernel".into();
            let error = parsed(json!([sink])).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        let twice = parsed(
            json!([{"type": "kernel", "masquerade": true}, {"type": "kernel", "table": 7, "forwardAccept": true}]),
        );
        assert!(twice.unwrap_err().contains("several kernel sinks have"));
    }
}
